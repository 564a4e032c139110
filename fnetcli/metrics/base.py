"""What every metric has in common: its row in the table, and the check of its three images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.number[Any]]
Grey = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """One column of a table of scores.

    `function(first, second, fused)` takes three (H, W) images of whole numbers 0..255 and returns
    a finite number. `values` says between which numbers it lies, with the unit; `source` says
    where it was defined.
    """

    name: str
    function: Callable[[Pixels, Pixels, Pixels], float]
    higher_is_better: bool
    values: str
    source: str


def check_pixels(pixels: Pixels, subject: str) -> None:
    """Raise ValueError unless the array is numeric, not empty, finite and within 0..255."""
    if pixels.dtype.kind not in "uif":
        raise ValueError(f"{subject}: pixels are {pixels.dtype}; give integers or floats")
    if pixels.size == 0:
        raise ValueError(f"{subject}: the image is empty (shape {pixels.shape}); give pixels")
    if not np.isfinite(pixels).all():
        raise ValueError(f"{subject}: some pixels are NaN or infinite; replace them first")
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(
            f"{subject}: pixels run from {pixels.min()} to {pixels.max()}; bring them to 0..255"
        )


def check_images(
    metric: str, first: Pixels, second: Pixels, fused: Pixels, smallest: int = 1
) -> tuple[Grey, Grey, Grey]:
    """Return the three images as float64 (H, W), or raise ValueError that names the metric.

    Fractions are refused, not rounded: they nearly always mean an image still in [0, 1], whose
    scores would look plausible and be wrong. `smallest` is the least height and width in pixels.
    """
    images = {"first": first, "second": second, "fused": fused}
    for name, pixels in images.items():
        subject = f"{metric}, {name} image"
        if pixels.ndim != 2:
            raise ValueError(f"{subject}: shape is {pixels.shape}; give (H, W), see to_grey8")
        check_pixels(pixels, subject)
        if pixels.dtype.kind == "f" and (pixels != np.rint(pixels)).any():
            raise ValueError(f"{subject}: pixels are not whole numbers; use quantise or to_grey8")
    if not first.shape == second.shape == fused.shape:
        shapes = ", ".join(f"{name} {pixels.shape}" for name, pixels in images.items())
        raise ValueError(f"{metric}: images differ in shape ({shapes}); bring them to one grid")
    if min(fused.shape) < smallest:
        raise ValueError(
            f"{metric}: images are {fused.shape[1]}x{fused.shape[0]} pixels; "
            f"it needs at least {smallest}x{smallest}"
        )
    return first.astype(np.float64), second.astype(np.float64), fused.astype(np.float64)
