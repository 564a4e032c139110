"""Positions of slices: sort them along their normal, and find their affine (PS3.3, C.7.6.2.1.1).

File names and InstanceNumber have no spatial meaning and are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from fnetcli.formats.base import COPY_AGAIN, ContentError, require_place
from fnetcli.formats.dicom.attributes import items, macro, number, numbers, texts
from fnetcli.text import verb_of

Vector = NDArray[np.float64]

RIGHT_ANGLE = 1e-2  # cosine: rows and columns farther from it are damaged
SAME_DIRECTION = 1e-3  # of unit vectors
SAME_SPACING = 1e-3  # share
EVEN = 0.1  # of the spacing of slices: no slice may be farther off its position
STRAIGHT = 0.05  # of a pixel: slices that drift less are stacked along their normal
RUN = 3  # so many wide gaps of one width, one after another, are no missing slices
MOST_UNEVEN = 4.0  # widest to narrowest spacing of slices that may be resampled
SAME_PLACE = 0.01  # of the usual spacing of slices
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
NUCLEAR = "1.2.840.10008.5.1.4.1.1.20"  # SOP class: SPECT
# Vectors by which frames of nuclear medicine differ (PS3.3, C.8.4.8); only slices form a volume.
OTHER_VECTORS = (
    "EnergyWindowVector",
    "DetectorVector",
    "PhaseVector",
    "RotationVector",
    "RRIntervalVector",
    "TimeSlotVector",
    "AngularViewVector",
    "TimeSliceVector",
)
NO_GEOMETRY = "it has no position in the patient"
ONE_OF_THEM = "export one of them as a separate series"


@dataclass(frozen=True)
class Place:
    """The position of one slice, in DICOM's millimetres (LPS+).

    `along` is the unit vector of a row (from column to column), `down` that of a column; `spacing`
    is that of rows, then of columns. `thickness` is the claimed spacing of slices.
    """

    position: Vector
    along: Vector
    down: Vector
    spacing: tuple[float, float]
    thickness: float | None

    @property
    def normal(self) -> Vector:
        """The direction in which slices follow each other."""
        return np.cross(self.along, self.down)


@dataclass(frozen=True)
class _Steps:
    """Slices of nuclear medicine: steps from the first slice, along the normal."""

    first: Vector
    slices: Vector  # number of each frame's slice, counted from 1
    step: float  # mm


class Placed(Protocol):
    """Something with a position and a size (rows, columns)."""

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def place(self) -> Place | None:
        """Its position, or None if its file has none."""

    @property
    def header(self) -> Dataset:
        """What its file says."""


PlacedT = TypeVar("PlacedT", bound=Placed)


# --- one slice -----------------------------------------------------------------------------------


def find_places(header: Dataset, frames: int) -> list[Place | None]:
    """Return the position of each frame; None if its file has none."""
    nuclear = cache(partial(_nuclear_steps, header))  # once, however many frames there are
    return [_find_place(header, frame, nuclear) for frame in range(1, frames + 1)]


def _find_place(header: Dataset, frame: int, nuclear: Callable[[], _Steps | None]) -> Place | None:
    orientation = _orientation(header, frame)
    spacing = numbers(macro(header, frame, "PixelMeasuresSequence"), "PixelSpacing", 2)
    position = _position(header, frame, nuclear)
    if orientation is None or spacing is None or position is None:
        return None
    if spacing.min() <= 0:
        raise ContentError(
            "not a readable DICOM file (its PixelSpacing makes no sense)", COPY_AGAIN
        )
    along, down = orientation
    return Place(
        position, along, down, (float(spacing[0]), float(spacing[1])), _thickness(header, frame)
    )


def _orientation(header: Dataset, frame: int) -> tuple[Vector, Vector] | None:
    source = macro(header, frame, "PlaneOrientationSequence")
    found = numbers(source, "ImageOrientationPatient", 6)
    if found is None and (detectors := items(header, "DetectorInformationSequence")):
        found = numbers(detectors[0], "ImageOrientationPatient", 6)
    if found is None:
        return None
    along, down = found[:3], found[3:]
    lengths = [float(np.linalg.norm(one)) for one in (along, down)]
    if min(lengths) < 0.9 or max(lengths) > 1.1 or abs(along @ down) > RIGHT_ANGLE:
        raise ContentError(
            "not a readable DICOM file (its ImageOrientationPatient makes no sense)", COPY_AGAIN
        )
    along = along / lengths[0]
    down = down - (down @ along) * along
    return along, down / np.linalg.norm(down)


def _position(header: Dataset, frame: int, nuclear: Callable[[], _Steps | None]) -> Vector | None:
    source = macro(header, frame, "PlanePositionSequence")
    # The header's own position applies only in a file with one frame.
    if source is not header or (number(header, "NumberOfFrames") or 1) <= 1:
        found = numbers(source, "ImagePositionPatient", 3)
        if found is not None:
            return found
    orientation = _orientation(header, frame)
    steps = None if orientation is None else nuclear()
    if orientation is None or steps is None:
        return None
    # The sign of the step counts: a positive one leads along the normal.
    moved: Vector = steps.first + (steps.slices[frame - 1] - 1) * steps.step * np.cross(
        *orientation
    )
    return moved


def _nuclear_steps(header: Dataset) -> _Steps | None:
    """Return how reconstructed slices follow each other (PS3.3, C.8.4.15)."""
    detectors = items(header, "DetectorInformationSequence")
    if header.get("SOPClassUID") != NUCLEAR or not detectors:
        return None
    first = numbers(detectors[0], "ImagePositionPatient", 3)
    count = int(number(header, "NumberOfFrames") or 1)
    slices = numbers(header, "SliceVector", count)
    if slices is None and lacks_slice_vector(header):
        slices = np.arange(1, count + 1, dtype=np.float64)
    step = number(header, "SpacingBetweenSlices") or number(header, "SliceThickness")
    if first is None or slices is None or step is None:
        return None
    for keyword in OTHER_VECTORS:
        vector = numbers(header, keyword, count) if keyword in header else None
        are_apart = len(np.unique(slices)) == count  # else each is a volume of its own (`several`)
        if vector is not None and np.ptp(vector) > 0 and are_apart:
            raise ContentError(
                "its frames differ in energy window, time, phase or detector, not only in place",
                ONE_OF_THEM,
            )
    return _Steps(first, slices, step)


def lacks_slice_vector(header: Dataset) -> bool:
    """Whether reconstructed slices do not say their order: it is that of the frames, then."""
    is_volume = "RECON TOMO" in texts(header, "ImageType")
    frames = number(header, "NumberOfFrames") or 1
    return bool(
        header.get("SOPClassUID") == NUCLEAR
        and is_volume
        and "SliceVector" not in header
        and frames > 1
    )


def _thickness(header: Dataset, frame: int) -> float | None:
    source = macro(header, frame, "PixelMeasuresSequence")
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        found = number(source, keyword)
        if found:
            return abs(found)
    return None


def is_localiser(header: Dataset, frame: int) -> bool:
    """Whether a frame only shows the planned positions of others."""
    kinds = texts(header, "ImageType")
    for keyword in ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence"):
        kinds += texts(macro(header, frame, keyword), "FrameType")
    return "LOCALIZER" in kinds


def _needs_slice_vector(header: Dataset) -> bool:
    """Whether frames of nuclear medicine could only be ordered by what is missing."""
    frames = number(header, "NumberOfFrames") or 1
    is_nuclear = header.get("SOPClassUID") == NUCLEAR
    return bool(is_nuclear and frames > 1 and "SliceVector" not in header)


# --- all slices ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stack:
    """The order of slices, as indices of the given frames; their affine (RAS+), or None.

    If their spacing is uneven, `places` are the even slices of the affine, each as a fractional
    index of the sorted ones.
    """

    order: tuple[int, ...]
    affine: Vector | None
    notices: tuple[str, ...] = ()
    places: Vector | None = None


def stack(frames: Sequence[Placed]) -> Stack:
    """Sort slices along their normal; raise ContentError if they are not an even stack.

    The affine maps (slice, row, column). Slices that are shifted sideways by a constant step (a
    tilted gantry) have a sheared affine, and a notice.
    """
    sizes = sorted({frame.size for frame in frames})
    if len(sizes) > 1:
        named = ", ".join(f"{columns}x{rows}" for rows, columns in sizes[:3])
        raise ContentError(f"its slices have different sizes ({named})", ONE_OF_THEM)
    places = [frame.place for frame in frames if frame.place is not None]
    if not places and len(frames) == 1:
        return Stack((0,), None, (f"{NO_GEOMETRY}: it is treated as a single picture",))
    if len(places) < len(frames):
        share = "none" if not places else f"only {len(places)}"
        headers = {id(frame.header): frame.header for frame in frames}.values()
        if any(_needs_slice_vector(header) for header in headers):
            raise ContentError(
                "its frames do not say which slice they are (SliceVector is missing, and it is not "
                "marked as RECON TOMO)",
                "export the reconstructed slices again",
            )
        raise ContentError(
            f"{share} of its {len(frames)} images has a position in the patient",
            "export it as a volume, or as one picture",
        )
    _require_parallel(places)
    return _stacked(places)


def _require_parallel(places: Sequence[Place]) -> None:
    first = places[0]
    directions = np.array([[*place.along, *place.down] for place in places])
    off = np.abs(directions - directions[0]).max(axis=1) > SAME_DIRECTION
    if off.any():
        raise ContentError(
            f"its slices have different orientations ({int(off.sum())} of {len(places)} are not "
            "parallel to the first)",
            ONE_OF_THEM,
        )
    spacings = np.array([place.spacing for place in places])
    if (np.abs(spacings / first.spacing - 1) > SAME_SPACING).any():
        low, high = spacings.min(), spacings.max()
        raise ContentError(
            f"its slices have pixels of different sizes ({low:g} to {high:g} mm)", ONE_OF_THEM
        )


def _stacked(places: Sequence[Place]) -> Stack:
    normal = places[0].normal
    heights = np.array([place.position @ normal for place in places])
    order = np.argsort(heights, kind="stable")
    notices: tuple[str, ...] = ()
    even: Vector | None = None
    if len(places) == 1:
        thickness = places[0].thickness
        if thickness is None:
            notices = ("it is one slice of unknown thickness: 1 mm is assumed",)
        step = normal * (thickness or 1.0)
    else:
        sorted_heights = heights[order]
        step, notices = _step([places[i] for i in order], normal)
        claims = np.array([places[i].thickness or 0.0 for i in order])
        if not _is_even(sorted_heights, claims):
            even = _even_places(sorted_heights)
            step = step * (len(places) - 1) / (len(even) - 1)
            gaps = np.diff(sorted_heights)
            words = (
                f"the spacing of its slices is uneven ({gaps.min():.4g} to {gaps.max():.4g} mm): "
                f"resampled to {len(even)} even slices; --spacing uneven=refuse refuses this"
            )
            notices = (*notices, words)
    first = places[order[0]]
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = first.down * first.spacing[0]
    affine[:3, 2] = first.along * first.spacing[1]
    affine[:3, 3] = first.position
    require_place(affine)
    return Stack(tuple(order.tolist()), LPS_TO_RAS @ affine, notices, even)


def _even_places(heights: Vector) -> Vector:
    """Return even slices, about as far apart as the closest ones, as indices between these."""
    count = 1 + round(float((heights[-1] - heights[0]) / np.diff(heights).min()))
    wanted = np.linspace(heights[0], heights[-1], count)
    return np.asarray(np.interp(wanted, heights, np.arange(len(heights))))


def _is_even(heights: Vector, claims: Vector) -> bool:
    """Whether slices are evenly spaced; refuse slices at the same position, and gaps.

    `heights` ascend; `claims` are the spacing or thickness that each slice's file states, else 0.
    """
    gaps = np.diff(heights)
    usual = float(gaps[gaps > SAME_PLACE * gaps.max()].min(initial=gaps.max()))
    doubled = int((gaps <= SAME_PLACE * usual).sum())
    if doubled:
        copies = doubled + 1 if usual == 0 else doubled
        raise ContentError(
            f"{copies} of its {len(heights)} slices {verb_of(copies)} at the position of another "
            "(copies, time points, echoes or directions)",
            ONE_OF_THEM,
        )
    ideal = heights[0] + (heights[-1] - heights[0]) * np.arange(len(heights)) / len(gaps)
    if np.abs(heights - ideal).max() <= EVEN * usual:
        return True
    ratios = gaps / usual
    whole = np.rint(ratios)
    is_whole = whole.max() > 1 and bool((np.abs(ratios - whole) <= 2 * EVEN).all())
    if is_whole and not _is_planned(gaps, whole, claims):
        wide, missing = int(np.argmax(whole > 1)), int((whole - 1).sum())
        raise ContentError(
            f"{missing} of its slices {verb_of(missing)} missing (the first between slices "
            f"{wide + 1} and {wide + 2}: {gaps[wide]:.4g} mm instead of {usual:.4g} mm)",
            "export the whole series again",
        )
    if ratios.max() > MOST_UNEVEN:
        raise ContentError(
            f"the spacing of its slices is uneven ({gaps.min():.4g} to {gaps.max():.4g} mm)",
            "resample it to even spacing, or choose another series",
        )
    return False


def _is_planned(gaps: Vector, whole: Vector, claims: Vector) -> bool:
    """Whether wide gaps were scanned so: their slices say so, or several follow each other."""
    for i in map(int, np.flatnonzero(whole > 1)):
        is_claimed = max(claims[i], claims[i + 1]) >= (1 - EVEN) * gaps[i] - SAME_PLACE
        runs = [gaps[j : j + RUN] for j in range(max(0, i - RUN + 1), i + 1)]
        is_run = any(len(run) == RUN and np.ptp(run) <= EVEN * gaps[i] for run in runs)
        if not (is_claimed or is_run):
            return False
    return True


def _step(places: Sequence[Place], normal: Vector) -> tuple[Vector, tuple[str, ...]]:
    """Return the step from slice to slice, including sideways, and notices about it."""
    positions = np.array([place.position for place in places])
    moved = positions[-1] - positions[0]
    count = len(places) - 1
    pixel = min(places[0].spacing)
    heights = (positions - positions[0]) @ normal
    off_line = positions - positions[0] - np.outer(heights / (heights[-1] or 1.0), moved)
    sideways = np.linalg.norm(off_line - np.outer(off_line @ normal, normal), axis=1)
    if sideways.max() > EVEN * pixel:
        raise ContentError(
            f"its slices are not stacked on a line (up to {sideways.max():.3g} mm beside the line "
            "from the first to the last)",
            "choose another series",
        )
    height = float(moved @ normal)
    drift = float(np.linalg.norm(moved - height * normal))
    if drift <= STRAIGHT * pixel:
        return normal * (height / count), ()
    angle = math.degrees(math.atan2(drift, height))
    words = (
        f"its slices are shifted sideways, as by a gantry tilted by {angle:.1f} degrees: the grid "
        "accounts for this"
    )
    return moved / count, (words,)
