"""Small transforms of a kind, as sums of generators around the centre of a picture."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fnetcli.imaging.planar import Kind, Matrix

Floats = NDArray[np.float64]
DEGREES = {"translation": 2, "rigid": 3, "similarity": 4, "affine": 6, "homography": 8}


def generators(kind: Kind, x: Floats, y: Floats) -> NDArray[np.float64]:
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


def distortions(matrix: Matrix) -> Floats:
    """Return the shears and tilts of a transform at its origin, in the order of parameters.

    The parameters of a similarity are left out: they are 0 here.
    """
    tilts = matrix[2, :2] / matrix[2, 2]
    linear = (matrix[:2, :2] - np.outer(matrix[:2, 2] / matrix[2, 2], matrix[2, :2])) / matrix[2, 2]
    _, stretches, right = np.linalg.svd(linear)
    shape = right.T @ np.diag(stretches) @ right  # what is left without the rotation
    size = np.trace(shape)
    wide, slant = (shape[0, 0] - shape[1, 1]) / size, 2 * shape[0, 1] / size
    return np.array([0, 0, 0, 0, wide, slant, -tilts[0], -tilts[1]])
