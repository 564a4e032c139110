"""`--cluster` and several devices: the same files as one process makes, whoever dies meanwhile."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.command import error_line, fnet, tiny_weights
from tests.drawn_pictures import write_pairs

PAIRS = 60
ENVIRONMENT = {
    **os.environ,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # 15 by default: workers would wait for everything else here
}
ENVIRONMENT.pop("RAY_ADDRESS", None)


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    write_pairs(tmp_path / "data", PAIRS, 64, 96)
    return words(tmp_path)


@pytest.fixture
def small(tmp_path: Path) -> list[str]:
    write_pairs(tmp_path / "data", 2)
    return words(tmp_path)


def words(tmp_path: Path) -> list[str]:
    found = [
        *("fuse", "--vis", tmp_path / "data/vis", "--ir", tmp_path / "data/ir"),
        *("--weights", tiny_weights(tmp_path), "-o"),
    ]
    return [str(word) for word in found]


def files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.png"))}


def records(out: Path) -> list[dict[str, Any]]:
    lines = (out / "manifest.jsonl").read_text().splitlines()
    return [
        {
            key: value
            for key, value in json.loads(line).items()
            if not key.endswith("seconds") and key != "worker"
        }
        for line in lines
    ]


def started(*arguments: object) -> subprocess.Popen[str]:
    """Start the command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "fnetcli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def workers(process: subprocess.Popen[str], mark: str) -> list[psutil.Process]:
    """Return the worker processes below a command."""
    found = []
    with suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                if mark in " ".join(child.cmdline()):
                    found.append(child)
    return found


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> bool:
    """Wait until something is so; return False if the command ended before."""
    while process.poll() is None:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def fused(out: Path) -> int:
    return len(list(out.glob("fused/*.png")))


# --- workers die ----------------------------------------------------------------------------------

RAY = ("--cluster", "ray", "--cpus-per-worker", "0.5")
KINDS = [
    pytest.param(("--device", "cpu,cpu"), "multiprocessing.spawn", id="processes"),
    pytest.param(RAY, "ray::Actor", id="ray"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("options", "mark"), KINDS)
def test_killed_workers_leave_no_trace(
    tmp_path: Path, command: list[str], options: tuple[str, ...], mark: str
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert fnet(*command, whole).exit_code == 0
    draw, kills = random.Random(7), 0  # noqa: S311
    process = started(*command, out, *options)
    for count in (1, 12, 30):
        wait_for(lambda: fused(out) >= count, process)  # noqa: B023  called at once
        for worker in draw.sample(found, 1) if (found := workers(process, mark)) else []:
            with suppress(psutil.Error):
                worker.kill()
                kills += 1
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert kills
    assert "another one tries its pairs again" in stderr
    assert stdout.splitlines() == [str(out / "fused" / f"{name}.png") for name in order()]
    assert files(out) == files(whole)
    assert records(out) == records(whole)
    assert not list(out.rglob(".fnet-*"))
    lines = (out / "manifest.jsonl").read_text().splitlines()
    named = [json.loads(line)["worker"] for line in lines]
    assert {one["device"] for one in named} == {"cpu"}
    assert all(one["node"] and one["processor"] and one["network"] for one in named)
    again = fnet(*command, out)
    assert f"0 fused, {PAIRS} skipped" in again.stderr


def order() -> list[str]:
    """Return the names of all cases as a run sorts them."""
    return sorted(map(str, range(PAIRS)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "mark"),
    [KINDS[0], pytest.param(RAY, "ray::Actor", id="ray", marks=pytest.mark.long)],
)
def test_an_interrupt_leaves_nothing_behind(
    tmp_path: Path, command: list[str], options: tuple[str, ...], mark: str
) -> None:
    out = tmp_path / "out"
    process = started(*command, out, *options)
    wait_for(lambda: fused(out) >= 3, process)
    below = workers(process, mark)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130, stderr
    assert error_line(stderr) == "error: interrupted; finished results are on disk"
    assert below
    for worker in below:
        worker.wait()  # none is left
    assert not list(out.rglob(".fnet-*"))
    done = json.loads((out / "run.json").read_text())["totals"]["done"]
    assert 3 <= done + 1 <= PAIRS
    assert fused(out) >= done == len(records(out))
    assert fnet(*command, out).exit_code == 0
    assert fused(out) == PAIRS


@pytest.mark.long
def test_a_head_that_is_gone_keeps_what_is_done(tmp_path: Path, command: list[str]) -> None:
    out = tmp_path / "out"
    process = started(*command, out, *RAY)
    wait_for(lambda: fused(out) >= 3, process)
    for worker in workers(process, "ray::Actor"):
        worker.suspend()  # so that the head is gone before all is done
    (head,) = workers(process, "gcs_server")
    head.kill()
    _, stderr = process.communicate()
    assert process.returncode == 1, stderr
    assert "does not answer any more; finished results are on disk" in error_line(stderr)
    assert records(out)
    again = fnet(*command, out)
    assert again.exit_code == 0
    assert fused(out) == PAIRS


@pytest.mark.slow
def test_scores_are_those_of_one_process(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data", 6, 64, 64)
    (tmp_path / "data/ir/3.png").write_bytes(b"no picture")
    command = [
        *("eval", "--vis", tmp_path / "data/vis", "--ir", tmp_path / "data/ir", "--no-cache"),
        *("--weights", tiny_weights(tmp_path), "--baselines", "--metrics", "EN,SD", "--csv"),
    ]
    one = fnet(*command, tmp_path / "one.csv")
    two = fnet(*command, tmp_path / "two.csv", "--device", "cpu,cpu")
    assert one.exit_code == two.exit_code == 1
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert "3.png" in error_line(two.stderr)


@pytest.mark.long
def test_scores_of_a_cluster(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data", 6, 64, 64)
    command = [
        *("eval", "--vis", tmp_path / "data/vis", "--ir", tmp_path / "data/ir", "--no-cache"),
        *("--weights", tiny_weights(tmp_path), "--metrics", "EN,SD", "--csv"),
    ]
    assert fnet(*command, tmp_path / "one.csv").exit_code == 0
    process = started(*command, tmp_path / "two.csv", *RAY)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


# --- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--cpus-per-worker", "2"), "--cpus-per-worker: applies only to --cluster"),
        (("--gpus-per-worker", "1"), "--gpus-per-worker: applies only to --cluster"),
        (("--cluster", "ray", "--device", "cuda:1"), "Ray chooses the device"),
        (("--cluster", "ray", "--device", "cpu", "--gpus-per-worker", "1"), "use no GPU"),
        (("--cluster", "ray", "--gpus-per-worker", "1.5"), "parts of one GPU or whole GPUs"),
        (("--device", "all"), "--device all: no CUDA devices here"),
        (("--device", "cpu,"), "not a device"),
        (("--device", "cpu,auto"), "not a device"),
        (("--device", "cuda:0,cuda:1"), "0 CUDA devices here"),
    ],
)
def test_options_that_do_not_fit(
    tmp_path: Path, small: list[str], options: tuple[str, ...], message: str
) -> None:
    result = fnet(*small, tmp_path / "out", *options)
    assert result.exit_code == 2
    assert message in error_line(result.stderr)
    assert not (tmp_path / "out").exists()


def test_one_network_in_one_process_only(tmp_path: Path) -> None:
    write_pairs(tmp_path, 1)
    pair = ("--vis", tmp_path / "vis/0.png", "--ir", tmp_path / "ir/0.png")
    result = fnet("inspect", *pair, "--weights", tiny_weights(tmp_path), "--device", "cpu,cpu")
    assert result.exit_code == 2
    assert "only fnet fuse and fnet eval use several devices" in error_line(result.stderr)


@pytest.mark.parametrize("address", ["ray://127.0.0.1:9", "127.0.0.1:9", "ray", "auto"])
def test_a_cluster_that_does_not_answer(
    tmp_path: Path, small: list[str], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")  # for the last two
    result = fnet(*small, tmp_path / "out", "--cluster", address)
    assert result.exit_code == 1
    line = error_line(result.stderr)
    assert f"--cluster {address}: nothing answers at " in line
    assert ":9; start Ray" in line
    assert not list((tmp_path / "out").rglob(".fnet-*"))


@pytest.mark.long
def test_what_answers_is_not_a_ray_that_wants_us(tmp_path: Path, small: list[str]) -> None:
    """As a head that wants a token, or has another version."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        process = started(*small, tmp_path / "out", "--cluster", address)
        _, stderr = process.communicate()
    assert process.returncode == 1
    assert "set RAY_AUTH_MODE=token" in error_line(stderr)
    assert not list((tmp_path / "out").rglob(".fnet-*"))


def test_without_ray(tmp_path: Path, small: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = fnet(*small, tmp_path / "out", "--cluster", "ray")
    assert result.exit_code == 2
    assert "pip install 'fnetcli[cluster]'" in error_line(result.stderr)
