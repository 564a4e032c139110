"""Numbers that no sensor measured and no file declares: marks of no data, and rows of telemetry.

Programs write a number where there is nothing (0, -9999, 65535), dead pixels hold one, and some
cameras send lines of telemetry along with their picture. All of these lie far away from what the
sensor saw. A bright object that is too much for a sensor does so too: it is one connected area, and
stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fnetcli.imaging.image import Mask, Stored

MIN_REPEATS = 3  # pixels that hold a mark, at least
MIN_GAP = 1.0  # between a mark and all other numbers, times the spread of the bulk of these
BULK = (5, 95)  # percentiles
MAX_MARKS = 4
MAX_SHARE_OF_ZERO = 0.5  # a picture that is mostly 0 has a black background
MAX_SPECK = 6  # pixels of a group of dead ones
MIN_SPECKS = 0.9  # share of a mark's pixels that lie in such groups, where it is dead pixels
MAX_LINES = 16  # of telemetry, or of a border at one side
MIN_STRANGE = 0.5  # share of a telemetry row that no scene explains
MIN_ZEROS = 0.25  # share of a row that is exactly 0, beside which everything beyond is words
MIN_WORDS = 0.05  # share of a telemetry row that is words, not one mark
STRANGE = 0.5  # times the scene's spread: how far beyond it, and from the next pixel, words lie
SAMPLES = 1 << 18  # pixels, on a regular lattice, that tell the bulk
BEYOND_NATURE = 1e15  # no unit makes a measured number so large
LOW_MARKS = (0, -1e4, -9999, -999, -99999, -32767)


@dataclass(frozen=True)
class Marked:
    """Pixels (H, W) that all hold one number far away from all others, `low` to `high`."""

    value: float
    pixels: Mask
    low: float
    high: float
    are_specks: bool  # single pixels and small groups: dead or stuck ones


@dataclass(frozen=True)
class Telemetry:
    """Whole rows at the top and bottom that hold words in place of a scene."""

    top: int
    bottom: int
    pixels: Mask


def find_telemetry(pixels: Stored, seen: Mask) -> Telemetry | None:
    """Return the rows of (H, W, C) at its top and bottom that no scene explains, if there are any.

    In such a row most numbers lie beyond those of the rest, and differ from pixel to pixel or are
    exactly 0. A strip of cold sky lies beyond, too, but is smooth.
    """
    if pixels.shape[2] != 1:
        return None
    height, plane = len(pixels), pixels[..., 0]
    inner = slice(height // 4, height - height // 4)
    bulk = _bulk(plane[inner][seen[inner]])
    if bulk is None:
        return None
    low, high = bulk
    top = _strange_rows(plane, seen, low, high, range(height))
    bottom = _strange_rows(plane, seen, low, high, range(height - 1, -1, -1))
    if not top + bottom:
        return None
    found = np.zeros(seen.shape, bool)
    found[:top] = found[height - bottom :] = True
    return Telemetry(top, bottom, found & seen)


def _strange_rows(plane: Stored, seen: Mask, low: float, high: float, rows: range) -> int:
    """Return how many rows from an edge hold telemetry: none where there is no end to them."""
    count, has_words = 0, False
    limit = min(MAX_LINES, len(rows) // 4)
    for row in rows:
        is_strange, words = _look_at_row(plane[row].astype(np.float64), seen[row], low, high)
        if not is_strange:
            return count if has_words else 0
        count, has_words = count + 1, has_words or words >= MIN_WORDS
        if count > limit:
            return 0
    return 0


def _look_at_row(values: Stored, seen: Mask, low: float, high: float) -> tuple[bool, float]:
    """Return whether no scene explains a row, and the share of it that is words."""
    if values.size < 2 or not seen.any():
        return False, 0.0
    reach = STRANGE * (high - low)
    is_beyond = (values < low - reach) | (values > high + reach)
    steps = np.abs(np.diff(values)) > reach
    is_rough = np.zeros(values.size, bool)
    is_rough[1:] = steps
    is_rough[:-1] |= steps
    count = int(np.count_nonzero(seen))
    zeros = is_beyond & (values == 0) & seen
    has_zeros = np.count_nonzero(zeros) >= MIN_ZEROS * count
    words = is_beyond & (is_rough | has_zeros) & (values != 0) & seen
    strange = int(np.count_nonzero(words | zeros))
    return strange >= MIN_STRANGE * count, np.count_nonzero(words) / count


def find_marks(pixels: Stored, seen: Mask, *, only_high: bool = False) -> Iterator[Marked]:
    """Yield the marks of no data among the numbers of (H, W, C) that are `seen` (H, W).

    With `only_high` low numbers are never marks: in a picture whose black is 0, they are black.
    """
    left = seen.copy()
    for _ in range(MAX_MARKS):
        ends = (False, True) if not only_high else (True,)
        found = next((one for end in ends if (one := _mark_at(pixels, left, is_high=end))), None)
        if found is None:
            return
        left &= ~found.pixels
        yield found


def _mark_at(pixels: Stored, seen: Mask, *, is_high: bool) -> Marked | None:
    """Return the highest or lowest number as a mark, if it is one."""
    values = pixels if seen.all() else pixels[seen]
    if not values.size:
        return None
    value = values.max() if is_high else values.min()
    where = (pixels == value).all(axis=-1) & seen
    count = int(np.count_nonzero(where))
    if count < MIN_REPEATS:
        return None
    rest = pixels[seen & ~where]
    bulk = _bulk(rest)
    if bulk is None:
        return None
    low, high = float(rest.min()), float(rest.max())
    gap = float(value) - high if is_high else low - float(value)
    if not gap > MIN_GAP * (bulk[1] - bulk[0]):
        return None
    are_specks = _are_specks(where)
    if not are_specks and not _is_known(float(value), pixels, where, seen, is_high=is_high):
        return None
    return Marked(float(value), where, low, high, are_specks)


def _bulk(values: Stored) -> tuple[float, float] | None:
    """Return between which numbers most of (pixels, ...) lie; None where they are all the same."""
    if not values.size:
        return None
    some = values[:: math.ceil(len(values) / SAMPLES)].astype(np.float64)
    low, high = (float(value) for value in np.percentile(some, BULK))
    return (low, high) if low < high else None


def _are_specks(where: Mask) -> bool:
    """Whether pixels lie alone or in small groups, or in whole thin lines of the sensor."""
    from scipy import ndimage  # slow to import, and most images have no marks

    labels, _ = ndimage.label(where)
    sizes = np.bincount(labels.ravel())[1:]
    in_specks = int(sizes[sizes <= MAX_SPECK].sum())
    boxes = ndimage.find_objects(labels)
    for index in np.flatnonzero(sizes > MAX_SPECK):
        spans = [side.stop - side.start for side in boxes[index]]
        if 1 in spans and max(spans) >= max(where.shape) // 4:
            in_specks += int(sizes[index])
    return in_specks >= MIN_SPECKS * int(sizes.sum())


def _is_known(number: float, pixels: Stored, where: Mask, seen: Mask, *, is_high: bool) -> bool:
    """Whether an area that holds one number is one that programs leave out, and no bright object.

    Low marks are numbers that many programs write. A high one, where sensors end, has to be a
    border as well: what is too bright for a sensor lies anywhere.
    """
    kind = pixels.dtype
    share = np.count_nonzero(where) / np.count_nonzero(seen)
    if abs(number) >= BEYOND_NATURE and kind.kind == "f":
        return True
    if is_high:
        return _is_border(where)
    is_lowest = kind.kind == "i" and number == np.iinfo(kind).min
    if number == 0 and share > MAX_SHARE_OF_ZERO:
        return False
    return number in LOW_MARKS or is_lowest or _is_border(where)


def _is_border(where: Mask) -> bool:
    """Whether an area frames the picture: thin whole rows or columns, two sides, or its corners."""
    sides = (where[0], where[-1], where[:, 0], where[:, -1])
    top, bottom, left, right = (bool(side.all()) for side in sides)
    if (top and bottom) or (left and right):
        return True
    corners = (where[0, 0], where[0, -1], where[-1, 0], where[-1, -1])
    if sum(map(bool, corners)) >= 3:
        return True
    whole_rows = np.logical_and.reduce(where, axis=1)
    whole_columns = np.logical_and.reduce(where, axis=0)
    rows, columns = (int(np.count_nonzero(whole)) for whole in (whole_rows, whole_columns))
    in_lines = int(np.count_nonzero(where & (whole_rows[:, np.newaxis] | whole_columns)))
    is_thin = rows <= min(MAX_LINES, len(where) // 16) and columns <= min(
        MAX_LINES, where.shape[1] // 16
    )
    return rows + columns > 0 and is_thin and in_lines == np.count_nonzero(where)
