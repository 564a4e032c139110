"""DICOM series as volumes: a folder, or a file of one or many frames (PS3.3, PS3.5, PS3.10).

The pipeline for a series: `files` (which files are DICOM) -> `choice` (choose one series) ->
`several` (choose a time point, an echo, ...) -> `geometry` (order of slices, one affine) ->
`values` (meaning of numbers; `suv` for PET) -> `pixels` (decoding, with `codecs`) -> Image. All
headers are checked before any pixel is decoded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileDataset

from fnetcli.formats.base import (
    COPY_AGAIN,
    ContentError,
    chosen_volume,
    require_room,
    require_voxels,
)
from fnetcli.formats.border import reading
from fnetcli.formats.dicom.attributes import printable, text, texts, whole
from fnetcli.formats.dicom.choice import Series, SeriesChoiceError, choose, find_series
from fnetcli.formats.dicom.claims import require_bytes_of_frames
from fnetcli.formats.dicom.files import (
    KIND,
    dicom_files,
    is_companion,
    is_dicom,
    is_dicom_file,
    is_named_dicom,
    read_header,
    search,
)
from fnetcli.formats.dicom.geometry import (
    Place,
    find_places,
    is_localiser,
    lacks_slice_vector,
    stack,
)
from fnetcli.formats.dicom.pixels import FrameDecoder
from fnetcli.formats.dicom.several import BY_ORDER, find_volumes
from fnetcli.formats.dicom.values import ValuePlan, plan_values
from fnetcli.imaging.image import DicomSeries, Grid, Image, Mask
from fnetcli.interruption import require_wanted
from fnetcli.text import number_of, verb_of

__all__ = [
    "DicomSeries",
    "Series",
    "SeriesChoiceError",
    "dicom_files",
    "is_dicom",
    "is_dicom_file",
    "is_named_dicom",
    "list_series",
    "read_dicom",
]

MAX_SLICES = 65_536
DOUBTFUL = f"only {BY_ORDER} tells its volumes apart: look at the result"
IN_FRAME_ORDER = (
    "its SliceVector is missing: slices are taken in the order of its frames, along their normal"
)


@dataclass(frozen=True)
class Frame:
    """One slice before decoding; `number` is that of the frame in its file, counted from 1."""

    path: Path
    header: Dataset
    number: int
    frames: int  # in the file
    size: tuple[int, int]
    place: Place | None


def list_series(path: Path) -> list[Series]:
    """Return all series of a file, or of a folder and its sub-folders; raise ReadError."""
    return _searched(path)[0]


def _searched(path: Path) -> tuple[list[Series], list[Path]]:
    """Return all series, and other files in the same folders that may be damaged slices."""
    with reading(path, KIND):
        if not path.is_dir():
            return find_series([path]), []
        files = [*search(path)]
        others = [one for one, holds_dicom in files if not (holds_dicom or is_companion(one))]
        return find_series(one for one, holds_dicom in files if holds_dicom), others


def read_dicom(
    path: Path,
    wanted: str | None,
    pixel_limit: int,
    *,
    volume: int | None = None,
    modality: str | None = None,
    refuses_uneven: bool = False,
) -> Image:
    """Read one series from a file, or from a folder and its sub-folders; raise ReadError.

    `wanted` chooses among several: a UID, a SeriesNumber or a description; without it, the only one
    of a modality (as in DICOM) is chosen. `volume`, counted from 1, chooses among the volumes of a
    series (time points, echoes, b-values). Slices are sorted along their normal; pixels, after
    rescale, are int16 or int32 if that is exact, else float32; RGB is uint8 or uint16.
    `pixel_limit` counts the pixels of all slices. Slices of uneven spacing are resampled to even
    ones, or refused.
    """
    found, others = _searched(path)
    series, notice = choose(path, found, wanted, modality, _volumes_of)
    with reading(path, KIND):
        one = _chosen(series, volume)
        frames = one.frames
        require_voxels(sum(math.prod(frame.size) for frame in frames), pixel_limit)
        _require_one_space(frames)
        stacked = stack(frames)
        if stacked.places is not None and refuses_uneven:
            raise ContentError(
                "the spacing of its slices is uneven",
                "leave --spacing uneven=refuse out, or choose another series",
            )
        frames = [frames[i] for i in stacked.order]
        plan = plan_values(frames)
        pixels, valid = _decode(frames, plan)
        if stacked.places is not None:
            require_room(2 * len(stacked.places) * pixels[0].nbytes)
            pixels, valid = _between(pixels, valid, stacked.places)
            frames = [frames[round(place)] for place in stacked.places]
        return Image(
            pixels=pixels,
            grid=Grid((len(frames), *frames[0].size), stacked.affine),
            valid=valid,
            notices=(
                *([notice] if notice else []),
                *_strangers(series, others),
                *one.notices,
                *stacked.notices,
                *plan.notices,
            ),
            unit=plan.unit,
            frame_of_reference=text(frames[0].header, "FrameOfReferenceUID") or None,
            series=DicomSeries(
                tuple(frame.header for frame in frames), tuple(frame.number for frame in frames)
            ),
            details=one.titles,
            volumes=one.count,
        )


def _strangers(chosen: Series, others: Sequence[Path]) -> list[str]:
    """Return a warning about other files beside a series: a damaged last slice leaves no gap."""
    folders = {path.parent for path in chosen.files}
    names = [printable(path.name) for path in others if path.parent in folders]
    if not names:
        return []
    count = number_of(len(names), "file")
    words = f"{count} beside its slices ignored, not DICOM (the first: {names[0]})"
    return [f"{words}: look for a damaged slice"]


# --- several volumes ------------------------------------------------------------------------------

Member = tuple[Path, int]  # a file, and the number of a frame in it


@dataclass(frozen=True)
class _Split:
    """The volumes of a series: their slices, and what to tell about each."""

    members: tuple[frozenset[Member], ...]
    titles: tuple[str, ...]
    missing: tuple[int, ...]
    notices: tuple[str, ...]
    words: str


_known_splits: dict[tuple[object, ...], _Split] = {}  # of the last series, by the state of files
MAX_SPLITS = 4


def _volumes_of(series: Series) -> str:
    """Return how many volumes a series holds and in what they differ; "" for a single one."""
    try:
        split = _split(series, _frames(series.files)[0])
    except ContentError:
        return ""
    return "" if split is None else split.words


@dataclass(frozen=True)
class _Chosen:
    """The slices of one volume, what to tell, and how many volumes the series holds."""

    frames: list[Frame]
    notices: list[str]
    titles: tuple[str, ...] = ()
    count: int = 1


def _chosen(series: Series, volume: int | None) -> _Chosen:
    """Return the volume to read of a series. Raise ContentError."""
    known = _known_splits.get(_state(series)) if volume is not None else None
    if known is not None:  # headers of the other volumes need not be read again
        index = chosen_volume(volume, len(known.members))
        paths = {path for path, _ in known.members[index]}
        frames, notices = _frames(path for path in series.files if path in paths)
        split: _Split | None = known
    else:
        frames, notices = _frames(series.files)
        split = _split(series, frames)
    if split is None:
        chosen_volume(volume, 1)
        return _Chosen(frames, notices)
    count = len(split.members)
    index = chosen_volume(volume, count, split.words)
    if split.missing[index]:
        raise ContentError(
            f"volume {index + 1} lacks {split.missing[index]} of its slices",
            "choose another one with --volume",
        )
    members = split.members[index]
    kept = [frame for frame in frames if (frame.path, frame.number) in members]
    return _Chosen(kept, [*notices, *split.notices], (split.titles[index],), count)


def _split(series: Series, frames: Sequence[Frame]) -> _Split | None:
    found = find_volumes(frames)
    if found is None:
        return None
    made = _Split(
        tuple(
            frozenset((frames[i].path, frames[i].number) for i in some) for some in found.members
        ),
        tuple(map(found.title, range(len(found.members)))),
        found.missing,
        (DOUBTFUL,) * found.is_by_order,
        found.words,
    )
    if len(_known_splits) >= MAX_SPLITS:
        _known_splits.clear()
    _known_splits[_state(series)] = made
    return made


def _state(series: Series) -> tuple[object, ...]:
    found: list[object] = [series.uid]
    for path in series.files:
        status = path.stat()
        found.append((path, status.st_size, status.st_mtime_ns))
    return tuple(found)


# --- slices ---------------------------------------------------------------------------------------


def _frames(files: Iterable[Path]) -> tuple[list[Frame], list[str]]:
    """Return the slices of a series from their headers, without copies and localisers."""
    frames: list[Frame] = []
    notices: list[str] = []
    seen: dict[str, list[Frame]] = {}
    copies = localisers = 0
    for path in files:
        header = read_header(path)
        with reading(path, KIND):
            found = _frames_of(path, header)
            uid = text(header, "SOPInstanceUID")
            if uid in seen and _are_copies(found, seen[uid]):
                copies += 1
                continue
            seen[uid] = found
            if lacks_slice_vector(header) and found[0].place is not None:
                notices.append(IN_FRAME_ORDER)
            kept = [one for one in found if not is_localiser(header, one.number)]
            localisers += len(found) - len(kept)
            frames += kept
    if not frames:
        raise ContentError("a localiser, not an image", "choose another series")
    if copies:
        verb = verb_of(copies, "is a copy", "are copies")
        notices.append(f"ignored: {number_of(copies, 'file')} that {verb} of others")
    if localisers:
        verb = verb_of(localisers, "is a localiser", "are localisers")
        notices.append(f"{localisers} of its images {verb}, and ignored")
    return frames, notices


def _frames_of(path: Path, header: FileDataset) -> list[Frame]:
    rows, columns = whole(header, "Rows"), whole(header, "Columns")
    count = whole(header, "NumberOfFrames") or 1
    if rows is None or columns is None:
        raise ContentError("has no image in it", "remove it from the folder")
    if "MOSAIC" in texts(header, "ImageType"):
        raise ContentError(
            "its slices are tiles of one picture (a Siemens mosaic)", "convert it with dcm2niix"
        )
    if min(rows, columns, count) < 1 or count > MAX_SLICES:
        size = f"{columns}x{rows}, {number_of(count, 'frame')}"
        raise ContentError(f"has an impossible size ({size})", COPY_AGAIN)
    require_bytes_of_frames(header, path.stat().st_size, count, (rows, columns))
    return [
        Frame(path, header, number, count, (rows, columns), place)
        for number, place in enumerate(find_places(header, count), start=1)
    ]


def _are_copies(some: Sequence[Frame], others: Sequence[Frame]) -> bool:
    """Whether files with the same SOPInstanceUID are copies; some anonymisers set all the same."""
    if len(some) != len(others):
        return False
    pairs = [(one.place, other.place) for one, other in zip(some, others, strict=True)]
    return all(
        one is not None and other is not None and np.allclose(one.position, other.position)
        for one, other in pairs
    )


def _require_one_space(frames: Sequence[Frame]) -> None:
    headers = {id(frame.header): frame.header for frame in frames}.values()
    if len({text(header, "FrameOfReferenceUID") for header in headers}) > 1:
        raise ContentError(
            "its slices have different frames of reference: the patient moved between them",
            "choose another series",
        )


def _decode(frames: Sequence[Frame], plan: ValuePlan) -> tuple[NDArray[Any], Mask | None]:
    """Return values (slices, rows, columns, channels) and the mask of valid ones."""
    shape = (len(frames), *frames[0].size)
    require_room(2 * math.prod(shape) * plan.channels * plan.dtype.itemsize)
    pixels = np.empty((*shape, plan.channels), plan.dtype)
    valid: Mask | None = None
    turns = sorted(range(len(frames)), key=lambda i: (frames[i].path, frames[i].number))
    for path, numbers in groupby(turns, key=lambda i: frames[i].path):
        require_wanted()
        with reading(path, KIND):
            decoder: FrameDecoder | None = None
            for i in numbers:
                frame = frames[i]
                decoder = decoder or FrameDecoder(path, frame.size, frame.frames)
                stored = decoder.stored(frame.number)
                values = plan.rescales[i].apply(stored)
                pixels = _widened(pixels, values)
                pixels[i] = values.reshape(*frame.size, plan.channels)
                holes = plan.rescales[i].holes(stored)
                if holes is not None:
                    valid = np.ones(shape, np.bool_) if valid is None else valid
                    valid[i] = holes
    return pixels, _with_holes(valid, pixels)


def _between(
    pixels: NDArray[Any], valid: Mask | None, places: NDArray[np.float64]
) -> tuple[NDArray[Any], Mask | None]:
    """Return slices at fractional indices, interpolated in the type of the pixels."""
    made = np.empty((len(places), *pixels.shape[1:]), pixels.dtype)
    seen = None if valid is None else np.empty(made.shape[:3], np.bool_)
    for i, place in enumerate(places):
        below = min(int(place), len(pixels) - 2)
        share = np.float32(place - below)
        pair = pixels[below : below + 2]
        if share in {0, 1}:
            made[i] = pair[int(share)]
        else:
            mixed = (1 - share) * pair[0].astype(np.float64) + share * pair[1].astype(np.float64)
            made[i] = np.rint(mixed) if pixels.dtype.kind in "iu" else mixed
        if valid is not None and seen is not None:
            ends = [valid[below + j] for j, weight in ((0, 1 - share), (1, share)) if weight > 0]
            seen[i] = np.logical_and.reduce(ends)
    return made, seen


def _widened(pixels: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """Return pixels in a type that can also hold these values; int16 nearly always suffices."""
    if pixels.dtype.kind == "u" and values.dtype.itemsize > pixels.dtype.itemsize:
        return pixels.astype(values.dtype)
    if pixels.dtype.kind != "i":
        return pixels
    low, high = values.min(), values.max()
    for dtype in (pixels.dtype, np.dtype(np.int32)):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return pixels.astype(dtype, copy=False)
    return pixels.astype(np.float32)


def _with_holes(valid: Mask | None, pixels: NDArray[Any]) -> Mask | None:
    """Mark NaN and infinity as holes."""
    if pixels.dtype.kind != "f" or np.isfinite(pixels).all():
        return valid
    finite: Mask = np.isfinite(pixels).all(axis=-1)
    return finite if valid is None else valid & finite
