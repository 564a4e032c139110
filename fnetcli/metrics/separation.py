"""Separation: whether unique parts hold what only their source shows, and the common part the rest.

The other metrics see the fused image only; this one sees the parts that it is the sum of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Map = NDArray[np.float32]  # (H, W)
Mask = NDArray[np.bool_]

SEPARATION = "separation"  # the score, as a column of a table
# The parts that it is about, by role.
PARTS = ("unique_first", "unique_second", "common")

PATCH = 16  # pixels, side of the patches in which one image is explained by another
STRONG, WEAK = 80, 50  # percentiles: an edge is above the first, no edge below the second
SMOOTHING = 16.0  # pixels, sigma of the Gaussian mean that is taken off before variances


@dataclass(frozen=True)
class UniqueSeparation:
    """Numbers about one unique part; each is None if nothing is there to be measured.

    `correlation_with_source` is Pearson's. `explained`: the share of its variance within patches of
    16x16 pixels that a linear function of the other source explains; `gradients_explained` likewise
    of its Sobel gradients, without constant term. `_by_chance`: the same with the other source
    upside down. `source_explained`: that of its source. `edges_kept`: the sum of its gradient
    magnitudes on edges of both sources, over that of its source.
    """

    correlation_with_source: float | None
    explained: float | None
    explained_by_chance: float | None
    source_explained: float | None
    gradients_explained: float | None
    gradients_explained_by_chance: float | None
    edges_kept: float | None


@dataclass(frozen=True)
class Separation:
    """Numbers about the parts of one pair; each is None if nothing is there to be measured.

    An edge of a source is where its Sobel magnitude is above its 80th percentile. `shared_edges`:
    on edges of both sources, the share of the common part in the gradient magnitudes of all parts.
    `single_edges`: the share of the right unique part on edges of one source where the other is
    below its median. `score`: the mean of both; 1 is a perfect separation, and 0.5 if everything is
    common, or nothing is.

    `common_energy`: the common part's share of the squares of all parts; `common_edges` of their
    gradient magnitudes; `common_variance`: its variance over that of the fused image, after a
    Gaussian mean of sigma 16 is taken off each. `likeness`: the share of the first source's
    variance within patches that the second explains; `likeness_in_common`: the same with patches
    weighted by the variance of the common part.
    """

    score: float | None
    shared_edges: float | None
    single_edges: float | None
    common_energy: float | None
    common_edges: float | None
    common_variance: float | None
    likeness: float | None
    likeness_in_common: float | None
    first: UniqueSeparation
    second: UniqueSeparation

    def record(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)


def measure_separation(parts: Sequence[Map], first: Map, second: Map) -> Separation:
    """Measure the unique parts and the common one, (H, W), and their sources in [0, 1]."""
    unique_first, unique_second, common = parts
    sources = (first, second)
    of_parts = [_magnitude(part) for part in parts]
    total = sum(of_parts[1:], of_parts[0])
    of_sources = [_magnitude(source) for source in sources]
    edges = [_above(values, STRONG) for values in of_sources]
    both = edges[0] & edges[1]
    weak = [~_above(values, WEAK) for values in of_sources]
    single = [edges[0] & weak[1], edges[1] & weak[0]]
    shared_edges = _ratio(_sum(of_parts[2], both), _sum(total, both))
    single_edges = _ratio(
        _sum(of_parts[0], single[0]) + _sum(of_parts[1], single[1]),
        _sum(total, single[0]) + _sum(total, single[1]),
    )
    fused = unique_first + unique_second + common
    squares = [float(np.square(part, dtype=np.float64).sum()) for part in parts]
    explained, own, weight = _explained_patches(first, second, common)
    unique = [
        UniqueSeparation(
            correlation_with_source=_correlation(part, source),
            explained=_explained(part, other),
            explained_by_chance=_explained(part, other[::-1, ::-1]),
            source_explained=_explained(source, other),
            gradients_explained=_gradients_explained(part, other),
            gradients_explained_by_chance=_gradients_explained(part, other[::-1, ::-1]),
            edges_kept=_ratio(_sum(kept, both), _sum(strength, both)),
        )
        for part, kept, strength, source, other in zip(
            parts[:2], of_parts[:2], of_sources, sources, sources[::-1], strict=True
        )
    ]
    return Separation(
        score=_mean(shared_edges, single_edges),
        shared_edges=shared_edges,
        single_edges=single_edges,
        common_energy=_ratio(squares[2], sum(squares)),
        common_edges=_ratio(float(of_parts[2].sum()), float(total.sum())),
        common_variance=_ratio(_detail_variance(common), _detail_variance(fused)),
        likeness=_ratio(float(explained.sum()), float(own.sum())),
        likeness_in_common=_ratio(
            float((weight * _shares(explained, own)).sum()), float(weight.sum())
        ),
        first=unique[0],
        second=unique[1],
    )


# --- edges ----------------------------------------------------------------------------------------


def _gradients(image: Map) -> tuple[Map, Map]:
    """Return both Sobel derivatives, the border's pixels repeated."""
    down, across = (ndimage.sobel(image, axis, mode="nearest") for axis in (0, 1))
    return down, across


def _magnitude(image: Map) -> Map:
    down, across = _gradients(image)
    magnitude: Map = np.hypot(down, across)
    return magnitude


def _above(values: Map, percentile: float) -> Mask:
    return np.asarray(values > np.percentile(values, percentile))


def _sum(values: Map, mask: Mask) -> float:
    return float(values[mask].sum(dtype=np.float64))


# --- regression in patches ------------------------------------------------------------------------


def _explained(image: Map, other: Map) -> float | None:
    """Return the share of variance within patches that a linear function of the other explains."""
    explained, own, _ = _explained_patches(image, other, image)
    return _ratio(float(explained.sum()), float(own.sum()))


def _explained_patches(
    image: Map, other: Map, third: Map
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return, patch by patch, the explained and the whole variance of an image, and a third's."""
    own, of_other, of_third = (_variances(one, one) for one in (image, other, third))
    both = _variances(image, other)
    return np.square(both) * _inverse(of_other), own, of_third


def _gradients_explained(image: Map, other: Map) -> float | None:
    """Return the share of squared gradients that a multiple of the other's in a patch explains."""
    own = of_other = both = np.zeros((1, 1))
    for mine, theirs in zip(_gradients(image), _gradients(other), strict=True):
        own = own + _products(mine, mine)
        of_other = of_other + _products(theirs, theirs)
        both = both + _products(mine, theirs)
    return _ratio(float((np.square(both) * _inverse(of_other)).sum()), float(own.sum()))


def _variances(one: Map, other: Map) -> NDArray[np.float64]:
    """Return the covariance within each patch."""
    return _products(one, other) - _means(one) * _means(other)


def _products(one: Map, other: Map) -> NDArray[np.float64]:
    return _means(one.astype(np.float64) * other)


def _means(image: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean of each whole patch; of the whole image if it is smaller than one."""
    height, width = image.shape
    tall, wide = min(PATCH, height), min(PATCH, width)
    rows, columns = height // tall, width // wide
    cut = image[: rows * tall, : columns * wide].astype(np.float64)
    return np.asarray(cut.reshape(rows, tall, columns, wide).mean(axis=(1, 3)))


def _inverse(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / values, and 0 for patches that are constant but for rounding."""
    is_constant = values < 1e-10
    return np.asarray(np.where(is_constant, 0, 1 / np.where(is_constant, 1, values)))


def _shares(explained: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(explained * _inverse(own))


# --- statistics -----------------------------------------------------------------------------------


def _detail_variance(image: Map) -> float:
    detail = image - ndimage.gaussian_filter(image, SMOOTHING, mode="nearest")
    return float(detail.var(dtype=np.float64))


def _correlation(one: Map, other: Map) -> float | None:
    x, y = (image - image.mean(dtype=np.float64) for image in (one, other))
    both = float(np.vdot(x, y))
    size = float(np.sqrt(np.vdot(x, x) * np.vdot(y, y)))
    is_constant = any(image.min() == image.max() for image in (one, other))
    return None if is_constant or size == 0 else max(-1.0, min(1.0, both / size))


def _mean(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else (one + other) / 2


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 1e-12 else None
