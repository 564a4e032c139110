"""Write a film in pieces, and join them without coding them anew.

A piece is a file of its own, complete as soon as it has its name. Its first picture depends on no
other one, and no picture on a later one, so that time stamps only ever increase.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from fnetcli.errors import ReadError, WriteError
from fnetcli.files.durable import refused, remove, sync_folder, temporary_path
from fnetcli.formats.film.codecs import Coding, Container
from fnetcli.formats.film.pixels import BT709, FULL, LIMITED, is_full, to_frame, usual_matrix
from fnetcli.formats.film.pyav import load_av, opened_film
from fnetcli.imaging.image import Stored

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer

PIECE = "nut"  # keeps every time stamp of every codec
REPEATABLE = {"fflags": "+bitexact"}  # no dates, no random numbers
LAYOUTS = {1: "mono", 2: "stereo"}  # of channels that a file does not name
Timed = tuple[Fraction, int, Any]  # seconds, a number that tells streams apart, data


@dataclass(frozen=True)
class Shape:
    """What all pieces of a film have in common.

    `rate` is the mean number of frames per second, `time_base` the unit of time stamps.
    """

    height: int
    width: int
    has_color: bool
    time_base: Fraction
    rate: Fraction
    aspect: Fraction = Fraction(1)


class PieceWriter:
    """A piece of a film while it is written; `finish` or `abandon` it."""

    def __init__(self, path: Path, coding: Coding, shape: Shape) -> None:
        """Raise WriteError, OutputError."""
        self.path, self.coding, self.shape = path, coding, shape
        self._temporary = temporary_path(path.parent)
        self._format = coding.pixel_format(has_color=shape.has_color)
        if min(shape.height, shape.width) < coding.codec.least:
            raise WriteError(
                f"{path}: {coding.name} needs sides of at least {coding.codec.least} pixels, and "
                f"the picture has {shape.width}x{shape.height}; use another --codec, such as ffv1"
            )
        with self._errors():
            self._file = self._temporary.open("w+b")
        try:
            with self._errors():
                self._open()
        except BaseException:
            self.abandon()
            raise

    def add(self, pixels: Stored, place: int) -> None:
        """Append a picture (H, W, 1 or 3), `place` units of time after the film's first one."""
        with self._errors():
            frame = to_frame(pixels[: self.shape.height, : self.shape.width], self._format)
            frame.pts, frame.time_base = place, self.shape.time_base
            self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write the rest, and give the file its name."""
        with self._errors():
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._temporary.replace(self.path)
            sync_folder(self.path.parent)

    def abandon(self) -> None:
        """Remove what was written."""
        with suppress(Exception):  # it may be what failed before
            self._container.close()
        with suppress(OSError):
            self._file.close()
        remove(self._temporary)

    def _open(self) -> None:
        av = load_av()
        os.environ.setdefault("SVT_LOG", "1")  # errors only: it writes to the terminal itself
        shape = self.shape
        self._container: OutputContainer = av.open(
            self._file, "w", format=PIECE, container_options=REPEATABLE
        )
        self._stream = self._container.add_stream(
            self.coding.codec.encoder, rate=shape.rate, options=self.coding.settings
        )
        self._stream.width, self._stream.height = shape.width, shape.height
        self._stream.pix_fmt = self._format
        self._stream.time_base = shape.time_base
        context = self._stream.codec_context
        context.time_base = shape.time_base
        context.max_b_frames = 0
        context.sample_aspect_ratio = shape.aspect
        if self._format.startswith("yuv"):
            context.colorspace = usual_matrix(shape.height, shape.width, self._format)
            context.color_range = FULL if is_full(self._format) else LIMITED
            context.color_primaries = context.color_trc = BT709

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with _as_ours(self.path):
            yield


@contextmanager
def _as_ours(path: Path) -> Iterator[None]:
    """Turn errors of FFmpeg and of the system into WriteError and OutputError."""
    av = load_av()
    try:
        yield
    except OSError as error:
        raise refused(path, error) from None
    except (av.error.FFmpegError, ValueError) as error:
        if isinstance(error.__context__, OSError):  # of the file that FFmpeg writes to
            raise refused(path, error.__context__) from None
        words = " ".join(str(error).split())
        raise WriteError(
            f"{path}: cannot be written ({words}); choose another --codec or another name"
        ) from None


# --- joining --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sound:
    """Where the sound of a film comes from: what belongs to its pictures from `start` on."""

    path: Path
    start: Fraction  # seconds of its own clock


def join(
    file: BinaryIO,
    path: Path,
    pieces: Sequence[Path],
    coding: Coding,
    shape: Shape,
    length: Fraction,
    comment: str,
    sound: Sound | None = None,
) -> None:
    """Write all pieces, and the sound beside them, into one film of `length` seconds.

    Nothing but sound that the container cannot hold is coded anew. Raise WriteError, OutputError,
    and ReadError for the sound.
    """
    av = load_av()
    with _as_ours(path):
        out = av.open(file, "w", format=coding.container.name, container_options=REPEATABLE)
    with _as_ours(path), out:
        out.metadata["comment"] = comment
        with opened_film(pieces[0]) as first, _as_ours(path):
            template = first.streams.video[0]
            stream = out.add_stream_from_template(template, opaque=True)  # needs no encoder
            stream.time_base = shape.time_base
            stream.codec_context.framerate = shape.rate
        pictures = _pictures(out, pieces, shape, length)
        if sound is None:
            _write_all(out, path, pictures)
            return
        with opened_film(sound.path) as source:
            with _as_ours(path):
                tracks = {
                    one.index: _Track(out, path, one, coding.container)
                    for one in source.streams.audio
                }
            sounds = _sounds(source, tracks, sound.start, length)
            _write_all(out, path, heapq.merge(pictures, sounds, key=lambda timed: timed[:2]))


def _write_all(out: OutputContainer, path: Path, packets: Iterable[Timed]) -> None:
    for _, _, packet in packets:
        with _as_ours(path):  # what is read meanwhile has errors of its own
            out.mux(packet)


def _pictures(
    out: OutputContainer, pieces: Iterable[Path], shape: Shape, length: Fraction
) -> Iterator[Timed]:
    """Yield the packets of all pieces; each lasts until the next."""
    stream, unit = out.streams.video[0], shape.time_base
    held: Any = None
    place = 0
    for piece in pieces:
        with opened_film(piece) as source:
            for packet in source.demux(source.streams.video[0]):
                if packet.pts is None:
                    continue
                place = round(packet.pts * Fraction(packet.time_base) / unit)
                if held is not None:
                    held.duration = place - (held.pts or 0)
                    yield (held.pts or 0) * unit, 0, held
                packet.pts = packet.dts = place
                packet.time_base = unit
                packet.stream = stream
                held = packet
    if held is not None:
        held.duration = max(1, round(length / unit) - place)
        yield place * unit, 0, held


def _sounds(
    source: InputContainer, tracks: dict[int, _Track], start: Fraction, length: Fraction
) -> Iterator[Timed]:
    """Yield the packets of all sound, of the same part of the film as the pictures."""
    error = load_av().error
    streams = list(source.streams.audio)
    packets = source.demux(*streams) if streams else iter(())
    while True:
        try:
            packet = next(packets, None)
        except (error.InvalidDataError, error.EOFError):
            packet = None
        if packet is None:
            break
        if packet.pts is None or packet.time_base is None:
            continue
        time = packet.pts * Fraction(packet.time_base) - start
        if 0 <= time < length:
            track = tracks[packet.stream.index]
            yield from track.take(packet, time)
    for track in tracks.values():
        yield from track.rest()


class _Track:
    """A stream of sound that is copied, or coded anew where the container cannot hold it."""

    def __init__(
        self, out: OutputContainer, path: Path, template: AudioStream, container: Container
    ) -> None:
        self._path = path
        name = template.codec_context.codec.canonical_name
        self.is_copied = container.sounds is None or name in container.sounds
        self._number = 1 + template.index
        self.stream: Any
        if self.is_copied:
            self.stream = out.add_stream_from_template(template)
            return
        av = load_av()
        rate = container.sound_rate or template.rate
        self.stream = out.add_stream(container.sound, rate=rate)
        self.stream.layout = LAYOUTS.get(template.channels, template.layout.name)
        context = self.stream.codec_context
        self._shift: Fraction | None = None
        self._samples = 0  # that were decoded
        self._resampler = av.AudioResampler(
            format=context.format, layout=context.layout, rate=context.rate
        )

    def take(self, packet: Any, time: Fraction) -> Iterator[Timed]:
        """Yield what a packet at a time becomes."""
        if self.is_copied:
            unit = Fraction(packet.time_base)
            packet.pts = packet.dts = round(time / unit)
            packet.stream = self.stream
            yield time, self._number, packet
            return
        error = load_av().error
        try:
            frames = packet.decode()
        except error.InvalidDataError:
            return
        for frame in frames:
            if self._shift is None:
                self._shift = time
            frame.pts, frame.time_base = self._samples, Fraction(1, frame.sample_rate)
            self._samples += frame.samples
            for one in self._resampler.resample(frame):
                yield from self._coded(one)

    def rest(self) -> Iterator[Timed]:
        """Yield what is left at the end."""
        if self.is_copied or self._shift is None:
            return
        for one in (*self._resampler.resample(None), None):
            yield from self._coded(one)

    def _coded(self, frame: Any) -> Iterator[Timed]:
        with _as_ours(self._path):
            packets = self.stream.encode(frame)
        for packet in packets:
            unit = Fraction(packet.time_base)
            shift = round((self._shift or 0) / unit)
            packet.pts = (packet.pts or 0) + shift
            packet.dts = (packet.dts or 0) + shift
            yield max(Fraction(0), packet.pts * unit), self._number, packet


def comment_of(path: Path) -> str | None:
    """Return the comment of a film; None where there is no film, or none in it."""
    try:
        with opened_film(path) as container:
            return {key.lower(): text for key, text in container.metadata.items()}.get("comment")
    except ReadError:
        return None
