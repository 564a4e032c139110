"""Separation of made pairs, whose unique and common content is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from fnetcli.metrics.separation import Separation, measure_separation

Map = NDArray[np.float32]
SIZE = 192


def blobs(seed: int) -> Map:
    """Return bright areas of random shape on black."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((SIZE, SIZE)), 5)
    areas: Map = ((noise > np.quantile(noise, 0.6)) * np.float32(0.4)).astype(np.float32)
    return areas


def scene(seed: int) -> tuple[Map, Map, Map]:
    """Return what only the first, only the second, and both show, in squares of their own."""
    rows, columns = np.indices((SIZE, SIZE))
    owner = (rows // 48 + columns // 48) % 3
    owner[
        (np.minimum(rows % 48, columns % 48) < 6) | (np.maximum(rows % 48, columns % 48) > 41)
    ] = 3
    first, second, both = (
        ndimage.gaussian_filter(blobs(seed + i) * np.float32(owner == i), 1) for i in range(3)
    )
    return first, second, both


def separated(
    seed: int, split: Callable[[Map, Map, Map], tuple[Map, Map, Map]]
) -> tuple[Separation, Map, Map]:
    u, v, z = scene(seed)
    return measure_separation(split(u, v, z), u + z, v + z), u + z, v + z


def scores(split: Callable[[Map, Map, Map], tuple[Map, Map, Map]]) -> list[float]:
    found = [separated(seed, split)[0].score for seed in (0, 10, 20)]
    assert None not in found
    return found  # type: ignore[return-value]


def test_perfect_and_swapped_parts() -> None:
    assert min(scores(lambda u, v, z: (u, v, z))) > 0.95
    assert max(scores(lambda u, v, z: (v, u, z))) < 0.55


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (lambda u, v, z: (u * 0, v * 0, u + v + z), 0.5),  # all is common
        (lambda u, v, z: (u + z, v + z, z * 0), 0.5),  # nothing is
        (lambda u, v, z: ((u + v + z) / 3, (u + v + z) / 3, (u + v + z) / 3), 1 / 3),  # chance
    ],
)
def test_parts_that_separate_nothing(
    split: Callable[[Map, Map, Map], tuple[Map, Map, Map]], expected: float
) -> None:
    assert scores(split) == pytest.approx([expected] * 3, abs=0.02)


def test_numbers_of_perfect_parts() -> None:
    found, first, _ = separated(0, lambda u, v, z: (u, v, z))
    u, _, z = scene(0)
    assert found.first.correlation_with_source == pytest.approx(
        np.corrcoef(u.ravel(), first.ravel())[0, 1], abs=1e-4
    )
    assert found.first.edges_kept is not None
    assert found.first.edges_kept < 0.1
    assert found.first.explained is not None
    assert found.first.source_explained is not None
    assert found.first.explained < 0.2 < found.first.source_explained
    assert found.common_energy == pytest.approx(
        np.square(z).sum() / sum(np.square(part).sum() for part in scene(0)), abs=1e-4
    )
    assert found.likeness_in_common is not None
    assert found.likeness is not None
    assert found.likeness_in_common > 0.9 > found.likeness


def test_explained_by_a_multiple_and_by_chance() -> None:
    """All of a scaled, shifted copy is explained; of unrelated noise one part in 255."""
    random = np.random.default_rng(3)
    first, other = (random.random((160, 160), np.float32) for _ in range(2))
    copies = measure_separation((2 * first + 1, other, first), first, first)
    assert copies.first.explained == pytest.approx(1)
    assert copies.first.gradients_explained == pytest.approx(1)
    assert copies.first.correlation_with_source == pytest.approx(1)
    assert copies.first.edges_kept == pytest.approx(2, rel=1e-3)
    assert copies.second.explained == pytest.approx(1 / 255, rel=0.5)
    assert copies.first.explained_by_chance == pytest.approx(1 / 255, rel=0.5)


def test_variance_of_common_after_smoothing() -> None:
    first, second, _ = scene(5)
    whole = measure_separation((first * 0, first * 0, first + second), first, second)
    assert whole.common_variance == pytest.approx(1)
    share = np.float32(0.5)
    common = share * (first + second) + np.float32(5)  # a constant has no variance
    half = measure_separation((share * first, share * second, common), first, second)
    assert half.common_variance == pytest.approx(0.25, rel=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (33, 17)])
def test_nothing_to_measure_in_constant_images(shape: tuple[int, int]) -> None:
    flat = np.full(shape, 0.5, np.float32)
    found = measure_separation((flat, flat, flat), flat, flat)
    assert found.score is None
    assert found.first.correlation_with_source is None
    assert found.first.explained is None
    assert found.likeness is None
    assert found.common_energy == pytest.approx(1 / 3)
