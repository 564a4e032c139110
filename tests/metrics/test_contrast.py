from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import convolve2d

from fnetcli.metrics.contrast import contrast_preservation
from tests.metrics.images import Grey8, noise, scene


def slow_contrast(image: Grey8) -> NDArray[np.float64]:
    """Masked contrast with a centred spectrum and two-dimensional windows."""
    low, high = int(image.min()), int(image.max())
    stretched = np.floor((image.astype(float) - low) / (high - low) * 255 + 0.5)
    height, width = image.shape
    # Centred frequencies in units of Nyquist; for odd sizes they are symmetric about zero.
    fy = (np.arange(height) - height // 2) * 2 / height
    fx = (np.arange(width) - width // 2) * 2 / width
    u, v = np.meshgrid(width / 30 * fx, height / 30 * fy)
    r = np.hypot(u, v)
    sensitivity = np.exp(-((r / 15.3870) ** 2)) - 0.7622 * np.exp(-((r / 1.3456) ** 2))
    spectrum = np.fft.fftshift(np.fft.fft2(stretched)) * sensitivity
    perceived = np.fft.ifft2(np.fft.ifftshift(spectrum))
    assert np.abs(perceived.imag).max() < 1e-9
    y, x = np.mgrid[-15:16, -15:16]
    inner, outer = (
        convolve2d(
            perceived.real,
            np.exp(-(x**2 + y**2) / (2 * sigma**2)) / (2 * math.pi * sigma**2),
            mode="same",
        )
        for sigma in (2, 4)
    )
    contrast: NDArray[np.float64] = np.abs(inner / outer - 1)
    return contrast**3 / (contrast**2 + 0.0001)


def slow_preservation(first: Grey8, second: Grey8, fused: Grey8) -> float:
    one, two, result = slow_contrast(first), slow_contrast(second), slow_contrast(fused)
    kept_one = np.minimum(one, result) / np.maximum(one, result)
    kept_two = np.minimum(two, result) / np.maximum(two, result)
    share = one**2 / (one**2 + two**2)
    return float(np.mean(share * kept_one + (1 - share) * kept_two))


@pytest.mark.parametrize(("height", "width"), [(16, 20), (17, 20), (33, 40), (35, 31)])
def test_agrees_with_the_slow_statement(height: int, width: int) -> None:
    first, second = scene(height, width, 1), noise(height, width, 2)
    fused = np.maximum(first, second)
    expected = slow_preservation(first, second, fused)
    assert contrast_preservation(first, second, fused) == pytest.approx(expected, rel=1e-8)


def test_each_image_is_stretched_by_itself() -> None:
    first, second, fused = (scene(32, 32, seed) // 2 for seed in (1, 2, 3))
    value = contrast_preservation(first, second, fused)
    assert contrast_preservation(first + 100, second, fused + 20) == value


def test_constant_images() -> None:
    image, flat = scene(32, 32, 1), np.full((32, 32), 200, np.uint8)
    assert contrast_preservation(flat, flat, image) == 1  # nothing to lose
    assert contrast_preservation(image, image, flat) == 0  # all is lost
    assert contrast_preservation(image, flat, image) == pytest.approx(1)  # the other has no weight
