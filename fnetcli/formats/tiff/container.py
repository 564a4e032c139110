"""Pages, tags and pixels of a TIFF file, by tifffile.

tifffile skips damaged tags, fills missing pixels with zeros and trusts the sizes that a file
claims: everything that pixels depend on is checked here, before anything is decoded.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from tifffile import DATATYPE, TIFF, TiffFile, TiffFileError, TiffPage

from fnetcli.formats.base import COPY_AGAIN, ContentError, require_room
from fnetcli.formats.remembered import Remembered
from fnetcli.formats.tiff import pictures
from fnetcli.text import number_of

MAX_PAGES = 65_535  # that are examined
MAX_BANDS = 65_535  # the limit of the tag's type
MAX_TAG_BYTES = 1 << 25  # tifffile turns them into lists of numbers
MORE_TAG_BYTES = 1 << 15  # for each further page
SLACK_BYTES = 256  # that encoders add to a strip
LARGEST_SPARE_TILE = 1 << 24  # pixels of a tile that is larger than its picture

WIDTH_TAG = 256
STRIP_OFFSETS_TAG, STRIP_COUNTS_TAG, TILE_OFFSETS_TAG, TILE_COUNTS_TAG = 273, 279, 324, 325
IS_REDUCED, IS_MASK = 0b001, 0b100  # bits of the tag NewSubfileType
FRACTIONS = frozenset({DATATYPE.RATIONAL, DATATYPE.SRATIONAL})

NO_COMPRESSION = 1
CODECS = (
    pictures.CODECS
    | {  # values of the Compression tag: none, LZW, deflate, PackBits, LZMA, Zstandard
        *(NO_COMPRESSION, 5, 8, 32946, 32773, 34925, 34926, 50000)
    }
)


PagePlace = tuple[int, int]  # index in the file, offset


class _Meter:
    """A file that limits how many bytes are read: overlapping tags may claim terabytes."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.seek, self.tell = file, file.seek, file.tell
        self.left = MAX_TAG_BYTES

    def read(self, size: int = -1) -> bytes:
        content = self.file.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise ContentError("not a readable TIFF (its tags are too large)", COPY_AGAIN)
        return content

    def readinto(self, buffer: Any) -> int:
        content = self.read(memoryview(buffer).nbytes)
        memoryview(buffer).cast("B")[: len(content)] = content
        return len(content)


@dataclass(frozen=True)
class Tags:
    """The tags of one page; `codes` are all tags, also those that cannot be read."""

    file: BinaryIO
    page: TiffPage
    codes: frozenset[int]

    def __contains__(self, tag: int) -> bool:
        return tag in self.codes

    def numbers(self, tag: int) -> NDArray[Any]:
        """Return all values of a tag; none if it is missing.

        Raise ContentError if they are beyond the end of the file, or are not numbers.
        """
        if tag not in self:
            return np.zeros(0, np.uint8)
        self._require_readable(tag)
        value = self.page.tags[tag].value
        values = np.ravel(list(value) if isinstance(value, bytes) else value)
        if values.dtype.kind not in "uif" or self.page.tags[tag].dtype in FRACTIONS:
            raise ContentError(f"not a readable TIFF (tag {tag} holds no numbers)", COPY_AGAIN)
        return values

    def number(self, tag: int, default: int) -> int:
        """Return the first value of a tag as a whole number, or `default` if it is missing."""
        values = self.numbers(tag)
        return int(values[0]) if values.size else default

    def content(self, tag: int) -> bytes | None:
        """Return the bytes of a tag, or None if it is missing."""
        if tag not in self:
            return None
        self._require_readable(tag)
        entry = self.page.tags[tag]
        self.file.seek(entry.valueoffset)
        return self.file.read(entry.valuebytecount)

    def kind(self, tag: int) -> int:
        """Return the TIFF data type of a tag."""
        self._require_readable(tag)
        return int(self.page.tags[tag].dtype)

    def segments(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return offsets and byte counts of strips or tiles."""
        if TILE_OFFSETS_TAG in self:
            return self.numbers(TILE_OFFSETS_TAG), self.numbers(TILE_COUNTS_TAG)
        return self.numbers(STRIP_OFFSETS_TAG), self.numbers(STRIP_COUNTS_TAG)

    def _require_readable(self, tag: int) -> None:
        if tag not in self.page.tags:
            raise ContentError("not a complete TIFF (ends early)", COPY_AGAIN)


@dataclass(frozen=True)
class Pictures:
    """An open file, and the pages of it that are pictures, at least one."""

    file: BinaryIO
    tiff: TiffFile
    pages: Pages

    @property
    def count(self) -> int:
        """The number of pictures."""
        return len(self.pages.pictures)

    def tags(self, number: int) -> Tags:
        """Return the tags of a picture, counted from 0."""
        return self._tags(self.pages.pictures[number])

    def mask(self, number: int) -> Tags | None:
        """Return the tags of the mask of a picture, if it has one."""
        place = self.pages.masks.get(number)
        return None if place is None else self._tags(place)

    def _tags(self, place: PagePlace) -> Tags:
        index, offset = place
        self.tiff.filehandle.seek(offset)
        page = TiffPage(self.tiff, index=index)
        return Tags(self.file, page, _directory(page)[0])


@dataclass(frozen=True)
class Pages:
    """Where the pages of a file begin that are pictures, at least one."""

    pictures: tuple[PagePlace, ...]
    masks: dict[int, PagePlace]  # number of a picture -> page with the mask of its valid pixels
    is_broken: bool  # their list is cut off


_pages_of_files = Remembered[Pages]()


def find_pictures(file: BinaryIO) -> Pictures:
    """Find the pages that are pictures, not smaller copies (thumbnails, pyramids) or masks.

    Raise ContentError, or an error of tifffile, if there is no page at all.
    """
    meter: Any = _Meter(file)
    tiff = TiffFile(meter, is_lsm=False, is_ndpi=False, is_scanimage=False)  # no vendors' variants
    pages = _pages_of_files.of(file, lambda _: _find_pages(tiff, meter))
    meter.left = MAX_TAG_BYTES  # for the chosen page
    return Pictures(file, tiff, pages)


def _find_pages(tiff: TiffFile, meter: _Meter) -> Pages:
    pictures: list[PagePlace] = []
    masks: dict[int, PagePlace] = {}
    seen: set[int] = set()
    last: TiffPage | None = None
    try:
        for page in tiff.pages:
            if page.offset in seen or len(seen) == MAX_PAGES:
                break
            if seen and WIDTH_TAG not in page.aspage().tags:  # garbage after the last page
                break
            last = page.aspage()
            if not last.subfiletype & (IS_REDUCED | IS_MASK):
                pictures.append((len(seen), page.offset))
            elif pictures and not last.subfiletype & IS_REDUCED:
                masks.setdefault(len(pictures) - 1, (len(seen), page.offset))
            seen.add(page.offset)
            meter.left += MORE_TAG_BYTES
    except Exception:
        if last is None:
            raise
    if last is None:
        raise ContentError("not a complete TIFF (ends early)", COPY_AGAIN)
    is_broken = _directory(last)[1] != 0
    return Pages(tuple(pictures) or ((0, tiff.pages.first.offset),), masks, is_broken)


def _directory(page: TiffPage) -> tuple[frozenset[int], int]:
    """Return the codes of all tags of a page, and the offset of the next page (0: none)."""
    file, form = page.parent.filehandle, page.parent.tiff
    order: Literal["big", "little"] = "big" if form.byteorder == ">" else "little"
    file.seek(page.offset)
    body = file.read(int.from_bytes(file.read(form.tagnosize), order) * form.tagsize)
    codes = (int.from_bytes(body[i : i + 2], order) for i in range(0, len(body), form.tagsize))
    return frozenset(codes), int.from_bytes(file.read(form.offsetsize), order)


# --- pixels ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """How the numbers of a page are stored in its file.

    `dtype` is their type after reading; `bits` may be fewer than it has. `rows` and `columns` are
    the size of a strip or tile, `together` the number of interleaved bands.
    """

    height: int
    width: int
    samples: int
    together: int
    bits: int
    dtype: np.dtype[Any]
    rows: int
    columns: int
    is_bit_reversed: bool

    @property
    def is_packed(self) -> bool:
        """Whether numbers share bytes."""
        return self.bits != self.dtype.itemsize * 8

    @property
    def stored_bytes(self) -> int:
        """Bytes of one strip or tile, with every row starting at a new byte."""
        return self.rows * -(-self.columns * self.together * self.bits // 8)

    @property
    def unpacked_bytes(self) -> int:
        """Bytes of one strip or tile if every number has its own."""
        return self.rows * self.columns * self.together * self.dtype.itemsize


def require_sane(page: TiffPage, layout: Layout) -> None:
    """Raise ContentError if tifffile would interpret a page differently from us.

    Also if its tiles would need far more memory than the picture itself.
    """
    if page.imagedepth != 1:
        raise ContentError(
            f"a volume of {number_of(page.imagedepth, 'slice')}, not one picture",
            "export a single slice",
        )
    if layout.rows < 1 or layout.columns < 1:
        raise ContentError("not a readable TIFF (its tiles are empty)", COPY_AGAIN)
    tile, whole = (layout.columns, layout.rows), (layout.width, layout.height)
    if math.prod(tile) > max(LARGEST_SPARE_TILE, 4 * math.prod(whole)):
        raise ContentError(
            "not a readable TIFF (tiles of {}x{} for a picture of {}x{})".format(*tile, *whole),
            COPY_AGAIN,
        )
    is_tiled = page.is_tiled
    seen = (page.tilewidth, page.tilelength) if is_tiled else (page.imagewidth, page.rowsperstrip)
    planes = layout.samples // layout.together
    shape = (planes, 1, layout.height, layout.width, layout.together)
    is_same = (page.shaped, page.tiledepth, seen) == (shape, 1, tile)
    if not is_same or page.dtype not in {layout.dtype, np.dtype(bool)}:
        raise ContentError("not a readable TIFF (its tags contradict each other)", COPY_AGAIN)


def read_pixels(tags: Tags, layout: Layout, fill: float) -> NDArray[Any]:
    """Return (height, width, samples) as stored; `fill` replaces omitted tiles.

    Raise ContentError if pixels are missing.
    """
    page, codec = tags.page, tags.page.compression
    places = list(_places(tags, layout))

    def plain(offset: int, count: int) -> bytes:
        tags.file.seek(offset)
        content: bytes | bytearray = tags.file.read(count)
        if layout.is_bit_reversed:
            content = imagecodecs.bitorder_decode(content)
        if codec in pictures.CODECS:
            return _of_picture(codec, bytes(content), tags, layout)
        if codec != NO_COMPRESSION:
            # tifffile considers the last strip damaged if it is as long as the others.
            size = layout.unpacked_bytes + SLACK_BYTES
            content = TIFF.DECOMPRESSORS[codec](content, out=size)
        return bytes(content)

    if layout.is_packed and layout.bits > 1:  # some writers give each number its own bytes
        first = next((place for place in places if place is not None), None)
        if first is not None and len(plain(*first)) >= layout.unpacked_bytes:
            page.bitspersample = layout.dtype.itemsize * 8
    page.compression = page.fillorder = NO_COMPRESSION  # of what `plain` returns
    if codec in pictures.CODECS:
        page.predictor = NO_COMPRESSION  # which they do not have
    require_room(layout.height * layout.width * layout.samples * layout.dtype.itemsize)
    pixels = np.empty((layout.height, layout.width, layout.samples), layout.dtype)
    for number, place in enumerate(places):
        try:
            decoded = page.decode(None if place is None else plain(*place), number)
        except TiffFileError as error:
            message = "not a complete TIFF (its pixel data end early)"
            raise ContentError(message, COPY_AGAIN) from error
        segment, (plane, _, top, left, _), (_, rows, columns, bands) = decoded
        target = pixels[top : top + rows, left : left + columns, plane : plane + bands]
        target[...] = fill if segment is None else segment[0, : target.shape[0], : target.shape[1]]
    return pixels


def _of_picture(codec: int, content: bytes, tags: Tags, layout: Layout) -> bytes:
    """Return the numbers of a strip or tile that is a picture of its own, as plain ones lie."""
    further = tags.numbers(pictures.LERC_TAG)
    shape = (layout.rows, layout.columns, layout.together)
    order = tags.page.parent.tiff.byteorder
    lerc = pictures.Lerc(int(further[1]) if len(further) > 1 else 0, order == ">")
    decoded = pictures.decode(codec, content, shape, layout.dtype, lerc)
    return decoded.astype(layout.dtype.newbyteorder(order), copy=False).tobytes()


def _places(tags: Tags, layout: Layout) -> Iterator[tuple[int, int] | None]:
    """Yield (offset, bytes) of every strip or tile; None if it is omitted (sparse)."""
    offsets, counts = tags.segments()
    down, across = -(-layout.height // layout.rows), -(-layout.width // layout.columns)
    needed = down * across * (layout.samples // layout.together)
    is_plain = tags.page.compression == NO_COMPRESSION
    if is_plain and needed == 1 and not counts.size:
        counts = np.zeros(1, int)
    if len(offsets) < needed or len(counts) < needed:
        raise ContentError("not a complete TIFF (strips or tiles are missing)", COPY_AGAIN)
    length = tags.file.seek(0, io.SEEK_END)
    most = layout.unpacked_bytes if is_plain else 2 * layout.unpacked_bytes + (1 << 16)
    for offset, count in zip(offsets[:needed].tolist(), counts[:needed].tolist(), strict=True):
        if offset == 0 and count == 0:  # GDAL omits tiles without data
            yield None
            continue
        size = min(count, most)
        if is_plain and needed == 1 and size < most:  # a wrong number that all readers tolerate
            size = layout.stored_bytes
        if size < 1:
            raise ContentError("not a complete TIFF (strips or tiles are missing)", COPY_AGAIN)
        if offset + size > length:
            raise ContentError("not a complete TIFF (ends early)", COPY_AGAIN)
        yield offset, size
