from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings

from fnetcli.metrics.information import cross_entropy, mutual_information
from tests.metrics.images import Grey8, Triple, triples

ROWS_SPLIT = np.repeat(np.array([[0], [0], [255], [255]], np.uint8), 4, axis=1)
COLUMNS_SPLIT = ROWS_SPLIT.T
QUARTERS = (ROWS_SPLIT // 255 * 2 + COLUMNS_SPLIT // 255).astype(np.uint8)
BLACK = np.zeros((4, 4), np.uint8)


def entropy(counts: Counter[object]) -> float:
    total = counts.total()
    return -sum(n / total * math.log(n / total) for n in counts.values())


def naive_information(source: Grey8, fused: Grey8) -> float:
    one, two = source.ravel().tolist(), fused.ravel().tolist()
    joint = Counter[object](zip(one, two, strict=True))
    return entropy(Counter(one)) + entropy(Counter(two)) - entropy(joint)


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
