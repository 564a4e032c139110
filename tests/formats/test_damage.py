"""Nothing but an Image or a ReadError, whatever the bytes; and not a word besides."""

from __future__ import annotations

import logging
import threading
import warnings
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image
import pytest

from fnetcli.errors import ReadError
from fnetcli.formats import ReadOptions, read_image
from tests.formats.files import (
    ALPHA,
    DEEP,
    DEEP_ALPHA,
    DEEP_GREY,
    DEEP_RGB,
    EXACT,
    GREY,
    LOSSY,
    RGB,
    SHAPE,
    chunk,
    encode,
    packed,
    planes,
    png,
    read_bytes,
    rgba,
    tiff,
    to_pillow,
)

# --- nothing but an Image or a ReadError, whatever the bytes ------------------------------------

LATER = (
    *("pnm rgb", "pnm bits", "pnm text", "pnm rgb alpha", "pnm 16", "pnm float"),
    *("npy bytes", "npy 16 big endian", "npy int64", "csv semicolons", "csv commas"),
    *("jpeg2000 grey", "jpeg2000 rgb", "jpeg2000 12", "jpegxl grey", "jpegxl rgba", "jpegxl 16"),
    *("avif rgb", "avif rgba", "avif 10", "heic grey", "heic rgb"),
    *("tiff jpeg 2000", "tiff jpeg xl", "tiff webp", "tiff lerc"),
)
TEXTS = {"pnm text", "csv semicolons", "csv commas"}  # nothing tells where they end
SMALL = {
    "png": encode(RGB, "PNG"),
    "png palette": EXACT["png palette transparency"][0],
    "png 4 bits key": EXACT["png 4 bits key"][0],
    "jpeg": encode(
        RGB, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    ),
    "jpeg progressive": encode(RGB, "JPEG", progressive=True),
    "tiff": encode(RGB, "TIFF"),
    "tiff lzw": encode(RGB, "TIFF", compression="tiff_lzw"),
    "tiff deflate": encode(RGB, "TIFF", compression="tiff_adobe_deflate"),
    "tiff jpeg": encode(RGB, "TIFF", compression="jpeg"),
    "tiff by others": EXACT["bigtiff"][0],
    "tiff 16 planar tiles": tiff(
        np.moveaxis(DEEP_RGB, -1, 0), photometric="rgb", planarconfig="separate", tile=(16, 16)
    ),
    "tiff 16 lzw predictor": tiff(
        DEEP_RGB, photometric="rgb", compression="lzw", predictor=True, rowsperstrip=4
    ),
    "tiff float deflate predictor": tiff(
        GREY.astype(np.float32), compression="zlib", predictor=True, tile=(16, 16)
    ),
    "tiff zstd big endian": tiff(DEEP_GREY, compression="zstd", byteorder=">", rowsperstrip=5),
    "tiff packbits": tiff(DEEP_GREY, compression="packbits", rowsperstrip=5),
    "tiff 12 bits": DEEP["tiff 12 bits packed in strips"][0],
    "tiff palette": DEEP["tiff palette alpha"][0],
    "tiff associated": tiff(
        planes(DEEP_RGB, DEEP_ALPHA), photometric="rgb", extrasamples=["assocalpha"]
    ),
    "bigtiff big endian": DEEP["bigtiff big endian"][0],
    "geotiff": tiff(
        GREY.astype(np.int16),
        extratags=[
            (33550, 12, 3, (1.0, 1.0, 0.0), True),
            (33922, 12, 6, (0.0, 0.0, 0.0, 7.0, 8.0, 0.0), True),
            (42113, 2, 5, "-9999", True),
        ],
        iccprofile=b"no profile, but long enough to lie somewhere",
    ),
    "png 16 grey": DEEP["png 16 grey"][0],
    "png 16 rgba": DEEP["png 16 rgba"][0],
    "png 16 rgb key": DEEP["png 16 rgb key"][0],
    "png profile": encode(RGB, "PNG", icc_profile=bytes(300), exif=b"Exif\0\0MM\0*\0\0\0\x08"),
    "bmp": encode(GREY, "BMP"),
    "webp": encode(RGB, "WEBP"),
    "webp alpha": encode(rgba(RGB, ALPHA), "WEBP", lossless=True),
    **{name: EXACT[name][0] for name in LATER if name in EXACT},
    **{name: LOSSY[name][0] for name in LATER if name in LOSSY},
    **{name: DEEP[name][0] for name in LATER if name in DEEP},
}


LOUD_PNG = png(  # libpng warns of each of these chunks
    SHAPE, 8, 0, packed(GREY, 8), chunk(b"iCCP", b"x\0\0?") + chunk(b"sBIT", b"99")
)
LOW_LIMIT = ReadOptions(pixel_limit=200_000)  # sizes invented by a flipped bit cost gigabytes


class TestDamage:
    @pytest.mark.parametrize("name", [name for name in SMALL if name not in TEXTS])
    def test_cut_file_is_whole_or_an_error(self, name: str, tmp_path: Path) -> None:
        """A file that ends early may never come out as a half-grey picture."""
        content, path = SMALL[name], tmp_path / "cut"
        whole = read_bytes(content, tmp_path).pixels
        step = max(1, len(content) // 80)
        lengths = {*range(0, len(content), step), *range(max(0, len(content) - 40), len(content))}
        for length in sorted(lengths):
            path.write_bytes(content[:length])
            try:
                image = read_image(path, LOW_LIMIT)
            except ReadError as error:
                assert "\n" not in str(error)  # noqa: PT017 - most lengths raise, some may not
            else:
                np.testing.assert_array_equal(image.pixels, whole)

    @pytest.mark.parametrize("name", SMALL)
    def test_flipped_bits_give_an_image_or_an_error(
        self,
        name: str,
        tmp_path: Path,
        recwarn: pytest.WarningsRecorder,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        random = np.random.default_rng(zlib.crc32(name.encode()))
        path = tmp_path / "flipped"
        for _ in range(100):
            content = bytearray(SMALL[name])
            for _ in range(random.integers(1, 5)):
                # Headers are short and hold the decisions: aim at both ends half of the time.
                reach = len(content) if random.integers(2) else min(len(content), 160)
                place = int(random.integers(reach))
                content[place if random.integers(4) else -place - 1] ^= 1 << random.integers(8)
            path.write_bytes(content)
            try:
                image = read_image(path, LOW_LIMIT)
            except ReadError as error:
                assert str(error).isprintable()  # noqa: PT017 - either is right
            else:
                assert image.pixels.shape[:3] == image.grid.shape
                assert image.pixels.dtype == image.stored_type
                assert image.pixels.shape[3] in {1, 3}
        assert not recwarn.list
        assert not caplog.records

    @pytest.mark.parametrize("name", sorted(TEXTS))
    def test_a_row_that_breaks_off(self, name: str, tmp_path: Path) -> None:
        content, path = SMALL[name], tmp_path / "cut"
        path.write_bytes(content[: content.rindex(b"\n", 0, len(content) - 40) + 20])
        with pytest.raises(ReadError):
            read_image(path)

    def test_zero_filled_rest_of_a_jpeg(self, tmp_path: Path) -> None:
        """What an interrupted download of a known length leaves behind."""
        content = encode(to_pillow(RGB).resize((260, 190)), "JPEG")
        half = len(content) // 2
        (tmp_path / "a.jpg").write_bytes(content[:half] + bytes(len(content) - half))
        with pytest.raises(ReadError, match="JPEG"):
            read_image(tmp_path / "a.jpg")


class TestQuiet:
    def test_threads_leave_settings_as_they_were_and_get_the_right_pictures(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0"  # ends within its first entry
        contents = {
            "a.jpg": encode(RGB, "JPEG", exif=exif),
            "loud.png": LOUD_PNG,
            **{
                f"{name}.x": SMALL[name]
                for name in ("tiff 16 lzw predictor", "png 16 rgba", "webp")
            },
        }
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content)
        wholes = {name: read_image(tmp_path / name).pixels for name in contents}
        failures: list[BaseException] = []

        def read_often() -> None:
            try:
                for _ in range(15):
                    for name, whole in wholes.items():
                        np.testing.assert_array_equal(read_image(tmp_path / name).pixels, whole)
            except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
                failures.append(error)

        before, limit = list(warnings.filters), PIL.Image.MAX_IMAGE_PIXELS
        threads = [threading.Thread(target=read_often) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert list(warnings.filters) == before
        assert limit == PIL.Image.MAX_IMAGE_PIXELS
        assert not caplog.records

    def test_nothing_is_logged(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with caplog.at_level(logging.WARNING):
            for name in EXACT | DEEP:
                read_bytes((EXACT | DEEP)[name][0], tmp_path)
            read_bytes(LOUD_PNG, tmp_path)
        assert not caplog.records
        assert capfd.readouterr() == ("", "")

    def test_decoders_may_log_when_others_use_them(self, caplog: pytest.LogCaptureFixture) -> None:
        imagecodecs.png_decode(LOUD_PNG)
        assert caplog.records
