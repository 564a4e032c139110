"""Resizing: what is kept is untouched, averages stay, nothing is stretched."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fnetcli.align import onto_one_grid, resize
from fnetcli.errors import PairError
from fnetcli.image import Grid, Image

NAMES = ("ir", "vis")


def image(height: int, width: int, channels: int = 1, seed: int = 0) -> Image:
    pixels = np.random.default_rng(seed).uniform(0, 255, (1, height, width, channels))
    return Image(pixels.astype(np.float32), Grid((1, height, width)))


def block_means(pixels: NDArray[np.float32], by: int) -> NDArray[np.float32]:
    _, height, width, channels = pixels.shape
    blocks = pixels.reshape(1, height // by, by, width // by, by, channels)
    means: NDArray[np.float32] = blocks.mean(axis=(2, 4))
    return means


def test_equal_sizes_are_returned_as_they_are() -> None:
    first, second = image(5, 7), image(5, 7, 3)
    assert onto_one_grid(first, second, NAMES, None) == (first, second)


def test_shrinking_averages_areas() -> None:
    big = image(12, 20, 3)
    small = resize(big, Grid((1, 3, 5)))
    np.testing.assert_allclose(small.pixels, block_means(big.pixels, 4), rtol=1e-5)


def test_growing_keeps_range_and_smooth_content() -> None:
    rows = np.linspace(0, 255, 16, dtype=np.float32)
    ramp = Image(np.tile(rows[None, :, None, None], (1, 1, 16, 1)), Grid((1, 16, 16)))
    grown = resize(ramp, Grid((1, 64, 64)))
    assert grown.pixels.shape == (1, 64, 64, 1)
    assert grown.pixels.min() >= 0
    assert grown.pixels.max() <= 255
    middle = grown.pixels[0, 8:-8, 32, 0]
    expected = np.interp(np.arange(8, 56), np.arange(16) * 4 + 1.5, rows)
    np.testing.assert_allclose(middle, expected, atol=0.5)


def test_resizing_chooses_the_named_size() -> None:
    first, second = image(10, 20), image(20, 40, 3)
    with pytest.raises(PairError, match=r"ir is 20x10, vis is 40x20.*--resize ir or --resize vis"):
        onto_one_grid(first, second, NAMES, None)
    kept_first = onto_one_grid(first, second, NAMES, "ir")
    assert kept_first[0] is first
    assert kept_first[1].pixels.shape == (1, 10, 20, 3)
    kept_second = onto_one_grid(first, second, NAMES, "vis")
    assert kept_second[1] is second
    assert kept_second[0].pixels.shape == (1, 20, 40, 1)


def test_two_percent_of_aspect_ratio_is_the_limit() -> None:
    onto_one_grid(image(100, 100), image(200, 203), NAMES, "ir")
    with pytest.raises(PairError, match="more than 2 %"):
        onto_one_grid(image(100, 100), image(200, 206), NAMES, "ir")


def test_alpha_is_resized_too() -> None:
    alpha = np.ones((1, 8, 8), np.float32)
    with_alpha = Image(image(8, 8).pixels, Grid((1, 8, 8)), alpha=alpha)
    resized = resize(with_alpha, Grid((1, 4, 4)))
    assert resized.alpha is not None
    np.testing.assert_array_equal(resized.alpha, np.ones((1, 4, 4)))
