"""What every metric keeps: one row for each, one class for all."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fnetcli.metrics import METRICS, Metric, score
from tests.metrics.images import Grey8, Triple, noise, scene, triples


@dataclass(frozen=True)
class Row:
    """What the tests expect of one metric."""

    low: float
    high: float
    smallest: int = 1  # side of the smallest image
    constant: float = 0  # where all three images are grey 100
    perfect: float | None = None  # where all three images are one textured image


ROWS = {
    "MI": Row(0, 2 * math.log(256)),
    "CE": Row(0, 23.26, perfect=0),
    "VIF": Row(0, math.inf, smallest=41, constant=2, perfect=2),
    "Qabf": Row(0, 1, constant=0.975, perfect=0.975),
    "Qcb": Row(0, 1, constant=1, perfect=1),
    "SSIM": Row(-2, 2, smallest=7, constant=2, perfect=2),
}
SIDE = 44


def test_every_metric_has_a_row() -> None:
    assert [metric.name for metric in METRICS] == list(ROWS)


def test_score_holds_every_metric_in_order() -> None:
    images = scene(SIDE, SIDE, 1), scene(SIDE, SIDE, 2), scene(SIDE, SIDE, 3)
    expected = {metric.name: metric.function(*images) for metric in METRICS}
    scores = score(*images)
    assert scores == expected
    assert list(scores) == list(expected)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
class TestMetric:
    def test_tells_its_values_and_source(self, metric: Metric) -> None:
        assert metric.values
        assert metric.source
        assert metric.name in (metric.function.__doc__ or "")

    @settings(deadline=None, max_examples=25)
    @given(images=triples(SIDE, 52))
    def test_is_finite_bounded_and_symmetric(self, metric: Metric, images: Triple) -> None:
        first, second, fused = images
        value = metric.function(first, second, fused)
        assert isinstance(value, float)
        assert ROWS[metric.name].low <= value <= ROWS[metric.name].high + 1e-9
        assert value < math.inf
        assert metric.function(second, first, fused) == value

    @settings(deadline=None, max_examples=25)
    @given(images=triples(1, 9))
    def test_tiny_images_have_a_value_or_are_refused(self, metric: Metric, images: Triple) -> None:
        smallest = ROWS[metric.name].smallest
        if min(images[0].shape) < smallest:
            with pytest.raises(ValueError, match=rf"{metric.name}: .* at least {smallest}x"):
                metric.function(*images)
        else:
            assert math.isfinite(metric.function(*images))

    def test_smallest_image_has_a_value(self, metric: Metric) -> None:
        side = ROWS[metric.name].smallest
        value = metric.function(noise(side, side, 1), noise(side, side, 2), noise(side, side, 3))
        assert math.isfinite(value)

    @settings(deadline=None, max_examples=15)
    @given(levels=st.tuples(*[st.integers(0, 255)] * 3))
    def test_constant_images_have_a_value(
        self, metric: Metric, levels: tuple[int, int, int]
    ) -> None:
        first, second, fused = (np.full((SIDE, 50), level, np.uint8) for level in levels)
        value = metric.function(first, second, fused)
        assert ROWS[metric.name].low <= value <= ROWS[metric.name].high + 1e-9

    def test_constant_images_have_the_documented_value(self, metric: Metric) -> None:
        expected = ROWS[metric.name].constant
        flat = np.full((SIDE, SIDE), 100, np.uint8)
        assert metric.function(flat, flat, flat) == pytest.approx(expected, rel=1e-3, abs=1e-12)

    def test_equal_images_are_best(self, metric: Metric) -> None:
        image, other = scene(SIDE, 60, 4), scene(SIDE, 60, 5)
        best = metric.function(image, image, image)
        worse = metric.function(image, image, other)
        assert best > worse if metric.higher_is_better else best < worse
        expected = ROWS[metric.name].perfect
        if expected is not None:
            assert best == pytest.approx(expected, rel=1e-3, abs=1e-9)

    def test_fusing_beats_an_unrelated_image(self, metric: Metric) -> None:
        first, second = scene(SIDE, 60, 6), scene(SIDE, 60, 7)
        fused = metric.function(first, second, np.maximum(first, second))
        unrelated = metric.function(first, second, noise(SIDE, 60, 8))
        assert fused > unrelated if metric.higher_is_better else fused < unrelated

    def test_floats_score_as_bytes_and_stay_untouched(self, metric: Metric) -> None:
        images = scene(SIDE, SIDE, 1), scene(SIDE, SIDE, 2), scene(SIDE, SIDE, 3)
        first, second, fused = (image.astype(np.float32) for image in images)
        assert metric.function(first, second, fused) == metric.function(*images)
        doubles = tuple(image.astype(np.float64) for image in images)
        metric.function(doubles[0], doubles[1], doubles[2])
        for double, image in zip(doubles, images, strict=True):
            assert (double == image).all()

    @pytest.mark.parametrize("where", [0, 1, 2])
    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            (np.zeros((SIDE, SIDE, 3), np.uint8), "to_grey8"),
            (np.zeros((0, SIDE), np.uint8), "empty"),
            (np.full((SIDE, SIDE), np.nan), "NaN"),
            (np.full((SIDE, SIDE), -1), "0..255"),
            (np.full((SIDE, SIDE), 256.0), "0..255"),
            (np.full((SIDE, SIDE), 0.5), "whole numbers"),
            (np.zeros((SIDE, SIDE), np.complex128), "complex"),
            (np.zeros((SIDE, SIDE + 1), np.uint8), "differ in shape"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_refuses_what_is_not_a_grey_image(
        self, metric: Metric, where: int, bad: Grey8, message: str
    ) -> None:
        images = [np.zeros((SIDE, SIDE), np.uint8)] * 3
        images[where] = bad
        with pytest.raises(ValueError, match=rf"^{metric.name}.*{message}"):
            metric.function(*images)
