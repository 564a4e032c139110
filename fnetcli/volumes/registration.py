"""Register the moving volume to the reference by mutual information, and trust it or not.

A transform is a 4x4 matrix, in RAS+ millimetres, that maps a point of the reference to the same
point of the patient in the moving volume; `formats.transforms` reads and writes it as a file.

The search (`similarity`) starts from the headers, or from the centres if the volumes hardly
overlap, and from turned positions: on coarse voxels, then from the best of them on finer ones. A
wrong registration is worse than none, so its result must convince. The whole body follows the skin,
which gives way between two scans: structures well below it must have their optimum in the same
place. The mutual information must rise. And a common frame of reference is trusted more than a
search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fnetcli.errors import PairError
from fnetcli.imaging.image import Grid, Image
from fnetcli.volumes.resample import Matrix, affine_of, overlap, spacing
from fnetcli.volumes.similarity import Grey, Similarity, grey_volume, similarity

COARSE, FINE = 6.0, 3.0  # mm: voxels of the two searches
FEW, MANY = 8_000, 30_000  # points that are compared
FAR, NEAR = 8.0, 3.0  # mm: first steps of the two searches
TURNS = 20.0  # degrees about each axis, either way: where the coarse search starts as well
MIN_VOXELS = 4  # along every axis
LARGE_SHIFT, LARGE_TURN = 15.0, 5.0  # mm, degrees: more than careful scanning leaves
MIN_OVERLAP = 0.05  # of the reference; below that the search starts from aligned centres
CONVINCING = 0.05  # rise of the mutual information; with less the headers are kept
TRUSTED = 2.0  # mm; a larger correction contradicts headers of one frame of reference
APART = 2.5  # mm, or half of the largest step between voxels: within it two measures agree
ADVICE = "give a transform with --transform"
LATTICE = 13  # points along each side of the volume where transforms are compared


@dataclass(frozen=True)
class Registered:
    """A registration: its transform, and the mutual information (nats) before and after.

    `shift` (mm) is the translation of the reference's centre, `turn` (degrees) the rotation.
    `refusal` says why the result of the search is not trusted; the transform is then that of the
    headers. `sentence` is for the user.
    """

    transform: Matrix
    before: float
    after: float
    shift: float = 0.0
    turn: float = 0.0
    sentence: str = ""
    refusal: str | None = None
    notices: tuple[str, ...] = ()


def motion(transform: Matrix, centre: Matrix | None = None) -> tuple[float, float]:
    """Return by how many mm a rigid transform moves a point, and its rotation in degrees.

    `centre` is (x, y, z, 1), by default the scanner's.
    """
    point = np.array([0.0, 0, 0, 1]) if centre is None else centre
    cosine = (np.trace(transform[:3, :3]) - 1) / 2
    turn = math.degrees(math.acos(min(1.0, max(-1.0, float(cosine)))))
    return float(np.linalg.norm((transform @ point - point)[:3])), turn


def register(
    reference: Image, moving: Image, modalities: tuple[str, str], *, distrusts_headers: bool = False
) -> Registered:
    """Find the rigid transform that maximises the mutual information of two volumes.

    `modalities` are those of the reference and of the moving volume. With `distrusts_headers`, a
    common frame of reference is no reason to refuse a result. If a result is refused, the positions
    in the headers are kept. Raise PairError if a volume is constant, too small or without position,
    or if volumes that do not overlap cannot be registered.
    """
    start, notices = _start(reference.grid, moving.grid)
    if min(*reference.grid.shape, *moving.grid.shape) < MIN_VOXELS:
        raise PairError(
            f"registration needs {MIN_VOXELS} voxels in every direction, but one volume has "
            "fewer; leave it out, or give a transform with --transform"
        )
    fixed, floating = _grey_volumes(reference, moving, FINE, modalities)
    whole = similarity(fixed, floating, MANY, is_inner=False)
    inner = similarity(fixed, floating, MANY, is_inner=True)
    fixed, floating = _grey_volumes(reference, moving, COARSE, modalities)
    coarse = similarity(fixed, floating, FEW, is_inner=False)
    found, _ = whole.best_near(_coarse_optimum(coarse, start), NEAR)
    before, after = whole.information(np.eye(4)), whole.information(found)
    common = _common_points(reference.grid, moving.grid)
    moves = _farthest(found, np.eye(4), common)
    limit = max(APART, *(0.5 * max(spacing(image.grid)) for image in (reference, moving)))
    apart = _farthest(found, inner.best_near(found, NEAR)[0], whole.points)  # in the body
    spaces = reference.frame_of_reference, moving.frame_of_reference
    has_one_space = None not in spaces and spaces[0] == spaces[1]
    is_convincing = after > before * (1 + CONVINCING)
    refusal = None
    if after == 0:
        refusal = "the search found no position where the volumes overlap"
    elif apart > limit:
        refusal = (
            "the body as a whole and the structures inside of it do not agree on a position: they "
            f"are {apart:.1f} mm apart"
        )
    elif moves > TRUSTED and not is_convincing:
        refusal = (
            f"it would move the volume by up to {moves:.1f} mm, but hardly raise the mutual "
            f"information: {before:.3f} before, {after:.3f} after"
        )
    elif moves > TRUSTED and has_one_space and not distrusts_headers:
        refusal = (
            f"it would move the volume by up to {moves:.1f} mm, but both series have one frame of "
            "reference, which is trusted unless --distrust-headers is given"
        )
    if refusal is not None:
        return _refused(refusal, before, has_overlap=not notices)
    if not is_convincing:
        sentence = (
            f"registration confirms the headers, which are kept: it would move the volume by "
            f"{moves:.1f} mm at most, with a mutual information of {before:.3f} before and "
            f"{after:.3f} after"
        )
        return Registered(np.eye(4), before, before, sentence=sentence)
    shift, turn = motion(found, _centre(reference.grid))
    if shift > LARGE_SHIFT or turn > LARGE_TURN:
        notices += (
            "the correction is large, and large corrections are often wrong: look at the result",
        )
    sentence = (
        f"rigid registration: translated by {shift:.1f} mm and rotated by {turn:.1f} degrees; "
        f"mutual information {before:.3f} before, {after:.3f} after"
    )
    return Registered(found, before, after, shift, turn, sentence, notices=notices)


def _grey_volumes(
    reference: Image, moving: Image, step: float, modalities: tuple[str, str]
) -> tuple[Grey, Grey]:
    return grey_volume(reference, step, modalities[0]), grey_volume(moving, step, modalities[1])


def _refused(reason: str, before: float, *, has_overlap: bool) -> Registered:
    if not has_overlap:
        raise PairError(
            f"registration failed ({reason}), and by their headers the volumes hardly overlap; "
            f"check that both show the same region, or {ADVICE}"
        )
    return Registered(np.eye(4), before, before, refusal=f"registration failed ({reason})")


def _start(reference: Grid, moving: Grid) -> tuple[Matrix, tuple[str, ...]]:
    try:
        share = overlap(reference, moving)
    except PairError:
        affine_of(reference), affine_of(moving)  # refuse volumes without a position
        share = 0.0
    start = np.eye(4)
    if share >= MIN_OVERLAP:
        return start, ()
    start[:3, 3] = (_centre(moving) - _centre(reference))[:3]
    return start, ("the volumes hardly overlap by their headers: started from their centres",)


def _coarse_optimum(coarse: Similarity, start: Matrix) -> Matrix:
    """Return the best optimum of searches from the start, and from it turned about each axis."""
    turns = np.vstack([np.zeros(3), TURNS * np.eye(3), -TURNS * np.eye(3)])
    arcs = np.radians(turns) * coarse.radius
    found = [coarse.best_near(start @ coarse.moved([*arc, 0, 0, 0]), FAR) for arc in arcs]
    return max(found, key=lambda one: one[1])[0]


def _centre(grid: Grid) -> Matrix:
    middle = [(size - 1) / 2 for size in grid.shape]
    return np.asarray(affine_of(grid) @ [*middle, 1.0])


def _common_points(reference: Grid, moving: Grid) -> Matrix:
    """Return points of the reference (4 x n, mm) that are in both volumes, out to the corners."""
    sides = [np.linspace(-0.5, size - 0.5, LATTICE) for size in reference.shape]
    lattice = np.stack(np.meshgrid(*sides, indexing="ij")).reshape(3, -1)
    points = affine_of(reference) @ np.vstack([lattice, np.ones(lattice.shape[1])])
    there = (np.linalg.inv(affine_of(moving)) @ points)[:3]
    ends = np.array(moving.shape)[:, None] - 0.5
    inside = ((there >= -0.5) & (there <= ends)).all(axis=0)
    return np.asarray(points[:, inside] if inside.any() else points)


def _farthest(some: Matrix, others: Matrix, points: Matrix) -> float:
    """Return by how many mm two transforms differ at most, at these points."""
    return float(np.linalg.norm(((some - others) @ points)[:3], axis=0).max())
