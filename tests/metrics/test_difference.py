from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from skimage.metrics import mean_squared_error as skimage_error
from skimage.metrics import peak_signal_noise_ratio

from fnetcli.metrics.difference import mean_squared_error, peak_signal_to_noise
from tests.metrics.images import Grey8, Triple, noise, scene, triples

BLACK = np.zeros((2, 2), np.uint8)
FOURS = BLACK + np.uint8(4)
COUNT = np.array([[1, 2], [3, 4]], np.uint8)


def test_by_hand() -> None:
    # To black (1 + 4 + 9 + 16) / 4 = 7.5, to the fours (9 + 4 + 1 + 0) / 4 = 3.5.
    assert mean_squared_error(BLACK, FOURS, COUNT) == (7.5 + 3.5) / 2
    assert peak_signal_to_noise(BLACK, FOURS, COUNT) == 10 * math.log10(255**2 / 5.5)


def test_as_different_as_can_be() -> None:
    white = BLACK + np.uint8(255)
    assert mean_squared_error(BLACK, BLACK, white) == 255**2
    assert peak_signal_to_noise(BLACK, BLACK, white) == 0


@settings(deadline=None, max_examples=30)
@given(triples(1, 12))
def test_error_agrees_with_scikit_image(images: Triple) -> None:
    first, second, fused = images
    expected = (skimage_error(first, fused) + skimage_error(second, fused)) / 2
    assert mean_squared_error(*images) == pytest.approx(expected)


@pytest.mark.parametrize("make", [noise, scene])
def test_ratio_agrees_with_scikit_image(make: Callable[[int, int, int], Grey8]) -> None:
    source, fused = make(30, 41, 1), make(30, 41, 2)
    expected = peak_signal_noise_ratio(source, fused, data_range=255)
    assert peak_signal_to_noise(source, source, fused) == pytest.approx(expected)


@settings(deadline=None, max_examples=30)
@given(triples(1, 12))
def test_ratio_is_that_of_the_mean_error(images: Triple) -> None:
    error = mean_squared_error(*images)
    if error > 0:
        expected = 20 * math.log10(255 / math.sqrt(error))
        assert peak_signal_to_noise(*images) == pytest.approx(expected, abs=1e-9)


def test_ratio_of_the_mean_is_not_the_mean_of_the_ratios() -> None:
    # Errors 1 and 9: 5, and not the geometric mean 3 that averaged decibels stand for.
    fused = FOURS + np.uint8(1)
    ratio = peak_signal_to_noise(FOURS, FOURS - np.uint8(2), fused)
    assert ratio == pytest.approx(10 * math.log10(255**2 / 5))


@settings(deadline=None, max_examples=30)
@given(triples(1, 12))
def test_error_of_the_average_is_a_quarter_of_the_squared_difference(images: Triple) -> None:
    first, second = (image // 2 * 2 for image in images[:2])
    average = first // 2 + second // 2
    unavoidable = skimage_error(first, second) / 4
    assert mean_squared_error(first, second, average) == pytest.approx(unavoidable)
    # Any other image adds its distance from the average to that.
    added = skimage_error(images[2], average)
    assert mean_squared_error(first, second, images[2]) == pytest.approx(unavoidable + added)


@settings(deadline=None, max_examples=30)
@given(triples(1, 12))
def test_twice_the_difference_costs_six_decibels(images: Triple) -> None:
    first, second, fused = (image // 2 for image in images)
    once, twice = (mean_squared_error(k * first, k * second, k * fused) for k in (1, 2))
    assert twice == pytest.approx(4 * once)
    if once > 0:
        lost = peak_signal_to_noise(first, second, fused) - peak_signal_to_noise(
            2 * first, 2 * second, 2 * fused
        )
        assert lost == pytest.approx(20 * math.log10(2))


def test_equal_images_count_as_if_one_pixel_of_one_source_were_a_level_off() -> None:
    image = scene(20, 30, 1) // 2
    off = image.copy()
    off[3, 4] += 1
    assert mean_squared_error(image, image, image) == 0
    assert mean_squared_error(image, off, image) == pytest.approx(0.5 / 600)
    highest = 10 * math.log10(255**2 * 2 * 600)
    assert peak_signal_to_noise(image, image, image) == pytest.approx(highest)
    assert peak_signal_to_noise(image, off, image) == pytest.approx(highest)
