"""Planar transforms: 3x3 matrices that map pixel coordinates of one picture to those of another.

A point is (x, y, 1), x along a row and y down, 0 at the centre of the first pixel. Matrices are
float64 with a last element of 1. `Kind` orders what a transform may contain; a step is a small
transform of a kind as a sum of generators, around the centre of a picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Matrix = NDArray[np.float64]  # (3, 3)
Points = NDArray[np.float64]  # (n, 2) of x, y
Values = NDArray[np.float32]
Mask = NDArray[np.bool_]
Kind = Literal["translation", "rigid", "similarity", "affine", "homography"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DEGREES = {"translation": 2, "rigid": 3, "similarity": 4, "affine": 6, "homography": 8}


def normalised(matrix: Matrix) -> Matrix:
    """Return the same transform with a last element of 1."""
    return np.asarray(matrix / matrix[2, 2])


def apply(matrix: Matrix, points: Points) -> Points:
    """Return the images of points (n, 2)."""
    moved = np.c_[points, np.ones(len(points))] @ matrix.T
    return np.asarray(moved[:, :2] / moved[:, 2:])


def jacobian(matrix: Matrix, x: float, y: float) -> Matrix:
    """Return the derivative (2, 2) of a transform at a point."""
    u, v, w = matrix @ (x, y, 1.0)
    return np.asarray((matrix[:2, :2] - np.outer((u / w, v / w), matrix[2, :2])) / w)


def scale_at_centre(matrix: Matrix, shape: tuple[int, int]) -> float:
    """Return by how much a transform enlarges around the centre of a picture (H, W)."""
    height, width = shape
    return math.sqrt(abs(float(np.linalg.det(jacobian(matrix, (width - 1) / 2, (height - 1) / 2)))))


def corners(shape: tuple[int, int]) -> Points:
    """Return the outer corners of a picture (H, W), half a pixel outside the centres."""
    height, width = shape
    right, bottom = width - 0.5, height - 0.5
    return np.array([(-0.5, -0.5), (right, -0.5), (right, bottom), (-0.5, bottom)])


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

    Reducing averages. Centres lie on each other, and pixels stay square: sides are rounded, and
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


# --- small steps of a kind ------------------------------------------------------------------------


def generators(kind: Kind, x: Values, y: Values) -> NDArray[np.float64]:
    """Return the displacements (parameters, 2, n) that unit steps cause at points x, y (n,).

    In the order of parameters: right, down, turn, grow, two shears, two tilts.
    """
    one, none = np.ones_like(x), np.zeros_like(x)
    everything = [
        (one, none),
        (none, one),
        (-y, x),
        (x, y),
        (x, -y),
        (y, x),
        (x * x, x * y),
        (x * y, y * y),
    ]
    return np.array(everything[: DEGREES[kind]], dtype=np.float64)


def step(kind: Kind, parameters: NDArray[np.float64]) -> Matrix:
    """Return the transform of the kind with these parameters; exact for rigid and similarity."""
    right, down, turn, grow, wide, slant, tilt_x, tilt_y = (*parameters, *[0.0] * 8)[:8]
    if kind in {"translation", "rigid", "similarity"}:
        size, cos, sin = math.exp(grow), math.cos(turn), math.sin(turn)
        return np.array(
            [[size * cos, -size * sin, right], [size * sin, size * cos, down], [0.0, 0.0, 1.0]]
        )
    return np.array(
        [
            [1 + grow + wide, slant - turn, right],
            [slant + turn, 1 + grow - wide, down],
            [-tilt_x, -tilt_y, 1.0],
        ]
    )
