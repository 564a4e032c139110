"""Every kind of 8-bit file against decoders and encoders that are not the one we use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from fnetcli.formats import (
    DATA_SUFFIXES,
    FORMATS,
    IMAGE_SUFFIXES,
    probe_image,
    read_image,
    write_png,
)
from tests.formats.files import (
    DEEP,
    DEEP_RGB,
    EXACT,
    HEIGHT,
    LOSSY,
    RGB,
    SHAPE,
    WIDTH,
    planes,
    read_bytes,
    tiff,
)

ALL = {name: one[0] for name, one in (EXACT | LOSSY | DEEP).items()}


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

    @pytest.mark.parametrize("name", DEEP)
    def test_deep_file_gives_stored_values(self, name: str, tmp_path: Path) -> None:
        content, pixels, alpha, bits = DEEP[name]
        image = read_bytes(content, tmp_path)
        assert image.pixels.dtype == image.stored_type == pixels.dtype
        np.testing.assert_array_equal(image.pixels, pixels.reshape(1, HEIGHT, WIDTH, -1))
        assert image.bits == bits
        if alpha is None:
            assert image.alpha is None
        else:
            assert image.alpha is not None
            np.testing.assert_allclose(image.alpha, alpha[None], rtol=1e-6)

    @pytest.mark.parametrize("name", LOSSY)
    def test_lossy_file_gives_nearly_stored_values(self, name: str, tmp_path: Path) -> None:
        content, pixels, deviation = LOSSY[name]
        image = read_bytes(content, tmp_path)
        expected = pixels.reshape(1, HEIGHT, WIDTH, -1).astype(np.float32)
        assert image.pixels.shape == expected.shape
        assert np.abs(image.pixels.astype(float) - expected).max() <= deviation
        assert image.alpha is None

    @pytest.mark.parametrize("name", ALL)
    def test_image_keeps_its_promises(self, name: str, tmp_path: Path) -> None:
        image = read_bytes(ALL[name], tmp_path)
        assert image.pixels.dtype == image.stored_type
        assert image.pixels.dtype.isnative
        assert image.pixels.flags.c_contiguous
        assert image.pixels.shape[:3] == image.grid.shape == (1, HEIGHT, WIDTH)
        assert image.pixels.shape[3] in {1, 3}
        assert image.grid.affine is None
        assert image.valid is None
        assert all(one.isprintable() for one in image.notices)
        if image.alpha is not None:
            assert image.alpha.dtype == np.float32
            assert image.alpha.shape == image.grid.shape
            assert 0 <= image.alpha.min() <= image.alpha.max() <= 1

    @pytest.mark.parametrize("name", ALL)
    def test_probing_tells_what_reading_gives(self, name: str, tmp_path: Path) -> None:
        image = read_bytes(ALL[name], tmp_path)
        header = probe_image(tmp_path / "picture.bin")
        assert (header.height, header.width, header.channels) == image.pixels.shape[1:]
        assert (header.dtype, header.bits) == (image.stored_type, image.bits)
        assert header.pages == 1
        assert header.format.lower() == name.split(maxsplit=1)[0].replace("bigtiff", "tiff")

    @pytest.mark.parametrize("name", ALL)
    def test_just_one_format_recognises_the_content(self, name: str) -> None:
        head = ALL[name][:256]
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
        got = read_bytes(content, tmp_path).pixels[0].astype(float)
        assert np.abs(got - expected).max() <= 1

    def test_associated_alpha_is_divided_out(self, tmp_path: Path) -> None:
        half = np.full((*SHAPE, 1), 128, dtype=np.uint8)
        stored = np.concatenate([RGB // 2, half], -1)
        image = read_bytes(tiff(stored, photometric="rgb", extrasamples=["assocalpha"]), tmp_path)
        assert np.abs(image.pixels[0] - RGB // 2 * (255 / 128)).max() <= 1
        assert image.alpha is not None
        assert image.alpha.min() == image.alpha.max() == np.float32(128 / 255)

    def test_associated_alpha_of_16_bits_and_of_floats(self, tmp_path: Path) -> None:
        half = np.full(SHAPE, 32768, dtype=np.uint16)
        stored = planes(DEEP_RGB // 2, half)
        image = read_bytes(tiff(stored, photometric="rgb", extrasamples=["assocalpha"]), tmp_path)
        expected = np.minimum(DEEP_RGB // 2 * (65535 / 32768), 65535)
        assert np.abs(image.pixels[0] - expected).max() <= 0.5
        real = planes(RGB / 8, np.full(SHAPE, 0.25)).astype(np.float32)
        image = read_bytes(tiff(real, photometric="rgb", extrasamples=["assocalpha"]), tmp_path)
        np.testing.assert_array_equal(image.pixels[0], (RGB / 2).astype(np.float32))

    def test_colours_under_full_transparency_stay(self, tmp_path: Path) -> None:
        stored = planes(RGB, np.zeros(SHAPE, np.uint8))
        image = read_bytes(tiff(stored, photometric="rgb", extrasamples=["assocalpha"]), tmp_path)
        np.testing.assert_array_equal(image.pixels[0], RGB)


class TestRecognition:
    def test_suffixes_are_lower_case_and_ordered(self) -> None:
        assert IMAGE_SUFFIXES[:7] == (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
        assert all(suffix == suffix.lower() for suffix in IMAGE_SUFFIXES)
        assert len({*IMAGE_SUFFIXES}) == len(IMAGE_SUFFIXES)
        assert {*DATA_SUFFIXES} < {*IMAGE_SUFFIXES[7:]}

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
