"""TIFF files of GDAL (by rasterio), bands, pages, georeference, nodata."""

from __future__ import annotations

import io
import math
import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import rasterio
import tifffile
from numpy.typing import NDArray

from fnetcli.errors import ReadError
from fnetcli.formats import ReadOptions, probe_image, read_image
from tests.formats.files import (
    ALPHA,
    DEEP_RGB,
    EXACT,
    FORMAT_FLOAT,
    GREY,
    HEIGHT,
    INDEX,
    RGB,
    SHAPE,
    WIDTH,
    encode,
    grey_tags,
    planes,
    raw_tiff,
    read_bytes,
    tiff,
    to_pillow,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore::rasterio.errors.NotGeoreferencedWarning"  # most pictures here have no place on earth
)

PLACE = rasterio.Affine(10, 0, 500_000, 0, -20, 5_000_000)
TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
CODINGS = [
    (dtype, compress, predictor)
    for dtype in TYPES
    for compress, predictors in {
        "none": [1],
        "lzw": [1, 2],
        "deflate": [1, 2, 3],
        "packbits": [1],
        "zstd": [1, 2, 3],
        "lzma": [1],
    }.items()
    for predictor in predictors
    if predictor < 3 or dtype.startswith("float")
]
LARGE = (70, 53)  # more than one tile, and neither side fills the last one


def noise(dtype: str, bands: int, shape: tuple[int, int] = LARGE) -> NDArray[Any]:
    """Return (H, W, bands) of numbers all over the type's range."""
    random = np.random.default_rng(bands)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return random.normal(scale=1e6, size=(*shape, bands)).astype(kind)
    limits = np.iinfo(kind)
    return random.integers(limits.min, limits.max, (*shape, bands), kind, endpoint=True)


def write_by_gdal(path: Path, values: NDArray[Any], **options: Any) -> Path:
    """Write (H, W, bands) as GDAL does."""
    height, width, count = values.shape
    with rasterio.open(
        path, "w", "GTiff", width, height, count, dtype=values.dtype, **options
    ) as file:
        file.write(np.moveaxis(values, -1, 0))
    return path


def read_by_gdal(path: Path) -> NDArray[Any]:
    """Return (H, W, bands)."""
    with rasterio.open(path) as file:
        values: NDArray[Any] = file.read()
    return np.moveaxis(values, 0, -1)


class TestGdal:
    @pytest.mark.parametrize("endianness", ["LITTLE", "BIG"])
    @pytest.mark.parametrize(("dtype", "compress", "predictor"), CODINGS)
    def test_every_type_with_every_compression(
        self, dtype: str, compress: str, predictor: int, endianness: str, tmp_path: Path
    ) -> None:
        options = {} if predictor == 1 else {"predictor": predictor}
        values = noise(dtype, 1)
        path = write_by_gdal(
            tmp_path / "a.tif", values, compress=compress, endianness=endianness, **options
        )
        image = read_image(path)
        assert image.pixels.dtype == values.dtype
        np.testing.assert_array_equal(image.pixels[0], values)
        np.testing.assert_array_equal(read_by_gdal(path), values)

    @pytest.mark.parametrize("bigtiff", ["NO", "YES"])
    @pytest.mark.parametrize("interleave", ["pixel", "band"])
    @pytest.mark.parametrize(
        "layout",
        [{"tiled": True, "blockxsize": 32, "blockysize": 16}, {"blockysize": 7}, {"blockysize": 1}],
        ids=["tiles", "strips", "lines"],
    )
    @pytest.mark.parametrize("compress", ["none", "deflate"])
    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
    def test_colours_in_every_layout(
        self,
        dtype: str,
        compress: str,
        layout: dict[str, Any],
        interleave: str,
        bigtiff: str,
        tmp_path: Path,
    ) -> None:
        values = noise(dtype, 4)
        white = 1 if dtype == "float32" else np.iinfo(dtype).max
        values[..., 3] = np.where(values[..., 3] > np.median(values[..., 3]), white, 0)
        values[0, :9, 3] = white / np.arange(2, 11)
        path = write_by_gdal(
            tmp_path / "a.tif",
            values,
            compress=compress,
            interleave=interleave,
            bigtiff=bigtiff,
            photometric="RGB",
            alpha="YES",
            **({"predictor": 2} if compress == "deflate" else {}),
            **layout,
        )
        image = read_image(path)
        np.testing.assert_array_equal(image.pixels[0], values[..., :3])
        assert image.alpha is not None
        np.testing.assert_allclose(image.alpha[0], values[..., 3] / white, rtol=1e-6)
        assert image.notices == ()

    @pytest.mark.parametrize("bits", range(1, 16))
    @pytest.mark.parametrize("compress", ["none", "deflate"])
    def test_few_bits(self, bits: int, compress: str, tmp_path: Path) -> None:
        values = noise("uint16", 1) >> (16 - bits)
        values = values.astype(np.uint8) if bits <= 8 else values
        path = write_by_gdal(tmp_path / "a.tif", values, nbits=bits, compress=compress)
        image = read_image(path)
        scale = 255 // (2**bits - 1) if bits in {1, 2, 4} else 1
        np.testing.assert_array_equal(image.pixels[0], values * scale)
        assert image.pixels.dtype == (np.uint8 if bits <= 8 else np.uint16)
        assert image.bits == (None if bits in {1, 2, 4, 8} else bits)
        assert probe_image(path).bits == image.bits

    def test_half_floats(self, tmp_path: Path) -> None:
        values = np.linspace(-4, 4, 60, dtype=np.float16).astype(np.float32).reshape(6, 10, 1)
        path = write_by_gdal(tmp_path / "a.tif", values, nbits=16)
        image = read_image(path)
        assert image.pixels.dtype == np.float16
        np.testing.assert_array_equal(image.pixels[0], values)

    def test_not_a_number_stays(self, tmp_path: Path) -> None:
        values = noise("float32", 1)
        values[0, :3, 0] = math.nan, math.inf, -math.inf
        image = read_image(write_by_gdal(tmp_path / "a.tif", values, compress="zstd", predictor=3))
        np.testing.assert_array_equal(image.pixels[0], values)

    @pytest.mark.parametrize("nodata", [None, 7])
    @pytest.mark.parametrize("compress", ["none", "deflate"])
    def test_tiles_that_were_left_out(
        self, compress: str, nodata: int | None, tmp_path: Path
    ) -> None:
        path = tmp_path / "a.tif"
        options: dict[str, Any] = {"nodata": nodata, "compress": compress, "sparse_ok": True}
        layout = {"tiled": True, "blockxsize": 16, "blockysize": 16}
        with rasterio.open(
            path, "w", "GTiff", 64, 48, 1, dtype="uint16", **options, **layout
        ) as file:
            patch = np.full((1, 16, 16), 5, np.uint16)
            file.write(patch, window=rasterio.windows.Window(16, 32, 16, 16))
        with tifffile.TiffFile(path) as check:
            assert 0 in check.pages.first.dataoffsets
        image = read_image(path)
        np.testing.assert_array_equal(image.pixels[0], read_by_gdal(path))
        assert set(np.unique(image.pixels)) == {5, nodata or 0}

    def test_palette(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        with rasterio.open(
            path, "w", "GTiff", WIDTH, HEIGHT, 1, dtype="uint8", photometric="palette", nodata=2
        ) as file:
            file.write(INDEX[None])
            file.write_colormap(1, {i: (i * 50, 200 - i, 7, 255) for i in range(4)})
        image = read_image(path)
        np.testing.assert_array_equal(
            image.pixels[0], np.stack([INDEX * 50, 200 - INDEX, np.full(SHAPE, 7)], -1)
        )
        assert image.nodata is None  # a number of the palette means nothing to colours
        assert image.alpha is not None
        np.testing.assert_array_equal(image.alpha[0], INDEX != 2)


class TestBands:
    def test_fourth_unspecified_band_is_left_out(self, tmp_path: Path) -> None:
        image = read_bytes(EXACT["tiff further channel"][0], tmp_path)
        (notice,) = image.notices
        assert notice == (
            "it has 4 bands: the first three are used as red, green and blue; "
            "--band MODALITY=1,2,3 names others"
        )

    def test_alpha_among_several(self, tmp_path: Path) -> None:
        content = tiff(
            planes(RGB, GREY, ALPHA),
            photometric="rgb",
            extrasamples=["unspecified", "unassalpha"],
        )
        image = read_bytes(content, tmp_path)
        np.testing.assert_array_equal(image.pixels[0], RGB)
        assert image.alpha is not None
        np.testing.assert_array_equal(np.rint(image.alpha[0] * 255), ALPHA)
        assert len(image.notices) == 1

    @pytest.mark.parametrize("dtype", ["uint16", "float32"])
    def test_three_grey_bands_of_gdal_are_colours(self, dtype: str, tmp_path: Path) -> None:
        values = noise(dtype, 3)
        image = read_image(write_by_gdal(tmp_path / "a.tif", values))
        np.testing.assert_array_equal(image.pixels[0], values)
        assert image.notices == ("its three bands are used as red, green and blue",)

    @pytest.mark.parametrize("count", [2, 5, 12])
    def test_other_counts_are_refused(self, count: int, tmp_path: Path) -> None:
        path = write_by_gdal(tmp_path / "a.tif", noise("uint16", count))
        with pytest.raises(ReadError, match=f"has {count} bands, neither grey nor RGB; choose one"):
            read_image(path)
        with pytest.raises(ReadError, match=f"has {count} bands"):
            probe_image(path)

    def test_negative_of_floats_is_used_as_stored(self, tmp_path: Path) -> None:
        values = (GREY / 3).astype(np.float32)
        content = raw_tiff(
            grey_tags(SHAPE, 32, t339=FORMAT_FLOAT, t262=("H", [0])), [values.tobytes()]
        )
        image = read_bytes(content, tmp_path)
        np.testing.assert_array_equal(image.pixels[0, ..., 0], values)
        assert "min-is-white" in image.notices[0]


class TestSegments:
    """What tifffile alone would not read, or read as something else."""

    @pytest.mark.parametrize("codec", ["none", "zlib", "lzw", "packbits", "zstd", "lzma"])
    def test_last_strip_as_long_as_the_others(self, codec: str, tmp_path: Path) -> None:
        number = {"none": 1, "zlib": 8, "lzw": 5, "packbits": 32773, "zstd": 50000, "lzma": 34925}
        encode_strip = getattr(imagecodecs, f"{codec}_encode")
        padded = np.vstack([GREY, np.zeros((24 - HEIGHT, WIDTH), np.uint8)])
        strips = [bytes(encode_strip(padded[i : i + 8].tobytes())) for i in (0, 8, 16)]
        tags = grey_tags(SHAPE, 8, t259=("H", [number[codec]]), t278=("I", [8]))
        image = read_bytes(raw_tiff(tags, strips), tmp_path)
        np.testing.assert_array_equal(image.pixels[0, ..., 0], GREY)

    @pytest.mark.parametrize("count", [0, 5, 10**6])
    def test_one_strip_with_a_wrong_length(self, count: int, tmp_path: Path) -> None:
        content = raw_tiff(grey_tags(SHAPE, 8), [GREY.tobytes()])
        entry = struct.pack("<HHII", 279, 4, 1, GREY.size)
        content = content.replace(entry, struct.pack("<HHII", 279, 4, 1, count))
        np.testing.assert_array_equal(read_bytes(content, tmp_path).pixels[0, ..., 0], GREY)

    def test_one_strip_of_unknown_length(self, tmp_path: Path) -> None:
        content = raw_tiff(grey_tags(SHAPE, 8), [GREY.tobytes()])
        entry = struct.pack("<HHI", 279, 4, 1)
        content = content.replace(entry, struct.pack("<HHI", 65000, 4, 1))
        np.testing.assert_array_equal(read_bytes(content, tmp_path).pixels[0, ..., 0], GREY)

    def test_planes_as_a_byte(self, tmp_path: Path) -> None:
        """tifffile counts the tiles of one plane only where the tag has not its own type."""
        content = tiff(np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate")
        entry = struct.pack("<HHI", 284, 3, 1)
        assert entry in content
        image = read_bytes(content.replace(entry, struct.pack("<HHI", 284, 1, 1)), tmp_path)
        np.testing.assert_array_equal(image.pixels[0], RGB)

    def test_without_a_word_of_bits_there_is_one(self, tmp_path: Path) -> None:
        tags = grey_tags(SHAPE, 8)
        del tags[258]
        image = read_bytes(raw_tiff(tags, [GREY.tobytes()]), tmp_path)
        bits = np.unpackbits(GREY.ravel()[: HEIGHT * 4].reshape(HEIGHT, 4), axis=1)[:, :WIDTH]
        np.testing.assert_array_equal(image.pixels[0, ..., 0], bits * np.uint8(255))

    @pytest.mark.parametrize("name", ["a.ndpi", "a.lsm", "a.svs", "a.stk"])
    def test_names_of_vendors_change_nothing(self, name: str, tmp_path: Path) -> None:
        content = tiff(DEEP_RGB, photometric="rgb")
        np.testing.assert_array_equal(read_bytes(content, tmp_path, name).pixels[0], DEEP_RGB)


class TestOldKinds:
    """What tells colours in a way of its own is left to Pillow."""

    @pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
    def test_fax(self, compression: str, tmp_path: Path) -> None:
        page = to_pillow((GREY // 128) * np.uint8(255), "1")
        image = read_bytes(encode(page, "TIFF", compression=compression), tmp_path)
        np.testing.assert_array_equal(image.pixels[0, ..., 0], (GREY // 128) * 255)

    @pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
    def test_cmyk(self, compression: str, tmp_path: Path) -> None:
        ink = to_pillow(RGB, "CMYK")
        image = read_bytes(encode(ink, "TIFF", compression=compression), tmp_path)
        np.testing.assert_array_equal(image.pixels[0], np.asarray(ink.convert("RGB")))

    def test_uncompressed_ycbcr(self, tmp_path: Path) -> None:
        picture = to_pillow(RGB, "YCbCr")
        image = read_bytes(encode(picture, "TIFF"), tmp_path)
        np.testing.assert_array_equal(image.pixels[0], np.asarray(picture.convert("RGB")))

    @pytest.mark.parametrize("photometric", ["RGB", "YCBCR"])
    def test_jpeg_of_gdal(self, photometric: str, tmp_path: Path) -> None:
        smooth = np.asarray(to_pillow(RGB).resize((80, 64)))
        path = write_by_gdal(
            tmp_path / "a.tif",
            smooth,
            compress="jpeg",
            photometric=photometric,
            tiled=True,
            blockxsize=32,
            blockysize=32,
            crs="EPSG:32633",
            transform=PLACE,
        )
        image = read_image(path)
        assert np.abs(image.pixels[0].astype(float) - read_by_gdal(path)).max() <= 8
        assert image.georeference is not None

    def test_turned_by_pillow(self, tmp_path: Path) -> None:
        exif = PIL.Image.Exif()
        exif[0x0112] = 6
        image = read_bytes(encode(RGB, "TIFF", compression="jpeg", quality=95, exif=exif), tmp_path)
        assert image.grid.shape == (1, WIDTH, HEIGHT)
        assert np.abs(image.pixels[0] - np.rot90(RGB, -1).astype(float)).max() <= 30
        assert probe_image(tmp_path / "picture.bin").height == WIDTH

    def test_page_by_pillow(self, tmp_path: Path) -> None:
        pages = [to_pillow(one, "CMYK") for one in (RGB, RGB[::-1], RGB[:, ::-1])]
        content = encode(pages[0], "TIFF", save_all=True, append_images=pages[1:])
        image = read_bytes(content, tmp_path, page=2)
        np.testing.assert_array_equal(image.pixels[0], np.asarray(pages[1].convert("RGB")))


class TestPages:
    def three(self, folder: Path) -> Path:
        path = folder / "three.tif"
        with tifffile.TiffWriter(path) as writer:
            for i in range(3):
                writer.write(GREY + np.uint16(i), photometric="minisblack", metadata=None)
                writer.write(  # a thumbnail and a mask between the pages
                    GREY[::2, ::2], photometric="minisblack", subfiletype=1, metadata=None
                )
                writer.write(GREY > 9, photometric="minisblack", subfiletype=4, metadata=None)
        return path

    @pytest.mark.parametrize("page", [1, 2, 3])
    def test_one_is_chosen(self, page: int, tmp_path: Path) -> None:
        path = self.three(tmp_path)
        image = read_image(path, ReadOptions(page=page))
        np.testing.assert_array_equal(image.pixels[0, ..., 0], GREY + np.uint16(page - 1))
        assert probe_image(path, ReadOptions(page=page)).pages == 3

    def test_none_chosen(self, tmp_path: Path) -> None:
        path = self.three(tmp_path)
        for act in (read_image, probe_image):
            with pytest.raises(ReadError) as caught:
                act(path)
            assert str(caught.value) == (
                f"{path}: 3 pages, not one picture; choose one with --page N (1 to 3)"
            )

    @pytest.mark.parametrize("page", [0, 4, -1, 10**9])
    def test_one_that_is_not_there(self, page: int, tmp_path: Path) -> None:
        with pytest.raises(ReadError, match=f"has 3 pages, but no page {page}; choose --page 1 to"):
            read_image(self.three(tmp_path), ReadOptions(page=page))

    @pytest.mark.parametrize("name", ["png rgb", "tiff rgb", "bmp"])
    def test_files_of_one_page_ignore_it(self, name: str, tmp_path: Path) -> None:
        np.testing.assert_array_equal(read_bytes(EXACT[name][0], tmp_path, page=7).pixels[0], RGB)

    def test_thumbnail_first(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        with tifffile.TiffWriter(path) as writer:
            writer.write(GREY[::2, ::2], photometric="minisblack", subfiletype=1, metadata=None)
            writer.write(GREY, photometric="minisblack", metadata=None)
        np.testing.assert_array_equal(read_image(path).pixels[0, ..., 0], GREY)

    def test_chain_in_a_circle(self, tmp_path: Path) -> None:
        content = bytearray(tiff(GREY))
        (count,) = struct.unpack_from("<H", content, 8)
        struct.pack_into("<I", content, 10 + 12 * count, 8)
        image = read_bytes(bytes(content), tmp_path)
        np.testing.assert_array_equal(image.pixels[0, ..., 0], GREY)
        assert "list of pages is damaged" in image.notices[0]

    @pytest.mark.parametrize("target", [0, 130])
    def test_late_circle(self, target: int, tmp_path: Path) -> None:
        """tifffile itself sees a circle only among the first 100 pages."""
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as writer:
            for i in range(150):
                writer.write(GREY + np.uint8(i), photometric="minisblack", metadata=None)
        content = bytearray(buffer.getvalue())
        pointer, places = 4, []
        while (place := struct.unpack_from("<I", content, pointer)[0]) != 0:
            places.append(place)
            pointer = place + 2 + 12 * struct.unpack_from("<H", content, place)[0]
        struct.pack_into("<I", content, pointer, places[target])
        image = read_bytes(bytes(content), tmp_path, page=140)
        np.testing.assert_array_equal(image.pixels[0, ..., 0], GREY + np.uint8(139))
        assert image.notices == (
            "its list of pages is damaged after page 150: later pages are ignored",
        )

    def test_cut_after_the_first_page(self, tmp_path: Path) -> None:
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as writer:
            writer.write(GREY, photometric="minisblack", metadata=None)
            length = buffer.tell()
            writer.write(GREY, photometric="minisblack", metadata=None)
        image = read_bytes(buffer.getvalue()[:length], tmp_path)
        np.testing.assert_array_equal(image.pixels[0, ..., 0], GREY)
        assert "list of pages is damaged after page 1" in image.notices[0]


class TestGeoreference:
    def test_tags_are_kept(self, tmp_path: Path) -> None:
        path = write_by_gdal(
            tmp_path / "a.tif", noise("uint16", 1), crs="EPSG:32633", transform=PLACE
        )
        image = read_image(path)
        assert image.georeference is not None
        tags = {code: value for code, _, value in image.georeference.tags}
        assert tags[33550] == (10.0, 20.0, 0.0)
        assert tags[33922] == (0.0, 0.0, 0.0, 500_000.0, 5_000_000.0, 0.0)
        assert tags[34735][:4] == (1, 1, 0, (len(tags[34735]) - 4) // 4)
        assert tags[34737] == b"WGS 84 / UTM zone 33N|WGS 84|\0"
        assert probe_image(path).is_georeferenced

    def test_rotated_place(self, tmp_path: Path) -> None:
        turned = rasterio.Affine(8, 6, 500_000, 6, -8, 5_000_000)
        image = read_image(write_by_gdal(tmp_path / "a.tif", noise("uint8", 1), transform=turned))
        assert image.georeference is not None
        assert 34264 in [code for code, _, _ in image.georeference.tags]

    def test_plain_picture_has_none(self, tmp_path: Path) -> None:
        assert read_bytes(tiff(GREY), tmp_path).georeference is None
        assert not probe_image(tmp_path / "picture.bin").is_georeferenced

    def test_turning_drops_it(self, tmp_path: Path) -> None:
        place = [(33550, 12, 3, (1.0, 1.0, 0.0), True), (274, 3, 1, 6, True)]
        image = read_bytes(tiff(DEEP_RGB, photometric="rgb", extratags=place), tmp_path)
        np.testing.assert_array_equal(image.pixels[0], np.rot90(DEEP_RGB, -1))
        assert image.georeference is None
        assert len(image.notices) == 1
        assert "its georeference is dropped" in image.notices[0]
        assert not probe_image(tmp_path / "picture.bin").is_georeferenced

    def test_broken_one_costs_no_pixels(self, tmp_path: Path) -> None:
        content = tiff(GREY, extratags=[(33550, 12, 3, (1.0, 1.0, 0.0), True)])
        entry = struct.pack("<HHI", 33550, 12, 3)
        image = read_bytes(content.replace(entry, struct.pack("<HHI", 33550, 12, 9999)), tmp_path)
        np.testing.assert_array_equal(image.pixels[0, ..., 0], GREY)
        assert image.georeference is None
        assert image.notices == ("its georeference cannot be read, and is dropped",)


def with_nodata(values: NDArray[Any], text: str, **options: Any) -> bytes:
    return tiff(values, extratags=[(42113, 2, len(text) + 1, text, True)], **options)


class TestNodata:
    @pytest.mark.parametrize(
        ("dtype", "nodata"),
        [
            ("uint8", 0),
            ("uint16", 65535),
            ("int16", -9999),
            ("int32", -(2**31)),
            ("float32", -9999.0),
            ("float32", -3.4028234663852886e38),
            ("float64", 1e-5),
            ("float64", -1.7976931348623157e308),
        ],
    )
    def test_of_gdal(self, dtype: str, nodata: float, tmp_path: Path) -> None:
        values = noise(dtype, 1)
        values[2, 3] = nodata
        image = read_image(write_by_gdal(tmp_path / "a.tif", values, nodata=nodata))
        assert image.nodata == nodata
        assert image.pixels[0, 2, 3, 0] == image.nodata

    def test_nan(self, tmp_path: Path) -> None:
        path = write_by_gdal(tmp_path / "a.tif", noise("float32", 1), nodata=math.nan)
        nodata = read_image(path).nodata
        assert nodata is not None
        assert math.isnan(nodata)

    def test_text_with_fewer_digits_finds_the_stored_number(self, tmp_path: Path) -> None:
        values = np.full(SHAPE, np.float32(0.1))
        image = read_bytes(with_nodata(values, "0.1"), tmp_path)
        assert image.nodata == image.pixels[0, 0, 0, 0]
        image = read_bytes(with_nodata(values, "-3.40282346639e+38 "), tmp_path)
        assert image.nodata == np.finfo(np.float32).min

    @pytest.mark.parametrize(("text", "nodata"), [("1e+400", math.inf), ("1e300", 1e300)])
    def test_beyond_the_type(self, text: str, nodata: float, tmp_path: Path) -> None:
        image = read_bytes(with_nodata(GREY.astype(np.float32), text), tmp_path)
        assert image.nodata == nodata

    @pytest.mark.parametrize("text", ["none", "", "-99 99", "1;2"])
    def test_unreadable(self, text: str, tmp_path: Path) -> None:
        image = read_bytes(with_nodata(GREY, text), tmp_path)
        assert image.nodata is None
        assert image.notices == ("its nodata value cannot be read: all pixels are taken as valid",)

    def test_of_a_negative_is_turned_like_the_pixels(self, tmp_path: Path) -> None:
        image = read_bytes(with_nodata(GREY, "3", photometric="miniswhite"), tmp_path)
        assert image.nodata == 252
        signed = GREY.astype(np.int16)
        image = read_bytes(with_nodata(signed, "3", photometric="miniswhite"), tmp_path)
        assert image.nodata == -4

    def test_of_few_bits_is_widened_like_the_pixels(self, tmp_path: Path) -> None:
        tags = grey_tags(SHAPE, 4, t42113=("s", b"15\0"))
        rows = [bytes(HEIGHT * WIDTH // 2)]
        assert read_bytes(raw_tiff(tags, rows), tmp_path).nodata == 255

    def test_fills_what_a_sparse_float_leaves_out(self, tmp_path: Path) -> None:
        tags = grey_tags(SHAPE, 32, t339=FORMAT_FLOAT, t278=("I", [10]), t42113=("s", b"nan\0"))
        content = raw_tiff(tags, [bytes(WIDTH * 40), bytes(WIDTH * 36)])
        first = len(content) - WIDTH * 76
        table = struct.pack("<II", first, first + WIDTH * 40)
        counts = struct.pack("<II", WIDTH * 40, WIDTH * 36)
        sparse = content.replace(table, struct.pack("<II", first, 0)).replace(
            counts, struct.pack("<II", WIDTH * 40, 0)
        )
        pixels = read_bytes(sparse, tmp_path).pixels[0, ..., 0]
        assert not pixels[:10].any()
        assert np.isnan(pixels[10:]).all()

    @pytest.mark.parametrize(
        ("bits", "kind", "text", "filled"),
        [
            (8, 1, "7", 7),
            (8, 1, "-9999", 0),
            (8, 1, "nan", 0),
            (8, 1, "2.5", 0),
            (32, 2, "-5", -5),
            (16, 3, "1e300", math.inf),
            (32, 3, "-3.4028234663852886e+38", np.finfo(np.float32).min),
            (64, 3, "nan", math.nan),
        ],
    )
    def test_fills_a_picture_without_any_data(
        self, bits: int, kind: int, text: str, filled: float, tmp_path: Path
    ) -> None:
        """Offset 0 is no place in the file: its header must not come out as pixels."""
        size = HEIGHT * WIDTH * bits // 8
        nodata = text.encode() + b"\0"
        tags = grey_tags(SHAPE, bits, t339=("H", [kind]), t42113=("s", nodata))
        content = raw_tiff(tags, [bytes(size)])
        for tag, value in ((273, len(content) - size), (279, size)):
            entry = struct.pack("<HHII", tag, 4, 1, value)
            content = content.replace(entry, struct.pack("<HHII", tag, 4, 1, 0))
        pixels = read_bytes(content, tmp_path).pixels
        np.testing.assert_array_equal(pixels, np.full_like(pixels, filled))
