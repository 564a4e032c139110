"""Label images: pixels are numbers of classes, 0 ... 255, never shades.

PNGs with a palette hold the numbers as its indices, which a reader of pictures turns into colours;
and of grey with 1, 2 or 4 bits it makes shades. Here the numbers come as stored, and are written as
such a PNG, which looks like something and is read again as the same numbers.
"""

from __future__ import annotations

import colorsys
import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from fnetcli.files.durable import atomic_write
from fnetcli.formats import png
from fnetcli.formats.base import ReadOptions, read_with
from fnetcli.formats.npy import NPY
from fnetcli.formats.raster import BMP
from fnetcli.formats.tiff import TIFF
from fnetcli.imaging.image import Image

NAMED = (  # colours of the first classes; 0, unlabelled, is black
    *((0, 0, 0), (128, 128, 136), (166, 97, 60), (120, 190, 235), (70, 140, 60)),
    *((225, 60, 50), (60, 80, 200), (245, 210, 60), (150, 80, 170), (240, 140, 40)),
)


def read_labels(path: Path) -> Image:
    """Read a label image, (1, H, W, 1) of numbers as stored; three channels are colours.

    PNG, TIFF, BMP and NumPy; lossy kinds would change numbers. Raise ReadError.
    """
    return read_with((replace(png.PNG, read=_read), TIFF, BMP, NPY), path, ReadOptions())


def write_labels(path: Path, labels: NDArray[np.uint8]) -> None:
    """Write numbers (H, W) as a PNG with a palette, whole or not at all; make missing folders.

    Raise what `atomic_write` raises.
    """
    grey = bytes(imagecodecs.png_encode(np.ascontiguousarray(labels)))
    palette = b"".join(bytes(color) for color in class_colors(256).tolist())
    content = [png.SIGNATURE]
    for name, body in _chunks(grey):
        if name == b"IHDR":  # rows of grey and of indices are stored alike
            content.append(_chunk(name, body[:9] + bytes([png.PALETTE]) + body[10:]))
            content.append(_chunk(b"PLTE", palette))
        else:
            content.append(_chunk(name, body))
    atomic_write(path, lambda file: file.writelines(content))


def class_colors(count: int) -> NDArray[np.uint8]:
    """Return a colour for each class, (count, 3): some chosen ones, then hues far apart."""
    found = list(NAMED[:count])
    for k in range(len(found), count):
        hue, light = (0.618034 * k) % 1, (0.45, 0.6, 0.3)[k % 3]
        red, green, blue = colorsys.hls_to_rgb(hue, light, 0.7)
        found.append((int(255 * red), int(255 * green), int(255 * blue)))
    return np.array(found, np.uint8).reshape(count, 3)


def _read(file: BinaryIO, options: ReadOptions) -> Image:
    """Read a PNG: indices of a palette, or grey as stored."""
    head = png.read_head(file, options)
    file.seek(0)
    if head.color == png.PALETTE:
        image = png.read(io.BytesIO(_with_shades(file.read())), options)
        return replace(image, pixels=image.pixels[..., :1])
    image = png.read(file, options)
    if head.color != png.GREY or head.bits >= 8:
        return image
    step = 255 // (2**head.bits - 1)  # of the shades that few bits are widened to
    return replace(image, pixels=image.pixels // np.uint8(step))


def _with_shades(content: bytes) -> bytes:
    """Return a PNG whose palette holds the shade k as colour k, and nothing that is transparent."""
    shades = bytes(k for k in range(256) for _ in range(3))
    bits = content[24]
    kept = [png.SIGNATURE]
    for name, body in _chunks(content):
        if name == b"PLTE":
            kept.append(_chunk(name, shades[: 3 * 2**bits]))
        elif name != b"tRNS":
            kept.append(_chunk(name, body))
    return b"".join(kept)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and data of each chunk that is there in full."""
    place = len(png.SIGNATURE)
    while place + 12 <= len(content):
        size, name = struct.unpack(">I4s", content[place : place + 8])
        body = content[place + 8 : place + 8 + size]
        if len(body) < size:
            return
        yield name, body
        place += 12 + size


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), name) + body + struct.pack(">I", zlib.crc32(name + body))
