"""The pictures of `fnet inspect`: features, maps, kernels, histograms, lines.

Every function returns a `Figure`: a PNG, and its scale, in words. Signed maps are drawn
symmetrically around 0: features and kernels blue below, white at 0 and red above; maps, which look
like pictures, black, middle grey and white. Maps side by side share one scale. Its limit is a round
number above 99.9 % of the values; beyond it, colours do not change.
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
from fnetcli.formats.labels import class_colors
from fnetcli.inspection.figures import (
    ChannelSheet,
    ClassMaps,
    Distribution,
    FigureData,
    HistogramPanel,
    HistogramRow,
    KernelGrids,
    LineRow,
    MapRow,
    NormRow,
)
from fnetcli.inspection.wording import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Plot

Map = NDArray[np.float32]
Colors = NDArray[np.uint8]  # (H, W, 3)

SHOWN_SHARE = 99.9  # percent of the values that are below the limit of a scale
LONGEST_SIDE = 640  # of one of three pictures side by side, in pixels
COLUMNS = 8  # of a sheet of channels
MAX_IN_A_ROW = 3  # maps, plots
INSET_ROOM = 0.9  # above a histogram with an inset, in heights of it
NARROWEST = 96  # pixels, so that a label fits
MAX_TICKS = 12  # of a line plot
DPI = 120  # of plots
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


@dataclass(frozen=True)
class Figure:
    """A picture as a PNG file's bytes; `scale` describes its colours or axes in words.

    `limit` is the end of the colour scale: maps are drawn from -limit to limit, or 0 to limit if
    nothing is negative. None: a plot with its own axes.
    """

    png: bytes
    scale: str
    limit: float | None = None

    def save(self, path: Path) -> None:
        """Write the picture. Raise what `atomic_write` raises."""
        atomic_write(path, lambda file: file.write(self.png))


def draw(data: FigureData) -> Figure:
    """Draw a figure of an inspector."""
    match data:
        case MapRow():
            return draw_maps(data)
        case NormRow():
            return draw_norms(data)
        case ChannelSheet():
            return draw_channels(data)
        case HistogramRow():
            return draw_histograms(data)
        case LineRow():
            return draw_lines(data)
        case KernelGrids():
            return draw_kernels(data)
        case ClassMaps():
            return draw_classes(data)


# --- maps -----------------------------------------------------------------------------------------


def draw_maps(row: MapRow) -> Figure:
    """Draw maps (H, W) side by side in grey, signed ones on a symmetric scale."""
    if row.has_own_scales:
        return _draw_different(row)
    limit = round_limit(*row.maps.values())
    scale = f"black {-limit:g}, middle grey 0" if row.are_signed else "black 0"
    tiles = [_grey(values, limit, is_signed=row.are_signed) for values in row.maps.values()]
    return _drawn_row(tiles, list(row.maps), row.title, f"{scale}, white {limit:g}", limit)


def _draw_different(row: MapRow) -> Figure:
    """Draw each map on its own scale, whose end is beside its name."""
    tiles, labels = [], []
    for label, values in row.maps.items():
        limit, is_signed = round_limit(values), bool(values.min() < 0)
        tiles.append(_grey(values, limit, is_signed=is_signed))
        labels.append(f"{label}:  {'+-' * is_signed}{limit:g}")
    scale = "white: the number beside the name; black: 0, or beside +- the same below 0"
    return _drawn_row(tiles, labels, row.title, scale)


def _grey(values: Map, limit: float, *, is_signed: bool) -> Colors:
    share = _fitted(values) / limit if is_signed else 2 * _fitted(values) / limit - 1
    return _colors(share, GREY)


def _drawn_row(
    tiles: list[Colors], labels: list[str], title: str, scale: str, limit: float | None = None
) -> Figure:
    sheet = _sheet(tiles, labels, min(len(tiles), MAX_IN_A_ROW))
    return Figure(_png(_titled(sheet, title, scale)), scale, limit)


def draw_norms(row: NormRow) -> Figure:
    """Draw maps of norms, never below 0: 0 is white."""
    limit = round_limit(*row.maps.values())
    scale = f"white 0, black {limit:g}: {row.meaning}"
    tiles = [_colors(2 * _fitted(values) / limit - 1, HEAT) for values in row.maps.values()]
    return _drawn_row(tiles, list(row.maps), row.title, scale, limit)


def draw_channels(data: ChannelSheet) -> Figure:
    """Draw all channels in order of energy, with number and energy.

    The colours follow the root of the magnitude: codes are sparse, and most of their values small.
    """
    limit = round_limit(data.thumbnails)
    total = max(float(data.energies.sum()), float(np.finfo(np.float32).tiny))
    tiles, labels = [], []
    for channel in np.argsort(-data.energies, kind="stable"):
        share = 100 * data.energies[channel] / total
        values = data.thumbnails[channel].astype(np.float32)
        tiles.append(_colors(np.sign(values) * np.sqrt(np.abs(values) / limit), DIVERGING))
        labels.append(f"{channel}:  {percent(share)}")
    scale = f"blue {-limit:g}, white 0, red {limit:g}; shades by the root of the magnitude"
    heading = f"{data.title}: {data.channels} by energy (share of the sum of squares)"
    sheet = _sheet(_magnified(tiles), labels, COLUMNS)
    return Figure(_png(_titled(sheet, heading, scale)), scale, limit)


def draw_classes(data: ClassMaps) -> Figure:
    """Draw maps of classes in colours, with the colour of each class below them."""
    colors = class_colors(1 + max(data.names))
    tiles = [colors[_thinned(numbers)] for numbers in data.maps.values()]
    sheet = _sheet(tiles, list(data.maps), min(len(tiles), MAX_IN_A_ROW))
    key = _color_key({name: tuple(colors[number]) for number, name in data.names.items()})
    both = PIL.Image.new(
        "RGB", (max(sheet.width, key.width), sheet.height + GAP + key.height), BACKGROUND
    )
    both.paste(sheet, (0, 0))
    both.paste(key, (0, sheet.height + GAP))
    scale = "a colour for each class"
    return Figure(_png(_titled(both, data.title, scale)), scale)


def _color_key(colors: Mapping[str, tuple[int, ...]]) -> PIL.Image.Image:
    """Return swatches with their names, in rows."""
    font = _font(13)
    width = LABEL + 2 * GAP + max(math.ceil(font.getlength(name)) for name in colors)
    columns = max(1, LONGEST_SIDE // width)
    rows = math.ceil(len(colors) / columns)
    key = PIL.Image.new("RGB", (min(columns, len(colors)) * width, rows * LABEL), BACKGROUND)
    pen = PIL.ImageDraw.Draw(key)
    for i, (name, color) in enumerate(colors.items()):
        row, column = divmod(i, columns)
        left, top = column * width, row * LABEL
        pen.rectangle((left, top + 2, left + LABEL - 4, top + LABEL - 4), color, FRAME)
        pen.text((left + LABEL, top), name, INK, font)
    return key


def draw_kernels(data: KernelGrids) -> Figure:
    """Draw grids of kernels, each kernel on its own scale: its largest magnitude is the limit.

    Kernels are in their order, row by row. The number beside a name is the largest magnitude in the
    whole grid.
    """
    tiles, labels = [], []
    for label, kernels in data.grids:
        tiles.append(_kernel_grid(kernels))
        labels.append(f"{label}:  {float(np.abs(kernels).max()):.2g}")
    scale = "blue negative, white 0, red positive; each kernel up to its own largest magnitude"
    columns = min(len(tiles), max(1, math.ceil(math.sqrt(1.6 * len(tiles)))))
    return Figure(_png(_titled(_sheet(tiles, labels, columns), data.title, scale)), scale)


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


def draw_histograms(row: HistogramRow) -> Figure:
    """Draw histograms: shares on a logarithmic scale."""
    figure, panels = _plot(len(row.panels))
    for data, axes in zip(row.panels, panels, strict=True):
        _draw_histogram(axes, data)
    for axes in panels[::MAX_IN_A_ROW]:
        axes.set_ylabel("share of the values")
    figure.suptitle(f"{row.title} ({row.scale})", fontsize=10)
    return Figure(as_png(figure), row.scale)


def _draw_histogram(axes: Axes, panel: HistogramPanel) -> None:
    """Draw distributions in one plot."""
    low, high = panel.span or _symmetric(panel)
    _draw_distributions(axes, panel, low, high)
    axes.set_yscale("log")
    if panel.inset is not None:
        inner = axes.inset_axes((0.62, 0.55, 0.36, 0.42))
        _draw_distributions(inner, panel, *panel.inset)
        inner.set(yscale="log", xlim=panel.inset)
        inner.tick_params(labelsize=6)
        axes.indicate_inset_zoom(inner, edgecolor="#777777")
        lowest, highest = axes.get_ylim()
        shares = [tick for tick in axes.get_yticks() if tick <= 1]
        axes.set_yticks(shares)
        axes.minorticks_off()
        axes.set_ylim(lowest, highest * (highest / lowest) ** INSET_ROOM)
    for mark in panel.marks:
        axes.axvline(mark, color="#777777", linestyle=":", linewidth=1)
    axes.set(xlim=(low, high), xlabel="value")
    axes.set_title(panel.title, fontsize=10)
    axes.legend(loc="upper left", frameon=False, fontsize=9)


def _draw_distributions(axes: Axes, panel: HistogramPanel, low: float, high: float) -> None:
    edges = np.linspace(low, high, BINS + 1)
    for one in panel.distributions:
        grey = {"color": "#b5b5b5", "fill": True}
        style: dict[str, Any] = (
            grey if one.color is None else {"color": one.color, "linewidth": 1.2}
        )
        axes.stairs(_shares(one, edges), edges, label=one.label, **style)


def _symmetric(panel: HistogramPanel) -> tuple[float, float]:
    limit = max([panel.reach, *map(_limit_of, panel.distributions)]) or 1.0
    return -limit, limit


def draw_lines(row: LineRow) -> Figure:
    """Draw numbers over whole numbers."""
    figure, panels = _plot(len(row.panels))
    for data, axes in zip(row.panels, panels, strict=True):
        for line in data.lines:
            style: dict[str, Any] = {"color": line.color, "marker": line.marker}
            places = range(line.start, line.start + len(line.values))
            axes.plot(places, line.values, label=line.label, **style)
        axes.set(title=data.title, xlabel=row.x_label)
        if data.lines:
            axes.set_ylim(min(0.0, *(value for line in data.lines for value in line.values)))
        else:
            axes.text(0.5, 0.5, data.nothing, ha="center", transform=axes.transAxes)
        axes.set_xticks(range(0, row.ticks, -(-row.ticks // MAX_TICKS)))
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(frameon=False)
    return Figure(as_png(figure), row.scale)


def _plot(count: int) -> tuple[Plot, Sequence[Axes]]:
    """Return an empty plot with `count` panels, some side by side."""
    from matplotlib.figure import Figure as Plot  # noqa: PLC0415  it takes a second to import

    columns, rows = min(count, MAX_IN_A_ROW), math.ceil(count / MAX_IN_A_ROW)
    plot = Plot(figsize=(4.2 * columns, 3.6 * rows), layout="constrained")
    panels = plot.subplots(rows, columns, squeeze=False).ravel()
    for unused in panels[count:]:
        unused.set_axis_off()
    return plot, [*panels[:count]]


def as_png(figure: Plot) -> bytes:
    """Return a plot as a PNG file's bytes. Drawn once: `savefig` draws all twice."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  slow to import

    figure.set_dpi(DPI)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    file = io.BytesIO()
    PIL.Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(file, "PNG")
    return file.getvalue()


def _limit_of(distribution: Distribution) -> float:
    """Return the magnitude that nearly all counted values are below."""
    sizes = np.abs(distribution.values).ravel()
    order = np.argsort(sizes)
    counts = np.ones(len(sizes)) if distribution.counts is None else distribution.counts[order]
    below = np.cumsum(counts) / counts.sum()
    return float(sizes[order][np.searchsorted(below, SHOWN_SHARE / 100)])


def _shares(distribution: Distribution, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    counts, _ = np.histogram(distribution.values, edges, weights=distribution.counts)
    total = distribution.values.size if distribution.counts is None else distribution.counts.sum()
    shares: NDArray[np.float64] = counts / total
    return np.where(shares > 0, shares, np.nan)


# --- drawing --------------------------------------------------------------------------------------


def round_limit(*maps: NDArray[Any]) -> float:
    """Return the smallest round number above nearly all magnitudes of all maps."""
    size = max(float(np.percentile(np.abs(values), SHOWN_SHARE)) for values in maps)
    if size <= 0:
        size = max(float(np.abs(values).max()) for values in maps)
    if not 0 < size < math.inf:
        return 1.0
    decade = 10.0 ** math.floor(math.log10(size))
    return float(f"{next(step * decade for step in STEPS if step * decade >= size * 0.9999):.2g}")


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
    """Return a map reduced to fit: means over areas."""
    height, width = values.shape
    ratio = LONGEST_SIDE / max(height, width)
    if ratio >= 1:
        return values
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    picture = PIL.Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(picture.resize(size, PIL.Image.Resampling.BOX))


def _thinned(numbers: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return a map reduced to fit: every n-th number, since classes have no means."""
    step = math.ceil(max(numbers.shape) / LONGEST_SIDE)
    return numbers[::step, ::step]


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
