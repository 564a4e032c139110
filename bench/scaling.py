"""Measure how far a run goes: workers and parts against one process, and very many cases.

    python -m bench.scaling ways [--pairs 200] [--side 256] [--threads 2]
    python -m bench.scaling sizes [--sides 256 512 1024]
    python -m bench.scaling plan [--cases 1000000]
    python -m bench.scaling skip [--cases 100000]

`ways` fuses the same folder by one process, by one and two workers (processes, Ray) and by one and
two parts, with the same number of threads in all. Every way runs for all pairs and for a few: the
difference is the time of pairs, the rest is the start. Processor time, of all processes below this
one, depends less than seconds on what else the machine does. `sizes` does the same for one thread
and pairs of several sizes. `plan` measures the planning of cases that exist in memory alone; `skip`
a whole command over results that are all there, from folders of links to a few files.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

from bench.batch import PEAK, write_pairs
from fnetcli.text import number_of

FEW = 4
LINKS = 60_000  # to one file, of what file systems allow
THREADS = "OMP_NUM_THREADS"
AS_URGENT = {"RAY_worker_niceness": "0"}  # Ray lets workers wait for everything else, by default
LOOK_SECONDS = 0.5

PLAN = """
import sys, time
from pathlib import Path
from fnetcli.inputs.pairing import Case, Pairing
from fnetcli.pictures.prepare import PrepareOptions
from fnetcli.pictures.fuse import FuseOptions, Pictures
from fnetcli.pictures.outputs import OutputOptions
from fnetcli.runs.manifest import Manifest
from fnetcli.runs.network import NetworkSource
from fnetcli.runs.plan import Job, make_plan
from fnetcli.text import number_of

def status(word):
    return int(Path("/proc/self/status").read_text().split(word)[1].split()[0]) / 1024

network = NetworkSource(device="cpu").load()
count, vis, ir, out = int(sys.argv[1]), Path("VIS"), Path("IR"), Path("OUT")
started, before = time.perf_counter(), status("VmRSS:")
names = (f"flight-{i // 1000:04}-{i % 1000:03}" for i in range(count))
cases = [Case(name, ir / f"{name}.png", vis / f"{name}.png") for name in names]
listed, held = time.perf_counter() - started, status("VmRSS:") - before
options = FuseOptions(PrepareOptions(("ir", "vis")), network.products, output=OutputOptions())
pairing = Pairing("folders", cases, [], (ir, vis))
job = Job(pairing, Pictures(options), out, network.record())
started, used = time.perf_counter(), time.process_time()
plan = make_plan(job, Manifest(out), lambda: None)
seconds, used = time.perf_counter() - started, time.process_time() - used
print(
    f"{number_of(len(plan.todo), 'case')}: held by {held:.0f} MB, planned in {seconds:.0f} s "
    f"({used:.0f} s of one core), peak {status('VmHWM:'):.0f} MB"
)
"""


def fnet(*arguments: object, threads: int) -> None:
    """Run one command to its end."""
    begin(*arguments, threads=threads)()


def begin(*arguments: object, threads: int) -> Callable[[], None]:
    """Start one command; return what waits for its end."""
    command = [sys.executable, "-m", "fnetcli", *map(str, arguments)]
    process = subprocess.Popen(  # noqa: S603
        command, env={**os.environ, THREADS: str(threads), **AS_URGENT}, stdout=subprocess.DEVNULL
    )

    def wait() -> None:
        if process.wait():
            raise SystemExit(f"{' '.join(command)}: failed")

    return wait


def one_process(command: Sequence[object], out: Path, threads: int) -> None:
    """Fuse by one process."""
    fnet(*command, "-o", out, threads=threads)


def workers(*options: str) -> Callable[[Sequence[object], Path, int], None]:
    """Return how to fuse by workers."""

    def run(command: Sequence[object], out: Path, threads: int) -> None:
        fnet(*command, "-o", out, *options, threads=threads)

    return run


def parts(count: int) -> Callable[[Sequence[object], Path, int], None]:
    """Return how to fuse by parts at the same time, and merge."""

    def run(command: Sequence[object], out: Path, threads: int) -> None:
        waits = [
            begin(*command, "-o", out, "--part", f"{number + 1}/{count}", threads=threads // count)
            for number in range(count)
        ]
        for wait in waits:
            wait()
        fnet(*command, "-o", out, "--merge-parts", threads=1)

    return run


def measure_ways(folder: Path, pairs: int, side: int, threads: int) -> None:
    """Print the time of each way, for all pairs and for a few."""
    half = str(threads // 2)
    ways = {
        "one process": one_process,
        "two processes (--device cpu,cpu)": workers("--device", "cpu,cpu"),
        "one Ray worker": workers("--cluster", "ray", "--cpus-per-worker", str(threads)),
        "two Ray workers": workers("--cluster", "ray", "--cpus-per-worker", half),
        "one part": parts(1),
        "two parts": parts(2),
    }
    folders = {count: write_pairs(folder / str(count), count, side) for count in (FEW, pairs)}
    print(
        f"{number_of(pairs, 'pair')} of {side}x{side}, {number_of(threads, 'thread')} in all",
        flush=True,
    )
    alone = 0.0
    for name, run in ways.items():
        seconds, used = {}, {}
        for count, (vis, ir) in folders.items():
            out = folder / f"out-{count}-{name}"
            started = time.perf_counter()
            with ProcessorTime() as time_below:
                run(("fuse", "-q", "--vis", vis, "--ir", ir), out, threads)
            seconds[count] = time.perf_counter() - started
            used[count] = time_below.seconds
        each = (seconds[pairs] - seconds[FEW]) / (pairs - FEW)
        alone = alone or each
        work = 1000 * (used[pairs] - used[FEW]) / (pairs - FEW)
        print(
            f"{name:34} {seconds[pairs]:6.1f} s, start {seconds[FEW] - FEW * each:5.1f} s, "
            f"{1000 * each:6.1f} ms per pair (processor {work:6.1f} ms), "
            f"{alone / each:.2f} times one process",
            flush=True,
        )


def measure_sizes(folder: Path, sides: Sequence[int]) -> None:
    """Print the time of a pair of each size by one thread."""
    for side in sides:
        seconds, used = [], []
        more = max(2, 1_000_000 // side**2)
        for count in (1, 1 + more):
            vis, ir = write_pairs(folder / f"{side}-{count}", count, side)
            started = time.perf_counter()
            with ProcessorTime() as time_below:
                out = folder / f"out-{side}-{count}"
                fnet("fuse", "-q", "--vis", vis, "--ir", ir, "-o", out, threads=1)
            seconds.append(time.perf_counter() - started)
            used.append(time_below.seconds)
        each, work = ((some[1] - some[0]) / more for some in (seconds, used))
        print(f"{side}x{side}: {each:.3f} s per pair, processor {work:.3f} s", flush=True)


class ProcessorTime:
    """Adds up the processor time of all processes below this one while it is entered."""

    def __init__(self) -> None:
        self._found: dict[psutil.Process, float] = {}
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    @property
    def seconds(self) -> float:
        """The processor time that was seen, of processes that have ended as well."""
        return sum(self._found.values())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._has_ended.wait(LOOK_SECONDS):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    times = process.cpu_times()
                    self._found[process] = times.user + times.system


def measure_plan(cases: int) -> None:
    """Print what planning costs."""
    subprocess.run([sys.executable, "-c", PLAN, str(cases)], check=True)  # noqa: S603


def measure_skip(folder: Path, cases: int) -> None:
    """Print what a command costs that finds all its results."""
    vis, ir = write_pairs(folder / "one", 1, 16)
    command = ("fuse", "-q", "--maps", "none")
    fnet(*command, "--vis", vis, "--ir", ir, "-o", folder / "made", threads=1)
    name = next(vis.iterdir()).stem
    names = [f"flight-{i // 1000:04}-{i % 1000:03}" for i in range(cases)]
    many, out = folder / "many", folder / "out"
    for source, target in (
        (vis, many / "vis"),
        (ir, many / "ir"),
        (folder / "made/fused", out / "fused"),
    ):
        link_many(source / f"{name}.png", target, names)
    line = (folder / "made/manifest.jsonl").read_text(encoding="utf-8").strip()
    with (out / "manifest.jsonl").open("w", encoding="utf-8") as manifest:
        for each in names:
            manifest.write(
                line.replace(f"{name}.png", f"{each}.png").replace(
                    f'"case": "{name}"', f'"case": "{each}"'
                )
                + "\n"
            )
    words = (*command, "--vis", many / "vis", "--ir", many / "ir", "-o", out, "--json", out / "s")
    started = time.perf_counter()
    with ProcessorTime() as time_below:
        found = subprocess.run(  # noqa: S603
            [sys.executable, "-c", PEAK, *map(str, words)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=True,
        )
    seconds = time.perf_counter() - started
    totals = json.loads((out / "s").read_text())["totals"]
    peak = int(found.stderr.split()[-1]) / 1024
    print(
        f"{totals['skipped']} of {cases} skipped in {seconds:.0f} s "
        f"(processor {time_below.seconds:.0f} s), peak {peak:.0f} MB"
    )


def link_many(file: Path, folder: Path, names: Sequence[str]) -> None:
    """Fill a folder with links to a file, or to copies where it has too many."""
    folder.mkdir(parents=True)
    for i, name in enumerate(names):
        if i % LINKS == 0:
            first = folder / f"{name}{file.suffix}"
            first.write_bytes(file.read_bytes())
        else:
            os.link(first, folder / f"{name}{file.suffix}")


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_subparsers(dest="what", required=True)
    ways = what.add_parser("ways")
    ways.add_argument("--pairs", type=int, default=200)
    ways.add_argument("--side", type=int, default=256)
    ways.add_argument("--threads", type=int, default=2)
    sizes = what.add_parser("sizes")
    sizes.add_argument("--sides", type=int, nargs="+", default=[256, 512, 1024])
    what.add_parser("plan").add_argument("--cases", type=int, default=1_000_000)
    what.add_parser("skip").add_argument("--cases", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if given.what == "ways":
            measure_ways(Path(name), given.pairs, given.side, given.threads)
        elif given.what == "sizes":
            measure_sizes(Path(name), given.sides)
        elif given.what == "plan":
            measure_plan(given.cases)
        else:
            measure_skip(Path(name), given.cases)


if __name__ == "__main__":
    main()
