"""The losses against hand-made cases."""

from __future__ import annotations

import math

import pytest
import torch

from fnetcli.training.uaafusion.losses import (
    gradient_loss,
    intensity_loss,
    joint_loss,
    label_loss,
    segmentation_loss,
)


def test_ramps_by_hand() -> None:
    infrared = (torch.arange(16.0) / 16).reshape(1, 1, 4, 4)
    visible, fused = infrared.flip(3), torch.full((1, 1, 4, 4), 0.5)
    weight = torch.full_like(fused, 0.75)
    parts = [part.item() for part in intensity_loss(fused, infrared, visible, weight)]
    assert parts == pytest.approx([0.0472412, 0.0052490], abs=1e-7)
    assert gradient_loss(fused, infrared, visible).item() == pytest.approx(1.4375)
    loss = joint_loss(fused, infrared, visible, weight, torch.tensor(2.0))
    assert loss.total.item() == pytest.approx(0.0472412 + 0.0052490 + 1.4375 + 0.2, abs=1e-6)


def test_sigmoid_outputs_as_logits_by_hand() -> None:
    """Outputs (0, 1, 0) everywhere; the pixel labelled 0 does not count."""
    logits = torch.tensor([-math.inf, math.inf, -math.inf]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2)
    label = torch.tensor([[[1, 2], [0, 1]]])
    assert label_loss(logits, label, "sigmoid").item() == pytest.approx(0.8847780, abs=1e-6)


def test_cross_entropy_of_logits() -> None:
    logits = torch.tensor([1.0, 2.0, 0.5]).reshape(1, 3, 1, 1).expand(1, 3, 1, 2)
    label = torch.tensor([[[1, 0]]])
    expected = math.log(math.exp(1) + math.exp(2) + math.exp(0.5)) - 2
    assert label_loss(logits, label).item() == pytest.approx(expected, rel=1e-6)
    heavier = torch.tensor([0.0, 3.0, 1.0])
    both = torch.tensor([[[1, 2]]])
    shares = [label_loss(logits, torch.full_like(both, c)).item() for c in (1, 2)]
    weighted = (3 * shares[0] + shares[1]) / 4
    assert label_loss(logits, both, importance=heavier).item() == pytest.approx(weighted)
    mean = segmentation_loss([logits, 0 * logits], label).item()
    assert mean == pytest.approx((expected + math.log(3)) / 2)


def test_nothing_labelled_is_no_loss() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = label_loss(logits, torch.zeros(1, 2, 2, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0
