"""What registration compares: luminances with their valid pixels, resampled and reduced."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fnetcli.imaging.planar import Matrix, Points

Values = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class View:
    """A luminance (H, W) in [0, 1], and where it is valid; None: everywhere."""

    luminance: Values
    valid: Mask | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.luminance.shape
        return height, width

    @property
    def longer_side(self) -> int:
        """The larger of height and width."""
        return max(self.shape)

    def seen(self, border: int) -> Mask:
        """Return where it is valid and so is everything within some pixels, as far as it goes."""
        valid = np.ones(self.shape, bool) if self.valid is None else self.valid
        seen = np.zeros(self.shape, bool)
        inner = slice(border, -border)
        seen[inner, inner] = True
        if self.valid is None:
            return seen
        kept: Mask = ndimage.binary_erosion(valid, iterations=border, border_value=1)
        return seen & kept

    def shrunk(self, factor: float) -> tuple[View, Matrix]:
        """Resize by `factor`; also return the matrix from the result's pixels to the picture's."""
        small, matrix = shrunk(self.luminance, factor)
        if self.valid is None or factor == 1:
            return View(small, self.valid), matrix
        return View(small, shrunk(self.valid.astype(np.float32), factor)[0] > 0.99), matrix

    def sampled(self, matrix: Matrix, shape: tuple[int, int]) -> View:
        """Return what it shows at matrix(x, y), for all pixels of `shape`."""
        values, is_inside = sampled(self.luminance, matrix, shape)
        if self.valid is not None:
            shares, _ = sampled(self.valid.astype(np.float32), matrix, shape)
            is_inside &= shares > 0.99
        return View(values, is_inside)

    def seen_at(self, find: Callable[[Points], Points]) -> View:
        """Return what it shows at find(x, y), for all its pixels; NaN is outside."""
        rows, columns = np.mgrid[: self.shape[0], : self.shape[1]].astype(np.float64)
        x, y = np.moveaxis(find(np.stack([columns, rows], axis=-1)), -1, 0)
        height, width = self.shape
        is_inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        places = np.nan_to_num(y), np.nan_to_num(x)
        values = ndimage.map_coordinates(
            self.luminance, places, np.float32, order=1, mode="nearest"
        )
        if self.valid is not None:
            shares = ndimage.map_coordinates(
                self.valid.astype(np.float32), places, np.float32, order=1, mode="nearest"
            )
            is_inside &= shares > 0.99
        return View(values, is_inside)


def sampled(image: Values, matrix: Matrix, shape: tuple[int, int]) -> tuple[Values, Mask]:
    """Return what `image` shows at matrix(x, y), for all pixels of `shape`, and where it shows any.

    Linear interpolation; outside, the nearest pixel's value.
    """
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    a = matrix.astype(np.float32)
    depth = a[2, 0] * columns + a[2, 1] * rows + a[2, 2]
    is_ahead = depth > 1e-6
    depth = np.where(is_ahead, depth, 1)
    x = (a[0, 0] * columns + a[0, 1] * rows + a[0, 2]) / depth
    y = (a[1, 0] * columns + a[1, 1] * rows + a[1, 2]) / depth
    height, width = image.shape
    is_inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1) & is_ahead
    values = ndimage.map_coordinates(image, (y, x), np.float32, order=1, mode="nearest")
    return values, is_inside


def shrunk(image: Values, factor: float) -> tuple[Values, Matrix]:
    """Resize by `factor`; also return the matrix from the result's pixels to the image's.

    Reducing averages. Centres coincide, and pixels stay square: sides are rounded, and
    edges so lie up to half a pixel of the result apart.
    """
    if factor == 1:
        return image, np.eye(3)
    ratio = 1 / factor
    before = image.shape
    after = tuple(max(1, round(side * factor)) for side in before)
    starts = [(a - 1) / 2 - ratio * (b - 1) / 2 for a, b in zip(before, after, strict=True)]
    matrix = np.array([[ratio, 0, starts[1]], [0, ratio, starts[0]], [0, 0, 1.0]])
    whole = max(1, int(ratio / 2))  # first by means over squares: fast
    means = image
    if whole > 1:
        height, width = (side // whole for side in before)
        squares = image[: height * whole, : width * whole].reshape(height, whole, width, whole)
        means = squares.mean(axis=(1, 3), dtype=np.float32)
    blur = 0.5 * math.sqrt(max(0.0, (ratio / whole) ** 2 - 1))
    if blur > 0:
        means = ndimage.gaussian_filter(means, blur, mode="nearest")
    offsets = [(start - (whole - 1) / 2) / whole for start in starts]
    steps = [ratio / whole] * 2
    small = ndimage.affine_transform(
        means, steps, offsets, after, np.float32, order=1, mode="nearest"
    )
    return small, matrix
