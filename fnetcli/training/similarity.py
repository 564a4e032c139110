"""Structural similarity (Wang 2004), as losses need it: with gradients, fast on CPUs too."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

REACH = 5  # pixels from the middle of the window to its border
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2


@lru_cache(maxsize=16)
def _band(size: int, device: torch.device, dtype: torch.dtype, *, is_reflected: bool) -> Tensor:
    """Return the blur of a column of `size` pixels as a matrix, (size, size).

    Outside the column all is 0, or the column reflected at its outermost pixels.
    """
    steps = torch.arange(-REACH, REACH + 1, device=device)
    window = torch.exp(-(steps.to(dtype) ** 2) / (2 * SIGMA**2))
    rows = torch.arange(size, device=device)[:, None]
    columns = rows + steps
    weights = (window / window.sum()).expand(size, -1)
    if is_reflected:
        columns = columns.abs()
        columns = torch.minimum(columns, 2 * (size - 1) - columns)
    else:
        weights = weights.where((columns >= 0) & (columns < size), 0)
        columns = columns.clamp(0, size - 1)
    band = torch.zeros(size, size, device=device, dtype=dtype)
    return band.scatter_add(1, columns, weights)


def _blur(images: Tensor, *, is_reflected: bool) -> Tensor:
    """Blur (N, C, H, W) with the 11x11 Gaussian of sigma 1.5.

    As two products with band matrices: on CPUs a convolution of single channels takes ten times
    as long, and longer still backwards.
    """
    vertical, horizontal = (
        _band(size, images.device, images.dtype, is_reflected=is_reflected)
        for size in images.shape[-2:]
    )
    return vertical @ images @ horizontal.T


def ssim_map(first: Tensor, second: Tensor, *, is_reflected: bool) -> Tensor:
    """Return the similarity at each pixel of images in [0, 1], both (N, 1, H, W).

    Outside the images is 0, or, if `is_reflected`, for sides of at least 6, their reflection.
    """
    moments = torch.cat((first, second, first * first, second * second, first * second), dim=1)
    blurred = _blur(moments, is_reflected=is_reflected)
    mean1, mean2, square1, square2, product = blurred.split(1, dim=1)
    variance1, variance2 = square1 - mean1**2, square2 - mean2**2
    covariance = product - mean1 * mean2
    similarity: Tensor = ((2 * mean1 * mean2 + C1) * (2 * covariance + C2)) / (
        (mean1**2 + mean2**2 + C1) * (variance1 + variance2 + C2)
    )
    return similarity
