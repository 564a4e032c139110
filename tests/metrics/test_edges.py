from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from scipy import ndimage
from scipy.signal import convolve2d
from scipy.special import expit

from fnetcli.metrics.edges import edge_preservation, edge_preservation_as_defined
from tests.metrics.images import Grey8, Triple, scene, triples

Double = NDArray[np.float64]

KERNEL_X = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
KERNEL_Y = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]])


def slow_edges(image: Grey8) -> list[tuple[float, float]]:
    along_x = convolve2d(image.astype(float), KERNEL_X, mode="same").ravel().tolist()
    along_y = convolve2d(image.astype(float), KERNEL_Y, mode="same").ravel().tolist()
    return [
        (math.sqrt(x * x + y * y), math.atan(y / x) if x else math.pi / 2)
        for x, y in zip(along_x, along_y, strict=True)
    ]


def slow_kept(edge: tuple[float, float], fused: tuple[float, float], *, paper: bool) -> float:
    (g, a), (g_fused, a_fused) = edge, fused
    of_equals = g if paper else 1
    ratio = of_equals if g == g_fused else min(g, g_fused) / max(g, g_fused)
    alignment = 1 - abs(a - a_fused) / (math.pi / 2)
    return (0.9994 / (1 + math.exp(-15 * (ratio - 0.5)))) * (
        0.9879 / (1 + math.exp(-22 * (alignment - 0.8)))
    )


def slow_preservation(first: Grey8, second: Grey8, fused: Grey8, *, paper: bool) -> float:
    kept = total = 0.0
    for source in (first, second):
        for edge, fused_edge in zip(slow_edges(source), slow_edges(fused), strict=True):
            kept += slow_kept(edge, fused_edge, paper=paper) * edge[0]
            total += edge[0]
    return kept / total if total else 1.0


@settings(deadline=None, max_examples=60)
@given(triples(1, 14))
def test_agrees_with_the_slow_statement(images: Triple) -> None:
    expected = slow_preservation(*images, paper=True)
    assert edge_preservation(*images) == pytest.approx(expected, rel=1e-9)
    expected = slow_preservation(*images, paper=False)
    assert edge_preservation_as_defined(*images) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shape", [(60, 270), (97, 33)])
def test_agrees_with_sobel_of_scipy(shape: tuple[int, int]) -> None:
    first, second = (scene(*shape, seed).astype(float) for seed in (1, 2))
    fused = np.maximum(first, second)

    def edges(image: Double) -> tuple[Double, Double]:
        x, y = (ndimage.sobel(image, axis, mode="constant") for axis in (1, 0))
        with np.errstate(all="ignore"):
            # Where there is no x, the angle is that of a positive y.
            return np.sqrt(x * x + y * y), np.where(x == 0, np.pi / 2, np.arctan(-y / x))

    g_fused, a_fused = edges(fused)
    for metric, equal in ((edge_preservation, g_fused), (edge_preservation_as_defined, 1)):
        kept = total = 0.0
        for g, a in map(edges, (first, second)):
            with np.errstate(all="ignore"):
                ratio = np.where(g == g_fused, equal, np.fmin(g / g_fused, g_fused / g))
            strength = 0.9994 * expit(15 * (ratio - 0.5))
            orientation = 0.9879 * expit(22 * (0.2 - abs(a - a_fused) / (np.pi / 2)))
            kept += float(np.sum(g * strength * orientation))
            total += float(np.sum(g))
        assert metric(first, second, fused) == pytest.approx(kept / total, rel=1e-9)


def test_by_hand() -> None:
    # Outside is black, so that the strength of a pixel is twice its neighbour: here 0 and 2, 0 and
    # 4, and in the fused image 0 and 2, all upright. One edge is kept, the other half as strong.
    first, second = np.array([[1, 0]], np.uint8), np.array([[2, 0]], np.uint8)
    oriented = 0.9879 / (1 + math.exp(-22 * (1 - 0.8)))
    half, one, two = (0.9994 / (1 + math.exp(-15 * (g - 0.5))) * oriented for g in (0.5, 1, 2))
    assert half == pytest.approx(0.9994 / 2 * oriented)
    value = edge_preservation_as_defined(first, second, first)
    assert value == pytest.approx((one * 2 + half * 4) / (2 + 4))
    value = edge_preservation(first, second, first)  # the strength, 2, for the ratio 2 / 2
    assert value == pytest.approx((two * 2 + half * 4) / (2 + 4))


@settings(deadline=None, max_examples=60)
@given(triples(1, 14))
def test_conventions_differ_by_less_than_a_thousandth(images: Triple) -> None:
    # No strength of whole numbers lies between 0 and 1, and the sigmoid is nearly flat above 1.
    more = edge_preservation(*images) - edge_preservation_as_defined(*images)
    assert -1e-12 <= more < 6e-4


def test_without_edges_nothing_is_lost() -> None:
    black, image = np.zeros((9, 9), np.uint8), np.eye(9, dtype=np.uint8)
    assert edge_preservation(black, black, image) == 1
    assert edge_preservation(image, image, black) < 0.01


def test_losing_an_edge_costs_its_share() -> None:
    # Two steps of equal strength, far from the border on black; the fused image has only one.
    first, second = np.zeros((12, 24), np.uint8), np.zeros((12, 24), np.uint8)
    first[4:8, 4:8] = second[4:8, 16:20] = 200
    both = edge_preservation(first, second, np.maximum(first, second))
    one = edge_preservation(first, second, first)
    assert both == pytest.approx(0.975, abs=1e-3)
    assert one == pytest.approx(both / 2, abs=1e-3)
