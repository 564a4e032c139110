"""Laws of luminance and chroma."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from fnetcli.imaging.color import BLUE, GREEN, RED, is_gray, luminance, with_luminance

STORED = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))
LEVEL = 1 / 255
BLUE_SPAN, RED_SPAN = np.float32(2 * (1 - 0.114)), np.float32(2 * (1 - 0.299))  # of B - Y, R - Y


def split(rgb: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return luminance (..., 1) and chroma (Cb, Cr), (..., 2), of RGB (..., 3)."""
    grey = luminance(rgb)
    differences = [(rgb[..., 2:3] - grey) / BLUE_SPAN, (rgb[..., 0:1] - grey) / RED_SPAN]
    return grey, np.concatenate(differences, axis=-1)


def join(grey: NDArray[np.float32], chroma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return RGB (..., 3) of luminance and chroma, unclipped: undoes `split`."""
    blue = grey + BLUE_SPAN * chroma[..., 0:1]
    red = grey + RED_SPAN * chroma[..., 1:2]
    return np.concatenate([red, (grey - RED * red - BLUE * blue) / GREEN, blue], axis=-1)


def unit(stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    return stored.astype(np.float32) / np.float32(255)


def stored(rgb: NDArray[np.float32]) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = np.rint(np.clip(rgb, 0, 1) * np.float32(255)).astype(np.uint8)
    return levels


def every_color() -> NDArray[np.uint8]:
    """Return all 2^24 colours, in 16 blocks, to keep memory small."""
    levels = np.arange(256, dtype=np.uint8)
    return np.stack(np.meshgrid(levels[:16], levels, levels, indexing="ij"), -1)


def test_every_color_survives_the_round_trip_and_an_unchanged_luminance() -> None:
    block = every_color()
    for first in range(0, 256, 16):
        colors = block + np.array([first, 0, 0], dtype=np.uint8)
        rgb = unit(colors)
        assert (stored(join(*split(rgb))) == colors).all()
        assert (with_luminance(rgb, luminance(rgb)) == rgb).all()


def test_luminance_of_known_colors() -> None:
    primaries = np.eye(3, dtype=np.float32)
    np.testing.assert_allclose(luminance(primaries)[:, 0], [0.299, 0.587, 0.114], rtol=1e-6)
    greys = np.repeat(np.linspace(0, 1, 256, dtype=np.float32)[:, None], 3, axis=1)
    np.testing.assert_allclose(luminance(greys), greys[:, :1], atol=1e-6)


def test_chroma_of_known_colors() -> None:
    """Pure red, blue and yellow reach the ends of the full range; grey lies at its middle."""
    colors = np.array([[1, 0, 0], [0, 0, 1], [1, 1, 0], [0.3, 0.3, 0.3]], np.float32)
    _, chroma = split(colors)
    expected = np.array([[-0.168736, 0.5], [0.5, -0.081312], [-0.5, 0.081312], [0, 0]])
    np.testing.assert_allclose(chroma, expected, atol=1e-6)


@given(STORED)
def test_agrees_with_jfif(colors: NDArray[np.uint8]) -> None:
    """Pillow converts as JPEG does, in whole levels."""
    ycc = np.asarray(PIL.Image.fromarray(colors).convert("YCbCr")).astype(np.float32)
    grey, chroma = split(unit(colors))
    assert np.abs(grey * 255 - ycc[..., :1]).max() <= 1.001
    assert np.abs(chroma * 255 + 128 - ycc[..., 1:]).max() <= 1.001


@given(STORED)
def test_unchanged_luminance_gives_the_original(colors: NDArray[np.uint8]) -> None:
    rgb = unit(colors)
    np.testing.assert_array_equal(stored(with_luminance(rgb, luminance(rgb))), colors)


@given(STORED, st.floats(0, 0.2), st.integers(0, 2**32 - 1))
def test_chroma_of_unclipped_pixels_stays(
    colors: NDArray[np.uint8], reach: float, seed: int
) -> None:
    """Also after storing: rounding to 8 bits moves Cb and Cr by less than one level."""
    rgb = unit(colors)
    noise = np.random.default_rng(seed).uniform(-1, 1, (*colors.shape[:2], 1)).astype(np.float32)
    wanted = luminance(rgb) + np.float32(reach) * noise
    result = with_luminance(rgb, wanted)
    unclipped = ((result > 0) & (result < 1)).all(-1)
    _, before = split(rgb)
    for after in (result, unit(stored(result))):
        grey, chroma = split(after)
        assert np.abs(chroma - before)[unclipped].max(initial=0) < LEVEL
        assert np.abs(grey - wanted)[unclipped].max(initial=0) < LEVEL
    assert result.dtype == np.float32
    assert result.min() >= 0
    assert result.max() <= 1


def test_equals_recombining_with_the_old_chroma() -> None:
    rgb = np.random.default_rng(0).random((40, 50, 3), dtype=np.float32)
    wanted = np.random.default_rng(1).random((40, 50, 1), dtype=np.float32)
    _, chroma = split(rgb)
    expected = np.clip(join(wanted, chroma), 0, 1)
    np.testing.assert_allclose(with_luminance(rgb, wanted), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("deviation", "expected"),
    [((0, 0, 0), True), ((2, 0, -2), True), ((-2, 2, 1), True), ((3, 0, -2), False)],
)
def test_grey_within_two_levels(deviation: tuple[int, int, int], expected: bool) -> None:
    greys = np.arange(10, 240)[:, None] + np.zeros(3, int)
    assert is_gray(unit(greys.astype(np.uint8)))
    greys[100] += deviation
    assert is_gray(unit(greys.astype(np.uint8))) is expected


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize("quality", [5, 40, 75, 95])
def test_grey_stored_as_lossy_color_is_grey(kind: str, quality: int) -> None:
    noise = np.random.default_rng(quality).integers(0, 256, (64, 64), dtype=np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(noise).convert("RGB").save(buffer, kind, quality=quality)
    with PIL.Image.open(buffer) as picture:
        assert is_gray(unit(np.asarray(picture.convert("RGB"))))


def test_one_step_of_jpeg_chroma_is_still_grey() -> None:
    grey = np.arange(256, dtype=np.uint8)[None]
    for blue in (127, 128, 129):
        for red in (127, 128, 129):
            planes = [grey, np.full_like(grey, blue), np.full_like(grey, red)]
            picture = PIL.Image.merge("YCbCr", [PIL.Image.fromarray(plane) for plane in planes])
            assert is_gray(unit(np.asarray(picture.convert("RGB"))))


def test_a_single_colored_pixel_is_colour() -> None:
    rgb = np.full((50, 50, 3), 0.5, np.float32)
    rgb[20, 20] = 0.6, 0.5, 0.4
    assert not is_gray(rgb)
