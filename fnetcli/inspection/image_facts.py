"""What the loader sees in a file: format, size, depth, range, and how it would be scaled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fnetcli.formats import ReadOptions, probe_image, read_image
from fnetcli.formats.volumes import VolumeOptions, read_volume
from fnetcli.image import Image, Stored
from fnetcli.intensity import ScalingOptions, scale, seen_pixels, valid_pixels
from fnetcli.modality import MODALITIES, VOLUMETRIC
from fnetcli.resample import plane_of, spacing
from fnetcli.windows import window_of

PERCENTILES = (0.1, 1, 50, 99, 99.9)


def image_facts(path: Path, page: int | None, pixel_limit: int) -> dict[str, Any]:
    """Return what there is to say of a picture. Raise ReadError."""
    reading = ReadOptions(page, pixel_limit)
    header, image = probe_image(path, reading), read_image(path, reading)
    depth = f"{image.stored_type}" + (f", {image.bits} bits used" if image.bits else "")
    facts = {
        "file": str(path),
        "format": header.format,
        "size": f"{image.grid.size} pixels",
        "channels": ("RGB" if image.is_color else "grey")
        + (", transparency" if image.alpha is not None else ""),
        "depth": depth,
        "pages": header.pages,
        "georeference": "yes" if image.georeference else "no",
        **_numbers(image),
    }
    ways = dict[str, list[str]]()
    for modality in MODALITIES:
        chosen = ScalingOptions().choose(image.stored_type, modality, image.bits)
        scaled = scale(image, chosen)
        how = "percentiles 0.1, 99.9: " if chosen.are_percentiles else ""
        ways.setdefault(f"{how}{scaled.low:g} to {scaled.high:g}", []).append(modality)
    facts["scaled"] = _by_way(ways)
    return facts | ({"notice": list(image.notices)} if image.notices else {})


def volume_facts(path: Path, pixel_limit: int) -> dict[str, Any]:
    """Return what there is to say of a volume; nothing from a patient's header. Raise ReadError."""
    image = read_volume(path, VolumeOptions(pixel_limit=pixel_limit))
    slices = image.grid.shape[0]
    facts: dict[str, Any] = {
        "file": str(path),
        "format": "DICOM" if image.series is not None else "NIfTI",
        "size": f"{image.grid.size} pixels, {slices} slices",
        "channels": "RGB" if image.is_color else "grey",
        "depth": str(image.stored_type),
        "unit": image.unit or "unknown",
    }
    if image.grid.affine is None:
        facts["place"] = "unknown"
    else:
        steps = spacing(image.grid)
        facts["spacing"] = f"{steps[2]:.4g} x {steps[1]:.4g} x {steps[0]:.4g} mm"
        facts["plane"] = plane_of(image.grid)
    facts |= _numbers(image)
    ways = dict[str, list[str]]()
    notices = list(image.notices)
    for modality in VOLUMETRIC:
        window = window_of(image, modality)
        ways.setdefault(window.sentence, []).append(modality)
    facts["scaled"] = _by_way(ways)
    return facts | ({"notice": notices} if notices else {})


def _by_way(ways: dict[str, list[str]]) -> list[str]:
    return [f"as {', '.join(modalities)}: {way}" for way, modalities in ways.items()]


def _numbers(image: Image) -> dict[str, Any]:
    seen = seen_pixels(image)
    valid = valid_pixels(image)
    missing = 0 if valid is None else int(valid.size - np.count_nonzero(valid))
    facts: dict[str, Any] = {"without data": f"{missing} pixels"}
    if seen.size:
        facts["range"] = f"{seen.min():g} to {seen.max():g}, mean {seen.mean(dtype=np.float64):.6g}"
        facts["percentiles"] = _percentiles(seen.ravel())
    return facts


def _percentiles(values: Stored) -> str:
    found = np.percentile(values.astype(np.float64), PERCENTILES)
    return ", ".join(
        f"{share:g} %: {number:.6g}" for share, number in zip(PERCENTILES, found, strict=True)
    )
