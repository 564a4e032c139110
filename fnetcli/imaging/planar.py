"""Planar transforms: how the pixels of one picture lie in another.

A point is (x, y), x along a row and y down, in pixels; whole numbers are centres of pixels. The
picture that is warped is the moving one, the one whose pixels are kept the reference: a matrix, 3x3
float64 with a last element of 1, maps points of the moving picture to points of the reference.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]  # (3, 3)
Points = NDArray[np.float64]  # (..., 2) of x, y
Size = tuple[int, int]  # width, height
Kind = Literal["translation", "rigid", "similarity", "affine", "homography"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # each contains those before it

MAX_ROUNDS = 60  # of undoing a distortion
EXACT = 1e-9  # of the focal length: where undoing a distortion ends
MAX_REACH = 8.0  # radius, over the focal length, up to which a distortion is looked at
OTHER_SHAPE = 1.01  # ratio of two aspect ratios from which sizes are not of one picture
COEFFICIENTS = (4, 5, 8, 12)  # of OpenCV's lenses


def normalised(matrix: Matrix) -> Matrix:
    """Return the same transform with a last element of 1."""
    return np.asarray(matrix / matrix[2, 2])


def apply(matrix: Matrix, points: Points) -> Points:
    """Return where a transform maps points (..., 2); NaN for those behind its horizon."""
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    depth = mapped[..., 2:]
    if (matrix[2, :2] != 0).any():
        depth = np.where(depth > 0, depth, np.nan)
    result: Points = mapped[..., :2] / depth
    return result


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


def resizing(before: Size, after: Size) -> Matrix:
    """Return the transform of a picture that was resized, edges on edges."""
    matrix = np.eye(3)
    for axis, (old, new) in enumerate(zip(before, after, strict=True)):
        matrix[axis, axis] = new / old
        matrix[axis, 2] = (new / old - 1) / 2
    return matrix


@dataclass(frozen=True)
class Lens:
    """A camera's matrix (focal lengths and principal point, in pixels) and its distortion.

    Coefficients are in the order of OpenCV: k1, k2, p1, p2, k3, k4 to k6, s1 to s4.
    """

    camera: Matrix
    coefficients: tuple[float, ...]

    def straight(self, points: Points) -> Points:
        """Return where a camera without distortion sees what is seen at points; else NaN."""
        seen = apply(_inverse(self.camera), points)
        rays = seen.copy()
        for _ in range(MAX_ROUNDS):
            step = seen - self._distorted(rays)
            rays = rays + step
            if not (np.abs(step) > EXACT).any():
                break
        error = np.abs(self._distorted(rays) - seen).max(axis=-1, keepdims=True)
        known = np.where(error < 1e3 * EXACT, rays, np.nan)
        return apply(self.camera, known)

    def bent(self, points: Points) -> Points:
        """Return where the lens puts what a camera without distortion sees at points; else NaN."""
        return apply(self.camera, self._distorted(apply(_inverse(self.camera), points)))

    def _distorted(self, rays: Points) -> Points:
        k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = (*self.coefficients, *[0.0] * 8)[:12]
        x, y = rays[..., 0], rays[..., 1]
        square = x * x + y * y
        square = np.where(square <= self._reach() ** 2, square, np.nan)
        factor = _radial(square, k1, k2, k3) / _radial(square, k4, k5, k6)
        right = x * factor + 2 * p1 * x * y + p2 * (square + 2 * x * x)
        down = y * factor + p1 * (square + 2 * y * y) + 2 * p2 * x * y
        right = right + s1 * square + s2 * square**2
        down = down + s3 * square + s4 * square**2
        return np.stack([right, down], axis=-1)

    def _reach(self) -> float:
        """Return the radius up to which the distortion grows; beyond, views would fold back."""
        k1, k2, _, _, k3, k4, k5, k6 = (*self.coefficients, *[0.0] * 4)[:8]
        radii = np.linspace(0, MAX_REACH, 4001)
        square = radii**2
        below = _radial(square, k4, k5, k6)
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = radii * _radial(square, k1, k2, k3) / below
        folds = np.flatnonzero((np.diff(seen) <= 0) | (below[1:] <= 0))
        return float(radii[folds[0]] if len(folds) else MAX_REACH)

    def resized(self, matrix: Matrix) -> Lens:
        """Return the lens of pictures that were resized."""
        return replace(self, camera=matrix @ self.camera)


def _inverse(matrix: Matrix) -> Matrix:
    return np.asarray(np.linalg.inv(matrix), np.float64)


def _radial(square: Points, one: float, two: float, three: float) -> Points:
    return 1 + square * (one + square * (two + square * three))


@dataclass(frozen=True)
class Transform:
    """How a moving picture lies in its reference.

    `matrix` maps points of the first to points of the second; where a picture has a `lens`, as a
    camera without distortion would see them. `names` are modalities, `sizes` width and height, of
    the moving picture and of the reference, if they are known.
    """

    matrix: Matrix
    names: tuple[str, str] | None = None
    sizes: tuple[Size, Size] | None = None
    lenses: tuple[Lens | None, Lens | None] = (None, None)

    @property
    def inverse(self) -> Transform:
        """The transform with the two pictures exchanged."""
        return Transform(
            normalised(_inverse(self.matrix)),
            None if self.names is None else self.names[::-1],
            None if self.sizes is None else self.sizes[::-1],
            self.lenses[::-1],
        )

    @property
    def key(self) -> Hashable:
        """What tells transforms that map points differently apart."""
        lenses = [lens and (lens.camera.tobytes(), lens.coefficients) for lens in self.lenses]
        return (self.matrix.tobytes(), *lenses)

    @property
    def has_lenses(self) -> bool:
        """Whether it removes the distortion of a lens."""
        return any(lens is not None for lens in self.lenses)

    def to_reference(self, points: Points) -> Points:
        """Return where the reference shows what the moving picture shows at points; else NaN."""
        own, other = self.lenses
        straight = points if own is None else own.straight(points)
        mapped = apply(self.matrix, straight)
        return mapped if other is None else other.bent(mapped)

    def to_moving(self, points: Points) -> Points:
        """Return where the moving picture shows what the reference shows at points; else NaN."""
        return self.inverse.to_reference(points)

    def cropped(self, left: int, top: int) -> Transform:
        """Return the transform to the reference without its first columns and rows."""
        shift = np.array([[1.0, 0, -left], [0, 1, -top], [0, 0, 1]])
        own, other = self.lenses
        return Transform(
            np.asarray(shift @ self.matrix),
            self.names,
            None,
            (own, None if other is None else other.resized(shift)),
        )

    def for_sizes(self, moving: Size, reference: Size) -> Transform:
        """Return the transform of pictures that were resized. Raise ValueError for other shapes."""
        if self.sizes is None or self.sizes == (moving, reference):
            return replace(self, sizes=(moving, reference))
        for now, before in zip((moving, reference), self.sizes, strict=True):
            shape = (now[0] / now[1]) / (before[0] / before[1])
            if max(shape, 1 / shape) > OTHER_SHAPE:
                raise ValueError(f"{before[0]}x{before[1]}, {now[0]}x{now[1]}")
        own, other = (
            resizing(before, now)
            for before, now in zip(self.sizes, (moving, reference), strict=True)
        )
        return Transform(
            normalised(np.asarray(other @ self.matrix @ np.linalg.inv(own))),
            self.names,
            (moving, reference),
            (
                None if self.lenses[0] is None else self.lenses[0].resized(own),
                None if self.lenses[1] is None else self.lenses[1].resized(other),
            ),
        )
