"""Print what FNet's losses ask for: the scores of pictures that minimise them pixel by pixel.

    python -m bench.optimum VAL --weights fnet --balance 20 20 15 --balance 60 20 30

VAL is a folder with vis/ and ir/; for others name two modalities: --modalities mri ct. A balance is
the weights of the losses for intensity, gradient and structural similarity. For each of them the
middle of every pair is fused by the networks, and by no network: the fused pixels themselves
descend the loss, from those of the first network. What a network lacks of that, a better one could
reach; what both lack, the losses do not ask for.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fnetcli.checkpoints.loading import load_weights
from fnetcli.checkpoints.shipped import find_weights
from fnetcli.engine import Engine
from fnetcli.inputs.pairing import pair_paths
from fnetcli.metrics import quantise, score
from fnetcli.modalities import network_order
from fnetcli.pictures.prepare import PrepareOptions, read_case
from fnetcli.text import number_of
from fnetcli.training.data import cut_middle
from fnetcli.training.fnet.losses import FusionLoss, fusion_loss

RATE = 0.02  # of Adam, in the range of pixels, falling to a hundredth
Picture = NDArray[np.float32]  # (H, W) in [0, 1]
Balance = tuple[float, float, float]


@dataclass(frozen=True)
class Scored:
    """Scores by metric, and the weighted losses, of one fused picture."""

    scores: dict[str, float]
    losses: dict[str, float]


def minimum(start: Picture, pair: tuple[Picture, Picture], balance: Balance, steps: int) -> Picture:
    """Return the picture at the end of a descent of the loss from `start`."""
    pixels = torch.from_numpy(start.copy())[None, None].requires_grad_()
    optimizer = torch.optim.Adam([pixels])
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - 0.99 * step / steps)
        optimizer.zero_grad()
        loss_of(pixels, pair, balance).total.backward()
        optimizer.step()
    found: Picture = pixels.detach().clamp(0, 1).numpy()[0, 0]
    return found


def loss_of(fused: torch.Tensor, pair: tuple[Picture, Picture], balance: Balance) -> FusionLoss:
    """Return the loss of a fused picture, (1, 1, H, W)."""
    first, second = (torch.from_numpy(image)[None, None] for image in pair)
    intensity, gradient, ssim = balance
    return fusion_loss(
        fused, first, second,
        intensity_weight=intensity, gradient_weight=gradient, ssim_weight=ssim,
    )  # fmt: skip


def scored(fused: Picture, pair: tuple[Picture, Picture], balance: Balance) -> Scored:
    """Score a fused picture."""
    with torch.no_grad():
        loss = loss_of(torch.from_numpy(fused.copy())[None, None], pair, balance)
    losses = {f"loss of {name}": value.item() for name, value in vars(loss).items()}
    first, second, result = (quantise(image) for image in (*pair, fused))
    return Scored(score(first, second, result), losses | {"all": loss.total.item()})


def fused_by(
    engines: Sequence[Engine], folder: Path, modalities: tuple[str, str], side: int
) -> Iterator[tuple[tuple[Picture, Picture], list[Picture]]]:
    """Yield the middle of each pair, and of its fused pictures: one for each network."""
    first, second = modalities
    for case in pair_paths(folder / first, folder / second).cases:
        x, y = read_case(case, PrepareOptions(modalities)).luminances
        pair = (cut_middle(x[0], side), cut_middle(y[0], side))
        yield pair, [cut_middle(engine.run(x, y).fused[0], side) for engine in engines]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one table for each balance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", action="append", required=True, metavar="NAME|FILE")
    parser.add_argument(
        "--balance", action="append", required=True, nargs=3, type=float,
        metavar=("INTENSITY", "GRADIENT", "SSIM"),
    )  # fmt: skip
    parser.add_argument("--modalities", nargs=2, default=("ir", "vis"))
    parser.add_argument("--side", type=int, default=256, help="of the middle, in pixels")
    parser.add_argument("--steps", type=int, default=120, help="of the descent")
    given = parser.parse_args(arguments)
    modalities = network_order(given.modalities)
    engines = [
        Engine(load_weights(find_weights(name, modalities)).network) for name in given.weights
    ]
    pairs = list(fused_by(engines, given.folder, modalities, given.side))
    for balance in (tuple(values) for values in given.balance):
        rows: dict[str, list[Scored]] = {name: [] for name in (*given.weights, "minimum")}
        for pair, fused in pairs:
            best = minimum(fused[0], pair, balance, given.steps)
            for name, picture in zip(rows, (*fused, best), strict=True):
                rows[name].append(scored(picture, pair, balance))
        numbers = ", ".join(f"{value:g}" for value in balance)
        print(f"balance {numbers}; {number_of(len(pairs), 'pair')}")
        _print(rows)


def _print(rows: dict[str, list[Scored]]) -> None:
    tables = {name: [{**one.scores, **one.losses} for one in found] for name, found in rows.items()}
    columns = list(next(iter(tables.values()))[0])
    print(f"| | {' | '.join(columns)} |")
    print(f"|---{'|---' * len(columns)}|")
    for name, found in tables.items():
        means = (f"{np.mean([one[column] for one in found]):.3f}" for column in columns)
        print(f"| {name} | {' | '.join(means)} |")
    print()


if __name__ == "__main__":
    main()
