"""Damage to files: of bytes, of the numbers that headers hold, of lengths."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

NUMBERS = (
    0,
    1,
    2,
    7,
    8,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
)
KINDS = ("<B", "<H", ">H", "<I", ">I", "<Q", ">Q")
MOST_AT_ONCE = 4


def mutated(content: bytes, other: bytes, random: np.random.Generator) -> bytes:
    """Return a damaged copy; `other` is a file that pieces are taken from."""
    made = bytearray(content)
    for _ in range(int(random.integers(1, MOST_AT_ONCE + 1))):
        if made:
            made = _once(made, other, random)
    return bytes(made)


def _once(made: bytearray, other: bytes, random: np.random.Generator) -> bytearray:
    size = len(made)
    # Headers decide most; half of all damage is in the first bytes.
    place = int(random.integers(min(size, 256) if random.random() < 0.5 else size))
    length = int(random.integers(1, 1 + min(64, size - place)))
    way = int(random.integers(8))
    if way == 0:
        made[place] ^= 1 << int(random.integers(8))
    elif way == 1:
        made[place : place + length] = random.bytes(length)
    elif way in {2, 3}:
        kind = str(random.choice(KINDS))
        number = int(random.choice(NUMBERS)) % (1 << 8 * struct.calcsize(kind))
        piece = struct.pack(kind, number)
        made[place : place + len(piece)] = piece
    elif way == 4:
        del made[place : place + length]
    elif way == 5:
        made[place:place] = made[place : place + length]
    elif way == 6:
        del made[place:]
    else:
        start = int(random.integers(max(1, len(other) - length)))
        made[place : place + length] = other[start : start + length]
    return made


def smaller(content: bytes, is_still: Callable[[bytes], bool], tries: int) -> bytes:
    """Return a shorter file with the same fault: pieces are left out as long as it stays."""
    piece = max(1, len(content) // 2)
    while piece and tries:
        place = 0
        while place < len(content) and tries:
            tried = content[:place] + content[place + piece :]
            tries -= 1
            if is_still(tried):
                content = tried
            else:
                place += piece
        piece //= 2
    return content
