"""The numbers of a traced pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from fnetcli.inspection.base import Map
from fnetcli.inspection.fnet.trace import BlockTrace, PairTrace
from fnetcli.inspection.numbers import (
    PartNumbers,
    SourceNumbers,
    correlation,
    measure_clipping,
    measure_parts,
    measure_source,
)
from fnetcli.metrics.separation import Separation, measure_separation
from fnetcli.models.fnet import FNET


@dataclass(frozen=True)
class CodeNumbers:
    """Numbers about one code.

    `nearly_zero_before`, `nearly_zero_after`: the share of |x| < theta_K / 100 before and after the
    last thresholding. `energy`: the sum of its squares; `energy_per_atom`: that of each atom's map.
    `theta`: k = 0 ... K, `rho`: k = 1 ... K (empty without momentum). Whether thresholds fall and
    momentum rises at every k, as they must (None: there are fewer than two).
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
    """All numbers; `record` is the content of `--json`, with the names of the fields as keys.

    `unique_energy_correlation`: Pearson's, of the energy maps (squares summed over the atoms) of u
    and v: near 1 if both claim the same places as unique. `clipped`: the share of the fused
    luminance outside [0, 1]; `clipped_below` and `clipped_above` are its two sides.
    """

    sources: dict[str, SourceNumbers]  # "first", "second"
    parts: dict[str, PartNumbers]  # "unique_first", "unique_second", "common"
    codes: dict[str, CodeNumbers]  # "u", "v", "z"
    separation: Separation
    unique_energy_correlation: float | None
    clipped: float
    clipped_below: float
    clipped_above: float

    def record(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)


def measure_pair(first: Map, second: Map, trace: PairTrace) -> PairNumbers:
    """Measure a trace of the luminances `first` and `second`, (H, W)."""
    clipped = measure_clipping(trace.fusion.fused[0])
    return PairNumbers(
        sources={"first": measure_source(first), "second": measure_source(second)},
        parts=measure_parts(dict(zip(FNET.parts, trace.parts, strict=True)), first, second),
        codes={name: measure_code(block) for name, block in trace.blocks.items()},
        separation=measure_separation(trace.parts, first, second),
        unique_energy_correlation=correlation(
            trace.blocks["u"].energy_map, trace.blocks["v"].energy_map
        ),
        clipped=clipped.total,
        clipped_below=clipped.below,
        clipped_above=clipped.above,
    )


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
    """Whether each value is larger than the one before it; None if there are fewer than two."""
    return all(after > before for before, after in pairwise(values)) if len(values) > 1 else None
