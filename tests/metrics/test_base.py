from __future__ import annotations

import numpy as np
import pytest

from fnetcli.metrics import METRICS, Metric, Picture, metrics, score
from fnetcli.metrics.base import KEPT, Grey, check_images
from fnetcli.metrics.information import cross_entropy
from tests.metrics.images import Grey8, noise, scene


def total(pixels: Grey) -> float:
    return float(pixels.sum())


def doubled(pixels: Grey) -> Grey:
    return pixels * 2


def test_a_picture_works_a_thing_out_once() -> None:
    seen = []

    def rule(pixels: Grey) -> float:
        seen.append(pixels.shape)
        return total(pixels)

    picture = Picture(np.full((2, 3), 7, np.uint8))
    assert picture.derive(rule) == picture.derive(rule) == 42
    assert seen == [(2, 3)]


def test_a_picture_keeps_its_rules_apart() -> None:
    picture = Picture(noise(3, 4, 1))
    assert picture.derive(doubled).sum() == 2 * picture.derive(total)
    assert picture.derive(doubled) is picture.derive(doubled)


def test_a_picture_is_its_own_copy() -> None:
    pixels = np.zeros((3, 4))
    picture = Picture(pixels)
    pixels[:] = 9
    assert picture.shape == (3, 4)
    assert picture.levels.max() == picture.pixels.max() == 0


@pytest.mark.parametrize(("height", "kept"), [(1024, True), (1025, False)])
def test_nothing_is_kept_above_a_million_pixels(height: int, kept: bool) -> None:
    assert KEPT == 1024 * 1024
    picture = Picture(np.zeros((height, 1024), np.uint8))
    assert (picture.derive(doubled) is picture.derive(doubled)) == kept
    cross_entropy(picture, picture, picture)
    assert bool(vars(picture)["_derived"]) == kept


def test_both_conventions_share_what_they_keep() -> None:
    picture = Picture(scene(161, 161, 1))
    for metric in METRICS:
        metric.function(picture, picture, picture)
    kept = list(vars(picture)["_derived"])
    for metric in metrics("standard"):
        metric.function(picture, picture, picture)
    assert list(vars(picture)["_derived"]) == kept


@pytest.mark.parametrize("convention", [METRICS, metrics("standard")], ids=["paper", "standard"])
def test_scores_are_plain_floats(convention: tuple[Metric, ...]) -> None:
    # A float of numpy is a float too, but prints as np.float64(0.5).
    images = scene(161, 162, 1), scene(161, 162, 2), scene(161, 162, 3)
    assert {type(value) for value in score(*images, convention).values()} == {float}


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((4, 4, 3), np.uint8), r"shape is \(4, 4, 3\); give \(H, W\), see to_grey8"),
        (np.zeros((0, 4), np.uint8), r"the image is empty \(shape \(0, 4\)\); give pixels"),
        (np.zeros((4, 4), np.bool_), "pixels are bool; give integers or floats"),
        (np.full((4, 4), np.inf), "some pixels are NaN or infinite; replace them first"),
        (np.array([[-1, 256]]), "pixels range from -1 to 256; scale them to 0..255"),
        (np.full((4, 4), 0.5), "pixels are not whole numbers; use quantise or to_grey8"),
    ],
)
def test_a_picture_says_what_is_wrong_and_what_to_do(pixels: Grey8, message: str) -> None:
    with pytest.raises(ValueError, match=f"^Picture: {message}$"):
        Picture(pixels)
    with pytest.raises(ValueError, match=f"^ir.png: {message}$"):
        Picture(pixels, "ir.png")


def test_arrays_and_pictures_mix() -> None:
    image = noise(4, 5, 1)
    picture = Picture(image)
    one, two, result = check_images("X", image, picture, image.astype(float))
    assert two is picture
    assert (one.levels == result.levels).all()
    with pytest.raises(ValueError, match=r"^X: images differ in shape \(first \(4, 5\), second"):
        check_images("X", picture, image.T, picture)
    with pytest.raises(ValueError, match=r"^X, fused image: the image is empty"):
        check_images("X", picture, image, image[:0])
    with pytest.raises(ValueError, match=r"^X: images are 5x4 pixels; it needs at least 5x5$"):
        check_images("X", picture, image, image, smallest=5)
