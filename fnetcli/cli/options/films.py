"""Films and sequences of frames."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fnetcli.cli.options.group import OptionGroup
from fnetcli.cli.options.values import BOTH, per_modality
from fnetcli.errors import UsageError

if TYPE_CHECKING:
    from fnetcli.films.clock import Timing

PANEL = "Films and sequences of frames (needs PyAV: pip install 'fnetcli[video]')"
CLOCK = re.compile(r"(?:(?:(\d{1,4}):)?(\d{1,2}):)?(\d{1,9}(?:\.\d{1,9})?)", re.ASCII)
UNITS = {"ms": Fraction(1, 1000), "s": Fraction(1), "min": Fraction(60), "h": Fraction(3600)}
DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|min|h)", re.ASCII)
RATE = re.compile(r"\d{1,9}(?:\.\d{1,9}|/\d{1,9})?", re.ASCII)
MAX_RATE = 1000


class CodecChoice(StrEnum):
    """How the film is coded."""

    h264 = "h264"
    h265 = "h265"
    av1 = "av1"
    vp9 = "vp9"
    mpeg4 = "mpeg4"
    mjpeg = "mjpeg"
    ffv1 = "ffv1"


class QualityChoice(StrEnum):
    """How much the coding may lose."""

    low = "low"
    medium = "medium"
    high = "high"


@dataclass(frozen=True)
class GivenFilm(OptionGroup):
    """Which frames are fused, and how the film is written."""

    sequence: Annotated[
        bool,
        typer.Option(
            "--sequence",
            help="Treat folders of frames, multi-page TIFF and FLIR SEQ as sequences, and write a "
            "film. Implied if -o names a film.",
            rich_help_panel=PANEL,
        ),
    ] = False
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            metavar="TIME",
            help="Begin at this time of the visible film: 90s, 1:30, 0:01:30.5.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    end: Annotated[
        str | None,
        typer.Option(
            "--end",
            metavar="TIME",
            help="End at this time of the visible film.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    every: Annotated[
        int | None,
        typer.Option(
            "--every",
            metavar="N",
            min=1,
            max=1_000_000,
            help="Fuse only every N-th frame of the visible film.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    offset_ms: Annotated[
        float,
        typer.Option(
            "--offset-ms",
            metavar="MS",
            help="Time in the visible film at which the other one begins, in milliseconds; "
            "negative if it began earlier.",
            rich_help_panel=PANEL,
        ),
    ] = 0.0
    frame_rate: Annotated[
        list[str] | None,
        typer.Option(
            "--frame-rate",
            metavar="[MODALITY=]N",
            help="Frames per second of pictures, which have no times (default: 25); of a film, "
            "instead of its time stamps. May be a fraction: 30000/1001.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    out_rate: Annotated[
        str | None,
        typer.Option(
            "--out-rate",
            metavar="N",
            help="Frames per second of the result, evenly spaced. Default: the times of the "
            "visible frames.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    codec: Annotated[
        CodecChoice | None,
        typer.Option(
            "--codec",
            help="Video codec. Default: h264 in .mp4, .mov and .mkv, vp9 in .webm, mpeg4 in .avi, "
            "ffv1 (lossless) with --depth 16.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    quality: Annotated[
        QualityChoice | None,
        typer.Option(
            "--quality",
            help="Quality of the compressed film. Default: high.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None

    def given(self) -> dict[str, object]:
        """Return the given options with their values."""
        return {
            "--sequence": self.sequence,
            "--start": self.start,
            "--end": self.end,
            "--every": self.every,
            "--offset-ms": self.offset_ms,
            "--frame-rate": self.frame_rate,
            "--out-rate": self.out_rate,
            "--codec": self.codec,
            "--quality": self.quality,
        }

    def makes_film(self, out: Path, inputs: list[Path]) -> bool:
        """Whether a film is made, by the names of files; else raise UsageError for our options."""
        from fnetcli.formats.film.pyav import is_film

        if self.sequence or any(map(is_film, (out, *inputs))):
            return True
        for option, value in self.given().items():
            if value:
                raise UsageError(
                    f"{option}: applies only to films, but pictures are fused; name a film as "
                    "input or with -o, add --sequence, or leave it out"
                )
        return False

    def timing(self) -> Timing:
        """Return which moments are fused. Raise UsageError."""
        from fnetcli.films.clock import Timing

        start = Fraction(0) if self.start is None else _time("--start", self.start)
        end = None if self.end is None else _time("--end", self.end)
        if end is not None and end <= start:
            raise UsageError(f"--end {self.end}: not after the start; give a later time")
        if self.every is not None and self.out_rate is not None:
            raise UsageError("--every and --out-rate: both choose the frames; leave one out")
        if not abs(self.offset_ms) < 1e9:
            raise UsageError(f"--offset-ms {self.offset_ms}: give a number of milliseconds")
        return Timing(
            offset=Fraction(str(self.offset_ms)) / 1000,
            start=start,
            end=end,
            every=self.every or 1,
            rate=None if self.out_rate is None else _rate("--out-rate", self.out_rate),
        )

    def rates(self, modalities: tuple[str, str]) -> tuple[Fraction | None, Fraction | None]:
        """Return the given rate of each sequence. Raise UsageError."""
        given = per_modality("--frame-rate", self.frame_rate, modalities, has_default=True)
        found = {name: _rate("--frame-rate", text) for name, text in given.items()}
        first, second = (found.get(name, found.get(BOTH)) for name in modalities)
        return first, second


def _time(option: str, text: str) -> Fraction:
    """Read 90s, 1.5min, 90, 1:30 or 1:00:30.5 as seconds. Raise UsageError."""
    duration = DURATION.fullmatch(text.strip())
    if duration is not None:
        return Fraction(duration[1]) * UNITS[duration[2]]
    found = CLOCK.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{option} {text}: give a time as 90s, 1:30 or 0:01:30.5")
    hours, minutes, seconds = (Fraction(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def _rate(option: str, text: str) -> Fraction:
    """Read 25, 29.97 or 30000/1001 as frames per second. Raise UsageError."""
    is_number = RATE.fullmatch(text.strip()) and not text.strip().endswith("/0")
    rate = Fraction(text.strip()) if is_number else Fraction(0)
    if not 0 < rate <= MAX_RATE:
        raise UsageError(
            f"{option} {text}: give frames per second, up to {MAX_RATE}, as 25 or 30000/1001"
        )
    return rate
