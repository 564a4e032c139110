"""The thermal counts of a block: 16-bit numbers, plain, as PNG, or as JPEG-LS (ITU-T T.87)."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np

from fnetcli.formats.base import COPY_AGAIN, ContentError, ReadOptions, require_size
from fnetcli.formats.counts import Counts, in_smooth_order
from fnetcli.formats.flir.block import COUNTS, Block, record_order
from fnetcli.formats.png import GREY, SIGNATURE, read_head

DATA = 0x20  # where the numbers begin
MARKS = (2,)
JPEG_LS = b"\xff\xd8\xff\xf7"  # then a length, bits, height, width, components
JPEG_LS_HEAD, MIN_BITS = 12, 9  # bytes; bits of what counts are stored in


@dataclass(frozen=True)
class CountsHead:
    """The size of the counts, and their bytes as stored."""

    width: int
    height: int
    data: bytes

    @property
    def is_png(self) -> bool:
        """Whether they are stored as PNG."""
        return self.data.startswith(SIGNATURE)

    @property
    def is_jpeg_ls(self) -> bool:
        """Whether they are stored as JPEG-LS."""
        return self.data.startswith(JPEG_LS)


def read_head_of_counts(block: Block, options: ReadOptions) -> CountsHead | None:
    """Return size and bytes of a block's counts, or None if it has none. Raise ContentError."""
    content = block.read(COUNTS, "thermal counts", DATA + 2 * options.pixel_limit)
    if content is None:
        return None
    order = record_order(content, MARKS)
    if order is None or len(content) < DATA:
        raise ContentError("its thermal counts are damaged (unknown byte order)", COPY_AGAIN)
    width, height = struct.unpack_from(f"{order}HH", content, 2)
    require_size(width, height, options)
    head = CountsHead(width, height, content[DATA:])
    if head.is_png:
        found = read_head(io.BytesIO(head.data), options)
        _require_claimed(head, found.width, found.height)
        if found.color != GREY or found.bits != 16:
            raise ContentError("its thermal counts are not 16-bit grey", COPY_AGAIN)
    elif head.is_jpeg_ls:
        if len(head.data) < JPEG_LS_HEAD:
            raise ContentError("its thermal counts are damaged (they end early)", COPY_AGAIN)
        bits, tall, wide, parts = struct.unpack_from(">BHHB", head.data, 6)
        _require_claimed(head, wide, tall)
        if parts != 1 or not MIN_BITS <= bits <= 16:
            raise ContentError("its thermal counts are not 16-bit grey", COPY_AGAIN)
    elif len(head.data) < 2 * width * height:
        raise ContentError(
            f"its thermal counts are not complete ({width}x{height} need {2 * width * height:,} "
            f"bytes, but there are {len(head.data):,})",
            COPY_AGAIN,
        )
    return head


def _require_claimed(head: CountsHead, width: int, height: int) -> None:
    """Raise ContentError if compressed counts are not as large as their record says."""
    if (width, height) != (head.width, head.height):
        raise ContentError(
            f"its thermal counts are {width}x{height}, but {head.width}x{head.height} are claimed",
            COPY_AGAIN,
        )


def decode(head: CountsHead) -> tuple[Counts, tuple[str, ...]]:
    """Return counts (H, W) in the machine's byte order, and what is to be said of them."""
    if head.is_png or head.is_jpeg_ls:
        import imagecodecs

        from fnetcli.formats.codecs import silence

        with silence:
            if head.is_jpeg_ls:
                return in_smooth_order(np.asarray(imagecodecs.jpegls_decode(head.data), np.uint16))
            stored = imagecodecs.png_decode(head.data)
        return in_smooth_order(np.asarray(stored, np.uint16).byteswap())
    count = head.width * head.height
    plain = np.frombuffer(head.data, "<u2", count).astype(np.uint16)
    return in_smooth_order(plain.reshape(head.height, head.width))
