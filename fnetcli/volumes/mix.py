"""Add colour to fused volumes; notices about the colours of their sources."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

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
from fnetcli.volumes.prepare import PreparedVolumes, slabs, unit_slices

DEFAULT_COLORMAP = "hot"


@dataclass(frozen=True)
class VolumeMixOptions:
    """How to turn a network's output into the fused volume."""

    gains: Gains = field(default_factory=dict)
    colormap: str | None = None  # of PET or SPECT, overlaid on the fused volume in a second file

    def require_fitting(self, modalities: tuple[str, str]) -> None:
        """Raise UsageError if the colour map does not exist, or has nothing to colour."""
        if self.colormap is None:
            return
        if self.colormap not in color.COLORMAPS:
            raise UsageError(
                f"--colormap {self.colormap}: unknown; use one of {', '.join(color.COLORMAPS)}"
            )
        if not any(BY_NAME[name].is_emission for name in modalities):
            raise UsageError("--colormap: colours PET or SPECT, but neither is given; leave it out")


def in_color(
    prepared: PreparedVolumes, fused: Maps, mix: VolumeMixOptions, beside: Path
) -> NDArray[np.uint8] | None:
    """Return the fused volume in colour, (slices, height, width, 3), or None without colours.

    Colours are those of a volume in colour, or of the colour map of PET or SPECT.
    """
    giver = _giver(prepared, mix)
    if giver is None:
        return None
    has_own = has_color(prepared.sources[giver])
    image, scaling = prepared.on_grid[giver], prepared.scalings[giver]
    colored: NDArray[np.uint8] = scratch_array(beside, (*fused.shape, 3), np.uint8)
    for slab in slabs(fused.shape):
        unit = unit_slices(image, slab, scaling)
        if has_own:
            rgb = unit.pixels
        else:
            values = color.luminance(unit.pixels) if unit.is_color else unit.pixels
            values = values[..., 0]
            if unit.valid is not None:
                values = np.where(unit.valid, values, np.float32(0))
            rgb = color.colormap(mix.colormap or DEFAULT_COLORMAP, values)
        colored[slab] = to_stored(color.with_luminance(rgb, fused[slab][..., None]), np.uint8)
    return colored


def _giver(prepared: PreparedVolumes, mix: VolumeMixOptions) -> int | None:
    """Return which of the two provides colour."""
    kinds = [BY_NAME[name] for name in prepared.modalities]
    for i, (image, kind) in enumerate(zip(prepared.sources, kinds, strict=True)):
        if kind.carries_color and has_color(image):
            return i
    if mix.colormap is not None:
        return next((i for i, kind in enumerate(kinds) if kind.is_emission), None)
    return None


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
    elif mix.colormap is not None:
        words = "it is in colour, and its colours are kept"
    else:
        words = (
            "its colours are shown in the preview; with --colormap they are also written to "
            "fused_color"
        )
    return [*found, f"{modality}: {words}"]
