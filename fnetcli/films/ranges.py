"""The range of a film: one for all its frames, or one that moves slowly.

A range chosen for every frame on its own would make what does not move flicker.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import numpy as np

from fnetcli.films.clock import Timing, expected, moments
from fnetcli.films.sequences import FrameSequence
from fnetcli.imaging.corrections import correct
from fnetcli.imaging.image import Image
from fnetcli.imaging.intensity import Limits, Scaled, ScalingOptions, own_limits
from fnetcli.imaging.palettes import AUTO
from fnetcli.imaging.ranges import stray_ranges
from fnetcli.inputs.pairing import Source
from fnetcli.pictures.place import estimate_over_frames
from fnetcli.pictures.prepare import PrepareOptions, scale_both
from fnetcli.pictures.survey import MAX_FRAMES, Messages, tell_place, with_found_bits

FilmScope = Literal["image", "folder", "moving"]
MAX_MEASURED = 500  # frames that decide the range of a film
MAX_STRAYS = 0.05  # share of the frames that no range needs to fit: a shutter, a flash
MAX_MOVE = 0.5 / 255  # of a range, from frame to frame: half a grey level
SHOWN_STRAYS = 3

FoundT = TypeVar("FoundT")


@dataclass(frozen=True)
class _Side:
    """Some frames of a sequence, as evenly spaced as they come (survey.Side)."""

    modality: str
    sequence: FrameSequence
    scaling: ScalingOptions
    timing: Timing
    on_step: Callable[[], None]

    @property
    def types(self) -> dict[Source, np.dtype[Any]]:
        """The type of all frames."""
        return {Source(self.sequence.path): self.sequence.dtype}

    def measure(
        self, paths: list[Source], find: Callable[[Image], FoundT | None]
    ) -> Iterator[tuple[Source, FoundT]]:
        """Read frames, correct them, and yield what is found in them, in order."""
        step = max(1, math.ceil((self.sequence.count or 0) / MAX_MEASURED))
        frames = self.sequence.frames(self.timing.start, step) if paths else iter(())
        for i, frame in enumerate(frames):
            if self.timing.end is not None and frame.time >= self.timing.end:
                return
            self.on_step()
            image = correct(frame.read(), self.modality, self.scaling.corrections).image
            found = find(image)
            if found is not None:
                yield Source(self.sequence.path, i * step + 1), found


def survey_film(
    sequences: tuple[FrameSequence, FrameSequence],
    options: PrepareOptions,
    timing: Timing,
    scope: FilmScope,
    on_step: Callable[[], None] = lambda: None,
) -> tuple[PrepareOptions, Messages]:
    """Fill in what the whole film decides: palettes, bits in use, one range, one transform.

    Raise ImageError.
    """
    messages = Messages()
    scalings = list[ScalingOptions]()
    own_times = (_of_first(timing), timing)
    for modality, sequence, scaling, span in zip(
        options.modalities, sequences, options.scaling, own_times, strict=True
    ):
        known = _with_palette(sequence, modality, scaling)
        side = _Side(modality, sequence, known, span, on_step)
        known = with_found_bits(side, messages)
        if scope == "folder" and known.is_stretched(sequence.dtype, modality):
            limits = _film_limits(side, messages)
            if limits is not None:
                messages.notices.append(
                    f"{modality}: {limits[0]:g} to {limits[1]:g} become black to white in the "
                    "whole film"
                )
            known = replace(known, folder_limits=limits)
        scalings.append(known)
    first, second = scalings
    completed = replace(options, scaling=(first, second))
    if completed.place.needs_folder:
        some = _some_pairs(sequences, completed, timing, on_step)
        found = estimate_over_frames(some, options.modalities, completed.place)
        tell_place(found, "frames", messages)
        completed = replace(completed, place=found)
    return completed, messages


def _some_pairs(
    sequences: tuple[FrameSequence, FrameSequence],
    options: PrepareOptions,
    timing: Timing,
    on_step: Callable[[], None],
) -> Iterator[tuple[Scaled, Scaled]]:
    """Yield frames that belong together, spread over the film."""
    step = max(1, math.ceil((expected(*sequences, timing) or 0) / MAX_FRAMES))
    for i, moment in enumerate(moments(*sequences, timing)):
        if i % step == 0:
            on_step()
            yield scale_both(moment.first.read(), moment.second.read(), options)


def _of_first(timing: Timing) -> Timing:
    """Return the same span on the first sequence's clock."""
    end = None if timing.end is None else timing.end - timing.offset
    return Timing(start=max(timing.start - timing.offset, timing.start * 0), end=end)


def _with_palette(
    sequence: FrameSequence, modality: str, scaling: ScalingOptions
) -> ScalingOptions:
    """Choose a palette once: the one that the first frame has."""
    if scaling.corrections.palette != AUTO:
        return scaling
    for frame in sequence.frames(sequence.time_base * 0, 1):
        facts = correct(frame.read(), modality, scaling.corrections).facts
        if "palette" not in facts:
            break
        name = facts["palette"]["name"]
        return replace(scaling, corrections=replace(scaling.corrections, palette=name))
    return scaling


def _film_limits(side: _Side, messages: Messages) -> Limits | None:
    """Return one range in which no measured frame loses more than in its own, but for strays.

    It reaches from the lowest of the frames' low percentiles to the highest of their high ones; if
    these are equal, from the lowest number to the highest.
    """
    stretch = side.scaling.stretch
    if stretch is None:
        return None
    kind = [*side.types]
    measured = [*side.measure(kind, lambda image: own_limits(image, stretch))]
    for which in (0, 1):  # the percentiles of all frames, then their extremes
        found = [(source, limits[which]) for source, limits in measured]
        found = _without_strays(side.modality, found, messages)
        if not found:
            return None
        low, high = min(low for _, (low, _) in found), max(high for _, (_, high) in found)
        if low < high:
            return low, high
    return None


def _without_strays(
    modality: str, found: list[tuple[Source, Limits]], messages: Messages
) -> list[tuple[Source, Limits]]:
    """Leave out a few frames whose range has nothing in common with the others."""
    strays = stray_ranges([limits for _, limits in found])
    if not strays:
        return found
    names = ", ".join(str(found[i][0].page) for i in strays[:SHOWN_STRAYS])
    more = f" and {len(strays) - SHOWN_STRAYS} more" if len(strays) > SHOWN_STRAYS else ""
    words = (
        f"{modality}: the range of frames {names}{more} has nothing in common with that of the "
        "others"
    )
    if len(strays) > MAX_STRAYS * len(found):
        messages.warnings.append(
            f"{words}, so one range fits none: details of all are lost; --stretch-scope moving "
            f"follows them, --range {modality}=LO,HI chooses"
        )
        return found
    messages.notices.append(f"{words}: the range of the film leaves them out")
    return [one for i, one in enumerate(found) if i not in {*strays}]


@dataclass
class MovingRanges:
    """Ranges that follow the frames, so slowly that what does not move keeps its grey.

    From frame to frame neither end moves by more than half a grey level of the range.
    """

    options: PrepareOptions
    dtypes: tuple[np.dtype[Any], np.dtype[Any]]
    limits: list[Limits | None] = field(default_factory=lambda: [None, None])

    def follow(self, images: tuple[Image, Image]) -> PrepareOptions:
        """Return the options for the next pair of frames."""
        scalings = list(self.options.scaling)
        for i, (image, modality, dtype) in enumerate(
            zip(images, self.options.modalities, self.dtypes, strict=True)
        ):
            scaling = scalings[i]
            if scaling.stretch is None or not scaling.is_stretched(dtype, modality):
                continue
            corrected = correct(image, modality, scaling.corrections).image
            found = own_limits(corrected, scaling.stretch)
            if found is not None:
                own = next((one for one in found if one[0] < one[1]), None)
                self.limits[i] = _moved(self.limits[i], own)
            scalings[i] = replace(scaling, folder_limits=self.limits[i])
        first, second = scalings
        return replace(self.options, scaling=(first, second))


def _moved(before: Limits | None, own: Limits | None) -> Limits | None:
    if before is None or own is None:
        return own if before is None else before
    most = MAX_MOVE * (before[1] - before[0])
    low, high = (
        now + min(max(wanted - now, -most), most) for now, wanted in zip(before, own, strict=True)
    )
    return low, high
