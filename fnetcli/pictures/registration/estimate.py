"""Register two pictures of different modality, and tell whether the result is to be believed.

numpy and scipy alone, so that a run that fuses without torch need not import it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fnetcli.pictures.registration import planar
from fnetcli.pictures.registration.coarse import Candidate, candidates
from fnetcli.pictures.registration.fine import LEVELS, Level, Sight, look, refine
from fnetcli.pictures.registration.planar import Kind, Matrix, Points, View

SMALLEST = 32  # pixels of a shorter side: below that there is too little to compare
TRIED = 4  # different results of the coarse search that are refined
DIFFERENT = 0.12  # of the longer side: by which a corner of different results lies elsewhere
ENLARGED_LEVEL = 1.5  # a level may be as much larger than the reference; further ones are left out

JUDGED_AT = Level(320, 64, 16, ())
AWAY = 6.0  # pixels of that level: displacements that are wrong
MET = 2.5  # pixels of that level: a block whose peak is as near agrees
SMOOTHED = 1.0
CHANCE = 8.0  # standard deviations; two unrelated scenes reach 6 or 7
MIN_AGREEING = 0.2  # of the blocks
MIN_BLOCKS = 4
MIN_OVERLAP = 0.1  # of the reference
MAX_ANISOTROPY = 1.6  # one camera's pixels seen by the other
MAX_ENLARGEMENT = 2.5  # of equally large pictures


@dataclass(frozen=True)
class Registration:
    """A transform from the moving picture to the reference, and what speaks for it.

    `matrix` maps pixel coordinates (x, y, 1), 0 at the centre of the first pixel. `score` is the
    sum of the blocks' correlations, in standard deviations of the sums for wrong displacements;
    unrelated scenes reach `chance`, as the search takes the best of many transforms. `residuals`
    (blocks, 4) holds a block's centre and the displacement that is left there, x, y, dx, dy, in
    pixels of the reference; `agrees` tells which blocks count as inliers, of which `expected`
    would be by chance. `reason` says why the transform is not to be believed, else it is None.
    """

    kind: Kind
    matrix: Matrix
    reference_shape: tuple[int, int]
    moving_shape: tuple[int, int]
    score: float
    correlation: float
    overlap: float
    residuals: NDArray[np.float64] = field(repr=False)
    agrees: NDArray[np.bool_] = field(repr=False)
    expected: float
    reason: str | None
    chance: float = CHANCE

    @property
    def is_believed(self) -> bool:
        """Whether the transform is to be used."""
        return self.reason is None

    @property
    def blocks(self) -> int:
        """The number of blocks that have edges."""
        return len(self.agrees)

    @property
    def inliers(self) -> int:
        """The number of blocks that agree with the transform."""
        return int(self.agrees.sum())

    @property
    def residual(self) -> float | None:
        """The median length of the inliers' residuals, in pixels of the reference."""
        if not self.inliers:
            return None
        return float(np.median(np.hypot(*self.residuals[self.agrees, 2:].T)))

    @property
    def sentence(self) -> str:
        """A sentence about it, for the user."""
        evidence = (
            f"score {self.score:.1f} (chance: up to {self.chance:.0f}), {self.inliers} of "
            f"{self.blocks} blocks agree (chance: {self.expected:.1f})"
        )
        if self.reason is not None:
            return f"{self.kind} registration not believed: {self.reason}; {evidence}"
        return f"{self.kind} registration: {describe(self.matrix, self.moving_shape)}; {evidence}"

    def record(self) -> dict[str, Any]:
        """Return everything but the blocks, ready for JSON."""
        return {
            "kind": self.kind,
            "matrix": self.matrix.tolist(),
            "reference_size": list(self.reference_shape[::-1]),
            "moving_size": list(self.moving_shape[::-1]),
            "is_believed": self.is_believed,
            "reason": self.reason,
            "score": self.score,
            "chance": self.chance,
            "correlation": self.correlation,
            "overlap": self.overlap,
            "blocks": self.blocks,
            "inliers": self.inliers,
            "inliers_by_chance": self.expected,
            "residual_px": self.residual,
        }


def describe(matrix: Matrix, moving_shape: tuple[int, int]) -> str:
    """Describe a transform in words: what happens at the centre of the moving picture."""
    height, width = moving_shape
    centre = np.array([[(width - 1) / 2, (height - 1) / 2]])
    right, down = (planar.apply(matrix, centre) - centre)[0]
    derivative = planar.jacobian(matrix, *centre[0])
    turn = math.degrees(
        math.atan2(derivative[1, 0] - derivative[0, 1], derivative[0, 0] + derivative[1, 1])
    )
    size = math.sqrt(abs(float(np.linalg.det(derivative))))
    return (
        f"scaled by {size:.3f}, rotated by {turn:.1f} degrees, centre moved by {right:.1f} px to "
        f"the right and {down:.1f} px down"
    )


def register(
    reference: View, moving: View, kind: Kind, start: Matrix | None = None
) -> Registration:
    """Find the transform of a kind from the moving picture to the reference.

    Sizes may differ. Translations and rigid transforms assume
    equally large pixels. The search covers scales of 0.58 to 1.71 relative to equally large
    pictures, 12 degrees either way, and offsets that leave a third of the smaller picture; with
    `start`, it only refines that. Deterministic.
    """
    if min(*reference.shape, *moving.shape) < SMALLEST:
        reason = f"a side has fewer than {SMALLEST} pixels"
        return _judged(kind, start if start is not None else np.eye(3), reference, moving, reason)
    levels = [one for one in LEVELS if one.longer_side < ENLARGED_LEVEL * reference.longer_side]
    first, *others = levels or LEVELS[:1]
    start_kind: Kind = "affine" if kind == "homography" else kind  # few blocks tell no tilt
    if start is not None:
        matrix = refine(reference, moving, start, start_kind, first)
    else:
        matrix = _best_of_several(reference, moving, start_kind, first)
    for level in others:
        if not _is_sane(matrix, reference.shape, moving.shape):
            break
        matrix = refine(reference, moving, matrix, kind, level)
    return _judged(kind, matrix, reference, moving)


def _best_of_several(reference: View, moving: View, kind: Kind, level: Level) -> Matrix:
    """Refine the best results of the coarse search, and the pictures as they are."""
    found = _distinct(candidates(reference, moving, kind), moving.shape)
    best, best_score = np.eye(3), -math.inf
    for start in [as_they_are(reference.shape, moving.shape, kind), *found]:
        matrix = refine(reference, moving, start, kind, level)
        if not _is_sane(matrix, reference.shape, moving.shape):
            continue
        sight = look(reference, moving, matrix, level)
        score = sight.score * math.sqrt(sight.overlap)
        if score > best_score:
            best, best_score = matrix, score
    return best


def as_they_are(reference: tuple[int, int], moving: tuple[int, int], kind: Kind) -> Matrix:
    """Return the transform of two pictures (H, W) that show the same view, centre on centre."""
    size = 1.0
    if kind not in {"translation", "rigid"}:
        size = math.sqrt(reference[0] / moving[0] * reference[1] / moving[1])
    matrix = np.diag([size, size, 1.0])
    matrix[:2, 2] = [
        (fixed - 1) / 2 - size * (floating - 1) / 2
        for fixed, floating in zip(reference[::-1], moving[::-1], strict=True)
    ]
    return matrix


def _distinct(found: list[Candidate], shape: tuple[int, int]) -> list[Matrix]:
    """Return the best transforms whose corners lie apart."""
    kept: list[Matrix] = []
    places: list[Points] = []
    for one in found:
        place = planar.apply(one.matrix, planar.corners(shape))
        farthest = DIFFERENT * max(shape) * planar.scale_at_centre(one.matrix, shape)
        if all(np.abs(place - other).max() > farthest for other in places):
            kept.append(one.matrix)
            places.append(place)
        if len(kept) == TRIED:
            break
    return kept


# --- belief ---------------------------------------------------------------------------------------


def _is_sane(matrix: Matrix, reference: tuple[int, ...], moving: tuple[int, ...]) -> bool:
    """Whether two cameras beside each other can be related by a transform."""
    if not np.isfinite(matrix).all() or np.linalg.det(matrix) <= 0:
        return False
    height, width = moving
    edges = planar.corners((height, width))
    if (np.c_[edges, np.ones(4)] @ matrix[2] <= 0.2).any():
        return False
    derivative = planar.jacobian(matrix, (width - 1) / 2, (height - 1) / 2)
    if np.linalg.det(derivative) <= 0:
        return False
    stretches = np.linalg.svd(derivative, compute_uv=False)
    enlarged = float(
        np.sqrt(stretches.prod()) * math.sqrt(math.prod(moving) / math.prod(reference))
    )
    return bool(
        stretches[0] <= MAX_ANISOTROPY * stretches[1]
        and 1 / MAX_ENLARGEMENT <= enlarged <= MAX_ENLARGEMENT
    )


def _judged(
    kind: Kind, matrix: Matrix, reference: View, moving: View, reason: str | None = None
) -> Registration:
    """Look at two pictures under a transform, and decide whether it is to be believed."""
    shapes = reference.shape, moving.shape
    none, nothing = np.zeros((0, 4)), np.zeros(0, bool)
    if reason is None and not _is_sane(matrix, *shapes):
        reason = "no transform that two cameras beside each other could have"
    if reason is not None:
        return Registration(kind, matrix, *shapes, 0.0, 0.0, 0.0, none, nothing, 0.0, reason)
    sight = look(reference, moving, matrix, JUDGED_AT)
    residuals, agrees = _residuals(sight)
    score = _height(sight)
    wide = 2 * sight.blocks.reach + 1
    expected = len(agrees) * math.pi * MET**2 / wide**2
    if score < CHANCE or len(agrees) < MIN_BLOCKS:
        reason = "their edges have too little in common"
    elif agrees.sum() < max(MIN_BLOCKS, MIN_AGREEING * len(agrees)):
        reason = "too few blocks agree with it"
    elif sight.overlap < MIN_OVERLAP:
        reason = "the views hardly overlap under it"
    return Registration(
        kind=kind,
        matrix=matrix,
        reference_shape=shapes[0],
        moving_shape=shapes[1],
        score=score,
        correlation=sight.score,
        overlap=sight.overlap,
        residuals=residuals,
        agrees=agrees,
        expected=expected,
        reason=reason,
    )


def _height(sight: Sight) -> float:
    """Return the sum of correlations without displacement, in standard deviations of wrong ones."""
    reach, surfaces = sight.blocks.reach, sight.blocks.correlations
    if not len(surfaces):
        return 0.0
    total = surfaces.sum(axis=0, dtype=np.float64)
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    wrong = total[np.hypot(rows, columns) > AWAY]
    spread = float(wrong.std())
    return float(total[reach, reach] - wrong.mean()) / spread if spread > 0 else 0.0


def _residuals(sight: Sight) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return each block's centre and the displacement of its peak, and whether that is small."""
    blocks = sight.blocks
    widths = (0, SMOOTHED, SMOOTHED)
    surfaces = ndimage.gaussian_filter(blocks.correlations, widths, mode="constant")
    side = 2 * blocks.reach + 1
    highest = surfaces.reshape(len(surfaces), -1).argmax(axis=1) if len(surfaces) else np.zeros(0)
    down, right = highest // side - blocks.reach, highest % side - blocks.reach
    centres = planar.apply(sight.to_reference, np.c_[blocks.x, blocks.y])
    lengths = np.hypot(down, right)
    return np.c_[centres, right * sight.pixel, down * sight.pixel], lengths <= MET
