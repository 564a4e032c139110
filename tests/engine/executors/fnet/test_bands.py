"""The torch path gives what models/fnet/network.py gives."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fnetcli.checkpoints.loading import load_weights
from fnetcli.engine import Device
from fnetcli.engine.executors.base import Inner, as_features
from fnetcli.engine.executors.fnet import bands
from fnetcli.engine.executors.fnet.bands import Bands
from fnetcli.models.base import Wanted
from fnetcli.models.fnet.blocks import blocks_of
from fnetcli.models.fnet.config import FNetConfig, Momentum, Threshold
from fnetcli.models.fnet.network import Codes, FNet, Parts
from tests.engine.pictures import example_pair
from tests.models.fnet.test_network import MOMENTA, THRESHOLDS, pair
from tests.networks import at_work, plainly, resting


@pytest.fixture(params=["bands", "whole"])
def device_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run as on a CPU, then as on other devices."""
    if request.param == "whole":
        monkeypatch.setattr(bands, "_prefers_bands", lambda _: False)
    kind: str = request.param
    return kind


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def in_bands(network: FNet, **options: Any) -> Bands:
    return Bands(blocks_of(resting(network)), Device(), **options)


def separate(executor: Bands, x: Tensor, y: Tensor) -> tuple[Parts, Codes]:
    """Return what it makes of images (N, 1, H, W), codes in the network's type.

    That is what `run` hands out, whose codes are float16, but for an inner part.
    """
    with torch.inference_mode():
        parts, codes = executor._separate(x, y, with_codes=True)
    assert codes is not None
    rows, columns = slice(1, x.shape[2]), slice(0, max(1, x.shape[3] - 2))
    first, second = (image[:, 0].numpy() for image in (x, y))
    found = executor.run(first, second, Inner(rows, columns), Wanted(features=True))
    assert found.whole is None
    assert not found.maps
    for name, part in parts._asdict().items():
        wanted = part[:, 0, rows, columns].numpy()
        np.testing.assert_allclose(found.parts[name], wanted, rtol=1e-5, atol=1e-5)
    for name, code in codes._asdict().items():  # a second pass may round otherwise
        codes_wanted = as_features(code[:, :, rows, columns].numpy())
        np.testing.assert_allclose(found.features[name], codes_wanted, rtol=2e-3, atol=1e-3)
    return parts, codes


def only_parts(executor: Bands, x: Tensor, y: Tensor) -> Parts:
    """Return what it makes of images where nobody wants codes."""
    with torch.inference_mode():
        parts, codes = executor._separate(x, y, with_codes=False)
    assert codes is None
    return parts


def assert_exact(network: FNet, x: Tensor, y: Tensor, band_rows: int | None = None) -> None:
    """In float64, where even a threshold that jumps finds the same side."""
    network, x, y = network.double(), x.double(), y.double()
    parts, codes = separate(in_bands(network, band_rows=band_rows), x, y)
    expected = plainly(network, x, y)
    for fast, slow in zip((*parts, *codes), (*expected[0], *expected[1]), strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize(
    ("threshold", "momentum", "iterations", "is_shared"),
    list(itertools.product(THRESHOLDS, MOMENTA, [3, 4, 5], [False, True])),
)
def test_every_configuration(
    threshold: Threshold, momentum: Momentum, iterations: int, is_shared: bool
) -> None:
    torch.manual_seed(3)
    config = FNetConfig(4, 5, iterations, threshold, momentum=momentum, shared_kernels=is_shared)
    assert_exact(FNet(config), *pair(9, 11), band_rows=4)


@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("iterations", [1, 2])
def test_few_iterations(momentum: Momentum, iterations: int, device_kind: str) -> None:
    torch.manual_seed(3)
    network = FNet(FNetConfig(4, 3, iterations, momentum=momentum))
    assert_exact(network, *pair(6, 7, batch=2))
    assert device_kind


def test_however_codes_lie_in_memory(device_kind: str) -> None:
    """As on a CUDA device in float32, where channels come first."""
    torch.manual_seed(3)
    network, images = FNet(FNetConfig(6, 5, 3)).double(), pair(20, 13, batch=2)
    first, second = (image.double() for image in images)
    parts, codes = separate(in_bands(network, channels_last=False), first, second)
    expected = plainly(network, first, second)
    for fast, slow in zip((*parts, *codes), (*expected[0], *expected[1]), strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-11, rtol=1e-11)
    assert codes.z.is_contiguous() or device_kind == "bands"


@pytest.mark.parametrize("kernel_size", [1, 3, 9, 11])
@pytest.mark.parametrize("atoms", [1, 7])
def test_every_kernel_size_and_count_of_atoms(
    atoms: int, kernel_size: int, device_kind: str
) -> None:
    torch.manual_seed(4)
    assert_exact(FNet(FNetConfig(atoms, kernel_size, 2)), *pair(14, 10), band_rows=6)
    assert device_kind


@pytest.mark.parametrize(
    ("height", "width", "band_rows"),
    [(1, 1, None), (1, 1, 1), (1, 40, 1), (40, 1, 7), (3, 2, 2), (37, 31, 8), (37, 31, 1)],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_every_size(
    height: int, width: int, band_rows: int | None, batch: int, device_kind: str
) -> None:
    torch.manual_seed(5)
    network = FNet(FNetConfig(6, 5, 2))
    x, y = pair(height, width, batch)
    expected = plainly(network, x, y)[0]
    parts = only_parts(in_bands(network, band_rows=band_rows), x, y)
    for fast, slow in zip(parts, expected, strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-4, rtol=0)
    assert_exact(network, x, y, band_rows)
    assert device_kind


def test_groups_of_small_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven images, three of which fit into a band: groups of 3, 3 and 1."""
    torch.manual_seed(6)
    network = FNet(FNetConfig(4, 3, 2)).double()
    monkeypatch.setattr(bands, "BAND_BYTES", 3 * 10 * 12 * 4 * 8)
    assert in_bands(network)._plan(7, 10, 12) == (3, 10)
    assert_exact(network, *pair(10, 12, batch=7))


def test_repeated_calls_and_threads(threads: int) -> None:
    """Nothing is left over from one call to the next, whatever its size."""
    torch.manual_seed(7)
    network = FNet(FNetConfig(6, 5, 2))
    executor = in_bands(network, band_rows=5)
    first, _ = separate(executor, *pair(20, 13))
    kept = [part.clone() for part in first]
    separate(executor, *pair(31, 17, batch=2))
    again = only_parts(executor, *pair(20, 13))
    assert torch.get_num_threads() == threads
    for before, now, after in zip(kept, first, again, strict=True):
        assert torch.equal(before, now)
        assert torch.equal(before, after)


def test_black_images_give_exact_zeros(device_kind: str) -> None:
    black = torch.zeros(1, 1, 12, 9)
    parts, codes = separate(in_bands(FNet(FNetConfig(6, 5, 2))), black, black)
    assert all(not array.any() for array in (*parts, *codes)), device_kind


def test_shipped_weights_on_a_picture(device_kind: str) -> None:
    network = at_work(load_weights().network)
    x, y = example_pair(70, 90)
    expected, expected_codes = plainly(network, x, y)
    parts, codes = separate(in_bands(network, band_rows=16), x, y)
    for fast, slow in zip((*parts, parts.fused), (*expected, expected.fused), strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-4, rtol=0)
    for name, fast, slow in zip(codes._fields, codes, expected_codes, strict=True):
        difference = (fast - slow).abs()
        assert difference.max() < 1e-2, (name, device_kind)
        assert (difference > 1e-4).float().mean() < 1e-3, (name, device_kind)


def test_bfloat16_operands_move_few_pixels(device_kind: str) -> None:
    network = at_work(load_weights().network)
    x, y = example_pair(70, 90)
    exact = only_parts(in_bands(network), x, y)
    parts, codes = separate(in_bands(network, is_rounded=True), x, y)
    levels = 255 * (parts.fused - exact.fused).abs()
    assert parts.fused.dtype == torch.float32
    assert codes.z.dtype == torch.float32
    assert 0 < levels.max() < 3, device_kind
    assert (levels > 1).float().mean() < 1e-3, device_kind


def test_memory_is_said_to_grow_with_what_is_held() -> None:
    """At least the two codes of a block, or all that are handed out and one more."""
    executor, with_codes = in_bands(FNet()), Wanted(features=True)
    code = 64 * 300 * 400 * 4
    assert 2 * code < executor.bytes_needed(1, 300, 400, Wanted()) < 5 * code
    assert executor.bytes_needed(5, 300, 400, Wanted()) < 5 * code
    assert 16 * code < executor.bytes_needed(5, 300, 400, with_codes) < 20 * code
