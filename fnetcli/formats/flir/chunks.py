"""The segments of a JPEG file in which FLIR cameras keep a block of their own.

A segment's payload is "FLIR", 0, 1, the index of the chunk, the index of the last one, then data.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from fnetcli.formats.base import COPY_AGAIN, ContentError, file_length

START, APP1, SCAN, END = b"\xff\xd8", 0xE1, 0xDA, 0xD9
ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length (ITU T.81, B.1.1.3)
SIGNATURE = b"FLIR\0"
HEAD = 8  # bytes of a chunk before its data
MAX_SEGMENTS = 4096  # more than any camera writes: 256 of them hold 16 MB


def find_block(file: BinaryIO) -> BinaryIO | None:
    """Return the data of all chunks in order, or None if there is none. Raise ContentError."""
    chunks: dict[int, bytes] = {}
    lasts: set[int] = set()
    for payload in _segments(file):
        index, last = payload[6], payload[7]
        if index in chunks:
            raise _damaged(f"chunk {index + 1} occurs twice")
        chunks[index] = payload[HEAD:]
        lasts.add(last)
    if not chunks:
        return None
    if len(lasts) > 1:
        raise _damaged("its chunks disagree about their number")
    (last,) = lasts
    missing = [index for index in range(last + 1) if index not in chunks]
    if missing:
        raise _damaged(f"chunk {missing[0] + 1} of {last + 1} is missing")
    if max(chunks) > last:
        raise _damaged(f"chunk {max(chunks) + 1} of {last + 1} is one too many")
    return io.BytesIO(b"".join(chunks[index] for index in range(last + 1)))


def has_chunks(file: BinaryIO) -> bool:
    """Whether a JPEG file has any such segment."""
    return next(_segments(file), None) is not None


def _segments(file: BinaryIO) -> Iterator[bytes]:
    """Yield the payloads of FLIR segments; only their bytes are read, and the other headers."""
    length = file_length(file)
    file.seek(0)
    if file.read(2) != START:
        return
    place = 2
    for _ in range(MAX_SEGMENTS):
        file.seek(place)
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF or head[1] in {SCAN, END}:
            return
        if head[1] == 0xFF or head[1] in ALONE:  # a fill byte; nothing follows
            place += 1 if head[1] == 0xFF else 2
            continue
        size = int.from_bytes(head[2:4], "big")
        if head[1] == APP1 and size >= 2 + HEAD:
            payload = file.read(min(size - 2, length))
            if payload.startswith(SIGNATURE):
                if len(payload) < size - 2:
                    raise _damaged("the file ends early")
                yield payload
        place += 2 + max(2, size)


def _damaged(why: str) -> ContentError:
    return ContentError(f"its thermal data are damaged ({why})", COPY_AGAIN)
