"""Convert fused and stored images to the 8-bit grey images that metrics compare."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fnetcli.imaging.color import luminance
from fnetcli.metrics.base import Pixels, check_pixels


def to_grey8(pixels: Pixels) -> NDArray[np.uint8]:
    """Return (H, W) uint8 for a colour (H, W, 3) or grey (H, W) image with values 0..255.

    Colour becomes luma (ITU-R BT.601), summed in the order red, green, blue in float32, as for the
    published scores: in float64 a few pixels would be rounded differently.
    """
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[2] == 3):
        raise ValueError(f"to_grey8: shape is {pixels.shape}; give (H, W) or (H, W, 3)")
    check_pixels(pixels, "to_grey8")
    if pixels.ndim == 2:
        return _round(pixels)
    return _round(luminance(pixels.astype(np.float32))[..., 0])


def quantise(fused: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Quantise a fused image in [0, 1] to uint8: clip, multiply by 255, round.

    Any shape. Never stretched to the full range, which would change every score.
    """
    if fused.dtype.kind != "f":
        raise ValueError(f"quantise: pixels are {fused.dtype}; give floats in [0, 1]")
    if fused.size == 0:
        raise ValueError(f"quantise: the image is empty (shape {fused.shape}); give pixels")
    if not np.isfinite(fused).all():
        raise ValueError("quantise: some pixels are NaN or infinite; replace them first")
    return _round(np.clip(fused, 0, 1) * 255)


def _round(pixels: Pixels) -> NDArray[np.uint8]:
    rounded: NDArray[np.uint8] = np.rint(pixels).astype(np.uint8)
    return rounded
