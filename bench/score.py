"""Score weights on folders of pairs with the six metrics of the paper (docs/metrics.md).

    python -m bench.score --ir DIR --vis DIR --weights weights/fnet.safetensors [--match '*.png']

Prints one row each for the average, the maximum and the weights; fused images are quantised as
files are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fnetcli.checkpoint import Weights, load_weights, save_weights
from fnetcli.engine import Engine
from fnetcli.metrics import PAPER, quantise, score
from fnetcli.pairing import pair_paths
from fnetcli.training.data import read_luminance

Grey = NDArray[np.uint8]


def _fused(first: Grey, second: Grey, engine: Engine) -> dict[str, Grey]:
    """Fuse two grey images in three ways."""
    x, y = (image[None].astype(np.float32) / 255 for image in (first, second))
    return {
        "average": ((first.astype(np.uint16) + second) // 2).astype(np.uint8),
        "maximum": np.maximum(first, second),
        "weights": quantise(engine.run(x, y).fused[0]),
    }


def _store(weights: Weights, name: str, scores: dict[str, float]) -> None:
    """Add scores to the metadata of a weights file."""
    stored = weights.metadata.get("scores", {})
    metadata = weights.metadata | {"scores": stored | {name: scores}}
    save_weights(weights.path, weights.network, metadata)


def main() -> None:
    """Fuse, score, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ir", type=Path, required=True)
    parser.add_argument("--vis", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--match", default="*", help="visible file names to take")
    parser.add_argument("--store", metavar="NAME", help="keep the scores in the weights' metadata")
    arguments = parser.parse_args()
    weights = load_weights(arguments.weights)
    engine = Engine(weights.network, torch.device("cpu"))
    cases = pair_paths(arguments.ir, arguments.vis).cases
    rows: dict[str, list[dict[str, float]]] = {"average": [], "maximum": [], "weights": []}
    for case in [case for case in cases if case.second.match(arguments.match)]:
        first, second = read_luminance(case.first, "ir"), read_luminance(case.second, "vis")
        for name, image in _fused(first, second, engine).items():
            rows[name].append(score(first, second, image))
    means = {
        name: {
            metric.name: float(np.mean([row[metric.name] for row in scores])) for metric in PAPER
        }
        for name, scores in rows.items()
    }
    names = [metric.name for metric in PAPER]
    print(f"{len(rows['average'])} pairs\n\n| | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for name, scores in means.items():
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in scores.values())} |")
    if arguments.store:
        _store(weights, arguments.store, means["weights"])


if __name__ == "__main__":
    main()
