"""The report of `fnet inspect` on a pair: one self-contained page that works offline."""

from __future__ import annotations

import base64
import io
import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from markupsafe import Markup
from numpy.typing import NDArray
from scipy import sparse

from fnetcli.files.durable import atomic_write
from fnetcli.inspection.base import ShownFeature, ShownMap, Words
from fnetcli.inspection.wording import share, with_modalities
from fnetcli.modalities import BY_NAME
from fnetcli.reports.page import printable, template

MAX_BYTES = 60_000_000  # of a page
MAX_PIXELS = 2_000_000  # of a picture on the page; larger ones are scaled down
MIN_PIXELS = 50_000  # that a page with other large things in it still shows
LONGEST_SIDE = 8192  # that every browser can draw
CODE_SIDE = 256  # of a feature map, in pixels
MAX_CODE_VALUES = 16_000_000  # of all feature maps; more atoms, smaller maps
MAP_SCALE = 8192  # steps per unit where values stay within +-3.99; half a step is 6e-5
CODE_STEPS = 127  # of a feature map on either side of 0, finest near 0
MAX_IN_A_CELL = 12  # values of a list
DRAWN_SHARE = 99.9  # percent of a map's pixels that are drawn without clipping

FEATURE = "feature/"  # before the name of one, where maps are packed too
FUSED = "fused"  # the name of that luminance, where it is no sum
NONE = "\u2013"

Levels = NDArray[np.uint8]
Map = NDArray[np.float32]
Numbers = Mapping[str, Any]


@dataclass(frozen=True)
class Plot:
    """A picture made elsewhere, as the bytes of a PNG file, and what it shows."""

    png: bytes
    caption: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return PIL.Image.open(io.BytesIO(self.png)).size


@dataclass(frozen=True)
class PairPage:
    """Everything that the page of a pair shows.

    Maps are (H, W) of the same size, float32. Sources and the fused picture are as displayed, (H,
    W) or (H, W, 3); luminances are the network's input, and its output, not clipped. If some of the
    maps are parts, they sum to the output.

    Thumbnails of features have the size of `thumbnails`. Labels, hints and words may hold `{first}`
    and `{second}`. `numbers` are JSON values by label; a mapping of values becomes its own table,
    a mapping of similar mappings one with columns. `command` fuses this pair.
    """

    title: str
    modalities: tuple[str, str]
    sources: tuple[Levels, Levels]
    fused: Levels
    luminances: tuple[Map, Map]
    fused_luminance: Map
    words: Words
    maps: Mapping[str, ShownMap] = field(default_factory=dict)
    features: Mapping[str, ShownFeature] = field(default_factory=dict)
    numbers: Numbers = field(default_factory=dict)
    plots: Mapping[str, Plot] = field(default_factory=dict)
    warnings: Sequence[str] = ()  # what could be wrong
    notices: Sequence[str] = ()  # good to know
    clipped: float | None = None  # share of the fused luminance, at full size
    details: Mapping[str, str] = field(default_factory=dict)
    command: str = "fnet fuse"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pair."""
        height, width = self.luminances[0].shape
        return height, width

    @property
    def parts(self) -> dict[str, Map]:
        """The parts that sum to the fused luminance, by name; none if it is not a sum."""
        return {name: one.values for name, one in self.maps.items() if one.is_part}


def write_inspect_page(path: Path, page: PairPage) -> None:
    """Write the report of a pair, of at most 60 MB unless its plots alone are larger.

    Raise OutputError or WriteError if it cannot be written.
    """
    contents = template("inspect.html").generate(page=page, **_contents(page))
    atomic_write(path, lambda file: file.writelines(piece.encode() for piece in contents))


# --- sizes ----------------------------------------------------------------------------------------


def thumbnails(code: NDArray[Any], side: int = CODE_SIDE) -> Map:
    """Return feature maps (atoms, H, W) with no side longer than `side`.

    Each value is the one of the largest magnitude in its block: a mean would hide sparse, signed
    values.
    """
    _, *lengths = code.shape
    size = fitting((lengths[0], lengths[1]), side * side, side)
    rows, columns = (
        np.arange(count) * length // count for length, count in zip(lengths, size, strict=True)
    )
    highest = np.maximum.reduceat(np.maximum.reduceat(code, rows, axis=1), columns, axis=2)
    lowest = np.minimum.reduceat(np.minimum.reduceat(code, rows, axis=1), columns, axis=2)
    return np.where(-lowest > highest, lowest, highest).astype(np.float32)


def fitting(
    size: tuple[int, int], most_pixels: int, longest_side: int = LONGEST_SIDE
) -> tuple[int, int]:
    """Return height and width in proportion, within both limits; unchanged if they fit."""
    height, width = size
    ratio = min(1.0, math.sqrt(most_pixels / (height * width)), longest_side / max(size))
    if ratio == 1:
        return size
    return max(1, int(height * ratio)), max(1, int(width * ratio))


def scaled(values: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return (H, W) or (H, W, channels) at a smaller size: means over areas, fractions included.

    It is linear, so that scaled parts sum to the scaled whole. Floats become float32; levels are
    rounded.
    """
    if values.shape[:2] == size:
        return values
    if values.ndim == 3:
        planes = np.moveaxis(values, 2, 0)
        return np.stack([scaled(plane, size) for plane in planes], axis=2)
    down, across = (_means(*lengths) for lengths in zip(values.shape, size, strict=True))
    means: Map = (across @ (down @ values.astype(np.float32, copy=False)).T).T
    return np.rint(means).astype(values.dtype) if values.dtype.kind == "u" else means


def _means(length: int, count: int) -> Any:
    """Return a sparse matrix (count, length): each row the mean over its share of the length."""
    edges = np.linspace(0, length, count + 1)
    first, last = np.floor(edges[:-1]).astype(int), np.ceil(edges[1:]).astype(int)
    rows = np.repeat(np.arange(count), last - first)
    columns = np.concatenate([np.arange(*ends) for ends in zip(first, last, strict=True)])
    covered = np.minimum(columns + 1, edges[rows + 1]) - np.maximum(columns, edges[rows])
    shares = (covered * count / length).astype(np.float32)
    return sparse.csr_array((shares, (rows, columns)), shape=(count, length))


# --- what the page holds --------------------------------------------------------------------------


@dataclass(frozen=True)
class Packed:
    """Numbers as text that the page unpacks (base64 of deflate), with their parameters."""

    facts: dict[str, Any]
    text: str


@dataclass(frozen=True)
class Pane:
    """One picture or map of the page; a map has no `data`: it is drawn from its numbers."""

    name: str  # "first", "second", "fused"; of maps what they are called in files
    label: str
    hint: str
    owner: str  # whose colour it has
    data: str = ""
    is_part: bool = False


@dataclass(frozen=True)
class Tab:
    """A feature to choose."""

    name: str
    label: str
    symbol: str
    owner: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Table:
    """Numbers as text; without columns each row has a single value."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[str]]]


def _contents(page: PairPage) -> dict[str, Any]:
    """Return the content for the template, with maps as large as the page's limit allows."""
    features = {name: _packed_feature(one) for name, one in _small_features(page).items()}
    plots = [
        (name, plot.caption, data_uri(plot.png, "png"), plot.size)
        for name, plot in page.plots.items()
    ]
    fixed = sum(len(one.text) for one in features.values()) + sum(len(plot[2]) for plot in plots)
    room = MAX_BYTES - 1_000_000 - fixed  # a part of it for text and tables
    limit = MAX_PIXELS
    while True:
        size = fitting(page.size, limit)
        maps, panes = _packed_maps(page, size), _panes(page, size)
        taken = sum(len(one.text) for one in maps.values()) + sum(len(one.data) for one in panes)
        if taken <= room or limit == MIN_PIXELS:
            break
        limit = max(MIN_PIXELS, int(0.95 * size[0] * size[1] * max(room, 1) / taken))
    first, second = _names(page)
    sources, others = [pane for pane in panes if pane.name in {"first", "second"}], panes[3:]
    return {
        "first": first,
        "second": second,
        "panes": panes,
        "parts": [pane for pane in others if pane.is_part],
        "read": [sources, *([p for p in others if p.is_part is kind] for kind in (False, True))],
        "height": size[0],
        "width": size[1],
        "plots": plots,
        "tables": list(_tables(page.numbers)),
        "packed": {**maps, **{f"{FEATURE}{name}": one for name, one in features.items()}},
        "scales": sorted({f"{one.facts['scale']:g}" for one in maps.values()}, key=float),
        "tabs": _tabs(page),
        "has_kernels": any(one.kernels is not None for one in page.features.values()),
        "words": page.words,
        "reading": [_worded(page, text) for text in page.words.reading],
        "data": _json(_facts(page, size, maps, features)),
    }


def _names(page: PairPage) -> tuple[str, str]:
    first, second = (BY_NAME[name].title if name in BY_NAME else name for name in page.modalities)
    return first, second


def _worded(page: PairPage, label: str) -> str:
    return with_modalities(label, _names(page))


def _panes(page: PairPage, size: tuple[int, int]) -> list[Pane]:
    first, second = _names(page)
    maps = [
        Pane(name, _worded(page, one.label), one.hint, one.owner, is_part=one.is_part)
        for name, one in page.maps.items()
    ]
    return [
        Pane("first", first, "source", "first", picture_uri(page.sources[0], size)),
        Pane("second", second, "source", "second", picture_uri(page.sources[1], size)),
        Pane(FUSED, FUSED, page.words.fused, "sum", picture_uri(page.fused, size)),
        *maps,
    ]


def _tabs(page: PairPage) -> list[Tab]:
    return [
        Tab(name, _worded(page, one.label), one.symbol, one.owner, one.shape)
        for name, one in page.features.items()
    ]


def _maps(page: PairPage) -> dict[str, Map]:
    first, second = page.luminances
    fused = {} if page.parts else {FUSED: page.fused_luminance}
    shown = {printable(name): one.values for name, one in page.maps.items()}  # as in the template
    return {"first": first, "second": second, **fused, **shown}


def _facts(
    page: PairPage, size: tuple[int, int], maps: dict[str, Packed], features: dict[str, Packed]
) -> dict[str, Any]:
    """Return the data for the page's script."""
    has_color = [picture.ndim == 3 for picture in page.sources]
    giver = "second" if has_color[1] else "first"
    unsigned = {printable(name) for name, one in page.maps.items() if not one.is_signed}
    return {
        "height": size[0],
        "width": size[1],
        "full": page.size,
        "maps": {
            name: {**packed.facts, "signed": name not in unsigned} for name, packed in maps.items()
        },
        "parts": [printable(name) for name in page.parts],
        "color": giver if page.fused.ndim == 3 and any(has_color) else None,
        "command": printable(page.command),
        "clipped": None if page.clipped is None else share(page.clipped),
        "channel": page.words.channel,
        "codes": {
            name: {
                **packed.facts,
                "kernels": _kernels(page.features[name].kernels),
                "energies": [float(f"{one:.6g}") for one in page.features[name].energies],
            }
            for name, packed in features.items()
        },
    }


def _kernels(kernels: Map | None) -> list[list[list[float]]]:
    if kernels is None:
        return []
    return [[[float(f"{x:.4g}") for x in row] for row in kernel] for kernel in kernels]


def _json(facts: dict[str, Any]) -> Markup:
    """Return JSON that is safe within a script element."""
    text = json.dumps(facts, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # noqa: S704 - escaped just now, as scripts need it


# --- numbers as text ------------------------------------------------------------------------------


def _packed_maps(page: PairPage, size: tuple[int, int]) -> dict[str, Packed]:
    return {name: _packed_map(scaled(values, size)) for name, values in _maps(page).items()}


def _packed_map(values: Map) -> Packed:
    """Pack a map as 16-bit integers, value = integer / scale.

    Each is stored as the difference from its left neighbour, folded to 0, -1, 1, -2 ... = 0, 1, 2,
    3 ..., first the low bytes of all, then the high ones: natural images become half as large.
    """
    low, high = float(values.min()), float(values.max())
    scale = float(MAP_SCALE)
    while max(-low, high) * scale > np.iinfo(np.int16).max:
        scale /= 2
    integers = np.rint(values * np.float32(scale)).astype(np.int16)
    steps = np.diff(integers, axis=1, prepend=np.int16(0))  # wraps, and back when it is summed
    folded = ((steps << 1) ^ (steps >> 15)).view(np.uint16)
    planes = np.stack([folded & 255, folded >> 8]).astype(np.uint8)
    drawn = _drawn_range(values)
    facts = {"scale": scale, "low": _short(low), "high": _short(high), "drawn": drawn}
    return Packed(facts, _deflated(planes))


def _drawn_range(values: Map) -> float:
    """Return the value drawn white (its negative is black): two digits, rounded up."""
    largest = float(np.percentile(np.abs(values), DRAWN_SHARE)) or float(np.abs(values).max())
    if largest == 0:
        return 1.0
    step = 10.0 ** (math.floor(math.log10(largest)) - 1)
    return float(f"{math.ceil(largest / step - 1e-5) * step:.2g}")


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _small_features(page: PairPage) -> dict[str, Map]:
    """Return the thumbnails, reduced further if there are very many."""
    found = {name: one.thumbnails for name, one in page.features.items()}
    total = sum(values.size for values in found.values())
    if total <= MAX_CODE_VALUES:
        return {name: values.astype(np.float32) for name, values in found.items()}
    share = math.sqrt(MAX_CODE_VALUES / total)
    return {
        name: thumbnails(values, max(1, int(share * max(values.shape[1:]))))
        for name, values in found.items()
    }


def _packed_feature(feature: Map) -> Packed:
    """Pack thumbnails as signed bytes b: value = sign(b) (b / 127)^2 max, max of each channel.

    Squares, because few values of a sparse code are large and the many small ones matter, too.
    """
    channels, height, width = feature.shape
    largest = np.abs(feature).max(axis=(1, 2))
    share = np.abs(feature) / np.where(largest > 0, largest, 1)[:, None, None]
    integers = np.rint(np.copysign(CODE_STEPS * np.sqrt(share), feature)).astype(np.int8)
    facts = {
        "atoms": channels,
        "height": height,
        "width": width,
        "largest": [float(f"{one:.6g}") for one in largest],
    }
    return Packed(facts, _deflated(integers))


def _deflated(values: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(values.tobytes(), 6)).decode()


def picture_uri(levels: Levels, size: tuple[int, int]) -> str:
    """Return a picture at this size as lossless WebP, in a data URI."""
    file = io.BytesIO()
    picture = PIL.Image.fromarray(np.ascontiguousarray(scaled(levels, size)))
    picture.save(file, "WEBP", lossless=True, method=2, quality=50)
    return data_uri(file.getvalue(), "webp")


def data_uri(content: bytes, kind: str) -> str:
    """Return the bytes of a picture file as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


# --- tables ---------------------------------------------------------------------------------------


def _tables(numbers: Numbers, title: str = "") -> Iterator[Table]:
    """Return single values as one table, then a table for every mapping."""
    single = {label: value for label, value in numbers.items() if not isinstance(value, Mapping)}
    if single:
        rows = [(label, [_text(value)]) for label, value in single.items()]
        yield Table(title or "overall", [], rows)
    for label, value in numbers.items():
        if not isinstance(value, Mapping) or not value:
            continue
        name = f"{title}: {label}" if title else label
        if _is_grid(value):
            rows = [(row, [_text(one) for one in cells.values()]) for row, cells in value.items()]
            yield Table(name, list(next(iter(value.values()))), rows)
        else:
            yield from _tables(value, name)


def _is_grid(value: Numbers) -> bool:
    """Whether these are mappings of the same labels to single values."""
    rows = list(value.values())
    if not all(isinstance(row, Mapping) and row for row in rows):
        return False
    columns = list(rows[0])
    return all(
        list(row) == columns and not any(isinstance(one, Mapping) for one in row.values())
        for row in rows
    )


def _text(value: Any) -> str:
    """Return a JSON value as readable text."""
    match value:
        case None:
            return NONE
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}".replace("-", "\u2212")
        case float():
            return _number(value)
        case list() | tuple() if len(value) > MAX_IN_A_CELL:
            return f"{len(value)} values"
        case list() | tuple():
            return ", ".join(_text(one) for one in value) or NONE
        case _:
            return str(value)


def _number(value: float) -> str:
    """Return four digits with a true minus sign, a dash for none."""
    if not math.isfinite(value):
        return NONE
    digits = f"{value:.4g}"
    plain = f"{float(digits):,.4f}".rstrip("0").rstrip(".") if 1e-3 <= abs(value) < 1e6 else digits
    return ("0" if value == 0 else plain).replace("-", "\u2212")
