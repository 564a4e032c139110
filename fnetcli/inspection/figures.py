"""Figures as data: what to draw, on which kind of scale; `reports/figures.py` draws them.

Titles and labels are drawn unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]  # (H, W)


@dataclass(frozen=True)
class MapRow:
    """Maps (H, W) by label, side by side in grey on one scale: around 0, or from 0 on.

    Maps of different quantities have separate scales, around 0 if any value is negative.
    """

    title: str
    maps: Mapping[str, Map]
    are_signed: bool = True
    has_own_scales: bool = False


@dataclass(frozen=True)
class NormRow:
    """Maps (H, W) of norms, never below 0, by label, side by side on one scale, white to black.

    `meaning` describes their values.
    """

    title: str
    maps: Mapping[str, Map]
    meaning: str


@dataclass(frozen=True)
class ChannelSheet:
    """All channels of a feature in order of energy, as thumbnails (C, h, w).

    Shades follow the root of the magnitude: features are often sparse, and most values small.
    """

    title: str
    thumbnails: NDArray[Any]
    energies: NDArray[np.float64]
    channels: str = "channels"  # the word for them


@dataclass(frozen=True)
class Distribution:
    """Values and their counts, as one line of a histogram; None: one of each.

    Without a colour it is filled with grey, as a background for others.
    """

    label: str
    values: NDArray[np.float32]
    counts: NDArray[np.int64] | None = None
    color: str | None = None


@dataclass(frozen=True)
class HistogramPanel:
    """Distributions in one plot.

    `span` is the range to show. By default it is symmetric around 0, at least up to `reach`, and
    contains nearly all values. `marks` are drawn as dotted lines. `inset` is a range that is drawn
    again, enlarged, in a corner.
    """

    title: str
    distributions: tuple[Distribution, ...]
    marks: tuple[float, ...] = ()
    reach: float = 0.0
    span: tuple[float, float] | None = None
    inset: tuple[float, float] | None = None


@dataclass(frozen=True)
class HistogramRow:
    """Histograms side by side; `scale` describes their axes and marks."""

    title: str
    panels: tuple[HistogramPanel, ...]
    scale: str


@dataclass(frozen=True)
class Line:
    """Numbers y at the whole numbers x from `start` on."""

    label: str
    values: Sequence[float]
    start: int = 0
    color: str | None = None
    marker: str = "o"


@dataclass(frozen=True)
class LinePanel:
    """Lines in one plot; `nothing` is shown if there are none."""

    title: str
    lines: tuple[Line, ...]
    nothing: str = ""


@dataclass(frozen=True)
class LineRow:
    """Line plots side by side, over the whole numbers below `ticks`."""

    panels: tuple[LinePanel, ...]
    x_label: str
    ticks: int
    scale: str


@dataclass(frozen=True)
class KernelGrids:
    """Grids of kernels (M, k, k) with their labels, each kernel drawn on its own scale."""

    title: str
    grids: tuple[tuple[str, Map], ...]


@dataclass(frozen=True)
class ClassMaps:
    """Maps (H, W) of numbers of classes by label, side by side, a colour for each of `names`."""

    title: str
    maps: Mapping[str, NDArray[np.intp]]
    names: Mapping[int, str]


FigureData = MapRow | NormRow | ChannelSheet | HistogramRow | LineRow | KernelGrids | ClassMaps
