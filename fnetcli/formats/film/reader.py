"""Decode a film frame by frame; memory does not grow with its length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fnetcli.errors import ReadError
from fnetcli.formats.base import (
    COPY_AGAIN,
    ContentError,
    ReadOptions,
    require_room,
    require_size,
)
from fnetcli.formats.film.pixels import HDR_CURVES, is_turned, stored_kind, to_planes
from fnetcli.formats.film.pyav import load_av, opened_film
from fnetcli.formats.upright import UPRIGHT, new_image
from fnetcli.imaging.image import Image
from fnetcli.text import number_of

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

SEEKABLE = ("mov", "matroska")  # containers with an index of time stamps
BYTES_PER_PIXEL = 12  # of a frame while it is decoded and converted
USUAL_RATE = Fraction(25)  # frames per second where a film does not say
MAX_RATE = 1000  # a header that says more is wrong
ATTACHED = 0x400  # disposition: a cover picture, no film
DEFAULT = ReadOptions()


@dataclass(frozen=True)
class FilmHeader:
    """The properties of a film; `height` and `width` are those of the upright picture.

    `duration` (seconds) and `frames` are what the file claims, or None; `rate` is the mean number
    of frames per second, `time_base` the unit of time stamps in seconds, `first` the time stamp of
    the first frame. `sounds` are the codecs of its sound, `aspect` is width / height of a pixel.
    """

    container: str
    codec: str
    pixel_format: str
    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    bits: int | None
    duration: Fraction | None
    frames: int | None
    rate: Fraction
    time_base: Fraction
    first: Fraction
    sounds: tuple[str, ...]
    aspect: Fraction
    notices: tuple[str, ...]


@dataclass(frozen=True)
class FilmFrame:
    """A frame: its time in seconds after the first one, how long it lasts, and its picture."""

    time: Fraction
    duration: Fraction
    read: Callable[[], Image]


@dataclass
class Damage:
    """What is wrong with a film, found while it is read."""

    lost: int = 0  # packets that could not be decoded, frames that were decoded with faults
    first_loss: Fraction | None = None  # seconds
    what: str = ""  # of pictures: which is the first one that cannot be read, and why
    jumps: int = 0  # of the time stamps, backwards
    end: Fraction | None = None  # seconds that can be read, where the header claims more
    claimed: Fraction | None = None

    def forget(self) -> None:
        """Begin anew, as a film that is read again does."""
        self.lost = self.jumps = 0
        self.first_loss = self.end = self.claimed = None
        self.what = ""

    def lose(self, time: Fraction | None, what: str = "") -> None:
        """Count a loss."""
        self.lost += 1
        if self.first_loss is None:
            self.first_loss, self.what = time, what

    def sentences(self) -> Iterator[str]:
        """Yield what a user should know."""
        if self.lost:
            place = self.first_loss
            where = "" if place is None else f", the first after {float(place):.2f} s"
            what = f" ({self.what})" if self.what else ""
            yield (
                f"damaged in {number_of(self.lost, 'place')}{where}{what}: there, frames are "
                "faulty, or their neighbours are repeated"
            )
        if self.jumps:
            yield (
                f"its time stamps jump back {number_of(self.jumps, 'time')}: frames after a jump "
                "are taken to follow those before it"
            )
        if self.end is not None and self.claimed is not None:
            yield (
                f"ends after {float(self.end):.2f} s, but claims {float(self.claimed):.2f} s: it "
                "is damaged or not complete"
            )


def probe_film(path: Path, options: ReadOptions = DEFAULT) -> FilmHeader:
    """Return the properties of a film; decode its first frame only. Raise ReadError."""
    with opened_film(path) as container:
        stream = _stream(path, container)
        _require_size(path, stream, options)
        frame = next(_decoded(container, stream, Damage()), None)
        if frame is None:
            raise ReadError(f"{path}: no frame of it can be decoded; {COPY_AGAIN}")
        return _header(container, stream, frame)


def read_film(
    path: Path, header: FilmHeader, *, start: Fraction = Fraction(0), damage: Damage | None = None
) -> Iterator[FilmFrame]:
    """Yield the frames of a film in order, from the one that is shown at `start` on.

    A frame becomes a picture only when it is read. `damage` collects what is wrong on the way.
    Raise ReadError.
    """
    damage = damage or Damage()
    may_seek = start > 0 and header.container.startswith(SEEKABLE)
    for seeks in (True, False) if may_seek else (False,):
        with opened_film(path) as container:
            stream = _stream(path, container)
            stream.thread_type = "AUTO"
            if seeks:
                place = int((start + header.first) / header.time_base)
                container.seek(place, stream=stream)
            frames = _timed(path, container, stream, header, damage)
            first = next(frames, None)
            if seeks and (first is None or first.time > start):
                continue  # the index is wrong: from the beginning
            if first is not None:
                yield from _from(start, chain([first], frames))
            return


def _from(start: Fraction, frames: Iterator[FilmFrame]) -> Iterator[FilmFrame]:
    """Yield frames from the one that is shown at `start` on.

    The last one lasts at least as long as the one before: headers of slow cameras often claim less.
    """
    shown: FilmFrame | None = None
    lasted = Fraction(0)
    for frame in frames:
        if shown is not None:
            lasted = frame.time - shown.time
            if frame.time > start:
                yield shown
        shown = frame
    if shown is not None:
        yield replace(shown, duration=max(shown.duration, lasted))


def _timed(
    path: Path,
    container: InputContainer,
    stream: VideoStream,
    header: FilmHeader,
    damage: Damage,
) -> Iterator[FilmFrame]:
    """Yield decoded frames with times that increase."""
    step = 1 / header.rate
    shift, last = -header.first, None
    end = Fraction(0)
    for frame in _decoded(container, stream, damage):
        if frame.pts is None or frame.time_base is None:
            time = Fraction(0) if last is None else last + step
        else:
            time = frame.pts * frame.time_base + shift
            if last is not None and time <= last:
                damage.jumps += 1
                shift += last + step - time
                time = last + step
        if frame.is_corrupt:
            damage.lose(time)
        _require_same(path, frame, header, time)
        duration = frame.duration * header.time_base if frame.duration else step
        last, end = time, time + duration
        yield FilmFrame(time, duration, lambda frame=frame: _image(frame, header))  # type: ignore[misc]
    if header.duration is not None and end + max(2 * step, header.duration / 50) < header.duration:
        damage.end, damage.claimed = end, header.duration


def _decoded(
    container: InputContainer, stream: VideoStream, damage: Damage
) -> Iterator[VideoFrame]:
    """Yield the frames of a film; pass over what cannot be decoded, and count it."""
    error = load_av().error
    packets = container.demux(stream)
    time: Fraction | None = None
    while True:
        try:
            packet = next(packets, None)
        except (error.InvalidDataError, error.EOFError):
            return  # the rest is lost: it ends before the time that its header claims
        if packet is None:
            return
        try:
            frames = packet.decode()
        except error.InvalidDataError:
            damage.lose(time)
            continue
        for frame in frames:
            if frame.pts is not None and frame.time_base is not None:
                time = frame.pts * frame.time_base
            yield frame


def _image(frame: VideoFrame, header: FilmHeader) -> Image:
    pixels = to_planes(frame)
    return new_image(pixels, None, UPRIGHT, bits=header.bits, notices=header.notices)


# --- what a film is -------------------------------------------------------------------------------


def _stream(path: Path, container: InputContainer) -> VideoStream:
    """Return the first stream of pictures. Raise ReadError if there is none that can be decoded."""
    streams = [one for one in container.streams.video if not int(one.disposition) & ATTACHED]
    if not streams and not len(container.streams):
        raise ReadError(f"{path}: not a complete film (it ends early); {COPY_AGAIN}")
    if not streams:
        others = sorted({one.type for one in container.streams})
        raise ReadError(
            f"{path}: holds no video, only {' and '.join(others)}; give the file with the pictures"
        )
    if getattr(streams[0], "codec_context", None) is None:
        raise ReadError(
            f"{path}: its video is coded in a way that PyAV cannot decode; convert it, for example "
            "to MP4 with H.264"
        )
    return streams[0]


def _require_size(path: Path, stream: VideoStream, options: ReadOptions) -> None:
    width, height = stream.codec_context.width, stream.codec_context.height
    try:
        require_size(width, height, options)
        require_room(BYTES_PER_PIXEL * width * height)
    except ContentError as error:
        raise ReadError(f"{path}: {error}") from None


def _require_same(path: Path, frame: VideoFrame, header: FilmHeader, time: Fraction) -> None:
    height, width = _upright_size(frame)
    if (height, width) != (header.height, header.width):
        raise ReadError(
            f"{path}: its pictures change from {header.width}x{header.height} to {width}x{height} "
            f"after {float(time):.2f} s; cut it there, or end before with --end"
        )


def _upright_size(frame: VideoFrame) -> tuple[int, int]:
    return (frame.width, frame.height) if is_turned(frame) else (frame.height, frame.width)


def _header(container: InputContainer, stream: VideoStream, frame: VideoFrame) -> FilmHeader:
    height, width = _upright_size(frame)
    dtype, channels, bits = stored_kind(frame.format)
    time_base = Fraction(stream.time_base or Fraction(1, 1000))
    duration = _duration(container, stream)
    rate = Fraction(stream.average_rate or stream.guessed_rate or USUAL_RATE)
    if not 0 < rate <= MAX_RATE:
        rate = USUAL_RATE
    aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
    return FilmHeader(
        container=container.format.name,
        codec=stream.codec_context.codec.canonical_name,
        pixel_format=frame.format.name,
        height=height,
        width=width,
        channels=channels,
        dtype=dtype,
        bits=bits,
        duration=duration,
        frames=stream.frames or (None if duration is None else round(duration * rate)),
        rate=rate,
        time_base=time_base,
        first=Fraction(0) if frame.pts is None else frame.pts * time_base,
        sounds=tuple(one.codec_context.codec.canonical_name for one in container.streams.audio),
        aspect=1 / aspect if is_turned(frame) else aspect,
        notices=tuple(_notices(frame)),
    )


def _duration(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Return the seconds that a file claims for its pictures."""
    if stream.duration and stream.time_base:
        return stream.duration * Fraction(stream.time_base)
    parts = stream.metadata.get("DURATION", "").split(":")  # Matroska, as FFmpeg writes it
    try:
        hours, minutes, seconds = map(Fraction, parts)
    except (ValueError, ZeroDivisionError):
        pass
    else:
        return hours * 3600 + minutes * 60 + seconds
    if container.duration and len(container.streams) == 1:
        return Fraction(container.duration, 1_000_000)
    return None


def _notices(frame: VideoFrame) -> Iterator[str]:
    if frame.interlaced_frame:
        yield "it is interlaced: moving objects show combing, which stays; deinterlace it first"
    curve = HDR_CURVES.get(frame.color_trc)
    if curve is not None:
        yield f"its brightness is coded for HDR ({curve}), which is not undone: it may look flat"
