"""Print start-up time, and the peak memory of large pairs: part of `make bench`.

    python -m bench.process [--sizes 4000x3000 11600x8650]

Peak memory is that of the whole process of `fnet fuse` with preview maps and the shipped weights.
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

from bench.batch import PEAK, write_tiny_weights


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


def main() -> None:
    """Measure start-up, then each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", default=["4000x3000"], help="WIDTHxHEIGHT")
    parser.add_argument("--format", default="png")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny = write_tiny_weights(folder)
        pair = write_pair(folder, 32, 32)
        fuse = ["fuse", "-q", *pair, "-o", str(folder / "out"), "--existing", "overwrite"]
        for text, words in (
            ("fnet --help", ["--help"]),
            ("fnet fuse of a 32x32 pair", [*fuse, "--weights", str(tiny)]),
        ):
            run(words)
            print(f"{text}: {statistics.median(run(words)[0] for _ in range(3)):.2f} s")
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
