"""The losses of both training stages (section III-D of the paper).

All images are (N, 1, H, W), luminance in [0, 1]; every function returns a scalar tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from fnetcli.models.derivatives import gradient_magnitude, spatial_gradient
from fnetcli.training.team import team

SHARED_EDGES = 0.1  # weight of edges beside brightness in `separation_loss`: keeps large areas


@lru_cache(maxsize=8)
def _gaussian_band(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the blur of a column of `size` pixels, outside which all is 0, as (size, size)."""
    window = torch.exp(-(torch.arange(-5, 6, device=device, dtype=dtype) ** 2) / (2 * 1.5**2))
    rows = torch.arange(size, device=device)
    place = rows[:, None] - rows + 5  # of a pixel in the window around another
    return (window / window.sum())[place.clamp(0, 10)].where((place >= 0) & (place <= 10), 0)


def _blur(images: Tensor) -> Tensor:
    """Blur (N, C, H, W) with the 11x11 Gaussian of sigma 1.5, zero padding.

    As two products with band matrices: on CPUs a convolution of single channels takes ten times
    as long, and longer still backwards.
    """
    height, width = images.shape[-2:]
    vertical = _gaussian_band(height, images.device, images.dtype)
    horizontal = _gaussian_band(width, images.device, images.dtype)
    return vertical @ images @ horizontal


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Mean structural similarity (Wang 2004) with C1 = 0.01^2, C2 = 0.03^2, zero padding."""
    moments = torch.cat((first, second, first * first, second * second, first * second), dim=1)
    mean1, mean2, square1, square2, product = _blur(moments).split(1, dim=1)
    variance1, variance2 = square1 - mean1**2, square2 - mean2**2
    covariance = product - mean1 * mean2
    c1, c2 = 0.01**2, 0.03**2
    similarity = ((2 * mean1 * mean2 + c1) * (2 * covariance + c2)) / (
        (mean1**2 + mean2**2 + c1) * (variance1 + variance2 + c2)
    )
    mean: Tensor = similarity.mean()
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
