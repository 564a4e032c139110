"""Small networks and images for the tests of UAAFusion."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fnetcli.models.uaafusion.config import UAAFusionConfig
from fnetcli.models.uaafusion.network import UAAFusion

TINY = UAAFusionConfig(stages=3, channels=4, classes=4, path_steps=3, segmentation="small")


def images(
    height: int, width: int, count: int = 2, batch: int = 1, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return list(torch.rand(count, batch, 1, height, width, generator=generator).to(dtype))


def smooth_segmentation(classes: int = 4) -> nn.Module:
    """Return an S without kinks: one 3x3 convolution."""
    torch.manual_seed(11)
    return nn.Conv2d(1, classes, 3, padding=1)


def fresh(config: UAAFusionConfig = TINY, segmentation: nn.Module | None = None) -> UAAFusion:
    torch.manual_seed(5)
    return UAAFusion(config, segmentation)
