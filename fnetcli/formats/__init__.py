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
    Layer,
    ReadOptions,
    content_sha256,
    probe_with,
    read_with,
    usual_layer,
)
from fnetcli.formats.flir import FFF, JPEG
from fnetcli.formats.modern import AVIF, HEIC, JPEG2000, JPEGXL
from fnetcli.formats.npy import NPY
from fnetcli.formats.png import PNG
from fnetcli.formats.pnm import PNM
from fnetcli.formats.raster import BMP, WEBP
from fnetcli.formats.raw import RAW
from fnetcli.formats.table import CSV
from fnetcli.formats.tiff import TIFF
from fnetcli.formats.writers import (
    PICTURE_KINDS,
    PictureKind,
    write_picture,
    write_png,
    write_tiff_float,
)
from fnetcli.imaging.image import Image

FORMATS: tuple[Format, ...] = (
    *(PNG, JPEG, TIFF, BMP, WEBP, JPEG2000, JPEGXL, AVIF, HEIC, FFF),
    *(PNM, NPY, CSV),
)
HEADERLESS: tuple[Format, ...] = (RAW,)  # nothing in them says what they are: their names do
IMAGE_SUFFIXES: tuple[str, ...] = tuple(
    suffix for one in (*FORMATS, *HEADERLESS) for suffix in one.suffixes
)
TABLE_SUFFIXES = (*NPY.suffixes, *CSV.suffixes)  # of files that are often no images at all
# Of files that may lie beside pictures.
DATA_SUFFIXES = (*FFF.suffixes, *RAW.suffixes, *TABLE_SUFFIXES)
DEFAULT_OPTIONS = ReadOptions()

__all__ = [
    "DATA_SUFFIXES",
    "FORMATS",
    "IMAGE_SUFFIXES",
    "PICTURE_KINDS",
    "TABLE_SUFFIXES",
    "Format",
    "Header",
    "Layer",
    "PictureKind",
    "ReadOptions",
    "content_sha256",
    "probe_image",
    "read_image",
    "usual_layer",
    "write_npz",
    "write_picture",
    "write_png",
    "write_tiff_float",
]


def read_image(path: str | Path, options: ReadOptions = DEFAULT_OPTIONS) -> Image:
    """Read one image; its format is recognised by content, whatever its suffix.

    Pixels are the stored numbers in the file's own type (grey of 1, 2 and 4 bits and palettes:
    0..255), upright (EXIF orientation applied), alpha in [0, 1]. Raise ReadError, with one line
    for the user, for whatever cannot be read.
    """
    path = Path(path)
    return read_with(_kinds(path, options), path, options)


def probe_image(path: Path, options: ReadOptions = DEFAULT_OPTIONS) -> Header:
    """Return the properties of the image from the file's header; decode no pixels.

    Raise ReadError if the header shows that the image cannot be read. Other damage is found only
    when the image is read.
    """
    return probe_with(_kinds(path, options), path, options)


def _kinds(path: Path, options: ReadOptions) -> tuple[Format, ...]:
    """Return what a file may be: content decides, and names where there is no header."""
    headerless = tuple(one for one in HEADERLESS if path.suffix.lower() in one.suffixes)
    return headerless if headerless and options.raw_size else (*FORMATS, *headerless)
