"""FLIR files as images: the thermal numbers, or the visible picture, of one frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from fnetcli.formats import raster
from fnetcli.formats.base import (
    COPY_AGAIN,
    ContentError,
    Format,
    Header,
    ReadOptions,
    file_length,
    open_and,
    require_room,
    starts_with,
)
from fnetcli.formats.flir import counts, picture
from fnetcli.formats.flir.alignment import MAX_SHAPE, read_alignment
from fnetcli.formats.flir.block import HEADER, SIGNATURES, Block, begins_block, open_block
from fnetcli.formats.flir.chunks import START, find_block, has_chunks
from fnetcli.formats.flir.clock import Clock, read_clock
from fnetcli.formats.flir.temperatures import read_constants, to_celsius
from fnetcli.formats.pillow import exif_orientation, our_rules
from fnetcli.formats.remembered import Remembered
from fnetcli.formats.upright import UPRIGHT, new_image
from fnetcli.imaging.image import Alignment, Image, Stored
from fnetcli.imaging.intensity import CELSIUS
from fnetcli.text import number_of

NAME, JPEG_NAME = "FFF", "FLIR JPEG"
MAX_FRAMES = 100_000
WINDOW = 1 << 20  # bytes of a sequence that are searched at once
NEAR = 1 << 12  # bytes that are searched first
_starts_of_files = Remembered[tuple[int, ...]]()

USE_RENDERED = "use its rendered picture with --ir-rendered"
NO_CONSTANTS = (
    "it holds no constants that make sense: its counts are used, which are not temperatures"
)
TURNED = (
    "its orientation tag says that it is turned: its thermal and its visible picture are used as "
    "stored"
)


# --- one frame ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """A block, and what its file says beside it."""

    block: Block
    pages: int = 1
    notices: tuple[str, ...] = ()
    has_rendering: bool = False

    def read(self, options: ReadOptions) -> Image:
        """Return the picture that is asked for. Raise ContentError."""
        image = self._visible(options) if options.layer == "visible" else self._thermal(options)
        return replace(image, notices=(*self.notices, *image.notices))

    def probe(self, options: ReadOptions, name: str) -> Header:
        """Tell what `read` would return."""
        if options.layer == "visible":
            head = self._picture_head(options)
            data = picture.probe(head, options)
            return replace(data, format=name, pages=self.pages)
        found = self._counts_head(options)
        has_celsius = read_constants(self.block) is not None
        dtype = np.dtype(np.float32 if has_celsius else np.uint16)
        return Header(name, found.height, found.width, 1, dtype, pages=self.pages)

    def _thermal(self, options: ReadOptions) -> Image:
        head = self._counts_head(options)
        require_room(12 * head.width * head.height)
        stored, words = counts.decode(head)
        constants = read_constants(self.block)
        details = [f"counts {stored.min()} to {stored.max()}"]
        notices = words
        planes: Stored = stored[..., None]
        if constants is None:
            notices = (*words, NO_CONSTANTS)
        else:
            planes = to_celsius(stored, constants)[..., None]
            details.append(constants.sentence())
        visible = picture.read_head_of_picture(self.block, options)
        alignment = None
        if visible is not None:
            sizes = (head.width, head.height), (visible.width, visible.height)
            alignment = read_alignment(self.block, *sizes)
            details.append(f"a visible picture of {visible.width}x{visible.height}")
        return new_image(
            planes,
            None,
            UPRIGHT,
            unit="counts" if constants is None else CELSIUS,
            celsius=None if constants is None else (1.0, 0.0),
            alignment=alignment,
            details=tuple(details),
            notices=notices,
        )

    def _visible(self, options: ReadOptions) -> Image:
        return picture.decode(self._picture_head(options), options)

    def _counts_head(self, options: ReadOptions) -> counts.CountsHead:
        todo = USE_RENDERED if self.has_rendering else COPY_AGAIN
        try:
            found = counts.read_head_of_counts(self.block, options)
        except ContentError as error:
            raise ContentError(error.what, todo) from None
        if found is None:
            raise ContentError("its thermal data hold no counts", todo)
        return found

    def _picture_head(self, options: ReadOptions) -> picture.PictureHead:
        found = picture.read_head_of_picture(self.block, options)
        if found is None:
            raise ContentError(
                "it holds no visible picture",
                "give it as --ir, and a picture of another camera as --vis",
            )
        return found


# --- inside a JPEG file ---------------------------------------------------------------------------


def _frame_of_jpeg(file: BinaryIO, options: ReadOptions) -> Frame | None:
    """Return the frame in a JPEG file, or None where its rendered picture is to be read."""
    if options.layer == "rendered":
        return None
    try:
        data = find_block(file)
        block = None if data is None else open_block(data)
    except ContentError as error:  # the visible picture is lost, too
        todo = USE_RENDERED if options.layer == "numbers" else COPY_AGAIN
        raise ContentError(error.what, todo) from None
    if block is None:
        if options.layer != "numbers":
            raise ContentError(
                "it holds no thermal data of a FLIR camera",
                "give the images of other cameras as --vis and --ir",
            )
        return None
    return Frame(block, notices=_turned(file), has_rendering=True)


def _turned(file: BinaryIO) -> tuple[str, ...]:
    file.seek(0)
    with our_rules:
        try:
            rendered = JpegImageFile(file)
        except Exception:  # noqa: BLE001 - the rendered picture may be damaged; it is not used
            return ()
        return () if exif_orientation(rendered) == UPRIGHT else (TURNED,)


def _read_jpeg(file: BinaryIO, options: ReadOptions) -> Image:
    frame = _frame_of_jpeg(file, options)
    if frame is not None:
        return frame.read(options)
    file.seek(0)
    image = raster.JPEG.read(file, options)
    return replace(image, alignment=_of_rendering(file, image, options))


def _of_rendering(file: BinaryIO, image: Image, options: ReadOptions) -> Alignment | None:
    """Return how a rendered picture lies in the visible one, if it shows what the counts do."""
    try:
        data = find_block(file)
        if data is None:
            return None
        block = open_block(data)
        visible = picture.read_head_of_picture(block, options)
    except ContentError:
        return None
    _, height, width = image.grid.shape
    if visible is None or not _may_have_shape(block, (width, height), options):
        return None
    return read_alignment(block, (width, height), (visible.width, visible.height))


def _may_have_shape(block: Block, size: tuple[int, int], options: ReadOptions) -> bool:
    """Whether counts have the shape of a picture (width, height), as far as they can be read."""
    try:
        head = counts.read_head_of_counts(block, options)
    except ContentError:
        return True
    if head is None:
        return True
    shape = (size[0] / size[1]) / (head.width / head.height)
    return max(shape, 1 / shape) <= MAX_SHAPE


def _probe_jpeg(file: BinaryIO, options: ReadOptions) -> Header:
    frame = _frame_of_jpeg(file, options)
    if frame is not None:
        return frame.probe(options, JPEG_NAME)
    file.seek(0)
    return raster.JPEG.probe(file, options)


JPEG = replace(raster.JPEG, read=_read_jpeg, probe=_probe_jpeg)


# --- FFF, and SEQ: a row of blocks ----------------------------------------------------------------


def _frame_of_file(file: BinaryIO, options: ReadOptions) -> Frame:
    if options.layer == "rendered":
        raise ContentError(
            "a FLIR file of thermal numbers, not a picture",
            "give it as --ir, or as --flir for both its images",
        )
    blocks = _starts(file)
    count, page = len(blocks), options.page
    if page is None and count > 1:
        raise ContentError(
            f"{count} frames, not one picture", f"choose one with --page N (1 to {count})"
        )
    if page is not None and page > count:
        raise ContentError(
            f"has {number_of(count, 'frame')}, but no frame {page}",
            f"choose --page 1 to {count}",
        )
    return Frame(open_block(file, blocks[(page or 1) - 1]), pages=count)


def _starts(file: BinaryIO) -> tuple[int, ...]:
    """Return where the blocks of a file begin; a sequence is searched once, not for every frame."""
    return _starts_of_files.of(file, lambda it: tuple(_blocks(it)))


def _blocks(file: BinaryIO) -> Iterator[int]:
    """Yield where blocks begin, damaged ones, too. Raise ContentError for none, or too many."""
    length = file_length(file)
    place: int | None = 0
    count = 0
    while place is not None:
        end = place + HEADER
        try:
            end = max(end, open_block(file, place).end)
        except ContentError:
            if not begins_block(file, place):  # bytes that look like a block
                if not count:
                    raise
                place = _next_signature(file, place + 1, length)
                continue
        count += 1
        if count > MAX_FRAMES:
            raise ContentError(f"more than {MAX_FRAMES:,} frames", "cut it into shorter sequences")
        yield place
        place = _next_signature(file, end, length)


def _next_signature(file: BinaryIO, place: int, length: int) -> int | None:
    """Return where the next block may begin; usually at once."""
    size = NEAR
    while place < length:
        file.seek(place)
        window = file.read(size)
        found = [at for at in (window.find(one) for one in SIGNATURES) if at >= 0]
        if found:
            return place + min(found)
        if len(window) < size:
            return None
        place += size - 3  # a signature may lie across two windows
        size = WINDOW
    return None


def _whole_block(file: BinaryIO, start: int) -> Block | None:
    try:
        return open_block(file, start)
    except ContentError:
        return None


def _read_file(file: BinaryIO, options: ReadOptions) -> Image:
    return _frame_of_file(file, options).read(options)


def _probe_file(file: BinaryIO, options: ReadOptions) -> Header:
    return _frame_of_file(file, options).probe(options, NAME)


FFF = Format(NAME, (".fff", ".seq", ".csq"), starts_with(*SIGNATURES), _read_file, _probe_file)


# --- what a file holds ----------------------------------------------------------------------------


def holds_counts(path: Path) -> bool:
    """Whether a file holds thermal data of a FLIR camera, damaged or not. Raise ReadError."""

    def look(file: BinaryIO) -> bool:
        head = file.read(4)
        try:
            return head.startswith(SIGNATURES) or (head.startswith(START) and has_chunks(file))
        except ContentError:
            return True  # the reader will tell what is damaged

    return open_and(look, path)


def count_frames(path: Path) -> int:
    """Return how many frames a FLIR file holds; 1 for all others. Raise ReadError."""

    def count(file: BinaryIO) -> int:
        return len(_starts(file)) if file.read(4).startswith(SIGNATURES) else 1

    return open_and(count, path)


def clock_of_frames(path: Path) -> Clock | None:
    """Return when the frames of a sequence were taken; None for other files. Raise ReadError."""

    def look(file: BinaryIO) -> Clock | None:
        if not file.read(4).startswith(SIGNATURES):
            return None
        return read_clock([_whole_block(file, start) for start in _starts(file)])

    return open_and(look, path)
