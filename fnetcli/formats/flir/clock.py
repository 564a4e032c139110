"""When a camera took its frames: only the time between them is used, not the date.

In the record of the camera: at 0x384 seconds since 1970 (uint32), milliseconds (the lower half of
a uint32); at 0x464 frames per second (uint16).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from fnetcli.formats.base import ContentError
from fnetcli.formats.flir.block import CAMERA, Block, record_order
from fnetcli.formats.flir.temperatures import MARKS, MAX_LENGTH

TIME, RATE = 0x384, 0x464
MAX_RATE = 1000  # frames per second
MAX_GAP = 24 * 3600  # seconds between two frames of a sequence


@dataclass(frozen=True)
class Clock:
    """Seconds of all frames after the first one, or none; and the camera's frames per second."""

    times: tuple[Fraction, ...]
    rate: Fraction | None


def read_clock(blocks: list[Block | None]) -> Clock:
    """Return when frames were taken. There are no times unless every frame has one, ever later.

    None is a frame that is damaged: it is taken to lie evenly between others, or to precede or
    follow them as they follow each other.
    """
    contents = [None if block is None else _camera(block) for block in blocks]
    times = [_time(content) for content in contents]
    for i, block in enumerate(blocks):
        if block is None:
            times[i] = _estimated(times, i)
    known = [time for time in times if time is not None]
    rises = all(0 < later - time <= MAX_GAP for time, later in pairwise(known))
    is_complete = len(known) == len(blocks) and rises
    return Clock(
        tuple(time - known[0] for time in known) if is_complete else (),
        next((rate for content in contents if (rate := _rate(content)) is not None), None),
    )


def _estimated(times: list[Fraction | None], i: int) -> Fraction | None:
    """Return a time for frame i from those of others, or None."""
    known = [(j, time) for j, time in enumerate(times) if time is not None]
    if len(known) < 2:
        return None
    before, after = [one for one in known if one[0] < i], [one for one in known if one[0] > i]
    (start, first), (end, last) = (
        (before[-1], after[0]) if before and after else (known[0], known[-1])
    )
    return first + (last - first) * (i - start) / (end - start)


def _camera(block: Block) -> tuple[str, bytes] | None:
    """Return the byte order and content of the record of the camera."""
    try:
        content = block.read(CAMERA, "camera constants", MAX_LENGTH)
    except ContentError:
        return None
    order = None if content is None else record_order(content, MARKS)
    return None if content is None or order is None else (order, content)


def _time(camera: tuple[str, bytes] | None) -> Fraction | None:
    if camera is None or len(camera[1]) < TIME + 8:
        return None
    seconds, thousandths = struct.unpack_from(f"{camera[0]}II", camera[1], TIME)
    thousandths &= 0xFFFF
    return seconds + Fraction(thousandths, 1000) if seconds and thousandths < 1000 else None


def _rate(camera: tuple[str, bytes] | None) -> Fraction | None:
    if camera is None or len(camera[1]) < RATE + 2:
        return None
    (rate,) = struct.unpack_from(f"{camera[0]}H", camera[1], RATE)
    return Fraction(rate) if 0 < rate <= MAX_RATE else None
