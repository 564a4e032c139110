from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from skimage.measure import shannon_entropy
from skimage.metrics import normalized_mutual_information

from fnetcli.metrics.information import (
    cross_entropy,
    cross_entropy_of_common_levels,
    entropy,
    mutual_information,
)
from tests.metrics.images import Grey8, Triple, noise, scene, triples

ROWS_SPLIT = np.repeat(np.array([[0], [0], [255], [255]], np.uint8), 4, axis=1)
COLUMNS_SPLIT = ROWS_SPLIT.T
QUARTERS = (ROWS_SPLIT // 255 * 2 + COLUMNS_SPLIT // 255).astype(np.uint8)
BLACK = np.zeros((4, 4), np.uint8)


def naive_entropy(counts: Counter[object]) -> float:
    total = counts.total()
    return -sum(n / total * math.log(n / total) for n in counts.values())


def naive_information(source: Grey8, fused: Grey8) -> float:
    one, two = source.ravel().tolist(), fused.ravel().tolist()
    joint = Counter[object](zip(one, two, strict=True))
    return naive_entropy(Counter(one)) + naive_entropy(Counter(two)) - naive_entropy(joint)


def naive_common_entropy(source: Grey8, fused: Grey8) -> float:
    one, two = Counter(source.ravel().tolist()), Counter(fused.ravel().tolist())
    p = {level: n / one.total() for level, n in one.items()}
    q = {level: n / two.total() for level, n in two.items()}
    return sum(p[level] * math.log2(p[level] / q[level]) for level in p.keys() & q.keys())


@pytest.mark.parametrize(
    ("first", "second", "fused", "bits"),
    [
        (ROWS_SPLIT, COLUMNS_SPLIT, ROWS_SPLIT, 1),  # all of the first, nothing of the second
        (ROWS_SPLIT, COLUMNS_SPLIT, QUARTERS, 2),  # all of both
        (QUARTERS, QUARTERS, ROWS_SPLIT, 2),  # half of each
        (ROWS_SPLIT, COLUMNS_SPLIT, BLACK, 0),
    ],
)
def test_mutual_information_by_hand(first: Grey8, second: Grey8, fused: Grey8, bits: float) -> None:
    assert mutual_information(first, second, fused) == pytest.approx(bits * math.log(2))


@settings(deadline=None, max_examples=40)
@given(triples(1, 24))
def test_mutual_information_is_that_of_entropies(images: Triple) -> None:
    first, second, fused = images
    expected = naive_information(first, fused) + naive_information(second, fused)
    assert mutual_information(first, second, fused) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=20)
@given(triples(1, 24))
def test_mutual_information_ignores_what_levels_are_called(images: Triple) -> None:
    first, second, fused = images
    value = mutual_information(first, second, fused)
    assert mutual_information(255 - first, second, fused) == pytest.approx(value, abs=1e-12)
    assert mutual_information(first, second, 255 - fused) == pytest.approx(value, abs=1e-12)


def test_cross_entropy_by_hand() -> None:
    # Source: half 0, half 255; fused: all 0. The level 255 has 0.5 against 1e-7.
    one_way = 0.5 * math.log2(0.5 / 1) + 0.5 * math.log2(0.5 / 1e-7)
    assert cross_entropy(ROWS_SPLIT, ROWS_SPLIT, BLACK) == pytest.approx(one_way, rel=1e-5)
    assert cross_entropy(ROWS_SPLIT, BLACK, BLACK) == pytest.approx(one_way / 2, rel=1e-5)
    # The other way nothing is missing: one bit.
    assert cross_entropy(BLACK, BLACK, ROWS_SPLIT) == pytest.approx(1, rel=1e-4)
    # Levels that no image shares.
    white = np.full((4, 4), 255, np.uint8)
    assert cross_entropy(white, white, BLACK) == pytest.approx(math.log2(1e7), rel=1e-5)


def test_cross_entropy_sees_histograms_only() -> None:
    assert cross_entropy(ROWS_SPLIT, COLUMNS_SPLIT, ROWS_SPLIT[::-1]) == 0


@pytest.mark.parametrize("make", [noise, scene])
def test_mutual_information_agrees_with_scikit_image(
    make: Callable[[int, int, int], Grey8],
) -> None:
    source, fused = make(30, 41, 1), make(30, 41, 2)
    for image in (source, fused):
        image[0, :2] = 0, 255  # so that each of its bins is one level
    # Its value is (H(source) + H(fused)) / H(source, fused).
    ratio = normalized_mutual_information(source, fused, bins=256)
    apart = (shannon_entropy(source) + shannon_entropy(fused)) * math.log(2)
    expected = 2 * (apart - apart / ratio)
    assert mutual_information(source, source, fused) == pytest.approx(expected)


def test_cross_entropy_of_common_levels_by_hand() -> None:
    # Level 0 alone is in all of them: 1/2 and 1/4 of the sources, all of the fused image.
    value = cross_entropy_of_common_levels(ROWS_SPLIT, QUARTERS, BLACK)
    assert value == (0.5 * math.log2(0.5 / 1) + 0.25 * math.log2(0.25 / 1)) / 2
    # 1/4 of the source, 1/2 of the fused image, which lacks the other levels.
    value = cross_entropy_of_common_levels(QUARTERS, QUARTERS, ROWS_SPLIT)
    assert value == 0.25 * math.log2(0.25 / 0.5)
    # What only the fused image has costs as in the convention "paper".
    assert cross_entropy_of_common_levels(BLACK, BLACK, ROWS_SPLIT) == 1
    # No level in common.
    assert cross_entropy_of_common_levels(BLACK + 1, BLACK + 2, BLACK) == 0


def test_cross_entropy_of_common_levels_falls_no_lower_than_its_bound() -> None:
    # p log2(p) is least at 1/e: here 6 of 16 pixels.
    source = np.repeat(np.array([0, 9], np.uint8), [6, 10]).reshape(4, 4)
    value = cross_entropy_of_common_levels(source, source, BLACK)
    assert value == 0.375 * math.log2(0.375)
    assert -0.54 < -math.log2(math.e) / math.e < value < -0.53


@settings(deadline=None, max_examples=40)
@given(triples(1, 24))
def test_cross_entropy_of_common_levels_agrees_with_a_naive_one(images: Triple) -> None:
    first, second, fused = images
    expected = (naive_common_entropy(first, fused) + naive_common_entropy(second, fused)) / 2
    assert cross_entropy_of_common_levels(*images) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=20)
@given(triples(2, 24))
def test_conventions_agree_where_the_fused_image_lacks_no_level(images: Triple) -> None:
    first, second, fused = (image // 64 for image in images)
    fused.ravel()[:4] = range(4)  # all that the sources can have
    value = cross_entropy_of_common_levels(first, second, fused)
    assert cross_entropy(first, second, fused) == pytest.approx(value, abs=1e-4)


def test_entropy_by_hand() -> None:
    assert entropy(QUARTERS, QUARTERS, BLACK) == 0
    assert entropy(BLACK, BLACK, ROWS_SPLIT) == 1
    assert entropy(BLACK, BLACK, QUARTERS) == 2
    # One pixel in four: 1/4 of 2 bits and 3/4 of log2(4/3).
    quarter = (QUARTERS == 0).astype(np.uint8)
    assert entropy(BLACK, BLACK, quarter) == pytest.approx(0.25 * 2 + 0.75 * math.log2(4 / 3))
    all_levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert entropy(all_levels, all_levels, all_levels) == 8


@settings(deadline=None, max_examples=40)
@given(triples(1, 24))
def test_entropy_is_that_of_the_fused_image_in_bits(images: Triple) -> None:
    value = entropy(*images)
    assert value == pytest.approx(shannon_entropy(images[2]), abs=1e-12)
    # An image knows all of itself, from either source, in nats.
    itself = mutual_information(images[2], images[2], images[2])
    assert itself == pytest.approx(2 * value * math.log(2), abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(triples(1, 24))
def test_entropy_counts_levels_wherever_they_lie(images: Triple) -> None:
    first, second, fused = images
    value = entropy(*images)
    assert value <= math.log2(len(np.unique(fused))) + 1e-12
    assert entropy(first, second, 255 - fused) == pytest.approx(value, abs=1e-12)
    assert entropy(first, second, np.sort(fused, axis=None).reshape(fused.shape)) == value


def test_noise_raises_entropy() -> None:
    image = scene(40, 50, 1) // 2
    noisy = image + noise(40, 50, 2) // 8
    assert entropy(image, image, noisy) > entropy(image, image, image) + 0.5
