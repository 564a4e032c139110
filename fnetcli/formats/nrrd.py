"""NRRD volumes (teem.sourceforge.net/nrrd/format): .nrrd, and .nhdr with its data beside it."""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Mapping, Sequence
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

KIND = "NRRD file"
START = b"NRRD000"
MAX_HEADER = 1 << 22
GZIP_LEVEL = 1
TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
TO_RAS = {
    "right-anterior-superior": np.eye(4),
    "ras": np.eye(4),
    "left-anterior-superior": np.diag([-1.0, 1, 1, 1]),
    "las": np.diag([-1.0, 1, 1, 1]),
    "left-posterior-superior": LPS_TO_RAS,
    "lps": LPS_TO_RAS,
}
PACKINGS: dict[str, Packing] = {
    "raw": "none",
    "gzip": "gzip",
    "gz": "gzip",
    "bzip2": "bzip2",
    "bz2": "bzip2",
}
UNITS = {"mm": 1.0, "millimeter": 1.0, "millimetre": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001}
COLOR_KINDS = {"rgb-color", "3-color", "rgba-color", "4-color", "vector", "3-vector", "4-vector"}
SPATIAL_KINDS = {"domain", "space", "???", "none", ""}
VECTOR = re.compile(r"none|\(([^()]*)\)")


def is_nrrd(head: bytes) -> bool:
    """Whether a file is NRRD, by its first bytes."""
    return head.startswith(START)


def nrrd_files(path: Path) -> tuple[Path, ...]:
    """Return the files that a volume's content depends on; raise ReadError."""
    with opened(path, KIND) as file:
        fields, names, _ = _fields(file)
        return (path, *(one.path for one in _data(path, fields, names, 0) if one.path != path))


def read_nrrd(path: Path, volume: int | None, pixel_limit: int) -> Image:
    """Read one volume; of more dimensions number `volume`, from 1 on. Raise ReadError."""
    with opened(path, KIND) as file:
        fields, names, start = _fields(file)
        sizes = _whole_numbers(fields, "sizes")
        dtype = _dtype(fields)
        axes, colors = _axes(fields, sizes)
        require_voxels(math.prod(sizes[axis] for axis in axes), pixel_limit)
        others = [i for i in range(len(sizes)) if i not in {*axes, colors}]
        count = math.prod(sizes[i] for i in others)
        index = chosen_volume(volume, count)
        affine, notices = _affine(fields, axes)
        files = _data(path, fields, names, start)
    with reading(path, KIND):
        stored = read_stored(files, dtype, tuple(reversed(sizes)), KIND)
        order = [len(sizes) - 1 - axis for axis in (*others[::-1], *axes[::-1])]
        if colors is not None:
            order.append(len(sizes) - 1 - colors)
        shape = tuple(sizes[axis] for axis in axes[::-1])
        planes = stored.transpose(order)
        planes = planes.reshape(-1, *planes.shape[len(others) :])[index]
        native = planes.astype(dtype.newbyteorder("="), copy=False)
        if colors is not None:
            return Image(
                np.ascontiguousarray(native[..., :3]),
                Grid((shape[0], shape[1], shape[2]), affine),
                alpha=native[..., 3].astype(np.float32) / np.float32(255)
                if native.shape[-1] == 4
                else None,
                notices=notices,
                volumes=count,
            )
        pixels, _, valid = values_of(native, 1.0, 0.0)
        grid = Grid((shape[0], shape[1], shape[2]), affine)
        return Image(pixels, grid, valid=valid, notices=notices, volumes=count)


# --- header ---------------------------------------------------------------------------------------


def _fields(file: BinaryIO) -> tuple[dict[str, str], list[str], int]:
    """Return the fields, the names of a list of data files, and where the header ends."""
    fields: dict[str, str] = {}
    names: list[str] = []
    if not file.readline(100).startswith(START):
        raise ContentError(f"not an {KIND}, whatever its name says", COPY_AGAIN)
    while True:
        line = file.readline(MAX_HEADER)
        if file.tell() > MAX_HEADER or len(names) > MAX_DATA_FILES:
            raise ContentError(f"not a readable {KIND} (its header does not end)", COPY_AGAIN)
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if not text:
            return fields, names, file.tell()
        if text.startswith("#"):
            continue
        if fields.get("data file", "").upper().startswith("LIST"):
            names.append(text)
            continue
        key, mark, value = text.partition(":=" if ":=" in text.partition(": ")[0] else ": ")
        if mark == ":=" and key.startswith("Segment"):
            raise ContentError("a segmentation, not an image", "name the image")
        if mark == ": ":
            plain = " ".join(key.lower().split())
            fields["data file" if plain == "datafile" else plain] = value.strip()


def _whole_numbers(fields: Mapping[str, str], name: str) -> list[int]:
    texts = fields.get(name, "").split()
    if not all(re.fullmatch(r"\d{1,9}", text) for text in texts):
        raise _bad(name)
    numbers = [int(text) for text in texts]
    dimension = fields.get("dimension", "")
    if not numbers or min(numbers) < 1 or dimension != str(len(numbers)) or len(numbers) > 8:
        raise _bad(name)
    return numbers


def _bad(name: str) -> ContentError:
    return ContentError(f"not a readable {KIND} (its {name} make no sense)", COPY_AGAIN)


def _dtype(fields: Mapping[str, str]) -> np.dtype[Any]:
    name = " ".join(fields.get("type", "").lower().split())
    code = next((code for code, names in TYPES.items() if name in names), None)
    if code is None:
        raise ContentError(f"its numbers are of type {name[:30]!r}", "convert them")
    order = ">" if fields.get("endian", "little").lower() == "big" else "<"
    return np.dtype(f"{order}{code}")


def _vectors(text: str) -> list[Matrix | None]:
    found: list[Matrix | None] = []
    for one in VECTOR.finditer(text):
        try:
            found.append(
                None if one[1] is None else np.array([float(x) for x in one[1].split(",")])
            )
        except ValueError:
            raise _bad("vectors") from None
    return found


def _axes(fields: Mapping[str, str], sizes: Sequence[int]) -> tuple[list[int], int | None]:
    """Return the three axes of space, and that of colours."""
    kinds = [kind.lower() for kind in fields.get("kinds", "").split()] or [""] * len(sizes)
    vectors = _vectors(fields.get("space directions", ""))
    if vectors and len(vectors) != len(sizes):
        raise _bad("space directions")
    if vectors:
        axes = [i for i, vector in enumerate(vectors) if vector is not None]
    else:
        axes = [i for i, kind in enumerate(kinds[: len(sizes)]) if kind in SPATIAL_KINDS]
    if len(axes) > 3 and not vectors:
        axes = axes[:3]
    if len(axes) != 3:
        raise ContentError(
            f"has {number_of(len(axes), 'dimension')} of space, so it is not a volume",
            "name a volume, or a picture as PNG",
        )
    colors = [i for i, kind in enumerate(kinds) if kind in COLOR_KINDS and i not in axes]
    if not colors:
        return axes, None
    is_byte = _dtype(fields) == np.uint8
    if len(colors) > 1 or sizes[colors[0]] not in {3, 4} or not is_byte:
        raise ContentError(
            "holds vectors, neither grey nor RGB of 8 bits", "save it as one of them"
        )
    return axes, colors[0]


def _affine(
    fields: Mapping[str, str], axes: Sequence[int]
) -> tuple[Matrix | None, tuple[str, ...]]:
    vectors = _vectors(fields.get("space directions", ""))
    origins = _vectors(fields.get("space origin", ""))
    to_ras = TO_RAS.get(fields.get("space", "").lower().strip())
    if not vectors or not origins or origins[0] is None or to_ras is None:
        return None, (NOWHERE,)
    steps = [vectors[axis] for axis in axes]
    if any(step is None or step.size != 3 for step in steps) or origins[0].size != 3:
        raise _bad("space directions")
    units = re.findall(r'"([^"]*)"', fields.get("space units", ""))
    factors = {UNITS.get(unit.lower()) for unit in units[:3]} or {1.0}
    if len(factors) != 1 or None in factors:
        raise ContentError("its unit of length is unknown", "convert it to millimetres")
    factor = factors.pop() or 1.0
    directions = factor * np.column_stack(steps)  # type: ignore[arg-type]
    return affine_of(directions, factor * origins[0], to_ras), ()


def _data(path: Path, fields: Mapping[str, str], names: list[str], start: int) -> list[DataFile]:
    """Return the files in which the numbers lie."""
    encoding = fields.get("encoding", "").lower()
    packing = PACKINGS.get(encoding)
    if packing is None:
        raise ContentError(f"its numbers are written as {encoding[:20]!r}", "save it raw or gzip")
    lines, skip = _skip(fields, "line skip", 0), _skip(fields, "byte skip", -1)
    if skip < 0 and packing != "none":
        raise _bad("byte skip")
    named = fields.get("data file")
    if named is None:
        if skip < 0:
            raise _bad("byte skip")
        return [DataFile(path, start, packing, lines, skip)]
    words = named.split()
    if named.upper().startswith("LIST"):
        listed = names
    elif (
        len(words) >= 4
        and "%" in words[0]
        and all(re.fullmatch(r"-?\d{1,9}", w) for w in words[1:4])
    ):
        listed = numbered_names(words[0], *(int(word) for word in words[1:4]))
    else:
        listed = [named]
    if not listed:
        raise ContentError("its list of data files is empty", COPY_AGAIN)
    return [DataFile(data_path(path, name), 0, packing, lines, skip) for name in listed]


def _skip(fields: Mapping[str, str], name: str, least: int) -> int:
    text = fields.get(name, fields.get(name.replace(" ", ""), "0"))
    if not re.fullmatch(r"-?\d{1,12}", text) or int(text) < least:
        raise _bad(name)
    if name == "line skip" and int(text) > MAX_DATA_FILES:
        raise _bad(name)
    return int(text)


# --- writing --------------------------------------------------------------------------------------


def write_nrrd(path: Path, values: NDArray[Any], reference: Image, limits: object = None) -> None:
    """Write a volume on the grid of `reference`, whole or not at all; equal input, equal bytes.

    `values` is float32 (slices, height, width[, 1]) or uint8 (..., 3). `limits` have no place in
    NRRD. Raise what `write_nifti` raises.
    """
    del limits
    planes, affine = require_writable(path, values, reference, "NRRD")
    lps = LPS_TO_RAS @ affine
    depth, height, width, channels = planes.shape
    vectors = [_text(lps[:3, i]) for i in (2, 1, 0)]
    sizes, kinds = [width, height, depth], ["domain"] * 3
    if channels == 3:
        sizes, kinds, vectors = [3, *sizes], ["RGB-color", *kinds], ["none", *vectors]
    header = "\n".join(
        [
            "NRRD0004",
            f"type: {'float' if channels == 1 else 'uint8'}",
            f"dimension: {len(sizes)}",
            "space: left-posterior-superior",
            f"sizes: {' '.join(map(str, sizes))}",
            f"space directions: {' '.join(vectors)}",
            f"kinds: {' '.join(kinds)}",
            "endian: little",
            "encoding: gzip",
            f"space origin: {_text(lps[:3, 3])}",
            "",
            "",
        ]
    )

    def write(file: BinaryIO) -> None:
        file.write(header.encode())
        with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as inner:
            inner.writelines(planes_of(planes))

    atomic_write(path, write)


def _text(vector: Matrix) -> str:
    return f"({','.join(repr(float(one) + 0.0) for one in vector)})"
