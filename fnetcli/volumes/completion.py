"""Complete a volume where only the other one has data, so that its border leaves no edge.

Where one volume ends, the network would see an edge that is not anatomy, and equal tissue would be
fused to two brightnesses. There the missing volume is estimated: by the mean of its values at
voxels where the present one has the same value, times the factor by which this estimate is too
small inside of the border, continued smoothly outwards. A factor, so that air stays black. The
estimate has no structure of its own. It only decides the
brightness of the fused volume; the parts attribute nothing to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fnetcli.imaging.image import Image, Mask, Pixels
from fnetcli.imaging.intensity import Scaling, own_limits, valid_pixels
from fnetcli.interruption import require_wanted
from fnetcli.volumes.prepare import PreparedVolumes, unit_slab

LEVELS = 256  # of the present volume's values
WIDE = (0.5, 99.9)  # percentiles between which they are; a window would make air of dark fat
BLUR = 1.0  # voxels within the slice: the present volume's noise is not structure
SAMPLES = 1 << 21  # voxels, on a regular lattice, that decide
DARK, MAX_FACTOR = 1e-3, 2.0  # an estimate that is hardly above 0 says nothing about a factor
MIN_SHARED = 64  # of these with data in both volumes; with fewer nothing can be estimated
FADE, SHARE = 4.0, 0.001  # levels, and weight, of neighbours: for values of which there are few

Slab = tuple[Pixels, Mask | None]  # in [0, 1], and where there is data


@dataclass(frozen=True)
class NetworkSlices:
    """The slices that the network sees, of both volumes; what one lacks is estimated."""

    images: tuple[Image, Image]
    scalings: tuple[Scaling, Scaling]
    missing: tuple[Completion | None, Completion | None]

    @classmethod
    def of(cls, prepared: PreparedVolumes) -> NetworkSlices:
        """Return the slices of two volumes on one grid."""
        first, second = (prepared.order.image(image) for image in prepared.on_grid)
        scalings = prepared.scalings
        return cls((first, second), scalings, _completions((first, second), scalings))

    @property
    def are_completed(self) -> bool:
        """Whether anything is estimated."""
        return any(one is not None for one in self.missing)

    def slab(self, slab: slice) -> tuple[Slab, Slab]:
        """Return some slices of both, with estimates where only the other one has data."""
        found = []
        for image, scaling, missing in zip(self.images, self.scalings, self.missing, strict=True):
            values, has_data = unit_slab(image, slab, scaling)
            if missing is not None and has_data is not None:
                values = np.where(has_data, values, missing.at(slab))
            found.append((values, has_data))
        return found[0], found[1]


def slice_luminances(prepared: PreparedVolumes, index: int) -> tuple[Pixels, Pixels]:
    """Return both luminances (height, width) of one of the slices that the network sees."""
    (first, _), (second, _) = NetworkSlices.of(prepared).slab(slice(index, index + 1))
    return first[0], second[0]


# --- the estimate ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Present:
    """The volume that has data, in [0, 1] over all of its range."""

    image: Image
    scaling: Scaling

    @classmethod
    def of(cls, image: Image) -> _Present:
        """Return a volume over all of its range."""
        found = own_limits(image, WIDE)
        return cls(image, Scaling((0.0, 0.0) if found is None else found[0]))

    def slab(self, slab: slice) -> Pixels:
        """Return some slices."""
        values, _ = unit_slab(self.image, slab, self.scaling)
        return values


@dataclass(frozen=True)
class Completion:
    """Estimates one volume, in [0, 1], from the other one."""

    present: _Present
    means: NDArray[np.float64]  # at LEVELS values from 0 to 1
    factors: Pixels  # of the means, on a lattice of every `step`-th voxel, continued to everywhere
    step: int

    def at(self, slab: slice) -> Pixels:
        """Return the estimate for some slices."""
        values = self.present.slab(slab)
        levels = np.linspace(0, 1, LEVELS)
        found = np.interp(values, levels, self.means)
        found = ndimage.gaussian_filter(found, (0, BLUR, BLUR), mode="nearest")
        if self.step == 1:
            found *= self.factors[slab]
        else:
            found *= ndimage.affine_transform(
                self.factors,
                np.full(3, 1 / self.step),
                (slab.start / self.step, 0, 0),
                output_shape=values.shape,
                order=1,
                mode="nearest",
            )
        return np.asarray(np.clip(found, 0, 1), np.float32)


def _completions(
    images: tuple[Image, Image], scalings: tuple[Scaling, Scaling]
) -> tuple[Completion | None, Completion | None]:
    """Return how to estimate either volume (on one grid) where it has no data.

    None for a volume that is nowhere missing, and if too few voxels have data in both.
    """
    valid = [valid_pixels(image) for image in images]
    if all(mask is None for mask in valid):
        return None, None
    shape = images[0].grid.shape
    step = max(1, math.ceil((math.prod(shape) / SAMPLES) ** (1 / 3)))
    shared = np.ones([len(range(0, size, step)) for size in shape], bool)
    for mask in valid:
        if mask is not None:
            shared &= mask[::step, ::step, ::step]
    if np.count_nonzero(shared) < MIN_SHARED:
        return None, None

    def completion(own: int) -> Completion | None:
        if valid[own] is None:
            return None
        present = _Present.of(images[1 - own])
        seen, missing = np.empty(shared.shape, np.float32), np.empty(shared.shape, np.float32)
        for i, top in enumerate(range(0, shape[0], step)):
            require_wanted()
            slab = slice(top, top + 1)
            seen[i] = present.slab(slab)[0, ::step, ::step]
            missing[i] = unit_slab(images[own], slab, scalings[own])[0][0, ::step, ::step]
        means = _means(seen[shared], missing[shared])
        guess = np.interp(seen, np.linspace(0, 1, LEVELS), means)
        weights = shared.astype(np.float32)
        here, there = (
            _continued(np.where(shared, one, 0).astype(np.float32), weights)
            for one in (missing, guess)
        )
        factors = np.clip(here / np.maximum(there, DARK), 0, MAX_FACTOR, dtype=np.float32)
        return Completion(present, means, factors, step)

    return completion(0), completion(1)


def _means(present: Pixels, missing: Pixels) -> NDArray[np.float64]:
    """Return the mean of the missing volume at every level of the present one."""
    levels = np.rint(present * (LEVELS - 1)).astype(np.int64)
    counts, sums = (
        np.bincount(levels, weights, LEVELS).astype(np.float64) for weights in (None, missing)
    )
    counts, sums = (
        one + SHARE * ndimage.gaussian_filter1d(one, FADE, mode="constant")
        for one in (counts, sums)
    )
    known = counts > 1e-6
    places = np.arange(LEVELS)
    return np.asarray(np.interp(places, places[known], sums[known] / counts[known]))


def _continued(values: Pixels, weights: Pixels) -> Pixels:
    """Fill where weights are 0, the smoother the farther from the known ones.

    The pull-push algorithm (Gortler and others, The lumigraph, 1996): means of 2 x 2 x 2 voxels,
    filled likewise, fill what is missing.
    """
    if weights.all() or max(values.shape) == 1:
        total = float(weights.sum())
        mean = float((values * weights).sum()) / total if total else 0.0
        return np.where(weights > 0, values, np.float32(mean)).astype(np.float32)
    pads = [(0, size % 2) for size in values.shape]
    sums, counts = (_halved(np.pad(one, pads)) for one in (values * weights, weights))
    coarse = np.asarray(sums / np.maximum(counts, 1e-12), np.float32)
    filled = _continued(coarse, np.minimum(counts, 1).astype(np.float32))
    fine = ndimage.affine_transform(  # a coarse voxel's centre is between two fine ones
        filled, np.full(3, 0.5), np.full(3, -0.25), values.shape, order=1, mode="nearest"
    )
    return np.asarray(weights * values + (1 - weights) * fine, np.float32)


def _halved(values: Pixels) -> Pixels:
    slices, height, width = values.shape
    blocks = values.reshape(slices // 2, 2, height // 2, 2, width // 2, 2)
    return np.asarray(blocks.sum(axis=(1, 3, 5)), np.float32)
