"""Faults in the middle of runs, for as long as wanted: `python -m tests.chaos`, or `make chaos`.

A batch of pairs runs in a child process, and something happens to it: it is killed, asked to stop,
its disk is full, its folders vanish, nobody reads what it prints. Afterwards the same command must
finish the run as if nothing had happened: the same files, nothing half, no file on its way.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.cli.command import fnet, tiny_weights
from tests.drawn_pictures import write_pairs
from tests.paths import ROOT

PAIRS, FILES = 12, 48  # four files of each pair
SMALL = 700  # bytes that a file may have on a full disk
LOOK_EVERY = 0.002  # seconds


class FaultError(Exception):
    """Something that may not happen has happened."""


class Batch:
    """A run over a few pairs, and what it writes if nothing disturbs it."""

    def __init__(self, folder: Path) -> None:
        """Draw the pairs and run undisturbed."""
        vis, ir = write_pairs(folder, PAIRS)
        weights = tiny_weights(folder)
        self._folder = folder
        self._arguments = ["fuse", "--vis", str(vis), "--ir", str(ir), "--weights", str(weights)]
        self._arguments += ["--maps", "float"]
        self._expected = self._finished(folder / "undisturbed")

    def disturb(self, fault: Callable[[Batch, Path, random.Random], None], seed: int) -> None:
        """Run with a fault, then again. Raise FaultError."""
        out = self._folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        fault(self, out, random.Random(seed))  # noqa: S311
        if self._finished(out) != self._expected:
            raise FaultError("the finished run has other files than the undisturbed one")

    def start(self, out: Path, **options: object) -> subprocess.Popen[bytes]:
        """Start the run as a process."""
        command = [sys.executable, "-m", "fnetcli", *self._arguments, "-o", str(out)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options}
        return subprocess.Popen(command, env=environment, **pipes)  # type: ignore[call-overload, no-any-return]

    def _finished(self, out: Path) -> dict[str, bytes]:
        result = fnet(*self._arguments, "-o", out)
        if result.exit_code != 0:
            raise FaultError(f"the run does not finish: {result.stderr[-500:]}")
        left = [str(path) for path in out.rglob(".fnet-*")]
        if left:
            raise FaultError(f"files on their way were left: {left}")
        skipped = {"manifest.jsonl", "run.json"}
        return {
            str(path.relative_to(out)): path.read_bytes()
            for path in sorted(out.rglob("*"))
            if path.is_file() and path.name not in skipped
        }


def wait_for(process: subprocess.Popen[bytes], out: Path, count: int) -> None:
    """Wait until a run has written so many files, or has ended."""
    while process.poll() is None and sum(len(names) for _, _, names in os.walk(out)) < count:
        time.sleep(LOOK_EVERY)


def killed(batch: Batch, out: Path, chance: random.Random) -> None:
    """Kill the process at any moment, as hard as can be."""
    process = batch.start(out)
    wait_for(process, out, chance.randrange(FILES))
    process.kill()
    process.wait()


def asked_to_stop(batch: Batch, out: Path, chance: random.Random) -> None:
    """Interrupt or terminate the process: it ends itself, and says so by its exit code."""
    process = batch.start(out)
    wait_for(process, out, chance.randrange(4, FILES))
    process.send_signal(chance.choice((signal.SIGINT, signal.SIGTERM)))
    if process.wait() not in {0, 130, 143, -signal.SIGTERM, -signal.SIGINT}:
        raise FaultError(f"an interrupted run ended with {process.returncode}")


def disk_full(batch: Batch, out: Path, chance: random.Random) -> None:
    """Let no file be longer than a few hundred bytes."""
    limit = SMALL + chance.randrange(SMALL)

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = batch.start(out, preexec_fn=limited, stderr=subprocess.PIPE)
    message = process.communicate()[1]
    if b"Traceback" in message or process.returncode not in {0, 1}:
        raise FaultError(f"a full disk: {message[-500:]!r}")


def vanished_folder(batch: Batch, out: Path, chance: random.Random) -> None:
    """Move results away while the run writes them."""
    process = batch.start(out, stderr=subprocess.PIPE)
    wait_for(process, out, chance.randrange(4, FILES))
    away = out.with_name("away")
    shutil.rmtree(away, ignore_errors=True)
    part = out / chance.choice((".", "fused", "common", "unique_ir"))
    if part.exists():
        part.rename(away)
    message = process.communicate()[1]
    if b"Traceback" in message or process.returncode not in {0, 1}:
        raise FaultError(f"a vanished folder: {message[-500:]!r}")


def closed_pipe(batch: Batch, out: Path, chance: random.Random) -> None:
    """Stop reading what the run prints."""
    process = batch.start(out, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(process, out, chance.randrange(FILES))
    if process.stdout is not None:
        process.stdout.close()
    if process.stderr is not None:
        message = process.stderr.read()
        process.stderr.close()
        if b"Traceback" in message:
            raise FaultError(f"a closed pipe: {message[-500:]!r}")
    process.wait()


FAULTS = (killed, asked_to_stop, disk_full, vanished_folder, closed_pipe)


def main() -> int:
    """Disturb runs until the time is over; return 1 if one was not as if undisturbed."""
    parser = argparse.ArgumentParser("python -m tests.chaos")
    parser.add_argument("--seconds", type=float, default=60, help="how long (60)")
    parser.add_argument("--count", type=int, help="how many runs, whatever the time")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other moments (1)")
    options = parser.parse_args()
    counts, faults, number = Counter[str](), 0, 0
    end = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory(prefix="fnet-chaos-") as folder:
        batch = Batch(Path(folder))
        while number < options.count if options.count else time.monotonic() < end:
            fault = FAULTS[number % len(FAULTS)]
            try:
                batch.disturb(fault, options.seed * 1_000_003 + number)
            except FaultError as error:
                faults += 1
                print(f"{fault.__name__}, run {number} of seed {options.seed}: {error}", flush=True)
            counts[fault.__name__] += 1
            number += 1
    told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    print(f"seed {options.seed}, {number} runs disturbed ({told}): {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
