"""The losses of both training stages (section III-D of the paper).

All images are (N, 1, H, W), luminance in [0, 1]; every function returns a scalar tensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fnetcli.models.derivatives import gradient_magnitude, spatial_gradient
from fnetcli.training.similarity import ssim_map
from fnetcli.training.team import team

SHARED_EDGES = 0.1  # weight of edges beside brightness in `separation_loss`: keeps large areas


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Mean structural similarity (Wang 2004) with C1 = 0.01^2, C2 = 0.03^2, zero padding."""
    mean: Tensor = ssim_map(first, second, is_reflected=False).mean()
    return mean


def inversion_loss(estimate: Tensor, image: Tensor) -> Tensor:
    """Stage I, one source (eq. 25): L1 of the image plus L1 of its gradient."""
    return F.l1_loss(estimate, image) + F.l1_loss(
        spatial_gradient(estimate), spatial_gradient(image)
    )


def separation_loss(unique1: Tensor, unique2: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Let unique parts hold what only their source shows: not in the paper.

    max(I1, I2), what the fused image should be, is min(I1, I2) + (I1 - I2)+ + (I2 - I1)+. The last
    two are the brightness that only one source shows: the unique parts should equal them. Where
    both sources have edges of similar strength, unique parts should have none. The rest is left to
    the common part.
    """
    brightness = F.mse_loss(unique1, F.relu(first - second)) + F.mse_loss(
        unique2, F.relu(second - first)
    )
    detail1, detail2 = gradient_magnitude(first), gradient_magnitude(second)
    shared = torch.minimum(detail1, detail2) / torch.maximum(detail1, detail2).clamp_min(1e-6)
    edges = (shared * (gradient_magnitude(unique1) + gradient_magnitude(unique2))).mean()
    return brightness + SHARED_EDGES * edges


@dataclass(frozen=True)
class FusionLoss:
    """The three terms of stage II (eq. 26), weighted; `total` is what training minimises."""

    intensity: Tensor
    gradient: Tensor
    ssim: Tensor

    @property
    def total(self) -> Tensor:
        """Sum of the weighted terms."""
        return self.intensity + self.gradient + self.ssim


def fusion_loss(
    fused: Tensor,
    first: Tensor,
    second: Tensor,
    *,
    intensity_weight: float = 20,
    gradient_weight: float = 20,
    ssim_weight: float = 15,
) -> FusionLoss:
    """Stage II (eq. 26): be as bright and detailed as the stronger source, and similar to both."""
    detail1, detail2 = gradient_magnitude(first), gradient_magnitude(second)
    mean1, mean2 = team().mean(torch.stack((detail1.mean(), detail2.mean())), len(first))
    share1 = mean1 / (mean1 + mean2).clamp_min(1e-12)
    similarity = share1 * ssim(fused, first) + (1 - share1) * ssim(fused, second)
    return FusionLoss(
        intensity=intensity_weight * F.l1_loss(fused, torch.maximum(first, second)),
        gradient=gradient_weight
        * F.l1_loss(gradient_magnitude(fused), torch.maximum(detail1, detail2)),
        ssim=ssim_weight * (1 - similarity),
    )
