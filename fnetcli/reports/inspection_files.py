"""Write the results of `fnet inspect`: numbers, features, pictures, one page."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import PIL.Image

from fnetcli.files.durable import files_together
from fnetcli.formats import write_npz
from fnetcli.inspection.base import (
    FEATURES_FILE,
    PAGE_FILE,
    Comparison,
    Inspector,
    written_names,
)
from fnetcli.inspection.figures import FigureData
from fnetcli.inspection.pair import InspectedPair
from fnetcli.inspection.subject import Subject
from fnetcli.inspection.wording import not_aligned
from fnetcli.modalities import shown_name
from fnetcli.reports.comparison_page import ComparisonPage, write_comparison_page
from fnetcli.reports.figures import Figure, draw
from fnetcli.reports.inspect_page import PairPage, Plot, write_inspect_page
from fnetcli.reports.registered import (
    checkerboard,
    flicker,
    picture_of,
    residual_arrows,
    side_by_side,
)

# --- a pair ---------------------------------------------------------------------------------------


def write_pair(
    out: Path, pair: InspectedPair, on_step: Callable[[], None] = lambda: None
) -> dict[str, str]:
    """Write features, pictures and the page, all or none; return the scale of each file.

    Raise OutputError, WriteError.
    """
    scales = {FEATURES_FILE: "features float16, maps float32: docs/outputs.md"}
    with files_together(out, PAGE_FILE) as folder:
        write_npz(folder / FEATURES_FILE, dict(pair.findings.arrays))
        on_step()
        figures = {name: draw(data) for name, data in pair.findings.figures.items()}
        for name, figure in figures.items():
            figure.save(folder / name)
            scales[name] = figure.scale
            on_step()
        write_inspect_page(folder / PAGE_FILE, _page(pair, figures))
        scales[PAGE_FILE] = "opens in any browser"
        on_step()
    return scales


def count_files(inspector: Inspector) -> int:
    """Return how often `write_pair` calls `on_step`."""
    return len(written_names(inspector))


def _page(pair: InspectedPair, figures: Mapping[str, Figure]) -> PairPage:
    findings, modalities = pair.findings, pair.modalities
    first, second = modalities
    numbers = dict(findings.numbers)
    placed = pair.misalignment.describe(first, second)
    common = {"misalignment": placed}
    is_aligned = not pair.misalignment.is_large
    numbers["The pair"] = {**numbers.get("The pair", {}), **common}
    return PairPage(
        title=pair.subject.name,
        modalities=modalities,
        sources=pair.subject.sources,
        fused=pair.picture,
        luminances=pair.subject.luminances,
        fused_luminance=findings.fusion.fused[0],
        maps={shown_name(name, modalities): one for name, one in findings.maps.items()},
        features=findings.features,
        words=findings.words,
        numbers=numbers,
        plots={
            caption: Plot(figures[name].png, figures[name].scale)
            for name, caption in findings.plots.items()
        }
        | _registration_plots(pair.subject),
        warnings=[*([] if is_aligned else [not_aligned(placed)]), *pair.notices],
        notices=pair.subject.info,
        clipped=findings.record.get("clipped"),
        details=pair.details,
        command=pair.command,
    )


def _registration_plots(subject: Subject) -> dict[str, Plot]:
    """Return how the two pictures lay on each other before and after they were placed."""
    if subject.placed is None or subject.before is None:
        return {}
    before, after = subject.before, subject.sources
    boards = side_by_side([checkerboard(*before), checkerboard(*after)])
    frames = [side_by_side([picture_of(before[i]), picture_of(after[i])]) for i in (0, 1)]
    plots = {
        "Both images in turn, before and after": Plot(_png(boards), "checkerboard"),
        "Flicker, before and after": Plot(
            flicker(frames[0], frames[1]), "what moves is not aligned"
        ),
    }
    found = subject.placed.found
    if found is not None:
        left, top, _, _ = subject.placed.window
        rows = [(x - left, y - top, *rest) for x, y, *rest in found.record()["residuals"]]
        names = (subject.placed.moving, subject.placed.reference)
        kept = after[0] if subject.place_of_reference == 0 else after[1]
        plots["Residual of each block"] = Plot(
            _png(residual_arrows(kept, rows)),
            f"{names[0]} on {names[1]}: five times as long; green: counts as agreeing",
        )
    return plots


def _png(picture: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


# --- two networks ---------------------------------------------------------------------------------


def write_comparison(out: Path, comparison: Comparison, page: ComparisonPage) -> dict[str, str]:
    """Write the figures of a comparison and its page, all or none; return each file's scale.

    The plots are put on the page. Raise OutputError, WriteError.
    """
    figures = {name: draw(one) for name, one in comparison.figures.items()}
    plots = {
        title: Plot(figures[name].png, figures[name].scale)
        for name, title in comparison.plots.items()
    }
    with files_together(out, PAGE_FILE) as folder:
        for name, figure in figures.items():
            figure.save(folder / name)
        write_comparison_page(folder / PAGE_FILE, replace(page, plots=plots))
    scales = {name: figure.scale for name, figure in figures.items()}
    return {**scales, PAGE_FILE: "opens in any browser"}


# --- weights --------------------------------------------------------------------------------------


def write_weights_figures(out: Path, inspector: Inspector) -> dict[str, str]:
    """Write the figures of weights, all or none; return the scale of each file.

    Raise OutputError, WriteError.
    """
    return write_figures(out, inspector.weights_figures())


def write_figures(out: Path, data: Mapping[str, FigureData]) -> dict[str, str]:
    """Write figures, all or none; return the scale of each file. Raise OutputError, WriteError."""
    figures = {name: draw(one) for name, one in data.items()}
    with files_together(out) as folder:
        for name, figure in figures.items():
            figure.save(folder / name)
    return {name: figure.scale for name, figure in figures.items()}
