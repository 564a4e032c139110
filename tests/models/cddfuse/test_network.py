"""The network against its equations and against numbers of the published program."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bench.plain_cddfuse import fuse_cddfuse_plainly
from fnetcli.models.cddfuse.config import SKIPS, CDDFuseConfig, Skip
from fnetcli.models.cddfuse.frozen import frozen
from fnetcli.models.cddfuse.network import (
    Block,
    CDDFuse,
    ChannelAttention,
    Coupling,
    DenseAttention,
    Features,
    FusedFeatures,
    Statistics,
    pad_by_reflection,
)
from tests.models.cddfuse.published import load_network, load_numbers, needs_reference

TINY = CDDFuseConfig(dim=8, heads=2, encoder_blocks=1, decoder_blocks=1, couplings=1)
UNEVEN = CDDFuseConfig(
    dim=12, heads=3, encoder_blocks=2, decoder_blocks=1, expansion=3, base_expansion=2,
    couplings=2, fuse_couplings=2, skip="sum",
)  # fmt: skip


def pair(height: int, width: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    first, second = torch.rand(2, batch, 1, height, width, generator=generator)
    return first, second


def matrices_of(
    network: CDDFuse, first: Tensor, second: Tensor
) -> tuple[list[ChannelAttention], list[Tensor]]:
    """Return all attentions of a network and the matrices that they have for a pair."""
    attentions = [one for one in network.modules() if isinstance(one, ChannelAttention)]
    found = dict[ChannelAttention, Tensor]()
    with pytest.MonkeyPatch.context() as patched:
        for attention in attentions:

            def keep(
                statistics: Statistics,
                of: ChannelAttention = attention,
                matrix: Any = attention.matrix,
            ) -> Tensor:
                found[of] = matrix(statistics)
                return found[of]

            patched.setattr(attention, "matrix", keep)
        network(first, second)
    return attentions, [found[attention] for attention in attentions]


def make(config: CDDFuseConfig = TINY, seed: int = 0) -> CDDFuse:
    """Return a network with all numbers away from their start values."""
    torch.manual_seed(seed)
    network = CDDFuse(config).requires_grad_(False)
    for name, parameter in network.named_parameters():
        if "norm" in name or name.endswith(("bias", "temperature")):
            parameter.add_(torch.rand_like(parameter))
    return network


@needs_reference
class TestReference:
    @pytest.mark.parametrize(
        ("case", "dtype", "of_features", "of_images"),
        [
            ("a_", torch.float32, 1e-4, 3e-6),
            ("b_", torch.float32, 1e-4, 3e-6),
            ("b_", torch.float64, 2e-6, 1e-7),
        ],
    )
    def test_agrees_with_the_published_program(
        self, case: str, dtype: torch.dtype, of_features: float, of_images: float
    ) -> None:
        network = load_network(dtype).requires_grad_(False)
        numbers = load_numbers("io")
        vis, ir = (torch.from_numpy(numbers[case + name]).to(dtype) for name in ("vis", "ir"))
        features = dict(zip(("ir", "vis"), network.encode_pair(ir, vis), strict=True))
        fused = network.fuse(features["ir"], features["vis"])
        found = {"base_fused": fused.base, "detail_fused": fused.detail}
        found["reduced"] = network.decoder.reduce(torch.cat(fused, dim=1))
        for side, image in (("ir", ir), ("vis", vis)):
            found |= {f"{name}_{side}": map_ for name, map_ in features[side]._asdict().items()}
            found[f"recon_{side}"] = network.reconstruct(*features[side][1:], image)
        for name, skip in (("vis", vis), ("sum", vis + ir), ("none", None)):
            found[f"fused_skip_{name}"] = network.reconstruct(*fused, skip)
        step = 4 if case == "a_" else 1
        for name, value in found.items():
            is_image = value.shape[1] == 1
            stored = value if is_image else value[..., ::step, ::step]
            error = np.abs(stored.numpy() - numbers[case + name]).max()
            assert error <= (of_images if is_image else of_features), (name, error)

    @pytest.mark.parametrize(
        ("skip", "name"), [("second", "vis"), ("first", "vis"), ("sum", "sum"), ("none", "none")]
    )
    def test_forward_fuses_with_the_configured_skip(self, skip: Skip, name: str) -> None:
        numbers = load_numbers("io")
        vis, ir = (torch.from_numpy(numbers[f"b_{side}"]) for side in ("vis", "ir"))
        network = load_network(skip=skip).requires_grad_(False)
        fused = network(vis, ir).fused if skip == "first" else network(ir, vis).fused
        np.testing.assert_allclose(fused, numbers[f"b_fused_skip_{name}"], rtol=0, atol=3e-6)

    def test_bfloat16_stays_near(self) -> None:
        numbers = load_numbers("io")
        vis, ir = (torch.from_numpy(numbers[f"b_{side}"]) for side in ("vis", "ir"))
        network = load_network().requires_grad_(False)
        with torch.autocast("cpu", torch.bfloat16):
            fused = network(ir, vis).fused
        assert fused.dtype == torch.float32
        np.testing.assert_allclose(fused, numbers["b_fused_skip_vis"], rtol=0, atol=0.02)


class TestForm:
    @pytest.mark.parametrize("config", [TINY, UNEVEN])
    @pytest.mark.parametrize("size", [(2, 2), (9, 6), (16, 16)])
    def test_computes_what_the_equations_say(
        self, config: CDDFuseConfig, size: tuple[int, int]
    ) -> None:
        network = make(config).double()
        first, second = (image.double() for image in pair(*size, batch=2))
        skip = network.skip(first, second)
        expected = fuse_cddfuse_plainly(first, second, skip, network.state_dict(), config)
        torch.testing.assert_close(network(first, second).fused, expected, rtol=0, atol=1e-12)

    def test_gradients_are_those_of_the_equations(self) -> None:
        network = make().double().requires_grad_(True)
        first, second = (image.double() for image in pair(7, 9))
        network(first, second).fused.square().sum().backward()
        state = {k: v.detach().clone().requires_grad_() for k, v in network.state_dict().items()}
        fuse_cddfuse_plainly(first, second, second, state, TINY).square().sum().backward()
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(parameter.grad, state[name].grad, rtol=1e-9, atol=1e-12)

    def test_float32_sums_stay_exact_under_autocast(self) -> None:
        attention = make().encoder.base.attention
        assert isinstance(attention, ChannelAttention)
        qk = torch.rand(1, 16, 40, 40)
        with torch.autocast("cpu", torch.bfloat16):
            inside = attention.statistics(qk)
        for found, expected in zip(inside, attention.statistics(qk), strict=True):
            assert found.dtype == torch.float32
            torch.testing.assert_close(found, expected, rtol=0, atol=0)

    def test_statistics_of_parts_add_up(self) -> None:
        attention = make().encoder.base.attention
        assert isinstance(attention, ChannelAttention)
        qk = torch.rand(2, 16, 9, 5, dtype=torch.float64)
        parts = [attention.statistics(part) for part in qk.split(4, dim=2)]
        total = parts[0] + parts[1] + parts[2]
        assert isinstance(total, Statistics)
        for found, expected in zip(total, attention.statistics(qk), strict=True):
            torch.testing.assert_close(found, expected)

    def test_sums_nothing_but_statistics(self) -> None:
        with pytest.raises(TypeError):
            Statistics(*torch.zeros(3, 1)) + 1

    def test_folded_kernels_are_two_convolutions(self) -> None:
        attention = make().encoder.base.attention
        assert isinstance(attention, DenseAttention)
        x = torch.rand(1, 8, 5, 6)
        torch.testing.assert_close(attention.qkv(x), attention.dense(attention.pointwise(x)))

    @pytest.mark.parametrize("name", ["base", "blocks.0"])
    def test_q_k_and_v_can_be_had_apart(self, name: str) -> None:
        block = make().encoder.get_submodule(name)
        assert isinstance(block, Block)
        attention, x = block.attention, torch.rand(1, 8, 5, 6)
        apart = torch.cat((attention.qk(x), attention.v(x)), dim=1)
        torch.testing.assert_close(apart, attention.qkv(x))


class TestLaws:
    @given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 3))
    def test_takes_any_size_and_treats_a_batch_as_separate_images(
        self, height: int, width: int, batch: int
    ) -> None:
        network = make()
        first, second = pair(height, width, batch)
        fused = network(first, second).fused
        assert fused.shape == (batch, 1, height, width)
        assert torch.isfinite(fused).all()
        for i in range(batch):
            alone = network(first[i : i + 1], second[i : i + 1]).fused
            torch.testing.assert_close(fused[i : i + 1], alone, rtol=0, atol=2e-6)

    @pytest.mark.parametrize("skip", ["sum", "none"])
    def test_swapping_the_images_changes_no_bit(self, skip: Skip) -> None:
        network = make(CDDFuseConfig(dim=8, heads=2, encoder_blocks=1, couplings=1, skip=skip))
        first, second = pair(11, 8)
        assert torch.equal(network(first, second).fused, network(second, first).fused)

    def test_encoding_a_pair_is_encoding_each(self) -> None:
        network = make()
        images = pair(10, 7, batch=2)
        for found, image in zip(network.encode_pair(*images), images, strict=True):
            assert isinstance(found, Features)
            for a, b in zip(found, network.encode(image), strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=2e-6)

    def test_forward_is_fuse_and_reconstruct(self) -> None:
        network = make()
        first, second = pair(8, 8)
        fused = network.fuse(network.encode(first), network.encode(second))
        assert isinstance(fused, FusedFeatures)
        image = network.reconstruct(fused.base, fused.detail, second)
        torch.testing.assert_close(network(first, second).fused, image, rtol=0, atol=2e-6)

    @given(st.integers(1, 9), st.integers(1, 9))
    def test_a_coupling_can_be_inverted(self, height: int, width: int) -> None:
        torch.manual_seed(height * 10 + width)
        coupling = Coupling(TINY).double().requires_grad_(False)
        coupling.shuffle.weight += torch.eye(8)[:, :, None, None]
        z = torch.randn(2, 8, height, width, dtype=torch.float64)
        torch.testing.assert_close(coupling.invert(coupling(z)), z, rtol=0, atol=1e-9)

    def test_reflection_repeats_a_side_of_one_pixel(self) -> None:
        row = torch.tensor([[[[1.0, 2.0, 3.0]]]])
        expected = torch.tensor([2.0, 1.0, 2.0, 3.0, 2.0]).expand(1, 1, 3, 5)
        assert torch.equal(pad_by_reflection(row), expected)
        assert torch.equal(pad_by_reflection(row.mT), expected.mT)
        assert torch.equal(pad_by_reflection(row[..., :1]), torch.ones(1, 1, 3, 3))

    @pytest.mark.parametrize("config", [TINY, CDDFuseConfig(dim=8, heads=2, decoder_blocks=1)])
    def test_with_its_matrices_given_it_reaches_so_far_and_no_farther(
        self, config: CDDFuseConfig
    ) -> None:
        network = make(config).double()
        reach, side = config.frozen_reach, 2 * config.frozen_reach + 5
        first, second = (image.double() for image in pair(side, side))
        with frozen(*matrices_of(network, first, second)):
            first.requires_grad_()
            network(first, second).fused[0, 0, side // 2, side // 2].backward()
        assert first.grad is not None
        touched = torch.nonzero(first.grad[0, 0])
        assert (touched - side // 2).abs().max() == reach


class TestInfinity:
    def test_an_infinite_logit_is_no_picture(self) -> None:
        network = make()
        network.decoder.output.weight.fill_(1e38)
        x = torch.full((1, 8, 4, 4), 1e3)
        assert not torch.isfinite(network.decoder.finish(x, None)).any()


class TestBlackImages:
    """A black image has constant features at the start: their norms vanish after centring."""

    @pytest.mark.parametrize("level", [0.0, 1.0])
    def test_gradients_are_finite(self, level: float) -> None:
        torch.manual_seed(0)
        network = CDDFuse(TINY)
        first = torch.full((1, 1, 16, 16), level)
        network(first, first).fused.sum().backward()
        for parameter in network.parameters():
            assert parameter.grad is not None
            assert torch.isfinite(parameter.grad).all()


class TestConfig:
    def test_default_has_the_published_size(self) -> None:
        config = CDDFuseConfig()
        assert config.parameter_count == 1_188_272
        assert config.multiply_adds == 1_798_368
        assert config.folded_multiply_adds == 1_097_952
        assert config.frozen_reach == 27

    @pytest.mark.parametrize("config", [CDDFuseConfig(), TINY, UNEVEN])
    def test_counts_what_is_there(self, config: CDDFuseConfig) -> None:
        with torch.device("meta"):
            network = CDDFuse(config)
        count = sum(parameter.numel() for parameter in network.parameters())
        assert config.parameter_count == count

    @pytest.mark.parametrize(
        "change",
        [
            {"dim": 63},
            {"dim": 0},
            {"dim": 10**9},
            {"dim": 64.0},
            {"heads": 3},
            {"heads": 0},
            {"heads": True},
            {"encoder_blocks": -1},
            {"expansion": 0},
            {"couplings": "3"},
            {"skip": "both"},
        ],
    )
    def test_refuses_impossible_numbers(self, change: dict[str, object]) -> None:
        with pytest.raises(ValueError, match=next(iter(change))):
            CDDFuseConfig(**change)  # type: ignore[arg-type]

    def test_every_skip_has_its_image(self) -> None:
        first, second = pair(3, 4)
        found = [CDDFuse(CDDFuseConfig(dim=2, heads=1, skip=s)).skip(first, second) for s in SKIPS]
        for a, b in itertools.pairwise([*found, None]):
            assert a is None or b is None or not torch.equal(a, b)
        assert found[0] is first
        assert found[1] is second
        assert found[3] is None
