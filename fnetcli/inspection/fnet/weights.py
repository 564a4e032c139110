"""Facts about an FNet's weights file, and its dictionaries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fnetcli.checkpoints.loading import Weights
from fnetcli.inspection.base import WeightsFacts
from fnetcli.inspection.fnet.numbers import falls, rises
from fnetcli.inspection.weights import KNOWN_METADATA, weights_facts
from fnetcli.models.base import Array, Network
from fnetcli.models.fnet.blocks import Block, blocks_of
from fnetcli.models.fnet.config import FNetConfig

Role = Literal["analysis", "synthesis"]
GROUPS = ("encode_u", "encode_v", "encode_z", "explain", "reconstruct")


@dataclass(frozen=True)
class BlockFacts:
    """Facts about an LZSC block: `theta`, k = 0 ... K; `rho`, k = 1 ... K (empty without momentum).

    Whether thresholds fall and momentum rises at every k, as they must (None: fewer than two).
    """

    theta: list[float]
    rho: list[float]
    thresholds_fall: bool
    momentum_rises: bool | None


@dataclass(frozen=True)
class CheckpointFacts(WeightsFacts):
    """Facts about an FNet.

    `config` are the fields of `FNetConfig`, `parameters` the counts of each block: `encode_u`,
    `encode_v`, `encode_z`, `explain` (Wu, Wv) and `reconstruct` (Gu, Gv, Gz).
    """

    blocks: dict[str, BlockFacts]  # "u", "v", "z"

    @property
    def series(self) -> dict[str, list[float]]:
        """Thresholds and momenta."""
        found = dict[str, list[float]]()
        for letter, block in self.blocks.items():
            found |= {f"theta_k of {letter}": block.theta, f"rho_k of {letter}": block.rho}
        return found

    def record(self) -> dict[str, Any]:
        """Return the fields, ready for JSON; the metadata come last."""
        record = super().record()
        del record["model"]  # this format is older than other models
        last = {name: record.pop(name) for name in (*KNOWN_METADATA, "other_metadata", "notices")}
        return {**record, "blocks": record.pop("blocks"), **last}


@dataclass(frozen=True)
class Dictionary:
    """The kernels (M, k, k) between a code of M atoms and one map, as they are convolved.

    `symbol` is the paper's with the iteration, "A_0" or "G_u"; `channel` counts the maps of the
    block of z, which has two: the two residuals. An analysis kernel computes a code from a map, a
    synthesis kernel a map from a code. Convolutions do not mirror kernels (docs/math.md), so an
    atom of value 1 appears in a map as the synthesis kernel rotated by 180 degrees; `stamps` are
    the kernels rotated in this way.
    """

    block: str  # "u", "v" or "z"
    role: Role
    symbol: str
    channel: int
    kernels: NDArray[np.float32]

    @property
    def stamps(self) -> NDArray[np.float32]:
        """The kernels as they appear in a picture: synthesis kernels rotated by 180 degrees."""
        return self.kernels[:, ::-1, ::-1] if self.role == "synthesis" else self.kernels


def checkpoint_facts(weights: Weights) -> CheckpointFacts:
    """Return the facts about a weights file."""
    blocks = {letter: _block_facts(one) for letter, one in _blocks(weights.network).items()}
    return CheckpointFacts(**vars(weights_facts(weights, _group)), blocks=blocks)


def _group(name: str) -> str:
    return next(group for group in GROUPS if name.startswith(group))


def _blocks(network: Network[FNetConfig]) -> dict[str, Block]:
    blocks = blocks_of(network)
    return {"u": blocks.u, "v": blocks.v, "z": blocks.z}


def _block_facts(block: Block) -> BlockFacts:
    theta = list(block.theta)
    rho = list(block.rho[1:]) if block.config.momentum != "none" else []
    return BlockFacts(
        theta=theta,
        rho=rho,
        thresholds_fall=falls(theta),
        momentum_rises=rises(rho),
    )


def dictionaries(network: Network[FNetConfig]) -> list[Dictionary]:
    """Return every dictionary of a network, by block: A_k, B_k, C_k, those of R', W, G.

    With shared kernels, each is returned once.
    """
    blocks = _blocks(network)
    return [one for letter, block in blocks.items() for one in _of_block(block, letter)]


def _of_block(block: Block, letter: str) -> Iterator[Dictionary]:
    for k, iteration in enumerate(block.iterations):
        index = "" if block.config.shared_kernels else f"_{k}"
        yield from _by_channel(letter, "analysis", f"A{index}", iteration.encode)
        for age in range(len(iteration.analysis)):
            prime = "'" * age
            yield from _by_channel(letter, "analysis", f"B{prime}{index}", iteration.analysis[age])
            yield from _by_channel(
                letter, "synthesis", f"C{prime}{index}", iteration.synthesis[age]
            )
    symbols = ("G",) if letter == "z" else ("W", "G")
    for symbol, kernels in zip(symbols, block.readout, strict=True):
        yield from _by_channel(letter, "synthesis", f"{symbol}_{letter}", kernels)


def _by_channel(letter: str, role: Role, symbol: str, kernels: Array) -> Iterator[Dictionary]:
    by_map = kernels.swapaxes(0, 1) if role == "analysis" else kernels  # (C, M, k, k)
    for channel, one in enumerate(by_map):
        values = np.ascontiguousarray(one, np.float32)
        yield Dictionary(letter, role, symbol, channel, values)
