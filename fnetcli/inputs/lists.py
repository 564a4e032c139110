"""Lists of pairs: CSV files as spreadsheets of any country write them, and rows from Python."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from fnetcli.errors import UsageError
from fnetcli.files.guarded import FileKind, read_text
from fnetcli.inputs.pairing import Case, Pairing
from fnetcli.modalities import MODALITIES, network_order
from fnetcli.text import number_of

CASE_COLUMN = "case"
LIST = FileKind("a list of pairs", 256 << 20, "save the list as CSV in UTF-8")
SEPARATORS = (",", ";", "\t", "|")
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # by which Excel is told
DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def pair_list(
    path: Path, *, takes_same_file: Callable[[tuple[str, str]], bool] = lambda _: False
) -> tuple[tuple[str, str], Pairing]:
    """Read pairs from a CSV file; return its two modalities, in the network's order, and the pairs.

    The first line names two modalities and, if wanted, `case`, whatever the letter case; further
    columns are kept. It also tells which separator is used. Paths are relative to the file's folder
    and may not leave it; backslashes stand for slashes. Without `case` a pair is named after its
    second image. One file in both columns is refused unless `takes_same_file` of the modalities; a
    folder may hold both.
    Raise UsageError, with the number of the line.
    """
    table = _table(path)
    modalities = _modalities(path, table.columns)
    further: dict[str, dict[str, str]] = {
        name: {} for name in table.columns if name and name not in (*MODALITIES, CASE_COLUMN)
    }
    folder, cases, lines = path.parent, list[Case](), dict[str, int]()
    may_be_same = takes_same_file(modalities)
    for number, row in table.rows:
        where = f"{path}, line {number}"
        case = _listed(row, modalities, folder, where)
        if not may_be_same and case.first == case.second and not case.first.is_dir():
            first, second = modalities
            raise UsageError(
                f"{where}: {case.first} would be fused with itself; say which of its bands belong "
                f"to which with --band {second}=1,2,3 --band {first}=4"
            )
        if case.name in lines:
            raise UsageError(
                f"{path}, lines {lines[case.name]} and {number}: both are called "
                f"{case.name!r}; give different names in a column {CASE_COLUMN!r}"
            )
        lines[case.name] = number
        cases.append(case)
        for name, texts in further.items():
            texts[case.name] = row.get(name, "")
    return modalities, Pairing("list", cases, [], (folder, folder), further, str(path))


# --- the table ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """The names of the columns, and rows by them with the numbers of their lines."""

    columns: list[str]
    rows: Iterator[tuple[int, dict[str, str]]]


def _table(path: Path) -> _Table:
    text = read_text(path, LIST, "utf-8-sig")
    first, _, rest = text.partition("\n")
    told = SEPARATOR_LINE.fullmatch(first.strip())
    separator = told[1] if told else _separator(first)
    reader = csv.reader(
        io.StringIO(rest if told else text),
        delimiter=separator,
        strict=True,
        skipinitialspace=separator != "\t",
    )
    lines = _lines(path, reader, 1 if told else 0)
    header = next(lines, (0, []))[1]
    columns = [_column(name) for name in header]
    return _Table(columns, _rows(path, lines, columns))


def _lines(
    path: Path, reader: Iterable[list[str]], skipped: int
) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines that hold something, with their numbers."""
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num + skipped, stripped  # type: ignore[attr-defined]
    except csv.Error as error:
        number = reader.line_num + skipped  # type: ignore[attr-defined]
        raise UsageError(f"{path}, line {number}: not CSV ({error}); correct it") from None


def _rows(
    path: Path, lines: Iterator[tuple[int, list[str]]], columns: list[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    for number, cells in lines:
        if any(cells[len(columns) :]):
            raise UsageError(
                f"{path}, line {number}: more values than columns; "
                "put names with separators in quotes"
            )
        filled = [*cells, *[""] * (len(columns) - len(cells))]
        yield number, dict(zip(columns, filled, strict=False))


def _separator(header: str) -> str:
    """Return the sign between columns: that which finds most modalities in the first line."""
    return max(
        SEPARATORS,
        key=lambda sign: sum(
            _column(cell.strip(' "')) in MODALITIES for cell in header.split(sign)
        ),
    )


def _column(name: str) -> str:
    """Return the name of a column, as we write those that we know."""
    plain = name.strip().casefold()
    return plain if plain in (*MODALITIES, CASE_COLUMN) else name.strip()


# --- rows -----------------------------------------------------------------------------------------


def pair_rows(
    rows: Iterable[Mapping[str, str | Path]],
    *,
    takes_same_file: Callable[[tuple[str, str]], bool] = lambda _: False,
) -> tuple[tuple[str, str], Pairing]:
    """Return what `pair_list` does for rows as a list has them: {"vis": PATH, "ir": PATH}.

    All name the same two modalities, and if wanted "case"; `takes_same_file` as there. Paths are
    taken as they are. Raise UsageError, with the number of the row.
    """
    modalities: tuple[str, str] | None = None
    cases = dict[str, Case]()
    for number, row in enumerate(rows, 1):
        where = f"pair {number}"
        found = _modalities(where, list(row))
        if modalities not in (None, found):
            raise UsageError(f"{where}: is of {' and '.join(found)}, others are not; fuse it alone")
        modalities = found
        first, second = (Path(row[name]) for name in found)
        if first == second and not takes_same_file(found) and not first.is_dir():
            raise UsageError(f"{where}: {first} would be fused with itself; name two files")
        name = str(row.get(CASE_COLUMN) or second.stem)
        if not _is_plain(name):
            raise UsageError(f"{where}: {name!r} is not a case name; use one without / \\ and ..")
        if name in cases:
            raise UsageError(f"{where}: is called {name!r} as another one; name it with 'case'")
        cases[name] = Case(name, first, second)
    if modalities is None:
        raise UsageError("no pairs given; give at least one")
    return modalities, Pairing("list", list(cases.values()), [], (Path(), Path()), {}, "pairs")


def listed_paths(pairing: Pairing, column: str, path: Path) -> dict[str, Path]:
    """Return the files that a further column of a list names, by case; empty cells name none.

    Raise UsageError for a path that leaves the list's folder.
    """
    folder, files = pairing.roots[0], dict[str, Path]()
    for case, text in pairing.further[column].items():
        if text:
            where = f"{path}, column {column!r}, case {case!r}"
            files[case] = folder / _inside(folder, text, where)
    return files


def _modalities(where: str | Path, columns: list[str]) -> tuple[str, str]:
    for name in columns:
        if name and name not in MODALITIES and columns.count(name) > 1:
            raise UsageError(f"{where}: two columns are called {name!r}; leave one out")
    named = [name for name in columns if name in MODALITIES]
    if len(named) != 2:
        shown = ", ".join(columns) or "empty"
        raise UsageError(
            f"{where}: its first line ({shown}) names "
            f"{number_of(len(named), 'modality', 'modalities')}; begin it with two of "
            f"{', '.join(MODALITIES)}, separated by a comma, semicolon or tab"
        )
    try:
        return network_order(named)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def _listed(row: Mapping[str, str], modalities: tuple[str, str], folder: Path, where: str) -> Case:
    values = []
    for name in modalities:
        value = row.get(name, "")
        if not value:
            raise UsageError(f"{where}: no path of the {name} image; fill it in or remove the line")
        values.append(_inside(folder, value, where))
    name = row.get(CASE_COLUMN) or Path(values[1].removesuffix(".gz")).stem
    if not _is_plain(name):
        raise UsageError(f"{where}: {name!r} is not a case name; use one without / \\ and ..")
    return Case(name, folder / values[0], folder / values[1])


def _inside(folder: Path, value: str, where: str) -> str:
    """Return a path with slashes, which may not leave the folder. Raise UsageError."""
    plain = value
    if "\0" in value:
        raise UsageError(f"{where}: {value} holds a NUL character; remove it")
    if "\\" in value and not (os.name != "nt" and os.path.lexists(folder / value)):
        plain = value.replace("\\", "/")  # as Windows writes it
    if DRIVE.match(value) or not _is_below(folder, plain):
        raise UsageError(
            f"{where}: {value} lies outside the list's folder; "
            "put the list into a folder above all its images"
        )
    return plain


def _is_below(folder: Path, value: str) -> bool:
    """Whether a path, taken from the folder, stays in it as written."""
    base = os.path.abspath(folder)  # noqa: PTH100  no links resolved: what is written counts
    return PurePath(os.path.normpath(Path(base) / value)).is_relative_to(base)


def _is_plain(name: str) -> bool:
    """Whether a name can be that of a file and of nothing else."""
    marks = "/\\\0:" if os.name == "nt" else "/\\\0"  # a colon names a drive or a stream
    return not any(mark in name for mark in marks) and ".." not in name and name not in ("", ".")
