"""`fnet train` through its door: a tiny run, stopped and resumed, and all that can be wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import torch

from fnetcli.checkpoints.loading import load_weights
from fnetcli.imaging.intensity import ScalingOptions
from fnetcli.metrics import to_grey8
from fnetcli.models.fnet.config import IFNetConfig
from fnetcli.models.table import INVERSES
from fnetcli.reports import plots
from fnetcli.training.data import Pairs, read_luminance
from tests.cli.command import error_line, fnet, log_rows
from tests.cli.tiny_recipes import FNET_NETWORKS, PAIRS, change
from tests.drawn_pictures import smooth_noise, write, write_pairs

pytestmark = pytest.mark.usefixtures("eager")

RECIPE = (
    """
seed = 5
ema = 0.5
precision = "{precision}"
optimizer = "{optimizer}"
validate_every = 4
checkpoint_every = 3
"""
    + PAIRS
    + FNET_NETWORKS
    + """
[stage_1]
iterations = 4
batch = 2
crop = 16
learning_rate = 1e-3
[stage_2]
iterations = 8
batch = 2
crop = 16
learning_rate = 1e-3
warmup = 2
decay = 3
"""
)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "data", 3)
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE.format(precision="fp32", optimizer="muon"))
    return path


@pytest.mark.parametrize(("precision", "optimizer"), [("fp32", "muon"), ("bf16", "adam")])
@pytest.mark.usefixtures("curves")
def test_both_stages(tmp_path: Path, recipe: Path, precision: str, optimizer: str) -> None:
    recipe.write_text(RECIPE.format(precision=precision, optimizer=optimizer))
    run = tmp_path / "run"
    result = fnet("train", recipe, "-o", run)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{run / 'best.safetensors'}\n"
    assert "compiling loops for this processor" in result.stderr
    assert sorted(path.name for path in run.iterdir()) == [
        *("best.safetensors", "last.safetensors", "log.csv", "log.jsonl", "loss.png"),
        *("recipe.toml", "state.pt", "validation"),
    ]
    assert sorted(path.name for path in (run / "validation").iterdir()) == [
        *("1-000004.png", "2-000004.png", "2-000008.png")
    ]
    log = log_rows(run)
    assert [(row["stage"], row["iteration"]) for row in log] == [
        *((1, i) for i in range(1, 5)),
        *((2, i) for i in range(1, 9)),
    ]
    assert [row["iteration"] for row in log if "validation" in row] == [4, 4, 8]
    assert {"ir", "vis"} < log[0].keys()
    with (run / "log.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(row["intensity"]) for row in table[4:]] == [row["intensity"] for row in log[4:]]
    assert iio.imread(run / "loss.png").shape[2] >= 3
    weights = load_weights(run / "best.safetensors")
    assert weights.network.config.atoms == 4
    assert weights.metadata["trained"]["pairs"] == 3
    assert len(weights.metadata["training_list_sha256"]) == 64
    assert "data" not in weights.metadata["recipe"]
    assert str(tmp_path) not in json.dumps(weights.metadata)
    fused = fnet(
        *("fuse", "--vis", tmp_path / "data/vis/0.png", "--ir", tmp_path / "data/ir/0.png"),
        *("-o", tmp_path / "out", "--weights", run / "last.safetensors"),
    )
    assert fused.exit_code == 0


def test_separation_weight(tmp_path: Path, recipe: Path) -> None:
    """A fourth loss, in the log and in the validation; none by default."""
    plain, weighted = tmp_path / "plain", tmp_path / "weighted"
    assert fnet("train", recipe, "-o", plain).exit_code == 0
    recipe.write_text(recipe.read_text() + "separation_weight = 20\n")
    assert fnet("train", recipe, "-o", weighted).exit_code == 0
    before, after = (
        [row for row in log_rows(run) if row["stage"] == 2] for run in (plain, weighted)
    )
    assert "separation" not in before[0]
    assert after[0]["intensity"] == before[0]["intensity"]  # the same start
    assert after[0]["separation"] > 0
    assert after[3]["validation"] > before[3]["validation"]
    change(recipe, ("_weight = 20", "_weight = -1"))
    result = fnet("train", recipe, "-o", tmp_path / "bad")
    assert result.exit_code != 0
    assert "separation_weight must not be negative" in error_line(result.stderr)


def test_the_inverse_is_kept(tmp_path: Path, recipe: Path) -> None:
    """It learns on beside FNet, which does not notice; a file names the weights it belongs to."""
    without, kept = tmp_path / "without", tmp_path / "kept"
    assert fnet("train", recipe, "-o", without).exit_code == 0
    recipe.write_text(f"keep_inverse = true\n{recipe.read_text()}")
    result = fnet("train", recipe, "-o", kept)
    assert result.exit_code == 0, result.output
    for name in ("best", "last"):
        plain, beside = (load_weights(run / f"{name}.safetensors") for run in (without, kept))
        for key, array in plain.network.arrays.items():
            np.testing.assert_array_equal(array, beside.network.arrays[key])
        inverse = load_weights(kept / f"{name}-inverse.safetensors", INVERSES)
        assert inverse.network.config == IFNetConfig(4, 3, 1)
        assert inverse.metadata["belongs_to"]["sha256"] == beside.sha256
    learned = [row["ir"] for row in log_rows(kept) if row["stage"] == 2]
    assert len(learned) == 8
    assert "first" not in log_rows(without)[-1]
    resumed = fnet("train", without / "recipe.toml", "-o", kept, "--resume")
    assert resumed.exit_code == 1
    assert "trained with another keep_inverse" in error_line(resumed.stderr)
    pair = ("--vis", tmp_path / "data/vis/0.png", "--ir", tmp_path / "data/ir/0.png")
    refused = fnet(
        *("fuse", *pair, "-o", tmp_path / "out", "--weights", kept / "best-inverse.safetensors")
    )
    assert refused.exit_code == 1
    assert "give it to fnet inspect --inverse" in error_line(refused.stderr)


def test_weights_that_have_not_learned_to_fuse(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in stage 1: whoever fuses with them is warned; inspect FILE says it, too."""
    run, original = tmp_path / "run", Pairs.batch

    def batch(*arguments: object) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Pairs, "batch", batch)
        assert fnet("train", recipe, "-o", run).exit_code == 130
    pairs = ("--vis", tmp_path / "data" / "vis", "--ir", tmp_path / "data" / "ir")
    early, name = run / "last.safetensors", "last.safetensors: from stage 1 of a training, "
    for command in (("fuse", *pairs, "-o", tmp_path / "out"), ("eval", *pairs)):
        done = fnet(*command, "--weights", early, "-q")
        assert done.exit_code == 0
        assert f"warning: {name}" in done.stderr
    assert name in fnet("inspect", early).stderr
    assert fnet("train", "-o", run, "--resume").exit_code == 0
    done = fnet("fuse", *pairs, "-o", tmp_path / "out", "--weights", early, "-q")
    assert (done.exit_code, done.stderr) == (0, "")


def test_stopped_and_resumed_gives_the_same_numbers(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGINT in every stage; also a crash, after which lines beyond the state are dropped."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert fnet("train", recipe, "-o", whole).exit_code == 0

    stop_at, crash_at, original, calls = {2, 7}, 12, Pairs.batch, []

    def batch(*arguments: object) -> object:
        calls.append(1)
        if len(calls) in stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        if len(calls) == crash_at:
            raise RuntimeError("power cut")
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Pairs, "batch", batch)
    first = fnet("train", recipe, "-o", parts)
    assert first.exit_code == 130
    assert "--resume" in error_line(first.stderr)
    assert len(log_rows(parts)) == 2
    assert fnet("train", recipe, "-o", parts, "--resume").exit_code == 130
    assert len(log_rows(parts)) == 7
    crashed = fnet("train", recipe, "-o", parts, "--resume")
    assert crashed.exit_code == 1
    assert "RuntimeError" in error_line(crashed.stderr)
    assert len(log_rows(parts)) == 11
    with (parts / "log.jsonl").open("a") as log:
        log.write('{"stage": 2, "iter')
    assert fnet("train", recipe, "-o", parts, "--resume").exit_code == 0
    assert log_rows(parts) == log_rows(whole)
    for name in ("best.safetensors", "last.safetensors"):
        left, right = (load_weights(run / name).network.arrays for run in (whole, parts))
        assert all(np.array_equal(left[key], right[key]) for key in left), name


def test_command_line_folders_and_default_run_folder(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").rename(tmp_path / "moved")
    result = fnet(
        *("train", recipe, "--vis", "moved/vis", "--ir", "moved/ir", "--validation", "moved", "-q")
    )
    assert (result.exit_code, result.output) == (0, "")
    assert (tmp_path / "runs" / "tiny" / "best.safetensors").is_file()


def test_deep_pictures_are_scaled_as_in_fusing(tmp_path: Path, recipe: Path) -> None:
    for i in range(3):
        for side, channels in (("vis", 3), ("ir", 1)):
            path = tmp_path / "data" / side / f"{i}.png"
            deep = iio.imread(path).astype(np.uint16) * 16  # 12 bits
            path.unlink()
            counts = deep if channels == 3 else deep + 29000
            tifffile.imwrite(path.with_suffix(".tif"), counts)
    result = fnet("train", recipe, "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "vis: 16-bit files, but no value above 4095: taken as 12 bits" in result.stderr
    assert "results are" not in result.stderr
    grey = read_luminance(tmp_path / "data" / "ir" / "0.tif", "ir")
    assert (grey.min(), grey.max()) == (0, 255)
    found = ScalingOptions(found_bits=12)
    bright = read_luminance(tmp_path / "data" / "vis" / "0.tif", "vis", found)
    plain = to_grey8(smooth_noise(24, 32, 0, 3))
    assert np.abs(bright.astype(int) - plain).max() <= 1


def test_existing_run_folder(tmp_path: Path, recipe: Path) -> None:
    run = tmp_path / "run"
    assert fnet("train", recipe, "-o", run).exit_code == 0
    before = (run / "state.pt").read_bytes()
    again = fnet("train", recipe, "-o", run)
    assert again.exit_code == 2
    assert "--resume" in error_line(again.stderr)
    assert (run / "state.pt").read_bytes() == before
    change(recipe, ("seed = 5", "seed = 6"))
    other = fnet("train", recipe, "-o", run, "--resume")
    assert other.exit_code == 1
    assert "another seed" in error_line(other.stderr)


def test_a_run_that_ends_at_once_can_be_resumed_from_its_own_folder(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative folders, an error before the first checkpoint, then --resume without a recipe."""
    monkeypatch.chdir(tmp_path)

    def broken(*_: object) -> object:
        raise RuntimeError("power cut")

    with monkeypatch.context() as context:
        context.setattr(Pairs, "batch", broken)
        assert fnet("train", recipe.name, "-o", "run").exit_code == 1
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    result = fnet("train", "-o", "../run", "--resume")
    assert result.exit_code == 0, result.output
    assert len(log_rows(tmp_path / "run")) == 12


def test_other_pictures_are_refused_on_resume(tmp_path: Path, recipe: Path) -> None:
    run = tmp_path / "run"
    assert fnet("train", recipe, "-o", run).exit_code == 0
    write(tmp_path / "data/vis/0.png", smooth_noise(24, 32, 99, 3))
    result = fnet("train", recipe, "-o", run, "--resume")
    assert result.exit_code == 1
    assert "training pairs have changed" in error_line(result.stderr)


@pytest.mark.usefixtures("curves")
def test_a_damaged_log_does_not_hide_the_error(tmp_path: Path, recipe: Path) -> None:
    run = tmp_path / "run"
    assert fnet("train", recipe, "-o", run).exit_code == 0
    with (run / "log.jsonl").open("a") as log:
        log.write('{"stage": 2, "iter')
    change(recipe, ("seed = 5", "seed = 6"))
    result = fnet("train", recipe, "-o", run, "--resume")
    assert "another seed" in error_line(result.stderr)


def test_an_interrupt_of_the_curves_does_not_hide_the_error(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torchrun sends it to the other processes when one has died."""
    run = tmp_path / "run"
    assert fnet("train", recipe, "-o", run).exit_code == 0

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(plots, "draw_loss_curves", interrupted)
    change(recipe, ("seed = 5", "seed = 6"))
    result = fnet("train", recipe, "-o", run, "--resume")
    assert result.exit_code == 1
    assert "another seed" in error_line(result.stderr)
    assert f"{run}: loss.png or log.csv is not written (interrupted)" in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.usefixtures("curves")
def test_full_disk_while_logging(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnetcli.training.loop._open_log", lambda *_: io.FileIO("/dev/full", "w"))
    result = fnet("train", recipe, "-o", tmp_path / "run")
    assert result.exit_code == 1
    assert "log.jsonl: cannot be written (No space left" in error_line(result.stderr)


def test_command_line_folders_replace_validation_too(tmp_path: Path, recipe: Path) -> None:
    text = recipe.read_text().replace('vis = "data/vis"', 'vis = "none"')
    recipe.write_text(text)
    run = tmp_path / "run"
    result = fnet(
        *("train", recipe, "--vis", tmp_path / "data/vis", "--ir", tmp_path / "data/ir"),
        *("-o", run),
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{run / 'last.safetensors'}\n"


def test_longer_recipe_goes_on(tmp_path: Path, recipe: Path) -> None:
    run = tmp_path / "run"
    assert fnet("train", recipe, "-o", run).exit_code == 0
    finished = fnet("train", "-o", run, "--resume")
    assert finished.exit_code == 0
    assert "all its iterations were done before" in finished.stderr
    change(recipe, ("iterations = 8", "iterations = 10"))
    change(recipe, ("decay = 3", "decay = 2\nssim_weight = 30.0"))
    assert fnet("train", recipe, "-o", run, "--resume").exit_code == 0
    assert log_rows(run)[-1]["iteration"] == 10


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 junk", b"\x80\x04cos\nsystem\n(S'ls'\ntR."])
def test_damaged_state(tmp_path: Path, recipe: Path, content: bytes) -> None:
    run = tmp_path / "run"
    assert fnet("train", recipe, "-o", run, "--resume").exit_code == 2
    run.mkdir()
    (run / "state.pt").write_bytes(content)
    result = fnet("train", recipe, "-o", run, "--resume")
    assert result.exit_code == 1
    assert "damaged state" in error_line(result.stderr)


class TestWrongData:
    def test_unknown_key(self, recipe: Path) -> None:
        change(recipe, ("crop = 16", "crob = 16"))
        result = fnet("train", recipe)
        assert result.exit_code == 2
        assert "did you mean 'crop'" in error_line(result.stderr)

    def test_nothing_named(self, tmp_path: Path) -> None:
        result = fnet("train", "-o", tmp_path / "run")
        assert result.exit_code == 2
        assert "no training pairs given" in error_line(result.stderr)

    def test_no_such_run(self, tmp_path: Path, recipe: Path) -> None:
        run = tmp_path / "none"
        for arguments in ([], [recipe]):
            result = fnet("train", *arguments, "--resume", "-o", run)
            assert result.exit_code == 2
            assert f"{run}: no such run; check the path" in error_line(result.stderr)

    def test_missing_recipe_and_folders(self, tmp_path: Path, recipe: Path) -> None:
        for arguments in (
            [tmp_path / "none.toml"],
            [recipe, "--vis", tmp_path / "none", "--ir", tmp_path / "data/ir"],
        ):
            result = fnet("train", *arguments, "-o", tmp_path / "run")
            assert result.exit_code == 2
            assert "none" in error_line(result.stderr)

    @pytest.mark.parametrize("place", ["data/vis/runs/a", "link/a", "held/ir/a"])
    def test_a_run_folder_among_the_pairs(self, tmp_path: Path, recipe: Path, place: str) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "data/vis")
        write_pairs(tmp_path / "held", 1)
        run = tmp_path / place
        result = fnet("train", recipe, "--validation", tmp_path / "held", "-o", run)
        assert result.exit_code == 2
        line = error_line(result.stderr)
        assert f"-o {run}: " in line
        assert "in the input folder " in line
        assert line.endswith("choose a folder outside")
        assert not run.exists()

    def test_one_modality(self, tmp_path: Path, recipe: Path) -> None:
        result = fnet("train", recipe, "--vis", tmp_path / "data/vis", "-o", tmp_path / "run")
        assert result.exit_code == 2
        assert "exactly two" in error_line(result.stderr)

    def test_empty_folders(self, tmp_path: Path, recipe: Path) -> None:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
        result = fnet(
            *("train", recipe, "--vis", tmp_path / "a", "--ir", tmp_path / "b", "-o"),
            tmp_path / "run",
        )
        assert result.exit_code == 1
        assert "no pairs" in error_line(result.stderr)

    def test_unequal_and_small_and_broken_pairs(self, tmp_path: Path, recipe: Path) -> None:
        broken = tmp_path / "data/vis/0.png"
        for picture, message in (
            (smooth_noise(24, 30, 1, 3), "is 30x24"),
            (smooth_noise(24, 12, 1, 3), "smaller than the crop of 16"),
            (None, "0.png"),
        ):
            if picture is None:
                broken.write_bytes(b"junk")
            else:
                write(broken, picture)
                if "crop" in message:
                    write(tmp_path / "data/ir/0.png", smooth_noise(24, 12, 1))
            result = fnet("train", recipe, "-o", tmp_path / "run")
            assert result.exit_code == 1
            assert message in error_line(result.stderr)
            assert not (tmp_path / "run").exists()

    def test_nan_loss_keeps_the_last_state(self, tmp_path: Path, recipe: Path) -> None:
        text = recipe.read_text().replace(
            "learning_rate = 1e-3\nwarmup", "learning_rate = 1e30\nwarmup"
        )
        recipe.write_text(text)
        run = tmp_path / "run"
        result = fnet("train", recipe, "-o", run)
        assert result.exit_code == 1
        assert "not a number at stage 2" in error_line(result.stderr)
        assert load_weights(run / "last.safetensors").metadata["trained"]["stage"] == 2


@pytest.mark.slow
def test_compiled_run_resumes_to_the_same_numbers(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the real compiler, if there is one
    recipe.write_text(RECIPE.format(precision="bf16", optimizer="muon"))
    whole, parts, short = tmp_path / "whole", tmp_path / "parts", tmp_path / "short.toml"
    short.write_text(recipe.read_text().replace("iterations = 8", "iterations = 5"))
    change(recipe, ("decay = 3", "decay = 0"))
    change(short, ("decay = 3", "decay = 0"))
    assert fnet("train", recipe, "-o", whole).exit_code == 0
    assert fnet("train", short, "-o", parts).exit_code == 0
    torch._dynamo.reset()
    assert fnet("train", recipe, "-o", parts, "--resume").exit_code == 0
    left, right = (load_weights(run / "last.safetensors").network.arrays for run in (whole, parts))
    assert all(np.array_equal(left[key], right[key]) for key in left)


@pytest.mark.slow
def test_ctrl_c_in_a_real_process(tmp_path: Path, recipe: Path) -> None:
    change(recipe, ("iterations = 8", "iterations = 100000"))
    run = tmp_path / "run"
    command = [sys.executable, "-m", "fnetcli", "train", str(recipe), "-o", str(run)]
    env = os.environ | {"TORCHDYNAMO_DISABLE": "1"}  # compiling takes longer than this test
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        while not (run / "best.safetensors").is_file() and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate()
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert (run / "loss.png").is_file()


def test_second_ctrl_c_ends_at_once(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = Pairs.batch, []

    def batch(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 8:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Pairs, "batch", batch)
    result = fnet("train", recipe, "-o", tmp_path / "run")
    assert result.exit_code == 130
    assert "interrupted" in error_line(result.stderr)
    assert fnet("train", recipe, "-o", tmp_path / "run", "--resume").exit_code == 0
