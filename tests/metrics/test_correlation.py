from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.stats import pearsonr

from fnetcli.metrics.correlation import correlation, difference_correlation
from tests.metrics.images import Grey8, Triple, noise, scene, triples

RAMP = np.array([[0, 1], [2, 3]], np.uint8)
SWAPPED = np.array([[0, 1], [3, 2]], np.uint8)
# Two patterns that share no variance: a product of deviations is as often positive as negative.
ROWS = np.repeat(np.array([[0], [0], [100], [100]], np.uint8), 4, axis=1)
COLUMNS = ROWS.T


def r(one: Grey8, two: Grey8) -> float:
    return float(pearsonr(one.ravel().astype(float), two.ravel().astype(float)).statistic)


def minus(one: Grey8, two: Grey8) -> Grey8:
    return one.astype(np.int16) - two  # type: ignore[return-value]


def test_correlation_by_hand() -> None:
    # Deviations (-3, -1, 1, 3) / 2 and (-3, -1, 3, 1) / 2: (9 + 1 + 3 + 3) / (9 + 1 + 1 + 9).
    assert correlation(RAMP, RAMP, SWAPPED) == pytest.approx(16 / 20)
    assert correlation(RAMP, 3 - RAMP, SWAPPED) == pytest.approx((0.8 - 0.8) / 2)
    assert correlation(RAMP, SWAPPED, SWAPPED) == pytest.approx((0.8 + 1) / 2)
    assert correlation(ROWS, COLUMNS, ROWS) == pytest.approx((1 + 0) / 2)


def test_difference_correlation_by_hand() -> None:
    # The sum: each source is left when the other is taken away.
    assert difference_correlation(ROWS, COLUMNS, ROWS + COLUMNS) == pytest.approx(2)
    # The average: left is half of (rows - columns), as much of the one as of the other.
    average = ROWS // 2 + COLUMNS // 2
    assert difference_correlation(ROWS, COLUMNS, average) == pytest.approx(2 * math.sqrt(0.5))
    # One source: nothing of the other was added, and the first is left with the other in it.
    assert difference_correlation(ROWS, COLUMNS, ROWS) == pytest.approx(math.sqrt(0.5))
    # Neither: what is left of black is the other source, inverted.
    assert difference_correlation(ROWS, ROWS, ROWS * 0) == pytest.approx(-2)


@pytest.mark.parametrize("make", [noise, scene])
@pytest.mark.parametrize("shape", [(1, 9), (12, 7), (64, 300)])
def test_both_agree_with_scipy(
    make: Callable[[int, int, int], Grey8], shape: tuple[int, int]
) -> None:
    first, second, fused = (make(*shape, seed) for seed in (1, 2, 3))
    expected = (r(first, fused) + r(second, fused)) / 2
    assert correlation(first, second, fused) == pytest.approx(expected, abs=1e-12)
    expected = r(first, minus(fused, second)) + r(second, minus(fused, first))
    assert difference_correlation(first, second, fused) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(triples(1, 12))
def test_correlation_ignores_brightness_and_contrast(images: Triple) -> None:
    first, second, fused = (image // 4 for image in images)
    value = correlation(first, second, fused)
    assert correlation(first * 3 + 9, second, fused) == pytest.approx(value, abs=1e-12)
    assert correlation(first, second, fused * 2 + 50) == pytest.approx(value, abs=1e-12)
    assert correlation(first, second, 255 - fused) == pytest.approx(-value, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(triples(1, 12))
def test_difference_correlation_ignores_brightness_and_one_scale_for_all(images: Triple) -> None:
    first, second, fused = (image // 4 for image in images)
    value = difference_correlation(first, second, fused)
    assert difference_correlation(first + 30, second, fused + 90) == pytest.approx(value)
    assert difference_correlation(first * 3, second * 3, fused * 3) == pytest.approx(value)
    inverted = difference_correlation(255 - first, 255 - second, 255 - fused)
    assert inverted == pytest.approx(value)


@settings(deadline=None, max_examples=30)
@given(triples(1, 12))
def test_the_sum_of_the_sources_has_the_best_difference_correlation(images: Triple) -> None:
    first, second = (image // 2 for image in images[:2])
    vary = sum(image.min() < image.max() for image in (first, second))
    assert difference_correlation(first, second, first + second) == pytest.approx(vary)


@pytest.mark.parametrize("level", [0, 77, 255])
def test_a_constant_image_correlates_with_nothing(level: int) -> None:
    image, flat = scene(700, 900, 1), np.full((700, 900), level, np.uint8)
    assert correlation(image, image, flat) == 0
    assert correlation(image, flat, image) == 0.5
    assert difference_correlation(image, flat, image) == 1
    assert difference_correlation(flat, flat, image) == 0
    assert difference_correlation(image, image, image) == 0
