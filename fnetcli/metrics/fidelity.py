"""Visual information fidelity: how much of a source can still be seen in the fused image."""

from __future__ import annotations

import numpy as np

from fnetcli.metrics.base import Grey, Pixels, check_images
from fnetcli.metrics.filters import filter_valid, gaussian

WINDOWS = (17, 9, 5, 3)  # one per scale, finest first: 2^(5 - s) + 1
EYE_NOISE = 2.0  # variance of the noise that the eye itself adds, in grey levels squared
FLAT = 1e-10  # variances below this are none
SMALLEST = 41  # so that the window of the fourth scale still fits once


def visual_information_fidelity(first: Pixels, second: Pixels, fused: Pixels) -> float:
    """Return VIF of (first, fused) plus VIF of (second, fused); higher is better.

    (H, W), whole numbers 0..255, at least 41x41. 2 where all three are equal, more where the fused
    image has more contrast. A constant source has nothing to lose and counts as 1. Pixel domain
    version of Sheikh and Bovik 2006.
    """
    one, two, result = check_images("VIF", first, second, fused, SMALLEST)
    return _fidelity(one, result) + _fidelity(two, result)


def _fidelity(source: Grey, fused: Grey) -> float:
    # Only variances count. Without the mean they lose fewer digits to cancellation, and a
    # constant image is zero exactly.
    source, fused = source - source.mean(), fused - fused.mean()
    seen = available = 0.0
    for scale, size in enumerate(WINDOWS):
        window = gaussian(size, size / 5)
        window /= window.sum()
        if scale > 0:
            source, fused = _halve(source, window), _halve(fused, window)
        seen_here, available_here = _information(source, fused, window)
        seen += seen_here
        available += available_here
    return seen / available if available > 0 else 1.0


def _halve(image: Grey, window: Grey) -> Grey:
    return filter_valid(image, window)[::2, ::2]


def _information(source: Grey, fused: Grey, window: Grey) -> tuple[float, float]:
    """Return the information at one scale: what of the source the fused image shows, and all."""
    mean_source, mean_fused = filter_valid(source, window), filter_valid(fused, window)
    variance_source = _variance(source, mean_source, window)
    variance_fused = _variance(fused, mean_fused, window)
    covariance = filter_valid(source * fused, window) - mean_source * mean_fused

    # The fused image is modelled as gain * source + noise; inverted contrast shows nothing.
    gain = np.maximum(covariance / (variance_source + FLAT), 0)
    gain[(variance_source < FLAT) | (variance_fused < FLAT)] = 0
    noise = np.maximum(variance_fused - gain * covariance, FLAT)
    variance_source[variance_source < FLAT] = 0

    seen = np.log10(1 + gain**2 * variance_source / (noise + EYE_NOISE))
    available = np.log10(1 + variance_source / EYE_NOISE)
    return float(seen.sum()), float(available.sum())


def _variance(image: Grey, mean: Grey, window: Grey) -> Grey:
    return np.maximum(filter_valid(image**2, window) - mean**2, 0)
