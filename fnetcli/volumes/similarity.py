"""How well two volumes are aligned: mutual information of points, and its optimum.

Points of the reference are chosen once, between voxels, and compared with the moving volume where a
transform puts them. Normalised mutual information (Studholme, Hill and Hawkes, An overlap invariant
entropy measure of 3D medical image alignment, 1999) decides; the search is Powell's. Nothing is
random but the choice of points, which is always the same: equal volumes give equal results.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fnetcli.errors import PairError
from fnetcli.imaging.color import luminance
from fnetcli.imaging.image import Grid, Image, Mask
from fnetcli.imaging.intensity import valid_pixels
from fnetcli.interruption import require_wanted
from fnetcli.volumes.resample import Matrix, affine_of, resample, spacing
from fnetcli.volumes.windows import body_mask

DEPTH = 8.0  # mm below the skin: where the inner structures begin
MARGIN = 4.0  # mm beyond it: the skin itself is a structure
MIN_SHARE = 0.2  # of the body that is deep enough; a thinner body counts as a whole
SEED = 20_250_101
BINS = 32
CLIP = (0.5, 99.5)  # percentiles; numbers beyond would take up the histogram
MIN_INSIDE = 0.3  # share of the points that must lie in the moving volume
TOLERANCE, ROUNDS = 0.02, 8  # of Powell's search; mm

Greys = NDArray[np.float64]


@dataclass(frozen=True)
class Grey:
    """A volume as it is compared: grey, on a coarse grid; where it has data, and its body."""

    values: NDArray[np.float32]
    grid: Grid
    valid: Mask | None
    body: Mask


def grey_volume(image: Image, step: float, modality: str) -> Grey:
    """Return a volume with voxels of about `step` mm, or its own if those are larger.

    Raise PairError for a volume that is constant or has no position.
    """
    factors = [max(1.0, step / own) for own in spacing(image.grid)]
    shape = [max(1, round(n / k)) for n, k in zip(image.grid.shape, factors, strict=True)]
    way = np.diag([*factors, 1.0])
    way[:3, 3] = [  # the same centre
        (n - 1) / 2 - k * (m - 1) / 2
        for n, m, k in zip(image.grid.shape, shape, factors, strict=True)
    ]
    grid = Grid((shape[0], shape[1], shape[2]), affine_of(image.grid) @ way)
    coarse = resample(image, grid)
    valid = valid_pixels(coarse)
    grey = luminance(coarse.pixels) if coarse.is_color else coarse.pixels
    values = grey[..., 0].astype(np.float32)
    seen = values if valid is None else values[valid]
    if not seen.size or seen.min() == seen.max():
        raise PairError("registration needs contrast, but one volume is constant; leave it out")
    if valid is not None:  # the edge of filled holes must not look like an edge of the patient
        nearest = ndimage.distance_transform_edt(
            ~valid, return_distances=False, return_indices=True
        )
        values = values[tuple(nearest)]
    return Grey(values, grid, valid, body_mask(values, valid, modality))


@dataclass(frozen=True)
class Similarity:
    """The mutual information of two volumes under a transform, at chosen points.

    `points` are 4 x n, in RAS+ millimetres. `greys` of them, and those of the moving volume, are
    from 0 to BINS - 1; `to_moving` maps millimetres to indices of the moving volume.
    """

    points: Matrix
    greys: Greys
    moving: NDArray[np.float32]
    valid: Mask | None
    to_moving: Matrix
    centre: Greys  # of the points
    radius: float  # usual distance of the points from it

    def information(self, transform: Matrix) -> float:
        """Return the mutual information in nats, 0 if the volumes hardly overlap."""
        some, others, both = self._entropies(transform)
        return some + others - both

    def best_near(self, transform: Matrix, step: float) -> tuple[Matrix, float]:
        """Return the optimum that a search from a transform finds, and its normalised similarity.

        The first steps are `step` mm long.
        """
        from scipy import optimize  # noqa: PLC0415 - slow to import, and needed for this alone

        found = optimize.minimize(
            lambda numbers: -self._normalised(transform @ self.moved(numbers)),
            np.zeros(6),
            method="Powell",
            options={
                "direc": step * np.eye(6),
                "xtol": TOLERANCE,
                "ftol": 1e-7,
                "maxiter": ROUNDS,
            },
        )
        return np.asarray(transform @ self.moved(found.x)), -float(found.fun)

    def moved(self, numbers: Any) -> Matrix:
        """Return a rotation about the centre (mm at the usual distance), and a translation."""
        angles = np.asarray(numbers[:3]) / self.radius
        angle = float(np.linalg.norm(angles))
        x, y, z = angles / angle if angle else angles
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        turn = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
        matrix = np.eye(4)
        matrix[:3, :3] = turn
        matrix[:3, 3] = self.centre - turn @ self.centre + numbers[3:]
        return matrix

    def _normalised(self, transform: Matrix) -> float:
        some, others, both = self._entropies(transform)
        return (some + others) / both if both else 0.0

    def _entropies(self, transform: Matrix) -> tuple[float, float, float]:
        """Return those of both volumes and of the two together; zeros without enough overlap."""
        require_wanted()
        there = (self.to_moving @ transform @ self.points)[:3]
        ends = np.array(self.moving.shape)[:, None]
        inside = ((there >= -0.5) & (there <= ends - 0.5)).all(axis=0)
        if self.valid is not None:
            nearest = np.clip(np.rint(there), 0, ends - 1).astype(np.int64)
            inside &= self.valid[tuple(nearest)]
        if inside.mean() < MIN_INSIDE:
            return 0.0, 0.0, 0.0
        found = ndimage.map_coordinates(self.moving, there[:, inside], order=1, mode="nearest")
        joint = _histogram(self.greys[inside], found)
        return _entropy(joint.sum(axis=1)), _entropy(joint.sum(axis=0)), _entropy(joint)


def similarity(reference: Grey, moving: Grey, count: int, *, is_inner: bool) -> Similarity:
    """Choose at most `count` points: of the whole body with its skin, or well below the skin."""
    chosen = _below_skin(reference) if is_inner else _with_skin(reference)
    random = np.random.default_rng(SEED)
    voxels = np.argwhere(chosen if reference.valid is None else chosen & reference.valid)
    if len(voxels) > count:
        voxels = voxels[np.sort(random.choice(len(voxels), count, replace=False))]
    # Between voxels: on a lattice, interpolation favours whole steps.
    places = voxels + random.uniform(-0.5, 0.5, voxels.shape)
    seen = ndimage.map_coordinates(reference.values, places.T, order=1, mode="nearest")
    points = affine_of(reference.grid) @ np.vstack([places.T, np.ones(len(places))])
    centre = points[:3].mean(axis=1)
    apart = points[:3] - centre[:, None]
    around = ndimage.binary_dilation(moving.body)
    return Similarity(
        points=points,
        greys=_levels(seen, reference.values[chosen]),
        moving=_levels(moving.values, moving.values[around]).astype(np.float32),
        valid=moving.valid,
        to_moving=np.asarray(np.linalg.inv(affine_of(moving.grid)), np.float64),
        centre=centre,
        radius=max(1.0, math.sqrt(float(np.square(apart).sum(axis=0).mean()))),
    )


def _below_skin(volume: Grey) -> Mask:
    # The field of view cuts the body, but has no skin.
    padded = np.pad(volume.body, 1, mode="edge")
    depth = ndimage.distance_transform_edt(padded, sampling=spacing(volume.grid))
    inner: Mask = depth[1:-1, 1:-1, 1:-1] > DEPTH
    return inner if inner.sum() >= MIN_SHARE * volume.body.sum() else volume.body


def _with_skin(volume: Grey) -> Mask:
    apart = ndimage.distance_transform_edt(~volume.body, sampling=spacing(volume.grid))
    return np.asarray(apart < MARGIN)


def _levels(values: NDArray[Any], seen: NDArray[Any]) -> Greys:
    low, high = (float(one) for one in np.percentile(seen, CLIP))
    if not low < high:
        low, high = float(values.min()), float(values.max())
    span = max(high - low, 1e-30)
    return np.asarray(np.clip((values.astype(np.float64) - low) / span, 0, 1) * (BINS - 1))


def _histogram(some: Greys, others: NDArray[Any]) -> Greys:
    """Return the joint histogram; a pair is shared among its four neighbouring bins."""
    counts = np.zeros(BINS * BINS)
    a, b = (np.minimum(one.astype(np.int64), BINS - 2) for one in (some, others))
    right, above = some - a, others - b
    for i, across in ((0, 1 - right), (1, right)):
        for j, along in ((0, 1 - above), (1, above)):
            counts += np.bincount((a + i) * BINS + b + j, across * along, BINS * BINS)
    return counts.reshape(BINS, BINS) / max(len(some), 1)


def _entropy(shares: Greys) -> float:
    found = shares[shares > 0]
    return -float((found * np.log(found)).sum())
