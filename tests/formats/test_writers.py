"""What is written can be read, by us and by others."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from numpy.typing import NDArray

from fnetcli.errors import WriteError
from fnetcli.formats import (
    PICTURE_KINDS,
    read_image,
    write_npz,
    write_picture,
    write_png,
    write_tiff_float,
    writers,
)
from fnetcli.imaging.image import Georeference
from tests.formats.files import ALPHA, DEEP_ALPHA, DEEP_RGB, GREY, HEIGHT, RGB, WIDTH, scene


class TestWritePng:
    @pytest.mark.parametrize("channels", [0, 1, 2, 3, 4])
    def test_reads_back(self, channels: int, tmp_path: Path) -> None:
        pixels = scene(4)[..., :channels].copy() if channels else GREY
        if channels in {2, 4}:  # as transparency is; what looks like a picture is not trusted
            pixels[..., -1] = np.where(pixels[..., -1] > 128, 255, 0)
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


FLOATS = np.linspace(-1, 3, RGB.size, dtype=np.float32).reshape(RGB.shape)
SOURCES: dict[str, NDArray[Any]] = {"uint8": RGB, "uint16": DEEP_RGB, "float32": FLOATS}
OPACITY: dict[str, NDArray[Any]] = {
    "uint8": ALPHA,
    "uint16": DEEP_ALPHA,
    "float32": (ALPHA / 255).astype(np.float32),
}
CASES = [
    (kind.name, dtype.name, channels, has_alpha)
    for kind in PICTURE_KINDS.values()
    for dtype in kind.dtypes
    for channels in (1, 3)
    for has_alpha in (False, True)
]
PLACE = Georeference(
    (
        (33550, 12, (10.0, 20.0, 0.0)),
        (33922, 12, (0.0, 0.0, 0.0, 500_000.0, 5_000_000.0, 0.0)),
        (34735, 3, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633)),
        (34737, 2, b"WGS 84 / UTM zone 33N|\0"),
    )
)


class TestWritePicture:
    @pytest.mark.parametrize(("kind", "dtype", "channels", "has_alpha"), CASES)
    def test_reads_back(
        self, kind: str, dtype: str, channels: int, has_alpha: bool, tmp_path: Path
    ) -> None:
        path = tmp_path / f"ein Bild ü{PICTURE_KINDS[kind].suffix}"
        pixels, alpha = SOURCES[dtype][..., :channels], OPACITY[dtype] if has_alpha else None
        write_picture(path, kind, pixels, alpha=alpha)
        image = read_image(path)
        assert image.pixels.dtype == pixels.dtype
        error = np.abs(image.pixels[0].astype(float) - pixels)
        assert error.max() <= (8 if kind == "jpeg" else 0)
        if alpha is None or kind == "jpeg":
            assert image.alpha is None
        else:
            assert image.alpha is not None
            white = 1 if dtype == "float32" else np.iinfo(dtype).max
            np.testing.assert_allclose(image.alpha[0], alpha / white, rtol=1e-6)
        assert image.notices == ()

    @pytest.mark.parametrize(("kind", "dtype", "channels", "has_alpha"), CASES)
    @pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
    def test_gdal_reads_the_same(
        self, kind: str, dtype: str, channels: int, has_alpha: bool, tmp_path: Path
    ) -> None:
        pixels, alpha = SOURCES[dtype][..., :channels], OPACITY[dtype] if has_alpha else None
        write_picture(tmp_path / "a", kind, pixels, alpha=alpha)
        with rasterio.open(tmp_path / "a") as file:
            values = np.moveaxis(file.read(), 0, -1)
            is_alpha = [one.name for one in file.colorinterp].count("alpha")
        colors = 3 if kind == "webp" else channels
        assert is_alpha == (has_alpha and kind != "jpeg")
        assert values.shape[2] == colors + is_alpha
        assert values.dtype == pixels.dtype
        error = np.abs(values[..., :colors].astype(float) - pixels)
        assert error.max() <= (8 if kind == "jpeg" else 0)
        if is_alpha:
            np.testing.assert_array_equal(values[..., -1], alpha)

    @pytest.mark.parametrize(("kind", "dtype", "channels", "has_alpha"), CASES)
    def test_equal_input_gives_equal_bytes_without_metadata(
        self, kind: str, dtype: str, channels: int, has_alpha: bool, tmp_path: Path
    ) -> None:
        pixels, alpha = SOURCES[dtype][..., :channels], OPACITY[dtype] if has_alpha else None
        for name in ("a", "b"):
            write_picture(tmp_path / name, kind, pixels.copy(), alpha=alpha)
        content = (tmp_path / "a").read_bytes()
        assert content == (tmp_path / "b").read_bytes()
        assert not any(trace in content for trace in (b"Exif", b"tifffile", b"Pillow"))
        if kind == "tiff":
            with tifffile.TiffFile(tmp_path / "a") as file:
                names = {tag.name for tag in file.pages.first.tags}
            assert not names & {"ImageDescription", "Software", "DateTime"}

    @pytest.mark.parametrize("nodata", [-9999.0, math.nan, 0.1, 65535.0, -3.4028234663852886e38])
    def test_georeference_and_nodata_as_gdal_sees_them(self, nodata: float, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        write_picture(path, "tiff", FLOATS, georeference=PLACE, nodata=nodata)
        with rasterio.open(path) as file:
            assert file.crs.to_epsg() == 32633
            assert tuple(file.transform)[:6] == (10, 0, 500_000, 0, -20, 5_000_000)
            assert file.nodata == pytest.approx(nodata, nan_ok=True)
        image = read_image(path)
        assert image.georeference == PLACE
        assert image.nodata == pytest.approx(nodata, nan_ok=True)

    def test_georeference_of_gdal_comes_through(self, tmp_path: Path) -> None:
        first, second = tmp_path / "a.tif", tmp_path / "b.tif"
        place = rasterio.Affine(8, 6, 500_000, 6, -8, 5_000_000)
        with rasterio.open(
            first, "w", "GTiff", 8, 9, 1, crs="EPSG:3035", transform=place, dtype="uint16", nodata=3
        ) as file:
            file.write(np.arange(72, dtype=np.uint16).reshape(1, 9, 8))
        image = read_image(first)
        write_picture(
            second,
            "tiff",
            image.pixels[0],
            georeference=image.georeference,
            nodata=image.nodata,
        )
        with rasterio.open(first) as one, rasterio.open(second) as other:
            assert (one.crs, one.transform, one.nodata) == (other.crs, other.transform, 3)
            np.testing.assert_array_equal(one.read(), other.read())

    @pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
    def test_kinds_without_places_leave_them_out(self, kind: str, tmp_path: Path) -> None:
        write_picture(tmp_path / "a", kind, RGB, georeference=PLACE, nodata=3)
        write_picture(tmp_path / "b", kind, RGB)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    @pytest.mark.parametrize(
        ("kind", "shape", "limit"),
        [
            ("jpeg", (1, 65_501), 65_500),
            ("jpeg", (65_501, 1), 65_500),
            ("webp", (1, 16_384), 16_383),
            ("png", (1, 1_000_001), 1_000_000),
        ],
    )
    def test_largest_side(
        self, kind: str, shape: tuple[int, int], limit: int, tmp_path: Path
    ) -> None:
        path = tmp_path / "a"
        with pytest.raises(WriteError, match=f"at most {limit} per side; choose ") as caught:
            write_picture(path, kind, np.zeros((*shape, 1), np.uint8))
        assert str(caught.value).startswith(f"{path}: {shape[1]}x{shape[0]} ")
        assert not list(tmp_path.iterdir())
        most = np.minimum(shape, limit)
        write_picture(path, kind, np.zeros((*most, 1), np.uint8))
        assert read_image(path).grid.shape == (1, *most)

    @pytest.mark.parametrize(
        ("kind", "pixels", "alpha"),
        [
            ("gif", RGB, None),
            ("png", FLOATS, None),
            ("jpeg", DEEP_RGB, None),
            ("webp", DEEP_RGB, None),
            ("tiff", FLOATS.astype(np.float64), None),
            ("png", GREY, None),
            ("png", RGB[..., :2], None),
            ("png", RGB[:0], None),
            ("png", RGB, ALPHA[..., None]),
            ("png", RGB, DEEP_ALPHA),
            ("png", RGB, ALPHA[:-1]),
        ],
    )
    def test_mistakes_of_the_program(
        self, kind: str, pixels: NDArray[Any], alpha: NDArray[Any] | None, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueError, match=r"takes|alpha is|no kind"):
            write_picture(tmp_path / "a", kind, pixels, alpha=alpha)
        assert not list(tmp_path.iterdir())

    def test_views_in_any_order_of_memory(self, tmp_path: Path) -> None:
        for kind in ("png", "tiff", "webp"):
            write_picture(tmp_path / kind, kind, RGB[::-1, ::2, ::-1], alpha=ALPHA[::-1, ::2])
            got = read_image(tmp_path / kind).pixels[0]
            np.testing.assert_array_equal(got, RGB[::-1, ::2, ::-1])

    def test_bigtiff_where_it_must_be(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_picture(tmp_path / "a.tif", "tiff", RGB)
        monkeypatch.setattr(writers, "PLAIN_TIFF_BYTES", RGB.nbytes - 1)
        write_picture(tmp_path / "b.tif", "tiff", RGB)
        assert (tmp_path / "a.tif").read_bytes()[:4] == b"II*\0"
        assert (tmp_path / "b.tif").read_bytes()[:4] == b"II+\0"
        np.testing.assert_array_equal(read_image(tmp_path / "b.tif").pixels[0], RGB)

    def test_kinds(self) -> None:
        assert {name: one.suffixes for name, one in PICTURE_KINDS.items()} == {
            "png": (".png",),
            "tiff": (".tif", ".tiff"),
            "jpeg": (".jpg", ".jpeg"),
            "webp": (".webp",),
        }
        assert [name for name, one in PICTURE_KINDS.items() if not one.keeps_alpha] == ["jpeg"]
        assert [name for name, one in PICTURE_KINDS.items() if one.keeps_nodata] == ["tiff"]


class TestWriteTiffFloat:
    def test_place_and_nodata(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        write_tiff_float(path, FLOATS[..., 0], georeference=PLACE, nodata=math.nan)
        with rasterio.open(path) as file:
            assert file.crs.to_epsg() == 32633
            assert math.isnan(file.nodata)
            np.testing.assert_array_equal(file.read(1), FLOATS[..., 0])

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
    def test_no_second_copy_in_memory(self, tmp_path: Path) -> None:
        code = np.zeros(48 << 20, np.float16)  # 96 MB
        tracemalloc.start()
        try:
            write_npz(tmp_path / "a.npz", {"u": code})
            assert tracemalloc.get_traced_memory()[1] < code.nbytes / 2
        finally:
            tracemalloc.stop()

    def test_reads_back_and_is_repeatable(self, tmp_path: Path) -> None:
        codes = {name: np.full((2, 3, 4), i, np.float16) for i, name in enumerate("uvz")}
        for name in ("a.npz", "b.npz"):
            write_npz(tmp_path / name, codes)
        assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
        with np.load(tmp_path / "a.npz") as got:
            assert set(got) == {"u", "v", "z"}
            np.testing.assert_array_equal(got["v"], codes["v"])
            assert got["v"].dtype == np.float16
