"""PBM, PGM, PPM, PAM and PFM: a header in text, then plain numbers; read by hand.

16-bit numbers are big-endian, as the standard says (netpbm, pgm(5)); the rows of PFM go upwards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fnetcli.formats.bands import NAMES, band_indices, list_bands
from fnetcli.formats.base import (
    COPY_AGAIN,
    ContentError,
    Format,
    Header,
    ReadOptions,
    file_length,
    require_length,
    require_room,
    require_size,
)
from fnetcli.formats.upright import UPRIGHT, new_image
from fnetcli.imaging.image import Image, Pixels

MAX_HEADER = 1 << 16
MAX_PIXEL_BYTES = 4 * 12  # of numbers in text
TOKEN = re.compile(rb"(?:\s|#[^\n\r]*[\n\r])*([^\s#]+)")
START = re.compile(rb"P(?:[1-6](?:\s|#[^\n\r]*[\n\r])+\d|7\n|[Ff]\s+\d)")
BITMAPS, TEXTS, COLORS = {"P1", "P4"}, {"P1", "P2", "P3"}, {"P3", "P6", "PF"}
BROKEN = "not a readable PNM (its header is damaged)"
ENDS_EARLY = "not a complete PNM (ends early)"


@dataclass(frozen=True)
class Head:
    """What the header says; the numbers start at `start`. Of PFM, `dtype` tells the byte order."""

    magic: str
    width: int
    height: int
    depth: int
    maxval: int
    start: int
    dtype: np.dtype[Any]
    has_alpha: bool = False

    @property
    def is_float(self) -> bool:
        """Whether it is a PFM."""
        return self.dtype.kind == "f"

    @property
    def bits(self) -> int | None:
        """Bits in use, where they are fewer than the type has."""
        is_full = self.is_float or self.dtype.itemsize == 1 or self.maxval > 32767
        return None if is_full else self.maxval.bit_length()

    def channels(self, options: ReadOptions) -> int:
        """Return 1 or 3. Raise ContentError for other counts of bands, unless some are named."""
        if options.bands:
            return len(band_indices(options.bands, self.names))
        colors = self.depth - self.has_alpha
        if colors not in {1, 3}:
            raise ContentError(
                f"has {list_bands(self.names)}, neither grey nor RGB",
                "choose one or three of them with --band MODALITY=1,2,3",
            )
        return colors

    @property
    def names(self) -> tuple[str, ...]:
        """What its bands are called."""
        is_known = self.depth in {1, 3} or self.has_alpha
        return NAMES[self.depth] if is_known and self.depth <= 4 else ("",) * self.depth


def read(file: BinaryIO, options: ReadOptions) -> Image:
    """Read one picture."""
    head = _head(file, options)
    channels = head.channels(options)
    count = head.width * head.height * head.depth
    require_room(count * head.dtype.itemsize * (20 if head.magic in TEXTS else 3))
    numbers, has_more = _numbers(file, head, count)
    planes = numbers.reshape(head.height, head.width, head.depth)
    notices = ["it holds more than one picture: the first is used"] if has_more else []
    bits, words = head.bits, _beyond(head, planes)
    if words:
        notices.append(words)
        bits = None
    planes = _to_stored(head, planes)
    if options.bands:
        picked = planes[..., band_indices(options.bands, head.names)]
        return new_image(picked, None, UPRIGHT, bits=bits, notices=tuple(notices))
    alpha: Pixels | None = None
    if head.has_alpha:
        white = 255 if planes.dtype == np.uint8 else head.maxval
        alpha = np.clip(planes[..., -1].astype(np.float32) / np.float32(white), 0, 1)
    pixels = planes[..., :channels]
    return new_image(pixels, alpha, UPRIGHT, bits=bits, notices=tuple(notices))


def probe(file: BinaryIO, options: ReadOptions) -> Header:
    """Tell what `read` would give."""
    head = _head(file, options)
    dtype = head.dtype.newbyteorder("=")
    return Header("PNM", head.height, head.width, head.channels(options), dtype, head.bits)


def _beyond(head: Head, planes: NDArray[Any]) -> str | None:
    """Say what white is where the header leaves it open."""
    if head.is_float or head.magic in BITMAPS:
        return None
    if planes.max() > head.maxval:
        return f"it holds numbers above the largest that its header names ({head.maxval})"
    if head.bits is not None and head.maxval != 2**head.bits - 1:
        return f"its header calls {head.maxval} white: if it is visible light, --range says so"
    return None


def _to_stored(head: Head, planes: NDArray[Any]) -> NDArray[Any]:
    """Return few levels as 0 to 255, and everything in the machine's byte order."""
    if head.magic in BITMAPS:
        return ((1 - planes) * 255).astype(np.uint8)  # 1 is black
    if head.is_float:
        planes = planes[::-1]
    elif head.dtype.itemsize == 1 and head.maxval < 255:
        levels = np.minimum(planes, head.maxval).astype(np.float32) * np.float32(255 / head.maxval)
        planes = np.rint(levels).astype(np.uint8)
    return planes.astype(planes.dtype.newbyteorder("="), copy=False)


# --- header ---------------------------------------------------------------------------------------


def _head(file: BinaryIO, options: ReadOptions) -> Head:
    require_length(file, options, MAX_PIXEL_BYTES, "PNM")
    content = file.read(MAX_HEADER)
    head = _pam(content) if content.startswith(b"P7") else _plain(content)
    require_size(head.width, head.height, options)
    if not (1 <= head.depth <= 65_535 and (head.is_float or 1 <= head.maxval <= 65_535)):
        raise ContentError(BROKEN, COPY_AGAIN)
    count = head.width * head.height * head.depth
    here = file_length(file) - head.start
    least: float = count * head.dtype.itemsize
    if head.magic == "P4":
        least = head.height * -(-head.width // 8)
    elif head.magic in TEXTS:
        least = count if head.magic == "P1" else 2 * count - 1
    if here < least:
        raise ContentError(ENDS_EARLY, COPY_AGAIN)
    return head


def _plain(content: bytes) -> Head:
    magic = content[:2].decode("ascii")
    place, tokens = 2, list[bytes]()
    for _ in range(2 if magic in BITMAPS else 3):
        found = TOKEN.match(content, place)
        if found is None:
            raise ContentError(BROKEN, COPY_AGAIN)
        tokens.append(found[1])
        place = found.end()
    width, height = _number(tokens[0]), _number(tokens[1])
    depth = 3 if magic in COLORS else 1
    if magic in {"Pf", "PF"}:
        order = "<" if tokens[2].startswith(b"-") else ">"
        return Head(magic, width, height, depth, 1, place + 1, np.dtype(f"{order}f4"))
    maxval = 1 if magic in BITMAPS else _number(tokens[2])
    dtype = np.dtype(">u2" if maxval > 255 else np.uint8)
    return Head(magic, width, height, depth, maxval, place + 1, dtype)


def _pam(content: bytes) -> Head:
    header, mark, _ = content.partition(b"\nENDHDR\n")
    known = dict(
        line.split(None, 1)
        for line in header.split(b"\n")[1:]
        if len(line.split(None, 1)) == 2 and not line.startswith(b"#")
    )
    if not mark or not known.keys() >= {b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"}:
        raise ContentError(BROKEN, COPY_AGAIN)
    names = (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
    width, height, depth, maxval = (_number(known[name].strip()) for name in names)
    dtype = np.dtype(">u2" if maxval > 255 else np.uint8)
    has_alpha = known.get(b"TUPLTYPE", b"").strip().endswith(b"_ALPHA") and depth in {2, 4}
    start = len(header) + len(mark)
    return Head("P7", width, height, depth, maxval, start, dtype, has_alpha)


def _number(token: bytes) -> int:
    if not token.isdigit() or len(token) > 9:
        raise ContentError(BROKEN, COPY_AGAIN)
    return int(token)


# --- numbers --------------------------------------------------------------------------------------


def _numbers(file: BinaryIO, head: Head, count: int) -> tuple[NDArray[Any], bool]:
    """Return all numbers of the first picture, and whether there are more."""
    file.seek(head.start)
    if head.magic in TEXTS:
        return _from_text(file, head, count)
    row = (
        -(-head.width // 8) if head.magic == "P4" else head.width * head.depth * head.dtype.itemsize
    )
    content = file.read(head.height * row)
    if len(content) < head.height * row:
        raise ContentError(ENDS_EARLY, COPY_AGAIN)
    has_more = file.read(2)[:1] == b"P"
    if head.magic == "P4":
        packed = np.frombuffer(content, np.uint8).reshape(head.height, row)
        return np.unpackbits(packed, axis=1)[:, : head.width], has_more
    return np.frombuffer(content, head.dtype), has_more


def _from_text(file: BinaryIO, head: Head, count: int) -> tuple[NDArray[Any], bool]:
    content = re.sub(rb"#[^\n\r]*", b"", file.read())
    if head.magic == "P1":
        digits = np.frombuffer(re.sub(rb"\s+", b"", content), np.uint8)[:count] - ord("0")
        if len(digits) < count:
            raise ContentError(ENDS_EARLY, COPY_AGAIN)
        if digits.max() > 1:
            raise ContentError("not a readable PNM (text instead of numbers)", COPY_AGAIN)
        return digits, False
    tokens = content.split(None, count)
    if len(tokens) < count:
        raise ContentError(ENDS_EARLY, COPY_AGAIN)
    if not all(token.isdigit() and len(token) <= 9 for token in tokens[:count]):
        raise ContentError("not a readable PNM (text instead of numbers)", COPY_AGAIN)
    numbers = np.array(tokens[:count]).astype(np.int64)
    return np.minimum(numbers, np.iinfo(head.dtype).max).astype(head.dtype), False


def _starts(head: bytes) -> bool:
    return START.match(head) is not None


PNM = Format("PNM", (".pgm", ".ppm", ".pnm", ".pbm", ".pam", ".pfm"), _starts, read, probe)
