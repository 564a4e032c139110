"""Find the fused images of each method and case, by the names that a user gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fnetcli.errors import UsageError
from fnetcli.evaluation.entrants import FilesEntrant
from fnetcli.evaluation.results import Method
from fnetcli.inputs.lists import listed_paths
from fnetcli.inputs.names import nfc
from fnetcli.inputs.pairing import Case, Pairing, images_by_name, is_data
from fnetcli.modalities import MODALITIES

RUN_FILE = "run.json"  # in an output folder of `fnet fuse`
FUSED_FOLDER = "fused"  # the folder in OUT with the pictures of `fnet fuse -o OUT`


@dataclass(frozen=True)
class Found:
    """A method's files by case, and those that belong to no case."""

    entrant: FilesEntrant
    strays: list[Path]


def find_fused(
    pairing: Pairing, name: str, path: Path, *, suffix: str = "", is_recursive: bool = False
) -> Found:
    """Find the fused images of a method in a folder, or use one file for the only case.

    An image has the name of its case, else of its second or first source, and belongs to one case
    only; `suffix` is removed from its stem. The folder may be an output folder of `fnet fuse`.
    Raise UsageError.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder; check the path")
    if not path.is_dir():
        if len(pairing.cases) != 1 or pairing.source != "files":
            raise UsageError(f"{path}: is a file, but {pairing.source} are scored; give a folder")
        entrant = FilesEntrant(Method(name, "files", str(path)), {pairing.cases[0].name: path})
        return Found(entrant, [])
    inner = path / FUSED_FOLDER
    is_output = is_recursive and (path / RUN_FILE).is_file()
    if inner.is_dir() and (
        is_output
        or all(map(is_data, images_by_name(path, suffix, is_recursive=is_recursive).values()))
    ):
        path = inner
    files = images_by_name(path, suffix, is_recursive=is_recursive)
    free = {nfc(key): file for key, file in files.items()}
    matched = {
        case.name: free.pop(nfc(case.name)) for case in pairing.cases if nfc(case.name) in free
    }
    for case in pairing.cases:
        stems = () if case.name in matched else _source_stems(case, pairing)
        found = next((stem for stem in stems if stem in free), None)
        if found is not None:
            matched[case.name] = free.pop(found)
    if not matched:
        example = next(iter(pairing.cases)).name
        raise UsageError(
            f"{path}: no fused image there belongs to a case; give them the names of the cases, "
            f"such as {example!r}, or state their ending with --suffix {name}=TEXT"
        )
    strays = [file for file in free.values() if not is_data(file)]
    return Found(FilesEntrant(Method(name, "files", str(path)), matched), strays)


def _source_stems(case: Case, pairing: Pairing) -> Iterator[str]:
    """Yield the stems of a case's sources, the second first, with their sub-folders."""
    for source, root in ((case.second, pairing.roots[1]), (case.first, pairing.roots[0])):
        is_placed = pairing.source == "folders"
        place = source.relative_to(root) if is_placed else Path(source.name)
        yield nfc(place.with_name(source.stem).as_posix())


@dataclass(frozen=True)
class FoundMethods:
    """Methods whose images are files, and the images that belong to no case, by method."""

    entrants: list[FilesEntrant] = field(default_factory=list)
    strays: dict[str, list[Path]] = field(default_factory=dict)


def fused_methods(
    pairing: Pairing,
    fused: Sequence[str],
    suffixes: Mapping[str, str],
    *,
    is_recursive: bool = False,
) -> FoundMethods:
    """Find the files of ``[NAME=]DIR`` or, for a list of pairs, of the named columns.

    By default, all other columns of the list are methods. Raise UsageError.
    """
    found, unused = FoundMethods(), dict(suffixes)
    for text in fused or pairing.further:
        if text in pairing.further:
            found.entrants.append(_column(pairing, text))
            continue
        name, named = split_name("--fused", text)
        path = Path(named)
        name = name or _name_of(path)
        files = find_fused(
            pairing, name, path, suffix=unused.pop(name, ""), is_recursive=is_recursive
        )
        found.entrants.append(files.entrant)
        if files.strays:
            found.strays[name] = files.strays
    for name, value in unused.items():
        raise UsageError(f"--suffix {name}={value}: neither a modality nor a method of --fused")
    return found


def _column(pairing: Pairing, name: str) -> FilesEntrant:
    origin = f"{pairing.list_name}, column {name!r}"
    files = listed_paths(pairing, name, Path(pairing.list_name))
    return FilesEntrant(Method(name, "files", origin), files)


def split_name(option: str, text: str) -> tuple[str, str]:
    """Split ``NAME=PATH``, or ``PATH`` without a name. Raise UsageError."""
    name, mark, path = text.partition("=")
    if not mark or Path(text).exists():
        return "", text
    if not name.strip() or not path:
        raise UsageError(f"{option} {text}: give {option} NAME=PATH or {option} PATH")
    return name.strip(), path


def split_suffixes(values: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Separate the endings of methods' files from those of modalities."""
    of_methods, others = dict[str, str](), list[str]()
    for text in values:
        name, mark, value = text.partition("=")
        if mark and value and name not in MODALITIES:
            of_methods[name] = value
        else:
            others.append(text)
    return of_methods, others


def _name_of(path: Path) -> str:
    """Name a method after its folder, or after the output folder of `fnet fuse`."""
    folder = path.resolve() if path.is_dir() else path.resolve().parent
    return folder.parent.name if folder.name == "fused" and folder.parent.name else folder.name


def require_names(names: list[str], modalities: tuple[str, str]) -> None:
    """Raise UsageError if there is no method, or two have the same name."""
    if not names:
        raise UsageError(
            "nothing to score; give --fused DIR, --weights FILE (or --weights default), "
            "or --baselines"
        )
    folded = [_folded(name) for name in names]
    for name in names:
        if folded.count(_folded(name)) > 1:
            alike = [nfc(one) for one in names if _folded(one) == _folded(name)]
            shown = " and ".join(dict.fromkeys(map(repr, alike)))
            raise UsageError(
                f"two methods are named {shown}; name one: --fused NAME=DIR, --weights NAME=FILE"
            )
        if _folded(name) in modalities:
            raise UsageError(f"a method is named {name!r} like a source; give it another name")


def _folded(name: str) -> str:
    """Return what is the same for names that look alike in a table."""
    return nfc(name).casefold()
