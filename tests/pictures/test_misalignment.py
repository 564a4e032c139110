"""Planted displacements are found, to the sign and to tenths of a pixel; noise tells nothing."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import fft, ndimage

from fnetcli.pictures.misalignment import CERTAIN, Misalignment, estimate_misalignment

VALIDATION = Path(__file__).parents[2].parent / "shared" / "data" / "visir" / "val"
PLANTED = (3.4, -2.2)
BORDER = 12  # pixels, cut off: nothing there may help

Map = NDArray[np.float32]


def texture(height: int, width: int, seed: int = 0) -> Map:
    """Return soft blobs of all sizes, periodic."""
    random = np.random.default_rng(seed)
    image = np.full((height, width), 0.5)
    for sigma in (1.5, 3, 6):
        noise = random.normal(size=image.shape)
        image += 0.1 * sigma * ndimage.gaussian_filter(noise, sigma, mode="wrap")
    return image.astype(np.float32)


def moved(image: Map, rows: float, columns: float) -> Map:
    """Return a periodic image displaced down and to the right, exactly: in the Fourier domain."""
    spectrum = ndimage.fourier_shift(fft.fft2(image.astype(np.float64)), (rows, columns))
    return np.asarray(fft.ifft2(spectrum).real, np.float32)


def other_modality(image: Map) -> Map:
    """Return the same edges, most of them the other way round and of other sizes."""
    return (np.cos(9 * image) * 0.3 + 0.5 + 0.2 * (1 - image)).astype(np.float32)


def cut(image: Map) -> Map:
    return image[BORDER:-BORDER, BORDER:-BORDER].copy()


def place(found: Misalignment) -> tuple[float, float]:
    assert found.rows is not None
    assert found.columns is not None
    return found.rows, found.columns


@settings(max_examples=12)
@given(st.floats(-9, 9), st.floats(-9, 9), st.integers(0, 20))
def test_any_displacement_of_a_texture_is_found(rows: float, columns: float, seed: int) -> None:
    image = texture(160, 190, seed)
    found = estimate_misalignment(cut(image), cut(moved(image, rows, columns)))
    assert place(found) == pytest.approx((rows, columns), abs=0.15)
    assert found.confidence > 0.9
    assert found.distance == pytest.approx(np.hypot(rows, columns), abs=0.2)


@pytest.mark.parametrize("shift", [(3.4, -2.2), (-5.25, 0.5), (0.0, 7.7)])
def test_edges_may_turn_round(shift: tuple[float, float]) -> None:
    image = texture(200, 240)
    other = other_modality(moved(image, *shift))
    found = estimate_misalignment(cut(image), cut(other))
    assert place(found) == pytest.approx(shift, abs=0.3)
    assert found.is_large


def test_swapping_the_images_turns_the_sign() -> None:
    image = texture(180, 150)
    first, second = cut(image), cut(other_modality(moved(image, 4.6, -1.3)))
    there, back = estimate_misalignment(first, second), estimate_misalignment(second, first)
    assert place(back) == pytest.approx([-value for value in place(there)], abs=0.02)


def test_signs_are_those_of_rows_and_columns() -> None:
    image = np.zeros((96, 120), np.float32)
    image[30:60, 40:80] = 1
    image[35:50, 20:30] = 0.5
    second = np.zeros_like(image)
    second[5:, :-3] = image[:-5, 3:]  # five down, three to the left
    found = estimate_misalignment(image, second)
    assert place(found) == pytest.approx((5, -3), abs=0.2)
    text = found.describe("ir", "vis")
    assert text.startswith("vis lies 5.0 px lower and 3.0 px further left than ir")


def test_none_is_none() -> None:
    image = texture(150, 150)
    found = estimate_misalignment(image, other_modality(image))
    assert place(found) == pytest.approx((0, 0), abs=0.1)
    assert not found.is_large


@pytest.mark.parametrize("sigma", [0, 1, 3])
@pytest.mark.parametrize("shape", [(300, 200), (64, 64), (33, 400)])
def test_noise_tells_nothing(shape: tuple[int, int], sigma: float) -> None:
    random = np.random.default_rng(5)
    first, second = (
        ndimage.gaussian_filter(random.random(shape, np.float32), sigma) for _ in range(2)
    )
    found = estimate_misalignment(first, second)
    assert not found.is_known
    assert found.distance is None
    assert found.confidence == 0
    assert not found.is_large
    assert "cannot tell" in found.describe("ir", "vis")


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_constant_images_tell_nothing(value: float) -> None:
    image = texture(100, 100)
    constant = np.full_like(image, value)
    assert not estimate_misalignment(image, constant).is_known
    assert not estimate_misalignment(constant, constant).is_known


@pytest.mark.parametrize("shape", [(1, 1), (31, 500), (5, 31)])
def test_small_images_tell_nothing(shape: tuple[int, int]) -> None:
    image = texture(*shape)
    assert not estimate_misalignment(image, image).is_known


def test_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="same size"):
        estimate_misalignment(texture(64, 64), texture(64, 65))


@pytest.mark.parametrize("shift", [(40.0, -22.5), (-30.25, 35.0)])
def test_far_displacements_are_found_from_afar(shift: tuple[float, float]) -> None:
    image = texture(420, 400)
    found = estimate_misalignment(image[50:-50, 50:-50], moved(image, *shift)[50:-50, 50:-50])
    assert place(found) == pytest.approx(shift, abs=0.2)
    assert found.is_large


@pytest.mark.parametrize("rows", [16.0, 17.0, 19.0, 21.0])
def test_just_beyond_the_search_it_is_no_flank(rows: float) -> None:
    image = texture(420, 400)
    found = estimate_misalignment(image[50:-50, 50:-50], moved(image, rows, -3.3)[50:-50, 50:-50])
    assert place(found) == pytest.approx((rows, -3.3), abs=0.1)


@pytest.mark.parametrize("rows", range(8, 15))
def test_small_images_tell_no_flank(rows: int) -> None:
    image = texture(164, 164)
    found = estimate_misalignment(image[50:-50, 50:-50], moved(image, rows, 0)[50:-50, 50:-50])
    assert not found.is_known or place(found) == pytest.approx((rows, 0), abs=0.3)


def test_large_images_are_shrunk() -> None:
    image = texture(300, 360).repeat(4, 0).repeat(4, 1)
    second = np.roll(image, (8, -20), (0, 1))
    found = estimate_misalignment(image, second)
    assert place(found) == pytest.approx((8, -20), abs=0.4)


def test_two_pixels_of_a_large_image_are_no_more_than_two() -> None:
    image = texture(300, 360).repeat(4, 0).repeat(4, 1)
    assert not estimate_misalignment(image, np.roll(image, 1, 0)).is_large
    assert estimate_misalignment(image, np.roll(image, 4, 0)).is_large


def test_the_same_pair_gives_the_same_to_the_bit() -> None:
    image = texture(120, 140)
    pair = image, other_modality(moved(image, 1.5, 0.5))
    assert estimate_misalignment(*pair) == estimate_misalignment(*pair)


def test_the_record_is_plain_json() -> None:
    image = texture(80, 80)
    for second in (moved(image, 3, 4), np.zeros_like(image)):
        record = estimate_misalignment(image, second).record()
        assert json.loads(json.dumps(record)) == record
        assert record["is_known"] == (record["rows"] is not None)


# --- the validation pairs -------------------------------------------------------------------------


def luminance(path: Path) -> Map:
    pixels = iio.imread(path).astype(np.float32) / 255
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    grey = pixels if pixels.ndim == 2 else pixels @ weights
    return np.asarray(grey, np.float32)


@pytest.mark.slow
@pytest.mark.skipif(not VALIDATION.is_dir(), reason="no shared/ folder beside the checkout")
def test_real_pairs() -> None:
    """A planted displacement comes on top of what the pair has itself: none is perfectly aligned.

    One of these pairs is off by four pixels, as anyone can see; those of MSRS by about three at
    some distances from the camera, and less at others.
    """
    found, warned = 0, 0
    paths = sorted((VALIDATION / "ir").iterdir())
    assert len(paths) == 25
    for path in paths:
        first, second = luminance(path), luminance(VALIDATION / "vis" / path.name)
        displaced = ndimage.shift(second, PLANTED, order=3, mode="reflect")
        as_is = estimate_misalignment(cut(first), cut(second))
        planted = estimate_misalignment(cut(first), cut(displaced))
        warned += as_is.is_large
        if as_is.is_known and planted.is_known:
            step = np.subtract(place(planted), place(as_is))
            found += float(np.hypot(*(step - PLANTED))) <= 0.3
    assert found >= 20
    assert warned <= 2
    assert 0.5 < CERTAIN < 1
