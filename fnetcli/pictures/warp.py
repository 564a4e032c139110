"""Put two pictures on one grid by a transform: the reference keeps its pixels, the other is warped.

Points are (x, y) in pixels; whole numbers are centres of pixels (`imaging.planar`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from threading import Lock
from typing import Literal

import numpy as np

from fnetcli.errors import PairError
from fnetcli.imaging.color import luminance
from fnetcli.imaging.image import Grid, Mask, Pixels, Stored, bands
from fnetcli.imaging.intensity import Scaled
from fnetcli.imaging.planar import Points, Size, Transform
from fnetcli.text import number_of

View = Literal["reference", "common"]
Window = tuple[int, int, int, int]  # left, top, width, height
Find = Callable[[Points], Points]

MIN_SIDE = 8  # pixels of a common view that is worth fusing
SPLINE = 3  # order of interpolation
HALF = 0.5  # share of a pixel from which it shows something
EDGE = 1e-6  # pixels by which a point may lie outside for rounding alone
EDGE_STEPS = 32  # of a side of a picture, where a lens may bend it
MAX_KEPT = 1 << 23  # pixels of a grid (4K) whose places in a picture are kept, 17 bytes each


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
    way = transform.cropped(left, top).inverse
    warped, seen = warp(moving.in_full(), way, reference.image.grid, view)
    if view == "reference" and int(seen.sum()) < MIN_SIDE**2:
        raise PairError(
            f"the alignment leaves {number_of(int(seen.sum()), 'pixel')} of {name} that both "
            "images show; check it, or fuse them as files of their own, with --resize"
        )
    window = (left, top, width, height)
    return Warped(reference, warped, window, None if seen.all() or view == "common" else seen)


def warp(scaled: Scaled, way: Transform, grid: Grid, view: View = "common") -> tuple[Scaled, Mask]:
    """Return an image in [0, 1] on another grid, and where it shows any of it.

    `way` maps the grid's points to the image's. Cubic interpolation; where the image is reduced,
    it is smoothed first. Pixels that the image does not show hold its nearest pixel; they are not
    valid in a common view.
    """
    image = scaled.image
    step = scale_at_centre(way.to_reference, grid)
    places = _places(way, grid, image.grid)
    pixels = np.stack([_warp_planes(part, places, step) for part in image.pixels])
    low, high = float(image.pixels.min()), float(image.pixels.max())
    pixels = np.clip(pixels, low, high)
    alpha = image.alpha
    if alpha is not None:
        alpha = np.stack([_warp_planes(a[..., None], places, step)[..., 0] for a in alpha])
        alpha = np.clip(alpha, 0, 1)
    seen = np.stack([places.seen()] * image.grid.shape[0])
    valid = seen
    if image.valid is not None:
        valid = np.stack([places.shares(part) > HALF for part in image.valid.astype(np.float32)])
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


def _warp_planes(pixels: Pixels, places: _Places, step: float) -> Pixels:
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
    result = np.empty((*places.shape, len(planes)), np.float32)
    for band, knots in places.knots():
        for c, plane in enumerate(prepared):
            result[band, :, c] = ndimage.map_coordinates(
                plane, knots, order=SPLINE, prefilter=False, mode="mirror"
            )
    return result


# --- where the pixels of a grid lie in a picture --------------------------------------------------


@dataclass(frozen=True)
class _Places:
    """Where the pixels of a grid lie in a picture; `shape` and `size` are (height, width) of both.

    `way` maps the grid's points to the picture's. Few points are kept at once.
    """

    way: Transform
    shape: tuple[int, int]
    size: tuple[int, int]

    def knots(self) -> Iterator[tuple[slice, Points]]:
        """Yield rows of the grid, and their (y, x), (2, rows, width), in the padded picture."""
        tall, wide = self.size
        for band, points in self._bands():
            nearest = np.clip(np.nan_to_num(points), 0, (wide - 1, tall - 1))
            yield band, nearest[..., ::-1].transpose(2, 0, 1) + SPLINE

    def seen(self) -> Mask:
        """Return where the picture shows the grid, (height, width)."""
        return self.shares(np.ones(self.size, np.float32)) > HALF

    def shares(self, valid: Pixels) -> Pixels:
        """Return how much of each pixel shows valid ones, which are 1 in (height, width)."""
        from scipy import ndimage

        tall, wide = self.size
        result = np.empty(self.shape, np.float32)
        edge = 0.5 + EDGE
        for band, points in self._bands():
            x, y = points[..., 0], points[..., 1]
            inside = (x >= -edge) & (x <= wide - 1 + edge) & (y >= -edge) & (y <= tall - 1 + edge)
            x, y = np.nan_to_num(x), np.nan_to_num(y)
            place = np.stack([np.clip(y, 0, tall - 1), np.clip(x, 0, wide - 1)])
            share = ndimage.map_coordinates(valid, place, order=1, mode="nearest")
            result[band] = share * inside
        return result

    def _bands(self) -> Iterator[tuple[slice, Points]]:
        """Yield rows of the grid and where they lie, (rows, width, 2) of x, y, or NaN."""
        height, width = self.shape
        columns = np.arange(width, dtype=float)
        for band in bands(self.shape):
            rows = np.arange(band.start, min(band.stop, height), dtype=float)
            yield band, self.way.to_reference(np.stack(np.meshgrid(columns, rows), axis=-1))


@dataclass(frozen=True)
class _KeptPlaces(_Places):
    """The same, computed once: of frames of a film, or pictures of a rig."""

    kept: Points  # (2, height, width)
    mask: Mask

    def knots(self) -> Iterator[tuple[slice, Points]]:
        """Yield all rows at once."""
        yield slice(None), self.kept

    def seen(self) -> Mask:
        """Return where the picture shows the grid."""
        return self.mask


class _Last:
    """The last transform that was used: what it means is kept from the second time on."""

    def __init__(self) -> None:
        self._lock = Lock()  # pictures are read in several threads
        self._key: Hashable = None
        self._kept: _KeptPlaces | None = None

    def of(self, places: _Places) -> _Places:
        """Return the same places, computed already if they come again."""
        key = places.way.key, places.shape, places.size
        with self._lock:
            if key != self._key:
                self._key, self._kept = key, None
                return places
            if self._kept is None:
                self._kept = _computed(places)
            return self._kept


def _computed(places: _Places) -> _KeptPlaces:
    kept = np.empty((2, *places.shape))
    for band, knots in places.knots():
        kept[:, band] = knots
    return _KeptPlaces(places.way, places.shape, places.size, kept, places.seen())


_last = _Last()


def _places(way: Transform, grid: Grid, picture: Grid) -> _Places:
    """Return where the pixels of a grid lie in a picture."""
    _, height, width = grid.shape
    _, tall, wide = picture.shape
    places = _Places(way, (height, width), (tall, wide))
    return _last.of(places) if height * width <= MAX_KEPT else places
