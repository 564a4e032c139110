"""The detail in the fused image, whatever its sources: SD, SF and AG.

Noise raises all three, so they mean little alone.
"""

from __future__ import annotations

import math

import numpy as np

from fnetcli.metrics.base import Grey, Image, check_images


def standard_deviation(first: Image, second: Image, fused: Image) -> float:
    """Return SD of the fused image in grey levels, 0 to 127.5; higher is better.

    (H, W), whole numbers 0..255. The plain statistic with the number of pixels as divisor (not one
    less).
    """
    return float(np.std(check_images("SD", first, second, fused)[2].pixels))


def spatial_frequency(first: Image, second: Image, fused: Image) -> float:
    """Return SF of the fused image in grey levels, 0 to 361; higher is better.

    (H, W), whole numbers 0..255. The root of the mean squared difference of neighbours along the
    width plus that along the height, each averaged over its number of differences; a side of one
    pixel adds nothing. Eskicioglu and Fisher 1995.
    """
    image = check_images("SF", first, second, fused)[2].pixels
    return math.sqrt(sum(_mean_square(np.diff(image, axis=axis)) for axis in (0, 1)))


def average_gradient(first: Image, second: Image, fused: Image) -> float:
    """Return AG of the fused image in grey levels, 0 to 255; higher is better.

    (H, W), whole numbers 0..255. The mean of sqrt((gx^2 + gy^2) / 2), with central differences
    inside and one-sided ones at the border, over all pixels; a side of one pixel has no gradient.
    Cui et al. 2015.
    """
    image = check_images("AG", first, second, fused)[2].pixels
    along_height, along_width = (_gradient(image, axis) for axis in (0, 1))
    return float(np.mean(np.sqrt((along_height**2 + along_width**2) / 2)))


def _mean_square(differences: Grey) -> float:
    return float(np.mean(differences**2)) if differences.size else 0.0


def _gradient(image: Grey, axis: int) -> Grey:
    if image.shape[axis] == 1:
        return np.zeros_like(image)
    gradient: Grey = np.gradient(image, axis=axis)
    return gradient
