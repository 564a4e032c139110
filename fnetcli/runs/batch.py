"""Process many cases: reading, work and writing overlap, and one failure stops no other case."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import Any, Generic, Protocol, TypeVar

from fnetcli.errors import FnetError, ImageError
from fnetcli.interruption import GivenUpError, end_work_at

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
MAX_BYTES = 1 << 30  # of cases in progress, besides the one at work


class HasName(Protocol):
    """A case of any kind."""

    @property
    def name(self) -> str:
        """Its name, for messages."""


CaseT = TypeVar("CaseT", bound=HasName)
ReadT = TypeVar("ReadT")
WorkedT = TypeVar("WorkedT")
DoneT = TypeVar("DoneT")


@dataclass(frozen=True)
class Stages(Generic[CaseT, ReadT, WorkedT, DoneT]):
    """The three steps of a case: `read` and `write` run in worker threads, `work` in this one."""

    read: Callable[[CaseT], ReadT]
    work: Callable[[CaseT, ReadT], WorkedT]
    write: Callable[[CaseT, WorkedT], DoneT]
    weigh: Callable[[ReadT], int] = lambda _: 0  # bytes that a case keeps in memory


@dataclass
class Report(Generic[CaseT]):
    """The outcome of every case."""

    done: list[CaseT] = field(default_factory=list)
    failed: list[tuple[CaseT, str]] = field(default_factory=list)


@dataclass
class Settling(Generic[CaseT, DoneT]):
    """Cases on their way to their results; call `on_done` and `on_failed` in their order.

    An ImageError fails its case; any other FnetError, or an interrupt, ends the batch, after the
    cases that are being written are finished and reported.
    """

    on_done: Callable[[CaseT, DoneT], None]
    on_failed: Callable[[CaseT, str], None]
    stops_at_failure: bool = field(default=False, kw_only=True)
    is_debug: bool = field(default=False, kw_only=True)  # let unexpected exceptions through
    report: Report[CaseT] = field(default_factory=Report, kw_only=True)
    _writing: deque[tuple[CaseT, Future[Any]]] = field(default_factory=deque, kw_only=True)

    def _result(self, case: CaseT, future: Future[Any]) -> DoneT:  # noqa: ARG002
        """Return the result of a case that is done. Raise what went wrong."""
        done: DoneT = future.result()
        return done

    def _is_stopped(self) -> bool:
        return self.stops_at_failure and bool(self.report.failed)

    def _settle_all(self, *, is_ending: bool = False) -> None:
        """Report all cases that were being written; `is_ending`: an error is being raised."""
        while self._writing:
            try:
                self._settle_next()
            except Exception:
                if not is_ending:
                    raise

    def _settle_next(self) -> None:
        """Wait for the first case and report it; an interrupt while waiting loses none."""
        case, future = self._writing[0]
        future.exception()
        self._writing.popleft()
        try:
            done = self._result(case, future)
        except GivenUpError:
            return  # neither done nor failed
        except FnetError as error:
            if not isinstance(error, ImageError):
                raise
            self._fail(case, str(error), getattr(error, "brief", str(error)))
        except Exception as error:  # the one broad except: per case, so that the others continue
            if self.is_debug:
                raise
            text = f"{case.name}: {in_words(error)}"
            self._fail(case, text, text)
        else:
            self.report.done.append(case)
            self.on_done(case, done)

    def _fail(self, case: CaseT, text: str, kept: str) -> None:
        """Report a failure; the text that is kept holds no words from a file's header."""
        self.report.failed.append((case, kept))
        self.on_failed(case, text)


@dataclass
class Handout(Settling[CaseT, DoneT], Generic[CaseT, WorkedT, DoneT]):
    """Cases that others process: `submit` hands one out, `forget` drops those not begun.

    `settle` turns what comes back into the result, in this thread. At most `window` cases are on
    their way, finished ones that wait for an earlier one included.
    """

    submit: Callable[[CaseT], Future[WorkedT]]
    settle: Callable[[CaseT, WorkedT], DoneT]
    forget: Callable[[], None]
    window: int

    def run(self, cases: Iterable[CaseT]) -> Report[CaseT]:
        """Hand out every case and report it."""
        try:
            for case in cases:
                if self._is_stopped():
                    break
                self._writing.append((case, self.submit(case)))
                while self._writing and (self._writing[0][1].done() or self._is_full()):
                    self._settle_next()
            if self._is_stopped():
                self.forget()
            self._settle_all()
        except BaseException:
            self.forget()
            self._settle_all(is_ending=True)
            raise
        return self.report

    def _result(self, case: CaseT, future: Future[Any]) -> DoneT:
        return self.settle(case, future.result())

    def _is_full(self) -> bool:
        return len(self._writing) >= self.window


@dataclass
class Batch(Settling[CaseT, DoneT], Generic[CaseT, ReadT, WorkedT, DoneT]):
    """Cases in progress through the stages, in threads of this process."""

    stages: Stages[CaseT, ReadT, WorkedT, DoneT]
    workers: int = 2
    on_ending: Callable[[], None] = lambda: None  # no further case begins

    def run(self, cases: Iterable[CaseT]) -> Report[CaseT]:
        """Process every case through all stages."""
        self._waiting = iter(cases)
        self._reading: deque[tuple[CaseT, Future[ReadT]]] = deque()
        self._heaviest: int | None = None  # unknown before the first case is read
        self._ended = Event()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="fnet") as pool:
            try:
                self._fill(pool)
                while self._reading and not self._is_stopped():
                    self._next(pool)
                    self._fill(pool)
                self._forget_reading()
                if self._is_stopped():
                    self.on_ending()
                self._settle_all()
            except BaseException:
                self._forget_reading()
                self.on_ending()
                self._settle_all(is_ending=True)
                raise
        return self.report

    def _fill(self, pool: ThreadPoolExecutor) -> None:
        """Read ahead: one case per worker, as long as their images fit into memory."""
        while len(self._reading) < self.workers and self._has_room():
            case = next(self._waiting, None)
            if case is None:
                return
            self._reading.append((case, _start(pool, case, partial(self._read, case))))

    def _read(self, case: CaseT) -> ReadT:
        end_work_at(self._ended)
        return self.stages.read(case)

    def _has_room(self) -> bool:
        if self._heaviest is None:
            return not self._reading
        on_their_way = len(self._reading) + len(self._writing)
        return not self._reading or (on_their_way + 1) * self._heaviest <= MAX_BYTES

    def _next(self, pool: ThreadPoolExecutor) -> None:
        """Work on the next case that has been read; report those that have been written."""
        case, future = self._reading.popleft()
        try:
            read = future.result()
            self._heaviest = max(self._heaviest or 0, self.stages.weigh(read))
        except Exception as error:  # noqa: BLE001  sorted when the case's turn comes
            written: Future[DoneT] = _failed(error)
        else:
            if not self._are_heavy():
                self._fill(pool)
            written = self._work(pool, case, read)
        self._writing.append((case, written))
        while self._writing and (self._writing[0][1].done() or not self._may_wait()):
            self._settle_next()

    def _work(self, pool: ThreadPoolExecutor, case: CaseT, read: ReadT) -> Future[DoneT]:
        try:
            worked = self.stages.work(case, read)
        except Exception as error:  # noqa: BLE001  sorted when the case's turn comes
            return _failed(error)
        return _start(pool, case, partial(self._write, case, worked))

    def _write(self, case: CaseT, worked: WorkedT) -> DoneT:
        end_work_at(Event())  # what has been worked on is written, even if the batch ends
        return self.stages.write(case, worked)

    def _are_heavy(self) -> bool:
        """Whether two cases do not fit into memory: then each is finished before the next."""
        return 2 * (self._heaviest or 0) > MAX_BYTES

    def _may_wait(self) -> bool:
        count = len(self._writing)
        others = count - 1 + len(self._reading)
        room = others * (self._heaviest or 0) <= MAX_BYTES
        return count <= self.workers and room and not self._are_heavy()

    def _forget_reading(self) -> None:
        """Drop the cases on which no work has begun."""
        self._ended.set()
        for _, future in self._reading:
            future.cancel()


def _start(pool: ThreadPoolExecutor, case: HasName, step: Callable[[], DoneT]) -> Future[DoneT]:
    """Let a worker do a step. Raise FnetError if the system cannot start a thread."""
    try:
        return pool.submit(step)
    except RuntimeError as error:
        raise FnetError(
            f"{case.name}: no thread can be started ({error}); end other programs, use fewer "
            "--workers or raise the limits (ulimit -u, ulimit -v)"
        ) from None


def in_words(error: Exception) -> str:
    """Return what an unexpected exception means for its case."""
    if isinstance(error, MemoryError):
        return "not enough memory; end other programs, use fewer --workers or smaller images"
    return f"unexpected {type(error).__name__} ({error}); --debug shows more"


def _failed(error: Exception) -> Future[DoneT]:
    future: Future[DoneT] = Future()
    future.set_exception(error)
    return future
