"""The shaped execution gives what the plain one gives: values and gradients."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional as F

from bench.plain import fuse_plainly
from fnetcli.models.fnet import shaped
from fnetcli.models.fnet.config import FNetConfig, IFNetConfig, Momentum, Threshold
from fnetcli.models.fnet.network import FNet, IFNet
from tests.models.fnet.test_network import MOMENTA, THRESHOLDS, pair


# tests/cli/test_train.py compiles in every run of the tests.
@pytest.fixture(params=["eager", pytest.param("compiled", marks=pytest.mark.long)])
def threshold_mode(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "compiled":
        try:
            shaped.compile_threshold()
        except Exception as error:  # noqa: BLE001
            pytest.skip(f"no compiler here: {type(error).__name__}")
    yield request.param
    shaped.use_eager_threshold()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (16, 21)])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_convolutions_equal_conv2d(size: tuple[int, int], channels: int) -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, channels, *size, dtype=torch.float32)
    kernels = torch.randn(8, channels, 5, 5)
    expected = F.conv2d(maps, kernels, padding=2)
    torch.testing.assert_close(shaped.analyse(maps, kernels), expected, atol=1e-4, rtol=1e-4)
    back = kernels.transpose(0, 1).contiguous()
    torch.testing.assert_close(
        shaped.synthesise(expected, back),
        F.conv2d(expected, back, padding=2),
        atol=1e-3,
        rtol=1e-4,
    )


@pytest.mark.parametrize(
    ("threshold", "momentum", "is_shared", "iterations"),
    list(itertools.product(THRESHOLDS, MOMENTA, [False, True], [1, 3])),
)
def test_every_configuration_agrees(
    threshold: Threshold, momentum: Momentum, is_shared: bool, iterations: int
) -> None:
    torch.manual_seed(3)
    config = FNetConfig(4, 3, iterations, threshold, momentum=momentum, shared_kernels=is_shared)
    network = FNet(config)
    x, y = pair(10, 13, batch=2)
    codes, parts = shaped.separate_and_combine(network, x, y)
    plain = network.combine(network.separate(x, y))
    for fast, slow in zip(parts, plain, strict=True):
        torch.testing.assert_close(fast, slow, atol=2e-5, rtol=1e-4)
    assert codes.z.shape == (2, 4, 10, 13)


def test_gradients_agree(threshold_mode: str) -> None:
    """In float32 against the plain network in float64."""
    torch.manual_seed(4)
    network, inverse = FNet(FNetConfig(6, 5, 3)), IFNet(IFNetConfig(6, 5, 2))
    exact, exact_inverse = FNet(network.config).double(), IFNet(inverse.config).double()
    exact.load_state_dict(network.state_dict())
    exact_inverse.load_state_dict(inverse.state_dict())
    x, y = pair(12, 14, batch=2)

    fused = shaped.separate_and_combine(network, x, y)[1].fused
    first, second = shaped.invert(inverse, fused)
    (first.square().mean() + (second - x).abs().mean()).backward()
    first, second = exact_inverse.recover(exact(x.double(), y.double()).fused)
    (first.square().mean() + (second - x).abs().mean()).backward()

    modules = [(network, exact), (inverse, exact_inverse)]
    for fast, slow in modules:
        wanted = dict(slow.named_parameters())
        for name, parameter in fast.named_parameters():
            gradient, expected = parameter.grad, wanted[name].grad
            assert gradient is not None, (threshold_mode, name)
            assert expected is not None
            error = (gradient.double() - expected).norm() / expected.norm()
            assert error < 2e-3, (threshold_mode, name, error)


def test_bfloat16_autocast_trains_with_finite_gradients(threshold_mode: str) -> None:
    network = FNet(FNetConfig(6, 5, 2))
    x, y = pair(16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        fused = shaped.separate_and_combine(network, x, y)[1].fused
    assert fused.dtype == torch.float32, threshold_mode
    fused.mean().backward()
    gradients = [p.grad for p in network.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    exact = network(x, y).fused
    assert (fused - exact).abs().max() < 0.05 * exact.abs().max() + 0.02


def test_the_plain_baseline_is_the_same_network() -> None:
    torch.manual_seed(5)
    network = FNet()
    x, y = pair(40, 30)
    expected = network(x, y).fused
    plain = fuse_plainly(network.state_dict(), x, y)
    torch.testing.assert_close(plain, expected, atol=1e-4, rtol=1e-4)
