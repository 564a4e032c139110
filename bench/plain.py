"""The baseline of every speed ratio: FNet executed plainly, layer by layer.

One `F.conv2d` per convolution, contiguous NCHW float32, inference mode, nothing shaped for a
machine. It reads the weights by name and shares no code with the package's own forward pass, so a
faster engine does not make it faster. Do not tune this file.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

ITERATIONS, ALPHA, GAMMA = 4, 0.1, 100.0


def _threshold(x: Tensor, theta: Tensor) -> Tensor:
    gate = 1 / (1 + torch.exp(-GAMMA * (torch.abs(x) - theta)))
    return torch.sign(x) * (torch.abs(x) - ALPHA * theta) * gate


def _block(weights: Mapping[str, Tensor], e: Tensor) -> Tensor:
    def convolve(x: Tensor, name: str) -> Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], padding="same")

    def residual(x: Tensor, name: str) -> Tensor:
        return x - convolve(convolve(x, f"{name}.synthesis"), f"{name}.analysis")

    def theta(k: int) -> Tensor:
        return F.softplus(weights["w_theta"] * k + weights["b_theta"])

    start = F.softplus(weights["b_rho"])
    older, newest = None, _threshold(convolve(e, "iterations.0.encode"), theta(0))
    for k in range(1, ITERATIONS + 1):
        now = F.softplus(weights["w_rho"] * k + weights["b_rho"])
        rho, step = (now - start) / now, f"iterations.{k}"
        x = (1 + rho) * residual(newest, f"{step}.residuals.0")
        if older is not None:
            x = x - rho * residual(older, f"{step}.residuals.1")
        x = x + convolve(e, f"{step}.encode")
        older, newest = newest, _threshold(x, theta(k))
    return newest


@torch.inference_mode()
def fuse_plainly(weights: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Fuse (N, 1, H, W) images with the state dict of a default `FNet`."""

    def block(name: str) -> dict[str, Tensor]:
        prefix = f"encode_{name}."
        return {
            key.removeprefix(prefix): tensor
            for key, tensor in weights.items()
            if key.startswith(prefix)
        }

    def convolve(code: Tensor, name: str) -> Tensor:
        return F.conv2d(code, weights[f"{name}.weight"], padding="same")

    u, v = _block(block("u"), x), _block(block("v"), y)
    residuals = (x - convolve(u, "explain_u"), y - convolve(v, "explain_v"))
    z = _block(block("z"), torch.cat(residuals, dim=1))
    return (
        convolve(u, "reconstruct_u") + convolve(v, "reconstruct_v") + convolve(z, "reconstruct_z")
    )
