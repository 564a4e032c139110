"""Which file of one side belongs to which file of the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fnetcli.errors import UsageError
from fnetcli.formats import IMAGE_SUFFIXES


@dataclass(frozen=True)
class Case:
    """One pair of files; its name becomes the name of every output."""

    name: str
    first: Path
    second: Path


@dataclass(frozen=True)
class Pairing:
    """The cases of two folders, in order of name, and the files that found no partner."""

    cases: list[Case]
    unpaired: list[Path]


def pair_paths(first: Path, second: Path) -> Pairing:
    """Pair two files, or two folders by stem; raise UsageError where that makes no sense."""
    for path in (first, second):
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder; check the path")
    if first.is_dir() != second.is_dir():
        folder, file = (first, second) if first.is_dir() else (second, first)
        raise UsageError(f"{folder} is a folder, {file} is a file; give two files or two folders")
    if not first.is_dir():
        return Pairing([Case(second.stem, first, second)], [])
    return _pair_folders(first, second)


def _pair_folders(first: Path, second: Path) -> Pairing:
    firsts, seconds = _by_stem(first), _by_stem(second)
    names = sorted(firsts.keys() & seconds.keys())
    alone = [files[stem] for files in (firsts, seconds) for stem in sorted(files.keys() - {*names})]
    return Pairing([Case(name, firsts[name], seconds[name]) for name in names], alone)


def _by_stem(folder: Path) -> dict[str, Path]:
    """Return the image files directly inside a folder; two of one stem are an error."""
    files: dict[str, Path] = {}
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be read ({error.strerror}); check permissions"
        ) from None
    for path in entries:
        is_image = path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()
        if path.name.startswith(".") or not is_image:
            continue
        if path.stem in files:
            raise UsageError(
                f"{files[path.stem]} and {path} have the same stem; rename or remove one of them"
            )
        files[path.stem] = path
    return files
