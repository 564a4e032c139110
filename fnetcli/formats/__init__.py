"""Image files in and out.

`FORMATS` is the whole list: a further format is one file with a `Format` in it, one line in this
tuple, and one row in the conformance test.
"""

from __future__ import annotations

from pathlib import Path

from fnetcli.formats.arrays import write_npz
from fnetcli.formats.base import Format, read_with
from fnetcli.formats.raster import BMP, JPEG, PNG, TIFF, WEBP, write_png, write_tiff_float
from fnetcli.image import Image

FORMATS: tuple[Format, ...] = (PNG, JPEG, TIFF, BMP, WEBP)
IMAGE_SUFFIXES: tuple[str, ...] = tuple(suffix for one in FORMATS for suffix in one.suffixes)

__all__ = [
    "FORMATS",
    "IMAGE_SUFFIXES",
    "Format",
    "read_image",
    "write_npz",
    "write_png",
    "write_tiff_float",
]


def read_image(path: Path) -> Image:
    """Read one image; its kind is recognised by content, whatever the suffix says.

    Pixels come in stored units (0..255), upright (EXIF orientation applied), alpha in [0, 1].
    Raise ReadError, with one line for the user, for whatever cannot be read.
    """
    return read_with(FORMATS, path)
