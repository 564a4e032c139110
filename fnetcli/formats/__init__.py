"""Reading and writing of image files.

`FORMATS` lists all formats: a new format is one file with a `Format` in it, one line in this tuple,
and one row in the conformance test.
"""

from __future__ import annotations

from pathlib import Path

from fnetcli.formats.arrays import write_npz
from fnetcli.formats.base import (
    Format,
    Header,
    ReadOptions,
    content_sha256,
    probe_with,
    read_with,
)
from fnetcli.formats.png import PNG
from fnetcli.formats.raster import BMP, JPEG, WEBP
from fnetcli.formats.tiff import TIFF
from fnetcli.formats.writers import (
    PICTURE_KINDS,
    PictureKind,
    write_picture,
    write_png,
    write_tiff_float,
)
from fnetcli.imaging.image import Image

FORMATS: tuple[Format, ...] = (PNG, JPEG, TIFF, BMP, WEBP)
IMAGE_SUFFIXES: tuple[str, ...] = tuple(suffix for one in FORMATS for suffix in one.suffixes)
DEFAULT_OPTIONS = ReadOptions()

__all__ = [
    "FORMATS",
    "IMAGE_SUFFIXES",
    "PICTURE_KINDS",
    "Format",
    "Header",
    "PictureKind",
    "ReadOptions",
    "content_sha256",
    "probe_image",
    "read_image",
    "write_npz",
    "write_picture",
    "write_png",
    "write_tiff_float",
]


def read_image(path: Path, options: ReadOptions = DEFAULT_OPTIONS) -> Image:
    """Read one image; its format is recognised by content, whatever its suffix.

    Pixels are the stored numbers in the file's own type (grey of 1, 2 and 4 bits and palettes:
    0..255), upright (EXIF orientation applied), alpha in [0, 1]. Raise ReadError, with one line
    for the user, for whatever cannot be read.
    """
    return read_with(FORMATS, path, options)


def probe_image(path: Path, options: ReadOptions = DEFAULT_OPTIONS) -> Header:
    """Return the properties of the image from the file's header; decode no pixels.

    Raise ReadError if the header shows that the image cannot be read. Other damage is found only
    when the image is read.
    """
    return probe_with(FORMATS, path, options)
