"""What a traced pair comes to in numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fnetcli.imaging.image import bands
from fnetcli.inspection.fnet.trace import BlockTrace, PairTrace

Map = NDArray[np.float32]

NEIGHBOURHOOD = 7  # pixels, side of an area that may be constant
HALF_LEVEL = 0.5 / 255


@dataclass(frozen=True)
class SourceNumbers:
    """Of one source's luminance in [0, 1]; shares of its pixels.

    `at_lowest` and `at_highest`: those that have the image's lowest, highest value. A few are
    normal, many mean that the sensor, or the scaling, was saturated. `constant`: those around which
    7x7 pixels differ by less than half a grey level of 255.
    """

    lowest: float
    highest: float
    mean: float
    at_lowest: float
    at_highest: float
    constant: float


@dataclass(frozen=True)
class PartNumbers:
    """Of one part of the fused luminance.

    `energy_share`: its squares over the squares of the three parts. The correlations are Pearson's
    with the two sources; None where one of the two is constant.
    """

    energy_share: float | None
    correlation_with_first: float | None
    correlation_with_second: float | None
    lowest: float
    highest: float


@dataclass(frozen=True)
class CodeNumbers:
    """Of one code.

    `nearly_zero_before`, `nearly_zero_after`: the share of |x| < theta_K / 100 before and after the
    last threshold. `energy`: the sum of its squares; `energy_per_atom`: the same of each atom's
    map. `theta`: k = 0 ... K, `rho`: k = 1 ... K (empty without momentum). Whether thresholds fall
    and momentum rises at every k, as they must (None: there are fewer than two).
    """

    nearly_zero_before: float | None
    nearly_zero_after: float | None
    energy: float
    energy_per_atom: list[float]
    theta: list[float]
    rho: list[float]
    thresholds_fall: bool
    momentum_rises: bool | None


@dataclass(frozen=True)
class PairNumbers:
    """Everything; `record` is what `--json` holds, its keys are the names of the fields.

    `unique_energy_correlation`: Pearson's, of the energy maps (squares summed over the atoms) of u
    and v: near 1 where both call the same places their own. `clipped`: the share of the fused
    luminance that lay outside [0, 1]; `clipped_below` and `clipped_above` are its two sides.
    """

    sources: dict[str, SourceNumbers]  # "first", "second"
    parts: dict[str, PartNumbers]  # "unique_first", "unique_second", "common"
    codes: dict[str, CodeNumbers]  # "u", "v", "z"
    unique_energy_correlation: float | None
    clipped: float
    clipped_below: float
    clipped_above: float

    def record(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)


def measure_pair(first: Map, second: Map, trace: PairTrace) -> PairNumbers:
    """Measure a trace of the luminances `first` and `second`, (H, W)."""
    fused = trace.fusion.fused[0]
    below, above = float(np.mean(fused < 0)), float(np.mean(fused > 1))
    return PairNumbers(
        sources={"first": measure_source(first), "second": measure_source(second)},
        parts=_measure_parts(trace.parts, first, second),
        codes={name: measure_code(block) for name, block in trace.blocks.items()},
        unique_energy_correlation=correlation(
            trace.blocks["u"].energy_map, trace.blocks["v"].energy_map
        ),
        clipped=below + above,
        clipped_below=below,
        clipped_above=above,
    )


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
    """Return how much the pixels around each one differ."""
    highest: Map = ndimage.maximum_filter(values, NEIGHBOURHOOD, mode="nearest")
    highest -= ndimage.minimum_filter(values, NEIGHBOURHOOD, mode="nearest")
    return highest


def _measure_parts(parts: tuple[Map, Map, Map], first: Map, second: Map) -> dict[str, PartNumbers]:
    energies = [_energy(part) for part in parts]
    total = sum(energies)
    return {
        name: PartNumbers(
            energy_share=energy / total if total > 0 else None,
            correlation_with_first=correlation(part, first),
            correlation_with_second=correlation(part, second),
            lowest=float(part.min()),
            highest=float(part.max()),
        )
        for name, part, energy in zip(
            ("unique_first", "unique_second", "common"), parts, energies, strict=True
        )
    }


def measure_code(block: BlockTrace) -> CodeNumbers:
    """Return the numbers of one block's trace."""
    before, after = block.last.before, block.last.after
    theta = [step.theta for step in block.steps]
    rho = [step.rho for step in block.steps if step.rho is not None]
    return CodeNumbers(
        nearly_zero_before=before.nearly_zero if before else None,
        nearly_zero_after=after.nearly_zero if after else None,
        energy=float(block.energies.sum()),
        energy_per_atom=[float(energy) for energy in block.energies],
        theta=theta,
        rho=rho,
        thresholds_fall=falls(theta),
        momentum_rises=rises(rho),
    )


def falls(values: Sequence[float]) -> bool:
    """Whether each value is smaller than the one before it."""
    return all(after < before for before, after in pairwise(values))


def rises(values: Sequence[float]) -> bool | None:
    """Whether each value is larger than the one before it; None of fewer than two."""
    return all(after > before for before, after in pairwise(values)) if len(values) > 1 else None


def correlation(one: Map, other: Map) -> float | None:
    """Return Pearson's correlation of two maps (H, W), in double precision; None of a constant."""
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
