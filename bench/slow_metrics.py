"""The baseline of the metrics' speed: the six of the paper as they are usually written.

Two-dimensional windows through `scipy.signal.convolve2d`, float64, one source after the other,
nothing kept. It shares no code with the package, so that faster metrics do not make it faster. Do
not tune this file. Images are (H, W) float64 arrays of whole numbers 0..255; definitions stand in
docs/metrics.md.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.signal import convolve2d

Image = NDArray[np.float64]


def _gaussian(size: int, sigma: float) -> Image:
    y, x = np.mgrid[:size, :size] - size // 2
    kernel: Image = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    return kernel


def mutual_information(a: Image, b: Image, f: Image) -> float:
    """Return MI in nats."""

    def one(source: Image) -> float:
        edges = np.arange(257)
        joint, _, _ = np.histogram2d(source.ravel(), f.ravel(), bins=(edges, edges))
        joint /= joint.sum()
        apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
        seen = joint > 0
        return float((joint[seen] * np.log(joint[seen] / apart[seen])).sum())

    return one(a) + one(b)


def cross_entropy(a: Image, b: Image, f: Image) -> float:
    """Return CE in bits."""

    def one(source: Image) -> float:
        p, q = (np.histogram(i, np.arange(257))[0] / i.size + 1e-7 for i in (source, f))
        return float((p * np.log2(p / q)).sum())

    return (one(a) + one(b)) / 2


def visual_information_fidelity(a: Image, b: Image, f: Image) -> float:
    """Return VIF, the sum over both sources."""

    def one(source: Image, fused: Image) -> float:
        seen = available = 0.0
        for scale in range(1, 5):
            size = 2 ** (5 - scale) + 1
            window = _gaussian(size, size / 5)
            window /= window.sum()
            if scale > 1:
                source = convolve2d(source, window, mode="valid")[::2, ::2]
                fused = convolve2d(fused, window, mode="valid")[::2, ::2]
            mean1 = convolve2d(source, window, mode="valid")
            mean2 = convolve2d(fused, window, mode="valid")
            variance1 = convolve2d(source * source, window, mode="valid") - mean1 * mean1
            variance2 = convolve2d(fused * fused, window, mode="valid") - mean2 * mean2
            covariance = convolve2d(source * fused, window, mode="valid") - mean1 * mean2
            variance1, variance2 = np.maximum(variance1, 0), np.maximum(variance2, 0)
            gain = covariance / (variance1 + 1e-10)
            noise = variance2 - gain * covariance
            flat = variance1 < 1e-10
            gain[flat], noise[flat], variance1[flat] = 0, variance2[flat], 0
            flat = variance2 < 1e-10
            gain[flat], noise[flat] = 0, 0
            inverted = gain < 0
            noise[inverted], gain[inverted] = variance2[inverted], 0
            noise = np.maximum(noise, 1e-10)
            seen += np.log10(1 + gain**2 * variance1 / (noise + 2)).sum()
            available += np.log10(1 + variance1 / 2).sum()
        return float(seen / available)

    return one(a, f) + one(b, f)


def edge_preservation(a: Image, b: Image, f: Image) -> float:
    """Return Qabf."""

    def edges(image: Image) -> tuple[Image, Image]:
        x = convolve2d(image, np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]), mode="same")
        y = convolve2d(image, np.array([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]]), mode="same")
        turn = np.full(image.shape, math.pi / 2)
        turn[x != 0] = np.arctan(y[x != 0] / x[x != 0])
        return np.sqrt(x * x + y * y), turn

    def kept(source: tuple[Image, Image], fused: tuple[Image, Image]) -> Image:
        (g, turn), (g_fused, turn_fused) = source, fused
        ratio = g.copy()
        ratio[g > g_fused] = g_fused[g > g_fused] / g[g > g_fused]
        ratio[g < g_fused] = g[g < g_fused] / g_fused[g < g_fused]
        aligned = 1 - np.abs(turn - turn_fused) / (math.pi / 2)
        strength = 0.9994 / (1 + np.exp(-15 * (ratio - 0.5)))
        return np.asarray(strength * (0.9879 / (1 + np.exp(-22 * (aligned - 0.8)))))

    one, two, fused = edges(a), edges(b), edges(f)
    total = (kept(one, fused) * one[0]).sum() + (kept(two, fused) * two[0]).sum()
    return float(total / (one[0].sum() + two[0].sum()))


def contrast_preservation(a: Image, b: Image, f: Image) -> float:
    """Return Qcb."""

    def contrast(image: Image) -> Image:
        height, width = image.shape
        image = np.floor((image - image.min()) / (image.max() - image.min()) * 255 + 0.5)
        fy = (np.arange(height) - height // 2) * 2 / height
        fx = (np.arange(width) - width // 2) * 2 / width
        u, v = np.meshgrid(width / 30 * fx, height / 30 * fy)
        r = np.sqrt(u**2 + v**2)
        sensitivity = np.exp(-((r / 15.3870) ** 2)) - 0.7622 * np.exp(-((r / 1.3456) ** 2))
        spectrum = np.fft.fftshift(np.fft.fft2(image)) * sensitivity
        image = np.real(np.fft.ifft2(np.fft.ifftshift(spectrum)))
        inner = convolve2d(image, _gaussian(31, 2) / (2 * math.pi * 2**2), mode="same")
        outer = convolve2d(image, _gaussian(31, 4) / (2 * math.pi * 4**2), mode="same")
        raw = np.abs(inner / outer - 1)
        return np.asarray(raw**3 / (raw**2 + 0.0001))

    def kept(source: Image, fused: Image) -> Image:
        return np.minimum(source, fused) / np.maximum(source, fused)

    one, two, fused = contrast(a), contrast(b), contrast(f)
    share = one**2 / (one**2 + two**2)
    return float(np.mean(share * kept(one, fused) + (1 - share) * kept(two, fused)))


def structural_similarity(a: Image, b: Image, f: Image) -> float:
    """Return SSIM with data range 2, the sum over both sources."""

    def one(source: Image) -> float:
        window, c1, c2 = np.full((7, 7), 1 / 49), (0.01 * 2) ** 2, (0.03 * 2) ** 2
        mean1 = convolve2d(source, window, mode="valid")
        mean2 = convolve2d(f, window, mode="valid")
        variance1 = (convolve2d(source * source, window, mode="valid") - mean1**2) * 49 / 48
        variance2 = (convolve2d(f * f, window, mode="valid") - mean2**2) * 49 / 48
        covariance = (convolve2d(source * f, window, mode="valid") - mean1 * mean2) * 49 / 48
        brightness = (2 * mean1 * mean2 + c1) / (mean1**2 + mean2**2 + c1)
        return float((brightness * (2 * covariance + c2) / (variance1 + variance2 + c2)).mean())

    return one(a) + one(b)


def score_slowly(a: Image, b: Image, f: Image) -> dict[str, float]:
    """Return the six metrics by name."""
    return {
        "MI": mutual_information(a, b, f),
        "CE": cross_entropy(a, b, f),
        "VIF": visual_information_fidelity(a, b, f),
        "Qabf": edge_preservation(a, b, f),
        "Qcb": contrast_preservation(a, b, f),
        "SSIM": structural_similarity(a, b, f),
    }
