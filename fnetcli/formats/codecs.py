"""Silence the log messages of other packages' decoders while we read."""

from __future__ import annotations

import logging
import threading
from types import TracebackType


class _Silence(logging.Filter):
    """Drop log messages from a thread while it is inside."""

    def __init__(self) -> None:
        super().__init__()
        self._inside = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - logging's signature
        return not getattr(self._inside, "depth", 0)

    def __enter__(self) -> None:
        self._inside.depth = getattr(self._inside, "depth", 0) + 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._inside.depth -= 1


silence = _Silence()
for name in ("imagecodecs", "tifffile", "PIL.TiffImagePlugin"):
    logging.getLogger(name).addFilter(silence)
