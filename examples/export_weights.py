r"""Make weights for shipping of those that a training run has saved.

    python examples/export_weights.py RUN/last.safetensors weights/NAME.safetensors \
        --trained-for vis+ir

writes the same network with float16 tensors, half the size, and says in the metadata what it was
trained for, which `fnet inspect --list` shows. It prints the largest change of a tensor, relative
to that tensor's largest number. Compare the scores of both files (`fnet eval --weights`) before you
ship the smaller one.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from fnetcli.checkpoints.loading import load_weights, save_weights


def main() -> None:
    """Read weights, round them, write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--trained-for", action="append", default=[], metavar="MODALITIES")
    given = parser.parse_args()
    weights = load_weights(given.source)
    arrays = {name: one.astype(np.float16) for name, one in weights.network.arrays.items()}
    changes = {
        name: float(np.abs(one - arrays[name]).max() / max(float(np.abs(one).max()), 1e-30))
        for name, one in weights.network.arrays.items()
    }
    metadata = {key: one for key, one in weights.metadata.items() if key not in _OWN}
    if given.trained_for:  # else what training recorded
        metadata["trained_for"] = given.trained_for
    save_weights(given.target, replace(weights.network, arrays=arrays), metadata)
    worst = max(changes, key=changes.__getitem__)
    print(f"{given.target}: {given.target.stat().st_size / 1e6:.2f} MB")
    print(f"largest change: {changes[worst]:.1e} of the largest number, in {worst}")


_OWN = ("format_version", "model")  # written anew

if __name__ == "__main__":
    main()
