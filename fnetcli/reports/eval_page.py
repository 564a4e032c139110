"""The report of `fnet eval`: one self-contained page that works offline."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from fnetcli.evaluation.cost import FORMULA, Cost
from fnetcli.evaluation.results import Evaluation, Table
from fnetcli.evaluation.statistics import BEST, SECOND, Place, Summary, summaries
from fnetcli.files.durable import atomic_write
from fnetcli.metrics.base import Metric
from fnetcli.modalities import BY_NAME
from fnetcli.reports.insets import Inset, corner_of, require_inside
from fnetcli.reports.insets import Place as Rectangle
from fnetcli.reports.page import printable, template
from fnetcli.reports.tables import COST_HEADS, cost_caption, cost_rows, decimals

WEBP_QUALITY = 90
MAX_PIXELS = 2_000_000  # of a picture on the page; larger ones are scaled down
LONGEST_SIDE = 16_383  # that WebP can hold
MAX_LISTED = 500  # problems, and notices
MAX_OUTLIERS = 20  # drawn per box: the farthest ones
MOST_IN_A_ROW, MOST_ON_PAPER = 5, 7  # pictures
NO_INSETS: Mapping[str, Inset] = {}
COLORS = 8  # distinguishable ones in the page's style; then they repeat

MARK_NAMES = {BEST: "best", SECOND: "second"}
KIND_NAMES = {"files": "pictures", "weights": "weights", "baseline": "rule"}
CONVENTIONS = {
    "paper": "as in the code behind most published tables, including its mistakes",
    "standard": "CE, Qabf and SSIM as they were defined, the others as in published tables",
}


@dataclass(frozen=True)
class ShownCase:
    """Pictures of one case, (H, W) or (H, W, 3) by label: sources by modality, methods by name.

    Missing pictures are absent.
    """

    case: str
    place: Place
    pictures: Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Cell:
    """One number of a table; `value` is its sort key, empty if there is none."""

    text: str
    value: str = ""
    mark: int = 0
    title: str = ""
    count: str = ""  # if it differs from the method's
    spread: str = ""
    chance: str = ""


@dataclass(frozen=True)
class Line:
    """One method of the summary table."""

    index: int
    count: int
    cells: list[Cell]
    separation: Cell | None  # None: no method has parts
    rank: Cell


@dataclass(frozen=True)
class Group:
    """The lines of one data set; without a name it is the only one."""

    name: str
    lines: list[Line]


@dataclass(frozen=True)
class Plot:
    """The dimensions of a box plot: names are left of `left`, the axis is from there to `right`."""

    width: int = 340
    left: int = 114
    right: int = 328
    row: int = 21
    foot: int = 18


PLOT = Plot()


@dataclass(frozen=True)
class Axis:
    """Maps a metric's numbers to positions in its plot."""

    low: float
    high: float

    def across(self, value: float) -> float:
        """Return the horizontal position of a number."""
        share = (value - self.low) / (self.high - self.low)
        return round(PLOT.left + share * (PLOT.right - PLOT.left), 1)


@dataclass(frozen=True)
class Shape:
    """The shape of one box; `points` are the outliers: position, case and number as text."""

    method: int
    title: str
    whiskers: tuple[float, float] = (0, 0)
    box: tuple[float, float] = (0, 0)
    median: float = 0
    points: tuple[tuple[float, int, str], ...] = ()


@dataclass(frozen=True)
class Figure:
    """The boxes of one metric on one axis."""

    metric: int
    label: str
    shapes: list[Shape]
    ticks: list[tuple[float, str]]


@dataclass(frozen=True)
class Enlarged:
    """A rectangle of a picture and where it is enlarged, as CSS, with its pixels."""

    frame: str
    corner: str
    data: str


@dataclass(frozen=True)
class Drawn:
    """A picture as a data URI, or a gap if it is missing."""

    label: str
    method: int | None  # None for a source
    scores: list[tuple[str, Cell]]
    data: str = ""
    width: int = 0
    height: int = 0
    note: str = ""  # its original size
    enlarged: Enlarged | None = None


@dataclass(frozen=True)
class Shown:
    """One case on the page."""

    index: int | None  # among the evaluation's cases
    name: str
    place: str
    pictures: list[Drawn]


def write_eval_page(
    path: Path,
    evaluation: Evaluation,
    summary: Summary,
    shown: Iterable[ShownCase],
    *,
    details: Mapping[str, str],
    costs: Sequence[Cost] = (),
    insets: Mapping[str, Inset] = NO_INSETS,
) -> None:
    """Write the report of an evaluation, see `eval_page`.

    Raise OutputError or WriteError if the page cannot be written.
    """
    page = eval_page(evaluation, summary, shown, details=details, costs=costs, insets=insets)
    atomic_write(path, lambda file: file.writelines(page))


def eval_page(
    evaluation: Evaluation,
    summary: Summary,
    shown: Iterable[ShownCase],
    *,
    details: Mapping[str, str],
    costs: Sequence[Cost] = (),
    insets: Mapping[str, Inset] = NO_INSETS,
) -> Iterator[bytes]:
    """Return the report of an evaluation, piece by piece.

    `shown` may draw its pictures on demand: one case at a time is requested, and only encoded
    pictures are kept. `details` are labels and texts for the head: command, date, version. `costs`
    become one table if they were measured. `insets` are by case.

    Raise EvaluationError if an inset leaves its picture.
    """
    digits = [decimals(evaluation.values[:, :, i]) for i in range(len(evaluation.metrics))]
    cases = [_shown(evaluation, one, digits, insets.get(one.case)) for one in shown]
    page = template("eval.html").generate(
        evaluation=evaluation,
        summary=summary,
        details=details,
        subject=_subject(evaluation),
        convention=CONVENTIONS[evaluation.convention],
        kinds=KIND_NAMES,
        spelled=[_spelled(metric) for metric in evaluation.metrics],
        groups=[
            Group(name, _lines(part, one, digits))
            for name, part, one in summaries(evaluation, summary)
        ],
        is_chosen=any(one.place == "chosen" for one in cases),
        has_insets=any(picture.enlarged for one in cases for picture in one.pictures),
        figures=_figures(evaluation, summary, digits),
        out_of=_left_out(evaluation, summary),
        has_gaps=not summary.all_cases and bool((summary.counts < summary.common.sum()).any()),
        problems=evaluation.problems[:MAX_LISTED],
        notices=evaluation.notices[:MAX_LISTED],
        cost_caption=cost_caption(costs) if costs else "",
        cost_heads=COST_HEADS,
        cost_rows=list(cost_rows(costs)),
        cost_formula=FORMULA,
        cases=cases,
        columns=_columns(2 + len(evaluation.methods), MOST_IN_A_ROW),
        print_columns=_columns(2 + len(evaluation.methods), MOST_ON_PAPER),
        data=_data(evaluation, summary, digits, cases),
        colors=COLORS,
        mark_names=MARK_NAMES,
        most_outliers=MAX_OUTLIERS,
        plot=PLOT,
    )
    return (piece.encode() for piece in page)


def _subject(evaluation: Evaluation) -> str:
    """Return the sensors of the sources: visible + infrared."""
    pairs = [
        f"{BY_NAME[second].title} + {BY_NAME[first].title}"
        for first, second in evaluation.all_modalities
    ]
    return ", ".join(pairs)


# --- numbers --------------------------------------------------------------------------------------


def _number(value: float, digits: int) -> str:
    """Return a number with a true minus sign, a dash for none."""
    if not math.isfinite(value):
        return "\u2013"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "\u2212")


def _chance(p: float) -> str:
    if not math.isfinite(p):
        return ""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _sortable(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else ""


def _spelled(metric: Metric) -> str:
    """Return the full name of a metric, from its function; its own name is an abbreviation."""
    name = getattr(metric.function, "__name__", "")
    return name.replace("_", " ") if name.isidentifier() else ""


def _marks(values: Table, *, higher_is_better: bool) -> list[int]:
    """Return the mark of each of one metric's numbers, equal for equal ones."""
    good = values if higher_is_better else -values
    levels = np.unique(good[np.isfinite(good)])[::-1]
    if len(values) < 2:
        return [0] * len(values)
    ranked = dict(zip(levels.tolist(), (BEST, SECOND), strict=False))
    return [ranked.get(value, 0) for value in good.tolist()]


def _lines(evaluation: Evaluation, summary: Summary, digits: list[int]) -> list[Line]:
    """Return the summary table, one line per method."""
    rank_marks = _marks(summary.mean_rank, higher_is_better=False)
    lines = []
    for method in range(len(evaluation.methods)):
        count = int(summary.counts[method].max(initial=0))
        rank = float(summary.mean_rank[method])
        lines.append(
            Line(
                index=method,
                count=count,
                cells=[
                    _cell(evaluation, summary, method, metric, places, count)
                    for metric, places in enumerate(digits)
                ],
                separation=_separation(summary, method),
                rank=Cell(_number(rank, 2), _sortable(rank), rank_marks[method]),
            )
        )
    return lines


def _separation(summary: Summary, method: int) -> Cell | None:
    """Return the mean separation of a method's parts; None if no method was measured."""
    if summary.separation is None:
        return None
    mean = float(summary.separation[method])
    return Cell(_number(mean, 3), _sortable(mean))


def _cell(
    evaluation: Evaluation, summary: Summary, method: int, metric: int, digits: int, usual: int
) -> Cell:
    mean = float(summary.means[method, metric])
    count = int(summary.counts[method, metric])
    mark = int(summary.marks[method, metric])
    deviation = float(summary.deviations[method, metric])
    spread = f"\u00b1 {_number(deviation, digits)}" if math.isfinite(deviation) else ""
    chance = _chance(float(summary.p_values[method, metric]))
    facts = [
        f"{evaluation.metrics[metric].name} {_number(mean, digits)}",
        MARK_NAMES.get(mark, ""),
        f"standard deviation {_number(deviation, digits)}" if spread else "",
        f"n = {count}",
        f"{chance} against {evaluation.methods[0].name}" if chance else "",
    ]
    return Cell(
        text=_number(mean, digits),
        value=_sortable(mean),
        mark=mark,
        title=", ".join(text for text in facts if text),
        count=f"n = {count}" if count != usual else "",
        spread=spread,
        chance=chance,
    )


def _left_out(evaluation: Evaluation, summary: Summary) -> list[tuple[str, int]]:
    """Return the number of cases without a score for each method, if there are any."""
    missing = (~evaluation.is_scored).sum(axis=1).tolist()
    named = zip((method.name for method in evaluation.methods), missing, strict=True)
    return [] if summary.common.all() else [(name, count) for name, count in named if count]


def _data(evaluation: Evaluation, summary: Summary, digits: list[int], cases: list[Shown]) -> str:
    """Return the data for the page's script: JSON that is safe within a script element."""
    text = json.dumps(
        {
            "methods": [printable(method.name) for method in evaluation.methods],
            "metrics": [
                {"name": printable(metric.name), "higher": metric.higher_is_better, "digits": n}
                for metric, n in zip(evaluation.metrics, digits, strict=True)
            ],
            "cases": [printable(name) for name in evaluation.cases],
            "out": [] if summary.all_cases else np.flatnonzero(~summary.common).tolist(),
            "shown": [one.index for one in cases if one.index is not None],
            "values": [  # metric, method, case
                [[_short(value) for value in row] for row in of_metric]
                for of_metric in np.moveaxis(evaluation.values, 2, 0).tolist()
            ],
        },
        separators=(",", ":"),
        allow_nan=False,
    )
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _short(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


# --- box plots ------------------------------------------------------------------------------------


def _figures(evaluation: Evaluation, summary: Summary, digits: list[int]) -> list[Figure]:
    """Return the box plots of all metrics over the cases that count."""
    values = evaluation.values
    if not summary.all_cases:
        values = np.where(np.isfinite(values).all(axis=0), values, np.nan)
    names = [method.name for method in evaluation.methods]
    return [
        _figure(metric, values[:, :, metric], names, places) for metric, places in enumerate(digits)
    ]


def _figure(metric: int, values: Table, names: list[str], digits: int) -> Figure:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return Figure(metric, "no scores", [], [])
    axis = _axis(float(finite.min()), float(finite.max()))
    there = [method for method, row in enumerate(values) if np.isfinite(row).any()]
    medians = [f"{names[i]} {_number(float(np.nanmedian(values[i])), digits)}" for i in there]
    return Figure(
        metric,
        label=f"medians: {', '.join(medians)}",
        shapes=[_shape(i, names[i], values[i], axis, digits) for i in there],
        ticks=[(axis.across(value), text) for value, text in _ticks(axis.low, axis.high)],
    )


def _axis(low: float, high: float) -> Axis:
    """Return an axis between two numbers, or around one."""
    margin = 0.0 if high > low else abs(low) * 0.1 or 1.0
    return Axis(low - margin, high + margin)


def _shape(method: int, name: str, values: Table, axis: Axis, digits: int) -> Shape:
    """Return the box of one method's values, NaN for cases without one."""
    cases = np.flatnonzero(np.isfinite(values))
    there = values[cases]
    first, median, third = (float(value) for value in np.percentile(there, (25, 50, 75)))
    reach = 1.5 * (third - first)
    is_inside = (there >= first - reach) & (there <= third + reach)
    start, end = float(there[is_inside].min()), float(there[is_inside].max())
    outliers = np.flatnonzero(~is_inside)
    farthest = outliers[np.argsort(-np.abs(there[outliers] - median), kind="stable")]
    texts = [_number(value, digits) for value in (median, first, third, start, end)]
    return Shape(
        method=method,
        title=(
            f"{name}: median {texts[0]}, quartiles {texts[1]} and {texts[2]}, "
            f"whiskers {texts[3]} and {texts[4]}, n = {there.size}, outliers: {outliers.size}"
        ),
        whiskers=(axis.across(start), axis.across(end)),
        box=(axis.across(first), axis.across(third)),
        median=axis.across(median),
        points=tuple(
            (axis.across(float(there[i])), int(cases[i]), _number(float(there[i]), digits))
            for i in farthest[:MAX_OUTLIERS]
        ),
    )


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return two to six round numbers between two others, with their texts."""
    rough = (high - low) / 5
    power = math.floor(math.log10(rough))
    step = next(n * 10.0**power for n in (1, 2, 5, 10) if n * 10.0**power >= rough * 0.999)
    digits = max(0, -math.floor(math.log10(step * 1.001)))
    count = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return [(i * step, _number(i * step, digits)) for i in count]


# --- pictures -------------------------------------------------------------------------------------


def _shown(evaluation: Evaluation, one: ShownCase, digits: list[int], inset: Inset | None) -> Shown:
    """Encode the pictures of a case and put its scores under them."""
    names = [method.name for method in evaluation.methods]
    index = evaluation.cases.index(one.case) if one.case in evaluation.cases else None
    scores = [[] for _ in names] if index is None else _scores(evaluation, index, digits)
    modalities = evaluation.modalities if index is None else evaluation.modalities_of(index)
    enlarged = {
        name: _enlarged(one.case, inset, pixels)
        for name, pixels in one.pictures.items()
        if inset is not None
    }
    drawn = [_drawn(BY_NAME[name].title, None, one.pictures.get(name), []) for name in modalities]
    drawn += [_drawn(name, i, one.pictures.get(name), scores[i]) for i, name in enumerate(names)]
    drawn = [
        replace(picture, enlarged=enlarged.get(name))
        for picture, name in zip(drawn, (*modalities, *names), strict=True)
    ]
    return Shown(index, one.case, one.place, drawn)


def _enlarged(case: str, inset: Inset, pixels: NDArray[np.uint8]) -> Enlarged:
    """Cut the rectangle out of a picture, at its full size."""
    height, width = pixels.shape[:2]
    require_inside(case, inset, width, height)
    x, y, wide, high = inset
    frame = (x / width, y / height, wide / width, high / height)
    cut = PIL.Image.fromarray(np.ascontiguousarray(pixels[y : y + high, x : x + wide]))
    file = io.BytesIO()
    cut.save(file, "WEBP", lossless=True)
    return Enlarged(_css(frame), _css(corner_of(inset, width, height)), _data_uri(file.getvalue()))


def _css(place: Rectangle) -> str:
    sides = zip(("left", "top", "width", "height"), place, strict=True)
    return ";".join(f"{side}:{100 * share:.3f}%" for side, share in sides)


def _data_uri(webp: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"


def _columns(count: int, most: int) -> int:
    """Return the number of pictures per row, at most `most`, in rows of similar length."""
    return math.ceil(count / math.ceil(count / most))


def _scores(evaluation: Evaluation, case: int, digits: list[int]) -> list[list[tuple[str, Cell]]]:
    """Return the numbers of one case, for every method in turn."""
    values = evaluation.values[:, case]
    if not np.isfinite(values).any():
        return [[] for _ in values]
    columns = [
        (metric.name, places, column, _marks(column, higher_is_better=metric.higher_is_better))
        for metric, places, column in zip(evaluation.metrics, digits, values.T, strict=True)
    ]
    return [
        [
            (name, Cell(_number(float(column[i]), places), mark=marks[i]))
            for name, places, column, marks in columns
        ]
        for i in range(len(values))
    ]


def _drawn(
    label: str,
    method: int | None,
    pixels: NDArray[np.uint8] | None,
    scores: list[tuple[str, Cell]],
) -> Drawn:
    if pixels is None:
        return Drawn(label, method, scores)
    picture = PIL.Image.fromarray(pixels)
    width, height = picture.size
    scale = min(1.0, math.sqrt(MAX_PIXELS / (width * height)), LONGEST_SIDE / max(picture.size))
    note = ""
    if scale < 1:
        size = (max(1, int(width * scale)), max(1, int(height * scale)))
        picture = picture.resize(size, PIL.Image.Resampling.LANCZOS)
        note = f"{width}\u00d7{height}, shown at {scale:.0%}"
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=WEBP_QUALITY)
    return Drawn(label, method, scores, _data_uri(file.getvalue()), *picture.size, note)
