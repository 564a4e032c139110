"""Write named arrays to one file, for features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnetcli.files.durable import atomic_write


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name, uncompressed (for `numpy.load`), completely or not at all.

    Equal arrays give equal bytes. Create missing folders; raise what `atomic_write` raises.
    """
    named: dict[str, Any] = dict(arrays)
    atomic_write(path, lambda file: np.savez(file, **named))
