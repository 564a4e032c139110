"""Print how much of a CT, PET or SPECT that is brighter than the MRI networks show: means.

    python -m bench.uptake VAL --with pet --weights fnet --weights fnet-medical

VAL is a folder with mri/ and the other. Where the other source is brighter than the MRI by more
than a tenth of the range, the share of the difference that the fused slice shows: 0 is the MRI
alone, 1 the other source alone. Metrics do not tell: slices that are nearly the MRI score well.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bench.separation import mean
from fnetcli.checkpoints.loading import load_weights
from fnetcli.checkpoints.shipped import find_weights
from fnetcli.engine import Engine
from fnetcli.inputs.pairing import pair_paths
from fnetcli.modalities import network_order
from fnetcli.pictures.prepare import PrepareOptions, read_case
from fnetcli.text import number_of

BRIGHTER = 0.1  # of the range of luminance


def measure(folder: Path, weights: str, other: str, every: int) -> Iterator[float]:
    """Yield the share shown of each pair that has brighter pixels in the other source."""
    modalities = network_order(("mri", other))
    engine = Engine(load_weights(find_weights(weights, modalities)).network)
    for case in pair_paths(folder / modalities[0], folder / modalities[1]).cases[::every]:
        sources = read_case(case, PrepareOptions(modalities)).luminances
        fused = np.clip(engine.run(*sources).fused[0], 0, 1)
        named = dict(zip(modalities, (source[0] for source in sources), strict=True))
        difference = named[other] - named["mri"]
        where = difference > BRIGHTER
        if where.any():
            yield float(np.sum((fused - named["mri"])[where]) / np.sum(difference[where]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line for each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--with", dest="other", required=True, metavar="ct|pet|spect")
    parser.add_argument("--weights", action="append", required=True, metavar="NAME|FILE")
    parser.add_argument("--every", type=int, default=9, help="every Nth pair")
    given = parser.parse_args(arguments)
    for weights in given.weights:
        shares = list(measure(given.folder, weights, given.other, given.every))
        print(f"{weights}, {number_of(len(shares), 'pair')}: {mean(shares)} of the {given.other}")


if __name__ == "__main__":
    main()
