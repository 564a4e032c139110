"""Convert stored numbers to values: rescale, modality LUT, inverted grey, padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut

from fnetcli.formats.base import COPY_AGAIN, ContentError
from fnetcli.formats.dicom.attributes import items, macro, number, text, whole
from fnetcli.formats.dicom.suv import find_uptake
from fnetcli.imaging.image import Mask

HOUNSFIELD = "HU"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7."  # and, further on, its multi-frame classes


class Sourced(Protocol):
    """A frame of a file: its header, and its number in the file, counted from 1."""

    @property
    def header(self) -> Dataset:
        """All attributes before the pixels."""

    @property
    def number(self) -> int:
        """The number of the frame."""


@dataclass(frozen=True)
class Rescale:
    """The conversion of a slice's stored numbers to values.

    value = (stored * slope + intercept) * factor, or by the header's modality LUT; `mirror` is the
    sum of the lowest and the highest possible stored number if grey is inverted (MONOCHROME1).
    `padding` is the range of stored numbers that mean "no data".
    """

    slope: float = 1.0
    intercept: float = 0.0
    factor: float = 1.0
    mirror: int | None = None
    padding: tuple[int, int] | None = None
    lut: Dataset | None = None  # the header that holds it

    @property
    def is_exact(self) -> bool:
        """Whether whole numbers stay whole."""
        is_whole = float(self.slope).is_integer() and float(self.intercept).is_integer()
        return is_whole and self.factor == 1

    def holes(self, stored: NDArray[Any]) -> Mask | None:
        """Return the mask of valid numbers, or None if all are valid."""
        if self.padding is None or stored.ndim > 2:
            return None
        low, high = self.padding
        empty = (stored >= low) & (stored <= high)
        return ~empty if empty.any() else None

    def apply(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return values: integers if that is exact, else float32."""
        if stored.ndim > 2:
            return stored
        if stored.dtype.kind == "f":
            return stored.astype(np.float32)
        if self.lut is not None:
            return np.asarray(apply_modality_lut(stored, self.lut)).astype(np.int64)
        numbers = stored.astype(np.int64)
        if self.mirror is not None:
            numbers = self.mirror - numbers
        if self.is_exact:
            return numbers * int(self.slope) + int(self.intercept)
        return ((numbers * self.slope + self.intercept) * self.factor).astype(np.float32)


@dataclass(frozen=True)
class ValuePlan:
    """The conversion of all slices to values: one Rescale each, and their unit.

    `dtype` is the initial type; int16 may turn out to be too narrow.
    """

    dtype: np.dtype[Any]
    channels: int
    rescales: tuple[Rescale, ...]
    unit: str | None
    notices: tuple[str, ...]


def plan_values(frames: Sequence[Sourced]) -> ValuePlan:
    """Choose the type of values from the headers: integers if exact, else float32.

    Colour keeps its own type, uint8 or uint16. Raise ContentError for impossible headers.
    """
    first = frames[0].header
    kinds = {(_colors(one.header), _bits(one.header)) for one in _per_file(frames)}
    if len(kinds) > 1:
        raise ContentError(
            "its slices are stored in different ways", "export it as a series of one kind"
        )
    if _colors(first):
        deep = np.dtype(np.uint16) if _color_bits(first) > 8 else np.dtype(np.uint8)
        return ValuePlan(deep, 3, (Rescale(),) * len(frames), None, ())
    unit, factors, notices = _meaning(frames)
    rescales = tuple(
        _rescale(frame, factor, has_unit=unit is not None)
        for frame, factor in zip(frames, factors, strict=True)
    )
    if any(one.mirror is not None for one in rescales):
        notices += ("it is stored with black and white swapped (MONOCHROME1): swapped back",)
    is_exact = not _is_float(first) and all(one.is_exact for one in rescales)
    dtype = np.dtype(np.int16 if is_exact else np.float32)
    return ValuePlan(dtype, 1, rescales, unit, notices)


def _per_file(frames: Sequence[Sourced]) -> list[Sourced]:
    """Return one frame for each header."""
    return list({id(frame.header): frame for frame in frames}.values())


# --- what the header says -------------------------------------------------------------------------


def _is_float(header: Dataset) -> bool:
    return whole(header, "BitsAllocated") in {32, 64} and whole(header, "BitsStored") is None


def _bits(header: Dataset) -> tuple[int, int, bool]:
    """Return bits allocated and stored, and whether numbers are signed."""
    allocated = whole(header, "BitsAllocated") or 0
    stored = whole(header, "BitsStored") or allocated
    highest = whole(header, "HighBit")
    if not 1 <= stored <= allocated <= 64 or highest not in (None, stored - 1):
        raise ContentError("its pixels use unusual bits of their bytes", "export it again")
    if allocated == 1:
        raise ContentError("its pixels are only black or white: a mask", "give a grey image")
    return allocated, stored, whole(header, "PixelRepresentation") == 1


def _stored_range(header: Dataset) -> tuple[int, int]:
    _, bits, is_signed = _bits(header)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)


def _colors(header: Dataset) -> bool:
    """Whether pixels are read as RGB; raise ContentError if they are neither grey nor colour."""
    kind = text(header, "PhotometricInterpretation").upper()
    samples = whole(header, "SamplesPerPixel") or 1
    if kind in {"MONOCHROME1", "MONOCHROME2", ""} and samples == 1:
        return False
    if kind == "PALETTE COLOR" or (samples == 3 and (kind == "RGB" or kind.startswith("YBR"))):
        return True
    raise ContentError("its colours are stored in an unknown way", "export it as grey or RGB")


def _color_bits(header: Dataset) -> int:
    if text(header, "PhotometricInterpretation").upper() != "PALETTE COLOR":
        bits = whole(header, "BitsAllocated") or 8
        if bits > 16:
            raise ContentError("its colours have more than 16 bits", "export it with 8 or 16")
        return bits
    descriptor = header.get("RedPaletteColorLookupTableDescriptor")
    return int(descriptor[2]) if descriptor is not None and len(descriptor) == 3 else 8


def _rescale(frame: Sourced, factor: float, *, has_unit: bool) -> Rescale:
    header = frame.header
    low, high = (0, 0) if _is_float(header) else _stored_range(header)
    is_inverted = text(header, "PhotometricInterpretation").upper() == "MONOCHROME1"
    # Hounsfield units and other units keep their values, however they are displayed.
    mirror = low + high if is_inverted and not has_unit and not _is_float(header) else None
    padding = _padding(header)
    if items(header, "ModalityLUTSequence"):
        return Rescale(factor=factor, padding=padding, lut=header)
    source = macro(header, frame.number, "PixelValueTransformationSequence")
    slope, intercept = number(source, "RescaleSlope"), number(source, "RescaleIntercept")
    if slope == 0:
        raise ContentError("its rescale slope is 0, which leaves no image", COPY_AGAIN)
    return Rescale(
        1.0 if slope is None else slope, intercept or 0.0, factor, mirror=mirror, padding=padding
    )


def _padding(header: Dataset) -> tuple[int, int] | None:
    """Return the range of numbers outside the picture (PS3.3, C.7.5.1.1.2)."""
    value = whole(header, "PixelPaddingValue")
    if value is None:
        return None
    limit = whole(header, "PixelPaddingRangeLimit")
    bits, _, is_signed = _bits(header)
    # Some writers store a negative number in the type for unsigned ones.
    ends = [
        one - 2**bits if is_signed and one >= 2 ** (bits - 1) else one
        for one in (value, value if limit is None else limit)
    ]
    return min(ends), max(ends)


def _meaning(frames: Sequence[Sourced]) -> tuple[str | None, tuple[float, ...], tuple[str, ...]]:
    """Return the unit of values, further factors, and notices."""
    headers = [frame.header for frame in frames]
    modality = text(headers[0], "Modality").upper()
    if modality == "PT":
        uptake = find_uptake(headers)
        return uptake.unit, uptake.factors, uptake.notices
    plain = (1.0,) * len(frames)
    if modality == "CT":
        kinds = {_rescaled_to(frame) for frame in frames}
        if kinds == {HOUNSFIELD}:
            return HOUNSFIELD, plain, ()
        if not kinds <= {HOUNSFIELD, None}:
            return None, plain, ("its values are not in Hounsfield units, as its header says",)
    return None, plain, ()


def _rescaled_to(frame: Sourced) -> str | None:
    """Return the unit of a CT's values, or None if its header has none (PS3.3, C.8.2.1).

    A rescale without a type is to HU. A capture is a picture: its rescale is not a calibration.
    """
    header = frame.header
    if f"{text(header, 'SOPClassUID')}.".startswith(SECONDARY_CAPTURE):
        return None
    if tables := items(header, "ModalityLUTSequence"):
        return text(tables[0], "ModalityLUTType").upper() or None
    source = macro(header, frame.number, "PixelValueTransformationSequence")
    is_rescaled = any(
        number(source, one) is not None for one in ("RescaleSlope", "RescaleIntercept")
    )
    return text(source, "RescaleType").upper() or (HOUNSFIELD if is_rescaled else None)
