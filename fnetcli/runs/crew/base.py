"""The interface of workers: processes elsewhere that hold a network and process items.

A worker holds its `Work`, which travels to it once; items and results travel one by one. How
workers are started and reached is a matter of `processes.py` (this machine) and `ray_actors.py`.
"""

from __future__ import annotations

import os
import platform
import socket
import sys
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from fnetcli.cores import limit_threads
from fnetcli.errors import FnetError, UsageError

MIN_CPUS = 0.1  # of a worker


@dataclass(frozen=True)
class Place:
    """Where a worker works: its device and its computing threads; None: not limited."""

    device: str
    threads: int | None
    folder: Path  # the working folder of the command, which relative paths start from

    def settle(self) -> None:
        """Prepare this process, before any native library counts its threads."""
        if self.threads is not None:
            limit_threads(self.threads)
        if self.folder.is_dir():
            os.chdir(self.folder)


@dataclass(frozen=True)
class Hello:
    """What a worker says of itself once it can work."""

    node: str
    device: str
    network: str  # what runs it, in a few words
    processor: str = ""
    precision: str = "fp32"
    versions: tuple[str, ...] = ()


def own_versions() -> tuple[str, ...]:
    """Return what must be the same in every worker."""
    return (
        f"fnetcli {version('fnetcli')}",
        f"Python {sys.version_info.major}.{sys.version_info.minor}",
    )


def own_node() -> str:
    """Return the name of this machine."""
    return socket.gethostname() or platform.node()


def own_processor() -> str:
    """Return the model of this machine's processor: same model, same bits in a result."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


class Work(Protocol):
    """What a worker does; picklable."""

    def begin(self, place: Place) -> Hello:
        """Load what it needs and check that it sees all files. Raise FnetError."""

    def process(self, item: Any) -> Any:
        """Process one item; several threads call it at a time."""


class Worker(Protocol):
    """A worker as its employer sees it. Futures raise WorkerLostError if it dies."""

    @property
    def hello(self) -> Future[Hello]:
        """What it says once it has begun; raises FnetError if it cannot work."""

    def process(self, item: Any) -> Future[Any]:
        """Let it process an item."""

    def kill(self) -> None:
        """End it at once, or soon."""

    def wait_until_dead(self) -> None:
        """Return when it no longer writes, after `kill`."""


class WorkerLostError(Exception):
    """A worker has died; the text says how."""


def _nothing(_: Callable[[FnetError], None]) -> None:
    """Watch nothing."""


@dataclass(frozen=True)
class Staff:
    """How to hire workers, and how many; `watch` is told whom to call if all are lost at once."""

    hire: Callable[[], Worker]
    count: int
    watch: Callable[[Callable[[FnetError], None]], None] = _nothing


@dataclass(frozen=True)
class ClusterOptions:
    """Which Ray, and what a worker gets of it; None: the default.

    As --cluster, --cpus-per-worker, --gpus-per-worker and --device. Raise UsageError.
    """

    address: str
    cpus: float | None = None
    gpus: float | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.device not in {"auto", "cpu", "cuda"}:
            raise UsageError(
                f"--device {self.device}: with --cluster, Ray chooses the device; use auto, cpu or "
                "cuda"
            )
        if self.cpus is not None and self.cpus < MIN_CPUS:
            raise UsageError(f"--cpus-per-worker {self.cpus:g}: use at least {MIN_CPUS}")
        gpus = self.gpus or 0.0
        if gpus < 0 or (gpus > 1 and gpus != int(gpus)):
            raise UsageError(
                f"--gpus-per-worker {gpus:g}: Ray gives parts of one GPU or whole GPUs; use 0.5, 1"
            )
        if self.device == "cpu" and gpus:
            raise UsageError(
                "--gpus-per-worker: workers with --device cpu use no GPU; leave it out"
            )
