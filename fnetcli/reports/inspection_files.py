"""Everything that `fnet inspect` writes of a pair: numbers, codes, pictures, one page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnetcli.files.durable import files_together
from fnetcli.inspection.fnet.numbers import PairNumbers
from fnetcli.inspection.fnet.trace import PairTrace, TraceOptions, write_features_file
from fnetcli.inspection.fnet.weights import CheckpointFacts, Dictionary
from fnetcli.inspection.names import FEATURES_FILE, PAGE_FILE, PAIR_FILES
from fnetcli.modalities import shown_name
from fnetcli.models.fnet.config import FNetConfig
from fnetcli.pictures.misalignment import Misalignment
from fnetcli.reports.figures import (
    Figure,
    draw_code,
    draw_features,
    draw_histograms,
    draw_parts,
    draw_residuals,
    draw_schedules,
)
from fnetcli.reports.inspect_page import PairPage, Plot, write_inspect_page
from fnetcli.reports.inspection_text import BLOCK_NAMES

Levels = NDArray[np.uint8]
Map = NDArray[np.float32]


@dataclass(frozen=True)
class InspectedPair:
    """A pair and all that was found in it; pictures are (H, W) or (H, W, 3)."""

    name: str
    modalities: tuple[str, str]
    sources: tuple[Levels, Levels]
    fused: Levels
    luminances: tuple[Map, Map]
    trace: PairTrace
    numbers: PairNumbers
    misalignment: Misalignment
    network: CheckpointFacts
    dictionaries: Sequence[Dictionary]
    said: Sequence[str]  # good to know
    notices: Sequence[str]  # perhaps not wanted
    details: Mapping[str, str]
    command: str  # that fuses this pair


def pair_figures(pair: InspectedPair) -> dict[str, Figure]:
    """Draw the pictures of a pair, by file name."""
    names = pair.modalities
    sheets = {
        f"code_{letter}.png": draw_code(block, f"{letter}: {BLOCK_NAMES[letter].format(*names)}")
        for letter, block in pair.trace.blocks.items()
    }
    return {
        "features.png": draw_features(pair.trace, names),
        "parts.png": draw_parts(pair.trace, names),
        "residuals.png": draw_residuals(pair.trace, names),
        "histograms.png": draw_histograms(pair.trace, names),
        "schedules.png": draw_schedules(pair.network.blocks),
        **sheets,
    }


def pair_record(pair: InspectedPair) -> dict[str, Any]:
    """Return all numbers as JSON takes them; sources and parts under the names of modalities."""
    first, second = pair.modalities
    record = pair.numbers.record()
    names = {"first": first, "second": second}
    record["sources"] = {names[key]: value for key, value in record["sources"].items()}
    record["parts"] = {
        shown_name(key, pair.modalities): {
            shown_name(field, pair.modalities): number for field, number in value.items()
        }
        for key, value in record["parts"].items()
    }
    return {
        "pair": pair.name,
        "modalities": list(pair.modalities),
        "size": list(pair.luminances[0].shape),
        "weights": {"name": pair.network.name, "sha256": pair.network.sha256},
        **record,
        "misalignment": pair.misalignment.record(),
        "said": list(pair.said),
        "notices": list(pair.notices),
    }


def write_pair(
    out: Path, pair: InspectedPair, on_step: Callable[[], None] = lambda: None
) -> dict[str, str]:
    """Write features, pictures and the page, all or none; return what each file's scale is.

    Raise OutputError, WriteError.
    """
    said = {FEATURES_FILE: "codes float16, maps float32: docs/outputs.md"}
    with files_together(out, PAGE_FILE) as folder:
        write_features_file(folder / FEATURES_FILE, pair.trace)
        on_step()
        figures = pair_figures(pair)
        for name, figure in figures.items():
            figure.save(folder / name)
            said[name] = figure.scale
            on_step()
        write_inspect_page(folder / PAGE_FILE, _page(pair, figures))
        said[PAGE_FILE] = "opens in any browser"
        on_step()
    return said


def features_bytes(shape: tuple[int, ...], config: FNetConfig, wanted: TraceOptions) -> int:
    """Return about how large the features file of a pair of (H, W) will be."""
    steps = 2 * (config.iterations + 1) if wanted.with_iterations else 0
    kept = 3 * (steps + wanted.with_codes)
    maps = 3 + 2 + 3  # parts, residuals, energy maps
    return math.prod(shape) * (kept * config.atoms * 2 + maps * 4)


def count_files() -> int:
    """Return how often `write_pair` calls `on_step`."""
    return len(PAIR_FILES)


def _page(pair: InspectedPair, figures: Mapping[str, Figure]) -> PairPage:
    blocks = pair.trace.blocks
    roles = ("unique_first", "unique_second", "common")
    shown = ("features.png", "histograms.png", "schedules.png")
    captions = {
        "features.png": "Unique and common features",
        "histograms.png": "Codes before and after their last threshold",
        "schedules.png": "Thresholds and momentum over the iterations",
    }
    return PairPage(
        title=pair.name,
        modalities=pair.modalities,
        sources=pair.sources,
        fused=pair.fused,
        luminances=pair.luminances,
        parts={
            shown_name(role, pair.modalities): part
            for role, part in zip(roles, pair.trace.parts, strict=True)
        },
        residuals=pair.trace.residuals,
        codes={letter: block.thumbnails for letter, block in blocks.items()},
        code_shape=(pair.trace.config.atoms, *pair.luminances[0].shape),
        kernels={
            letter: next(
                one.stamps
                for one in pair.dictionaries
                if one.block == letter and one.symbol.startswith("G")
            )
            for letter in blocks
        },
        energies={letter: block.energies for letter, block in blocks.items()},
        numbers=_labelled(pair),
        plots={captions[name]: Plot(figures[name].png, figures[name].scale) for name in shown},
        notices=[*pair.said, *pair.notices],
        details=pair.details,
        command=pair.command,
    )


def _labelled(pair: InspectedPair) -> dict[str, Any]:
    """Return the numbers in words, as tables."""
    record = pair_record(pair)
    codes = {
        f"{letter}, {BLOCK_NAMES[letter].format(*pair.modalities)}": {
            "nearly zero before the threshold": code["nearly_zero_before"],
            "nearly zero after": code["nearly_zero_after"],
            "energy": code["energy"],
            "thresholds fall": code["thresholds_fall"],
            "momentum rises": code["momentum_rises"],
        }
        for letter, code in record["codes"].items()
    }
    words = {key: key.replace("_", " ") for table in record["parts"].values() for key in table}
    words |= {key: key.replace("_", " ") for table in record["sources"].values() for key in table}

    def worded(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        return {
            name.replace("_", " "): {words[key]: value for key, value in table.items()}
            for name, table in tables.items()
        }

    first, second = pair.modalities
    return {
        "Parts": worded(record["parts"]),
        "Codes": codes,
        "Sources": worded(record["sources"]),
        "The pair": {
            "correlation of the unique codes' energy maps": record["unique_energy_correlation"],
            "fused pixels clipped": record["clipped"],
            "misalignment": pair.misalignment.describe(first, second),
        },
    }
