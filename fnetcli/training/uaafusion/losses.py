"""What UAAFusion learns from: sources weighted by attribution, detail, and labels.

Origins: (P) the paper's abstract, (R) the authors' released program, (O) a choice of this project.
Images and weights are (N, 1, H, W), luminance in [0, 1]; every loss is a scalar tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fnetcli.models.derivatives import gradient_magnitude
from fnetcli.models.uaafusion.config import Scores

UNLABELLED = 0


def intensity_loss(
    fused: Tensor, infrared: Tensor, visible: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Return both parts of L_int (P, R): mean (w_i (i - f))^2 and mean (w_v (v - f))^2.

    The weight w_i stands inside the square; w_v = 1 - w_i.
    """
    return (
        (weight * (infrared - fused)).square().mean(),
        ((1 - weight) * (visible - fused)).square().mean(),
    )


def gradient_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """Return L_grad (R): how far f's Sobel magnitude is from the stronger of the sources'."""
    strongest = torch.maximum(gradient_magnitude(infrared), gradient_magnitude(visible))
    return F.l1_loss(gradient_magnitude(fused), strongest)


def label_loss(
    logits: Tensor, label: Tensor, scores: Scores = "softmax", importance: Tensor | None = None
) -> Tensor:
    """Return the cross entropy of S's logits (N, C, H, W) with a label (N, H, W), 0 left out.

    `"sigmoid"` is R's: sigmoid outputs taken for logits, a loss that cannot fall below
    log(1 + (C - 1) / e). `importance` weighs the classes, (C,); without it they count equally. Zero
    where no pixel is labelled.
    """
    if not (label != UNLABELLED).any():
        return logits.sum() * 0
    outputs = torch.sigmoid(logits) if scores == "sigmoid" else logits
    return F.cross_entropy(outputs, label.long(), importance, ignore_index=UNLABELLED)


def segmentation_loss(
    logits: Sequence[Tensor],
    label: Tensor,
    scores: Scores = "softmax",
    importance: Tensor | None = None,
    balance: Tensor | None = None,
) -> Tensor:
    """Return L_seg (R): the mean cross entropy of S's logits of f, i and v.

    `balance` scales it where other processes have other numbers of labelled pixels.
    """
    losses = [label_loss(each, label, scores, importance) for each in logits]
    mean = torch.stack(losses).mean()
    return mean if balance is None else mean * balance


@dataclass(frozen=True)
class JointLoss:
    """The terms of the joint training, weighted; `total` is what training minimises."""

    intensity: Tensor
    gradient: Tensor
    segmentation: Tensor

    @property
    def total(self) -> Tensor:
        """Sum of the weighted terms."""
        return self.intensity + self.gradient + self.segmentation


def joint_loss(
    fused: Tensor,
    infrared: Tensor,
    visible: Tensor,
    weight: Tensor,
    segmentation: Tensor,
    *,
    intensity_weight: float = 1.0,
    gradient_weight: float = 1.0,
    segmentation_weight: float = 0.1,
) -> JointLoss:
    """Return L = L_int + 1.0 L_grad + 0.1 L_seg (R), of the last stage's image alone."""
    return JointLoss(
        intensity=intensity_weight
        * torch.stack(intensity_loss(fused, infrared, visible, weight)).sum(),
        gradient=gradient_weight * gradient_loss(fused, infrared, visible),
        segmentation=segmentation_weight * segmentation,
    )
