"""The findings of `fnet inspect`, as lines and tables for a terminal of 80 columns."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rich.cells import cell_len
from rich.table import Table as RichTable
from rich.text import Text

from fnetcli.inspection.base import NumberTable, WeightsFacts
from fnetcli.inspection.image_facts import ImageFacts, Way
from fnetcli.inspection.wording import decimals, share
from fnetcli.modalities import MODALITIES
from fnetcli.text import number_of, printable

WIDTH, INDENT = 80, 15
GAP = 2  # between two columns
MAX_SHOWN, MAX_LINES = 600, 12  # characters and lines of an entry of metadata

VOLUME_KINDS = frozenset({"DICOM", "NIfTI", "NRRD", "MetaImage", "FreeSurfer"})


# --- a pair ---------------------------------------------------------------------------------------


def terminal_tables(table: NumberTable, width: int | None) -> list[RichTable]:
    """Return a table of a pair, split into as many parts as needed to fit into `width`, if given.

    Each part starts with the names of the rows.
    """
    names, *others = zip(table.heads, *table.rows, strict=True)
    parts = [[names]]
    for column in others:
        if len(parts[-1]) > 1 and width and _width([*parts[-1], column]) > width:
            parts.append([names])
        parts[-1].append(column)
    return [_table(part) for part in parts]


def _width(columns: Sequence[Sequence[str]]) -> int:
    widths = [max(cell_len(cell) for cell in column) for column in columns]
    return sum(widths) + GAP * (len(columns) - 1)


def _table(columns: Sequence[Sequence[str]]) -> RichTable:
    """Return a table of columns, each below its head, without wrapped or cut cells."""
    table = RichTable(show_edge=False, box=None, pad_edge=False)
    for column in columns:
        side: Literal["left", "right"] = "left" if column is columns[0] else "right"
        table.add_column(Text(column[0]), justify=side, min_width=_width([column]))
    for row in list(zip(*columns, strict=True))[1:]:
        table.add_row(*map(Text, row))
    return table


# --- weights --------------------------------------------------------------------------------------


def weights_lines(facts: WeightsFacts, path: str) -> list[str]:
    """Return the facts about a weights file; `path` describes the executor on this machine."""
    record = facts.record()
    counts = ", ".join(f"{name} {count:,}" for name, count in facts.parameters.items())
    adds, reach = facts.multiply_adds, facts.reach
    lines = [
        *_fact("name", facts.name),
        *_fact("layout", facts.layout),
        *_fact("sha256", facts.sha256),
        *(_fact("model", record["model"]) if "model" in record else []),
        *_fact("network", *_in_words(facts.config)),
        *_fact("parameters", f"{facts.parameter_count:,}: {counts}"),
        *_fact("multiply-adds", "unknown" if adds is None else f"{adds:,} per pixel"),
        *_fact("reach", "the whole image" if reach is None else number_of(reach, "pixel")),
        *_fact("runs here", path),
    ]
    for name, values in facts.series.items():
        lines += _fact(name, _numbers(values))
    known = {"recipe": facts.recipe, "trained": facts.trained, "scores": facts.scores}
    for name, value in known.items():
        if value is not None:
            lines += _fact(name, *_in_words(value))
    if facts.other_metadata:
        lines += _fact("also says", *_in_words(facts.other_metadata))
    return lines


def _numbers(values: Sequence[float]) -> str:
    return " ".join(decimals(value, 4) for value in values) or "none"


def _in_words(value: Any) -> list[str]:
    """Return metadata, which may be anything and of any length, as a few lines."""
    lines = [line for line in _texts_of(value) if line]
    more = len(lines) - MAX_LINES
    return [
        *map(_shortened, lines[:MAX_LINES]),
        *([f"... and {more:,} more; --json has all"] if more > 0 else []),
    ]


def _shortened(line: str) -> str:
    more = len(line) - MAX_SHOWN
    if more <= 0:
        return line
    return f"{line[:MAX_SHOWN]} ... {number_of(more, 'more character', form=',')}; --json has all"


def _texts_of(value: Any) -> list[str]:
    if not isinstance(value, Mapping):
        return [_plain(value)]
    single = {key: inner for key, inner in value.items() if not isinstance(inner, Mapping)}
    lines = [", ".join(f"{_plain(key)} {_plain(inner)}" for key, inner in single.items())]
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            words = ", ".join(f"{_plain(name)} {_plain(one)}" for name, one in inner.items())
            lines.append(f"{_plain(key)}: {words}")
    return lines


def _plain(value: Any) -> str:
    match value:
        case bool() | None:
            return {True: "yes", False: "no", None: "-"}[value]
        case float():
            return f"{value:.4g}"
        case str():
            return value
        case _:
            return json.dumps(value, default=str)


# --- an image -------------------------------------------------------------------------------------


def image_lines(facts: ImageFacts) -> list[str]:
    """Return the facts about a file as fnet reads it."""
    slices = f", {facts.slices} slices" if facts.slices > 1 else ""
    transparent = ", with transparency" if facts.has_transparency else ""
    lines = [
        *_fact("file", facts.file, is_wrapped=False),
        *_fact("format", facts.format),
        *_fact("size", f"{facts.width}x{facts.height} pixels{slices}"),
        *_fact("channels", f"{facts.channels}{transparent}"),
        *_fact("numbers", facts.type + (f", {facts.bits} bits used" if facts.bits else "")),
    ]
    if facts.pages > 1:
        lines += _fact("pages", f"{facts.pages}; --page chooses")
    if facts.celsius is not None:
        low, high, mean = facts.celsius
        lines += _fact("temperatures", f"{low:.1f} to {high:.1f} °C, mean {mean:.1f} °C")
    for detail in facts.details:
        lines += _fact("holds", detail)
    if facts.is_georeferenced:
        lines += _fact("georeference", "yes")
    if facts.format in VOLUME_KINDS:
        lines += _volume_lines(facts)
    if facts.without_data:
        pixels = facts.width * facts.height * facts.slices
        lines += _fact("without data", f"{share(facts.without_data / pixels)} of the pixels")
    if facts.numbers is not None:
        found = facts.numbers
        span = f"{found.lowest:.6g} to {found.highest:.6g}, mean {found.mean:.6g}"
        shares = ", ".join(f"{key}%: {value:.6g}" for key, value in found.percentiles.items())
        lines += [*_fact("range", span), *_fact("percentiles", shares)]
    lines += _fact("black to white", *(line for way in facts.scaling for line in _way(way)))
    return lines


def _volume_lines(facts: ImageFacts) -> list[str]:
    unit = _fact("unit", facts.unit or "unknown")
    if facts.spacing_mm is None:
        return [*unit, *_fact("place", "the file has no position in the patient")]
    steps = " x ".join(f"{step:.4g}" for step in facts.spacing_mm)
    return [*unit, *_fact("voxels", f"{steps} mm, slices are {facts.plane}")]


def _way(way: Way) -> list[str]:
    """Return how an image would be scaled, and notices."""
    if way.rule.upper().startswith(tuple(name.upper() for name in way.modalities)):
        return [way.rule, *way.notices]  # a window's sentence says everything
    names = {
        1: f"as {way.modalities[0]}",
        len(MODALITIES): "as any modality",
    }.get(len(way.modalities), "as any other")
    rule = f" ({way.rule})" if way.rule else ""
    return [f"{names}: {way.low:.6g} to {way.high:.6g}{rule}", *way.notices]


# --- lines ----------------------------------------------------------------------------------------


def _fact(name: str, *texts: str, is_wrapped: bool = True) -> list[str]:
    """Return a name with texts beside it, in lines that fit into the terminal.

    Texts from files are escaped.
    """
    lines = [printable(text) for text in texts]
    if is_wrapped:
        width = WIDTH - INDENT
        lines = [
            line
            for text in lines
            for line in textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
        ]
    return [
        f"{name if i == 0 else '':{INDENT - 1}} {line}".rstrip() for i, line in enumerate(lines)
    ]
