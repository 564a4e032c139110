"""JPEG, BMP and WebP: kinds that hold 8 bits per channel, decoded by Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable
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
    require_size,
    starts_with,
)
from fnetcli.formats.pillow import color_mode, exif_orientation, our_rules, to_planes
from fnetcli.formats.profiles import check_profile
from fnetcli.formats.upright import new_image, upright_size
from fnetcli.imaging.image import Image

Open = Callable[[BinaryIO], ImageFile]  # reads the header only

FLIR_SIGNATURE = b"FLIR\0"  # of the APP1 segments in which thermal cameras keep temperatures
FLIR_NOTICE = (
    "it holds radiometric thermal data (FLIR), which are not read: the rendered picture is used"
)


def _read(open_file: Open, file: BinaryIO, options: ReadOptions) -> Image:
    """Open, check the size, decode, turn upright."""
    with our_rules:
        picture = open_file(file)
        require_size(*picture.size, options)
        picture.load()
        pixels, alpha = to_planes(picture)
        # A CMYK picture comes out as RGB, for which its profile does not hold.
        icc = None if picture.mode == "CMYK" else picture.info.get("icc_profile")
        profile, words = check_profile(icc, pixels.shape[2] == 3)
        return new_image(
            pixels,
            alpha,
            exif_orientation(picture),
            color_profile=profile,
            notices=(*_flir_notices(picture), *words),
        )


def _probe(name: str, open_file: Open, file: BinaryIO, options: ReadOptions) -> Header:
    with our_rules:
        picture = open_file(file)
        require_size(*picture.size, options)
        height, width = upright_size(picture.height, picture.width, exif_orientation(picture))
        channels = 1 if color_mode(picture) == "L" else 3
    return Header(name, height, width, channels, np.dtype(np.uint8))


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


def _format(
    name: str, suffixes: tuple[str, ...], starts: Callable[[bytes], bool], open_file: Open
) -> Format:
    return Format(
        name, suffixes, starts, partial(_read, open_file), partial(_probe, name, open_file)
    )


# Opened as plain JPEG, a multi-picture file (MPO: phones, stereo and thermal cameras) gives its
# main picture.
JPEG = _format("JPEG", (".jpg", ".jpeg"), starts_with(b"\xff\xd8\xff"), JpegImageFile)
BMP = _format("BMP", (".bmp",), starts_with(b"BM"), BmpImageFile)
WEBP = _format("WebP", (".webp",), _is_webp, _open_webp)
