"""The stages in which UAAFusion is trained: S alone, then both networks together.

A stage says what is trained and what is lost on a batch; the loop around it brings data, optimiser
steps, averages and files. Stage 1 is this project's (the released program starts from an S whose
training is not released); stage 2 is the paper's interaction: weights and attention come from the
current S, the segmentation loss reaches both networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fnetcli.models.uaafusion.attribution import one_hot
from fnetcli.models.uaafusion.losses import UNLABELLED, joint_loss, segmentation_loss
from fnetcli.models.uaafusion.network import UAAFusion
from fnetcli.training.data import to_tensor
from fnetcli.training.labelled import LabelledBatch, LabelledPair


def balance_classes(shares: NDArray[np.float64], power: float = 0.5) -> Tensor:
    """Return each class's importance in L_seg, (C,), mean 1 over the classes that occur.

    share ** -power: 0 weighs pixels equally (R), 1 classes, 0.5 lies between (O: people and signs
    are few pixels, and they are what the fused image is for).
    """
    present = shares > 0
    importance = np.zeros(len(shares), np.float32)
    importance[present] = shares[present] ** -power
    return torch.from_numpy(importance / importance[present].mean())


def choose_mask(network: UAAFusion, batch: LabelledBatch) -> Tensor:
    """Return each image's label as a one-hot mask, S(f^0) where it has none: (N, C, H, W)."""
    labelled = (batch.label != UNLABELLED).flatten(1).any(dim=1)
    mask = one_hot(batch.label, network.config.classes)
    if not labelled.all():
        guess = network.guess_mask(batch.first, batch.second)
        mask = torch.where(labelled[:, None, None, None], mask, guess)
    return mask


@dataclass
class KeptWeights:
    """The weight map w_i of every training pair, taken anew from the current S every n visits.

    Attribution is a third of a step's work, and S moves slowly: n > 1 buys steps (O; R takes it
    anew in every batch, n = 1). Maps are of whole pairs, so a visit may crop anywhere.
    """

    network: UAAFusion
    every: int = 1
    _maps: dict[int, NDArray[np.float16]] = field(default_factory=dict)
    _visits: dict[int, int] = field(default_factory=dict)

    def __call__(self, index: int, pair: LabelledPair) -> NDArray[np.float16]:
        """Return the weight map of a whole pair, (H, W), by its number."""
        visit = self._visits.get(index, 0)
        if visit % self.every == 0 or index not in self._maps:
            self._maps[index] = self._weigh(pair)
        self._visits[index] = visit + 1
        return self._maps[index]

    def _weigh(self, pair: LabelledPair) -> NDArray[np.float16]:
        device = self.network.alpha.device
        first, second = (to_tensor(im)[None, None].to(device) for im in (pair.first, pair.second))
        label = torch.from_numpy(pair.label.astype(np.int64))[None].to(device)
        is_label = bool((label != UNLABELLED).any())
        mask = choose_mask(self.network, LabelledBatch(first, second, label))
        weight = self.network.weigh(first, second, mask, is_label=is_label)
        return weight[0, 0].cpu().numpy().astype(np.float16)

    def state(self) -> dict[str, Tensor]:
        """Return the visits and the map of each pair, as tensors by name."""
        visits = torch.tensor(sorted(self._visits.items()), dtype=torch.int64).reshape(-1, 2)
        maps = {f"map.{index}": torch.from_numpy(kept) for index, kept in self._maps.items()}
        return {"visits": visits, **maps}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state`."""
        self._visits = {int(index): int(count) for index, count in state["visits"]}
        self._maps = {
            int(name.removeprefix("map.")): kept.numpy()
            for name, kept in state.items()
            if name.startswith("map.")
        }


def jitter(images: Tensor) -> Tensor:
    """Return images (N, 1, H, W) as other cameras would show them: gain, offset and gamma vary."""
    gain, offset, gamma = (
        torch.empty(len(images), 1, 1, 1, device=images.device).uniform_(low, high)
        for low, high in ((0.7, 1.3), (-0.08, 0.08), (0.6, 1.6))
    )
    return (gain * images.clamp_min(1e-4) ** gamma + offset).clamp(0, 1)


@dataclass(frozen=True)
class SegmentationStage:
    """Stage 1 (O): S alone learns the classes from i, v and (i + v) / 2, all three jittered.

    S shall work on pictures of other cameras and on fused images, brighter or flatter than these.
    """

    network: UAAFusion
    importance: Tensor | None = None

    def parameters(self) -> list[nn.Parameter]:
        """Return what is trained."""
        return list(self.network.segmentation.parameters())

    def losses(self, batch: LabelledBatch) -> dict[str, Tensor]:
        """Return the terms whose sum is minimised."""
        mean = (batch.first + batch.second) / 2
        logits = [
            self.network.segmentation(x) for x in map(jitter, (mean, batch.first, batch.second))
        ]
        scores = self.network.config.scores
        return {"segmentation": segmentation_loss(logits, batch.label, scores, self.importance)}


@dataclass(frozen=True)
class JointStage:
    """Stage 2 (P, R): the fusion network and S together, L = L_int + L_grad + 0.1 L_seg.

    The batch holds the weights w_i of the current S (`KeptWeights`). Pairs without a label teach
    the fusion network alone (O).
    """

    network: UAAFusion
    importance: Tensor | None = None
    gradient_weight: float = 1.0
    segmentation_weight: float = 0.1

    def parameters(self) -> list[nn.Parameter]:
        """Return what is trained."""
        return list(self.network.parameters())

    def losses(self, batch: LabelledBatch) -> dict[str, Tensor]:
        """Return the terms whose sum is minimised."""
        if batch.weight is None:
            raise ValueError("the joint stage needs the weights of the sources in its batches")
        network, config = self.network, self.network.config
        mask = choose_mask(network, batch)
        for moment in network.unfold(batch.first, batch.second, batch.weight, mask):
            fused = moment.after
        labelled = (batch.label != UNLABELLED).flatten(1).any(dim=1)
        label = batch.label[labelled]
        segmentation = fused.new_zeros(())
        if labelled.any():
            images = [image[labelled] for image in (fused, batch.first, batch.second)]
            logits = [network.segmentation(image) for image in images]
            segmentation = segmentation_loss(logits, label, config.scores, self.importance)
        loss = joint_loss(
            fused,
            batch.first,
            batch.second,
            batch.weight,
            segmentation,
            gradient_weight=self.gradient_weight,
            segmentation_weight=self.segmentation_weight,
        )
        return {
            "intensity": loss.intensity,
            "gradient": loss.gradient,
            "segmentation": loss.segmentation,
        }
