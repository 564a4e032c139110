"""How base and detail features of two sources agree, in numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fnetcli.inspection.base import Channels, Map
from fnetcli.inspection.numbers import correlation

KINDS = ("base", "detail")
OFFSET = 1.01  # of the decomposition loss (section 3.5 of the paper)


@dataclass(frozen=True)
class Agreement:
    """Pearson's correlation over the pixels between the features of one kind of both sources.

    `per_channel`: channel by channel, None where one of the two is constant. `mean`: over the
    channels, such a channel counting 0: the cc of the paper's decomposition loss. `of_norms`: of
    the maps of L2 norms over the channels.
    """

    mean: float
    per_channel: list[float | None]
    of_norms: float | None


@dataclass(frozen=True)
class FeatureNumbers:
    """Of one feature: the mean L2 norm over the channels, and how rough the feature is.

    `roughness`: squares of the differences between neighbours, over twice the squares of the values
    without their channel's mean; near 0 where all is smooth, 1 of noise, None of a constant.
    """

    mean_norm: float
    roughness: float | None


@dataclass(frozen=True)
class Decomposition:
    """All numbers of a pair; training minimises `loss`, cc(detail)^2 / (1.01 + cc(base))."""

    agreement: dict[str, Agreement]  # "base", "detail"
    features: dict[str, FeatureNumbers]  # "base_first" ...
    loss: float

    def record(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)


def measure_decomposition(
    features: Mapping[str, Channels],
    energy_maps: Mapping[str, Map],
    on_step: Callable[[], None] = lambda: None,
) -> Decomposition:
    """Measure features (C, H, W) by name; `energy_maps` (H, W) sum their squares.

    `on_step` is called for each of them.
    """
    norms = {name: np.sqrt(energies) for name, energies in energy_maps.items()}
    agreement, numbers = {}, {}
    for kind in KINDS:
        first, second = f"{kind}_first", f"{kind}_second"
        found = [
            correlation(one, other)
            for one, other in zip(features[first], features[second], strict=True)
        ]
        agreement[kind] = Agreement(
            mean=math.fsum(one or 0.0 for one in found) / len(found),
            per_channel=found,
            of_norms=correlation(norms[first], norms[second]),
        )
        for name in (first, second):
            mean = float(norms[name].mean(dtype=np.float64))
            numbers[name] = FeatureNumbers(mean, _roughness(features[name]))
            on_step()
    base, detail = (agreement[kind].mean for kind in KINDS)
    return Decomposition(agreement, numbers, detail**2 / (OFFSET + base))


def _roughness(feature: Channels) -> float | None:
    differences, count, spread = 0.0, 0, 0.0
    for channel in feature:
        values = channel.astype(np.float32)
        spread += values.var(dtype=np.float64)
        for axis in (0, 1):
            steps = np.diff(values, axis=axis)
            differences += float(np.square(steps).sum(dtype=np.float64))
            count += steps.size
    if spread <= 0 or not count:
        return None
    return differences / count / (2 * spread / len(feature))
