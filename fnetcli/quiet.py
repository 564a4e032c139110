"""Native libraries print to standard error by themselves: not while we read."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from types import TracebackType


class _NativeSilence:
    """While a thread is inside, what native libraries write to standard error is dropped.

    The handle is the whole process's: whoever has something to say there holds `lock` meanwhile.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._kept: int | None = None
        self._depth = 0

    def __enter__(self) -> None:
        self.lock.acquire()
        self._depth += 1
        if self._depth > 1:
            return
        with suppress(OSError, ValueError):  # closed: nobody is told anything
            sys.stderr.flush()
            self._kept = os.dup(2)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            os.close(null)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._depth -= 1
        if not self._depth and self._kept is not None:
            os.dup2(self._kept, 2)
            os.close(self._kept)
            self._kept = None
        self.lock.release()


native_silence = _NativeSilence()
