"""The numbers of a pair in an FNet: as JSON, as tables, as sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fnetcli.inspection.base import NumberTable
from fnetcli.inspection.fnet.numbers import PairNumbers
from fnetcli.inspection.fnet.words import BLOCK_LABELS
from fnetcli.inspection.tables import clipping_sentence, parts_table, sources_table, worded
from fnetcli.inspection.wording import amount, by_modality, share, value, with_modalities, yes_no

STRONGEST = 3  # atoms that are named

Modalities = tuple[str, str]


def pair_record(numbers: PairNumbers, modalities: Modalities) -> dict[str, Any]:
    """Return the numbers, ready for JSON, with sources and parts named by modality."""
    record = numbers.record()
    parts = {name: by_modality(values, modalities) for name, values in record["parts"].items()}
    return {
        **record,
        "sources": by_modality(record["sources"], modalities),
        "parts": by_modality(parts, modalities),
    }


def pair_tables(record: Mapping[str, Any], modalities: Modalities) -> tuple[NumberTable, ...]:
    """Return the tables of `pair_record` for a terminal."""
    codes = [
        (
            f"{letter}: {with_modalities(BLOCK_LABELS[letter], modalities)}",
            *(share(of[f"nearly_zero_{when}"]) for when in ("before", "after")),
            amount(of["energy"]),
            " ".join(map(str, _strongest(of["energy_per_atom"]))),
            yes_no(of["thresholds_fall"]),
            yes_no(of["momentum_rises"]),
        )
        for letter, of in record["codes"].items()
    ]
    return (
        sources_table(record["sources"]),
        parts_table(record["parts"], modalities),
        NumberTable(
            "codes: share nearly zero (|x| < theta/100) around the last threshold, atoms",
            ("", "before", "after", "energy", "strongest", "theta falls", "rho rises"),
            tuple(codes),
        ),
    )


def pair_sentences(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return further findings."""
    correlation = value(record["unique_energy_correlation"])
    return (
        f"correlation of the unique codes' energy maps: {correlation}",
        clipping_sentence(record),
    )


def page_numbers(record: Mapping[str, Any], modalities: Modalities) -> dict[str, Any]:
    """Return the numbers in words, for the page."""
    codes = {
        f"{letter}, {with_modalities(BLOCK_LABELS[letter], modalities)}": {
            "nearly zero before the threshold": code["nearly_zero_before"],
            "nearly zero after": code["nearly_zero_after"],
            "energy": code["energy"],
            "thresholds fall": code["thresholds_fall"],
            "momentum rises": code["momentum_rises"],
        }
        for letter, code in record["codes"].items()
    }
    return {
        "Parts": worded(record["parts"]),
        "Codes": codes,
        "Sources": worded(record["sources"]),
        "The pair": {
            "correlation of the unique codes' energy maps": record["unique_energy_correlation"],
            "fused pixels clipped": share(record["clipped"]),
        },
    }


def _strongest(energies: Sequence[float]) -> list[int]:
    return sorted(range(len(energies)), key=lambda atom: -energies[atom])[:STRONGEST]
