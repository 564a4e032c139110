"""Qabf: how well the edges of the sources are preserved, in strength and in direction."""

from __future__ import annotations

from functools import partial

import numpy as np

from fnetcli.metrics.base import Grey, Image, check_images
from fnetcli.metrics.filters import by_strips, filter_valid

SMOOTH = np.array([1.0, 2.0, 1.0])
DIFFERENCE = np.array([-1.0, 0.0, 1.0])


def edge_preservation(first: Image, second: Image, fused: Image) -> float:
    """Return Qabf, 0 to about 0.98; higher is better.

    (H, W), whole numbers 0..255, any size; zeros outside, so that the border of a bright image is
    an edge, too. If neither source has an edge, nothing can be lost: 1. Xydeas and Petrovic 2000,
    with the strength itself for the ratio of two equal strengths, as in published code.
    """
    return _edge_preservation(first, second, fused, equal_is_one=False)


def edge_preservation_as_defined(first: Image, second: Image, fused: Image) -> float:
    """Return Qabf with 1 for the ratio of two equal strengths, 0 to about 0.98; higher is better.

    The convention "standard"; otherwise like `edge_preservation`. Xydeas and Petrovic 2000.
    """
    return _edge_preservation(first, second, fused, equal_is_one=True)


def _edge_preservation(first: Image, second: Image, fused: Image, *, equal_is_one: bool) -> float:
    pictures = check_images("Qabf", first, second, fused)
    one, two, result = (picture.derive(_edges) for picture in pictures)
    total = float(np.sum(one[0] + two[0]))
    if total == 0:
        return 1.0
    kept = by_strips(partial(_kept, equal_is_one=equal_is_one), one, two, result)
    return float(np.sum(kept)) / total


def _edges(image: Grey) -> Grey:
    """Return strength and orientation (radians, -pi/2 to pi/2) of the Sobel gradient, (2, H, W)."""
    return by_strips(_sobel, np.pad(image, 1), margin=2)


def _sobel(image: Grey) -> Grey:
    """Return strength and orientation where the kernels fit.

    The kernels are flipped (true convolution). This changes the sign of both derivatives, and
    therefore neither result.
    """
    along_width = filter_valid(image, SMOOTH, DIFFERENCE)
    along_height = filter_valid(image, -DIFFERENCE, SMOOTH)
    upright = along_width == 0
    orientation = np.arctan(along_height / np.where(upright, 1, along_width))
    orientation[upright] = np.pi / 2
    # Not hypot: the squares are whole numbers, and equal sums of them must give equal strengths.
    return np.stack([np.sqrt(along_width**2 + along_height**2), orientation])


def _kept(one: Grey, two: Grey, fused: Grey, *, equal_is_one: bool) -> Grey:
    """Return the strength of both sources' edges that is preserved."""
    kept_one = _preserved(one, fused, equal_is_one=equal_is_one) * one[0]
    kept_two = _preserved(two, fused, equal_is_one=equal_is_one) * two[0]
    kept: Grey = kept_one + kept_two
    return kept


def _preserved(source: Grey, fused: Grey, *, equal_is_one: bool) -> Grey:
    """Return the preserved share of each edge: a sigmoid of strength times one of rotation."""
    weaker, stronger = np.minimum(source[0], fused[0]), np.maximum(source[0], fused[0])
    equal = weaker == stronger
    ratio = weaker / np.where(equal, 1, stronger)  # if equal: the strength itself
    if equal_is_one:
        ratio[equal] = 1
    alignment = 1 - np.abs(source[1] - fused[1]) / (np.pi / 2)
    of_strength = 1 + np.exp(-15 * (ratio - 0.5))
    of_orientation = 1 + np.exp(-22 * (alignment - 0.8))
    preserved: Grey = 0.9994 * 0.9879 / (of_strength * of_orientation)
    return preserved
