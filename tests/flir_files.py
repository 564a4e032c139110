"""Files of FLIR cameras, made byte by byte after the layout that docs/cameras.md tells."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tests.formats.files import encode

Counts = NDArray[np.uint16]

COUNTS, PICTURE, CAMERA, ALIGNMENT = 0x01, 0x0E, 0x20, 0x2A
CONSTANTS: dict[str, float] = {
    "emissivity": 0.9,
    "distance": 4.0,
    "reflected": 290.0,
    "air": 285.0,
    "window": 300.0,
    "window_share": 0.8,
    "humidity": 0.4,
    "r1": 17000.0,
    "b": 1440.0,
    "f": 1.0,
    "alpha1": 0.006569,
    "alpha2": 0.01262,
    "beta1": -0.002276,
    "beta2": -0.00667,
    "x": 1.9,
    "r2": 0.0125,
    "o": -1000,
}
PLACES = {
    "emissivity": 0x20,
    "distance": 0x24,
    "reflected": 0x28,
    "air": 0x2C,
    "window": 0x30,
    "window_share": 0x34,
    "humidity": 0x3C,
    "r1": 0x58,
    "b": 0x5C,
    "f": 0x60,
    "alpha1": 0x70,
    "alpha2": 0x74,
    "beta1": 0x78,
    "beta2": 0x7C,
    "x": 0x80,
    "r2": 0x30C,
}

# A scene of one warm thing, as both cameras of a file see it.
RATIO, OFFSET = 1.25, (4, -6)
THERMAL, VISIBLE = (32, 24), (80, 60)  # rows, columns


def block(
    records: Mapping[int, bytes], order: str = ">", name: bytes = b"FFF\0", version: int = 100
) -> bytes:
    """Return a block with a directory of its records, an empty entry among them."""
    entries, content = [bytes(32)], b""
    start = 0x40 + 32 * (len(records) + 1)
    for kind, data in records.items():
        place = start + len(content)
        entries.append(struct.pack(f"{order}HHIIII", kind, 1, 100, 1, place, len(data)) + bytes(12))
        content += data
    header = name + b"a camera".ljust(16, b"\0")
    header += struct.pack(f"{order}III", version, 0x40, len(entries))
    return header.ljust(0x40, b"\0") + b"".join(entries) + content


def plain_counts(counts: Counts, order: str = "<", data: str = "<") -> bytes:
    """Return a record of plain numbers; `order` is that of its header, `data` of the numbers."""
    return _head(2, counts.shape[1], counts.shape[0], order) + counts.astype(f"{data}u2").tobytes()


def png_counts(counts: Counts, order: str = "<", *, is_swapped: bool = True) -> bytes:
    """Return a record of a PNG, whose bytes cameras write in the wrong order."""
    height, width = counts.shape
    stored = counts.astype("<u2" if is_swapped else ">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in stored)
    return _head(2, width, height, order) + _png(width, height, rows)


def jpeg_ls_counts(counts: Counts, order: str = "<") -> bytes:
    """Return a record of JPEG-LS, by FFmpeg, as CSQ files have it."""
    height, width = counts.shape
    coder = av.VideoCodecContext.create("jpegls", "w")
    coder.width, coder.height, coder.pix_fmt = width, height, "gray16le"
    coder.time_base = Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(counts, "gray16le")
    frame.pts = 0
    packets = [*coder.encode(frame), *coder.encode(None)]
    return _head(2, width, height, order) + b"".join(bytes(packet) for packet in packets)


def picture(rgb: NDArray[np.uint8], kind: str = "JPEG", order: str = "<") -> bytes:
    """Return a record of a visible picture."""
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    return _head(3, rgb.shape[1], rgb.shape[0], order) + encode(rgb, kind, **options)


def ycbcr_picture(planes: list[NDArray[np.uint8]]) -> bytes:
    """Return a record of plain planes: Y, then Cb and Cr of half the size."""
    height, width = planes[0].shape
    return _head(2, width, height, "<") + b"".join(plane.tobytes() for plane in planes)


def camera(order: str = "<", /, *, taken: float = 0, rate: float = 0, **changed: float) -> bytes:
    """Return a record of constants; `taken` is a time in milliseconds since 1970."""
    values = CONSTANTS | changed
    content = bytearray(0x340 if not taken and not rate else 0x480)
    if len(content) > 0x464:
        milliseconds = 0xABCD0000 + int(taken) % 1000  # whose upper half means something else
        struct.pack_into(f"{order}II", content, 0x384, int(taken) // 1000, milliseconds)
        struct.pack_into(f"{order}H", content, 0x464, int(rate))
    struct.pack_into(f"{order}H", content, 0, 2)
    for name, place in PLACES.items():
        struct.pack_into(f"{order}f", content, place, values[name])
    struct.pack_into(f"{order}i", content, 0x308, int(values["o"]))
    content[0xD4 : 0xD4 + 8] = b"Model 42"
    return bytes(content)


def alignment(ratio: float, x: int = 0, y: int = 0, order: str = "<") -> bytes:
    """Return a record of the picture in picture."""
    return struct.pack(f"{order}fhh", ratio, x, y) + bytes(88)


def chunks(content: bytes, size: int = 60_000) -> list[bytes]:
    """Return the payloads of the segments that hold a block."""
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    last = len(parts) - 1
    return [b"FLIR\0\1" + bytes([i, last]) + part for i, part in enumerate(parts)]


def with_segments(jpeg: bytes, payloads: list[bytes]) -> bytes:
    """Return a JPEG file with further APP1 segments."""
    segments = [b"\xff\xe1" + struct.pack(">H", len(one) + 2) + one for one in payloads]
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def rendering(size: tuple[int, int] = (24, 32)) -> bytes:
    """Return a false-colour picture (width, height) as JPEG."""
    ramp = np.linspace(0, 255, size[0] * size[1]).reshape(size[1], size[0])
    return encode(np.stack([ramp, 255 - ramp, ramp / 2], -1).astype(np.uint8), "JPEG")


def flir_jpeg(records: Mapping[int, bytes], *, size: int = 60_000, **options: Any) -> bytes:
    """Return a radiometric JPEG file."""
    return with_segments(rendering(), chunks(block(records, **options), size))


def counts_of(celsius: NDArray[np.float64], **changed: float) -> Counts:
    """Return the counts that a camera stores of such temperatures: the formula, forwards."""
    c = CONSTANTS | changed

    def signal(kelvin: Any) -> Any:
        return c["r1"] / (c["r2"] * (np.exp(c["b"] / kelvin) - c["f"])) - c["o"]

    t = c["air"] - 273.15
    water = c["humidity"] * math.exp(1.5587 + 6.939e-2 * t - 2.7816e-4 * t**2 + 6.8455e-7 * t**3)
    length, moist = math.sqrt(c["distance"]), math.sqrt(water)
    air = c["x"] * math.exp(-length * (c["alpha1"] + c["beta1"] * moist))
    air += (1 - c["x"]) * math.exp(-length * (c["alpha2"] + c["beta2"] * moist))
    e, w = c["emissivity"], c["window_share"]
    received = (
        e * air * w * signal(celsius + 273.15)
        + (1 - e) * air * w * signal(c["reflected"])
        + (1 - air) * w * signal(c["air"])
        + (1 - w) * signal(c["window"])
    )
    counts: Counts = np.rint(received).astype(np.uint16)
    return counts


def temperatures(warm: tuple[float, float] = (9, 12), most: float = 40) -> Any:
    """Return degrees Celsius of a scene with one warm thing at (x, y)."""
    y, x = np.mgrid[: THERMAL[0], : THERMAL[1]].astype(float)
    return (
        15
        + 0.05 * y
        + (most - 16) * np.exp(-((x - warm[0]) ** 2 + (y - warm[1]) ** 2) / (2 * 2.5**2))
    )


def seen(warm: tuple[float, float] = (9, 12)) -> Any:
    """Return the same thing, white, as the visible camera sees it through its wider lens."""
    step = VISIBLE[1] / RATIO / THERMAL[1]
    begin = [(VISIBLE[1 - i] * (1 - 1 / RATIO)) / 2 + OFFSET[i] for i in (0, 1)]
    place = [begin[i] + (warm[i] + 0.5) * step - 0.5 for i in (0, 1)]
    y, x = np.mgrid[: VISIBLE[0], : VISIBLE[1]].astype(float)
    blob = np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * (2.5 * step) ** 2))
    return np.stack([60 + 150 * blob, 60 + 120 * blob, 80 + 60 * blob], -1).astype(np.uint8)


def records(**changed: bytes) -> dict[int, bytes]:
    """Return all records of a file of this scene."""
    return {
        PICTURE: changed.get("picture", picture(seen(), "PNG")),
        CAMERA: changed.get("camera", camera()),
        COUNTS: changed.get("counts", png_counts(counts_of(temperatures()))),
        ALIGNMENT: changed.get("alignment", alignment(RATIO, *OFFSET)),
    }


def _head(mark: int, width: int, height: int, order: str) -> bytes:
    return struct.pack(f"{order}HHH", mark, width, height).ljust(0x20, b"\0")


def _png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    return start + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
