from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import convolve2d

from fnetcli.metrics.fidelity import visual_information_fidelity
from tests.metrics.images import Grey8, noise, scene


def slow_fidelity(source: NDArray[np.float64], fused: NDArray[np.float64]) -> float:
    """VIF as the published programs write it: two-dimensional windows, one rule after another."""
    eps, seen, available = 1e-10, 0.0, 0.0
    for scale in range(1, 5):
        size = 2 ** (5 - scale) + 1
        y, x = np.mgrid[:size, :size] - size // 2
        window = np.exp(-(x**2 + y**2) / (2 * (size / 5) ** 2))
        window /= window.sum()
        if scale > 1:
            source = convolve2d(source, window, mode="valid")[::2, ::2]
            fused = convolve2d(fused, window, mode="valid")[::2, ::2]
        mean1, mean2 = (convolve2d(image, window, mode="valid") for image in (source, fused))
        variance1 = np.maximum(convolve2d(source**2, window, mode="valid") - mean1**2, 0)
        variance2 = np.maximum(convolve2d(fused**2, window, mode="valid") - mean2**2, 0)
        covariance = convolve2d(source * fused, window, mode="valid") - mean1 * mean2
        gain = covariance / (variance1 + eps)
        rest = variance2 - gain * covariance
        gain[variance1 < eps] = 0
        rest[variance1 < eps] = variance2[variance1 < eps]
        variance1[variance1 < eps] = 0
        gain[variance2 < eps] = 0
        rest[variance2 < eps] = 0
        rest[gain < 0] = variance2[gain < 0]
        gain[gain < 0] = 0
        rest[rest <= eps] = eps
        seen += np.log10(1 + gain**2 * variance1 / (rest + 2)).sum()
        available += np.log10(1 + variance1 / 2).sum()
    return seen / available


@pytest.mark.parametrize("image", [noise, scene])
@pytest.mark.parametrize(("height", "width"), [(41, 41), (48, 57), (61, 44)])
def test_agrees_with_the_slow_statement(
    height: int, width: int, image: Callable[[int, int, int], Grey8]
) -> None:
    first, second = image(height, width, 1), image(height, width, 2)
    fused = np.maximum(first, second)
    expected = sum(slow_fidelity(i.astype(float), fused.astype(float)) for i in (first, second))
    assert visual_information_fidelity(first, second, fused) == pytest.approx(expected, rel=1e-8)


def test_brightness_does_not_count() -> None:
    first, second, fused = (scene(50, 50, seed) // 2 for seed in (1, 2, 3))
    value = visual_information_fidelity(first, second, fused)
    assert visual_information_fidelity(first + 90, second, fused + 20) == pytest.approx(value)


def test_more_contrast_scores_above_two_and_inverted_contrast_nothing() -> None:
    image = scene(50, 50, 1) // 3
    assert visual_information_fidelity(image, image, image * 2) > 2
    assert visual_information_fidelity(image, image, 255 - image) < 1e-6


def test_a_constant_source_counts_as_one() -> None:
    image, flat = scene(50, 50, 1), np.full((50, 50), 77, np.uint8)
    assert visual_information_fidelity(image, flat, image) == pytest.approx(2)
    assert visual_information_fidelity(flat, flat, image) == 2
    assert visual_information_fidelity(image, image, flat) == 0


def test_forty_pixels_are_too_few() -> None:
    image = scene(40, 80, 1)
    with pytest.raises(ValueError, match=r"VIF: images are 80x40 pixels; it needs at least 41x41"):
        visual_information_fidelity(image, image, image)
