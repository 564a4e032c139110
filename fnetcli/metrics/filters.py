"""Separable filters on float64 images (H, W), shared by the metrics that look at windows."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from fnetcli.metrics.base import Grey


def filter_same(image: Grey, along_height: Grey, along_width: Grey) -> Grey:
    """Correlate with the outer product of two odd kernels; zeros outside, (H, W) as given."""
    columns = ndimage.correlate1d(image, along_height, axis=0, mode="constant")
    filtered: Grey = ndimage.correlate1d(columns, along_width, axis=1, mode="constant")
    return filtered


def filter_valid(image: Grey, kernel: Grey) -> Grey:
    """Correlate with the outer product of an odd kernel with itself, only where it fits.

    From (H, W) and N weights to (H - N + 1, W - N + 1); needs H, W >= N.
    """
    margin = kernel.size // 2
    height, width = image.shape
    same = filter_same(image, kernel, kernel)
    return same[margin : height - margin, margin : width - margin]


def gaussian(size: int, sigma: float) -> Grey:
    """Return `size` (odd) samples of exp(-x^2 / (2 sigma^2)) around its centre, not normalised."""
    offsets = np.arange(size, dtype=np.float64) - size // 2
    return np.exp(-(offsets**2) / (2 * sigma**2))
