"""`fnet train` on several sets of pairs, [[data]] in the recipe."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from fnetcli.checkpoints.loading import load_weights
from tests.cli.command import error_line, fnet, log_rows
from tests.cli.test_train_labelled import write_labels
from tests.cli.tiny_recipes import CDDFUSE_NETWORK, FNET_NETWORKS, UAAFUSION_NETWORK, change
from tests.drawn_pictures import smooth_noise, write, write_pairs

pytestmark = pytest.mark.usefixtures("eager")

RECIPE = """
model = "{model}"
ema = 0.5
validate_every = 2
{top}
[[data]]
vis = "a/vis"
ir = "a/ir"
share = 3
[[data]]
nir = "b/nir"
vis = "b/vis"
share = 1.5
crop = 12
match = {{vis = "{{}}_RGB.png", nir = "{{}}.png"}}
{network}
[stage_1]
iterations = 3
batch = 2
crop = 16
learning_rate = 1e-3
[stage_2]
iterations = 3
batch = 2
crop = 16
learning_rate = 1e-3
"""
NETWORKS = {
    "fnet": FNET_NETWORKS,
    "cddfuse": CDDFUSE_NETWORK,
    "uaafusion": UAAFUSION_NETWORK,
}


def prepare(folder: Path, model: str = "fnet", top: str = "") -> Path:
    write_pairs(folder / "a", 3)
    write_pairs(folder / "b", 2, 20, 26)
    (folder / "b/ir").rename(folder / "b/nir")
    for path in sorted((folder / "b/vis").iterdir()):
        path.rename(path.with_stem(f"{path.stem}_RGB"))
    recipe = folder / "sets.toml"
    recipe.write_text(RECIPE.format(model=model, top=top, network=NETWORKS[model]))
    return recipe


@pytest.mark.parametrize("model", NETWORKS)
def test_any_model_learns_from_two_sets(tmp_path: Path, model: str) -> None:
    """Those of UAAFusion: one of them has labels. The weights remember what they have seen."""
    recipe, run = prepare(tmp_path, model), tmp_path / "run"
    if model == "uaafusion":
        write_labels(tmp_path / "labels", 3)
        text = recipe.read_text().replace("share = 3\n", 'share = 3\nlabels = "labels"\n')
        recipe.write_text(text)
    result = fnet("train", recipe, "-o", run)
    assert result.exit_code == 0, result.output
    metadata = load_weights(run / "last.safetensors").metadata
    assert metadata["trained_for"] == ["vis+ir", "vis+nir"]
    assert metadata["trained"]["pairs"] == 5
    kept = tomllib.loads((run / "recipe.toml").read_text())
    assert [one["share"] for one in kept["data"]] == [3, 1.5]
    assert kept["data"][0]["vis"] == str(tmp_path / "a/vis")
    longer = run / "recipe.toml"
    again = fnet("train", longer, "-o", run, "--resume")
    assert again.exit_code == 0, again.output


def test_validation_of_every_two_modalities(tmp_path: Path) -> None:
    recipe, run = prepare(tmp_path), tmp_path / "run"
    for name in ("vis", "ir", "nir"):
        write_pairs(tmp_path / name, 1, 20, 26)
    folder = tmp_path / "held"
    folder.mkdir()
    (tmp_path / "vis/vis").rename(folder / "vis")
    (tmp_path / "ir/ir").rename(folder / "ir")
    (tmp_path / "nir/ir").rename(folder / "nir")
    change(recipe, ("match = ", "# "))
    for path in sorted((tmp_path / "b/vis").iterdir()):
        path.rename(path.with_stem(path.stem.removesuffix("_RGB")))
    result = fnet("train", recipe, "--validation", folder, "-o", run)
    assert result.exit_code == 0, result.output
    kept = tomllib.loads((run / "recipe.toml").read_text())
    assert [sorted(one) for one in kept["validation"]] == [["ir", "vis"], ["nir", "vis"]]
    assert any("validation" in row for row in log_rows(run))


def test_a_folder_that_serves_several_sets(tmp_path: Path) -> None:
    """Only what no set pairs has no partner; long lists of names are shortened."""
    recipe = prepare(tmp_path)
    change(recipe, ("match = ", "# "), ('vis = "b/vis"', 'vis = "a/vis"'))
    write_pairs(tmp_path / "a", 14)
    folders = [tmp_path / name for name in ("a/vis", "a/ir", "b/nir")]
    for folder, kept in zip(folders, (range(14), range(3), range(3, 6)), strict=True):
        for path in folder.iterdir():
            if int(path.stem) not in kept:
                path.unlink()
    for i in range(3, 6):
        write(tmp_path / f"b/nir/{i}.png", smooth_noise(24, 32, i))
    result = fnet("train", recipe, "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stderr.splitlines() if "without a partner" in line]
    names = ", ".join(str(folders[0] / f"{i}.png") for i in (10, 11, 12, 13, 6))
    assert line == f"warning: 8 files without a partner: {names} and 3 more"


def test_the_command_line_replaces_all_sets(tmp_path: Path) -> None:
    recipe, run = prepare(tmp_path), tmp_path / "run"
    data = ("--vis", tmp_path / "a/vis", "--ir", tmp_path / "a/ir")
    assert fnet("train", recipe, *data, "-o", run).exit_code == 0
    metadata = load_weights(run / "last.safetensors").metadata
    assert metadata["trained_for"] == ["vis+ir"]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("share = 3", "shar = 3", "unknown key 'data.shar'; did you mean 'share'?"),
        ("share = 3", "xyz = 3", "unknown key 'data.xyz'; give two modalities"),
        ("share = 3", "", "some sets have a share; give one to each, or none"),
        ("share = 3", "share = -1", "[data] share must not be negative"),
        ("share = 3", "share = 'all'", "data.share = 'all'; must be of type float"),
        ("crop = 12", "crop = 1.5", "data.crop = 1.5; must be of type int"),
        ("match = {", "match = 3 # ", "'data.match' must be a table"),
        ('nir = "b/nir"', 'ct = "b/nir"', "give exactly two that belong together"),
        ('nir = "b/nir"', "nir = 3", "[data] must map modalities to texts"),
        ('nir = "b/nir"', 'nir = "none"', "none"),
        ("crop = 12", "crop = 21", "smaller than the crop of 21"),
        ("crop = 12", 'labels = "x"', "--labels: the recipe trains fnet, which learns without"),
    ],
)
def test_mistakes(tmp_path: Path, before: str, after: str, message: str) -> None:
    recipe = prepare(tmp_path)
    change(recipe, (before, after))
    result = fnet("train", recipe, "-o", tmp_path / "run")
    assert result.exit_code in {1, 2}
    assert message in error_line(result.stderr)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["--match", "--band"])
def test_options_of_one_set_are_refused(tmp_path: Path, option: str) -> None:
    result = fnet("train", prepare(tmp_path), option, "vis={}.png", "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert f"{option}: the recipe has 2 sets of pairs" in error_line(result.stderr)


@pytest.mark.parametrize("top", ['labels = "x"', 'unlabelled = {vis = "a/vis", ir = "a/ir"}'])
def test_labels_of_one_set_are_refused(tmp_path: Path, top: str) -> None:
    recipe = prepare(tmp_path, "uaafusion", top)
    result = fnet("train", recipe, "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert "write labels in each [[data]]" in error_line(result.stderr)


AUGMENT = """
[augment]
gain = 0.2
gamma = 0.3
invert_thermal = 0.5
noise = 0.02
blur = 1.0
misalignment = 1.5
"""


@pytest.mark.parametrize("model", NETWORKS)
def test_augmented_crops(tmp_path: Path, model: str) -> None:
    """Every model learns from them; the same seed gives the same run, another one than without."""
    recipe = prepare(tmp_path, model)
    if model == "uaafusion":
        write_labels(tmp_path / "labels", 3)
        text = recipe.read_text().replace("share = 3\n", 'share = 3\nlabels = "labels"\n')
        recipe.write_text(text)
    losses = []
    for name, text in (("plain", ""), ("one", AUGMENT), ("two", AUGMENT)):
        own = tmp_path / f"{name}.toml"
        own.write_text(recipe.read_text() + text)
        assert fnet("train", own, "-o", tmp_path / name).exit_code == 0
        losses.append(log_rows(tmp_path / name))
    assert losses[1] == losses[2] != losses[0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("gain = -1", "[augment] gain must not be negative"),
        ("invert_thermal = 2", "invert_thermal must be at most 1"),
        ("tilt = 1", "unknown key 'augment.tilt'"),
    ],
)
def test_wrong_augmentation(tmp_path: Path, line: str, message: str) -> None:
    recipe = prepare(tmp_path)
    recipe.write_text(f"{recipe.read_text()}\n[augment]\n{line}\n")
    result = fnet("train", recipe, "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert message in error_line(result.stderr)


def test_nothing_thermal_to_invert(tmp_path: Path) -> None:
    recipe = prepare(tmp_path)
    recipe.write_text(f"{recipe.read_text()}\n[augment]\ninvert_thermal = 0.5\n")
    data = ("--vis", tmp_path / "b/vis", "--nir", tmp_path / "b/nir")
    result = fnet("train", recipe, *data, "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert "none of the images is thermal" in error_line(result.stderr)
