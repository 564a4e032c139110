"""The options of an engine; importing them does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fnetcli.engine.tiles import SMALLEST
from fnetcli.errors import UsageError

Precision = Literal["fp32", "tf32", "bf16"]


@dataclass(frozen=True)
class EngineOptions:
    """How an engine works; nothing here changes its results beyond rounding."""

    precision: Precision = "fp32"  # others: of convolutions' operands, where that is faster
    tile: int | None = None  # side in pixels; 0: the whole image at once; None: as memory allows
    max_memory: int | None = None  # bytes for one tile; None: as much as is free

    def __post_init__(self) -> None:
        """Raise UsageError if tiles would be nearly all margin, or if options are contradictory."""
        if self.tile is not None and 0 < self.tile < SMALLEST:
            raise UsageError(f"--tile {self.tile}: too small; use at least {SMALLEST}, 0 or auto")
        if self.tile is not None and self.max_memory is not None:
            raise UsageError("--tile and --max-memory: give one of them, it decides the other")
