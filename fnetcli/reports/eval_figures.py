"""The figures of an evaluation as journals print them, each as SVG and PDF: boxes, pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fnetcli.evaluation.results import Evaluation
from fnetcli.evaluation.statistics import Summary
from fnetcli.files.durable import files_together
from fnetcli.modalities import BY_NAME
from fnetcli.reports.eval_page import ShownCase
from fnetcli.reports.insets import Inset, corner_of, require_inside
from fnetcli.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES, KINDS = ("scores", "pictures"), ("svg", "pdf")
WIDTH = 7.16  # inches: both columns of a page
COLUMNS = 3  # of box plots
ROW, FOOT = 0.17, 0.5  # inches: of one box, of the rest of a plot
MAX_CASES = 12  # rows of pictures
# Okabe and Ito's colours, as on the page.
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#a89600", "#868b95")
FRAME = "#d7191c"
STYLE = {
    "font.size": 7,
    "axes.linewidth": 0.6,
    "pdf.fonttype": 42,  # journals refuse Type 3 fonts
    "svg.hashsalt": "fnet",  # the same file each time
}
UNDATED: Mapping[str, dict[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}

Levels = NDArray[np.uint8]


def draw_figures(
    folder: Path,
    evaluation: Evaluation,
    summary: Summary,
    shown: Iterable[ShownCase],
    insets: Mapping[str, Inset],
) -> None:
    """Write all figures into a folder, all or none.

    Insets are by case. Raise EvaluationError if one leaves its picture, OutputError, WriteError.
    """
    import matplotlib as mpl

    style: Any = STYLE
    with mpl.rc_context(style), files_together(folder) as made:
        figures = {"scores": draw_scores(evaluation, summary)}
        cases = [one for one, _ in zip(shown, range(MAX_CASES), strict=False)]
        if cases:
            figures["pictures"] = draw_pictures(evaluation, cases, insets)
        for name, figure in figures.items():
            for kind in KINDS:
                figure.savefig(made / f"{name}.{kind}", format=kind, metadata=UNDATED[kind])


def draw_scores(evaluation: Evaluation, summary: Summary) -> Figure:
    """Draw a box plot of each metric over the cases that count, one box per method."""
    from matplotlib.figure import Figure

    values = evaluation.values
    if not summary.all_cases:
        values = np.where(np.isfinite(values).all(axis=0), values, np.nan)
    metrics, methods = evaluation.metrics, evaluation.methods
    rows = math.ceil(len(metrics) / COLUMNS)
    height = rows * (ROW * len(methods) + FOOT)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for metric, one in enumerate(axes):
        if metric >= len(metrics):
            one.set_axis_off()
            continue
        boxes = [row[np.isfinite(row)] for row in values[:, :, metric]]
        drawn = one.boxplot(
            boxes,
            orientation="horizontal",
            widths=0.65,
            patch_artist=True,
            flierprops={"markersize": 2, "markeredgewidth": 0.4},
            medianprops={"color": "black"},
        )
        for i, box in enumerate(drawn["boxes"]):
            box.set(facecolor=COLORS[i % len(COLORS)], alpha=0.75, linewidth=0.6)
        arrow = "↑" if metrics[metric].higher_is_better else "↓"
        one.set_title(f"{metrics[metric].name} {arrow}", fontsize=8)
        is_first = metric % COLUMNS == 0
        names = [_plain(method.name) for method in methods] if is_first else [""] * len(methods)
        one.set_yticks(range(1, len(methods) + 1), names)
        one.invert_yaxis()
        one.grid(axis="x", linewidth=0.3)
    return figure


def draw_pictures(
    evaluation: Evaluation, cases: list[ShownCase], insets: Mapping[str, Inset]
) -> Figure:
    """Draw one row per case: both sources, then every method, with an enlarged inset if given."""
    from matplotlib.figure import Figure

    names = [method.name for method in evaluation.methods]
    columns = 2 + len(names)
    ratios = [_ratio(one) for one in cases]
    side = WIDTH / columns
    figure = Figure(figsize=(WIDTH, sum(ratios) * side + 0.25 * len(cases)), layout="constrained")
    grid = figure.subplots(
        len(cases), columns, squeeze=False, gridspec_kw={"height_ratios": ratios}
    )
    for row, one in zip(grid, cases, strict=True):
        modalities = evaluation.modalities_of(evaluation.cases.index(one.case))
        sources = [(BY_NAME[name].title, one.pictures.get(name)) for name in modalities]
        methods = [(name, one.pictures.get(name)) for name in names]
        for axes, (label, picture) in zip(row, [*sources, *methods], strict=True):
            axes.set_axis_off()
            axes.set_title(_plain(label), fontsize=6, pad=2)
            if picture is not None:
                _draw_picture(axes, one.case, picture, insets.get(one.case))
    return figure


def _ratio(one: ShownCase) -> float:
    """Return height by width of a case's pictures."""
    height, width = next(iter(one.pictures.values())).shape[:2]
    return float(height / width)


def _draw_picture(axes: Axes, case: str, picture: Levels, inset: Inset | None) -> None:
    from matplotlib.patches import Rectangle

    height, width = picture.shape[:2]
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="none")
    if inset is None:
        return
    x, y, wide, high = inset
    require_inside(case, inset, width, height)
    left, top, across, down = corner_of(inset, width, height)
    large = axes.inset_axes((left, 1 - top - down, across, down))
    large.imshow(
        picture[y : y + high, x : x + wide], cmap="gray", vmin=0, vmax=255, interpolation="none"
    )
    large.set(xticks=[], yticks=[])
    for spine in large.spines.values():
        spine.set(edgecolor=FRAME, linewidth=1)
    axes.add_patch(
        Rectangle((x - 0.5, y - 0.5), wide, high, fill=False, edgecolor=FRAME, linewidth=0.8)
    )


def _plain(text: str) -> str:
    r"""Return a text for matplotlib, which reads formulas between dollars."""
    return printable(text).replace("$", r"\$")
