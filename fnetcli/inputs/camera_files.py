"""Files of thermal cameras that hold both images of a pair."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from fnetcli.errors import FnetError, ReadError, UsageError
from fnetcli.formats import Layer
from fnetcli.formats.flir import FFF, JPEG, count_frames, holds_counts
from fnetcli.inputs.pairing import Case, Pairing

CAMERA_MODALITIES = ("ir", "vis")  # of the two images in one file
CAMERA_LAYERS: dict[str, Layer] = {"ir": "thermal", "vis": "visible"}
SUFFIXES = (*JPEG.suffixes, *FFF.suffixes)


def pair_camera_files(path: Path, *, is_recursive: bool = False, has_page: bool = False) -> Pairing:
    """Return a case for each FLIR file, or for each frame of a sequence unless `has_page`.

    In a folder, JPEG files without thermal data have no partner. Raise UsageError for what is not
    there, ReadError for what is no FLIR file, FnetError for a folder without such files.
    """
    if not path.exists():
        raise UsageError(f"--flir {path}: no such file or folder; check the path")
    if not path.is_dir():
        if not holds_counts(path):
            raise ReadError(
                f"{path}: it holds no thermal data of a FLIR camera; give the images of other "
                "cameras as --vis and --ir"
            )
        cases = _cases(path.stem, path, has_page=has_page)
        source: Literal["files", "list"] = "files" if len(cases) == 1 else "list"
        return Pairing(source, cases, [], (path.parent, path.parent), list_name=str(path))
    cases, alone = list[Case](), list[Path]()
    known: dict[str, Path] = {}
    for file in _files(path, is_recursive=is_recursive):
        if not _may_hold_counts(file):
            alone.append(file)
            continue
        name = file.relative_to(path).with_suffix("").as_posix()
        if name in known:
            raise UsageError(
                f"{known[name]} and {file} have the same stem; rename or remove one of them"
            )
        known[name] = file
        cases += _cases(name, file, has_page=has_page)
    if not cases:
        deeper = "" if is_recursive else ", or look in sub-folders with --recursive"
        raise FnetError(
            f"{path}: nothing to do, no file in it holds thermal data of a FLIR camera; name "
            f"another folder{deeper}"
        )
    return Pairing("folders", cases, alone, (path, path))


def _may_hold_counts(path: Path) -> bool:
    try:
        return holds_counts(path)
    except ReadError:
        return True  # it is reported when its turn comes


def _cases(name: str, path: Path, *, has_page: bool) -> list[Case]:
    try:
        count = 1 if has_page else count_frames(path)
    except ReadError:
        count = 1  # its turn comes
    if count == 1:
        return [Case(name, path, path)]
    digits = max(4, len(str(count)))
    return [Case(f"{name}/{page:0{digits}}", path, path, page=page) for page in range(1, count + 1)]


def _files(folder: Path, *, is_recursive: bool) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise UsageError(
            f"{error.filename}: cannot be read ({error.strerror}); check permissions"
        ) from None

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and is_recursive)
        for name in sorted(names):
            path = Path(parent, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                yield path
