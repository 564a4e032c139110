"""PNG of every depth: we parse the chunks before the pixels; imagecodecs (libpng) decodes the rest.

Pillow, which decodes other plain pictures, reduces 16-bit RGB to 8 bits, and leaves the rest blank
if the pixel stream ends early; libpng does neither.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import imagecodecs
import numpy as np
import PIL.Image

from fnetcli.formats.bands import pick
from fnetcli.formats.base import (
    COPY_AGAIN,
    DEFLATE_RATIO,
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
from fnetcli.formats.codecs import silence
from fnetcli.formats.pillow import our_rules
from fnetcli.formats.profiles import check_profile
from fnetcli.formats.upright import (
    ORIENTATION_TAG,
    UPRIGHT,
    known_orientation,
    new_image,
    upright_size,
)
from fnetcli.imaging.image import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # colour types (PNG standard, 11.2.1)
DEPTHS = {
    GREY: {1, 2, 4, 8, 16},
    RGB: {8, 16},
    PALETTE: {1, 2, 4, 8},
    GREY_ALPHA: {8, 16},
    RGB_ALPHA: {8, 16},
}
BANDS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
MAX_PIXEL_BYTES = 8
KEPT_CHUNKS = frozenset({b"acTL", b"eXIf", b"iCCP", b"sRGB"})
LONGEST_CHUNK = 1 << 24  # bytes of one that is kept, also after inflating


@dataclass(frozen=True)
class Head:
    """Everything but the pixels."""

    height: int
    width: int
    bits: int
    color: int
    chunks: dict[bytes, bytes]

    @property
    def channels(self) -> int:
        """1 for grey or 3 for RGB, also for palettes."""
        return 1 if self.color in {GREY, GREY_ALPHA} else 3

    @property
    def dtype(self) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        """The type of the pixels: fewer than 8 bits are widened."""
        return np.dtype(np.uint16) if self.bits == 16 else np.dtype(np.uint8)


def read(file: BinaryIO, options: ReadOptions) -> Image:
    """Read a PNG."""
    head = read_head(file, options)
    file.seek(0)
    require_room(2 * head.height * head.width * BANDS[head.color] * head.dtype.itemsize)
    with silence:
        stored = imagecodecs.png_decode(file.read())
    planes = stored.reshape(head.height, head.width, -1)
    if options.bands:
        picked = pick(planes, options.bands).astype(head.dtype, copy=False)
        return new_image(picked, None, _orientation(head))
    has_alpha = planes.shape[2] > head.channels
    white = np.float32(np.iinfo(head.dtype).max)
    profile, words = check_profile(_profile(head), head.channels == 3)
    return new_image(
        planes[..., : head.channels].astype(head.dtype, copy=False),
        planes[..., -1].astype(np.float32) / white if has_alpha else None,
        _orientation(head),
        color_profile=profile,
        notices=words,
    )


def probe(file: BinaryIO, options: ReadOptions) -> Header:
    """Return the properties of the image."""
    head = read_head(file, options)
    height, width = upright_size(head.height, head.width, _orientation(head))
    return Header("PNG", height, width, len(options.bands) or head.channels, head.dtype)


def read_head(file: BinaryIO, options: ReadOptions) -> Head:
    """Read what stands around the pixels. Raise ContentError."""
    begin = file.read(33)  # signature, and the first chunk with its checksum
    if len(begin) < 33:
        raise ContentError("not a complete PNG (ends early)", COPY_AGAIN)
    if begin[12:16] != b"IHDR":
        raise ContentError("not a readable PNG (its header is missing)", COPY_AGAIN)
    width, height, bits, color = struct.unpack(">IIBB", begin[16:26])
    require_size(width, height, options)
    require_length(file, options, MAX_PIXEL_BYTES, "PNG")
    bits_a_pixel = max(1, bits * BANDS.get(color, 1))
    require_bytes(width * height, file, 8 * DEFLATE_RATIO / bits_a_pixel, "PNG")
    if bits not in DEPTHS.get(color, ()):
        raise ContentError("not a readable PNG (impossible depth)", COPY_AGAIN)
    head = Head(height, width, bits, color, dict(_chunks(file)))
    animation = head.chunks.get(b"acTL", b"")
    if int.from_bytes(animation[:4], "big") > 1:
        raise ContentError(
            "an animation, not one picture", "export the one to use as a file of its own"
        )
    return head


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and content of known chunks, wherever they are; skip the pixels."""
    length = file.seek(0, io.SEEK_END)
    place = 33
    while place + 8 <= length:
        file.seek(place)
        size, name = struct.unpack(">I4s", file.read(8))
        if name == b"IEND":
            return
        if name in KEPT_CHUNKS and size <= LONGEST_CHUNK:
            yield name, file.read(size)
        place += 12 + size


def _profile(head: Head) -> bytes | None:
    """Return the ICC profile: name, zero byte, method 0, deflated (PNG standard, 11.3.2.3)."""
    if b"sRGB" in head.chunks or b"iCCP" not in head.chunks:
        return None
    _, _, rest = head.chunks[b"iCCP"].partition(b"\0")
    try:
        return zlib.decompressobj().decompress(rest[1:], LONGEST_CHUNK) or b"broken"
    except zlib.error:
        return b"broken"  # `check_profile` reports it


def _orientation(head: Head) -> int:
    """Return the orientation of the chunk eXIf, which is a TIFF file without pixels."""
    exif = PIL.Image.Exif()
    try:
        with our_rules:
            exif.load(head.chunks.get(b"eXIf", b""))
        return known_orientation(exif.get(ORIENTATION_TAG, UPRIGHT))
    except Exception:  # noqa: BLE001 - metadata that no one can read must not cost us the pixels
        return UPRIGHT


PNG = Format("PNG", (".png",), starts_with(SIGNATURE), read, probe)
