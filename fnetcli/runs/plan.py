"""Plan a run: the path of every result, and which cases are done already."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal

from fnetcli.errors import ReadError, UsageError
from fnetcli.inputs.pairing import Case, Pairing
from fnetcli.runs.manifest import DONE, Manifest, content, deciding
from fnetcli.runs.parts import Part
from fnetcli.runs.process import CaseTask, MadeT, PathsT, Pipeline, PreparedT, ResultPaths, is_whole
from fnetcli.runs.protect import Inputs

Existing = Literal["skip", "overwrite", "error"]


@dataclass(frozen=True)
class Job(Generic[PathsT, PreparedT, MadeT]):
    """What to fuse, how, and where to; `out` is a folder, or a file for one pair."""

    pairing: Pairing
    pipeline: Pipeline[PathsT, PreparedT, MadeT]
    out: Path
    weights: Mapping[str, str]  # name, sha256
    is_file: bool = False
    existing: Existing = "skip"
    part: Part | None = None  # process only this share of the cases

    @property
    def cases(self) -> Sequence[Case]:
        """The cases to process, in order."""
        return self.part.of(self.pairing.cases) if self.part else self.pairing.cases

    @property
    def records(self) -> Path:
        """The folder of the manifest and run.json."""
        return self.part.folder(self.out) if self.part else self.out

    @property
    def input_paths(self) -> list[Path]:
        """All files and folders of all cases."""
        return [path for case in self.pairing.cases for path in (case.first, case.second)]

    def task(self, case: Case) -> CaseTask[PathsT, PreparedT, MadeT]:
        """Return everything needed to fuse one of the cases."""
        paths = self.pipeline.paths(case, self.out, is_file=self.is_file)
        return CaseTask(case, self.pipeline, paths, self.out, self.pairing.roots, self.weights)


@dataclass(frozen=True)
class RunPlan(Generic[PathsT, PreparedT, MadeT]):
    """The task of every case, and which cases need no work."""

    tasks: dict[str, CaseTask[PathsT, PreparedT, MadeT]]
    skipped: list[Case]
    todo: list[Case]

    def paths(self, case: Case) -> PathsT:
        """Return the paths of a case's results."""
        return self.tasks[case.name].paths

    def folders(self) -> set[Path]:
        """Return all folders with results."""
        return {path.parent for task in self.tasks.values() for path in task.paths.all().values()}


def make_plan(
    job: Job[PathsT, PreparedT, MadeT], manifest: Manifest | None, on_step: Callable[[], None]
) -> RunPlan[PathsT, PreparedT, MadeT]:
    """Sort the cases into done and to do. Raise UsageError if existing files are in the way."""
    tasks = {case.name: job.task(case) for case in job.pairing.cases}
    require_places({name: task.paths for name, task in tasks.items()}, Inputs(job.input_paths))
    if job.existing == "error":
        for case in job.cases:
            for path in tasks[case.name].paths.all().values():
                if os.path.lexists(path):
                    raise UsageError(
                        f"{path}: exists; remove it, or use --existing skip or overwrite"
                    )
    plan = RunPlan(tasks, [], [])
    for case in job.cases:
        is_done = job.existing == "skip" and manifest is not None
        is_done = is_done and manifest is not None and _is_done(tasks[case.name], manifest)
        (plan.skipped if is_done else plan.todo).append(case)
        on_step()
    return plan


def require_places(planned: Mapping[str, ResultPaths], inputs: Inputs) -> None:
    """Raise UsageError if results would overwrite inputs or each other."""
    files: dict[str, str] = {}
    for name, paths in planned.items():
        for path in paths.all().values():
            inputs.require_kept(path)
            other = files.setdefault(_as_the_disk_sees(path), name)
            if other != name:
                raise UsageError(
                    f"cases {other!r} and {name!r}: would both be stored as {path}; rename one"
                )
    for folder in {path.parent for paths in planned.values() for path in paths.all().values()}:
        for path in (folder, *folder.parents):
            if _as_the_disk_sees(path) in files:
                raise UsageError(
                    f"{path}: would be a file of case {files[_as_the_disk_sees(path)]!r} and a "
                    "folder of another one; rename it"
                )


def _as_the_disk_sees(path: Path) -> str:
    """Return a path as text, with the same text for names that some systems do not distinguish."""
    return str(path).casefold() if sys.platform in {"win32", "darwin"} else str(path)


def _is_done(task: CaseTask[PathsT, PreparedT, MadeT], manifest: Manifest) -> bool:
    """Whether all files of a case exist and were made from the same content and options."""
    old = manifest.get(task.case.name)
    if old is None or old.get("status") != DONE or not is_whole(task.paths, old):
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
