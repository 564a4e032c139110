"""The difference between the fused image and its sources, pixel by pixel: MSE and PSNR."""

from __future__ import annotations

import math

import numpy as np

from fnetcli.metrics.base import Grey, Image, check_images

PEAK = 255.0


def mean_squared_error(first: Image, second: Image, fused: Image) -> float:
    """Return MSE, the mean of both sources' in squared grey levels, 0 to 65025; lower is better.

    (H, W), whole numbers 0..255, any size. The average of two sources scores best: half of the
    sources' own difference cannot be avoided. Jagalingam and Hegde 2015.
    """
    one, two, result = (image.pixels for image in check_images("MSE", first, second, fused))
    return (_squared_error(one, result) + _squared_error(two, result)) / 2


def peak_signal_to_noise(first: Image, second: Image, fused: Image) -> float:
    """Return PSNR = 10 log10(255^2 / MSE) in dB, MSE the mean of both sources'; higher is better.

    (H, W), whole numbers 0..255, any size. If all three are equal it would be infinite; then the
    least possible difference (one level in one pixel of one source) is used, so that a mean over
    images stays finite. Jagalingam and Hegde 2015.
    """
    one, two, result = (image.pixels for image in check_images("PSNR", first, second, fused))
    error = (_squared_error(one, result) + _squared_error(two, result)) / 2
    return 10 * math.log10(PEAK**2 / max(error, 0.5 / result.size))


def _squared_error(source: Grey, fused: Grey) -> float:
    return float(np.mean((source - fused) ** 2))
