"""What every metric keeps: one row for each, one class for all."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fnetcli.metrics import METRICS, PAPER, Metric, Picture, metrics, score
from tests.metrics.images import Grey8, Triple, noise, scene, triples


@dataclass(frozen=True)
class Row:
    """What the tests expect of one metric."""

    low: float
    high: float
    smallest: int = 1  # side of the smallest image
    constant: float = 0  # where all three images are grey 100
    perfect: float | None = None  # where all three images are one textured image
    judges_sources: bool = True  # or only the fused image


ROWS = {
    "MI": Row(0, 2 * math.log(256)),
    "CE": Row(0, 23.26, perfect=0),
    "VIF": Row(0, math.inf, smallest=41, constant=2, perfect=2),
    "Qabf": Row(0, 1, constant=0.975, perfect=0.975),
    "Qcb": Row(0, 1, constant=1, perfect=1),
    "SSIM": Row(-2, 2, smallest=7, constant=2, perfect=2),
    "EN": Row(0, 8, judges_sources=False),
    "SD": Row(0, 127.5, judges_sources=False),
    "SF": Row(0, 361, judges_sources=False),
    "AG": Row(0, 255, judges_sources=False),
    "SCD": Row(-2, 2, perfect=0),
    "CC": Row(-1, 1, perfect=1),
    "MSE": Row(0, 65025, perfect=0),
    # At 44x44 and 44x60: the least error is half of one pixel's share.
    "PSNR": Row(0, math.inf, constant=84.01, perfect=85.36),
    "MS-SSIM": Row(0, 2, smallest=161, constant=2, perfect=2),
}
STANDARD_ROWS = ROWS | {"CE": Row(-0.54, math.inf, perfect=0)}
DIFFERENT = [metric for metric in metrics("standard") if metric not in METRICS]
ALL = [
    *((metric, ROWS[metric.name]) for metric in METRICS),
    *((metric, STANDARD_ROWS[metric.name]) for metric in DIFFERENT),
]
JUDGES = [(metric, row) for metric, row in ALL if row.judges_sources]
SIDE = 44


def _name(value: Metric | Row) -> str:
    if isinstance(value, Row):
        return ""
    return f"{value.name}-standard" if value in DIFFERENT else value.name


def _side(row: Row) -> int:
    return max(SIDE, row.smallest)


def test_every_metric_has_a_row() -> None:
    assert [metric.name for metric in METRICS] == list(ROWS)


def test_score_holds_the_six_of_the_paper_in_order() -> None:
    images = scene(SIDE, SIDE, 1), scene(SIDE, SIDE, 2), scene(SIDE, SIDE, 3)
    expected = {metric.name: metric.function(*images) for metric in PAPER}
    scores = score(*images)
    assert scores == expected
    assert list(scores) == ["MI", "CE", "VIF", "Qabf", "Qcb", "SSIM"]


def test_score_takes_any_metrics_of_one_convention() -> None:
    images = scene(161, 170, 1), scene(161, 170, 2), scene(161, 170, 3)
    paper, standard = score(*images, METRICS), score(*images, metrics("standard"))
    assert list(paper) == list(standard) == list(ROWS)
    assert {name for name in paper if paper[name] != standard[name]} == {"CE", "Qabf", "SSIM"}


def test_conventions_differ_in_three_metrics() -> None:
    assert metrics() == metrics("paper") == METRICS
    assert [metric.name for metric in metrics("standard")] == list(ROWS)
    assert [metric.name for metric in DIFFERENT] == ["CE", "Qabf", "SSIM"]
    with pytest.raises(ValueError, match="convention is 'papers'; give 'paper' or 'standard'"):
        metrics("papers")  # type: ignore[arg-type]


def test_score_refuses_what_does_not_fit_together() -> None:
    image = scene(SIDE, SIDE, 1)
    with pytest.raises(ValueError, match=r"score: images differ in shape \(first \(44, 44\)"):
        score(image, image, image[1:])


@pytest.mark.parametrize(("metric", "row"), ALL, ids=_name)
class TestMetric:
    def test_tells_its_values_and_source(self, metric: Metric, row: Row) -> None:
        assert (metric.low, metric.smallest) == (row.low, row.smallest)
        assert metric.high == pytest.approx(row.high)
        assert metric.source
        assert metric.name in (metric.function.__doc__ or "")

    @settings(deadline=None, max_examples=25)
    @given(data=st.data())
    def test_is_finite_bounded_and_symmetric(
        self, metric: Metric, row: Row, data: st.DataObject
    ) -> None:
        side = _side(row)
        first, second, fused = data.draw(triples(side, side + 8))
        value = metric.function(first, second, fused)
        assert isinstance(value, float)
        assert row.low <= value <= row.high + 1e-9
        assert value < math.inf
        assert metric.function(second, first, fused) == value

    @settings(deadline=None, max_examples=25)
    @given(images=triples(1, 9))
    def test_tiny_images_have_a_value_or_are_refused(
        self, metric: Metric, row: Row, images: Triple
    ) -> None:
        smallest = row.smallest
        if min(images[0].shape) < smallest:
            with pytest.raises(ValueError, match=rf"{metric.name}: .* at least {smallest}x"):
                metric.function(*images)
        else:
            assert math.isfinite(metric.function(*images))

    def test_smallest_image_has_a_value(self, metric: Metric, row: Row) -> None:
        side = row.smallest
        value = metric.function(noise(side, side, 1), noise(side, side, 2), noise(side, side, 3))
        assert math.isfinite(value)

    @settings(deadline=None, max_examples=15)
    @given(levels=st.tuples(*[st.integers(0, 255)] * 3))
    def test_constant_images_have_a_value(
        self, metric: Metric, row: Row, levels: tuple[int, int, int]
    ) -> None:
        first, second, fused = (np.full((_side(row), 170), level, np.uint8) for level in levels)
        value = metric.function(first, second, fused)
        assert row.low <= value <= row.high + 1e-9

    def test_constant_images_have_the_documented_value(self, metric: Metric, row: Row) -> None:
        expected = row.constant
        flat = np.full((_side(row), _side(row)), 100, np.uint8)
        assert metric.function(flat, flat, flat) == pytest.approx(expected, rel=1e-3, abs=1e-12)

    def test_floats_score_as_bytes_and_stay_untouched(self, metric: Metric, row: Row) -> None:
        side = _side(row)
        images = scene(side, side, 1), scene(side, side, 2), scene(side, side, 3)
        first, second, fused = (image.astype(np.float32) for image in images)
        assert metric.function(first, second, fused) == metric.function(*images)
        doubles = tuple(image.astype(np.float64) for image in images)
        metric.function(doubles[0], doubles[1], doubles[2])
        for double, image in zip(doubles, images, strict=True):
            assert (double == image).all()

    def test_pictures_score_as_arrays(self, metric: Metric, row: Row) -> None:
        side = _side(row)
        images = scene(side, side, 1), scene(side, side, 2), scene(side, side, 3)
        pictures = tuple(Picture(image) for image in images)
        expected = metric.function(*images)
        for _ in range(2):  # the second time with what the first has kept
            assert metric.function(pictures[0], pictures[1], pictures[2]) == expected


@pytest.mark.parametrize(("metric", "row"), JUDGES, ids=_name)
class TestMetricThatJudgesBySources:
    def test_equal_images_are_best(self, metric: Metric, row: Row) -> None:
        width = max(60, row.smallest)
        image, other = scene(_side(row), width, 4), scene(_side(row), width, 5)
        best = metric.function(image, image, image)
        worse = metric.function(image, image, other)
        assert best > worse if metric.higher_is_better else best < worse
        expected = row.perfect
        if expected is not None:
            assert best == pytest.approx(expected, rel=1e-3, abs=1e-9)

    def test_fusing_beats_an_unrelated_image(self, metric: Metric, row: Row) -> None:
        width = max(60, row.smallest)
        first, second = scene(_side(row), width, 6), scene(_side(row), width, 7)
        fused = metric.function(first, second, np.maximum(first, second))
        unrelated = metric.function(first, second, noise(_side(row), width, 8))
        assert fused > unrelated if metric.higher_is_better else fused < unrelated


@pytest.mark.parametrize("metric", METRICS, ids=_name)
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
def test_every_metric_refuses_what_is_not_a_grey_image(
    metric: Metric, where: int, bad: Grey8, message: str
) -> None:
    images = [np.zeros((SIDE, SIDE), np.uint8)] * 3
    images[where] = bad
    with pytest.raises(ValueError, match=rf"^{metric.name}.*{message}"):
        metric.function(*images)
