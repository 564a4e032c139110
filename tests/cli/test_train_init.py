"""`fnet train --init`: any model goes on from weights, in a stage of its own."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fnetcli.checkpoints.loading import load_weights, save_weights
from fnetcli.models.base import Network
from fnetcli.models.cddfuse import CDDFUSE
from fnetcli.models.cddfuse.config import CDDFuseConfig
from fnetcli.models.cddfuse.network import CDDFuse
from fnetcli.models.fnet import FNET
from fnetcli.models.fnet.config import FNetConfig
from fnetcli.models.fnet.network import FNet
from fnetcli.models.torch_arrays import at_rest
from fnetcli.models.uaafusion import UAAFUSION
from fnetcli.models.uaafusion.config import UAAFusionConfig
from fnetcli.models.uaafusion.network import UAAFusion
from fnetcli.training import recipes
from fnetcli.training.data import Pairs
from fnetcli.training.labelled import LabelledPairs
from tests.cli.command import error_line, fnet, log_rows
from tests.cli.tiny_recipes import PAIRS, change
from tests.drawn_pictures import write_pairs

pytestmark = pytest.mark.usefixtures("eager")

RECIPE = (
    """
model = "{model}"
init = "start.safetensors"
seed = 5
ema = 0.5
validate_every = 2
"""
    + PAIRS
    + """
[stage_1]
iterations = 0
[stage_2]
iterations = 0
[fine_tune]
iterations = 4
batch = 2
crop = 16
learning_rate = 1e-2
freeze = ["{freeze}"]
"""
)
FROZEN = {"fnet": "encode_u", "cddfuse": "encoder", "uaafusion": "segmentation"}
STAGE = {"fnet": 3, "cddfuse": 4, "uaafusion": 3}  # the number of [fine_tune]
EVERY_MODEL = pytest.mark.parametrize("model", FROZEN)


def small_network(model: str) -> Network[Any]:
    torch.manual_seed(0)
    if model == "fnet":
        shape = FNetConfig(atoms=4, kernel_size=3, iterations=2)
        return at_rest(FNET, shape, FNet(shape))
    if model == "cddfuse":
        config = CDDFuseConfig(dim=8, heads=2, encoder_blocks=1, decoder_blocks=1)
        return at_rest(CDDFUSE, config, CDDFuse(config))
    names = ("unlabelled", "left", "right")
    guided = UAAFusionConfig(
        stages=2, channels=4, path_steps=2, segmentation="small", classes=3, class_names=names
    )
    return at_rest(UAAFUSION, guided, UAAFusion(guided))


def prepare(folder: Path, model: str) -> Path:
    """Write pairs, weights in float16 as they ship, and a recipe; return the recipe."""
    write_pairs(folder / "data", 3)
    network = small_network(model)
    halves = {name: one.astype(np.float16) for name, one in network.arrays.items()}
    save_weights(folder / "start.safetensors", replace(network, arrays=halves), {})
    text = RECIPE.format(model=model, freeze=FROZEN[model])
    if model == "cddfuse":
        text += "[stage_3]\niterations = 0\n"
    path = folder / "tune.toml"
    path.write_text(text)
    return path


@EVERY_MODEL
def test_a_stage_of_its_own_from_weights_in_float16(tmp_path: Path, model: str) -> None:
    """What is frozen stays to the bit, all else moves; the network's shape is the weights'."""
    recipe, run = prepare(tmp_path, model), tmp_path / "run"
    result = fnet("train", recipe, "-o", run)
    assert result.exit_code == 0, result.output
    assert "training starts from start.safetensors" in result.stderr
    rows = [(row["stage"], row["iteration"]) for row in log_rows(run)]
    assert rows == [(STAGE[model], i) for i in range(5)]  # 0: the weights as they were
    before = load_weights(tmp_path / "start.safetensors")
    after = load_weights(run / "last.safetensors")
    assert after.network.config == before.network.config
    assert after.metadata["init"] == {"name": "start.safetensors", "sha256": before.sha256}
    assert after.metadata["trained"]["stage"] == STAGE[model]
    assert "init" not in after.metadata["recipe"]
    moved = {
        name
        for name, array in after.network.arrays.items()
        if not np.array_equal(array, before.network.arrays[name])
    }
    assert moved
    assert not any(name.startswith(FROZEN[model]) for name in moved)


@EVERY_MODEL
def test_resumed_without_the_initial_weights(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state holds all that is needed: the same numbers as without the interruption."""
    recipe, whole, parts = prepare(tmp_path, model), tmp_path / "whole", tmp_path / "parts"
    assert fnet("train", recipe, "-o", whole).exit_code == 0
    kind = LabelledPairs if model == "uaafusion" else Pairs
    original, calls = kind.batch, []

    def batch(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(kind, "batch", batch)
    assert fnet("train", recipe, "-o", parts).exit_code == 130
    (tmp_path / "start.safetensors").unlink()
    result = fnet("train", "-o", parts, "--resume")
    assert result.exit_code == 0, result.output
    assert log_rows(parts) == log_rows(whole)
    left, right = (load_weights(run / "last.safetensors") for run in (whole, parts))
    assert left.metadata["init"] == right.metadata["init"]
    for name, array in left.network.arrays.items():
        assert np.array_equal(array, right.network.arrays[name]), name


def test_other_stages_start_from_the_weights_too(tmp_path: Path) -> None:
    recipe, run = prepare(tmp_path, "fnet"), tmp_path / "run"
    text = recipe.read_text().replace(
        "[stage_2]\niterations = 0",
        "[stage_2]\niterations = 2\nbatch = 2\ncrop = 16\nlearning_rate = 1e-30",
    )
    recipe.write_text(text.replace("iterations = 4", "iterations = 0"))
    assert fnet("train", recipe, "-o", run).exit_code == 0
    before = load_weights(tmp_path / "start.safetensors").network.arrays
    after = load_weights(run / "last.safetensors").network.arrays
    assert all(np.allclose(after[name], before[name], atol=1e-6) for name in before)
    assert {row["stage"] for row in log_rows(run)} == {2}


def test_the_command_line_wins_and_finds_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a recipe: that of the weights' model, by name; its folders are left out."""
    recipe = prepare(tmp_path, "cddfuse")
    (tmp_path / "start.safetensors").rename(tmp_path / "mine.safetensors")
    monkeypatch.setattr(recipes, "shipped_recipes", lambda: {"cddfuse-finetune": recipe})
    monkeypatch.chdir(tmp_path)
    data = ("--vis", "data/vis", "--ir", "data/ir")
    result = fnet("train", "--init", "mine.safetensors", *data)
    assert result.exit_code == 0, result.output
    assert result.stdout == "runs/cddfuse-finetune/last.safetensors\n"
    without = fnet("train", "--init", "mine.safetensors", "-o", "other")
    assert without.exit_code == 2
    assert "no training pairs given" in error_line(without.stderr)


@pytest.mark.parametrize("model", FROZEN)
def test_shipped_weights_by_name(model: str) -> None:
    recipe = recipes.read_recipe(f"{model}-finetune")
    assert recipe.init == model
    assert not recipe.data
    running = [stage for stage in recipe.stages if stage.iterations]
    assert running == [getattr(recipe, "fine_tune")]  # noqa: B009  of each model's own class


def test_default_is_the_choice_for_the_modalities(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('init = "default"\n[data]\npet = "p"\nmri = "m"\n')
    assert recipes.read_recipe(recipe).init == "fnet-medical"
    assert recipes.read_recipe(recipe, modalities=("vis", "ir")).init == "fnet"
    assert recipes.read_recipe(recipe, "default").init == "fnet-medical"


class TestRefused:
    def refused(self, recipe: object, *arguments: object, code: int = 2) -> str:
        result = fnet("train", recipe, *arguments)
        assert result.exit_code == code, result.output
        return error_line(result.stderr)

    @pytest.mark.parametrize(
        ("before", "after", "message"),
        [
            ('["encode_u"]', '["encode_x"]', "freeze = 'encode_x': no part of the network; name"),
            ('["encode_u"]', '["encode"]', "name some of encode_u, encode_v, encode_z"),
            ('["encode_u"]', '"encode_u"', "must be a list of words"),
            ("seed = 5", "seed = 5\nnetwork = {atoms = 5}", "network.atoms = 5, but start.safete"),
            ('"fnet"', '"cddfuse"', "trains cddfuse, but start.safetensors holds a fnet"),
            ('"start.', '"none.', "none.safetensors: no such file"),
            ('"start.safetensors"', "3", "init = 3; must be of type str"),
            ('"start.safetensors"', '"uaafusion"', "trains fnet, but uaafusion.safetensors holds"),
        ],
    )
    def test_recipes(self, tmp_path: Path, before: str, after: str, message: str) -> None:
        recipe = prepare(tmp_path, "fnet")
        change(recipe, (before, after))
        assert message in self.refused(recipe, "-o", tmp_path / "run")
        assert not (tmp_path / "run" / "last.safetensors").exists()

    def test_nothing_left_to_learn(self, tmp_path: Path) -> None:
        recipe = prepare(tmp_path, "cddfuse")
        everything = '["encoder", "decoder", "base_fusion", "detail_fusion"]'
        change(recipe, ('["encoder"]', everything))
        assert "nothing is left to learn" in self.refused(recipe, "-o", tmp_path / "run")

    def test_no_weights(self, tmp_path: Path) -> None:
        recipe = prepare(tmp_path, "fnet")
        assert "--init: an empty value" in self.refused(recipe, "--init", "")
        (tmp_path / "junk").write_bytes(b"junk" * 10)
        run = tmp_path / "run"
        for arguments in ([recipe], []):  # with a recipe, and to find one
            line = self.refused(*arguments, "--init", tmp_path / "junk", "-o", run, code=1)
            assert line.startswith(f"error: {tmp_path / 'junk'}: ")

    def test_labels_are_needed_where_the_segmentation_learns(self, tmp_path: Path) -> None:
        recipe = prepare(tmp_path, "uaafusion")
        change(recipe, ('["segmentation"]', "[]"))
        assert "and freeze segmentation" in self.refused(recipe, "-o", tmp_path / "run")

    def test_other_classes(self, tmp_path: Path) -> None:
        recipe = prepare(tmp_path, "uaafusion")
        recipe.write_text(recipe.read_text() + '[classes]\nnames = ["a", "b"]\n')
        line = self.refused(recipe, "-o", tmp_path / "run")
        assert "classes.names = ['a', 'b'], but start.safetensors has ['left', 'right']" in line

    def test_other_weights_on_resume(self, tmp_path: Path) -> None:
        recipe, run = prepare(tmp_path, "fnet"), tmp_path / "run"
        assert fnet("train", recipe, "-o", run).exit_code == 0
        other = run / "last.safetensors"
        line = self.refused("-o", run, "--resume", "--init", other, code=1)
        assert "training started from start.safetensors, not from last.safetensors" in line
        assert fnet("train", recipe, "-o", run, "--resume").exit_code == 0

    def test_weights_on_resume_of_a_run_without(self, tmp_path: Path) -> None:
        recipe, run = prepare(tmp_path, "fnet"), tmp_path / "run"
        start = recipe.read_text()
        shape = "[network]\natoms = 4\nkernel_size = 3\niterations = 2\n"
        recipe.write_text(start.replace('init = "start.safetensors"', "") + shape)
        assert fnet("train", recipe, "-o", run).exit_code == 0
        line = self.refused(recipe, "-o", run, "--resume", "--init", "fnet")
        assert "network.atoms = 4, but fnet.safetensors has 64" in line
        recipe.write_text(start + shape)
        line = self.refused(recipe, "-o", run, "--resume", code=1)
        assert "training started without initial weights" in line


def test_a_threshold_goes_on_falling_and_a_momentum_rising(tmp_path: Path) -> None:
    """No step takes a slope past its end; a frozen one stays as it is."""
    recipe, run = prepare(tmp_path, "fnet"), tmp_path / "run"
    network, ends = small_network("fnet"), {"w_theta": -0.005, "w_rho": 0.005}
    arrays = {
        name: np.full_like(one, ends.get(name.rpartition(".")[2], one))
        for name, one in network.arrays.items()
    }
    arrays["encode_u.w_rho"][:] = -0.25  # in a part that is frozen
    save_weights(tmp_path / "start.safetensors", replace(network, arrays=arrays), {})
    change(recipe, ("ema = 0.5", "ema = 0.0"))
    assert fnet("train", recipe, "-o", run).exit_code in {0, 1}  # 1: no better than before
    after = load_weights(run / "last.safetensors").network.arrays
    assert after["encode_u.w_rho"] == -0.25
    assert not np.array_equal(after["encode_v.b_rho"], arrays["encode_v.b_rho"])
    for block in ("encode_v", "encode_z"):
        assert after[f"{block}.w_theta"] <= np.float32(-0.005)
        assert after[f"{block}.w_rho"] >= np.float32(0.005)
