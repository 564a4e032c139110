"""The outcome of a run, for callers from Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fnetcli.inputs.pairing import Case
from fnetcli.models.base import Wanted
from fnetcli.runs.crew.base import ClusterOptions
from fnetcli.runs.crew.options import CrewOptions
from fnetcli.runs.manifest import Record
from fnetcli.runs.network import LoadedMethod
from fnetcli.runs.plan import Job
from fnetcli.runs.process import MadeT, PathsT, PreparedT, ResultPaths
from fnetcli.runs.run import FusionRun


@dataclass(frozen=True)
class Progress:
    """The progress of a run: `done` of `total` cases, or of an unknown number of steps (None)."""

    stage: Literal["looking", "comparing", "fusing"]
    done: int
    total: int | None
    case: str = ""  # the one just finished
    error: str = ""  # why it failed


PARTS_ONLY = Wanted()
OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class RunReport:
    """The outcome of every case, by name; records are those of OUT/manifest.jsonl.

    `notices` holds what a user should know about the files as a whole, the ``notices`` of a record
    what concerns its case. `left` names the cases that were not started because the run stopped at
    a failure. `summary` is the content of OUT/run.json.
    """

    out: Path
    done: dict[str, Record]
    skipped: dict[str, Record]
    failed: dict[str, str]  # why
    left: tuple[str, ...]
    unpaired: tuple[Path, ...]
    fused: dict[str, Path]  # of the cases that are done or skipped
    notices: tuple[str, ...]
    summary: Record

    @property
    def is_complete(self) -> bool:
        """Whether every case is done, now or by an earlier run."""
        return not self.failed and not self.left


@dataclass
class _Teller:
    """Forwards the events of a run."""

    on_progress: OnProgress
    total: int = 0
    count: int = 0
    failed_texts: dict[str, str] = field(default_factory=dict)

    def done(self, case: Case, paths: ResultPaths, record: Record) -> None:  # noqa: ARG002
        self._tell(case.name)

    def failed(self, case: Case, text: str) -> None:
        self.failed_texts[case.name] = text
        self._tell(case.name, text)

    def slices(self, count: int, done: int, of: int) -> None:
        """Ignore slices: whole cases are counted."""

    def _tell(self, case: str, error: str = "") -> None:
        self.count += 1
        self.on_progress(Progress("fusing", self.count, self.total, case, error))


def run_job(
    job: Job[PathsT, PreparedT, MadeT],
    network: LoadedMethod,
    *,
    workers: int,
    stops_at_failure: bool = False,
    notices: list[str],
    on_progress: OnProgress = lambda _: None,
    cluster: ClusterOptions | None = None,
    wanted: Wanted = PARTS_ONLY,
) -> RunReport:
    """Run a job here or on a cluster, and return its report. Raise FnetError."""
    teller = _Teller(on_progress)
    run = FusionRun(job, teller)
    cases = job.cases
    compared = 0

    def compare() -> None:
        nonlocal compared
        compared += 1
        on_progress(Progress("comparing", compared, len(cases)))

    run.look(compare)
    teller.total = len(run.plan.todo)
    if cluster is None:
        run.work(network.engine, workers=workers, stops_at_failure=stops_at_failure)
    else:
        crew, source = CrewOptions(cluster), network.for_others()
        run.hand_out(crew, source, wanted, notices.append, stops_at_failure=stops_at_failure)
    records = {record["case"]: record for record in run.records()}
    done = [case.name for case in run.report.done]
    skipped = [case.name for case in run.plan.skipped]
    ended = {*done, *teller.failed_texts}
    return RunReport(
        out=job.out,
        done={name: records.get(name, {}) for name in done},
        skipped={name: records.get(name, {}) for name in skipped},
        failed=dict(teller.failed_texts),
        left=tuple(case.name for case in run.plan.todo if case.name not in ended),
        unpaired=tuple(job.pairing.unpaired),
        fused={
            case.name: run.plan.paths(case).fused for case in (*run.report.done, *run.plan.skipped)
        },
        notices=tuple(notices),
        summary=run.summary(),
    )
