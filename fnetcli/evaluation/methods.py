"""Which fused image of a method belongs to which case."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fnetcli.errors import UsageError
from fnetcli.evaluation.results import Method
from fnetcli.evaluation.run import FilesEntrant
from fnetcli.inputs.pairing import Case, Pairing, images_by_name
from fnetcli.metrics import PAPER, Convention, Metric, metrics

FUSED_FOLDER = "fused"  # where `fnet fuse -o OUT` puts its pictures, in OUT


@dataclass(frozen=True)
class Found:
    """A method's files by case, and those that belong to no case."""

    entrant: FilesEntrant
    strays: list[Path]


def find_fused(
    pairing: Pairing, name: str, path: Path, *, suffix: str = "", is_recursive: bool = False
) -> Found:
    """Find the fused images of a method in a folder, or take one file for the only case.

    An image is named as its case, else as its second or first source, and belongs to one case
    only; `suffix` is left out of its stem. The folder may be one that `fnet fuse` wrote. Raise
    UsageError.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder; check the path")
    if not path.is_dir():
        if len(pairing.cases) != 1 or pairing.source != "files":
            raise UsageError(f"{path}: is a file, but {pairing.source} are scored; give a folder")
        entrant = FilesEntrant(Method(name, "files", str(path)), {pairing.cases[0].name: path})
        return Found(entrant, [])
    files = images_by_name(path, suffix, is_recursive=is_recursive)
    inner = path / FUSED_FOLDER
    if not files and inner.is_dir():
        path, files = inner, images_by_name(inner, suffix, is_recursive=is_recursive)
    free = dict(files)
    matched = {case.name: free.pop(case.name) for case in pairing.cases if case.name in free}
    for case in pairing.cases:
        stems = () if case.name in matched else _source_stems(case, pairing)
        found = next((stem for stem in stems if stem in free), None)
        if found is not None:
            matched[case.name] = free.pop(found)
    if not matched:
        example = next(iter(pairing.cases)).name
        raise UsageError(
            f"{path}: no fused image there belongs to a case; name them as the cases are, such as "
            f"{example!r}, or name their ending with --suffix {name}=TEXT"
        )
    return Found(FilesEntrant(Method(name, "files", str(path)), matched), [*free.values()])


def _source_stems(case: Case, pairing: Pairing) -> Iterator[str]:
    """Yield the stems of a case's sources, the second first, each with its place in its folder."""
    for source, root in ((case.second, pairing.roots[1]), (case.first, pairing.roots[0])):
        is_placed = pairing.source == "folders"
        place = source.relative_to(root) if is_placed else Path(source.name)
        yield place.with_name(source.stem).as_posix()


def choose_metrics(text: str | None, convention: Convention) -> tuple[Metric, ...]:
    """Return the metrics named in ``MI,VIF``, ``paper`` (the default) or ``all``.

    Raise UsageError for an unknown one; the nearest is named.
    """
    known = {metric.name.casefold(): metric for metric in metrics(convention)}
    names = [metric.name for metric in PAPER]
    if text is not None and text.strip().casefold() == "all":
        names = list(known)
    elif text is not None and text.strip().casefold() != "paper":
        names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("--metrics: names none; give names as MI,VIF or all")
    for name in names:
        if name.casefold() not in known:
            near = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=0.3)
            meant = f"did you mean {known[near[0]].name}? " if near else ""
            every = ", ".join(metric.name for metric in known.values())
            raise UsageError(f"--metrics {name}: unknown; {meant}use some of {every}, or all")
    return tuple(known[name] for name in dict.fromkeys(name.casefold() for name in names))
