"""Choose which numbers of a medical volume become black and white: per volume, never per slice.

CT is measured in Hounsfield units, so a window is used, with a width and a centre as in radiology;
black is centre - width / 2, white centre + width / 2. MRI has no unit: percentiles are used, within
the body, since otherwise the share of air in a scan would decide them. PET in SUV has a unit, too;
PET in other units and SPECT have a true zero, and their white is a percentile within the body.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fnetcli.errors import ImageError, UsageError
from fnetcli.imaging.image import Image, Mask
from fnetcli.imaging.intensity import Limits, ScalingOptions, percent, valid_pixels
from fnetcli.imaging.ranges import find_emptiness
from fnetcli.modalities import BY_NAME, Windows
from fnetcli.text import near_miss

STRETCH = (0.5, 99.5)  # percentiles within the body
HOUNSFIELD = "HU"
AIR, BONE = -200, 100  # HU; a scan in HU holds numbers below the one and above the other
MIN_HU, MAX_HU = -32768, 32767  # of 16 bits; numbers beyond are not HU
SAMPLES = 1 << 22  # voxels, on a regular lattice, that decide percentiles
MIN_BODY = 0.005  # share of the voxels; anything smaller is not a body, but noise or a marker
FAINT, TENTH = (2, 98), 0.1  # of the threshold between noise and tissue
BINS = 256  # of Otsu's histogram


@dataclass(frozen=True)
class Window:
    """The stored numbers that become black and white, and what to tell the user about them."""

    limits: Limits
    sentence: str  # "CT window soft: -160 to 240 HU"
    notices: tuple[str, ...] = ()
    is_measured: bool = False  # on the volume's numbers: another volume may have another window
    name: str | None = None  # "soft"; None: none of the named ones

    def scaling(self, is_inverted: bool = False) -> ScalingOptions:
        """Return the window as options of `intensity`."""
        return ScalingOptions(limits=self.limits, is_inverted=is_inverted)


def parse_window(text: str, modality: str = "ct") -> Limits | None:
    """Parse a window such as "soft" or "400,40" (width, centre) into limits; "auto" is None.

    Raise UsageError for anything else. Only CT has named windows.
    """
    if text == "auto":
        return None
    known = named_windows(modality)
    size = known.get(text)
    if size is None:
        try:
            width, centre = (float(part) for part in text.split(","))
        except ValueError:
            width = centre = math.nan
        with np.errstate(over="ignore", invalid="ignore"):  # as float32, like voxels
            reach = np.float32(centre + width / 2) - np.float32(centre - width / 2)
        if not 0 < reach < math.inf:
            names = [*known, "auto"]
            todo = f"use {', '.join(names)} or WIDTH,CENTER (two numbers, width above 0)"
            raise UsageError(
                f"--window {modality}={text}: not a window; {near_miss(text, names) or todo}"
            )
        size = width, centre
    return _ends(size)


def named_windows(modality: str) -> dict[str, tuple[float, float]]:
    """Return the named windows of a modality: width and centre."""
    known = BY_NAME[modality].windows
    return {} if known is None else known.named


def _ends(size: tuple[float, float]) -> Limits:
    """Return the lowest and highest number of a window of this width and centre."""
    width, centre = size
    return centre - width / 2, centre + width / 2


def window_of(
    image: Image, modality: str, choice: str | None = None, limits: Limits | None = None
) -> Window:
    """Choose the window of a volume as it was read.

    `choice` is a text for `parse_window`, or None for the modality's default; `limits`, in stored
    units, override everything. Raise UsageError for an unknown choice, ImageError if a window in HU
    is requested but the numbers cannot be HU.
    """
    name, unit = _title(modality), _unit(image)
    if limits is not None:
        return Window(limits, f"{name} range as given: {_span(limits, unit)}")
    if image.is_color:
        white = np.iinfo(image.pixels.dtype).max if image.pixels.dtype.kind == "u" else 1
        return Window((0.0, float(white)), f"{name} colours: 0 to {white}")
    asked = parse_window(choice, modality) if choice is not None else None
    known = BY_NAME[modality].windows
    if known is not None and known.unit == HOUNSFIELD and choice != "auto":
        return _ct_window(image, known, choice, asked)
    if asked is not None:
        return Window(asked, f"{name} window {choice}: {_span(asked, unit)}")
    if known is not None and known.unit == image.unit and choice is None:
        usual = _ends(known.default)
        return Window(usual, f"{name} window: {_span(usual, unit)}")
    return _percentile_window(image, modality)


def _ct_window(image: Image, known: Windows, choice: str | None, asked: Limits | None) -> Window:
    usual = next(name for name, size in known.named.items() if size == known.default)
    label, limits = choice or usual, asked or _ends(known.default)
    name = label if label in known.named else None
    if image.unit == HOUNSFIELD:
        return Window(limits, f"CT window {label}: {_span(limits, ' HU')}", name=name)
    if choice is not None and choice not in known.named:  # numbers apply to any unit
        return Window(limits, f"CT window {label}: {_span(limits, '')}")
    low, high = _range(image)
    if MIN_HU <= low < AIR and BONE < high <= MAX_HU:
        notice = f"no unit in the file: its numbers ({_span((low, high), '')}) are taken as HU"
        return Window(limits, f"CT window {label}: {_span(limits, ' HU')}", (notice,), name=name)
    found = f"the numbers ({_span((low, high), '')}) do not look like HU"
    if choice is not None:
        raise ImageError(
            f"{found}, the unit of the CT window {choice}; use --window ct=auto, "
            "--window ct=WIDTH,CENTER in the file's numbers, or --range"
        )
    automatic = _percentile_window(image, "ct")
    notice = f"{found}: stretched by percentiles; --window or --range sets another range"
    return replace(automatic, notices=(notice, *automatic.notices))


def _percentile_window(image: Image, modality: str) -> Window:
    name, unit = _title(modality), _unit(image)
    values, valid = _sample(image)
    if not valid.any():
        return Window((0.0, 0.0), f"{name}: no voxel has data: black", is_measured=True)
    body = body_mask(values, valid, modality)
    low, high = (float(value) for value in np.percentile(values[body], STRETCH))
    words = f"percentiles {STRETCH[0]:g} to {STRETCH[1]:g} within the body"
    if BY_NAME[modality].is_emission and high > 0:
        low, words = 0.0, f"0 to percentile {STRETCH[1]:g} within the body"
    if low < high:
        is_emission = BY_NAME[modality].is_emission  # a few organs may hold nearly all of it
        doubts = () if is_emission else _doubts(values[body], (low, high), modality)
        sentence = f"{name} {words}: {_span((low, high), unit)}"
        return Window((low, high), sentence, doubts, is_measured=True)
    low, high = float(values[valid].min()), float(values[valid].max())
    notice = "almost all voxels are equal: stretched from the lowest to the highest value"
    sentence = f"{name} lowest to highest: {_span((low, high), unit)}"
    return Window((low, high), sentence, (notice,), is_measured=True)


def joined(windows: Sequence[Window]) -> Window:
    """Return the window of several volumes: from the lowest black to the highest white."""
    known = [window for window in windows if window.limits[0] < window.limits[1]] or windows
    limits = min(one.limits[0] for one in known), max(one.limits[1] for one in known)
    start = known[0].sentence.partition(": ")[0]
    notices = dict.fromkeys(words for one in windows for words in one.notices)
    sentence = f"{start}, of all {len(windows)} volumes: {_span(limits, '')}"
    return Window(limits, sentence, tuple(notices), is_measured=True)


def _doubts(body: NDArray[Any], limits: Limits, modality: str) -> tuple[str, ...]:
    """Say if most of a window holds almost no voxels of the body, as with stuck numbers in it."""
    found = find_emptiness(body[:, np.newaxis], limits)
    if found is None:
        return ()
    low, high = (f"{number:.6g}" for number in found.bulk)
    words = (
        f"{100 * found.of_range:.0f} % of the range {_span(limits, '')} hold almost no voxels: "
        f"{percent(found.of_pixels)} of the body lie between {low} and {high}; details are lost, "
        f"--range {modality}={low},{high} shows them"
    )
    return (words,)


# --- the body -------------------------------------------------------------------------------------


def body_mask(values: NDArray[Any], valid: Mask | None = None, modality: str = "mri") -> Mask:
    """Return a mask (slices, height, width) of the patient: not air, noise or table.

    It is the largest connected region above a threshold, with its holes (sinuses, lungs,
    ventricles) filled in every slice; or everything valid, if that region is smaller than MIN_BODY
    of the volume. The threshold of CT is Otsu's, which separates air from tissue. In MRI, PET and
    SPECT it would separate dark from bright tissue (muscle from fat, a tumour from all else): there
    the threshold is a tenth of the way from the 2nd to the 98th percentile of all but the lowest
    values, as in FSL's BET (Smith, Fast robust automated brain extraction, 2002).
    """
    everything = np.ones(values.shape, bool) if valid is None else valid
    seen = values[everything].astype(np.float32)
    above = seen[seen > seen.min()] if seen.size else seen
    if not above.size:
        return everything
    low, high = (float(one) for one in np.percentile(above, FAINT))
    level = otsu(np.minimum(seen, high)) if modality == "ct" else low + TENTH * (high - low)
    labels, count = ndimage.label(everything & (values > level))
    if count == 0:
        return everything
    sizes = np.bincount(labels.ravel())[1:]
    body = labels == 1 + int(sizes.argmax())
    filled = np.stack([ndimage.binary_fill_holes(part) for part in body]) & everything
    return filled if filled.mean() >= MIN_BODY else everything


def otsu(values: NDArray[Any]) -> float:
    """Return the threshold that splits values into two groups of least variance (Otsu, 1979)."""
    try:
        counts, edges = np.histogram(values, BINS)
    except ValueError:  # their type has fewer numbers between them than bins
        counts, edges = np.histogram(values.astype(np.float64), BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    sums = np.cumsum(counts * middles)
    mean_below = sums[:-1] / np.maximum(below[:-1], 1)
    mean_above = (sums[-1] - sums[:-1]) / np.maximum(above[1:], 1)
    between = below[:-1] * above[1:] * np.square(mean_below - mean_above)
    return float(edges[1 + int(between.argmax())])


# --- samples, words -------------------------------------------------------------------------------


def _sample(image: Image) -> tuple[NDArray[Any], Mask]:
    """Return the volume on a lattice of at most SAMPLES voxels, finite, and where it is valid."""
    count = math.prod(image.grid.shape)
    step = math.ceil((count / SAMPLES) ** (1 / 3)) if count > SAMPLES else 1
    part = (slice(None, None, step),) * 3
    values = image.pixels[part][..., 0]
    thin = Image(
        values[..., None],
        image.grid,
        valid=None if image.valid is None else image.valid[part],
        nodata=image.nodata,
    )
    valid = valid_pixels(thin)
    if valid is None:
        return values, np.ones(values.shape, bool)
    return np.where(valid, values, 0), valid


def _range(image: Image) -> Limits:
    values, valid = _sample(image)
    seen = values[valid]
    return (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)


def _title(modality: str) -> str:
    return modality.upper()


def _unit(image: Image) -> str:
    return f" {image.unit}" if image.unit else ""


def _span(limits: Limits, unit: str) -> str:
    return f"{limits[0]:.6g} to {limits[1]:.6g}{unit}"
