"""Baselines: the laws they keep, numbers by hand, and scores that other programs computed."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import imageio.v3 as iio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from fnetcli import baselines
from fnetcli.baselines import BASELINES, Baseline, average, laplacian, maximum
from fnetcli.metrics import PAPER, metrics, score, to_grey8
from tests.metrics.images import KINDS, Grey8, noise, scene
from tests.metrics.test_reference import PAIRS, REFERENCE, TOLERANCE

PUBLISHED = {"average": "floor_mean", "maximum": "maximum"}


def grey(*rows: list[int]) -> Grey8:
    return np.array(rows, np.uint8)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Grey8, Grey8]:
    shape = draw(st.integers(1, 40)), draw(st.integers(1, 37))
    first, second = (draw(st.sampled_from(KINDS))(*shape, draw(st.integers(0, 99))) for _ in "12")
    return first, second


def test_names_are_unique_and_described() -> None:
    assert [baseline.name for baseline in BASELINES] == ["average", "maximum", "laplacian"]
    assert all(baseline.description for baseline in BASELINES)


@pytest.mark.parametrize("baseline", BASELINES, ids=lambda baseline: baseline.name)
class TestLaws:
    def test_equal_sources_give_themselves_at_any_size(self, baseline: Baseline) -> None:
        for height in range(1, 41):
            for width in range(1, 38):
                image = noise(height, width, height * width)
                np.testing.assert_array_equal(baseline.rule(image, image), image)

    @given(pairs())
    def test_order_does_not_matter_and_sources_stay_as_they_are(
        self, baseline: Baseline, pair: tuple[Grey8, Grey8]
    ) -> None:
        first, second = pair
        before = first.copy(), second.copy()
        fused = baseline.rule(first, second)
        assert fused.dtype == np.uint8
        assert fused.shape == first.shape
        assert not np.shares_memory(fused, first)
        np.testing.assert_array_equal(baseline.rule(second, first), fused)
        np.testing.assert_array_equal((first, second), before)

    def test_constant_sources(self, baseline: Baseline) -> None:
        dark, bright = (np.full((19, 34), level, np.uint8) for level in (0, 255))
        expected = {"average": 127, "maximum": 255, "laplacian": 128}[baseline.name]
        assert (baseline.rule(dark, bright) == expected).all()

    def test_takes_views_of_any_layout(self, baseline: Baseline) -> None:
        first, second = noise(30, 41, 1), noise(30, 41, 2)
        expected = baseline.rule(first.copy(), second[::-1, ::2].repeat(2, 1)[:, :41].copy())
        view = np.asfortranarray(second[::-1, ::2].repeat(2, 1))[:, :41]
        np.testing.assert_array_equal(baseline.rule(first, view), expected)


class TestPointwise:
    def test_numbers_by_hand(self) -> None:
        first, second = grey([0, 1, 254], [255, 7, 200]), grey([0, 2, 255], [255, 8, 100])
        np.testing.assert_array_equal(average(first, second), grey([0, 1, 254], [255, 7, 150]))
        np.testing.assert_array_equal(maximum(first, second), grey([0, 2, 255], [255, 8, 200]))

    @given(pairs())
    def test_average_is_never_above_maximum(self, pair: tuple[Grey8, Grey8]) -> None:
        assert (average(*pair) <= maximum(*pair)).all()
        assert (average(*pair) >= np.minimum(*pair)).all()


class TestLaplacian:
    def test_without_levels_it_is_the_mean(self) -> None:
        first, second = grey([0, 10, 255, 4]), grey([0, 20, 253, 7])
        np.testing.assert_array_equal(laplacian(first, second), grey([0, 15, 254, 6]))
        np.testing.assert_array_equal(laplacian(first.T, second.T), grey([0, 15, 254, 6]).T)

    def test_one_level_by_hand(self) -> None:
        """One level of detail: of 2x2 pixels one is left, which stands for all four.

        Mirrored, the kernel weighs both rows alike (1 + 6 + 1 and 4 + 4 of 16), so the coarse
        pixel is the mean of the four. Details are what differs from it.
        """
        first, second = grey([100, 100], [100, 140]), grey([58, 50], [50, 50])
        # means 110 and 52: details -10 -10 -10 30 and 6 -2 -2 -2; the mean of the means is 81
        np.testing.assert_array_equal(laplacian(first, second), grey([71, 71], [71, 111]))

    def test_equally_strong_details_are_averaged(self) -> None:
        first, second = grey([90, 110], [110, 90]), grey([60, 40], [40, 60])
        np.testing.assert_array_equal(laplacian(first, second), grey([75, 75], [75, 75]))

    def test_clips(self) -> None:
        """A dark spot in one source and a bright one in the other: details add up beyond range."""
        first, second = np.full((32, 32), 255, np.uint8), np.full((32, 32), 255, np.uint8)
        second[15:17, 15:17] = 0
        assert laplacian(first, second).max() == 255
        assert laplacian(255 - first, 255 - second).min() == 0

    def test_a_detail_of_either_source_survives(self) -> None:
        first, second = np.full((64, 64), 50, np.uint8), np.full((64, 64), 150, np.uint8)
        first[20:22, 20:22] += 60
        second[40:42, 44:46] -= 60
        fused, mean = (rule(first, second).astype(int) for rule in (laplacian, average))
        assert fused[20, 20] - fused[20, 30] > 55  # of 60; the average keeps 30
        assert fused[40, 50] - fused[40, 44] > 55
        assert mean[20, 20] - mean[20, 30] == 30

    def test_sharp_parts_of_two_photos_become_one(self) -> None:
        """Each source is out of focus in one half: the average keeps half of the blur."""
        whole = scene(96, 128, 3)
        blurred = gaussian_filter(whole, 2)
        left, right = whole.copy(), whole.copy()
        left[:, 64:], right[:, :64] = blurred[:, 64:], blurred[:, :64]

        def error(image: Grey8) -> float:
            return float(np.abs(image.astype(float) - whole).mean())

        assert error(laplacian(left, right)) < 0.5 * error(average(left, right))

    @pytest.mark.parametrize("shape", [(701, 40), (515, 33), (256, 64), (257, 7)])
    def test_bands_do_not_show(
        self, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = noise(*shape, 1), noise(*shape, 2)
        whole = laplacian(first, second)
        monkeypatch.setattr(baselines, "BAND", 1)  # as few rows as there can be
        np.testing.assert_array_equal(laplacian(first, second), whole)

    def test_large_images_take_little_memory(self) -> None:
        first, second = noise(4000, 1024, 1), noise(4000, 1024, 2)
        tracemalloc.start()
        laplacian(first, second)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < first.nbytes + 70 * baselines.BAND  # float copies of all: 36 bytes a pixel


def test_needs_no_torch() -> None:
    program = "import sys, fnetcli.baselines; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.skipif(not REFERENCE, reason="no shared/ folder beside the checkout")
@pytest.mark.parametrize("baseline", BASELINES[:2], ids=lambda baseline: baseline.name)
@pytest.mark.parametrize("name", REFERENCE)
def test_scores_are_those_of_published_programs(name: str, baseline: Baseline) -> None:
    first, second = (to_grey8(iio.imread(PAIRS / side / name)) for side in ("vis", "ir"))
    expected = REFERENCE[name][PUBLISHED[baseline.name]]
    scores = score(first, second, baseline.rule(first, second), PAPER)
    assert scores == pytest.approx({key: expected[key] for key in scores}, rel=TOLERANCE[name[-4:]])


@pytest.mark.skipif(not REFERENCE, reason="no shared/ folder beside the checkout")
@pytest.mark.parametrize("name", REFERENCE)
def test_laplacian_keeps_more_edges_than_the_average(name: str) -> None:
    first, second = (to_grey8(iio.imread(PAIRS / side / name)) for side in ("vis", "ir"))
    qabf = [metric for metric in metrics("standard") if metric.name == "Qabf"]
    kept, averaged = (
        score(first, second, rule(first, second), qabf)["Qabf"] for rule in (laplacian, average)
    )
    assert kept > averaged
