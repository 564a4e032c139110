"""Structural similarity of the fused image to both sources, at one scale and at five."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fnetcli.metrics.base import Grey, Image, Picture, check_images
from fnetcli.metrics.filters import by_strips, filter_valid, gaussian

K1, K2 = 0.01, 0.03
WINDOW = 7
# A mistake that all published tables share: old scikit-image assumed that float images range from
# -1 to 1, although these go up to 255. With 255 the two constants are far larger.
PAPER_RANGE, FULL_RANGE = 2.0, 255.0

SCALE_WINDOW, SCALE_SIGMA = 11, 1.5
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest first
SMALLEST = 161  # so that the window fits into the fifth scale


@dataclass(frozen=True)
class _Moments:
    """An image with its local (mean, variance), window by window."""

    pixels: Grey  # (H, W)
    local: Grey  # (2, H - window + 1, W - window + 1)


def structural_similarity(first: Image, second: Image, fused: Image) -> float:
    """Return SSIM(fused, first) + SSIM(fused, second), -2 to 2; higher is better.

    (H, W), whole numbers 0..255, at least 7x7. Uniform 7x7 window, sample covariance, data range 2,
    the mean over all windows that fit. Wang, Bovik, Sheikh and Simoncelli 2004.
    """
    return _sum_similarity(first, second, fused, PAPER_RANGE)


def structural_similarity_of_full_range(first: Image, second: Image, fused: Image) -> float:
    """Return SSIM with data range 255, -2 to 2; higher is better.

    The convention "standard"; otherwise like `structural_similarity`.
    """
    return _sum_similarity(first, second, fused, FULL_RANGE)


def multiscale_similarity(first: Image, second: Image, fused: Image) -> float:
    """Return MS-SSIM(fused, first) + MS-SSIM(fused, second), 0 to 2; higher is better.

    (H, W), whole numbers 0..255, at least 161x161. Five scales, each the mean of 2x2 pixels of the
    one before (an odd last row or column counts twice), Gaussian 11x11 window of
    sigma 1.5, data range 255. A scale whose mean structure is inverted counts as 0. Wang,
    Simoncelli and Bovik 2003.
    """
    one, two, result = check_images("MS-SSIM", first, second, fused, SMALLEST)
    scales = result.derive(_pyramid)
    return _multiscale(one, scales) + _multiscale(two, scales)


def _sum_similarity(first: Image, second: Image, fused: Image, data_range: float) -> float:
    one, two, result = check_images("SSIM", first, second, fused, WINDOW)
    moments = result.derive(_moments)
    return _similarity(one, moments, data_range) + _similarity(two, moments, data_range)


def _similarity(source: Picture, fused: _Moments, data_range: float) -> float:
    known = source.derive(_moments)

    def similarity(source: Grey, fused: Grey, one: Grey, two: Grey) -> Grey:
        products, count = _window_sum(source * fused), WINDOW**2
        covariance = _sample_covariance(products, one[0] * count, two[0] * count)
        structure = _structure(one, two, covariance, data_range)
        return structure * _brightness(one, two, data_range)

    images = (known.pixels, fused.pixels, known.local, fused.local)
    return float(np.mean(by_strips(similarity, *images, margin=WINDOW - 1)))


def _moments(image: Grey) -> _Moments:
    def moments(image: Grey) -> Grey:
        total = _window_sum(image)
        variance = _sample_covariance(_window_sum(image**2), total, total)
        return np.stack([total / WINDOW**2, variance])

    return _Moments(image, by_strips(moments, image, margin=WINDOW - 1))


def _window_sum(image: Grey) -> Grey:
    return filter_valid(image, np.ones(WINDOW), np.ones(WINDOW))


def _sample_covariance(sum_product: Grey, sum_one: Grey, sum_two: Grey) -> Grey:
    """Return the sample covariance; pixels are whole numbers, so the difference is exact."""
    count = WINDOW**2
    return (count * sum_product - sum_one * sum_two) / (count * (count - 1))


def _brightness(one: Grey, two: Grey, data_range: float) -> Grey:
    c1 = (K1 * data_range) ** 2
    brightness: Grey = (2 * one[0] * two[0] + c1) / (one[0] ** 2 + two[0] ** 2 + c1)
    return brightness


def _structure(one: Grey, two: Grey, covariance: Grey, data_range: float) -> Grey:
    c2 = (K2 * data_range) ** 2
    structure: Grey = (2 * covariance + c2) / (one[1] + two[1] + c2)
    return structure


def _multiscale(source: Picture, fused: list[_Moments]) -> float:
    scales = list(zip(source.derive(_pyramid), fused, strict=True))
    similarity = 1.0
    for (one, two), weight in zip(scales, SCALE_WEIGHTS, strict=True):
        images = (one.pixels, two.pixels, one.local, two.local)
        local = by_strips(_scale_structure, *images, margin=SCALE_WINDOW - 1)
        if one is scales[-1][0]:  # brightness counts at the coarsest scale only
            local *= _brightness(one.local, two.local, FULL_RANGE)
        similarity *= max(float(np.mean(local)), 0.0) ** weight
    return similarity


def _scale_structure(source: Grey, fused: Grey, one: Grey, two: Grey) -> Grey:
    covariance = _weighted_mean(source * fused) - one[0] * two[0]
    return _structure(one, two, covariance, FULL_RANGE)


def _pyramid(image: Grey) -> list[_Moments]:
    """Return the moments at five scales, finest first."""
    scales = []
    for scale in range(len(SCALE_WEIGHTS)):
        if scale > 0:
            image = _halve(image)
        local = by_strips(_weighted_moments, image, margin=SCALE_WINDOW - 1)
        scales.append(_Moments(image, local))
    return scales


def _weighted_moments(image: Grey) -> Grey:
    mean = _weighted_mean(image)
    return np.stack([mean, _weighted_mean(image**2) - mean**2])


def _weighted_mean(image: Grey) -> Grey:
    window = gaussian(SCALE_WINDOW, SCALE_SIGMA)
    window /= window.sum()
    return filter_valid(image, window, window)


def _halve(image: Grey) -> Grey:
    """Return the means of 2x2 pixels, ((H + 1) // 2, (W + 1) // 2)."""
    even = np.pad(image, [(0, side % 2) for side in image.shape], mode="edge")
    halved: Grey = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
    return halved
