"""One image type for everything: pixels, their positions, and the file's metadata."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pydicom import Dataset

Pixels = NDArray[np.float32]
Stored = NDArray[Any]  # numbers of any real type, as a file holds them
Mask = NDArray[np.bool_]

# GeoTIFF 1.1, 7.1: pixel scale, tie points, transformation; keys.
PLACE_TAGS = (33550, 33922, 34264, 34735)
UNKNOWN = np.dtype(np.void)
BAND = 1 << 15  # pixels: few enough for intermediate results to stay in a processor's cache


def bands(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of the first axis, each of BAND pixels, or of one row if a row has more.

    Computing band by band needs no further array of the whole picture's size.
    """
    rows = max(1, BAND // max(1, math.prod(shape[1:])))
    return (slice(top, top + rows) for top in range(0, shape[0], rows))


@dataclass(frozen=True)
class Grid:
    """The positions of pixels: shape (slices, height, width), and an affine, or None if unknown.

    The affine is 4x4 float64 and maps (slice, row, column, 1), indices in the order of the array,
    to (x, y, z, 1) in millimetres, RAS+: x grows towards the patient's right, y towards
    anterior, z towards superior. Whole indices are centres of voxels. The first column is the step
    from slice to slice, the second that from row to row, the third that along a row. (NIfTI counts
    columns first; DICOM negates x and y: LPS+.)
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64] | None = None

    @property
    def size(self) -> str:
        """Width x height as text."""
        return f"{self.shape[2]}x{self.shape[1]}"

    def bands(self) -> Iterator[slice]:
        """Yield slices of rows, from top to bottom: pixels[:, band] is small."""
        slices, height, width = self.shape
        return bands((height, slices * width))


@dataclass(frozen=True)
class Georeference:
    """The GeoTIFF tags of a picture, unchanged: (code, TIFF data type, value)."""

    tags: tuple[tuple[int, int, Any], ...]

    @property
    def place(self) -> dict[int, Any]:
        """The tags for the positions of pixels and their coordinate system."""
        return {code: value for code, _, value in self.tags if code in PLACE_TAGS}


@dataclass(frozen=True)
class DicomSeries:
    """The headers of a DICOM image, including patient data, for a derived series.

    `headers[i]` belongs to slice i of the pixels and holds everything but pixel data, with
    `file_meta`. The slices of a multi-frame file share one header, the same object; `frames[i]`
    is the number, counted from 1, of slice i's frame in that file (1 for single-frame files).
    """

    headers: tuple[Dataset, ...]
    frames: tuple[int, ...]


@dataclass(frozen=True)
class NiftiSpace:
    """The spatial fields of a NIfTI header, unchanged: order (i, j, k), the file's own unit.

    `order` holds the file's axes that became slices, rows and columns. `qform` and `sform` are 4x4,
    or None if the code is 0 (unknown) or the file's numbers are not an affine. `xyzt_units` is the
    header's byte, `zooms` its pixdim[1:4].
    """

    shape: tuple[int, int, int]
    zooms: tuple[float, float, float]
    qform: NDArray[np.float64] | None = None
    sform: NDArray[np.float64] | None = None
    qform_code: int = 0
    sform_code: int = 0
    xyzt_units: int = 0
    version: int = 1  # NIfTI-1 or NIfTI-2
    order: tuple[int, int, int] = (2, 1, 0)


@dataclass(frozen=True)
class Alignment:
    """How a picture lies in another one: a 3x3 matrix, and where it comes from.

    It maps (x, y, 1) of this picture to the other one's, in pixels; whole numbers are centres of
    pixels. `size` is (width, height) of the other picture, `source` "factory", "assumed" or what
    else found it.
    """

    matrix: NDArray[np.float64]
    size: tuple[int, int]
    source: str
    notices: tuple[str, ...] = ()  # what a user should know of it


@dataclass(frozen=True)
class Image:
    """A picture or volume: pixels (slices, height, width, channels), channels 1 (grey) or 3 (RGB).

    A PNG is one slice. As read, pixels are the stored numbers in the file's own type;
    `intensity.to_unit` makes them float32 in [0, 1], and `is_unit` True. `alpha` is float32
    (slices, height, width) in [0, 1], `valid` a mask of the same shape that is False where there is
    no data (NaN, infinity, nodata); None means opaque, and valid, everywhere.
    """

    pixels: Stored
    grid: Grid
    stored_type: np.dtype[Any] = UNKNOWN  # of the file's numbers; default: that of the pixels
    is_unit: bool = False  # the pixels are float32 in [0, 1]
    alpha: Pixels | None = None
    valid: Mask | None = None
    bits: int | None = None  # per channel, if the file declares fewer than the type has
    reflectance: tuple[float, float] | None = None  # the stored numbers of 0 and 1, if declared
    nodata: float | None = None  # the stored number that means "no data"
    georeference: Georeference | None = None
    color_profile: bytes | None = None  # ICC, if it is not sRGB
    notices: tuple[str, ...] = ()  # what a user should know about the file
    unit: str | None = None  # of the numbers: "HU", "SUVbw", "Bq/ml", "counts", "°C"; None: unknown
    frame_of_reference: str | None = None  # DICOM UID of the patient's space; never written
    series: DicomSeries | None = None
    nifti: NiftiSpace | None = None
    celsius: tuple[float, float] | None = None  # °C = stored number x the first + the second
    alignment: Alignment | None = None  # in the visible picture of the same camera
    details: tuple[str, ...] = ()  # what else the file says, good to know
    volumes: int = 1  # that the file or series holds; this is one of them

    def __post_init__(self) -> None:
        """Set the stored type to that of the pixels by default."""
        if self.stored_type is UNKNOWN:
            object.__setattr__(self, "stored_type", self.pixels.dtype)

    @property
    def is_color(self) -> bool:
        """Whether there are three channels."""
        return bool(self.pixels.shape[3] == 3)
