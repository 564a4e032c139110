"""Decoders of imagecodecs for pydicom: for encodings that Pillow cannot decode.

A plugin as defined by pydicom (its guide "Decoding plugins"): JPEG of 12 bits and lossless by
libjpeg-turbo, JPEG-LS by CharLS, JPEG 2000 and HTJ2K by OpenJPEG, RLE by imagecodecs itself; all
under permissive licences. Pillow decodes JPEG of 8 bits, since pydicom leaves colours to it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.decoders.base import DecodeRunner
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from fnetcli.formats.codecs import silence

PLUGIN = "imagecodecs"
J2K = frozenset({JPEG2000, JPEG2000Lossless, HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL})
JLS = frozenset({JPEGLSLossless, JPEGLSNearLossless})
SYNTAXES: dict[UID, str] = {  # transfer syntax: codec of imagecodecs
    JPEGExtended12Bit: "JPEG8",
    JPEGLossless: "JPEG8",
    JPEGLosslessSV1: "JPEG8",
    RLELossless: "DICOMRLE",
    **dict.fromkeys(JLS, "JPEGLS"),
    **dict.fromkeys(J2K, "JPEG2K"),
}
DECODER_DEPENDENCIES = dict.fromkeys(SYNTAXES, ("imagecodecs",))

# JPEG markers (ITU T.81, B.1.1.3) that start a frame, with JPEG-LS' own (T.87); those without size.
FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
ALONE = frozenset({0x01, *range(0xD0, 0xD9)})


def is_available(uid: str) -> bool:
    """Whether the installed imagecodecs has the codec for a transfer syntax."""
    codec = getattr(imagecodecs, SYNTAXES.get(UID(uid), ""), None)
    return codec is not None and bool(codec.available)


def decode_frame(src: bytes, runner: DecodeRunner) -> bytes:
    """Return one frame for pydicom: numbers of the runner's size, colours interleaved by pixel."""
    syntax = runner.transfer_syntax
    if syntax == RLELossless:
        runner.set_option("planar_configuration", 1)
        kind = f"<u{runner.bits_allocated // 8}"
        return bytes(imagecodecs.dicomrle_decode(src, kind))
    if syntax == JPEGExtended12Bit and runner.bits_stored <= 8:
        raise NotImplementedError("left to Pillow")
    decode: Callable[[bytes], NDArray[Any]] = (
        imagecodecs.jpeg2k_decode
        if syntax in J2K
        else imagecodecs.jpegls_decode
        if syntax in JLS
        else _jpeg
    )
    with silence:
        decoded = decode(src)
    if runner.samples_per_pixel > 1:
        runner.set_option("planar_configuration", 0)
    if syntax in J2K and runner.photometric_interpretation in {
        PhotometricInterpretation.YBR_ICT,
        PhotometricInterpretation.YBR_RCT,
    }:
        runner.set_option("photometric_interpretation", PhotometricInterpretation.RGB)
    runner.set_option("bits_allocated", 8 * decoded.dtype.itemsize)
    return decoded.astype(decoded.dtype.newbyteorder("<"), copy=False).tobytes()


def _jpeg(src: bytes) -> NDArray[Any]:
    """Decode without converting colours: lossless JPEG is stored as RGB or as one band."""
    size = codestream_size(src)
    if size is not None and size[2] == 3:
        return np.asarray(imagecodecs.jpeg8_decode(src, colorspace="RGB", outcolorspace="RGB"))
    return np.asarray(imagecodecs.jpeg8_decode(src))


def codestream_size(src: bytes) -> tuple[int, int, int] | None:
    """Return (rows, columns, bands) that a JPEG, JPEG-LS or JPEG 2000 stream claims, or None.

    A decoder allocates memory for the size in the stream, whatever the surrounding header says.
    """
    start = src.find(b"\xff\x4f\xff\x51") if src[:2] != b"\xff\xd8" else -1
    if start >= 0:  # JPEG 2000: SOC, SIZ (T.800, A.5.1)
        if len(src) < start + 44:
            return None
        right, bottom, left, top = struct.unpack(">4I", src[start + 8 : start + 24])
        (bands,) = struct.unpack(">H", src[start + 40 : start + 42])
        return bottom - top, right - left, bands
    place = 2
    while place + 9 < len(src):
        if src[place] != 0xFF:
            return None
        marker = src[place + 1]
        if marker == 0xFF:
            place += 1
        elif marker in ALONE:
            place += 2
        elif marker in FRAMES:
            rows, columns, bands = struct.unpack(">HHB", src[place + 5 : place + 10])
            return rows, columns, bands
        else:
            place += 2 + struct.unpack(">H", src[place + 2 : place + 4])[0]
    return None
