"""Planted transforms are found in drawn scenes of two modalities; unrelated ones are refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from fnetcli.pictures.registration import Kind, View, planar, register
from fnetcli.pictures.registration.estimate import as_they_are

Map = NDArray[np.float32]
Matrix = NDArray[np.float64]
SIZE = (150, 200)


def scene(seed: int, height: int = 300, width: int = 400) -> Map:
    """Return boxes, discs and slanted edges of many sizes, on a slope."""
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
    return np.asarray(ndimage.gaussian_filter(image, 0.8), np.float32)


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
    first, _ = planar.sampled(whole, middle, size)
    second, _ = planar.sampled(other_modality(whole), middle @ to_scene, other)
    return View(first), View(second), to_scene


def error(found: Matrix, true: Matrix, shape: tuple[int, int] = SIZE) -> float:
    points = planar.corners(shape) * 0.7 + np.array([shape[1], shape[0]]) * 0.15
    return float(np.hypot(*(planar.apply(found, points) - planar.apply(true, points)).T).mean())


TRUE: dict[Kind, Matrix] = {
    "translation": around(SIZE, turned(1, 0), (31.4, -17.7)),
    "rigid": around(SIZE, turned(1, -6.5), (20.3, 9.8)),
    "similarity": around(SIZE, turned(0.81, 4.3), (-12.6, 14.9)),
    "affine": around(SIZE, [[1.12, 0.04], [-0.06, 1.21]], (-18.2, 5.5)),
    "homography": around(SIZE, turned(1.15, 3), (10.0, -6.0))
    @ np.array([[1, 0, 0], [0, 1, 0], [1e-4, -8e-5, 1]]),
}


@pytest.mark.parametrize("kind", planar.KINDS)
def test_each_kind_finds_its_transform(kind: Kind) -> None:
    reference, moving, true = two_views(TRUE[kind])
    found = register(reference, moving, kind)
    assert found.is_believed, found.sentence
    assert error(found.matrix, true) < (1.0 if kind == "homography" else 0.5)
    require_kind(found.matrix, kind)
    assert found.matrix[2, 2] == 1
    assert found.inliers > 5 * found.expected


def require_kind(matrix: Matrix, kind: Kind) -> None:
    linear = matrix[:2, :2]
    if kind == "translation":
        assert np.allclose(linear, np.eye(2))
    if kind in {"translation", "rigid"}:
        assert np.isclose(np.linalg.det(linear), 1)
    if kind in {"translation", "rigid", "similarity"}:
        assert np.allclose(linear.T @ linear, np.linalg.det(linear) * np.eye(2))
    if kind != "homography":
        assert np.allclose(matrix[2], (0, 0, 1))


def test_sizes_and_aspect_ratios_may_differ() -> None:
    other = (120, 128)  # a coarser camera: each pixel is 1.4 of the reference's
    true = np.array([[1.4, 0.05, 8.0], [-0.05, 1.4, -6.0], [0, 0, 1]])
    reference, moving, _ = two_views(true, other=other)
    found = register(reference, moving, "similarity")
    assert found.is_believed, found.sentence
    assert error(found.matrix, true, other) < 0.7


def test_swapping_the_pictures_inverts_the_transform() -> None:
    reference, moving, _ = two_views(TRUE["similarity"])
    there, back = (
        register(reference, moving, "similarity"),
        register(moving, reference, "similarity"),
    )
    assert error(there.matrix @ back.matrix, np.eye(3)) < 0.7


def test_a_start_is_refined() -> None:
    reference, moving, true = two_views(TRUE["affine"])
    start = np.array([[1.0, 0, 3], [0, 1, -2], [0, 0, 1]]) @ true
    assert error(register(reference, moving, "affine", start).matrix, true) < 0.5


def test_holes_are_no_edges() -> None:
    reference, moving, true = two_views(TRUE["similarity"])
    valid = np.ones(SIZE, bool)
    valid[:40, :90] = False
    luminance = np.where(valid, moving.luminance, 1).astype(np.float32)
    found = register(reference, View(luminance, valid), "similarity")
    assert found.is_believed, found.sentence
    assert error(found.matrix, true) < 0.7


@pytest.mark.parametrize("seed", range(2))
def test_other_scenes_are_refused(seed: int) -> None:
    reference, _, _ = two_views(np.eye(3), seed=seed)
    _, moving, _ = two_views(np.eye(3), seed=seed + 100)
    found = register(reference, moving, "affine")
    assert not found.is_believed, found.sentence
    assert "not believed" in found.sentence


@pytest.mark.parametrize("kind", ["translation", "affine"])
@pytest.mark.parametrize("content", ["black", "noise"])
def test_nothing_to_see_is_refused(kind: Kind, content: str) -> None:
    reference, _, _ = two_views(np.eye(3))
    random = np.random.default_rng(1)
    values = np.zeros(SIZE, np.float32) if content == "black" else random.random(SIZE, np.float32)
    for pair in (
        (reference, View(values)),
        (View(values), reference),
        (View(values), View(values * 0)),
    ):
        assert not register(*pair, kind).is_believed


@pytest.mark.parametrize("shape", [(1, 1), (31, 400), (5, 9)])
def test_small_pictures_are_refused(shape: tuple[int, int]) -> None:
    reference, _, _ = two_views(np.eye(3))
    found = register(reference, View(np.zeros(shape, np.float32)), "affine")
    assert "fewer than 32 pixels" in str(found.reason)


def test_the_record_is_plain_json() -> None:
    reference, moving, _ = two_views(TRUE["translation"])
    for other in (moving, View(np.zeros(SIZE, np.float32))):
        record = register(reference, other, "translation").record()
        assert json.loads(json.dumps(record)) == record


def test_the_same_pair_gives_the_same_to_the_bit() -> None:
    reference, moving, _ = two_views(TRUE["rigid"])
    first, second = (register(reference, moving, "rigid") for _ in range(2))
    assert (first.matrix == second.matrix).all()


def test_pictures_as_they_are_lie_centre_on_centre() -> None:
    matrix = as_they_are((480, 640), (240, 320), "affine")
    assert planar.apply(matrix, planar.corners((240, 320))) == pytest.approx(
        planar.corners((480, 640))
    )
    assert as_they_are((480, 640), (480, 640), "rigid") == pytest.approx(np.eye(3))


def test_shrinking_keeps_the_edges_in_place() -> None:
    image = ndimage.gaussian_filter(scene(0), 4)
    for factor in (0.31, 0.5, 0.77, 1.3):
        small, matrix = planar.shrunk(image, factor)
        height, width = small.shape
        edges = planar.apply(matrix, planar.corners((height, width)))
        assert edges == pytest.approx(planar.corners((300, 400)), abs=0.51 / factor)
        assert edges.mean(axis=0) == pytest.approx((199.5, 149.5))
        again, _ = planar.sampled(image, matrix, (height, width))
        assert np.abs(again - small)[5:-5, 5:-5].mean() < 0.004
