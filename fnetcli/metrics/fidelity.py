"""Visual information fidelity: the share of a source that is still visible in the fused image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from fnetcli.metrics.base import Grey, Image, Picture, check_images
from fnetcli.metrics.filters import by_strips, filter_valid, gaussian

WINDOWS = (17, 9, 5, 3)  # one per scale, finest first: 2^(5 - s) + 1
EYE_NOISE = 2.0  # variance of the noise that the eye itself adds, in grey levels squared
FLAT = 1e-10  # variances below this count as 0
SMALLEST = 41  # so that the window of the fourth scale still fits once
FACTORS = 32  # the product of so many ratios, none above 10,000, fits into a float64


@dataclass(frozen=True)
class _Scale:
    """One image at one scale, with its local (mean, variance)."""

    window: Grey  # N
    pixels: Grey  # (H, W)
    local: Grey  # (2, H - N + 1, W - N + 1)


@dataclass(frozen=True)
class _Scales:
    """One image at four scales, finest first, and the information it offers over all of them."""

    scales: list[_Scale]
    available: float


def visual_information_fidelity(first: Image, second: Image, fused: Image) -> float:
    """Return VIF of (first, fused) plus VIF of (second, fused); higher is better.

    (H, W), whole numbers 0..255, at least 41x41. 2 if all three are equal, more if the fused image
    has more contrast. A constant source has nothing to lose and counts as 1. Pixel domain
    version of Sheikh and Bovik 2006.
    """
    one, two, result = check_images("VIF", first, second, fused, SMALLEST)
    scales = result.derive(_scales).scales
    return _fidelity(one, scales) + _fidelity(two, scales)


def _fidelity(source: Picture, fused: list[_Scale]) -> float:
    offered = source.derive(_scales)
    if offered.available == 0:
        return 1.0
    pairs = zip(offered.scales, fused, strict=True)
    return sum(_seen(*pair) for pair in pairs) / offered.available


def _scales(image: Grey) -> _Scales:
    # Only variances count. Without the mean they lose fewer digits to cancellation, and a
    # constant image is zero exactly.
    image = image - image.mean()
    scales = []
    for scale, size in enumerate(WINDOWS):
        window = gaussian(size, size / 5)
        window /= window.sum()
        if scale > 0:
            image = np.ascontiguousarray(filter_valid(image, window, window)[::2, ::2])
        local = by_strips(partial(_moments, window=window), image, margin=size - 1)
        scales.append(_Scale(window, image, local))
    return _Scales(scales, sum(_sum_log10(1 + scale.local[1] / EYE_NOISE) for scale in scales))


def _moments(image: Grey, window: Grey) -> Grey:
    mean = filter_valid(image, window, window)
    variance = filter_valid(image**2, window, window) - mean**2
    variance[variance < FLAT] = 0
    return np.stack([mean, variance])


def _seen(source: _Scale, fused: _Scale) -> float:
    """Return the information about the source, at one scale, that the fused image preserves."""
    images = (source.pixels, fused.pixels, source.local, fused.local)
    rule = partial(_ratio, window=source.window)
    return _sum_log10(by_strips(rule, *images, margin=source.window.size - 1))


def _ratio(source: Grey, fused: Grey, one: Grey, two: Grey, window: Grey) -> Grey:
    """Return (signal + noise) / noise of each window.

    The fused image is modelled as gain * source + noise; inverted contrast shows nothing.
    """
    covariance = filter_valid(source * fused, window, window) - one[0] * two[0]
    gain = np.maximum(covariance / (one[1] + FLAT), 0)
    gain[(one[1] == 0) | (two[1] == 0)] = 0
    noise = np.maximum(two[1] - gain * covariance, FLAT)
    ratio: Grey = 1 + gain**2 * one[1] / (noise + EYE_NOISE)
    return ratio


def _sum_log10(ratios: Grey) -> float:
    """Return the sum of logarithms via products, which are cheaper than logarithms."""
    flat = ratios.ravel()
    products = np.multiply.reduceat(flat, np.arange(0, flat.size, FACTORS))
    return float(np.log10(products).sum())
