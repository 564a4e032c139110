"""What a film can be written as: containers, codecs, and how each is set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fnetcli.errors import UsageError
from fnetcli.formats.film.pyav import load_av

Quality = Literal["low", "medium", "high"]
QUALITIES: tuple[Quality, ...] = ("low", "medium", "high")
PER_QSCALE = 118  # FF_QP2LAMBDA


@dataclass(frozen=True)
class Codec:
    """A codec: FFmpeg's encoder, its settings by quality, and its pixel formats.

    `colour` and `grey` are formats of 8 bits; `deep` is (colour, grey) of 16 bits, if it has them.
    `halves`: sides must be even, since colour is kept at half the resolution. No encoder reorders
    frames: pieces of a film can then be joined.
    """

    encoder: str
    settings: Mapping[Quality, Mapping[str, str]]
    colour: str = "yuv420p"
    grey: str = "yuv420p"
    deep: tuple[str, str] | None = None
    halves: bool = True
    least: int = 2  # pixels of a side

    @property
    def is_lossless(self) -> bool:
        """Whether every number is kept, so that there is no quality to choose."""
        return not self.settings


def _crf(low: int, medium: int, high: int, **further: str) -> dict[Quality, Mapping[str, str]]:
    values = zip(QUALITIES, (low, medium, high), strict=True)
    return {quality: {"crf": str(crf), **further} for quality, crf in values}


def _qscale(low: int, medium: int, high: int) -> dict[Quality, Mapping[str, str]]:
    values = zip(QUALITIES, (low, medium, high), strict=True)
    return {
        quality: {"flags": "+qscale", "global_quality": str(PER_QSCALE * scale)}
        for quality, scale in values
    }


AV1 = {"preset": "8", "svtav1-params": "pred-struct=1"}  # frames in order
VP9 = {"deadline": "good", "cpu-used": "4", "auto-alt-ref": "0", "b": "0"}
X265 = {"x265-params": "log-level=none:bframes=0"}
CODECS: dict[str, Codec] = {
    "h264": Codec("libx264", _crf(28, 23, 18)),
    "h265": Codec("libx265", _crf(32, 27, 22, **X265), least=64),
    "av1": Codec("libsvtav1", _crf(45, 35, 25, **AV1), least=64),
    "vp9": Codec("libvpx-vp9", _crf(40, 32, 22, **VP9)),
    "mpeg4": Codec("mpeg4", _qscale(8, 5, 2)),
    "mjpeg": Codec("mjpeg", _qscale(8, 5, 2), "yuvj420p", "yuvj420p"),
    "ffv1": Codec("ffv1", {}, "bgr0", "gray", deep=("rgb48le", "gray16le"), halves=False),
}


@dataclass(frozen=True)
class Container:
    """A kind of file: FFmpeg's name, the codecs it takes, its usual one first, and its sound.

    `sounds` are kept as they are; others are coded anew as `sound`. Without `has_times` every frame
    lasts equally long.
    """

    name: str
    codecs: tuple[str, ...]
    sounds: tuple[str, ...] | None  # None: all
    sound: str
    has_times: bool = True
    sound_rate: int | None = None  # samples per second of sound that is coded anew; None: its own


MP4 = Container(
    "mp4", ("h264", "h265", "av1", "mpeg4"), ("aac", "mp3", "ac3", "eac3", "alac", "opus"), "aac"
)
CONTAINERS: dict[str, Container] = {
    ".mp4": MP4,
    ".m4v": MP4,
    ".mov": Container(
        "mov", ("h264", "h265", "mpeg4"), ("aac", "mp3", "ac3", "alac", "pcm_s16le"), "aac"
    ),
    ".mkv": Container(
        "matroska", ("h264", "h265", "av1", "vp9", "mpeg4", "mjpeg", "ffv1"), None, "aac"
    ),
    ".webm": Container("webm", ("vp9", "av1"), ("opus", "vorbis"), "libopus", sound_rate=48_000),
    ".avi": Container(
        "avi", ("mpeg4", "mjpeg", "ffv1"), ("mp3", "ac3", "pcm_s16le", "pcm_u8"), "pcm_s16le",
        has_times=False,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Coding:
    """How a film is written."""

    container: Container
    name: str
    codec: Codec
    quality: Quality | None
    is_deep: bool

    def pixel_format(self, *, has_color: bool) -> str:
        """Return FFmpeg's name of the pixel format."""
        if self.is_deep and self.codec.deep is not None:
            return self.codec.deep[not has_color]
        return self.codec.colour if has_color else self.codec.grey

    @property
    def settings(self) -> dict[str, str]:
        """The encoder's options."""
        return {} if self.quality is None else dict(self.codec.settings[self.quality])

    def record(self) -> dict[str, object]:
        """Return everything that changes the file, ready for JSON."""
        return {
            "container": self.container.name,
            "codec": self.name,
            "quality": self.quality,
            "bits": 16 if self.is_deep else 8,
        }


def choose_coding(
    out: Path, codec: str | None, quality: Quality | None, *, is_deep: bool
) -> Coding:
    """Return how to write a film of this name. Raise UsageError for what does not go together."""
    container = CONTAINERS.get(out.suffix.lower())
    if container is None:
        raise UsageError(f"-o {out}: films are written as {', '.join(CONTAINERS)}; use one of them")
    if codec is not None and codec not in CODECS:
        raise UsageError(f"--codec {codec}: unknown; use one of {', '.join(CODECS)}")
    if codec is not None and codec not in container.codecs:
        fitting = [name for name, one in CONTAINERS.items() if codec in one.codecs]
        raise UsageError(
            f"--codec {codec}: {out.suffix} files are written with {', '.join(container.codecs)}; "
            f"use one of these, or a name that ends in {' or '.join(fitting)}"
        )
    if codec is None and is_deep:
        codec = next((name for name in container.codecs if CODECS[name].deep), None)
    name = codec or container.codecs[0]
    found = CODECS[name]
    if is_deep and found.deep is None:
        raise UsageError(
            f"--depth 16: {name} in {out.suffix} holds 8 bits; use --codec ffv1 and a name that "
            "ends in .mkv or .avi"
        )
    if found.is_lossless and quality is not None:
        raise UsageError(f"--quality {quality}: {name} loses nothing; leave it out")
    _require_encoder(name, found)
    kept: Quality | None = None if found.is_lossless else quality or "high"
    return Coding(container, name, found, kept, is_deep)


def _require_encoder(name: str, codec: Codec) -> None:
    av = load_av()
    try:
        av.codec.Codec(codec.encoder, "w")
    except ValueError:
        raise UsageError(
            f"--codec {name}: this PyAV has no encoder {codec.encoder}; choose another with "
            f"--codec ({', '.join(CODECS)}), or install PyAV's own wheel (pip install av)"
        ) from None
