"""What the first bytes of a compressed picture claim: looked at before any decoder makes room."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from fnetcli.formats.base import COPY_AGAIN, ContentError

MAX_BOXES = 1000
MAX_COMPONENTS = 16_384  # JPEG 2000
JPEG2000_START = b"\xff\x4f\xff\x51"
JPEG2000_BOX = b"\0\0\0\x0cjP  \r\n\x87\n"
JPEGXL_START, JPEGXL_BOX = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # ISO/IEC 18181-1, SizeHeader
ALPHA_CHANNEL, GREY_SPACE = 0, 1
ALPHA_NAMES = (b"alpha", b"hevc:2015:auxid:1")  # of a picture that holds opacity


@dataclass(frozen=True)
class Claim:
    """Size, and numbers of a pixel: `bits` each, `components` with alpha."""

    height: int
    width: int
    components: int
    bits: int
    is_signed: bool = False
    is_float: bool = False
    has_alpha: bool = False
    orientation: int = 1
    is_animation: bool = False


def boxes(content: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, first and last byte of the content of ISO boxes (ISO/IEC 14496-12, 4.2)."""
    for _ in range(MAX_BOXES):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", content, start)
        head = 8
        if size == 1 and start + 16 <= end:
            (size,) = struct.unpack_from(">Q", content, start + 8)
            head = 16
        elif size == 0:
            size = end - start
        if size < head:
            return
        yield kind, start + head, min(start + size, end)
        start += size


def jpeg2000_claim(content: bytes) -> Claim:
    """Return what a codestream, or a JP2 file, says of itself (ISO/IEC 15444-1, A.5.1 and I)."""
    start, alphas = 0, set[int]()
    if content.startswith(JPEG2000_BOX):
        start = -1
        for kind, first, last in boxes(content, 0, len(content)):
            if kind == b"jp2h":
                alphas = _alpha_of_jp2(content, first, last)
            elif kind == b"jp2c":
                start = first
                break
    if start < 0 or content[start : start + 4] != JPEG2000_START:
        raise ContentError("not a readable JPEG 2000 (its codestream is missing)", COPY_AGAIN)
    try:
        numbers = struct.unpack_from(">HH8IH", content, start + 4)
        x1, y1, x0, y0 = numbers[2:6]
        count = numbers[10]
        parts = [struct.unpack_from(">3B", content, start + 42 + 3 * i) for i in range(count)]
    except struct.error:
        raise ContentError("not a complete JPEG 2000 (ends early)", COPY_AGAIN) from None
    if not 1 <= count <= MAX_COMPONENTS or x1 <= x0 or y1 <= y0:
        raise ContentError("not a readable JPEG 2000 (its size makes no sense)", COPY_AGAIN)
    if len(set(parts)) > 1:
        raise ContentError(
            "its components differ in size or depth", "save all with the same size and depth"
        )
    depth, across, down = parts[0]
    if across < 1 or down < 1:
        raise ContentError("not a readable JPEG 2000 (its size makes no sense)", COPY_AGAIN)
    return Claim(
        height=-(-y1 // down) - -(-y0 // down),
        width=-(-x1 // across) - -(-x0 // across),
        components=count,
        bits=(depth & 0x7F) + 1,
        is_signed=bool(depth & 0x80),
        has_alpha=alphas == {count - 1},
    )


def jpeg2000_profile(content: bytes) -> bytes | None:
    """Return the ICC profile in a JP2 file (ISO/IEC 15444-1, I.5.3.3)."""
    for kind, first, last in boxes(content, 0, len(content)):
        if kind == b"jp2h" and content.startswith(JPEG2000_BOX):
            for inner, start, end in boxes(content, first, last):
                if inner == b"colr" and content[start : start + 1] == b"\2":  # restricted ICC
                    return content[start + 3 : end]
    return None


def _alpha_of_jp2(content: bytes, start: int, end: int) -> set[int]:
    """Return which channels are opacity (I.5.3.6)."""
    found = set[int]()
    for kind, first, last in boxes(content, start, end):
        if kind == b"cdef" and last - first >= 2:
            (count,) = struct.unpack_from(">H", content, first)
            for i in range(min(count, (last - first - 2) // 6)):
                channel, meaning, _ = struct.unpack_from(">3H", content, first + 2 + 6 * i)
                if meaning in {1, 2}:
                    found.add(channel)
    return found


def webp_size(content: bytes) -> tuple[int, int]:
    """Return height and width of a WebP file's content (RFC 9649)."""
    kind = content[12:16]
    if content[:4] == b"RIFF" and len(content) >= 30:
        if kind == b"VP8X":
            width, height = (int.from_bytes(content[i : i + 3], "little") for i in (24, 27))
            return height + 1, width + 1
        if kind == b"VP8L":
            packed = int.from_bytes(content[21:25], "little")
            return (packed >> 14 & 0x3FFF) + 1, (packed & 0x3FFF) + 1
        if kind == b"VP8 ":
            width, height = struct.unpack_from("<HH", content, 26)
            return height & 0x3FFF, width & 0x3FFF
    raise ContentError("not a readable WebP", COPY_AGAIN)


def lerc_size(content: bytes) -> tuple[int, int]:
    """Return height and width that a LERC2 blob claims."""
    if content[:6] != b"Lerc2 " or len(content) < 22:
        raise ContentError("its LERC compression is damaged, or of an old version", COPY_AGAIN)
    (version,) = struct.unpack_from("<i", content, 6)
    height, width = struct.unpack_from("<ii", content, 14 if version >= 3 else 10)
    return height, width


# --- JPEG XL --------------------------------------------------------------------------------------


class _Bits:
    """Bits of a codestream, the lowest of each byte first (ISO/IEC 18181-1, B.2)."""

    def __init__(self, content: bytes) -> None:
        self._content, self._place = content, 0

    def u(self, count: int) -> int:
        """Return a number of so many bits."""
        first, last = self._place // 8, (self._place + count + 7) // 8
        if last > len(self._content):
            raise ContentError("not a complete JPEG XL (ends early)", COPY_AGAIN)
        word = int.from_bytes(self._content[first:last], "little") >> self._place % 8
        self._place += count
        return word & ((1 << count) - 1)

    def flag(self) -> bool:
        """Return one bit."""
        return bool(self.u(1))

    def u32(self, *choices: tuple[int, int]) -> int:
        """Return a number coded in one of four ways: (bits, offset)."""
        bits, offset = choices[self.u(2)]
        return offset + self.u(bits)

    def enum(self) -> int:
        """Return one of a list."""
        return self.u32((0, 0), (0, 1), (4, 2), (6, 18))

    def size(self) -> tuple[int, int]:
        """Return height and width."""
        is_small = self.flag()
        height = self._side(is_small=is_small)
        ratio = self.u(3)
        if ratio == 0:
            return height, self._side(is_small=is_small)
        above, below = RATIOS[ratio - 1]
        return height, height * above // below

    def _side(self, *, is_small: bool) -> int:
        return 8 * (self.u(5) + 1) if is_small else self.u32((9, 1), (13, 1), (18, 1), (30, 1))

    def depth(self) -> tuple[int, bool]:
        """Return bits of a number, and whether it is a float."""
        if not self.flag():
            return self.u32((0, 8), (0, 10), (0, 12), (6, 1)), False
        bits = self.u32((0, 32), (0, 16), (0, 24), (6, 1))
        self.u(4)
        return bits, True


def jpegxl_claim(content: bytes) -> Claim:
    """Return what a codestream, bare or in boxes, says of itself (ISO/IEC 18181-1, D)."""
    bits = _Bits(_jpegxl_stream(content))
    height, width = bits.size()
    if bits.flag():  # all that follows is the default
        return Claim(height, width, 3, 8)
    orientation, is_animation = 1, False
    if bits.flag():
        orientation = bits.u(3) + 1
        if bits.flag():
            bits.size()
        if bits.flag():
            raise ContentError("its JPEG XL header holds a preview", "save it without one")
        is_animation = bits.flag()
    if is_animation:
        return Claim(height, width, 3, 8, is_animation=True)
    depth, is_float = bits.depth()
    bits.flag()
    extra = bits.u32((0, 0), (0, 1), (4, 2), (12, 1))
    kinds = [_extra_channel(bits) for _ in range(min(extra, 1))]  # others may be of any form
    colors = 3
    if extra <= 1:
        bits.flag()  # XYB
        if not bits.flag():
            has_profile = bits.flag()
            colors = 1 if bits.enum() == GREY_SPACE and not has_profile else 3
    return Claim(
        height,
        width,
        colors + extra,
        depth,
        is_float=is_float,
        has_alpha=kinds == [ALPHA_CHANNEL] and extra == 1,
        orientation=orientation,
    )


def _jpegxl_stream(content: bytes) -> bytes:
    if content.startswith(JPEGXL_START):
        return content[2:4096]
    parts = b""
    for kind, first, last in boxes(content, 0, len(content)):
        if kind in {b"jxlc", b"jxlp"}:
            parts += content[first + 4 * (kind == b"jxlp") : last][:4096]
    if not parts.startswith(JPEGXL_START):
        raise ContentError("not a readable JPEG XL (its codestream is missing)", COPY_AGAIN)
    return parts[2:]


def _extra_channel(bits: _Bits) -> int:
    """Return what an extra channel is, 0 for alpha."""
    if bits.flag():
        return ALPHA_CHANNEL
    kind = bits.enum()
    bits.depth()
    bits.u32((0, 0), (0, 3), (0, 4), (3, 1))
    for _ in range(bits.u32((0, 0), (4, 0), (5, 16), (10, 48))):
        bits.u(8)
    if kind == ALPHA_CHANNEL:
        bits.flag()
    return kind


# --- AVIF, HEIC -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class HeifClaim:
    """Size as coded, bits, and how to turn a picture: quarters to the left, then a mirror.

    `components` are 1 or 3, and one more where a further picture holds opacity.
    """

    height: int
    width: int
    bits: int
    components: int = 3
    turns: int = 0
    mirror: int | None = None  # 0: up and down are exchanged, 1: left and right
    is_animation: bool = False
    profile: bytes | None = None  # ICC
    shown: tuple[int, int] | None = None  # height and width of what is meant to be seen of it

    def upright(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return height and width once turned."""
        height, width = size
        return (width, height) if self.turns % 2 else size


def heif_claim(content: bytes) -> HeifClaim:
    """Return what the boxes of an AVIF or HEIC file say (ISO/IEC 23008-12, 6.5; AV1-ISOBMFF)."""
    properties, main = _properties(content)
    bits, is_grey = next(
        filter(None, (_coding(kind, body) for kind, body in properties)), (8, False)
    )
    has_alpha = any(
        kind == b"auxC" and any(name in body for name in ALPHA_NAMES) for kind, body in properties
    )
    (height, width), turns, mirror, profile, shown = (0, 0), 0, None, None, None
    for kind, body in main:
        if kind == b"ispe" and len(body) >= 12:
            width, height = struct.unpack_from(">II", body, 4)
        elif kind == b"clap" and len(body) >= 16:
            across, parts, down, others = struct.unpack_from(">4I", body)
            shown = (down // max(others, 1), across // max(parts, 1))
        elif kind == b"irot" and body:
            turns = body[0] & 3
        elif kind == b"imir" and body:
            mirror = body[0] & 1
        elif kind == b"colr" and body[:4] in {b"prof", b"rICC"}:
            profile = body[4:]
    return HeifClaim(
        height,
        width,
        bits,
        (1 if is_grey else 3) + has_alpha,
        turns,
        mirror,
        content[8:12] in {b"avis", b"hevc"},
        profile,
        shown,
    )


def _coding(kind: bytes, body: bytes) -> tuple[int, bool] | None:
    """Return bits and whether grey, as a decoder is told."""
    if kind == b"av1C" and len(body) >= 4:
        return (12 if body[2] & 0x20 else 10) if body[2] & 0x40 else 8, bool(body[2] & 0x10)
    if kind == b"hvcC" and len(body) >= 18:  # ISO/IEC 14496-15, 8.3.3.1
        return (body[17] & 7) + 8, not body[16] & 3
    return None


Property = tuple[bytes, bytes]  # its kind, its content


def _properties(content: bytes) -> tuple[list[Property], list[Property]]:
    """Return all properties in a file, and those of its main picture."""
    inside = {
        kind: content[first:last]
        for outer, start, end in boxes(content, 0, len(content))
        if outer == b"meta"
        for kind, first, last in boxes(content, start + 4, end)
    }
    listed = inside.get(b"iprp", b"")
    parts = {kind: listed[first:last] for kind, first, last in boxes(listed, 0, len(listed))}
    held = parts.get(b"ipco", b"")
    found = [(kind, held[first:last]) for kind, first, last in boxes(held, 0, len(held))]
    try:
        item = _main_item(inside[b"pitm"])
        numbers = _associations(parts[b"ipma"])[item]
        return found, [found[number - 1] for number in numbers if number]
    except (KeyError, IndexError, struct.error):
        raise ContentError("not a readable HEIF (its boxes are damaged)", COPY_AGAIN) from None


def _main_item(box: bytes) -> int:
    """Return the number of the main picture (ISO/IEC 14496-12, 8.11.4)."""
    number: int = struct.unpack_from(">I" if box[0] else ">H", box, 4)[0]
    return number


def _associations(box: bytes) -> dict[int, list[int]]:
    """Return the numbers of each item's properties, from 1 on (ISO/IEC 23008-12, 9.3.1)."""
    is_wide, has_words = box[0] > 0, box[3] & 1
    (count,) = struct.unpack_from(">I", box, 4)
    place, found = 8, dict[int, list[int]]()
    for _ in range(min(count, MAX_BOXES)):
        item, length = struct.unpack_from(">IB" if is_wide else ">HB", box, place)
        place += 5 if is_wide else 3
        form, mask = (f">{length}H", 0x7FFF) if has_words else (f">{length}B", 0x7F)
        found[item] = [number & mask for number in struct.unpack_from(form, box, place)]
        place += struct.calcsize(form)
    return found
