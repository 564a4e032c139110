"""Convert files to the 8-bit grey levels that metrics compare, scaled as in `fnet fuse`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fnetcli.errors import ReadError
from fnetcli.formats import ReadOptions, read_image
from fnetcli.imaging.image import Image
from fnetcli.imaging.intensity import Scaled, ScalingOptions, scale, to_stored
from fnetcli.metrics import to_grey8

Levels = NDArray[np.uint8]
FUSED_SCALING = ScalingOptions(stretch=None)  # a fused image is never stretched
LOST_BITS = 4  # of 16 or 32, in files that are nearly black
FLOAT_LIMITS = (-1.0, 2.0)  # a fused float image beyond them is not one in [0, 1]


@dataclass(frozen=True)
class FusedFile:
    """A fused image as read: its scaling to [0, 1], and notices."""

    scaled: Scaled
    notices: tuple[str, ...]


def to_levels(scaled: Scaled) -> Levels:
    """Return 8-bit grey levels (H, W): reduce to 8 bits, as in a file, then take the luminance."""
    _, height, width = scaled.image.grid.shape
    levels = np.empty((height, width), np.uint8)
    for band in scaled.image.grid.bands():
        levels[band] = to_grey8(_picture(scaled, band))
    return levels


def to_picture(scaled: Scaled) -> Levels:
    """Return 8-bit grey (H, W) or colour (H, W, 3)."""
    return _picture(scaled, slice(None))


def read_fused(path: Path, options: ReadOptions) -> FusedFile:
    """Read a fused image of any program. Raise ReadError, also if it cannot be a fused image."""
    image = read_image(path, options)
    if image.stored_type.kind == "i":
        raise ReadError(
            f"{path}: holds signed whole numbers, whose white is unknown; store it as unsigned "
            "numbers of 8 or 16 bits, or as floats in [0, 1]"
        )
    if image.stored_type.kind == "f":
        _check_floats(path, image)
    scaling = FUSED_SCALING.choose(image.stored_type, "vis", image.bits)
    scaled = scale(replace(image, alpha=None), scaling)
    dark = _dark_notices(image)
    others = (f"fused: {text}" for text in (*image.notices, *scaled.notices))
    notices = (*depth_notices("fused", scaled), *dark, *others)
    return FusedFile(scaled, notices)


def depth_notices(label: str, scaled: Scaled) -> tuple[str, ...]:
    """Return how numbers that were not 8-bit, or were stretched, became 8 bits."""
    if scaled.image.stored_type == np.uint8 and (scaled.low, scaled.high) == (0, 255):
        return ()
    kind = scaled.image.stored_type
    return (f"{label}: {kind} numbers {scaled.low:g} to {scaled.high:g} become 0 to 255",)


def _dark_notices(image: Image) -> tuple[str, ...]:
    """Say that numbers of few bits, stored as more, are scored as what they are: nearly black."""
    if image.stored_type not in {np.dtype(np.uint16), np.dtype(np.uint32)}:
        return ()
    white = np.iinfo(image.stored_type).max
    dark = white >> LOST_BITS
    if image.pixels.max(initial=0) > dark:
        return ()
    bits = 8 * image.stored_type.itemsize
    text = f"fused: {bits}-bit images with no number above {dark} are nearly black; store them so "
    return (text + f"that white is {white}, or as 8 bits",)


def _picture(scaled: Scaled, band: slice) -> Levels:
    levels: Levels = to_stored(scaled.rows(band), np.uint8)[0]
    return levels if scaled.image.is_color else levels[..., 0]


def _check_floats(path: Path, image: Image) -> None:
    pixels = image.pixels
    if image.nodata is None:
        unknown = pixels.size - np.count_nonzero(np.isfinite(pixels))
        if unknown:
            raise ReadError(
                f"{path}: {unknown} values are NaN or infinite; a fused image needs a number "
                "everywhere, or a declared nodata value"
            )
    seen = pixels[np.isfinite(pixels)] if image.nodata is None else pixels[pixels != image.nodata]
    low, high = float(seen.min(initial=0)), float(seen.max(initial=0))
    if low < FLOAT_LIMITS[0] or high > FLOAT_LIMITS[1]:
        raise ReadError(
            f"{path}: values range from {low:g} to {high:g}, but a fused float image must be in "
            "[0, 1]; store it like that, or as 8 bits"
        )
