"""The losses of both training stages, as the published program computes them.

Images are (N, 1, H, W), luminance in [0, 1]; features (N, C, H, W). The first image is the
infrared, the second the visible one. Every function returns a scalar tensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fnetcli.models.cddfuse.network import Features
from fnetcli.models.derivatives import gradient_magnitude, spatial_gradient
from fnetcli.training.similarity import ssim_map
from fnetcli.training.team import team

SIMILARITY_WEIGHT = 5.0  # of DSSIM within a reconstruction loss
DECOMPOSITION_WEIGHT = 2.0  # of both stages
RECONSTRUCTED_GRADIENT_WEIGHT = 5.0  # stage I
FUSED_GRADIENT_WEIGHT = 10.0  # stage II


# --- correlation ----------------------------------------------------------------------------------


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Mean over samples and channels of the correlation over pixels, in [-1, 1].

    Features that are constant over an image, as those of a black one may be, count as uncorrelated
    and have no gradient.
    """
    a, b = (x.flatten(2) - x.flatten(2).mean(dim=2, keepdim=True) for x in (a, b))
    norms = _norm(a) * _norm(b)
    coefficients = (a * b).sum(dim=2) / (2**-23 + norms)
    mean: Tensor = coefficients.clamp(-1, 1).mean()
    return mean


def _norm(rows: Tensor) -> Tensor:
    """Euclidean norm over the last axis, with gradient 0, not NaN, where it is 0."""
    squares = rows.square().sum(dim=-1)
    smallest = torch.finfo(squares.dtype).tiny
    return torch.where(squares > smallest, squares.clamp_min(smallest).sqrt(), 0.0)


def decomposition_loss(first: Features, second: Features) -> Tensor:
    """L_decomp: base features correlated between the images, detail features not.

    The mean stands inside the square: correlated and anticorrelated channels cancel. Of several
    processes it is the mean over all their samples, with gradients.
    """
    own = torch.stack(
        (correlation(first.detail, second.detail), correlation(first.base, second.base))
    )
    detail, base = team().mean(own, len(first.base))
    loss: Tensor = detail.square() / (1.01 + base)
    return loss


# --- likeness -------------------------------------------------------------------------------------


def dissimilarity(a: Tensor, b: Tensor) -> Tensor:
    """DSSIM: mean of clamp(1 - SSIM, 0, 1) / 2 over the pixels; sides of at least 6.

    As in the release of kornia that the published program names: the clamp comes before the
    halving, so a pixel of negative similarity costs 0.5 and pulls nowhere. Later releases halve
    first.
    """
    similarity = ssim_map(a, b, is_reflected=True)
    mean: Tensor = (1 - similarity).clamp(0, 1).mean() / 2
    return mean


def reconstruction_loss(image: Tensor, estimate: Tensor) -> Tensor:
    """L_rec: 5 DSSIM plus the mean squared error."""
    return SIMILARITY_WEIGHT * dissimilarity(image, estimate) + F.mse_loss(image, estimate)


# --- stages ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReconstructionStageLoss:
    """The weighted terms of stage I; `total` is what training minimises."""

    first: Tensor
    second: Tensor
    decomposition: Tensor
    gradient: Tensor

    @property
    def total(self) -> Tensor:
        """Sum of the weighted terms."""
        return self.first + self.second + self.decomposition + self.gradient


def reconstruction_stage_loss(
    images: tuple[Tensor, Tensor],
    estimates: tuple[Tensor, Tensor],
    features: tuple[Features, Features],
) -> ReconstructionStageLoss:
    """Stage I: each image from its own features, these decomposed; all pairs (first, second).

    The gradient term, of the second image alone, is the published program's.
    """
    gradient, estimate = (spatial_gradient(image) for image in (images[1], estimates[1]))
    return ReconstructionStageLoss(
        first=reconstruction_loss(images[0], estimates[0]),
        second=reconstruction_loss(images[1], estimates[1]),
        decomposition=DECOMPOSITION_WEIGHT * decomposition_loss(*features),
        gradient=RECONSTRUCTED_GRADIENT_WEIGHT * F.l1_loss(estimate, gradient),
    )


@dataclass(frozen=True)
class FusionStageLoss:
    """The weighted terms of stage II; `total` is what training minimises."""

    intensity: Tensor
    gradient: Tensor
    decomposition: Tensor

    @property
    def picture(self) -> Tensor:
        """What concerns the fused image alone: comparable between methods."""
        return self.intensity + self.gradient

    @property
    def total(self) -> Tensor:
        """Sum of the weighted terms."""
        return self.picture + self.decomposition


def fusion_stage_loss(
    fused: Tensor, images: tuple[Tensor, Tensor], features: tuple[Features, Features]
) -> FusionStageLoss:
    """Stage II: as bright and as detailed as the stronger image at each pixel."""
    strongest = torch.maximum(*(gradient_magnitude(image) for image in images))
    return FusionStageLoss(
        intensity=F.l1_loss(fused, torch.maximum(*images)),
        gradient=FUSED_GRADIENT_WEIGHT * F.l1_loss(gradient_magnitude(fused), strongest),
        decomposition=DECOMPOSITION_WEIGHT * decomposition_loss(*features),
    )
