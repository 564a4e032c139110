"""A preview of a volume: evenly spaced slices side by side in one picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from fnetcli.formats import write_png
from fnetcli.imaging.image import Grid
from fnetcli.imaging.intensity import to_stored
from fnetcli.volumes.resample import Reordering, plane_of, spacing, to_axis

MAX_SLICES = 20
LONGEST_SIDE = 256  # of a slice, in pixels
GAP = 2
SHAPE = 4 / 3  # width to height of the whole, about
LONGEST_STRETCH = 8.0  # of a pixel; thicker slices would leave no room for the other side


def write_mosaic(path: Path, values: NDArray[Any], grid: Grid) -> None:
    """Write `mosaic` as PNG, completely or not at all; create folders. Raise what both raise."""
    write_png(path, mosaic(values, grid))


def mosaic(values: NDArray[Any], grid: Grid, most: int = MAX_SLICES) -> NDArray[np.uint8]:
    """Return at most `most` slices of a volume as one picture, uint8 (H, W, 1 or 3).

    `values` is float32 in [0, 1] or uint8, (slices, height, width, 1 or 3), on `grid`. Slices keep
    their plane, turned to the radiological view (the patient's left is on the right, the front or
    the head at the top), and their true proportions. Volumes without a position stay as they are.
    Raise ImageError for NaN and infinity.
    """
    turn = Reordering() if grid.affine is None else to_axis(grid, plane_of(grid))
    turned = turn.apply(values)
    shown = turned[spread(turned.shape[0], most)]
    tiles = shown if shown.dtype == np.uint8 else to_stored(shown, np.uint8)
    height, width = tile_size(turn.grid(grid))
    rows, columns = arrangement(len(tiles), height, width)
    sheet = np.zeros(
        (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, values.shape[3]), np.uint8
    )
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * (height + GAP), (i % columns) * (width + GAP)
        sheet[top : top + height, left : left + width] = resized(tile, height, width)
    return sheet


def spread(count: int, most: int) -> list[int]:
    """Return at most `most` of `count` indices, in the middles of equal intervals."""
    chosen = min(count, most)
    return [int((i + 0.5) * count / chosen) for i in range(chosen)]


def tile_size(grid: Grid) -> tuple[int, int]:
    """Return height and width of a slice with square pixels, LONGEST_SIDE or less."""
    _, height, width = grid.shape
    if grid.affine is not None:
        _, row, column = spacing(grid)
        stretch = min(max(row / column, 1 / LONGEST_STRETCH), LONGEST_STRETCH)
        height, width = (
            (round(height * stretch), width) if stretch > 1 else (height, round(width / stretch))
        )
    shrink = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def arrangement(count: int, height: int, width: int) -> tuple[int, int]:
    """Return the rows and columns of so many tiles."""
    columns = min(count, max(1, round(math.sqrt(count * SHAPE * height / width))))
    return math.ceil(count / columns), columns


def resized(tile: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return a tile (height, width, channels) in another size."""
    if tile.shape[:2] == (height, width):
        return tile
    plain = np.ascontiguousarray(tile[..., 0] if tile.shape[2] == 1 else tile)
    picture = PIL.Image.fromarray(plain).resize((width, height), PIL.Image.Resampling.BILINEAR)
    return np.asarray(picture, np.uint8).reshape(height, width, -1)
