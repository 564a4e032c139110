"""End long steps in worker threads when their result is no longer needed."""

from __future__ import annotations

from contextvars import ContextVar
from threading import Event


class GivenUpError(Exception):
    """The result of a worker's step is no longer needed."""


_has_ended: ContextVar[Event | None] = ContextVar("_has_ended", default=None)  # of this worker


def end_work_at(has_ended: Event) -> None:
    """Make `require_wanted` raise in this thread once the event is set."""
    _has_ended.set(has_ended)


def require_wanted() -> None:
    """Raise GivenUpError if the batch has ended; call it in long loops."""
    has_ended = _has_ended.get()
    if has_ended is not None and has_ended.is_set():
        raise GivenUpError
