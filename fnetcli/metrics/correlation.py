"""Linear correlation: of the fused image with its sources, and of what each adds to the other."""

from __future__ import annotations

import math

import numpy as np

from fnetcli.metrics.base import Grey, Image, check_images


def correlation(first: Image, second: Image, fused: Image) -> float:
    """Return CC, the mean of r(first, fused) and r(second, fused), -1 to 1; higher is better.

    (H, W), whole numbers 0..255, any size; r is Pearson's coefficient over all pixels. A constant
    image correlates with nothing: 0. Deshmukh and Bhosale 2010.
    """
    one, two, result = (image.pixels for image in check_images("CC", first, second, fused))
    return (_pearson(one, result) + _pearson(two, result)) / 2


def difference_correlation(first: Image, second: Image, fused: Image) -> float:
    """Return SCD = r(first, fused - second) + r(second, fused - first), -2 to 2; higher is better.

    (H, W), whole numbers 0..255, any size; r is Pearson's coefficient over all pixels. The fused
    image minus one source should look like the other source. If the difference is constant, r is
    0. Aslantas and Bendes 2015.
    """
    one, two, result = (image.pixels for image in check_images("SCD", first, second, fused))
    return _pearson(one, result - two) + _pearson(two, result - one)


def _pearson(one: Grey, two: Grey) -> float:
    """Return the coefficient, 0 if an image is constant; values are whole numbers.

    Sums of whole numbers are exact, in float64 and in Python's integers, so that a constant image
    has exactly no variance.
    """
    sum_one, sum_two = int(one.sum()), int(two.sum())
    variance_one = one.size * _sum_product(one, one) - sum_one**2
    variance_two = two.size * _sum_product(two, two) - sum_two**2
    if variance_one == 0 or variance_two == 0:
        return 0.0
    covariance = one.size * _sum_product(one, two) - sum_one * sum_two
    return min(max(covariance / math.sqrt(variance_one * variance_two), -1.0), 1.0)


def _sum_product(one: Grey, two: Grey) -> int:
    return int(np.sum(one * two))
