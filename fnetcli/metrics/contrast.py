"""Qcb: how well the contrast that a human eye notices is preserved."""

from __future__ import annotations

import numpy as np
from scipy import fft

from fnetcli.metrics.base import Grey, Image, check_images
from fnetcli.metrics.filters import by_strips, filter_valid, gaussian

WINDOW = 31
INNER_SIGMA, OUTER_SIGMA = 2.0, 4.0
MASKING = 1e-4  # Z of the paper: contrasts far below its square root are not noticed
CYCLES = 30.0  # pixels per unit of viewing angle that the sensitivity filter assumes


def contrast_preservation(first: Image, second: Image, fused: Image) -> float:
    """Return Qcb, 0 to 1; higher is better.

    (H, W), whole numbers 0..255, any size; each image is first stretched to the full range. If
    neither source has contrast, nothing can be lost: 1. Chen and Blum 2009.
    """
    pictures = check_images("Qcb", first, second, fused)
    one, two, result = (picture.derive(_masked_contrast) for picture in pictures)
    noticed = int(np.count_nonzero((one > 0) | (two > 0)))
    return float(np.sum(by_strips(_kept, one, two, result))) / noticed if noticed else 1.0


def _kept(one: Grey, two: Grey, fused: Grey) -> Grey:
    """Return the share of contrast kept, from both sources by their weights; 0 without weight."""
    weight_one, weight_two = one**2, two**2
    weight = weight_one + weight_two
    kept = weight_one * _preserved(one, fused) + weight_two * _preserved(two, fused)
    return kept / np.where(weight > 0, weight, 1)


def _preserved(source: Grey, fused: Grey) -> Grey:
    """Return the smaller contrast over the larger; where both are 0 the value has no weight."""
    larger = np.maximum(source, fused)
    return np.minimum(source, fused) / np.where(larger > 0, larger, 1)


def _masked_contrast(image: Grey) -> Grey:
    """Return the contrast of each pixel to its surroundings, damped where it is too weak to see."""
    return by_strips(_contrast, np.pad(_perceive(_stretch(image)), WINDOW // 2), margin=WINDOW - 1)


def _contrast(perceived: Grey) -> Grey:
    inner, outer = (_blur(perceived, sigma) for sigma in (INNER_SIGMA, OUTER_SIGMA))
    lit = outer != 0
    contrast = np.abs(inner / np.where(lit, outer, 1) - 1)
    contrast[~lit] = 0  # a black image has no contrast rather than an undefined one
    squared = contrast**2
    masked: Grey = contrast * squared / (squared + MASKING)
    return masked


def _stretch(image: Grey) -> Grey:
    """Map the image's own range to 0..255 and round halves up; a constant image becomes black."""
    low, high = image.min(), image.max()
    if low == high:
        return np.zeros_like(image)
    stretched: Grey = np.floor((image - low) / (high - low) * 255 + 0.5)
    return stretched


def _perceive(image: Grey) -> Grey:
    """Apply the eye's contrast sensitivity, a difference of two Gaussians in frequency."""
    height, width = image.shape
    # Frequencies in units of Nyquist, from -1 to 1; real images need only half of the plane.
    v = height / CYCLES * 2 * fft.fftfreq(height)[:, None]
    u = width / CYCLES * 2 * fft.rfftfreq(width)[None, :]
    # Gaussians are products of one along the height and one along the width.
    wide, narrow = (np.exp(-((v / s) ** 2)) * np.exp(-((u / s) ** 2)) for s in (15.3870, 1.3456))
    sensitivity = wide - 0.7622 * narrow
    perceived: Grey = fft.irfft2(fft.rfft2(image) * sensitivity, s=image.shape)
    return perceived


def _blur(image: Grey, sigma: float) -> Grey:
    # Divided by the integral of the Gaussian, not by the sum of its samples, like the paper's code.
    window = gaussian(WINDOW, sigma) / (np.sqrt(2 * np.pi) * sigma)
    return filter_valid(image, window, window)
