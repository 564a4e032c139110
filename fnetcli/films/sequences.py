"""Sequences of frames with times: films, folders of pictures, files of several pages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fnetcli.errors import ReadError, UsageError
from fnetcli.formats import Header, ReadOptions, content_sha256, probe_image, read_image
from fnetcli.formats.film import is_film, probe_film, read_film
from fnetcli.formats.film.reader import Damage, FilmFrame
from fnetcli.formats.flir import clock_of_frames, count_frames
from fnetcli.imaging.image import Image
from fnetcli.inputs.pairing import Pairing, Source
from fnetcli.inputs.scan import Ignored, scan
from fnetcli.inputs.times import SECOND, time_in_name

USUAL_RATE = Fraction(25)  # frames per second of pictures without times
FINE = Fraction(1, 90_000)  # seconds; a unit of time stamps that players know
DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class FrameSequence:
    """Frames in order of time, in seconds after the first one.

    `frames(start, step)` yields every step-th of them from the one that is shown at `start` on, and
    may raise ImageError; damaged ones are passed over, and `damage` collects what is wrong. `rate`
    is the mean number of frames per second; all times are whole multiples of `time_base`, unless
    they come from names. `count` and `length` (seconds) are what the files claim, or None.
    """

    path: Path
    height: int
    width: int
    dtype: np.dtype[Any]
    rate: Fraction
    time_base: Fraction
    count: int | None
    length: Fraction | None
    info: str
    frames: Callable[[Fraction, int], Iterator[FilmFrame]]
    sha256: Callable[[], str]  # of the content; raises ReadError
    files: tuple[Path, ...]
    channels: int = 1
    has_times: bool = True
    first: Fraction | None = None  # the first frame's time stamp, where there is sound beside it
    aspect: Fraction = Fraction(1)
    damage: Damage = field(default_factory=Damage)


# --- films ----------------------------------------------------------------------------------------


def film_sequence(path: Path, reading: ReadOptions, rate: Fraction | None = None) -> FrameSequence:
    """Return the frames of a film. With `rate` they are evenly spaced, whatever their time stamps.

    Raise ReadError.
    """
    if reading.bands:
        raise UsageError(f"--band: applies only to pictures, but {path} is a film; leave it out")
    header = probe_film(path, reading)
    damage = Damage()

    def frames(start: Fraction, step: int) -> Iterator[FilmFrame]:
        damage.forget()
        yield from islice(all_frames(start), 0, None, step)

    def all_frames(start: Fraction) -> Iterator[FilmFrame]:
        if rate is None:
            yield from read_film(path, header, start=start, damage=damage)
            return
        length = 1 / rate
        for i, frame in enumerate(read_film(path, header, damage=damage)):
            if (i + 1) * length > start:
                yield FilmFrame(i * length, length, frame.read)

    length = header.duration
    if rate is not None:
        length = None if header.frames is None else header.frames / rate
    return FrameSequence(
        path=path,
        height=header.height,
        width=header.width,
        dtype=header.dtype,
        rate=rate or header.rate,
        time_base=header.time_base if rate is None else 1 / rate,
        count=header.frames,
        length=length,
        info=f"{header.codec} {header.pixel_format}",
        frames=frames,
        sha256=partial(content_sha256, path),
        files=(path,),
        channels=header.channels,
        first=header.first if header.sounds and rate is None else None,
        aspect=header.aspect,
        damage=damage,
    )


# --- pictures -------------------------------------------------------------------------------------


def still_sequence(
    path: Path,
    sources: Sequence[Source],
    reading: ReadOptions,
    rate: Fraction | None = None,
    times: Sequence[Fraction] = (),
) -> FrameSequence:
    """Return pictures as frames: at these times, else evenly spaced. Raise ReadError.

    `rate` is the number of frames per second, if it is known.
    """
    header = _first_header(sources, reading)
    files = tuple(dict.fromkeys(source.path for source in sources))
    is_row = len(files) == 1 and count_frames(files[0]) > 1
    damage = Damage()
    step = 1 / (_mean_rate(times) if len(times) > 1 else rate or USUAL_RATE)
    begins = times or [i * step for i in range(len(sources))]
    ends = [*begins[1:], begins[-1] + step]

    def frames(start: Fraction, every: int) -> Iterator[FilmFrame]:
        damage.forget()
        spans = zip(sources, begins, ends, strict=True)
        from_start = (span for span in spans if span[2] > start)
        error, count = None, 0
        for source, begin, end in islice(from_start, 0, None, every):
            try:
                image = read_image(source.path, source.reading(reading))
            except ReadError as one:
                if not source.path.exists():
                    raise
                error = error or one
                damage.lose(begin, _what(source, one))
                continue
            if is_row:
                _require_same_numbers(source, image, header)
            count += 1
            yield FilmFrame(begin, end - begin, partial(_read_already, image))
        if error is not None and not count:
            raise error

    return FrameSequence(
        path=path,
        height=header.height,
        width=header.width,
        dtype=header.dtype,
        rate=1 / step,
        time_base=FINE if times else step,
        count=len(sources),
        length=ends[-1],
        info=f"{header.format} pictures",
        frames=frames,
        sha256=partial(_hash_files, files),
        files=files,
        channels=header.channels,
        has_times=bool(times) or rate is not None,
        damage=damage,
    )


def _first_header(sources: Sequence[Source], reading: ReadOptions) -> Header:
    """Return the first header that can be read. Raise ReadError if there is none."""
    error: ReadError | None = None
    for source in sources:
        try:
            return probe_image(source.path, source.reading(reading))
        except ReadError as one:
            error = error or one
    raise error or ReadError("no pictures")


def _require_same_numbers(source: Source, image: Image, first: Header) -> None:
    """Raise ReadError if a camera's file has temperatures in some frames only."""
    if image.pixels.dtype != first.dtype:
        raise ReadError(
            f"{source.path}: the numbers of frame {source.page} are not temperatures, or those of "
            "the first are not, since constants are missing; end before it with --end, or begin "
            "after it with --start"
        )


def _read_already(image: Image) -> Image:
    return image


def _what(source: Source, error: ReadError) -> str:
    """Return which picture cannot be read, and why."""
    what, _, _ = str(error).removeprefix(f"{source.path}: ").partition("; ")
    name = source.path.name if source.page is None else f"frame {source.page}"
    return f"{name}: {what}"


def _hash_files(paths: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(content_sha256(path).encode())
    return found.hexdigest()


def _mean_rate(times: Sequence[Fraction]) -> Fraction:
    return (len(times) - 1) / times[-1]


def _when(
    sources: Sequence[Source], rate: Fraction | None
) -> tuple[Fraction | None, Sequence[Fraction]]:
    """Return rate and times of pictures: as given, by their names, or by the camera's clock."""
    files = list(dict.fromkeys(source.path for source in sources))
    if rate is not None:
        return rate, []
    if len(files) > 1:
        return None, _times_in_names([source.path for source in sources])
    clock = clock_of_frames(files[0])
    if clock is None:
        return None, []
    if len(clock.times) < 2:
        return clock.rate, []
    pages = [source.page or 1 for source in sources]
    return None, [clock.times[page - 1] - clock.times[pages[0] - 1] for page in pages]


def _times_in_names(files: Sequence[Path]) -> list[Fraction]:
    """Return seconds after the first, where every name tells a time, and each a later one."""
    found = [time_in_name(file.stem) for file in files]
    known = [time for time in found if time is not None]
    is_rising = all(one < other for one, other in pairwise(known))
    if len(known) < len(files) or not is_rising:
        return []
    return [Fraction(time - known[0], SECOND) for time in known]


# --- what paths mean ------------------------------------------------------------------------------


def sequence_of(path: Path, reading: ReadOptions, rate: Fraction | None = None) -> FrameSequence:
    """Return the frames of a film, of the pictures of a folder, or of the pages of a file.

    `rate` is that of what has no times, and replaces the time stamps of a film. Raise UsageError,
    ReadError.
    """
    if is_film(path):
        return film_sequence(path, reading, rate)
    if path.is_dir():
        files = [
            found for found in scan(path, is_recursive=False) if not isinstance(found, Ignored)
        ]
        if not files:
            raise UsageError(f"{path}: holds no pictures; give a film, or a folder of frames")
        files.sort(key=_natural)
        sources = [Source(file) for file in files]
        return still_sequence(path, sources, reading, *_when(sources, rate))
    count = _count_pages(path, reading)
    if count == 1:
        raise UsageError(
            f"{path}: one picture, no sequence; give a film, a folder of frames, or a file of "
            "several pages"
        )
    sources = [Source(path, page) for page in range(1, count + 1)]
    return still_sequence(path, sources, reading, *_when(sources, rate))


def sequences_of_pairs(
    pairing: Pairing,
    paths: tuple[Path, Path],
    reading: tuple[ReadOptions, ReadOptions],
    rate: Fraction | None = None,
) -> tuple[FrameSequence, FrameSequence]:
    """Return both sides of pairs as sequences; partners have the same time. Raise ReadError.

    The times are those of the second side.
    """
    cases = sorted(pairing.cases, key=lambda case: _natural(Path(case.name)))
    first, second = ([case.sources[i] for case in cases] for i in (0, 1))
    when = _when(second, rate)
    return (
        still_sequence(paths[0], first, reading[0], *when),
        still_sequence(paths[1], second, reading[1], *when),
    )


def _count_pages(path: Path, reading: ReadOptions) -> int:
    """Return how many pictures a file holds. Raise ReadError."""
    frames = count_frames(path)
    if frames > 1:
        return frames
    return probe_image(path, Source(path, 1).reading(reading)).pages


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a key by which 2 comes before 10."""
    parts = DIGITS.split(str(path))
    return [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)]
