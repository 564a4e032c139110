"""FNet in numpy and float64, written from the equations of docs/math.md: slow, and sure.

It shares no code with the networks that it is compared with. Where the authors' numbers are at
hand, a test holds it against them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = Mapping[str, NDArray[np.floating]]


def convolve(maps: Array, kernels: NDArray[np.floating]) -> Array:
    """Return (outputs, H, W): the sum over input maps and taps, zeros outside, tap by tap."""
    _, height, width = maps.shape
    outputs, _, size, _ = kernels.shape
    reach = size // 2
    padded = np.pad(maps, ((0, 0), (reach, reach), (reach, reach)))
    found = np.zeros((outputs, height, width))
    for i in range(size):
        for j in range(size):
            seen = padded[:, i : i + height, j : j + width]
            found += np.einsum("oc,chw->ohw", kernels[:, :, i, j].astype(np.float64), seen)
    return found


def softplus(value: float) -> float:
    """Return log(1 + e^value)."""
    return float(np.logaddexp(0.0, value))


def shrink(x: Array, theta: float, alpha: float, gamma: float) -> Array:
    """Return S(x; theta), eq. 6."""
    with np.errstate(over="ignore"):
        size = np.abs(x)
        small: Array = np.sign(x) * (size - alpha * theta) / (1 + np.exp(-gamma * (size - theta)))
    return small


def code(e: Array, weights: Weights, block: str, alpha: float, gamma: float) -> Array:
    """Return x_K of one block, eq. 15 to 21, with Nesterov momentum."""

    def of(name: str) -> NDArray[np.floating]:
        return weights[f"encode_{block}.{name}"]

    def number(name: str) -> float:
        return float(of(name).item())

    def residual(k: int, which: int, x: Array) -> Array:
        name = f"iterations.{k}.residuals.{which}"
        seen = convolve(x, of(f"{name}.synthesis.weight"))
        return x - convolve(seen, of(f"{name}.analysis.weight"))

    last = max(int(name.split(".")[2]) for name in weights if f"encode_{block}.iter" in name)
    estimates: list[Array] = []
    for k in range(last + 1):
        before = convolve(e, of(f"iterations.{k}.encode.weight"))
        now, start = softplus(number("w_rho") * k + number("b_rho")), softplus(number("b_rho"))
        rho = (now - start) / now
        if k >= 1:
            before += (1 + rho) * residual(k, 0, estimates[-1])
        if k >= 2:
            before -= rho * residual(k, 1, estimates[-2])
        theta = softplus(number("w_theta") * k + number("b_theta"))
        estimates.append(shrink(before, theta, alpha, gamma))
    return estimates[-1]


def fuse(
    first: Array, second: Array, weights: Weights, alpha: float = 0.1, gamma: float = 100.0
) -> dict[str, Array]:
    """Return codes u, v, z and the three parts of two luminances (H, W), eq. 22 and 23."""
    x, y = first[None].astype(np.float64), second[None].astype(np.float64)
    u = code(x, weights, "u", alpha, gamma)
    v = code(y, weights, "v", alpha, gamma)
    p1 = x - convolve(u, weights["explain_u.weight"])
    p2 = y - convolve(v, weights["explain_v.weight"])
    z = code(np.concatenate((p1, p2)), weights, "z", alpha, gamma)
    parts = {
        "unique_first": convolve(u, weights["reconstruct_u.weight"])[0],
        "unique_second": convolve(v, weights["reconstruct_v.weight"])[0],
        "common": convolve(z, weights["reconstruct_z.weight"])[0],
    }
    return {"u": u, "v": v, "z": z, **parts}
