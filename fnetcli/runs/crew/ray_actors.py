"""Workers that are Ray actors: on all nodes of a cluster, or a local Ray over this machine.

Ray places, starts and watches them. Ray is imported here only, and only with `--cluster`.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from fnetcli.errors import ClusterError, FnetError, UsageError
from fnetcli.quiet import native_silence
from fnetcli.runs.crew.base import ClusterOptions, Hello, Place, Staff, Work, WorkerLostError
from fnetcli.runs.crew.crew import IN_HAND

LOCAL = "ray"  # as an address: the cluster of RAY_ADDRESS, else a Ray of this machine alone
STORE_BYTES = 256 << 20  # of a local Ray, for weights and tasks: pictures travel by files
THREADS = 2  # of a worker on CPUs
MAX_SECONDS = 5.0  # to connect, and to end
TRIES = "3"  # to reach a head whose port is open; each takes up to 41 seconds
PULSE = 2.0  # seconds between two looks at the head
MAX_MISSES = 3  # looks in a row without an answer
START = "start it (ray start --head) or check the address"
REFUSED = (
    "something answers there: install the head's versions of Ray and Python, or, if it wants a "
    "token (Ray 2.52 and later), copy ~/.ray/auth_token from the head and set RAY_AUTH_MODE=token"
)
NO_LOCAL = "try again when this machine is less busy; Ray needs memory, and space in /tmp"
INSTALL = "install it: pip install 'fnetcli[cluster]'"


def import_ray() -> Any:
    """Return Ray. Raise UsageError if it is not installed."""
    try:
        return import_module("ray")
    except ImportError:
        raise UsageError(f"--cluster: Ray is not installed; {INSTALL}") from None


@contextmanager
def ray_actors(options: ClusterOptions, work: Work, most: int) -> Iterator[Staff]:
    """Connect to Ray and return its workers, at most `most`. Raise ClusterError, UsageError."""
    cluster = _Cluster(options)
    try:
        share = _share(options, cluster.nodes())
        yield cluster.staff(work, share, most)
    finally:
        cluster.close()


@dataclass(frozen=True)
class _Share:
    """What each worker gets, and how many workers that makes."""

    device: str
    cpus: float
    gpus: float
    count: int


def _share(options: ClusterOptions, nodes: Sequence[Mapping[str, float]]) -> _Share:
    """Divide the nodes' resources among workers. Raise UsageError if no node has enough."""
    has_gpus = any(node.get("GPU") for node in nodes)
    device = options.device
    if device == "auto":
        device = "cuda" if has_gpus and options.gpus != 0 else "cpu"
    gpus = options.gpus if options.gpus is not None else float(device == "cuda")
    if device == "cuda" and not gpus:
        raise UsageError("--gpus-per-worker 0: workers with --device cuda need a share of a GPU")
    cpus = options.cpus
    if cpus is None:
        most = max((node.get("CPU", 0.0) for node in nodes), default=0.0)
        cpus = 1.0 if gpus else max(1.0, min(THREADS, most))
    count = sum(_fitting(node, cpus, gpus) for node in nodes)
    if not count:
        there = "; ".join(
            f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in nodes
        )
        raise UsageError(
            f"--cluster: no node has {cpus:g} CPUs and {gpus:g} GPUs for a worker "
            f"(nodes: {there}); lower --cpus-per-worker or --gpus-per-worker, or leave out "
            "--device cuda"
        )
    return _Share(device, cpus, gpus, count)


def _fitting(node: Mapping[str, float], cpus: float, gpus: float) -> int:
    found = int(node.get("CPU", 0.0) / cpus + 1e-6)
    return min(found, int(node.get("GPU", 0.0) / gpus + 1e-6)) if gpus else found


class _Cluster:
    """A connection to Ray."""

    def __init__(self, options: ClusterOptions) -> None:
        """Connect. Raise ClusterError."""
        address = options.address
        if address == LOCAL:
            address = os.environ.get("RAY_ADDRESS") or "local"
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if address != "local":
            os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", TRIES)  # read as Ray is imported
        self._ray = ray = import_ray()
        self._is_lost = False
        self._ended = threading.Event()
        self._hush()
        if ray.is_initialized():  # by a program that calls the Python API
            raise ClusterError(
                f"--cluster {options.address}: this program uses Ray already; call ray.shutdown() "
                "first"
            )
        started: dict[str, Any] = {}
        if address == "local":
            started = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
        else:
            address = self._place_of(address)
            _require_open(options.address, address.removeprefix("ray://").split("?")[0])
        with _own_signals(), warnings.catch_warnings(action="ignore"), native_silence:
            try:
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **started)
            except Exception as error:  # noqa: BLE001  of many kinds
                raise ClusterError(
                    f"--cluster {options.address}: Ray cannot be reached "
                    f"({_first_line(error)}); {REFUSED if not started else NO_LOCAL}"
                ) from None
        self._pulse = (
            address.removeprefix("ray://")
            if address.startswith("ray://")
            else (ray.get_runtime_context().gcs_address)
        )

    def _hush(self) -> None:
        """Keep Ray's words about dead workers off stdout, which is for results."""
        with suppress(AttributeError):
            self._ray._private.worker.print_to_stdstream = lambda *_, **__: None  # noqa: SLF001

    def _place_of(self, address: str) -> str:
        """Return the host:port of `auto`: Ray itself tries a head that is gone for minutes."""
        if address != "auto":
            return address
        try:
            return str(self._ray._private.services.canonicalize_bootstrap_address_or_die("auto"))  # noqa: SLF001
        except Exception as error:  # noqa: BLE001  of many kinds
            raise ClusterError(f"--cluster auto: {_first_line(error)}; {START}") from None

    def nodes(self) -> list[Mapping[str, float]]:
        """Return the resources of the nodes that are alive."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def staff(self, work: Work, share: _Share, most: int) -> Staff:
        """Return how to hire the workers."""
        sent = self._ray.put(work)
        place = Place(share.device, max(1, int(share.cpus)), Path.cwd())
        actor = self._ray.remote(
            num_cpus=share.cpus,
            num_gpus=share.gpus,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=IN_HAND + 1,
            scheduling_strategy="SPREAD",
        )(Actor)

        def hire() -> ActorWorker:
            return ActorWorker(self._ray, actor.remote(sent, place))

        return Staff(hire, max(1, min(share.count, most)), self._watch)

    def _watch(self, fail: Callable[[FnetError], None]) -> None:
        """Look at the head now and then: without it, Ray ends this process after a minute."""

        def look() -> None:
            misses = 0
            while not self._ended.wait(PULSE):
                misses = 0 if _is_open(self._pulse) else misses + 1
                if misses == MAX_MISSES:
                    self._is_lost = True
                    fail(
                        ClusterError(
                            f"Ray at {self._pulse}: does not answer any more; finished results are "
                            "on disk, run the same command again when it does"
                        )
                    )
                    return

        threading.Thread(target=look, name="fnet-pulse", daemon=True).start()

    def close(self) -> None:
        """Disconnect; a local Ray ends."""
        self._ended.set()
        end = threading.Thread(target=self._shut_down, name="fnet-end", daemon=True)
        end.start()
        end.join(MAX_SECONDS if self._is_lost else None)

    def _shut_down(self) -> None:
        with suppress(Exception):
            self._ray.shutdown()


class Actor:
    """A worker in Ray."""

    def __init__(self, work: Work, place: Place) -> None:
        self._work, self._place = work, place

    def begin(self) -> tuple[Hello | None, Exception | None]:
        """Begin the work; errors are values, since Ray would wrap them."""
        try:
            self._place.settle()
            return self._work.begin(self._place), None
        except FnetError as error:
            return None, error

    def process(self, item: Any) -> tuple[Any, Exception | None]:
        """Process one item."""
        try:
            return self._work.process(item), None
        except Exception as error:  # noqa: BLE001  it belongs to the item
            return None, error


class ActorWorker:
    """An actor as its employer sees it."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor
        self.hello: Future[Hello] = self._future(actor.begin.remote())

    def process(self, item: Any) -> Future[Any]:
        """See `Worker`."""
        return self._future(self._actor.process.remote(item))

    def kill(self) -> None:
        """See `Worker`."""
        self._ray.kill(self._actor)

    def wait_until_dead(self) -> None:
        """See `Worker`."""
        with suppress(Exception):
            self._ray.get(self._actor.begin.remote(), timeout=MAX_SECONDS)

    def _future(self, reference: Any) -> Future[Any]:
        """Return a future of our own, with errors of our own."""
        ours: Future[Any] = Future()

        def settle(theirs: Future[Any]) -> None:
            try:
                result, error = theirs.result()
            except self._ray.exceptions.RayError as lost:
                error = _explain(lost)
            except Exception as lost:  # noqa: BLE001  of Ray's client, whose connection is gone
                error = WorkerLostError(_first_line(lost))
            if error is None:
                ours.set_result(result)
            else:
                ours.set_exception(error)

        reference.future().add_done_callback(settle)
        return ours


def _explain(error: Exception) -> Exception:
    """Return what an exception of Ray means."""
    text = str(error)
    if "ModuleNotFoundError" in text:
        missing = text.rsplit("ModuleNotFoundError:", 1)[1].strip().splitlines()[0]
        return ClusterError(
            f"a node of the cluster lacks fnet ({missing}); install it on all nodes"
        )
    if type(error).__name__ == "OutOfMemoryError" or "running low on memory" in text:
        return WorkerLostError("killed by Ray, memory of its node ran out")
    if "node" in text and ("node died" in text or "has died" in text or "was terminated" in text):
        return WorkerLostError("its node is gone")
    return WorkerLostError("its process was killed or crashed")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _require_open(address: str, place: str) -> None:
    if not _is_open(place):
        raise ClusterError(
            f"--cluster {address}: nothing answers at {place}; start Ray (ray start --head) or "
            "check host and port (of Ray's client: 10001)"
        )


def _is_open(place: str) -> bool:
    """Whether something listens at host:port."""
    host, _, port = place.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=MAX_SECONDS):
            return True
    except (OSError, ValueError, OverflowError):
        return False


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's handlers of signals, which Ray replaces."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)
