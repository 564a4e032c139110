"""Facts about an image file as fnet reads it: format, size, depth, range, and its scaling.

Of a patient's header only the kind of scanner is used.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fnetcli.formats import ReadOptions, probe_image, read_image
from fnetcli.formats.volumes import VolumeOptions, read_volume, volume_kind
from fnetcli.imaging.corrections import palette_words
from fnetcli.imaging.image import Image, Stored
from fnetcli.imaging.intensity import ScalingOptions, seen_pixels, valid_pixels
from fnetcli.inputs.pairing import Case
from fnetcli.modalities import MODALITIES, TABLE
from fnetcli.pictures.prepare import PrepareOptions
from fnetcli.pictures.sources import scale_source
from fnetcli.pictures.survey import survey
from fnetcli.volumes.resample import plane_of, spacing
from fnetcli.volumes.windows import window_of

PERCENTILES = (0.1, 1, 50, 99, 99.9)


@dataclass(frozen=True)
class Numbers:
    """Statistics of the stored numbers that are valid and not fully transparent."""

    lowest: float
    highest: float
    mean: float
    percentiles: dict[str, float]


@dataclass(frozen=True)
class Way:
    """How an image would be scaled as one of these modalities."""

    modalities: list[str]
    low: float  # becomes black
    high: float  # becomes white
    rule: str
    notices: list[str]


@dataclass(frozen=True)
class ImageFacts:
    """All facts about an image; `record` returns them ready for JSON.

    `slices` are those of a volume; a picture has one. `type` is that of the file's numbers, `bits`
    the bits in use if the file declares them. `without_data` counts pixels that are NaN, infinite
    or nodata. `spacing_mm` (along a row, from row to row, from slice to slice) and `plane` are None
    if the file has no position.
    """

    file: str
    format: str
    width: int
    height: int
    slices: int
    channels: str  # grey, RGB
    has_transparency: bool
    type: str
    bits: int | None
    pages: int
    is_georeferenced: bool
    unit: str | None
    spacing_mm: list[float] | None
    plane: str | None
    without_data: int
    numbers: Numbers | None  # None: no pixel has data
    scaling: list[Way]
    notices: list[str]
    celsius: list[float] | None = None  # lowest, highest, mean temperature
    details: list[str] = field(default_factory=list)  # what else the file says

    def record(self) -> dict[str, Any]:
        """Return the facts, ready for JSON."""
        return asdict(self)


# --- a picture ------------------------------------------------------------------------------------


def image_facts(path: Path, reading: ReadOptions) -> ImageFacts:
    """Return the facts about a picture. Raise ReadError."""
    header, image = probe_image(path, reading), read_image(path, reading)
    return ImageFacts(
        file=str(path),
        format=header.format,
        width=header.width,
        height=header.height,
        slices=1,
        channels="RGB" if image.is_color else "grey",
        has_transparency=image.alpha is not None,
        type=str(image.stored_type),
        bits=image.bits,
        pages=header.pages,
        is_georeferenced=image.georeference is not None,
        unit=image.unit,
        spacing_mm=None,
        plane=None,
        without_data=_without_data(image),
        numbers=_numbers(image),
        scaling=_ways(path, image, reading),
        notices=[*image.notices, *([words] if (words := palette_words(image)) else [])],
        celsius=_temperatures(image),
        details=list(image.details),
    )


def _ways(path: Path, image: Image, reading: ReadOptions) -> list[Way]:
    """Return one scaling for all modalities, or one for vis and one for all others."""
    as_visible = PrepareOptions(("ir", "vis"), reading=(reading, reading))
    found = survey([Case("", path, path)], as_visible)
    visible, other = found.options.scaling[1], ScalingOptions()
    if visible.choose_for(image, "vis") == other.choose_for(image, "ir"):
        return [_way(image, [*MODALITIES], other, "")]
    rule = f"the whole range of {8 * image.stored_type.itemsize} bits"
    if image.reflectance is not None:
        rule = "reflectance 0 to 1, as the file's scale says"
    elif image.bits is not None:
        rule = f"the {image.bits} bits that the file declares"
    elif visible.found_bits is not None:
        bits = visible.found_bits
        rule = f"{bits} bits, since no number is higher; --bits vis=16 if they are not"
    others = [modality for modality in MODALITIES if modality != "vis"]
    as_vis = _way(image, ["vis"], visible, rule)
    return [
        replace(as_vis, notices=[*found.warnings, *as_vis.notices]),
        _way(image, others, other, ""),
    ]


def _way(image: Image, modalities: list[str], options: ScalingOptions, rule: str) -> Way:
    scaling = options.choose_for(image, "vis" if modalities == ["vis"] else "ir")
    if image.stored_type == np.uint8:  # it is the same whatever it holds
        return Way(modalities, *scaling.limits, rule, [])
    scaled = scale_source(image, "vis" if modalities == ["vis"] else "ir", options)
    if scaling.are_percentiles:
        low, high = scaling.limits
        rule = f"percentiles {low:g} and {high:g}"
    known = scaled.image.notices[len(image.notices) :]
    return Way(modalities, scaled.low, scaled.high, rule, [*known, *scaled.notices])


# --- a volume -------------------------------------------------------------------------------------


def volume_facts(path: Path, options: VolumeOptions) -> ImageFacts:
    """Return the facts about a volume, without anything about a patient. Raise ReadError."""
    image = read_volume(path, options)
    slices, height, width = image.grid.shape
    is_placed = image.grid.affine is not None
    return ImageFacts(
        file=str(path),
        format=volume_kind(path),
        width=width,
        height=height,
        slices=slices,
        channels="RGB" if image.is_color else "grey",
        has_transparency=image.alpha is not None,
        type=str(image.stored_type),
        bits=image.bits,
        pages=1,
        is_georeferenced=False,
        unit=image.unit,
        spacing_mm=[round(step, 4) for step in spacing(image.grid)[::-1]] if is_placed else None,
        plane=plane_of(image.grid) if is_placed else None,
        without_data=_without_data(image),
        numbers=_numbers(image),
        scaling=[_window(image, modality) for modality in _modalities(image)],
        notices=list(image.notices),
        details=list(image.details),
    )


def _modalities(image: Image) -> list[str]:
    """Return the modality that the file declares, else all that are possible; MRI once."""
    kind = "" if image.series is None else str(image.series.headers[0].get("Modality", ""))
    names = {one.dicom: one.name for one in TABLE[::-1] if one.is_volumetric}  # the first of a kind
    return [names[kind]] if kind in names else [*names.values()][::-1]


def _window(image: Image, modality: str) -> Way:
    window = window_of(image, modality)
    return Way([modality], *window.limits, window.sentence, list(window.notices))


# --- numbers --------------------------------------------------------------------------------------


def _without_data(image: Image) -> int:
    valid = valid_pixels(image)
    return 0 if valid is None else int(valid.size - np.count_nonzero(valid))


def _temperatures(image: Image) -> list[float] | None:
    found = _numbers(image)
    if image.celsius is None or found is None:
        return None
    gain, offset = image.celsius
    return [round(one * gain + offset, 3) for one in (found.lowest, found.highest, found.mean)]


def _numbers(image: Image) -> Numbers | None:
    seen = seen_pixels(image)
    if not seen.size:
        return None
    return Numbers(
        lowest=float(seen.min()),
        highest=float(seen.max()),
        mean=float(seen.mean(dtype=np.float64)),
        percentiles=_percentiles(seen.ravel()),
    )


def _percentiles(values: Stored) -> dict[str, float]:
    found = np.percentile(values.astype(np.float64), PERCENTILES)
    return {f"{share:g}": float(number) for share, number in zip(PERCENTILES, found, strict=True)}
