"""16-bit numbers of a sensor whose byte order nobody says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.uint16]

MIN_RATIO = 1.5  # between the roughness of both byte orders; where it is less, neither is a scene
ROUGH = 256  # mean step between neighbours from which a picture may be noise
NOISE = "its counts look like noise in both byte orders: the picture may make no sense"


def in_smooth_order(counts: Counts) -> tuple[Counts, tuple[str, ...]]:
    """Return counts in the byte order whose neighbours differ less, as they are if none does.

    A scene read in the wrong order is noise.
    """
    swapped = counts.byteswap()
    as_is, other = _roughness(counts), _roughness(swapped)
    best = swapped if other < as_is else counts
    least, most = min(as_is, other), max(as_is, other)
    is_noise = least > ROUGH and most < MIN_RATIO * least
    return best, (NOISE,) if is_noise else ()


def _roughness(counts: Counts) -> float:
    """Return the mean absolute difference of neighbours along rows and columns."""
    steps = [np.abs(np.diff(counts.astype(np.int32), axis=axis)) for axis in (0, 1)]
    return sum(float(one.mean()) for one in steps if one.size)
