"""Which file of one side belongs to which file of the other."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Literal

from fnetcli.errors import FnetError, UsageError
from fnetcli.files.guarded import FileKind, read_text
from fnetcli.formats import DATA_SUFFIXES, IMAGE_SUFFIXES, ReadOptions
from fnetcli.modalities import MODALITIES, network_order

CASE_COLUMN = "case"
LIST = FileKind("a list of pairs", 256 << 20, "save the list as CSV in UTF-8")


@dataclass(frozen=True)
class Source:
    """One of the two images of a case: a file, or a frame of it, from 1 on."""

    path: Path
    page: int | None = None

    def __str__(self) -> str:
        """Return what people call it."""
        return str(self.path) if self.page is None else f"{self.path}, frame {self.page}"

    def reading(self, options: ReadOptions) -> ReadOptions:
        """Return how it is read."""
        return options if self.page is None else replace(options, page=self.page)


@dataclass(frozen=True)
class Case:
    """One pair of files; its name becomes the name of every output ("day/7" lies in a folder).

    `page` is the frame, from 1 on, of a sequence that holds several cases.
    """

    name: str
    first: Path
    second: Path
    page: int | None = field(default=None, kw_only=True)

    @property
    def files(self) -> str:
        """The paths of both images, for messages; one file may hold both."""
        is_one = self.first == self.second
        return str(self.first) if is_one else f"{self.first} and {self.second}"

    @property
    def sources(self) -> tuple[Source, Source]:
        """Both images."""
        return Source(self.first, self.page), Source(self.second, self.page)

    def reading(self, options: ReadOptions) -> ReadOptions:
        """Return how to read an image of this case."""
        return self.sources[0].reading(options)


@dataclass(frozen=True)
class Pairing:
    """The cases in order, the files without a partner, and the folders that all paths lie below.

    `further` holds what else a list says of its cases: column -> case -> text, as written.
    `list_name` names the list.
    """

    source: Literal["files", "folders", "list"]
    cases: list[Case]
    unpaired: list[Path]
    roots: tuple[Path, Path]
    further: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    list_name: str = ""

    def require_cases(self, *, may_look_deeper: bool = True) -> None:
        """Raise FnetError where there is no case; sub-folders may have some."""
        if self.cases:
            return
        if self.source == "list":
            raise FnetError(
                f"{self.list_name}: no pairs below the first line, nothing to do; add them"
            )
        first, second = self.roots
        deeper = ", or look in sub-folders with --recursive" if may_look_deeper else ""
        raise FnetError(
            f"{first} and {second}: nothing to do, no file of one folder has a partner of the same "
            f"name in the other; rename files, or name their endings with --suffix{deeper}"
        )


@dataclass(frozen=True)
class PairingOptions:
    """How names are compared: with the relative folder, and without these endings of the stem."""

    is_recursive: bool = False
    suffixes: tuple[str, str] = ("", "")  # of the first, the second side


def pair_paths(first: Path, second: Path, options: PairingOptions | None = None) -> Pairing:
    """Pair two files, or two folders by stem; raise UsageError where that makes no sense.

    In folders only images that end in the given suffix count, and two of one name are an error.
    """
    options = options or PairingOptions()
    for path in (first, second):
        if not _exists(path):
            raise UsageError(f"{path}: no such file or folder; check the path")
    if first.is_dir() != second.is_dir():
        folder, file = (first, second) if first.is_dir() else (second, first)
        raise UsageError(f"{folder} is a folder, {file} is a file; give two files or two folders")
    if not first.is_dir():
        name = _without(second.stem, options.suffixes[1])
        return Pairing("files", [Case(name, first, second)], [], (first.parent, second.parent))
    if first.samefile(second) and options.suffixes[0] == options.suffixes[1]:
        raise UsageError(
            f"{first}: both sides are the same folder, every file would be its own partner; "
            "give two folders, or tell the files apart with --suffix"
        )
    return _pair_folders(first, second, options)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long, a folder that may not be looked into
        return False


def _pair_folders(first: Path, second: Path, options: PairingOptions) -> Pairing:
    # In one folder, what ends in the longer suffix belongs to that side alone.
    others = options.suffixes[::-1] if first.samefile(second) else ("", "")
    firsts, seconds = (
        images_by_name(folder, suffix, other, is_recursive=options.is_recursive)
        for folder, suffix, other in zip((first, second), options.suffixes, others, strict=True)
    )
    names = sorted(firsts.keys() & seconds.keys())
    alone = [files[name] for files in (firsts, seconds) for name in sorted(files.keys() - {*names})]
    cases = [Case(name, firsts[name], seconds[name]) for name in names]
    return Pairing("folders", cases, alone, (first, second))


def images_by_name(
    folder: Path, suffix: str = "", other: str = "", *, is_recursive: bool = False
) -> dict[str, Path]:
    """Return the images of a folder by case name: their stem without the suffix.

    What ends in the longer suffix `other` is left out. Raise UsageError for two of one name.
    """
    files: dict[str, Path] = {}
    for path in _images(folder, is_recursive=is_recursive):
        if not path.stem.endswith(suffix):
            continue
        if len(other) > len(suffix) and path.stem.endswith(other):
            continue
        name = path.relative_to(folder).with_name(_without(path.stem, suffix)).as_posix()
        if name in files and path.suffix.lower() in DATA_SUFFIXES:
            continue  # a camera's numbers beside its picture
        if name in files and files[name].suffix.lower() not in DATA_SUFFIXES:
            raise UsageError(
                f"{files[name]} and {path} have the same stem; rename or remove one of them"
            )
        files[name] = path
    return files


def _images(folder: Path, *, is_recursive: bool) -> Iterator[Path]:
    """Yield what looks like an image by its suffix, in order; links to folders are not followed."""

    def refuse(error: OSError) -> None:
        raise UsageError(
            f"{error.filename}: cannot be read ({error.strerror}); check permissions"
        ) from None

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and is_recursive)
        for name in sorted(names):
            path = Path(parent, name)
            if path.suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                yield path


def _without(stem: str, suffix: str) -> str:
    """Return the stem without the suffix; a stem that is nothing else stays."""
    return stem.removesuffix(suffix) or stem


# --- lists ---------------------------------------------------------------------------------------


def pair_list(path: Path) -> tuple[tuple[str, str], Pairing]:
    """Read pairs from a CSV file; return its two modalities, in the network's order, and the pairs.

    The header names two modalities and, if wanted, `case`; further columns are kept. Paths are
    relative to the file's folder and may not leave it. Without `case` a pair is named after its
    second image. Raise UsageError, with the number of the line.
    """
    text = read_text(path, LIST, "utf-8-sig")
    rows = csv.DictReader(io.StringIO(text), strict=True, skipinitialspace=True)
    try:
        columns = [name.strip() for name in rows.fieldnames or []]
        further: dict[str, dict[str, str]] = {
            name: {} for name in columns if name and name not in (*MODALITIES, CASE_COLUMN)
        }
        rows.fieldnames = columns
        modalities = _modalities(path, columns)
        folder, cases, lines = path.parent, list[Case](), dict[str, int]()
        for row in rows:
            if None in row:
                raise UsageError(
                    f"{path}, line {rows.line_num}: more values than columns; "
                    "put names with commas in quotes"
                )
            case = _listed(row, modalities, folder, f"{path}, line {rows.line_num}")
            if case.name in lines:
                raise UsageError(
                    f"{path}, lines {lines[case.name]} and {rows.line_num}: both are called "
                    f"{case.name!r}; give different names in a column {CASE_COLUMN!r}"
                )
            lines[case.name] = rows.line_num
            cases.append(case)
            for name, texts in further.items():
                texts[case.name] = (row.get(name) or "").strip()
    except csv.Error as error:
        raise UsageError(f"{path}: not a CSV file ({error}); correct it") from None
    return modalities, Pairing("list", cases, [], (folder, folder), further, str(path))


def pair_rows(rows: Iterable[Mapping[str, str | Path]]) -> tuple[tuple[str, str], Pairing]:
    """Return what `pair_list` does for rows as a list has them: {"vis": PATH, "ir": PATH}.

    All name the same two modalities, and if wanted "case". Paths are taken as they are. Raise
    UsageError, with the number of the row.
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
        name = str(row.get(CASE_COLUMN) or second.stem)
        if not _is_plain(name):
            raise UsageError(f"{where}: {name!r} is no name of a case; use one without / \\ and ..")
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
        if text and not _is_below(folder, text):
            raise UsageError(
                f"{path}, column {column!r}, case {case!r}: {text} lies outside the list's folder; "
                "put the list into a folder above all its images"
            )
        if text:
            files[case] = folder / text
    return files


def _modalities(where: str | Path, columns: list[str]) -> tuple[str, str]:
    for name in columns:
        if name and name not in MODALITIES and columns.count(name) > 1:
            raise UsageError(f"{where}: two columns are called {name!r}; leave one out")
    named = [name for name in columns if name in MODALITIES]
    if len(named) != 2:
        shown = ", ".join(columns) or "empty"
        raise UsageError(
            f"{where}: its first line ({shown}) names {len(named)} modalities; begin it with two "
            f"of {', '.join(MODALITIES)}, separated by a comma"
        )
    try:
        return network_order(named)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def _listed(
    row: dict[str, str | None], modalities: tuple[str, str], folder: Path, where: str
) -> Case:
    values = [(row.get(name) or "").strip() for name in modalities]
    for name, value in zip(modalities, values, strict=True):
        if not value:
            raise UsageError(f"{where}: no path of the {name} image; fill it in or remove the line")
        if not _is_below(folder, value):
            raise UsageError(
                f"{where}: {value} lies outside the list's folder; "
                "put the list into a folder above all its images"
            )
    name = (row.get(CASE_COLUMN) or "").strip() or Path(values[1]).stem
    if not _is_plain(name):
        raise UsageError(f"{where}: {name!r} is no name of a case; use one without / \\ and ..")
    return Case(name, folder / values[0], folder / values[1])


def _is_below(folder: Path, value: str) -> bool:
    """Whether a path, taken from the folder, stays in it as written."""
    if "\0" in value:
        return False
    base = os.path.abspath(folder)  # noqa: PTH100  no links resolved: what is written counts
    return PurePath(os.path.normpath(Path(base) / value)).is_relative_to(base)


def _is_plain(name: str) -> bool:
    """Whether a name can be that of a file and of nothing else."""
    marks = "/\\\0:" if os.name == "nt" else "/\\\0"  # a colon names a drive or a stream
    return not any(mark in name for mark in marks) and ".." not in name and name not in ("", ".")
