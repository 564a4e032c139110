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

from fnetcli.checkpoint import load_weights
from fnetcli.engine import Engine
from fnetcli.formats import read_image
from fnetcli.metrics import METRICS, quantise, score, to_grey8
from fnetcli.pairing import pair_paths

Grey = NDArray[np.uint8]


def _read(path: Path) -> Grey:
    pixels = read_image(path).pixels[0]
    return to_grey8(pixels if pixels.shape[-1] == 3 else pixels[..., 0])


def main() -> None:
    """Fuse, score, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ir", type=Path, required=True)
    parser.add_argument("--vis", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--match", default="*", help="visible file names to take")
    arguments = parser.parse_args()
    engine = Engine(load_weights(arguments.weights).network, torch.device("cpu"))
    cases = pair_paths(arguments.ir, arguments.vis).cases
    rows: dict[str, list[dict[str, float]]] = {"average": [], "maximum": [], "weights": []}
    for case in [case for case in cases if case.second.match(arguments.match)]:
        first, second = _read(case.first), _read(case.second)
        unit = [image[None].astype(np.float32) / 255 for image in (first, second)]
        fused = {
            "average": ((first.astype(np.uint16) + second) // 2).astype(np.uint8),
            "maximum": np.maximum(first, second),
            "weights": quantise(engine.run(*unit).fused[0]),
        }
        for name, image in fused.items():
            rows[name].append(score(first, second, image))
    names = [metric.name for metric in METRICS]
    print(f"{len(rows['average'])} pairs\n\n| | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for name, scores in rows.items():
        means = [np.mean([row[metric] for row in scores]) for metric in names]
        print(f"| {name} | {' | '.join(f'{mean:.3f}' for mean in means)} |")


if __name__ == "__main__":
    main()
