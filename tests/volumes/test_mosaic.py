"""A mosaic shows every part of a volume, upright and in its true proportions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fnetcli.errors import ImageError
from fnetcli.formats import read_image
from fnetcli.imaging.image import Grid
from fnetcli.volumes.mosaic import GAP, LONGEST_SIDE, mosaic, spread, write_mosaic

RAS = np.eye(4)[:, [2, 1, 0, 3]]  # slices to superior, rows to anterior, columns to the right


def millimetres(grid: Grid) -> NDArray[np.float64]:
    assert grid.affine is not None
    return np.asarray(np.moveaxis(np.indices(grid.shape), 0, -1) @ grid.affine[:3, :3].T)


class TestOrientation:
    @pytest.mark.parametrize("flips", [(1, 1, 1), (1, -1, 1), (-1, 1, -1)])
    @pytest.mark.parametrize(
        ("plane", "order", "across", "down"),
        [
            ("axial", (2, 1, 0), -0, -1),
            ("coronal", (1, 2, 0), -0, -2),
            ("sagittal", (0, 2, 1), -1, -2),
        ],
    )
    def test_patients_left_is_right_and_front_or_head_is_above(
        self,
        plane: str,
        order: tuple[int, int, int],
        across: int,
        down: int,
        flips: tuple[int, int, int],
    ) -> None:
        affine = np.eye(4)
        affine[:3, :3] = np.eye(3)[:, order] * flips
        grid = Grid((1, 16, 16), affine)
        places = millimetres(grid)
        for axis, direction in ((abs(across), 1), (abs(down), 0)):
            ramp = places[..., axis] - places[..., axis].min()
            shown = mosaic((ramp / 15)[..., None].astype(np.float32), grid)[..., 0].astype(int)
            steps = np.diff(shown, axis=direction)  # brighter is right, anterior, superior
            assert (steps < 0).all(), plane
            assert not np.diff(shown, axis=1 - direction).any()

    def test_without_a_place_as_it_is(self) -> None:
        picture = np.arange(12, dtype=np.uint8).reshape(1, 3, 4, 1)
        np.testing.assert_array_equal(mosaic(picture, Grid((1, 3, 4))), picture[0])


class TestShape:
    @pytest.mark.parametrize(
        ("steps", "size"),
        [
            ((3, 1, 1), (40, 30)),
            ((1, 2, 1), (80, 30)),
            ((1, 1, 2.5), (40, 75)),
            ((1, 9, 1), (256, 24)),
        ],
    )
    def test_true_proportions(
        self, steps: tuple[float, float, float], size: tuple[int, int]
    ) -> None:
        grid = Grid((1, 40, 30), RAS @ np.eye(4))
        assert grid.affine is not None
        grid = Grid(grid.shape, grid.affine * np.array([*steps, 1]))
        assert mosaic(np.zeros((1, 40, 30, 1), np.uint8), grid).shape == (*size, 1)

    def test_large_slices_are_made_smaller_and_small_ones_stay(self) -> None:
        grid = Grid((1, 1024, 512), RAS)
        assert mosaic(np.zeros((1, 1024, 512, 1), np.uint8), grid).shape == (LONGEST_SIDE, 128, 1)

    def test_tiles_lie_in_rows(self) -> None:
        values = np.arange(1, 41, dtype=np.uint8).reshape(40, 1, 1, 1) * np.ones(
            (1, 10, 12, 3), np.uint8
        )
        shown = mosaic(values, Grid((40, 10, 12), RAS), most=6)
        assert shown.shape == (2 * 10 + GAP, 3 * 12 + 2 * GAP, 3)
        middles = shown[5::12, 6::14]
        np.testing.assert_array_equal(middles[..., 0], [[4, 11, 17], [24, 31, 37]])
        assert not shown[10:12].any()

    @given(count=st.integers(1, 500), most=st.integers(1, 40))
    def test_spread_is_even(self, count: int, most: int) -> None:
        found = spread(count, most)
        assert len(found) == min(count, most)
        assert 0 <= found[0] <= found[-1] < count
        gaps = np.diff(found)
        assert not gaps.size or (gaps.min() > 0 and gaps.max() - gaps.min() <= 1)


class TestValues:
    def test_grey_and_colour_as_png(self, tmp_path: Path) -> None:
        grid = Grid((3, 8, 9), RAS)
        for channels in (1, 3):
            values = np.random.default_rng(0).random((3, 8, 9, channels), np.float32)
            write_mosaic(tmp_path / "new" / "a.png", values, grid)
            read = read_image(tmp_path / "new" / "a.png").pixels[0]
            np.testing.assert_array_equal(read, mosaic(values, grid))

    def test_nan_is_refused(self) -> None:
        with pytest.raises(ImageError, match="NaN"):
            mosaic(np.full((1, 4, 4, 1), np.nan, np.float32), Grid((1, 4, 4), RAS))
