"""A whole film: read this file first.

Frames that belong together are prepared, fused and mixed as pictures are (`pictures/`), with one
range and one transform for all, and written in pieces that a killed run need not make again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from fnetcli.errors import FnetError, PairError
from fnetcli.files.durable import atomic_write
from fnetcli.files.output_folder import OutputFolder
from fnetcli.films.clock import Moment, Timing, expected, moments
from fnetcli.films.overlap import overlap
from fnetcli.films.pieces import SUFFIX, Pieces, Progress
from fnetcli.films.ranges import FilmScope, MovingRanges
from fnetcli.films.sequences import FrameSequence
from fnetcli.formats.film import Coding
from fnetcli.formats.film.pyav import ffmpeg_versions
from fnetcli.formats.film.writer import PieceWriter, Shape, Sound, comment_of, join
from fnetcli.modalities import BY_NAME
from fnetcli.models.base import Fusion, Maps
from fnetcli.pictures.fuse import PIXELS_VERSION, FuseOptions, finish
from fnetcli.pictures.prepare import Luminance, Prepared, prepare
from fnetcli.runs.network import LoadedMethod
from fnetcli.text import number_of, without_numbers

PIECE_FRAMES = 50  # what a killed run loses at most, and how far players have to seek
FINEST = {"mpeg4": 60_000}  # units per second that a codec can count


@dataclass(frozen=True)
class FilmJob:
    """What to fuse into which film, and how. `sequences` are in the network's order."""

    sequences: tuple[FrameSequence, FrameSequence]
    timing: Timing
    options: FuseOptions
    scope: FilmScope
    coding: Coding
    out: Path

    @property
    def expected(self) -> int | None:
        """How many frames the film should have."""
        return expected(*self.sequences, self.timing)

    @property
    def has_color(self) -> bool:
        """Whether the film is in colour."""
        kinds = zip(self.options.modalities, self.sequences, strict=True)
        return not self.options.mix.is_gray and any(
            BY_NAME[modality].carries_color and sequence.channels == 3
            for modality, sequence in kinds
        )

    @property
    def time_base(self) -> Fraction:
        """The unit of the film's time stamps, in seconds."""
        if self.timing.rate is not None:
            return 1 / self.timing.rate
        finest = FINEST.get(self.coding.name)
        unit = self.sequences[1].time_base
        return unit if finest is None else max(unit, Fraction(1, finest))

    def shape(self, height: int, width: int) -> Shape:
        """Return the film's shape; a side that the codec would halve is made even."""
        step = 2 if self.coding.codec.halves else 1
        second = self.sequences[1]
        return Shape(
            height=height - height % step,
            width=width - width % step,
            has_color=self.has_color,
            time_base=self.time_base,
            rate=self.timing.rate or second.rate / self.timing.every,
            aspect=second.aspect,
        )

    def record(self) -> dict[str, Any]:
        """Return all options that change the film, ready for JSON."""
        return {
            **self.options.record(),
            **self.coding.record(),
            "timing": self.timing.record(),
            "scope": self.scope,
            "rates": [str(one.rate) for one in self.sequences],
        }


@dataclass(frozen=True)
class _Read:
    """Two frames that are ready for the network."""

    moment: Moment
    prepared: Prepared
    luminances: tuple[Luminance, Luminance]
    limits: list[Any]  # of ranges that move, after this moment


@dataclass
class FilmRun:
    """One run: `look` finds out what is done already, `work` does the rest."""

    job: FilmJob
    network: LoadedMethod
    on_frame: Callable[[], None] = lambda: None
    made_of: dict[str, Any] = field(default_factory=dict)
    is_done: bool = False  # the film is there already, made of the same
    progress: Progress = field(default_factory=Progress)
    is_anew: bool = False  # pieces of other inputs or options were removed
    resumed: int = 0  # frames that an earlier run has made

    @property
    def folder(self) -> Path:
        """The folder of the pieces."""
        return self.job.out.with_name(self.job.out.name + SUFFIX)

    @property
    def comment(self) -> str:
        """What the film says it is made of."""
        text = json.dumps(self.made_of, sort_keys=True)
        return f"fnet {hashlib.sha256(text.encode()).hexdigest()}"

    def look(self) -> None:
        """Hash the inputs, and find out whether the film is there already. Raise ReadError."""
        job = self.job
        hashes: dict[Path, str] = {}
        for sequence in job.sequences:
            if sequence.path not in hashes:
                hashes[sequence.path] = sequence.sha256()
        self.made_of = {
            "inputs": {
                modality: hashes[sequence.path]
                for modality, sequence in zip(job.options.modalities, job.sequences, strict=True)
            },
            **self.network.record(),
            "options": job.record(),
            "pixels_version": PIXELS_VERSION,
            "ffmpeg": ffmpeg_versions(),
        }
        self.is_done = job.out.is_file() and comment_of(job.out) == self.comment

    def work(self, on_begin: Callable[[FilmRun], None] = lambda _: None) -> None:
        """Make the film; the folder of its pieces is locked meanwhile, and removed at the end.

        Raise FnetError; finished pieces stay.
        """
        with OutputFolder(self.folder):
            pieces = Pieces(self.folder, self.made_of)
            self.is_anew = pieces.begin()
            self.progress = pieces.progress
            self.resumed = self.progress.place.index
            on_begin(self)
            writing = _Writing(self.job, pieces, self.progress, self.on_frame)
            try:
                overlap(self._read(), self._fuse, writing.write)
                writing.end()
            finally:
                writing.abandon()
                if not pieces.finished:
                    pieces.remove()
            if not pieces.finished:
                first, second = self.job.sequences
                raise FnetError(
                    f"{first.path} and {second.path}: no two frames are at the same time; change "
                    "--offset-ms, --start or --end"
                )
            self._join(pieces)
            pieces.remove()

    def warnings(self) -> Iterator[str]:
        """Yield what a user should know of the film."""
        job = self.job
        for modality, sequence in zip(job.options.modalities, job.sequences, strict=True):
            for words in sequence.damage.sentences():
                yield f"{modality}: {sequence.path}: {words}"
        slower = min(one.rate for one in job.sequences)
        if self.progress.widest_gap > 1 / slower:
            yield (
                f"{job.sequences[0].path} has no frame near {float(self.progress.gap_at):.2f} s: "
                f"one that is {1000 * float(self.progress.widest_gap):.0f} ms away is used"
            )
        for text, count in self.progress.notices.items():
            yield text if count == 1 else f"{text} (and in {number_of(count - 1, 'more frame')})"

    def summary(self) -> dict[str, Any]:
        """Return what was done, ready for JSON."""
        shape = self.job.shape(*self.progress.size)
        return {
            "out": str(self.job.out),
            "skipped": self.is_done,
            "frames": self.progress.place.index,
            "resumed": self.resumed,
            "seconds": float(self._length),
            "size": f"{shape.width}x{shape.height}",
            **self.made_of,
            "warnings": [*self.warnings()],
        }

    @property
    def _length(self) -> Fraction:
        begin, end = self.progress.begin, self.progress.end
        return Fraction(0) if begin is None or end is None else end - begin

    def _read(self) -> Iterator[_Read]:
        """Decode and prepare the frames that belong together."""
        job = self.job
        options = job.options.prepare
        moving = None
        if job.scope == "moving":
            kinds = (job.sequences[0].dtype, job.sequences[1].dtype)
            moving = MovingRanges(options, kinds, list(self.progress.limits))
        for moment in moments(*job.sequences, job.timing, self.progress.place):
            images = moment.first.read(), moment.second.read()
            try:
                chosen = options if moving is None else moving.follow(images)
                prepared = prepare(*images, chosen)
            except PairError as error:
                raise self._named(moment, error) from None
            limits = [] if moving is None else list(moving.limits)
            yield _Read(moment, prepared, prepared.luminances, limits)

    def _fuse(self, read: _Read) -> tuple[_Read, Fusion[Maps]]:
        try:
            return read, self.network.engine.run(*read.luminances, self.job.options.wanted())
        except PairError as error:
            raise self._named(read.moment, error) from None

    def _named(self, moment: Moment, error: PairError) -> PairError:
        first, second = self.job.sequences
        where = f"{first.path} and {second.path}, at {float(moment.time):.3f} s"
        return type(error)(f"{where}: {error}")

    def _join(self, pieces: Pieces) -> None:
        job, begin = self.job, self.progress.begin
        second, sound = job.sequences[1], None
        if second.first is not None and begin is not None:
            sound = Sound(second.path, second.first + begin)
        shape = job.shape(*self.progress.size)
        atomic_write(
            job.out,
            lambda file: join(
                file, job.out, pieces.finished, job.coding, shape, self._length, self.comment, sound
            ),
        )


@dataclass
class _Writing:
    """The pieces as they are written, and how far the film is."""

    job: FilmJob
    pieces: Pieces
    progress: Progress
    on_frame: Callable[[], None]
    _piece: PieceWriter | None = None
    _count: int = 0  # frames in the piece

    def write(self, worked: tuple[_Read, Fusion[Maps]]) -> None:
        """Mix a frame and append it to the piece."""
        read, fusion = worked
        fused = finish(read.prepared, fusion, self.job.options.mix, self._kind)
        pixels = fused.image.pixels[0]
        unit = self._advance(read, (pixels.shape[0], pixels.shape[1]))
        for notice in fused.notices:
            self._note(notice)
        if self._piece is None:
            shape = self.job.shape(*self.progress.size)
            self._piece = PieceWriter(self.pieces.next, self.job.coding, shape)
        self._piece.add(pixels, unit)
        self._count += 1
        self.on_frame()
        if self._count == PIECE_FRAMES:
            self.end()

    def end(self) -> None:
        """Finish the piece, if there is one."""
        if self._piece is not None:
            self._piece.finish()
            self._piece, self._count = None, 0
            self.pieces.finish(self.progress)

    def abandon(self) -> None:
        """Remove the piece that is not finished."""
        if self._piece is not None:
            self._piece.abandon()
            self._piece = None

    @property
    def _kind(self) -> np.dtype[Any]:
        return np.dtype(np.uint16 if self.job.coding.is_deep else np.uint8)

    def _advance(self, read: _Read, size: tuple[int, int]) -> int:
        """Note a moment in the progress; return its time stamp."""
        progress, moment = self.progress, read.moment
        if progress.begin is None:
            progress.begin, progress.size, progress.unit = moment.time, size, -1
        if size != progress.size:
            height, width = progress.size
            raise PairError(
                f"{self.job.out}: the picture changes from {width}x{height} to {size[1]}x{size[0]} "
                f"at {float(moment.time):.3f} s, but a film has one size; end before with --end"
            )
        unit = round((moment.time - progress.begin) / self.job.time_base)
        progress.unit = max(unit, progress.unit + 1)
        progress.place, progress.end = moment.after, moment.time + moment.duration
        progress.limits = read.limits or progress.limits
        if moment.gap > progress.widest_gap:
            progress.widest_gap, progress.gap_at = moment.gap, moment.time
        return progress.unit

    def _note(self, notice: str) -> None:
        """Count a notice; keep the first of those that differ in numbers alone."""
        alike = without_numbers(notice)
        known = next(
            (text for text in self.progress.notices if without_numbers(text) == alike), notice
        )
        self.progress.notices[known] = self.progress.notices.get(known, 0) + 1


def with_prepare(job: FilmJob, options: Any) -> FilmJob:
    """Return a job with other options of preparation."""
    return replace(job, options=replace(job.options, prepare=options))
