"""Child processes that fuse, one file at a time, and are replaced when they die or hang."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.fuzz.seeds import Seed, partners
from tests.paths import ROOT

CPU_SECONDS = 30.0  # of one file: what a processor works, so that a busy machine changes nothing
LOOK_EVERY = 1.0  # seconds
PARTNERS = {"--vis": "--ir", "--ir": "--vis", "--ct": "--mri"}


@dataclass(frozen=True)
class Verdict:
    """What became of a file: fused, refused, or a fault."""

    outcome: str
    words: str

    @property
    def is_fault(self) -> bool:
        """Whether it may not happen."""
        return self.outcome not in {"fused", "refused"}


class Child:
    """Fuses files in a process of its own."""

    def __init__(self, folder: Path, weights: Path, door: str = "tests.fuzz.door") -> None:
        """`door` is the module that the process runs."""
        self._folder, self._weights, self._door = folder, weights, door
        self._partners = partners(folder)
        self._process: subprocess.Popen[str] | None = None

    def fuse(self, seed: Seed, content: bytes) -> Verdict:
        """Fuse a damaged copy of a seed."""
        path = self._folder / f"damaged{seed.suffix}"
        path.write_bytes(content)
        process = self._process or self._start()
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a process without pipes")
        spent = _spent(process.pid)
        process.stdin.write(json.dumps(self._arguments(seed, path)) + "\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not selector.select(LOOK_EVERY):
                if _spent(process.pid) - spent > CPU_SECONDS:
                    self.end()
                    return Verdict("hang", f"more than {CPU_SECONDS:g} s of a processor")
        answer = process.stdout.readline()
        if not answer:
            code = process.wait()
            self.end()
            return Verdict("crash", f"the process ended with {code}")
        return Verdict(**json.loads(answer))

    def end(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._door, str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        return self._process

    def _arguments(self, seed: Seed, path: Path) -> list[str]:
        words = ["fuse", seed.option, str(path)]
        if seed.option != "--flir":
            other = PARTNERS[seed.option]
            words += [other, str(self._partners[other])]
        is_volume = seed.option == "--ct"
        words += ["-o", "out" if is_volume else "out/fused.png"]
        words += ["--weights", str(self._weights), "--existing", "overwrite"]
        return [*words, "--maps", "none"]


def _spent(process: int) -> float:
    try:
        times = psutil.Process(process).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
