"""Measure the cost of a method: parameters, arithmetic, time and memory for a pair of some size.

Every method is measured in a fresh process, which imports only what that method needs: peak memory
never decreases, so in one process it would be that of the most demanding method.
"""

from __future__ import annotations

import json
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from fnetcli import errors
from fnetcli.errors import EvaluationError, FnetError, UsageError
from fnetcli.text import number_of

if TYPE_CHECKING:  # the process that measures a baseline does without torch
    from fnetcli.baselines import Baseline
    from fnetcli.engine import Device, EngineOptions

LEAST, MOST = 3, 20  # timed runs
MORE_SECONDS = 20.0  # that all runs beyond the least may take together

FORMULA = (
    "Multiply-adds are those of the convolutions: kernel height * width * input maps * output maps "
    "for each pixel, 419,904 for FNet as published; one multiply-add is two FLOP. CDDFuse's "
    "1,798,368 include the products of its attention. Thresholds and sums are not counted, nor is "
    "arithmetic that a program saves. The 0.33 G published for FNet must count "
    "something else (480x640 pixels need 129 G); 28x28 pixels would give 0.329 G, but that is a "
    "guess."
)
CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from fnetcli.evaluation.cost import main; main()"
)


@dataclass(frozen=True)
class Cost:
    """The cost of a method for one pair of height x width, from luminances in memory to luminance.

    `seconds` is the median of `runs` runs after a warm-up. `peak_bytes` is the peak memory of the
    whole process, `idle_bytes` the peak before the first run: interpreter, libraries, weights and
    the pair. On systems other than Linux and Windows both are current values, which can be less.
    """

    method: str
    height: int
    width: int
    device: str
    how: str  # what did the work
    parameters: int | None  # None: a rule, which is not trained
    multiply_adds: int | None  # for the pair, see FORMULA; None: a rule
    seconds: float
    runs: int
    idle_bytes: int
    peak_bytes: int
    device_bytes: int | None  # peak of what tensors took on a CUDA device
    notices: tuple[str, ...] = ()


def measure_cost(
    method: str,
    origin: Path | Baseline,
    size: tuple[int, int],
    *,
    device: str = "cpu",
    options: EngineOptions | None = None,
) -> Cost:
    """Measure weights or one of BASELINES on random images of (height, width).

    Weights run on the device (a text for `choose_device`) as in `fnet fuse`; baselines run on the
    CPU. Raise FnetError, of the class raised in the measuring process.
    """
    height, width = size
    if min(size) < 1:
        raise UsageError(f"{width}x{height}: no image has this size; give at least 1x1")
    is_file = isinstance(origin, Path)
    request = {
        "method": method,
        "weights": str(origin) if is_file else None,
        "baseline": None if is_file else origin.name,
        "height": height,
        "width": width,
        "device": device,
        "options": asdict(options) if options else {},
    }
    answer = _ask_child(f"cost of {method} at {width}x{height}", request)
    return Cost(**{**answer, "notices": tuple(answer["notices"])})


def _ask_child(subject: str, request: dict[str, Any]) -> dict[str, Any]:
    """Measure in another process; raise FnetError if it fails."""
    # -P and the same path: modules are found where this process finds them, nowhere else.
    command = [sys.executable, "-P", "-c", CHILD, json.dumps(sys.path, default=str)]
    try:
        done = subprocess.run(  # noqa: S603  this interpreter, our own program
            command,
            input=json.dumps(request),
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        reason = error.strerror or "system error"
        raise EvaluationError(f"{subject}: no process could be started ({reason})") from None
    if done.returncode < 0:
        raise EvaluationError(f"{subject}: {_death(-done.returncode)}")
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.splitlines() or [f"exit code {done.returncode}"])[-1]
        raise EvaluationError(f"{subject}: the measuring process failed ({last})") from None
    if "error" in answer:
        kind: type[FnetError] = getattr(errors, answer["error"])
        raise kind(f"{subject}: {answer['text']}")
    return answer


def _death(number: int) -> str:
    if number == signal.SIGKILL:
        return "the system ended the process, most likely out of memory; measure a smaller size"
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"the measuring process died ({name}); please report it"


# --- the process that measures --------------------------------------------------------------------


def main() -> None:
    """Read a request from stdin; write a cost, or an error, as the last line of stdout."""
    request = json.load(sys.stdin)
    try:
        answer = asdict(_measure(**request))
    except FnetError as error:
        answer = {"error": type(error).__name__, "text": str(error)}
    except Exception as error:  # noqa: BLE001  the end of this process: the other one raises it
        answer = {"error": EvaluationError.__name__, "text": _in_one_line(error)}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


@dataclass(frozen=True)
class _Work:
    """A method ready to run."""

    run: Callable[[], object]
    device: str = "cpu"
    how: str = "numpy"
    parameters: int | None = None
    multiply_adds: int | None = None
    device_bytes: Callable[[], int | None] = lambda: None
    notices: Callable[[], list[str]] = list


def _measure(
    method: str,
    weights: str | None,
    baseline: str | None,
    height: int,
    width: int,
    device: str,
    options: dict[str, Any],
) -> Cost:
    """Measure in this process."""
    size = (height, width)
    work = (
        _rule(str(baseline), size)
        if weights is None
        else _network(Path(weights), size, device, options)
    )
    idle = _peak_bytes()
    seconds = _seconds(work.run)
    return Cost(
        method=method,
        height=height,
        width=width,
        device=work.device,
        how=work.how,
        parameters=work.parameters,
        multiply_adds=work.multiply_adds,
        seconds=statistics.median(seconds),
        runs=len(seconds),
        idle_bytes=idle,
        peak_bytes=_peak_bytes(),
        device_bytes=work.device_bytes(),
        notices=tuple(work.notices()),
    )


def _rule(name: str, size: tuple[int, int]) -> _Work:
    from fnetcli.baselines import BASELINES  # noqa: PLC0415  only where it is measured

    rule = next(baseline.rule for baseline in BASELINES if baseline.name == name)
    random = np.random.default_rng(0)
    first, second = (random.integers(0, 256, size, dtype=np.uint8) for _ in range(2))
    return _Work(lambda: rule(first, second))


def _network(path: Path, size: tuple[int, int], device: str, options: dict[str, Any]) -> _Work:
    from fnetcli.checkpoints.loading import load_weights  # noqa: PLC0415
    from fnetcli.engine import Engine, EngineOptions, choose_device  # noqa: PLC0415
    from fnetcli.engine.device import count_threads  # noqa: PLC0415
    from fnetcli.engine.executors.base import BUILDING  # noqa: PLC0415

    notices: list[str] = []
    chosen = choose_device(device)
    network = load_weights(path).network
    engine = Engine(network, chosen, EngineOptions(**options), notices.append)
    how = f"{engine.path}, {engine.precision}"
    if chosen.kind == "cuda":
        how += f", {_cuda_name(chosen)}"
    elif chosen.kind == "cpu":
        threads = count_threads()
        how += f", {number_of(threads, 'thread')}"
    random = np.random.default_rng(0)
    first, second = (random.random((1, *size), dtype=np.float32) for _ in range(2))
    multiply_adds = network.config.multiply_adds
    return _Work(
        run=lambda: engine.run(first, second),
        device=str(chosen),
        how=how,
        parameters=network.parameter_count,
        multiply_adds=None if multiply_adds is None else multiply_adds * size[0] * size[1],
        device_bytes=lambda: _cuda_bytes(chosen),
        notices=lambda: [*engine.notices, *(text for text in notices if text != BUILDING)],
    )


def _cuda_name(device: Device) -> str:
    import torch  # noqa: PLC0415  only where it is measured

    return torch.cuda.get_device_name(device.in_torch())


def _cuda_bytes(device: Device) -> int | None:
    if device.kind != "cuda":
        return None
    import torch  # noqa: PLC0415  only where it is measured

    return torch.cuda.max_memory_allocated(device.in_torch())


def _seconds(run: Callable[[], object]) -> list[float]:
    """Time a warm-up run, which does not count, then at least LEAST and at most MOST runs."""
    run()
    seconds: list[float] = []
    while len(seconds) < LEAST or (
        len(seconds) < MOST and sum(seconds[LEAST:]) + max(seconds) <= MORE_SECONDS
    ):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return seconds


def _peak_bytes() -> int:
    """Return the peak memory of this process.

    Not ru_maxrss, which on Linux starts from that of the parent process.
    """
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    memory = psutil.Process().memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    is_memory = re.search("out of memory|not enough memory|allocate memory", text)
    if isinstance(error, MemoryError) or is_memory:
        return "memory ran out; measure a smaller size"
    return f"{type(error).__name__}: {text}"
