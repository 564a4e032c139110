"""Laws of what is done to stored numbers before they are scaled."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from fnetcli.imaging.corrections import correct
from fnetcli.imaging.dead import find_dead, repair
from fnetcli.imaging.image import Grid, Image
from fnetcli.imaging.intensity import Corrections, valid_pixels
from fnetcli.imaging.nodata import find_marks, find_telemetry
from fnetcli.imaging.palettes import PALETTES, find_palette, undo
from fnetcli.imaging.ranges import find_emptiness, stray_ranges
from tests.drawn_pictures import smooth_noise

KINDS = ("uint16", "int16", "uint32", "int32", "float16", "float32", "float64")
SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)
ANY = st.sampled_from(KINDS).flatmap(lambda kind: arrays(np.dtype(kind), SHAPES))
SEED = st.integers(0, 10_000)


def image(stored: NDArray[Any]) -> Image:
    planes = stored[..., None] if stored.ndim == 2 else stored
    return Image(planes[None], Grid((1, *planes.shape[:2])), planes.dtype)


def scene(seed: int, height: int = 40, width: int = 48) -> NDArray[np.int32]:
    counts: NDArray[np.int32] = 7000 + 4 * smooth_noise(height, width, seed).astype(np.int32)
    return counts


class TestMarks:
    @given(ANY)
    def test_a_mark_is_one_number_beyond_all_others(self, stored: NDArray[Any]) -> None:
        pixels = np.nan_to_num(stored, nan=0, posinf=9, neginf=-9)[..., None]
        seen = np.ones(stored.shape, bool)
        for mark in find_marks(pixels, seen):
            inside = pixels[mark.pixels]
            assert (inside == mark.value).all()
            assert seen[mark.pixels].all()
            seen &= ~mark.pixels
            assert mark.value < pixels[seen].min() or mark.value > pixels[seen].max()
            assert (mark.low, mark.high) == (pixels[seen].min(), pixels[seen].max())

    @given(SEED, st.sampled_from((0, -9999, 65_535)), st.integers(0, 3), st.booleans())
    def test_whichever_way_up(self, seed: int, value: int, turns: int, flips: bool) -> None:
        pixels = scene(seed)
        pixels[np.random.default_rng(seed).random(pixels.shape) < 0.03] = value
        turned = np.rot90(pixels, turns)[:, :: -1 if flips else 1]
        expected = pixels == value
        (mark,) = find_marks(turned[..., None], np.ones(turned.shape, bool))
        assert mark.value == value
        back = np.rot90(mark.pixels[:, :: -1 if flips else 1], -turns)
        np.testing.assert_array_equal(back, expected)

    @given(SEED)
    def test_a_scene_has_none(self, seed: int) -> None:
        pixels = scene(seed)[..., None]
        everything = np.ones(pixels.shape[:2], bool)
        assert list(find_marks(pixels, everything)) == []
        assert find_telemetry(pixels, everything) is None

    @pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2), (3, 3)])
    def test_small_pictures(self, shape: tuple[int, int]) -> None:
        pixels = np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(*shape, 1)
        everything = np.ones(shape, bool)
        assert list(find_marks(pixels, everything)) == []
        assert find_telemetry(pixels, everything) is None

    def test_colours_have_marks_where_all_channels_hold_them(self) -> None:
        pixels = np.stack([scene(1), scene(2), scene(3)], axis=-1)
        pixels[5:9, 7] = 0
        pixels[20, 20:30, 1] = 0  # one channel alone is a colour
        marks = list(find_marks(pixels, np.ones(pixels.shape[:2], bool)))
        assert marks == []
        pixels[20, 20:30, 1] = 7100
        (mark,) = find_marks(pixels, np.ones(pixels.shape[:2], bool))
        assert np.count_nonzero(mark.pixels) == 4

    def test_low_numbers_only_where_they_are_asked_for(self) -> None:
        pixels = scene(1)[..., None]
        dead = np.random.default_rng(0).random(pixels.shape[:2]) < 0.02
        pixels[dead] = 0
        assert list(find_marks(pixels, ~dead | dead, only_high=True)) == []


class TestCorrect:
    @given(ANY, st.sampled_from(("vis", "ir", "nir", "mri")), st.booleans())
    def test_what_is_kept_keeps_its_numbers(
        self, stored: NDArray[Any], modality: str, repairs: bool
    ) -> None:
        before = image(stored)
        done = correct(before, modality, Corrections(repairs_dead=repairs))
        after = done.image
        assert after.pixels.dtype == stored.dtype
        changed = (after.pixels != before.pixels) & ~np.isnan(before.pixels)
        assert np.count_nonzero(changed) <= done.facts.get("repaired", 0)
        valid = valid_pixels(before)
        if valid is not None and not repairs:
            assert after.valid is None or not (after.valid & ~valid).any()

    @given(arrays(np.uint8, SHAPES))
    def test_8_bits_stay_as_they_are(self, stored: NDArray[np.uint8]) -> None:
        before = image(stored)
        assert correct(before, "ir", Corrections()).image is before

    def test_no_number_at_all(self) -> None:
        before = image(np.full((9, 9), np.nan, np.float32))
        for wanted in (Corrections(), Corrections(repairs_dead=True), Corrections(nodata=(3.0,))):
            assert np.isnan(correct(before, "ir", wanted).image.pixels).all()


class TestDead:
    @given(SEED, st.sampled_from(KINDS))
    def test_planted_ones_are_found_and_nothing_else_moves(self, seed: int, kind: str) -> None:
        random = np.random.default_rng(seed)
        clean = scene(seed).astype(kind)
        pixels = clean.copy()
        places = [(5, 5), (5, 20), (20, 7), (33, 40), (0, 0), (39, 47)]
        for place in places:
            step = int(random.choice((-1, 1)) * random.integers(2500, 6000))
            pixels[place] = int(pixels[place]) + step
        everything = np.ones(pixels.shape, bool)
        dead = find_dead(pixels[..., None], everything)
        assert all(dead[place] for place in places)
        done = repair(pixels[..., None], dead, everything)
        np.testing.assert_array_equal(done.where, dead)
        np.testing.assert_array_equal(done.pixels[~dead, 0], pixels[~dead])
        difference = done.pixels[..., 0].astype(float) - clean
        assert np.abs(difference).max() < 300

    @given(SEED)
    def test_a_scene_has_none(self, seed: int) -> None:
        pixels = scene(seed)[..., None]
        assert not find_dead(pixels, np.ones(pixels.shape[:2], bool)).any()

    def test_edges_lines_and_points_of_a_lens_stay(self) -> None:
        pixels = np.full((40, 48), 7000, np.uint16)
        pixels[:, 24:] = 9000
        pixels[10] = 12_000  # a wire
        pixels[20:23, 5:8] = [[8000, 9000, 8000], [9000, 12_000, 9000], [8000, 9000, 8000]]
        assert not find_dead(pixels[..., None], np.ones(pixels.shape, bool)).any()

    def test_where_all_around_is_lost_a_pixel_stays(self) -> None:
        pixels = np.full((9, 9, 1), 5, np.int32)
        seen = np.zeros((9, 9), bool)
        seen[4, 4] = True
        done = repair(pixels, seen.copy(), seen)
        assert not done.where.any()
        np.testing.assert_array_equal(done.pixels, pixels)


class TestPalettes:
    @pytest.mark.parametrize("name", [name for name, kinds in PALETTES.items() if name in kinds])
    def test_every_level_comes_back(self, name: str) -> None:
        levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
        rgb = np.rint(255 * mpl.colormaps[name](levels)[..., :3]).astype(np.uint8)
        fit = find_palette(rgb)
        assert fit.name == name
        grey, measured = undo(rgb, fit)
        assert measured.distance < 1
        assert measured.drawn_over == 0
        assert np.abs(grey[..., 0].astype(int) - levels).max() <= 3

    @given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
    def test_any_colours_have_a_place(self, rgb: NDArray[np.uint8]) -> None:
        fit = find_palette(rgb)
        grey, measured = undo(rgb, fit)
        assert grey.shape == (*rgb.shape[:2], 1)
        assert measured.name == fit.name
        assert 0 <= measured.distance <= 442


class TestRanges:
    @given(SEED, st.floats(0.01, 100), st.floats(-1000, 1000), st.floats(1, 50))
    def test_emptiness_knows_no_unit(
        self, seed: int, step: float, zero: float, width: float
    ) -> None:
        values = np.random.default_rng(seed).normal(0, 1, (2000, 1))
        plain = find_emptiness(values, (-width, width))
        other = find_emptiness(values * step + zero, (zero - width * step, zero + width * step))
        assert (plain is None) == (other is None)
        if plain is not None and other is not None:
            assert other.of_range == pytest.approx(plain.of_range, abs=0.02)
            expected = [number * step + zero for number in plain.bulk]
            assert other.bulk == pytest.approx(expected, abs=0.01 * step)

    @pytest.mark.parametrize(
        ("limits", "is_empty"), [((-3, 3), False), ((-10, 10), False), ((-60, 60), True)]
    )
    def test_how_much_is_too_much(self, limits: tuple[float, float], is_empty: bool) -> None:
        values = np.random.default_rng(0).normal(0, 1, (5000, 1))
        assert (find_emptiness(values, limits) is not None) == is_empty

    @given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 100)), max_size=9), st.randoms())
    def test_strays_in_any_order(self, starts: list[tuple[float, float]], random: Any) -> None:
        ranges = [(low, low + width) for low, width in starts]
        strays = {ranges[i] for i in stray_ranges(ranges)}
        shuffled = [*ranges]
        random.shuffle(shuffled)
        assert {shuffled[i] for i in stray_ranges(shuffled)} == strays
        assert len(stray_ranges(ranges)) <= len(ranges) / 2
