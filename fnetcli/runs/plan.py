"""Plan a run: the path of every result, and which cases are done already."""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal

import numpy as np

from fnetcli.errors import ReadError, UsageError
from fnetcli.inputs.pairing import Case, Pairing
from fnetcli.runs.manifest import DONE, Manifest, content, deciding
from fnetcli.runs.parts import Part
from fnetcli.runs.process import CaseTask, MadeT, PathsT, Pipeline, PreparedT, is_whole
from fnetcli.runs.protect import Inputs, require_outside, require_writable

Existing = Literal["skip", "overwrite", "error"]


@dataclass(frozen=True)
class Job(Generic[PathsT, PreparedT, MadeT]):
    """What to fuse, how, and where to; `out` is a folder, or a file for one pair."""

    pairing: Pairing
    pipeline: Pipeline[PathsT, PreparedT, MadeT]
    out: Path
    method: Mapping[str, Any]  # of the manifest: weights (name, sha256), or the name of a baseline
    is_file: bool = False
    existing: Existing = "skip"
    part: Part | None = None  # process only this share of the cases
    files: Mapping[str, bytes] = field(default_factory=dict)  # about all results, in the folder

    @property
    def cases(self) -> Sequence[Case]:
        """The cases to process, in order."""
        return self.part.of(self.pairing.cases) if self.part else self.pairing.cases

    @property
    def records(self) -> Path:
        """The folder of the manifest and run.json."""
        return self.part.folder(self.out) if self.part else self.out

    def paths(self, case: Case) -> PathsT:
        """Return the paths of a case's results."""
        return self.pipeline.paths(case, self.out, is_file=self.is_file)

    def task(self, case: Case) -> CaseTask[PathsT, PreparedT, MadeT]:
        """Return everything needed to fuse one of the cases."""
        paths = self.paths(case)
        return CaseTask(case, self.pipeline, paths, self.out, self.pairing.roots, self.method)


@dataclass(frozen=True)
class RunPlan(Generic[PathsT, PreparedT, MadeT]):
    """Which cases need work and which do not, and all folders with results.

    Tasks are made when they are needed: a million of them would fill the memory.
    """

    job: Job[PathsT, PreparedT, MadeT]
    skipped: list[Case] = field(default_factory=list)
    todo: list[Case] = field(default_factory=list)
    folders: set[Path] = field(default_factory=set)

    def task(self, case: Case) -> CaseTask[PathsT, PreparedT, MadeT]:
        """Return everything needed to fuse a case."""
        return self.job.task(case)

    def paths(self, case: Case) -> PathsT:
        """Return the paths of a case's results."""
        return self.job.paths(case)


def make_plan(
    job: Job[PathsT, PreparedT, MadeT], manifest: Manifest | None, on_step: Callable[[], None]
) -> RunPlan[PathsT, PreparedT, MadeT]:
    """Sort the cases into done and to do. Raise UsageError if existing files are in the way."""
    plan = RunPlan(job, folders=require_places(job))
    if job.existing == "error":
        for case in job.cases:
            for path in job.paths(case).all().values():
                if os.path.lexists(path):
                    raise UsageError(
                        f"{path}: exists; remove it, or use --existing skip or overwrite"
                    )
    for case in job.cases:
        is_done = job.existing == "skip" and manifest is not None
        is_done = is_done and manifest is not None and _is_done(job, case, manifest)
        (plan.skipped if is_done else plan.todo).append(case)
        on_step()
    return plan


def require_places(job: Job[PathsT, PreparedT, MadeT]) -> set[Path]:
    """Return all folders with results. Raise UsageError if results replace inputs or each other.

    Neither may folders with results be links into folders of inputs.

    Of every path only a hash is kept; if two are the same, all paths are compared.
    """
    inputs = Inputs(job.pairing.paths)
    hashes, folders = array("q"), dict[str, Path]()
    for case in job.pairing.cases:
        for path in job.paths(case).all().values():
            inputs.require_kept(path)
            text = str(path)
            hashes.append(hash(_as_the_disk_sees(text)))
            folder = text.rpartition(os.sep)[0]
            if folder not in folders:
                folders[folder] = path.parent
    found = set(folders.values())
    require_outside(job.out, job.pairing, sorted(found))
    for place in sorted(found):
        require_writable(f"-o {job.out}", place / "any")
    known = np.frombuffer(hashes, np.int64)
    known.sort()  # in place
    above = {hash(_as_the_disk_sees(str(one))) for path in found for one in (path, *path.parents)}
    asked = np.array([*above], np.int64)
    are_twice = bool((known[1:] == known[:-1]).any())
    if are_twice or (known[known.searchsorted(asked).clip(max=len(known) - 1)] == asked).any():
        _compare_all(job, found)
    return found


def _compare_all(job: Job[PathsT, PreparedT, MadeT], folders: set[Path]) -> None:
    """Raise UsageError if two results have one path, or one is a folder of another."""
    files: dict[str, str] = {}
    for case in job.pairing.cases:
        for path in job.paths(case).all().values():
            other = files.setdefault(_as_the_disk_sees(str(path)), case.name)
            if other != case.name:
                raise UsageError(
                    f"cases {other!r} and {case.name!r}: would both be stored as {path}; rename one"
                )
    for folder in folders:
        for path in (folder, *folder.parents):
            if (name := _as_the_disk_sees(str(path))) in files:
                raise UsageError(
                    f"{path}: would be a file of case {files[name]!r} and a folder of another one; "
                    "rename it"
                )


def _as_the_disk_sees(path: str) -> str:
    """Return a path with the same text for names that some systems do not distinguish."""
    return path.casefold() if sys.platform in {"win32", "darwin"} else path


def _is_done(job: Job[PathsT, PreparedT, MadeT], case: Case, manifest: Manifest) -> bool:
    """Whether all files of a case exist and were made from the same content and options."""
    old = manifest.get(case.name)
    if old is None or old.get("status") != DONE:
        return False
    task = job.task(case)
    if not is_whole(task.paths, old):
        return False
    inputs = task.inputs()
    new = task.record(inputs)
    if deciding(old) != deciding(new):
        return False
    try:
        task.hash_inputs(inputs)
    except ReadError:
        return False  # it is reported when its turn comes
    return content(old) == content(new)
