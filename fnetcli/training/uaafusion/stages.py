"""What UAAFusion loses on a batch: S alone in stage 1, both networks together in stage 2.

Stage 1 is this project's (the released program starts from an S whose
training is not released); stage 2 is the paper's interaction: weights and attention come from the
current S, the segmentation loss reaches both networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fnetcli.models.uaafusion.attribution import one_hot
from fnetcli.models.uaafusion.network import UAAFusion
from fnetcli.training.base import Losses
from fnetcli.training.config import Precision
from fnetcli.training.data import to_tensor
from fnetcli.training.labelled import LabelledBatch, LabelledPair
from fnetcli.training.team import team
from fnetcli.training.uaafusion.losses import UNLABELLED, joint_loss, segmentation_loss

PixelT = TypeVar("PixelT", bound=np.generic)


def balance_classes(shares: NDArray[np.float64], power: float = 0.5) -> Tensor:
    """Return each class's importance in L_seg, (C,), mean 1 over the classes that occur.

    share ** -power: 0 weighs pixels equally (R), 1 classes, 0.5 lies between (O: people and signs
    are few pixels, and they are what the fused image is for). Without labels none occurs: all 1.
    """
    present = shares > 0
    if not present.any():
        return torch.ones(len(shares))
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

    Attribution is a third of a step's work or more, and S moves slowly: n > 1 buys steps (O; R
    takes it anew in every batch, n = 1). Maps are of whole pairs, so a visit may crop anywhere;
    those of pairs with more than `most_pixels` come from reduced images (O), as at inference.
    """

    network: UAAFusion
    every: int = 1
    most_pixels: int = 0  # 0: no limit
    _maps: dict[int, NDArray[np.float16]] = field(default_factory=dict)  # not enlarged
    _visits: dict[int, int] = field(default_factory=dict)
    _made: dict[int, int] = field(default_factory=dict)  # the visit at which a map was made

    def __call__(self, index: int, pair: LabelledPair) -> NDArray[np.float16]:
        """Return the weight map of a whole pair, (H, W), by its number."""
        visit = self._visits.get(index, 0)
        due = visit - visit % self.every
        if visit == due or index not in self._maps or self._made.get(index) != due:
            self._maps[index] = self._weigh(pair)
            self._made[index] = due
        self._visits[index] = visit + 1
        return resize_nearest(self._maps[index], pair.label.shape)

    def pass_by(self, index: int) -> None:
        """Count a visit of another process."""
        self._visits[index] = self._visits.get(index, 0) + 1

    def exchange(self) -> None:
        """Take what other processes have weighed, if it is used again."""
        if self.every == 1 or team().is_alone:
            return
        for maps, made in team().gather((self._maps, self._made)):
            for index, visit in made.items():
                if visit > self._made.get(index, -1):
                    self._maps[index], self._made[index] = maps[index], visit

    def _weigh(self, pair: LabelledPair) -> NDArray[np.float16]:
        device = self.network.alpha.device
        first, second = (to_tensor(im)[None, None].to(device) for im in (pair.first, pair.second))
        size = self._size(*pair.label.shape)
        if size != pair.label.shape:
            first, second = (F.interpolate(x, size, mode="area") for x in (first, second))
        label = torch.from_numpy(resize_nearest(pair.label, size).astype(np.int64))[None].to(device)
        is_label = bool((label != UNLABELLED).any())
        mask = choose_mask(self.network, LabelledBatch(first, second, label))
        weight = self.network.weigh(first, second, mask, is_label=is_label)
        return weight[0, 0].cpu().numpy().astype(np.float16)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size at which a pair is weighed: its own, or one of the limit's pixels."""
        scale = math.sqrt(self.most_pixels / (height * width)) if self.most_pixels else 1.0
        if scale >= 1:
            return height, width
        return max(1, int(height * scale)), max(1, int(width * scale))

    def state(self) -> dict[str, Tensor]:
        """Return the visits and the map of each pair, as tensors by name."""
        visits = torch.tensor(sorted(self._visits.items()), dtype=torch.int64).reshape(-1, 2)
        maps = {f"map.{index}": torch.from_numpy(kept) for index, kept in self._maps.items()}
        return {"visits": visits, **maps}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state`."""
        self._visits = {int(index): int(count) for index, count in state["visits"]}
        self._maps = {
            int(name.removeprefix("map.")): kept.cpu().numpy()
            for name, kept in state.items()
            if name.startswith("map.")
        }
        for index in self._maps:
            last = self._visits[index] - 1
            self._made[index] = last - last % self.every


def resize_nearest(image: NDArray[PixelT], shape: tuple[int, ...]) -> NDArray[PixelT]:
    """Return an image (H, W) at another size, each pixel the nearest of the given ones."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp)
        for new, old in zip(shape, image.shape, strict=True)
    )
    return image[rows[:, None], columns] if shape != image.shape else image


def jitter(images: Tensor, size: int | None = None) -> Tensor:
    """Return images (N, 1, H, W) as other cameras would show them: gain, offset and gamma vary.

    `size` is that of the batch which they are this process's piece of.
    """
    here = slice(None) if size is None else team().at_work(size)
    gain, offset, gamma = (  # drawn on the CPU, whose random state a run keeps
        torch.empty(size or len(images), 1, 1, 1).uniform_(low, high)[here].to(images.device)
        for low, high in ((0.7, 1.3), (-0.08, 0.08), (0.6, 1.6))
    )
    return (gain * images.clamp_min(1e-4) ** gamma + offset).clamp(0, 1)


def segmentation_losses(
    network: UAAFusion,
    batch: LabelledBatch,
    importance: Tensor | None = None,
    size: int | None = None,
) -> Losses:
    """Stage 1 (O): S alone learns the classes from i, v and (i + v) / 2, all three jittered.

    S shall work on pictures of other cameras and on fused images, brighter or flatter than these.
    """
    mean = (batch.first + batch.second) / 2
    images = (mean, batch.first, batch.second)
    logits = [network.segmentation(jitter(x, size)) for x in images]
    scores, balance = network.config.scores, balance_labels(batch.label, importance)
    return {"segmentation": segmentation_loss(logits, batch.label, scores, importance, balance)}


def balance_labels(label: Tensor, importance: Tensor | None) -> Tensor | None:
    """Return the factor of a label loss here, so that it is the mean over all processes' labels."""
    if team().is_alone:
        return None
    weights = label.new_ones(int(label.max()) + 1) if importance is None else importance
    counted = weights[label.long()].to(torch.float32)[label != UNLABELLED].sum()
    return team().balance(counted, len(label))


def unfold(network: UAAFusion, batch: LabelledBatch, precision: Precision = "fp32") -> Tensor:
    """Return the fused image of a batch, (N, 1, H, W).

    The batch holds the weights w_i of the current S (`KeptWeights`). With `precision` bf16, the
    convolutions of the fusion network run under autocast; S and its gradients stay float32.
    """
    if batch.weight is None:
        raise ValueError("the joint stage needs the weights of the sources in its batches")
    mask = choose_mask(network, batch)
    with torch.autocast(batch.first.device.type, torch.bfloat16, enabled=precision == "bf16"):
        for moment in network.unfold(batch.first, batch.second, batch.weight, mask):
            fused = moment.after
    return fused


def losses_of_fused(
    network: UAAFusion,
    batch: LabelledBatch,
    fused: Tensor,
    importance: Tensor | None = None,
    *,
    intensity_weight: float = 1.0,
    gradient_weight: float = 1.0,
    segmentation_weight: float = 0.1,
) -> Losses:
    """Return what a fused image loses: L = L_int + L_grad + 0.1 L_seg.

    Pairs without a label teach the fusion network alone (O).
    """
    if batch.weight is None:
        raise ValueError("the joint stage needs the weights of the sources in its batches")
    labelled = (batch.label != UNLABELLED).flatten(1).any(dim=1)
    segmentation = fused.new_zeros(())
    balance = balance_labels(batch.label, importance)
    if labelled.any():
        images = [image[labelled] for image in (fused, batch.first, batch.second)]
        logits = [network.segmentation(image) for image in images]
        segmentation = segmentation_loss(
            logits, batch.label[labelled], network.config.scores, importance, balance
        )
    loss = joint_loss(
        fused,
        *(batch.wanted or (batch.first, batch.second)),
        batch.weight,
        segmentation,
        intensity_weight=intensity_weight,
        gradient_weight=gradient_weight,
        segmentation_weight=segmentation_weight,
    )
    return {
        "intensity": loss.intensity,
        "gradient": loss.gradient,
        "segmentation": loss.segmentation,
    }
