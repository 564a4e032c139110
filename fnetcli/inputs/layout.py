"""Find out what two paths mean: pairs of pictures, two series, or cases of volumes; name the cases.

BIDS data sets are never guessed: `bids.py` reads them if they are asked for.

Raster files directly inside a folder: a folder of pairs. DICOM files directly inside: one series.
Otherwise, if children of both folders have the same names: cases, one sub-folder or volume file
each. Otherwise, and if both sides are the same folder, it is searched for one volume.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from fnetcli.errors import UsageError
from fnetcli.files.guarded import RefusedError, open_ordinary
from fnetcli.formats import DATA_SUFFIXES, FORMATS, IMAGE_SUFFIXES
from fnetcli.formats.base import HEAD_BYTES
from fnetcli.formats.border import opened
from fnetcli.formats.dicom import is_dicom_file
from fnetcli.formats.volumes import (
    FIELD_SUFFIXES,
    KINDS,
    is_volume,
    is_volume_file,
    volume_stem,
    without_directory,
)
from fnetcli.inputs.bids import BidsName, pair_bids
from fnetcli.inputs.pairing import Case, Contents, Pairing, PairingOptions, pair_paths
from fnetcli.inputs.scan import DEEPER, LINKED, Ignored, visible
from fnetcli.text import number_of

InputKind = Literal["pairs", "series", "cases", "bids"]
AskedKind = Literal["auto", "pairs", "series", "cases", "bids"]
Content = Literal["picture", "volume", "unknown", "pictures", "series", "mixed", "children"]

ASKED_KINDS: tuple[str, ...] = get_args(AskedKind)
NO_VOLUME, HALF = "no volume by its suffix", "the data of a header beside it"
FORCE = "choose with --layout pairs|series|cases"


@dataclass(frozen=True)
class InputLayout:
    """How two paths were understood, and the cases that follow.

    `sentence` tells the user. For "series" and "cases", `first` and `second` of a case are paths
    for `formats.volumes.read_volume`.
    """

    kind: InputKind
    pairing: Pairing
    sentence: str

    @property
    def cases(self) -> list[Case]:
        """The cases in order."""
        return self.pairing.cases

    @property
    def unpaired(self) -> list[Path]:
        """Paths without a partner on the other side."""
        return self.pairing.unpaired


def read_layout(
    first: Path,
    second: Path,
    layout: AskedKind = "auto",
    name: str | None = None,
    pairing: PairingOptions | None = None,
    entities: tuple[BidsName, BidsName] | None = None,
) -> InputLayout:
    """Find out what two files or folders mean. Raise UsageError, ReadError.

    `entities` say which files of BIDS data sets are of either side. `name` replaces the name of a
    single case. `pairing` says how names are compared in folders of pictures, and of volumes: then
    files and folders of DICOM are paired like pictures. Nothing is decoded; files are recognised by
    content, pictures in folders by suffix.
    """
    for path in (first, second):
        if not _exists(path):
            raise UsageError(f"{path}: no such file or folder; check the path")
    if layout == "bids" and entities is not None and pairing is not None:
        return _bids(first, second, pairing.modalities, entities)
    first, second = without_directory(first), without_directory(second)
    kind = _kind(first, second) if layout == "auto" else layout
    if kind == "pairs":
        found = _pairs(first, second, pairing)
    elif pairing is not None and pairing.has_rules:
        found = _ruled(first, second, pairing, layout)
    elif kind == "cases":
        found = _cases(first, second)
    else:
        found = _series(first, second)
    return found if name is None else _named(found, name)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


# --- kinds of input -------------------------------------------------------------------------------


def _kind(first: Path, second: Path) -> InputKind:
    contents = (_content(first), _content(second))
    if "mixed" in contents:
        mixed = (first, second)[contents.index("mixed")]
        raise UsageError(f"{mixed}: pictures and volumes are directly inside; {FORCE}")
    has_pictures = [one in {"picture", "pictures", "unknown"} for one in contents]
    if all(has_pictures):
        return "pairs"
    if any(has_pictures):
        picture, other = (first, second) if has_pictures[0] else (second, first)
        if contents[has_pictures.index(False)] == "children" and not is_volume(other):
            return "pairs"  # pictures in sub-folders, with --recursive; or nothing
        if "unknown" in contents:
            with opened(picture, "file"):
                raise UsageError(
                    f"{picture}: neither an image nor a volume ({KINDS}); give another file"
                )
        raise UsageError(
            f"{picture} holds pictures, {other} volumes; give two of the same kind (a picture has "
            "no position in the patient)"
        )
    if contents == ("children", "children"):
        if not first.samefile(second) and _common([_children(path) for path in (first, second)]):
            return "cases"
        if not any(_finds_volume(path) for path in (first, second)):
            return "pairs"
    return "series"


def _content(path: Path) -> Content:
    """Return what a path is, judging by its name and its direct content."""
    if not path.is_dir():
        return "volume" if is_volume_file(path) else "picture" if _is_picture(path) else "unknown"
    has_pictures = has_data = has_dicom = has_volumes = False
    for child in visible(path):
        if child.is_dir():
            continue
        if child.suffix.lower() in DATA_SUFFIXES:
            has_data = True  # beside slices they are no pictures
        elif child.suffix.lower() in IMAGE_SUFFIXES:
            has_pictures = True
        elif _is_own_volume(child) or child.suffix.lower() == ".zip":
            has_volumes = has_volumes or is_volume_file(child)
        elif not has_dicom:
            has_dicom = is_volume_file(child)
        if has_pictures and (has_dicom or has_volumes):
            return "mixed"
    if has_pictures or (has_data and not (has_dicom or has_volumes)):
        return "pictures"
    return "series" if has_dicom else "children"


def _is_picture(path: Path) -> bool:
    try:
        with open_ordinary(path) as file:
            head = file.read(HEAD_BYTES)
    except (OSError, RefusedError):
        return False
    return any(one.starts(head) for one in FORMATS)


def _is_own_volume(path: Path) -> bool:
    """Whether a file is a separate volume, by its name; the header represents a pair of files."""
    halves = (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz")
    return path.name.lower().endswith((*halves, *FIELD_SUFFIXES))


def _children(folder: Path) -> dict[str, Path]:
    """Return sub-folders and volume files by case name."""
    found: dict[str, Path] = {}
    for child in visible(folder):
        is_half = child.name.lower().endswith((".img", ".img.gz"))
        if is_half or not (child.is_dir() or is_volume_file(child)):
            continue
        name = child.name if child.is_dir() else volume_stem(child)
        if name in found:
            raise UsageError(
                f"{found[name]} and {child} are both named {name!r}; rename or remove one of them"
            )
        found[name] = child
    return found


def _common(children: Sequence[dict[str, Path]]) -> list[str]:
    """Return the names on both sides that contain something to read."""
    first, second = children
    return [
        name
        for name in sorted(first.keys() & second.keys())
        if all(_finds_volume(side[name]) for side in (first, second))
    ]


# --- pairs, cases, series -------------------------------------------------------------------------


def _pairs(first: Path, second: Path, options: PairingOptions | None) -> InputLayout:
    pairing = pair_paths(first, second, options)
    if pairing.source == "files":
        return InputLayout("pairs", pairing, "two pictures: one pair")
    how = "name" if options is None or options.nearest is None else "time"
    words = f"two folders of pictures: {number_of(len(pairing.cases), 'pair')} by {how}"
    return InputLayout("pairs", pairing, words)


def _cases(first: Path, second: Path) -> InputLayout:
    for path in (first, second):
        if not path.is_dir():
            raise UsageError(f"{path}: a file, not a folder of cases; give two folders")
    sides = [_children(first), _children(second)]
    names = _common(sides)
    if not names:
        raise UsageError(
            f"{first} and {second}: no sub-folder or volume file has the same name on both sides; "
            "rename them, or give one pair of series"
        )
    alone = [side[name] for side in sides for name in sorted(side.keys() - {*names})]
    alone = list(dict.fromkeys(alone))  # if both sides are the same folder
    cases = [Case(name, _volume(sides[0][name]), _volume(sides[1][name])) for name in names]
    pairing = Pairing("folders", cases, alone, (first, second))
    words = f"two folders of volumes: {number_of(len(cases), 'case')} by name"
    return InputLayout("cases", pairing, words)


def _ruled(first: Path, second: Path, options: PairingOptions, layout: AskedKind) -> InputLayout:
    """Pair volume files and folders of DICOM by rules, as pictures are."""
    if options.nearest is not None:
        raise UsageError(
            "--nearest-time: applies only to pictures, but volumes (DICOM, NIfTI) are fused; leave "
            "it out"
        )
    are_folders = all(path.is_dir() and _content(path) != "series" for path in (first, second))
    if layout == "series" or not are_folders:
        raise UsageError(
            "--recursive, --suffix, --prefix and --match: apply only to two folders of volumes; "
            "leave them out"
        )
    pairing = pair_paths(first, second, options, VOLUMES)
    words = f"two folders of volumes: {number_of(len(pairing.cases), 'case')} by name"
    return InputLayout("cases", pairing, words)


def _bids(
    first: Path, second: Path, modalities: tuple[str, str], entities: tuple[BidsName, BidsName]
) -> InputLayout:
    pairing = pair_bids(first, second, modalities, entities)
    words = "a BIDS data set" if first.samefile(second) else "two BIDS data sets"
    return InputLayout("bids", pairing, f"{words}: {number_of(len(pairing.cases), 'pair')}")


def _scan_volumes(folder: Path, is_recursive: bool) -> Iterator[Path | Ignored]:
    """Yield volume files and folders with DICOM directly inside, and what is passed over."""
    children = visible(folder)
    for path in children:
        if path.is_symlink() and path.is_dir():
            yield Ignored(path, LINKED)
        elif path.is_dir() and any(map(is_dicom_file, _files_in(path))):
            yield path
        elif path.is_dir() and is_recursive:
            yield from _scan_volumes(path, is_recursive)
        elif path.is_dir():
            yield Ignored(path, DEEPER)
        elif _is_own_volume(path) or path.suffix.lower() == ".zip":
            is_half = path.name.lower().endswith((".img", ".img.gz"))
            yield Ignored(path, HALF) if is_half else path
        else:
            yield Ignored(path, NO_VOLUME)


def _files_in(folder: Path) -> list[Path]:
    return [path for path in visible(folder) if not path.is_dir()]


def _stem(path: Path) -> str:
    return path.name if path.is_dir() else volume_stem(path)


VOLUMES = Contents(_scan_volumes, _stem, are_pictures=False)


def _series(first: Path, second: Path) -> InputLayout:
    paths = tuple(_volume(path) for path in (first, second))
    case = Case(_series_name(*paths), paths[0], paths[1])
    # Results in an input folder would be inputs of the next run; beside an input file they may be.
    source: Literal["files", "folders"] = (
        "folders" if first.is_dir() or second.is_dir() else "files"
    )
    words = f"two volumes: one case, {case.name}"
    return InputLayout("series", Pairing(source, [case], [], (first, second)), words)


def _named(found: InputLayout, name: str) -> InputLayout:
    if len(found.cases) != 1:
        raise UsageError(
            f"--name {name}: names one case, but there are {len(found.cases)}; leave it out"
        )
    if not name.isprintable() or set(name) & set("/\\:") or ".." in name or name in {"", "."}:
        raise UsageError(
            f"--name {name!r}: not a case name; use one without / \\ : .. and control characters"
        )
    case = replace(found.cases[0], name=name)
    sentence = f"two volumes: one case, {name}" if found.kind == "series" else found.sentence
    return replace(found, pairing=replace(found.pairing, cases=[case]), sentence=sentence)


def _series_name(first: Path, second: Path) -> str:
    """Return the name of a case of two series.

    It is the name of a volume file, the second before the first; for two folders, the name of the
    nearest folder that contains both, or else of the second folder.
    """
    for path in (second, first):
        if not path.is_dir():
            return volume_stem(path)
    whole = [os.path.abspath(path) for path in (first, second)]  # noqa: PTH100  links stay
    try:
        common = Path(os.path.commonpath(whole)).name
    except ValueError:  # on two drives
        common = ""
    return common or Path(whole[1]).name or "case"


def _finds_volume(path: Path) -> bool:
    try:
        return bool(_volumes_below(path)) or is_volume(path)
    except UsageError:
        return False


def _volume(path: Path) -> Path:
    """Return what to read: the file, the one volume file below a folder, or the folder of DICOM."""
    if not path.is_dir():
        if not is_volume_file(path):
            raise UsageError(f"{path}: not a volume ({KINDS}); give one, or a folder of DICOM")
        return path
    files, has_dicom = _volumes_below(path), is_volume(path)
    if has_dicom and files:
        raise UsageError(
            f"{path}: holds DICOM and other volumes; give the file or the folder to use"
        )
    if has_dicom:
        return path
    if len(files) > 1:
        shown = ", ".join(str(one.relative_to(path)) for one in files[:5])
        more = f" and {len(files) - 5} more" if len(files) > 5 else ""
        raise UsageError(f"{path}: holds {len(files)} volumes ({shown}{more}); give one of them")
    if not files:
        raise UsageError(f"{path}: contains no volume ({KINDS}); give another folder")
    return files[0]


def _volumes_below(folder: Path) -> list[Path]:
    """Return the volumes, but DICOM, of a folder and the folders in it; or the file itself."""
    if not folder.is_dir():
        return [folder] if _is_own_volume(folder) and is_volume_file(folder) else []
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            is_half = name.lower().endswith((".img", ".img.gz"))
            if not name.startswith(".") and _is_own_volume(path) and not is_half:
                found += [path] if is_volume_file(path) else []
    return found
