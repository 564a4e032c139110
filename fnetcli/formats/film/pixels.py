"""Frames of a film as arrays, and arrays as frames.

Grey of any depth is taken as the numbers that are stored. Everything else becomes RGB by the
matrix and range that the film declares; without a declaration by BT.709 for HD and BT.601 below,
as players do, in the limited range of video. Films are written by the same rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fnetcli.formats.film.pyav import load_av
from fnetcli.imaging.image import Stored

if TYPE_CHECKING:
    from av.video.format import VideoFormat
    from av.video.frame import VideoFrame

HD_WIDTH, HD_HEIGHT = 1280, 720
BT601, BT709, BT2020 = 5, 1, 9  # numbers of ISO/IEC 23091-2, 8.3
MATRICES = {1: BT709, 4: 4, 5: BT601, 6: BT601, 7: 7, 9: BT2020, 10: BT2020}  # as swscale has them
LIMITED, FULL = 1, 2  # AVColorRange
HDR_CURVES = {16: "PQ", 18: "HLG"}  # ISO/IEC 23091-2, 8.2
QUARTER = 90  # degrees


def stored_kind(pixel_format: VideoFormat) -> tuple[np.dtype[Any], int, int | None]:
    """Return the type of a film's numbers after reading, its channels, and the bits in use."""
    depth = max(part.bits for part in pixel_format.components)
    if _is_grey(pixel_format):
        if pixel_format.name.startswith("grayf"):
            return np.dtype(np.float32), 1, None
        deep = depth > 8
        return np.dtype(np.uint16 if deep else np.uint8), 1, depth if 8 < depth < 16 else None
    return np.dtype(np.uint16 if depth > 8 else np.uint8), 3, None


def to_planes(frame: VideoFrame) -> Stored:
    """Return the pixels of a frame, (H, W, 1 or 3), upright."""
    name = frame.format.name
    if _is_grey(frame.format):
        plain = _plain_grey(name)
        pixels = _plane(frame if plain == name else frame.reformat(format=plain))[..., None]
    else:
        deep = max(part.bits for part in frame.format.components) > 8
        pixels = _to_rgb(frame, "rgb48le" if deep else "rgb24")
    turns = round(frame.rotation / QUARTER) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def is_turned(frame: VideoFrame) -> bool:
    """Whether width and height are swapped when a frame is upright."""
    return round(frame.rotation / QUARTER) % 2 == 1


def _is_grey(pixel_format: VideoFormat) -> bool:
    return pixel_format.name.startswith(("gray", "ya8", "ya16", "yaf", "mono"))


def _plain_grey(name: str) -> str:
    """Return the format of the same numbers, little-endian and without alpha."""
    if name.startswith("mono") or name == "ya8":
        return "gray"
    if name.startswith("ya16"):
        return "gray16le"
    if name.startswith(("yaf", "grayf")):
        return "grayf32le"
    return name.removesuffix("be") + "le" if name.endswith("be") else name


def _plane(frame: VideoFrame) -> Stored:
    """Copy the only plane of a grey frame, (H, W)."""
    plane = frame.planes[0]
    kind = np.dtype("<f4" if frame.format.name == "grayf32le" else "<u2")
    if frame.format.name == "gray":
        kind = np.dtype(np.uint8)
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height]
    wide = np.ascontiguousarray(rows[:, : frame.width * kind.itemsize]).view(kind)
    return wide.astype(kind.newbyteorder("="), copy=False)


def _to_rgb(frame: VideoFrame, kind: str) -> NDArray[Any]:
    if frame.format.is_rgb:
        rgb = frame.reformat(format=kind, threads=1)
    else:
        usual = usual_matrix(frame.height, frame.width, frame.format.name)
        has_all = frame.color_range == FULL or is_full(frame.format.name)
        rgb = frame.reformat(
            format=kind,
            interpolation=_careful(),
            src_colorspace=MATRICES.get(frame.colorspace, usual),
            src_color_range=FULL if has_all else LIMITED,
            dst_color_range=FULL,
            threads=1,
        )
    return np.asarray(rgb.to_ndarray())


def usual_matrix(height: int, width: int, pixel_format: str) -> int:
    """Return the matrix that players assume where a film does not say."""
    is_hd = width >= HD_WIDTH or height >= HD_HEIGHT
    return BT709 if is_hd and not is_full(pixel_format) else BT601  # JFIF knows no other


def is_full(pixel_format: str) -> bool:
    """Whether black is 0 and white the largest number by the format's name, as in JPEG."""
    return pixel_format.startswith("yuvj")


def to_frame(pixels: Stored, pixel_format: str) -> VideoFrame:
    """Return pixels (H, W, 1 or 3), uint8 or uint16 up to white, as a frame of a film."""
    deep = pixels.dtype == np.uint16
    new = load_av().VideoFrame.from_ndarray
    frame: VideoFrame
    if pixel_format.startswith("gray"):
        frame = new(np.ascontiguousarray(pixels[..., 0]), format=pixel_format)
        return frame
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    frame = new(np.ascontiguousarray(pixels), format="rgb48le" if deep else "rgb24")
    if not pixel_format.startswith("yuv"):
        return frame.reformat(format=pixel_format, threads=1)
    return frame.reformat(
        format=pixel_format,
        interpolation=_careful(),
        dst_colorspace=usual_matrix(pixels.shape[0], pixels.shape[1], pixel_format),
        dst_color_range=FULL if is_full(pixel_format) else LIMITED,
        threads=1,
    )


def _careful() -> Any:
    from av.video.reformatter import Interpolation

    wanted = ("BICUBIC", "ACCURATE_RND", "FULL_CHR_H_INT", "FULL_CHR_H_INP")
    found = Interpolation.BICUBIC
    for name in wanted[1:]:
        found |= Interpolation[name]
    return found
