"""Whether a range fits the numbers that it is for: most of it should hold some of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fnetcli.imaging.image import Stored
from fnetcli.imaging.intensity import Limits

BINS = 128
MIN_EMPTY = 2 / 3  # share of a range that holds next to nothing, from which it is said
MAX_SHARE = 0.01  # of the pixels: next to nothing
SAMPLES = 1 << 20  # pixels, on a regular lattice, that are counted


@dataclass(frozen=True)
class Gap:
    """A part of a range that holds next to no pixels, and between what the others lie."""

    low: float  # the part of the range, in stored numbers
    high: float
    of_range: float  # its share of the range
    of_pixels: float  # the share of the pixels in it
    bulk: Limits  # the numbers at that side of the part where most pixels lie


def find_gap(seen: Stored, limits: Limits) -> Gap | None:
    """Return the longest part of a range with next to no pixels, if it is most of the range.

    `seen` are the numbers, (pixels, channels), that count. Numbers beyond the range are taken as
    its ends, which they become.
    """
    low, high = limits
    if not low < high or not seen.size:
        return None
    some = seen[:: math.ceil(len(seen) / SAMPLES)].astype(np.float64).ravel()
    unit = (np.clip(some, low, high) - low) / (high - low)
    counts = np.bincount((unit * BINS).astype(np.int64).clip(0, BINS - 1), minlength=BINS)
    first, last = _longest(counts, MAX_SHARE * some.size)
    if last - first < MIN_EMPTY * BINS:
        return None
    ends = low + (high - low) * np.array([first, last]) / BINS
    below, above = int(counts[:first].sum()), int(counts[last:].sum())
    bulk = some[some < ends[0]] if below >= above else some[some >= ends[1]]
    return Gap(
        low=float(ends[0]),
        high=float(ends[1]),
        of_range=(last - first) / BINS,
        of_pixels=float(counts[first:last].sum() / some.size),
        bulk=_percentiles(bulk),
    )


def _percentiles(values: Stored) -> Limits:
    low, high = np.percentile(values, (0.1, 99.9))
    return float(low), float(high)


def _longest(counts: NDArray[np.int64], most: float) -> tuple[int, int]:
    """Return the longest run of bins, from first to before last, that hold at most so many."""
    sums = np.concatenate([[0], np.cumsum(counts)])
    lasts = np.searchsorted(sums, sums[:-1] + most, side="right") - 1
    first = int(np.argmax(lasts - np.arange(len(counts))))
    return first, int(lasts[first])


def stray_ranges(ranges: Sequence[Limits]) -> list[int]:
    """Return which of several images' ranges have nothing in common with those of most images.

    They are told where the widest gap between two groups of ranges is wider than any single range:
    a range for all then leaves each of them a small part.
    """
    order = sorted(range(len(ranges)), key=lambda i: ranges[i])
    if len(order) < 2:
        return []
    widest = max(high - low for low, high in ranges)
    best, split, reach = 0.0, 0, ranges[order[0]][1]
    for place in range(1, len(order)):
        low, high = ranges[order[place]]
        if low - reach > best:
            best, split = low - reach, place
        reach = max(reach, high)
    if not best > widest:
        return []
    below, above = order[:split], order[split:]
    return sorted(below if len(below) < len(above) else above)
