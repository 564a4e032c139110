"""Pillow's settings are the whole process's: change them while we read, then give them back."""

from __future__ import annotations

import threading
import warnings
from types import TracebackType

import PIL.Image


class _OurRules:
    """While any thread is inside, Pillow warns about nothing and has no size limit of its own.

    Broken metadata is no news for the user, and sizes are checked by `raster.PIXEL_LIMIT`. The
    first thread in makes the settings and the last one out takes them back: threads that decode
    side by side do not undo each other's.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._quiet = warnings.catch_warnings()
        self._limit: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._quiet, self._limit = warnings.catch_warnings(), PIL.Image.MAX_IMAGE_PIXELS
                self._quiet.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
                PIL.Image.MAX_IMAGE_PIXELS = None
            self._users += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                PIL.Image.MAX_IMAGE_PIXELS = self._limit
                self._quiet.__exit__(None, None, None)


our_rules = _OurRules()
