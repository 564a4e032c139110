"""The pictures of `fnet inspect`: codes, parts, dictionaries, histograms, thresholds over k.

Every function returns a `Figure`: a PNG, and the scale it is drawn on, in words. Signed maps are
drawn symmetrically around 0: features and dictionaries blue below, white at 0 and red above, parts
and residuals, which look like pictures, black, middle grey and white. Maps side by side share one
scale. Its limit is a round number that 99.9 % of the values stay below; beyond, colours no longer
change.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from numpy.typing import NDArray

from fnetcli.files.durable import atomic_write
from fnetcli.inspection.fnet.trace import BlockTrace, Measured, PairTrace, Step
from fnetcli.inspection.fnet.weights import BlockFacts, Dictionary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Plot

Map = NDArray[np.float32]
Colors = NDArray[np.uint8]  # (H, W, 3)
Names = tuple[str, str]  # of the first and second modality

SHOWN_SHARE = 99.9  # percent of the values that stay below the limit of a scale
LONGEST_SIDE = 640  # of one of three pictures side by side, in pixels
COLUMNS = 8  # of a sheet of maps
NARROWEST = 96  # pixels, so that a label fits
BINS = 201  # of a histogram; odd, so that one is centred on 0
KERNEL_ZOOM = 5  # pixels of a picture for each of a kernel
MARGIN, GAP, LABEL, TITLE = 16, 10, 20, 44  # pixels
BACKGROUND, INK, FRAME = (255, 255, 255), (40, 40, 40), (200, 200, 200)
STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)  # round numbers of one decade

# Blue, white, red: ColorBrewer's RdBu (Cynthia Brewer, Apache License 2.0), and grey for pictures.
DIVERGING = np.array(
    [
        (5, 48, 97),
        (33, 102, 172),
        (67, 147, 195),
        (146, 197, 222),
        (209, 229, 240),
        (255, 255, 255),
        (253, 219, 199),
        (244, 165, 130),
        (214, 96, 77),
        (178, 24, 43),
        (103, 0, 31),
    ],
    np.float32,
)
GREY = np.array([(0, 0, 0), (255, 255, 255)], np.float32)
HEAT = np.array(
    [(255, 255, 255), (253, 187, 132), (227, 74, 51), (127, 0, 0), (40, 0, 0)], np.float32
)
SERIES = {"u": "#b2182b", "v": "#2166ac", "z": "#4d4d4d"}  # colours of the blocks in plots


@dataclass(frozen=True)
class Figure:
    """A picture as a PNG file's bytes; `scale` says in words what its colours or axes mean.

    `limit` is where the colours end: maps are drawn from -limit to limit, or 0 to limit where
    nothing is negative. None: a plot with axes of its own.
    """

    png: bytes
    scale: str
    limit: float | None = None

    def save(self, path: Path) -> None:
        """Write it. Raise what `atomic_write` raises."""
        atomic_write(path, lambda file: file.write(self.png))


# --- maps -----------------------------------------------------------------------------------------


def draw_code(block: BlockTrace, title: str) -> Figure:
    """Draw all maps of a code, those of the most energy first, with atom number and energy.

    The colours follow the root of the magnitude: codes are sparse, and most of their values small.
    """
    limit = round_limit(block.thumbnails)
    total = max(float(block.energies.sum()), float(np.finfo(np.float32).tiny))
    tiles, labels = [], []
    for atom in block.order:
        share = 100 * block.energies[atom] / total
        values = block.thumbnails[atom].astype(np.float32)
        tiles.append(_colors(np.sign(values) * np.sqrt(np.abs(values) / limit), DIVERGING))
        labels.append(f"{atom}:  {_percent(share)}")
    scale = f"blue {-limit:g}, white 0, red {limit:g}; shades by the root of the magnitude"
    heading = f"{title}: atoms by energy (share of the sum of squares)"
    sheet = _sheet(_magnified(tiles), labels, COLUMNS)
    return Figure(_png(_titled(sheet, heading, scale)), scale, limit)


def draw_features(trace: PairTrace, names: Names) -> Figure:
    """Draw unique and common features (the paper's Fig. 8a): the root of each code's energy map."""
    maps = [np.sqrt(trace.blocks[letter].energy_map) for letter in "uvz"]
    limit = round_limit(*maps)
    scale = f"white 0, black {limit:g}: length of the {trace.config.atoms} values of a pixel"
    tiles = [_colors(2 * _fitted(values) / limit - 1, HEAT) for values in maps]
    labels = [f"u: unique to {names[0]}", f"v: unique to {names[1]}", "z: common to both"]
    sheet = _sheet(tiles, labels, 3)
    return Figure(_png(_titled(sheet, "Unique and common features", scale)), scale, limit)


def draw_parts(trace: PairTrace, names: Names) -> Figure:
    """Draw unique and common reconstruction (the paper's Fig. 8b): three parts, one scale."""
    labels = [f"unique to {names[0]}", f"unique to {names[1]}", "common to both"]
    maps = dict(zip(labels, trace.parts, strict=True))
    return draw_maps(maps, "Unique and common reconstruction: they sum to the fused luminance")


def draw_residuals(trace: PairTrace, names: Names) -> Figure:
    """Draw p1 and p2: what the unique features leave of the two images."""
    labels = [f"p1: {names[0]} without what u explains", f"p2: {names[1]} without what v explains"]
    return draw_maps(dict(zip(labels, trace.residuals, strict=True)), "Residuals, the input of z")


def draw_maps(maps: Mapping[str, Map], title: str) -> Figure:
    """Draw signed maps (H, W) side by side in grey, on one symmetric scale."""
    limit = round_limit(*maps.values())
    scale = f"black {-limit:g}, middle grey 0, white {limit:g}"
    tiles = [_colors(_fitted(values) / limit, GREY) for values in maps.values()]
    sheet = _sheet(tiles, list(maps), len(tiles))
    return Figure(_png(_titled(sheet, title, scale)), scale, limit)


# --- dictionaries ---------------------------------------------------------------------------------


def draw_dictionaries(dictionaries: Sequence[Dictionary], title: str) -> Figure:
    """Draw grids of kernels, each kernel scaled by itself: its largest magnitude is the limit.

    Synthesis kernels are turned as they appear in a picture (`Dictionary.stamps`). Atoms are in
    their order, row by row. The number beside a name is the largest magnitude in the whole grid.
    """
    tiles, labels = [], []
    for one in dictionaries:
        largest = float(np.abs(one.kernels).max())
        tiles.append(_kernel_grid(one.stamps))
        channel = f" [{one.channel}]" if one.block == "z" and one.symbol != "G_z" else ""
        labels.append(f"{one.symbol}{channel}, {one.role}:  {largest:.2g}")
    scale = "blue negative, white 0, red positive; each kernel up to its own largest magnitude"
    columns = min(len(tiles), max(1, math.ceil(math.sqrt(1.6 * len(tiles)))))
    return Figure(_png(_titled(_sheet(tiles, labels, columns), title, scale)), scale)


def _kernel_grid(kernels: Map) -> Colors:
    """Return (M, k, k) as a grid of enlarged kernels, as square as can be."""
    columns = math.ceil(math.sqrt(len(kernels)))
    drawn = []
    for kernel in kernels:
        largest = float(np.abs(kernel).max()) or 1.0
        colors = _colors(kernel / largest, DIVERGING)
        drawn.append(colors.repeat(KERNEL_ZOOM, axis=0).repeat(KERNEL_ZOOM, axis=1))
    return _grid(drawn, columns, gap=5, color=BACKGROUND)


# --- plots ----------------------------------------------------------------------------------------


def draw_histograms(trace: PairTrace, names: Names) -> Figure:
    """Draw how the values of u, v, z lie before and after the last threshold (Fig. 10 a-c)."""
    titles = {"u": f"u: unique to {names[0]}", "v": f"v: unique to {names[1]}", "z": "z: common"}
    figure, panels = _plot(3)
    for letter, axes in zip("uvz", panels, strict=True):
        _draw_histogram(axes, trace.blocks[letter].last, titles[letter], SERIES[letter])
    panels[0].set_ylabel("share of the values")
    scale = "dotted: plus and minus theta_K; nearly zero: |x| < theta_K / 100"
    figure.suptitle(f"Codes before and after the last threshold ({scale})", fontsize=10)
    return Figure(_plotted(figure), scale)


def _draw_histogram(axes: Axes, last: Step, title: str, color: str) -> None:
    """Draw before and after over each other."""
    styles: tuple[tuple[str, Measured | None, dict[str, Any]], ...] = (
        ("before", last.before, {"color": "#b5b5b5", "fill": True}),
        ("after", last.after, {"color": color, "linewidth": 1.2}),
    )
    limit = max([2 * last.theta, *(_limit_of(one) for _, one, _ in styles if one)]) or 1.0
    edges = np.linspace(-limit, limit, BINS + 1)
    nearly_zero = []
    for word, measured, style in styles:
        if measured is not None:
            axes.stairs(_shares(measured, edges), edges, label=word, **style)
            nearly_zero.append(f"{_percent(100 * measured.nearly_zero)} {word}")
    for side in (-last.theta, last.theta):
        axes.axvline(side, color="#777777", linestyle=":", linewidth=1)
    axes.set(yscale="log", xlim=(-limit, limit), xlabel="value")
    axes.set_title(f"{title}\nnearly zero: {', '.join(nearly_zero)}", fontsize=10)
    axes.legend(loc="upper left", frameon=False, fontsize=9)


def draw_schedules(blocks: Mapping[str, BlockFacts]) -> Figure:
    """Draw theta_k and rho_k over k for the three blocks (Fig. 10)."""
    figure, (thresholds, momenta) = _plot(2)
    for (letter, facts), marker in zip(blocks.items(), "osD", strict=False):
        style: dict[str, Any] = {"color": SERIES.get(letter), "marker": marker, "label": letter}
        thresholds.plot(range(len(facts.theta)), facts.theta, **style)
        if facts.rho:
            momenta.plot(range(1, len(facts.rho) + 1), facts.rho, **style)
    most = max(len(facts.theta) for facts in blocks.values())
    thresholds.set(title="threshold theta_k: must fall", xlabel="iteration k", ylim=(0, None))
    momenta.set(title="momentum rho_k: must rise", xlabel="iteration k")
    if any(facts.rho for facts in blocks.values()):
        momenta.set_ylim(min(0.0, *(value for facts in blocks.values() for value in facts.rho)))
    else:
        momenta.text(0.5, 0.5, "this network has none", ha="center", transform=momenta.transAxes)
    for axes in (thresholds, momenta):
        axes.set_xticks(range(most))
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(frameon=False)
    return Figure(_plotted(figure), "one line a block")


def _plot(count: int) -> tuple[Plot, Sequence[Axes]]:
    """Return an empty plot of so many panels side by side."""
    from matplotlib.figure import Figure as Plot  # noqa: PLC0415  it takes a second to import

    plot = Plot(figsize=(4.2 * count, 3.6), layout="constrained")
    return plot, plot.subplots(1, count)


def _plotted(figure: Plot) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    return file.getvalue()


def _limit_of(measured: Measured) -> float:
    """Return the magnitude that nearly all counted values stay below."""
    sizes = np.abs(measured.values)
    order = np.argsort(sizes)
    below = np.cumsum(measured.counts[order]) / measured.counts.sum()
    return float(sizes[order][np.searchsorted(below, SHOWN_SHARE / 100)])


def _shares(measured: Measured, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    counts, _ = np.histogram(measured.values, edges, weights=measured.counts)
    shares: NDArray[np.float64] = counts / measured.counts.sum()
    return np.where(shares > 0, shares, np.nan)


# --- drawing --------------------------------------------------------------------------------------


def round_limit(*maps: NDArray[Any]) -> float:
    """Return the smallest round number that nearly all magnitudes of all maps stay below."""
    size = max(float(np.percentile(np.abs(values), SHOWN_SHARE)) for values in maps)
    if size <= 0:
        size = max(float(np.abs(values).max()) for values in maps)
    if not 0 < size < math.inf:
        return 1.0
    decade = 10.0 ** math.floor(math.log10(size))
    return float(f"{next(step * decade for step in STEPS if step * decade >= size * 0.9999):.2g}")


def _percent(share: float) -> str:
    return "< 0.01 %" if 0 < share < 0.01 else f"{share:.{2 if share < 1 else 1}f} %"


def _colors(values: NDArray[Any], stops: Map) -> Colors:
    """Return (H, W) between -1 and 1, clipped, as colours between evenly spaced stops."""
    levels = np.linspace(-1, 1, len(stops))
    ramp = np.linspace(-1, 1, 511)
    table = np.stack([np.interp(ramp, levels, channel) for channel in stops.T], axis=1)
    found: Colors = np.rint(table).astype(np.uint8)[
        np.rint(255 + 255 * np.clip(values, -1, 1)).astype(np.intp)
    ]
    return found


def _fitted(values: Map) -> Map:
    """Return a map that fits: means over areas."""
    height, width = values.shape
    ratio = LONGEST_SIDE / max(height, width)
    if ratio >= 1:
        return values
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    picture = PIL.Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(picture.resize(size, PIL.Image.Resampling.BOX))


def _magnified(tiles: list[Colors]) -> list[Colors]:
    """Enlarge small tiles so that their labels fit."""
    zoom = math.ceil(NARROWEST / tiles[0].shape[1])
    return [tile.repeat(zoom, axis=0).repeat(zoom, axis=1) for tile in tiles]


def _grid(tiles: Sequence[Colors], columns: int, gap: int, color: tuple[int, ...]) -> Colors:
    """Return tiles of one size row by row, with gaps between and around them."""
    height, width, _ = tiles[0].shape
    rows = math.ceil(len(tiles) / columns)
    shape = (rows * (height + gap) + gap, columns * (width + gap) + gap, 3)
    grid = np.full(shape, color, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = (
            gap + n * (side + gap)
            for n, side in zip(divmod(i, columns), (height, width), strict=True)
        )
        grid[top : top + height, left : left + width] = tile
    return grid


def _sheet(tiles: Sequence[Colors], labels: Sequence[str], columns: int) -> PIL.Image.Image:
    """Return framed tiles of one size row by row, each under its label."""
    height, width, _ = tiles[0].shape
    font = _font(13)
    width = max(width, *(math.ceil(font.getlength(label)) for label in labels))
    rows = math.ceil(len(tiles) / columns)
    sheet = PIL.Image.new(
        "RGB", (columns * (width + GAP) - GAP, rows * (height + LABEL + GAP) - GAP), BACKGROUND
    )
    pen = PIL.ImageDraw.Draw(sheet)
    for i, (tile, label) in enumerate(zip(tiles, labels, strict=True)):
        row, column = divmod(i, columns)
        left, top = column * (width + GAP), row * (height + LABEL + GAP)
        pen.text((left, top), label, INK, font)
        sheet.paste(PIL.Image.fromarray(tile), (left, top + LABEL))
        right, bottom = left + tile.shape[1] - 1, top + LABEL + height - 1
        pen.rectangle((left, top + LABEL, right, bottom), outline=FRAME)
    return sheet


def _titled(sheet: PIL.Image.Image, title: str, scale: str) -> PIL.Image.Image:
    """Return a sheet with a margin, its title and its scale above it."""
    large, small = _font(16), _font(13)
    widest = max(
        sheet.width, *(math.ceil(f.getlength(t)) for f, t in ((large, title), (small, scale)))
    )
    size = (widest + 2 * MARGIN, sheet.height + TITLE + 2 * MARGIN)
    page = PIL.Image.new("RGB", size, BACKGROUND)
    pen = PIL.ImageDraw.Draw(page)
    pen.text((MARGIN, MARGIN - 4), title, INK, large)
    pen.text((MARGIN, MARGIN + 18), scale, INK, small)
    page.paste(sheet, (MARGIN, MARGIN + TITLE))
    return page


def _font(size: int) -> PIL.ImageFont.FreeTypeFont:
    font = PIL.ImageFont.load_default(size)
    if not isinstance(font, PIL.ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType")
    return font


def _png(picture: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=False)
    return file.getvalue()
