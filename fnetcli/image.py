"""One image type for everything: pixels, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """Where pixels lie: shape (slices, height, width) and an affine index -> mm (RAS+), or None."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64] | None = None

    @property
    def size(self) -> str:
        """Width x height, as people write it."""
        return f"{self.shape[2]}x{self.shape[1]}"


@dataclass(frozen=True)
class Image:
    """A picture or volume: float32 pixels (slices, height, width, channels).

    A PNG is one slice. Channels are 1 (grey) or 3 (RGB). Pixels are in stored units as read, for
    example 0..255, until `intensity.to_unit` brings them to [0, 1]. `alpha` is (slices, height,
    width) in [0, 1], or None where the file has none.
    """

    pixels: Pixels
    grid: Grid
    stored_type: np.dtype[np.generic] = field(default_factory=lambda: np.dtype(np.uint8))
    alpha: Pixels | None = None

    @property
    def is_color(self) -> bool:
        """Whether there are three channels."""
        return bool(self.pixels.shape[3] == 3)
