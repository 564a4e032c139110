"""Colormaps are those that people know, begin with black, and keep the luminance below them."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

from fnetcli.imaging.color import COLORMAPS, FULL, colormap, luminance, with_luminance

RAMP = np.linspace(0, 1, 256, dtype=np.float32)


@pytest.mark.parametrize("name", ["hot", "inferno", "magma"])
def test_as_matplotlib_has_them(name: str) -> None:
    places = np.arange(int(FULL[name] * 255) + 1, dtype=np.float32) / 255
    expected = mpl.colormaps[name](places)[:, :3]
    apart = np.abs(colormap(name, (places / FULL[name]).astype(np.float32)) - expected)
    assert apart.max() < (0.045 if name == "hot" else 0.025)  # its hot begins with a dark red
    assert apart[96:].max() < (1e-5 if name == "hot" else 0.025)


def test_hot_iron_as_dicom_has_it() -> None:
    """PS3.6, B.1.1: red in steps of 2 up to 128, then green, then blue in steps of 4 from 192."""
    levels = np.arange(192)
    red, green = np.minimum(2 * levels, 255), np.clip(2 * (levels - 128), 0, 255)
    found = colormap("hot-iron", (levels / 191).astype(np.float32)) * 255
    assert np.abs(found - np.stack([red, green, 0 * levels], -1)).max() < 3.1


@pytest.mark.parametrize("name", COLORMAPS)
def test_the_hottest_place_has_a_colour(name: str) -> None:
    laid = with_luminance(colormap(name, RAMP[-1:]), np.full((1, 1), 0.4, np.float32))
    assert np.ptp(laid) > 0.4


@pytest.mark.parametrize("name", COLORMAPS)
def test_all_begin_with_black_and_stay_in_range(name: str) -> None:
    values = np.array([[-1, 0, 0.25], [0.5, 1, 7]], np.float32)
    rgb = colormap(name, values)
    assert rgb.shape == (2, 3, 3)
    assert rgb.dtype == np.float32
    assert not rgb[0, :2].any()
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    np.testing.assert_array_equal(rgb[1, 1], rgb[1, 2])


@pytest.mark.parametrize("name", COLORMAPS)
def test_no_uptake_leaves_grey_and_some_leaves_the_luminance(name: str) -> None:
    grey = np.full((256, 1), 0.4, np.float32)
    laid = with_luminance(colormap(name, RAMP), grey)
    np.testing.assert_allclose(laid[0], 0.4, atol=1e-6)
    inside = (laid > 0).all(axis=-1) & (laid < 1).all(axis=-1)
    np.testing.assert_allclose(luminance(laid)[inside], 0.4, atol=1e-5)


def test_other_names_are_refused() -> None:
    with pytest.raises(ValueError, match="no colormap jet: one of hot, hot-iron, rainbow"):
        colormap("jet", RAMP)
