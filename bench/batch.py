"""Print what a folder costs beside the network, and whether memory grows: part of `make bench`.

    python -m bench.batch [--pairs 200] [--many 2000]

First a folder of 256x256 pairs through `fnet fuse`, against the network alone on the same pairs in
the same process. Then peak memory of a process that fuses 200, and one that fuses 2,000, pairs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL.Image
from typer.testing import CliRunner

from fnetcli.checkpoints.loading import load_weights, save_weights
from fnetcli.cli.app import app
from fnetcli.engine import Engine
from fnetcli.inputs.pairing import pair_paths
from fnetcli.models.fnet import FNET
from fnetcli.models.fnet.config import FNetConfig
from fnetcli.models.fnet.network import FNet
from fnetcli.models.torch_arrays import at_rest
from fnetcli.pictures.prepare import PrepareOptions, read_case
from fnetcli.text import number_of

# Linux: VmHWM is the peak of this program alone; ru_maxrss starts with that of the parent process.
PEAK = """
import pathlib, sys
from fnetcli.cli.app import app
try:
    app(sys.argv[1:])
finally:
    status = pathlib.Path("/proc/self/status").read_text()
    print(status.split("VmHWM:")[1].split()[0], file=sys.stderr)
"""


def write_pairs(folder: Path, count: int, side: int) -> tuple[Path, Path]:
    """Write pairs of soft noise, colour in vis/ and grey in ir/; return both folders."""
    random = np.random.default_rng(0)
    for name, channels in (("vis", 3), ("ir", 1)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            coarse = random.integers(0, 256, (side // 8, side // 8, channels), dtype=np.uint8)
            picture = PIL.Image.fromarray(coarse if channels == 3 else coarse[..., 0])
            smooth = picture.resize((side, side), PIL.Image.Resampling.BICUBIC)
            smooth.save(folder / name / f"{i:05}.png")
    return folder / "vis", folder / "ir"


def overhead(folder: Path, count: int, side: int) -> None:
    """Compare `fnet fuse` on a folder with the network alone."""
    vis, ir = write_pairs(folder, count, side)
    engine = Engine(load_weights().network)
    options = PrepareOptions(("ir", "vis"))
    prepared = [read_case(case, options).luminances for case in pair_paths(ir, vis).cases]
    engine.run(*prepared[0])
    started = time.perf_counter()
    for pair in prepared:
        engine.run(*pair)
    alone = time.perf_counter() - started
    arguments = ["fuse", "--vis", str(vis), "--ir", str(ir), "-o", str(folder / "out"), "-q"]
    started = time.perf_counter()
    result = CliRunner().invoke(app, arguments)
    total = time.perf_counter() - started
    if result.exit_code:
        raise SystemExit(result.output)
    print(
        f"{number_of(count, 'pair')} of {side}x{side}: network alone {alone:.1f} s, "
        f"fnet fuse {total:.1f} s, ratio {total / alone:.2f}; "
        f"{1 - alone / total:.1%} of the time is not the network"
    )


def peak_megabytes(folder: Path, vis: Path, ir: Path, weights: Path, count: int) -> float:
    """Return the peak memory of a process that fuses `count` pairs with the same content."""
    for source in (vis, ir):
        (picture,) = source.iterdir()
        (folder / source.name).mkdir(parents=True)
        for i in range(count):
            os.link(picture, folder / source.name / f"{i:05}.png")
    arguments = ["--vis", folder / "vis", "--ir", folder / "ir", "-o", folder / "out"]
    command = [sys.executable, "-c", PEAK, "fuse", "-q", "--maps", "none", *map(str, arguments)]
    command += ["--weights", str(weights)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return int(done.stderr.split()[-1]) / 1024


def write_tiny_weights(folder: Path) -> Path:
    """Write the weights of a small random network and return where they are."""
    config = FNetConfig(atoms=4, kernel_size=3, iterations=2)
    path = folder / "tiny.safetensors"
    save_weights(path, at_rest(FNET, config, FNet(config)), {})
    return path


def memory(folder: Path, few: int, many: int) -> None:
    """Compare the peak memory of few pairs and of many; a tiny network, for time's sake."""
    vis, ir = write_pairs(folder / "one", 1, 64)
    weights = write_tiny_weights(folder)
    peaks = [peak_megabytes(folder / str(n), vis, ir, weights, n) for n in (few, many)]
    print(
        f"peak memory: {peaks[0]:.0f} MB for {number_of(few, 'pair')}, "
        f"{peaks[1]:.0f} MB for {many}, {1000 * (peaks[1] - peaks[0]) / (many - few):.1f} KB a pair"
    )


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--many", type=int, default=2000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        overhead(Path(folder) / "overhead", arguments.pairs, arguments.side)
        memory(Path(folder) / "memory", min(200, arguments.many // 2), arguments.many)


if __name__ == "__main__":
    main()
