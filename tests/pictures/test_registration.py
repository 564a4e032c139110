"""Planted transforms are found in drawn scenes of two modalities; unrelated ones are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage

from fnetcli.imaging import planar
from fnetcli.imaging.planar import Kind
from fnetcli.pictures.registration import View, register, register_frames, views
from fnetcli.pictures.registration.estimate import as_they_are
from tests.drawn_scenes import SIZE, Matrix, around, scene, turned, two_views


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
    assert found.is_trusted, found.sentence
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
    assert found.is_trusted, found.sentence
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


def test_pictures_that_lie_on_each_other_stay() -> None:
    reference, moving, true = two_views(np.eye(3))
    found = register(reference, moving, "affine")
    assert found.is_trusted, found.sentence
    assert (found.matrix == true).all()
    assert "they are already aligned" in found.sentence
    assert found.record()["kept"]
    other = register(reference, moving, "affine", keeps_aligned=False)
    assert other.gain is None
    assert 0 < error(other.matrix, true) < 0.3


def test_a_small_displacement_is_one() -> None:
    reference, moving, true = two_views(around(SIZE, turned(1.01, 0.5), (1.5, -1.0)))
    found = register(reference, moving, "similarity")
    assert found.gain is None
    assert error(found.matrix, true) < 0.3


def test_pixels_that_are_far_from_square() -> None:
    reference, moving, true = two_views(around(SIZE, [[1.0, 0.0], [0.0, 1.12]], (9.0, 5.5)))
    found = register(reference, moving, "affine")
    assert found.is_trusted, found.sentence
    assert error(found.matrix, true) < 0.5


def test_holes_are_no_edges() -> None:
    reference, moving, true = two_views(TRUE["similarity"])
    valid = np.ones(SIZE, bool)
    valid[:40, :90] = False
    luminance = np.where(valid, moving.luminance, 1).astype(np.float32)
    found = register(reference, View(luminance, valid), "similarity")
    assert found.is_trusted, found.sentence
    assert error(found.matrix, true) < 0.7


@pytest.mark.parametrize("seed", range(2))
def test_other_scenes_are_refused(seed: int) -> None:
    reference, _, _ = two_views(np.eye(3), seed=seed)
    _, moving, _ = two_views(np.eye(3), seed=seed + 100)
    found = register(reference, moving, "affine")
    assert not found.is_trusted, found.sentence
    assert "not trusted" in found.sentence


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
        assert not register(*pair, kind).is_trusted


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
        small, matrix = views.shrunk(image, factor)
        height, width = small.shape
        edges = planar.apply(matrix, planar.corners((height, width)))
        assert edges == pytest.approx(planar.corners((300, 400)), abs=0.51 / factor)
        assert edges.mean(axis=0) == pytest.approx((199.5, 149.5))
        again, _ = views.sampled(image, matrix, (height, width))
        assert np.abs(again - small)[5:-5, 5:-5].mean() < 0.004


def test_one_transform_for_many_frames() -> None:
    true = TRUE["similarity"]
    frames = [two_views(true, seed=seed)[:2] for seed in range(3)]
    stranger = two_views(np.eye(3), seed=50)[0], two_views(np.eye(3), seed=60)[1]
    found = register_frames([*frames, stranger], "similarity")
    assert found.is_trusted, found.sentence
    assert error(found.matrix, true) < 0.3
    assert (found.frames, found.frames_agreeing) == (4, 3)
    assert "3 of 4 pairs" in found.sentence


def test_frames_of_one_scene_count_once_each() -> None:
    reference, moving, _ = two_views(TRUE["translation"])
    alone = register(reference, moving, "translation")
    together = register_frames([(reference, moving)] * 2, "translation")
    assert together.matrix == pytest.approx(alone.matrix, abs=0.01)
    assert together.score == pytest.approx(alone.score, rel=0.01)


def test_frames_of_different_sizes_are_refused() -> None:
    one, other = two_views(np.eye(3)), two_views(np.eye(3), other=(120, 160))
    with pytest.raises(ValueError, match="different sizes"):
        register_frames([one[:2], other[:2]], "rigid")


def test_a_registration_of_reduced_pictures_is_one_of_the_pictures() -> None:
    reference, moving, true = two_views(TRUE["affine"])
    (small, other), (tiny, own) = reference.shrunk(0.8), moving.shrunk(0.7)
    found = register(small, tiny, "affine").enlarged(own, other, SIZE, SIZE)
    assert error(found.matrix, true) < 1
    assert found.residuals[:, 0].max() > 150
