"""Workers that are processes of this machine, each on a device of its own."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fnetcli.engine.device import count_threads
from fnetcli.errors import ClusterError
from fnetcli.runs.crew.base import Hello, Place, Staff, Work, WorkerLostError
from fnetcli.runs.crew.crew import IN_HAND

LOOK_SECONDS = 1.0
BEGIN, PROCESS = "begin", "process"


def processes(devices: Sequence[str], work: Work) -> Staff:
    """Return the workers of this machine: a process for each device, with a share of the cores."""
    share = max(1, count_threads() // len(devices))
    free = list(reversed(devices))

    def hire() -> ProcessWorker:
        device = free.pop()
        return ProcessWorker(work, Place(device, share, Path.cwd()), lambda: free.append(device))

    return Staff(hire, len(devices))


class ProcessWorker:
    """A process, and a thread here that hears what it says."""

    def __init__(self, work: Work, place: Place, on_kill: Any = lambda: None) -> None:
        """Start it. Raise ClusterError if the system cannot."""
        self._on_kill = on_kill
        self._numbers = itertools.count()
        self._awaited: dict[int, Future[Any]] = {}
        self._lock = threading.Lock()
        self._is_dead = False
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, work, place, os.getpid()), name="fnet-worker", daemon=True
        )
        try:
            with interrupts_blocked():
                self._process.start()
        except OSError as error:
            raise ClusterError(f"no process can be started ({error.strerror})") from None
        theirs.close()
        self.hello: Future[Hello] = self._ask(BEGIN, None)
        threading.Thread(target=self._listen, name="fnet-worker", daemon=True).start()

    def process(self, item: Any) -> Future[Any]:
        """See `Worker`."""
        return self._ask(PROCESS, item)

    def kill(self) -> None:
        """See `Worker`."""
        self._process.kill()
        self._on_kill()

    def wait_until_dead(self) -> None:
        """See `Worker`."""
        self._process.join()

    def _ask(self, what: str, item: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            if self._is_dead:
                future.set_exception(WorkerLostError(self._how()))
                return future
            number = next(self._numbers)
            self._awaited[number] = future
            with suppress(OSError):  # it has died: the listener hears of it
                self._connection.send((number, what, item))
        return future

    def _listen(self) -> None:
        while True:
            try:
                number, result, error = self._connection.recv()
            except (EOFError, OSError):
                break
            with self._lock:
                future = self._awaited.pop(number)
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        self._process.join()
        with self._lock:
            self._is_dead = True
            awaited, self._awaited = self._awaited, {}
        for future in awaited.values():
            future.set_exception(WorkerLostError(self._how()))

    def _how(self) -> str:
        code = self._process.exitcode
        if code is not None and code < 0:
            with suppress(ValueError):
                return f"killed by {signal.Signals(-code).name}"
        return f"exit code {code}"


def _serve(connection: Connection, work: Work, place: Place, parent: int) -> None:
    """Work in a process of its own until the employer is gone."""
    begin_worker(parent)
    place.settle()
    lock = threading.Lock()

    def answer(number: int, what: str, item: Any) -> None:
        result = error = None
        try:
            result = work.begin(place) if what == BEGIN else work.process(item)
        except Exception as caught:  # noqa: BLE001  it belongs to the item
            error = caught
        with lock:
            connection.send((number, result, error))

    with ThreadPoolExecutor(IN_HAND) as pool:
        while True:
            try:
                number, what, item = connection.recv()
            except (EOFError, OSError):
                os._exit(0)
            pool.submit(answer, number, what, item)


def begin_worker(parent: int) -> None:
    """Ignore interrupts, which the parent process handles, and end when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C in this thread and in processes that it starts; other threads receive it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # starting it later would unblock interrupts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
