"""One picture as read to one that is scaled: corrections, the choice of a range, and doubts."""

from __future__ import annotations

from dataclasses import replace

from fnetcli.imaging.corrections import correct
from fnetcli.imaging.image import Image
from fnetcli.imaging.intensity import (
    Scaled,
    Scaling,
    ScalingOptions,
    in_stored_numbers,
    percent,
    scale,
    seen_pixels,
)
from fnetcli.imaging.ranges import find_emptiness


def scale_source(image: Image, modality: str, options: ScalingOptions) -> Scaled:
    """Correct a picture, choose its range and scale it; say where the range does not fit it.

    Raise ImageError for a range in degrees Celsius if the picture holds no temperatures.
    """
    options = in_stored_numbers(options, image, modality)
    corrected = correct(image, modality, options.corrections)
    image = corrected.image
    scaling = options.choose_for(image, modality)
    scaled = scale(image, scaling)
    doubts = range_doubts(image, modality, options, scaled)
    return replace(scaled, notices=(*scaled.notices, *doubts), facts=corrected.facts)


def scale_again(image: Image, modality: str, options: ScalingOptions, scaling: Scaling) -> Scaled:
    """Scale a picture as it was scaled before, by a range that is known."""
    return scale(correct(image, modality, options.corrections).image, scaling)


def range_doubts(
    image: Image, modality: str, options: ScalingOptions, scaled: Scaled
) -> tuple[str, ...]:
    """Say where most of a range that was chosen, by hand or by percentiles, holds no pixels.

    The fixed ranges of 8-bit and visible pictures are no choice, and one range for a folder is
    looked at when it is chosen.
    """
    if image.is_unit or not options.is_chosen(image.stored_type, modality):
        return ()
    found = find_emptiness(seen_pixels(image), (scaled.low, scaled.high))
    if found is None:
        return ()
    low, high = (f"{number:.6g}" for number in found.bulk)
    words = (
        f"{100 * found.of_range:.0f} % of the range {scaled.low:g} to {scaled.high:g} hold almost "
        f"no pixels: {percent(found.of_pixels)} lie between {low} and {high}"
    )
    if found.others is not None:
        lowest, highest = found.others
        words += f", the others from {lowest:.6g} to {highest:.6g}"
    words += (
        f"; details are lost: --range {modality}={low},{high} or --stretch {modality}=2,98 shows "
        f"them; numbers from no sensor are left out by --nodata {modality}=VALUE, dead pixels by "
        f"--repair-dead {modality}"
    )
    return (words,)
