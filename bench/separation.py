"""Print how well networks separate unique from common parts: means over the pairs of a folder.

    python -m bench.separation VAL --weights fnet --weights runs/mine/last.safetensors

VAL is a folder with vis/ and ir/; for others name two modalities: --modalities mri ct. The numbers
are those of `fnet inspect` (docs/metrics.md).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from fnetcli.checkpoints.loading import load_weights
from fnetcli.checkpoints.shipped import find_weights
from fnetcli.engine import Engine
from fnetcli.inputs.pairing import pair_paths
from fnetcli.metrics.separation import PARTS, Separation, UniqueSeparation, measure_separation
from fnetcli.modalities import network_order
from fnetcli.pictures.prepare import PrepareOptions, read_case
from fnetcli.text import number_of

COLUMNS: dict[str, Callable[[UniqueSeparation], float | None]] = {
    "with its source": lambda of: of.correlation_with_source,
    "explained": lambda of: of.explained,
    "by chance": lambda of: of.explained_by_chance,
    "source explained": lambda of: of.source_explained,
    "edges of both kept": lambda of: of.edges_kept,
}
WHOLE: dict[str, Callable[[Separation], float | None]] = {
    "separation": lambda of: of.score,
    "shared edges in common": lambda of: of.shared_edges,
    "single edges in unique": lambda of: of.single_edges,
    "common of detail variance": lambda of: of.common_variance,
    "common of edges": lambda of: of.common_edges,
    "likeness": lambda of: of.likeness,
    "likeness in common": lambda of: of.likeness_in_common,
}


def measure(folder: Path, weights: str, modalities: tuple[str, str]) -> Iterator[Separation]:
    """Yield the numbers of each pair."""
    engine = Engine(load_weights(find_weights(weights, modalities)).network)
    first, second = modalities
    for case in pair_paths(folder / first, folder / second).cases:
        x, y = read_case(case, PrepareOptions(modalities)).luminances
        parts = engine.run(x, y).parts
        yield measure_separation([parts[name][0] for name in PARTS], x[0], y[0])


def mean(values: Sequence[float | None]) -> str:
    """Return the mean of the numbers that there are, as text."""
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.3f}" if known else "-"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one table for each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", action="append", required=True, metavar="NAME|FILE")
    parser.add_argument("--modalities", nargs=2, default=("ir", "vis"))
    given = parser.parse_args(arguments)
    modalities = network_order(given.modalities)
    for weights in given.weights:
        found = list(measure(given.folder, weights, modalities))
        print(f"{weights}, {number_of(len(found), 'pair')}")
        print(f"| | {' | '.join(modalities)} |")
        print("|---|---|---|")
        for name, column in COLUMNS.items():
            sides = ([column(getattr(one, side)) for one in found] for side in ("first", "second"))
            print(f"| {name} | {' | '.join(map(mean, sides))} |")
        for name, number in WHOLE.items():
            print(f"| {name} | {mean([number(one) for one in found])} | |")
        print()


if __name__ == "__main__":
    main()
