"""The network against its equations and against numbers of the published program."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fnetcli.checkpoints.loading import load_weights
from fnetcli.models.base import Wanted
from fnetcli.models.fnet import FNET
from fnetcli.models.fnet.config import (
    FNetConfig,
    IFNetConfig,
    LZSCConfig,
    Momentum,
    Threshold,
)
from fnetcli.models.fnet.network import (
    LZSC,
    FNet,
    IFNet,
    Trace,
    hard_threshold,
    sigmoidal_threshold,
    soft_threshold,
)
from tests.networks import at_work

REFERENCE = Path(__file__).parents[3].parent / "shared" / "reference"
TINY = FNetConfig(atoms=6, kernel_size=3, iterations=3)
THRESHOLDS: list[Threshold] = ["sigmoidal", "soft", "hard"]
MOMENTA: list[Momentum] = ["nesterov", "polyak", "quasi-hyperbolic", "none"]


def pair(height: int, width: int, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    x, y = torch.rand(2, batch, 1, height, width, generator=generator)
    return x, y


class TestThreshold:
    @given(st.floats(-50, 50, width=32), st.floats(0.015625, 2, width=32))
    def test_is_odd_and_keeps_large_values(self, value: float, theta: float) -> None:
        x, t = torch.tensor([value], dtype=torch.float64), torch.tensor([theta])
        y = sigmoidal_threshold(x, t, 0.1, 100.0)
        torch.testing.assert_close(sigmoidal_threshold(-x, t, 0.1, 100.0), -y)
        assert abs(y.item()) <= abs(value) + 0.1 * theta
        if abs(value) > theta + 1:
            assert abs(y.item()) == pytest.approx(abs(value) - 0.1 * theta, rel=1e-5)

    def test_tends_to_the_hard_threshold(self) -> None:
        x, theta = torch.linspace(-2, 2, 399, dtype=torch.float64), torch.tensor([0.5])
        limit = sigmoidal_threshold(x, theta, 0.0, 1e6)
        torch.testing.assert_close(limit, hard_threshold(x, theta), atol=1e-3, rtol=0)

    def test_hand_computed_values(self) -> None:
        x, theta = torch.tensor([0.0, 0.5, -2.0]), torch.tensor([0.5])
        expected = torch.tensor([0.0, 0.45 / 2, -1.95])
        torch.testing.assert_close(sigmoidal_threshold(x, theta, 0.1, 100.0), expected)
        torch.testing.assert_close(soft_threshold(x, theta), torch.tensor([0.0, 0.0, -1.5]))
        torch.testing.assert_close(hard_threshold(x, theta), torch.tensor([0.0, 0.0, -2.0]))

    def test_survives_large_codes_with_finite_gradients(self) -> None:
        x = torch.tensor([-1e30, -1e4, 0.0, 1e-30, 1e4, 1e30], requires_grad=True)
        theta = torch.tensor([0.1], requires_grad=True)
        y = sigmoidal_threshold(x, theta, 0.1, 100.0)
        y.sum().backward()
        assert torch.isfinite(y).all()
        assert x.grad is not None
        assert theta.grad is not None
        assert torch.isfinite(x.grad).all()
        assert torch.isfinite(theta.grad).all()


class TestConfig:
    def test_default_has_the_published_size(self) -> None:
        network = FNet()
        assert network.parameter_count == 419_916
        assert network.config.multiply_adds == 419_904  # all but the twelve scalars
        assert network.config.reach == 80

    @pytest.mark.parametrize(
        "change",
        [
            {"atoms": 0},
            {"kernel_size": 4},
            {"iterations": 0},
            {"threshold": "firm"},
            {"momentum": "heavy"},
            {"alpha": -0.1},
            {"gamma": 0.0},
        ],
    )
    def test_refuses_impossible_numbers(self, change: dict[str, object]) -> None:
        with pytest.raises(ValueError, match=next(iter(change))):
            FNetConfig(**change)  # type: ignore[arg-type]

    def test_reach_is_exact(self) -> None:
        torch.manual_seed(0)
        network = FNet(FNetConfig(atoms=4, kernel_size=3, iterations=1)).double()
        reach = network.config.reach
        x, y = (image.double() for image in pair(41, 41))
        x.requires_grad_()
        network(x, y).fused[0, 0, 20, 20].backward()
        assert x.grad is not None
        touched = torch.nonzero(x.grad[0, 0])
        assert (touched - 20).abs().max() == reach

    @pytest.mark.parametrize("momentum", MOMENTA)
    @pytest.mark.parametrize("shared_kernels", [False, True])
    @pytest.mark.parametrize("size", [(3, 1, 1), (4, 3, 2), (2, 5, 3), (5, 3, 6)])
    def test_multiply_adds_are_those_of_the_convolutions_that_run(
        self, size: tuple[int, int, int], shared_kernels: bool, momentum: Momentum
    ) -> None:
        atoms, kernel_size, iterations = size
        network = FNet(
            FNetConfig(
                atoms, kernel_size, iterations, momentum=momentum, shared_kernels=shared_kernels
            )
        )
        counted = 0

        def count(layer: torch.nn.Module, _inputs: object, output: torch.Tensor) -> None:
            nonlocal counted
            assert isinstance(layer, torch.nn.Conv2d)
            per_output = layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]
            counted += output.numel() * per_output

        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.register_forward_hook(count)
        network(*pair(6, 7, batch=2))
        assert counted == network.config.multiply_adds * 2 * 6 * 7

    def test_shared_kernels_are_one_set(self) -> None:
        config = LZSCConfig(atoms=4, kernel_size=3, iterations=4, shared_kernels=True)
        assert sum(p.numel() for p in LZSC(1, config).parameters()) == 3 * 4 * 9 + 4


class TestLZSC:
    def test_follows_its_equations(self) -> None:
        """x_0, x_1 and x_2 written out from eq. 15-21."""
        torch.manual_seed(1)
        block = LZSC(1, LZSCConfig(atoms=5, kernel_size=3, iterations=2))
        e, softplus = pair(9, 7)[0], torch.nn.functional.softplus

        def rho(k: int) -> torch.Tensor:
            start, now = softplus(block.b_rho), softplus(block.w_rho * k + block.b_rho)
            return (now - start) / now

        def s(x: torch.Tensor, k: int) -> torch.Tensor:
            return sigmoidal_threshold(x, softplus(block.w_theta * k + block.b_theta), 0.1, 100.0)

        first, second, third = (block.iteration(k) for k in range(3))
        x0 = s(first.encode(e), 0)
        x1 = s((1 + rho(1)) * second.residuals[0](x0) + second.encode(e), 1)
        step = (1 + rho(2)) * third.residuals[0](x1) - rho(2) * third.residuals[1](x0)
        torch.testing.assert_close(block(e), s(step + third.encode(e), 2))

    def test_thresholds_fall_and_momentum_rises_at_the_start(self) -> None:
        block = LZSC(1, LZSCConfig())
        thetas = [block.theta(k).item() for k in range(5)]
        rhos = [block.rho(k).item() for k in range(1, 5)]
        assert thetas == sorted(thetas, reverse=True)
        assert rhos == sorted(rhos)
        assert 0 < rhos[0] < rhos[-1] < 1

    def test_trace_has_every_iteration(self) -> None:
        network, trace = FNet(TINY), Trace()
        codes = network.separate(*pair(8, 9), trace)
        assert [len(trace.u), len(trace.v), len(trace.z)] == [4, 4, 4]
        assert trace.residuals is not None
        torch.testing.assert_close(trace.z[-1].after, codes.z)
        torch.testing.assert_close(trace.u[2].after, network.encode_u.shrink(trace.u[2].before, 2))

    @pytest.mark.parametrize("share", [0.0, 1.0])
    def test_quasi_hyperbolic_spans_from_plain_to_nesterov(self, share: float) -> None:
        torch.manual_seed(2)
        mixed = LZSC(1, LZSCConfig(4, 3, 2, momentum="quasi-hyperbolic"))
        torch.nn.init.constant_(mixed.mix_logit, 100.0 if share else -100.0)
        other = LZSC(1, LZSCConfig(4, 3, 2, momentum="nesterov" if share else "none"))
        other.load_state_dict(mixed.state_dict(), strict=False)
        e = pair(6, 6)[0]
        torch.testing.assert_close(mixed(e), other(e))


class TestFNet:
    @pytest.mark.parametrize("size", [(1, 1), (1, 17), (2, 3), (33, 20)])
    def test_any_size_and_batch(self, size: tuple[int, int]) -> None:
        network = FNet(TINY)
        x, y = pair(*size, batch=3)
        together = network(x, y).fused
        assert together.shape == x.shape
        alone = torch.cat([network(x[i : i + 1], y[i : i + 1]).fused for i in range(3)])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)

    def test_what_is_wanted_is_made_and_no_more(self) -> None:
        network = FNet(TINY)
        x, y = pair(8, 9)
        codes = network.separate(x, y)
        found = network(x, y, Wanted(features=True))
        assert list(found.parts) == list(FNET.parts)
        assert list(found.features) == list(FNET.features(TINY)) == ["u", "v", "z"]
        assert found.whole is None
        assert not found.maps
        for code, wanted in zip(found.features.values(), codes, strict=True):
            assert torch.equal(code, wanted)
        for part, wanted in zip(found.parts.values(), network.combine(codes), strict=True):
            assert torch.equal(part, wanted)
        assert not network(x, y).features

    def test_parts_sum_to_the_fused_image(self) -> None:
        network = FNet(TINY)
        x, y = pair(12, 15)
        parts = network.combine(network.separate(x, y))
        assert torch.equal(parts[0] + parts[1] + parts[2], network(x, y).fused)

    @pytest.mark.parametrize(
        ("threshold", "momentum", "is_shared"),
        list(itertools.product(THRESHOLDS, MOMENTA, [False, True])),
    )
    def test_every_ablation_runs_with_gradients(
        self, threshold: Threshold, momentum: Momentum, is_shared: bool
    ) -> None:
        config = FNetConfig(4, 3, 2, threshold, momentum=momentum, shared_kernels=is_shared)
        network = FNet(config)
        network(*pair(7, 7)).fused.sum().backward()
        for name, parameter in network.named_parameters():
            has_none = threshold == "hard" and "theta" in name
            assert has_none or parameter.grad is not None, name
            assert parameter.grad is None or torch.isfinite(parameter.grad).all()

    def test_bfloat16_autocast_stays_close(self) -> None:
        torch.manual_seed(0)
        network = FNet(TINY)
        x, y = pair(20, 20)
        exact = network(x, y).fused
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(x, y).fused.float()
        assert torch.isfinite(rough).all()
        assert (rough - exact).abs().max() < 0.1 * exact.abs().max()

    def test_inverse_returns_both_sources(self) -> None:
        inverse = IFNet(IFNetConfig(4, 3, 2, threshold="soft"))
        first, second = inverse.recover(pair(9, 11)[0])
        assert first.shape == second.shape == (1, 1, 9, 11)
        assert not torch.equal(first, second)


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="no shared reference numbers here")
def test_reproduces_the_published_program() -> None:
    network = at_work(load_weights(REFERENCE / "fnet_authors_layout.pth").network)
    expected = {
        key: torch.from_numpy(array).float()
        for key, array in np.load(REFERENCE / "fnet_authors_io.npz").items()
    }
    with torch.inference_mode():
        codes = network.separate(expected["first"], expected["second"])
        parts = network.combine(codes)
    images = {"part_u": parts.unique_first, "part_v": parts.unique_second}
    images |= {"part_z": parts.common, "fused": parts.fused}
    for name, image in images.items():
        torch.testing.assert_close(image, expected[name], atol=1e-5, rtol=0)
    for name, code in codes._asdict().items():
        torch.testing.assert_close(code, expected[name], atol=1e-3, rtol=1e-3)
