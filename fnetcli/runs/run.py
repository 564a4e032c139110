"""A whole run of `fnet fuse`: the coordinator, which holds lock, manifest and run.json."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol

from fnetcli.errors import OutputError, UsageError
from fnetcli.files.durable import atomic_write
from fnetcli.files.output_folder import OutputFolder, sweep
from fnetcli.inputs.pairing import Case
from fnetcli.models.base import Wanted
from fnetcli.runs.batch import Batch, Handout, Report, Stages
from fnetcli.runs.crew.options import CrewOptions
from fnetcli.runs.crew.witness import witness
from fnetcli.runs.manifest import MANIFEST_FILE, Manifest, Record, part_folders, write_run
from fnetcli.runs.network import MethodSource
from fnetcli.runs.parts import remove_parts
from fnetcli.runs.plan import Job, RunPlan, make_plan
from fnetcli.runs.process import (
    CaseMade,
    CaseRead,
    CaseTask,
    FuseWork,
    MadeT,
    Outcome,
    PathsT,
    PreparedT,
    ResultPaths,
    is_whole,
    read_case,
    work_on_case,
    write_case,
)
from fnetcli.text import number_of

if TYPE_CHECKING:
    from fnetcli.engine import Engine
    from fnetcli.runs.baseline import BaselineEngine
    from fnetcli.runs.crew.crew import Crew

AnyTask = CaseTask[Any, Any, Any]
_version = cache(version)  # it reads and parses a file; a run asks twice


class Events(Protocol):
    """A listener to the events of a run."""

    def done(self, case: Case, paths: ResultPaths, record: Record) -> None:
        """Report that a case is on disk."""

    def failed(self, case: Case, text: str) -> None:
        """Report that a case failed."""

    def slices(self, count: int, done: int, of: int) -> None:
        """Report that `count` more slices are fused: `done` of `of` in their volume."""


@dataclass
class FusionRun(Generic[PathsT, PreparedT, MadeT]):
    """One run: locks the output folder while it lasts, writes manifest and run.json."""

    job: Job[PathsT, PreparedT, MadeT]
    events: Events
    command: list[str] = field(default_factory=list)
    report: Report[Case] = field(default_factory=Report)
    plan: RunPlan[PathsT, PreparedT, MadeT] = field(init=False)
    status: str = "planned"
    _device: str = ""
    _manifest: Manifest | None = None
    _held: OutputFolder | None = None
    _on_their_way: dict[str, Record] = field(default_factory=dict)  # the cases' inputs

    def __post_init__(self) -> None:
        self._began = datetime.now(UTC)
        self.plan = RunPlan(self.job)

    def look(self, on_step: Callable[[], None] = lambda: None) -> None:
        """Find out which cases to fuse; write nothing. Raise UsageError if results are refused."""
        if not self.job.is_file:
            out = self.job.out
            self._manifest = Manifest(self.job.records, out if self.job.part else None)
        self.plan = make_plan(self.job, self._manifest, on_step)

    def work(
        self,
        engine: Engine | BaselineEngine,
        *,
        workers: int = 2,
        stops_at_failure: bool = False,
        is_debug: bool = False,
    ) -> None:
        """Fuse all cases that `look` found; the folder is locked meanwhile.

        However it ends, finished cases are complete and in the manifest. Raise OutputError, or
        UsageError if another run has locked the folder.
        """
        self._device = str(engine.device)
        with self._running():
            Batch(
                on_done=self._done,
                on_failed=self._failed,
                stages=Stages(
                    read=self._read,
                    work=lambda case, read: self._work(engine, case, read),
                    write=self._write,
                    weigh=lambda read: self.job.pipeline.nbytes(read.prepared),
                ),
                workers=workers,
                stops_at_failure=stops_at_failure,
                is_debug=is_debug,
                report=self.report,
            ).run(self.plan.todo)

    def hand_out(
        self,
        options: CrewOptions,
        source: MethodSource,
        wanted: Wanted,
        on_notice: Callable[[str], None] = lambda _: None,
        *,
        stops_at_failure: bool = False,
        is_debug: bool = False,
    ) -> None:
        """Let a crew fuse all cases that `look` found; otherwise like `work`.

        Raise also ClusterError if workers cannot start, do not see the files, or are out of reach.
        """
        with self._running():
            if not self.plan.todo:
                return
            out = self.job.out.parent if self.job.is_file else self.job.out
            ends = (self.plan.todo[0], self.plan.todo[-1])
            inputs = [path for case in ends for path in (case.first, case.second)]
            try:
                with ExitStack() as stack:
                    seen = stack.enter_context(witness(out, inputs))
                    work = FuseWork(source, wanted, seen, source.precision)
                    crew: Crew[AnyTask, Outcome] = stack.enter_context(
                        options.hire(work, len(self.plan.todo), on_notice)
                    )
                    self._device = ", ".join(sorted({one.device for one in crew.hellos()}))
                    Handout(
                        on_done=self._done,
                        on_failed=self._failed,
                        submit=lambda case: crew.submit(self.plan.task(case)),
                        forget=crew.forget,
                        window=crew.window,
                        settle=self._settle,
                        stops_at_failure=stops_at_failure,
                        is_debug=is_debug,
                        report=self.report,
                    ).run(self.plan.todo)
            finally:
                if not self.job.part and not self.job.is_file:
                    sweep({out, *self.plan.folders})  # what killed workers have left

    def summary(self) -> Record:
        """Return the content of run.json."""
        now = datetime.now(UTC)
        first, second = self.job.pipeline.modalities
        return {
            "status": self.status,
            "command": self.command,
            "started": self._began.isoformat(timespec="seconds"),
            "updated": now.isoformat(timespec="seconds"),
            "seconds": round((now - self._began).total_seconds(), 3),
            "versions": {name: _version(name) for name in ("fnetcli", "torch", "numpy")}
            | {"python": platform.python_version()},
            "device": self._device,
            **self.job.method,
            "options": self.job.pipeline.record(),
            "inputs": {
                modality: str(root)
                for modality, root in zip((first, second), self.job.pairing.roots, strict=True)
            },
            "out": str(self.job.out),
            **({"part": [self.job.part.number, self.job.part.count]} if self.job.part else {}),
            "totals": self.totals(),
            "failed": [{"case": case.name, "error": text} for case, text in self.report.failed],
            "unpaired": [str(path) for path in self.job.pairing.unpaired],
            "ignored": [
                {"path": str(one.path), "reason": one.reason} for one in self.job.pairing.ignored
            ],
        }

    def totals(self) -> dict[str, int]:
        """Return the numbers of cases in total, done, skipped, failed, left; of unpaired files."""
        return {
            "cases": len(self.job.cases),
            "done": len(self.report.done),
            "skipped": len(self.plan.skipped),
            "failed": len(self.report.failed),
            "left": self._left(),
            "unpaired": len(self.job.pairing.unpaired),
        }

    @property
    def manifest_path(self) -> Path | None:
        """The path of the manifest; None if the output is a single file."""
        return None if self.job.is_file else self.job.records / MANIFEST_FILE

    @property
    def damaged_lines(self) -> int:
        """The number of damaged lines in the existing manifest."""
        return self._manifest.damaged if self._manifest else 0

    def records(self) -> list[Record]:
        """Return the records of this run's cases, in order; none if the output is a single file."""
        if self._manifest is None:
            return []
        found = (self._manifest.get(case.name) for case in self.job.cases)
        return [record for record in found if record is not None]

    def _left(self) -> int:
        return len(self.plan.todo) - len(self.report.done) - len(self.report.failed)

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Hold the folder and its records during the run; save them however it ends."""
        with self._folder() as folder:
            self._held = folder
            try:
                self._begin()
                yield
                self._require_results()
                self.status = "stopped" if self._left() else "finished"
            except KeyboardInterrupt:
                self.status = "interrupted"
                raise
            except BaseException:
                self.status = "stopped"
                raise
            finally:
                self._end()

    def _settle(self, case: Case, outcome: Outcome) -> Record:
        """Return the record of a case that a worker has processed. Raise FnetError."""
        self._on_their_way[case.name] = outcome.inputs
        record = outcome.made()
        self._on_their_way.pop(case.name)
        return record

    def _in_place(self) -> AbstractContextManager[None]:
        return nullcontext() if self._held is None else self._held.in_place()

    @contextmanager
    def _folder(self) -> Iterator[OutputFolder | None]:
        """Lock the output folder, or that of a part and, with the other parts, the whole one."""
        if self.job.is_file:
            yield None
            return
        of_part = OutputFolder(self.job.records) if self.job.part else nullcontext()
        with OutputFolder(self.job.out, is_shared=self.job.part is not None) as folder, of_part:
            yield folder

    def _begin(self) -> None:
        if self._manifest is None:
            return
        if self._manifest.is_stale():
            raise UsageError(
                f"{self.job.out}: another fnet has just written there; run the same command again"
            )
        if not self.job.part:  # temporary files there may be those of other parts
            sweep({self.job.out, *self.plan.folders})
        names = [case.name for case in self.job.cases]
        self.status = "running"
        self._manifest.begin(names, anew=[case.name for case in self.plan.todo])
        if not self.job.part and part_folders(self.job.out):
            self._manifest.save()
            remove_parts(self.job.out)
        for name, content in self.job.files.items():
            atomic_write(self.job.out / name, methodcaller("write", content))
        write_run(self.job.records, self.summary())

    def _read(self, case: Case) -> CaseRead[PreparedT]:
        task = self.plan.task(case)
        inputs = self._on_their_way[case.name] = task.inputs()
        return read_case(task, inputs)

    def _work(
        self, engine: Engine | BaselineEngine, case: Case, read: CaseRead[PreparedT]
    ) -> CaseMade[PreparedT, MadeT]:
        task = self.plan.task(case)
        return work_on_case(task, engine, read, self._in_place, self.events.slices)

    def _write(self, case: Case, made: CaseMade[PreparedT, MadeT]) -> Record:
        record = write_case(self.plan.task(case), made, self._in_place)
        self._on_their_way.pop(case.name)
        return record

    def _done(self, case: Case, record: Record) -> None:
        self._put(record)
        self.events.done(case, self.plan.paths(case), record)

    def _failed(self, case: Case, text: str) -> None:
        if self._manifest is not None:
            task = self.plan.task(case)
            inputs = self._on_their_way.pop(case.name, None) or task.inputs()
            self._put(task.failure(inputs, self.report.failed[-1][1]))
        self.events.failed(case, text)

    def _put(self, record: Record) -> None:
        if self._manifest is not None and self._held is not None:
            self._held.require()  # otherwise saving would create a folder that was removed
            self._manifest.put(record)

    def _require_results(self) -> None:
        """Raise OutputError if finished files have vanished meanwhile."""
        if self._manifest is None:
            return
        gone = [
            case.name
            for case in self.report.done
            if not is_whole(self.plan.paths(case), self._manifest.get(case.name) or {})
        ]
        if gone:
            self._manifest.begin([case.name for case in self.job.cases], anew=gone)
            raise OutputError(
                f"{self.job.out}: results of {number_of(len(gone), 'case')} were removed while "
                "others were written; run the same command again"
            )

    def _end(self) -> None:
        """Save manifest and run.json, unless the folder is gone."""
        if self._manifest is None or self._held is None or self.status == "planned":
            return
        try:
            self._held.require()
        except OutputError:
            return
        self._manifest.save()
        write_run(self.job.records, self.summary())
