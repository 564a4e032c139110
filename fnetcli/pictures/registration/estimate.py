"""Register two pictures of different modality, and tell whether the result is to be trusted.

numpy and scipy alone, so that a run that fuses without torch need not import it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fnetcli.imaging import planar
from fnetcli.imaging.planar import Kind, Matrix, Points
from fnetcli.pictures.registration.coarse import Candidate, candidates
from fnetcli.pictures.registration.fields import Luminance
from fnetcli.pictures.registration.fine import LEVELS, Frames, Level, Sight, look, refine
from fnetcli.pictures.registration.views import View

SMALLEST = 32  # pixels of a shorter side: below that there is too little to compare
NEAR = 0.01  # of the longer side: by which proposals of several frames differ
TRIED = 8  # different results of the coarse search that are refined
KEPT = 3  # of them are refined further
DIFFERENT = 0.12  # of the longer side: by which a corner of different results lies elsewhere
ENLARGED_LEVEL = 1.5  # a level may be as much larger than the reference; further ones are left out

JUDGED_AT = Level(320, 64, 16, ())
AWAY = 6.0  # pixels of that level: displacements that are wrong
MET = 2.5  # pixels of that level: a block whose peak is as near agrees
SMOOTHED = 1.0
CHANCE = 8.0  # standard deviations; two unrelated scenes reach 6 or 7
CHANCE_NEARBY = 7.0  # where a start is refined: fewer transforms are tried, and 4 is usual
MIN_TIMES = 3.0  # as many blocks agree as by chance, where a start is refined
MIN_AGREEING = 0.25  # of the blocks
MIN_BLOCKS = 6
MIN_OVERLAP = 0.25  # of the smaller picture, in pixels of the reference
MIN_GAIN = 3.0  # standard deviations by which a transform is better than pictures as they are
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
    would be by chance. `frames_agreeing` of the `frames` have the peak of all their blocks there
    too. `reason` says why the transform is not to be trusted, else it is None. `gain` is set if
    the pictures stay as they are: by so little another transform would fit better.
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
    frames: int = 1
    frames_agreeing: int = 1
    gain: float | None = None

    @property
    def is_trusted(self) -> bool:
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
    def evidence(self) -> str:
        """What speaks for it, and what chance gives, in words."""
        words = (
            f"score {self.score:.1f} (chance: up to {self.chance:.0f}), {self.inliers} of "
            f"{self.blocks} blocks agree (chance: {self.expected:.1f})"
        )
        if self.frames > 1:
            words += f", {self.frames_agreeing} of {self.frames} pairs"
        return words

    @property
    def sentence(self) -> str:
        """A sentence about it, for the user."""
        if self.reason is not None:
            return f"{self.kind} registration not trusted: {self.reason}; {self.evidence}"
        words = describe(self.matrix, self.moving_shape)
        if self.gain is not None:
            words = (
                "they are already aligned (the best other transform scores "
                f"{max(self.gain, 0):.1f} more, less than {MIN_GAIN:.0f})"
            )
        return f"{self.kind} registration: {words}; {self.evidence}"

    def enlarged(
        self, own: Matrix, other: Matrix, moving: tuple[int, int], reference: tuple[int, int]
    ) -> Registration:
        """Return it for larger pictures (H, W) than were compared.

        `own` and `other` map pixels of the compared moving picture and reference to their pixels.
        """
        centres = planar.apply(other, self.residuals[:, :2])
        displacements = self.residuals[:, 2:] @ other[:2, :2].T
        return replace(
            self,
            matrix=planar.normalised(other @ self.matrix @ np.linalg.inv(own)),
            moving_shape=moving,
            reference_shape=reference,
            residuals=np.c_[centres, displacements],
        )

    def record(self) -> dict[str, Any]:
        """Return everything, ready for JSON; residuals are x, y, dx, dy, and whether they agree."""
        return {
            "kind": self.kind,
            "matrix": self.matrix.tolist(),
            "reference_size": list(self.reference_shape[::-1]),
            "moving_size": list(self.moving_shape[::-1]),
            "is_trusted": self.is_trusted,
            "reason": self.reason,
            "score": self.score,
            "chance": self.chance,
            "correlation": self.correlation,
            "overlap": self.overlap,
            "blocks": self.blocks,
            "inliers": self.inliers,
            "inliers_by_chance": self.expected,
            "residual_px": self.residual,
            **({} if self.gain is None else {"kept": True, "gain": self.gain}),
            "residuals": [
                [*(round(float(number), 2) for number in row), bool(agrees)]
                for row, agrees in zip(self.residuals, self.agrees, strict=True)
            ],
            **(
                {"frames": self.frames, "frames_agreeing": self.frames_agreeing}
                if self.frames > 1
                else {}
            ),
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
    reference: View,
    moving: View,
    kind: Kind,
    start: Matrix | None = None,
    *,
    keeps_aligned: bool = True,
) -> Registration:
    """Find the transform of a kind from the moving picture to the reference.

    Sizes may differ. Translations and rigid transforms assume
    equally large pixels. The search covers scales of 0.58 to 1.71 relative to equally large
    pictures, 12 degrees either way, and offsets that leave a third of the smaller picture; with
    `start`, it only refines that. Pictures stay as they are if no transform fits clearly better,
    unless `keeps_aligned` is False. Deterministic.
    """
    return register_frames([(reference, moving)], kind, start, keeps_aligned=keeps_aligned)


def register_frames(
    frames: Frames, kind: Kind, start: Matrix | None = None, *, keeps_aligned: bool = True
) -> Registration:
    """Find the one transform of all frames of a rig, (reference, moving) each.

    Each frame proposes transforms; the one that fits all frames best is refined on the sum of all
    their correlations, to which frames that differ add noise without a direction. Raise ValueError
    if frames differ in size.
    """
    (reference, moving), *_ = frames
    shapes = {(one.shape, other.shape) for one, other in frames}
    if len(shapes) != 1:
        raise ValueError("frames of different sizes")
    if min(*reference.shape, *moving.shape) < SMALLEST:
        reason = f"a side has fewer than {SMALLEST} pixels"
        matrix = start if start is not None else np.eye(3)
        return _judged(kind, matrix, frames, reason, is_nearby=start is not None)
    levels = [one for one in LEVELS if one.longer_side < ENLARGED_LEVEL * reference.longer_side]
    levels = levels or [*LEVELS[:1]]
    first, *others = levels
    start_kind: Kind = "affine" if kind == "homography" else kind  # few blocks tell no tilt
    if start is not None:
        matrix = refine(frames, start, start_kind, first, start)
    else:
        proposals = [_best_of_several([frame], start_kind, levels[:2]) for frame in frames]
        if len(frames) == 1 and kind == start_kind:
            others = levels[2:]  # that level is done
        if len(frames) > 1:
            proposals.sort(key=lambda one: -one.score)
            distinct = _distinct(proposals, moving.shape, NEAR, len(proposals))
            proposals = [_refined(frames, one, start_kind, first) for one in distinct]
        matrix = max(proposals, key=lambda one: one.score).matrix
    for level in others:
        if not _is_sane(matrix, reference.shape, moving.shape):
            break
        matrix = refine(frames, matrix, kind, level, start)
    found = _judged(kind, matrix, frames, is_nearby=start is not None)
    if start is None and keeps_aligned and found.is_trusted:
        return _kept(found, frames, levels[-1]) or found
    return found


def _kept(found: Registration, frames: Frames, level: Level) -> Registration | None:
    """Return what speaks for the pictures as they are; None if a transform is clearly better."""
    matrix = as_they_are(found.reference_shape, found.moving_shape, found.kind)
    better, still = (
        _height(look(frames, one, level), level.smoothing[-1]) for one in (found.matrix, matrix)
    )
    if better - still >= MIN_GAIN:
        return None
    kept = _judged(found.kind, matrix, frames, is_nearby=False)
    return replace(kept, gain=better - still) if kept.is_trusted else None


def _best_of_several(frames: Frames, kind: Kind, levels: Sequence[Level]) -> Candidate:
    """Refine the best results of the coarse search, and the pictures as they are."""
    (reference, moving), *_ = frames
    starts = [
        as_they_are(reference.shape, moving.shape, kind),
        *_distinct(candidates(reference, moving, kind), moving.shape),
    ]
    found: list[Candidate] = []
    for level in levels:
        found = [_refined(frames, one, kind, level) for one in starts]
        found.sort(key=lambda one: -one.score)
        starts = [one.matrix for one in found[:KEPT]]
    return found[0]


def _refined(frames: Frames, start: Matrix, kind: Kind, level: Level) -> Candidate:
    (reference, moving), *_ = frames
    matrix = refine(frames, start, kind, level)
    if not _is_sane(matrix, reference.shape, moving.shape):
        return Candidate(-math.inf, np.eye(3))
    sight = look(frames, matrix, level)
    return Candidate(sight.score * math.sqrt(sight.overlap), matrix)  # as in the coarse search


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


def _distinct(
    found: list[Candidate], shape: tuple[int, int], apart: float = DIFFERENT, most: int = TRIED
) -> list[Matrix]:
    """Return the best transforms whose corners lie apart, by a share of the longer side."""
    kept: list[Matrix] = []
    places: list[Points] = []
    for one in found:
        place = planar.apply(one.matrix, planar.corners(shape))
        farthest = apart * max(shape) * planar.scale_at_centre(one.matrix, shape)
        if all(np.abs(place - other).max() > farthest for other in places):
            kept.append(one.matrix)
            places.append(place)
        if len(kept) == most:
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
    kind: Kind,
    matrix: Matrix,
    frames: Frames,
    reason: str | None = None,
    *,
    is_nearby: bool,
) -> Registration:
    """Look at all frames under a transform, and decide whether it is to be trusted.

    `is_nearby`: only transforms around a known one were tried.
    """
    chance = CHANCE_NEARBY if is_nearby else CHANCE
    (reference, moving), *_ = frames
    shapes = reference.shape, moving.shape
    none, nothing = np.zeros((0, 4)), np.zeros(0, bool)
    if reason is None and not _is_sane(matrix, *shapes):
        reason = "no transform that two cameras side by side could have"
    if reason is not None:
        return Registration(kind, matrix, *shapes, 0.0, 0.0, 0.0, none, nothing, 0.0, reason)
    sight = look(frames, matrix, JUDGED_AT)
    residuals, agrees = _residuals(sight)
    score = _height(sight)
    wide = 2 * sight.blocks.reach + 1
    expected = len(agrees) * math.pi * MET**2 / wide**2
    least = MIN_TIMES * expected if is_nearby else MIN_AGREEING * len(agrees)
    if score < chance or len(agrees) < MIN_BLOCKS:
        reason = "their edges have too little in common"
    elif agrees.sum() < max(MIN_BLOCKS, least):
        reason = "too few blocks agree with it"
    elif _overlap_of_smaller(matrix, *shapes, sight.overlap) < MIN_OVERLAP:
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
        chance=chance,
        frames=len(frames),
        frames_agreeing=int(_agreeing(sight.votes).sum()),
    )


def _overlap_of_smaller(
    matrix: Matrix, reference: tuple[int, int], moving: tuple[int, int], overlap: float
) -> float:
    """Return the share of the smaller picture that both show."""
    enlarged = planar.scale_at_centre(matrix, moving) ** 2 * math.prod(moving)
    return overlap * math.prod(reference) / min(enlarged, math.prod(reference))


def _height(sight: Sight, smoothing: float = 0.0) -> float:
    """Return the sum of correlations without displacement, in standard deviations of wrong ones."""
    reach, surfaces = sight.blocks.reach, sight.blocks.correlations
    if not len(surfaces):
        return 0.0
    total = surfaces.sum(axis=0, dtype=np.float64)
    if smoothing:
        total = ndimage.gaussian_filter(total, smoothing, mode="constant")
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    wrong = total[np.hypot(rows, columns) > AWAY]
    spread = float(wrong.std())
    return float(total[reach, reach] - wrong.mean()) / spread if spread > 0 else 0.0


def _residuals(sight: Sight) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return each block's centre and the displacement of its peak, and whether that is small."""
    peaks = _peaks(sight.blocks.correlations)
    centres = planar.apply(sight.to_reference, np.c_[sight.blocks.x, sight.blocks.y])
    return np.c_[centres, peaks * sight.pixel], np.hypot(*peaks.T) <= MET


def _agreeing(votes: Luminance) -> NDArray[np.bool_]:
    """Return which frames have the peak of all their blocks' correlations where it should be."""
    found: NDArray[np.bool_] = (np.hypot(*_peaks(votes).T) <= MET) & votes.any(axis=(1, 2))
    return found


def _peaks(surfaces: Luminance) -> NDArray[np.int64]:
    """Return the displacements (n, 2), right and down, of the highest values of correlations."""
    count, side, _ = surfaces.shape
    if not count:
        return np.zeros((0, 2), np.int64)
    smooth = ndimage.gaussian_filter(surfaces, (0, SMOOTHED, SMOOTHED), mode="constant")
    highest = smooth.reshape(count, -1).argmax(axis=1)
    return np.asarray(np.stack([highest % side, highest // side], axis=1) - side // 2, np.int64)
