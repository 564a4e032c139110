"""Tables of numbers that several models have, for a terminal and for the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fnetcli.inspection.base import NumberTable
from fnetcli.inspection.wording import share, value


def sources_table(sources: Mapping[str, Mapping[str, Any]]) -> NumberTable:
    """Return the table of `SourceNumbers` by modality."""
    rows = [
        (
            name,
            *(value(of[key]) for key in ("lowest", "highest", "mean")),
            *(share(of[key]) for key in ("at_lowest", "at_highest", "constant")),
        )
        for name, of in sources.items()
    ]
    heads = ("", "lowest", "highest", "mean", "at lowest", "at highest", "constant")
    title = "sources: luminance in [0, 1], and shares of its pixels"
    return NumberTable(title, heads, tuple(rows))


def parts_table(parts: Mapping[str, Mapping[str, Any]], modalities: tuple[str, str]) -> NumberTable:
    """Return the table of `PartNumbers` by the parts' names, with keys that name modalities."""
    rows = [
        (
            name,
            share(of["energy_share"]),
            *(value(of[f"correlation_with_{modality}"]) for modality in modalities),
            *(value(of[key]) for key in ("lowest", "highest")),
        )
        for name, of in parts.items()
    ]
    heads = ("", "energy", *(f"with {modality}" for modality in modalities), "lowest", "highest")
    title = "parts: share of the energy, correlation with each source, range"
    return NumberTable(title, heads, tuple(rows))


def clipping_sentence(record: Mapping[str, Any]) -> str:
    """Return how much of the fused luminance is clipped."""
    below, above = (share(record[f"clipped_{side}"]) for side in ("below", "above"))
    return f"fused pixels clipped: {share(record['clipped'])} ({below} below 0, {above} above 1)"


def worded(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return tables of numbers for the page, rows and columns in words."""
    return {
        name.replace("_", " "): {key.replace("_", " "): one for key, one in table.items()}
        for name, table in tables.items()
    }
