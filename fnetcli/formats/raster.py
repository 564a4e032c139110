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

from fnetcli.formats.bands import pick, with_alpha
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


# Segments in which thermal cameras keep their numbers: FLIR by name; InfiRay's begin with a
# version, then a name; DJI's APP3 are numbers from the first byte on, and so are others'.
FLIR_SIGNATURE, INFIRAY_SIGNATURE = b"FLIR\0", b"IJPEG\0"
DJI = b"DJI"  # how the maker's name begins
MAKER_TAG = 0x010F  # EXIF
NUMBERS_SEGMENT = "APP3"
MIN_NUMBERS = 2 * 80 * 60  # bytes of the smallest sensors' counts
OTHER_SEGMENTS = (b"Meta\0", b"META\0", b"Exif\0", b"_JPSJPS_")  # known ones, with other content
RADIOMETRIC_NOTICE = (
    "it holds radiometric thermal data ({maker}), {why} the rendered picture is used"
)
WHY = {
    "FLIR": "but",  # --ir and --flir read them
    "DJI R-JPEG": "which need DJI's own library and are not read:",
}
NOT_READ = "which are not read:"


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
        if options.bands:
            picked = pick(with_alpha(pixels, alpha), options.bands)
            words = _radiometric_notices(picture)
            return new_image(picked, None, exif_orientation(picture), notices=words)
        # A CMYK picture is converted to RGB, to which its profile does not apply.
        icc = None if picture.mode == "CMYK" else picture.info.get("icc_profile")
        profile, words = check_profile(icc, pixels.shape[2] == 3)
        return new_image(
            pixels,
            alpha,
            exif_orientation(picture),
            color_profile=profile,
            notices=(*_radiometric_notices(picture), *words),
        )


def _probe(kind: Kind, file: BinaryIO, options: ReadOptions) -> Header:
    with our_rules:
        picture = _open(kind, file, options)
        height, width = upright_size(picture.height, picture.width, exif_orientation(picture))
        channels = 1 if color_mode(picture) == "L" else 3
    return Header(kind.name, height, width, len(options.bands) or channels, np.dtype(np.uint8))


def _radiometric_notices(picture: ImageFile) -> tuple[str, ...]:
    """Say that a camera's numbers stand beside the picture, and are not used."""
    segments = picture.applist if isinstance(picture, JpegImageFile) else []
    maker = _radiometric_maker(segments, picture)
    if maker is None:
        return ()
    return (RADIOMETRIC_NOTICE.format(maker=maker, why=WHY.get(maker, NOT_READ)),)


def _radiometric_maker(segments: list[tuple[str, bytes]], picture: ImageFile) -> str | None:
    """Return whose numbers are in a JPEG file, or None where there are none."""
    if any(name == "APP1" and body.startswith(FLIR_SIGNATURE) for name, body in segments):
        return "FLIR"
    if any(name == "APP2" and body[4:].startswith(INFIRAY_SIGNATURE) for name, body in segments):
        return "InfiRay"
    counts = sum(
        len(body)
        for name, body in segments
        if name == NUMBERS_SEGMENT and not body.startswith(OTHER_SEGMENTS)
    )
    if counts < MIN_NUMBERS:
        return None
    return "DJI R-JPEG" if _maker(picture).startswith(DJI) else "raw counts"


def _maker(picture: ImageFile) -> bytes:
    """Return the camera's maker as EXIF data say it; nothing where they are broken."""
    try:
        return str(picture.getexif().get(MAKER_TAG, "")).encode()
    except Exception:  # noqa: BLE001 - metadata that no one can read must not cost us the pixels
        return b""


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
