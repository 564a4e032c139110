"""JPEG, BMP and WebP: formats with 8 bits per channel, decoded by Pillow."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from fnetcli.formats.base import (
    COPY_AGAIN,
    ContentError,
    Format,
    Header,
    ReadOptions,
    require_bytes,
    require_length,
    require_room,
    require_size,
    starts_with,
)
from fnetcli.formats.pillow import color_mode, exif_orientation, our_rules, to_planes
from fnetcli.formats.profiles import check_profile
from fnetcli.formats.upright import new_image, upright_size
from fnetcli.imaging.image import Image

MAX_PIXEL_BYTES = 4  # of a pixel in a file
# Pixels that one byte can hold. JPEG: a block of 8x8 needs at least one bit (Huffman code of its
# DC), and components may be sampled so that eight blocks cover 32x32 pixels. BMP: a run of 255 in
# two bytes. A WebP of one colour may have any size, which is at most 16383x16383.
MAX_JPEG, MAX_BMP = 1024, 128


@dataclass(frozen=True)
class Kind:
    """What differs between these formats; `begin` reads the header only."""

    name: str
    begin: Callable[[BinaryIO], ImageFile]
    most_pixels: float  # that a byte can hold


FLIR_SIGNATURE = b"FLIR\0"  # of the APP1 segments in which thermal cameras store temperatures
FLIR_NOTICE = "it holds radiometric thermal data (FLIR), but the rendered picture is used"


def _open(kind: Kind, file: BinaryIO, options: ReadOptions) -> ImageFile:
    """Open a picture, and check the size in its header against the bytes of the file."""
    require_length(file, options, MAX_PIXEL_BYTES, kind.name)
    picture = kind.begin(file)
    require_size(*picture.size, options)
    require_bytes(picture.width * picture.height, file, kind.most_pixels, kind.name)
    return picture


def _read(kind: Kind, file: BinaryIO, options: ReadOptions) -> Image:
    """Open a picture, check its size, decode it, turn it upright."""
    with our_rules:
        picture = _open(kind, file, options)
        channels = 1 if color_mode(picture) == "L" else 3
        # Pillow stores a colour in four bytes; our copy exists at the same time.
        require_room(picture.width * picture.height * (2 if channels == 1 else 7))
        picture.load()
        pixels, alpha = to_planes(picture)
        # A CMYK picture is converted to RGB, to which its profile does not apply.
        icc = None if picture.mode == "CMYK" else picture.info.get("icc_profile")
        profile, words = check_profile(icc, pixels.shape[2] == 3)
        return new_image(
            pixels,
            alpha,
            exif_orientation(picture),
            color_profile=profile,
            notices=(*_flir_notices(picture), *words),
        )


def _probe(kind: Kind, file: BinaryIO, options: ReadOptions) -> Header:
    with our_rules:
        picture = _open(kind, file, options)
        height, width = upright_size(picture.height, picture.width, exif_orientation(picture))
        channels = 1 if color_mode(picture) == "L" else 3
    return Header(kind.name, height, width, channels, np.dtype(np.uint8))


def _flir_notices(picture: ImageFile) -> tuple[str, ...]:
    segments = picture.applist if isinstance(picture, JpegImageFile) else []
    is_flir = any(name == "APP1" and body.startswith(FLIR_SIGNATURE) for name, body in segments)
    return (FLIR_NOTICE,) if is_flir else ()


def _open_webp(file: BinaryIO) -> ImageFile:
    head = file.read(8)
    length = 8 + int.from_bytes(head[4:8], "little")
    if file.seek(0, io.SEEK_END) < length:
        raise ContentError("not a complete WebP (ends early)", COPY_AGAIN)
    file.seek(0)
    picture = WebPImageFile(file)
    if picture.is_animated:
        raise ContentError(
            "an animation, not one picture", "export the one to use as a file of its own"
        )
    return picture


def _is_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def _format(kind: Kind, suffixes: tuple[str, ...], starts: Callable[[bytes], bool]) -> Format:
    return Format(kind.name, suffixes, starts, partial(_read, kind), partial(_probe, kind))


# Opened as plain JPEG, a multi-picture file (MPO: phones, stereo and thermal cameras) gives its
# main picture.
JPEG = _format(
    Kind("JPEG", JpegImageFile, MAX_JPEG), (".jpg", ".jpeg"), starts_with(b"\xff\xd8\xff")
)
BMP = _format(Kind("BMP", BmpImageFile, MAX_BMP), (".bmp",), starts_with(b"BM"))
WEBP = _format(Kind("WebP", _open_webp, math.inf), (".webp",), _is_webp)
