"""Tensors as files hold them: a shape, a type, and numbers that are made when they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fnetcli.text import visible

MAX_SHOWN = 80  # letters of what a file says, in a message


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file; `is_real` where its numbers are floating-point ones."""

    shape: tuple[int, ...]
    is_real: bool
    float32: Callable[[], NDArray[np.float32]]


Tensors = Mapping[str, Tensor]


def quoted(said: object) -> str:
    """Return what a file says, shortened, without what a terminal would obey."""
    text = str(said)
    short = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
    return visible(short)
