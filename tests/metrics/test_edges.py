from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.signal import convolve2d

from fnetcli.metrics.edges import edge_preservation
from tests.metrics.images import Grey8, Triple, triples

KERNEL_X = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
KERNEL_Y = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]])


def slow_edges(image: Grey8) -> list[tuple[float, float]]:
    along_x = convolve2d(image.astype(float), KERNEL_X, mode="same").ravel().tolist()
    along_y = convolve2d(image.astype(float), KERNEL_Y, mode="same").ravel().tolist()
    return [
        (math.sqrt(x * x + y * y), math.atan(y / x) if x else math.pi / 2)
        for x, y in zip(along_x, along_y, strict=True)
    ]


def slow_kept(edge: tuple[float, float], fused: tuple[float, float]) -> float:
    (g, a), (g_fused, a_fused) = edge, fused
    ratio = g if g == g_fused else min(g, g_fused) / max(g, g_fused)
    alignment = 1 - abs(a - a_fused) / (math.pi / 2)
    return (0.9994 / (1 + math.exp(-15 * (ratio - 0.5)))) * (
        0.9879 / (1 + math.exp(-22 * (alignment - 0.8)))
    )


def slow_preservation(first: Grey8, second: Grey8, fused: Grey8) -> float:
    kept = total = 0.0
    for source in (first, second):
        for edge, fused_edge in zip(slow_edges(source), slow_edges(fused), strict=True):
            kept += slow_kept(edge, fused_edge) * edge[0]
            total += edge[0]
    return kept / total if total else 1.0


@settings(deadline=None, max_examples=60)
@given(triples(1, 14))
def test_agrees_with_the_slow_statement(images: Triple) -> None:
    assert edge_preservation(*images) == pytest.approx(slow_preservation(*images), rel=1e-9)


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
