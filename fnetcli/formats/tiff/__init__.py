"""TIFF files, read by tifffile; it is imported with the first file, since the import is slow."""

from __future__ import annotations

from typing import BinaryIO

from fnetcli.formats.base import Format, Header, ReadOptions, starts_with
from fnetcli.imaging.image import Image

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # little and big endian; "+" is BigTIFF
XMP_TAG = 700
ICC_TAG, METADATA_TAG, NODATA_TAG = 34675, 42112, 42113  # of ICC; of GDAL


def _read(file: BinaryIO, options: ReadOptions) -> Image:
    from fnetcli.formats.tiff import reader

    return reader.read(file, options)


def _probe(file: BinaryIO, options: ReadOptions) -> Header:
    from fnetcli.formats.tiff import reader

    return reader.probe(file, options)


TIFF = Format("TIFF", (".tif", ".tiff"), starts_with(*SIGNATURES), _read, _probe)
