"""Denoise a volume as it was read, before anything is scaled or resampled: `--denoise`.

A median keeps edges, and the numbers keep their unit and type. Its neighbourhood is measured in
millimetres, since voxels are rarely cubes: thick slices do not flow into each other. scipy computes
it; SimpleITK has more filters, but takes 264 MB.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from fnetcli.errors import PairError, UsageError
from fnetcli.imaging.image import Image, Mask
from fnetcli.imaging.intensity import valid_pixels
from fnetcli.interruption import require_wanted
from fnetcli.modalities import BY_NAME
from fnetcli.volumes.resample import spacing

MEDIAN = "median"
USUAL = 1.5  # of the smallest step between voxels: in a plane of square pixels, 3 x 3
MAX_RADIUS = 20.0  # mm
MAX_NEIGHBOURS = 343  # voxels: 7 x 7 x 7; more would take minutes and leave nothing
SLAB = 1 << 20  # voxels; an interrupt waits for them


@dataclass(frozen=True)
class Denoising:
    """A median of all voxels within `radius` mm; None: USUAL."""

    radius: float | None = None


def parse_denoising(modality: str, text: str) -> Denoising:
    """Parse "median" or "median:MM". Raise UsageError for anything else, and for PET and SPECT."""
    option = f"--denoise {modality}={text}"
    if BY_NAME[modality].is_emission:
        raise UsageError(
            f"{option}: would change the uptake that colours and numbers show; leave it out"
        )
    name, mark, number = text.partition(":")
    try:
        radius = float(number) if mark else None
    except ValueError:
        radius = math.nan
    if name != MEDIAN or not (radius is None or 0 < radius <= MAX_RADIUS):
        raise UsageError(
            f"{option}: give median, or median:MM with a radius in millimetres, at most "
            f"{MAX_RADIUS:g}"
        )
    return Denoising(radius)


def denoised(image: Image, modality: str, how: Denoising) -> tuple[Image, str]:
    """Return a volume with less noise, and a sentence for the user.

    Colours are filtered channel by channel. Voxels without data stay as they are, and so do those
    next to them. Raise PairError if the radius reaches no other voxel, or too many.
    """
    steps = spacing(image.grid)
    radius = USUAL * min(steps) if how.radius is None else how.radius
    near = _neighbourhood(steps, image.grid.shape, radius)
    count = int(np.count_nonzero(near))
    of = f"voxels of {' x '.join(f'{step:.4g}' for step in reversed(steps))} mm"
    if count < 2:
        raise PairError(
            f"--denoise {modality}=median:{radius:g}: reaches no other of its {of}; give at least "
            f"{math.ceil(100 * min(steps)) / 100:g}"
        )
    if count > MAX_NEIGHBOURS:
        raise PairError(
            f"--denoise {modality}=median:{radius:g}: takes {count} {of}, more than "
            f"{MAX_NEIGHBOURS}; give a smaller radius"
        )
    valid = valid_pixels(image)
    pixels = np.empty_like(image.pixels)
    for slab in _slabs(image.grid.shape):
        require_wanted()
        reach = near.shape[0] // 2
        top = max(0, slab.start - reach)
        wide = slice(top, slab.stop + reach)
        kept = slice(slab.start - top, slab.stop - top)
        for channel in range(pixels.shape[3]):
            values = image.pixels[wide, ..., channel]
            found = ndimage.median_filter(values, footprint=near, mode="nearest")
            if valid is not None:
                found = np.where(_far_from_holes(valid[wide], near), found, values)
            pixels[slab, ..., channel] = found[kept]
    words = f"{modality} denoised: median within {radius:.3g} mm, {count} voxels"
    return replace(image, pixels=pixels), words


def _neighbourhood(
    steps: tuple[float, float, float], shape: tuple[int, int, int], radius: float
) -> Mask:
    """Return which voxels around one are within a radius, (slices, rows, columns), all odd."""
    sides = [
        np.arange(-reach, reach + 1) * step
        for step, reach in (
            (step, min(int(radius / step + 1e-6), size - 1))
            for step, size in zip(steps, shape, strict=True)
        )
    ]
    if math.prod(len(side) for side in sides) > 8 * MAX_NEIGHBOURS:
        return np.ones([len(side) for side in sides], bool)
    squares = [np.square(list(place)).sum() for place in itertools.product(*sides)]
    limit = (radius * (1 + 1e-6)) ** 2
    return np.reshape(np.array(squares) <= limit, [len(side) for side in sides])


def _far_from_holes(valid: Mask, near: Mask) -> Mask:
    """Return the voxels whose whole neighbourhood has data."""
    return ~np.asarray(ndimage.binary_dilation(~valid, structure=near), bool)


def _slabs(shape: tuple[int, int, int]) -> list[slice]:
    count = max(1, SLAB // (shape[1] * shape[2]))
    return [slice(top, min(top + count, shape[0])) for top in range(0, shape[0], count)]
