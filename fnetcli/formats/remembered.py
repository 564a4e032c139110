"""What is found in a file that is opened again for each of its pages."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import BinaryIO, Generic, TypeVar

SMALL = 1 << 20  # bytes of files that are searched every time
MAX_KNOWN = 8  # files

FoundT = TypeVar("FoundT")


class Remembered(Generic[FoundT]):
    """What was found in the last few large files, as long as they do not change."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int, int], FoundT] = {}

    def of(self, file: BinaryIO, find: Callable[[BinaryIO], FoundT]) -> FoundT:
        """Return what `find` finds in an open file; search it only once."""
        try:
            state = os.fstat(file.fileno())
        except OSError:  # in memory
            return find(file)
        if state.st_size <= SMALL:
            return find(file)
        key = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
        if key in self._known:
            return self._known[key]
        found = find(file)
        while len(self._known) >= MAX_KNOWN:
            self._known.pop(next(iter(self._known), key), None)
        self._known[key] = found
        return found
