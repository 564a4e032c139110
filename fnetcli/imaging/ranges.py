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
MIN_EMPTY = 0.9  # share of a range that holds next to nothing, from which it is said
MAX_SHARE = 0.01  # of the pixels: next to nothing
APART = 1 / 4  # of the range, between groups of numbers
SAMPLES = 1 << 20  # pixels, on a regular lattice, that are counted


@dataclass(frozen=True)
class Emptiness:
    """How much of a range holds next to no pixels, and between which numbers most of them lie."""

    of_range: float  # the share of the range that holds next to nothing
    bulk: Limits  # of the largest group of pixels
    of_pixels: float  # the share of the pixels that this is
    others: Limits | None  # the lowest and highest number beyond it, if there are any


def find_emptiness(seen: Stored, limits: Limits) -> Emptiness | None:
    """Tell where most of a range holds next to no pixels, so that few grey levels are left.

    `seen` are the numbers, (pixels, channels), that count. Those beyond the range are taken as its
    ends, which they become.
    """
    low, high = limits
    if not 0 < high - low < math.inf or not seen.size:
        return None
    some = seen[:: math.ceil(len(seen) / SAMPLES)].astype(np.float64).ravel()
    unit = (np.clip(some, low, high) - low) / (high - low)
    bins = (unit * BINS).astype(np.int64).clip(0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    rising = np.argsort(counts, kind="stable")
    empty = int(np.searchsorted(np.cumsum(counts[rising]), MAX_SHARE * some.size, side="right"))
    if empty < MIN_EMPTY * BINS:
        return None
    first, last = _largest_group(counts, np.sort(rising[empty:]))
    is_in = (bins >= first) & (bins <= last)
    bulk = _percentiles(some[is_in])
    if not bulk[0] < bulk[1]:  # nothing can be told apart there in any range
        return None
    others = some[~is_in]
    return Emptiness(
        of_range=empty / BINS,
        bulk=bulk,
        of_pixels=float(np.mean(is_in)),
        others=(float(others.min()), float(others.max())) if others.size else None,
    )


def _largest_group(counts: NDArray[np.int64], full: NDArray[np.int64]) -> tuple[int, int]:
    """Return the first and last bin of the group of full bins that holds most pixels."""
    splits = np.flatnonzero(np.diff(full) > APART * BINS) + 1
    groups = [(int(group[0]), int(group[-1])) for group in np.split(full, splits)]
    return max(groups, key=lambda ends: int(counts[ends[0] : ends[1] + 1].sum()))


def _percentiles(values: Stored) -> Limits:
    low, high = np.percentile(values, (0.1, 99.9))
    return float(low), float(high)


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
