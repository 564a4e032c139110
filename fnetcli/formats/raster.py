"""PNG, JPEG, TIFF, BMP and WebP with 8 bits per channel, decoded by Pillow.

Pillow opens more than it can keep: it cuts 16-bit RGB down to 8 bits, and takes signed bytes for
unsigned ones, without a word. What a file really holds is therefore read from its header here, and
everything that would not come out as stored is refused.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL.Image
import tifffile
from numpy.typing import NDArray
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from fnetcli.formats.base import COPY_AGAIN, ContentError, Format
from fnetcli.formats.pillow import our_rules
from fnetcli.image import Grid, Image
from fnetcli.storage import atomic_write

PIXEL_LIMIT = 500_000_000  # width x height; more is taken for a decompression bomb
MOST_PAGES = 1000  # of a TIFF that are looked at

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # little and big endian; "+" is BigTIFF

GRAY_MODES = frozenset({"1", "L", "LA", "La"})
COLOR_MODES = frozenset({"P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr"})
ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})

ORIENTATION_TAG = 0x0112  # EXIF: how to turn the stored picture upright
UPRIGHT = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write 8-bit pixels, whole or not at all; make missing folders.

    `pixels` is grey (H, W) or (H, W, 1), grey and alpha (H, W, 2), RGB (H, W, 3) or RGBA (H, W, 4);
    alpha is 0..255. Raise WriteError where the file cannot be stored, ValueError for other arrays.
    """
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    fits = planes.ndim == 3 and 1 <= planes.shape[2] <= 4 and planes.size > 0
    if pixels.dtype != np.uint8 or not fits:
        raise ValueError(f"a PNG takes uint8 (H, W[, 1-4]), not {pixels.dtype} {pixels.shape}")
    picture = PIL.Image.fromarray(planes[..., 0] if planes.shape[2] == 1 else planes)
    encoded = io.BytesIO()  # first in memory: a full disk is then told as such, not by the encoder
    picture.save(encoded, "PNG")
    atomic_write(path, lambda file: file.write(encoded.getbuffer()))


def write_tiff_float(path: Path, values: NDArray[np.float32]) -> None:
    """Write float32 (H, W) as a one-page TIFF (deflate), whole or not at all; make missing folders.

    Raise WriteError where the file cannot be stored, ValueError for other arrays.
    """
    if values.dtype != np.float32 or values.ndim != 2 or values.size == 0:
        raise ValueError(f"a float TIFF takes float32 (H, W), not {values.dtype} {values.shape}")
    encoded = io.BytesIO()
    tifffile.imwrite(
        encoded, values, photometric="minisblack", compression="zlib", metadata=None, software=False
    )
    atomic_write(path, lambda file: file.write(encoded.getbuffer()))


# --- from a Pillow picture to our Image -----------------------------------------------------------


def _read(open_file: Callable[[BinaryIO], ImageFile], file: BinaryIO) -> Image:
    """Open, check the size, decode, turn upright; `open_file` reads the header only."""
    with our_rules:
        picture = open_file(file)
        _require_size(picture.size)
        picture.load()
        return _to_image(_upright(picture))


def _require_size(size: tuple[int, int]) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ContentError(f"has no pixels ({width}x{height})", COPY_AGAIN)
    if width * height > PIXEL_LIMIT:
        megapixels = f"{width * height / 1e6:.0f} megapixels"
        limit = f"{PIXEL_LIMIT / 1e6:.0f}"
        raise ContentError(
            f"{width}x{height} is {megapixels}, more than the limit of {limit}",
            "make it smaller or cut it into parts",
        )


def _upright(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Apply the EXIF orientation once (of a TIFF, Pillow has done it and removed the tag)."""
    try:
        orientation = picture.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - metadata that no one can read must not cost us the pixels
        return picture
    turn = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return picture if turn is None else picture.transpose(turn)


def _to_image(picture: PIL.Image.Image) -> Image:
    if picture.mode not in GRAY_MODES | COLOR_MODES:
        raise ContentError(
            f"pixels of type {picture.mode} are not supported", "convert it to 8-bit RGB or grey"
        )
    mode = "L" if picture.mode in GRAY_MODES else "RGB"
    has_alpha = picture.mode in ALPHA_MODES or "transparency" in picture.info
    stored = np.asarray(picture.convert(f"{mode}A" if has_alpha else mode))
    values = stored.reshape(1, picture.height, picture.width, -1).astype(np.float32)
    return Image(
        pixels=values[..., : len(mode)],
        grid=Grid((1, picture.height, picture.width)),
        stored_type=np.dtype(np.uint8),
        alpha=values[..., -1] / np.float32(255) if has_alpha else None,
    )


def _wrong_depth(what: str) -> ContentError:
    return ContentError(f"{what} are not supported yet", "convert it to 8 bits per channel")


def _several(what: str) -> ContentError:
    return ContentError(f"{what}, not one picture", "export the one to use as a file of its own")


# --- headers: what Pillow would pass over in silence ----------------------------------------------


def _open_png(file: BinaryIO) -> ImageFile:
    head = file.read(26)
    if len(head) < 26:
        raise ContentError("not a complete PNG (ends early)", COPY_AGAIN)
    if head[12:16] != b"IHDR":
        raise ContentError("not a readable PNG (its header is missing)", COPY_AGAIN)
    width, height, bits = struct.unpack(">IIB", head[16:25])
    _require_size((width, height))
    if bits > 8:
        raise _wrong_depth(f"{bits} bits per channel")
    file.seek(0)
    picture = _require_one_frame(PngImageFile(file))
    key = picture.info.get("transparency")
    if picture.mode in {"1", "L"} and isinstance(key, int) and key < 2**bits < 256:
        # Pillow widens grey of 1, 2 and 4 bits to 0..255, but not always the one grey (tRNS) that
        # means "transparent".
        picture.info["transparency"] = key * 255 // (2**bits - 1)
    return picture


def _open_webp(file: BinaryIO) -> ImageFile:
    head = file.read(8)
    length = 8 + int.from_bytes(head[4:8], "little")
    if file.seek(0, io.SEEK_END) < length:
        raise ContentError("not a complete WebP (ends early)", COPY_AGAIN)
    file.seek(0)
    return _require_one_frame(WebPImageFile(file))


def _require_one_frame(picture: PngImageFile | WebPImageFile) -> ImageFile:
    if picture.is_animated:
        raise _several("an animation")
    return picture


def _open_tiff(file: BinaryIO) -> ImageFile:
    first, *others = _tiff_pages(file)
    # Smaller copies (thumbnails, pyramids) and masks may follow the one picture.
    if any(not _tag(page, "NewSubfileType", 0) & 0b101 for page in others):
        raise _several("several pages")
    bits, sample_format = _tag(first, "BitsPerSample", 1), _tag(first, "SampleFormat", 1)
    if sample_format == 3:
        raise _wrong_depth(f"{bits}-bit floating point pixels")
    if bits > 8:
        raise _wrong_depth(f"{bits} bits per channel")
    if sample_format not in {1, 4}:  # 4 is "undefined", and read as unsigned by everyone
        raise _wrong_depth("signed or complex pixels")
    file.seek(0)
    return TiffImageFile(file)


TIFF_TAGS = {"NewSubfileType": 254, "Width": 256, "BitsPerSample": 258, "SampleFormat": 339}


def _tiff_pages(file: BinaryIO) -> list[dict[int, Any]]:
    """Return the tags of every page (at least one), without decoding any."""
    head = file.read(16)
    if head[2:4] == b"\0+":
        raise ContentError(
            "a big-endian BigTIFF, which is not supported yet", "save it as plain TIFF"
        )
    directory = ImageFileDirectory_v2(head[: 16 if head[2] == 43 else 8])
    length, seen = file.seek(0, io.SEEK_END), set[int]()
    pages: list[dict[int, Any]] = []
    while 0 < directory.next < length and directory.next not in seen and len(seen) < MOST_PAGES:
        seen.add(directory.next)
        file.seek(directory.next)
        directory.load(file)
        tags = {tag: directory.get(tag) for tag in TIFF_TAGS.values()}
        if not pages or tags[TIFF_TAGS["Width"]]:  # what follows the last page may be garbage
            pages.append(tags)
    if not pages:
        raise ContentError("not a complete TIFF (ends early)", COPY_AGAIN)
    return pages


def _tag(page: dict[int, Any], name: str, default: int) -> int:
    """Return a tag as one number: of one number per channel, the largest."""
    value = page[TIFF_TAGS[name]]
    if value is None:
        return default
    return int(max(value)) if isinstance(value, tuple) else int(value)


def _is_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def _starts_with(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(signatures)


PNG = Format("PNG", (".png",), _starts_with(PNG_SIGNATURE), partial(_read, _open_png))
# Opened as plain JPEG, a multi-picture file (MPO: phones, stereo and thermal cameras) gives its
# main picture.
JPEG = Format(
    "JPEG", (".jpg", ".jpeg"), _starts_with(b"\xff\xd8\xff"), partial(_read, JpegImageFile)
)
TIFF = Format("TIFF", (".tif", ".tiff"), _starts_with(*TIFF_SIGNATURES), partial(_read, _open_tiff))
BMP = Format("BMP", (".bmp",), _starts_with(b"BM"), partial(_read, BmpImageFile))
WEBP = Format("WebP", (".webp",), _is_webp, partial(_read, _open_webp))
