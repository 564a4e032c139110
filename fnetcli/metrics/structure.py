"""Structural similarity of the fused image to both sources."""

from __future__ import annotations

import numpy as np

from fnetcli.metrics.base import Grey, Pixels, check_images
from fnetcli.metrics.filters import filter_valid

WINDOW = 7
# An accident that all published tables share: old scikit-image took the range of float images to
# be -1..1, although these run to 255. With 255 the two constants would be far larger.
DATA_RANGE = 2.0
C1 = (0.01 * DATA_RANGE) ** 2
C2 = (0.03 * DATA_RANGE) ** 2


def structural_similarity(first: Pixels, second: Pixels, fused: Pixels) -> float:
    """Return SSIM(fused, first) + SSIM(fused, second), -2 to 2; higher is better.

    (H, W), whole numbers 0..255, at least 7x7. Uniform 7x7 window, sample covariance, the mean over
    all windows that fit. Wang, Bovik, Sheikh and Simoncelli 2004.
    """
    one, two, result = check_images("SSIM", first, second, fused, WINDOW)
    return _similarity(one, result) + _similarity(two, result)


def _similarity(source: Grey, fused: Grey) -> float:
    sum_source, sum_fused = _window_sum(source), _window_sum(fused)
    variance_source = _covariance(_window_sum(source**2), sum_source, sum_source)
    variance_fused = _covariance(_window_sum(fused**2), sum_fused, sum_fused)
    covariance = _covariance(_window_sum(source * fused), sum_source, sum_fused)
    mean_source, mean_fused = sum_source / WINDOW**2, sum_fused / WINDOW**2

    brightness = (2 * mean_source * mean_fused + C1) / (mean_source**2 + mean_fused**2 + C1)
    structure = (2 * covariance + C2) / (variance_source + variance_fused + C2)
    return float(np.mean(brightness * structure))


def _window_sum(image: Grey) -> Grey:
    return filter_valid(image, np.ones(WINDOW))


def _covariance(sum_product: Grey, sum_one: Grey, sum_two: Grey) -> Grey:
    """Return the sample covariance; pixels are whole numbers, so the difference is exact."""
    count = WINDOW**2
    return (count * sum_product - sum_one * sum_two) / (count * (count - 1))
