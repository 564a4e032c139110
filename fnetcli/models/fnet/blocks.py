"""An FNet at rest, block by block: kernels and schedules as plain arrays and numbers.

`network.py` is the same in torch, with gradients. Executors and inspection read the network from
here, so that compiled code needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from fnetcli.models.base import Array, Arrays, Network
from fnetcli.models.fnet.config import FNetConfig, LZSCConfig

NumberT = TypeVar("NumberT", float, Any)  # a number, or a tensor in training

BLOCKS = ("u", "v", "z")
CHANNELS = {"u": 1, "v": 1, "z": 2}  # of a block's input
# The kernels for a block's last code: W (what it explains of its image), then G (its part).
READOUTS = {
    "u": ("explain_u", "reconstruct_u"),
    "v": ("explain_v", "reconstruct_v"),
    "z": ("reconstruct_z",),
}


# --- the factors of a step, for shaped.py and the executors, not for network.py ------------------


def step_factors(
    config: LZSCConfig, k: int, rho: NumberT, one: NumberT
) -> tuple[list[NumberT], list[NumberT]]:
    """Return the factors of x_{k-1}, x_{k-2} and of their residuals' analysis kernels in step k.

    Written out, (1 + rho) R(x1) - rho R'(x2) = (1 + rho) x1 - rho x2 - (1 + rho) B * C * x1 + rho
    B' * C' * x2 (eq. 16). `one` is 1 as a number of the same kind as rho.
    """
    match config.momentum:
        case "none":
            return [one], [-one]
        case "polyak":
            return ([one], [-one]) if k == 1 else ([1 + rho, -rho], [-one])
        case _:
            return ([1 + rho], [-1 - rho]) if k == 1 else ([1 + rho, -rho], [-1 - rho, rho])


def later_ages(config: LZSCConfig, k: int, last: int) -> list[int]:
    """Return which residuals, R (0) of step k + 1 and R' (1) of step k + 2, synthesise x_k."""
    ages = (0,) if config.shared_kernels else (0, 1)
    return [age for age in ages if k + 1 + age <= last and config.residuals(k + 1 + age) > age]


# --- a network at rest ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Iteration:
    """The kernels of one x_k: A_k (M, C, n, n); B (M, C, n, n) and C (C, M, n, n) of R, then R'."""

    encode: Array
    analysis: tuple[Array, ...] = ()
    synthesis: tuple[Array, ...] = ()


@dataclass(frozen=True)
class Block:
    """One LZSC block (eq. 15-21) and the kernels for its last code.

    `theta` and `rho` hold the thresholds and momenta of k = 0 ... K (without momentum 0). `readout`
    are kernels (1, M, n, n).
    """

    config: LZSCConfig
    channels: int
    iterations: tuple[Iteration, ...]
    theta: tuple[float, ...]
    rho: tuple[float, ...]
    readout: tuple[Array, ...]

    @property
    def last(self) -> int:
        """K, the number of its last iteration."""
        return len(self.theta) - 1

    def iteration(self, k: int) -> Iteration:
        """Return the kernels of iteration k (always the same if kernels are shared)."""
        return self.iterations[0 if self.config.shared_kernels else k]

    def factors(self, k: int) -> tuple[list[float], list[float]]:
        """Return `step_factors` of step k; k = 0 has none."""
        return step_factors(self.config, k, self.rho[k], 1.0) if k else ([], [])

    def analysis(self, k: int) -> list[Array]:
        """Return the kernels of the maps that step k uses, except the input's A_k."""
        kernels = self.iteration(k).analysis
        return [kernels[min(age, len(kernels) - 1)] for age in range(len(self.factors(k)[1]))]

    def maps_for_later(self, k: int) -> list[Array]:
        """Return the kernels of the maps of x_k for later iterations: C_{k+1}, C'_{k+2}."""
        found = []
        for age in later_ages(self.config, k, self.last):
            kernels = self.iteration(k + 1 + age).synthesis
            found.append(kernels[min(age, len(kernels) - 1)])
        return found

    def maps_of(self, k: int) -> list[Array]:
        """Return the kernels of all maps of x_k; for the last iteration, the readout."""
        return self.maps_for_later(k) if k < self.last else list(self.readout)

    def source(self, k: int, age: int) -> slice:
        """Return which maps of x_{k-1-age} step k uses; with shared kernels there is only one."""
        number = min(age, len(self.maps_for_later(k - 1 - age)) - 1)
        return slice(number * self.channels, (number + 1) * self.channels)


@dataclass(frozen=True)
class Blocks:
    """The three blocks of an FNet (eq. 22, 23), ready to run."""

    config: FNetConfig
    u: Block
    v: Block
    z: Block

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its numbers."""
        return self.z.readout[0].dtype


@dataclass(frozen=True)
class StoppedNetwork(Network[FNetConfig]):
    """A network whose blocks of `letters` end with iteration `last`, and the others with 0.

    If open, their last threshold is 0: the soft and the hard threshold then pass everything, and
    the sigmoidal one (eq. 6) maps x to x / (1 + exp(-gamma |x|)). The block of z gets the unchanged
    images, since nothing of them is explained; the parts of u and v are what their codes explain.
    """

    letters: str = ""
    last: int = 0
    is_open: bool = False


def blocks_of(network: Network[FNetConfig]) -> Blocks:
    """Return a network at rest block by block."""
    blocks = {letter: _block(network, letter) for letter in BLOCKS}
    if isinstance(network, StoppedNetwork):
        blocks = {letter: _stopped(block, letter, network) for letter, block in blocks.items()}
    return Blocks(network.config, **blocks)


def _stopped(block: Block, letter: str, network: StoppedNetwork) -> Block:
    last = network.last if letter in network.letters else 0
    theta = block.theta[: last + 1]
    explain, *_ = block.readout
    return replace(
        block,
        theta=(*theta[:-1], 0.0) if network.is_open else theta,
        rho=block.rho[: last + 1],
        readout=block.readout if letter == "z" else (np.zeros_like(explain), explain),
    )


def _block(network: Network[FNetConfig], letter: str) -> Block:
    config, arrays, name = network.config, network.arrays, f"encode_{letter}"
    count = 1 if config.shared_kernels else config.iterations + 1
    numbers = range(config.iterations + 1)
    return Block(
        config=config,
        channels=CHANNELS[letter],
        iterations=tuple(
            _iteration(config, arrays, f"{name}.iterations.{k}", k) for k in range(count)
        ),
        theta=tuple(_theta(arrays, name, k) for k in numbers),
        rho=tuple(_rho(config, arrays, name, k) for k in numbers),
        readout=tuple(arrays[f"{one}.weight"] for one in READOUTS[letter]),
    )


def _iteration(config: LZSCConfig, arrays: Arrays, name: str, k: int) -> Iteration:
    residuals = range(1 if config.shared_kernels else config.residuals(k))
    return Iteration(
        encode=arrays[f"{name}.encode.weight"],
        analysis=tuple(arrays[f"{name}.residuals.{i}.analysis.weight"] for i in residuals),
        synthesis=tuple(arrays[f"{name}.residuals.{i}.synthesis.weight"] for i in residuals),
    )


def _theta(arrays: Arrays, block: str, k: int) -> float:
    """Return theta_k = softplus(w k + b) (eq. 20)."""
    return _softplus(_scalar(arrays, f"{block}.w_theta") * k + _scalar(arrays, f"{block}.b_theta"))


def _rho(config: LZSCConfig, arrays: Arrays, block: str, k: int) -> float:
    """Return rho_k (eq. 21); with quasi-hyperbolic momentum times the learned share."""
    if config.momentum == "none":
        return 0.0
    w, b = _scalar(arrays, f"{block}.w_rho"), _scalar(arrays, f"{block}.b_rho")
    start, now = _softplus(b), _softplus(w * k + b)
    rho = (now - start) / now if now else math.nan
    if config.momentum == "quasi-hyperbolic":
        return rho * _sigmoid(_scalar(arrays, f"{block}.mix_logit"))
    return rho


def _scalar(arrays: Arrays, name: str) -> float:
    return float(arrays[name][0])


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _softplus(x: float) -> float:
    """Return log(1 + e^x) as in torch: x itself beyond 20."""
    return x if x > 20 else math.log1p(math.exp(x))


# --- names and shapes -----------------------------------------------------------------------------


def shapes(config: FNetConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of every tensor, as in ``FNet(config).state_dict()``."""
    atoms, size = config.atoms, config.kernel_size
    for letter in BLOCKS:
        yield from _block_shapes(config, f"encode_{letter}", CHANNELS[letter])
    for name in ("explain_u", "explain_v", "reconstruct_u", "reconstruct_v", "reconstruct_z"):
        yield f"{name}.weight", (1, atoms, size, size)


def _block_shapes(
    config: FNetConfig, name: str, channels: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    scalars = ["w_theta", "b_theta"]
    scalars += ["w_rho", "b_rho"] if config.momentum != "none" else []
    scalars += ["mix_logit"] if config.momentum == "quasi-hyperbolic" else []
    for scalar in scalars:
        yield f"{name}.{scalar}", (1,)
    atoms, size = config.atoms, config.kernel_size
    analysis, synthesis = (atoms, channels, size, size), (channels, atoms, size, size)
    for k in range(1 if config.shared_kernels else config.iterations + 1):
        step = f"{name}.iterations.{k}"
        yield f"{step}.encode.weight", analysis
        for i in range(1 if config.shared_kernels else config.residuals(k)):
            yield f"{step}.residuals.{i}.synthesis.weight", synthesis
            yield f"{step}.residuals.{i}.analysis.weight", analysis
