"""What a weights file says of itself, and the dictionaries in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fnetcli.checkpoints.loading import Weights
from fnetcli.inspection.fnet.numbers import falls, rises
from fnetcli.models.fnet.network import LZSC, FNet

Role = Literal["analysis", "synthesis"]
BLOCKS = "uvz"


@dataclass(frozen=True)
class BlockFacts:
    """Of one LZSC block: `theta` for k = 0 ... K, `rho` for k = 1 ... K (empty without momentum).

    Whether thresholds fall and momentum rises at every k, as they must (None: fewer than two).
    """

    theta: list[float]
    rho: list[float]
    thresholds_fall: bool
    momentum_rises: bool | None


@dataclass(frozen=True)
class CheckpointFacts:
    """Everything that is known of a weights file; `record` gives it under the fields' names.

    `config` are the fields of `FNetConfig`, `parameters` the counts of each block: `encode_u`,
    `encode_v`, `encode_z`, `explain` (Wu, Wv) and `reconstruct` (Gu, Gv, Gz), whose sum is
    `parameter_count`. `multiply_adds` is per pixel, `reach` the largest distance in pixels at which
    an input changes a result. `recipe`, `trained` (data and length of the training) and `scores`
    are as the metadata has them, or None; `other_metadata` is the rest.
    """

    name: str
    layout: str
    sha256: str
    config: dict[str, Any]
    parameters: dict[str, int]
    parameter_count: int
    multiply_adds: int
    reach: int
    blocks: dict[str, BlockFacts]  # "u", "v", "z"
    recipe: Any
    trained: Any
    scores: Any
    other_metadata: dict[str, Any]
    notices: list[str]

    def record(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class Dictionary:
    """The kernels (M, k, k) between a code of M atoms and one map, as they are convolved.

    `symbol` is the paper's with the iteration, "A_0" or "G_u"; `channel` counts the maps of the
    block of z, which has two: what u and what v leave. An analysis kernel makes a code of a map, a
    synthesis kernel a map of a code. Convolutions do not mirror kernels (docs/math.md), so a
    synthesis kernel's picture is what one atom of value 1 leaves, turned by 180 degrees; `stamps`
    are the kernels turned that way.
    """

    block: str  # "u", "v" or "z"
    role: Role
    symbol: str
    channel: int
    kernels: NDArray[np.float32]

    @property
    def stamps(self) -> NDArray[np.float32]:
        """What an atom of value 1 looks like in a map: of a synthesis kernel, the picture."""
        return self.kernels[:, ::-1, ::-1] if self.role == "synthesis" else self.kernels


def checkpoint_facts(weights: Weights) -> CheckpointFacts:
    """Gather what there is to say of a weights file."""
    network, metadata = weights.network, dict(weights.metadata)
    known = {key: metadata.pop(key, None) for key in ("recipe", "trained", "scores")}
    groups: dict[str, list[nn.Module]] = {
        "encode_u": [network.encode_u],
        "encode_v": [network.encode_v],
        "encode_z": [network.encode_z],
        "explain": [network.explain_u, network.explain_v],
        "reconstruct": [network.reconstruct_u, network.reconstruct_v, network.reconstruct_z],
    }
    return CheckpointFacts(
        name=weights.name,
        layout=weights.layout,
        sha256=weights.sha256,
        config=asdict(network.config),
        parameters={name: _parameters(modules) for name, modules in groups.items()},
        parameter_count=network.parameter_count,
        multiply_adds=network.config.multiply_adds,
        reach=network.config.reach,
        blocks={letter: _block_facts(_block(network, letter)) for letter in BLOCKS},
        **known,
        other_metadata=metadata,
        notices=weights.notices(),
    )


def _parameters(modules: list[nn.Module]) -> int:
    return sum(one.numel() for module in modules for one in module.parameters())


def _block(network: FNet, letter: str) -> LZSC:
    return cast("LZSC", getattr(network, f"encode_{letter}"))


@torch.inference_mode()
def _block_facts(block: LZSC) -> BlockFacts:
    last, has_momentum = block.config.iterations, block.config.momentum != "none"
    theta = [block.theta(k).item() for k in range(last + 1)]
    rho = [block.rho(k).item() for k in range(1, last + 1)] if has_momentum else []
    return BlockFacts(
        theta=theta,
        rho=rho,
        thresholds_fall=falls(theta),
        momentum_rises=rises(rho),
    )


def dictionaries(network: FNet) -> list[Dictionary]:
    """Return every dictionary of a network: block by block A_k, B_k, C_k and theirs of R', W, G.

    With shared kernels only those that there are.
    """
    return [dictionary for letter in BLOCKS for dictionary in _of_block(network, letter)]


def _of_block(network: FNet, letter: str) -> Iterator[Dictionary]:
    block = _block(network, letter)
    config = block.config
    for k in range(1 if config.shared_kernels else config.iterations + 1):
        module = block.iteration(k)
        index = "" if config.shared_kernels else f"_{k}"
        yield from _by_channel(letter, "analysis", f"A{index}", module.encode)
        for age in range(len(module.residuals)):
            residual, prime = module.residual(age), "'" * age
            yield from _by_channel(letter, "analysis", f"B{prime}{index}", residual.analysis)
            yield from _by_channel(letter, "synthesis", f"C{prime}{index}", residual.synthesis)
    if letter != "z":
        explain = getattr(network, f"explain_{letter}")
        yield from _by_channel(letter, "synthesis", f"W_{letter}", explain)
    yield from _by_channel(
        letter, "synthesis", f"G_{letter}", getattr(network, f"reconstruct_{letter}")
    )


def _by_channel(
    letter: str, role: Role, symbol: str, convolution: nn.Conv2d
) -> Iterator[Dictionary]:
    weight = convolution.weight.detach().cpu().float()
    by_map = weight.transpose(0, 1) if role == "analysis" else weight  # (C, M, k, k)
    for channel, kernels in enumerate(by_map):
        yield Dictionary(letter, role, symbol, channel, kernels.contiguous().numpy())
