"""The networks of ``network.py`` in a form that suits processors, with gradients.

Same parameters, same result up to rounding, several times faster. Three changes of form:

- The convolutions of one iteration into a code become one. With R(x) = x - B * (C * x),

      (1 + rho) R(x1) - rho R'(x2) + A * e
          = (1 + rho) x1 - rho x2 + [-(1 + rho) B, rho B', A] * [C * x1, C' * x2, e]

- A k x k convolution between one or two maps and M atoms leaves most of a vector unit idle. Its k
  columns become channels: M -> C is done as M -> k C with a k x 1 kernel and k shifted additions,
  C -> M as k shifted copies and a k C -> M convolution with a k x 1 kernel.
- The sum with the earlier codes and the sigmoidal threshold are one step with a written-out
  derivative: one array is kept for the backward pass instead of eight, and ``compile_threshold``
  makes a single loop of it.

Under autocast the convolutions run in bfloat16 and the codes are stored in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fnetcli.models.fnet.blocks import later_ages, step_factors
from fnetcli.models.fnet.network import LZSC, Codes, FNet, IFNet, Parts

# --- the two convolutions -------------------------------------------------------------------------


def _spread_columns(maps: Tensor, size: int) -> Tensor:
    """Make k shifted copies: channel j C + c at column w is channel c at column w + j - k // 2."""
    n, channels, height, width = maps.shape
    windows = F.pad(maps, (size // 2, size // 2)).unfold(3, size, 1)  # (N, C, H, W, k)
    rows = windows.permute(0, 2, 3, 4, 1).reshape(n, height, width, size * channels)
    return rows.permute(0, 3, 1, 2)  # channels-last


def _collect_columns(columns: Tensor, size: int) -> Tensor:
    """Add up k shifted channels, in float32: the adjoint of `_spread_columns`."""
    columns = columns.float()
    n, all_channels, height, width = columns.shape
    channels, pad = all_channels // size, size // 2
    maps = torch.zeros((n, channels, height, width), device=columns.device)
    for j in range(size):
        shift = pad - j  # column w of the result takes column w + shift
        low, high = max(0, -shift), min(width, width - shift)
        if low < high:
            maps[..., low:high] += columns[
                :, j * channels : (j + 1) * channels, :, low + shift : high + shift
            ]
    return maps


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, size: int) -> Tensor:
        ctx.size = size
        return _spread_columns(maps, size)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _collect_columns(grad, ctx.size).to(grad.dtype), None


class _Collect(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, columns: Tensor, size: int) -> Tensor:
        ctx.size, ctx.dtype = size, columns.dtype
        return _collect_columns(columns, size)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _spread_columns(grad.to(ctx.dtype), ctx.size), None


def synthesise(code: Tensor, kernels: Tensor) -> Tensor:
    """Convolve a code (N, M, H, W) with kernels (C, M, k, k) to float32 maps (N, C, H, W)."""
    channels, atoms, size, _ = kernels.shape
    tall = kernels.flip(3).permute(3, 0, 1, 2).reshape(size * channels, atoms, size, 1)
    maps: Tensor = _Collect.apply(  # type: ignore[no-untyped-call]
        F.conv2d(code, tall, padding=(size // 2, 0)), size
    )
    return maps


def analyse(maps: Tensor, kernels: Tensor) -> Tensor:
    """Convolve maps (N, C, H, W) with kernels (M, C, k, k) to a channels-last code (N, M, H, W)."""
    atoms, channels, size, _ = kernels.shape
    if torch.is_autocast_enabled(maps.device.type):
        maps = maps.to(torch.get_autocast_dtype(maps.device.type))
    tall = kernels.permute(0, 3, 1, 2).reshape(atoms, size * channels, size, 1)
    spread = _Spread.apply(maps, size)  # type: ignore[no-untyped-call]
    code = F.conv2d(spread, tall, padding=(size // 2, 0))
    return code.contiguous(memory_format=torch.channels_last)


# --- sum and sigmoidal threshold in one step ------------------------------------------------------


def _forward(
    driven: Tensor,
    codes: list[Tensor],
    scales: list[Tensor],
    theta: Tensor,
    alpha: float,
    gamma: float,
) -> tuple[Tensor, Tensor]:
    """Return the code before and after its threshold."""
    before = driven.float()
    for code, scale in zip(codes, scales, strict=True):
        before = before + scale * code.float()
    magnitude = before.abs()
    gate = torch.sigmoid(gamma * (magnitude - theta))
    after = before.sign() * (magnitude - alpha * theta) * gate
    return before.to(driven.dtype), after.to(driven.dtype)


def _backward(
    grad: Tensor,
    before: Tensor,
    codes: list[Tensor],
    scales: list[Tensor],
    theta: Tensor,
    alpha: float,
    gamma: float,
) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    """Return the gradients of `driven`, theta, the codes and the scales."""
    dtype = grad.dtype
    grad, before = grad.float(), before.float()
    magnitude = before.abs()
    gate = torch.sigmoid(gamma * (magnitude - theta))
    slope = gamma * (magnitude - alpha * theta) * gate * (1 - gate)
    inner = grad * (gate + slope)
    return (
        inner.to(dtype),
        -(grad * before.sign() * (alpha * gate + slope)).sum(),
        [(inner * scale).to(dtype) for scale in scales],
        [(inner * code.float()).sum() for code in codes],
    )


_forward_step: Callable[..., Any] = _forward
_backward_step: Callable[..., Any] = _backward


def compile_threshold() -> None:
    """Compile the step above through torch.compile; raise what the compiler raises.

    Costs some seconds and makes the step five to twenty times faster on a CPU.
    """
    global _forward_step, _backward_step
    torch._dynamo.config.recompile_limit = 32  # noqa: SLF001  one variant per count of codes and type
    forward = torch.compile(_forward, dynamic=True)
    backward = torch.compile(_backward, dynamic=True)
    x, one = torch.linspace(-1, 1, 64), torch.ones(1)
    forward(x, [], [], one, 0.1, 100.0)  # the first calls fail if there is no compiler
    backward(x, x, [], [], one, 0.1, 100.0)
    _forward_step, _backward_step = forward, backward


def use_eager_threshold() -> None:
    """Undo `compile_threshold`."""
    global _forward_step, _backward_step
    _forward_step, _backward_step = _forward, _backward


def _flat(code: Tensor) -> Tensor:
    """View a channels-last array as one dimension."""
    return code.permute(0, 2, 3, 1).reshape(-1)


class _SumAndThreshold(torch.autograd.Function):
    """S(driven + sum_i scale_i code_i; theta); all arrays channels-last and of one type."""

    @staticmethod
    def forward(
        ctx: Any, driven: Tensor, theta: Tensor, alpha: float, gamma: float, *terms: Tensor
    ) -> Tensor:
        driven, theta = driven.detach(), theta.detach()
        terms = tuple(term.detach() for term in terms)
        count = len(terms) // 2
        codes, scales = terms[:count], terms[count:]
        before, after = _forward_step(
            _flat(driven), [_flat(code) for code in codes], list(scales), theta, alpha, gamma
        )
        ctx.save_for_backward(before, theta, *codes, *scales)
        ctx.alpha, ctx.gamma, ctx.count = alpha, gamma, count
        return _like(after, driven)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        before, theta, *terms = ctx.saved_tensors
        codes, scales = terms[: ctx.count], terms[ctx.count :]
        grad = grad.contiguous(memory_format=torch.channels_last)
        inner, of_theta, of_codes, of_scales = _backward_step(
            _flat(grad),
            before,
            [_flat(code) for code in codes],
            scales,
            theta,
            ctx.alpha,
            ctx.gamma,
        )
        return (
            _like(inner, grad),
            of_theta.reshape(theta.shape),
            None,
            None,
            *(_like(code, grad) for code in of_codes),
            *(scale.reshape(1) for scale in of_scales),
        )


def _like(flat: Tensor, code: Tensor) -> Tensor:
    """View one dimension as a channels-last array: undo `_flat`."""
    n, atoms, height, width = code.shape
    return flat.view(n, height, width, atoms).permute(0, 3, 1, 2)


# --- the networks ---------------------------------------------------------------------------------


def scales(block: LZSC, k: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return the factors of x_{k-1}, x_{k-2} and of their residuals' analysis kernels in step k."""
    return step_factors(block.config, k, block.rho(k), torch.ones_like(block.w_theta))


def encode(block: LZSC, e: Tensor) -> Tensor:
    """Return what ``block(e)`` returns."""
    config = block.config
    codes: list[Tensor] = []  # newest first, at most two
    seen: list[list[Tensor]] = []  # their synthesised maps, one per residual that will use them
    for k in range(config.iterations + 1):
        module = block.iteration(k)
        maps, kernels = [e], [module.encode.weight]
        code_scales, kernel_scales = scales(block, k) if k else ([], [])
        for age, scale in enumerate(kernel_scales):
            maps.append(seen[age][min(age, len(seen[age]) - 1)])
            kernels.append(scale * module.residual(age).analysis.weight)
        driven = analyse(torch.cat(maps, dim=1), torch.cat(kernels, dim=1))
        x = _step(block, k, driven, codes[: len(code_scales)], code_scales)
        codes, seen = [x, *codes[:1]], [_synthesise_for_later(block, k, x), *seen[:1]]
    return codes[0]


def maps_for_later(block: LZSC, k: int) -> list[Tensor]:
    """Return the kernels of the maps of x_k for later iterations: C_{k+1}, C'_{k+2}."""
    return [
        block.iteration(k + 1 + age).residual(age).synthesis.weight
        for age in later_ages(block.config, k, block.config.iterations)
    ]


def _synthesise_for_later(block: LZSC, k: int, x: Tensor) -> list[Tensor]:
    """Return C_{k+1} * x_k and C'_{k+2} * x_k, as far as they exist, from one convolution."""
    kernels = maps_for_later(block, k)
    if not kernels:
        return []
    return list(synthesise(x, torch.cat(kernels)).split(block.channels, dim=1))


def _step(block: LZSC, k: int, driven: Tensor, codes: list[Tensor], scales: list[Tensor]) -> Tensor:
    """Add the scaled earlier codes and apply the block's threshold."""
    config = block.config
    if config.threshold == "sigmoidal":
        x: Tensor = _SumAndThreshold.apply(  # type: ignore[no-untyped-call]
            driven, block.theta(k), config.alpha, config.gamma, *codes, *scales
        )
        return x
    for code, scale in zip(codes, scales, strict=True):
        driven = driven + scale.to(driven.dtype) * code
    return block.shrink(driven, k)


def separate_and_combine(network: FNet, x: Tensor, y: Tensor) -> tuple[Codes, Parts]:
    """Return what ``network.separate`` and ``network.combine`` return."""

    def explain_and_reconstruct(code: Tensor, *kernels: Tensor) -> list[Tensor]:
        return list(synthesise(code, torch.cat(kernels)).split(1, dim=1))

    u, v = encode(network.encode_u, x), encode(network.encode_v, y)
    explained_u, part_u = explain_and_reconstruct(
        u, network.explain_u.weight, network.reconstruct_u.weight
    )
    explained_v, part_v = explain_and_reconstruct(
        v, network.explain_v.weight, network.reconstruct_v.weight
    )
    z = encode(network.encode_z, torch.cat((x - explained_u, y - explained_v), dim=1))
    return Codes(u, v, z), Parts(part_u, part_v, synthesise(z, network.reconstruct_z.weight))


def invert(network: IFNet, fused: Tensor) -> tuple[Tensor, Tensor]:
    """Return what ``network(fused)`` returns."""
    return (
        synthesise(encode(network.encode_first, fused), network.reconstruct_first.weight),
        synthesise(encode(network.encode_second, fused), network.reconstruct_second.weight),
    )
