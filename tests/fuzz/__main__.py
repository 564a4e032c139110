"""The command line."""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from tests.cli.command import tiny_weights
from tests.fuzz.children import Child, Verdict
from tests.fuzz.mutate import mutated, smaller
from tests.fuzz.seeds import Seed, all_seeds

TRIES = 300  # to make one fault's file smaller


def main() -> int:
    """Fuse damaged files, print counts, keep faults; return 1 if there are any."""
    parser = argparse.ArgumentParser("python -m tests.fuzz")
    parser.add_argument("--count", type=int, default=3000, help="files (3000)")
    parser.add_argument("--seconds", type=float, help="stop after this time, whatever the count")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other damage (1)")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-out"), help="faults (fuzz-out)")
    options = parser.parse_args()
    seeds = all_seeds()
    counts, faults = Counter[str](), 0
    end = time.monotonic() + options.seconds if options.seconds else None
    with tempfile.TemporaryDirectory(prefix="fnet-fuzz-") as text:
        folder = Path(text)
        child = Child(folder, tiny_weights(folder))
        for number in range(options.count):
            if end is not None and time.monotonic() > end:
                break
            random = np.random.default_rng([options.seed, number])
            seed = seeds[number % len(seeds)]
            other = seeds[int(random.integers(len(seeds)))]
            content = mutated(seed.content, other.content, random)
            verdict = child.fuse(seed, content)
            counts[verdict.outcome] += 1
            if verdict.is_fault:
                faults += 1
                print(
                    f"{seed.name}, {number}: {_kept(child, seed, content, verdict, options.keep)}"
                )
            if (number + 1) % 1000 == 0:
                print(f"{number + 1}: {_told(counts)}", flush=True)
        child.end()
    print(f"seed {options.seed}, {counts.total()} files of {len(seeds)} kinds: {_told(counts)}")
    return 1 if faults else 0


def _told(counts: Counter[str]) -> str:
    names = ("fused", "refused", "foreign", "silent", "crash", "hang")
    return ", ".join(f"{counts[name]} {name}" for name in names)


def _kept(child: Child, seed: Seed, content: bytes, verdict: Verdict, folder: Path) -> str:
    """Keep the smallest file with the same fault, and return what to print."""

    def is_still(tried: bytes) -> bool:
        return child.fuse(seed, tried).outcome == verdict.outcome

    made = content if verdict.outcome == "hang" else smaller(content, is_still, TRIES)
    name = f"{verdict.outcome}-{hashlib.sha256(made).hexdigest()[:10]}{seed.suffix}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(made)
    return f"{verdict.outcome}: {verdict.words}; {folder / name}, {seed.option}, {len(made)} bytes"


if __name__ == "__main__":
    sys.exit(main())
