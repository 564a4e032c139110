"""`fnet train` of UAAFusion: pairs with labels, stopped and resumed, and wrong labels."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from fnetcli.checkpoints.loading import load_weights
from fnetcli.training.labelled import LabelledPairs
from tests.cli.command import error_line, fnet, log_rows
from tests.cli.tiny_recipes import PAIRS, UAAFUSION_NETWORK, change
from tests.drawn_pictures import smooth_noise, write, write_pairs

pytestmark = pytest.mark.usefixtures("eager")

RECIPE = (
    """
model = "uaafusion"
seed = 5
precision = "{precision}"
ema_warmup = true
validate_every = 2
checkpoint_every = 3
labelled_share = 0.5
attribution_every = 2
attribution_pixels = 400
validation_crop = 20
"""
    + PAIRS
    + """
[unlabelled]
vis = "more/vis"
ir = "more/ir"
"""
    + UAAFUSION_NETWORK
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
warmup = 2
decay = 3
"""
)


def write_labels(folder: Path, count: int, height: int = 24, width: int = 32) -> Path:
    """Write labels 0.png, ...: class 1 on the left, 2 on the right, none at the lower border."""
    label = np.full((height, width), 1, np.uint8)
    label[:, width // 2 :] = 2
    label[-3:] = 0
    for i in range(count):
        write(folder / f"{i}.png", label)
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "data", 3)
    write_pairs(tmp_path / "more", 2, 30, 40)
    write_labels(tmp_path / "labels", 3)
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE.format(precision="fp32"))
    return path


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.usefixtures("curves")
def test_both_stages(tmp_path: Path, recipe: Path, precision: str) -> None:
    recipe.write_text(RECIPE.format(precision=precision))
    run = tmp_path / "run"
    result = fnet("train", recipe, "--labels", tmp_path / "labels", "-o", run)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{run / 'best.safetensors'}\n"
    log = log_rows(run)
    assert [(row["stage"], row["iteration"]) for row in log] == [
        *((1, i) for i in range(1, 4)),
        *((2, i) for i in range(1, 6)),
    ]
    assert log[0].keys() == {"stage", "iteration", "segmentation"}
    assert {"intensity", "gradient", "segmentation"} < log[3].keys()
    assert [row["iteration"] for row in log if "validation" in row] == [2, 3, 2, 4, 5]
    weights = load_weights(run / "best.safetensors")
    config = weights.network.config
    assert config.classes == 3
    assert config.class_names == ("unlabelled", "left", "right")
    assert weights.metadata["trained"]["pairs"] == 5
    assert str(tmp_path) not in json.dumps(weights.metadata)
    fused = fnet(
        *("fuse", "--vis", tmp_path / "data/vis/0.png", "--ir", tmp_path / "data/ir/0.png"),
        *("-o", tmp_path / "out", "--weights", run / "last.safetensors"),
    )
    assert fused.exit_code == 0, fused.output


def test_stopped_and_resumed_gives_the_same_numbers(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept weights, random states and both optimisers go on as they were."""
    whole, parts, labels = tmp_path / "whole", tmp_path / "parts", tmp_path / "labels"
    assert fnet("train", recipe, "--labels", labels, "-o", whole).exit_code == 0
    stop_at, original, calls = {2, 6}, LabelledPairs.batch, []

    def batch(*arguments: object) -> object:
        calls.append(1)
        if len(calls) in stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(LabelledPairs, "batch", batch)
    assert fnet("train", recipe, "--labels", labels, "-o", parts).exit_code == 130
    assert len(log_rows(parts)) == 2
    assert fnet("train", "-o", parts, "--resume").exit_code == 130  # labels as in the run's recipe
    assert len(log_rows(parts)) == 6
    assert fnet("train", "-o", parts, "--resume").exit_code == 0
    assert log_rows(parts) == log_rows(whole)
    for name in ("best.safetensors", "last.safetensors"):
        left, right = (load_weights(run / name).network.arrays for run in (whole, parts))
        assert all(np.array_equal(left[key], right[key]) for key in left), name


def test_validation_folder_with_and_without_labels(tmp_path: Path, recipe: Path) -> None:
    """The labels of validation pairs lie in a folder beside them, if there are any."""
    found = {}
    for name in ("with", "without"):
        folder = tmp_path / name
        write_pairs(folder, 1)
        if name == "with":
            write_labels(folder / "label", 1)
        run = tmp_path / f"run-{name}"
        arguments = ("--labels", tmp_path / "labels", "--validation", folder, "-o", run)
        result = fnet("train", recipe, *arguments)
        assert result.exit_code == 0, result.output
        found[name] = [row["validation"] for row in log_rows(run) if "validation" in row]
    assert found["with"][0] > found["without"][0] + 0.05  # 0.1 of the cross entropy


def test_labels_as_arrays(tmp_path: Path, recipe: Path) -> None:
    folder = tmp_path / "labels"
    assert fnet("train", recipe, "--labels", folder, "-o", tmp_path / "pictures").exit_code == 0
    for path in [*folder.iterdir()]:
        np.save(path.with_suffix(".npy"), iio.imread(path))
        path.unlink()
    assert fnet("train", recipe, "--labels", folder, "-o", tmp_path / "arrays").exit_code == 0
    assert log_rows(tmp_path / "arrays") == log_rows(tmp_path / "pictures")


def test_other_labels_are_refused_on_resume(tmp_path: Path, recipe: Path) -> None:
    run, labels = tmp_path / "run", tmp_path / "labels"
    assert fnet("train", recipe, "--labels", labels, "-o", run).exit_code == 0
    write(labels / "1.png", np.full((24, 32), 2, np.uint8))
    result = fnet("train", recipe, "--labels", labels, "-o", run, "--resume")
    assert result.exit_code == 1
    assert "training pairs have changed" in error_line(result.stderr)


class TestWrongLabels:
    def refused(self, recipe: Path, *arguments: object) -> str:
        run = recipe.parent / "run"
        result = fnet("train", recipe, *arguments, "-o", run)
        assert result.exit_code in {1, 2}
        assert not run.exists()
        return error_line(result.stderr)

    def test_none_given(self, recipe: Path) -> None:
        assert "use --labels DIR, or labels in the recipe" in self.refused(recipe)

    def test_other_folders_on_the_command_line_drop_the_recipe_s_labels(
        self, tmp_path: Path, recipe: Path
    ) -> None:
        recipe.write_text('labels = "labels"\n' + recipe.read_text())
        data = ("--vis", tmp_path / "data/vis", "--ir", tmp_path / "data/ir")
        assert "no labels are given" in self.refused(recipe, *data)
        run = tmp_path / "run"
        assert fnet("train", recipe, "-o", run).exit_code == 0

    @pytest.mark.usefixtures("recipe")
    def test_a_recipe_of_another_model(self, tmp_path: Path) -> None:
        other = tmp_path / "other.toml"
        other.write_text('[data]\nvis = "data/vis"\nir = "data/ir"\n')
        line = self.refused(other, "--labels", tmp_path / "labels")
        assert "--labels: the recipe trains fnet, which learns without labels" in line

    def test_labels_in_a_recipe_of_another_model(self, tmp_path: Path) -> None:
        other = tmp_path / "other.toml"
        other.write_text('labels = "labels"\n[data]\nvis = "data/vis"\nir = "data/ir"\n')
        assert "unknown key 'labels'" in self.refused(other)

    def test_no_classes(self, tmp_path: Path, recipe: Path) -> None:
        change(recipe, ('["left", "right"]', "[]"))
        line = self.refused(recipe, "--labels", tmp_path / "labels")
        assert "under [classes]" in line

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            ('["a", "a"]', "must differ"),
            ('["a", ""]', "must differ from each other, and none may be empty"),
            ('"a"', "must be a list of words"),
            ("[1, 2]", "must be a list of words"),
            (str([f"c{i}" for i in range(256)]).replace("'", '"'), "at most 255"),
        ],
    )
    def test_class_names(self, tmp_path: Path, recipe: Path, names: str, message: str) -> None:
        change(recipe, ('["left", "right"]', names))
        line = self.refused(recipe, "--labels", tmp_path / "labels")
        assert message in line
        assert "tiny.toml" in line

    def test_classes_named_twice(self, tmp_path: Path, recipe: Path) -> None:
        text = recipe.read_text()
        names = 'classes = 3\nclass_names = ["x", "y", "z"]'
        recipe.write_text(text.replace("[network]", f"[network]\n{names}"))
        line = self.refused(recipe, "--labels", tmp_path / "labels")
        assert "[classes] and [network] name different classes" in line

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("labelled_share", "0.0", "labelled_share must lie in (0, 1]"),
            ("labelled_share", "1.5", "labelled_share must lie in (0, 1]"),
            ("attribution_every", "0", "attribution_every must be positive"),
            ("attribution_pixels", "-1", "attribution_pixels must not be negative"),
            ("attribution_every", "0.5", "must be of type int"),
        ],
    )
    def test_numbers(
        self, tmp_path: Path, recipe: Path, key: str, value: str, message: str
    ) -> None:
        lines = [
            f"{key} = {value}" if line.startswith(f"{key} =") else line
            for line in recipe.read_text().splitlines()
        ]
        recipe.write_text("\n".join(lines))
        assert message in self.refused(recipe, "--labels", tmp_path / "labels")

    @pytest.mark.parametrize(
        ("pixels", "message"),
        [
            (np.full((24, 32), 3, np.uint8), "holds class 3, but the recipe names classes 0 to 2"),
            (np.full((24, 32), 255, np.uint8), "holds class 255"),
            (np.full((24, 30), 1, np.uint8), "the label is 30x24, its pair 32x24"),
            (smooth_noise(24, 32, 1, 3), "a label in colour"),
            (np.full((24, 32), 1, np.uint16), "a label of uint16 pixels"),
        ],
    )
    def test_wrong_pixels(
        self, tmp_path: Path, recipe: Path, pixels: np.ndarray, message: str
    ) -> None:
        path = write(tmp_path / "labels/1.png", pixels)
        line = self.refused(recipe, "--labels", tmp_path / "labels")
        assert f"{path}: " in line
        assert message in line

    def test_wrong_pixels_of_validation(self, tmp_path: Path, recipe: Path) -> None:
        write_pairs(tmp_path / "val", 1)
        write(tmp_path / "val/label/0.png", np.full((24, 32), 9, np.uint8))
        arguments = ("--labels", tmp_path / "labels", "--validation", tmp_path / "val")
        assert "holds class 9" in self.refused(recipe, *arguments)

    def test_nothing_is_labelled(self, tmp_path: Path, recipe: Path) -> None:
        for i in range(3):
            write(tmp_path / f"labels/{i}.png", np.zeros((24, 32), np.uint8))
        line = self.refused(recipe, "--labels", tmp_path / "labels")
        assert "hold class 0 alone" in line

    def test_a_run_folder_among_the_labels(self, tmp_path: Path, recipe: Path) -> None:
        labels = tmp_path / "labels"
        result = fnet("train", recipe, "--labels", labels, "-o", labels / "run")
        assert result.exit_code == 2
        assert f"-o {labels / 'run'}: is in an input folder; choose" in error_line(result.stderr)

    def test_missing_label(self, tmp_path: Path, recipe: Path) -> None:
        (tmp_path / "labels/1.png").unlink()
        line = self.refused(recipe, "--labels", tmp_path / "labels")
        assert "no label for 1 (1 of 3 pairs)" in line

    def test_missing_folder_and_other_names(self, tmp_path: Path, recipe: Path) -> None:
        assert "none" in self.refused(recipe, "--labels", tmp_path / "none")
        write(tmp_path / "others/x.png", np.full((24, 32), 1, np.uint8))
        line = self.refused(recipe, "--labels", tmp_path / "others")
        assert "no label has the name of a training pair" in line

    def test_a_broken_label(self, tmp_path: Path, recipe: Path) -> None:
        (tmp_path / "labels/2.png").write_bytes(b"junk")
        assert "2.png" in self.refused(recipe, "--labels", tmp_path / "labels")


class TestNotANumber:
    """The last good state and weights stay, whatever the model."""

    def test_loss(self, tmp_path: Path, recipe: Path) -> None:
        text = recipe.read_text().replace("learning_rate = 1e-3\nwarmup", "learning_rate = 1e30")
        recipe.write_text(text.replace(" = 1e30 = 2", " = 1e30"))
        run = tmp_path / "run"
        result = fnet("train", recipe, "--labels", tmp_path / "labels", "-o", run)
        assert result.exit_code == 1
        assert "not a number at stage 2" in error_line(result.stderr)
        arrays = load_weights(run / "last.safetensors").network.arrays
        assert all(np.isfinite(array).all() for array in arrays.values())

    def test_weights_at_a_checkpoint(
        self, tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A step that overflows shows in no loss before the state would be written."""
        original = torch.optim.Adam.step
        calls = []

        def step(self: torch.optim.Adam) -> None:
            original(self)
            calls.append(1)
            if len(calls) == 3:  # the last step of stage 1, where the state is saved
                self.param_groups[0]["params"][0].data.fill_(float("inf"))

        monkeypatch.setattr(torch.optim.Adam, "step", step)
        run = tmp_path / "run"
        result = fnet("train", recipe, "--labels", tmp_path / "labels", "-o", run)
        assert result.exit_code == 1
        line = error_line(result.stderr)
        assert "holds what is not a number at stage 1, iteration 3" in line
        assert load_weights(run / "last.safetensors").metadata["trained"]["iteration"] == 0
