"""Print how much faster the engine is than the plain network: `make bench`."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from bench.plain import fuse_plainly
from fnetcli.checkpoint import load_weights
from fnetcli.engine import Engine


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main() -> None:
    """Alternate both on one random pair and compare medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="640x480", help="WIDTHxHEIGHT")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    network = load_weights().network
    engine = Engine(network, torch.device("cpu"))
    weights = network.state_dict()
    x, y = torch.rand(2, 1, 1, height, width)
    first, second = x[0].numpy(), y[0].numpy()

    def plain() -> torch.Tensor:
        return fuse_plainly(weights, x, y)

    difference = abs(plain()[0].numpy() - engine.run(first, second).fused).max()
    pairs = [
        (_seconds(plain), _seconds(lambda: engine.run(first, second)))
        for _ in range(arguments.repeats)
    ]
    slow, fast = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(
        f"{arguments.size}, {torch.get_num_threads()} threads: plain {slow:.2f} s, "
        f"engine {fast:.2f} s, ratio {slow / fast:.1f}, largest difference {difference:.1e}"
    )


if __name__ == "__main__":
    main()
