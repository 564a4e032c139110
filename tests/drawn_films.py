"""Small films, made by PyAV: frames of one grey each, or a scene in which something warm moves."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Coded = tuple[str, str]  # FFmpeg's encoder, pixel format
H264, MPEG4 = ("libx264", "yuv420p"), ("mpeg4", "yuv420p")
GREY, COUNTS, RGB = ("ffv1", "gray"), ("ffv1", "gray16le"), ("ffv1", "bgr0")  # lossless
Frames = Sequence[NDArray[Any]]
MS = Fraction(1, 1000)
HEIGHT, WIDTH = 24, 32
SOUND_RATE, SOUND_FRAME = 16_000, 1024
PLAIN = {(2, "uint8"): "gray", (2, "uint16"): "gray16le", (3, "uint8"): "rgb24"}


def even(count: int, rate: int = 25) -> list[Fraction]:
    """Return times that are evenly spaced, in seconds."""
    return [Fraction(i, rate) for i in range(count)]


def flat(levels: Sequence[int], kind: Any = np.uint8) -> list[NDArray[Any]]:
    """Return grey frames, each of one level."""
    return [np.full((HEIGHT, WIDTH), level, kind) for level in levels]


def visible(place: int = 0) -> NDArray[np.uint8]:
    """Return a colourful scene with something red at a place."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    frame = np.stack([60 + 3 * x, 40 + 4 * y, 150 - 2 * x], axis=-1).astype(np.uint8)
    frame[8:16, place : place + 4] = (200, 60, 60)
    return frame


def thermal(place: int = 0, hot: int = 8600) -> NDArray[np.uint16]:
    """Return the counts of the same scene."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    frame: NDArray[np.uint16] = (7000 + 12 * x + 6 * y).astype(np.uint16)
    frame[8:16, place : place + 4] = hot
    return frame


def write_film(
    path: Path,
    frames: Frames,
    times: Sequence[Fraction] | None = None,
    *,
    coded: Coded = H264,
    sound: str | None = None,
    unit: Fraction = MS,
    rate: int = 25,
) -> Path:
    """Write a film with these time stamps (default: 25 frames per second), and perhaps a tone."""
    times = times or even(len(frames))
    with av.open(str(path), "w") as film:
        stream = film.add_stream(coded[0], rate=rate)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = coded[1]
        stream.codec_context.time_base = unit
        track: Any = None if sound is None else film.add_stream(sound, rate=SOUND_RATE)
        if track is not None:
            track.layout = "mono"
        for array, time in zip(frames, times, strict=True):
            plain = av.VideoFrame.from_ndarray(array, PLAIN[array.ndim, str(array.dtype)])
            frame = plain.reformat(format=coded[1])
            frame.pts, frame.time_base = round(time / unit), unit
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
        if track is not None:
            for tone in _tones(track, times[-1] + Fraction(1, 25)):
                film.mux(track.encode(tone))
            film.mux(track.encode(None))
    return path


def _tones(track: Any, seconds: Fraction) -> list[av.AudioFrame]:
    kind = track.codec_context.format.name
    found = []
    for start in range(0, int(seconds * SOUND_RATE), SOUND_FRAME):
        angle = 2 * np.pi * 440 * (start + np.arange(SOUND_FRAME)) / SOUND_RATE
        wave = 0.3 * np.sin(angle).astype(np.float32)[None]
        samples = (32767 * wave).astype(np.int16) if kind == "s16" else wave
        tone = av.AudioFrame.from_ndarray(samples, format=kind, layout="mono")
        tone.sample_rate, tone.pts = SOUND_RATE, start
        tone.time_base = Fraction(1, SOUND_RATE)
        found.append(tone)
    return found


def read_back(path: Path) -> tuple[list[float], list[NDArray[Any]]]:
    """Return the times of all frames in seconds, and their pixels: grey as stored, else RGB."""
    with av.open(str(path)) as film:
        frames = list(film.decode(film.streams.video[0]))
    times = [float((frame.pts or 0) * Fraction(frame.time_base or 1)) for frame in frames]
    arrays = []
    for frame in frames:
        name = frame.format.name
        kind = name if name.startswith("gray") else "rgb24"
        arrays.append(np.asarray(frame.to_ndarray(format=kind)))
    return times, arrays


def sound_of(path: Path) -> tuple[str, float, float] | None:
    """Return the codec of a film's sound, where it begins and how long it lasts, in seconds."""
    with av.open(str(path)) as film:
        if not film.streams.audio:
            return None
        track = film.streams.audio[0]
        frames = list(film.decode(track))
        length = sum(frame.samples for frame in frames) / track.rate
        return track.codec_context.name, float(frames[0].time or 0), length
