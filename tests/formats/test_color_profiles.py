"""Colour profiles, and what else a file says that is told to the user."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest

from fnetcli.formats import read_image, write_picture
from fnetcli.imaging.image import Image
from tests.formats.files import (
    DEEP_RGB,
    GREY,
    INDEX_ROWS,
    PLTE,
    RGB,
    SHAPE,
    chunk,
    encode,
    heic,
    network_rows,
    png,
    read_bytes,
    tiff,
    to_pillow,
)

SRGB = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
WIDE_RED, WIDE_GREEN = (0.68, 0.32), (0.265, 0.69)  # the primaries of Display P3
WIDE_BLUE = (0.15, 0.06)


def xyz(x: float, y: float, luminance: float = 1) -> np.ndarray[Any, Any]:
    return np.array([x / y, 1, (1 - x - y) / y]) * luminance


def wide_profile(name: str = "Display P3", space: bytes = b"RGB ") -> bytes:
    """Write a matrix profile by hand (ICC.1:2001-04, 6.1 to 6.5), gamma 2.2, white D65 as D50."""
    columns = np.stack([xyz(*WIDE_RED), xyz(*WIDE_GREEN), xyz(*WIDE_BLUE)], 1)
    white = np.array([0.9642, 1.0, 0.8249])
    matrix = columns * np.linalg.solve(columns, xyz(0.3127, 0.329)) * 1.0
    matrix = np.diag(white / matrix.sum(1)) @ matrix
    text = name.encode()
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + bytes(80),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": xyz_tag(white),
        b"rXYZ": xyz_tag(matrix[:, 0]),
        b"gXYZ": xyz_tag(matrix[:, 1]),
        b"bXYZ": xyz_tag(matrix[:, 2]),
        **{one: b"curv" + bytes(4) + struct.pack(">IH", 1, 563) for one in GAMMAS},
    }
    place, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", place + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4sI4s4s4s12s4s",
        place + len(body),
        b"lcms",
        0x02100000,
        b"mntr",
        space,
        b"XYZ ",
        bytes(12),
        b"acsp",
    )
    head += bytes(28) + struct.pack(">III", *(round(one * 65536) for one in white))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


GAMMAS = (b"rTRC", b"gTRC", b"bTRC")


def xyz_tag(values: np.ndarray[Any, Any]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">iii", *(round(one * 65536) for one in values))


WIDE = wide_profile()
NOTICE = "its colour profile is 'Display P3', not sRGB: colours are used as stored"


def with_profile(kind: str, profile: bytes, picture: Any = RGB) -> bytes:
    if kind == "png 16":
        body = chunk(b"iCCP", b"any name\0\0" + zlib.compress(profile))
        return png(SHAPE, 16, 2, network_rows(DEEP_RGB), body)
    if kind == "png palette":
        body = chunk(b"iCCP", b"any name\0\0" + zlib.compress(profile))
        return png(SHAPE, 8, 3, INDEX_ROWS, body + PLTE)
    if kind == "tiff 16":
        return tiff(DEEP_RGB, photometric="rgb", iccprofile=profile)
    if kind == "heic":
        return heic(picture, icc_profile=profile)
    options = {"lossless": True} if kind == "webp" else {}
    return encode(picture, kind.upper(), icc_profile=profile, **options)


KINDS = ["png", "png 16", "png palette", "jpeg", "webp", "tiff", "tiff 16", "avif", "heic"]


class TestProfile:
    def test_hand_written_one_is_a_profile(self) -> None:
        opened = PIL.ImageCms.ImageCmsProfile(io.BytesIO(WIDE))
        assert PIL.ImageCms.getProfileDescription(opened).strip() == "Display P3"

    @pytest.mark.parametrize("kind", KINDS)
    def test_other_than_srgb_is_kept_and_told(self, kind: str, tmp_path: Path) -> None:
        image = read_bytes(with_profile(kind, WIDE), tmp_path)
        assert image.color_profile == WIDE
        assert image.notices == (NOTICE,)

    @pytest.mark.parametrize("kind", KINDS)
    def test_srgb_is_nothing_to_tell(self, kind: str, tmp_path: Path) -> None:
        image = read_bytes(with_profile(kind, SRGB), tmp_path)
        assert image.color_profile is None
        assert image.notices == ()

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("profile", [b"rubbish", WIDE[:200], bytes(4000)])
    def test_broken_one_is_told_and_costs_no_pixels(
        self, kind: str, profile: bytes, tmp_path: Path
    ) -> None:
        image = read_bytes(with_profile(kind, profile), tmp_path)
        assert image.color_profile is None
        assert len(image.notices) == 1
        assert "its colour profile cannot be read" in image.notices[0]

    def test_broken_compression(self, tmp_path: Path) -> None:
        content = png(SHAPE, 16, 2, network_rows(DEEP_RGB), chunk(b"iCCP", b"name\0\0rubbish"))
        assert "cannot be read" in read_bytes(content, tmp_path).notices[0]

    def test_inflating_one(self, tmp_path: Path) -> None:
        body = chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(100_000_000)))
        content = png(SHAPE, 16, 2, network_rows(DEEP_RGB), body)
        assert "cannot be read" in read_bytes(content, tmp_path).notices[0]

    @pytest.mark.parametrize("kind", ["png", "jpeg", "tiff"])
    def test_grey_pictures_need_none(self, kind: str, tmp_path: Path) -> None:
        image = read_bytes(with_profile(kind, wide_profile(space=b"GRAY"), GREY), tmp_path)
        assert image.color_profile is None
        assert image.notices == ()

    def test_one_for_other_channels(self, tmp_path: Path) -> None:
        image = read_bytes(with_profile("tiff", wide_profile(space=b"CMYK")), tmp_path)
        assert image.color_profile is None
        assert image.notices == ("its colour profile 'Display P3' is not for RGB, and is not used",)

    def test_one_of_ink(self, tmp_path: Path) -> None:
        ink = encode(to_pillow(RGB, "CMYK"), "JPEG", icc_profile=wide_profile(space=b"CMYK"))
        assert read_bytes(ink, tmp_path).color_profile is None

    @pytest.mark.parametrize("name", ["", "two\nlines", "x" * 5000, "\x1b[31mred"])
    def test_name_is_one_short_line(self, name: str, tmp_path: Path) -> None:
        (notice,) = read_bytes(with_profile("png", wide_profile(name)), tmp_path).notices
        assert notice.isprintable()
        assert len(notice) < 160


class TestFlir:
    def flir(self, folder: Path, segment: bytes) -> Image:
        content = encode(RGB, "JPEG", quality=95, subsampling=0)
        body = struct.pack(">BBH", 0xFF, 0xE1, len(segment) + 2) + segment
        return read_bytes(content[:2] + body + content[2:], folder)

    def test_rendered_picture_is_used_and_told(self, tmp_path: Path) -> None:
        image = self.flir(tmp_path, b"FLIR\0\1\0\0" + bytes(range(200)))
        assert np.abs(image.pixels[0].astype(float) - RGB).max() <= 8
        assert len(image.notices) == 1
        assert "FLIR" in image.notices[0]
        assert "the rendered picture is used" in image.notices[0]

    def test_other_segments_say_nothing(self, tmp_path: Path) -> None:
        assert self.flir(tmp_path, b"FLIRT\0" + bytes(99)).notices == ()


class TestWriting:
    @pytest.mark.parametrize("kind", ["png", "tiff", "jpeg", "webp"])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_reads_back_by_us_and_by_pillow(self, kind: str, dtype: Any, tmp_path: Path) -> None:
        pixels = RGB if dtype == np.uint8 or kind in {"jpeg", "webp"} else DEEP_RGB
        path = tmp_path / "a.bin"
        write_picture(path, kind, pixels, color_profile=WIDE)
        assert read_image(path).color_profile == WIDE
        if pixels.dtype == np.uint8 or kind == "png":
            with PIL.Image.open(path) as picture:
                assert picture.info["icc_profile"] == WIDE

    @pytest.mark.parametrize("kind", ["png", "tiff", "jpeg", "webp"])
    def test_one_for_other_channels_is_left_out(self, kind: str, tmp_path: Path) -> None:
        write_picture(tmp_path / "a.bin", kind, GREY[..., None], color_profile=WIDE)
        with PIL.Image.open(tmp_path / "a.bin") as picture:
            assert "icc_profile" not in picture.info
