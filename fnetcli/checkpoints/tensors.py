"""Tensors of a file: a shape, a type, and numbers that are converted on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fnetcli.text import visible

MAX_SHOWN = 80  # characters of a file's text in a message


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file; `is_real`: its numbers are floating-point."""

    shape: tuple[int, ...]
    is_real: bool
    float32: Callable[[], NDArray[np.float32]]


Tensors = Mapping[str, Tensor]


def quoted(value: object) -> str:
    """Return a value from a file as text, shortened, with control characters escaped."""
    text = str(value)
    short = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
    return visible(short)
