"""`fnet train` of CDDFuse through its door: three stages, resumed, flat pictures, wrong recipes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from fnetcli.checkpoints.loading import load_weights
from fnetcli.models.cddfuse.config import CDDFuseConfig
from fnetcli.training.cddfuse.recipe import CDDFuseRecipe, CDDFuseStageConfig
from fnetcli.training.data import Pairs
from fnetcli.training.recipes import read_recipe
from tests.cli.command import error_line, fnet, log_rows
from tests.cli.tiny_recipes import CDDFUSE_NETWORK, PAIRS, change
from tests.drawn_pictures import write, write_pairs

pytestmark = pytest.mark.usefixtures("eager")

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPE = (
    """
model = "cddfuse"
seed = 5
ema = 0.5
validate_every = 3
checkpoint_every = 2
validation_crop = 20
carried_rate = 0.5
min_contrast = {min_contrast}
"""
    + PAIRS
    + CDDFUSE_NETWORK
    + """
[stage_1]
iterations = 3
batch = 2
crop = 16
learning_rate = 1e-3
[stage_2]
iterations = 5
batch = 2
crop = 16
learning_rate = 1e-3
halve_every = 2
[stage_3]
iterations = 2
batch = 1
crop = 24
learning_rate = 1e-3
"""
)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "data", 3)
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE.format(min_contrast=0.1))
    return path


@pytest.mark.usefixtures("curves")
def test_three_stages_and_a_fused_picture(tmp_path: Path, recipe: Path) -> None:
    run = tmp_path / "run"
    result = fnet("train", recipe, "-o", run)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{run / 'best.safetensors'}\n"
    log = log_rows(run)
    assert [(row["stage"], row["iteration"]) for row in log] == [
        *((1, i) for i in range(1, 4)),
        *((2, i) for i in range(1, 6)),
        *((3, i) for i in range(1, 3)),
    ]
    assert {"ir", "vis", "decomposition", "gradient"} <= log[0].keys()
    assert {"intensity", "gradient", "decomposition"} <= log[3].keys()
    assert [row["iteration"] for row in log if "validation" in row] == [3, 3, 5, 2]
    weights = load_weights(run / "last.safetensors")
    assert weights.network.config == CDDFuseConfig(
        dim=8, heads=2, encoder_blocks=1, decoder_blocks=1
    )
    fused = fnet(
        *("fuse", "--vis", tmp_path / "data/vis/0.png", "--ir", tmp_path / "data/ir/0.png"),
        *("-o", tmp_path / "out", "--weights", run / "last.safetensors"),
    )
    assert fused.exit_code == 0, fused.output


def test_stopped_and_resumed_gives_the_same_numbers(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in each stage: optimizers that go on from the stage before are in the state too."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert fnet("train", recipe, "-o", whole).exit_code == 0
    original, calls = Pairs.batch, []

    def batch(*arguments: object) -> object:
        calls.append(1)
        if len(calls) in {2, 5, 9}:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Pairs, "batch", batch)
    assert fnet("train", recipe, "-o", parts).exit_code == 130
    assert fnet("train", "-o", parts, "--resume").exit_code == 130
    assert fnet("train", "-o", parts, "--resume").exit_code == 130
    assert fnet("train", "-o", parts, "--resume").exit_code == 0
    assert log_rows(parts) == log_rows(whole)
    left, right = (load_weights(run / "last.safetensors").network.arrays for run in (whole, parts))
    assert all(np.array_equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize(("level", "min_contrast"), [(0, 0.0), (0, 0.1), (128, 0.0)])
def test_flat_pictures_do_not_break_training(
    tmp_path: Path, recipe: Path, level: int, min_contrast: float
) -> None:
    """Black crops gave NaN gradients in the published program. Here nothing but flat ones exist."""
    recipe.write_text(RECIPE.format(min_contrast=min_contrast))
    for i in range(3):
        write(tmp_path / f"data/ir/{i}.png", np.full((24, 32), level, np.uint8))
    run = tmp_path / "run"
    result = fnet("train", recipe, "-o", run)
    assert result.exit_code == 0, result.output
    arrays = load_weights(run / "last.safetensors").network.arrays
    assert all(np.isfinite(array).all() for array in arrays.values())


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("min_contrast = 0.1", "min_contrast = 1.0", "min_contrast must be below 1"),
        ("carried_rate = 0.5", "carried_rate = -1.0", "carried_rate must not be negative"),
        ("halve_every = 2", "halve_every = -2", "halve_every must not be negative"),
        ("dim = 8", "dim = 9", "dim must be even"),
        ("dim = 8", "atoms = 8", "unknown key 'network.atoms'"),
        ('"cddfuse"', '"cddfusion"', "must be one of fnet, cddfuse"),
    ],
)
def test_wrong_recipes(recipe: Path, before: str, after: str, message: str) -> None:
    change(recipe, (before, after))
    result = fnet("train", recipe)
    assert result.exit_code == 2
    assert message in error_line(result.stderr)


def test_the_published_recipe_is_the_default() -> None:
    recipe = read_recipe(CONFIGS / "cddfuse-paper.toml")
    assert isinstance(recipe, CDDFuseRecipe)
    default = CDDFuseRecipe()
    for name in ("network", "stage_1", "stage_2", "ema", "gradient_clip", "carried_rate"):
        assert getattr(recipe, name) == getattr(default, name), name
    assert recipe.stage_3.iterations == 0


def test_rates_are_halved() -> None:
    config = CDDFuseStageConfig(learning_rate=1e-4, halve_every=10)
    assert [config.rate(i) for i in (0, 9, 10, 25)] == pytest.approx([1e-4, 1e-4, 5e-5, 2.5e-5])
