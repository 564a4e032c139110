"""Every path of FNet against a slow program in float64 that knows the equations only.

The weights are seeded, so everybody runs these checks; the slow program itself is held against the
authors' numbers where they are at hand.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fnetcli.checkpoints.loading import load_weights
from fnetcli.engine import Engine, EngineOptions
from fnetcli.models.base import Wanted
from fnetcli.models.fnet.config import FNetConfig
from fnetcli.models.fnet.network import FNet
from tests.drawn_pictures import smooth_noise
from tests.models.fnet import slow
from tests.networks import engine_of, resting
from tests.paths import EXAMPLE, SHARED

REFERENCE = SHARED / "reference"
PARTS = ("unique_first", "unique_second", "common")


def seeded(config: FNetConfig) -> FNet:
    torch.manual_seed(7)
    network = FNet(config)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 4:
                parameter.mul_(0.5)
    return network


def pictures(height: int, width: int) -> tuple[slow.Array, slow.Array]:
    first, second = (smooth_noise(height, width, seed) / 255 for seed in (3, 4))
    return first.astype(np.float64), second.astype(np.float64)


def distance(found: NDArray[np.floating], expected: slow.Array) -> float:
    """Return the largest difference, as a share of the largest value or of 1."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("config", [FNetConfig(5, 3, 1), FNetConfig(4, 5, 3), FNetConfig(3, 9, 4)])
def test_the_module_in_float64(config: FNetConfig) -> None:
    network = seeded(config).double()
    first, second = pictures(13, 17)
    expected = slow.fuse(first, second, resting(network).arrays)
    with torch.inference_mode():
        given = (torch.from_numpy(one)[None, None] for one in (first, second))
        found = network(*given, Wanted(features=True))
    for name in PARTS:
        assert distance(found.parts[name][0, 0].numpy(), expected[name]) < 1e-12
    for name in "uvz":
        assert distance(found.features[name][0].numpy(), expected[name]) < 1e-12


@pytest.mark.parametrize("native", ["0", ""], ids=["torch", "compiled"])
@pytest.mark.parametrize("tile", [0, 64])
def test_the_engine_in_float32(native: str, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled where there is a compiler: without one both are torch, and `-v` says so."""
    monkeypatch.setenv("FNET_NATIVE", native)
    network = seeded(FNetConfig(4, 5, 3))
    first, second = pictures(70, 75)
    expected = slow.fuse(first, second, resting(network).arrays)
    engine = engine_of(network, EngineOptions(tile=tile))
    found = engine.run(first.astype(np.float32)[None], second.astype(np.float32)[None])
    for name in PARTS:
        assert distance(found.parts[name][0], expected[name]) < 5e-6


def test_shipped_weights_on_the_example_pair() -> None:
    import imageio.v3 as iio  # noqa: PLC0415

    network = load_weights().network
    first, second = (
        iio.imread(EXAMPLE / f"{name}.png").astype(np.float64)[100:132, 140:180] / 255
        for name in ("ir", "vis")
    )
    second = second.mean(axis=2)
    expected = slow.fuse(first, second, network.arrays)
    found = Engine(network).run(first.astype(np.float32)[None], second.astype(np.float32)[None])
    for name in PARTS:
        assert distance(found.parts[name][0], expected[name]) < 1e-4


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the authors' numbers are not at hand")
def test_the_slow_program_gives_the_authors_numbers() -> None:
    network = load_weights(Path(REFERENCE / "fnet_authors_layout.pth")).network
    with np.load(REFERENCE / "fnet_authors_io.npz") as given:
        numbers = dict(given)
    found = slow.fuse(numbers["first"][0, 0], numbers["second"][0, 0], network.arrays)
    theirs = zip(("part_u", "part_v", "part_z"), PARTS, strict=True)
    for their_name, name in theirs:
        np.testing.assert_allclose(found[name], numbers[their_name][0, 0], atol=1e-5)
