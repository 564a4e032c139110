"""FreeSurfer volumes: .mgh, and compressed .mgz; nibabel reads the header."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import nibabel as nib
import numpy as np

from fnetcli.formats.base import (
    COPY_AGAIN,
    ContentError,
    chosen_volume,
    require_place,
    require_voxels,
)
from fnetcli.formats.border import opened, reading
from fnetcli.formats.nifti.reader import GZIP, inflated, values_of
from fnetcli.formats.stored import (
    NOWHERE,
    PERMUTATION,
    DataFile,
    Matrix,
    Packing,
    read_stored,
)
from fnetcli.imaging.image import Grid, Image

KIND = "FreeSurfer file"
HEADER_BYTES = 284
VERSION = 1
TYPES = {0: "u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}
MAX_SIDE = 1 << 20


def read_mgh(path: Path, volume: int | None, pixel_limit: int) -> Image:
    """Read one volume; of several frames number `volume`, from 1 on. Raise ReadError."""
    with opened(path, KIND) as raw:
        packing: Packing = "gzip" if raw.read(2) == GZIP else "none"
        raw.seek(0)
        with inflated(raw) as content:
            head = content.stream.read(HEADER_BYTES)
        if len(head) < HEADER_BYTES:
            raise EOFError
        version, *sizes, frames, kind = struct.unpack_from(">6i", head)
        if (
            version != VERSION
            or kind not in TYPES
            or not all(1 <= size <= MAX_SIDE for size in (*sizes, frames))
        ):
            raise ContentError(f"not a readable {KIND} (its header makes no sense)", COPY_AGAIN)
        require_voxels(sizes[0] * sizes[1] * sizes[2], pixel_limit)
        index = chosen_volume(volume, frames)
        affine = _affine(head)
    with reading(path, KIND):
        dtype = np.dtype(TYPES[kind])
        shape = (sizes[2], sizes[1], sizes[0])
        size = sizes[0] * sizes[1] * sizes[2] * dtype.itemsize
        file = DataFile(path, 0, packing, 0, HEADER_BYTES + index * size)
        stored = read_stored([file], dtype, shape, KIND)
        pixels, _, valid = values_of(stored.astype(dtype.newbyteorder("=")), 1.0, 0.0)
        return Image(
            pixels,
            Grid(shape, affine),
            valid=valid,
            notices=(NOWHERE,) * (affine is None),
            volumes=frames,
        )


def _affine(head: bytes) -> Matrix | None:
    """Return where voxels lie, or None where the header says that its directions do not hold."""
    if struct.unpack_from(">h", head, 28)[0] != 1:
        return None
    header = nib.freesurfer.mghformat.MGHHeader.from_fileobj(io.BytesIO(head), check=False)
    affine: Matrix = np.asarray(header.get_affine(), np.float64) @ PERMUTATION
    require_place(affine)
    return affine
