"""Dead and stuck pixels: single ones that differ from everything around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fnetcli.imaging.image import Mask, Stored

NOISE = 10.0  # times the noise of the picture, that a dead pixel differs from the median around it
SHARE = 0.25  # of the spread between these percentiles, that it differs at least
SPREAD = (1, 99)
MAX_ALIKE = 1  # neighbours that are dead with it; a wire has two that are like it
BLURRED = 0.25  # of a point's height: what a lens gives its neighbours at least
REACH = 2  # pixels around a dead one whose median takes its place
USUAL, NORMAL = 90, 1.645  # percentile of differences, and how many standard deviations it is


@dataclass(frozen=True)
class Repaired:
    """Pixels (H, W, C) with dead ones replaced, and where (H, W) these were."""

    pixels: Stored
    where: Mask


def find_dead(pixels: Stored, seen: Mask) -> Mask:
    """Return where (H, W) pixels differ from the median around them as no scene does.

    An edge or a thin line has neighbours that are like it, and lenses blur what is small: a pixel
    is dead where at most MAX_ALIKE of its eight neighbours differ likewise.
    """
    found = np.zeros(seen.shape, bool)
    for channel in np.moveaxis(pixels, -1, 0):
        found |= _find_in(channel.astype(np.float64), seen)
    return found & seen


def _find_in(values: NDArray[np.float64], seen: Mask) -> Mask:
    from scipy import ndimage  # slow to import

    if not seen.any() or min(values.shape) < 3:
        return np.zeros(seen.shape, bool)
    usual = float(np.median(values[seen]))
    values = np.where(seen, values, usual)
    median = ndimage.median_filter(values, 2 * REACH + 1, mode="mirror")
    difference = values - median
    noise = float(np.percentile(np.abs(difference[seen]), USUAL)) / NORMAL
    low, high = np.percentile(median[seen], SPREAD)
    least = max(NOISE * noise, SHARE * float(high - low))
    far = np.abs(difference) > max(least, np.finfo(np.float64).tiny)
    places = np.argwhere(far)
    padded = np.pad(values, 1, mode="reflect")
    alike = np.zeros(len(places), int)
    for row in range(3):
        for column in range(3):
            if (row, column) == (1, 1):
                continue
            beside = padded[places[:, 0] + row, places[:, 1] + column]
            own, around = values[far], median[far]
            alike += (beside - around) / (own - around) > BLURRED
    found = np.zeros(seen.shape, bool)
    found[tuple(places[alike <= MAX_ALIKE].T)] = True
    return found


def repair(pixels: Stored, dead: Mask, seen: Mask) -> Repaired:
    """Replace dead pixels by the median of those around that are neither dead nor without data.

    Where there are none, a pixel stays as it is, and `where` is False.
    """
    places = np.argwhere(dead)
    good = np.pad(seen & ~dead, REACH)
    padded = np.pad(pixels, ((REACH, REACH), (REACH, REACH), (0, 0)))
    around = []
    for row in range(2 * REACH + 1):
        for column in range(2 * REACH + 1):
            rows, columns = places[:, 0] + row, places[:, 1] + column
            values = padded[rows, columns].astype(np.float64)
            around.append(np.where(good[rows, columns, None], values, np.nan))
    has_good = ~np.isnan(np.array(around)).all(axis=(0, 2))
    places = places[has_good]
    repaired = pixels.copy()
    where = np.zeros(dead.shape, bool)
    if len(places):
        medians = np.nanmedian(np.array(around)[:, has_good], axis=0)
        if pixels.dtype.kind in "ui":
            medians = np.rint(medians)
        repaired[tuple(places.T)] = medians.astype(pixels.dtype)
        where[tuple(places.T)] = True
    return Repaired(repaired, where)
