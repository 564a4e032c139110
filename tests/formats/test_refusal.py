"""What cannot be read is one clear line."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from fnetcli.errors import ReadError
from fnetcli.formats import ReadOptions, probe_image, read_image, write_png
from tests.formats.files import (
    DEEP,
    DEEP_GREY,
    DEEP_RGB,
    EXACT,
    FORMAT_FLOAT,
    FORMAT_SIGNED,
    GREY,
    HEIGHT,
    RGB,
    SHAPE,
    TWELVE,
    WIDTH,
    bmp24,
    chunk,
    encode,
    grey_tags,
    network_rows,
    packed,
    planes,
    png,
    raw_tiff,
    read_bytes,
    tiff,
    tight,
    to_pillow,
)

# --- what cannot be read is one clear line ------------------------------------------------------


def many_bands(count: int, **options: Any) -> bytes:
    return tiff(
        np.zeros((*SHAPE, count), np.uint16),
        photometric=options.pop("photometric", "minisblack"),
        planarconfig="contig",
        **options,
    )


# name: (file, what the line says)
REFUSED: dict[str, tuple[bytes, str]] = {
    "tiff lab": (tiff(RGB, photometric="cielab"), "LAB are not supported; convert it to 8-bit RGB"),
    "tiff deep lab": (tiff(DEEP_RGB, photometric="cielab"), "CIELAB with 16 bits"),
    "tiff deep cmyk": (
        tiff(planes(DEEP_RGB, DEEP_GREY), photometric="separated"),
        "CMYK with 16 bits, which is not supported; convert it to RGB",
    ),
    "tiff raw sensor": (
        raw_tiff(grey_tags(SHAPE, 16, t262=("H", [32803])), [DEEP_GREY.tobytes()]),
        "raw sensor data",
    ),
    "tiff deep jpeg": (
        tiff(TWELVE, compression="jpegxr"),
        "with 16 bits per channel is not supported; save it with deflate",
    ),
    "tiff complex": (tiff(GREY.astype(np.complex64)), "complex numbers"),
    "tiff 64 bits": (tiff(GREY.astype(np.uint64)), "64-bit unsigned pixels"),
    "tiff 12 bits signed": (
        raw_tiff(grey_tags(SHAPE, 12, t339=FORMAT_SIGNED), [tight(TWELVE, 12)]),
        "12-bit signed pixels",
    ),
    "tiff 24-bit float": (
        raw_tiff(grey_tags(SHAPE, 24, t339=FORMAT_FLOAT), [bytes(HEIGHT * WIDTH * 3)]),
        "24-bit floating point pixels",
    ),
    "tiff mixed bits": (
        raw_tiff(
            grey_tags(SHAPE, 8, t262=("H", [2]), t277=("H", [3])) | {258: ("H", [5, 6, 5])},
            [bytes(HEIGHT * WIDTH * 2)],
        ),
        "different types of numbers",
    ),
    "tiff 2 bands": (many_bands(2), "has 2 bands, neither grey nor RGB; choose one or three"),
    "tiff 4 bands": (many_bands(4), "has 4 bands"),
    "tiff 9 bands": (many_bands(9), "has 9 bands"),
    "tiff 9 bands as rgb": (many_bands(9, photometric="rgb"), "has 9 bands"),
    "tiff grey alpha and more": (
        many_bands(4, extrasamples=["unassalpha", "unspecified", "unspecified"]),
        "has 4 bands",
    ),
    "tiff pages": (
        tiff(np.stack([GREY, GREY]), photometric="minisblack"),
        "2 pages, not one picture; choose one with --page N (1 to 2)",
    ),
    "tiff huge tiles": (
        tiff(GREY, tile=(16, 16)).replace(
            struct.pack("<HHII", 322, 4, 1, 16), struct.pack("<HHII", 322, 4, 1, 1 << 30)
        ),
        "tiles of 1073741824x16 for a picture of 26x19",
    ),
    "tiff empty tiles": (
        tiff(GREY, tile=(16, 16)).replace(
            struct.pack("<HHII", 322, 4, 1, 16), struct.pack("<HHII", 322, 4, 1, 0)
        ),
        "tiles are empty",
    ),
    "tiff inflating strip": (
        raw_tiff(grey_tags(SHAPE, 8, t259=("H", [8])), [zlib.compress(bytes(50_000_000))]),
        "not a readable TIFF",
    ),
    "tiff short strip": (
        raw_tiff(grey_tags(SHAPE, 8, t259=("H", [8])), [zlib.compress(bytes(400))]),
        "its pixel data end early",
    ),
    "tiff short palette": (
        raw_tiff(grey_tags(SHAPE, 8, t262=("H", [3]), t320=("H", [1, 2, 3])), [GREY.tobytes()]),
        "its palette is too short",
    ),
    "tiff missing strips": (
        raw_tiff(grey_tags(SHAPE, 8, t278=("I", [4])), [GREY[:4].tobytes()] * 3),
        "strips or tiles are missing",
    ),
    "tiff strip beyond the end": (
        raw_tiff(grey_tags(SHAPE, 8), [GREY.tobytes()])[:-1],
        "ends early",
    ),
    "tiff volume": (
        tiff(np.zeros((16, *SHAPE), np.uint8), photometric="minisblack", volumetric=True),
        "a volume of 16 slices, not one picture; export a single slice",
    ),
    "tiff strips without rows": (
        raw_tiff(grey_tags(SHAPE, 8, t278=("I", [0])), [GREY.tobytes()]),
        "its tiles are empty",
    ),
    "tiff unknown planes": (
        raw_tiff(
            grey_tags(SHAPE, 8, t262=("H", [2]), t277=("H", [3]), t284=("H", [7])), [bytes(9)]
        ),
        "its tags contradict each other",
    ),
    "tiff tag beyond the end": (  # passed over, it would be a picture of 1 bit
        tiff(RGB, photometric="rgb").replace(
            struct.pack("<HHI", 258, 3, 3), struct.pack("<HHI", 258, 3, 9999)
        ),
        "not a complete TIFF (ends early)",
    ),
    "tiff strips of unknown length": (
        raw_tiff(
            grey_tags(SHAPE, 8, t278=("I", [10])), [GREY[:10].tobytes(), GREY[10:].tobytes()]
        ).replace(struct.pack("<HHI", 279, 4, 2), struct.pack("<HHI", 65000, 4, 2)),
        "strips or tiles are missing",
    ),
    "tiff overlapping tags": (  # 40 MB of numbers in a file of 1 MB
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", 40)
        + struct.pack("<HHII", 273, 4, 250_000, 494) * 40
        + bytes(1_000_004),
        "its tags are too large",
    ),
    "tiff of 65535 bands": (
        raw_tiff(grey_tags(SHAPE, 8, t277=("H", [65535])), [GREY.tobytes()]),
        "has 65535 bands",
    ),
    "png stream ends": (png((190, 26), 8, 0, packed(RGB[..., 0], 8)), "ends early"),
    "png 16 stream ends": (
        png((190, 26), 16, 2, network_rows(DEEP_RGB)),
        "not a complete PNG (ends early)",
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
    "text": (b"# Notes\nnot an image at all\n", "not an image of a known format"),
    "gif": (encode(GREY, "GIF"), "not an image of a known format"),
    "zeros": (bytes(4096), "not an image of a known format"),
    "one byte": (b"\x89", "not an image of a known format"),
    "png signature only": (b"\x89PNG\r\n\x1a\n", "ends early"),
    "png without header": (b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", bytes(40)), "header"),
    "png zero width": (png((4, 0), 8, 0, [b""] * 4), "has no pixels"),
    "png broken header": (
        png(SHAPE, 8, 2, [b""]).replace(b"IHDR\0", b"IHDR\1"),
        "not a complete PNG",
    ),
    "png 3 bits": (png(SHAPE, 3, 0, packed(GREY, 8)), "not a readable PNG"),
    "jpeg marker only": (b"\xff\xd8\xff\xe0", "not a readable JPEG;"),
    "bmp letters only": (b"BM, said the text", "not a readable BMP;"),
    "webp ends": (encode(RGB, "WEBP")[:-3], "not a complete WebP"),
    "tiff without pages": (b"II*\0\x08\0\0\0", "not a complete TIFF"),
    "bomb": (png((60_000, 60_000), 8, 2, [b""]), "3,600 megapixels"),
}
ANY = ReadOptions()
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


def refused(path: Path, options: ReadOptions = ANY) -> str:
    """Return the line that refuses a path."""
    with pytest.raises(ReadError) as caught:
        read_image(path, options)
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

    @pytest.mark.parametrize("name", REFUSED)
    def test_probing_refuses_with_the_same_words_or_not_at_all(
        self, name: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "night.png"
        path.write_bytes(REFUSED[name][0])
        try:
            probe_image(path)
        except ReadError as error:
            assert str(error) == refused(path)  # noqa: PT017 - damage may show only in the pixels

    @pytest.mark.parametrize("path", ["none.png", ".", "a\0b.png"])
    def test_probing_refuses_paths(self, path: str, tmp_path: Path) -> None:
        with pytest.raises(ReadError):
            probe_image(tmp_path / path)

    @pytest.mark.parametrize("kind", BOMBS)
    def test_bomb_of_other_formats(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "bomb"
        path.write_bytes(BOMBS[kind])
        line = refused(path)
        assert "60000x60000 is 3,600 megapixels, more than the limit of 500" in line
        assert "--max-pixels" in line

    def test_limit_is_an_option(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        for content in (EXACT["png rgb"][0], EXACT["bmp"][0], DEEP["tiff half"][0]):
            path.write_bytes(content)
            assert "26x19 is 0.000494 megapixels, more than the limit of 0.000493" in refused(
                path, ReadOptions(pixel_limit=HEIGHT * WIDTH - 1)
            )
            read_image(path, ReadOptions(pixel_limit=HEIGHT * WIDTH))

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
