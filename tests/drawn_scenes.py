"""Drawn scenes as two cameras see them, from different places and in different modalities."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fnetcli.pictures.registration import View, views

Map = NDArray[np.float32]
Matrix = NDArray[np.float64]
SIZE = (150, 200)


@cache
def scene(seed: int, height: int = 300, width: int = 400) -> Map:
    """Return boxes, discs and slanted edges of many sizes, on a slope; not to be written to."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    image = 0.3 + 0.1 * rows / height
    for _ in range(70):
        y, x = random.uniform(0, height), random.uniform(0, width)
        tall, wide = random.uniform(6, 45, 2)
        turn = random.uniform(0, math.pi) * random.integers(0, 2)
        down = (rows - y) * math.cos(turn) - (columns - x) * math.sin(turn)
        right = (rows - y) * math.sin(turn) + (columns - x) * math.cos(turn)
        is_disc = random.random() < 0.3
        inside = (
            np.hypot(down, right) < tall / 2
            if is_disc
            else (np.abs(down) < tall / 2) & (np.abs(right) < wide / 2)
        )
        image[inside] = random.random()
    drawn = np.asarray(ndimage.gaussian_filter(image, 0.8), np.float32)
    drawn.setflags(write=False)
    return drawn


def other_modality(image: Map, seed: int = 0) -> Map:
    """Return the same edges with other contrasts, many turned round, and noise."""
    random = np.random.default_rng(seed)
    changed = 0.5 + 0.3 * np.cos(7 * image) * (1 - 0.5 * image)
    return (changed + random.normal(0, 0.01, image.shape)).astype(np.float32)


def around(shape: tuple[int, int], linear: list[list[float]], shift: tuple[float, float]) -> Matrix:
    """Return the 3x3 matrix of a linear part around a picture's centre, and a shift."""
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    centre = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    matrix[:2, 2] = centre + shift - matrix[:2, :2] @ centre
    return matrix


def turned(size: float, degrees: float) -> list[list[float]]:
    cos, sin = size * math.cos(math.radians(degrees)), size * math.sin(math.radians(degrees))
    return [[cos, -sin], [sin, cos]]


def two_views(
    to_scene: Matrix, size: tuple[int, int] = SIZE, other: tuple[int, int] = SIZE, seed: int = 3
) -> tuple[View, View, Matrix]:
    """Return a view of a scene's middle, another's of it, and the transform between them.

    `to_scene` maps the other view's pixels to those of the first.
    """
    whole = scene(seed)
    middle = np.array([[1.0, 0, 100], [0, 1, 75], [0, 0, 1]])
    first, _ = views.sampled(whole, middle, size)
    second, _ = views.sampled(other_modality(whole), middle @ to_scene, other)
    return View(first), View(second), to_scene
