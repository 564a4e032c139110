"""Resample one volume onto the grid of another, by the position of both in the patient.

Every voxel's index is mapped to millimetres by the reference's affine, and from there to an index
of the moving volume, where its value is interpolated by scipy.ndimage. SimpleITK was the
alternative: it treats borders the same way, needs the same filter beforehand, and is two to three
times as fast (23 instead of 8 million voxels per second, linear, oblique, one core), which does not
matter beside a network. But it takes 264 MB installed, and copies every input volume. scipy is a
dependency anyway and reads stored integers directly. nibabel.processing is the same scipy call
without the filter, on the whole volume at once.

A coarser grid: a voxel is modelled as a Gaussian whose full width at half maximum is its spacing
(Cardoso et al., Scale factor point spread function matching, MICCAI 2015). The moving volume is
smoothed beforehand by the difference between its Gaussian and the reference's, per axis of the
moving volume: sigma = sqrt((k^2 - 1) / (8 ln 2)) of its voxels, where k^2 is the sum of squares of
the reference's three steps along that axis: the squared ratio of spacings if axes agree.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from fnetcli.errors import PairError, UsageError
from fnetcli.imaging.image import Grid, Image, Mask, Stored
from fnetcli.imaging.intensity import valid_pixels
from fnetcli.interruption import require_wanted

Interpolation = Literal["linear", "nearest", "cubic"]
Axis = Literal["auto", "axial", "coronal", "sagittal"]
Matrix = NDArray[np.float64]  # 4x4, of homogeneous coordinates

ORDERS: dict[Interpolation, int] = {"nearest": 0, "linear": 1, "cubic": 3}
SAME = 1e-4  # voxels: grids that differ by less are the same
SLAB = 1 << 20  # voxels that are computed at once
WIDE = 32.0  # voxels; beyond that the length of the filter would decide the time
PER_WIDTH = 1 / (8 * math.log(2))  # variance of a Gaussian per squared full width at half maximum
# The directions of slices, rows and columns in the radiological view of an anatomical plane, in
# RAS+: axial from below (feet to head; rows to the back, columns to the patient's left), coronal
# from the front, sagittal from the left. Each is right-handed in DICOM's sense.
PLANES: dict[Axis, tuple[tuple[int, int, int], ...]] = {
    "axial": ((0, 0, 1), (0, -1, 0), (-1, 0, 0)),
    "coronal": ((0, -1, 0), (0, 0, -1), (-1, 0, 0)),
    "sagittal": ((1, 0, 0), (0, 0, -1), (0, -1, 0)),
}
REFERENCES = ("mri", "ct")  # whose grid is kept by default, in this order


# --- where ----------------------------------------------------------------------------------------


def affine_of(grid: Grid) -> Matrix:
    """Return the affine of a volume; raise PairError for a picture, which has none."""
    if grid.affine is None:
        raise PairError(
            f"a picture ({grid.size}) has no position in the patient, unlike a volume; give two "
            "volumes or two pictures"
        )
    return grid.affine


def index_map(reference: Grid, moving: Grid) -> Matrix:
    """Return the 4x4 map from the reference's indices to those of the moving volume.

    Raise PairError if one of the two has no position.
    """
    start, target = affine_of(reference), affine_of(moving)
    return np.asarray(np.linalg.solve(target, start), np.float64)


def placed(image: Image, transform: Matrix) -> Image:
    """Return the moving image as placed by a transform.

    `transform` is 4x4 in RAS+ millimetres and maps the reference's points to the moving image's.
    Only the affine changes.
    """
    affine = np.linalg.solve(transform, affine_of(image.grid))
    grid = replace(image.grid, affine=np.asarray(affine, np.float64))
    return replace(image, grid=grid)


def spacing(grid: Grid) -> tuple[float, float, float]:
    """Return the spacing of slices, rows and columns in millimetres; raise PairError."""
    steps = np.linalg.norm(affine_of(grid)[:3, :3], axis=0)
    return float(steps[0]), float(steps[1]), float(steps[2])


def reference_of(choice: str | None, grids: Mapping[str, Grid]) -> str:
    """Return the modality whose grid is kept.

    `choice` is one of the two modalities, "finest" (the smallest voxels; the first if equal) or
    None: the MRI, else the CT, else the first. Raise UsageError for any other choice, PairError if
    "finest" is chosen for pictures.
    """
    if choice is None:
        return next((name for name in REFERENCES if name in grids), next(iter(grids)))
    if choice == "finest":
        return min(grids, key=lambda name: math.prod(spacing(grids[name])))
    if choice not in grids:
        raise UsageError(
            f"--reference {choice}: not one of the two volumes; use {', '.join(grids)} or finest"
        )
    return choice


def reference_grid(choice: str | None, grids: Mapping[str, Grid]) -> Grid:
    """Return the grid that `reference_of` chooses; raise the same errors."""
    return grids[reference_of(choice, grids)]


def overlap(reference: Grid, moving: Grid) -> float:
    """Return the share of the reference's voxels that are in the moving volume, above 0 up to 1.

    Raise PairError if there are none, or if one of the two has no position.
    """
    first, end = _covered(index_map(reference, moving), reference.shape, moving.shape)
    share = float(np.maximum(end - first, 0).sum() / math.prod(reference.shape))
    if share == 0:
        apart = np.linalg.norm(_centre(reference) - _centre(moving))
        raise PairError(
            f"the two volumes do not overlap (their centres are {apart:.0f} mm apart); check that "
            "they show the same patient and region, or align them first"
        )
    return share


def _centre(grid: Grid) -> Matrix:
    middle = [(size - 1) / 2 for size in grid.shape]
    return np.asarray(affine_of(grid) @ [*middle, 1.0])


def _covered(
    to_moving: Matrix, shape: tuple[int, ...], extent: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the columns (first, end) of every row, (slices, height), that are within `extent`.

    A volume extends to the outer faces of its voxels, half a step beyond their centres. It is
    convex, so each row has one range of columns in it.
    """
    slices, height, width = shape
    first = np.zeros((slices, height))
    end = np.full((slices, height), float(width))
    for row, size in zip(to_moving[:3], extent, strict=True):
        start = row[0] * np.arange(slices)[:, None] + row[1] * np.arange(height) + row[3]
        low, high = -0.5 - SAME - start, size - 0.5 + SAME - start
        if abs(row[2]) * width < SAME / 10:  # this coordinate is the same all along the row
            end[(low > 0) | (high < 0)] = 0
            continue
        if row[2] < 0:
            low, high = high, low
        np.maximum(first, np.ceil(low / row[2]), out=first)
        np.minimum(end, np.floor(high / row[2]) + 1, out=end)
    return np.minimum(first, width).astype(np.int64), np.maximum(end, 0).astype(np.int64)


# --- values ---------------------------------------------------------------------------------------


def resample(image: Image, grid: Grid, interpolation: Interpolation = "linear") -> Image:
    """Return a volume on another grid, in the same units.

    If the two grids are the same within SAME voxels, except for whole steps, permuted axes and
    flips, the stored numbers are copied in their own type. Otherwise the pixels are float32, or of
    the stored type with "nearest". `valid` is False outside the moving volume, and where more than
    half of the weight of a value has no data; valid voxels then share the whole weight. Pixels
    that are not valid have the lowest value of the volume. "linear" and "cubic" (B-splines, clipped
    to the volume's own range) are smoothed before they are put on a coarser grid; "nearest", for
    labels, never is. Between the outermost voxel centres and their outer faces the border is
    reflected.

    Besides both volumes this needs memory for a slab of SLAB voxels, and for one float32 copy of
    the moving volume if it is smoothed or cubic; twice that if it has holes. Raise PairError if one
    of the two has no position.
    """
    to_moving = index_map(grid, image.grid)
    exact = _whole_steps(to_moving, grid.shape)
    pixels, valid = (
        _interpolate(image, to_moving, grid, ORDERS[interpolation])
        if exact is None
        else _copy(image, exact, grid)
    )
    return Image(
        pixels=pixels,
        grid=grid,
        valid=None if valid is None or valid.all() else valid,
        bits=image.bits,
        notices=image.notices,
        unit=image.unit,
    )


def _lowest(image: Image, valid: Mask | None) -> Any:
    """Return the lowest of the valid numbers, 0 if there are none."""
    if valid is None:
        return image.pixels.min()
    kind = image.pixels.dtype
    top = np.inf if kind.kind == "f" else np.iinfo(kind).max
    return image.pixels.min(where=valid[..., None], initial=top) if valid.any() else kind.type(0)


def _interpolate(image: Image, to_moving: Matrix, grid: Grid, order: int) -> tuple[Stored, Mask]:
    seen = valid_pixels(image)
    kind = np.dtype(np.float32) if order else image.pixels.dtype
    lowest = kind.type(_lowest(image, seen))
    channels = image.pixels.shape[3]
    pixels = np.empty((*grid.shape, channels), kind)
    valid = np.empty(grid.shape, bool)
    weights = None if seen is None else _Source(seen.view(np.uint8), to_moving, order)
    first, end = _covered(to_moving, grid.shape, image.grid.shape)
    columns = np.arange(grid.shape[2])
    for slab in _slabs(grid.shape):
        require_wanted()
        inside = (columns >= first[slab, :, None]) & (columns < end[slab, :, None])
        if weights is not None:
            inside &= weights.at(slab, grid.shape) > 0.5
        valid[slab] = inside
    for channel in range(channels):
        values = image.pixels[..., channel]
        source = _Source(values if seen is None else np.where(seen, values, 0), to_moving, order)
        for slab in _slabs(grid.shape):
            require_wanted()
            part, inside = source.at(slab, grid.shape), valid[slab]
            if weights is not None and order:
                part /= np.where(inside, weights.at(slab, grid.shape), 1)
            pixels[slab, ..., channel] = np.where(inside, part, lowest)
    if order > 1:  # splines overshoot
        highest = image.pixels.max(where=True if seen is None else seen[..., None], initial=lowest)
        np.clip(pixels, lowest, kind.type(highest), out=pixels)
    return pixels, valid


def _slabs(shape: tuple[int, ...]) -> list[slice]:
    count = max(1, SLAB // (shape[1] * shape[2]))
    return [slice(i, min(i + count, shape[0])) for i in range(0, shape[0], count)]


class _Source:
    """One channel of the moving volume, prepared for interpolation between its voxels."""

    def __init__(self, values: Stored, to_moving: Matrix, order: int) -> None:
        self.to_moving, self.order = to_moving, order
        self.kind = np.dtype(np.float32) if order else values.dtype
        if order:
            values = _smoothed(values, smoothing(to_moving))
        if order > 1:
            values = ndimage.spline_filter(values, order, output=np.float32, mode="reflect")
        self.values = values

    def at(self, slab: slice, shape: tuple[int, ...]) -> Stored:
        """Return the values at some slices of the reference."""
        moved: Stored = ndimage.affine_transform(
            self.values,
            self.to_moving[:3, :3],
            offset=self.to_moving[:3, 3] + slab.start * self.to_moving[:3, 0],
            output_shape=(slab.stop - slab.start, *shape[1:]),
            output=self.kind,
            order=self.order,
            mode="reflect",
            prefilter=False,
        )
        return moved


def smoothing(to_moving: Matrix) -> NDArray[np.float64]:
    """Return the sigmas, in voxels of the moving volume, to smooth it with beforehand."""
    widths = np.square(to_moving[:3, :3]).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(widths - 1, 0) * PER_WIDTH))


def _smoothed(values: Stored, sigmas: NDArray[np.float64]) -> Stored:
    """Smooth like scipy's gaussian_filter, in float32, axis by axis; unchanged without sigmas."""
    smoothed = values
    for axis, sigma in enumerate(sigmas):
        if sigma == 0:
            continue
        require_wanted()
        is_ours = smoothed is not values
        if sigma > WIDE:
            smoothed = _damped(smoothed.astype(np.float32, copy=not is_ours), sigma, axis)
            continue
        out = smoothed if is_ours else np.float32
        smoothed = ndimage.gaussian_filter1d(smoothed, sigma, axis, output=out, mode="reflect")
    return smoothed


def _damped(values: Stored, sigma: float, axis: int) -> Stored:
    """Smooth with a wide Gaussian in the time of a narrow one; overwrite `values`.

    Reflected at both ends, a line is a sum of cosines, and a Gaussian damps each by a factor.
    """
    count = values.shape[axis]
    damping = np.exp(-0.5 * np.square(sigma * np.pi / count * np.arange(count)))
    waves = fft.dct(values, axis=axis, overwrite_x=True)
    waves *= damping.astype(np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
    smoothed: Stored = fft.idct(waves, axis=axis, overwrite_x=True)
    return smoothed


# --- axes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reordering:
    """A permutation of a volume's axes, some of them flipped: no value changes.

    Axis i of the result is axis `axes[i]` of the source, flipped if `flips[i]`.
    """

    axes: tuple[int, ...] = (0, 1, 2)
    flips: tuple[bool, ...] = (False, False, False)

    @property
    def is_identity(self) -> bool:
        """Whether nothing changes."""
        return self == Reordering()

    def apply(self, values: Stored) -> Stored:
        """Return a reordered view of an array whose first three axes are those of a volume."""
        rest = range(3, values.ndim)
        return values.transpose(*self.axes, *rest)[self._steps]

    def undo(self, values: Stored) -> Stored:
        """Return a view, in the source's order, of an array in the order of `apply`."""
        rest = range(3, values.ndim)
        return values[self._steps].transpose(*np.argsort(self.axes), *rest)

    def grid(self, grid: Grid) -> Grid:
        """Return the reordered grid."""
        shape = [grid.shape[axis] for axis in self.axes]
        affine = grid.affine
        if affine is not None:
            reorder = np.eye(4)
            reorder[:3, :3] = 0
            for i, (axis, is_flipped) in enumerate(zip(self.axes, self.flips, strict=True)):
                reorder[axis, i] = -1 if is_flipped else 1
                reorder[axis, 3] = shape[i] - 1 if is_flipped else 0
            affine = affine @ reorder
        return Grid((shape[0], shape[1], shape[2]), affine)

    def image(self, image: Image) -> Image:
        """Return an image with reordered pixels, mask and grid, and its other metadata."""
        return replace(
            image,
            pixels=self.apply(image.pixels),
            grid=self.grid(image.grid),
            alpha=None if image.alpha is None else self.apply(image.alpha),
            valid=None if image.valid is None else self.apply(image.valid),
        )

    @property
    def _steps(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if is_flipped else None) for is_flipped in self.flips)


def to_axis(grid: Grid, axis: Axis) -> Reordering:
    """Return the reordering to slices of an anatomical orientation, in the radiological view.

    For oblique volumes the nearest axes are used. "auto" changes nothing: the plane of the
    acquisition. Raise PairError for a picture, unless "auto" is chosen.
    """
    if axis == "auto":
        return Reordering()
    steps = affine_of(grid)[:3, :3]
    along = np.asarray(PLANES[axis]) @ (steps / np.linalg.norm(steps, axis=0))
    axes = max(
        itertools.permutations(range(3)), key=lambda order: np.abs(along[range(3), order]).sum()
    )
    return Reordering(axes, tuple(bool(along[i, axes[i]] < 0) for i in range(3)))


def plane_of(grid: Grid) -> Axis:
    """Return the anatomical plane nearest to a volume's slices; raise PairError."""
    planes: tuple[Axis, ...] = ("axial", "coronal", "sagittal")
    return next(name for name in planes if to_axis(grid, name).axes[0] == 0)


# --- whole steps ----------------------------------------------------------------------------------


def _whole_steps(to_moving: Matrix, shape: tuple[int, ...]) -> tuple[Reordering, list[int]] | None:
    """Return a map as a reordering of the moving volume, and the position of its first voxel.

    Return None if some voxel of the reference is not on the moving volume's lattice.
    """
    whole = np.rint(to_moving)
    turn = np.abs(whole[:3, :3])
    if not ((turn.sum(axis=0) == 1).all() and (turn.sum(axis=1) == 1).all()):
        return None
    corners = np.array([*itertools.product(*((0, size - 1) for size in shape))]).T
    apart = (to_moving - whole)[:3] @ np.vstack([corners, np.ones(8)])
    if np.abs(apart).max() > SAME:
        return None
    axes = tuple(int(axis) for axis in turn.argmax(axis=0))
    flips = tuple(bool(whole[axis, i] < 0) for i, axis in enumerate(axes))
    return Reordering(axes, flips), [int(whole[axis, 3]) for axis in axes]


def _copy(
    image: Image, exact: tuple[Reordering, list[int]], grid: Grid
) -> tuple[Stored, Mask | None]:
    reordering, firsts = exact
    seen = valid_pixels(image)
    source = reordering.apply(image.pixels)
    # Index, in the reference, of the source's first voxel, or its last along flipped axes.
    shifts = [
        first - (size - 1) if is_flipped else -first
        for first, size, is_flipped in zip(firsts, source.shape, reordering.flips, strict=False)
    ]
    if source.shape[:3] == grid.shape and not any(shifts):
        return source, None if seen is None else reordering.apply(seen)
    lowest = _lowest(image, seen)
    pixels = np.full((*grid.shape, source.shape[3]), lowest, image.pixels.dtype)
    valid = np.zeros(grid.shape, bool)
    here, there = [], []
    for shift, size, room in zip(shifts, source.shape, grid.shape, strict=False):
        begin, stop = max(shift, 0), max(min(shift + size, room), 0)
        begin = min(begin, stop)
        here.append(slice(begin, stop))
        there.append(slice(begin - shift, stop - shift))
    pixels[tuple(here)] = source[tuple(there)]
    valid[tuple(here)] = True if seen is None else reordering.apply(seen)[tuple(there)]
    return pixels, valid
