"""A pair is taken through the walk in bands of rows: the same result, in little memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fnetcli.engine import Fusion, Maps
from fnetcli.imaging.image import Grid, Image
from fnetcli.imaging.intensity import ScalingOptions
from fnetcli.pictures.fuse import Fused, FuseOptions, Prepared, finish, prepare
from tests.drawn_pictures import smooth_noise
from tests.networks import fusion_of

OPTIONS = FuseOptions(("ir", "vis"))
HEIGHT, WIDTH = 61, 47


def as_image(pixels: np.ndarray[Any, Any]) -> Image:
    height, width = pixels.shape[:2]
    return Image(pixels.reshape(1, height, width, -1), Grid((1, height, width)))


def separate(prepared: Prepared) -> Fusion[Maps]:
    x, y = prepared.luminances
    return fusion_of(0.3 * x - 0.1, 0.3 * y, 0.5 * y + 0.2)


def fuse(first: Image, second: Image, options: FuseOptions, kind: type[np.generic]) -> Fused:
    prepared = prepare(first, second, options)
    return finish(prepared, separate(prepared), options, kind)


IR = smooth_noise(HEIGHT, WIDTH, 1)
HOLED = np.where(smooth_noise(HEIGHT, WIDTH, 4) > 150, np.nan, IR.astype(np.float32))
VIS = smooth_noise(HEIGHT, WIDTH, 2, 3)


class TestBands:
    @pytest.mark.parametrize("rows", [1, 7, 60])
    @pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
    @pytest.mark.parametrize(
        ("first", "second", "options"),
        [
            (IR, VIS, OPTIONS),
            (IR.astype(np.uint16) * 17, VIS.astype(np.uint16) * 9, OPTIONS),
            (HOLED, VIS, OPTIONS),
            (IR, VIS, replace(OPTIONS, scaling=(ScalingOptions(is_inverted=True),) * 2)),
            (IR, VIS, replace(OPTIONS, is_gray=True)),
            (IR, np.dstack([IR] * 3), OPTIONS),
            (IR[::3, ::3], VIS, replace(OPTIONS, resize_to="vis")),
        ],
    )
    def test_their_height_changes_nothing(
        self,
        first: np.ndarray[Any, Any],
        second: np.ndarray[Any, Any],
        options: FuseOptions,
        kind: type[np.generic],
        rows: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        whole = fuse(as_image(first), as_image(second), options, kind)
        monkeypatch.setattr("fnetcli.imaging.image.BAND", rows * WIDTH)
        banded = fuse(as_image(first), as_image(second), options, kind)
        assert banded.image.pixels.dtype == kind
        np.testing.assert_array_equal(banded.image.pixels, whole.image.pixels)
        assert banded.ranges == whole.ranges
        assert banded.notices == whole.notices

    def test_one_coloured_pixel_anywhere_is_colour(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("fnetcli.imaging.image.BAND", WIDTH)
        for row in (0, HEIGHT // 2, HEIGHT - 1):
            second = np.dstack([IR] * 3)
            second[row, 5] = 200, 90, 40
            fused = fuse(as_image(IR), as_image(second), OPTIONS, np.uint8)
            assert fused.image.is_color


def test_what_it_takes_beside_input_and_output() -> None:
    """Two luminances while the network runs; before and after it, a few bands."""
    side = 1024
    first, second = (as_image(smooth_noise(side, side, 0, channels)) for channels in (1, 3))
    separated = separate(prepare(first, second, OPTIONS))
    tracemalloc.start()
    try:
        prepared = prepare(first, second, OPTIONS)
        assert tracemalloc.get_traced_memory()[1] < side * side
        luminances = prepared.luminances
        assert tracemalloc.get_traced_memory()[1] < 10 * side * side
        del luminances
        tracemalloc.reset_peak()
        finish(prepared, separated, OPTIONS, np.uint8)
        assert tracemalloc.get_traced_memory()[1] < 5 * side * side
    finally:
        tracemalloc.stop()
