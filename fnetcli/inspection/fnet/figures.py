"""The figures of an FNet: codes, parts, residuals, histograms, schedules, dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fnetcli.inspection.figures import (
    ChannelSheet,
    Distribution,
    FigureData,
    HistogramPanel,
    HistogramRow,
    KernelGrids,
    Line,
    LinePanel,
    LineRow,
    MapRow,
    NormRow,
)
from fnetcli.inspection.fnet.trace import BlockTrace, Measured, PairTrace, Step
from fnetcli.inspection.fnet.weights import BlockFacts, Dictionary
from fnetcli.inspection.fnet.words import BLOCK_LABELS
from fnetcli.inspection.wording import percent, with_modalities

Modalities = tuple[str, str]

COLORS = {"u": "#b2182b", "v": "#2166ac", "z": "#4d4d4d"}  # of the blocks in plots


def pair_figures(
    trace: PairTrace, blocks: Mapping[str, BlockFacts], names: Modalities
) -> dict[str, FigureData]:
    """Return the figures of a pair, by file name."""
    sheets = {
        f"code_{letter}.png": code_sheet(
            block, f"{letter}: {with_modalities(BLOCK_LABELS[letter], names)}"
        )
        for letter, block in trace.blocks.items()
    }
    return {
        "features.png": features_row(trace, names),
        "parts.png": parts_row(trace, names),
        "residuals.png": residuals_row(trace, names),
        "histograms.png": histograms_row(trace, names),
        "schedules.png": schedules_row(blocks),
        **sheets,
    }


def code_sheet(block: BlockTrace, title: str) -> ChannelSheet:
    """Return all maps of a code."""
    return ChannelSheet(title, block.thumbnails, block.energies, "atoms")


def features_row(trace: PairTrace, names: Modalities) -> NormRow:
    """Return unique and common features (the paper's Fig. 8a): the root of each energy map."""
    labels = [f"u: unique to {names[0]}", f"v: unique to {names[1]}", "z: common to both"]
    maps = [np.sqrt(trace.blocks[letter].energy_map) for letter in "uvz"]
    return NormRow(
        "Unique and common features",
        dict(zip(labels, maps, strict=True)),
        f"L2 norm over the {trace.config.atoms} atoms",
    )


def parts_row(trace: PairTrace, names: Modalities) -> MapRow:
    """Return unique and common reconstruction (the paper's Fig. 8b)."""
    labels = [f"unique to {names[0]}", f"unique to {names[1]}", "common to both"]
    maps = dict(zip(labels, trace.parts, strict=True))
    return MapRow("Unique and common reconstruction: they sum to the fused luminance", maps)


def residuals_row(trace: PairTrace, names: Modalities) -> MapRow:
    """Return p1 and p2: the two images minus what the unique features explain."""
    labels = [f"p1: {names[0]} minus what u explains", f"p2: {names[1]} minus what v explains"]
    maps = dict(zip(labels, trace.residuals, strict=True))
    return MapRow("Residuals, the input of z", maps)


# --- plots ----------------------------------------------------------------------------------------


def histograms_row(trace: PairTrace, names: Modalities) -> HistogramRow:
    """Return the histograms of u, v, z before and after the last threshold (Fig. 10 a-c)."""
    titles = {"u": f"u: unique to {names[0]}", "v": f"v: unique to {names[1]}", "z": "z: common"}
    return HistogramRow(
        "Codes before and after the last thresholding",
        tuple(
            _panel(trace.blocks[letter].last, titles[letter], COLORS[letter]) for letter in "uvz"
        ),
        "dotted: plus and minus theta_K; nearly zero: |x| < theta_K / 100",
    )


def _panel(last: Step, title: str, color: str) -> HistogramPanel:
    both: tuple[tuple[str, Measured | None, str | None], ...] = (
        ("before", last.before, None),
        ("after", last.after, color),
    )
    known = [(word, one, tone) for word, one, tone in both if one is not None]
    nearly_zero = ", ".join(f"{percent(100 * one.nearly_zero)} {word}" for word, one, _ in known)
    return HistogramPanel(
        title=f"{title}\nnearly zero: {nearly_zero}",
        distributions=tuple(
            Distribution(word, one.values, one.counts, tone) for word, one, tone in known
        ),
        marks=(-last.theta, last.theta),
        reach=2 * last.theta,
    )


def schedules_row(blocks: Mapping[str, BlockFacts]) -> LineRow:
    """Return theta_k and rho_k over k for the three blocks (Fig. 10)."""
    styles = [
        (letter, facts, marker)
        for (letter, facts), marker in zip(blocks.items(), "osD", strict=False)
    ]
    thresholds = [
        Line(letter, facts.theta, 0, COLORS.get(letter), marker) for letter, facts, marker in styles
    ]
    momenta = [
        Line(letter, facts.rho, 1, COLORS.get(letter), marker)
        for letter, facts, marker in styles
        if facts.rho
    ]
    return LineRow(
        panels=(
            LinePanel("threshold theta_k: must fall", tuple(thresholds)),
            LinePanel("momentum rho_k: must rise", tuple(momenta), "this network has none"),
        ),
        x_label="iteration k",
        ticks=max(len(facts.theta) for facts in blocks.values()),
        scale="one line per block",
    )


# --- dictionaries ---------------------------------------------------------------------------------


def weights_figures(
    dictionaries: Sequence[Dictionary], blocks: Mapping[str, BlockFacts]
) -> dict[str, FigureData]:
    """Return the schedules, and one figure for each block and role, by file name."""
    found: dict[str, FigureData] = {"schedules.png": schedules_row(blocks)}
    for letter in blocks:
        for role in ("analysis", "synthesis"):
            some = [one for one in dictionaries if (one.block, one.role) == (letter, role)]
            title = f"{role} dictionaries of block {letter}"
            found[f"{role}_{letter}.png"] = kernel_grids(some, title)
    return found


def kernel_grids(dictionaries: Sequence[Dictionary], title: str) -> KernelGrids:
    """Return grids of kernels; synthesis kernels are rotated as they appear in a picture."""
    grids = []
    for one in dictionaries:
        channel = f" [{one.channel}]" if one.block == "z" and one.symbol != "G_z" else ""
        grids.append((f"{one.symbol}{channel}, {one.role}", one.stamps))
    return KernelGrids(title, tuple(grids))
