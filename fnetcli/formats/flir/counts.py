"""The thermal counts of a block: 16-bit numbers, plain or as PNG."""

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
JPEG_LS = b"\xff\xd8\xff\xf7"


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
        if (found.width, found.height) != (width, height):
            raise ContentError(
                f"its thermal counts are {found.width}x{found.height}, but {width}x{height} are "
                "claimed",
                COPY_AGAIN,
            )
        if found.color != GREY or found.bits != 16:
            raise ContentError("its thermal counts are not 16-bit grey", COPY_AGAIN)
    elif head.data.startswith(JPEG_LS):
        raise ContentError(
            "its thermal counts are compressed as JPEG-LS, which is not read",
            "export it as SEQ or TIFF",
        )
    elif len(head.data) < 2 * width * height:
        raise ContentError(
            f"its thermal counts are not complete ({width}x{height} need {2 * width * height:,} "
            f"bytes, but there are {len(head.data):,})",
            COPY_AGAIN,
        )
    return head


def decode(head: CountsHead) -> tuple[Counts, tuple[str, ...]]:
    """Return counts (H, W) in the machine's byte order, and what is to be said of them."""
    if head.is_png:
        import imagecodecs

        from fnetcli.formats.codecs import silence

        with silence:
            stored = imagecodecs.png_decode(head.data)
        return in_smooth_order(np.asarray(stored, np.uint16).byteswap())
    count = head.width * head.height
    plain = np.frombuffer(head.data, "<u2", count).astype(np.uint16)
    return in_smooth_order(plain.reshape(head.height, head.width))
