"""Three steps in order, at the same time: read ahead, work here, write behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

AHEAD = 2  # items that wait before, and behind, the one at work

ReadT = TypeVar("ReadT")
WorkedT = TypeVar("WorkedT")


def overlap(
    items: Iterator[ReadT],
    work: Callable[[ReadT], WorkedT],
    write: Callable[[WorkedT], None],
) -> None:
    """Pass every item through `work` in this thread and `write` in another, in order.

    A third thread takes the items from their iterator. At most AHEAD of them wait on either side.
    Raise what a step raises, after what was worked on before has been written.
    """
    with (
        ThreadPoolExecutor(1, "fnet-read") as reader,
        ThreadPoolExecutor(1, "fnet-write") as writer,
    ):
        reading: deque[Future[ReadT | None]] = deque()
        writing: deque[Future[None]] = deque()
        try:
            while True:
                while len(reading) <= AHEAD:
                    reading.append(reader.submit(next, items, None))
                item = reading.popleft().result()
                if item is None:
                    break
                writing.append(writer.submit(write, work(item)))
                while len(writing) > AHEAD or (writing and writing[0].done()):
                    writing.popleft().result()
            while writing:
                writing.popleft().result()
        finally:
            for future in reading:
                future.cancel()
            for written in writing:
                written.exception()  # wait: nothing else may use the film meanwhile
