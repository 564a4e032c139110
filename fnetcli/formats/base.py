"""The interface of file formats; errors of decoders become ours here."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from fnetcli.errors import ReadError
from fnetcli.files.guarded import RefusedError, open_ordinary, system_reason
from fnetcli.imaging.image import Image
from fnetcli.memory import free_memory
from fnetcli.modalities import BY_NAME
from fnetcli.text import number_of

HEAD_BYTES = 4096  # enough for every signature, and for words above a table of numbers
LONGEST_DETAIL = 80  # characters; longer messages of decoders are not for users
ENDS_EARLY = ("truncated", "not enough image data", "stream too small")  # in decoders' words
LARGEST_FILE = 64 << 30  # bytes of any image; all of them are read for its hash
SPARE_PIXELS = 1 << 22  # pixels that need no further check: a single colour takes hardly any bytes
MAX_BESIDE = 64 << 20  # bytes of metadata
SMALL = 64 << 20  # bytes that are allocated without checking the free memory
DEFLATE_RATIO = 1032  # bytes that a byte of a deflated stream expands to at most (RFC 1951)
COPY_AGAIN = "copy or export the file again"
# Beyond these limits a unit is wrong or a number damaged.
SMALLEST_VOXEL, LARGEST_VOXEL, FARTHEST = 1e-3, 1e4, 1e6  # mm

# Of a thermal camera's file: the picture that every viewer shows; the thermal numbers where there
# are some, else that picture; the thermal numbers; the visible picture beside them.
Layer = Literal["rendered", "numbers", "thermal", "visible"]

Read = TypeVar("Read")


@dataclass(frozen=True)
class ReadOptions:
    """What to read from a file, and how much at most.

    `page` is the page of a multi-page TIFF, or the frame of a sequence, counted from 1; other files
    ignore it. `pixel_limit` is width x height; larger images are treated as decompression bombs.
    `bands` are one or three of the file's bands, by number, counted from 1, or by description.
    `layer` selects one of several images in a thermal camera's file, `raw_size` (width, height) is
    the size of files without a header.
    """

    page: int | None = None
    pixel_limit: int = 500_000_000
    bands: tuple[str, ...] = ()
    layer: Layer = "rendered"
    raw_size: tuple[int, int] | None = None


def usual_layer(modality: str) -> Layer:
    """Return which layer of a thermal camera's file is an image of this modality."""
    return "numbers" if BY_NAME[modality].is_thermal else "rendered"


@dataclass(frozen=True)
class Header:
    """The properties of a picture that are known before anything is decoded.

    `height` and `width` are those of the upright picture, `channels` 1 (grey) or 3 (RGB) without
    alpha, `dtype` and `bits` those of the Image after reading. `pages` counts pictures.
    """

    format: str
    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    bits: int | None = None
    is_georeferenced: bool = False
    pages: int = 1


class ContentError(RefusedError):
    """A reader's error: what is wrong with the content, and what to do about it.

    Readers see a stream, not a path; `read_with` adds the path.
    """


@dataclass(frozen=True)
class Format:
    """A file format.

    `starts` decides from the first HEAD_BYTES whether a file has this format; suffixes are only for
    scanning folders. `read` turns the open file into an Image, `probe` returns its Header; both
    raise ContentError for known faults, and may let any exception of their decoder through.
    """

    name: str
    suffixes: tuple[str, ...]
    starts: Callable[[bytes], bool]
    read: Callable[[BinaryIO, ReadOptions], Image]
    probe: Callable[[BinaryIO, ReadOptions], Header]


def starts_with(*signatures: bytes) -> Callable[[bytes], bool]:
    """Return a test for files that begin with one of `signatures`."""
    return lambda head: head.startswith(signatures)


def read_with(formats: tuple[Format, ...], path: Path, options: ReadOptions) -> Image:
    """Read an image with the first of `formats` that recognises its content.

    Raise ReadError, and no other error, for any fault of the path or the content.
    """
    return _open_with(formats, path, lambda kind, file: kind.read(file, options))


def probe_with(formats: tuple[Format, ...], path: Path, options: ReadOptions) -> Header:
    """Return the properties of an image from the file's header; raise the errors of `read_with`."""
    return _open_with(formats, path, lambda kind, file: kind.probe(file, options))


def content_sha256(path: Path) -> str:
    """Return the hash of an image file's content; raise ReadError if it cannot be read."""

    def digest(file: BinaryIO) -> str:
        found = hashlib.sha256()
        while part := file.read(1 << 20):
            found.update(part)
        return found.hexdigest()

    return open_and(digest, path)


def _open_with(
    formats: tuple[Format, ...], path: Path, action: Callable[[Format, BinaryIO], Read]
) -> Read:
    def act(file: BinaryIO) -> Read:
        head = file.read(HEAD_BYTES)
        file.seek(0)
        return _guarded(_recognise(formats, head), file, action)

    return open_and(act, path)


def open_and(action: Callable[[BinaryIO], Read], path: Path) -> Read:
    """Open a file that can hold an image, and turn its faults into ReadError."""
    try:
        with open_image(path) as file:
            return action(file)
    except RefusedError as refused:
        raise ReadError(f"{path}: {refused}") from refused
    except OSError as error:
        raise ReadError(f"{path}: {system_reason(error)}") from error


def require_size(width: int, height: int, options: ReadOptions) -> None:
    """Raise ContentError if a picture has no pixels, or more than `options` allow."""
    if width < 1 or height < 1:
        raise ContentError(f"has no pixels ({width}x{height})", COPY_AGAIN)
    if width * height > options.pixel_limit:
        raise ContentError(
            f"{width}x{height} is {_megapixels(width * height)} megapixels, more than the limit"
            f" of {_megapixels(options.pixel_limit)}",
            "make it smaller, or raise the limit with --max-pixels",
        )


def require_bytes(pixels: int, file: BinaryIO, most: float, kind: str) -> None:
    """Raise ContentError if a file cannot hold so many pixels, at `most` pixels per byte.

    A decoder would allocate memory for the claimed pixels before it notices that bytes are missing.
    """
    length = file_length(file)
    if pixels > SPARE_PIXELS + most * length:
        raise ContentError(
            f"not a complete {kind} (it claims {_megapixels(pixels)} megapixels, but has only "
            f"{number_of(length, 'byte', form=',')})",
            COPY_AGAIN,
        )


def require_length(file: BinaryIO, options: ReadOptions, most: int, kind: str) -> None:
    """Raise ContentError if a file that is read as a whole has far more bytes than pixels.

    `most` is the largest number of bytes per pixel; MAX_BESIDE is allowed for other content.
    """
    length = file_length(file)
    if length > most * options.pixel_limit + MAX_BESIDE:
        raise ContentError(
            f"{length / 1e6:,.0f} MB, more than a {kind} of {_megapixels(options.pixel_limit)} "
            "megapixels can need",
            "save it again, or raise the limit with --max-pixels",
        )


def file_length(file: BinaryIO) -> int:
    """Return the length of an open file in bytes; do not change its position."""
    place = file.tell()
    length = file.seek(0, os.SEEK_END)
    file.seek(place)
    return length


def require_room(count: int) -> None:
    """Raise ContentError if so many bytes of pixels do not fit into memory."""
    if count <= SMALL:
        return
    free = free_memory()
    if count > free:
        raise ContentError(
            f"its pixels need {count / 1e9:.1f} GB of memory, but {free / 1e9:.1f} GB are free",
            "make it smaller",
        )


def require_place(affine: NDArray[np.float64]) -> None:
    """Raise ContentError if the size or position of voxels is impossible for a scan."""
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    if not (steps.min() >= SMALLEST_VOXEL and steps.max() <= LARGEST_VOXEL):
        raise ContentError(
            f"its voxels are {' x '.join(f'{step:.3g}' for step in steps)} mm (slices, rows, "
            f"columns), not between {SMALLEST_VOXEL:g} and {LARGEST_VOXEL:g} mm",
            "correct their size in its header",
        )
    if not np.abs(affine[:3, 3]).max() <= FARTHEST:
        raise ContentError(
            f"its first voxel is more than {FARTHEST:g} mm away from the origin",
            "correct its position in its header",
        )


def require_voxels(count: int, limit: int) -> None:
    """Raise ContentError for more voxels than are allowed."""
    if count > limit:
        raise ContentError(
            f"{_megapixels(count)} million voxels are more than the limit of "
            f"{_megapixels(limit)} million",
            "raise the limit with --max-pixels",
        )


def _megapixels(count: int) -> str:
    return f"{count / 1e6:,.0f}" if count >= 10_000_000 else f"{count / 1e6:g}"


def open_image(path: Path) -> BinaryIO:
    """Open a file that can hold an image; raise RefusedError or OSError."""
    file = open_ordinary(path, "an image")
    size = os.fstat(file.fileno()).st_size
    if 0 < size <= LARGEST_FILE:
        return file
    file.close()
    if size:
        what = f"{size / (1 << 30):,.0f} GB, more than the limit of {LARGEST_FILE >> 30} GB"
        raise ContentError(what, "cut out the part to use")
    raise ContentError("the file is empty", COPY_AGAIN)


NIFTI = (b"n+1", b"ni1")  # in the header, from byte 344 on
SLICES = "save its slices as pictures (fnet fuse and fnet inspect read volumes)"
# Kinds that people have, but that are not read: how they start, and what to do.
KNOWN_OTHERS: tuple[tuple[Callable[[bytes], bool], str, str], ...] = (
    (starts_with(b"\x76\x2f\x31\x01"), "an OpenEXR file", "convert it to float TIFF"),
    (starts_with(b"8BPS"), "a Photoshop file", "export it as TIFF"),
    (starts_with(b"SIMPLE  ="), "a FITS file", "convert it to TIFF"),
    (starts_with(b"PK\3\4"), "a zip archive", "unpack it"),
    (starts_with(b"\x1f\x8b"), "a gzip file", f"unpack it; of a volume, {SLICES}"),
    (lambda head: head[128:132] == b"DICM" or head[344:347] in NIFTI, "a volume", SLICES),
)


def _recognise(formats: tuple[Format, ...], head: bytes) -> Format:
    for one in formats:
        if one.starts(head):
            return one
    for starts, name, todo in KNOWN_OTHERS:
        if starts(head):
            raise ContentError(f"{name}, which is not read", todo)
    names = ", ".join(one.name for one in formats)
    raise ContentError(f"not an image of a known format ({names})", "convert it to PNG or TIFF")


def _guarded(kind: Format, file: BinaryIO, action: Callable[[Format, BinaryIO], Read]) -> Read:
    try:
        return action(kind, file)
    except ContentError:
        raise
    except MemoryError:
        raise ContentError("needs more memory than is free", "make the image smaller") from None
    except Exception as error:  # decoders of untrusted files raise anything
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the content
        _refuse_broken(kind.name, error)


def _refuse_broken(name: str, error: Exception) -> NoReturn:
    words = " ".join(str(error).split())
    if any(sign in words.lower() for sign in ENDS_EARLY):
        raise ContentError(f"not a complete {name} (ends early)", COPY_AGAIN) from error
    detail = f" ({words})" if _helps(error, words) else ""
    raise ContentError(f"not a readable {name}{detail}", COPY_AGAIN) from error


def _helps(error: Exception, words: str) -> bool:
    """Whether a decoder's words are a message, not an internal detail ("buffer of 2 bytes")."""
    is_message = isinstance(error, OSError | SyntaxError | ValueError) and error.args[:1] == (
        words,
    )
    is_vague = "not identified" in words
    return is_message and words.isprintable() and len(words) <= LONGEST_DETAIL and not is_vague


def chosen_volume(wanted: int | None, count: int, words: str = "") -> int:
    """Return which of several volumes, as `words` describe them, is meant, from 0 on.

    Raise ContentError.
    """
    if wanted is None and count > 1:
        raise ContentError(
            f"holds {words or f'{count} volumes'}",
            f"choose one with --volume, a number from 1 to {count}, or fuse all with --each-volume",
        )
    if wanted is not None and not 1 <= wanted <= count:
        raise ContentError(
            f"holds {number_of(count, 'volume')}, not a number {wanted}", "correct --volume"
        )
    return (wanted or 1) - 1
