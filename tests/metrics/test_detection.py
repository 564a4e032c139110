"""Average precision on boxes whose answer is known by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fnetcli.metrics.detection import average_precision, box_iou

A, B = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0)
FAR = (50.0, 50.0, 60.0, 60.0)


def boxes(*some: tuple[float, ...]) -> np.ndarray:
    return np.array(some, np.float64).reshape(-1, 4)


def test_overlaps() -> None:
    half = (5.0, 0.0, 15.0, 10.0)
    np.testing.assert_allclose(box_iou(boxes(A), boxes(A, half, B)), [[1, 1 / 3, 0]])
    assert box_iou(boxes((1, 1, 1, 1)), boxes((1, 1, 1, 1))) == 0


@pytest.mark.parametrize(
    ("found", "scores", "expected"),
    [
        ([A, B], [0.9, 0.8], 1.0),
        ([], [], 0.0),
        ([FAR], [0.9], 0.0),
        ([A], [0.9], 51 / 101),  # recall 0.5 with precision 1
        ([FAR, A, B], [0.9, 0.8, 0.7], 2 / 3),  # precision falls to 2/3 at every recall
        ([A, FAR, B], [0.9, 0.8, 0.7], (51 + 50 * 2 / 3) / 101),
        ([A, A, B], [0.9, 0.8, 0.7], (51 + 50 * 2 / 3) / 101),  # a box counts once
    ],
)
def test_by_hand(found: list[tuple[float, ...]], scores: list[float], expected: float) -> None:
    answer = average_precision([(boxes(*found), np.array(scores))], [boxes(A, B)])
    assert answer == pytest.approx(expected)


def test_over_images() -> None:
    """A box of another image is none; images without labels only add false ones."""
    found = [(boxes(A), np.array([0.5])), (boxes(A), np.array([0.9]))]
    assert average_precision(found, [boxes(A), boxes()]) == pytest.approx(0.5)
    assert math.isnan(average_precision(found, [boxes(), boxes()]))


def test_the_limit_decides() -> None:
    found = [(boxes((0, 0, 10, 6)), np.array([0.9]))]
    assert average_precision(found, [boxes(A)], 0.6) == 1
    assert average_precision(found, [boxes(A)], 0.61) == 0
