"""Turn a network's output into a picture: scale and sum the parts, add colour and metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fnetcli.imaging import color
from fnetcli.imaging.image import Image, Mask, Pixels, Stored, bands
from fnetcli.imaging.intensity import Scaled, to_stored
from fnetcli.modalities import BY_NAME
from fnetcli.models.base import Fusion, Maps
from fnetcli.pictures.prepare import Prepared, has_color
from fnetcli.products import Gains


@dataclass(frozen=True)
class MixOptions:
    """How to turn a network's output into the fused picture."""

    gains: Gains = field(default_factory=dict)
    is_gray: bool = False  # luminance only


def giver_of_color(prepared: Prepared, mix: MixOptions) -> Scaled | None:
    """Return the image whose colours are meaningful, if it has any and they are wanted."""
    if not mix.is_gray:
        for scaled, modality in zip(prepared.scaled, prepared.modalities, strict=True):
            if BY_NAME[modality].carries_color and has_color(scaled):
                return scaled
    return None


def mixed_picture(
    giver: Scaled | None, fusion: Fusion[Maps], gains: Gains, kind: np.dtype[Any]
) -> Stored:
    """Return the fused luminance with the colours of `giver`, (slices, H, W, 1 or 3); clip once."""
    some = fusion.whole if fusion.whole is not None else next(iter(fusion.parts.values()))
    shape = some.shape
    picture = np.empty((*shape, 1 if giver is None else 3), kind)
    for band in bands((shape[1], shape[0] * shape[2])):
        unit = _mixed(_rows(fusion, band), gains)[..., None]
        if giver is not None:
            unit = color.with_luminance(giver.rows(band), unit)
        picture[:, band] = to_stored(unit, kind)
    return picture


def _mixed(fusion: Fusion[Maps], gains: Gains) -> Maps:
    """Return the fused luminance with every part scaled by its gain; gains of 1 change no bit."""
    if all(gain == 1 for gain in gains.values()):
        return fusion.fused
    weighed = {role: np.float32(gains.get(role, 1.0)) * part for role, part in fusion.parts.items()}
    return Fusion(None, weighed).fused


def _rows(fusion: Fusion[Maps], band: slice) -> Fusion[Maps]:
    """Return some rows of the fused luminance and its parts."""
    return Fusion(
        None if fusion.whole is None else fusion.whole[:, band],
        {role: part[:, band] for role, part in fusion.parts.items()},
    )


def in_place_of(prepared: Prepared, pixels: Stored) -> Image:
    """Return the fused image with the georeference, transparency and profile of its sources."""
    x, y = prepared.images
    was_first_resized, was_second_resized = prepared.were_resized
    kept = [y] * (not was_second_resized) + [x] * (not was_first_resized)
    return Image(
        pixels=pixels,
        grid=y.grid,
        stored_type=y.stored_type,
        is_unit=pixels.dtype == np.float32,
        alpha=_alpha(prepared),
        valid=_both_valid(x.valid, y.valid),
        nodata=next((unit.nodata for unit in kept if unit.nodata is not None), None),
        georeference=next((unit.georeference for unit in kept if unit.georeference), None),
        color_profile=y.color_profile if pixels.shape[-1] == 3 else None,
    )


def _both_valid(first: Mask | None, second: Mask | None) -> Mask | None:
    if first is None or second is None:
        return second if first is None else first
    both: Mask = first & second
    return both


def _alpha(prepared: Prepared) -> Pixels | None:
    """Return the transparency of the image that provides colour, else of the other one."""
    by_importance = sorted(
        zip(prepared.images, prepared.modalities, strict=True),
        key=lambda pair: not BY_NAME[pair[1]].carries_color,
    )
    return next((image.alpha for image, _ in by_importance if image.alpha is not None), None)


def notices_of(prepared: Prepared, fused: Image) -> list[str]:
    """Return what a user should know about this pair."""
    notices = []
    for modality, scaled in zip(prepared.modalities, prepared.scaled, strict=True):
        notices += [f"{modality}: {text}" for text in (*scaled.image.notices, *scaled.notices)]
        if not BY_NAME[modality].carries_color and has_color(scaled):
            notices.append(
                f"the {modality} picture has colours, which have no meaning there: its luminance "
                f"is used, and hot may come out dark; --palette {modality}=auto undoes a known "
                "palette, or export it as plain grey"
            )
    if prepared.placed is not None:
        notices += prepared.placed.notices
    notices += prepared.notices
    return notices + _place_notices(prepared, fused)


def _place_notices(prepared: Prepared, fused: Image) -> list[str]:
    """Return whether georeferences contradict each other or get lost."""
    found = [image.georeference for image in prepared.images if image.georeference]
    if found and not fused.georeference:
        return ["the georeference of the resized image is lost: the other image's size was kept"]
    if len(found) == 2 and not any(prepared.were_resized) and found[0].place != found[1].place:
        notice = "the two images are at different places on the map: they may not show the same"
        return [f"{notice} scene; the result has the georeference of {prepared.modalities[1]}"]
    return []
