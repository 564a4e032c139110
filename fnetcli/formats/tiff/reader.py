"""TIFF and BigTIFF: the meaning of a page's tags, and its pixels as an Image.

Type, bits, bands and layout of the numbers are decided from the tags alone, before anything is
decoded. Pillow decodes only the rest: old 8-bit variants such as JPEG, fax and CMYK.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL.TiffImagePlugin import TiffImageFile
from tifffile import DATATYPE

from fnetcli.formats.bands import (
    NAMES,
    band_indices,
    described_bands,
    is_infrared,
    list_bands,
    pick,
    with_alpha,
)
from fnetcli.formats.base import (
    COPY_AGAIN,
    ContentError,
    Header,
    ReadOptions,
    require_room,
    require_size,
)
from fnetcli.formats.codecs import silence
from fnetcli.formats.pillow import color_mode, our_rules, to_planes
from fnetcli.formats.profiles import check_profile
from fnetcli.formats.tiff import ICC_TAG, METADATA_TAG, NODATA_TAG, XMP_TAG
from fnetcli.formats.tiff.container import (
    CODECS,
    MAX_BANDS,
    WIDTH_TAG,
    Layout,
    Tags,
    find_pictures,
    read_pixels,
    require_sane,
)
from fnetcli.formats.upright import (
    ORIENTATION_TAG,
    UPRIGHT,
    known_orientation,
    new_image,
    turn,
    upright_size,
    without_georeference,
)
from fnetcli.imaging.image import PLACE_TAGS, Georeference, Image, Mask, Pixels
from fnetcli.quiet import native_silence

HEIGHT_TAG, BITS_TAG, COMPRESSION_TAG, PHOTOMETRIC_TAG, FILL_ORDER_TAG = 257, 258, 259, 262, 266
SAMPLES_TAG, STRIP_ROWS_TAG, PLANAR_TAG, PREDICTOR_TAG, COLORMAP_TAG = 277, 278, 284, 317, 320
TILE_WIDTH_TAG, TILE_HEIGHT_TAG, EXTRA_TAG, FORMAT_TAG = 322, 323, 338, 339
LONGEST_TEXT, LONGEST_XML = 1 << 16, 1 << 20
DESCRIPTION_TAG = 42112  # GDAL_METADATA
TEXT_TYPES = frozenset({DATATYPE.BYTE, DATATYPE.ASCII, DATATYPE.UNDEFINED})
NO_PREDICTOR, HORIZONTAL, FLOATING = 1, 2, 3

KEY_TAGS = (34736, 34737)  # numbers and texts of the geokeys

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
PHOTOMETRICS = {
    4: "a transparency mask",
    5: "CMYK",
    YCBCR: "YCbCr",
    8: "CIELAB",
    9: "ICCLAB",
    10: "ITULAB",
    32803: "raw sensor data (CFA)",
    34892: "linear raw sensor data",
}
ASSOCIATED, UNASSOCIATED = 1, 2  # values of the ExtraSamples tag; 0 is "unspecified"
MAX_RGB_BANDS = 6  # RGB and what Photoshop may add to it

# What Pillow decodes of the others: fax, JPEG, and all of ours for further colours.
PILLOW_CODECS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000})

WHOLE_BITS = frozenset({8, 16, 32})
WIDENED_BITS = frozenset({1, 2, 4})  # become 0..255
UNSIGNED, SIGNED, FLOAT = "u", "i", "f"
KINDS = {1: UNSIGNED, 2: SIGNED, 3: FLOAT, 4: UNSIGNED}  # 4 is "undefined": unsigned in practice

# Items of GDAL's metadata, which are XML: <Item name="SCALE" sample="0" role="scale">0.0001</Item>.
SCALE_ITEM = re.compile(r'<Item [^<>]*role="scale"[^<>]*>\s*([^<>\s]+)\s*</Item>')
OFFSET_ITEM = re.compile(r'<Item [^<>]*role="offset"[^<>]*>\s*([^<>\s]+)\s*</Item>')
QUANTUM_ITEM = re.compile(
    r'<Item name="(?:\w+_)?(?:QUANTIFICATION_VALUE|REFLECTANCE_SCALE)"[^<>]*>'
    r"\s*([^<>\s]+)\s*</Item>",
    re.IGNORECASE,
)
# Steps of reflectance from one stored number to the next: of 8 bits, and of 16.
MAX_REFLECTANCE_STEP, MIN_REFLECTANCE_STEP = 1 / 255, 1 / 65535
# An attribute or an element, whatever its namespace.
KELVIN_PER_COUNT = re.compile(
    r"""\bTlinearGain(?:\s*=\s*["']\s*([0-9.eE+-]+)|\s*>\s*([0-9.eE+-]+))""", re.IGNORECASE
)
LONGEST_XMP = 1 << 16  # bytes
MIN_GAIN, MAX_GAIN, KELVIN = 0.001, 1.0, 273.15

MIN_IS_WHITE_FLOAT = "it is a negative (min-is-white) in floating point: numbers are used as stored"


@dataclass(frozen=True)
class Bands:
    """The meaning of the bands: 1 or 3 colours first, and which one is alpha, if any.

    Associated alpha has been multiplied into the colours.
    """

    colors: int
    alpha: int | None = None
    is_associated: bool = False
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """The content of a page's tags.

    `dtype` and `bits` are those of the Image. `by_pillow`: only Pillow can decode it.
    """

    tags: Tags
    pages: int
    layout: Layout
    picked: list[int]  # bands that were asked for, from 0 on
    photometric: int
    orientation: int
    bands: Bands
    by_pillow: bool
    notices: tuple[str, ...]
    mask: Tags | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the pixels after reading."""
        is_byte = self.by_pillow or self.photometric == PALETTE
        return np.dtype(np.uint8) if is_byte else self.layout.dtype

    @property
    def bits(self) -> int | None:
        """The bits in use, if they are fewer than the type has."""
        is_exact = not (self.by_pillow or self.is_widened or self.photometric == PALETTE)
        return self.layout.bits if is_exact and self.layout.is_packed else None

    @property
    def is_widened(self) -> bool:
        """Whether the few levels of the file become 0..255."""
        return self.layout.bits in WIDENED_BITS and self.photometric != PALETTE

    @property
    def is_georeferenced(self) -> bool:
        """Whether the picture, after reading, has a georeference."""
        return self.orientation == UPRIGHT and any(tag in self.tags for tag in PLACE_TAGS)


def probe(file: BinaryIO, options: ReadOptions) -> Header:
    """Return the properties of the image."""
    with silence:
        page = _open_page(file, options)
    height, width = upright_size(page.layout.height, page.layout.width, page.orientation)
    return Header(
        format="TIFF",
        height=height,
        width=width,
        channels=len(page.picked) or page.bands.colors,
        dtype=page.dtype,
        bits=page.bits,
        is_georeferenced=page.is_georeferenced,
        pages=page.pages,
    )


def read(file: BinaryIO, options: ReadOptions) -> Image:
    """Read one page."""
    with silence:
        return _read(file, options)


def _read(file: BinaryIO, options: ReadOptions) -> Image:
    page = _open_page(file, options)
    nodata, complaints = _nodata(page.tags)
    georeference, more = _georeference(page.tags)
    profile, words = _profile(page)
    valid, doubts = _read_mask(page)
    details: dict[str, Any] = {
        "valid": valid,
        "reflectance": _reflectance(page),
        "celsius": _celsius(page),
        "georeference": georeference,
        "color_profile": profile,
        "notices": (*page.notices, *complaints, *more, *words, *doubts),
    }
    if page.by_pillow:
        return _read_by_pillow(file, page, nodata, details, options)
    stored = read_pixels(page.tags, page.layout, _fill(page, nodata))
    if page.photometric == PALETTE:
        pixels, alpha = _apply_palette(page, stored, nodata)
        if page.picked:
            pixels, alpha = with_alpha(pixels, alpha)[..., page.picked], None
        return new_image(pixels, alpha, page.orientation, **details)
    if page.picked:
        stored = stored[..., page.picked]
    pixels, alpha = _apply_tags(page, stored)
    seen = None if nodata is None else _as_stored(page, nodata)
    return new_image(pixels, alpha, page.orientation, bits=page.bits, nodata=seen, **details)


# --- which page, and what its tags say ------------------------------------------------------------


def _open_page(file: BinaryIO, options: ReadOptions) -> Page:
    """Choose the page and check all its relevant tags, without decoding anything."""
    pictures = find_pictures(file)
    count = pictures.count
    number = _choose(count, options)
    tags = pictures.tags(number)
    width, height = tags.number(WIDTH_TAG, 0), tags.number(HEIGHT_TAG, 0)
    require_size(width, height, options)
    page = _describe(tags, count, height, width, options.bands)
    page = replace(page, mask=pictures.mask(number))
    if pictures.pages.is_broken:
        notice = f"its list of pages is damaged after page {count}: later pages are ignored"
        page = replace(page, notices=(notice, *page.notices))
    return page


def _choose(count: int, options: ReadOptions) -> int:
    """Return which of `count` pictures to read, counted from 0."""
    if count == 1:
        return 0
    if options.page is None:
        raise ContentError(
            f"{count} pages, not one picture", f"choose one with --page N (1 to {count})"
        )
    if not 1 <= options.page <= count:
        raise ContentError(
            f"has {count} pages, but no page {options.page}", f"choose --page 1 to {count}"
        )
    return options.page - 1


def _describe(tags: Tags, pages: int, height: int, width: int, wanted: tuple[str, ...]) -> Page:
    samples = tags.number(SAMPLES_TAG, 1)
    bits, kind = _number_type(tags, samples)
    photometric = tags.number(PHOTOMETRIC_TAG, RGB if samples >= 3 else BLACK_IS_ZERO)
    compression = tags.number(COMPRESSION_TAG, 1)
    is_native = compression in CODECS and photometric <= PALETTE
    is_pillows = compression in PILLOW_CODECS and bits <= 8 and kind == UNSIGNED
    if not (is_native or is_pillows):
        _refuse_codec(photometric, compression, bits)
    layout = _layout(tags, height, width, samples, bits, kind)
    picked = _picked(tags, photometric, samples, wanted) if wanted else []
    if is_native:
        is_plain = picked and photometric != PALETTE
        bands = Bands(len(picked)) if is_plain else _bands(tags, photometric, samples)
        require_sane(tags.page, layout)
    else:
        bands = Bands(1 if photometric <= BLACK_IS_ZERO else 3)
    is_negative = photometric == WHITE_IS_ZERO and kind == FLOAT
    return Page(
        tags=tags,
        pages=pages,
        layout=layout,
        picked=picked,
        photometric=photometric,
        orientation=known_orientation(tags.number(ORIENTATION_TAG, UPRIGHT)),
        bands=bands,
        by_pillow=not is_native,
        notices=(*bands.notices, MIN_IS_WHITE_FLOAT) if is_negative else bands.notices,
    )


def _number_type(tags: Tags, samples: int) -> tuple[int, str]:
    """Return bits and kind of the numbers, which must be the same in all bands."""
    depths = {int(bits) for bits in tags.numbers(BITS_TAG)[: max(samples, 1)]} or {1}
    formats = {int(one) for one in tags.numbers(FORMAT_TAG)[: max(samples, 1)]} or {1}
    if len(depths) > 1 or len(formats) > 1:
        raise ContentError(
            "its bands hold different types of numbers", "save all bands with the same type"
        )
    (bits,), (number,) = depths, formats
    kind = KINDS.get(number)
    if kind is None:
        raise ContentError("complex numbers are not supported", "save the magnitude as float")
    is_known = {
        UNSIGNED: 1 <= bits <= 32,
        SIGNED: bits in WHOLE_BITS,
        FLOAT: bits in {16, 32, 64},
    }[kind]
    if not is_known:
        what = {UNSIGNED: "unsigned", SIGNED: "signed", FLOAT: "floating point"}[kind]
        raise ContentError(
            f"{bits}-bit {what} pixels are not supported", "save it with 8, 16 or 32 bits"
        )
    return bits, kind


def _refuse_codec(photometric: int, compression: int, bits: int) -> None:
    if photometric > PALETTE and compression in PILLOW_CODECS:
        name = PHOTOMETRICS.get(photometric, f"of unknown kind {photometric}")
        raise ContentError(
            f"its colours are {name} with {bits} bits, which is not supported", "convert it to RGB"
        )
    raise ContentError(
        f"compression {compression} with {bits} bits per channel is not supported",
        "save it with deflate, LZW or no compression",
    )


def _layout(tags: Tags, height: int, width: int, samples: int, bits: int, kind: str) -> Layout:
    if not 1 <= samples <= MAX_BANDS:
        raise ContentError(f"has {samples} bands", COPY_AGAIN)
    size = next(size for size in (1, 2, 4, 8) if bits <= size * 8)
    predictor = tags.number(PREDICTOR_TAG, NO_PREDICTOR)
    if predictor not in {NO_PREDICTOR, HORIZONTAL, FLOATING} or (
        predictor == FLOATING and kind != FLOAT
    ):
        raise ContentError(f"not a readable TIFF (predictor {predictor})", COPY_AGAIN)
    if predictor != NO_PREDICTOR and bits != size * 8:
        raise ContentError(
            f"{bits} bits per channel with a predictor are not supported",
            "save it as 16 bits per channel",
        )
    is_tiled = TILE_WIDTH_TAG in tags
    strip_rows = min(tags.number(STRIP_ROWS_TAG, height), height)
    return Layout(
        height=height,
        width=width,
        samples=samples,
        together=1 if tags.number(PLANAR_TAG, 1) == 2 else samples,
        bits=bits,
        dtype=np.dtype(f"{kind}{size}"),
        rows=tags.number(TILE_HEIGHT_TAG, 0) if is_tiled else strip_rows,
        columns=tags.number(TILE_WIDTH_TAG, 0) if is_tiled else width,
        is_bit_reversed=tags.number(FILL_ORDER_TAG, 1) == 2,
    )


def _picked(tags: Tags, photometric: int, samples: int, wanted: tuple[str, ...]) -> list[int]:
    """Return which bands are asked for, by number or as the file describes them."""
    if photometric == PALETTE:
        return band_indices(wanted, NAMES[min(samples + 2, 4)])
    return band_indices(wanted, _names(tags, photometric, samples))


def _names(tags: Tags, photometric: int, samples: int) -> list[str]:
    """Return what the bands are called: by GDAL, else by their colours."""
    try:
        content = (tags.content(DESCRIPTION_TAG) or b"")[:LONGEST_XML]
    except ContentError:
        content = b""
    names = described_bands(content.decode("utf-8", "replace"), samples)
    is_color = photometric in {RGB, YCBCR} and samples >= 3
    colors = NAMES[3] if is_color else NAMES[1] if samples == 1 else ()
    for i, color in enumerate(colors):
        if not names[i] and color not in names:
            names[i] = color
    return names


def _bands(tags: Tags, photometric: int, samples: int) -> Bands:
    """Distinguish colours from alpha and others; GDAL writes 16-bit RGB as grey with two bands."""
    extra = [int(one) for one in tags.numbers(EXTRA_TAG)][:samples]
    if photometric == RGB and samples == 4 and not extra:
        extra = [UNASSOCIATED]  # written before the tag was common
    kinds = [0] * (samples - len(extra)) + extra  # the tag describes the last bands
    alpha = next((i for i, one in enumerate(kinds) if one in {ASSOCIATED, UNASSOCIATED}), None)
    names = _names(tags, photometric, samples)
    if alpha is not None and is_infrared(names[alpha]):
        kinds[alpha], alpha = 0, None
    is_associated = alpha is not None and kinds[alpha] == ASSOCIATED
    if photometric == RGB and 3 <= samples <= MAX_RGB_BANDS and (alpha is None or alpha >= 3):
        shown = names if any(names[3:]) else [""] * samples
        notice = (
            f"it has {list_bands(shown)}: the first three are used as red, green and blue; "
            "--band MODALITY=1,2,3 names others"
        )
        has_more = samples - 3 > (alpha is not None)
        return Bands(3, alpha, is_associated, (notice,) if has_more else ())
    colors = samples - (alpha == samples - 1)
    if photometric == BLACK_IS_ZERO and colors == 3 and alpha in {None, 3}:
        return Bands(3, alpha, is_associated, ("its three bands are used as red, green and blue",))
    if photometric != RGB and colors == 1 and alpha in {None, 1}:
        return Bands(3 if photometric == PALETTE else 1, alpha, is_associated)
    raise ContentError(
        f"has {list_bands(names)}, neither grey nor RGB",
        "choose one or three of them with --band MODALITY=1,2,3",
    )


# --- metadata -------------------------------------------------------------------------------------


def _nodata(tags: Tags) -> tuple[float | None, tuple[str, ...]]:
    """Return the number in the text of the tag GDAL_NODATA."""
    if NODATA_TAG not in tags:
        return None, ()
    try:
        content = tags.content(NODATA_TAG) or b""
        return float(content[:LONGEST_TEXT].split(b"\0")[0].decode("ascii")), ()
    except (ContentError, ValueError):
        return None, ("its nodata value cannot be read: all pixels are taken as valid",)


def _reflectance(page: Page) -> tuple[float, float] | None:
    """Return the stored numbers of reflectance 0 and 1, where GDAL's metadata give a scale.

    They are items of role "scale" and "offset" (reflectance = stored x scale + offset), the same
    for all bands, or a number by which reflectances were multiplied.
    """
    if page.layout.dtype.kind != UNSIGNED or page.is_widened or METADATA_TAG not in page.tags:
        return None
    try:
        text = (page.tags.content(METADATA_TAG) or b"")[:LONGEST_TEXT].split(b"\0")[0]
        items = text.decode("utf-8", "replace")
        scales = {float(found) for found in SCALE_ITEM.findall(items)}
        offsets = {float(found) for found in OFFSET_ITEM.findall(items)} or {0.0}
        scales = scales or {1 / float(found) for found in QUANTUM_ITEM.findall(items)}
    except (ContentError, ValueError, ZeroDivisionError):
        return None
    if len(scales) != 1 or len(offsets) != 1:
        return None
    (scale,), (offset,) = scales, offsets
    if not (MIN_REFLECTANCE_STEP <= scale <= MAX_REFLECTANCE_STEP and abs(offset) <= 1 / 2):
        return None
    return -offset / scale, (1 - offset) / scale


def _celsius(page: Page) -> tuple[float, float] | None:
    """Return how counts become degrees Celsius, where XMP data say how many kelvin one is.

    FLIR's cameras call it TlinearGain: 0.01 (centikelvin) or 0.04, 0.4 in the wide range.
    """
    if page.layout.dtype != np.uint16 or page.bands.colors != 1 or XMP_TAG not in page.tags:
        return None
    try:
        text = (page.tags.content(XMP_TAG) or b"")[:LONGEST_XMP].decode("utf-8", "replace")
        gains = {float(one or other) for one, other in KELVIN_PER_COUNT.findall(text)}
    except (ContentError, ValueError):
        return None
    if len(gains) != 1 or not MIN_GAIN <= max(gains) <= MAX_GAIN:
        return None
    return max(gains), -KELVIN


def _georeference(tags: Tags) -> tuple[Georeference | None, tuple[str, ...]]:
    if not any(tag in tags for tag in PLACE_TAGS):
        return None, ()
    kept = []
    try:
        for tag in (*PLACE_TAGS, *KEY_TAGS):
            if tag in tags:
                kind = tags.kind(tag)
                is_text = kind in TEXT_TYPES
                values = tags.content(tag) if is_text else tuple(tags.numbers(tag).tolist())
                kept.append((tag, kind, values))
    except ContentError:
        return None, ("its georeference cannot be read, and is dropped",)
    return Georeference(tuple(kept)), ()


def _profile(page: Page) -> tuple[bytes | None, tuple[str, ...]]:
    try:
        content = page.tags.content(ICC_TAG)
    except ContentError:
        content = b"broken"
    return check_profile(content, page.bands.colors == 3)


def _read_mask(page: Page) -> tuple[Mask | None, tuple[str, ...]]:
    """Return the mask (H, W) of valid pixels, from a mask page (GDAL, TIFF 6.0)."""
    if page.mask is None:
        return None, ()
    tags, height, width = page.mask, page.layout.height, page.layout.width
    try:
        bits, kind = _number_type(tags, 1)
        layout = _layout(tags, height, width, 1, bits, kind)
        require_sane(tags.page, layout)
        if tags.number(COMPRESSION_TAG, 1) in CODECS and bits in {1, 8}:
            return read_pixels(tags, layout, 0)[..., 0] != 0, ()
    except ContentError:
        pass
    return None, ("its mask cannot be read: all its pixels are taken as valid",)


# --- from stored numbers to pixels ----------------------------------------------------------------


def _white(page: Page) -> int:
    """Return the largest number of an unsigned band, after widening."""
    return 255 if page.is_widened else int(2**page.layout.bits - 1)


def _fill(page: Page, nodata: float | None) -> float:
    """Return the value for omitted tiles: nodata if the type can hold it, else zero."""
    if nodata is None:
        return 0
    if page.layout.dtype.kind == FLOAT:
        with np.errstate(over="ignore"):
            return float(page.layout.dtype.type(nodata))
    limits = np.iinfo(page.layout.dtype)
    is_whole = math.isfinite(nodata) and nodata.is_integer()
    return int(nodata) if is_whole and limits.min <= nodata <= limits.max else 0


def _apply_tags(page: Page, stored: NDArray[Any]) -> tuple[NDArray[Any], Pixels | None]:
    """Return colours (H, W, 1 or 3) and alpha (H, W) of (H, W, bands)."""
    if page.is_widened:
        stored = stored * np.uint8(255 // (2**page.layout.bits - 1))
    colors = stored[..., : page.bands.colors]
    if page.photometric == WHITE_IS_ZERO and page.layout.dtype.kind == UNSIGNED:
        colors = stored.dtype.type(_white(page)) - colors
    elif page.photometric == WHITE_IS_ZERO and page.layout.dtype.kind == SIGNED:
        colors = ~colors
    if page.bands.alpha is None:
        return colors, None
    alpha = to_unit_alpha(stored[..., page.bands.alpha], _white(page))
    return (_divide(colors, alpha, _white(page)) if page.bands.is_associated else colors), alpha


def _as_stored(page: Page, nodata: float) -> float:
    """Return the nodata number, changed like all numbers by `_apply_tags`."""
    if page.layout.dtype.kind == FLOAT:
        with np.errstate(over="ignore"):
            rounded = float(page.layout.dtype.type(nodata))
        return nodata if math.isinf(rounded) else rounded
    value = nodata * 255 / (2**page.layout.bits - 1) if page.is_widened else nodata
    if page.photometric == WHITE_IS_ZERO:
        return -1 - value if page.layout.dtype.kind == SIGNED else _white(page) - value
    return value


def to_unit_alpha(band: NDArray[Any], white: int) -> Pixels:
    """Return alpha in [0, 1]; NaN is transparent."""
    if band.dtype.kind == FLOAT:
        unit = np.nan_to_num(band.astype(np.float32), nan=0)
    elif band.dtype.kind == SIGNED:
        unit = band.astype(np.float32) / np.float32(np.iinfo(band.dtype).max)
    else:
        unit = band.astype(np.float32) / np.float32(white)
    return np.clip(unit, 0, 1)


def _divide(colors: NDArray[Any], alpha: Pixels, white: int) -> NDArray[Any]:
    """Undo the multiplication of colours by alpha; do not change them where alpha is 0."""
    weight = np.where(alpha > 0, alpha, 1).astype(np.float64)[..., None]
    divided = colors / weight
    if colors.dtype.kind == FLOAT:
        return divided.astype(colors.dtype)
    top = white if colors.dtype.kind == UNSIGNED else np.iinfo(colors.dtype).max
    return np.minimum(np.rint(divided), top).astype(colors.dtype)


def _apply_palette(
    page: Page, stored: NDArray[Any], nodata: float | None
) -> tuple[NDArray[Any], Pixels | None]:
    """Return RGB (H, W, 3) uint8, and alpha (H, W): the file's own, or from the nodata index."""
    table = page.tags.numbers(COLORMAP_TAG)
    if page.layout.dtype.kind != UNSIGNED or page.layout.bits > 16 or table.size % 3:
        raise ContentError("not a readable TIFF (its palette does not fit)", COPY_AGAIN)
    colors = table.reshape(3, -1).T
    if colors.size and colors.max() > 255:  # some writers use only 8 bits, against the standard
        colors = colors >> 8
    index = stored[..., 0]
    if index.max() >= len(colors):
        raise ContentError("not a readable TIFF (its palette is too short)", COPY_AGAIN)
    pixels = colors.astype(np.uint8)[index]
    if page.bands.alpha is not None:
        return pixels, to_unit_alpha(stored[..., page.bands.alpha], _white(page))
    if nodata is None:
        return pixels, None
    return pixels, (index != nodata).astype(np.float32)


# --- Pillow, for what is left ---------------------------------------------------------------------


def _read_by_pillow(
    file: BinaryIO,
    page: Page,
    nodata: float | None,
    details: dict[str, Any],
    options: ReadOptions,
) -> Image:
    layout = page.layout
    _require_complete(page)
    require_room(layout.height * layout.width * (2 if page.bands.colors == 1 else 7))
    file.seek(0)
    with our_rules, native_silence:  # libtiff prints
        picture = TiffImageFile(file)
        picture.seek(page.tags.page.index)
        if picture.size not in {(layout.width, layout.height), (layout.height, layout.width)}:
            raise ContentError("not a readable TIFF (its size is ambiguous)", COPY_AGAIN)
        picture.load()  # turns it upright, too
        if color_mode(picture) != ("L" if page.bands.colors == 1 else "RGB"):
            raise ContentError("not a readable TIFF (its colours are ambiguous)", COPY_AGAIN)
        pixels, alpha = to_planes(picture)
    if page.picked:
        pixels, alpha = pick(with_alpha(pixels, alpha), options.bands), None
    if details["valid"] is not None:
        details |= {"valid": turn(details["valid"], page.orientation)}
    has_numbers = layout.bits == 8 and page.photometric in {BLACK_IS_ZERO, RGB, YCBCR}
    image = new_image(pixels, alpha, UPRIGHT, nodata=nodata if has_numbers else None, **details)
    return image if page.orientation == UPRIGHT else without_georeference(image)


def _require_complete(page: Page) -> None:
    """Raise ContentError if strips or tiles are beyond the end of the file."""
    offsets, counts = page.tags.segments()
    if len(offsets) == len(counts) and len(offsets):
        ends = offsets.astype(np.float64) + counts.astype(np.float64)
        if ends.max() > page.tags.file.seek(0, io.SEEK_END):
            raise ContentError("not a complete TIFF (ends early)", COPY_AGAIN)
