"""Luminance and chroma: full-range BT.601, in float.

Y = 0.299 R + 0.587 G + 0.114 B, Cb = (B - Y) / 1.772, Cr = (R - Y) / 1.402 (ITU-R BT.601-7, 2.5.1
and 2.5.2, without the headroom of video levels; the same as JPEG's JFIF). Chroma is centred on 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]

RED, GREEN, BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)  # weights of Y
GRAY_TOLERANCE = 2.0  # levels of 255


def luminance(rgb: Values) -> Values:
    """Return Y, (..., 1), of RGB, (..., 3), in the same units; of grey (v, v, v), v."""
    red, green, blue = rgb[..., 0:1], rgb[..., 1:2], rgb[..., 2:3]
    grey: Values = RED * red + GREEN * green + BLUE * blue
    return grey


def with_luminance(rgb: Values, new_luminance: Values) -> Values:
    """Return RGB (..., 3) in [0, 1] with a new luminance (..., 1) and unchanged chroma.

    Y is a weighted mean of R, G and B, and Cb, Cr are multiples of B - Y and R - Y. So adding new Y
    - old Y to all three channels replaces Y and keeps Cb and Cr; if the luminance does not change,
    it adds 0, and the result is bit-identical. Clipped once, at the end; only there can a colour
    pale.
    """
    return np.clip(rgb + (new_luminance - luminance(rgb)), 0, 1)


def is_gray(rgb: Values, tolerance: float = GRAY_TOLERANCE) -> bool:
    """Whether RGB (..., 3) in [0, 1] is a grey picture stored as colour.

    It is if, in every pixel, all channels are within `tolerance` levels (of 255) of one grey, and
    so within twice the tolerance of each other. Lossy formats shift grey that far from neutral: one
    step of JPEG's chroma changes blue by 1.8 levels and green the other way.
    """
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]  # max is slow along an axis of 3
    highest = np.maximum(np.maximum(red, green), blue)
    spread = highest - np.minimum(np.minimum(red, green), blue)
    limit = (2 * tolerance + 0.01) / 255  # slightly more: n / 255 is not exact
    return bool(spread.max(initial=0) <= limit)


# --- colour maps ---------------------------------------------------------------------------------

# Colours at equal steps from 0 to 1, 0..255, linear in between. All start with black: without
# uptake, the luminance below keeps its neutral grey.
Stop = tuple[int, int, int]
EVEN_STOPS: dict[str, tuple[Stop, ...]] = {
    # DICOM PS3.6, B.1.1, Hot Iron.
    "hot-iron": ((0, 0, 0), (128, 0, 0), (255, 0, 0), (255, 128, 0), (255, 255, 255)),
    "rainbow": (
        *((0, 0, 0), (90, 0, 150), (0, 0, 255), (0, 200, 255)),
        *((0, 220, 0), (255, 255, 0), (255, 0, 0), (255, 255, 255)),
    ),
    # matplotlib's (CC0), at 17 of its 256 colours: within 7 levels of them.
    "inferno": (
        *((0, 0, 0), (11, 7, 36), (33, 12, 74), (60, 9, 101), (87, 16, 109), (112, 25, 110)),
        *((137, 34, 106), (163, 43, 97), (187, 55, 85), (209, 70, 68), (227, 89, 50)),
        *((241, 113, 30), (249, 141, 10), (252, 171, 15), (249, 202, 50), (242, 232, 101)),
        (252, 255, 164),
    ),
    "magma": (
        *((0, 0, 0), (10, 8, 34), (29, 17, 70), (54, 16, 106), (80, 18, 124), (105, 28, 129)),
        *((130, 38, 129), (156, 46, 127), (182, 55, 121), (207, 65, 112), (230, 81, 99)),
        *((245, 105, 92), (251, 135, 97), (254, 165, 113), (254, 195, 135), (253, 224, 162)),
        (252, 253, 191),
    ),
}
HOT = (0.365079, 0.746032)  # where red, and green, are full: matplotlib's and MATLAB's "hot"
COLORMAPS = ("hot", *EVEN_STOPS)
# The used part of each map: up to its fullest colour. Beyond that, colours fade to white, which has
# no chroma: overlaid on a luminance, the hottest places would be grey.
FULL = {"hot": HOT[1], "hot-iron": 3 / 4, "rainbow": 6 / 7, "inferno": 7 / 8, "magma": 3 / 4}


def colormap(name: str, values: Values) -> Values:
    """Return RGB (..., 3) in [0, 1] for values (...), clipped to [0, 1], by one of COLORMAPS.

    The part of the map from black to its fullest colour is spread over [0, 1], for overlays by
    `with_luminance`. Raise ValueError for another name.
    """
    if name == "hot":
        places = np.array([0, *HOT, 1])
        colors = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1)], float)
    elif name in EVEN_STOPS:
        colors = np.array(EVEN_STOPS[name]) / 255
        places = np.linspace(0, 1, len(colors))
    else:
        raise ValueError(f"no colormap {name}: one of {', '.join(COLORMAPS)}")
    used = np.clip(values, 0, 1) * np.float32(FULL[name])
    rgb = np.empty((*values.shape, 3), np.float32)
    for channel in range(3):
        rgb[..., channel] = np.interp(used, places, colors[:, channel])
    return rgb
