from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fnetcli.metrics import quantise, to_grey8
from tests.metrics.images import Grey8

COLOURS = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8).map(lambda shape: (*shape, 3))
)
GREYS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8))


def test_luma_of_pure_colours() -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    assert to_grey8(colours).tolist() == [[76, 150, 29, 255]]


@given(COLOURS)
def test_luma_is_the_nearest_level(colour: Grey8) -> None:
    grey = to_grey8(colour)
    assert grey.dtype == np.uint8
    assert np.abs(grey - colour @ np.array([0.299, 0.587, 0.114])).max() <= 0.5 + 1e-4
    assert (to_grey8(colour.astype(np.float32)) == grey).all()


@given(GREYS)
def test_grey_passes(grey: Grey8) -> None:
    assert (to_grey8(grey) == grey).all()
    assert (to_grey8(np.repeat(grey[:, :, None], 3, axis=2)) == grey).all()


@given(GREYS)
def test_quantise_gives_back_what_was_stored(grey: Grey8) -> None:
    assert (quantise(grey.astype(np.float32) / np.float32(255)) == grey).all()
    assert (quantise(grey / 255) == grey).all()


@given(st.floats(-10, 10))
def test_quantise_clips_and_never_stretches(value: float) -> None:
    assert quantise(np.array([[value]])).item() == round(min(max(value, 0), 1) * 255)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((4, 4, 4), np.uint8), "shape"),
        (np.zeros(4, np.uint8), "shape"),
        (np.zeros((0, 4), np.uint8), "empty"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.full((4, 4), 1000, np.uint16), "0..255"),
    ],
)
def test_to_grey8_refuses(pixels: Grey8, message: str) -> None:
    with pytest.raises(ValueError, match=f"^to_grey8: .*{message}"):
        to_grey8(pixels)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((4, 4), np.uint8), "floats"),
        (np.zeros((0, 4)), "empty"),
        (np.full((4, 4), np.inf), "infinite"),
    ],
)
def test_quantise_refuses(pixels: Grey8, message: str) -> None:
    with pytest.raises(ValueError, match=f"^quantise: .*{message}"):
        quantise(pixels)  # type: ignore[arg-type]
