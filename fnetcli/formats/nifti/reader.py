"""NIfTI-1 and NIfTI-2 volumes: .nii, .nii.gz, and pairs of .hdr and .img.

nibabel reads the header; the numbers are read here, of one volume only and never more than the
header declares. Slices are the file's third axis (k), rows its second (j), columns its first (i).
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from fnetcli.files.guarded import RefusedError, open_ordinary
from fnetcli.formats.base import (
    COPY_AGAIN,
    DEFLATE_RATIO,
    ContentError,
    chosen_volume,
    file_length,
    require_place,
    require_room,
    require_voxels,
)
from fnetcli.formats.border import opened
from fnetcli.imaging.image import Grid, Image, Mask, NiftiSpace, Pixels
from fnetcli.text import number_of

KIND = "NIfTI file"
SUFFIXES = (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz")
HEADER_BYTES = {1: 348, 2: 540}  # by version, and the first number of every file
MAX_HEADER_BYTES = 1 << 26  # including extensions, before the numbers
CHUNK_BYTES = 1 << 20  # that are read at a time
GZIP = b"\x1f\x8b"
LABELS = 1002  # intent code
MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # by xyzt_units: unknown, metre, mm, micrometre
DISAGREE = 0.1  # of a voxel: sform and qform that differ by more contradict each other
ORDER = (2, 1, 0)
# From (slice, row, column) to (i, j, k).
PERMUTATION = np.eye(4)[[2, 1, 0, 3]]

Matrix = NDArray[np.float64]
Header = nib.Nifti1Header | nib.Nifti2Header


def is_nifti_file(path: Path) -> bool:
    """Whether a file is NIfTI by its content, or either file of a pair."""
    try:
        if path.suffix == ".img" or path.name.endswith(".img.gz"):
            partner = _partner(path, "hdr")
            return partner is not None and is_nifti_file(partner)
        with open_ordinary(path) as raw, inflated(raw) as file:
            return _version(file.stream.read(HEADER_BYTES[2])) is not None
    except (OSError, RefusedError, EOFError, zlib.error):
        return False


def is_named_nifti(path: Path) -> bool:
    """Whether a file's name claims that it is NIfTI; an .img alone may be anything."""
    name = path.name.lower()
    return name.endswith((".nii", ".nii.gz"))


def nifti_files(path: Path) -> tuple[Path, ...]:
    """Return the files of a volume: itself, or the header and the numbers of a pair."""
    plain = path.name.removesuffix(".gz")
    if plain.endswith((".hdr", ".img")):
        pair = (_partner(path, "hdr"), _partner(path, "img"))
        return tuple(one for one in pair if one is not None)
    return (path,)


def read_nifti(path: Path, volume: int | None, pixel_limit: int) -> Image:
    """Read one volume; of a 4-D file number `volume`, counted from 1. Raise ReadError.

    Numbers are int16 or int32 if that is exact, else float32; RGB is uint8. `valid` is False
    where numbers are NaN or infinite. `pixel_limit` counts voxels.
    """
    header_path = path
    if path.name.removesuffix(".gz").endswith(".img"):
        header_path = _partner(path, "hdr") or path
    with opened(header_path, KIND) as raw, inflated(raw) as file:
        header, version, is_pair = _header(file.stream)
        shape, count = _shape(header, pixel_limit)
        index = chosen_volume(volume, count)
        space, affine, notices = _space(header, shape, version)
        dtype = _number_type(header)
        slope, intercept = _scaling(header)
        if not is_pair:
            stored = _numbers(file, header, shape, index, dtype)
    if is_pair:
        stored = _paired_numbers(header_path, header, shape, index, dtype)
    with opened(header_path, KIND):
        pixels, alpha, valid = values_of(stored, slope, intercept)
        return Image(
            pixels=pixels,
            grid=Grid((shape[2], shape[1], shape[0]), affine),
            alpha=alpha,
            valid=valid,
            notices=notices,
            nifti=space,
            volumes=count,
        )


# --- the file -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Content:
    """The content of a file, inflated as it is read, at most `most_bytes`."""

    stream: BinaryIO
    most_bytes: int


@contextmanager
def inflated(file: BinaryIO) -> Iterator[Content]:
    """Yield the content of a file, inflated if it is compressed."""
    is_compressed = file.read(2) == GZIP
    file.seek(0)
    length = file_length(file)
    if not is_compressed:
        yield Content(file, length)
        return
    with gzip.GzipFile(fileobj=file) as inflating:
        yield Content(cast("BinaryIO", inflating), DEFLATE_RATIO * length)


def _partner(path: Path, ending: str) -> Path | None:
    """Return the other file of a pair (.hdr, .img, also with .gz), if it exists."""
    base = path.name.removesuffix(".gz")[: -len(".hdr")]
    for suffix in (f".{ending}", f".{ending}.gz"):
        candidate = path.with_name(base + suffix)
        if candidate.is_file():
            return candidate
    return None


def _version(head: bytes) -> tuple[int, bool] | None:
    """Return the version, and whether numbers are in another file; None if it is not NIfTI."""
    for version, place, magics in (
        (1, 344, (b"n+1\0", b"ni1\0")),
        (2, 4, (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n")),
    ):
        size = HEADER_BYTES[version]
        found = head[place : place + len(magics[0])]
        is_size = size in {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
        if len(head) >= size and is_size and found in magics:
            return version, found == magics[1]
    return None


def _header(file: BinaryIO) -> tuple[Header, int, bool]:
    head = file.read(HEADER_BYTES[2])
    known = _version(head)
    if known is None:
        sizes = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
        if HEADER_BYTES[1] in sizes and len(head) >= HEADER_BYTES[1]:
            raise ContentError(
                "an Analyze file, or one with a damaged mark: its left and right are unknown",
                "convert it to NIfTI",
            )
        raise ContentError(f"not a {KIND}, despite its name", COPY_AGAIN)
    version, is_pair = known
    kind: Any = nib.Nifti1Header if version == 1 else nib.Nifti2Header
    block = head[: HEADER_BYTES[version]]
    return kind.from_fileobj(io.BytesIO(block), check=False), version, is_pair


def _numbers(
    file: Content, header: Header, shape: tuple[int, int, int], index: int, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return stored numbers (k, j, i)."""
    offset = float(header["vox_offset"])
    least = 0 if header["magic"].item().startswith(b"ni") else HEADER_BYTES[1]
    if not least <= offset <= MAX_HEADER_BYTES:
        raise ContentError(f"not a readable {KIND} (its vox_offset is wrong)", COPY_AGAIN)
    size = shape[0] * shape[1] * shape[2] * dtype.itemsize
    if int(offset) + (index + 1) * size > file.most_bytes:
        raise EOFError
    require_room(size + 4 * shape[0] * shape[1] * shape[2])
    file.stream.seek(int(offset) + index * size)
    stored = np.empty(shape[::-1], dtype)
    content = stored.reshape(-1).view(np.uint8).data
    for start in range(0, size, CHUNK_BYTES):
        part = content[start : start + CHUNK_BYTES]
        if file.stream.readinto(part) < len(part):  # type: ignore[attr-defined]
            raise EOFError
    file.stream.read(1 << 16)  # to the end of the compressed stream, to verify its checksum
    return stored


def _paired_numbers(
    path: Path, header: Header, shape: tuple[int, int, int], index: int, dtype: np.dtype[Any]
) -> NDArray[Any]:
    partner = _partner(path, "img")
    if partner is None:
        with opened(path, KIND):
            raise ContentError("the .img file beside it is missing", "copy both files")
    with opened(partner, KIND) as raw, inflated(raw) as file:
        return _numbers(file, header, shape, index, dtype)


# --- the header -----------------------------------------------------------------------------------


def _shape(header: Header, pixel_limit: int) -> tuple[tuple[int, int, int], int]:
    """Return (i, j, k) and the number of volumes."""
    dim = [int(one) for one in header["dim"]]
    if not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1:
        raise ContentError(f"not a readable {KIND} (its sizes make no sense)", COPY_AGAIN)
    sizes = [*dim[1 : dim[0] + 1], *[1] * 7][:7]
    if max(sizes[4:]) > 1:
        raise ContentError(
            f"has {number_of(dim[0], 'dimension')}: vectors or similar, not an image",
            "give an image",
        )
    if int(header["intent_code"]) == LABELS:
        raise ContentError("a label map, not an image", "give the image")
    shape = (sizes[0], sizes[1], sizes[2])
    voxels = sizes[0] * sizes[1] * sizes[2]
    require_voxels(voxels, pixel_limit)
    return shape, sizes[3]


def _number_type(header: Header) -> np.dtype[Any]:
    dtype: np.dtype[Any]
    try:
        dtype = np.dtype(header.get_data_dtype())  # type: ignore[no-untyped-call]
    except (HeaderDataError, KeyError):
        dtype = np.dtype(np.void)
    is_color = dtype.names is not None and dtype.names[:3] == ("R", "G", "B")
    if dtype.kind not in "iuf" and not is_color:
        raise ContentError("its numbers are complex, bits or of an unknown type", "convert them")
    return dtype


def _scaling(header: Header) -> tuple[float, float]:
    """Return slope and intercept; a slope of 0 or NaN means none (NIfTI-1, "data scaling")."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        return 1.0, 0.0
    if not np.isfinite(intercept):
        raise ContentError(f"not a readable {KIND} (its scl_inter is not a number)", COPY_AGAIN)
    return slope, intercept


def _space(
    header: Header, shape: tuple[int, int, int], version: int
) -> tuple[NiftiSpace, Matrix | None, tuple[str, ...]]:
    """Return the header's space, our affine, and what a user should know."""
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    sform = _form(header, "get_sform") if sform_code > 0 else None
    qform = _form(header, "get_qform") if qform_code > 0 else None
    pixdim = [float(one) for one in header["pixdim"]]
    units = int(header["xyzt_units"])
    space = NiftiSpace(
        shape=shape,
        zooms=(pixdim[1], pixdim[2], pixdim[3]),
        qform=qform,
        sform=sform,
        qform_code=qform_code,
        sform_code=sform_code,
        xyzt_units=units,
        version=version,
        order=ORDER,
    )
    best = qform if sform is None else sform
    if best is None:
        if sform_code > 0 or qform_code > 0:
            raise ContentError(f"not a readable {KIND} (its affine makes no sense)", COPY_AGAIN)
        words = "it has neither sform nor qform, so it has no position in the patient"
        return space, None, (words,)
    factor = MILLIMETRES.get(units & 7)
    if factor is None:
        raise ContentError("its unit of length is unknown", "convert it to millimetres")
    notices = _disagreement(sform, qform, shape, factor)
    if sform is None and sform_code > 0:
        notices = ("its sform is damaged (it cannot be inverted): the qform is used",)
    elif qform is None and qform_code > 0:
        notices = ("its qform is damaged (it cannot be inverted): the sform is used",)
    affine = np.diag([factor, factor, factor, 1.0]) @ best @ PERMUTATION
    require_place(affine)
    return space, affine, notices


def _form(header: Header, name: str) -> Matrix | None:
    """Return an affine that can be inverted, or None."""
    try:
        found = np.asarray(getattr(header, name)(), np.float64)
    except (HeaderDataError, ValueError, ArithmeticError):
        return None
    steps = found[:3, :3]
    lengths = np.linalg.norm(steps, axis=0)
    if not np.isfinite(found).all() or lengths.min() <= 0:
        return None
    return found if abs(np.linalg.det(steps / lengths)) > 1e-3 else None


def _disagreement(
    sform: Matrix | None, qform: Matrix | None, shape: tuple[int, int, int], factor: float
) -> tuple[str, ...]:
    if sform is None or qform is None:
        return ()
    corners = np.array(
        [
            (i * (shape[0] - 1), j * (shape[1] - 1), k * (shape[2] - 1), 1)
            for i in (0, 1)
            for j in (0, 1)
            for k in (0, 1)
        ]
    )
    apart = np.linalg.norm((corners @ (sform - qform).T)[:, :3], axis=1).max()
    if apart <= DISAGREE * np.linalg.norm(sform[:3, :3], axis=0).min():
        return ()
    words = (
        f"its sform and qform contradict each other (up to {apart * factor:.3g} mm apart): the "
        "sform is used"
    )
    return (words,)


# --- the numbers ----------------------------------------------------------------------------------


def values_of(
    stored: NDArray[Any], slope: float, intercept: float
) -> tuple[NDArray[Any], Pixels | None, Mask | None]:
    """Return values (k, j, i, channels), opacity, and the mask of valid values."""
    if stored.dtype.names is not None:
        colors = np.stack([stored[name] for name in ("R", "G", "B")], axis=-1)
        has_alpha = "A" in stored.dtype.names
        return colors, stored["A"].astype(np.float32) / np.float32(255) if has_alpha else None, None
    pixels = _scaled(stored, slope, intercept)[..., None]
    if pixels.dtype.kind == "f" and not (finite := np.isfinite(pixels[..., 0])).all():
        return pixels, None, finite
    return pixels, None, None


def _scaled(stored: NDArray[Any], slope: float, intercept: float) -> NDArray[Any]:
    is_whole = stored.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer()
    if is_whole:
        low, high = sorted(slope * int(end) + intercept for end in (stored.min(), stored.max()))
        for dtype in (np.dtype(np.int16), np.dtype(np.int32)):
            limits = np.iinfo(dtype)
            if limits.min <= low and high <= limits.max:
                if (slope, intercept) == (1.0, 0.0):
                    return stored.astype(dtype)
                return (stored.astype(np.int64) * int(slope) + int(intercept)).astype(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        pixels = np.empty(stored.shape, np.float32)
        for k, part in enumerate(stored):  # one slice at a time in float64
            pixels[k] = part.astype(np.float64) * slope + intercept
        return pixels
