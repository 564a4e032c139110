"""Small images for the tests of metrics, and hypothesis strategies that draw them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Grey8 = NDArray[np.uint8]
Triple = tuple[Grey8, Grey8, Grey8]


def noise(height: int, width: int, seed: int) -> Grey8:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def scene(height: int, width: int, seed: int) -> Grey8:
    """A ramp with a few rectangles and a little noise: smooth parts, flat parts and edges."""
    rng = np.random.default_rng(seed)
    image = np.add.outer(np.linspace(0, 60, height), np.linspace(0, 60, width))
    for _ in range(4):
        top, left = rng.integers(0, height), rng.integers(0, width)
        image[top : top + height // 3 + 1, left : left + width // 3 + 1] = rng.integers(0, 256)
    image += rng.normal(0, 2, image.shape) * (image > 30)
    return np.clip(image, 0, 255).astype(np.uint8)


def _constant(height: int, width: int, seed: int) -> Grey8:
    return np.full((height, width), seed % 256, dtype=np.uint8)


def _two_levels(height: int, width: int, seed: int) -> Grey8:
    return np.where(noise(height, width, seed) > 200, 255, 0).astype(np.uint8)


KINDS: tuple[Callable[[int, int, int], Grey8], ...] = (noise, scene, _constant, _two_levels)


@st.composite
def triples(draw: Callable[[st.SearchStrategy[Any]], Any], smallest: int, largest: int) -> Triple:
    """Draw two sources and a fused image of one shape, each of its own kind."""
    height, width = draw(st.integers(smallest, largest)), draw(st.integers(smallest, largest))
    first, second, fused = (
        draw(st.sampled_from(KINDS))(height, width, draw(st.integers(0, 10_000))) for _ in range(3)
    )
    return first, second, fused
