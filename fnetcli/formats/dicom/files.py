"""Find DICOM files, and read their headers and pixels with pydicom."""

from __future__ import annotations

import os
import re
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pydicom import FileDataset, dcmread
from pydicom.filereader import read_dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from fnetcli.errors import ReadError
from fnetcli.files.guarded import RefusedError, open_ordinary, system_reason
from fnetcli.formats.base import COPY_AGAIN, ContentError
from fnetcli.formats.border import opened, reading

KIND = "DICOM file"
HEAD_BYTES = 132  # preamble and "DICM" (PS3.10, 7.1)
MISNAMED = f"not a {KIND}, despite its name"
# Files that usually accompany slices; any other file may be a damaged slice.
DIRECTORY = "DICOMDIR"
SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})

COMPANION = re.compile(
    r"(README|LICENSE)|.*\.(txt|md|rtf|pdf|docx?|xlsx?|csv|tsv|log|xml|json|toml|ya?ml|ini|inf|db|"
    r"md5|sha256|zip|exe|html?|css|js|py|m|mat|np[yz]|bval|bvec|png|jpe?g|tiff?|bmp|gif|svg|webp|"
    r"nii|nrrd|nhdr|mha|mhd|mgz|mgh|hdr|img)",
    re.IGNORECASE,
)
MAX_FILES = 100_000  # in a folder
MAX_HEADER_BYTES = 1 << 28  # besides the pixels, of a deflated file
# Value representations that the first attributes of a data set have (PS3.5, 6.2).
FIRST_VRS = frozenset({b"UL", b"UI", b"CS", b"SH", b"DA", b"TM", b"DT", b"LO", b"OB", b"IS"})


def is_dicom(head: bytes) -> bool:
    """Whether a file's first HEAD_BYTES are DICOM; some old files lack the preamble and "DICM"."""
    return head[128:132] == b"DICM" or any(_starts(head, order) for order in "<>")


def _starts(head: bytes, order: str) -> bool:
    """Whether bytes start with an attribute of the first groups: 0002 or 0008."""
    if len(head) < 12:
        return False
    group, element = struct.unpack(f"{order}HH", head[:4])
    if (group, element > 0x20) not in {(2, False), (8, False)}:
        return False
    if head[4:6] in FIRST_VRS:
        return True
    (length,) = struct.unpack("<I", head[4:8])
    return order == "<" and 0 < length <= 64 and length % 2 == 0


def is_named_dicom(path: Path) -> bool:
    """Whether a file's name claims that it is DICOM; most names do not."""
    return path.suffix.lower() in SUFFIXES


def is_dicom_file(path: Path) -> bool:
    """Whether an ordinary file, other than a DICOMDIR, holds DICOM by its content."""
    try:
        return path.name.upper() != DIRECTORY and _holds_dicom(path)
    except (OSError, RefusedError):
        return False


def _holds_dicom(path: Path) -> bool:
    with open_ordinary(path) as file:
        return is_dicom(file.read(HEAD_BYTES))


def search(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Yield the files of a folder, in the order of their names, and whether they hold DICOM.

    Hidden files and folders, DICOMDIR, links to folders and pipes are skipped. Raise ReadError if a
    file cannot be read, or is DICOM by name only: a slice would be missing.
    """
    for count, path in enumerate(_files(folder)):
        if count >= MAX_FILES:
            raise ReadError(f"{folder}: more than {MAX_FILES} files; give one of its sub-folders")
        with reading(path, KIND):
            status = path.stat()
            if not stat.S_ISREG(status.st_mode) or path.name.upper() == DIRECTORY:
                continue
            holds_dicom = _holds_dicom(path)
        if is_named_dicom(path) and not holds_dicom:
            what = MISNAMED if status.st_size else "the file is empty"
            raise ReadError(f"{path}: {what}; {COPY_AGAIN}")
        yield path, holds_dicom


def dicom_files(folder: Path) -> Iterator[Path]:
    """Yield the DICOM files that `search` finds; raise the same errors."""
    return (path for path, holds_dicom in search(folder) if holds_dicom)


def is_companion(path: Path) -> bool:
    """Whether a file that is not DICOM usually accompanies slices, by its name."""
    return COMPANION.fullmatch(path.name) is not None


def _files(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise ReadError(f"{error.filename}: {system_reason(error)}")

    with reading(folder, "folder"):
        for parent, folders, names in os.walk(folder, onerror=refuse):
            folders[:] = sorted(one for one in folders if not one.startswith("."))
            yield from (Path(parent, one) for one in sorted(names) if not one.startswith("."))


def read_header(path: Path, keywords: list[str] | None = None) -> FileDataset:
    """Return everything before the pixels, or only some attributes; raise ReadError."""
    with opened(path, KIND) as file:
        _refuse_inflation(file, MAX_HEADER_BYTES)
        return _read(file, stop_before_pixels=True, specific_tags=keywords)


def read_whole(path: Path, most_bytes: int) -> FileDataset:
    """Return the header and encoded pixels; a deflated file may hold `most_bytes` of pixels."""
    with opened(path, KIND) as file:
        _refuse_inflation(file, MAX_HEADER_BYTES + most_bytes)
        header = _read(file, stop_before_pixels=False, specific_tags=None)
        if not any(
            one in header for one in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
        ):
            raise EOFError
        return header


def _read(
    file: BinaryIO, *, stop_before_pixels: bool, specific_tags: list[str] | None
) -> FileDataset:
    found = dcmread(
        file,
        force=True,  # also without preamble: it has been recognised as DICOM before
        stop_before_pixels=stop_before_pixels,
        specific_tags=list(specific_tags) if specific_tags else None,
    )
    if not isinstance(found, FileDataset):
        raise ContentError("a DICOMDIR, not an image", "give its folder")
    return found


def _refuse_inflation(file: BinaryIO, most_bytes: int) -> None:
    """Refuse a deflated data set that would fill the memory; pydicom inflates all of it at once."""
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if head[128:132] != b"DICM":
        return
    file.seek(HEAD_BYTES)
    meta = read_dataset(
        file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag >> 16 != 2
    )
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        inflating, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while (part := inflating.unconsumed_tail or file.read(1 << 16)) and size <= most_bytes:
            size += len(inflating.decompress(part, 1 << 20))
        if size > most_bytes:
            raise ContentError("inflates to more than its pixels can need", COPY_AGAIN)
    file.seek(0)


def transfer_syntax(header: FileDataset) -> UID:
    """Return the transfer syntax of a data set; by default it is not compressed."""
    meta = getattr(header, "file_meta", None)
    named = None if meta is None else meta.get("TransferSyntaxUID")
    if named:
        return UID(str(named))
    is_implicit, is_little = header.original_encoding
    if is_implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
