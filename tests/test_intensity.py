"""Stored numbers to the unit range and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from fnetcli.errors import ImageError
from fnetcli.image import Grid, Image
from fnetcli.intensity import PREVIEW_RANGE, preview, to_stored, to_unit

STORED = arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=8))
UNIT = arrays(np.float32, array_shapes(max_dims=4), elements=st.floats(-2, 2, width=32))


def image(stored: NDArray[np.generic]) -> Image:
    height, width, _ = stored.shape
    return Image(stored[None].astype(np.float32), Grid((1, height, width)), stored.dtype)


@given(STORED)
def test_there_and_back_is_exact(stored: NDArray[np.uint8]) -> None:
    unit = to_unit(image(stored))
    assert unit.pixels.dtype == np.float32
    assert unit.pixels.min() >= 0
    assert unit.pixels.max() <= 1
    np.testing.assert_array_equal(to_stored(unit.pixels)[0], stored)


def test_black_and_white_are_exact() -> None:
    unit = to_unit(image(np.array([[[0], [255]]], np.uint8)))
    np.testing.assert_array_equal(unit.pixels.ravel(), [0, 1])


def test_alpha_and_grid_are_kept() -> None:
    alpha = np.full((1, 2, 3), 0.5, np.float32)
    source = Image(np.zeros((1, 2, 3, 1), np.float32), Grid((1, 2, 3)), alpha=alpha)
    unit = to_unit(source)
    assert unit.alpha is alpha
    assert unit.grid is source.grid
    assert unit.stored_type == np.uint8


@pytest.mark.parametrize("kind", [np.uint16, np.int8, np.float32])
def test_other_stored_types_are_refused(kind: type[np.generic]) -> None:
    with pytest.raises(ImageError, match=np.dtype(kind).name):
        to_unit(image(np.zeros((2, 2, 1), kind)))
    with pytest.raises(ImageError, match=np.dtype(kind).name):
        to_stored(np.zeros((2, 2), np.float32), kind)


@given(UNIT)
def test_stored_is_clipped_and_nearest(unit: NDArray[np.float32]) -> None:
    stored = to_stored(unit)
    assert stored.dtype == np.uint8
    assert stored.shape == unit.shape
    exact = np.clip(unit.astype(np.float64), 0, 1) * 255
    assert np.abs(stored - exact).max() <= 0.5 + 1e-4


def test_halves_go_to_the_even_neighbour() -> None:
    halves = np.array([0.5, 1.5, 2.5, 127.5], np.float32) / np.float32(255)
    assert to_stored(halves).tolist() == [0, 2, 2, 128]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    broken = np.array([[0.5, value]], np.float32)
    for store in (to_stored, preview):
        with pytest.raises(ImageError, match="NaN or infinity"):
            store(broken)


def test_preview_scale() -> None:
    values = np.array([-9, -1, -0.5, 0, 0.5, 1, 9], np.float32) * PREVIEW_RANGE
    assert preview(values).tolist() == [0, 0, 64, 128, 191, 255, 255]
    assert preview(values).dtype == np.uint8


@given(UNIT)
def test_preview_keeps_the_order(part: NDArray[np.float32]) -> None:
    order = np.argsort(part, axis=None)
    assert (np.diff(preview(part).ravel()[order].astype(int)) >= 0).all()
