"""Baselines: fusion without learning, for comparison with other methods.

Each occurs twice: of grey levels, as published evaluators compute it (`fnet eval --baselines`),
and of luminances in [0, 1], which loses nothing of 16 bits or of a scanner's numbers (`fnet fuse
--method`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

Grey8 = NDArray[np.uint8]
Level = NDArray[np.float32]  # (h, w) of a pyramid, in grey levels
Rule = Callable[[Grey8, Grey8], Grey8]
Unit = NDArray[np.float32]  # (n, h, w) in [0, 1]

KERNEL = np.array([1, 4, 6, 4, 1]) / 16  # binomial; Burt and Adelson's with a = 3/8
MAX_LEVELS = 5
STEP = 1 << MAX_LEVELS  # pixels per pixel of the coarsest level
MARGIN = 4 * STEP  # rows around a band: cutting changes values within less than 3 STEP
BAND = 1 << 20  # approximate pixels that are fused at once


@dataclass(frozen=True)
class Baseline:
    """A rule that fuses two sources.

    `rule(first, second)` takes the grey levels of two images, (H, W) uint8 of the same size, and
    returns a third; `blend` does the same with luminances, (N, H, W) float32 in [0, 1]. The order
    of the sources does not matter, and two equal sources give the same image.
    """

    name: str
    rule: Rule
    blend: Callable[[Unit, Unit], Unit]
    description: str


def average(first: Grey8, second: Grey8) -> Grey8:
    """Return floor((A + B) / 2), rounded down as the published evaluators do."""
    return (np.add(first, second, dtype=np.uint16) >> 1).astype(np.uint8)


def maximum(first: Grey8, second: Grey8) -> Grey8:
    """Return the brighter pixel of both."""
    return np.maximum(first, second)


# --- Laplacian pyramid ----------------------------------------------------------------------------


def laplacian(first: Grey8, second: Grey8) -> Grey8:
    """Fuse Laplacian pyramids: the stronger detail at every level, the mean of the coarsest level.

    The coefficient with the larger magnitude is used, or the mean if magnitudes are equal. The
    number of levels is how often the smaller side can be halved, at most MAX_LEVELS; borders are
    mirrored about the outermost pixels; the result is clipped to 0..255 and rounded. Burt and
    Adelson 1983; Burt 1984 (selection by magnitude).

    Large images are fused in bands of rows, with the same result: a band needs 40 bytes per pixel.
    """
    fused = np.empty_like(first)
    for kept, band in _fused_bands(first, second):
        fused[kept] = np.rint(np.clip(band, 0, 255))
    return fused


def blend_average(first: Unit, second: Unit) -> Unit:
    """Return the mean of both."""
    return (first + second) * np.float32(0.5)


def blend_maximum(first: Unit, second: Unit) -> Unit:
    """Return the brighter pixel of both."""
    return np.maximum(first, second)


def blend_laplacian(first: Unit, second: Unit) -> Unit:
    """Fuse Laplacian pyramids, image by image; clip to [0, 1], and do not round."""
    fused = np.empty_like(first)
    for image, one, two in zip(fused, first, second, strict=True):
        for kept, band in _fused_bands(one, two):
            image[kept] = np.clip(band, 0, 1)
    return fused


def _fused_bands(first: NDArray[Any], second: NDArray[Any]) -> Iterator[tuple[slice, Level]]:
    """Yield bands of rows of an image, and their fused values, which may leave the range."""
    height, width = first.shape
    levels = min(MAX_LEVELS, int(math.log2(min(height, width))))
    for kept in _bands(height, width):
        top = max(0, kept.start - MARGIN)
        rows = slice(top, kept.stop + MARGIN)
        one, two = (image[rows].astype(np.float32) for image in (first, second))
        yield kept, _fuse(one, two, levels)[kept.start - top : kept.stop - top]


def _bands(height: int, width: int) -> Iterator[slice]:
    """Yield slices of rows that start where every level has a row."""
    rows = STEP * max(8, BAND // (STEP * width))
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def _fuse(first: Level, second: Level, levels: int) -> Level:
    """Fuse two pyramids from this level on; `levels` of detail are left."""
    if levels == 0:
        return (first + second) * np.float32(0.5)
    coarse_first, coarse_second = _reduce(first), _reduce(second)
    detail = _stronger(
        first - _expand(coarse_first, first.shape), second - _expand(coarse_second, first.shape)
    )
    return detail + _expand(_fuse(coarse_first, coarse_second, levels - 1), detail.shape)


def _stronger(first: Level, second: Level) -> Level:
    """Return the values with the larger magnitude, or the mean if magnitudes are equal."""
    first_size, second_size = np.abs(first), np.abs(second)
    stronger = np.where(first_size > second_size, first, second)
    is_tie = first_size == second_size
    stronger[is_tie] = (first[is_tie] + second[is_tie]) * np.float32(0.5)
    return stronger


def _reduce(image: Level) -> Level:
    """Smooth and keep every second row and column: (h, w) -> (ceil(h / 2), ceil(w / 2))."""
    rows = correlate1d(image, KERNEL, axis=0, mode="mirror")[::2]
    reduced: Level = correlate1d(rows, KERNEL, axis=1, mode="mirror")[:, ::2]
    return reduced


def _expand(image: Level, shape: tuple[int, ...]) -> Level:
    """Interpolate a level to the (h, w) that it was reduced from, at least 2 each.

    Zeros are inserted between its pixels, hence twice the kernel.
    """
    height, width = shape
    rows = np.zeros((height, image.shape[1]), np.float32)
    rows[::2] = image
    columns = np.zeros((height, width), np.float32)
    columns[:, ::2] = correlate1d(rows, 2 * KERNEL, axis=0, mode="mirror")
    expanded: Level = correlate1d(columns, 2 * KERNEL, axis=1, mode="mirror")
    return expanded


BASELINES: tuple[Baseline, ...] = (
    Baseline("average", average, blend_average, "mean of both grey levels, rounded down"),
    Baseline("maximum", maximum, blend_maximum, "the larger of both grey levels"),
    Baseline(
        "laplacian",
        laplacian,
        blend_laplacian,
        f"Laplacian pyramid, at most {MAX_LEVELS} levels of detail: the coefficient with the "
        "larger magnitude at each, the mean of the coarsest level (Burt and Adelson 1983)",
    ),
)
BY_NAME = {one.name: one for one in BASELINES}
SHORT_NAMES = {"max": "maximum"}  # of --method
