"""Confusion and IoU of hand-made cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fnetcli.metrics.segmentation import confusion, iou, mean_iou


def test_by_hand() -> None:
    label = np.array([[1, 1, 1, 0], [2, 2, 0, 3]], np.uint8)
    predicted = np.array([[1, 1, 2, 2], [2, 1, 1, 0]], np.uint8)
    matrix = confusion(label, predicted, 5)
    assert matrix.sum() == 8
    assert matrix[1].tolist() == [0, 2, 1, 0, 0]
    values = iou(matrix)
    assert math.isnan(values[0])
    assert values[1] == pytest.approx(2 / 4)  # 2 hits, 1 missed, 1 false
    assert values[2] == pytest.approx(1 / 3)
    assert values[3] == 0  # labelled, never found
    assert math.isnan(values[4])  # neither labelled nor predicted
    assert mean_iou(values) == pytest.approx((1 / 2 + 1 / 3) / 3)


def test_with_the_unlabelled_class() -> None:
    label = np.array([0, 0, 1, 1], np.uint8)
    predicted = np.array([0, 1, 1, 0], np.uint8)
    values = iou(confusion(label, predicted, 2), with_unlabelled=True)
    np.testing.assert_allclose(values, [1 / 3, 1 / 3])
    np.testing.assert_allclose(iou(confusion(label, predicted, 2))[1], 1 / 2)


def test_several_images_are_one_matrix() -> None:
    """The IoU of all pixels, not the mean of the images' IoU."""
    large, small = np.ones(90, np.uint8), np.ones(10, np.uint8)
    total = confusion(large, large, 3) + confusion(small, 2 * small, 3)
    assert iou(total)[1] == pytest.approx(0.9)
    assert iou(total)[2] == 0


def test_nothing_labelled() -> None:
    zero = np.zeros((2, 2), np.uint8)
    assert math.isnan(mean_iou(iou(confusion(zero, zero, 3))))


@given(arrays(np.uint8, (2, 30), elements=st.integers(0, 4)))
def test_laws(pair: np.ndarray) -> None:
    label, predicted = pair
    values = iou(confusion(label, predicted, 5))
    known = values[np.isfinite(values)]
    assert ((known >= 0) & (known <= 1)).all()
    perfect = iou(confusion(label, label, 5))
    assert set(perfect[np.isfinite(perfect)]) <= {1.0}
    for c in range(1, 5):
        seen = label != 0
        union = ((label == c) | (predicted == c)) & seen
        if union.any():
            both = ((label == c) & (predicted == c)).sum()
            assert values[c] == pytest.approx(both / union.sum())


@pytest.mark.parametrize(
    ("label", "predicted", "message"),
    [
        (np.zeros((2, 2), int), np.zeros((2, 3), int), "equal shapes"),
        (np.zeros(2, int), np.zeros(2), "whole numbers"),
        (np.full(2, 3), np.zeros(2, int), "ranges from 3 to 3; classes are 0 to 2"),
        (np.zeros(2, int), np.full(2, -1), "prediction ranges from -1"),
    ],
)
def test_refused(label: np.ndarray, predicted: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion(label, predicted, 3)
