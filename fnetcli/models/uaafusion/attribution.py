"""Attribution: which source the segmentation network S rests its decision on.

Two questions to one S, both answered by its gradients along a path (integrated gradients). `scores`
below is S with its softmax or sigmoid: image (N, 1, H, W) -> (N, C, H, W). Every image of a batch
is worked out for itself (O; R pools regions over the batch). All results are constants: nothing is
differentiated through them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fnetcli.models.uaafusion.config import Attention, PathRule

ScoreFunction = Callable[[Tensor], Tensor]
EPSILON = 1e-8  # keeps the weights at 1/2 where neither source helps
SMALLEST_SCALE = 1e-20


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Hold a network, with all its modules, in evaluation mode."""
    flags = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, is_training in flags:
            module.training = is_training


# --- masks ----------------------------------------------------------------------------------------


def one_hot(label: Tensor, classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a label (N, H, W), whole numbers below `classes`, as a mask (N, C, H, W)."""
    return F.one_hot(label.long(), classes).permute(0, 3, 1, 2).to(dtype)


def regions_of(mask: Tensor) -> Tensor:
    """Return whether each pixel belongs to each class: (N, C, H, W), one class a pixel.

    R_j are the pixels at which the mask (N, C, H, W), scores or a one-hot label, is largest in j.
    """
    return one_hot(mask.argmax(dim=1), mask.shape[1], torch.bool)


# --- attribution 1: the weights of the data term --------------------------------------------------


def path_points(steps: int, rule: PathRule) -> list[float]:
    """Return the points t in (0, 1] of a straight path: middles (O) or right ends (R) of pieces."""
    shift = 0.5 if rule == "midpoint" else 0.0
    return [(step - shift) / steps for step in range(1, steps + 1)]


def integrate_path(
    scores: ScoreFunction, image: Tensor, regions: Tensor, steps: int, rule: PathRule
) -> Tensor:
    """Return x_p times the mean gradient of m_j along the path from black, (N, C, H, W), signed.

    m_j is the mean over region R_j of S's score of class j. Summed over all pixels p, the result
    approaches m_j(x) - m_j(black). Zero for classes whose region is empty; such are skipped.
    """
    total = torch.zeros_like(regions, dtype=image.dtype)
    sizes = regions.sum(dim=(2, 3))  # |R_j|: (N, C)
    present = [j for j in range(regions.shape[1]) if sizes[:, j].any()]
    share = (regions / sizes.clamp_min(1)[:, :, None, None]).to(image.dtype)
    for t in path_points(steps, rule) if present else []:
        with torch.enable_grad():
            point = (t * image).detach().requires_grad_()
            means = (share * scores(point)).sum(dim=(0, 2, 3))  # images do not mix: a sum will do
            for j in present:
                keep = j != present[-1]
                (gradient,) = torch.autograd.grad(means[j], point, retain_graph=keep)
                total[:, j] += gradient[:, 0]
    return total * image.detach() / steps


def attribute(
    scores: ScoreFunction, image: Tensor, regions: Tensor, steps: int, rule: PathRule
) -> Tensor:
    """Return A_j, how much the pixels of region R_j speak for class j: (N, C), >= 0 (R)."""
    effect = integrate_path(scores, image, regions, steps, rule)
    sizes = regions.sum(dim=(2, 3)).clamp_min(1)
    return F.relu((effect * regions).sum(dim=(2, 3))) / sizes


def weigh_sources(
    scores: ScoreFunction,
    infrared: Tensor,
    visible: Tensor,
    mask: Tensor,
    *,
    steps: int,
    rule: PathRule,
    is_label: bool = False,
) -> Tensor:
    """Return w_i, the infrared image's weight, (N, 1, H, W) in [0, 1]; w_v = 1 - w_i (P, R).

    Constant on each class's region. With a label as the mask (`is_label`), unlabelled pixels (class
    0) get 1/2, since S never learns that class (O).
    """
    regions = regions_of(mask)
    if is_label:
        regions[:, 0] = False
    for_infrared = attribute(scores, infrared, regions, steps, rule)
    for_visible = attribute(scores, visible, regions, steps, rule)
    weight = (for_infrared + EPSILON) / (for_infrared + for_visible + 2 * EPSILON)
    spread = torch.einsum("nc,nchw->nhw", weight, regions.to(weight.dtype))[:, None]
    return torch.where(regions.any(dim=1, keepdim=True), spread, 0.5)


# --- attribution 2: the path through the network's own estimates ----------------------------------


def path_gradient(scores: ScoreFunction, estimate: Tensor, mask: Tensor) -> Tensor:
    """Return g = dM/df at an estimate, (N, 1, H, W); M = mean of mask * S(f), per image (P, R)."""
    with torch.enable_grad():
        point = estimate.detach().requires_grad_()
        agreement = (mask * scores(point)).mean(dim=(1, 2, 3)).sum()
        (gradient,) = torch.autograd.grad(agreement, point)
    return gradient


def extend_path(attention: Tensor, k: int, gradient: Tensor, move: Tensor) -> Tensor:
    """Return a^k from a^(k-1): the running mean of g^m (f^m - f^(m-1)) over m = 1 ... k (R)."""
    return ((k - 1) * attention + gradient * move) / k


def smooth(attention: Tensor) -> Tensor:
    """Return the path attribution, (N, 1, H, W), without periods of two and four pixels (O).

    A gradient through convolutions with strides alternates from pixel to pixel, as a chessboard
    does, and normalised attention would print that on the fused image. (1, 2, 2, 2, 1) / 8 each way
    is a mean over two pixels after one over four.
    """
    taps = attention.new_tensor([1, 2, 2, 2, 1]) / 8
    padded = F.pad(attention, (2, 2, 2, 2), mode="replicate")
    return F.conv2d(F.conv2d(padded, taps.view(1, 1, 5, 1)), taps.view(1, 1, 1, 5))


def scale_attention(attention: Tensor, rule: Attention) -> Tensor:
    """Return what enters the sigmoid: the path attribution as it is (R), or at unit scale (O).

    As it is, it is about 1e-5 at the size of real pictures, and the sigmoid stays at 1/2; dividing
    each image's by its root mean square is this project's choice.
    """
    if rule == "raw":
        return attention
    # Squares of values near 1e-20 would vanish in float32: scale by the largest value first.
    largest = attention.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(SMALLEST_SCALE)
    unit = attention / largest
    scale = unit.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return unit / (scale + SMALLEST_SCALE / largest)
