"""The cost of methods, each measured in a process of its own."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path

import pytest

from fnetcli.baselines import BASELINES, Baseline, average, blend_average
from fnetcli.checkpoints.loading import load_weights
from fnetcli.engine import EngineOptions
from fnetcli.errors import CheckpointError, EvaluationError, FnetError, UsageError
from fnetcli.evaluation import cost
from fnetcli.evaluation.cost import FORMULA, measure_cost
from fnetcli.models.cddfuse.config import CDDFuseConfig
from fnetcli.models.fnet.config import FNetConfig
from tests.cli.command import tiny_weights

MEGABYTE = 1 << 20
NO_IMAGE = (10**9, 10**9)  # no machine has room for it
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def failure(call: Callable[[], object]) -> FnetError:
    """Return the error, which must be one line."""
    with pytest.raises(FnetError) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)
    return caught.value


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer requests here: another process takes seconds to import torch."""

    def run(command: list[str], **options: str) -> subprocess.CompletedProcess[str]:
        answer = io.StringIO()
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdin", io.StringIO(options["input"]))
            patched.setattr(sys, "stdout", answer)
            cost.main()
        return subprocess.CompletedProcess(command, 0, answer.getvalue(), "")

    monkeypatch.setattr(subprocess, "run", run)


class TestWeights:
    def test_says_what_a_network_takes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Weights of the folder at hand are found; modules, like somebody's numpy.py, are not."""
        path = tiny_weights(tmp_path)
        (tmp_path / "numpy.py").write_text("raise SystemExit('not this one')")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder])
        found = measure_cost("tiny", Path(path.name), (24, 30))
        network = load_weights(path).network
        assert (found.method, found.height, found.width) == ("tiny", 24, 30)
        assert found.parameters == network.parameter_count
        assert found.multiply_adds == network.config.multiply_adds * 24 * 30
        assert found.device == "cpu"
        assert ", fp32, " in found.how
        assert found.device_bytes is None
        assert found.notices == ()
        assert found.seconds > 0
        assert cost.LEAST <= found.runs <= cost.MOST
        json.dumps(asdict(found))

    @pytest.mark.usefixtures("in_this_process")
    def test_runs_with_the_options_given(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FNET_NATIVE", "0")
        options = EngineOptions(precision="bf16", tile=64)
        found = measure_cost("tiny", tiny_weights(tmp_path), (8, 9), options=options)
        assert found.how.startswith("torch (")
        assert len(found.notices) == 1
        assert found.notices[0].startswith("--precision bf16")


class TestBaselines:
    @pytest.mark.parametrize("baseline", BASELINES, ids=lambda baseline: baseline.name)
    def test_says_what_a_rule_takes(self, baseline: Baseline) -> None:
        found = measure_cost(baseline.name, baseline, (40, 30))
        assert (found.parameters, found.multiply_adds, found.device) == (None, None, "cpu")
        assert found.seconds > 0
        assert found.runs == cost.MOST

    @on_linux
    def test_memory_is_the_method_s_own(self) -> None:
        """Neither what this process holds counts, with torch in it, nor that of the one before."""
        held = bytearray(b"1") * (400 * MEGABYTE)
        large, small = (
            measure_cost("maximum", BASELINES[1], size) for size in ((2048, 8192), (8, 8))
        )
        assert len(held) == 400 * MEGABYTE
        assert small.peak_bytes < 150 * MEGABYTE
        assert 30 * MEGABYTE < large.peak_bytes - small.peak_bytes < 80 * MEGABYTE  # three images
        assert small.idle_bytes <= small.peak_bytes
        assert 14 * MEGABYTE < large.peak_bytes - large.idle_bytes < 40 * MEGABYTE  # the fused one


class TestFailures:
    def test_keeps_its_kind(self, tmp_path: Path) -> None:
        error = failure(lambda: measure_cost("x", tmp_path / "none.pth", (8, 9)))
        assert type(error) is UsageError
        assert str(error).startswith("cost of x at 9x8: ")
        assert "no such file" in str(error)

    @pytest.mark.usefixtures("in_this_process")
    def test_says_what_is_wrong(self, tmp_path: Path) -> None:
        tiny, damaged = tiny_weights(tmp_path), tmp_path / "damaged.safetensors"
        damaged.write_bytes(b"\x08\0\0\0\0\0\0\0{} not weights")
        assert type(failure(lambda: measure_cost("x", damaged, (8, 8)))) is CheckpointError
        error = failure(lambda: measure_cost("x", tiny, (8, 8), device="cuda:99"))
        assert type(error) is UsageError
        error = failure(
            lambda: measure_cost("x", tiny, (8, 8), options=EngineOptions(max_memory=1))
        )
        assert type(error) is UsageError
        assert "--max-memory" in str(error)
        error = failure(lambda: measure_cost("x", tiny, NO_IMAGE))
        assert "memory ran out" in str(error)

    def test_no_pixels(self) -> None:
        assert type(failure(lambda: measure_cost("x", BASELINES[0], (0, 8)))) is UsageError

    def test_out_of_memory(self) -> None:
        error = failure(lambda: measure_cost("x", BASELINES[2], NO_IMAGE))
        assert "memory ran out" in str(error)
        assert "1000000000x1000000000" in str(error)

    def test_anything_else(self) -> None:
        error = failure(
            lambda: measure_cost("x", Baseline("own", average, blend_average, "own"), (8, 8))
        )
        assert type(error) is EvaluationError
        assert "StopIteration" in str(error)

    @pytest.mark.parametrize(
        ("program", "message"),
        [
            ("import os; os.kill(os.getpid(), 9)", "most likely out of memory"),
            ("import os; os.abort()", "SIGABRT"),
            ("raise SystemExit('no such library')", "no such library"),
            ("pass", "exit code 0"),
            ("print('not JSON')", "exit code 0"),
        ],
    )
    def test_a_process_that_dies(
        self, program: str, message: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cost, "CHILD", program)
        error = failure(lambda: measure_cost("x", BASELINES[0], (8, 8)))
        assert type(error) is EvaluationError
        assert message in str(error)

    def test_signals_without_a_name(self) -> None:
        assert "signal 1000" in cost._death(1000)
        assert "SIGSEGV" in cost._death(signal.SIGSEGV)

    def test_no_process(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        error = failure(lambda: measure_cost("x", BASELINES[0], (8, 8)))
        assert "no process could be started" in str(error)


class TestNumberOfRuns:
    @pytest.mark.parametrize(
        ("lengths", "expected"),
        [
            ([0.001] * 99, 20),
            ([60.0] * 99, 3),  # each longer than all that may be added
            ([4.0] * 99, 3 + 5),
            ([1.0, 1.0, 9.0] + [1.0] * 99, 3 + 12),  # the twelfth may still take as long as 9 s
        ],
    )
    def test_follows_how_long_they_take(
        self, lengths: list[float], expected: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ends = list(accumulate(lengths))
        moments = iter([moment for end in zip([0, *ends], ends, strict=False) for moment in end])
        calls: list[int] = []
        with monkeypatch.context() as patched:
            patched.setattr(time, "perf_counter", lambda: next(moments))
            seconds = cost._seconds(lambda: calls.append(1))
        assert len(seconds) == expected
        assert len(calls) == expected + 1  # the first does not count
        assert seconds == pytest.approx(lengths[:expected])


def test_formula_says_what_is_true() -> None:
    default = FNetConfig().multiply_adds
    assert f"{default:,}" in FORMULA
    assert f"{default * 28 * 28 / 1e9:.3f} G" == "0.329 G"
    assert f"{default * 480 * 640 / 1e9:.0f} G" == "129 G"
    assert f"{CDDFuseConfig().multiply_adds:,}" in FORMULA
    for message in ("28x28", "0.329 G", "480x640", "129 G", "guess"):
        assert message in FORMULA


def test_a_process_that_measures_a_rule_does_without_torch() -> None:
    program = "import sys, fnetcli.evaluation.cost; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == 0
