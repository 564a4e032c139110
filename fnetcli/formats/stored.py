"""Numbers of a volume as they lie in a file, plain or compressed."""

from __future__ import annotations

import bz2
import gzip
import io
import math
import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from fnetcli.formats.base import (
    DEFLATE_RATIO,
    ContentError,
    file_length,
    require_place,
    require_room,
)
from fnetcli.formats.border import opened

Packing = Literal["none", "gzip", "zlib", "bzip2"]
Matrix = NDArray[np.float64]

CHUNK_BYTES = 1 << 20  # that are read at a time
BZIP2_RATIO = 1 << 16  # bytes that one of its becomes at most, about
MAX_DATA_FILES = 65_536
PERMUTATION = np.eye(4)[[2, 1, 0, 3]]  # from (slice, row, column) to (i, j, k)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
NUMBERED = re.compile(r"([^%]*)%(0?\d{0,2})d([^%]*)")
NOWHERE = "it does not say where it lies in the patient"


class _Inflating(io.RawIOBase):
    """A zlib stream as a file; no more of it is inflated than is asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._inflater = file, zlib.decompressobj(zlib.MAX_WBITS | 32)

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Inflate as much as fits."""
        view = memoryview(buffer).cast("B")
        while not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._file.read(1 << 16)
            if not packed:
                return 0
            part = self._inflater.decompress(packed, len(view))
            if part:
                view[: len(part)] = part
                return len(part)
        return 0


@dataclass(frozen=True)
class DataFile:
    """A file, or the rest of one, in which numbers lie.

    `lines` are skipped before anything is unpacked, `skip` bytes after it; -1: all but the end.
    """

    path: Path
    start: int = 0
    packing: Packing = "none"
    lines: int = 0
    skip: int = 0


def read_stored(
    files: Sequence[DataFile], dtype: np.dtype[Any], shape: tuple[int, ...], kind: str
) -> NDArray[Any]:
    """Return numbers, the last axis fastest; every file holds an equal share of them.

    Raise ReadError. What is claimed is held against the bytes that are there first.
    """
    size = math.prod(shape) * dtype.itemsize
    share, rest = divmod(size, len(files))
    if rest:
        raise ContentError(f"not a readable {kind} (its files do not make up its size)", COPY)
    for file in files:
        _require_bytes(file, share, kind)
    require_room(size + 4 * math.prod(shape))
    stored = np.empty(shape, dtype)
    content = stored.reshape(-1).view(np.uint8).data
    for i, file in enumerate(files):
        _fill(file, content[i * share : (i + 1) * share], kind)
    return stored


COPY = "copy or export the file again"
RATIOS: dict[Packing, int] = {
    "none": 1,
    "gzip": DEFLATE_RATIO,
    "zlib": DEFLATE_RATIO,
    "bzip2": BZIP2_RATIO,
}


def _require_bytes(file: DataFile, share: int, kind: str) -> None:
    with opened(file.path, kind) as raw:
        here = file_length(raw) - file.start
        if share + max(file.skip, 0) > here * RATIOS[file.packing]:
            raise EOFError


def _fill(file: DataFile, content: memoryview, kind: str) -> None:
    with opened(file.path, kind) as raw:
        raw.seek(file.start)
        for _ in range(file.lines):
            if not raw.readline(CHUNK_BYTES):
                raise EOFError
        if file.skip < 0:
            raw.seek(-len(content), os.SEEK_END)
        stream = _unpacked(raw, file.packing)
        _pass_over(stream, max(file.skip, 0))
        for start in range(0, len(content), CHUNK_BYTES):
            part = content[start : start + CHUNK_BYTES]
            done = 0
            while done < len(part):
                count = stream.readinto(part[done:])  # type: ignore[attr-defined]
                if not count:
                    raise EOFError
                done += count
        stream.read(1)  # to the end of what was compressed: there stands its checksum


def _pass_over(stream: BinaryIO, count: int) -> None:
    while count > 0:
        part = stream.read(min(count, CHUNK_BYTES))
        if not part:
            raise EOFError
        count -= len(part)


def _unpacked(raw: BinaryIO, packing: Packing) -> BinaryIO:
    match packing:
        case "gzip":
            return cast("BinaryIO", gzip.GzipFile(fileobj=raw))
        case "zlib":
            return cast("BinaryIO", io.BufferedReader(_Inflating(raw)))
        case "bzip2":
            return cast("BinaryIO", bz2.BZ2File(raw))
        case _:
            return raw


def data_path(header: Path, name: str) -> Path:
    """Return the file of that name beside a header. Raise ContentError for any other place."""
    plain = name.strip()
    is_plain = plain not in {"", ".", ".."} and not set(plain) & set("/\\\0")
    if not is_plain or re.match(r"[A-Za-z]:", plain):
        raise ContentError(
            f"names its data file {plain[:60]!r}, which is not a plain file name",
            "put the file beside its header and name it so",
        )
    path = header.with_name(plain)
    if not path.is_file():
        raise ContentError(f"its data file {plain[:60]!r} is missing", "copy both files")
    return path


def numbered_names(pattern: str, first: int, last: int, step: int) -> list[str]:
    """Return the names that ``slice%03d.raw`` stands for. Raise ContentError."""
    found = NUMBERED.fullmatch(pattern)
    if found is None or step == 0:
        raise ContentError("its list of data files makes no sense", COPY)
    numbers = range(first, last + (1 if step > 0 else -1), step)
    if not 1 <= len(numbers) <= MAX_DATA_FILES or min(numbers) < 0:
        raise ContentError("its list of data files makes no sense", COPY)
    before, width, after = found.groups()
    return [f"{before}{number:{width or ''}d}{after}" for number in numbers]


def affine_of(directions: Matrix, origin: Matrix, to_ras: Matrix) -> Matrix:
    """Return the affine from (slice, row, column), in RAS+ millimetres.

    `directions` are the steps along i, j and k as columns. Raise ContentError where they make none.
    """
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = directions, origin
    if not np.isfinite(affine).all():
        raise ContentError("its directions are not numbers", "correct its header")
    lengths = np.linalg.norm(directions, axis=0)
    if lengths.min() <= 0 or abs(np.linalg.det(directions / lengths)) < 1e-3:
        raise ContentError("its directions do not span a space", "correct its header")
    found: Matrix = to_ras @ affine @ PERMUTATION
    require_place(found)
    return found
