"""Separable filters on float64 images (H, W), and strips, for metrics with windows.

A filter along one side is a product with a banded matrix. Only blocks of the band are multiplied:
this needs a few times the multiplications but is several times faster, since BLAS does them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from fnetcli.metrics.base import Grey

# Blocks small enough that BLAS does not spread one over threads, which would wait for each other.
BLOCK, STRIP = 16, 256
ROWS = 48  # of a strip whose intermediate arrays stay in the cache, up to some thousand columns


def by_strips(rule: Callable[..., Grey], *images: Grey, margin: int = 0) -> Grey:
    """Return `rule(*images)`, computed strip by strip of rows.

    The rule maps images (..., H, W) to one of H - margin rows, each from `margin` + 1 rows around
    it. An image with more or fewer rows than the first one is cut accordingly. Large temporary
    arrays cost more than the operations on them; strips avoid them.
    """
    height = images[0].shape[-2] - margin
    parts = []
    for top in range(0, height, ROWS):
        bottom = min(top + ROWS, height)
        cuts = (image[..., top : bottom + image.shape[-2] - height, :] for image in images)
        parts.append(rule(*cuts))
    return np.concatenate(parts, axis=-2)


def filter_valid(image: Grey, along_height: Grey, along_width: Grey) -> Grey:
    """Correlate with the outer product of two kernels, only where it fits.

    From (H, W) with M and N weights to (H - M + 1, W - N + 1); needs H >= M and W >= N.
    """
    return _filter_rows(_filter_columns(image, along_height), along_width)


def gaussian(size: int, sigma: float) -> Grey:
    """Return `size` (odd) samples of exp(-x^2 / (2 sigma^2)) around its centre, not normalised."""
    offsets = np.arange(size, dtype=np.float64) - size // 2
    return np.exp(-(offsets**2) / (2 * sigma**2))


def _filter_columns(image: Grey, kernel: Grey) -> Grey:
    height, width = image.shape[0] - kernel.size + 1, image.shape[1]
    band, filtered = _band(tuple(kernel.tolist())), np.empty((height, width))
    for top in range(0, height, BLOCK):
        block = band[: height - top, : image.shape[0] - top]
        for left in range(0, width, STRIP):
            strip = slice(left, left + STRIP)
            np.matmul(
                block,
                image[top : top + block.shape[1], strip],
                out=filtered[top : top + BLOCK, strip],
            )
    return filtered


def _filter_rows(image: Grey, kernel: Grey) -> Grey:
    height, width = image.shape[0], image.shape[1] - kernel.size + 1
    band, filtered = _band(tuple(kernel.tolist())).T, np.empty((height, width))
    for left in range(0, width, BLOCK):
        block = band[: image.shape[1] - left, : width - left]
        for top in range(0, height, STRIP):
            strip = slice(top, top + STRIP)
            np.matmul(
                image[strip, left : left + block.shape[0]],
                block,
                out=filtered[strip, left : left + BLOCK],
            )
    return filtered


@lru_cache(maxsize=32)
def _band(kernel: tuple[float, ...]) -> Grey:
    """Return (BLOCK, BLOCK + N - 1) with the N weights in each row, each shifted by one."""
    band = np.zeros((BLOCK, BLOCK + len(kernel) - 1))
    for row in range(BLOCK):
        band[row, row : row + len(kernel)] = kernel
    band.flags.writeable = False
    return band
