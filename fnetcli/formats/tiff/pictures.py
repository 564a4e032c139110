"""Strips and tiles that are compressed as pictures of their own: JPEG 2000, JPEG XL, WebP, LERC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from fnetcli.formats.base import COPY_AGAIN, ContentError
from fnetcli.formats.codestreams import jpeg2000_claim, jpegxl_claim, lerc_size, webp_size

JPEG2000, WEBP, JPEGXL, LERC = 34712, 50001, 50002, 34887  # values of the Compression tag
CODECS = frozenset({JPEG2000, WEBP, JPEGXL, LERC})
LERC_TAG = 50674  # version, and what compresses the blob once more
PLAIN, DEFLATED, ZSTD = 0, 1, 2

Numbers = NDArray[Any]


@dataclass(frozen=True)
class Lerc:
    """How LERC lies in a file: what compresses it once more, and whether libtiff swapped bytes."""

    further: int = PLAIN
    is_swapped: bool = False


def decode(
    codec: int, content: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any], lerc: Lerc
) -> Numbers:
    """Return the numbers of one strip or tile, (rows, columns, bands), at most as many as `shape`.

    Raise ContentError where a picture does not fit its strip; decoders raise anything.
    """
    if codec == LERC:
        return _lerc(content, shape, dtype, lerc)
    size, decoder = _DECODERS[codec]
    _require_fitting(size(content), shape)
    return _fitted(decoder(content), shape, dtype)


def _size_of_jpeg2000(content: bytes) -> tuple[int, int]:
    claim = jpeg2000_claim(content)
    return claim.height, claim.width


def _size_of_jpegxl(content: bytes) -> tuple[int, int]:
    claim = jpegxl_claim(content)
    return claim.height, claim.width


_DECODERS: dict[int, tuple[Callable[[bytes], tuple[int, int]], Callable[[bytes], Numbers]]] = {
    JPEG2000: (_size_of_jpeg2000, imagecodecs.jpeg2k_decode),
    JPEGXL: (_size_of_jpegxl, imagecodecs.jpegxl_decode),
    WEBP: (webp_size, imagecodecs.webp_decode),
}


def _require_fitting(size: tuple[int, int], shape: tuple[int, int, int]) -> None:
    if not (1 <= size[0] <= shape[0] and size[1] == shape[1]):
        raise ContentError(
            f"not a readable TIFF ({size[1]}x{size[0]} pixels in a tile of {shape[1]}x{shape[0]})",
            COPY_AGAIN,
        )


def _fitted(decoded: Numbers, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Numbers:
    planes = decoded if decoded.ndim == 3 else decoded[..., None]
    if planes.shape[2] == 3 and shape[2] == 4 and planes.dtype == np.uint8:
        # WebP leaves alpha out where all of it is opaque.
        planes = np.concatenate([planes, np.full_like(planes[..., :1], 255)], axis=2)
    if planes.shape[1:] != shape[1:] or planes.shape[0] > shape[0] or planes.dtype != dtype:
        raise ContentError("not a readable TIFF (its tiles are not what its tags say)", COPY_AGAIN)
    return planes


def _lerc(content: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any], lerc: Lerc) -> Numbers:
    most = 2 * int(np.prod(shape)) * dtype.itemsize + (1 << 16)
    if lerc.further == DEFLATED:
        content = bytes(imagecodecs.zlib_decode(content, out=most))
    elif lerc.further == ZSTD:
        content = bytes(imagecodecs.zstd_decode(content, out=most))
    elif lerc.further != PLAIN:
        raise ContentError("its LERC compression is of an unknown kind", COPY_AGAIN)
    _require_fitting(lerc_size(content), shape)
    decoded, mask = imagecodecs.lerc_decode(content, masks=True)
    planes = _fitted(decoded.byteswap() if lerc.is_swapped else decoded, shape, dtype)
    if mask is None or mask.size == 0 or mask.all():
        return planes
    if dtype.kind != "f":
        raise ContentError("its LERC mask cannot be kept", "save it with deflate")
    holes = np.broadcast_to(mask.reshape(*planes.shape[:2], -1) == 0, planes.shape)
    return np.where(holes, dtype.type(np.nan), planes)
