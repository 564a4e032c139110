"""Files of 16-bit numbers without a header (.raw, .y16): frame grabbers, thermal modules.

Nothing in them says what they hold: the size comes from the user, the byte order from the numbers.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from fnetcli.formats.base import (
    COPY_AGAIN,
    ContentError,
    Format,
    Header,
    ReadOptions,
    file_length,
    require_room,
    require_size,
)
from fnetcli.formats.counts import in_smooth_order
from fnetcli.formats.upright import UPRIGHT, new_image
from fnetcli.imaging.image import Image
from fnetcli.text import number_of

NAME, SUFFIXES = "RAW", (".raw", ".y16")
PIXEL_BYTES = 2
MAX_MORE_ROWS = 8  # of telemetry, at most
BIG_ENDIAN = "its numbers are taken as big-endian: read the other way, they are noise"


def _frames(file: BinaryIO, options: ReadOptions) -> int:
    """Return how many frames a file holds. Raise ContentError if its length does not fit."""
    if options.raw_size is None:
        raise ContentError(
            "16-bit numbers without a header: nothing says how large the picture is",
            "give its size with --raw-size WxH",
        )
    width, height = options.raw_size
    require_size(width, height, options)
    length, row = file_length(file), PIXEL_BYTES * width
    count, rest = divmod(length, row * height)
    if rest == 0:
        return count
    rows, cut = divmod(length, row)
    what = f"--raw-size {width}x{height} needs {row * height:,} bytes, but the file has {length:,}"
    if not cut and height < rows <= height + MAX_MORE_ROWS:
        raise ContentError(
            f"{what}: {number_of(rows - height, 'more row')}, perhaps telemetry",
            f"give --raw-size {width}x{rows}; rows outside the picture are detected",
        )
    if rows < height:
        raise ContentError(f"{what}: the size is wrong, or the file ends early", COPY_AGAIN)
    raise ContentError(what, "give the size of a frame with its telemetry rows, if it has some")


def _page(count: int, options: ReadOptions) -> int:
    """Return which of several frames is read, from 0 on."""
    if options.page is None and count > 1:
        raise ContentError(
            f"{count} frames, not one picture", f"choose one with --page N (1 to {count})"
        )
    page = options.page or 1
    if page > count:
        raise ContentError(
            f"has {number_of(count, 'frame')}, but no frame {page}", f"choose --page 1 to {count}"
        )
    return page - 1


def _read(file: BinaryIO, options: ReadOptions) -> Image:
    page = _page(_frames(file, options), options)
    width, height = options.raw_size or (0, 0)
    size = PIXEL_BYTES * width * height
    require_room(4 * size)
    file.seek(page * size)
    stored = np.frombuffer(file.read(size), "<u2").astype(np.uint16).reshape(height, width)
    numbers, words = in_smooth_order(stored)
    swapped = () if np.array_equal(numbers, stored) else (BIG_ENDIAN,)
    return new_image(numbers[..., None], None, UPRIGHT, notices=(*swapped, *words))


def _probe(file: BinaryIO, options: ReadOptions) -> Header:
    count = _frames(file, options)
    _page(count, options)
    width, height = options.raw_size or (0, 0)
    return Header(NAME, height, width, 1, np.dtype(np.uint16), pages=count)


RAW = Format(NAME, SUFFIXES, lambda _: True, _read, _probe)
