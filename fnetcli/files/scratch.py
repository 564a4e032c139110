"""Keep arrays that are too large for memory in unnamed files beside the results."""

from __future__ import annotations

import errno
import math
import os
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fnetcli.files.durable import refused

MAX_IN_MEMORY = 64 << 20  # bytes of one array; larger arrays are mapped from a file
NOT_OFFERED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}  # by this file system
ZEROS = bytes(1 << 20)


def scratch_array(path: Path, shape: tuple[int, ...], kind: DTypeLike) -> NDArray[Any]:
    """Return an array to fill; a large one is kept in a file beside `path`, not in memory.

    The file has no name and is removed with the array, however the process ends. All of its space
    is allocated at once: a full disk is an error here, not a crash when a page is written. Create
    missing folders; raise what `atomic_write` raises.
    """
    kind = np.dtype(kind)
    size = math.prod(shape) * kind.itemsize
    if size < MAX_IN_MEMORY:
        return np.empty(shape, kind)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".fnet-{os.getpid()}-"  # if a file cannot be created without a name
        with tempfile.TemporaryFile(prefix=prefix, suffix=".tmp", dir=path.parent) as file:
            _take_space(file, size)
            return np.memmap(file, kind, "r+", shape=shape)  # keeps its own handle
    except OSError as error:
        raise refused(path, error) from None


def _take_space(file: BinaryIO, size: int) -> None:
    """Extend a file with zeros and allocate its space. Raise OSError if the disk is full."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in NOT_OFFERED:
                raise
        else:
            return
    file.writelines(ZEROS for _ in range(0, size, len(ZEROS)))
    file.flush()
