"""Shared by all metrics: pictures, the check of three pictures, the description of a metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.number[Any]]
Grey = NDArray[np.float64]
Convention = Literal["paper", "standard"]
T = TypeVar("T")

KEPT = 1 << 20  # pixels of the largest picture whose intermediate results are kept


class Picture:
    """A grey image with intermediate results of metrics, kept for the next metric.

    Metrics accept arrays or pictures. Use pictures to compare one source with the results of
    several methods: its edges, contrasts and moments are then computed once. This needs about 100
    bytes per pixel after all metrics; nothing is kept for pictures above one million pixels.
    """

    def __init__(self, pixels: Pixels, subject: str = "Picture") -> None:
        """Accept (H, W) whole numbers 0..255; raise ValueError whose text starts with the subject.

        Fractions are refused, not rounded: they nearly always mean an image still in [0, 1], whose
        scores would look plausible but be wrong.
        """
        if pixels.ndim != 2:
            raise ValueError(f"{subject}: shape is {pixels.shape}; give (H, W), see to_grey8")
        check_pixels(pixels, subject)
        if pixels.dtype.kind == "f" and (pixels != np.rint(pixels)).any():
            raise ValueError(f"{subject}: pixels are not whole numbers; use quantise or to_grey8")
        self.levels: NDArray[np.uint8] = pixels.astype(np.uint8)
        self.pixels: Grey = pixels.astype(np.float64)
        self.shape: tuple[int, int] = (pixels.shape[0], pixels.shape[1])
        self._derived: dict[Callable[[Grey], Any], Any] = {}

    def derive(self, rule: Callable[[Grey], T]) -> T:
        """Return `rule(pixels)`, computed once; a rule is a function of a module, not a lambda."""
        if rule in self._derived:
            kept: T = self._derived[rule]
            return kept
        result = rule(self.pixels)
        if self.pixels.size <= KEPT:
            self._derived[rule] = result
        return result


Image = Pixels | Picture


@dataclass(frozen=True)
class Metric:
    """One column of a table of scores.

    `function(first, second, fused)` takes three (H, W) images of whole numbers 0..255, arrays or
    pictures, and returns a finite number from `low` to `high` in `unit` (empty: a pure number).
    `source` is the publication that defines it, `smallest` the least height and width in pixels.
    """

    name: str
    function: Callable[[Image, Image, Image], float]
    higher_is_better: bool
    low: float
    high: float
    unit: str
    source: str
    smallest: int = 1


def check_pixels(pixels: Pixels, subject: str) -> None:
    """Raise ValueError unless the array is numeric, not empty, finite and within 0..255."""
    if pixels.dtype.kind not in "uif":
        raise ValueError(f"{subject}: pixels are {pixels.dtype}; give integers or floats")
    if pixels.size == 0:
        raise ValueError(f"{subject}: the image is empty (shape {pixels.shape}); give pixels")
    if pixels.dtype == np.uint8:
        return
    if not np.isfinite(pixels).all():
        raise ValueError(f"{subject}: some pixels are NaN or infinite; replace them first")
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(
            f"{subject}: pixels range from {pixels.min()} to {pixels.max()}; scale them to 0..255"
        )


def check_images(
    metric: str, first: Image, second: Image, fused: Image, smallest: int = 1
) -> tuple[Picture, Picture, Picture]:
    """Return the three images as pictures, or raise ValueError that names the metric.

    `smallest` is the least height and width in pixels.
    """
    one, two, result = (
        image if isinstance(image, Picture) else Picture(image, f"{metric}, {name} image")
        for name, image in (("first", first), ("second", second), ("fused", fused))
    )
    if not one.shape == two.shape == result.shape:
        shapes = f"first {one.shape}, second {two.shape}, fused {result.shape}"
        raise ValueError(f"{metric}: images differ in shape ({shapes}); put them on one grid")
    if min(result.shape) < smallest:
        raise ValueError(
            f"{metric}: images are {result.shape[1]}x{result.shape[0]} pixels; "
            f"it needs at least {smallest}x{smallest}"
        )
    return one, two, result
