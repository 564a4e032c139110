"""Every format against decoders and encoders that are not the one we use."""

from __future__ import annotations

import io
import logging
import os
import socket
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL.Image
import pytest
import tifffile
from numpy.typing import NDArray

from fnetcli.errors import ReadError, WriteError
from fnetcli.formats import (
    FORMATS,
    IMAGE_SUFFIXES,
    raster,
    read_image,
    write_npz,
    write_png,
    write_tiff_float,
)
from fnetcli.image import Image
from fnetcli.storage import atomic_write

Bytes = NDArray[np.uint8]
HEIGHT, WIDTH = 19, 26


def scene(channels: int = 3) -> Bytes:
    """Return a picture (H, W, C) that no flip or rotation maps onto itself, without sharp edges."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    waves = [9 * y + 2 * x, 8 * x + y, 255 - 5 * x - 5 * y, 120 + 5 * y - x]
    return np.stack([np.clip(wave, 0, 255) for wave in waves[:channels]], -1).astype(np.uint8)


RGB = scene()
GREY = RGB[..., 0]
ALPHA = scene(4)[..., 3]
INDEX = GREY // 64
PALETTE = np.array([[255, 0, 0], [0, 200, 0], [0, 0, 77], [9, 9, 9]], dtype=np.uint8)


def to_pillow(values: Bytes, mode: str | None = None) -> PIL.Image.Image:
    picture = PIL.Image.fromarray(np.ascontiguousarray(values))
    return picture if mode is None else picture.convert(mode)


def encode(picture: PIL.Image.Image | Bytes, kind: str, **options: Any) -> bytes:
    if isinstance(picture, np.ndarray):
        picture = to_pillow(picture)
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png(
    shape: tuple[int, int], bits: int, color_type: int, rows: list[bytes], extra: bytes = b""
) -> bytes:
    """Write a PNG by hand, after the standard alone."""
    header = struct.pack(">IIBBBBB", shape[1], shape[0], bits, color_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            extra,
            chunk(b"IDAT", body),
            chunk(b"IEND", b""),
        ]
    )


def packed(values: Bytes, bits: int) -> list[bytes]:
    """Return rows of values below 2**bits, packed from the highest bit on."""
    places = (values[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    flat: Bytes = np.packbits(places.reshape(len(values), -1).astype(np.uint8), axis=1)
    return [row.tobytes() for row in flat]


def bmp24(rgb: Bytes) -> bytes:
    """Write a bottom-up BMP by hand: blue first, rows filled to 4 bytes."""
    fill = -rgb.shape[1] * 3 % 4
    rows = b"".join(row[:, ::-1].tobytes() + bytes(fill) for row in rgb[::-1])
    info = struct.pack(
        "<IiiHHIIiiII", 40, rgb.shape[1], rgb.shape[0], 1, 24, 0, len(rows), 0, 0, 0, 0
    )
    return struct.pack("<2sIHHI", b"BM", 54 + len(rows), 0, 0, 54) + info + rows


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, metadata=None, **options)
    return buffer.getvalue()


def trns(*values: int) -> bytes:
    return chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))


def rgba(rgb: Bytes, alpha: Bytes) -> Bytes:
    return np.concatenate([rgb, alpha[..., None]], axis=-1)


def read_bytes(content: bytes, folder: Path, name: str = "picture.bin") -> Image:
    path = folder / name
    path.write_bytes(content)
    return read_image(path)


# --- what comes out is what was stored ----------------------------------------------------------

FOUR_GREYS = GREY // 64  # 2 bits
SIXTEEN_GREYS = GREY // 16  # 4 bits
ONE_BIT = GREY // 128
GREY_PALETTE = np.repeat(np.arange(256, dtype=np.uint16)[None] * 257, 3, 0)
COLORMAP = np.zeros((3, 256), dtype=np.uint16)
COLORMAP[:, :4] = PALETTE.T.astype(np.uint16) * 257
INDEX_ROWS = packed(INDEX, 8)
PLTE = chunk(b"PLTE", PALETTE.tobytes())
OPACITY = np.array([0, 100, 255, 255], dtype=np.uint8)
SHAPE = (HEIGHT, WIDTH)

# name: (file, pixels (H, W) or (H, W, 3), alpha 0..255 or None)
EXACT: dict[str, tuple[bytes, Bytes, Bytes | None]] = {
    "png grey": (png(SHAPE, 8, 0, packed(GREY, 8)), GREY, None),
    "png 1 bit": (png(SHAPE, 1, 0, packed(ONE_BIT, 1)), ONE_BIT * 255, None),
    "png 2 bits": (png(SHAPE, 2, 0, packed(FOUR_GREYS, 2)), FOUR_GREYS * 85, None),
    "png 4 bits": (png(SHAPE, 4, 0, packed(SIXTEEN_GREYS, 4)), SIXTEEN_GREYS * 17, None),
    "png rgb": (png(SHAPE, 8, 2, [row.tobytes() for row in RGB]), RGB, None),
    "png grey alpha": (
        png(SHAPE, 8, 4, [row.tobytes() for row in np.stack([GREY, ALPHA], -1)]),
        GREY,
        ALPHA,
    ),
    "png rgba": (png(SHAPE, 8, 6, [row.tobytes() for row in rgba(RGB, ALPHA)]), RGB, ALPHA),
    "png palette": (png(SHAPE, 8, 3, INDEX_ROWS, PLTE), PALETTE[INDEX], None),
    "png palette 2 bits": (png(SHAPE, 2, 3, packed(INDEX, 2), PLTE), PALETTE[INDEX], None),
    "png palette transparency": (
        png(SHAPE, 8, 3, INDEX_ROWS, PLTE + chunk(b"tRNS", OPACITY[:2].tobytes())),
        PALETTE[INDEX],
        OPACITY[INDEX],
    ),
    "png 1 bit key": (
        png(SHAPE, 1, 0, packed(ONE_BIT, 1), trns(1)),
        ONE_BIT * 255,
        np.where(ONE_BIT == 1, 0, 255).astype(np.uint8),
    ),
    "png 2 bits key": (
        png(SHAPE, 2, 0, packed(FOUR_GREYS, 2), trns(2)),
        FOUR_GREYS * 85,
        np.where(FOUR_GREYS == 2, 0, 255).astype(np.uint8),
    ),
    "png 4 bits key": (
        png(SHAPE, 4, 0, packed(SIXTEEN_GREYS, 4), trns(5)),
        SIXTEEN_GREYS * 17,
        np.where(SIXTEEN_GREYS == 5, 0, 255).astype(np.uint8),
    ),
    "png grey key": (
        png(SHAPE, 8, 0, packed(GREY, 8), trns(int(GREY[3, 4]))),
        GREY,
        np.where(GREY[3, 4] == GREY, 0, 255).astype(np.uint8),
    ),
    "png rgb key": (
        png(SHAPE, 8, 2, [row.tobytes() for row in RGB], trns(*RGB[5, 5].tolist())),
        RGB,
        np.where((RGB[5, 5] == RGB).all(-1), 0, 255).astype(np.uint8),
    ),
    "bmp": (bmp24(RGB), RGB, None),
    "bmp grey": (encode(GREY, "BMP"), GREY, None),
    "bmp 1 bit": (encode(to_pillow(ONE_BIT * 255, "1"), "BMP"), ONE_BIT * 255, None),
    "webp lossless": (encode(RGB, "WEBP", lossless=True), RGB, None),
    "webp lossless alpha": (
        encode(rgba(RGB, ALPHA), "WEBP", lossless=True, exact=True),
        RGB,
        ALPHA,
    ),
    "tiff grey": (tiff(GREY), GREY, None),
    "tiff white is zero": (tiff(GREY, photometric="miniswhite"), 255 - GREY, None),
    "tiff 1 bit": (tiff(ONE_BIT.astype(bool), photometric="minisblack"), ONE_BIT * 255, None),
    "tiff rgb": (tiff(RGB, photometric="rgb"), RGB, None),
    "tiff big endian": (tiff(RGB, photometric="rgb", byteorder=">"), RGB, None),
    "tiff planar": (
        tiff(np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate"),
        RGB,
        None,
    ),
    "tiff tiles": (tiff(RGB, photometric="rgb", tile=(16, 16)), RGB, None),
    "tiff deflate": (tiff(RGB, photometric="rgb", compression="zlib"), RGB, None),
    "tiff lzw": (encode(RGB, "TIFF", compression="tiff_lzw"), RGB, None),
    "tiff packbits": (encode(RGB, "TIFF", compression="packbits"), RGB, None),
    "tiff group 4": (
        encode(to_pillow(ONE_BIT * 255, "1"), "TIFF", compression="group4"),
        ONE_BIT * 255,
        None,
    ),
    "bigtiff": (tiff(RGB, photometric="rgb", bigtiff=True), RGB, None),
    "tiff palette": (tiff(INDEX, photometric="palette", colormap=COLORMAP), PALETTE[INDEX], None),
    "tiff rgba": (
        tiff(rgba(RGB, ALPHA), photometric="rgb", extrasamples=["unassalpha"]),
        RGB,
        ALPHA,
    ),
    "tiff grey alpha": (
        tiff(
            np.stack([GREY, ALPHA], -1),
            photometric="minisblack",
            planarconfig="contig",
            extrasamples=["unassalpha"],
        ),
        GREY,
        ALPHA,
    ),
    "tiff further channel": (
        tiff(rgba(RGB, ALPHA), photometric="rgb", extrasamples=["unspecified"]),
        RGB,
        None,
    ),
}

# name: (file, pixels, largest deviation)
LOSSY: dict[str, tuple[bytes, Bytes, int]] = {
    "jpeg grey": (encode(GREY, "JPEG", quality=95), GREY, 6),
    "jpeg rgb": (encode(RGB, "JPEG", quality=95, subsampling=0), RGB, 8),
    "jpeg progressive": (encode(RGB, "JPEG", quality=95, subsampling=0, progressive=True), RGB, 8),
    "jpeg cmyk": (
        encode(to_pillow(RGB, "CMYK"), "JPEG", quality=95),
        np.asarray(to_pillow(RGB, "CMYK").convert("RGB")),
        8,
    ),
    "jpeg of several pictures": (
        encode(
            RGB, "MPO", quality=95, subsampling=0, save_all=True, append_images=[to_pillow(GREY)]
        ),
        RGB,
        8,
    ),
    "webp": (encode(RGB, "WEBP", quality=95), RGB, 24),
    "tiff jpeg": (encode(RGB, "TIFF", compression="jpeg", quality=95), RGB, 24),
}


class TestConformance:
    @pytest.mark.parametrize("name", EXACT)
    def test_lossless_file_gives_stored_values(self, name: str, tmp_path: Path) -> None:
        content, pixels, alpha = EXACT[name]
        image = read_bytes(content, tmp_path)
        expected = pixels.reshape(1, HEIGHT, WIDTH, -1)
        np.testing.assert_array_equal(image.pixels, expected)
        if alpha is None:
            assert image.alpha is None
        else:
            assert image.alpha is not None
            np.testing.assert_array_equal(np.rint(image.alpha * 255), alpha[None])

    @pytest.mark.parametrize("name", LOSSY)
    def test_lossy_file_gives_nearly_stored_values(self, name: str, tmp_path: Path) -> None:
        content, pixels, deviation = LOSSY[name]
        image = read_bytes(content, tmp_path)
        expected = pixels.reshape(1, HEIGHT, WIDTH, -1).astype(np.float32)
        assert image.pixels.shape == expected.shape
        assert np.abs(image.pixels - expected).max() <= deviation
        assert image.alpha is None

    @pytest.mark.parametrize("name", [*EXACT, *LOSSY])
    def test_image_keeps_its_promises(self, name: str, tmp_path: Path) -> None:
        image = read_bytes((EXACT | LOSSY)[name][0], tmp_path)
        assert image.pixels.dtype == np.float32
        assert image.pixels.shape[:3] == image.grid.shape == (1, HEIGHT, WIDTH)
        assert image.pixels.shape[3] in {1, 3}
        assert image.grid.affine is None
        assert image.stored_type == np.uint8
        if image.alpha is not None:
            assert image.alpha.dtype == np.float32
            assert image.alpha.shape == image.grid.shape
            assert 0 <= image.alpha.min() <= image.alpha.max() <= 1

    @pytest.mark.parametrize("name", [*EXACT, *LOSSY])
    def test_just_one_format_recognises_the_content(self, name: str) -> None:
        head = (EXACT | LOSSY)[name][0][:256]
        assert [one.name.lower() for one in FORMATS if one.starts(head)] == [
            name.split(maxsplit=1)[0].replace("bigtiff", "tiff")
        ]

    @pytest.mark.parametrize("name", ["jpeg rgb", "jpeg cmyk", "jpeg progressive", "webp"])
    def test_agrees_with_an_independent_decoder(self, name: str, tmp_path: Path) -> None:
        codecs = pytest.importorskip("imagecodecs")
        content = LOSSY[name][0]
        if name == "webp":
            expected = codecs.webp_decode(content)
        elif name == "jpeg cmyk":
            ink = 255 - codecs.jpeg8_decode(content, outcolorspace="CMYK").astype(float)
            expected = (255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255  # stored inverted (Adobe)
        else:
            expected = codecs.jpeg8_decode(content)
        got = read_bytes(content, tmp_path).pixels[0]
        assert np.abs(got - expected).max() <= 1

    def test_associated_alpha_is_divided_out(self, tmp_path: Path) -> None:
        half = np.full((*SHAPE, 1), 128, dtype=np.uint8)
        stored = np.concatenate([RGB // 2, half], -1)
        image = read_bytes(tiff(stored, photometric="rgb", extrasamples=["assocalpha"]), tmp_path)
        assert np.abs(image.pixels[0] - RGB // 2 * (255 / 128)).max() <= 1
        assert image.alpha is not None
        assert image.alpha.min() == image.alpha.max() == np.float32(128 / 255)


class TestRecognition:
    def test_suffixes_are_lower_case_and_ordered(self) -> None:
        assert IMAGE_SUFFIXES == (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")

    @pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp", "a.webp", "a.txt", "a"])
    @pytest.mark.parametrize("content", ["png rgb", "jpeg rgb", "tiff rgb", "bmp", "webp"])
    def test_suffix_does_not_matter(self, name: str, content: str, tmp_path: Path) -> None:
        image = read_bytes((EXACT | LOSSY)[content][0], tmp_path, name)
        assert image.pixels.shape == (1, HEIGHT, WIDTH, 3)

    @pytest.mark.parametrize("name", ["nacht und nebel.png", "näher ночь 夜.png", "a;b 'c' $d.png"])
    def test_any_name_works(self, name: str, tmp_path: Path) -> None:
        folder = tmp_path / "ein Ordner ü"
        write_png(folder / name, RGB)
        np.testing.assert_array_equal(read_image(folder / name).pixels[0], RGB)

    def test_smaller_copies_and_masks_in_a_tiff_are_no_pages(self, tmp_path: Path) -> None:
        path = tmp_path / "pyramid.tif"
        with tifffile.TiffWriter(path) as writer:
            writer.write(RGB, photometric="rgb", metadata=None)
            writer.write(RGB[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
        np.testing.assert_array_equal(read_image(path).pixels[0], RGB)


UPRIGHT: dict[int, Callable[[Bytes], Bytes]] = {  # stored -> upright, after EXIF 2.3, 4.6.4
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
        assert np.abs(image.pixels[0] - RGB).max() <= 8
        assert not recwarn.list


# --- what cannot be read is one clear line ------------------------------------------------------

SIXTEEN_RGB = RGB.astype(np.uint16) * 257
SIXTEEN_ROWS = [row.astype(">u2").tobytes() for row in SIXTEEN_RGB]

REFUSED: dict[str, tuple[bytes, str]] = {
    "png 16-bit rgb": (png(SHAPE, 16, 2, SIXTEEN_ROWS), "16 bits per channel"),
    "png 16-bit grey": (
        png(SHAPE, 16, 0, [row[..., 0].astype(">u2").tobytes() for row in SIXTEEN_RGB]),
        "16 bits per channel",
    ),
    "tiff 16-bit rgb": (tiff(SIXTEEN_RGB, photometric="rgb"), "16 bits per channel"),
    "tiff 16-bit grey": (tiff(SIXTEEN_RGB[..., 0]), "16 bits per channel"),
    "tiff 16-bit big endian": (tiff(SIXTEEN_RGB[..., 0], byteorder=">"), "16 bits per channel"),
    "tiff 32 bits": (tiff(GREY.astype(np.uint32)), "32 bits per channel"),
    "tiff float": (tiff(GREY.astype(np.float32)), "32-bit floating point"),
    "tiff half float": (tiff(GREY.astype(np.float16)), "16-bit floating point"),
    "tiff double": (tiff(GREY.astype(np.float64)), "64-bit floating point"),
    "tiff float rgb": (tiff(RGB.astype(np.float32), photometric="rgb"), "32-bit floating point"),
    "tiff signed": (tiff((GREY // 2).astype(np.int8)), "signed"),
    "tiff lab": (tiff(RGB, photometric="cielab"), "LAB are not supported; convert it to 8-bit RGB"),
    "tiff pages": (tiff(np.stack([GREY, GREY]), photometric="minisblack"), "several pages"),
    "bigtiff big endian": (
        tiff(RGB, photometric="rgb", bigtiff=True, byteorder=">"),
        "big-endian BigTIFF",
    ),
    "png animation": (
        encode(RGB, "PNG", save_all=True, append_images=[to_pillow(RGB[::-1])]),
        "an animation",
    ),
    "webp animation": (
        encode(RGB, "WEBP", save_all=True, append_images=[to_pillow(RGB[::-1])]),
        "an animation",
    ),
    "empty": (b"", "empty"),
    "text": (b"# Notes\nnot an image at all\n", "not an image of a known kind"),
    "gif": (encode(GREY, "GIF"), "not an image of a known kind"),
    "zeros": (bytes(4096), "not an image of a known kind"),
    "one byte": (b"\x89", "not an image of a known kind"),
    "png signature only": (b"\x89PNG\r\n\x1a\n", "ends early"),
    "png without header": (b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", bytes(40)), "header"),
    "png zero width": (png((4, 0), 8, 0, [b""] * 4), "has no pixels"),
    "png broken header": (png(SHAPE, 8, 2, [b""]).replace(b"IHDR\0", b"IHDR\1"), "not a readable"),
    "png 3 bits": (png(SHAPE, 3, 0, packed(GREY, 8)), "not a readable PNG"),
    "jpeg marker only": (b"\xff\xd8\xff\xe0", "not a readable JPEG;"),
    "bmp letters only": (b"BM, said the text", "not a readable BMP;"),
    "webp ends": (encode(RGB, "WEBP")[:-3], "not a complete WebP"),
    "tiff without pages": (b"II*\0\x08\0\0\0", "not a complete TIFF"),
    "bomb": (png((60_000, 60_000), 8, 2, [b""]), "3600 megapixels"),
}
BOMBS = {
    "BMP": bmp24(RGB[:1, :1]).replace(struct.pack("<ii", 1, 1), struct.pack("<ii", 60_000, 60_000)),
    "TIFF": tiff(GREY[:1, :1])
    .replace(  # tags ImageWidth and ImageLength: one LONG each
        struct.pack("<HHII", 256, 4, 1, 1), struct.pack("<HHII", 256, 4, 1, 60_000)
    )
    .replace(struct.pack("<HHII", 257, 4, 1, 1), struct.pack("<HHII", 257, 4, 1, 60_000)),
    "JPEG": encode(GREY[:9, :9], "JPEG").replace(
        struct.pack(">BHH", 8, 9, 9), struct.pack(">BHH", 8, 60_000, 60_000)
    ),
}


def refused(path: Path) -> str:
    """Return the line that refuses a path."""
    with pytest.raises(ReadError) as caught:
        read_image(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert line.count("; ") >= 1, "says what to do"
    assert "\n" not in line
    assert line.isprintable()
    return line


class TestRefusal:
    @pytest.mark.parametrize("name", REFUSED)
    def test_content(self, name: str, tmp_path: Path) -> None:
        content, reason = REFUSED[name]
        path = tmp_path / "night.png"
        path.write_bytes(content)
        assert reason in refused(path)

    @pytest.mark.parametrize("kind", BOMBS)
    def test_bomb_of_other_formats(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "bomb"
        path.write_bytes(BOMBS[kind])
        assert "3600 megapixels, more than the limit of 500" in refused(path)

    def test_limit_is_ours_and_pillows_stays_as_it_was(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10)  # would raise: the scene has more
        for name in ("png rgb", "tiff rgb", "tiff lzw", "webp lossless"):
            image = read_bytes(EXACT[name][0], tmp_path)
            np.testing.assert_array_equal(image.pixels[0], RGB)
        assert PIL.Image.MAX_IMAGE_PIXELS == 10

    def test_missing(self, tmp_path: Path) -> None:
        assert "no such file" in refused(tmp_path / "none.png")

    def test_below_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"x")
        refused(tmp_path / "file" / "a.png")

    def test_folder(self, tmp_path: Path) -> None:
        assert "a folder" in refused(tmp_path)

    def test_zero_byte_in_the_name(self) -> None:
        with pytest.raises(ReadError, match="not a possible file name"):
            read_image(Path("a\0b.png"))

    def test_name_too_long(self, tmp_path: Path) -> None:
        refused(tmp_path / ("a" * 400 + ".png"))

    def test_not_an_ordinary_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)  # the path of a socket must be short
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket.png")
            assert "not an ordinary file" in refused(Path("socket.png"))

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
    def test_pipe_does_not_block(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.png")
        assert "not an ordinary file" in refused(tmp_path / "pipe.png")

    @pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
    def test_no_permission(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        write_png(path, RGB)
        path.chmod(0)
        assert "no permission" in refused(path)

    def test_link_to_itself(self, tmp_path: Path) -> None:
        path = tmp_path / "loop.png"
        path.symlink_to(path)
        refused(path)


# --- nothing but an Image or a ReadError, whatever the bytes ------------------------------------

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
    "bmp": encode(GREY, "BMP"),
    "webp": encode(RGB, "WEBP"),
    "webp alpha": encode(rgba(RGB, ALPHA), "WEBP", lossless=True),
}


@pytest.fixture
def _low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep sizes invented by a flipped bit from costing gigabytes."""
    monkeypatch.setattr(raster, "PIXEL_LIMIT", 200_000)


@pytest.mark.usefixtures("_low_limit")
class TestDamage:
    @pytest.mark.parametrize("name", SMALL)
    def test_cut_file_is_whole_or_an_error(self, name: str, tmp_path: Path) -> None:
        """A file that ends early may never come out as a half-grey picture."""
        content, path = SMALL[name], tmp_path / "cut"
        whole = read_bytes(content, tmp_path).pixels
        step = max(1, len(content) // 80)
        lengths = {*range(0, len(content), step), *range(max(0, len(content) - 40), len(content))}
        for length in sorted(lengths):
            path.write_bytes(content[:length])
            try:
                image = read_image(path)
            except ReadError as error:
                assert "\n" not in str(error)  # noqa: PT017 - most lengths raise, some may not
            else:
                np.testing.assert_array_equal(image.pixels, whole)

    @pytest.mark.parametrize("name", SMALL)
    def test_flipped_bits_give_an_image_or_an_error(
        self, name: str, tmp_path: Path, recwarn: pytest.WarningsRecorder
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
                image = read_image(path)
            except ReadError as error:
                assert str(error).isprintable()  # noqa: PT017 - either is right
            else:
                assert image.pixels.shape[:3] == image.grid.shape
                assert image.pixels.min() >= 0
                assert image.pixels.max() <= 255
        assert not recwarn.list

    def test_zero_filled_rest_of_a_jpeg(self, tmp_path: Path) -> None:
        """What an interrupted download of a known length leaves behind."""
        content = encode(to_pillow(RGB).resize((260, 190)), "JPEG")
        half = len(content) // 2
        (tmp_path / "a.jpg").write_bytes(content[:half] + bytes(len(content) - half))
        refused(tmp_path / "a.jpg")


class TestQuiet:
    def test_threads_leave_the_warnings_as_they_were(self, tmp_path: Path) -> None:
        exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0"  # ends within its first entry
        path = tmp_path / "a.jpg"
        path.write_bytes(encode(RGB, "JPEG", exif=exif))
        failures: list[BaseException] = []

        def read_often() -> None:
            try:
                for _ in range(40):
                    read_image(path)
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

    def test_nothing_is_logged(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            for content, _, _ in EXACT.values():
                read_bytes(content, tmp_path)
        assert not caplog.records


# --- writing ------------------------------------------------------------------------------------


class TestWritePng:
    @pytest.mark.parametrize("channels", [0, 1, 2, 3, 4])
    def test_reads_back(self, channels: int, tmp_path: Path) -> None:
        pixels = scene(4)[..., :channels] if channels else GREY
        write_png(tmp_path / "a.png", pixels)
        image = read_image(tmp_path / "a.png")
        stored = pixels.reshape(1, HEIGHT, WIDTH, -1)
        colors = 3 if channels >= 3 else 1
        np.testing.assert_array_equal(image.pixels, stored[..., :colors])
        if channels in {2, 4}:
            assert image.alpha is not None
            np.testing.assert_array_equal(np.rint(image.alpha * 255), stored[..., -1])
        else:
            assert image.alpha is None

    @pytest.mark.parametrize(
        "pixels",
        [
            np.zeros((3, 4), np.float32),
            np.zeros((3, 4, 5), np.uint8),
            np.zeros((1, 3, 4, 3), np.uint8),
            np.zeros(3, np.uint8),
            np.zeros((0, 4), np.uint8),
        ],
    )
    def test_other_arrays_are_refused(self, pixels: NDArray[Any], tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="a PNG takes uint8"):
            write_png(tmp_path / "a.png", pixels)
        assert not list(tmp_path.iterdir())

    def test_views_in_any_order_of_memory(self, tmp_path: Path) -> None:
        write_png(tmp_path / "a.png", RGB[::-1, ::2, ::-1])
        got = read_image(tmp_path / "a.png").pixels[0]
        np.testing.assert_array_equal(got, RGB[::-1, ::2, ::-1])


class TestWriteTiffFloat:
    def test_reads_back_exactly(self, tmp_path: Path) -> None:
        values = np.random.default_rng(0).normal(size=(33, 47)).astype(np.float32)
        values[0, :3] = np.nan, np.inf, -np.inf
        write_tiff_float(tmp_path / "a.tif", values)
        got = tifffile.imread(tmp_path / "a.tif")
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, values)

    def test_holds_no_metadata_and_is_repeatable(self, tmp_path: Path) -> None:
        for name in ("a.tif", "b.tif"):
            write_tiff_float(tmp_path / name, np.zeros((5, 6), np.float32))
        assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            names = {tag.name for tag in file.pages.first.tags}
        assert not names & {"ImageDescription", "Software", "DateTime"}

    @pytest.mark.parametrize(
        "values",
        [np.zeros((3, 4)), np.zeros((3, 4, 1), np.float32), np.zeros((0, 4), np.float32)],
    )
    def test_other_arrays_are_refused(self, values: NDArray[Any], tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="a float TIFF takes float32"):
            write_tiff_float(tmp_path / "a.tif", values)


class TestWriteNpz:
    def test_reads_back_and_is_repeatable(self, tmp_path: Path) -> None:
        codes = {name: np.full((2, 3, 4), i, np.float16) for i, name in enumerate("uvz")}
        for name in ("a.npz", "b.npz"):
            write_npz(tmp_path / name, codes)
        assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
        with np.load(tmp_path / "a.npz") as got:
            assert set(got) == {"u", "v", "z"}
            np.testing.assert_array_equal(got["v"], codes["v"])
            assert got["v"].dtype == np.float16


def _fill_the_disk(file: BinaryIO) -> None:
    file.write(b"half a picture")
    with Path("/dev/full").open("wb") as full:
        full.write(b"x")


class TestAtomicWrite:
    def test_makes_folders_and_replaces(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "deep" / "a.png"
        write_png(path, GREY)
        write_png(path, RGB)
        np.testing.assert_array_equal(read_image(path).pixels[0], RGB)
        assert [one.name for one in path.parent.iterdir()] == ["a.png"]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
    def test_full_disk_is_one_line(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(b"old")
        with pytest.raises(WriteError, match="No space left on device") as caught:
            atomic_write(path, _fill_the_disk)
        assert str(caught.value).startswith(f"{path}: ")
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_failing_writer_leaves_the_old_file_alone(
        self, error: type[BaseException], tmp_path: Path
    ) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(b"old")

        def fail(file: BinaryIO) -> None:
            file.write(b"half a picture")
            raise error

        with pytest.raises(error):
            atomic_write(path, fail)
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_file_where_a_folder_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "out").write_bytes(b"x")
        with pytest.raises(WriteError, match="cannot be written"):
            write_png(tmp_path / "out" / "a.png", RGB)
        assert (tmp_path / "out").read_bytes() == b"x"

    def test_folder_where_the_file_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").mkdir()
        with pytest.raises(WriteError, match="cannot be written"):
            write_png(tmp_path / "a.png", RGB)
        assert [one.name for one in tmp_path.iterdir()] == ["a.png"]

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder that is always closed")
    def test_folder_that_takes_no_files(self) -> None:
        with pytest.raises(WriteError, match="cannot be written"):
            write_tiff_float(Path("/proc/fnet/a.tif"), np.zeros((2, 2), np.float32))

    @pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
    def test_read_only_folder(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        with pytest.raises(WriteError, match="Permission denied"):
            write_png(tmp_path / "a.png", RGB)
        tmp_path.chmod(0o700)
        assert not list(tmp_path.iterdir())
