"""FNet, LZSC and IFNet: l0-regularised sparse coding for image fusion.

Source: Panda, Kundu, Bhattacharya, Routray, "l0-Regularized Sparse Coding-based Interpretable
Network for Multi-Modal Image Fusion", IEEE TPAMI, arXiv 2411.04519. Equation numbers are the
paper's, ``*`` is a 2-D convolution with zero "same" padding and no bias.

Two sensors look at one scene. Each image is what only its sensor sees (unique features u, v) plus
what both see (common features z), all sparse codes over learned dictionaries (eq. 7)::

    I1 = D1u * u + D1z * z        I2 = D2v * v + D2z * z        F = Gu * u + Gv * v + Gz * z

Read from top to bottom: each class uses only what is above it. ``docs/math.md`` has the table
"paper symbol - name here - key in the published checkpoint".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fnetcli.models.base import Fusion, Wanted
from fnetcli.models.fnet.config import FNetConfig, IFNetConfig, LZSCConfig

# --- threshold ------------------------------------------------------------------------------------


def sigmoidal_threshold(x: Tensor, theta: Tensor, alpha: float, gamma: float) -> Tensor:
    """Smooth hard threshold (eq. 6): small values nearly vanish, large ones pass almost untouched.

    It never returns an exact zero for x != 0: call ``|x| < theta / 100`` nearly zero.
    """
    magnitude = x.abs()
    return x.sign() * (magnitude - alpha * theta) * torch.sigmoid(gamma * (magnitude - theta))


def soft_threshold(x: Tensor, theta: Tensor) -> Tensor:
    """Proximal operator of theta |x|_1 (eq. 5), the l1 twin: every large value loses theta."""
    return x.sign() * F.relu(x.abs() - theta)


def hard_threshold(x: Tensor, theta: Tensor) -> Tensor:
    """Proximal operator of the l0 penalty (eq. 3): keep or drop. Theta gets no gradient from it."""
    return torch.where(x.abs() > theta, x, torch.zeros_like(x))


# --- one residual, one iteration, one block -------------------------------------------------------

SMALLEST_SLOPE = 0.005  # of threshold and momentum over k


def _convolution(channels_in: int, channels_out: int, kernel_size: int) -> nn.Conv2d:
    """Return a bias-free "same" convolution with Xavier-uniform kernels."""
    convolution = nn.Conv2d(
        channels_in, channels_out, kernel_size, padding=kernel_size // 2, bias=False
    )
    nn.init.xavier_uniform_(convolution.weight)
    return convolution


class Residual(nn.Module):
    """R(x) = x - B * (C * x) (eq. 17): what a code keeps after one gradient step on |e - C * x|."""

    def __init__(self, channels: int, config: LZSCConfig) -> None:
        super().__init__()
        self.synthesis = _convolution(config.atoms, channels, config.kernel_size)  # C: M -> C
        self.analysis = _convolution(channels, config.atoms, config.kernel_size)  # B: C -> M

    def forward(self, x: Tensor) -> Tensor:
        """Map a code (N, M, H, W) to a code of the same shape."""
        residual: Tensor = x - self.analysis(self.synthesis(x))
        return residual


class Iteration(nn.Module):
    """One step x_k before its threshold (eq. 15, 16), from 0, 1 or 2 earlier estimates.

    k = 0 has none and only encodes; k = 1 has no second one, so its momentum term is missing, but
    the (1 + rho_1) in front of R_1 stays.
    """

    def __init__(self, channels: int, config: LZSCConfig, residuals: int) -> None:
        super().__init__()
        self.momentum = config.momentum
        self.encode = _convolution(channels, config.atoms, config.kernel_size)  # A_k: C -> M
        self.residuals = nn.ModuleList(Residual(channels, config) for _ in range(residuals))

    def residual(self, age: int) -> Residual:
        """Return R (age 0) or R' (age 1); with shared kernels they are one."""
        return cast("Residual", self.residuals[min(age, len(self.residuals) - 1)])

    def forward(self, e: Tensor, estimates: list[Tensor], rho: Tensor) -> Tensor:
        """Return (N, M, H, W) from e: (N, C, H, W) and the earlier estimates, newest first."""
        encoded: Tensor = self.encode(e)
        if not estimates:
            return encoded
        x1, *older = estimates  # x_{k-1}, then x_{k-2} if there is one
        step: Tensor = self.residual(0)(x1)
        match self.momentum:
            case "none":
                return step + encoded
            case "polyak":
                push = rho * (x1 - older[0]) if older else 0
                return step + push + encoded
            case _:  # Nesterov; quasi-hyperbolic differs in rho alone, see LZSC.rho
                pull = rho * self.residual(1)(older[0]) if older else 0
                return (1 + rho) * step - pull + encoded


class Estimate(NamedTuple):
    """One iteration's code before and after its threshold, each (N, M, H, W)."""

    before: Tensor
    after: Tensor


class LZSC(nn.Module):
    """Unrolled l0 convolutional sparse coding with momentum (eq. 15-21).

    ::

        x_0 = S(A_0 * e; theta_0)
        x_k = S((1 + rho_k) R_k(x_{k-1}) - rho_k R'_k(x_{k-2}) + A_k * e; theta_k),  k = 1 ... K
    """

    def __init__(self, channels: int, config: LZSCConfig) -> None:
        super().__init__()
        self.channels = channels
        self.config = config
        if config.shared_kernels:
            shared = Iteration(channels, config, residuals=1)
            self.iterations = nn.ModuleList([shared])
        else:
            self.iterations = nn.ModuleList(
                Iteration(channels, config, config.residuals(k))
                for k in range(config.iterations + 1)
            )
        self.w_theta = nn.Parameter(torch.tensor([-0.5]))
        self.b_theta = nn.Parameter(torch.tensor([-2.0]))
        if config.momentum != "none":
            self.w_rho = nn.Parameter(torch.tensor([0.5]))
            self.b_rho = nn.Parameter(torch.tensor([0.0]))
        if config.momentum == "quasi-hyperbolic":
            self.mix_logit = nn.Parameter(torch.tensor([math.log(0.7 / 0.3)]))

    def theta(self, k: int) -> Tensor:
        """Threshold theta_k = softplus(w k + b) (eq. 20); it should fall with k."""
        return F.softplus(self.w_theta * k + self.b_theta)

    def rho(self, k: int) -> Tensor:
        """Momentum rho_k in [0, 1) (eq. 21); it should rise with k.

        Quasi-hyperbolic momentum mixes the plain step R(x_{k-1}) and the Nesterov step with a
        learned share m in [0, 1]; written out that is the Nesterov step with m rho_k for rho_k.
        """
        if self.config.momentum == "none":
            return torch.zeros_like(self.w_theta)
        start, now = F.softplus(self.b_rho), F.softplus(self.w_rho * k + self.b_rho)
        rho = (now - start) / now
        if self.config.momentum == "quasi-hyperbolic":
            return torch.sigmoid(self.mix_logit) * rho
        return rho

    @torch.no_grad()
    def hold_slopes(self) -> None:
        """Let the threshold go on falling with k, and momentum rising, whatever a step changed.

        A slope that would end it is set to the smallest one that does not; a frozen one stays.
        """
        if self.w_theta.requires_grad:
            self.w_theta.clamp_(max=-SMALLEST_SLOPE)
        if self.config.momentum != "none" and self.w_rho.requires_grad:
            self.w_rho.clamp_(min=SMALLEST_SLOPE)

    def shrink(self, x: Tensor, k: int) -> Tensor:
        """Apply the configured threshold S( . ; theta_k)."""
        theta = self.theta(k)
        match self.config.threshold:
            case "sigmoidal":
                return sigmoidal_threshold(x, theta, self.config.alpha, self.config.gamma)
            case "soft":
                return soft_threshold(x, theta)
            case "hard":
                return hard_threshold(x, theta)

    def iteration(self, k: int) -> Iteration:
        """Return the module of iteration k (with shared kernels always the same one)."""
        module = self.iterations[0 if self.config.shared_kernels else k]
        return cast("Iteration", module)

    def forward(self, e: Tensor, trace: list[Estimate] | None = None) -> Tensor:
        """Code e: (N, C, H, W) as x_K: (N, M, H, W); every x_k is appended to `trace`, if given."""
        estimates: list[Tensor] = []  # newest first, at most two
        for k in range(self.config.iterations + 1):
            before = self.iteration(k)(e, estimates, self.rho(k))
            after = self.shrink(before, k)
            if trace is not None:
                trace.append(Estimate(before, after))
            estimates = [after, *estimates[:1]]
        return estimates[0]


# --- the fusion network and its inverse -----------------------------------------------------------


FUSED_ONLY = Wanted()


class Codes(NamedTuple):
    """Unique features of the first and second image and common ones, each (N, M, H, W)."""

    u: Tensor
    v: Tensor
    z: Tensor


class Parts(NamedTuple):
    """What each code adds to the fused image, each (N, 1, H, W), signed; they sum to it exactly."""

    unique_first: Tensor
    unique_second: Tensor
    common: Tensor

    @property
    def fused(self) -> Tensor:
        """The fused image F (eq. 23), not clipped."""
        return self.unique_first + self.unique_second + self.common


@dataclass
class Trace:
    """Every iteration of the three blocks and the residuals p1, p2, filled on request."""

    u: list[Estimate] = field(default_factory=list)
    v: list[Estimate] = field(default_factory=list)
    z: list[Estimate] = field(default_factory=list)
    residuals: tuple[Tensor, Tensor] | None = None


class FNet(nn.Module):
    """Fuse two images by separating what is unique to each from what is common (eq. 22, 23)."""

    def __init__(self, config: FNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FNetConfig()
        self.encode_u = LZSC(1, config)
        self.encode_v = LZSC(1, config)
        self.encode_z = LZSC(2, config)
        self.explain_u = _convolution(config.atoms, 1, config.kernel_size)  # Wu
        self.explain_v = _convolution(config.atoms, 1, config.kernel_size)  # Wv
        self.reconstruct_u = _convolution(config.atoms, 1, config.kernel_size)  # Gu
        self.reconstruct_v = _convolution(config.atoms, 1, config.kernel_size)  # Gv
        self.reconstruct_z = _convolution(config.atoms, 1, config.kernel_size)  # Gz

    @property
    def parameter_count(self) -> int:
        """The number of learned parameters: 419,916 by default."""
        return sum(parameter.numel() for parameter in self.parameters())

    def separate(self, x: Tensor, y: Tensor, trace: Trace | None = None) -> Codes:
        """Estimate u and v with z = 0 (eq. 9), then z from the residuals (eq. 10, 11; 22).

        x and y are the first and second image, (N, 1, H, W), luminance in [0, 1].
        """
        u = self.encode_u(x, trace.u if trace else None)
        v = self.encode_v(y, trace.v if trace else None)
        p1 = x - self.explain_u(u)
        p2 = y - self.explain_v(v)
        z = self.encode_z(torch.cat((p1, p2), dim=1), trace.z if trace else None)
        if trace is not None:
            trace.residuals = (p1, p2)
        return Codes(u, v, z)

    def combine(self, codes: Codes) -> Parts:
        """Reconstruct the three parts F = Gu * u + Gv * v + Gz * z (eq. 23)."""
        return Parts(
            self.reconstruct_u(codes.u), self.reconstruct_v(codes.v), self.reconstruct_z(codes.z)
        )

    def forward(self, x: Tensor, y: Tensor, wanted: Wanted = FUSED_ONLY) -> Fusion[Tensor]:
        """Fuse two images (N, 1, H, W): the parts, whose sum is the fused image, and the codes."""
        codes = self.separate(x, y)
        parts = self.combine(codes)._asdict()
        return Fusion(None, parts, features=codes._asdict() if wanted.features else {})


class IFNet(nn.Module):
    """Inverse fusion, F back to both sources (eq. 12-14, 24); FNet's training needs it.

    The published code applies H1 to both codes by mistake; this follows the paper.
    """

    def __init__(self, config: IFNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or IFNetConfig()
        self.encode_first = LZSC(1, config)
        self.encode_second = LZSC(1, config)
        self.reconstruct_first = _convolution(config.atoms, 1, config.kernel_size)  # H1
        self.reconstruct_second = _convolution(config.atoms, 1, config.kernel_size)  # H2

    def recover(self, fused: Tensor) -> tuple[Tensor, Tensor]:
        """Return estimates of the first and second image, each (N, 1, H, W)."""
        return (
            self.reconstruct_first(self.encode_first(fused)),
            self.reconstruct_second(self.encode_second(fused)),
        )

    def forward(self, x: Tensor, y: Tensor, wanted: Wanted = FUSED_ONLY) -> Fusion[Tensor]:
        """Recover both images from x, the fused one, as maps; so the engine can run it in tiles."""
        del y
        maps = zip(("recovered_first", "recovered_second"), self.recover(x), strict=True)
        return Fusion(x, maps=dict(maps) if wanted.maps else {})
