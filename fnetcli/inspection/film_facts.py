"""Facts about a film as fnet reads it: length, size, rate, coding, and the numbers it holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from fnetcli.formats import ReadOptions
from fnetcli.formats.film import FilmHeader, probe_film, read_film
from fnetcli.formats.film.reader import SEEKABLE
from fnetcli.imaging.intensity import seen_pixels
from fnetcli.text import number_of, per_second

SAMPLES = 10  # frames whose numbers are looked at


@dataclass(frozen=True)
class FilmFacts:
    """All facts about a film; None where the file does not say."""

    file: str
    container: str
    codec: str
    pixel_format: str
    width: int
    height: int
    channels: str  # grey, RGB
    type: str  # of the numbers after reading
    bits: int | None
    seconds: float | None
    frames: int | None
    rate: float
    sounds: list[str]
    measured: int  # frames whose numbers were looked at
    lowest: float
    highest: float
    notices: list[str]

    def record(self) -> dict[str, Any]:
        """Return the facts, ready for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return them as two lines for people."""
        length = "" if self.seconds is None else f"{self.seconds:.2f} s, "
        count = "" if self.frames is None else f", {number_of(self.frames, 'frame')}"
        sound = f"sound {', '.join(self.sounds)}" if self.sounds else "no sound"
        bits = "" if self.bits is None else f" of {self.bits} bits"
        what = (
            f"{self.file}: film, {length}{self.width}x{self.height}, {per_second(self.rate)}"
            f"{count}, {self.codec} {self.pixel_format}, {sound}"
        )
        numbers = (
            f"numbers: {self.lowest:g} to {self.highest:g} in "
            f"{number_of(self.measured, 'frame')}, {self.channels}, {self.type}{bits}"
        )
        return [what, numbers]


def film_facts(path: Path, reading: ReadOptions) -> FilmFacts:
    """Return the facts about a film. Raise ReadError."""
    header = probe_film(path, reading)
    lows, highs = list[float](), list[float]()
    for start in _places(header):
        for frame in read_film(path, header, start=start):
            seen = seen_pixels(frame.read())
            lows.append(float(seen.min()))
            highs.append(float(seen.max()))
            break
    return FilmFacts(
        file=str(path),
        container=header.container,
        codec=header.codec,
        pixel_format=header.pixel_format,
        width=header.width,
        height=header.height,
        channels="grey" if header.channels == 1 else "RGB",
        type=str(header.dtype),
        bits=header.bits,
        seconds=None if header.duration is None else round(float(header.duration), 6),
        frames=header.frames,
        rate=round(float(header.rate), 6),
        sounds=list(header.sounds),
        measured=len(lows),
        lowest=min(lows),
        highest=max(highs),
        notices=list(header.notices),
    )


def _places(header: FilmHeader) -> list[Fraction]:
    """Return times spread over a film; the beginning alone where there is no index."""
    if header.duration is None or not header.container.startswith(SEEKABLE):
        return [Fraction(0)]
    count = min(SAMPLES, max(1, header.frames or 1))
    return [header.duration * i / count for i in range(count)]
