"""A zip archive of DICOM: its slices are unpacked into a temporary folder, within limits."""

from __future__ import annotations

import re
import shutil
import stat
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from fnetcli.errors import ReadError
from fnetcli.files.guarded import RefusedError, open_ordinary
from fnetcli.formats.base import DEFLATE_RATIO, ContentError, file_length
from fnetcli.formats.border import opened
from fnetcli.formats.dicom import is_dicom, read_dicom
from fnetcli.formats.dicom.files import HEAD_BYTES, MAX_FILES
from fnetcli.imaging.image import Image

KIND = "zip archive"
START = b"PK\3\4"
END, END_BYTES = b"PK\5\6", 22  # of the record at the end, at least
LONGEST_COMMENT = 65_535
MAX_DIRECTORY = 1 << 26  # bytes of the list of files
MAX_SLACK = 1 << 28  # bytes beside the pixels
BYTES_A_PIXEL = 8
UNPACK = "unpack it, and name the folder"
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


def is_zip_file(path: Path) -> bool:
    """Whether a file is a zip archive, by its name and content."""
    if path.suffix.lower() != ".zip":
        return False
    try:
        with open_ordinary(path) as file:
            return file.read(len(START)) == START
    except (OSError, RefusedError):
        return False


def read_zip(
    path: Path,
    series: str | None,
    pixel_limit: int,
    *,
    volume: int | None = None,
    modality: str | None = None,
    refuses_uneven: bool = False,
) -> Image:
    """Read one series of DICOM from an archive. Raise ReadError."""
    with tempfile.TemporaryDirectory(prefix="fnet-") as name:
        folder = Path(name)
        names = _unpack(path, folder, pixel_limit)
        try:
            return read_dicom(
                *(folder, series, pixel_limit),
                volume=volume,
                modality=modality,
                refuses_uneven=refuses_uneven,
            )
        except ReadError as error:  # nobody has heard of the temporary folder
            text = re.sub(
                rf"{re.escape(name)}/(\d+)",
                lambda found: f"{path}, {names.get(found[1], found[1])}",
                str(error),
            )
            raise ReadError(text.replace(name, str(path))) from None


def _unpack(path: Path, folder: Path, pixel_limit: int) -> dict[str, str]:
    """Write what is DICOM into a folder, under numbers; return the names in the archive."""
    with opened(path, KIND) as file:
        _require_short_directory(file)
        names: dict[str, str] = {}
        room = BYTES_A_PIXEL * pixel_limit + MAX_SLACK
        with zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _require_sane(entries, file_length(file), room)
            room = min(room, shutil.disk_usage(folder).free)
            for number, entry in enumerate(entries):
                with archive.open(entry) as content:
                    if PurePosixPath(entry.filename).name.upper() == "DICOMDIR":
                        continue
                    head = content.read(HEAD_BYTES)
                    if not is_dicom(head):
                        continue
                    room -= _copy(folder / f"{number:06d}", head, _parts(content), room)
                    names[f"{number:06d}"] = _shown(entry.filename)
        if not names:
            raise ContentError("an archive without DICOM in it", UNPACK)
    return names


def _shown(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name)[:200]


def _parts(content: IO[bytes]) -> Iterator[bytes]:
    while part := content.read(1 << 20):
        yield part


def _copy(target: Path, head: bytes, parts: Iterator[bytes], room: int) -> int:
    count = 0
    with target.open("xb") as file:
        for part in chain([head], parts):
            count += len(part)
            if count > room:
                raise ContentError("unpacks to more than is allowed", UNPACK)
            file.write(part)
    return count


def _require_sane(entries: list[zipfile.ZipInfo], length: int, room: int) -> None:
    """Raise ContentError for entries that leave the archive, are hidden, or claim too much."""
    for entry in entries:
        name = entry.filename
        parts = name.replace("\\", "/").split("/")
        if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name:
            raise ContentError(f"holds a path that leaves it ({_shown(name)[:60]})", UNPACK)
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise ContentError(f"holds a link ({_shown(name)[:60]})", UNPACK)
        if entry.flag_bits & 1:
            raise ContentError("is encrypted", UNPACK)
        if entry.compress_type not in METHODS:
            raise ContentError("is compressed in an unusual way", UNPACK)
        if entry.file_size > DEFLATE_RATIO * entry.compress_size + 64:
            raise ContentError("claims more than its bytes can hold", UNPACK)
    if sum(entry.compress_size for entry in entries) > length:
        raise ContentError("claims more than its bytes can hold", UNPACK)
    if sum(entry.file_size for entry in entries) > room:
        raise ContentError("unpacks to more than is allowed", "raise the limit with --max-pixels")


def _require_short_directory(file: BinaryIO) -> None:
    """Raise ContentError for more files than there may be, before their list is read."""
    length = file_length(file)
    file.seek(max(0, length - END_BYTES - LONGEST_COMMENT))
    tail = file.read()
    place = tail.rfind(END)
    if place < 0 or place + END_BYTES > len(tail):
        raise ContentError("not a complete zip archive (ends early)", "copy it again")
    count, size = struct.unpack_from("<HI", tail, place + 10)
    if count == 0xFFFF or size == 0xFFFFFFFF or count > MAX_FILES or size > MAX_DIRECTORY:
        raise ContentError(f"more than {min(MAX_FILES, 0xFFFF - 1)} files, or of 64 bits", UNPACK)
    file.seek(0)
