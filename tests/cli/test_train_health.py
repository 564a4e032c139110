"""`fnet train` says whether the run is of use, ends early, and shows what it validates."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import pytest
import torch

from fnetcli.training.config import StageConfig
from fnetcli.training.fnet.losses import fusion_loss
from tests.cli.command import error_line, fnet, log_rows
from tests.cli.tiny_recipes import FNET_NETWORKS, PAIRS, change
from tests.drawn_pictures import write_pairs

pytestmark = pytest.mark.usefixtures("eager")

RECIPE = (
    """
seed = 5
ema = 0.5
optimizer = "muon"
validate_every = 2
"""
    + PAIRS
    + FNET_NETWORKS
    + """
[stage_1]
iterations = 2
batch = 2
crop = 16
learning_rate = 1e-3
[stage_2]
iterations = 20
batch = 2
crop = 16
learning_rate = 1e-3
"""
)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "data", 6, 48, 56)
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.mark.usefixtures("curves")
def test_six_metrics_and_a_strip_in_both_stages(tmp_path: Path, recipe: Path) -> None:
    change(recipe, ("iterations = 20", "iterations = 2"))
    run = tmp_path / "run"
    result = fnet("train", recipe, "-o", run)
    assert result.exit_code == 0, result.output
    one, two = (row for row in log_rows(run) if "validation" in row)
    assert {"MI", "CE", "VIF", "Qabf", "Qcb", "SSIM", "ir", "vis"} < one.keys()
    assert {"MI", "CE", "VIF", "Qabf", "Qcb", "SSIM", "intensity"} < two.keys()
    assert "stage 1, iteration 2: validation loss" in result.stderr
    assert f"SSIM {two['SSIM']:.3f}" in result.stderr
    for stage in (1, 2):
        strip = iio.imread(run / "validation" / f"{stage}-000002.png")
        assert strip.shape == (4 * 48 + 3 * 4, 3 * 56 + 2 * 4)
        first = iio.imread(tmp_path / "data/ir/0.png")
        assert (strip[:48, :56] == first).all()
        fourth = iio.imread(tmp_path / "data/ir/4.png")  # 0, 1, 3, 4 of 6
        assert (strip[-48:, :56] == fourth).all()


def test_averages_that_hardly_moved(tmp_path: Path, recipe: Path) -> None:
    change(recipe, ("ema = 0.5", "ema = 0.999"))
    run = tmp_path / "run"
    result = fnet("train", recipe, "-o", run)
    assert result.exit_code == 1
    line = error_line(result.stderr)
    assert f"{run}: trained, but the weights that the stage started with" in line
    assert "still make up 98% of the averaged ones" in line
    assert "set ema_warmup = true, and start again" in line
    warnings = [one for one in result.stderr.splitlines() if one.startswith("warning: ")]
    assert len(warnings) == 2  # once a stage
    assert (run / "last.safetensors").is_file()
    assert result.stdout == ""


def test_a_loss_that_rises(tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = fusion_loss, []

    def rising(*arguments: object, **weights: float) -> object:
        calls.append(1)
        factor = 1.0 if len(calls) < 30 else 1e4
        return original(*arguments, **{name: one * factor for name, one in weights.items()})  # type: ignore[arg-type]

    change(recipe, ("validate_every = 2", "validate_every = 100"))
    change(recipe, ("iterations = 20", "iterations = 40"))
    monkeypatch.setattr("fnetcli.training.fnet.procedure.fusion_loss", rising)
    result = fnet("train", recipe, "-o", tmp_path / "run")
    assert result.exit_code == 1
    line = error_line(result.stderr)
    assert "trained, but the loss has risen to" in line
    assert "times its lowest; lower learning_rate" in line


@pytest.mark.usefixtures("curves")
def test_nothing_better_than_the_first(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with patience, it ends before its iterations do; a resumed run sees the same."""
    found = iter(range(1, 100))
    monkeypatch.setattr(
        "fnetcli.training.loop.summarise", lambda *_: {"validation": float(next(found))}
    )
    change(recipe, ("validate_every = 2", "validate_every = 2\npatience = 3"))
    run = tmp_path / "run"
    result = fnet("train", recipe, "-o", run)
    assert result.exit_code == 1
    assert "no validation was better than that of the first ones" in error_line(result.stderr)
    assert log_rows(run)[-1]["iteration"] == 8
    assert "stage 2 ends after 8 iterations: 3 validations without" in result.stderr
    again = fnet("train", "-o", run, "--resume")
    assert again.exit_code == 1
    assert log_rows(run)[-1]["iteration"] == 8
    change(recipe, ("patience = 3", "patience = 5"))
    assert fnet("train", recipe, "-o", run, "--resume").exit_code == 1
    assert log_rows(run)[-1]["iteration"] == 12


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("patience = -1", "patience must not be negative"),
        ("patience = 0.5", "must be of type int"),
    ],
)
def test_wrong_patience(recipe: Path, line: str, message: str) -> None:
    change(recipe, ("seed = 5", line))
    result = fnet("train", recipe)
    assert result.exit_code == 2
    assert message in error_line(result.stderr)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('schedule = "steps"', "must be one of cosine, linear, exponential"),
        ("halve_every = -2", "halve_every must not be negative"),
    ],
)
def test_wrong_schedules(recipe: Path, line: str, message: str) -> None:
    recipe.write_text(recipe.read_text() + line)
    result = fnet("train", recipe)
    assert result.exit_code == 2
    assert message in error_line(result.stderr)


def test_schedules_fall_to_a_hundredth() -> None:
    def rates(schedule: str) -> list[float]:
        stage = StageConfig(100, learning_rate=1.0, decay=50, schedule=schedule)  # type: ignore[arg-type]
        return [stage.rate(i) for i in range(100)]

    for schedule in ("cosine", "linear", "exponential"):
        found = rates(schedule)
        assert found[:51] == [1.0] * 51
        assert found[50:] == sorted(found[50:], reverse=True)
    assert rates("linear")[75] == pytest.approx(0.5)
    assert rates("exponential")[75] == pytest.approx(0.1)
    assert rates("exponential")[99] == pytest.approx(0.01, rel=0.1)
    halved = StageConfig(100, learning_rate=1.0, halve_every=10)
    assert [halved.rate(i) for i in (0, 9, 10, 25)] == [1.0, 1.0, 0.5, 0.25]


def test_tensorboard_shows_losses_scores_and_pictures(tmp_path: Path, recipe: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import (  # noqa: PLC0415
        EventAccumulator,
    )

    change(recipe, ("iterations = 20", "iterations = 4"))
    run = tmp_path / "run"
    result = fnet("train", recipe, "-o", run, "--tensorboard")
    assert result.exit_code == 0, result.output
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"loss/stage 1/ir", "loss/stage 2/ssim", "validation/stage 2/validation"} <= tags
    assert {"validation/stage 1/MI", "validation/stage 2/SSIM"} <= tags
    logged = [row["intensity"] for row in log_rows(run) if row["stage"] == 2]
    curve = events.Scalars("loss/stage 2/intensity")
    assert [point.step for point in curve] == [1, 2, 3, 4]
    assert [point.value for point in curve] == pytest.approx(logged, rel=1e-5)
    assert [one.step for one in events.Images("validation/stage 2")] == [2, 4]


def test_tensorboard_that_is_not_installed(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnetcli.reports.tensorboard.find_spec", lambda _: None)
    result = fnet("train", recipe, "-o", tmp_path / "run", "--tensorboard")
    assert result.exit_code == 2
    assert "pip install 'fnetcli[tensorboard]'" in error_line(result.stderr)
    assert not (tmp_path / "run").exists()


def test_a_state_of_an_older_version_goes_on(tmp_path: Path, recipe: Path) -> None:
    """It lacks what is kept now; the run is not called useless for that."""
    change(recipe, ("ema = 0.5", "ema = 0.9"))
    run = tmp_path / "run"
    assert fnet("train", recipe, "-o", run).exit_code == 0
    state = torch.load(run / "state.pt", weights_only=True)
    del state["progress"]["health"], state["init"]
    torch.save(state, run / "state.pt")
    change(recipe, ("iterations = 20", "iterations = 22"))
    again = fnet("train", recipe, "-o", run, "--resume")
    assert again.exit_code == 0, again.output
    assert log_rows(run)[-1]["iteration"] == 22
