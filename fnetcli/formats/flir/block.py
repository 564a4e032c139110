"""The block of a FLIR camera: a header, a directory, and records of several kinds.

Layout: "FFF" or "AFF" and 0, the creator (16 bytes), at 0x14 a version of 100 to 199, at 0x18 the
place of the directory, at 0x1c its entries of 32 bytes: type, subtype (16 bits each), version, id,
place, length (32 bits each). Places count from the start of the block. The byte order of header and
directory is the one in which the version makes sense; every record has its own.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from fnetcli.formats.base import COPY_AGAIN, ContentError, file_length
from fnetcli.text import number_of, verb_of

SIGNATURES = (b"FFF\0", b"AFF\0")
HEADER, ENTRY = 0x40, 32  # bytes
VERSIONS = range(100, 200)
MAX_ENTRIES = 1024
COUNTS, PICTURE, CAMERA, ALIGNMENT = 0x01, 0x0E, 0x20, 0x2A  # types of records
LITTLE, BIG = "<", ">"


@dataclass(frozen=True)
class Record:
    """Where a record lies, from the start of its block on."""

    place: int
    length: int


@dataclass(frozen=True)
class Block:
    """A directory whose entries are not trusted before they are used."""

    file: BinaryIO
    start: int  # of the block in its file
    length: int  # bytes from there to the end of the file
    records: dict[int, Record]

    @property
    def end(self) -> int:
        """Where the last record ends that lies in the file."""
        ends = [one.place + one.length for one in self.records.values()]
        return self.start + max((end for end in ends if end <= self.length), default=HEADER)

    def read(self, kind: int, name: str, most: int) -> bytes | None:
        """Return the first record of a kind, or None. Raise ContentError if it is damaged.

        `most` is the largest length that makes sense; what follows is left out.
        """
        record = self.records.get(kind)
        if record is None:
            return None
        if record.place < 0 or record.place + record.length > self.length:
            raise ContentError(
                f"not complete: its {name} end at byte {record.place + record.length:,} of its "
                f"thermal data, which have only {self.length:,} bytes",
                COPY_AGAIN,
            )
        self.file.seek(self.start + record.place)
        return self.file.read(min(record.length, most))


def open_block(file: BinaryIO, start: int = 0) -> Block:
    """Read header and directory of the block that begins at `start`. Raise ContentError."""
    length = file_length(file) - start
    file.seek(start)
    header = file.read(HEADER)
    if not header.startswith(SIGNATURES):
        raise _damaged("they do not begin with FFF or AFF")
    if len(header) < 0x20:
        raise _damaged("their header ends early")
    order = _order(header)
    place, count = struct.unpack_from(f"{order}II", header, 0x18)
    if count > MAX_ENTRIES or place + ENTRY * count > length:
        raise _damaged(
            f"{number_of(count, 'record', form=',')} {verb_of(count)} claimed, but there is "
            f"room for {max(0, length - place) // ENTRY:,}"
        )
    file.seek(start + place)
    directory = file.read(ENTRY * count)
    records: dict[int, Record] = {}
    for entry in range(0, len(directory), ENTRY):
        (kind,) = struct.unpack_from(f"{order}H", directory, entry)
        where, size = struct.unpack_from(f"{order}II", directory, entry + 12)
        if kind and size:
            records.setdefault(kind, Record(where, size))
    return Block(file, start, length, records)


def begins_block(file: BinaryIO, start: int) -> bool:
    """Whether a block's header is there, even if what follows is damaged or cut off."""
    file.seek(start)
    header = file.read(HEADER)
    if len(header) < 0x20 or not header.startswith(SIGNATURES):
        return False
    try:
        _order(header)
    except ContentError:
        return False
    return True


def _order(header: bytes) -> str:
    for order in (BIG, LITTLE):
        (version,) = struct.unpack_from(f"{order}I", header, 0x14)
        if version in VERSIONS:
            return order
    raise _damaged("their version is unknown in both byte orders")


def record_order(content: bytes, marks: tuple[int, ...]) -> str | None:
    """Return the byte order in which a record begins with one of `marks`, or None."""
    for order in (LITTLE, BIG):
        if len(content) >= 2 and struct.unpack_from(f"{order}H", content)[0] in marks:
            return order
    return None


def _damaged(why: str) -> ContentError:
    return ContentError(f"its thermal data are damaged ({why})", COPY_AGAIN)
