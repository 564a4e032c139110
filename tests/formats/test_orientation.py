"""Pictures stand upright, turned once."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from fnetcli.formats import probe_image
from tests.formats.files import (
    ALPHA,
    DEEP_RGB,
    RGB,
    SHAPE,
    chunk,
    encode,
    network_rows,
    png,
    read_bytes,
    rgba,
    tiff,
)

UPRIGHT: dict[
    int, Callable[[NDArray[Any]], NDArray[Any]]
] = {  # stored -> upright, after EXIF 2.3, 4.6.4
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: np.rot90,
}


class TestOrientation:
    @pytest.mark.parametrize("orientation", UPRIGHT)
    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("PNG", {}),
            ("JPEG", {"quality": 95, "subsampling": 0}),
            ("TIFF", {}),
            ("TIFF", {"compression": "tiff_lzw"}),
            ("WEBP", {"lossless": True}),
        ],
        ids=["png", "jpeg", "tiff", "tiff-lzw", "webp"],
    )
    def test_applied_once(
        self, kind: str, options: dict[str, Any], orientation: int, tmp_path: Path
    ) -> None:
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        image = read_bytes(encode(RGB, kind, exif=exif, **options), tmp_path)
        expected = UPRIGHT[orientation](RGB).astype(np.float32)
        assert image.grid.shape == (1, *expected.shape[:2])
        assert np.abs(image.pixels[0] - expected).max() <= (8 if kind == "JPEG" else 0)

    @pytest.mark.parametrize("value", [0, 9, 200])
    def test_impossible_value_is_upright(self, value: int, tmp_path: Path) -> None:
        exif = PIL.Image.Exif()
        exif[0x0112] = value
        image = read_bytes(encode(RGB, "PNG", exif=exif), tmp_path)
        np.testing.assert_array_equal(image.pixels[0], RGB)

    def test_alpha_turns_with_the_picture(self, tmp_path: Path) -> None:
        exif = PIL.Image.Exif()
        exif[0x0112] = 6
        image = read_bytes(encode(rgba(RGB, ALPHA), "PNG", exif=exif), tmp_path)
        assert image.alpha is not None
        np.testing.assert_array_equal(np.rint(image.alpha[0] * 255), np.rot90(ALPHA, -1))

    @pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0rubbish", b"?"])
    def test_broken_exif_does_not_cost_the_pixels(
        self, exif: bytes, tmp_path: Path, recwarn: pytest.WarningsRecorder
    ) -> None:
        image = read_bytes(encode(RGB, "JPEG", quality=95, subsampling=0, exif=exif), tmp_path)
        assert np.abs(image.pixels[0].astype(float) - RGB).max() <= 8
        assert not recwarn.list

    @pytest.mark.parametrize("orientation", UPRIGHT)
    def test_deep_files_are_turned_too(self, orientation: int, tmp_path: Path) -> None:
        tag = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
        exif = chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01" + tag + bytes(4))
        files = [
            png(SHAPE, 16, 2, network_rows(DEEP_RGB), exif),
            tiff(DEEP_RGB, photometric="rgb", extratags=[(0x0112, 3, 1, orientation, True)]),
        ]
        late = files[0].replace(exif, b"")  # the chunk may stand behind the pixels
        files.append(late[:-12] + exif + late[-12:])
        expected = UPRIGHT[orientation](DEEP_RGB)
        for content in files:
            image = read_bytes(content, tmp_path)
            np.testing.assert_array_equal(image.pixels[0], expected)
            assert image.pixels.dtype == np.uint16
            header = probe_image(tmp_path / "picture.bin")
            assert (header.height, header.width) == expected.shape[:2]

    @pytest.mark.parametrize("orientation", [1, 6])
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
    def test_probing_knows_the_upright_size(
        self, kind: str, orientation: int, tmp_path: Path
    ) -> None:
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        (tmp_path / "a").write_bytes(encode(RGB, kind, exif=exif))
        header = probe_image(tmp_path / "a")
        assert (header.height, header.width) == UPRIGHT[orientation](RGB).shape[:2]
