"""The visible picture in a block: JPEG, PNG, or plain YCbCr 4:2:0."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
import PIL.Image

from fnetcli.formats import png, raster
from fnetcli.formats.base import COPY_AGAIN, ContentError, Header, ReadOptions, require_size
from fnetcli.formats.flir.block import PICTURE, Block, record_order
from fnetcli.formats.upright import UPRIGHT, new_image
from fnetcli.imaging.image import Image

DATA = 0x20
MARKS = (3, 2)
JPEG_START = b"\xff\xd8\xff"
MAX_PIXEL_BYTES = 8


@dataclass(frozen=True)
class PictureHead:
    """The size of a visible picture, and its bytes as stored."""

    width: int
    height: int
    data: bytes


def read_head_of_picture(block: Block, options: ReadOptions) -> PictureHead | None:
    """Return size and bytes of a block's picture, or None if it has none. Raise ContentError."""
    most = DATA + MAX_PIXEL_BYTES * options.pixel_limit
    content = block.read(PICTURE, "visible picture", most)
    if content is None:
        return None
    order = record_order(content, MARKS)
    if order is None or len(content) < DATA:
        raise ContentError("its visible picture is damaged (unknown byte order)", COPY_AGAIN)
    width, height = struct.unpack_from(f"{order}HH", content, 2)
    require_size(width, height, options)
    return PictureHead(width, height, content[DATA:])


def decode(head: PictureHead, options: ReadOptions) -> Image:
    """Return the picture of a head. Raise ContentError."""
    plain = ReadOptions(pixel_limit=options.pixel_limit)
    if head.data.startswith(JPEG_START):
        image = raster.JPEG.read(io.BytesIO(head.data), plain)
    elif head.data.startswith(png.SIGNATURE):
        image = png.read(io.BytesIO(head.data), plain)
    else:
        image = _from_ycbcr(head)
    _, height, width = image.grid.shape
    if (width, height) != (head.width, head.height):
        raise ContentError(
            f"its visible picture is {width}x{height}, but {head.width}x{head.height} are claimed",
            COPY_AGAIN,
        )
    return image


def _from_ycbcr(head: PictureHead) -> Image:
    """Return a picture of planes: Y in full, then Cb and Cr of half the width and height."""
    width, height = head.width, head.height
    small = ((width + 1) // 2, (height + 1) // 2)
    sizes = [(width, height), small, small]
    needed = sum(w * h for w, h in sizes)
    if len(head.data) < needed:
        raise ContentError(
            f"its visible picture is not complete ({width}x{height} need {needed:,} bytes, "
            f"but there are {len(head.data):,})",
            COPY_AGAIN,
        )
    planes, place = [], 0
    for w, h in sizes:
        plane = PIL.Image.frombuffer(
            "L", (w, h), head.data[place : place + w * h], "raw", "L", 0, 1
        )
        planes.append(plane if (w, h) == sizes[0] else plane.resize(sizes[0]))
        place += w * h
    rgb = PIL.Image.merge("YCbCr", planes).convert("RGB")
    return new_image(np.asarray(rgb), None, UPRIGHT)


def probe(head: PictureHead, options: ReadOptions) -> Header:
    """Tell what `decode` would return."""
    plain = ReadOptions(pixel_limit=options.pixel_limit)
    if head.data.startswith(JPEG_START):
        return raster.JPEG.probe(io.BytesIO(head.data), plain)
    if head.data.startswith(png.SIGNATURE):
        return png.probe(io.BytesIO(head.data), plain)
    return Header("YCbCr", head.height, head.width, 3, np.dtype(np.uint8))
