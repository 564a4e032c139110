"""Which frames of two sequences belong together: those nearest in time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count

from fnetcli.films.sequences import FrameSequence
from fnetcli.formats.film import FilmFrame


@dataclass(frozen=True)
class Timing:
    """Which moments are fused; times are seconds of the second sequence's clock.

    A frame of the first sequence at 0 belongs to `offset`. `every`: only every n-th frame of the
    second one, from `start` on. `rate`: moments that are evenly spaced, not those of the second
    sequence's frames.
    """

    offset: Fraction = Fraction(0)
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    every: int = 1
    rate: Fraction | None = None

    def record(self) -> dict[str, object]:
        """Return it as JSON takes it."""
        return {
            "offset": str(self.offset),
            "start": str(self.start),
            "end": None if self.end is None else str(self.end),
            "every": self.every,
            "rate": None if self.rate is None else str(self.rate),
        }


@dataclass(frozen=True)
class Place:
    """A place in a film that is being made: how many moments are over, and the last one's time."""

    index: int = 0  # of the next moment
    last: Fraction | None = None  # seconds of the second sequence's clock
    passed: int = 0  # frames of the second sequence that were counted for `every`


@dataclass(frozen=True)
class Moment:
    """Two frames that belong together, and the place after them."""

    time: Fraction  # seconds of the second sequence's clock
    duration: Fraction
    first: FilmFrame
    second: FilmFrame
    gap: Fraction  # seconds between the two
    after: Place


class _Nearest:
    """The frame of a sequence nearest to a time, for times that increase."""

    def __init__(self, frames: Iterator[FilmFrame]) -> None:
        self._frames = frames
        self._current = next(frames, None)
        self._next = next(frames, None)
        first, second = self._current, self._next
        lead = first.duration if first and not second else Fraction(0)
        if first and second:
            lead = second.time - first.time
        self._begin = (first.time if first else Fraction(0)) - lead / 2

    def at(self, time: Fraction) -> FilmFrame | None:
        """Return the nearest frame; None before the first one, and after the last one's end."""
        while self._next is not None and self._is_next_nearer(time):
            self._current, self._next = self._next, next(self._frames, None)
        frame = self._current
        if frame is None or time < self._begin or self.is_over(time):
            return None
        return frame

    def is_over(self, time: Fraction) -> bool:
        """Whether the last frame has ended."""
        frame = self._current
        return frame is None or (self._next is None and time >= frame.time + frame.duration)

    def _is_next_nearer(self, time: Fraction) -> bool:
        if self._current is None or self._next is None:
            return False
        return self._next.time - time < time - self._current.time


def moments(
    first: FrameSequence, second: FrameSequence, timing: Timing, place: Place = Place()
) -> Iterator[Moment]:
    """Yield what belongs together, in order; go on after `place`. Raise ImageError."""
    resumed = timing.start if place.last is None else place.last
    others = _Nearest(first.frames(max(Fraction(0), resumed - timing.offset), 1))
    index = place.index
    for time, duration, passed, frame in _beats(second, timing, place):
        if timing.end is not None and time >= timing.end:
            return
        other = others.at(time - timing.offset)
        if other is None:
            if others.is_over(time - timing.offset):
                return
            continue
        index += 1
        gap = abs(other.time + timing.offset - time)
        yield Moment(time, duration, other, frame, gap, Place(index, time, passed))


Beat = tuple[Fraction, Fraction, int, FilmFrame]  # time, duration, frames counted, second's frame


def _beats(second: FrameSequence, timing: Timing, place: Place) -> Iterator[Beat]:
    """Yield the moments of a film, with the second sequence's frame."""
    if timing.rate is not None:
        yield from _even_beats(second, timing.start, timing.rate, place)
        return
    resumed = timing.start if place.last is None else place.last
    passed = place.passed
    for frame in second.frames(resumed, 1):
        if frame.time < timing.start or (place.last is not None and frame.time <= place.last):
            continue
        passed += 1
        if (passed - 1) % timing.every == 0:
            yield frame.time, frame.duration, passed, frame


def _even_beats(
    second: FrameSequence, start: Fraction, rate: Fraction, place: Place
) -> Iterator[Beat]:
    step = 1 / rate
    begin = 0 if place.last is None else math.floor((place.last - start) / step) + 1
    nearest = _Nearest(second.frames(start + max(0, begin - 1) * step, 1))
    for i in count(begin):
        time = start + i * step
        frame = nearest.at(time)
        if frame is not None:
            yield time, step, i, frame
        elif nearest.is_over(time):
            return


def expected(first: FrameSequence, second: FrameSequence, timing: Timing) -> int | None:
    """Return how many moments there should be, as far as the files tell."""
    ends = [timing.end, second.length]
    ends.append(None if first.length is None else first.length + timing.offset)
    known = [end for end in ends if end is not None]
    if not known:
        return None
    length = min(known) - max(timing.start, timing.offset)
    return max(0, math.ceil(length * (timing.rate or second.rate / timing.every)))
