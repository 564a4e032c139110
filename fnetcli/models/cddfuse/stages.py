"""What each training stage trains and minimises (section 3.5); the loop around it is not here.

The published recipe: 40 epochs of stage I, 80 of stage II, Adam at 1e-4 halved every 20 epochs,
batches of 8 crops of 128x128, gradients clipped to a norm of 0.01, each part of the network by
itself; the optimizers of stage I go on in stage II.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fnetcli.models.cddfuse.losses import (
    FusionStageLoss,
    ReconstructionStageLoss,
    fusion_stage_loss,
    reconstruction_stage_loss,
)
from fnetcli.models.cddfuse.network import CDDFuse, Features

CLIP_NORM = 0.01  # published; typical norms are 7 to 120, so that every step is clipped
MIN_CONTRAST = 0.1  # (p90 - p10) / p90 of a crop that is worth training on


@dataclass(frozen=True)
class Stage:
    """One stage: its number and the children of `CDDFuse` that it trains."""

    number: int
    trained: tuple[str, ...]

    def parts(self, network: CDDFuse) -> list[nn.Module]:
        """Return the trained children of a network; gradients are clipped one by one."""
        return [network.get_submodule(name) for name in self.trained]


STAGES = (
    Stage(1, ("encoder", "decoder")),
    Stage(2, ("encoder", "decoder", "base_fusion", "detail_fusion")),
)


def reconstruction_step(network: CDDFuse, first: Tensor, second: Tensor) -> ReconstructionStageLoss:
    """Stage I: encode both images as one batch and decode each from its own features."""
    images = torch.cat((first, second))
    features = network.encode(images)
    skip = None if network.config.skip == "none" else images
    estimates = network.reconstruct(features.base, features.detail, skip)
    return reconstruction_stage_loss(
        (first, second), _halves(estimates), (_part(features, 0), _part(features, 1))
    )


def fusion_step(network: CDDFuse, first: Tensor, second: Tensor) -> FusionStageLoss:
    """Stage II: fuse the images."""
    features = network.encode_pair(first, second)
    fused = network.fuse(*features)
    image = network.reconstruct(fused.base, fused.detail, network.skip(first, second))
    return fusion_stage_loss(image, (first, second), features)


def stage_loss(
    stage: Stage, network: CDDFuse, first: Tensor, second: Tensor
) -> ReconstructionStageLoss | FusionStageLoss:
    """Return the loss of a stage on a batch of pairs, each (N, 1, H, W)."""
    step = reconstruction_step if stage.number == 1 else fusion_step
    return step(network, first, second)


def clip_each(parts: Iterable[nn.Module], largest: float) -> list[float]:
    """Clip the gradient of each part to a norm by itself; return the norms before."""
    return [float(nn.utils.clip_grad_norm_(part.parameters(), largest)) for part in parts]


def has_contrast(image: Tensor) -> bool:
    """Whether a crop, of any shape, is neither black nor flat: (p90 - p10) / p90 >= 0.1.

    The published filter keeps black crops (0 / 0 is not below 0.1), which are what breaks training.
    """
    bounds = torch.tensor([0.1, 0.9], dtype=image.dtype, device=image.device)
    dark, bright = torch.quantile(image.flatten(), bounds).tolist()
    return bool(bright > 0 and (bright - dark) / bright >= MIN_CONTRAST)


def _halves(batch: Tensor) -> tuple[Tensor, Tensor]:
    first, second = batch.tensor_split(2)
    return first, second


def _part(features: Features, index: int) -> Features:
    return Features(*(_halves(feature)[index] for feature in features))
