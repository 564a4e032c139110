"""Both segmentation networks behind one face."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fnetcli.models.uaafusion.config import Segmentation
from fnetcli.models.uaafusion.segmentation import BatchNorm, build_segmentation

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
