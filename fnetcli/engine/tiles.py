"""Cut an image into tiles whose results equal that of the whole image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

SMALLEST = 64  # pixels of a tile, without its margin: smaller tiles would be nearly all margin


@dataclass(frozen=True)
class Span:
    """A range of rows or columns: what is kept, and what is computed for it."""

    start: int
    stop: int
    outer_start: int
    outer_stop: int

    @property
    def kept(self) -> slice:
        """The range of the result in the whole image."""
        return slice(self.start, self.stop)

    @property
    def computed(self) -> slice:
        """The range of the whole image that is computed."""
        return slice(self.outer_start, self.outer_stop)

    @property
    def inner(self) -> slice:
        """The range of the result within the computed range."""
        return slice(self.start - self.outer_start, self.stop - self.outer_start)


@dataclass(frozen=True)
class Tile:
    """A rectangle of an image: its rows and columns."""

    rows: Span
    columns: Span


@dataclass(frozen=True)
class Tiling:
    """A grid of tiles over height x width pixels, each with a margin of all pixels that reach it.

    The margin ends at the image border: only there does the network see the zeros of its "same"
    padding. The computed range starts at a multiple of `grain` (rows, columns), so that the sums of
    a tile are rounded like those of the whole image.
    """

    height: int
    width: int
    tile_height: int
    tile_width: int
    margin: int
    grain: tuple[int, int] = (1, 1)

    def __iter__(self) -> Iterator[Tile]:
        """Yield the tiles, row by row."""
        for rows in self._rows():
            for columns in self._columns():
                yield Tile(rows, columns)

    def __len__(self) -> int:
        """Return the number of tiles."""
        return -(-self.height // self.tile_height) * -(-self.width // self.tile_width)

    @property
    def largest(self) -> tuple[int, int]:
        """Height and width of the largest computed rectangle."""
        return int(self._lengths(0).max()), int(self._lengths(1).max())

    @property
    def computed(self) -> int:
        """The total of computed pixels, including margins."""
        return int(self._lengths(0).sum()) * int(self._lengths(1).sum())

    def _lengths(self, axis: int) -> NDArray[np.int64]:
        length, step = ((self.height, self.tile_height), (self.width, self.tile_width))[axis]
        return self.lengths(length, step, self.grain[axis])

    def _rows(self) -> Iterator[Span]:
        return self.spans(self.height, self.tile_height, self.grain[0])

    def _columns(self) -> Iterator[Span]:
        return self.spans(self.width, self.tile_width, self.grain[1])

    def spans(self, length: int, step: int, grain: int) -> Iterator[Span]:
        """Yield the ranges of rows or columns of tiles of `step` pixels."""
        for edges in self._edges(length, step, grain).T.tolist():
            yield Span(*edges)

    def lengths(self, length: int, step: int, grain: int) -> NDArray[np.int64]:
        """Return how many rows or columns are computed for each range."""
        edges = self._edges(length, step, grain)
        found: NDArray[np.int64] = edges[3] - edges[2]
        return found

    def _edges(self, length: int, step: int, grain: int) -> NDArray[np.int64]:
        fine = min(self.grain)
        start = np.arange(0, length, step, dtype=np.int64)
        stop = np.minimum(length, start + step)
        outer_start = np.maximum(0, start - self.margin) // grain * grain
        outer_stop = -(-(stop + self.margin) // fine) * fine
        return np.stack([start, stop, outer_start, np.minimum(length, outer_stop)])


def fitting(one: Tiling, budget: int, bytes_needed: Callable[[int, int], int]) -> Tiling | None:
    """Return `one` with the tiles that need at most `budget` bytes and the least work, or None.

    `bytes_needed(rows, columns)` returns the bytes that a rectangle needs.
    """
    by_height = _cuts(one, one.height, one.grain[0])
    found: list[tuple[int, int, int]] = []  # total of computed pixels, height, width
    for width, (widest, columns) in _cuts(one, one.width, one.grain[1]).items():
        for height, (highest, rows) in by_height.items():
            if bytes_needed(highest, widest) <= budget:
                found.append((rows * columns, height, width))
                break
    if not found:
        return None
    _, height, width = min(found, key=lambda one: one[0])
    return replace(one, tile_height=height, tile_width=width)


def _cuts(one: Tiling, length: int, grain: int) -> dict[int, tuple[int, int]]:
    """Return, by tile size, largest first, the largest computed length and the total."""
    counts = range(1, -(-length // SMALLEST) + 1)
    parts = dict.fromkeys(_part(length, count, grain) for count in counts)
    lengths = ((part, one.lengths(length, part, grain)) for part in parts)
    return {part: (int(found.max()), int(found.sum())) for part, found in lengths}


def _part(length: int, count: int, grain: int) -> int:
    """Return the length of one of `count` roughly equal intervals, a multiple of `grain`."""
    return min(length, max(SMALLEST, -(-length // (count * grain)) * grain))
