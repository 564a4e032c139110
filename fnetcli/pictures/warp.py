"""Put two pictures on one grid by a transform: the reference keeps its pixels, the other is warped.

Points are (x, y) in pixels; whole numbers are centres of pixels (`imaging.planar`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fnetcli.errors import PairError
from fnetcli.imaging.color import luminance
from fnetcli.imaging.image import Grid, Mask, Pixels, Stored, bands
from fnetcli.imaging.intensity import Scaled
from fnetcli.imaging.planar import Points, Size, Transform

View = Literal["reference", "common"]
Window = tuple[int, int, int, int]  # left, top, width, height
Find = Callable[[Points], Points]

MIN_SIDE = 8  # pixels of a common view that is worth fusing
SPLINE = 3  # order of interpolation
EDGE = 1e-6  # pixels by which a point may lie outside for rounding alone
EDGE_STEPS = 32  # of a side of a picture, where a lens may bend it


@dataclass(frozen=True)
class Warped:
    """A reference and a moving picture on one grid.

    `window` is the part of the reference that is kept. `seen` is where the moving picture shows
    anything, (slices, H, W), or None: everywhere.
    """

    reference: Scaled
    moving: Scaled
    window: Window
    seen: Mask | None = None

    @property
    def pair(self) -> tuple[Scaled, Scaled]:
        """The reference and the moving picture."""
        return self.reference, self.moving


def onto_reference(
    reference: Scaled, moving: Scaled, transform: Transform, view: View, name: str
) -> Warped:
    """Warp the moving picture onto the reference's grid.

    The common view is the largest upright window between the moving picture's edges; in the view of
    the reference, what the moving picture does not show holds its nearest pixels, without colours.
    `name` is the reference's. Raise PairError if hardly anything is seen by both.
    """
    left, top, width, height = (0, 0, *size_of(reference.image.grid))
    if view == "common":
        left, top, width, height = _window(transform, moving.image.grid, reference.image.grid)
        if min(width, height) < MIN_SIDE:
            raise PairError(
                f"the alignment leaves {max(0, width)}x{max(0, height)} pixels of {name} that both "
                "images show; check it, or fuse them as files of their own, with --resize"
            )
        reference = cropped(reference, (left, top, width, height))
    find = transform.cropped(left, top).inverse.to_reference
    warped, seen = warp(moving.in_full(), find, reference.image.grid, view)
    if view == "reference" and int(seen.sum()) < MIN_SIDE**2:
        raise PairError(
            f"the alignment leaves {int(seen.sum())} pixels of {name} that both images show; check "
            "it, or fuse them as files of their own, with --resize"
        )
    window = (left, top, width, height)
    return Warped(reference, warped, window, None if seen.all() or view == "common" else seen)


def warp(scaled: Scaled, find: Find, grid: Grid, view: View = "common") -> tuple[Scaled, Mask]:
    """Return an image in [0, 1] on another grid, and where it shows any of it.

    `find` maps the grid's points to the image's. Cubic interpolation; where the image is reduced,
    it is smoothed first. Pixels that the image does not show hold its nearest pixel; they are not
    valid in a common view.
    """
    image = scaled.image
    step = scale_at_centre(find, grid)
    pixels = np.stack([_warp_planes(part, find, grid, step) for part in image.pixels])
    low, high = float(image.pixels.min()), float(image.pixels.max())
    pixels = np.clip(pixels, low, high)
    alpha = image.alpha
    if alpha is not None:
        alpha = np.stack([_warp_planes(a[..., None], find, grid, step)[..., 0] for a in alpha])
        alpha = np.clip(alpha, 0, 1)
    whole = np.ones(image.pixels.shape[:3], np.float32)
    seen = np.stack([_warp_seen(part, find, grid) for part in whole])
    valid = seen
    if image.valid is not None:
        valid = np.stack([_warp_seen(part, find, grid) for part in image.valid.astype(np.float32)])
    if view == "reference":
        valid = valid | ~seen
        if image.is_color and not seen.all():
            pixels[~seen] = luminance(pixels[~seen])
    return (
        replace(
            scaled,
            image=replace(
                image,
                pixels=pixels,
                grid=grid,
                alpha=alpha,
                valid=None if valid.all() else valid,
                georeference=None,
            ),
        ),
        seen,
    )


def scale_at_centre(find: Find, grid: Grid) -> float:
    """Return how many pixels of the image a pixel at the grid's centre is wide."""
    _, height, width = grid.shape
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    near = find(centre + np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5]]))
    jacobian = 2 * (near[1:] - near[0])
    scale = math.sqrt(abs(float(np.linalg.det(jacobian))))
    return scale if math.isfinite(scale) else 1.0


def size_of(grid: Grid) -> Size:
    """Return width and height."""
    _, height, width = grid.shape
    return width, height


def _window(transform: Transform, moving: Grid, reference: Grid) -> Window:
    """Return the largest upright window of the reference between the moving picture's edges."""
    width, height = size_of(moving)
    steps = EDGE_STEPS if transform.has_lenses else 1
    across, along = (np.linspace(-0.5, side - 0.5, steps + 1) for side in (width, height))

    def reached(x: Points, y: Points) -> Points:
        points = np.stack(np.broadcast_arrays(x, y), axis=-1)
        return np.nan_to_num(transform.to_reference(points), nan=np.inf)

    columns, rows = size_of(reference)
    left, right = _inside(
        float(reached(across[0], along)[:, 0].max()),
        float(reached(across[-1], along)[:, 0].min()),
        columns,
    )
    top, bottom = _inside(
        float(reached(across, along[0])[:, 1].max()),
        float(reached(across, along[-1])[:, 1].min()),
        rows,
    )
    return left, top, right - left, bottom - top


def _inside(begin: float, end: float, size: int) -> tuple[int, int]:
    """Return the pixels, from one to before another, whose centres lie between two edges."""
    if not (math.isfinite(begin) and math.isfinite(end)):
        return 0, 0
    return max(0, math.ceil(begin - EDGE)), min(size, math.floor(end + EDGE) + 1)


def cropped(scaled: Scaled, window: Window) -> Scaled:
    """Return a window of an image."""
    left, top, width, height = window
    image = scaled.image
    rows, columns = slice(top, top + height), slice(left, left + width)

    def cut(values: Stored) -> Stored:
        return np.ascontiguousarray(values[:, rows, columns])

    return replace(
        scaled,
        image=replace(
            image,
            pixels=cut(image.pixels),
            grid=Grid((image.grid.shape[0], height, width)),
            alpha=None if image.alpha is None else cut(image.alpha),
            valid=None if image.valid is None else cut(image.valid),
            georeference=None,
        ),
    )


def _warp_planes(pixels: Pixels, find: Find, grid: Grid, step: float) -> Pixels:
    """Warp (H, W, C) to the grid's height and width."""
    from scipy import ndimage  # slow to import, and few pictures are warped

    planes = [np.ascontiguousarray(pixels[..., c], np.float32) for c in range(pixels.shape[-1])]
    if step > 1:  # a pixel of the grid covers several of the image
        spread = 0.5 * math.sqrt(step * step - 1)
        planes = [ndimage.gaussian_filter(plane, spread, mode="nearest") for plane in planes]
    prepared = [
        ndimage.spline_filter(np.pad(plane, SPLINE, "edge"), SPLINE, np.float32, "mirror")
        for plane in planes
    ]
    _, height, width = grid.shape
    last = np.array([pixels.shape[1] - 1, pixels.shape[0] - 1])

    def sample(points: Points) -> Pixels:
        place = np.clip(np.nan_to_num(points), 0, last)[..., ::-1].transpose(2, 0, 1) + SPLINE
        found = [
            ndimage.map_coordinates(plane, place, order=SPLINE, prefilter=False, mode="mirror")
            for plane in prepared
        ]
        return np.stack(found, axis=-1).astype(np.float32)

    return _by_bands(sample, find, (height, width), len(planes))


def _warp_seen(seen: Pixels, find: Find, grid: Grid) -> NDArray[np.bool_]:
    """Return where a warped picture shows pixels with data."""
    from scipy import ndimage

    tall, wide = seen.shape
    _, height, width = grid.shape

    def sample(points: Points) -> Pixels:
        x, y = points[..., 0], points[..., 1]
        edge = 0.5 + EDGE
        inside = (x >= -edge) & (x <= wide - 1 + edge) & (y >= -edge) & (y <= tall - 1 + edge)
        x, y = np.nan_to_num(x), np.nan_to_num(y)
        place = np.stack([np.clip(y, 0, tall - 1), np.clip(x, 0, wide - 1)])
        share = ndimage.map_coordinates(seen, place, order=1, mode="nearest")
        found: Pixels = (share * inside)[..., None].astype(np.float32)
        return found

    found: NDArray[np.bool_] = _by_bands(sample, find, (height, width), 1)[..., 0] > 0.5
    return found


def _by_bands(
    sample: Callable[[Points], Pixels], find: Find, shape: tuple[int, int], channels: int
) -> Pixels:
    """Return what a function finds at every pixel's place; few points are kept at once."""
    height, width = shape
    result = np.empty((height, width, channels), np.float32)
    columns = np.arange(width, dtype=float)
    for band in bands(shape):
        rows = np.arange(band.start, min(band.stop, height), dtype=float)
        points = np.stack(np.meshgrid(columns, rows), axis=-1)
        result[band] = sample(find(points))
    return result
