"""Stored numbers to the unit range and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from fnetcli.errors import ImageError
from fnetcli.imaging.image import Grid, Image, Mask, Stored
from fnetcli.imaging.intensity import (
    DEFAULT_STRETCH,
    PREVIEW_RANGE,
    Limits,
    Scaling,
    ScalingOptions,
    mark_nodata,
    own_limits,
    preview,
    to_stored,
    to_unit,
    valid_pixels,
)

SHAPES = st.tuples(st.integers(1, 8), st.integers(1, 8), st.sampled_from((1, 3)))
UNIT = arrays(np.float32, array_shapes(max_dims=4), elements=st.floats(-2, 2, width=32))
INTEGERS = ("uint8", "uint16", "uint32", "int8", "int16", "int32")
FLOATS = ("float16", "float32", "float64")
ANY_STORED = st.sampled_from((*INTEGERS, *FLOATS)).flatmap(
    lambda kind: arrays(np.dtype(kind), SHAPES)  # NaN, infinities and the extremes included
)
EIGHT_BITS, SIXTEEN_BITS = Scaling((0, 255)), Scaling((0, 65535))
MIN_MAX = Scaling((0, 100), are_percentiles=True)
DEFAULT = Scaling(DEFAULT_STRETCH, are_percentiles=True)
SCALINGS = st.sampled_from((EIGHT_BITS, SIXTEEN_BITS, MIN_MAX, DEFAULT, Scaling((-0.5, 1e-3))))
LOWEST_FLOAT32, LOWEST_FLOAT64 = -3.4028234663852886e38, -1.7976931348623157e308


def image(stored: NDArray[Any], nodata: float | None = None) -> Image:
    """Return one slice (H, W, C), or (H, W), as it is read."""
    planes = stored[..., None] if stored.ndim == 2 else stored
    height, width, _ = planes.shape
    return Image(planes[None], Grid((1, height, width)), planes.dtype, nodata=nodata)


def unit_row(stored: NDArray[Any], scaling: Scaling, nodata: float | None = None) -> list[float]:
    """Return the unit values of a grey picture, in one list."""
    values: list[float] = to_unit(image(stored, nodata), scaling).image.pixels.ravel().tolist()
    return values


class TestChoice:
    """What becomes black and white where the pixels are not asked."""

    @pytest.mark.parametrize(
        ("kind", "modality", "declared", "expected"),
        [
            ("uint8", "vis", None, (0, 255)),
            ("uint8", "ir", None, (0, 255)),
            ("uint8", "mri", None, (0, 255)),
            ("uint16", "vis", None, (0, 65535)),
            ("uint16", "vis", 12, (0, 4095)),
            ("uint16", "vis", 10, (0, 1023)),
            ("uint16", "vis", 16, (0, 65535)),
        ],
    )
    def test_without_a_stretch(
        self, kind: str, modality: str, declared: int | None, expected: Limits
    ) -> None:
        options, dtype = ScalingOptions(), np.dtype(kind)
        assert not options.is_stretched(dtype, modality)
        assert options.choose(dtype, modality, declared) == Scaling(expected)

    @pytest.mark.parametrize("declared", [None, 12])
    @pytest.mark.parametrize(
        ("kind", "modality"),
        [
            *((kind, "ir") for kind in (*INTEGERS, *FLOATS) if kind != "uint8"),
            *((kind, "vis") for kind in (*INTEGERS, *FLOATS) if kind not in ("uint8", "uint16")),
            ("uint16", "nir"),
            ("uint16", "ct"),
            ("int16", "mri"),
        ],
    )
    def test_everything_else_is_stretched(
        self, kind: str, modality: str, declared: int | None
    ) -> None:
        options, dtype = ScalingOptions(), np.dtype(kind)
        assert options.is_stretched(dtype, modality)
        assert options.choose(dtype, modality, declared) == Scaling((0.1, 99.9), True)
        of_folder = replace(options, folder_limits=(5.0, 9.0))
        assert of_folder.is_stretched(dtype, modality)
        assert of_folder.choose(dtype, modality, declared) == Scaling((5.0, 9.0))

    @pytest.mark.parametrize("kind", ["uint8", "uint16"])
    def test_a_folder_range_is_not_for_those_that_need_none(self, kind: str) -> None:
        options = ScalingOptions(folder_limits=(5.0, 9.0))
        assert options.choose(np.dtype(kind), "vis").limits == (0, np.iinfo(kind).max)

    @pytest.mark.parametrize("kind", [*INTEGERS, *FLOATS])
    def test_a_range_in_stored_units_beats_everything(self, kind: str) -> None:
        options = ScalingOptions(
            limits=(-3.0, 7.0), bits=12, found_bits=10, stretches_all=True, folder_limits=(0, 1)
        )
        assert not options.is_stretched(np.dtype(kind), "ir")
        assert options.choose(np.dtype(kind), "ir", 14) == Scaling((-3.0, 7.0))

    @pytest.mark.parametrize("kind", [*INTEGERS, *FLOATS])
    def test_a_stretch_for_a_modality_holds_for_all_its_images(self, kind: str) -> None:
        options = ScalingOptions(stretch=(2, 98), stretches_all=True)
        assert options.is_stretched(np.dtype(kind), "vis")
        assert options.choose(np.dtype(kind), "vis", 12) == Scaling((2, 98), True)

    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("uint8", (0, 255)),
            ("uint16", (0, 65535)),
            ("uint32", (0, 4294967295)),
            ("int8", (-128, 127)),
            ("int16", (-32768, 32767)),
            ("int32", (-2147483648, 2147483647)),
            ("float16", (0, 1)),
            ("float32", (0, 1)),
            ("float64", (0, 1)),
        ],
    )
    @pytest.mark.parametrize("stretches_all", [False, True])
    def test_no_stretch_takes_the_range_of_the_type(
        self, kind: str, expected: Limits, stretches_all: bool
    ) -> None:
        options = ScalingOptions(stretch=None, stretches_all=stretches_all, folder_limits=(3, 4))
        assert not options.is_stretched(np.dtype(kind), "ir")
        assert options.choose(np.dtype(kind), "ir") == Scaling(expected)

    def test_bits_of_the_user_beat_the_file_and_the_file_beats_the_folder(self) -> None:
        kind = np.dtype(np.uint16)
        assert ScalingOptions(bits=14, found_bits=10).choose(kind, "vis", 12).limits == (0, 16383)
        assert ScalingOptions(found_bits=10).choose(kind, "vis", 12).limits == (0, 4095)
        assert ScalingOptions(found_bits=10).choose(kind, "vis").limits == (0, 1023)

    @pytest.mark.parametrize(
        ("kind", "bits", "white"),
        [
            ("uint16", 14, 2**14 - 1),
            ("uint16", 1, 1),
            ("uint16", 8, 255),
            ("uint16", 20, 65535),  # no more than the type has
            ("uint32", 20, 2**20 - 1),
            ("uint32", 32, 2**32 - 1),
            ("uint8", 4, 255),  # an 8-bit picture is one
        ],
    )
    def test_bits_of_the_user_end_the_stretch(self, kind: str, bits: int, white: int) -> None:
        options = ScalingOptions(bits=bits, folder_limits=(1, 2))
        assert not options.is_stretched(np.dtype(kind), "ir")
        assert options.choose(np.dtype(kind), "ir") == Scaling((0, white))

    @pytest.mark.parametrize("kind", ["int16", "int32", "float32"])
    def test_bits_mean_nothing_where_numbers_are_signed(self, kind: str) -> None:
        assert ScalingOptions(bits=12).choose(np.dtype(kind), "ir").are_percentiles

    @given(st.sampled_from((*INTEGERS, *FLOATS)), st.sampled_from(("vis", "ir", "mri")))
    def test_inversion_goes_along(self, kind: str, modality: str) -> None:
        plain, inverted = ScalingOptions(), ScalingOptions(is_inverted=True)
        chosen = plain.choose(np.dtype(kind), modality)
        assert inverted.choose(np.dtype(kind), modality) == replace(chosen, is_inverted=True)


class TestLaws:
    @given(arrays(np.uint8, SHAPES))
    def test_8_bits_there_and_back_are_exact(self, stored: NDArray[np.uint8]) -> None:
        unit = to_unit(image(stored), ScalingOptions().choose(stored.dtype, "vis"))
        np.testing.assert_array_equal(to_stored(unit.image.pixels)[0], stored)

    @given(arrays(np.uint16, SHAPES))
    def test_16_bits_there_and_back_are_exact(self, stored: NDArray[np.uint16]) -> None:
        unit = to_unit(image(stored), ScalingOptions().choose(stored.dtype, "vis"))
        np.testing.assert_array_equal(to_stored(unit.image.pixels, np.uint16)[0], stored)

    def test_every_16_bit_number_there_and_back(self) -> None:
        stored = np.arange(65536, dtype=np.uint16).reshape(256, 256)
        unit = to_unit(image(stored), SIXTEEN_BITS).image.pixels
        np.testing.assert_array_equal(to_stored(unit, np.uint16)[0, ..., 0], stored)

    @pytest.mark.parametrize("bits", [10, 12, 14])
    def test_fewer_bits_there_and_back(self, bits: int) -> None:
        stored = np.arange(2**bits, dtype=np.uint16).reshape(32, -1)
        scaling = ScalingOptions(bits=bits).choose(stored.dtype, "vis")
        unit = to_unit(image(stored), scaling).image.pixels[0, ..., 0]
        np.testing.assert_array_equal(np.rint(unit * (2**bits - 1)), stored)

    @given(ANY_STORED, SCALINGS, st.booleans())
    def test_whatever_is_stored_the_unit_range_holds_it(
        self, stored: Stored, scaling: Scaling, is_inverted: bool
    ) -> None:
        source = image(stored)
        scaled = to_unit(source, replace(scaling, is_inverted=is_inverted))
        unit = scaled.image.pixels
        assert unit.dtype == np.float32
        assert unit.shape == source.pixels.shape
        assert unit.min() >= 0
        assert unit.max() <= 1
        assert scaled.image.stored_type == stored.dtype
        assert scaled.image.grid is source.grid
        holes = 0 if scaled.image.valid is None else int((~scaled.image.valid).sum())
        assert scaled.invalid == holes
        np.testing.assert_array_equal(source.pixels[0], stored)  # the source is left alone

    @given(ANY_STORED, SCALINGS)
    def test_brighter_stays_brighter(self, stored: Stored, scaling: Scaling) -> None:
        scaled = to_unit(image(stored), scaling)
        valid = np.ones(stored.shape[:2], bool) if scaled.image.valid is None else None
        valid = scaled.image.valid[0] if scaled.image.valid is not None else valid
        seen, unit = stored[valid].ravel(), scaled.image.pixels[0][valid].ravel()
        assert (np.diff(unit[np.argsort(seen, kind="stable")]) >= 0).all()

    @given(
        st.sampled_from((*INTEGERS, "float16", "float32", "float64")).flatmap(
            lambda kind: arrays(
                np.dtype(kind),
                SHAPES,
                elements=st.integers(-100, 100) if kind[0] != "u" else st.integers(0, 200),
            )
        ),
        st.sampled_from((MIN_MAX, DEFAULT, Scaling((5, 60), True), Scaling((-7.5, 90.25)))),
    )
    def test_numbers_are_those_of_numpy(self, stored: Stored, scaling: Scaling) -> None:
        exact = stored.astype(np.float64)
        low, high = scaling.limits
        if scaling.are_percentiles:
            low, high = np.percentile(exact, (low, high))
        assume(low < high)
        scaled = to_unit(image(stored), scaling)
        assert (scaled.low, scaled.high) == pytest.approx((low, high), rel=1e-5, abs=1e-4)
        expected = np.clip((exact - low) / (high - low), 0, 1)
        # Rounding of the limits counts as much as the span is small.
        np.testing.assert_allclose(
            scaled.image.pixels[0], expected, atol=1e-6 + 1e-4 / (high - low)
        )

    @given(
        arrays(np.int16, (4, 5), elements=st.integers(-50, 50)),
        st.integers(1, 1000),
        st.integers(-(10**6), 10**6),
        st.sampled_from((MIN_MAX, DEFAULT, Scaling((5, 60), True))),
    )
    def test_a_stretch_sees_neither_gain_nor_offset(
        self, stored: NDArray[np.int16], gain: int, offset: int, scaling: Scaling
    ) -> None:
        changed = stored.astype(np.float64) * gain + offset
        np.testing.assert_allclose(unit_row(changed, scaling), unit_row(stored, scaling), atol=1e-5)

    @given(ANY_STORED, SCALINGS)
    def test_inversion_is_the_complement(self, stored: Stored, scaling: Scaling) -> None:
        plain = to_unit(image(stored), scaling)
        assume(plain.low < plain.high)
        assume(plain.image.valid is None or plain.image.valid.any())
        inverted = to_unit(image(stored), replace(scaling, is_inverted=True))
        np.testing.assert_allclose(inverted.image.pixels, 1 - plain.image.pixels, atol=1e-6)
        assert (inverted.low, inverted.high) == (plain.low, plain.high)

    @given(arrays(np.uint8, SHAPES))
    def test_inverting_a_negative_gives_the_picture(self, stored: NDArray[np.uint8]) -> None:
        negative = to_unit(image(255 - stored), replace(EIGHT_BITS, is_inverted=True))
        plain = to_unit(image(stored), EIGHT_BITS)
        np.testing.assert_allclose(negative.image.pixels, plain.image.pixels, atol=1e-6)


class TestPrecision:
    """A small range on a large offset: nothing is lost on the way."""

    @pytest.mark.parametrize(
        ("kind", "offset"),
        [
            ("uint32", 4_294_967_000),
            ("int32", -2_147_483_648),
            ("int32", 2_147_483_000),
            ("float64", 1e12),
            ("float64", -1e12),
            ("float32", 16_000_000),
            ("uint16", 65_280),
            ("int16", -32_768),
            ("int8", -128),
        ],
    )
    @pytest.mark.parametrize("is_given", [False, True])
    def test_256_levels_stay_256_levels(self, kind: str, offset: float, is_given: bool) -> None:
        steps = np.arange(256).reshape(16, 16)
        stored = (steps + offset).astype(kind)
        scaling = Scaling((offset, offset + 255)) if is_given else MIN_MAX
        unit = to_unit(image(stored), scaling).image.pixels[0, ..., 0]
        np.testing.assert_array_equal(to_stored(unit), steps)

    def test_uint32_has_no_holes_near_its_end(self) -> None:
        stored = np.array([[2**32 - 1, 2**32 - 2, 0]], np.uint32)
        assert valid_pixels(image(stored)) is None
        valid = valid_pixels(image(stored, nodata=2**32 - 1))
        assert valid is not None
        assert valid.ravel().tolist() == [False, True, True]

    def test_percentiles_of_many_float32_are_those_of_float64(self) -> None:
        random = np.random.default_rng(0)
        stored = random.normal(29_315, 20, (300, 300)).astype(np.float32)
        expected = np.percentile(stored.astype(np.float64), DEFAULT_STRETCH)
        found = own_limits(image(stored), DEFAULT_STRETCH)
        assert found is not None
        assert found[0] == pytest.approx(expected, rel=1e-7)

    @pytest.mark.parametrize("kind", ["float32", "float64"])
    @pytest.mark.parametrize("scaling", [MIN_MAX, DEFAULT, Scaling((0, 1e-3)), Scaling((-1, 1))])
    def test_numbers_just_below_the_limit_do_not_overflow(
        self, kind: str, scaling: Scaling
    ) -> None:
        stored = np.array([[-2.9e38, 0, 1e-6, 2.9e38]], kind)
        unit = unit_row(stored, scaling)
        assert unit == sorted(unit)
        assert (unit[0], unit[-1]) == (0, 1)

    def test_a_hot_pixel_over_a_tiny_range_does_not_overflow(self) -> None:
        stored = np.linspace(0, 1e-9, 4096, dtype=np.float32).reshape(64, 64)
        stored[5, 5] = 1e30
        assert to_unit(image(stored), DEFAULT).image.pixels[0, 5, 5, 0] == 1

    def test_integers_at_both_ends(self) -> None:
        for kind in INTEGERS:
            ends = np.iinfo(kind)
            assert unit_row(np.array([[ends.min, ends.max]], kind), MIN_MAX) == [0, 1]
            full = ScalingOptions(stretch=None).choose(np.dtype(kind), "ir")
            assert unit_row(np.array([[ends.min, ends.max]], kind), full) == [0, 1]


class TestHoles:
    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            *((kind, value) for kind in FLOATS for value in (np.nan, np.inf, -np.inf)),
            ("float32", LOWEST_FLOAT32),
            ("float32", -LOWEST_FLOAT32),
            ("float32", -3.4e38),
            ("float64", 3.4e38),
            ("float64", LOWEST_FLOAT32),
            ("float64", LOWEST_FLOAT64),
            ("float64", -LOWEST_FLOAT64),
            ("float64", 1.79e308),
        ],
    )
    def test_what_no_sensor_measures_is_none(self, kind: str, value: float) -> None:
        stored = np.array([[1, value, 3, 2]], kind)
        scaled = to_unit(image(stored), MIN_MAX)
        assert scaled.invalid == 1
        assert (scaled.low, scaled.high) == (1, 3)
        assert scaled.image.valid is not None
        assert scaled.image.valid.ravel().tolist() == [True, False, True, True]
        assert scaled.image.pixels.ravel()[[0, 2, 3]].tolist() == [0, 1, 0.5]
        assert scaled.image.pixels.ravel()[1] in (0, 1)

    @pytest.mark.parametrize("value", [65504, -65504])
    def test_the_ends_of_float16_are_numbers(self, value: float) -> None:
        assert valid_pixels(image(np.array([[value, 0]], np.float16))) is None

    @pytest.mark.parametrize(
        ("kind", "declared", "value"),
        [
            ("uint8", 0, 0),
            ("uint8", 255, 255),
            ("uint16", 65535, 65535),
            ("uint32", 4294967295, 4294967295),
            ("int8", -128, -128),
            ("int16", -32768, -32768),
            ("int16", -9999, -9999),
            ("int32", -2147483648, -2147483648),
            ("float32", -9999, -9999),
            ("float32", 0, 0),
            ("float32", 0.1, 0.1),  # as near as float32 comes to it
            ("float32", LOWEST_FLOAT32, LOWEST_FLOAT32),
            ("float32", -3.40282346638529e38, LOWEST_FLOAT32),  # as GDAL writes it
            ("float64", 0.1, 0.1),
            ("float64", 1e20, 1e20),
            ("float64", LOWEST_FLOAT64, LOWEST_FLOAT64),
            ("float16", -9999, -9999),  # -10000 in float16
            ("float16", 0.1, 0.1),
        ],
    )
    def test_declared_nodata(self, kind: str, declared: float, value: float) -> None:
        stored = np.array([[value, 7, 9]], kind)
        valid = valid_pixels(image(stored, declared))
        assert valid is not None
        assert valid.ravel().tolist() == [False, True, True]

    @pytest.mark.parametrize("declared", [-1, -9999, 256, 300.5, 0.5, 1e39, np.nan, np.inf])
    def test_nodata_that_the_type_cannot_hold_marks_nothing(self, declared: float) -> None:
        stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
        assert valid_pixels(image(stored, declared)) is None

    @pytest.mark.parametrize("declared", [np.nan, np.inf, 1e300, LOWEST_FLOAT64, -1])
    def test_nodata_that_nothing_equals(self, declared: float) -> None:
        for kind in FLOATS:
            stored = np.array([[0, 1, 65504]], kind)
            assert valid_pixels(image(stored, declared)) is None

    def test_nan_as_nodata_is_what_nan_is_anyway(self) -> None:
        valid = valid_pixels(image(np.array([[np.nan, 0]], np.float32), np.nan))
        assert valid is not None
        assert valid.ravel().tolist() == [False, True]

    def test_nodata_of_a_colour_picture_is_all_three_channels(self) -> None:
        stored = np.array([[[0, 0, 0], [0, 0, 9], [9, 9, 9]]], np.uint8)
        valid = valid_pixels(image(stored, 0))
        assert valid is not None
        assert valid.ravel().tolist() == [False, True, True]

    def test_one_channel_that_is_no_number_makes_a_hole(self) -> None:
        stored = np.ones((1, 2, 3), np.float32)
        stored[0, 1, 2] = np.nan
        valid = valid_pixels(image(stored))
        assert valid is not None
        assert valid.ravel().tolist() == [True, False]

    @given(arrays(np.uint8, SHAPES), arrays(bool, (8, 8)), st.integers(0, 255))
    def test_holes_are_exactly_the_marked_pixels(
        self, stored: NDArray[np.uint8], mask: Mask, nodata: int
    ) -> None:
        valid = mask[: stored.shape[0], : stored.shape[1]]
        found = valid_pixels(image(mark_nodata(stored, valid, nodata), nodata))
        np.testing.assert_array_equal(np.True_ if found is None else found[0], valid)

    @given(
        arrays(np.float32, (6, 7), elements=st.floats(0, 100, width=32)),
        arrays(bool, (6, 7)),
        st.booleans(),
    )
    def test_a_hole_takes_the_value_of_its_nearest_pixel(
        self, stored: NDArray[np.float32], valid: Mask, is_inverted: bool
    ) -> None:
        assume(valid.any())
        holed = np.where(valid, stored, np.float32(np.nan))
        scaling = Scaling((-1, 101), is_inverted=is_inverted)
        unit = to_unit(image(holed), scaling).image.pixels[0, ..., 0]
        whole = to_unit(image(stored), scaling).image.pixels[0, ..., 0]
        np.testing.assert_array_equal(unit[valid], whole[valid])
        places = np.argwhere(valid)
        for place in np.argwhere(~valid):
            distances = ((places - place) ** 2).sum(axis=1)
            nearest = places[distances == distances.min()]
            assert unit[tuple(place)] in whole[nearest[:, 0], nearest[:, 1]]

    def test_colours_are_filled_from_one_pixel(self) -> None:
        stored = np.full((1, 3, 3), np.nan, np.float32)
        stored[0, 0] = 10, 20, 30
        unit = to_unit(image(stored), Scaling((0, 40))).image.pixels
        np.testing.assert_array_equal(unit[0, 0], np.tile([0.25, 0.5, 0.75], (3, 1)))

    @pytest.mark.parametrize("is_inverted", [False, True])
    def test_slices_are_filled_from_themselves(self, is_inverted: bool) -> None:
        stored = np.full((2, 1, 3, 1), np.nan, np.float32)
        stored[0, 0, :2, 0] = 1, 3
        source = Image(stored, Grid((2, 1, 3)), stored.dtype)
        unit = to_unit(source, replace(MIN_MAX, is_inverted=is_inverted)).image.pixels
        assert unit[0].ravel().tolist() == ([1, 0, 0] if is_inverted else [0, 1, 1])
        assert unit[1].ravel().tolist() == [0, 0, 0]

    def test_holes_do_not_count_as_numbers(self) -> None:
        stored = np.array([[-9999, 10, 20, 30]], np.int16)
        scaled = to_unit(image(stored, -9999), MIN_MAX)
        assert (scaled.low, scaled.high, scaled.invalid) == (10, 30, 1)
        assert own_limits(image(stored, -9999), (0, 50)) == ((10, 20), (10, 30))
        assert own_limits(image(stored), (0, 100)) == ((-9999, 30), (-9999, 30))

    def test_transparent_pixels_do_not_count_either(self) -> None:
        stored = np.array([[7, 10, 20, 30]], np.uint16)
        alpha = np.array([[[0, 0.1, 1, 1]]], np.float32)
        scaled = to_unit(replace(image(stored), alpha=alpha), MIN_MAX)
        assert (scaled.low, scaled.high, scaled.invalid) == (10, 30, 0)
        clear = replace(image(stored), alpha=np.zeros_like(alpha))
        assert own_limits(clear, (0, 100)) == ((7, 30), (7, 30))

    @pytest.mark.parametrize(
        ("side", "text"),
        [
            (2, "1 pixel (25.0 %) is NaN, infinite or nodata: filled from the neighbours"),
            (
                50,
                "1 pixel (under 0.1 %) is NaN, infinite or nodata: filled from the neighbours",
            ),
        ],
    )
    def test_they_are_counted_and_said(self, side: int, text: str) -> None:
        stored = np.zeros((side, side), np.float32)
        stored[0, 0] = np.nan
        assert to_unit(image(stored), Scaling((0, 1))).notices == (text,)

    def test_what_else_an_image_holds_is_kept(self) -> None:
        alpha = np.full((1, 2, 3), 0.5, np.float32)
        source = replace(image(np.zeros((2, 3), np.uint8), 7), alpha=alpha, color_profile=b"icc")
        unit = to_unit(source, EIGHT_BITS).image
        assert unit.alpha is alpha
        assert unit.grid is source.grid
        assert unit.valid is None
        assert unit.stored_type == np.uint8
        assert (unit.nodata, unit.color_profile) == (7, b"icc")


class TestHardlyAnything:
    """No data, one value, one pixel that differs: black or a picture, and a word about it."""

    @pytest.mark.parametrize("scaling", [DEFAULT, EIGHT_BITS, replace(MIN_MAX, is_inverted=True)])
    @pytest.mark.parametrize("kind", FLOATS)
    def test_no_data_at_all_is_black(self, kind: str, scaling: Scaling) -> None:
        scaled = to_unit(image(np.full((3, 4, 3), np.nan, kind)), scaling)
        assert scaled.image.pixels.dtype == np.float32
        assert not scaled.image.pixels.any()
        assert scaled.invalid == 12
        assert scaled.image.valid is not None
        assert not scaled.image.valid.any()
        assert scaled.notices == ("no pixel holds data: it is taken as black",)
        assert own_limits(image(np.full((3, 4), np.nan, kind)), DEFAULT_STRETCH) is None

    def test_nothing_but_nodata_is_black(self) -> None:
        scaled = to_unit(image(np.full((2, 2), -9999, np.int16), -9999), DEFAULT)
        assert not scaled.image.pixels.any()
        assert scaled.invalid == 4

    @pytest.mark.parametrize("is_inverted", [False, True])
    @pytest.mark.parametrize("scaling", [DEFAULT, MIN_MAX])
    @pytest.mark.parametrize("kind", [*INTEGERS, *FLOATS])
    def test_one_value_is_black(self, kind: str, scaling: Scaling, is_inverted: bool) -> None:
        scaling = replace(scaling, is_inverted=is_inverted)
        scaled = to_unit(image(np.full((3, 4), 42, kind)), scaling)
        assert not scaled.image.pixels.any()
        assert (scaled.low, scaled.high) == (42, 42)
        assert scaled.notices == ("all pixels are equal (42): it is taken as black",)

    def test_one_value_on_a_fixed_range_is_what_it_is(self) -> None:
        scaled = to_unit(image(np.full((2, 2), 51, np.uint8)), EIGHT_BITS)
        assert scaled.image.pixels.ravel().tolist() == pytest.approx([0.2] * 4)
        assert scaled.notices == ()

    @pytest.mark.parametrize("is_inverted", [False, True])
    def test_one_pixel_with_data(self, is_inverted: bool) -> None:
        stored = np.full((3, 3), np.nan, np.float32)
        stored[1, 1] = 300
        scaled = to_unit(image(stored), replace(DEFAULT, is_inverted=is_inverted))
        assert not scaled.image.pixels.any()
        assert scaled.invalid == 8
        assert len(scaled.notices) == 2
        assert own_limits(image(stored), DEFAULT_STRETCH) == ((300, 300), (300, 300))

    @pytest.mark.parametrize("kind", [*INTEGERS, *FLOATS])
    @pytest.mark.parametrize(("most", "other", "bright"), [(5, 9, 1), (9, 5, 0)])
    def test_one_pixel_that_differs_is_not_lost(
        self, kind: str, most: int, other: int, bright: float
    ) -> None:
        stored = np.full((50, 50), most, kind)
        stored[3, 4] = other
        scaled = to_unit(image(stored), DEFAULT)
        expected = np.full((50, 50), 1 - bright)
        expected[3, 4] = bright
        np.testing.assert_array_equal(scaled.image.pixels[0, ..., 0], expected)
        assert (scaled.low, scaled.high) == (5, 9)
        (notice,) = scaled.notices
        assert notice.startswith("almost all pixels are equal")

    def test_one_pixel_picture(self) -> None:
        assert unit_row(np.array([[7]], np.uint16), DEFAULT) == [0]
        assert unit_row(np.array([[65535]], np.uint16), SIXTEEN_BITS) == [1]

    def test_a_range_that_nothing_lies_in(self) -> None:
        assert unit_row(np.array([[1, 2, 9]], np.uint16), Scaling((3, 4))) == [0, 0, 1]


class TestMark:
    @given(
        st.sampled_from(("uint8", "uint16")).flatmap(
            lambda kind: st.tuples(
                arrays(np.dtype(kind), SHAPES), st.integers(0, int(np.iinfo(kind).max))
            )
        ),
        arrays(bool, (8, 8)) | st.none(),
    )
    def test_exactly_the_pixels_without_data_carry_it(
        self, picture: tuple[Stored, int], mask: Mask | None
    ) -> None:
        stored, nodata = picture
        before = stored.copy()
        valid = None if mask is None else mask[: stored.shape[0], : stored.shape[1]]
        marked = mark_nodata(stored, valid, nodata)
        assert marked.dtype == stored.dtype
        np.testing.assert_array_equal(stored, before)
        seen = np.ones(stored.shape[:2], bool) if valid is None else valid
        np.testing.assert_array_equal(marked[~seen], nodata)
        assert not (marked[seen] == nodata).any()  # in no channel: many programs ask each
        moved = np.abs(marked[seen].astype(int) - stored[seen])
        np.testing.assert_array_equal(moved, stored[seen] == nodata)

    @given(
        arrays(np.float32, SHAPES, elements=st.floats(0, 1, width=32)),
        arrays(bool, (8, 8)),
        st.sampled_from((np.nan, -9999.0, LOWEST_FLOAT32)),
    )
    def test_floats_outside_the_unit_range_need_no_room(
        self, stored: NDArray[np.float32], mask: Mask, nodata: float
    ) -> None:
        valid = mask[: stored.shape[0], : stored.shape[1]]
        marked = mark_nodata(stored, valid, nodata)
        np.testing.assert_array_equal(marked[valid], stored[valid])
        np.testing.assert_array_equal(marked[~valid], np.float32(nodata))


class TestStored:
    @given(UNIT, st.sampled_from((np.uint8, np.uint16)))
    def test_integers_are_clipped_and_nearest(
        self, unit: NDArray[np.float32], kind: type[np.unsignedinteger[Any]]
    ) -> None:
        stored, white = to_stored(unit, kind), int(np.iinfo(kind).max)
        assert stored.dtype == kind
        assert stored.shape == unit.shape
        exact = np.clip(unit.astype(np.float64), 0, 1) * white
        assert np.abs(stored - exact).max() <= 0.5 + 2e-7 * white

    @given(UNIT)
    def test_floats_are_clipped_and_nothing_else(self, unit: NDArray[np.float32]) -> None:
        stored = to_stored(unit, np.float32)
        assert stored.dtype == np.float32
        np.testing.assert_array_equal(stored, np.clip(unit, 0, 1))

    @pytest.mark.parametrize(
        ("kind", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)]
    )
    def test_black_and_white_are_exact(self, kind: type[np.generic], white: int) -> None:
        ends = np.array([-1, 0, 1, 2], np.float32)
        assert to_stored(ends, kind).tolist() == [0, 0, white, white]

    def test_halves_go_to_the_even_neighbour(self) -> None:
        halves = np.array([0.5, 1.5, 2.5, 127.5], np.float32) / np.float32(255)
        assert to_stored(halves).tolist() == [0, 2, 2, 128]

    @pytest.mark.parametrize("kind", [np.int8, np.int16, np.uint32, np.float16, np.float64, bool])
    def test_other_types_are_refused(self, kind: type[Any]) -> None:
        with pytest.raises(ValueError, match=f"not {np.dtype(kind).name}$"):
            to_stored(np.zeros((2, 2), np.float32), kind)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_what_is_no_number_is_refused(self, value: float) -> None:
        broken = np.array([[0.5, value]], np.float32)
        for kind in (np.uint8, np.uint16, np.float32):
            with pytest.raises(ImageError, match="NaN or infinity"):
                to_stored(broken, kind)
        with pytest.raises(ImageError, match="NaN or infinity"):
            preview(broken)


def test_preview_scale() -> None:
    values = np.array([-9, -1, -0.5, 0, 0.5, 1, 9], np.float32) * PREVIEW_RANGE
    assert preview(values).tolist() == [0, 0, 64, 128, 191, 255, 255]
    assert preview(values).dtype == np.uint8


@given(UNIT)
def test_preview_keeps_the_order(part: NDArray[np.float32]) -> None:
    order = np.argsort(part, axis=None)
    assert (np.diff(preview(part).ravel()[order].astype(int)) >= 0).all()
