"""The shape of an FNet, without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Threshold = Literal["sigmoidal", "soft", "hard"]
Momentum = Literal["nesterov", "polyak", "quasi-hyperbolic", "none"]


@dataclass(frozen=True)
class LZSCConfig:
    """Shape of one LZSC block. The defaults are the paper's; each ablation changes one field."""

    atoms: int = 64  # M: maps in a code, the width that the paper trains
    kernel_size: int = 9  # odd, so that "same" padding keeps a pixel where it is
    iterations: int = 4  # K: the paper finds 3 worse (AE9) and 5 no better (AE10)
    threshold: Threshold = "sigmoidal"  # l0 with a useful gradient; soft is AE2, AE12
    alpha: float = 0.1  # share of theta that a large value loses (AE7, AE8)
    gamma: float = 100.0  # steepness at theta (AE7, AE8)
    momentum: Momentum = "nesterov"  # none is AE4, polyak AE5, quasi-hyperbolic AE6
    shared_kernels: bool = False  # True: one A, B, C for all iterations (AE3)

    def __post_init__(self) -> None:
        """Raise ValueError if a field is impossible."""
        for name in ("atoms", "kernel_size", "iterations"):
            if type(getattr(self, name)) is not int:
                raise ValueError(f"{name} must be a whole number, not {getattr(self, name)!r}")
        if self.atoms < 1:
            raise ValueError(f"atoms must be at least 1, not {self.atoms}")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd and positive, not {self.kernel_size}")
        if self.iterations < 1:
            raise ValueError(f"iterations must be at least 1, not {self.iterations}")
        if self.threshold not in ("sigmoidal", "soft", "hard"):
            raise ValueError(f"threshold must be sigmoidal, soft or hard, not {self.threshold!r}")
        if self.momentum not in ("nesterov", "polyak", "quasi-hyperbolic", "none"):
            raise ValueError(
                "momentum must be nesterov, polyak, quasi-hyperbolic or none, "
                f"not {self.momentum!r}"
            )
        if not (math.isfinite(self.alpha) and 0 <= self.alpha <= 1):
            raise ValueError(f"alpha must lie in [0, 1], not {self.alpha}")
        if not (math.isfinite(self.gamma) and self.gamma > 0):
            raise ValueError(f"gamma must be positive, not {self.gamma}")
        object.__setattr__(self, "alpha", float(self.alpha))  # metadata may hold whole numbers
        object.__setattr__(self, "gamma", float(self.gamma))

    def residuals(self, k: int) -> int:
        """Return how many earlier estimates iteration k passes through a residual: 0, 1 or 2."""
        return min(k, 2 if self.momentum in ("nesterov", "quasi-hyperbolic") else 1)


@dataclass(frozen=True)
class FNetConfig(LZSCConfig):
    """Shape of an FNet: its three LZSC blocks differ only in their input channels."""

    @property
    def reach(self) -> int:
        """Largest distance in pixels at which an input pixel can change a fused pixel.

        Per block one convolution for x_0 and two per iteration, then Wu or Wv, a second such block,
        and the reconstruction: 80 pixels for the default configuration.
        """
        return (self.kernel_size // 2) * (2 * (1 + 2 * self.iterations) + 2)

    @property
    def multiply_adds(self) -> int:
        """The multiply-adds of the convolutions per pixel of a pair: 419,904 by default.

        One of A to B maps takes kernel_size^2 A B. Iteration k of a block encodes its input once
        (A_k) and has two convolutions per residual (C_k, B_k); the blocks have 1, 1 and 2 inputs;
        Wu, Wv, Gu, Gv and Gz follow. Unless kernels are shared, each weight is used once per pixel.
        """
        per_input = sum(1 + 2 * self.residuals(k) for k in range(self.iterations + 1))
        return self.kernel_size**2 * self.atoms * ((1 + 1 + 2) * per_input + 5)


@dataclass(frozen=True)
class IFNetConfig(LZSCConfig):
    """Shape of an IFNet: its two LZSC blocks have one input channel each."""

    @property
    def reach(self) -> int:
        """Largest distance in pixels at which a fused pixel can change a recovered one."""
        return (self.kernel_size // 2) * (2 + 2 * self.iterations)

    @property
    def multiply_adds(self) -> int:
        """The multiply-adds of the convolutions per pixel: two blocks, H1 and H2."""
        per_input = sum(1 + 2 * self.residuals(k) for k in range(self.iterations + 1))
        return self.kernel_size**2 * self.atoms * 2 * (per_input + 1)
