"""Results of sheared volumes on a grid at right angles: ITK opens no others.

Slices of a tilted gantry are shifted sideways, and some affines of NIfTI are sheared. The network
sees them as they are; what is written to one file is resampled, unless the shear is kept.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnetcli.imaging.image import Grid, Image
from fnetcli.volumes.resample import affine_of, resample, spacing

RIGHT_ANGLE = 1e-4  # cosine; a qform has no shear, and ITK falls back on it
BARE = 2e-5  # without a qform ITK is stricter
ROUNDING = 1e-3  # voxels


def is_sheared(reference: Image) -> bool:
    """Whether the axes of a volume's grid are not at right angles."""
    unit = affine_of(reference.grid)[:3, :3] / spacing(reference.grid)
    has_qform = reference.nifti is None or reference.nifti.qform is not None
    limit = RIGHT_ANGLE if has_qform else BARE
    return float(np.abs(unit.T @ unit - np.eye(3)).max()) > limit


def at_right_angles(grid: Grid) -> Grid:
    """Return a grid at right angles that covers another one: the same slices, as fine in them."""
    affine = affine_of(grid)
    steps = spacing(grid)
    along = affine[:3, 2] / steps[2]
    down = affine[:3, 1] / steps[1]
    down -= (down @ along) * along
    down /= np.linalg.norm(down)
    normal = np.cross(along, down)
    height = float(normal @ affine[:3, 0])
    made = np.eye(4)
    made[:3, :3] = np.column_stack([normal * height, down * steps[1], along * steps[2]])
    made[:3, 3] = affine[:3, 3]
    corners = np.array([*itertools.product(*((0, size - 1) for size in grid.shape))]).T
    there = np.linalg.solve(made, affine @ np.vstack([corners, np.ones(8)]))[:3]
    low = np.floor(there.min(axis=1) + ROUNDING)
    shape = [
        math.ceil(end - begin - ROUNDING) + 1
        for begin, end in zip(low, there.max(axis=1), strict=True)
    ]
    made[:3, 3] = (made @ [*low, 1])[:3]
    return Grid((shape[0], shape[1], shape[2]), made)


def resampled(values: NDArray[Any], grid: Grid, onto: Grid) -> NDArray[Any]:
    """Return float32 (slices, H, W) or uint8 (..., 3) on another grid, 0 outside."""
    planes = values[..., None] if values.ndim == 3 else values
    moved = resample(Image(np.asarray(planes), grid), onto)
    pixels = moved.pixels
    if moved.valid is not None:
        pixels = np.where(moved.valid[..., None], pixels, 0)
    if values.dtype == np.uint8:
        pixels = np.rint(pixels)
    found = pixels.astype(values.dtype)
    return found[..., 0] if values.ndim == 3 else found
