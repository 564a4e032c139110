from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from scipy.signal import convolve2d
from skimage.metrics import structural_similarity as skimage_similarity
from skimage.transform import downscale_local_mean

from fnetcli.metrics.structure import (
    multiscale_similarity,
    structural_similarity,
    structural_similarity_of_full_range,
)
from tests.metrics.images import Grey8, Triple, noise, scene, triples

Double = NDArray[np.float64]
Maker = Callable[[int, int, int], Grey8]
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def sum_of_scikit_image(first: Grey8, second: Grey8, fused: Grey8, data_range: float) -> float:
    one, two, result = (image.astype(np.float64) for image in (first, second, fused))
    values = [skimage_similarity(result, i, win_size=7, data_range=data_range) for i in (one, two)]
    return float(sum(values))


@settings(deadline=None, max_examples=40)
@given(triples(7, 30))
def test_agrees_with_scikit_image(images: Triple) -> None:
    # Cancellation in scikit-image's running means limits the agreement where an image is flat.
    expected = sum_of_scikit_image(*images, data_range=2)
    assert structural_similarity(*images) == pytest.approx(expected, abs=1e-8)
    expected = sum_of_scikit_image(*images, data_range=255)
    assert structural_similarity_of_full_range(*images) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("make", [noise, scene])
@pytest.mark.parametrize("shape", [(54, 262), (55, 263), (300, 22)])
def test_agrees_with_scikit_image_where_strips_end(make: Maker, shape: tuple[int, int]) -> None:
    images = make(*shape, 1), make(*shape, 2), make(*shape, 3)
    expected = sum_of_scikit_image(*images, data_range=2)
    assert structural_similarity(*images) == pytest.approx(expected, abs=1e-8)
    expected = sum_of_scikit_image(*images, data_range=255)
    assert structural_similarity_of_full_range(*images) == pytest.approx(expected, abs=1e-8)


def test_constant_images_by_hand() -> None:
    # The structure is perfect; brightness is (2 * 100 * 50 + c) / (100^2 + 50^2 + c).
    bright, dark = np.full((7, 7), 100, np.uint8), np.full((7, 7), 50, np.uint8)
    expected = 2 * (10_000 + 0.02**2) / (12_500 + 0.02**2)
    assert structural_similarity(bright, bright, dark) == pytest.approx(expected)
    expected = 2 * (10_000 + 2.55**2) / (12_500 + 2.55**2)
    assert structural_similarity_of_full_range(bright, bright, dark) == pytest.approx(expected)


def test_one_window_by_hand() -> None:
    # One bright pixel of 49: mean 1, sample variance (48^2 + 48) / 48 = 49. Beside another one the
    # covariance is (2 * -48 + 47) / 48 = -49 / 48.
    first, fused = np.zeros((7, 7), np.uint8), np.zeros((7, 7), np.uint8)
    first[3, 3] = fused[2, 2] = 49
    for metric, full in ((structural_similarity, 2), (structural_similarity_of_full_range, 255)):
        c2 = (0.03 * full) ** 2
        expected = (2 * -49 / 48 + c2) / (49 + 49 + c2)
        assert metric(first, first, fused) == pytest.approx(2 * expected)


def test_with_the_full_range_smooth_areas_count_as_similar() -> None:
    flat = np.full((40, 40), 100, np.uint8)
    first, fused = flat + noise(40, 40, 1) // 86, flat + noise(40, 40, 2) // 86  # 0, 1 or 2 levels
    assert structural_similarity(first, first, fused) < 0.2
    assert structural_similarity_of_full_range(first, first, fused) > 1.9


def test_inverted_detail_scores_below_zero() -> None:
    image = (scene(30, 30, 1) // 4 + 96).astype(np.uint8)
    assert structural_similarity(image, image, 255 - image) < 0


def test_six_pixels_are_too_few() -> None:
    image = scene(6, 30, 1)
    with pytest.raises(ValueError, match="SSIM: images are 30x6 pixels; it needs at least 7x7"):
        structural_similarity(image, image, image)


def slow_similarity(source: Double, fused: Double) -> float:
    """MS-SSIM with two-dimensional windows."""
    y, x = np.mgrid[-5:6, -5:6]
    window = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = 2.55**2, 7.65**2
    similarity = 1.0
    for scale, weight in enumerate(WEIGHTS):
        if scale > 0:
            source, fused = slow_half(source), slow_half(fused)
        mean1, mean2, square1, square2, product = (
            convolve2d(image, window, mode="valid")
            for image in (source, fused, source**2, fused**2, source * fused)
        )
        variances = square1 - mean1**2 + square2 - mean2**2
        local = (2 * (product - mean1 * mean2) + c2) / (variances + c2)
        if scale == 4:
            local *= (2 * mean1 * mean2 + c1) / (mean1**2 + mean2**2 + c1)
        similarity *= max(float(local.mean()), 0) ** weight
    return similarity


def slow_half(image: Double) -> Double:
    """Means of 2x2 pixels everywhere, mirrored beyond the end, and every other one of them."""
    mirrored = np.pad(image, (0, 1), mode="symmetric")
    half: Double = convolve2d(mirrored, np.full((2, 2), 0.25), mode="valid")[::2, ::2]
    return half


@pytest.mark.parametrize("make", [noise, scene])
@pytest.mark.parametrize("shape", [(161, 161), (176, 192), (163, 290)])
def test_multiscale_agrees_with_the_slow_statement(make: Maker, shape: tuple[int, int]) -> None:
    first, second = make(*shape, 1), make(*shape, 2)
    fused = np.maximum(first, second)
    expected = sum(slow_similarity(i.astype(float), fused.astype(float)) for i in (first, second))
    assert multiscale_similarity(first, second, fused) == pytest.approx(expected, rel=1e-9)


def test_multiscale_agrees_with_scikit_image_scale_by_scale() -> None:
    source, fused = scene(176, 192, 1), np.maximum(scene(176, 192, 1), scene(176, 192, 2))
    one, two, expected = source.astype(float), fused.astype(float), 2.0
    for scale, weight in enumerate(WEIGHTS):
        # A large K1 makes any two brightnesses equal: structure alone, but for the coarsest scale.
        expected *= (
            skimage_similarity(
                one,
                two,
                K1=0.01 if scale == 4 else 1e9,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                data_range=255,
            )
            ** weight
        )
        one, two = (downscale_local_mean(image, (2, 2)) for image in (one, two))
    assert multiscale_similarity(source, source, fused) == pytest.approx(expected, rel=1e-6)


def test_multiscale_of_constant_images_by_hand() -> None:
    # Brightness counts at the coarsest scale only, with its weight.
    bright, dark = np.full((161, 161), 100, np.uint8), np.full((161, 161), 50, np.uint8)
    expected = 2 * ((10_000 + 2.55**2) / (12_500 + 2.55**2)) ** 0.1333
    assert multiscale_similarity(bright, bright, dark) == pytest.approx(expected)


def test_multiscale_forgives_noise_more_than_one_scale_does() -> None:
    image = scene(180, 170, 1) // 2
    noisy = image + noise(180, 170, 2) // 4
    one_scale = structural_similarity_of_full_range(image, image, noisy)
    assert multiscale_similarity(image, image, noisy) > 1.5 * one_scale


def test_multiscale_of_inverted_structure_is_nothing() -> None:
    image = noise(161, 161, 1)
    assert multiscale_similarity(image, image, 255 - image) == 0


def test_for_five_scales_160_pixels_are_too_few() -> None:
    image = scene(160, 200, 1)
    with pytest.raises(ValueError, match=r"MS-SSIM: images are 200x160 .* at least 161x161"):
        multiscale_similarity(image, image, image)
