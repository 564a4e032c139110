"""Edge directions: what two sensors have in common.

A road that is bright in one image may be dark in the other, but its edges run in the same
direction. So an image becomes a field of complex numbers with twice the gradient's angle, in which
an edge and its negative are the same, and magnitudes count by their rank rather than their size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Luminance = NDArray[np.float32]
Field = NDArray[np.complex64]
Mask = NDArray[np.bool_]

FLAT = 1e-5  # a gradient that may be rounding


def edge_directions(image: Luminance, width: float, valid: Mask | None = None) -> Field:
    """Return a complex number of twice the gradient's angle; weak edges count less.

    `width` is that of the Gaussian whose derivatives find edges. A gradient of magnitude m gets
    the length m / (m + median of the nonzero gradients). The field is 0 where `valid` is False.
    """
    down = ndimage.gaussian_filter(image, width, order=(1, 0), mode="nearest")
    right = ndimage.gaussian_filter(image, width, order=(0, 1), mode="nearest")
    magnitude = np.hypot(right, down)
    is_edge = magnitude > FLAT
    if valid is not None:
        is_edge &= valid
    if not is_edge.any():
        return np.zeros(image.shape, np.complex64)
    typical = np.median(magnitude[is_edge])
    gradient = (right + 1j * down).astype(np.complex64, copy=False)
    scale = np.where(is_edge, magnitude * (magnitude + typical), np.inf)
    field: Field = gradient**2 / scale
    return field
