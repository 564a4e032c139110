"""Luminance and chroma: full-range BT.601, in float.

Y = 0.299 R + 0.587 G + 0.114 B, Cb = (B - Y) / 1.772, Cr = (R - Y) / 1.402 (ITU-R BT.601-7, 2.5.1
and 2.5.2, without the headroom of video levels; the same as JPEG's JFIF). Chroma is centred on 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]

RED, GREEN, BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)  # weights of Y
BLUE_SPAN, RED_SPAN = np.float32(2 * (1 - 0.114)), np.float32(2 * (1 - 0.299))  # of B - Y, R - Y
GRAY_TOLERANCE = 2.0  # levels of 255


def luminance(rgb: Values) -> Values:
    """Return Y, (..., 1), of RGB, (..., 3), in the same units; of grey (v, v, v), v."""
    red, green, blue = rgb[..., 0:1], rgb[..., 1:2], rgb[..., 2:3]
    grey: Values = RED * red + GREEN * green + BLUE * blue
    return grey


def split(rgb: Values) -> tuple[Values, Values]:
    """Return luminance (..., 1) and chroma (Cb, Cr), (..., 2), of RGB (..., 3)."""
    grey = luminance(rgb)
    blue_difference = (rgb[..., 2:3] - grey) / BLUE_SPAN
    red_difference = (rgb[..., 0:1] - grey) / RED_SPAN
    return grey, np.concatenate([blue_difference, red_difference], axis=-1)


def join(luminance: Values, chroma: Values) -> Values:
    """Return RGB (..., 3) of luminance (..., 1) and chroma (..., 2), unclipped: undoes `split`."""
    blue = luminance + BLUE_SPAN * chroma[..., 0:1]
    red = luminance + RED_SPAN * chroma[..., 1:2]
    green = (luminance - RED * red - BLUE * blue) / GREEN
    return np.concatenate([red, green, blue], axis=-1)


def with_luminance(rgb: Values, new_luminance: Values) -> Values:
    """Return RGB (..., 3) in [0, 1] with another luminance (..., 1) and its own chroma.

    Y is a weighted mean of R, G and B, and Cb, Cr are multiples of B - Y and R - Y. So the same
    step, new Y - old Y, on all three channels replaces Y and keeps Cb and Cr, and with an unchanged
    luminance it is 0: the original comes back to the bit. Clipped once, at the end; only there can
    a colour pale.
    """
    return np.clip(rgb + (new_luminance - luminance(rgb)), 0, 1)


def is_gray(rgb: Values, tolerance: float = GRAY_TOLERANCE) -> bool:
    """Whether RGB (..., 3) in [0, 1] is a grey picture stored as colour.

    It is when, in every pixel, all channels lie within `tolerance` levels (of 255) of one grey, and
    so within twice the tolerance of each other. Lossy formats leave grey that far from neutral: one
    step of JPEG's chroma moves blue by 1.8 levels and green the other way.
    """
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]  # along an axis of 3, max is slow
    highest = np.maximum(np.maximum(red, green), blue)
    spread = highest - np.minimum(np.minimum(red, green), blue)
    limit = (2 * tolerance + 0.01) / 255  # a hair more: n / 255 is not exact
    return bool(spread.max(initial=0) <= limit)
