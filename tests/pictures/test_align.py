"""Resizing: what is kept is untouched, averages stay, nothing is stretched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from fnetcli.errors import PairError
from fnetcli.imaging.image import Grid, Image, Mask
from fnetcli.imaging.intensity import Scaled, Scaling, scale
from fnetcli.pictures.align import onto_one_grid, resize

NAMES = ("ir", "vis")
SIDES = st.integers(1, 12)


def image(height: int, width: int, channels: int = 1, seed: int = 0) -> Image:
    pixels = np.random.default_rng(seed).uniform(0, 1, (1, height, width, channels))
    return Image(pixels.astype(np.float32), Grid((1, height, width)))


def masked(valid: Mask) -> Image:
    return replace(image(*valid.shape), valid=valid[None])


def scaled(height: int, width: int, channels: int = 1) -> Scaled:
    return Scaled(replace(image(height, width, channels), is_unit=True), 0, 1, 0)


def resized_mask(valid: Mask, height: int, width: int) -> Mask:
    mask = resize(masked(valid), Grid((1, height, width))).valid
    assert mask is not None
    assert mask.dtype == bool
    assert mask.shape == (1, height, width)
    found: Mask = mask[0]
    return found


def block_means(pixels: NDArray[np.float32], by: int) -> NDArray[np.float32]:
    _, height, width, channels = pixels.shape
    blocks = pixels.reshape(1, height // by, by, width // by, by, channels)
    means: NDArray[np.float32] = blocks.mean(axis=(2, 4))
    return means


class TestOneGrid:
    def test_equal_sizes_are_returned_as_they_are(self) -> None:
        first, second = scaled(5, 7), scaled(5, 7, 3)
        assert onto_one_grid(first, second, NAMES, None) == (first, second)
        kept = onto_one_grid(first, second, NAMES, "ir")
        assert kept[0] is first
        assert kept[1] is second

    def test_the_named_size_is_kept(self) -> None:
        first, second = scaled(10, 20), scaled(20, 40, 3)
        with pytest.raises(
            PairError, match=r"ir is 20x10, vis is 40x20.*--resize ir or --resize vis"
        ):
            onto_one_grid(first, second, NAMES, None)
        kept_first = onto_one_grid(first, second, NAMES, "ir")
        assert kept_first[0] is first
        assert kept_first[1].image.pixels.shape == (1, 10, 20, 3)
        assert kept_first[1].image.grid is first.image.grid
        kept_second = onto_one_grid(first, second, NAMES, "vis")
        assert kept_second[1] is second
        assert kept_second[0].image.pixels.shape == (1, 20, 40, 1)

    @pytest.mark.parametrize("kept", NAMES)
    def test_two_percent_of_aspect_ratio_is_the_limit(self, kept: str) -> None:
        onto_one_grid(scaled(100, 100), scaled(200, 203), NAMES, kept)
        onto_one_grid(scaled(100, 100), scaled(203, 200), NAMES, kept)
        for shape in ((200, 206), (206, 200)):
            with pytest.raises(PairError, match="more than 2 %"):
                onto_one_grid(scaled(100, 100), scaled(*shape), NAMES, kept)

    def test_a_turned_picture_shows_something_else(self) -> None:
        with pytest.raises(PairError, match="crop or register"):
            onto_one_grid(scaled(10, 20), scaled(20, 10), NAMES, "vis")


class TestPixels:
    def test_shrinking_averages_areas(self) -> None:
        big = image(12, 20, 3)
        small = resize(big, Grid((1, 3, 5)))
        np.testing.assert_allclose(small.pixels, block_means(big.pixels, 4), rtol=1e-5)

    def test_growing_keeps_range_and_smooth_content(self) -> None:
        rows = np.linspace(0, 1, 16, dtype=np.float32)
        ramp = Image(np.tile(rows[None, :, None, None], (1, 1, 16, 1)), Grid((1, 16, 16)))
        grown = resize(ramp, Grid((1, 64, 64)))
        assert grown.pixels.shape == (1, 64, 64, 1)
        middle = grown.pixels[0, 8:-8, 32, 0]
        expected = np.interp(np.arange(8, 56), np.arange(16) * 4 + 1.5, rows)
        np.testing.assert_allclose(middle, expected, atol=0.002)

    @given(SIDES, SIDES, SIDES, SIDES, st.sampled_from((1, 3)))
    def test_nothing_is_darker_or_brighter_than_before(
        self, height: int, width: int, new_height: int, new_width: int, channels: int
    ) -> None:
        before = image(height, width, channels)
        after = resize(before, Grid((1, new_height, new_width))).pixels
        assert after.dtype == np.float32
        assert after.shape == (1, new_height, new_width, channels)
        assert after.min() >= before.pixels.min()
        assert after.max() <= before.pixels.max()

    @given(SIDES, SIDES, SIDES, SIDES, st.floats(0, 1, width=32))
    def test_what_is_constant_stays(
        self, height: int, width: int, new_height: int, new_width: int, value: float
    ) -> None:
        pixels = np.full((1, height, width, 1), value, np.float32)
        after = resize(Image(pixels, Grid((1, height, width))), Grid((1, new_height, new_width)))
        np.testing.assert_array_equal(after.pixels, np.float32(value))

    @given(SIDES, SIDES)
    def test_its_own_size_changes_nothing(self, height: int, width: int) -> None:
        before = image(height, width, 3)
        np.testing.assert_array_equal(resize(before, before.grid).pixels, before.pixels)

    @given(SIDES, SIDES, SIDES, SIDES)
    def test_mirrored_and_resized_is_resized_and_mirrored(
        self, height: int, width: int, new_height: int, new_width: int
    ) -> None:
        before = image(height, width)
        grid = Grid((1, new_height, new_width))
        mirrored = replace(before, pixels=before.pixels[:, ::-1, ::-1])
        np.testing.assert_allclose(
            resize(mirrored, grid).pixels[:, ::-1, ::-1], resize(before, grid).pixels, atol=1e-6
        )

    def test_slices_do_not_mix(self) -> None:
        first, second = image(8, 8, seed=1), image(8, 8, seed=2)
        both = Image(np.concatenate([first.pixels, second.pixels]), Grid((2, 8, 8)))
        grid = Grid((2, 4, 4))
        expected = [resize(one, grid).pixels[0] for one in (first, second)]
        np.testing.assert_array_equal(resize(both, grid).pixels, expected)


class TestAlpha:
    def test_it_is_resized_too(self) -> None:
        random = np.random.default_rng(0)
        alpha = random.uniform(0, 1, (1, 8, 8)).astype(np.float32)
        resized = resize(replace(image(8, 8), alpha=alpha), Grid((1, 4, 4)))
        assert resized.alpha is not None
        expected = block_means(alpha[..., None], 2)[..., 0]
        np.testing.assert_allclose(resized.alpha, expected, rtol=1e-5)

    @given(arrays(bool, (6, 6)), SIDES, SIDES)
    def test_it_stays_between_0_and_1(self, opaque: Mask, height: int, width: int) -> None:
        alpha = opaque[None].astype(np.float32)
        resized = resize(replace(image(6, 6), alpha=alpha), Grid((1, height, width)))
        assert resized.alpha is not None
        assert resized.alpha.min() >= 0
        assert resized.alpha.max() <= 1

    def test_opaque_stays_opaque(self) -> None:
        resized = resize(image(8, 8), Grid((1, 4, 4)))
        assert resized.alpha is None
        assert resized.valid is None


class TestValid:
    @given(arrays(bool, (8, 12)))
    def test_shrinking_keeps_what_is_mostly_valid(self, valid: Mask) -> None:
        shares = block_means(valid[None, ..., None].astype(np.float32), 4)[0, ..., 0]
        found = resized_mask(valid, 2, 3)
        np.testing.assert_array_equal(found[shares > 0.51], True)
        np.testing.assert_array_equal(found[shares < 0.49], False)

    @pytest.mark.parametrize(("height", "width"), [(8, 8), (12, 12), (16, 16), (3, 3), (24, 5)])
    def test_a_valid_half_stays_a_half(self, height: int, width: int) -> None:
        valid = np.zeros((8, 8), bool)
        valid[:4] = True
        found = resized_mask(valid, height, width)
        np.testing.assert_array_equal(found[: height // 2], True)
        np.testing.assert_array_equal(found[-(height // 2) :], False)

    @given(SIDES, SIDES, SIDES, SIDES, st.booleans())
    def test_all_and_nothing_stay(
        self, height: int, width: int, new_height: int, new_width: int, is_valid: bool
    ) -> None:
        found = resized_mask(np.full((height, width), is_valid), new_height, new_width)
        np.testing.assert_array_equal(found, is_valid)

    @given(arrays(bool, (5, 7)))
    def test_its_own_size_changes_nothing(self, valid: Mask) -> None:
        np.testing.assert_array_equal(resized_mask(valid, 5, 7), valid)

    def test_holes_of_the_file_arrive_on_the_other_grid(self) -> None:
        stored = np.full((8, 8), 100, np.int16)
        stored[:4, :4] = -9999
        source = Image(stored[None, ..., None], Grid((1, 8, 8)), stored.dtype, nodata=-9999)
        kept = onto_one_grid(scaled(4, 4), scale(source, Scaling((0, 200))), NAMES, "ir")[1].image
        assert kept.valid is not None
        expected = np.ones((4, 4), bool)
        expected[:2, :2] = False
        np.testing.assert_array_equal(kept.valid[0], expected)
        np.testing.assert_allclose(kept.pixels, 0.5)  # filled, not mixed with -9999
