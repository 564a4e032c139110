"""NumPy arrays in .npy files; nothing is ever unpickled."""

from __future__ import annotations

import math
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fnetcli.formats.bands import band_indices
from fnetcli.formats.base import (
    COPY_AGAIN,
    ContentError,
    Format,
    Header,
    ReadOptions,
    file_length,
    require_room,
    require_size,
    starts_with,
)
from fnetcli.formats.upright import UPRIGHT, new_image
from fnetcli.imaging.image import Image

SIGNATURE = b"\x93NUMPY"
MAX_HEADER = 10_000  # characters that Python's parser is given
TYPES = {"u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8", "u8", "i8"}
MAX_BANDS = 65_535


def read(file: BinaryIO, options: ReadOptions) -> Image:
    """Read an array (H, W), (1, H, W) or (H, W, bands)."""
    shape, is_fortran, dtype = _head(file, options)
    count = math.prod(shape)
    require_room(2 * count * dtype.itemsize)
    content = file.read(count * dtype.itemsize)
    if len(content) < count * dtype.itemsize:
        raise ContentError("not a complete NumPy file (ends early)", COPY_AGAIN)
    stored = np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")
    planes = _planes(stored)
    if options.bands:
        planes = planes[..., band_indices(options.bands, [""] * planes.shape[2])]
    return new_image(_narrowed(planes), None, UPRIGHT)


def probe(file: BinaryIO, options: ReadOptions) -> Header:
    """Tell what `read` would give; whole numbers of 64 bits are looked at."""
    place = file.tell()
    shape, _, dtype = _head(file, options)
    if dtype.itemsize == 8 and dtype.kind in "iu":
        file.seek(place)
        dtype = read(file, options).stored_type
    height, width, bands = _size(shape)
    return Header("NPY", height, width, len(options.bands) or bands, dtype.newbyteorder("="))


def _head(file: BinaryIO, options: ReadOptions) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ContentError("a NumPy file of an unknown version", "save it with numpy.save")
    shape, is_fortran, dtype = readers[version](file, max_header_size=MAX_HEADER)
    if dtype.hasobject:
        raise ContentError("holds Python objects, which are not read", "save plain numbers")
    if dtype.str[1:] not in TYPES:
        raise ContentError(f"holds {dtype}, not the numbers of an image", "save integers or floats")
    height, width, bands = _size(shape)
    require_size(width, height, options)
    if not options.bands and bands not in {1, 3}:
        raise ContentError(
            f"has {bands} bands, neither grey nor RGB",
            "choose one or three of them with --band MODALITY=1,2,3",
        )
    if options.bands:
        band_indices(options.bands, [""] * bands)
    if file_length(file) - file.tell() < math.prod(shape) * dtype.itemsize:
        raise ContentError("not a complete NumPy file (ends early)", COPY_AGAIN)
    return shape, is_fortran, dtype


def _size(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return height, width and bands. Raise ContentError for what is no picture."""
    if len(shape) == 3 and shape[0] == 1 and shape[2] > 4:
        shape = shape[1:]
    if len(shape) not in {2, 3} or min(shape) < 0 or math.prod(shape[2:]) > MAX_BANDS:
        raise ContentError(
            f"an array of shape {shape}, not a picture", "save it as (height, width[, bands])"
        )
    return shape[0], shape[1], math.prod(shape[2:])


def _planes(stored: NDArray[Any]) -> NDArray[Any]:
    height, width, bands = _size(stored.shape)
    return stored.reshape(height, width, bands)


def _narrowed(planes: NDArray[Any]) -> NDArray[Any]:
    """Return numbers in the machine's byte order; whole ones in 32 bits if they fit."""
    planes = planes.astype(planes.dtype.newbyteorder("="), copy=False)
    if planes.dtype.itemsize < 8 or planes.dtype.kind == "f":
        return planes
    low, high = int(planes.min()), int(planes.max())
    for dtype in (np.int32, np.uint32) if planes.dtype.kind == "i" else (np.uint32,):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return planes.astype(dtype)
    raise ContentError("its whole numbers need more than 32 bits", "save them as floats")


NPY = Format("NPY", (".npy",), starts_with(SIGNATURE), read, probe)
