"""Process one case from disk to disk: a plain function of picklable values, and its steps.

A worker in another process, or on another machine, does `FuseWork` for every case; a run in this
process does the same three steps, overlapped by `batch`. The coordinator (`run`) holds the manifest
and the lock.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from fnetcli.errors import ClusterError, FnetError, NotFiniteError, PairError
from fnetcli.files.output_folder import InPlace
from fnetcli.inputs.pairing import Case
from fnetcli.models.base import Wanted
from fnetcli.pictures.fuse import PIXELS_VERSION
from fnetcli.runs.batch import in_words
from fnetcli.runs.crew.base import Hello, Place, own_node, own_processor, own_versions
from fnetcli.runs.crew.witness import Room, Witness
from fnetcli.runs.manifest import DONE, FAILED, Record, relative_path
from fnetcli.runs.network import MethodSource

if TYPE_CHECKING:
    from fnetcli.engine import Engine
    from fnetcli.runs.baseline import BaselineEngine

_known_hashes: dict[object, str] = {}  # of the last sequences, by their state
MAX_HASHES = 8
OnSlices = Callable[[int, int, int], None]  # slices just done; done of this volume; its total


class ResultPaths(Protocol):
    """The paths of one case's results."""

    @property
    def fused(self) -> Path:
        """The fused image, a file or a folder, written last."""

    def all(self) -> dict[str, Path]:
        """Return all paths by name."""


PathsT = TypeVar("PathsT", bound=ResultPaths)
PreparedT = TypeVar("PreparedT")
MadeT = TypeVar("MadeT")


class Pipeline(Protocol[PathsT, PreparedT, MadeT]):
    """The pipeline for a case, of two pictures or two volumes: options, no state.

    The result of `read` is passed to `work`, and its result to `write`.
    """

    @property
    def modalities(self) -> tuple[str, str]:
        """First and second, in the network's order."""

    def record(self) -> Record:
        """Return every option that changes pixels or the set of files, ready for JSON."""

    def paths(self, case: Case, out: Path, *, is_file: bool) -> PathsT:
        """Return the paths of a case's results, in a folder or beside a file."""

    def state(self, path: Path) -> object:
        """Return sizes and times of an input's files: equal means unchanged. Raise ReadError."""

    def sha256(self, path: Path) -> str:
        """Return a hash of the whole content of an input. Raise ReadError."""

    def read(self, case: Case) -> PreparedT:
        """Read both images of a case and prepare them. Raise ImageError."""

    def sizes(self, prepared: PreparedT) -> tuple[str, str]:
        """Return the sizes of both images as text."""

    def nbytes(self, prepared: PreparedT) -> int:
        """Return roughly how many bytes a case needs from reading to writing."""

    def work(
        self,
        engine: Engine | BaselineEngine,
        prepared: PreparedT,
        paths: PathsT,
        in_place: InPlace,
        on_slices: OnSlices = ...,
    ) -> MadeT:
        """Run the network. Raise ImageError, OutputError."""

    def write(self, prepared: PreparedT, made: MadeT, paths: PathsT, in_place: InPlace) -> Record:
        """Write the results; return ranges, notices and other entries of the manifest."""


@dataclass(frozen=True)
class CaseTask(Generic[PathsT, PreparedT, MadeT]):
    """One case, how to fuse it, and the paths of its results; picklable."""

    case: Case
    pipeline: Pipeline[PathsT, PreparedT, MadeT]
    paths: PathsT
    out: Path
    roots: tuple[Path, Path]  # the folders that the images' recorded paths are relative to
    method: Mapping[str, Any]  # see `Job`

    def inputs(self) -> Record:
        """Return what is known about the case's files before they are opened."""
        return {
            modality: {
                "path": relative_path(path, path.parent if path == root else root),
                "sha256": None,
                **({} if self.case.page is None else {"page": self.case.page}),
                **({} if volume is None else {"volume": volume}),
            }
            for modality, path, root, volume in zip(
                self.pipeline.modalities,
                (self.case.first, self.case.second),
                self.roots,
                self.case.volumes,
                strict=True,
            )
        }

    def hash_inputs(self, inputs: Record) -> None:
        """Add the hashes of the files. Raise ReadError."""
        hashes: dict[Path, str] = {}  # one file may hold both images
        for known, path in zip(inputs.values(), (self.case.first, self.case.second), strict=True):
            if path not in hashes:
                hashes[path] = self._hash(path)
            known["sha256"] = hashes[path]

    def _hash(self, path: Path) -> str:
        """Return a file's hash; that of a sequence is computed once, not for every case of it."""
        if self.case.page is None and self.case.volumes == (None, None):
            return self.pipeline.sha256(path)
        key = self.pipeline.state(path)
        found = _known_hashes.get(key)
        if found is None:
            found = self.pipeline.sha256(path)
            if len(_known_hashes) >= MAX_HASHES:
                _known_hashes.clear()
            _known_hashes[key] = found
        return found

    def record(self, inputs: Record) -> Record:
        """Return the part of the case's record that is known before it is fused."""
        return {
            "case": self.case.name,
            "inputs": inputs,
            **self.method,
            "options": self.pipeline.record(),
            "pixels_version": PIXELS_VERSION,
            "outputs": {
                name: relative_path(path, self.out)
                for name, path in sorted(self.paths.all().items())
            },
        }

    def failure(self, inputs: Record, text: str) -> Record:
        """Return the record of a case that failed."""
        return self.record(inputs) | {"outputs": {}, "status": FAILED, "error": text}


@dataclass(frozen=True)
class CaseRead(Generic[PreparedT]):
    """A case whose images have been read."""

    inputs: Record
    prepared: PreparedT
    seconds: float


@dataclass(frozen=True)
class CaseMade(Generic[PreparedT, MadeT]):
    """A case that the network has fused."""

    read: CaseRead[PreparedT]
    made: MadeT
    seconds: float  # of the network


@dataclass(frozen=True)
class Outcome:
    """How a case ended elsewhere: its record, or why there is none; and its inputs."""

    inputs: Record
    record: Record | None = None
    error: FnetError | None = None

    def made(self) -> Record:
        """Return the record. Raise FnetError."""
        if self.error is not None or self.record is None:
            raise self.error or PairError("no record")
        return self.record


@dataclass
class FuseWork:
    """A worker's work: fuse cases, several at a time, one of them in the network."""

    source: MethodSource
    wanted: Wanted
    witness: Witness
    precision: str = "fp32"  # that the records tell

    def begin(self, place: Place) -> Hello:
        """See `Work`."""
        self.witness.require_seen()
        self._network = self.source.on(place.device).load()
        engine = self._network.engine
        if engine.precision != self.precision:
            raise ClusterError(
                f"worker on {own_node()}: computes in {engine.precision} on {engine.device}, not "
                f"in {self.precision}; leave --precision out"
            )
        self._network.require_memory(self.wanted)
        self._turn = threading.Lock()
        self._room = Room()
        self._hello = Hello(
            node=own_node(),
            device=str(engine.device),
            network=engine.path,
            processor=own_processor(),
            precision=engine.precision,
            versions=own_versions(),
        )
        return self._hello

    def process(self, task: CaseTask[Any, Any, Any]) -> Outcome:
        """Fuse one case."""
        inputs = task.inputs()
        try:
            with self._room.place() as weigh:
                read = read_case(task, inputs)
                weigh(task.pipeline.nbytes(read.prepared))
                with self._turn:
                    made = work_on_case(task, self._network.engine, read)
                record = write_case(task, made)
        except FnetError as error:
            return Outcome(inputs, error=error)
        except Exception as error:  # noqa: BLE001  so that the others continue
            return Outcome(inputs, error=PairError(f"{task.case.name}: {in_words(error)}"))
        hello = self._hello
        where = {"node": hello.node, "processor": hello.processor}
        return Outcome(
            inputs,
            record | {"worker": where | {"device": hello.device, "network": hello.network}},
        )


def read_case(task: CaseTask[PathsT, PreparedT, MadeT], inputs: Record) -> CaseRead[PreparedT]:
    """Hash and read the images; complete `inputs`. Raise ImageError."""
    started = time.perf_counter()
    task.hash_inputs(inputs)
    prepared = task.pipeline.read(task.case)
    for known, size in zip(inputs.values(), task.pipeline.sizes(prepared), strict=True):
        known["size"] = size
    return CaseRead(inputs, prepared, time.perf_counter() - started)


def work_on_case(
    task: CaseTask[PathsT, PreparedT, MadeT],
    engine: Engine | BaselineEngine,
    read: CaseRead[PreparedT],
    in_place: InPlace = nullcontext,
    on_slices: OnSlices = lambda *_: None,
) -> CaseMade[PreparedT, MadeT]:
    """Run the network. Raise ImageError, OutputError."""
    started = time.perf_counter()
    try:
        made = task.pipeline.work(engine, read.prepared, task.paths, in_place, on_slices)
    except PairError as error:
        weights = task.method.get("weights")
        of = f", weights {weights['name']}" if weights and isinstance(error, NotFiniteError) else ""
        raise PairError(f"{task.case.first} and {task.case.second}{of}: {error}") from None
    return CaseMade(read, made, time.perf_counter() - started)


def write_case(
    task: CaseTask[PathsT, PreparedT, MadeT],
    case: CaseMade[PreparedT, MadeT],
    in_place: InPlace = nullcontext,
) -> Record:
    """Write the results; return the record of the finished case. Raise WriteError."""
    started = time.perf_counter()
    found = task.pipeline.write(case.read.prepared, case.made, task.paths, in_place)
    folders = folders_of(task.paths)
    seconds = case.read.seconds + case.seconds + time.perf_counter() - started
    return task.record(case.read.inputs) | {
        "status": DONE,
        **found,
        **({"folders": folders} if folders else {}),
        "seconds": round(seconds, 4),
        "network_seconds": round(case.seconds, 4),
    }


def is_whole(paths: ResultPaths, record: Record) -> bool:
    """Whether all files of a case exist, and its folders have as many files and bytes as before."""
    are_there = all(path.exists() for path in paths.all().values())
    return are_there and folders_of(paths) == record.get("folders", {})


def folders_of(paths: ResultPaths) -> Record:
    """Return the number of files, and their bytes, in the folders among the results."""
    found = {}
    for name, path in sorted(paths.all().items()):
        with suppress(OSError):  # a file, or nothing
            files = [one for one in os.scandir(path) if not one.name.startswith(".")]
            sizes = [one.stat().st_size for one in files]
            found[name] = {"files": len(sizes), "bytes": sum(sizes)}
    return found
