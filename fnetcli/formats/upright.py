"""Turn decoded planes into an upright Image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnetcli.formats.bands import doubt_alpha
from fnetcli.imaging.image import Grid, Image, Mask, Pixels, Stored

UPRIGHT = 1  # EXIF 2.3, 4.6.4
ORIENTATION_TAG = 0x0112  # EXIF and TIFF
SWAPS_SIDES = frozenset({5, 6, 7, 8})

TURNED_GEOREFERENCE = (
    "it was turned upright as its orientation tag says, so its georeference is dropped"
)
INVISIBLE = "it is fully transparent (alpha is 0 everywhere); its colours are used all the same"


def new_image(
    planes: Stored,
    alpha: Pixels | None,
    orientation: int,
    valid: Mask | None = None,
    **details: Any,
) -> Image:
    """Return the Image of decoded pixels (H, W, C), alpha and mask (H, W), turned upright.

    `details` are further fields of Image. A georeference belongs to the stored picture: if that is
    turned, the georeference is dropped, and a notice says so. Transparency that looks
    like a picture is left out, with a notice; another one tells of an image that nobody can see.
    """
    if alpha is not None:
        band, place = planes.shape[2] + 1, details.get("georeference")
        doubt = doubt_alpha(alpha, band, is_georeferenced=place is not None)
        if doubt is not None:
            alpha, details["notices"] = None, (*details.get("notices", ()), doubt)
        elif not alpha.any():
            details["notices"] = (*details.get("notices", ()), INVISIBLE)
    pixels = np.ascontiguousarray(turn(planes, orientation))[None]
    image = Image(
        pixels=pixels,
        grid=Grid((1, pixels.shape[1], pixels.shape[2])),
        stored_type=pixels.dtype,
        alpha=None if alpha is None else np.ascontiguousarray(turn(alpha, orientation))[None],
        valid=None if valid is None else np.ascontiguousarray(turn(valid, orientation))[None],
        **details,
    )
    return image if orientation == UPRIGHT else without_georeference(image)


def without_georeference(image: Image) -> Image:
    """Drop the georeference of a picture that was turned, with a notice if there was one."""
    if image.georeference is None:
        return image
    return replace(image, georeference=None, notices=(*image.notices, TURNED_GEOREFERENCE))


def known_orientation(value: object) -> int:
    """Return the orientation in a tag, or upright if the standard does not define it."""
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def upright_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Return (height, width) after turning."""
    return (width, height) if orientation in SWAPS_SIDES else (height, width)


def turn(stored: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return a view of (H, W, ...) that is upright."""
    if orientation in SWAPS_SIDES:
        stored = np.swapaxes(stored, 0, 1)
    if orientation in {3, 4, 7, 8}:
        stored = stored[::-1]
    if orientation in {2, 3, 6, 7}:
        stored = stored[:, ::-1]
    return stored
