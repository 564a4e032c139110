"""Numbers for every model: about sources, the fused luminance, parts and maps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fnetcli.imaging.image import bands

Map = NDArray[np.float32]

NEIGHBOURHOOD = 7  # pixels, side of an area that may be constant
HALF_LEVEL = 0.5 / 255


@dataclass(frozen=True)
class SourceNumbers:
    """Numbers about one source's luminance in [0, 1]; shares are those of its pixels.

    `at_lowest` and `at_highest`: pixels with the image's lowest, highest value. A few are normal;
    many mean that the sensor, or the scaling, was saturated. `constant`: pixels whose 7x7
    neighbourhood varies by less than half a grey level of 255.
    """

    lowest: float
    highest: float
    mean: float
    at_lowest: float
    at_highest: float
    constant: float


@dataclass(frozen=True)
class PartNumbers:
    """Numbers about one part of the fused luminance.

    `energy_share`: its sum of squares over that of all parts. The correlations are Pearson's with
    the two sources; None if one of the two is constant.
    """

    energy_share: float | None
    correlation_with_first: float | None
    correlation_with_second: float | None
    lowest: float
    highest: float


@dataclass(frozen=True)
class Clipping:
    """The shares of the fused luminance below 0 and above 1."""

    below: float
    above: float

    @property
    def total(self) -> float:
        """Both."""
        return self.below + self.above


def measure_clipping(fused: Map) -> Clipping:
    """Measure a fused luminance (H, W), not clipped."""
    return Clipping(float(np.mean(fused < 0)), float(np.mean(fused > 1)))


def measure_source(luminance: Map) -> SourceNumbers:
    """Measure a luminance (H, W)."""
    lowest, highest = luminance.min(), luminance.max()
    return SourceNumbers(
        lowest=float(lowest),
        highest=float(highest),
        mean=float(luminance.mean(dtype=np.float64)),
        at_lowest=float(np.mean(luminance == lowest)),
        at_highest=float(np.mean(luminance == highest)),
        constant=float(np.mean(_spread(luminance) < HALF_LEVEL)),
    )


def _spread(values: Map) -> Map:
    """Return the range of values in the neighbourhood of each pixel."""
    highest: Map = ndimage.maximum_filter(values, NEIGHBOURHOOD, mode="nearest")
    highest -= ndimage.minimum_filter(values, NEIGHBOURHOOD, mode="nearest")
    return highest


def measure_parts(parts: Mapping[str, Map], first: Map, second: Map) -> dict[str, PartNumbers]:
    """Measure the parts (H, W) of luminances."""
    energies = {name: _energy(part) for name, part in parts.items()}
    total = sum(energies.values())
    return {
        name: PartNumbers(
            energy_share=energies[name] / total if total > 0 else None,
            correlation_with_first=correlation(part, first),
            correlation_with_second=correlation(part, second),
            lowest=float(part.min()),
            highest=float(part.max()),
        )
        for name, part in parts.items()
    }


def correlation(one: Map, other: Map) -> float | None:
    """Return Pearson's correlation of two maps (H, W), in double precision; None if constant."""
    means = [float(values.mean(dtype=np.float64)) for values in (one, other)]
    products = np.zeros(3)
    for band in bands(one.shape):
        x, y = (
            values[band].astype(np.float64) - mean
            for values, mean in zip((one, other), means, strict=True)
        )
        products += (np.vdot(x, y), np.vdot(x, x), np.vdot(y, y))
    both, of_one, of_other = (float(product) for product in products)
    is_constant = any(values.min() == values.max() for values in (one, other))
    if is_constant or of_one <= 0 or of_other <= 0:
        return None
    return max(-1.0, min(1.0, both / math.sqrt(of_one * of_other)))


def _energy(values: Map) -> float:
    return float(
        sum(np.square(values[band], dtype=np.float64).sum() for band in bands(values.shape))
    )


def root_mean_square(values: Map) -> float:
    """Return the root of the mean of the squares of a map (H, W)."""
    return math.sqrt(_energy(values) / values.size)
