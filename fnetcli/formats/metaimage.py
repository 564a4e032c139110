"""MetaImage volumes, as ITK writes them: .mha, and .mhd with its data beside it."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fnetcli.files.durable import atomic_write
from fnetcli.formats.base import COPY_AGAIN, ContentError, chosen_volume, require_voxels
from fnetcli.formats.border import opened, reading
from fnetcli.formats.nifti.reader import values_of
from fnetcli.formats.stored import (
    LPS_TO_RAS,
    MAX_DATA_FILES,
    NOWHERE,
    DataFile,
    Matrix,
    Packing,
    affine_of,
    data_path,
    numbered_names,
    read_stored,
)
from fnetcli.formats.volume_writer import planes_of, require_writable
from fnetcli.imaging.image import Grid, Image
from fnetcli.text import number_of

KIND = "MetaImage file"
MAX_HEADER = 1 << 22
DEFLATE_LEVEL = 1
START = re.compile(rb"\s*(?:ObjectType|NDims|Comment|ObjectSubType)\s*=")
TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
ORIGINS = ("Offset", "Position", "Origin")
MATRICES = ("TransformMatrix", "Rotation", "Orientation")


def is_metaimage(head: bytes) -> bool:
    """Whether a file is MetaImage, by its first bytes."""
    return START.match(head) is not None and b"NDims" in head


def metaimage_files(path: Path) -> tuple[Path, ...]:
    """Return the files that a volume's content depends on; raise ReadError."""
    with opened(path, KIND) as file:
        fields, names, _ = _fields(file)
        return (path, *(one.path for one in _data(path, fields, names, 0) if one.path != path))


def read_metaimage(path: Path, volume: int | None, pixel_limit: int) -> Image:
    """Read one volume; of four dimensions number `volume`, from 1 on. Raise ReadError."""
    with opened(path, KIND) as file:
        fields, names, start = _fields(file)
        sizes = [int(one) for one in _numbers(fields, "DimSize")]
        channels = int(_numbers(fields, "ElementNumberOfChannels", 1, "1")[0])
        _require_volume(fields, sizes)
        dtype = _dtype(fields, channels)
        require_voxels(math.prod(sizes[:3]), pixel_limit)
        count = math.prod(sizes[3:])
        index = chosen_volume(volume, count)
        affine, notices = _affine(fields, len(sizes))
        files = _data(path, fields, names, start)
    with reading(path, KIND):
        shape = (sizes[2], sizes[1], sizes[0])
        whole = (math.prod(sizes[3:]), *shape, channels)
        stored = read_stored(files, dtype, whole, KIND)[index]
        native = stored.astype(dtype.newbyteorder("="), copy=False)
        grid = Grid(shape, affine)
        if channels > 1:
            alpha = None
            if channels == 4:
                alpha = native[..., 3].astype(np.float32) / np.float32(255)
            colors = np.ascontiguousarray(native[..., :3])
            return Image(colors, grid, alpha=alpha, notices=notices, volumes=count)
        pixels, _, valid = values_of(native[..., 0], 1.0, 0.0)
        return Image(pixels, grid, valid=valid, notices=notices, volumes=count)


# --- header ---------------------------------------------------------------------------------------


def _fields(file: BinaryIO) -> tuple[dict[str, str], list[str], int]:
    """Return the fields, the names of a list of data files, and where the header ends."""
    fields: dict[str, str] = {}
    while "ElementDataFile" not in fields:
        line = file.readline(MAX_HEADER)
        if not line or file.tell() > MAX_HEADER:
            raise ContentError(f"not a readable {KIND} (it names no data)", COPY_AGAIN)
        key, mark, value = line.decode("utf-8", "replace").partition("=")
        if not mark and line.strip():
            raise ContentError(f"not a readable {KIND} (its header is damaged)", COPY_AGAIN)
        fields[key.strip()] = value.strip()
    start = file.tell()
    names: list[str] = []
    if fields["ElementDataFile"].split()[:1] == ["LIST"]:
        rest = file.read(MAX_HEADER).decode("utf-8", "replace").splitlines()
        names = [name.strip() for name in rest if name.strip()]
        if len(names) > MAX_DATA_FILES:
            raise ContentError("its list of data files makes no sense", COPY_AGAIN)
    return fields, names, start


def _numbers(
    fields: Mapping[str, str], name: str, count: int | None = None, default: str = ""
) -> list[float]:
    try:
        found = [float(text) for text in fields.get(name, default).split()]
    except ValueError:
        raise _bad(name) from None
    is_sane = all(math.isfinite(one) and abs(one) < 1e12 for one in found)
    if not is_sane or not found or (count is not None and len(found) != count):
        raise _bad(name)
    return found


def _bad(name: str) -> ContentError:
    return ContentError(f"not a readable {KIND} (its {name} makes no sense)", COPY_AGAIN)


def _require_volume(fields: Mapping[str, str], sizes: list[int]) -> None:
    if fields.get("ObjectType", "Image") != "Image":
        raise ContentError("a MetaIO object that is not an image", "name an image")
    if fields.get("NDims") != str(len(sizes)) or min(sizes) < 1:
        raise _bad("DimSize")
    if len(sizes) not in {3, 4}:
        raise ContentError(
            f"has {number_of(len(sizes), 'dimension')}, not a volume",
            "name a volume, or a picture as PNG",
        )
    if not _flag(fields, "BinaryData", default=True):
        raise ContentError("its numbers are written as text", "save them in binary form")


def _flag(fields: Mapping[str, str], *names: str, default: bool = False) -> bool:
    texts = [fields[name].lower() for name in names if name in fields]
    return texts[0] in {"true", "1"} if texts else default


def _dtype(fields: Mapping[str, str], channels: int) -> np.dtype[Any]:
    name = fields.get("ElementType", "").removesuffix("_ARRAY")
    if name not in TYPES:
        raise ContentError(f"its numbers are of type {name[:30]!r}", "convert them")
    dtype = np.dtype(TYPES[name])
    if channels != 1 and (channels not in {3, 4} or dtype != np.uint8):
        raise ContentError(
            f"has {channels} numbers of {dtype} a voxel, neither grey nor RGB of 8 bits",
            "save it as one of them",
        )
    is_big = _flag(fields, "BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    return dtype.newbyteorder(">" if is_big else "<")


def _affine(fields: Mapping[str, str], count: int) -> tuple[Matrix | None, tuple[str, ...]]:
    origin = next((name for name in ORIGINS if name in fields), None)
    matrix = next((name for name in MATRICES if name in fields), None)
    if origin is None:
        return None, (NOWHERE,)
    place = np.array(_numbers(fields, origin, count))[:3]
    spacing = np.array(
        _numbers(fields, "ElementSpacing", count)
        if "ElementSpacing" in fields
        else _numbers(fields, "ElementSize", count, " ".join(["1"] * count))
    )[:3]
    rows = np.eye(count)
    if matrix is not None:
        rows = np.array(_numbers(fields, matrix, count * count)).reshape(count, count)
    # Each row is the direction of one of the file's axes, in LPS+ (ITK's MetaImageIO).
    return affine_of(rows[:3, :3].T * spacing, place, LPS_TO_RAS), ()


def _data(path: Path, fields: Mapping[str, str], names: list[str], start: int) -> list[DataFile]:
    packing: Packing = "zlib" if _flag(fields, "CompressedData") else "none"
    named = fields["ElementDataFile"]
    skip = int(_numbers(fields, "HeaderSize", 1, "0")[0])
    if skip < -1 or (skip < 0 and packing != "none"):
        raise _bad("HeaderSize")
    if named.upper() == "LOCAL":
        return [DataFile(path, start, packing)]
    words = named.split()
    if words[:1] == ["LIST"]:
        listed = names
    elif len(words) >= 3 and "%" in words[0]:
        ends = [*words[1:4], "1"][:3]
        if not all(re.fullmatch(r"-?\d{1,9}", word) for word in ends):
            raise _bad("ElementDataFile")
        listed = numbered_names(words[0], *(int(word) for word in ends))
    else:
        listed = [named]
    if not listed:
        raise ContentError("its list of data files is empty", COPY_AGAIN)
    # The bytes of a header stand in front of what is compressed, too.
    return [
        DataFile(data_path(path, name), max(skip, 0), packing, 0, min(skip, 0)) for name in listed
    ]


# --- writing --------------------------------------------------------------------------------------


def write_metaimage(
    path: Path, values: NDArray[Any], reference: Image, limits: object = None
) -> None:
    """Write a volume as .mha on the grid of `reference`, whole or not at all; as `write_nrrd`."""
    del limits
    planes, affine = require_writable(path, values, reference, "MetaImage")
    lps = (LPS_TO_RAS @ affine)[:, [2, 1, 0, 3]]
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    depth, height, width, channels = planes.shape
    packed = _deflated(planes)
    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": str(sum(map(len, packed))),
        "TransformMatrix": _text((lps[:3, :3] / spacing).T.ravel()),
        "Offset": _text(lps[:3, 3]),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": _text(spacing),
        "DimSize": f"{width} {height} {depth}",
        **({"ElementNumberOfChannels": "3"} if channels == 3 else {}),
        "ElementType": "MET_FLOAT" if channels == 1 else "MET_UCHAR",
        "ElementDataFile": "LOCAL",
    }
    header = "".join(f"{key} = {value}\n" for key, value in lines.items())
    atomic_write(path, lambda file: file.writelines([header.encode(), *packed]))


def _deflated(planes: NDArray[Any]) -> list[bytes]:
    """Return what is compressed, whose length the header tells."""
    deflating = zlib.compressobj(DEFLATE_LEVEL)
    parts = [deflating.compress(plane) for plane in planes_of(planes)]
    return [*parts, deflating.flush()]


def _text(numbers: NDArray[np.float64]) -> str:
    return " ".join(repr(float(one) + 0.0) for one in numbers)
