"""Check the claims of a header against the bytes of the file, before memory is allocated for them.

Every limit is the most that the encoding can hold: no complete file is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom import FileDataset
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from fnetcli.formats.base import COPY_AGAIN, DEFLATE_RATIO, SPARE_PIXELS, ContentError
from fnetcli.formats.dicom.attributes import text, whole
from fnetcli.formats.dicom.files import transfer_syntax

FRAGMENT_BYTES = 8  # of an item; every compressed frame has one (PS3.5, A.4)
# Pixels that a byte can hold. JPEG: a block of 8x8 needs at least one bit, and eight of them may
# cover 32x32 pixels; lossless, a pixel needs one bit. RLE: two bytes for 128. JPEG-LS: a bit for
# 2^15 pixels of one row. JPEG 2000 and unknown encodings: packets may be empty, up to a whole tile.
PIXELS_A_BYTE: dict[UID, int] = {
    JPEGBaseline8Bit: 1024,
    JPEGExtended12Bit: 1024,
    JPEGLossless: 8,
    JPEGLosslessSV1: 8,
    RLELossless: 64,
    JPEGLSLossless: 1 << 18,
    JPEGLSNearLossless: 1 << 18,
    JPEG2000: 1 << 18,
    JPEG2000Lossless: 1 << 18,
}
UNKNOWN_RATIO = 1 << 18
MAX_PALETTE = 1 << 16  # colours (PS3.3, C.7.6.3.1.5)
DISCRETE, LINEAR, INDIRECT = 0, 1, 2  # kinds of segments (PS3.3, C.7.9.2)
SEGMENTED = tuple(
    f"Segmented{color}PaletteColorLookupTableData" for color in ("Red", "Green", "Blue", "Alpha")
)


def require_bytes_of_frames(
    header: FileDataset, length: int, frames: int, size: tuple[int, int]
) -> None:
    """Raise EOFError if a file of `length` bytes cannot hold so many frames (rows, columns)."""
    syntax = transfer_syntax(header)
    if not syntax.is_transfer_syntax:
        return  # the search for a decoder reports it
    pixels = frames * size[0] * size[1]
    if syntax.is_encapsulated:
        most = PIXELS_A_BYTE.get(syntax, UNKNOWN_RATIO) * length + SPARE_PIXELS
        if frames * FRAGMENT_BYTES > length or pixels > most:
            raise EOFError
        return
    bits = (whole(header, "BitsAllocated") or 1) * (whole(header, "SamplesPerPixel") or 1)
    is_subsampled = text(header, "PhotometricInterpretation") == "YBR_FULL_422"
    needed = pixels * bits / 8 * (2 / 3 if is_subsampled else 1)
    if needed > length * (DEFLATE_RATIO if syntax == DeflatedExplicitVRLittleEndian else 1):
        raise EOFError


def require_short_palette(header: FileDataset) -> None:
    """Raise ContentError if the segments of a palette expand to more colours than allowed.

    Each may repeat a colour 65,535 times, or refer to other segments.
    """
    descriptor = header.get("RedPaletteColorLookupTableDescriptor")
    is_wide = descriptor is not None and len(descriptor) == 3 and descriptor[2] > 8
    is_little = bool(transfer_syntax(header).is_little_endian)
    for keyword in SEGMENTED:
        content = header.get(keyword)
        if isinstance(content, bytes):
            kind = np.dtype(("<u2" if is_little else ">u2") if is_wide else np.uint8)
            whole_units = content[: len(content) // kind.itemsize * kind.itemsize]
            _Palette(np.frombuffer(whole_units, kind).tolist(), is_wide, is_little).colors()


@dataclass(frozen=True)
class _Palette:
    numbers: list[int]
    is_wide: bool
    is_little: bool

    def colors(self, start: int = 0, segments: int | None = None) -> int:
        """Count the colours of all segments, or of `segments` segments from `start` on."""
        count, place, numbers = 0, start, self.numbers
        while place + 1 < len(numbers) and segments != 0:
            kind, length = numbers[place : place + 2]
            place += 2
            is_nested = kind == INDIRECT and segments is not None
            if kind not in {DISCRETE, LINEAR, INDIRECT} or length < 1 or is_nested:
                raise _bad_palette()
            count += self.colors(self._target(place), length) if kind == INDIRECT else length
            place += {DISCRETE: length, LINEAR: 1, INDIRECT: 2 if self.is_wide else 4}[kind]
            if count > MAX_PALETTE:
                raise _bad_palette()
            segments = None if segments is None else segments - 1
        return count

    def _target(self, place: int) -> int:
        if self.is_wide:
            low, high = self.numbers[place : place + 2]
            return high << 16 | low
        a, b, c, d = self.numbers[place : place + 4]
        return d << 24 | c << 16 | b << 8 | a if self.is_little else c << 24 | d << 16 | a << 8 | b


def _bad_palette() -> ContentError:
    return ContentError("not a readable DICOM file (its palette makes no sense)", COPY_AGAIN)
