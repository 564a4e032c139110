"""What only the whole folder can tell, looked up before anything is fused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fnetcli.formats import ReadOptions
from fnetcli.imaging.intensity import ScalingOptions
from fnetcli.inputs.pairing import Case
from fnetcli.pictures.outputs import Depth, OutputOptions
from fnetcli.pictures.prepare import PrepareOptions
from fnetcli.pictures.survey import Scope, Survey, fitting_kind, lost_depth, survey

OPTIONS = PrepareOptions(("ir", "vis"))
SHAPE = (6, 8)
PIXEL_SCALE = (33550, 12, 3, (1.0, 1.0, 0.0), True)  # GeoTIFF 1.1, 7.1: the tags of a place
TIE_POINT = (33922, 12, 6, (0.0, 0.0, 0.0, 5.0, 6.0, 0.0), True)
KEYS = (34735, 3, 8, (1, 1, 0, 1, 1024, 0, 1, 1), True)


def write(path: Path, pixels: NDArray[Any], **details: Any) -> Path:
    """Write a PNG or a TIFF by another program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        color = "rgb" if pixels.shape[-1] == 3 else "minisblack"
        tifffile.imwrite(path, pixels, photometric=color, metadata=None, **details)
    else:
        iio.imwrite(path, pixels)
    return path


def grey(value: float, kind: str = "uint16") -> NDArray[Any]:
    return np.full(SHAPE, value, kind)


def with_one(value: float, rest: float = 0, kind: str = "uint16") -> NDArray[Any]:
    """Return a picture with one pixel that differs."""
    pixels = grey(rest, kind)
    pixels[2, 3] = value
    return pixels


def with_two(value: float, rest: float = 0, kind: str = "uint16") -> NDArray[Any]:
    """Return a picture with two pixels that differ: a single bright one decides nothing."""
    pixels = with_one(value, rest, kind)
    pixels[1, 1] = value
    return pixels


def make(
    folder: Path, firsts: list[NDArray[Any] | None], seconds: list[NDArray[Any] | None]
) -> list[Case]:
    """Write pairs; None is a file that cannot be read."""
    cases = []
    for i, pair in enumerate(zip(firsts, seconds, strict=True)):
        paths = []
        for side, pixels in zip(("ir", "vis"), pair, strict=True):
            suffix = ".png" if pixels is not None and pixels.dtype.kind == "u" else ".tif"
            path = folder / side / f"{i:03}{suffix}"
            write(path, grey(0, "uint8") if pixels is None else pixels)
            if pixels is None:
                path.write_bytes(path.read_bytes()[:40])
            paths.append(path)
        cases.append(Case(f"{i}", *paths))
    return cases


def with_vis(folder: Path, *seconds: NDArray[Any] | None) -> list[Case]:
    firsts: list[NDArray[Any] | None] = [grey(i, "uint8") for i in range(len(seconds))]
    return make(folder, firsts, list(seconds))


def with_ir(folder: Path, *firsts: NDArray[Any] | None) -> list[Case]:
    seconds: list[NDArray[Any] | None] = [grey(i, "uint8") for i in range(len(firsts))]
    return make(folder, list(firsts), seconds)


def look(cases: list[Case], options: PrepareOptions = OPTIONS, **more: Any) -> Survey:
    """Survey cases; headers are told of one by one."""
    steps: list[None] = []
    found = survey(cases, options, on_step=lambda: steps.append(None), **more)
    assert len(steps) >= 2 * len(cases)
    return found


class TestBits:
    @staticmethod
    def found(cases: list[Case], options: PrepareOptions = OPTIONS) -> int | None:
        """Return the bits that were found, and check that the notice says so."""
        result = look(cases, options)
        first, second = result.options.scaling
        assert first == options.scaling[0]
        bits = second.found_bits
        expected = []
        if bits is not None:
            text = f"vis: 16-bit files, but no value above {2**bits - 1}: taken as {bits} bits"
            expected = [f"{text} (--bits vis=16 if they are not)"]
        assert result.notices == expected
        return bits

    @pytest.mark.parametrize(
        ("highest", "bits"),
        [
            (1, 8),
            (255, 8),
            (256, 9),
            (511, 9),
            (1023, 10),
            (1024, 11),
            (4095, 12),
            (4096, 13),
            (10_000, 14),
            (16_383, 14),
            (32_767, 15),
            (32_768, None),
            (65535, None),
            (0, None),  # all black: nothing is known
        ],
    )
    def test_by_the_highest_value(self, highest: int, bits: int | None, tmp_path: Path) -> None:
        assert self.found(with_vis(tmp_path, grey(0), with_two(highest), grey(0))) == bits

    @settings(max_examples=15)
    @given(st.lists(st.sampled_from((0, 7, 1000, 1024, 4000, 4096, 16_000, 60_000)), max_size=6))
    def test_whatever_comes_first(
        self, tmp_path_factory: pytest.TempPathFactory, values: list[int]
    ) -> None:
        cases = with_vis(tmp_path_factory.mktemp("law"), *map(with_two, values))
        most = max(values, default=0)
        expected = None if most in (0, 60_000) else max(8, most.bit_length())
        assert self.found(cases) == expected

    @pytest.mark.parametrize("workers", [1, 2, 5])
    def test_one_bright_picture_late_in_the_order_decides(
        self, workers: int, tmp_path: Path
    ) -> None:
        pictures = [*(with_two(4000) for _ in range(15)), with_two(60_000)]
        cases = with_vis(tmp_path, *pictures)
        assert look(cases, workers=workers).options.scaling[1].found_bits is None
        assert look(cases[:-1], workers=workers).options.scaling[1].found_bits == 12

    def test_broken_files_are_left_for_their_turn(self, tmp_path: Path) -> None:
        assert self.found(with_vis(tmp_path, None, with_two(900), None, with_two(800))) == 10
        cases = with_vis(tmp_path / "missing", with_two(900), with_two(5000))
        cases[1].second.unlink()
        assert self.found(cases) == 10
        assert self.found(with_vis(tmp_path / "none", None, None)) is None
        assert self.found([]) is None

    def test_a_header_without_its_pixels_is_a_broken_file(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 60_000, (64, 64), np.uint16)
        cases = with_vis(tmp_path, with_two(900), noise)
        cases[1].second.write_bytes(cases[1].second.read_bytes()[:3000])
        assert self.found(cases) == 10

    def test_8_bit_pictures_have_no_say(self, tmp_path: Path) -> None:
        cases = with_vis(tmp_path, grey(255, "uint8"), with_two(900), grey(9000, "int32"))
        assert self.found(cases) == 10
        assert self.found(with_vis(tmp_path / "only", grey(255, "uint8"))) is None

    def test_tiff_and_colour_count_too(self, tmp_path: Path) -> None:
        (case,) = with_vis(tmp_path, grey(0, "uint8"))
        color = np.dstack([grey(9), grey(3000), grey(5)])
        for name, pixels, bits in (("grey.tif", with_two(1100), 11), ("color.tif", color, 12)):
            path = write(tmp_path / "vis" / name, pixels, byteorder=">")
            assert self.found([replace(case, second=path)]) == bits

    def test_infrared_is_never_asked(self, tmp_path: Path) -> None:
        assert self.found(with_ir(tmp_path, with_two(900), with_two(800))) is None

    @pytest.mark.parametrize(
        "scaling",
        [
            ScalingOptions(bits=16),
            ScalingOptions(bits=12),
            ScalingOptions(limits=(0, 9)),
            ScalingOptions(stretches_all=True),
            ScalingOptions(stretch=None, stretches_all=True),
        ],
    )
    def test_nor_are_those_of_which_the_user_told(
        self, scaling: ScalingOptions, tmp_path: Path
    ) -> None:
        options = replace(OPTIONS, scaling=(ScalingOptions(), scaling))
        cases = with_vis(tmp_path, with_two(900))
        assert self.found(cases, options) is None
        assert look(cases, options).options.scaling[1] == scaling

    def test_a_stretch_of_all_images_does_not_concern_them(self, tmp_path: Path) -> None:
        scaling = ScalingOptions(stretch=(1, 99))
        options = replace(OPTIONS, scaling=(scaling, scaling))
        assert self.found(with_vis(tmp_path, with_two(900)), options) == 10

    def test_the_mark_of_no_data_is_no_brightness(self, tmp_path: Path) -> None:
        (case,) = with_vis(tmp_path, grey(0))
        nodata = (42113, 2, 6, "65535", True)  # GDAL_NODATA
        path = write(tmp_path / "vis" / "x.tif", with_two(65535, 3000), extratags=[nodata])
        assert self.found([replace(case, second=path)]) == 12

    def test_pages_are_those_of_the_user(self, tmp_path: Path) -> None:
        (case,) = with_vis(tmp_path, grey(0))
        path = write(tmp_path / "vis" / "x.tif", np.stack([grey(900), grey(60_000)]))
        for page, bits in ((1, 10), (2, None), (None, None)):
            options = replace(OPTIONS, reading=(ReadOptions(), ReadOptions(page)))
            assert self.found([replace(case, second=path)], options) == bits


class TestFolderRange:
    RAMP = np.linspace(29_000, 30_000, 48).reshape(SHAPE)

    def limits(
        self,
        cases: list[Case],
        scaling: ScalingOptions = ScalingOptions(),  # noqa: B008  frozen
        scope: Scope = "folder",
    ) -> tuple[float, float] | None:
        """Return the range found for infrared, and check that the notice says so."""
        found = look(cases, replace(OPTIONS, scaling=(scaling, ScalingOptions())), scope=scope)
        limits = found.options.scaling[0].folder_limits
        assert found.options.scaling[1].folder_limits is None
        expected = []
        if limits is not None:
            low, high = limits
            expected = [f"ir: {low:g} to {high:g} become black to white in all images"]
        assert found.notices == expected
        assert found.options.scaling[0] == replace(scaling, folder_limits=limits)
        return limits

    @pytest.mark.parametrize("kind", ["uint16", "int16", "int32", "float32", "float64"])
    def test_from_the_lowest_to_the_highest_percentile(self, kind: str, tmp_path: Path) -> None:
        pictures = [(self.RAMP - 20_000 + shift).astype(kind) for shift in (0, 700, -300, 40)]
        lows, highs = zip(*(np.percentile(one, (0.1, 99.9)) for one in pictures), strict=True)
        limits = self.limits(with_ir(tmp_path, *pictures))
        assert limits == pytest.approx((min(lows), max(highs)))

    def test_scope_image_asks_for_none(self, tmp_path: Path) -> None:
        cases = with_ir(tmp_path, self.RAMP.astype("uint16"))
        assert self.limits(cases, scope="image") is None

    def test_the_users_percentiles(self, tmp_path: Path) -> None:
        cases = with_ir(tmp_path, with_one(500, 100), with_one(3, 100))
        assert self.limits(cases, ScalingOptions(stretch=(0, 100))) == (3, 500)
        picture = self.RAMP.astype("uint16")
        expected = np.percentile(picture, (10, 60))
        cases = with_ir(tmp_path / "60", picture, picture)
        assert self.limits(cases, ScalingOptions(stretch=(10, 60))) == pytest.approx(expected)

    @pytest.mark.parametrize(
        "scaling",
        [ScalingOptions(limits=(1, 2)), ScalingOptions(stretch=None), ScalingOptions(bits=14)],
    )
    def test_where_nothing_is_stretched(self, scaling: ScalingOptions, tmp_path: Path) -> None:
        assert self.limits(with_ir(tmp_path, self.RAMP.astype("uint16")), scaling) is None

    def test_8_bit_pictures_only_if_all_are_stretched(self, tmp_path: Path) -> None:
        cases = with_ir(tmp_path, with_one(90, 20, "uint8"), with_one(10, 30, "uint8"))
        assert self.limits(cases) is None
        scaling = ScalingOptions(stretch=(0, 100), stretches_all=True)
        assert self.limits(cases, scaling) == (10, 90)

    def test_holes_and_broken_files_have_no_say(self, tmp_path: Path) -> None:
        pictures = [with_one(7, 5, "float32"), with_one(np.nan, 6, "float32")]
        pictures += [with_one(-3.4028234663852886e38, 8, "float32"), grey(np.nan, "float32")]
        cases = with_ir(tmp_path, None, *pictures, None)
        assert self.limits(cases, ScalingOptions(stretch=(0, 100))) == (5, 8)
        assert self.limits(with_ir(tmp_path / "nan", grey(np.nan, "float32"), None)) is None
        assert self.limits([]) is None

    def test_one_range_without_extent_is_none(self, tmp_path: Path) -> None:
        """Then each picture is scaled by itself, and says itself that it is constant."""
        assert self.limits(with_ir(tmp_path, grey(500), grey(500))) is None

    def test_constants_of_different_height_have_one(self, tmp_path: Path) -> None:
        assert self.limits(with_ir(tmp_path, grey(500), grey(700))) == (500, 700)

    def test_no_flicker(self, tmp_path: Path) -> None:
        """The same temperature is the same grey in all pictures."""
        pictures = [with_one(29_900 + 100 * i, 29_315).astype("uint16") for i in range(5)]
        cases = with_ir(tmp_path, *pictures)
        found = look(cases, scope="folder").options.scaling[0]
        chosen = {found.choose(np.dtype("uint16"), "ir") for _ in pictures}
        assert len(chosen) == 1
        (scaling,) = chosen
        assert not scaling.are_percentiles

    def test_visible_floats_are_stretched_too(self, tmp_path: Path) -> None:
        cases = with_vis(tmp_path, with_one(3, 1, "float32"), with_one(0, 1, "float32"))
        scaling = ScalingOptions(stretch=(0, 100))
        found = look(cases, replace(OPTIONS, scaling=(scaling, scaling)), scope="folder")
        assert found.options.scaling[1].folder_limits == (0, 3)
        assert found.options.scaling[0].folder_limits is None

    def test_16_bit_visible_pictures_are_not(self, tmp_path: Path) -> None:
        found = look(with_vis(tmp_path, with_two(900, 20)), scope="folder")
        assert found.options.scaling[1].folder_limits is None
        assert found.options.scaling[1].found_bits == 10


class TestKind:
    FLOATS = "vis images hold floats: results are float TIFF"
    PLACES = "some images are GeoTIFF: results are TIFF, which can say where they lie"

    @staticmethod
    def placed(cases: list[Case], side: str) -> list[Case]:
        """Give the last picture of a side a georeference."""
        path = cases[-1].second.parents[1] / side / "placed.tif"
        write(path, grey(7, "uint8"), extratags=[PIXEL_SCALE, TIE_POINT, KEYS])
        last = cases[-1]
        moved = replace(last, first=path) if side == "ir" else replace(last, second=path)
        return [*cases[:-1], moved]

    @pytest.mark.parametrize("kind", ["uint8", "uint16"])
    @pytest.mark.parametrize("depth", ["auto", "8", "16"])
    def test_plain_pictures_are_png(self, kind: str, depth: Any, tmp_path: Path) -> None:
        cases = with_vis(tmp_path, grey(200, kind), grey(60_000))
        assert fitting_kind(look(cases), depth) == ("png", None)
        assert fitting_kind(look([]), "auto") == ("png", None)

    def test_float_results_are_tiff(self, tmp_path: Path) -> None:
        found = look(with_vis(tmp_path, grey(9, "uint8")))
        assert fitting_kind(found, "float") == ("tiff", None)
        assert fitting_kind(look([]), "float") == ("tiff", None)

    def test_floats_among_the_visible_are(self, tmp_path: Path) -> None:
        cases = with_vis(tmp_path, grey(9, "uint8"), with_one(1, 2, "float32"))
        depths: tuple[Depth, ...] = ("8", "16")
        assert fitting_kind(look(cases), "auto") == ("tiff", self.FLOATS)
        for depth in depths:
            assert fitting_kind(look(cases), depth) == ("png", None)

    def test_floats_among_the_infrared_are_not(self, tmp_path: Path) -> None:
        found = look(with_ir(tmp_path, with_one(1, 2, "float32")))
        assert fitting_kind(found, "auto") == ("png", None)

    @pytest.mark.parametrize("side", ["ir", "vis"])
    def test_a_georeference_on_either_side(self, side: str, tmp_path: Path) -> None:
        cases = self.placed(with_vis(tmp_path, grey(9, "uint8"), grey(9, "uint8")), side)
        depths: tuple[Depth, ...] = ("auto", "8", "16")
        for depth in depths:
            assert fitting_kind(look(cases), depth) == ("tiff", self.PLACES)

    @pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "tiff"])
    def test_depth_that_a_format_loses_is_told(self, kind: str, tmp_path: Path) -> None:
        cases = with_vis(tmp_path, grey(9, "uint8"), with_one(1, 2, "float32"))
        lost = f"{kind} holds 8 bits, the images have more: use --format png or tiff"
        expected = [lost] if kind in {"jpeg", "webp"} else []
        assert lost_depth(look(cases), OutputOptions(kind)) == expected
        assert lost_depth(look(cases), OutputOptions(kind, "8")) == []

    def test_broken_files_have_no_say(self, tmp_path: Path) -> None:
        cases = with_vis(tmp_path, None, grey(9, "uint8"), None)
        assert fitting_kind(look(cases), "auto") == ("png", None)
        assert look(cases).notices == []


def test_one_picture_for_many_cases_is_read_once(tmp_path: Path) -> None:
    cases = with_vis(tmp_path, with_two(900), with_two(800))
    same = [replace(case, second=cases[0].second) for case in cases]
    steps: list[None] = []
    found = survey(same, OPTIONS, on_step=lambda: steps.append(None))
    assert found.options.scaling[1].found_bits == 10
    assert len(steps) == 4 + 1  # headers, and the pixels of one file


def test_nothing_else_is_changed(tmp_path: Path) -> None:
    options = replace(OPTIONS, resize_to="ir")
    found = look(with_vis(tmp_path, with_two(900)), options, scope="folder").options
    expected = replace(options, scaling=(ScalingOptions(), ScalingOptions(found_bits=10)))
    assert found == expected
