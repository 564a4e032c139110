from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.signal import convolve2d

from fnetcli.metrics.detail import average_gradient, spatial_frequency, standard_deviation
from tests.metrics.images import Grey8, Triple, noise, scene, triples

Detail = Callable[[Grey8, Grey8, Grey8], float]
DETAILS: tuple[Detail, ...] = (standard_deviation, spatial_frequency, average_gradient)
# Every step to the right adds 3, every step down 4.
SLOPE = np.add.outer(4 * np.arange(4), 3 * np.arange(4)).astype(np.uint8)
CHECKS = np.array([[0, 255], [255, 0]], np.uint8)


def of(metric: Detail, image: Grey8) -> float:
    return metric(image, image, image)


def test_standard_deviation_by_hand() -> None:
    # Mean 5, deviations 5, 5, 1 and 1: the mean of 25, 25, 1, 1 is 13 (the sample's would be 52/3).
    assert of(standard_deviation, np.array([[0, 10], [4, 6]], np.uint8)) == math.sqrt(13)
    # Columns deviate by 4.5, 1.5, 1.5, 4.5 and rows by 6, 2, 2, 6: variances 11.25 + 20.
    assert of(standard_deviation, SLOPE) == pytest.approx(math.sqrt(31.25))


def test_spatial_frequency_by_hand() -> None:
    image = np.array([[0, 3, 3], [4, 3, 3]], np.uint8)
    # To the right 3, 0 and -1, 0: the mean of 9, 0, 1, 0. Down 4, 0, 0: the mean of 16, 0, 0.
    assert of(spatial_frequency, image) == pytest.approx(math.sqrt(10 / 4 + 16 / 3))
    assert of(spatial_frequency, SLOPE) == 5  # sqrt(3^2 + 4^2)
    assert of(spatial_frequency, image[:1]) == math.sqrt(9 / 2)  # no step down there


def test_average_gradient_by_hand() -> None:
    # One-sided 2 - 0, central (6 - 0) / 2, one-sided 6 - 2; nothing down: sqrt(g^2 / 2) each.
    image = np.array([[0, 2, 6]], np.uint8)
    assert of(average_gradient, image) == pytest.approx((2 + 3 + 4) / 3 / math.sqrt(2))
    assert of(average_gradient, SLOPE) == pytest.approx(math.sqrt((3**2 + 4**2) / 2))


def test_the_highest_values_can_be_reached() -> None:
    assert of(standard_deviation, CHECKS) == 127.5
    assert of(spatial_frequency, CHECKS) == math.sqrt(2) * 255
    assert of(average_gradient, CHECKS) == 255


@pytest.mark.parametrize("make", [noise, scene])
@pytest.mark.parametrize("shape", [(2, 2), (13, 7), (50, 60)])
def test_all_agree_with_other_statements(
    make: Callable[[int, int, int], Grey8], shape: tuple[int, int]
) -> None:
    image = make(*shape, 1)
    expected = statistics.pstdev(image.ravel().tolist())
    assert of(standard_deviation, image) == pytest.approx(expected)

    right, down = (convolve2d(image, k, "valid") for k in (np.array([[1.0, -1]]), [[1.0], [-1]]))
    expected = math.hypot(*(math.sqrt(np.mean(step**2)) for step in (right, down)))
    assert of(spatial_frequency, image) == pytest.approx(expected)

    # Continued in a straight line, the border has central differences too.
    line = np.pad(image.astype(float), 1, mode="reflect", reflect_type="odd")
    right = convolve2d(line[1:-1], np.array([[0.5, 0, -0.5]]), "valid")
    down = convolve2d(line[:, 1:-1], np.array([[0.5], [0], [-0.5]]), "valid")
    expected = np.mean(np.hypot(right, down)) / math.sqrt(2)
    assert of(average_gradient, image) == pytest.approx(expected)


@pytest.mark.parametrize("metric", DETAILS)
@settings(deadline=None, max_examples=30)
@given(images=triples(1, 12))
def test_only_the_fused_image_counts(metric: Detail, images: Triple) -> None:
    first, second, fused = images
    assert metric(first, second, fused) == of(metric, fused)


@pytest.mark.parametrize("metric", DETAILS)
@settings(deadline=None, max_examples=30)
@given(images=triples(1, 12))
def test_brightness_does_not_count_and_contrast_multiplies(metric: Detail, images: Triple) -> None:
    image = images[2] // 4
    value = of(metric, image)
    assert of(metric, image + 100) == pytest.approx(value)
    assert of(metric, image * 3) == pytest.approx(3 * value)
    assert of(metric, 255 - image) == pytest.approx(value)


@pytest.mark.parametrize("metric", DETAILS)
@settings(deadline=None, max_examples=30)
@given(images=triples(1, 12))
def test_turned_and_mirrored_images_have_the_same_detail(metric: Detail, images: Triple) -> None:
    image = images[2]
    for other in (image.T, image[::-1], image[:, ::-1]):
        assert of(metric, other) == pytest.approx(of(metric, image))


def test_only_the_standard_deviation_ignores_where_pixels_lie() -> None:
    image = scene(40, 50, 1)
    shuffled = np.random.default_rng(0).permutation(image.ravel()).reshape(image.shape)
    assert of(standard_deviation, shuffled) == pytest.approx(of(standard_deviation, image))
    assert of(spatial_frequency, shuffled) > 2 * of(spatial_frequency, image)
    assert of(average_gradient, shuffled) > 2 * of(average_gradient, image)


@pytest.mark.parametrize("metric", DETAILS)
def test_noise_raises_all(metric: Detail) -> None:
    image = scene(40, 50, 1) // 2
    assert of(metric, image + noise(40, 50, 2) // 4) > of(metric, image)
