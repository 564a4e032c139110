"""Put two pictures on one grid by a 3x3 transform: warp one, crop the other to the common view.

Points are (x, y) in pixels; whole numbers are centres of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fnetcli.errors import PairError
from fnetcli.imaging.image import Alignment, Grid, Pixels, Stored, bands
from fnetcli.imaging.intensity import Scaled

Matrix = NDArray[np.float64]
Points = NDArray[np.float64]

MIN_SIDE = 8  # pixels of a common view that is worth fusing
SPLINE = 3  # order of interpolation
EDGE = 1e-6  # pixels by which a point may lie outside for rounding alone
SHARPER = 1.0  # pixels of the other image per pixel from which it decides the grid


@dataclass(frozen=True)
class Placed:
    """How two pictures came onto one grid, for the record.

    `matrix` maps points of the first picture to points of the second, as they are in their files.
    `reference` is the modality whose pixels are kept; `window` is the part of its picture that
    both show: left, top, width, height.
    """

    matrix: Matrix
    source: str
    reference: str
    window: tuple[int, int, int, int]
    notices: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What a user should know of where it comes from."""
        left, top, width, height = self.window
        return (
            f"{self.reference}: the window of {width}x{height} pixels from ({left}, {top}) on is "
            f"what both images show, by the {self.source} alignment; near things may be displaced"
        )

    def record(self) -> dict[str, object]:
        """Return it as JSON takes it."""
        return {
            "source": self.source,
            "matrix": [[round(float(number), 9) for number in row] for row in self.matrix],
            "reference": self.reference,
            "window": list(self.window),
        }


def onto_common_view(
    first: Scaled,
    second: Scaled,
    modalities: tuple[str, str],
    alignment: Alignment,
    keep: str | None = None,
) -> tuple[Scaled, Scaled, Placed]:
    """Return both images on the grid of one of them, cropped to what both show, and how.

    `alignment` is that of the first in the second. `keep` names the modality whose pixels are kept;
    without it, those of the picture with more pixels in the common view. Raise PairError if there
    is no common view.
    """
    matrix = _for_size(alignment, second.image.grid)
    if keep is None:
        keep = modalities[int(_scale_at_centre(matrix, first.image.grid) >= SHARPER)]
    is_first = keep == modalities[0]
    reference, moving = (first, second) if is_first else (second, first)
    to_moving = matrix if is_first else np.linalg.inv(matrix)
    window = _window(np.linalg.inv(to_moving), moving.image.grid, reference.image.grid)
    left, top, width, height = window
    if min(width, height) < MIN_SIDE:
        raise PairError(
            f"the alignment leaves {max(0, width)}x{max(0, height)} pixels of {keep} that both "
            "images show; fuse them as files of their own, with --resize"
        )
    shift = np.array([[1, 0, left], [0, 1, top], [0, 0, 1]], float)
    kept = _cropped(reference, window)
    warped = warp(moving.in_full(), to_moving @ shift, kept.image.grid)
    pair = (kept, warped) if is_first else (warped, kept)
    return (*pair, Placed(matrix, alignment.source, keep, window, alignment.notices))


def warp(scaled: Scaled, matrix: Matrix, grid: Grid) -> Scaled:
    """Return an image in [0, 1] on another grid; `matrix` maps the grid's points to the image's.

    Cubic interpolation; where the image is reduced, it is smoothed first. Pixels that the image
    does not show hold its nearest pixel, and are not valid.
    """
    image = scaled.image
    step = _scale_at_centre(matrix, grid)
    pixels = np.stack([_warp_planes(part, matrix, grid, step) for part in image.pixels])
    low, high = float(image.pixels.min()), float(image.pixels.max())
    alpha = image.alpha
    if alpha is not None:
        alpha = np.stack([_warp_planes(a[..., None], matrix, grid, step)[..., 0] for a in alpha])
        alpha = np.clip(alpha, 0, 1)
    seen = np.ones(image.pixels.shape[:3], np.float32)
    if image.valid is not None:
        seen = image.valid.astype(np.float32)
    valid = np.stack([_warp_seen(part, matrix, grid) for part in seen])
    return replace(
        scaled,
        image=replace(
            image,
            pixels=np.clip(pixels, low, high),
            grid=grid,
            alpha=alpha,
            valid=None if valid.all() else valid,
            georeference=None,
        ),
    )


def apply(matrix: Matrix, points: Points) -> Points:
    """Return where a transform maps points (..., 2)."""
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    result: Points = mapped[..., :2] / mapped[..., 2:]
    return result


def _for_size(alignment: Alignment, grid: Grid) -> Matrix:
    """Return the matrix for a second picture that is of another size than the alignment's."""
    _, height, width = grid.shape
    resized = np.eye(3)
    for axis, (now, before) in enumerate(zip((width, height), alignment.size, strict=True)):
        resized[axis, axis] = now / before
        resized[axis, 2] = (now / before - 1) / 2
    return np.asarray(resized @ alignment.matrix)


def _scale_at_centre(matrix: Matrix, grid: Grid) -> float:
    """Return how many pixels of the image a pixel at the grid's centre is wide."""
    _, height, width = grid.shape
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    near = apply(matrix, centre + np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5]]))
    jacobian = 2 * (near[1:] - near[0])
    return math.sqrt(abs(float(np.linalg.det(jacobian))))


def _window(to_reference: Matrix, moving: Grid, reference: Grid) -> tuple[int, int, int, int]:
    """Return the largest upright window of the reference between the moving picture's corners."""
    _, height, width = moving.shape
    corners = np.array(
        [[-0.5, -0.5], [width - 0.5, -0.5], [-0.5, height - 0.5], [width - 0.5, height - 0.5]]
    )
    x, y = apply(to_reference, corners).T.reshape(2, 2, 2)  # [top or bottom, left or right]
    _, tall, wide = reference.shape
    left, right = _inside(float(x[:, 0].max()), float(x[:, 1].min()), wide)
    top, bottom = _inside(float(y[0].max()), float(y[1].min()), tall)
    return left, top, right - left, bottom - top


def _inside(begin: float, end: float, size: int) -> tuple[int, int]:
    """Return the pixels, from one to before another, whose centres lie between two edges."""
    if not (math.isfinite(begin) and math.isfinite(end)):
        return 0, 0
    return max(0, math.ceil(begin - EDGE)), min(size, math.floor(end + EDGE) + 1)


def _cropped(scaled: Scaled, window: tuple[int, int, int, int]) -> Scaled:
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


def _warp_planes(pixels: Pixels, matrix: Matrix, grid: Grid, step: float) -> Pixels:
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
        place = np.clip(points, 0, last)[..., ::-1].transpose(2, 0, 1) + SPLINE
        found = [
            ndimage.map_coordinates(plane, place, order=SPLINE, prefilter=False, mode="mirror")
            for plane in prepared
        ]
        return np.stack(found, axis=-1).astype(np.float32)

    return _by_bands(sample, matrix, (height, width), len(planes))


def _warp_seen(seen: Pixels, matrix: Matrix, grid: Grid) -> NDArray[np.bool_]:
    """Return where a warped picture shows pixels with data."""
    from scipy import ndimage

    tall, wide = seen.shape
    _, height, width = grid.shape

    def sample(points: Points) -> Pixels:
        x, y = points[..., 0], points[..., 1]
        edge = 0.5 + EDGE
        inside = (x >= -edge) & (x <= wide - 1 + edge) & (y >= -edge) & (y <= tall - 1 + edge)
        place = np.stack([np.clip(y, 0, tall - 1), np.clip(x, 0, wide - 1)])
        share = ndimage.map_coordinates(seen, place, order=1, mode="nearest")
        found: Pixels = (share * inside)[..., None].astype(np.float32)
        return found

    found: NDArray[np.bool_] = _by_bands(sample, matrix, (height, width), 1)[..., 0] > 0.5
    return found


def _by_bands(
    sample: Callable[[Points], Pixels], matrix: Matrix, shape: tuple[int, int], channels: int
) -> Pixels:
    """Return what a function finds at every pixel's mapped point; few points are kept at once."""
    height, width = shape
    result = np.empty((height, width, channels), np.float32)
    columns = np.arange(width, dtype=float)
    for band in bands(shape):
        rows = np.arange(band.start, min(band.stop, height), dtype=float)
        points = np.stack(np.meshgrid(columns, rows), axis=-1)
        result[band] = sample(apply(matrix, points))
    return result
