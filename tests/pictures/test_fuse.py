"""A pair passes through the pipeline in bands of rows: the same result, in little memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fnetcli.imaging.image import Grid, Image
from fnetcli.imaging.intensity import ScalingOptions
from fnetcli.models.base import Fusion, Maps
from fnetcli.pictures.fuse import Fused, finish
from fnetcli.pictures.mix import MixOptions
from fnetcli.pictures.prepare import Prepared, PrepareOptions, prepare
from tests.drawn_pictures import smooth_noise

OPTIONS = PrepareOptions(("ir", "vis"))
PLAIN = MixOptions()
HEIGHT, WIDTH = 61, 47


def as_image(pixels: np.ndarray[Any, Any]) -> Image:
    height, width = pixels.shape[:2]
    return Image(pixels.reshape(1, height, width, -1), Grid((1, height, width)))


def made_of(prepared: Prepared) -> Fusion[Maps]:
    x, y = prepared.luminances
    parts = {"unique_first": 0.3 * x - 0.1, "unique_second": 0.3 * y, "common": 0.5 * y + 0.2}
    return Fusion(None, parts)


def fuse(
    first: Image,
    second: Image,
    options: PrepareOptions,
    kind: type[np.generic],
    mix: MixOptions = PLAIN,
) -> Fused:
    prepared = prepare(first, second, options)
    return finish(prepared, made_of(prepared), mix, kind)


IR = smooth_noise(HEIGHT, WIDTH, 1)
HOLED = np.where(smooth_noise(HEIGHT, WIDTH, 4) > 150, np.nan, IR.astype(np.float32))
VIS = smooth_noise(HEIGHT, WIDTH, 2, 3)


class TestBands:
    @pytest.mark.parametrize("rows", [1, 7, 60])
    @pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
    @pytest.mark.parametrize(
        ("first", "second", "options", "mix"),
        [
            (IR, VIS, OPTIONS, PLAIN),
            (IR.astype(np.uint16) * 17, VIS.astype(np.uint16) * 9, OPTIONS, PLAIN),
            (HOLED, VIS, OPTIONS, PLAIN),
            (IR, VIS, replace(OPTIONS, scaling=(ScalingOptions(is_inverted=True),) * 2), PLAIN),
            (IR, VIS, OPTIONS, MixOptions(is_gray=True)),
            (IR, VIS, OPTIONS, MixOptions({"unique_first": 1.5, "common": 0.7})),
            (IR, np.dstack([IR] * 3), OPTIONS, PLAIN),
            (IR[::3, ::3], VIS, replace(OPTIONS, resize_to="vis"), PLAIN),
        ],
    )
    def test_their_height_changes_nothing(
        self,
        first: np.ndarray[Any, Any],
        second: np.ndarray[Any, Any],
        options: PrepareOptions,
        mix: MixOptions,
        kind: type[np.generic],
        rows: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        whole = fuse(as_image(first), as_image(second), options, kind, mix)
        monkeypatch.setattr("fnetcli.imaging.image.BAND", rows * WIDTH)
        banded = fuse(as_image(first), as_image(second), options, kind, mix)
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
    fusion = made_of(prepare(first, second, OPTIONS))
    tracemalloc.start()
    try:
        prepared = prepare(first, second, OPTIONS)
        assert tracemalloc.get_traced_memory()[1] < side * side
        luminances = prepared.luminances
        assert tracemalloc.get_traced_memory()[1] < 10 * side * side
        del luminances
        tracemalloc.reset_peak()
        finish(prepared, fusion, PLAIN, np.uint8)
        assert tracemalloc.get_traced_memory()[1] < 5 * side * side
    finally:
        tracemalloc.stop()
