"""Both segmentation networks behind one face."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from fnetcli.models.uaafusion.config import Segmentation
from fnetcli.models.uaafusion.segmentation import BatchNorm, Layer, build_segmentation

KINDS: list[Segmentation] = ["small", "mobilenet"]


@pytest.mark.parametrize("kind", KINDS)
@given(height=st.integers(1, 40), width=st.integers(1, 40))
@settings(max_examples=8)
def test_any_size(kind: Segmentation, height: int, width: int) -> None:
    network = build_segmentation(kind, 5).eval()
    with torch.no_grad():
        logits = network(torch.rand(2, 1, height, width))
    assert logits.shape == (2, 5, height, width)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize(
    ("kind", "classes", "count"), [("small", 8, 69_424), ("mobilenet", 15, 3_255_519)]
)
def test_parameters(kind: Segmentation, classes: int, count: int) -> None:
    network = build_segmentation(kind, classes)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


@pytest.mark.parametrize("kind", KINDS)
def test_all_tensors_are_real_numbers(kind: Segmentation) -> None:
    state = build_segmentation(kind, 3).state_dict()
    assert all(tensor.is_floating_point() for tensor in state.values())


@pytest.mark.parametrize("kind", KINDS)
def test_one_pixel_in_training_mode(kind: Segmentation) -> None:
    """A statistic of one value is none: the running ones are used."""
    network = build_segmentation(kind, 3).train()
    assert torch.isfinite(network(torch.rand(1, 1, 1, 1))).all()


def test_the_small_one_is_smooth() -> None:
    """Its gradient changes by little where the image does: no ReLU in it."""
    network = build_segmentation("small", 3)
    kinks = (nn.ReLU, nn.ReLU6, nn.PReLU, nn.MaxPool2d)
    assert not any(isinstance(module, kinks) for module in network.modules())


@pytest.mark.parametrize("is_training", [True, False])
def test_batch_normalisation_is_that_of_torch(is_training: bool) -> None:
    ours, theirs = BatchNorm(3).train(is_training), nn.BatchNorm2d(3).train(is_training)
    x = torch.rand(2, 3, 4, 5)
    for _ in range(2):
        torch.testing.assert_close(ours(x), theirs(x))
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name))


def test_a_layer_in_evaluation_is_the_same_folded_into_one_convolution() -> None:
    torch.manual_seed(1)
    layer = Layer(3, 5, stride=2, dilation=2)
    layer.norm.running_mean.normal_()
    layer.norm.running_var.uniform_(0.5, 2)
    layer.eval()
    image = torch.rand(2, 3, 9, 8, requires_grad=True)
    expected = F.silu(layer.norm(layer.filter(image)))
    torch.testing.assert_close(layer(image), expected, rtol=1e-5, atol=1e-6)
    gradients = [torch.autograd.grad(one.sum(), image)[0] for one in (layer(image), expected)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)
