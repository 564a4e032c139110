"""Add colour to fused volumes; notices about the colours of their sources."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fnetcli.errors import UsageError
from fnetcli.files.scratch import scratch_array
from fnetcli.imaging import color
from fnetcli.imaging.image import Image
from fnetcli.imaging.intensity import to_stored
from fnetcli.modalities import BY_NAME, TABLE
from fnetcli.models.base import Maps
from fnetcli.products import Gains
from fnetcli.text import near_miss
from fnetcli.volumes.prepare import PreparedVolumes, slabs, unit_slab, unit_slices

Below = Literal["fused", "anatomy"]

DEFAULT_COLORMAP, DEFAULT_OPACITY = "hot", 0.7
FULL = 0.3  # of the window: from here on colours are as opaque as they get; below they fade


@dataclass(frozen=True)
class VolumeMixOptions:
    """How to turn a network's output into the fused volume, and PET or SPECT into colours over it.

    None: the default, if there is anything to colour. `below` is what lies under the colours.
    """

    gains: Gains = field(default_factory=dict)
    colormap: str | None = None
    opacity: float | None = None
    below: Below = "fused"
    is_grey: bool = False

    def colors(self, modalities: tuple[str, str]) -> bool:
        """Whether a volume in colour is written."""
        return not self.is_grey and any(BY_NAME[name].is_emission for name in modalities)

    def require_fitting(self, modalities: tuple[str, str]) -> None:
        """Raise UsageError for an impossible choice, and for one without anything to colour."""
        if self.colormap is not None and self.colormap not in color.COLORMAPS:
            known = color.COLORMAPS
            todo = near_miss(self.colormap, known) or f"use one of {', '.join(known)}"
            raise UsageError(f"--colormap {self.colormap}: unknown; {todo}")
        if self.opacity is not None and not 0 <= self.opacity <= 1:
            raise UsageError(f"--opacity {self.opacity:g}: give a number from 0 to 1")
        chosen = {
            "--colormap": self.colormap is not None,
            "--opacity": self.opacity is not None,
            "--below": self.below != "fused",
        }
        for option in (name for name, is_given in chosen.items() if is_given):
            if self.is_grey:
                raise UsageError(f"{option} and --grey: nothing is coloured; leave one out")
            if not self.colors(modalities):
                raise UsageError(
                    f"{option}: colours PET or SPECT, but neither is given; leave it out"
                )

    def colored(self, prepared: PreparedVolumes) -> tuple[int, str] | None:
        """Return which volume a colour map colours, and the map's name."""
        if self.is_grey or _own_colors(prepared) is not None:
            return None
        emitting = (i for i, name in enumerate(prepared.modalities) if BY_NAME[name].is_emission)
        index = next(emitting, None)
        return None if index is None else (index, self.colormap or DEFAULT_COLORMAP)

    def record(self, modalities: tuple[str, str]) -> dict[str, Any]:
        """Return what decides about colours, ready for JSON."""
        if not self.colors(modalities):
            return {"colormap": None}
        opacity = DEFAULT_OPACITY if self.opacity is None else self.opacity
        return {
            "colormap": self.colormap or DEFAULT_COLORMAP,
            "opacity": opacity,
            "below": self.below,
        }


def in_color(
    prepared: PreparedVolumes, fused: Maps, mix: VolumeMixOptions, beside: Path
) -> NDArray[np.uint8] | None:
    """Return the fused volume in colour, (slices, height, width, 3), or None without colours.

    A volume in colour gives its chroma to the fused volume. Other PET or SPECT lies over it: the
    colour of a value is that of the colour map, covers what is below by the opacity, and fades to
    nothing below FULL of the window. So the hue says how much was measured.
    """
    if mix.is_grey:
        return None
    own = _own_colors(prepared)
    bar = mix.colored(prepared)
    giver = own if bar is None else bar[0]
    if giver is None:
        return None
    colored: NDArray[np.uint8] = scratch_array(beside, (*fused.shape, 3), np.uint8)
    for slab in slabs(fused.shape):
        unit = unit_slices(prepared.on_grid[giver], slab, prepared.scalings[giver])
        if own is not None:
            rgb = color.with_luminance(unit.pixels, fused[slab][..., None])
        else:
            below = fused[slab]
            if mix.below == "anatomy":
                other = 1 - giver
                below, _ = unit_slab(prepared.on_grid[other], slab, prepared.scalings[other])
            rgb = _overlaid(below, unit, mix)
        colored[slab] = to_stored(rgb, np.uint8)
    return colored


def _own_colors(prepared: PreparedVolumes) -> int | None:
    """Return which volume has colours of its own that mean something."""
    for i, (image, name) in enumerate(zip(prepared.sources, prepared.modalities, strict=True)):
        if BY_NAME[name].carries_color and has_color(image):
            return i
    return None


def _overlaid(below: Maps, unit: Image, mix: VolumeMixOptions) -> Maps:
    """Return RGB: a colour map's colours over grey (slices, height, width)."""
    grey = color.luminance(unit.pixels) if unit.is_color else unit.pixels
    values = grey if unit.valid is None else np.where(unit.valid[..., None], grey, np.float32(0))
    colors = color.colormap(mix.colormap or DEFAULT_COLORMAP, values[..., 0])
    opacity = DEFAULT_OPACITY if mix.opacity is None else mix.opacity
    cover = np.float32(opacity) * np.clip(values / np.float32(FULL), 0, 1)
    return np.asarray(below[..., None] * (1 - cover) + colors * cover, np.float32)


def has_color(image: Image) -> bool:
    """Whether a volume is in colour, and not grey that is stored as colour."""
    if not image.is_color:
        return False
    white = np.float32(np.iinfo(image.pixels.dtype).max if image.pixels.dtype.kind == "u" else 1)
    return not all(color.is_gray(plane.astype(np.float32) / white) for plane in image.pixels)


def notices_of(prepared: PreparedVolumes, mix: VolumeMixOptions) -> list[str]:
    """Return what a user should know about this case."""
    found = list(prepared.notices)
    for image, modality in zip(prepared.sources, prepared.modalities, strict=True):
        found += _source_notices(image, modality, mix)
    for modality, image, window in zip(
        prepared.modalities, prepared.sources, prepared.windows, strict=True
    ):
        found += [f"{modality}: {text}" for text in (*window.notices, *image.notices)]
    return found


def _source_notices(image: Image, modality: str, mix: VolumeMixOptions) -> list[str]:
    """Return whether files are of another modality than given, and how their colours are used."""
    found = []
    known = BY_NAME[modality]
    kind = "" if image.series is None else str(image.series.headers[0].get("Modality", ""))
    # Captures may be anything; only another modality is a contradiction.
    if kind != known.dicom and kind in {one.dicom for one in TABLE if one.dicom}:
        found.append(f"{modality}: its files declare {kind}; check that this is the right folder")
    if not has_color(image):
        return found
    if not known.carries_color:
        words = "it has colours, which have no meaning there: its luminance is used"
    elif mix.is_grey:
        words = "it is in colour; its luminance is used"
    else:
        words = "it is in colour, and its colours are kept"
    return [*found, f"{modality}: {words}"]
