"""Write the results of `fnet inspect`: numbers, features, pictures, one page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fnetcli.files.durable import files_together
from fnetcli.formats import write_npz
from fnetcli.inspection.base import FEATURES_FILE, PAGE_FILE, Inspector, written_names
from fnetcli.inspection.figures import FigureData
from fnetcli.inspection.pair import InspectedPair
from fnetcli.inspection.wording import not_aligned
from fnetcli.modalities import shown_name
from fnetcli.reports.figures import Figure, draw
from fnetcli.reports.inspect_page import PairPage, Plot, write_inspect_page

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
        },
        warnings=[*([] if is_aligned else [not_aligned(placed)]), *pair.notices],
        notices=pair.subject.info,
        clipped=findings.record.get("clipped"),
        details=pair.details,
        command=pair.command,
    )


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
