"""Training by torchrun: processes that share batches lose what one process loses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch

from tests.cli.command import error_line, fnet, log_rows
from tests.cli.test_train_cddfuse import RECIPE as CDDFUSE
from tests.cli.test_train_labelled import RECIPE as UAAFUSION
from tests.cli.test_train_labelled import write_labels
from tests.cli.tiny_recipes import FNET_NETWORKS, PAIRS
from tests.drawn_pictures import write_pairs

pytestmark = pytest.mark.usefixtures("eager")

STAGE_1 = 6  # iterations
FNET = (
    """
seed = 5
optimizer = "{optimizer}"
ema_warmup = true
validate_every = 10
checkpoint_every = 10
"""
    + PAIRS
    + FNET_NETWORKS
    + """
[stage_1]
iterations = STAGE_1
batch = 3
crop = 16
learning_rate = 1e-4
[stage_2]
iterations = {iterations}
batch = 4
crop = 16
learning_rate = 1e-4
"""
).replace("STAGE_1", str(STAGE_1))
ENVIRONMENT = {
    **os.environ,
    "TORCHDYNAMO_DISABLE": "1",  # compiling takes longer than these runs
    "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "600",  # a busy machine saves slowly
}


def recipe_of(folder: Path, text: str) -> Path:
    write_pairs(folder / "data", 3)
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


def torchrun(count: int, *arguments: object) -> subprocess.Popen[str]:
    """Start `fnet train` in several processes."""
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    return subprocess.Popen(
        [sys.executable, *words, "-m", "fnetcli", "train", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def finished(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Return stdout and stderr of processes that end well."""
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    return stdout, stderr


def require_alike(one: Path, two: Path, tolerance: float) -> None:
    """Compare all losses of two runs, relative to their size if that is above 1."""
    rows = list(zip(log_rows(one), log_rows(two), strict=True))
    assert rows
    for row, other in rows:
        assert row.keys() == other.keys()
        for name, value in row.items():
            assert other[name] == pytest.approx(value, rel=tolerance, abs=tolerance), (row, other)


@pytest.mark.slow
def test_two_processes_lose_what_one_loses(tmp_path: Path) -> None:
    """FNet, 18 iterations, one batch of an odd size; then on with one process, and accumulated."""
    recipe = recipe_of(tmp_path, FNET.format(optimizer="adam", iterations=12))
    one, two = tmp_path / "one", tmp_path / "two"
    assert fnet("train", recipe, "-o", one).exit_code == 0
    stdout, stderr = finished(torchrun(2, recipe, "-o", two))
    assert stdout == f"{two / 'best.safetensors'}\n"  # one process speaks
    assert stderr.count("3 pairs, device cpu") == 1
    require_alike(one, two, 1e-5)
    assert sorted(path.name for path in two.iterdir()) == sorted(
        path.name for path in one.iterdir()
    )
    longer = recipe.with_name("longer.toml")
    longer.write_text(FNET.format(optimizer="adam", iterations=14))
    for run in (one, two):
        assert fnet("train", longer, "-o", run, "--resume").exit_code == 0
    require_alike(one, two, 1e-5)


@pytest.mark.long
def test_cddfuse_by_two_processes(tmp_path: Path) -> None:
    """The decomposition looks at all features of the batch before it squares."""
    text = CDDFUSE.format(min_contrast=0).replace("batch = 1\n", "batch = 2\n")
    text = text.replace("1e-3", "1e-4")  # rounding grows with the step
    recipe = recipe_of(tmp_path, text)
    assert fnet("train", recipe, "-o", tmp_path / "one").exit_code == 0
    finished(torchrun(2, recipe, "-o", tmp_path / "two"))
    require_alike(tmp_path / "one", tmp_path / "two", 1e-4)


@pytest.mark.long
def test_uaafusion_by_two_processes(tmp_path: Path) -> None:
    """With S frozen, whose batch statistics and dropout are each process's own."""
    text = UAAFUSION.format(precision="fp32").replace("[stage_1]\niterations = 3", FROZEN)
    text = text.replace("1e-3", "1e-4")
    recipe = recipe_of(tmp_path, text.replace("[stage_2]", '[stage_2]\nfreeze = ["segmentation"]'))
    write_pairs(tmp_path / "more", 2, 30, 40)
    labels = ("--labels", write_labels(tmp_path / "labels", 3))
    assert fnet("train", recipe, *labels, "-o", tmp_path / "one").exit_code == 0
    finished(torchrun(2, recipe, *labels, "-o", tmp_path / "two"))
    require_alike(tmp_path / "one", tmp_path / "two", 1e-4)


FROZEN = "[stage_1]\niterations = 0"


@pytest.mark.long
def test_uaafusion_with_statistics_of_each_process(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, UAAFUSION.format(precision="fp32"))
    write_pairs(tmp_path / "more", 2, 30, 40)
    labels = ("--labels", write_labels(tmp_path / "labels", 3))
    finished(torchrun(2, recipe, *labels, "-o", tmp_path / "two"))
    assert len(log_rows(tmp_path / "two")) == 8


def test_pieces_of_a_batch_are_the_batch(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, FNET.format(optimizer="adam", iterations=0))
    assert fnet("train", recipe, "-o", tmp_path / "one").exit_code == 0
    two = fnet("train", recipe, "-o", tmp_path / "two", "--accumulate", "2")
    assert two.exit_code == 0, two.output
    require_alike(tmp_path / "one", tmp_path / "two", 1e-5)


@pytest.mark.parametrize(("count", "message"), [("4", "a batch of 3 for 1 process with 4 pieces")])
def test_a_batch_of_too_few(tmp_path: Path, count: str, message: str) -> None:
    recipe = recipe_of(tmp_path, FNET.format(optimizer="adam", iterations=2))
    result = fnet("train", recipe, "-o", tmp_path / "run", "--accumulate", count)
    assert result.exit_code == 2
    assert message in error_line(result.stderr)
    assert fnet("train", recipe, "-o", tmp_path / "run", "--accumulate", "0").exit_code == 2


def trainers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the training processes, by rank."""
    found = []
    with suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                if "fnetcli" in child.cmdline():
                    found.append((int(child.environ()["RANK"]), child))
    return [child for _, child in sorted(found, key=lambda one: one[0])]


def wait_for_rows(process: subprocess.Popen[str], run: Path, count: int) -> None:
    log = run / "log.jsonl"
    while process.poll() is None:
        if log.is_file() and len(log.read_bytes().splitlines()) >= count:
            return
        time.sleep(0.02)
    pytest.fail(process.communicate()[1])


@pytest.mark.long
@pytest.mark.parametrize("way", ["interrupted", "a process dies"])
def test_whatever_ends_it_the_state_is_saved(tmp_path: Path, way: str) -> None:
    recipe = recipe_of(tmp_path, FNET.format(optimizer="muon", iterations=100_000))
    whole, run = tmp_path / "whole", tmp_path / "run"
    process = torchrun(2, recipe, "-o", run)
    wait_for_rows(process, run, 35)
    below = trainers(process)
    assert len(below) == 2
    if way == "interrupted":
        process.send_signal(signal.SIGINT)
        for one in below:
            one.send_signal(signal.SIGINT)  # as a terminal does it
    else:
        below[1].kill()
    _, stderr = process.communicate()
    assert process.returncode != 0
    for one in below:
        assert not one.is_running()
    assert ("the state is saved, continue" if way == "interrupted" else "--resume") in stderr
    done = len(log_rows(run))
    state = torch.load(run / "state.pt", weights_only=True)["progress"]
    assert STAGE_1 + state["iteration"] == done
    short = recipe.with_name("short.toml")
    short.write_text(FNET.format(optimizer="muon", iterations=done))
    assert fnet("train", short, "-o", run, "--resume").exit_code == 0
    assert fnet("train", short, "-o", whole).exit_code == 0
    require_alike(whole, run, 1e-3)
