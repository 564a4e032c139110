"""Print start-up times as ratios to importing torch, and the peak memory of large pairs.

    python -m bench.process [--sizes 4000x3000 11600x8650]

Part of `make bench`. Each time is the median of runs in turn with `import torch`, and its ratio
to that is what to look at: both suffer alike from a busy machine. The pair of 32x32 pixels is two
PNG, with the shipped weights and, if there is a compiler, the compiled path. Peak memory is that of
the whole process of `fnet fuse` with preview maps and the shipped weights.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from bench.batch import PEAK

FNET = ["-m", "fnetcli"]
FOLDER_PAIRS = 1000


def write_pair(folder: Path, width: int, height: int) -> list[str]:
    """Write a colour and a grey TIFF of soft noise; return the options that name them."""
    random = np.random.default_rng(0)
    options: list[str] = []
    for name, channels in (("vis", 3), ("ir", 1)):
        coarse = random.integers(0, 256, (-(-height // 16), -(-width // 16), channels), np.uint8)
        pixels = coarse.repeat(16, 0).repeat(16, 1)[:height, :width]
        pixels += random.integers(0, 8, (height, width, 1), np.uint8)
        path = folder / f"{name}.tif"
        tifffile.imwrite(path, pixels.squeeze(), photometric="rgb" if channels == 3 else None)
        options += [f"--{name}", str(path)]
    return options


def run(arguments: list[str]) -> tuple[float, float]:
    """Return seconds and peak megabytes of one `fnet` process."""
    command = [sys.executable, "-c", PEAK, *arguments]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return time.perf_counter() - started, int(done.stderr.split()[-1]) / 1024


def compare_start(name: str, words: list[str], repeats: int = 5) -> None:
    """Print the time of a command, and its ratio to `import torch` measured in turn with it."""
    torch_seconds, seconds = list[float](), list[float]()
    for turn in range(repeats + 1):
        for kept, command in ((torch_seconds, ["-c", "import torch"]), (seconds, FNET + words)):
            started = time.perf_counter()
            subprocess.run([sys.executable, *command], capture_output=True, check=True)  # noqa: S603
            if turn:  # the first does not count
                kept.append(time.perf_counter() - started)
    taken, of_torch = statistics.median(seconds), statistics.median(torch_seconds)
    print(f"{name}: {taken:.2f} s, {taken / of_torch:.2f} of importing torch ({of_torch:.2f} s)")


def measure_start(folder: Path) -> None:
    """Print how long it takes until small things are done."""
    random = np.random.default_rng(0)
    vis, ir = folder / "vis.png", folder / "ir.png"
    for path, shape in ((vis, (32, 32, 3)), (ir, (32, 32))):
        Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(path)
    pair = ["--vis", str(vis), "--ir", str(ir), "-o", str(folder / "out"), "-q"]
    many = {side: folder / "many" / side for side in ("vis", "ir")}
    for side, source in (("vis", vis), ("ir", ir)):
        many[side].mkdir(parents=True)
        for number in range(FOLDER_PAIRS):
            (many[side] / f"{number}.png").write_bytes(source.read_bytes())
    whole = ["--vis", str(many["vis"]), "--ir", str(many["ir"]), "-o", str(folder / "all"), "-q"]
    run(["fuse", *whole])
    compare_start("fnet --help", ["--help"])
    compare_start("fnet fuse of a 32x32 pair", ["fuse", *pair, "--existing", "overwrite"])
    compare_start(f"fnet fuse of {FOLDER_PAIRS} pairs that are done", ["fuse", *whole], repeats=3)


def main() -> None:
    """Measure start-up, then each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", default=["4000x3000"], help="WIDTHxHEIGHT")
    parser.add_argument("--format", default="png")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure_start(folder)
        for size in arguments.sizes:
            width, height = map(int, size.split("x"))
            pair = write_pair(folder, width, height)
            words = ["fuse", "-q", *pair, "-o", str(folder / size), "--format", arguments.format]
            taken, peak = run([*words, "--depth", "8"])
            print(
                f"{size} ({width * height / 1e6:.0f} megapixels): {taken:.0f} s, "
                f"peak memory of the process {peak:.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
