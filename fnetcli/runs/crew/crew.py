"""Hand items out to workers; replace workers that die, and let others try their items again.

One thread decides everything; what happens elsewhere reaches it through a queue.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from fnetcli.errors import ClusterError, FnetError, WorkerDiedError
from fnetcli.inputs.pairing import Case
from fnetcli.interruption import GivenUpError
from fnetcli.runs.crew.base import Hello, Staff, Worker, WorkerLostError, own_versions

IN_HAND = 3  # items of a worker: one is read, one is at work, one is written
MAX_TRIES = 3  # of an item whose worker dies
MAX_EARLY_DEATHS = 3  # of workers that have not begun, in a row
GRACE = 10.0  # seconds for what is at work when the run ends early
PATIENCE = 30  # seconds until a run starts with the workers that there are


class HasCase(Protocol):
    """An item of any kind: something to do with a case."""

    @property
    def case(self) -> Case:
        """The case, for messages."""


ItemT = TypeVar("ItemT", bound=HasCase)
ResultT = TypeVar("ResultT")


@dataclass(eq=False)
class _Item(Generic[ItemT, ResultT]):
    """An item on its way."""

    what: ItemT
    result: Future[ResultT] = field(default_factory=Future)
    losses: int = 0  # of workers that held it


@dataclass(eq=False)
class _Member(Generic[ItemT, ResultT]):
    """A worker and what it has in hand."""

    worker: Worker
    hello: Hello | None = None
    in_hand: list[_Item[ItemT, ResultT]] = field(default_factory=list)

    @property
    def is_alone_with_one(self) -> bool:
        """Whether it tries an item again, with nothing beside it that could be lost, too."""
        return any(item.losses for item in self.in_hand)


class Crew(Generic[ItemT, ResultT]):
    """The workers of a run: use as a context, `submit` items."""

    def __init__(self, staff: Staff, on_notice: Callable[[str], None]) -> None:
        self._staff = staff
        self._on_notice = on_notice
        self._members: list[_Member[ItemT, ResultT]] = []
        self._waiting: deque[_Item[ItemT, ResultT]] = deque()
        self._events: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._begun = threading.Event()  # all workers of the start have said hello, or it failed
        self._failure: FnetError | None = None
        self._early_deaths = 0
        self._has_ended = False
        self._thread = threading.Thread(target=self._listen, name="fnet-crew", daemon=True)

    # --- for the run ---

    @property
    def window(self) -> int:
        """How many items should be on their way, so that no worker waits for its next one."""
        return 2 * IN_HAND * self._staff.count

    def hellos(self) -> list[Hello]:
        """Return what the workers say of themselves."""
        return [member.hello for member in self._members if member.hello is not None]

    def submit(self, what: ItemT) -> Future[ResultT]:
        """Let a worker process an item.

        The future raises WorkerDiedError if its workers die, GivenUpError after `forget`, and what
        ended the whole crew.
        """
        item = _Item[ItemT, ResultT](what)
        self._events.put(partial(self._queue, item))
        return item.result

    def forget(self) -> None:
        """Drop all items that wait; kill the workers of those at work that take long."""
        self._events.put(self._give_up)

    def fail(self, error: FnetError) -> None:
        """End the crew: every item raises this error."""
        self._events.put(partial(self._fail, error))

    def __enter__(self) -> Self:
        """Hire all workers; return when they can work. Raise FnetError, ClusterError."""
        try:
            for _ in range(self._staff.count):
                self._hire()
            self._thread.start()
            self._staff.watch(self.fail)
            self._await_workers()
        except BaseException:
            self._end()
            raise
        if self._failure is not None:
            self._end()
            raise self._failure
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _await_workers(self) -> None:
        """Return when all workers have begun, or some and the others take long."""
        seconds = 0
        while not self._begun.wait(1.0):  # so that an interrupt is heard
            seconds += 1
            count = len(self.hellos())
            if seconds == PATIENCE and not count:
                self._on_notice("no worker has begun yet: waiting until the cluster has room")
            elif seconds >= PATIENCE and count:
                self._on_notice(
                    f"{count} of {self._staff.count} workers have begun; others join when the "
                    "cluster has room"
                )
                return

    def _end(self) -> None:
        self._events.put(None)
        if self._thread.is_alive():
            self._thread.join()
        self._kill_all()

    # --- in the thread ---

    def _listen(self) -> None:
        while True:
            event = self._events.get()
            if event is None:
                return
            event()
            if self._failure is not None or (self._members and self._all_have_begun()):
                self._begun.set()
            self._hand_out()

    def _all_have_begun(self) -> bool:
        return all(member.hello is not None for member in self._members)

    def _hire(self) -> None:
        member = _Member[ItemT, ResultT](self._staff.hire())
        self._members.append(member)
        member.worker.hello.add_done_callback(self._event(self._hear_hello, member))

    def _event(self, hear: Callable[..., None], *further: object) -> Callable[[Future[Any]], None]:
        """Return a callback for a future that lets this thread hear of it."""

        def put(future: Future[Any]) -> None:
            self._events.put(partial(hear, *further, future))

        return put

    def _hear_hello(self, member: _Member[ItemT, ResultT], future: Future[Hello]) -> None:
        if member not in self._members:
            return
        try:
            member.hello = future.result()
        except WorkerLostError as error:
            self._early_deaths += 1
            if self._early_deaths > MAX_EARLY_DEATHS:
                self._fail(
                    ClusterError(
                        f"workers die before they can work ({error}); give each more memory or "
                        "fewer neighbours (--cpus-per-worker, --max-memory)"
                    )
                )
            else:
                self._replace(member)
            return
        except FnetError as error:
            self._fail(error)
            return
        self._early_deaths = 0
        if member.hello.versions != own_versions():
            theirs, ours = (", ".join(each) for each in (member.hello.versions, own_versions()))
            self._fail(
                ClusterError(
                    f"worker on {member.hello.node}: has {theirs}, but here is {ours}; install "
                    "the same versions there"
                )
            )

    def _queue(self, item: _Item[ItemT, ResultT]) -> None:
        if self._failure is not None:
            item.result.set_exception(self._failure)
        elif self._has_ended:
            item.result.set_exception(GivenUpError())
        else:
            self._waiting.append(item)

    def _hand_out(self) -> None:
        """Hand out items in order, each to the worker with the fewest in hand.

        An item whose worker died gets a worker of its own: if it is what kills, it kills no other.
        """
        while self._waiting:
            item = self._waiting[0]
            most = 0 if item.losses else IN_HAND - 1
            ready = [
                member
                for member in self._members
                if member.hello is not None
                and len(member.in_hand) <= most
                and not member.is_alone_with_one
            ]
            if not ready:
                return
            self._waiting.popleft()
            member = min(ready, key=lambda one: len(one.in_hand))
            member.in_hand.append(item)
            future = member.worker.process(item.what)
            future.add_done_callback(self._event(self._hear_result, member, item))

    def _hear_result(
        self, member: _Member[ItemT, ResultT], item: _Item[ItemT, ResultT], future: Future[ResultT]
    ) -> None:
        if item not in member.in_hand:
            return  # its worker was declared dead, or killed
        try:
            result = future.result()
        except WorkerLostError as error:
            self._lose(member, str(error))
        except Exception as error:  # noqa: BLE001  it belongs to the item
            member.in_hand.remove(item)
            item.result.set_exception(error)
        else:
            member.in_hand.remove(item)
            item.result.set_result(result)

    def _lose(self, member: _Member[ItemT, ResultT], how: str) -> None:
        """Replace a dead worker, and queue again what it had in hand."""
        lost, member.in_hand = member.in_hand, []
        node = member.hello.node if member.hello else "?"
        self._replace(member)
        if self._has_ended:
            for item in lost:
                item.result.set_exception(GivenUpError())
            return
        self._on_notice(f"a worker on {node} died ({how}); another one tries its pairs again")
        for item in reversed(lost):
            item.losses += 1
            if item.losses < MAX_TRIES:
                self._waiting.appendleft(item)
                continue
            item.result.set_exception(
                WorkerDiedError(
                    f"{item.what.case.files}: its worker died {MAX_TRIES} times, last on {node} "
                    f"({how}); probably memory ran out: use fewer workers (--cpus-per-worker), "
                    "--max-memory, or smaller images"
                )
            )

    def _replace(self, member: _Member[ItemT, ResultT]) -> None:
        with contextlib.suppress(Exception):  # it is dead, or nearly
            member.worker.kill()
        self._members.remove(member)
        if self._has_ended or self._failure is not None:
            return
        try:
            self._hire()
        except FnetError as error:
            self._fail(error)

    def _fail(self, error: FnetError) -> None:
        if self._failure is None:
            self._failure = error
        self._drop(self._failure)

    def _give_up(self) -> None:
        self._has_ended = True
        while self._waiting:
            self._waiting.popleft().result.set_exception(GivenUpError())
        timer = threading.Timer(GRACE, self._events.put, [partial(self._drop, GivenUpError())])
        timer.daemon = True
        timer.start()

    def _drop(self, error: Exception) -> None:
        """End all items with an error."""
        items = [*self._waiting, *(item for one in self._members for item in one.in_hand)]
        self._waiting.clear()
        for member in self._members:
            member.in_hand = []
        for item in items:
            item.result.set_exception(error)

    def _kill_all(self) -> None:
        for member in self._members:
            with contextlib.suppress(Exception):
                member.worker.kill()
        for member in self._members:
            with contextlib.suppress(Exception):
                member.worker.wait_until_dead()
        self._members = []
