"""Qabf: how well the edges of the sources are preserved, in strength and in direction."""

from __future__ import annotations

import numpy as np

from fnetcli.metrics.base import Grey, Pixels, check_images
from fnetcli.metrics.filters import filter_same

SMOOTH = np.array([1.0, 2.0, 1.0])
DIFFERENCE = np.array([-1.0, 0.0, 1.0])


def edge_preservation(first: Pixels, second: Pixels, fused: Pixels) -> float:
    """Return Qabf, 0 to about 0.98; higher is better.

    (H, W), whole numbers 0..255, any size; zeros outside, so that the border of a bright image is
    an edge too. Where neither source has an edge nothing can be lost: 1. Xydeas and Petrovic 2000.
    """
    one, two, result = (_edges(image) for image in check_images("Qabf", first, second, fused))
    strength_one, strength_two = one[0], two[0]
    total = float(np.sum(strength_one + strength_two))
    if total == 0:
        return 1.0
    kept = _preserved(*one, *result) * strength_one + _preserved(*two, *result) * strength_two
    return float(np.sum(kept)) / total


def _edges(image: Grey) -> tuple[Grey, Grey]:
    """Return strength and orientation (radians, -pi/2 to pi/2) of the Sobel gradient.

    The kernels are flipped (true convolution). That turns the sign of both derivatives and changes
    neither result, except that it must be both.
    """
    along_width = filter_same(image, SMOOTH, DIFFERENCE)
    along_height = filter_same(image, -DIFFERENCE, SMOOTH)
    upright = along_width == 0
    slope = along_height / np.where(upright, 1, along_width)
    orientation = np.where(upright, np.pi / 2, np.arctan(slope))
    # Not hypot: the squares are whole numbers, and equal sums of them must give equal strengths.
    return np.sqrt(along_width**2 + along_height**2), orientation


def _preserved(strength: Grey, orientation: Grey, fused_strength: Grey, fused_turn: Grey) -> Grey:
    """Return the share of each edge that is preserved: a sigmoid of strength times one of turn."""
    weaker, stronger = np.minimum(strength, fused_strength), np.maximum(strength, fused_strength)
    equal = weaker == stronger
    # Published code has the strength itself where 1 is meant; published tables depend on it.
    ratio = np.where(equal, strength, weaker / np.where(equal, 1, stronger))
    alignment = 1 - np.abs(orientation - fused_turn) / (np.pi / 2)
    of_strength = 0.9994 / (1 + np.exp(-15 * (ratio - 0.5)))
    of_orientation = 0.9879 / (1 + np.exp(-22 * (alignment - 0.8)))
    preserved: Grey = of_strength * of_orientation
    return preserved
