"""What is done to stored numbers before they are scaled: palettes, no data, dead pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fnetcli.imaging import palettes
from fnetcli.imaging.dead import find_dead, repair
from fnetcli.imaging.image import Image, Mask, Stored
from fnetcli.imaging.intensity import Corrections, percent, valid_pixels
from fnetcli.imaging.nodata import Marked, Telemetry, find_marks, find_telemetry
from fnetcli.modalities import BY_NAME
from fnetcli.text import number_of, verb_of

MAX_DRAWN_OVER = 0.005  # share of pixels that are not of a palette, from which it is said


@dataclass(frozen=True)
class Corrected:
    """An image after corrections, and what was done, as a manifest tells it."""

    image: Image  # its notices say what was done, where that may be wrong
    facts: dict[str, Any] = field(default_factory=dict)


def correct(image: Image, modality: str, wanted: Corrections) -> Corrected:
    """Undo a palette, mark what no sensor measured as no data, replace dead pixels.

    An image that is in [0, 1] already, or has several slices, comes back as it is.
    """
    if image.is_unit or image.grid.shape[0] != 1:
        return Corrected(image)
    facts: dict[str, Any] = {}
    image = _without_palette(image, modality, wanted.palette, facts)
    image, specks = _with_marks(image, modality, wanted, facts)
    if wanted.repairs_dead:
        image = _repaired(image, specks, facts)
    return Corrected(image, facts)


# --- palettes -------------------------------------------------------------------------------------


def _without_palette(image: Image, modality: str, name: str, facts: dict[str, Any]) -> Image:
    if name == palettes.NONE or not image.is_color:
        return image
    if image.pixels.dtype.kind != "u":
        notice = f"its colours are {image.pixels.dtype} numbers: --palette {modality} is not used"
        return replace(image, notices=(*image.notices, notice))
    rgb = _bytes(image)
    if not palettes.has_colors(rgb):
        return image
    fit = palettes.find_palette(rgb, name)
    if name == palettes.AUTO and not fit.is_good:
        notice = (
            f"its colours fit no known palette (the nearest, {fit.name}, is {fit.distance:.0f} of "
            f"255 levels away on average), so none is undone; --palette {modality}=NAME chooses one"
        )
        return replace(image, notices=(*image.notices, notice))
    grey, fit = palettes.undo(rgb, fit)
    facts["palette"] = {"name": fit.name, "error": round(fit.distance, 2)}
    notices = []
    if not fit.is_good:
        notices.append(
            f"its colours are on average {fit.distance:.0f} of 255 levels away from the palette "
            f"{fit.name}: it may be another one; --palette {modality}=auto finds the nearest"
        )
    elif fit.drawn_over > MAX_DRAWN_OVER:
        notices.append(
            f"{percent(fit.drawn_over)} of the pixels are grey, and not of the palette {fit.name} "
            "(text, a logo?): their values mean nothing; crop them off, or export it without "
            "them"
        )
    return replace(
        image,
        pixels=grey[None],
        stored_type=grey.dtype,
        bits=None,
        color_profile=None,
        notices=(*image.notices, *notices),
    )


def palette_words(image: Image) -> str | None:
    """Say which known palette the colours of a picture lie on; None where on none."""
    if not image.is_color or image.pixels.dtype.kind != "u" or image.grid.shape[0] != 1:
        return None
    rgb = _bytes(image)
    fit = palettes.find_palette(rgb) if palettes.has_colors(rgb) else None
    if fit is None or not fit.is_good:
        return None
    return (
        f"its colours lie on the palette {fit.name}: if it is thermal, its luminance is used, and "
        "hot may come out dark; --palette ir=auto undoes it"
    )


def _bytes(image: Image) -> Stored:
    """Return the colours (H, W, 3) as 0..255."""
    pixels: Stored = image.pixels[0]
    if pixels.dtype == np.uint8:
        return pixels
    white = (1 << (image.bits or 8 * pixels.itemsize)) - 1
    scaled: Stored = np.rint(pixels * (255 / white)).astype(np.uint8)
    return scaled


# --- no data --------------------------------------------------------------------------------------


def _with_marks(
    image: Image, modality: str, wanted: Corrections, facts: dict[str, Any]
) -> tuple[Image, Mask | None]:
    """Mark what is no data; return also which of these pixels (H, W) are single ones."""
    if wanted.nodata is not None:
        return _as_told(image, wanted.nodata), None
    known = BY_NAME[modality]
    if image.pixels.itemsize == 1 or known.is_volumetric:
        return image, None
    only_high = known.fills_its_type and image.pixels.dtype == np.uint16
    pixels, valid = image.pixels[0], valid_pixels(image)
    seen = np.ones(pixels.shape[:2], bool) if valid is None else valid[0].copy()
    if image.alpha is not None:
        seen &= image.alpha[0] > 0
    notices, values = [], []
    lost, specks = np.zeros(seen.shape, bool), np.zeros(seen.shape, bool)
    if telemetry := find_telemetry(pixels, seen):
        notices.append(_telemetry_words(telemetry, modality))
        lost |= telemetry.pixels
        facts["telemetry_rows"] = telemetry.top + telemetry.bottom
    for mark in find_marks(pixels, seen & ~lost, only_high=only_high):
        notices.append(_mark_words(mark, modality, is_repaired=wanted.repairs_dead))
        values.append(mark.value)
        lost |= mark.pixels
        specks |= mark.pixels & mark.are_specks
    if not notices:
        return image, None
    if values:
        facts["nodata"] = values
    whole = ~lost if valid is None else valid[0] & ~lost
    return replace(image, valid=whole[None], notices=(*image.notices, *notices)), specks


def _as_told(image: Image, numbers: tuple[float, ...]) -> Image:
    """Return an image in which these numbers are no data; without any, no number is."""
    if not numbers:
        return replace(image, nodata=None)
    pixels = image.pixels
    kind = pixels.dtype if pixels.dtype.kind == "f" else np.dtype(np.float64)
    lost = np.zeros(pixels.shape[:3], bool)
    with np.errstate(over="ignore"):
        for number in numbers:
            lost |= (pixels == np.asarray(number).astype(kind)).all(axis=-1)
    nodata = numbers[0] if image.nodata is None else image.nodata
    if not lost.any():
        return replace(image, nodata=nodata)
    valid = ~lost if image.valid is None else image.valid & ~lost
    return replace(image, nodata=nodata, valid=valid)


def _mark_words(mark: Marked, modality: str, *, is_repaired: bool) -> str:
    share = percent(float(np.mean(mark.pixels)))
    count = int(np.count_nonzero(mark.pixels))
    where = (
        f"{number_of(count, 'pixel')} ({share}) {verb_of(count, 'holds', 'hold')} {mark.value:g}, "
        f"far from all others ({mark.low:g} to "
    )
    if mark.are_specks and is_repaired:
        return f"{where}{mark.high:g}): repaired; --nodata {modality}=none if they are data"
    words = f"{where}{mark.high:g}): taken as no data; --nodata {modality}=none if they are data"
    if mark.are_specks:
        words += f", --repair-dead {modality} if they are dead pixels"
    return words


def _telemetry_words(found: Telemetry, modality: str) -> str:
    rows = [
        f"{side} {count}" for side, count in (("first", found.top), ("last", found.bottom)) if count
    ]
    count, share = np.count_nonzero(found.pixels), percent(float(np.mean(found.pixels)))
    return (
        f"the {' and the '.join(rows)} rows hold no scene, as a camera's telemetry: their {count} "
        f"pixels ({share}) are taken as no data; --nodata {modality}=none if they are data"
    )


# --- dead pixels ----------------------------------------------------------------------------------


def _repaired(image: Image, specks: Mask | None, facts: dict[str, Any]) -> Image:
    """Replace dead pixels, and single ones that hold a mark of no data."""
    valid = valid_pixels(image)
    pixels = image.pixels[0]
    seen = np.ones(pixels.shape[:2], bool) if valid is None else valid[0]
    dead = find_dead(pixels, seen)
    if specks is not None:
        dead |= specks
    facts["repaired"] = 0
    if not dead.any():
        return image
    done = repair(pixels, dead, seen)
    facts["repaired"] = int(np.count_nonzero(done.where))
    image = replace(image, pixels=done.pixels[None])
    if image.valid is None:
        return image
    whole = image.valid[0] | done.where
    return replace(image, valid=None if whole.all() else whole[None])


def facts_words(facts: dict[str, Any]) -> Iterator[str]:
    """Yield what was done that is good to know, and no warning."""
    if "palette" in facts:
        name, error = facts["palette"]["name"], facts["palette"]["error"]
        yield (
            f"the palette {name} is undone; the colours are on average {error:g} of 255 levels "
            "away from it"
        )
    if "repaired" in facts:
        count = facts["repaired"]
        them = "it" if count == 1 else "them"
        yield (
            f"{number_of(count, 'dead pixel')} {verb_of(count)} replaced by the median around "
            f"{them}"
        )
