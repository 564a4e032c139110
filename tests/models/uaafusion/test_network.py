"""The network by its laws: the data step, sizes, batches, precision, gradients, counts."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fnetcli.models.uaafusion.attribution import one_hot
from fnetcli.models.uaafusion.config import Segmentation, UAAFusionConfig
from fnetcli.models.uaafusion.network import UAAFusion
from tests.models.uaafusion.networks import TINY, fresh, images, smooth_segmentation


def last(network: UAAFusion, first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    mask = network.guess_mask(first, second)
    for moment in network.unfold(first, second, weight, mask):
        fused = moment.after
    return fused


# --- counts ---------------------------------------------------------------------------------------


def test_parameters() -> None:
    network = UAAFusion()
    assert sum(parameter.numel() for parameter in network.fusion_parameters()) == 825_192
    assert sum(p.numel() for p in network.segmentation.parameters()) == 3_255_519


@pytest.mark.parametrize("config", [UAAFusionConfig(segmentation="small"), TINY])
def test_multiply_adds(config: UAAFusionConfig) -> None:
    """Count those of every convolution that is part of the fusion network."""
    network, counted = fresh(config), 0
    kernels = {id(p): p for name, p in network.named_parameters() if "segmentation" not in name}
    counted = sum(kernel.numel() for kernel in kernels.values() if kernel.ndim == 4)
    assert config.multiply_adds == counted


# --- the data step --------------------------------------------------------------------------------


@given(alpha=st.sampled_from([0.0, 1.0, 0.37]), height=st.integers(1, 6), same=st.booleans())
def test_data_step(alpha: float, height: int, same: bool) -> None:
    network = fresh()
    with torch.no_grad():
        network.alpha.fill_(alpha)
    first, second, estimate, weight = images(height, 5, count=4)
    if same:
        second = estimate = first
    step = network.descend(0, estimate, first, second, weight)
    target = weight * first + (1 - weight) * second
    torch.testing.assert_close(step, estimate + alpha * (target - estimate))
    if same:
        torch.testing.assert_close(step, first)


def test_without_the_data_step_nothing_moves() -> None:
    network = fresh(dataclasses.replace(TINY, data_step=False))
    first, second, estimate, weight = images(4, 5, count=4)
    assert network.descend(0, estimate, first, second, weight) is estimate


@pytest.mark.parametrize("data_step", [True, False])
def test_alpha_learns_only_with_the_data_step(data_step: bool) -> None:
    network = fresh(dataclasses.replace(TINY, data_step=data_step))
    first, second, weight = images(8, 8, count=3)
    (gradient,) = torch.autograd.grad(
        last(network, first, second, weight).square().mean(), network.alpha, allow_unused=True
    )
    if data_step:
        assert gradient.abs().min() > 0
    else:
        assert gradient is None


def test_every_parameter_of_the_fusion_network_learns() -> None:
    network = fresh()
    first, second, weight = images(12, 12, count=3, batch=2)
    last(network, first, second, weight).square().mean().backward()
    idle = [
        name
        for name, parameter in network.named_parameters()
        if "segmentation" not in name
        and (parameter.grad is None or not parameter.grad.abs().max() > 0)
    ]
    assert idle == []


def test_a_fresh_network_is_not_flat() -> None:
    """With torch's own initial kernels the estimates deviate by 1e-4."""
    torch.manual_seed(0)
    network = UAAFusion(UAAFusionConfig(segmentation="small"))
    ramp = torch.linspace(0, 1, 32).expand(32, 32)[None, None]
    with torch.no_grad():
        assert network.fuse(ramp, ramp.mT).fused.std() > 0.01


# --- face -----------------------------------------------------------------------------------------


@given(height=st.integers(1, 20), width=st.integers(1, 20), batch=st.integers(1, 2))
@settings(max_examples=20)
def test_any_size(height: int, width: int, batch: int) -> None:
    network = fresh().eval()
    first, second = images(height, width, batch=batch)
    names = (*network.map_names, *network.feature_names)
    with torch.no_grad():
        result = network.fuse(first, second, names)
    assert result.fused.shape == first.shape
    assert (*result.maps, *result.features) == names
    for image in result.maps.values():
        assert image.shape == first.shape
        assert torch.isfinite(image).all()
    for feature in result.features.values():
        assert feature.shape == (batch, TINY.channels, height, width)
    torch.testing.assert_close(result.maps["stage_3"], result.fused)
    total = result.maps["weight_first"] + result.maps["weight_second"]
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-6)
    found = result.maps["segmentation"].unique().tolist()
    assert set(found) <= set(range(TINY.classes))


@pytest.mark.parametrize("kind", ["small", "mobilenet"])
def test_a_batch_is_its_images_one_by_one(kind: Segmentation) -> None:
    config = dataclasses.replace(TINY, segmentation=kind)
    network = fresh(config).eval()
    first, second = images(21, 18, batch=3)
    together = network.fuse(first, second, ["weight_first"])
    for n in range(3):
        alone = network.fuse(first[n : n + 1], second[n : n + 1], ["weight_first"])
        # With ReLU in S a gradient may switch by rounding, and scaled attention shows it.
        tolerance = 1e-5 if kind == "small" else 1e-3
        torch.testing.assert_close(together.fused[n : n + 1], alone.fused, rtol=0, atol=tolerance)
        weights = together.maps["weight_first"][n : n + 1], alone.maps["weight_first"]
        torch.testing.assert_close(*weights, rtol=0, atol=1e-5)


def test_only_what_is_wanted_is_returned() -> None:
    network = fresh().eval()
    first, second = images(6, 6)
    assert network.fuse(first, second).maps == {}
    assert [*network.fuse(first, second, {"stage_2"}).maps] == ["stage_2"]
    with pytest.raises(ValueError, match="no map or feature 'unique_first'"):
        network.fuse(first, second, ["unique_first"])


def test_float64_agrees() -> None:
    network = fresh().eval()
    first, second = images(15, 13)
    single = network.fuse(first, second).fused
    double = network.double()(first.double(), second.double()).fused
    torch.testing.assert_close(single, double.float(), rtol=0, atol=2e-5)


def test_bfloat16_is_close_and_its_attribution_exact() -> None:
    network = fresh().eval()
    first, second = images(16, 16)
    full = network.fuse(first, second, ["weight_first"])
    with torch.autocast("cpu", torch.bfloat16):
        half = network.fuse(first, second, ["weight_first"])
    assert half.fused.dtype == torch.float32
    torch.testing.assert_close(half.fused, full.fused, rtol=0, atol=0.05)
    torch.testing.assert_close(half.maps["weight_first"], full.maps["weight_first"])


def test_training_mode_changes_only_what_the_caller_runs() -> None:
    """Attribution neither feeds running statistics nor leaves S in evaluation mode."""
    network = fresh().train()
    before = {name: value.clone() for name, value in network.named_buffers()}
    network.fuse(*images(16, 16))
    assert all(module.training for module in network.modules())
    for name, value in network.named_buffers():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_another_segmentation_network() -> None:
    network = fresh(TINY, smooth_segmentation())
    assert isinstance(network.segmentation, nn.Conv2d)
    assert network.fuse(*images(7, 9)).fused.shape == (1, 1, 7, 9)


def test_attention_is_a_constant() -> None:
    """The last stage's image reaches S's parameters by no path through the attribution."""
    network = fresh()
    first, second, weight = images(9, 9, count=3)
    mask = one_hot(torch.ones(1, 9, 9, dtype=torch.int64), TINY.classes)
    for moment in network.unfold(first, second, weight, mask):
        assert not moment.attention.requires_grad
        fused = moment.after
    fused.mean().backward()
    assert all(parameter.grad is None for parameter in network.segmentation.parameters())


# --- pieces of an image ---------------------------------------------------------------------------


def test_a_pixel_depends_on_the_margin_around_it() -> None:
    """Through the convolutions, with the guide given: so far, and no farther."""
    network, side = fresh(), 2 * TINY.margin + 9
    first, second = images(side, side)
    first.requires_grad_()
    guide = network.guide(first.detach(), second)
    middle = side // 2
    fused = network.fuse_guided(first, second, guide).fused
    (gradient,) = torch.autograd.grad(fused[0, 0, middle, middle], first)
    rows = gradient[0, 0].abs().sum(dim=1).nonzero().flatten()
    assert [middle - int(rows.min()), int(rows.max()) - middle] == [TINY.margin] * 2
    assert UAAFusionConfig().margin == 44


def test_a_guide_of_the_whole_image_changes_nothing() -> None:
    network = fresh()
    first, second = images(20, 22)
    wanted = network.map_names
    whole = network.fuse(first, second, wanted)
    guided = network.fuse_guided(first, second, network.guide(first, second, wanted), wanted)
    torch.testing.assert_close(guided.fused, whole.fused)
    for name in wanted:
        torch.testing.assert_close(guided.maps[name], whole.maps[name])
