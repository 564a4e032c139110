"""Write volumes as NIfTI, on the grid of the reference; equal input gives equal bytes.

No texts of the reference are copied, since they may hold a patient's name: descrip, intent_name,
aux_file and db_name are empty, and there are no header extensions.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from fnetcli.errors import ImageError, WriteError
from fnetcli.files.durable import atomic_write
from fnetcli.imaging.image import Grid, Image, NiftiSpace

SCANNER = 1  # code of a form: scanner coordinates, as in DICOM
MILLIMETRES = 2  # code of xyzt_units
LONGEST_SIDE = np.iinfo(np.int16).max  # of NIfTI-1
RIGHT_ANGLE = 1e-4  # cosine; a qform cannot shear
EXTENSIONS = bytes(4)  # none
GZIP_LEVEL = 1  # for float32, level 6 saves 4 % more in twice the time
COLOR = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


def write_nifti(
    path: Path,
    values: NDArray[Any],
    reference: Image,
    limits: tuple[float, float] = (0.0, 1.0),
) -> None:
    """Write a volume as .nii or, with that suffix, .nii.gz, completely or not at all.

    `values` is float32 (slices, height, width[, 1]), or uint8 (..., 3), which is written as RGB24,
    on the grid of `reference`. From a NIfTI reference, qform, sform, their codes, units and order
    of axes are kept; from a DICOM reference, the position, as qform and sform (code 1). `limits`
    are the numbers that viewers show as black and white (cal_min, cal_max). Create missing folders.
    Raise WriteError if the reference has no position, ImageError for NaN and infinity, what
    `atomic_write` raises, and ValueError for other arrays.
    """
    planes = values[..., None] if values.ndim == 3 else values
    is_color = planes.ndim == 4 and planes.shape[3] == 3
    if planes.dtype != (np.uint8 if is_color else np.float32) or planes.shape[3:] not in {
        (1,),
        (3,),
    }:
        raise ValueError(
            "NIfTI takes float32 (slices, H, W[, 1]) or uint8 (slices, H, W, 3), "
            f"not {values.dtype} {values.shape}"
        )
    if planes.shape[:3] != reference.grid.shape:
        raise ValueError(f"values are {planes.shape[:3]}, the grid is {reference.grid.shape}")
    space = reference.nifti or _space_of(path, reference.grid)
    header = _header(space, is_color=is_color)
    header["cal_min"], header["cal_max"] = (0, 0) if is_color else limits

    def write(file: BinaryIO) -> None:
        file.write(header.binaryblock + EXTENSIONS)
        file.writelines(_planes(planes, space.order))

    def write_compressed(file: BinaryIO) -> None:
        with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as inner:
            write(inner)  # type: ignore[arg-type]

    atomic_write(path, write_compressed if path.suffix == ".gz" else write)


def _space_of(path: Path, grid: Grid) -> NiftiSpace:
    """Return the header's space for a grid that is not from NIfTI: columns first, RAS+."""
    if grid.affine is None:
        raise WriteError(
            f"{path}: the reference has no position in the patient, which NIfTI needs; write it "
            "with --to png or tiff"
        )
    affine = grid.affine[:, [2, 1, 0, 3]]
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    unit = affine[:3, :3] / lengths
    is_sheared = np.abs(unit.T @ unit - np.eye(3)).max() > RIGHT_ANGLE
    return NiftiSpace(
        shape=(grid.shape[2], grid.shape[1], grid.shape[0]),
        zooms=(float(lengths[0]), float(lengths[1]), float(lengths[2])),
        qform=None if is_sheared else affine,
        sform=affine,
        qform_code=0 if is_sheared else SCANNER,
        sform_code=SCANNER,
        xyzt_units=MILLIMETRES,
    )


def _header(space: NiftiSpace, *, is_color: bool) -> Any:
    is_small = space.version == 1 and max(space.shape) <= LONGEST_SIDE
    header: Any = nib.Nifti1Header() if is_small else nib.Nifti2Header()
    header.set_data_dtype(COLOR if is_color else np.float32)
    header.set_data_shape(space.shape)
    if space.qform is not None:
        header.set_qform(space.qform, space.qform_code)
    if space.sform is not None:
        header.set_sform(space.sform, space.sform_code)
    header["pixdim"][1:4] = space.zooms
    header["xyzt_units"] = space.xyzt_units & 7  # of space; there is no time axis
    header["scl_slope"], header["scl_inter"] = (0, 0) if is_color else (1, 0)
    header["magic"] = b"n+1" if is_small else b"n+2"
    header["vox_offset"] = header.single_vox_offset
    return header


def _planes(planes: NDArray[Any], order: tuple[int, int, int]) -> Iterator[bytes]:
    """Yield the numbers in the order of the file, one plane of its last axis at a time."""
    in_file = planes.transpose(*np.argsort(order), 3)  # (i, j, k, channels)
    for k in range(in_file.shape[2]):
        plane = in_file[:, :, k].swapaxes(0, 1)  # i runs fastest
        if plane.dtype.kind == "f" and not np.isfinite(plane).all():
            raise ImageError("the result holds NaN or infinity; check the weights and the input")
        yield plane.astype(plane.dtype.newbyteorder("<"), copy=False).tobytes()
