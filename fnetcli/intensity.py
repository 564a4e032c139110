"""From stored numbers to the unit range and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fnetcli.errors import ImageError
from fnetcli.image import Image

LEVELS = np.float32(255)  # white of 8 bits
PREVIEW_RANGE = 0.5  # the value shown as white; its negative is black


def to_unit(image: Image) -> Image:
    """Return the image with pixels in [0, 1]: stored 8-bit values divided by 255.

    Raise ImageError for any other stored type.
    """
    if image.stored_type != np.uint8:
        raise ImageError(
            f"pixels of type {image.stored_type} are not supported yet; "
            "convert it to 8 bits per channel"
        )
    return replace(image, pixels=image.pixels / LEVELS)


def to_stored(unit: NDArray[np.float32], dtype: DTypeLike = np.uint8) -> NDArray[np.uint8]:
    """Return unit values, of any shape, as they are stored: clipped to [0, 1], times 255, rounded.

    Exact halves go to the even neighbour. Raise ImageError for NaN and infinity, which clipping
    would hide, and for other types than uint8.
    """
    if np.dtype(dtype) != np.uint8:
        raise ImageError(f"pixels of type {np.dtype(dtype)} cannot be stored yet; use 8 bits")
    _require_finite(unit)
    return _to_bytes(np.clip(unit, 0, 1) * LEVELS)


def preview(part: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return an 8-bit view of a signed map, of any shape, on one fixed scale.

    grey = round(127.5 + 127.5 * value / PREVIEW_RANGE), clipped: -0.5 and less is black,
    0 is 128, +0.5 and more is white. Fixed, so that maps of different images compare. Raise
    ImageError for NaN and infinity.
    """
    _require_finite(part)
    return _to_bytes(127.5 + 127.5 * np.clip(part / PREVIEW_RANGE, -1, 1))


def _require_finite(values: NDArray[np.float32]) -> None:
    if not np.isfinite(values).all():
        raise ImageError("the result holds NaN or infinity; check the weights and the input")


def _to_bytes(levels: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(levels).astype(np.uint8)
