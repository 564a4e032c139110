"""Summaries of tensors with many channels: energies, peaks, thumbnails."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fnetcli.engine import LARGEST_FEATURE
from fnetcli.errors import PairError

Channels = NDArray[np.float16]  # (C, H, W)

LONGEST_SIDE = 256  # of a thumbnail, in pixels


@dataclass(frozen=True)
class Summary:
    """The summary of a feature (C, H, W), channel by channel.

    `energies` are sums of squares, `peaks` the largest |x|, both (C,); `energy_map` (H, W) sums the
    squares over the channels. `thumbnails` (C, h, w) have sides of at most 256: each value is the
    one of the largest magnitude in its block, since means would hide sparse, signed values.
    """

    energies: NDArray[np.float64]
    peaks: NDArray[np.float64]
    energy_map: NDArray[np.float32]
    thumbnails: Channels


def limit_values(feature: Channels, what: str) -> float:
    """Replace infinity by the largest finite number, in place; return the share of such values.

    Raise PairError for NaN; `what` names the values, in the plural.
    """
    count = 0
    for channel in feature:
        is_known = np.abs(channel) < LARGEST_FEATURE
        if is_known.all():
            continue
        if np.isnan(channel).any():
            raise PairError(f"the network's {what} are not finite; check the weights")
        count += channel.size - int(np.count_nonzero(is_known))
        np.clip(channel, -LARGEST_FEATURE, LARGEST_FEATURE, out=channel)
    return count / feature.size


def beyond_notice(what: str, share: float) -> str:
    """Return a warning that a share of the values is too large for float16."""
    return (
        f"{what}: {100 * share:.2g} % of its values are beyond {LARGEST_FEATURE:.0f}, the largest "
        "number of float16, and are clipped to it; check the weights"
    )


def summarise(feature: Channels) -> Summary:
    """Measure a feature and reduce it to thumbnails."""
    _, height, width = feature.shape
    factor = math.ceil(max(height, width) / LONGEST_SIDE)
    energy_map = np.zeros((height, width), np.float32)
    energies, peaks, thumbnails = [], [], []
    for channel in feature:
        values = channel.astype(np.float32)
        squares = values**2
        energy_map += squares
        energies.append(float(squares.sum(dtype=np.float64)))
        peaks.append(float(np.abs(values).max()))
        thumbnails.append(strongest(values, factor).astype(np.float16))
    return Summary(np.array(energies), np.array(peaks), energy_map, np.stack(thumbnails))


def strongest(values: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Return the value of the largest magnitude in each block of factor x factor pixels."""
    if factor == 1:
        return values
    highest, lowest = values, values
    for axis in (0, 1):
        starts = np.arange(0, values.shape[axis], factor)
        highest = np.maximum.reduceat(highest, starts, axis)
        lowest = np.minimum.reduceat(lowest, starts, axis)
    return np.where(highest >= -lowest, highest, lowest)
