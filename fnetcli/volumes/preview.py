"""The preview of a case of volumes: slices of both inputs beside the result, and where they lie.

If a transform was looked for or given, chequerboards of both inputs show how they are aligned
by their headers, and by the transform.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
from numpy.typing import NDArray

from fnetcli.formats import write_png
from fnetcli.imaging.image import Grid, Image, Pixels
from fnetcli.imaging.intensity import Scaling, to_stored
from fnetcli.volumes.color_bar import color_bar
from fnetcli.volumes.mix import VolumeMixOptions
from fnetcli.volumes.mosaic import GAP, arrangement, resized, spread, tile_size
from fnetcli.volumes.prepare import PreparedVolumes, unit_slab
from fnetcli.volumes.resample import Reordering, affine_of, plane_of, resample, to_axis

MOST = 12  # slices; each with both inputs
EMPTY = 0.02  # of the range; slices without anything brighter are left out
LABELLED = 64  # pixels; smaller tiles have no room for letters, and are enlarged
FIELDS = 8  # of a chequerboard, along the longer side
SAME = 1e-6  # mm: places that differ by less are the same
BRIGHT = 255
# The patient's sides at the left and right of a slice, in the radiological view.
SIDES = {"axial": ("R", "L"), "coronal": ("R", "L"), "sagittal": ("A", "P")}

Levels = NDArray[np.uint8]


def write_preview(
    path: Path, prepared: PreparedVolumes, shown: NDArray[Any], mix: VolumeMixOptions
) -> None:
    """Write `preview` as PNG, completely or not at all. Raise what `write_png` raises."""
    write_png(path, preview(prepared, shown, mix))


def preview(prepared: PreparedVolumes, shown: NDArray[Any], mix: VolumeMixOptions) -> Levels:
    """Return slices of first, second and result as one picture, uint8 (H, W, 1 or 3).

    `shown` is float32 in [0, 1] or uint8, (slices, height, width, 1 or 3), in the network's order.
    Letters say which side of the patient is where, numbers the position of the slice's middle in
    millimetres; a bar below has the colours of PET or SPECT. After registration, and with a given
    transform, chequerboards follow: before, and after it. Raise ImageError for NaN.
    """
    grid = prepared.order.grid(prepared.grid)
    turn = to_axis(grid, plane_of(grid))  # its first axis stays the first one
    turned = turn.grid(grid)
    count = turned.shape[0]
    full = [i for i in range(count) if _is_full(shown[_source(i, turn, count)])]
    indices = full or list(range(count))
    chosen = [indices[i] for i in spread(len(indices), MOST)]
    height, width = _enlarged(*tile_size(turned))
    channels = shown.shape[3]
    boards = _boards(prepared)
    tiles = []
    for i in chosen:
        slab = slice(_source(i, turn, count), _source(i, turn, count) + 1)
        parts = [
            _seen(prepared.order.image(image), slab, scaling)
            for image, scaling in zip(prepared.on_grid, prepared.scalings, strict=True)
        ]
        levels = [_levels(turn, one) for one in (*parts, shown[slab])]
        row = [_channels(resized(one, height, width), channels) for one in levels]
        middle = affine_of(turned) @ [i, (turned.shape[1] - 1) / 2, (turned.shape[2] - 1) / 2, 1]
        _label(row, plane_of(grid), middle)
        for name, moving in boards:
            kept, moved = (
                resized(_levels(turn, one), height, width)
                for one in (parts[prepared.reference], _at(slab, moving, prepared))
            )
            row.append(_channels(_chequered(kept, moved, name), channels))
        tiles.append(np.hstack(row))
    length = tiles[0].shape[1]
    rows, columns = arrangement(len(tiles), height, length)
    sheet = np.zeros(
        (rows * (height + GAP) - GAP, columns * (length + GAP) - GAP, channels), np.uint8
    )
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * (height + GAP), (i % columns) * (length + GAP)
        sheet[top : top + height, left : left + length] = tile
    bar = color_bar(prepared, mix, sheet.shape[1]) if channels == 3 else None
    return sheet if bar is None else np.vstack([sheet, bar])


# --- chequerboards --------------------------------------------------------------------------------


def _boards(prepared: PreparedVolumes) -> list[tuple[str, Image]]:
    """Return the name of each chequerboard, and the moving volume that it shows."""
    before, after = prepared.by_headers, prepared.sources[1 - prepared.reference]
    if before is None:
        return []
    places = affine_of(before.grid), affine_of(after.grid)
    if np.allclose(*places, rtol=0, atol=SAME):
        return [("headers", before)]
    name = "transform" if prepared.transform is None else "registered"
    return [("headers", before), (name, after)]


def _at(slab: slice, moving: Image, prepared: PreparedVolumes) -> Pixels:
    """Return slices of the moving volume, in [0, 1], in the network's order."""
    grid = prepared.order.grid(prepared.grid)
    step = np.eye(4)
    step[0, 3] = slab.start
    here = Grid((slab.stop - slab.start, *grid.shape[1:]), affine_of(grid) @ step)
    found = resample(moving, here, "nearest")  # which does not smooth the whole volume every time
    scaling = prepared.scalings[1 - prepared.reference]
    return _seen(found, slice(None), scaling)


def _seen(image: Image, slab: slice, scaling: Scaling) -> Pixels:
    """Return slices in [0, 1], with a channel; black where there is no data."""
    values, valid = unit_slab(image, slab, scaling)
    return (values if valid is None else np.where(valid, values, np.float32(0)))[..., None]


def _chequered(reference: Levels, moving: Levels, name: str) -> Levels:
    """Return fields of both in turns."""
    height, width = reference.shape[:2]
    side = max(1, round(max(height, width) / FIELDS))
    is_other = (np.arange(height)[:, None] // side + np.arange(width) // side) % 2 == 1
    board = np.where(is_other[..., None], moving, reference)
    return _written(board, [((2, 1), name)])


# --- tiles and letters ----------------------------------------------------------------------------


def _enlarged(height: int, width: int) -> tuple[int, int]:
    """Return a size with room for letters: whole multiples."""
    factor = max(1, math.ceil(LABELLED / min(height, width)))
    return factor * height, factor * width


def _source(index: int, turn: Reordering, count: int) -> int:
    return count - 1 - index if turn.flips[0] else index


def _is_full(plane: NDArray[Any]) -> bool:
    limit = EMPTY * (BRIGHT if plane.dtype == np.uint8 else 1)
    return bool(plane.max() > limit)


def _levels(turn: Reordering, values: NDArray[Any]) -> Levels:
    plane = turn.apply(values)[0]
    found: Levels = plane if plane.dtype == np.uint8 else to_stored(plane, np.uint8)
    return found


def _channels(tile: Levels, channels: int) -> Levels:
    return np.repeat(tile, channels, axis=2) if tile.shape[2] < channels else tile


def _label(row: list[Levels], plane: str, middle: NDArray[np.float64]) -> None:
    """Draw the position of the slice onto the first tile, the patient's sides onto the third."""
    height, width = row[0].shape[:2]
    axis = {"axial": 2, "coronal": 1, "sagittal": 0}[plane]
    left, right = SIDES[plane]
    row[0] = _written(row[0], [((2, 1), f"{'xyz'[axis]} {middle[axis]:+.1f} mm")])
    row[2] = _written(row[2], [((2, height // 2), left), ((width - 8, height // 2), right)])


def _written(tile: Levels, words: list[tuple[tuple[int, int], str]]) -> Levels:
    """Return a tile with words at places (x, y)."""
    picture = PIL.Image.fromarray(tile if tile.shape[2] == 3 else tile[..., 0])
    draw = PIL.ImageDraw.Draw(picture)
    for place, text in words:
        ink, edge = ((BRIGHT,) * 3, (0,) * 3) if tile.shape[2] == 3 else (BRIGHT, 0)
        draw.text(place, text, ink, stroke_width=1, stroke_fill=edge)
    return np.asarray(picture, np.uint8).reshape(tile.shape)
