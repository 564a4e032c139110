"""Facts about a sequence of thermal frames in one file (FLIR SEQ): length, rate, temperatures."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fnetcli.errors import ReadError
from fnetcli.formats import ReadOptions, read_image
from fnetcli.formats.flir import clock_of_frames, count_frames
from fnetcli.imaging.intensity import CELSIUS, seen_pixels
from fnetcli.text import number_of, per_second

SAMPLES = 10  # frames whose numbers are looked at


@dataclass(frozen=True)
class SequenceFacts:
    """All facts about a sequence; None where the file does not say."""

    file: str
    format: str
    width: int
    height: int
    frames: int
    seconds: float | None  # from the first frame to the last one
    rate: float | None  # mean frames per second, or the camera's setting
    unit: str | None
    measured: int  # frames whose numbers were looked at
    lowest: float
    highest: float
    details: list[str]  # what else the first frame says that can be read
    notices: list[str]

    def record(self) -> dict[str, Any]:
        """Return the facts, ready for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return them as lines for people."""
        length = "" if self.seconds is None else f", {self.seconds:.2f} s"
        rate = "no times" if self.rate is None else per_second(self.rate)
        what = (
            f"{self.file}: {self.format}, {self.frames} frames, {self.width}x{self.height}, "
            f"{rate}{length}; --page N shows one"
        )
        if self.unit == CELSIUS:
            numbers = f"temperatures: {self.lowest:.1f} to {self.highest:.1f} {CELSIUS}"
        else:
            numbers = f"{self.unit or 'numbers'}: {self.lowest:g} to {self.highest:g}"
        first = [f"first frame: {detail}" for detail in self.details]
        return [what, f"{numbers} in {number_of(self.measured, 'frame')}", *first]


def is_sequence(path: Path) -> bool:
    """Whether a file holds several thermal frames. Raise ReadError."""
    return count_frames(path) > 1


def sequence_facts(path: Path, reading: ReadOptions) -> SequenceFacts:
    """Return the facts about a sequence; frames spread over it are read.

    Raise ReadError if none of them can be read.
    """
    count, clock = count_frames(path), clock_of_frames(path)
    pages = np.unique(np.linspace(1, count, min(SAMPLES, count)).round().astype(int)).tolist()
    lows, highs, notices = list[float](), list[float](), dict[str, None]()
    first, errors = None, list[ReadError]()
    for page in pages:
        try:
            image = read_image(path, replace(reading, page=page))
        except ReadError as error:
            errors.append(error)
            notices[f"frame {page}: {str(error).removeprefix(f'{path}: ')}"] = None
            continue
        seen = seen_pixels(image)
        notices.update(dict.fromkeys(image.notices))
        first = first or image
        if seen.size:
            lows.append(float(seen.min()))
            highs.append(float(seen.max()))
    if first is None:
        raise errors[0]
    times = () if clock is None else clock.times
    seconds = float(times[-1]) if times else None
    rate = None if clock is None or clock.rate is None else float(clock.rate)
    return SequenceFacts(
        file=str(path),
        format="FLIR SEQ",
        width=first.grid.shape[2],
        height=first.grid.shape[1],
        frames=count,
        seconds=None if seconds is None else round(seconds, 6),
        rate=round((count - 1) / seconds, 6) if seconds else rate,
        unit=first.unit,
        measured=len(pages) - len(errors),
        lowest=min(lows, default=float("nan")),
        highest=max(highs, default=float("nan")),
        details=list(first.details),
        notices=list(notices),
    )
