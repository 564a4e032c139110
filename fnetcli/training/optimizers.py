"""Muon: momentum steps whose every direction is equally long.

Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; the step
size follows Liu et al., "Muon is scalable for LLM training", arXiv 2502.16982.

Why it is here: images are positive, so one direction of every kernel (its mean over all atoms, the
brightness of the result) has far more curvature than all others. Adam's steps swing along it and
move slowly elsewhere. Orthogonalised steps treat it as one direction of many.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # quintic that pulls singular values toward 1 in 5 steps
ROOT_MEAN_SQUARE = 0.2  # of a step in units of the learning rate: what Adam's steps usually have


class Muon(torch.optim.Optimizer):
    """Muon for kernels (4-D), Adam for everything else."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float = 1e-3) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": 0.95, "betas": (0.9, 0.999)})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step along the gradients."""
        del closure
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            self._step_kernels([p for p in parameters if p.ndim == 4], group)
            for parameter in parameters:
                if parameter.ndim != 4:
                    self._step_adam(parameter, group)

    def _step_kernels(self, kernels: list[nn.Parameter], group: dict[str, Any]) -> None:
        """Orthogonalise the momentum of all kernels of one shape together."""
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for kernel in kernels:
            gradient, state = _gradient(kernel), self.state[kernel]
            if not state:
                state["momentum"] = torch.zeros_like(kernel)
            state["momentum"].lerp_(gradient, 1 - group["momentum"])
            ahead = _atoms_first(gradient.lerp(state["momentum"], group["momentum"]))  # Nesterov
            by_shape[ahead.shape].append((_atoms_first(kernel), ahead.flatten(1)))
        for shape, members in by_shape.items():
            steps = _orthogonalise(torch.stack([matrix for _, matrix in members]))
            scale = ROOT_MEAN_SQUARE * max(steps.shape[1:]) ** 0.5
            for (weights, _), step in zip(members, steps, strict=True):
                weights.add_(step.view(shape), alpha=-group["lr"] * scale)

    def _step_adam(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        gradient, state = _gradient(parameter), self.state[parameter]
        if not state:
            state["steps"] = 0
            state["mean"], state["square"] = (torch.zeros_like(parameter) for _ in range(2))
        beta1, beta2 = group["betas"]
        state["steps"] += 1
        state["mean"].lerp_(gradient, 1 - beta1)
        state["square"].lerp_(gradient * gradient, 1 - beta2)
        mean = state["mean"] / (1 - beta1 ** state["steps"])
        square = state["square"] / (1 - beta2 ** state["steps"])
        parameter.sub_(group["lr"] * mean / (square.sqrt() + 1e-8))


def _gradient(parameter: nn.Parameter) -> Tensor:
    return cast("Tensor", parameter.grad)


def _atoms_first(kernels: Tensor) -> Tensor:
    """View kernels (M, C, k, k) or (C, M, k, k) as (M, C, k, k)."""
    return kernels.transpose(0, 1) if kernels.shape[0] < kernels.shape[1] else kernels


def _orthogonalise(matrices: Tensor) -> Tensor:
    """Bring all singular values of (N, rows, columns) near 1 (Newton-Schulz, five steps)."""
    a, b, c = NEWTON_SCHULZ
    x: Tensor = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-12)
    for _ in range(5):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x
