"""Let long steps in worker threads end when nobody waits for their result any more."""

from __future__ import annotations

from contextvars import ContextVar
from threading import Event


class GivenUpError(Exception):
    """Nobody waits any more for what a worker is reading."""


_has_ended: ContextVar[Event | None] = ContextVar("_has_ended", default=None)  # of this worker


def end_work_at(has_ended: Event) -> None:
    """Let `require_wanted` raise in this thread once the event is set."""
    _has_ended.set(has_ended)


def require_wanted() -> None:
    """Raise GivenUpError if the batch has ended; call it in long loops."""
    has_ended = _has_ended.get()
    if has_ended is not None and has_ended.is_set():
        raise GivenUpError
