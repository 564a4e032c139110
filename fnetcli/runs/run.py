"""A whole run of `fnet fuse`: plan every file, leave out what is done, work off the rest."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

from fnetcli.engine import Engine
from fnetcli.errors import OutputError, PairError, ReadError, UsageError
from fnetcli.files.output_folder import InPlace, OutputFolder, sweep
from fnetcli.inputs.pairing import Case, Pairing
from fnetcli.pictures.fuse import PIXELS_VERSION
from fnetcli.runs.batch import Batch, Report, Stages
from fnetcli.runs.manifest import (
    DONE,
    FAILED,
    MANIFEST_FILE,
    Manifest,
    Record,
    content,
    deciding,
    relative_path,
    write_run,
)

Existing = Literal["skip", "overwrite", "error"]


class Outputs(Protocol):
    """Where the results of one case go."""

    @property
    def fused(self) -> Path:
        """The fused image, a file or a folder, written last."""

    def all(self) -> dict[str, Path]:
        """Return every path by its name."""


class Walk(Protocol):
    """The way of a case from disk to disk: of two pictures (fusion), of two volumes.

    What `read` gives goes to `separate`, what that gives to `write`; nobody else looks into it.
    """

    @property
    def modalities(self) -> tuple[str, str]:
        """First, second, in the network's order."""

    def record(self) -> Record:
        """Return every option that changes pixels or the set of files, as JSON takes it."""

    def outputs(self, case: Case, out: Path, *, is_file: bool) -> Any:
        """Return the Outputs of a case in a folder, or beside a file."""

    def sha256(self, path: Path) -> str:
        """Return a hash of all that an input holds. Raise ReadError."""

    def read(self, case: Case) -> Any:
        """Read both images of a case. Raise ImageError."""

    def sizes(self, read: Any) -> tuple[str, str]:
        """Return how large both images are, as people write it."""

    def nbytes(self, read: Any, atoms: int) -> int:
        """Return what a case takes from reading to writing, roughly."""

    def separate(self, engine: Engine, read: Any, outputs: Any, in_place: InPlace) -> Any:
        """Run the network. Raise ImageError, OutputError."""

    def write(self, read: Any, separated: Any, outputs: Any, in_place: InPlace) -> Record:
        """Write the results; return ranges, notices and what else the manifest is to hold."""


WalkT = TypeVar("WalkT", bound=Walk)
WalkT_co = TypeVar("WalkT_co", bound=Walk, covariant=True)


@dataclass(frozen=True)
class Job(Generic[WalkT_co]):
    """What is to be fused, how, and where it goes; `out` is a folder, or a file for one pair."""

    pairing: Pairing
    walk: WalkT_co
    out: Path
    weights: Mapping[str, str]  # name, sha256
    is_file: bool = False
    existing: Existing = "skip"


@dataclass(frozen=True)
class Plan:
    """Where every case goes, and which cases need no work."""

    outputs: dict[str, Outputs]
    skipped: list[Case]
    todo: list[Case]


class Events(Protocol):
    """Who hears of a run while it lasts."""

    def done(self, case: Case, outputs: Outputs, record: Record) -> None:
        """Hear that a case is on disk."""

    def failed(self, case: Case, text: str) -> None:
        """Hear that a case failed."""


# --- before anything runs -------------------------------------------------------------------------


def plan_outputs(job: Job[Walk]) -> dict[str, Outputs]:
    """Decide every output path. Raise UsageError where results would hit inputs or each other."""
    outputs = {
        case.name: job.walk.outputs(case, job.out, is_file=job.is_file)
        for case in job.pairing.cases
    }
    _refuse_inputs(job, (path for made in outputs.values() for path in made.all().values()))
    files: dict[str, str] = {}
    for name, made in outputs.items():
        for path in made.all().values():
            other = files.setdefault(_as_the_disk_sees(path), name)
            if other != name:
                raise UsageError(
                    f"cases {other!r} and {name!r}: would both be stored as {path}; rename one"
                )
    for folder in {path.parent for made in outputs.values() for path in made.all().values()}:
        for path in (folder, *folder.parents):
            if _as_the_disk_sees(path) in files:
                raise UsageError(
                    f"{path}: would be a file of case {files[_as_the_disk_sees(path)]!r} and a "
                    "folder of another one; rename it"
                )
    return outputs


def refuse_input(job: Job[Walk], path: Path) -> None:
    """Raise UsageError where a file that will be written is an input."""
    _refuse_inputs(job, [path])


def _refuse_inputs(job: Job[Walk], paths: Iterable[Path]) -> None:
    @cache
    def real(folder: Path) -> str:
        return os.path.realpath(folder)  # Path.resolve minds loops of links

    inputs = [path for case in job.pairing.cases for path in (case.first, case.second)]
    taken = {(real(path.parent), path.name) for path in inputs}
    taken |= {os.path.split(os.path.realpath(path)) for path in inputs if path.is_symlink()}
    for path in paths:
        if (real(path.parent), path.name) in taken:
            raise UsageError(f"{path}: would be overwritten, but is an input; choose another name")


def _as_the_disk_sees(path: Path) -> str:
    """Return a path as text that is equal for names that some systems take for the same."""
    return str(path).casefold() if sys.platform in {"win32", "darwin"} else str(path)


def refuse_inside_inputs(out: Path, pairing: Pairing) -> None:
    """Raise UsageError where the folder for the results lies in, or is, a folder of inputs."""
    for folder in pairing.roots if pairing.source == "folders" else ():
        if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(folder)):
            raise UsageError(
                f"-o {out}: lies in the input folder {folder}, where results would be taken for "
                "inputs the next time; choose a folder outside"
            )


def plan(job: Job[Walk], manifest: Manifest | None, on_step: Callable[[], None]) -> Plan:
    """Sort the cases into done and to do. Raise UsageError where existing files forbid work."""
    outputs = plan_outputs(job)
    if job.existing == "error":
        for planned in outputs.values():
            for path in planned.all().values():
                if os.path.lexists(path):
                    raise UsageError(
                        f"{path}: exists; remove it, or use --existing skip or overwrite"
                    )
    skipped, todo = list[Case](), list[Case]()
    for case in job.pairing.cases:
        is_done = (
            job.existing == "skip"
            and manifest is not None
            and _is_done(job, case, outputs[case.name], manifest)
        )
        (skipped if is_done else todo).append(case)
        on_step()
    return Plan(outputs, skipped, todo)


def _is_done(job: Job[Walk], case: Case, outputs: Outputs, manifest: Manifest) -> bool:
    """Whether all files of a case exist, made of the same content with the same options."""
    old = manifest.get(case.name)
    if old is None or old.get("status") != DONE:
        return False
    if not _is_whole(outputs, old):
        return False
    inputs = _inputs(job, case)
    new = _record(job, case, outputs, inputs)
    if deciding(old) != deciding(new):
        return False
    try:
        _hash(job, inputs, case)
    except ReadError:
        return False  # it is reported when its turn comes
    return content(old) == content(new)


def _is_whole(outputs: Outputs, record: Record) -> bool:
    """Whether all files of a case exist, and its folders hold as much as they did."""
    are_there = all(path.exists() for path in outputs.all().values())
    return are_there and _folders(outputs) == record.get("folders", {})


def _folders(outputs: Outputs) -> Record:
    """Return how many files the folders among the results hold, and of how many bytes."""
    found = {}
    for name, path in sorted(outputs.all().items()):
        with suppress(OSError):  # a file, or nothing
            files = [one for one in os.scandir(path) if not one.name.startswith(".")]
            sizes = [one.stat().st_size for one in files]
            found[name] = {"files": len(sizes), "bytes": sum(sizes)}
    return found


def _record(job: Job[Walk], case: Case, outputs: Outputs, inputs: Record) -> Record:
    """Return the part of a case's record that is known before it is made."""
    return {
        "case": case.name,
        "inputs": inputs,
        "weights": dict(job.weights),
        "options": job.walk.record(),
        "pixels_version": PIXELS_VERSION,
        "outputs": {
            name: relative_path(path, job.out) for name, path in sorted(outputs.all().items())
        },
    }


def _inputs(job: Job[Walk], case: Case) -> Record:
    """Return what is known of a case's files before they are opened."""
    return {
        modality: {
            "path": relative_path(path, path.parent if path == root else root),
            "sha256": None,
        }
        for modality, path, root in zip(
            job.walk.modalities, (case.first, case.second), job.pairing.roots, strict=True
        )
    }


def _hash(job: Job[Walk], inputs: Record, case: Case) -> None:
    """Fill in what the files hold. Raise ReadError."""
    for known, path in zip(inputs.values(), (case.first, case.second), strict=True):
        known["sha256"] = job.walk.sha256(path)


# --- the run --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Read:
    images: Any
    started: float
    seconds: float


@dataclass(frozen=True)
class _Separated:
    read: _Read
    separated: Any
    seconds: float


@dataclass
class Run(Generic[WalkT]):
    """One run: holds the output folder while it lasts, keeps manifest and run.json."""

    job: Job[WalkT]
    events: Events
    command: list[str] = field(default_factory=list)
    report: Report[Case] = field(default_factory=Report)
    plan: Plan = field(default_factory=lambda: Plan({}, [], []))
    status: str = "planned"
    _device: str = ""
    _manifest: Manifest | None = None
    _held: OutputFolder | None = None
    _on_their_way: dict[str, Record] = field(default_factory=dict)  # the cases' inputs

    def __post_init__(self) -> None:
        self._began = datetime.now(UTC)

    def look(self, on_step: Callable[[], None] = lambda: None) -> None:
        """Find out what there is to do; write nothing. Raise UsageError where nothing may be."""
        if not self.job.is_file:
            self._manifest = Manifest(self.job.out)
        self.plan = plan(self.job, self._manifest, on_step)

    def work(
        self,
        engine: Engine,
        *,
        workers: int = 2,
        stops_at_failure: bool = False,
        is_debug: bool = False,
    ) -> None:
        """Do everything that `look` found to do; the folder is locked meanwhile.

        However it ends, what is finished is whole and in the manifest. Raise OutputError, and
        UsageError where another run holds the folder.
        """
        self._device = str(engine.device)
        atoms = engine.network.config.atoms
        with self._folder() as folder:
            self._held = folder
            batch = Batch(
                Stages(
                    read=self._read,
                    work=lambda case, read: self._separate(engine, case, read),
                    write=self._write,
                    weigh=lambda read: self.job.walk.nbytes(read.images, atoms),
                ),
                on_done=self._done,
                on_failed=self._failed,
                workers=workers,
                stops_at_failure=stops_at_failure,
                is_debug=is_debug,
                report=self.report,
            )
            try:
                self._begin()
                batch.run(self.plan.todo)
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

    def summary(self) -> Record:
        """Return what run.json holds."""
        now = datetime.now(UTC)
        first, second = self.job.walk.modalities
        return {
            "status": self.status,
            "command": self.command,
            "started": self._began.isoformat(timespec="seconds"),
            "updated": now.isoformat(timespec="seconds"),
            "seconds": round((now - self._began).total_seconds(), 3),
            "versions": {name: version(name) for name in ("fnetcli", "torch", "numpy")}
            | {"python": platform.python_version()},
            "device": self._device,
            "weights": dict(self.job.weights),
            "options": self.job.walk.record(),
            "inputs": {
                modality: str(root)
                for modality, root in zip((first, second), self.job.pairing.roots, strict=True)
            },
            "out": str(self.job.out),
            "totals": self.totals(),
            "failed": [{"case": case.name, "error": text} for case, text in self.report.failed],
            "unpaired": [str(path) for path in self.job.pairing.unpaired],
        }

    def totals(self) -> dict[str, int]:
        """Return how many cases there are, were done, skipped, failed, are left; lone files."""
        return {
            "cases": len(self.job.pairing.cases),
            "done": len(self.report.done),
            "skipped": len(self.plan.skipped),
            "failed": len(self.report.failed),
            "left": self._left(),
            "unpaired": len(self.job.pairing.unpaired),
        }

    @property
    def manifest_path(self) -> Path | None:
        """Where the list of all cases is; None where a file was named."""
        return None if self.job.is_file else self.job.out / MANIFEST_FILE

    @property
    def damaged_lines(self) -> int:
        """How many lines of the manifest that was there are no records."""
        return self._manifest.damaged if self._manifest else 0

    def records(self) -> list[Record]:
        """Return the records of this run's cases, in order; none where a file was named."""
        if self._manifest is None:
            return []
        found = (self._manifest.get(case.name) for case in self.job.pairing.cases)
        return [record for record in found if record is not None]

    def _left(self) -> int:
        return len(self.plan.todo) - len(self.report.done) - len(self.report.failed)

    def _in_place(self) -> AbstractContextManager[None]:
        return nullcontext() if self._held is None else self._held.in_place()

    def _folder(self) -> OutputFolder | nullcontext[None]:
        return nullcontext() if self.job.is_file else OutputFolder(self.job.out)

    def _begin(self) -> None:
        if self._manifest is None:
            return
        if self._manifest.is_stale():
            raise UsageError(
                f"{self.job.out}: another fnet wrote there a moment ago; run the same command again"
            )
        parents = {
            path.parent for made in self.plan.outputs.values() for path in made.all().values()
        }
        sweep({self.job.out, *parents})
        names = [case.name for case in self.job.pairing.cases]
        self.status = "running"
        self._manifest.begin(names, anew=[case.name for case in self.plan.todo])
        write_run(self.job.out, self.summary())

    def _read(self, case: Case) -> _Read:
        started = time.perf_counter()
        inputs = self._on_their_way[case.name] = _inputs(self.job, case)
        _hash(self.job, inputs, case)
        images = self.job.walk.read(case)
        for known, size in zip(inputs.values(), self.job.walk.sizes(images), strict=True):
            known["size"] = size
        return _Read(images, started, time.perf_counter() - started)

    def _separate(self, engine: Engine, case: Case, read: _Read) -> _Separated:
        started = time.perf_counter()
        outputs = self.plan.outputs[case.name]
        try:
            separated = self.job.walk.separate(engine, read.images, outputs, self._in_place)
        except PairError as error:
            raise PairError(f"{case.first} and {case.second}: {error}") from None
        return _Separated(read, separated, time.perf_counter() - started)

    def _write(self, case: Case, worked: _Separated) -> Record:
        started = time.perf_counter()
        outputs = self.plan.outputs[case.name]
        made = self.job.walk.write(worked.read.images, worked.separated, outputs, self._in_place)
        folders = _folders(outputs)
        seconds = worked.read.seconds + worked.seconds + time.perf_counter() - started
        return _record(self.job, case, outputs, self._on_their_way.pop(case.name)) | {
            "status": DONE,
            **made,
            **({"folders": folders} if folders else {}),
            "seconds": round(seconds, 4),
            "network_seconds": round(worked.seconds, 4),
        }

    def _done(self, case: Case, record: Record) -> None:
        self._put(record)
        self.events.done(case, self.plan.outputs[case.name], record)

    def _failed(self, case: Case, text: str) -> None:
        if self._manifest is not None:
            inputs = self._on_their_way.pop(case.name, None) or _inputs(self.job, case)
            record = _record(self.job, case, self.plan.outputs[case.name], inputs)
            kept = self.report.failed[-1][1]
            self._put(record | {"outputs": {}, "status": FAILED, "error": kept})
        self.events.failed(case, text)

    def _put(self, record: Record) -> None:
        if self._manifest is not None and self._held is not None:
            self._held.require()  # or saving would make a folder that was removed again
            self._manifest.put(record)

    def _require_results(self) -> None:
        """Raise OutputError where finished files have vanished meanwhile."""
        if self._manifest is None:
            return
        gone = [
            case.name
            for case in self.report.done
            if not _is_whole(self.plan.outputs[case.name], self._manifest.get(case.name) or {})
        ]
        if gone:
            self._manifest.begin([case.name for case in self.job.pairing.cases], anew=gone)
            raise OutputError(
                f"{self.job.out}: results of {len(gone)} cases were removed while others were "
                "written; "
                "run the same command again"
            )

    def _end(self) -> None:
        """Save manifest and run.json, unless the folder is gone: then there is nothing to say."""
        if self._manifest is None or self._held is None or self.status == "planned":
            return
        try:
            self._held.require()
        except OutputError:
            return
        self._manifest.save()
        write_run(self.job.out, self.summary())
