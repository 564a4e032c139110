"""JPEG 2000, JPEG XL, AVIF and HEIC, decoded after their headers were looked at.

imagecodecs decodes all but HEIC, for which pillow-heif is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from fnetcli.formats.bands import NAMES, band_indices, list_bands
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
from fnetcli.formats.codecs import silence
from fnetcli.formats.codestreams import (
    JPEG2000_BOX,
    JPEG2000_START,
    JPEGXL_BOX,
    JPEGXL_START,
    heif_claim,
    jpeg2000_claim,
    jpeg2000_profile,
    jpegxl_claim,
)
from fnetcli.formats.profiles import check_profile
from fnetcli.formats.upright import UPRIGHT, new_image, upright_size
from fnetcli.imaging.image import Image

MAX_PIXEL_BYTES = 64
MAX_PIXELS = 1 << 18  # that one byte can hold: whole tiles of one colour
DECODED_BYTES = 8  # that a decoder takes for each number, about
HEAD = 1 << 20  # bytes in which headers lie
NO_HEIC = (
    "a HEIC file, but no HEIC decoder is installed",
    "install fnetcli[heic], or convert it to PNG, TIFF or AVIF",
)
ANIMATION = ("an animation, not one picture", "export the one to use as a file of its own")


@dataclass(frozen=True)
class Described:
    """An upright picture: its size, bands and numbers; `turn` makes it upright once decoded."""

    height: int
    width: int
    components: int
    has_alpha: bool
    dtype: np.dtype[Any]
    bits: int | None = None
    turn: Callable[[NDArray[Any]], NDArray[Any]] = lambda planes: planes
    profile: bytes | None = None  # ICC
    coded: tuple[int, int] | None = None  # height and width that a decoder makes, if others

    def names(self) -> tuple[str, ...]:
        """Return what the bands are called."""
        is_known = self.components in {1, 3} or (self.has_alpha and self.components in {2, 4})
        return NAMES[self.components] if is_known else ("",) * self.components

    def channels(self, options: ReadOptions) -> int:
        """Return 1 or 3. Raise ContentError for other counts, unless bands are named."""
        if options.bands:
            return len(band_indices(options.bands, self.names()))
        colors = self.components - self.has_alpha
        if colors not in {1, 3}:
            raise ContentError(
                f"has {list_bands(self.names())}, neither grey nor RGB",
                "choose one or three of them with --band MODALITY=1,2,3",
            )
        return colors


@dataclass(frozen=True)
class Kind:
    """What tells these kinds apart."""

    name: str
    describe: Callable[[bytes], Described]
    decode: Callable[[bytes], NDArray[Any]]


def _read(kind: Kind, file: BinaryIO, options: ReadOptions) -> Image:
    described, content = _open(kind, file, options)
    channels = described.channels(options)
    count = described.height * described.width * described.components
    require_room(count * (described.dtype.itemsize + DECODED_BYTES))
    with silence:
        planes = kind.decode(content)
    planes = described.turn(planes if planes.ndim == 3 else planes[..., None])
    if planes.shape != (described.height, described.width, described.components):
        raise ContentError(f"not a readable {kind.name} (it is not what it claims)", COPY_AGAIN)
    planes, white = _widened(planes, described)
    if options.bands:
        picked = planes[..., band_indices(options.bands, described.names())]
        return new_image(picked, None, UPRIGHT, bits=described.bits)
    alpha = None
    if described.has_alpha:
        alpha = np.clip(planes[..., -1].astype(np.float32) / np.float32(white), 0, 1)
    profile, words = check_profile(described.profile, channels == 3)
    return new_image(
        planes[..., :channels],
        alpha,
        UPRIGHT,
        color_profile=profile,
        bits=described.bits,
        notices=words,
    )


def _probe(kind: Kind, file: BinaryIO, options: ReadOptions) -> Header:
    described, _ = _open(kind, file, options)
    channels = described.channels(options)
    size = (described.height, described.width)
    return Header(kind.name, *size, channels, described.dtype, described.bits)


def _open(kind: Kind, file: BinaryIO, options: ReadOptions) -> tuple[Described, bytes]:
    require_length(file, options, MAX_PIXEL_BYTES, kind.name)
    content = file.read()
    described = kind.describe(content)
    height, width = described.coded or (described.height, described.width)
    require_size(width, height, options)
    require_bytes(height * width, file, MAX_PIXELS, kind.name)
    return described, content


def _widened(planes: NDArray[Any], described: Described) -> tuple[NDArray[Any], float]:
    """Return numbers in the type that was announced, and white."""
    if planes.dtype.kind == "f":
        return planes.astype(described.dtype, copy=False), 1.0
    white = np.iinfo(described.dtype).max
    if described.bits is not None:
        white = 2**described.bits - 1
    return planes.astype(described.dtype, copy=False), float(white)


# --- each of them ---------------------------------------------------------------------------------


def _jpeg2000(content: bytes) -> Described:
    claim = jpeg2000_claim(content)
    if claim.bits > 16 or (claim.bits < 8 and claim.is_signed):
        raise ContentError(f"{claim.bits} bits are not supported", "save it with 8 to 16 bits")
    size = 1 if claim.bits <= 8 else 2
    dtype = np.dtype(f"{'i' if claim.is_signed else 'u'}{size}")
    is_full = claim.bits in {8, 16} or claim.is_signed

    def widen(planes: NDArray[Any]) -> NDArray[Any]:
        if claim.bits >= 8:
            return planes
        levels = planes.astype(np.float32) * np.float32(255 / (2**claim.bits - 1))
        widened: NDArray[Any] = np.rint(levels).astype(np.uint8)
        return widened

    return Described(
        claim.height,
        claim.width,
        claim.components,
        claim.has_alpha,
        dtype,
        None if is_full or claim.bits < 8 else claim.bits,
        widen,
        jpeg2000_profile(content),
    )


def _jpegxl(content: bytes) -> Described:
    claim = jpegxl_claim(content)
    if claim.is_animation:
        raise ContentError(*ANIMATION)
    height, width = upright_size(claim.height, claim.width, claim.orientation)
    if claim.is_float:
        dtype = np.dtype(np.float32 if claim.bits > 16 else np.float16)
    else:
        dtype = np.dtype(np.uint8 if claim.bits <= 8 else np.uint16)  # spread over all of its bits
    return Described(height, width, claim.components, claim.has_alpha, dtype)


def _avif(content: bytes) -> Described:
    claim = heif_claim(content)
    if claim.is_animation:
        raise ContentError(*ANIMATION)

    def turn(planes: NDArray[Any]) -> NDArray[Any]:
        planes = np.rot90(planes, claim.turns)
        return planes if claim.mirror is None else np.flip(planes, claim.mirror)

    components = claim.components
    dtype = np.dtype(np.uint8 if claim.bits == 8 else np.uint16)
    bits = None if claim.bits == 8 else claim.bits
    return Described(
        *claim.upright((claim.height, claim.width)),
        components,
        components in {2, 4},
        dtype,
        bits,
        turn,
        claim.profile,
    )


def _heic(content: bytes) -> Described:
    claim = heif_claim(content)
    if claim.is_animation:
        raise ContentError(*ANIMATION)
    components, coded = claim.components, (claim.height, claim.width)
    # The decoder cuts it and turns it upright, and spreads 10 and 12 bits over 16.
    dtype = np.dtype(np.uint8 if claim.bits == 8 else np.uint16)
    return Described(
        *claim.upright(claim.shown or coded),
        components,
        components in {2, 4},
        dtype,
        profile=claim.profile,
        coded=coded,
    )


def _decode_heic(content: bytes) -> NDArray[Any]:
    try:
        from pillow_heif import open_heif  # an extra, asked for by few
    except ImportError:
        raise ContentError(*NO_HEIC) from None
    picture = open_heif(content, convert_hdr_to_8bit=False)
    return np.array(picture)


def _has_brand(brands: set[bytes]) -> Callable[[bytes], bool]:
    def starts(head: bytes) -> bool:
        size = int.from_bytes(head[:4], "big")
        found = head[8 : min(size, len(head))]
        return head[4:8] == b"ftyp" and any(
            found[i : i + 4] in brands for i in range(0, len(found), 4)
        )

    return starts


def _format(kind: Kind, suffixes: tuple[str, ...], starts: Callable[[bytes], bool]) -> Format:
    return Format(kind.name, suffixes, starts, partial(_read, kind), partial(_probe, kind))


JPEG2000 = _format(
    Kind("JPEG2000", _jpeg2000, imagecodecs.jpeg2k_decode),
    (".jp2", ".j2k", ".jpf", ".jpx"),
    starts_with(JPEG2000_BOX, JPEG2000_START),
)
JPEGXL = _format(
    Kind("JPEGXL", _jpegxl, imagecodecs.jpegxl_decode),
    (".jxl",),
    starts_with(JPEGXL_BOX, JPEGXL_START),
)
AVIF = _format(
    Kind("AVIF", _avif, imagecodecs.avif_decode), (".avif",), _has_brand({b"avif", b"avis"})
)
HEIC = _format(
    Kind("HEIC", _heic, _decode_heic),
    (".heic", ".heif"),
    _has_brand({b"heic", b"heix", b"heim", b"heis", b"hevc"}),
)
