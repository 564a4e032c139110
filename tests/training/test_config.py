"""Recipes: every key is known, typed and in range, and survives the round trip."""

from __future__ import annotations

from pathlib import Path

import pytest

from fnetcli.errors import ConfigError
from fnetcli.training.config import StageConfig
from fnetcli.training.fnet.recipe import FNetRecipe as Recipe
from fnetcli.training.recipes import read_recipe as read_any_recipe


def read_recipe(path: Path) -> Recipe:
    recipe = read_any_recipe(path)
    assert isinstance(recipe, Recipe)
    return recipe


CONFIGS = Path(__file__).parents[2] / "configs"


def read(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "r.toml"
    path.write_text(text, encoding="utf-8")
    return read_recipe(path)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_our_recipes_are_valid(path: Path) -> None:
    assert any(stage.iterations > 0 for stage in read_any_recipe(path).stages)


def test_paper_recipe_is_the_default() -> None:
    recipe = read_recipe(CONFIGS / "paper.toml")
    assert recipe.network == Recipe().network
    assert (recipe.stage_1, recipe.stage_2) == (Recipe().stage_1, Recipe().stage_2)


def test_round_trip(tmp_path: Path) -> None:
    recipe = read(tmp_path, 'seed = 3\n[network]\nthreshold = "soft"\natoms = 8\n[data]\nvis = "v"')
    assert recipe.data == {"vis": str(tmp_path / "v")}
    assert recipe.network.threshold == "soft"
    assert read(tmp_path, recipe.to_toml()) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sead = 1", "unknown key 'sead'; did you mean 'seed'?"),
        ("[stage_2]\nlearningrate = 1e-4", "'stage_2.learningrate'; did you mean 'learning_rate'"),
        ("[netwrok]\natoms = 3", "did you mean 'network'?"),
        ("zzzzzz = 1", "known keys: seed"),
        ("seed = 'one'", "must be of type int"),
        ("seed = true", "must be of type int"),
        ("network = 3", "must be a table"),
        ("precision = 'fp8'", "must be one of fp32, bf16"),
        ("[network]\nkernel_size = 4", "must be odd"),
        ("[network]\nthreshold = 'firm'", "one of sigmoidal, soft, hard"),
        ("[stage_1]\nbatch = 0", "batch must be positive"),
        ("[stage_1]\niterations = -1", "iterations must not be negative"),
        ("[stage_1]\nlearning_rate = nan", "learning_rate must be positive"),
        ("ema = 1.0", "ema must lie in"),
        ("[data]\nvis = 3", "must map modalities to texts"),
        ("seed = ", "not valid TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "r.toml"))


def test_missing_and_binary_recipe(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    for name in ("none.toml", "b.toml", "."):
        with pytest.raises(ConfigError):
            read_recipe(tmp_path / name)


def test_rate_rises_stays_and_falls() -> None:
    stage = StageConfig(iterations=100, learning_rate=1.0, warmup=10, decay=40)
    rates = [stage.rate(i) for i in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:60] == pytest.approx([1.0] * 51)
    assert rates[60:] == sorted(rates[60:], reverse=True)
    assert rates[80] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.01)
    assert StageConfig(learning_rate=1e-4).rate(19_999) == 1e-4
