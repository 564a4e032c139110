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

UNIQUE_COLUMNS = (
    *("explained", "explained_by_chance", "source_explained"),
    *("gradients_explained", "gradients_explained_by_chance", "edges_kept"),
)
SEPARATION_COLUMNS = (
    *("shared_edges", "single_edges", "common_variance", "common_edges"),
    *("likeness", "likeness_in_common"),
)

Modalities = tuple[str, str]


def pair_record(numbers: PairNumbers, modalities: Modalities) -> dict[str, Any]:
    """Return the numbers, ready for JSON, with sources and parts named by modality."""
    record = numbers.record()
    parts = {name: by_modality(values, modalities) for name, values in record["parts"].items()}
    return {
        **record,
        "sources": by_modality(record["sources"], modalities),
        "parts": by_modality(parts, modalities),
        "separation": by_modality(record["separation"], modalities),
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
        _unique_table(record["separation"], modalities),
        _separation_table(record["separation"]),
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
        "Separation": _separation_columns(record["separation"], modalities),
        "Separation of the pair": _separation_values(record["separation"]),
        "Codes": codes,
        "Sources": worded(record["sources"]),
        "The pair": {
            "correlation of the unique codes' energy maps": record["unique_energy_correlation"],
            "fused pixels clipped": share(record["clipped"]),
        },
    }


def _unique_table(record: Mapping[str, Any], modalities: Modalities) -> NumberTable:
    rows = [
        (
            f"unique_{modality}",
            value(record[modality]["correlation_with_source"]),
            *(share(record[modality][key]) for key in UNIQUE_COLUMNS),
        )
        for modality in modalities
    ]
    heads = ("", "with own", "explained", "chance", "source", "edges", "chance", "kept")
    title = "unique parts: what the other source explains of them; edges of both kept"
    return NumberTable(title, heads, tuple(rows))


def _separation_table(record: Mapping[str, Any]) -> NumberTable:
    heads = ("", "score", "shared", "single", "detail", "edges", "likeness", "where common")
    shares = (share(record[key]) for key in SEPARATION_COLUMNS)
    title = "separation: 1 is perfect; shares of the common part; likeness of the sources"
    return NumberTable(title, heads, (("all parts", value(record["score"]), *shares),))


def _separation_columns(record: Mapping[str, Any], modalities: Modalities) -> dict[str, Any]:
    return worded({f"unique_{name}": record[name] for name in modalities})


def _separation_values(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers that are not of one part, in words."""
    return {
        key.replace("_", " "): one for key, one in record.items() if not isinstance(one, Mapping)
    }


def _strongest(energies: Sequence[float]) -> list[int]:
    return sorted(range(len(energies)), key=lambda atom: -energies[atom])[:STRONGEST]
