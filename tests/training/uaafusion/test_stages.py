"""The stages of UAAFusion: what learns, what is kept, what people and signs teach."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fnetcli.models.uaafusion.config import UAAFusionConfig
from fnetcli.models.uaafusion.network import UAAFusion
from fnetcli.training.base import Losses
from fnetcli.training.labelled import LabelledBatch, LabelledPair
from fnetcli.training.uaafusion.stages import (
    KeptWeights,
    balance_classes,
    choose_mask,
    jitter,
    losses_of_fused,
    segmentation_losses,
    unfold,
)

CONFIG = UAAFusionConfig(stages=2, channels=4, classes=4, path_steps=2, segmentation="small")
BACKGROUND, PERSON, SIGN = 1, 2, 3


def scene(seed: int, size: int = 24) -> LabelledPair:
    """Draw a square that only the first sensor sees, and one that only the second sees."""
    random = np.random.default_rng(seed)
    first, second = (random.normal(60, 6, (size, size)) for _ in range(2))
    label = np.full((size, size), BACKGROUND, np.uint8)
    for image, kind, least in ((first, PERSON, 1), (second, SIGN, size // 2)):
        top, left = int(random.integers(1, size - 9)), least + int(random.integers(0, 3))
        image[top : top + 8, left : left + 8] += 140
        label[top : top + 8, left : left + 8] = kind
    seen = [np.clip(image, 0, 255).astype(np.uint8) for image in (first, second)]
    return LabelledPair(seen[0], seen[1], label)


def batch_of(pairs: list[LabelledPair], weigh: KeptWeights | None = None) -> LabelledBatch:
    def stack(images: list[NDArray[np.uint8]]) -> torch.Tensor:
        return torch.from_numpy(np.stack(images).astype(np.float32) / 255)[:, None]

    weight = None
    if weigh:
        maps = np.stack([weigh(k, pair) for k, pair in enumerate(pairs)])
        weight = torch.from_numpy(maps.astype(np.float32))[:, None]
    return LabelledBatch(
        stack([pair.first for pair in pairs]),
        stack([pair.second for pair in pairs]),
        torch.from_numpy(np.stack([pair.label for pair in pairs]).astype(np.int64)),
        weight,
    )


def unlabelled(pair: LabelledPair) -> LabelledPair:
    return LabelledPair(pair.first, pair.second, np.zeros_like(pair.label))


def joint_losses(network: UAAFusion, batch: LabelledBatch) -> Losses:
    """Stage 2 with the released weights of the losses."""
    return losses_of_fused(network, batch, unfold(network, batch))


def fresh() -> UAAFusion:
    torch.manual_seed(3)
    return UAAFusion(CONFIG)


def test_importance_of_classes() -> None:
    importance = balance_classes(np.array([0.0, 0.64, 0.36, 0.0]))
    assert importance[[0, 3]].tolist() == [0, 0]
    assert importance[1:3].mean().item() == pytest.approx(1)
    assert (importance[2] / importance[1]).item() == pytest.approx(0.8 / 0.6)
    assert balance_classes(np.array([0.0, 0.9, 0.1]), 0).tolist() == [0, 1, 1]


def test_mask_is_the_label_or_a_guess() -> None:
    network, pairs = fresh(), [scene(1), unlabelled(scene(2))]
    mask = choose_mask(network, batch_of(pairs))
    assert torch.equal(mask[0].argmax(0), torch.from_numpy(pairs[0].label.astype(np.int64)))
    guess = network.guess_mask(*(batch_of(pairs[1:]).first, batch_of(pairs[1:]).second))
    torch.testing.assert_close(mask[1:], guess)


def test_jitter_keeps_the_range_and_is_of_each_image() -> None:
    image = torch.linspace(0, 1, 30).reshape(1, 1, 5, 6).repeat(3, 1, 1, 1)
    changed = jitter(image)
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert not torch.equal(changed[0], changed[1])
    assert (changed.flatten(1).diff() >= 0).all()


def test_weights_are_kept_for_some_visits() -> None:
    network = fresh()
    kept, pair = KeptWeights(network, every=2), scene(1)
    first = kept(0, pair)
    with torch.no_grad():
        for parameter in network.segmentation.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    assert kept(0, pair) is first
    again = KeptWeights(network, every=2)
    again.restore(kept.state())
    np.testing.assert_array_equal(kept(0, pair), again(0, pair))
    assert not np.array_equal(kept(0, pair), first)
    assert first[pair.label == PERSON].std() == 0


def test_the_joint_stage_reaches_both_networks() -> None:
    network = fresh()
    pairs = [scene(1), unlabelled(scene(2))]
    losses = joint_losses(network, batch_of(pairs, KeptWeights(network)))
    assert losses.keys() == {"intensity", "gradient", "segmentation"}
    fusion = network.fusion_parameters()
    from_labels = torch.autograd.grad(
        losses["segmentation"], fusion, retain_graph=True, allow_unused=True
    )
    assert any(gradient is not None and gradient.abs().max() > 0 for gradient in from_labels)
    on_segmentation = torch.autograd.grad(
        losses["intensity"] + losses["gradient"],
        list(network.segmentation.parameters()),
        retain_graph=True,
        allow_unused=True,
    )
    assert all(gradient is None for gradient in on_segmentation)


def test_pairs_without_labels_teach_the_fusion_network_alone() -> None:
    network = fresh()
    losses = joint_losses(network, batch_of([unlabelled(scene(1))], KeptWeights(network)))
    assert losses["segmentation"].item() == 0
    assert losses["gradient"].item() > 0


def test_the_joint_stage_needs_weights() -> None:
    with pytest.raises(ValueError, match="needs the weights"):
        joint_losses(fresh(), batch_of([scene(1)]))


@pytest.mark.long
def test_who_sees_it_gets_the_weight() -> None:
    """After training, w_i > 1/2 on what only i shows and < 1/2 on what only v shows."""
    torch.manual_seed(3)
    network = UAAFusion(dataclasses.replace(CONFIG, path_steps=16))
    importance = balance_classes(np.array([0, 0.8, 0.1, 0.1]))
    optimizer = torch.optim.Adam(network.segmentation.parameters(), lr=5e-3)
    for step in range(120):
        batch = batch_of([scene(8 * step + k) for k in range(8)])
        loss = sum(segmentation_losses(network, batch, importance).values())
        optimizer.zero_grad()
        torch.as_tensor(loss).backward()
        optimizer.step()
    kept = KeptWeights(network)
    weights: dict[int, list[float]] = {PERSON: [], SIGN: []}
    for seed in range(5000, 5008):
        pair = scene(seed)
        found = kept(seed, pair)
        for kind, values in weights.items():
            values.append(float(found[pair.label == kind].mean()))
    assert np.mean(weights[PERSON]) > 0.5
    assert np.mean(weights[SIGN]) < 0.5
