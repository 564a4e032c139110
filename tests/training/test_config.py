"""Recipes: every key is known, typed and in range, and survives the round trip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fnetcli.errors import ConfigError
from fnetcli.training.config import DataSet, StageConfig
from fnetcli.training.fnet.procedure import FNetProcedure
from fnetcli.training.fnet.recipe import FNetRecipe as Recipe
from fnetcli.training.recipes import read_recipe as read_any_recipe
from tests.cli.command import error_line, fnet
from tests.drawn_pictures import write_pairs


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


# What each ablation changes: in FNet, in IFNet, in stage I, in stage II.
BOTH: dict[str, dict[str, object]] = {
    "ae01": {"threshold": "soft", "momentum": "none"},
    "ae02": {"threshold": "soft"},
    "ae03": {"shared_kernels": True},
    "ae04": {"momentum": "none"},
    "ae05": {"momentum": "polyak"},
    "ae06": {"momentum": "quasi-hyperbolic"},
    "ae07": {"alpha": 0.5},
    "ae08": {"gamma": 10.0},
    "ae09": {"iterations": 3},
    "ae10": {"iterations": 5},
}
ELSEWHERE: dict[str, dict[str, dict[str, object]]] = {
    "ae11": {"stage_1": {"iterations": 0}},
    "ae12": {"inverse": {"threshold": "soft"}},
    "ae13": {"stage_2": {"intensity_weight": 0.0}},
    "ae14": {"stage_2": {"gradient_weight": 0.0}},
    "ae15": {"stage_2": {"ssim_weight": 0.0}},
}
ABLATIONS = {
    **{name: {"network": one, "inverse": one} for name, one in BOTH.items()},
    **ELSEWHERE,
}


def test_there_are_fifteen_ablations() -> None:
    assert [path.stem for path in sorted((CONFIGS / "ablations").glob("*"))] == [*ABLATIONS]


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_changes_what_its_name_says(name: str) -> None:
    """And nothing else: the networks that are trained have those blocks."""
    recipe = read_recipe(CONFIGS / "ablations" / f"{name}.toml")
    changes = {key: replace(getattr(Recipe(), key), **one) for key, one in ABLATIONS[name].items()}
    assert recipe == replace(Recipe(), **changes)
    assert recipe != Recipe()
    procedure = FNetProcedure(recipe, [], None, torch.device("cpu"))  # type: ignore[arg-type]
    assert procedure.fnet.encode_u.config == procedure.fnet.encode_z.config == recipe.network
    assert procedure.inverse.encode_first.config == recipe.inverse
    blocks = procedure.fnet.encode_u, procedure.inverse.encode_second
    for block in blocks:
        one = 1 if block.config.shared_kernels else block.config.iterations + 1
        assert len(block.iterations) == one
        assert hasattr(block, "w_rho") == (block.config.momentum != "none")
        assert hasattr(block, "mix_logit") == (block.config.momentum == "quasi-hyperbolic")
    first, second, _ = procedure.stages
    assert first.config.iterations == (0 if name == "ae11" else 20_000)
    weights = [
        getattr(second.config, f"{loss}_weight") for loss in ("intensity", "gradient", "ssim")
    ]
    assert [weight == 0 for weight in weights] == [name == f"ae{n}" for n in (13, 14, 15)]


def test_the_inverse_follows_the_network_unless_it_says_otherwise(tmp_path: Path) -> None:
    text = '[network]\natoms = 8\nmomentum = "none"\n'
    assert vars(read(tmp_path, text).inverse) == vars(read(tmp_path, text).network)
    own = read(tmp_path, f"[inverse]\natoms = 6\n{text}")
    assert (own.inverse.atoms, own.inverse.momentum) == (6, "none")
    assert own.network.atoms == 8
    assert read(tmp_path, own.to_toml()) == own


def test_round_trip(tmp_path: Path) -> None:
    recipe = read(tmp_path, 'seed = 3\n[network]\nthreshold = "soft"\natoms = 8\n[data]\nvis = "v"')
    assert recipe.data == (DataSet({"vis": str(tmp_path / "v")}),)
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
        ("[inverse]\n[network]\natoms = 0", "[network] atoms must be at least 1"),
        ("[network]\natoms = 8\n[inverse]\natoms = 0", "[inverse] atoms must be at least 1"),
        ("inverse = 3", "'inverse' must be a table"),
        ("keep_inverse = 'yes'", "must be of type bool"),
        ("[network]\nthreshold = 'firm'", "one of sigmoidal, soft, hard"),
        ("[stage_1]\nbatch = 0", "batch must be positive"),
        ("[stage_1]\niterations = -1", "iterations must not be negative"),
        ("[stage_1]\nlearning_rate = nan", "learning_rate must be positive"),
        ("ema = 1.0", "ema must lie in"),
        ("[data]\nvis = 3", "must map modalities to texts"),
        ("seed = ", "not valid TOML"),
        ("[data]\nvis = 'a'\nir = \"a\\u0000\"", "holds a NUL character (\\u0000); remove it"),
        ("seed = " + "[" * 9999, "not a recipe (a number too long, or keys or lists too deep)"),
        (".".join(["a"] * 99_999) + " = 1", "not a recipe (a number too long, or keys"),
        ("[" + " .\t'='".join(["a"] * 99_999) + "]", "not a recipe (a number too long, or keys"),
        (f"init = '{'.' * 99}' # it's\nseed = ", "not valid TOML"),
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"seed = {2**63}", "seed must be at most 9223372036854775807"),
        (f"[stage_1]\nlearning_rate = 1{'0' * 400}", "learning_rate must be at most 92233720368"),
        ('model = ["fnet"]', "model = ['fnet']; must be one of fnet"),
        ('[match]\nviss = "x"', "unknown key 'match.viss'; did you mean vis?"),
        ('[bands]\nfoo = "1"', "unknown key 'bands.foo'; use some of vis"),
        ("[augment]\nblur = 1e9", "[augment] blur must be at most 100"),
        ("[augment]\ngamma = 1e300", "[augment] gamma must be at most 10"),
        (f"a = {'[' * 5000}{']' * 5000}", "not a recipe"),
        (f"seed = {'9' * 5000}", "not a recipe"),
    ],
)
def test_hostile_recipes(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    result = fnet("train", path, "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert message in error_line(result.stderr)
    assert not (tmp_path / "run").exists()


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"\xef\xbb\xbfseed = 7\n")
    assert read_recipe(path).seed == 7


def test_a_batch_larger_than_memory(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data", 1)
    path = tmp_path / "recipe.toml"
    path.write_text("[stage_1]\nbatch = 1000000000000\ncrop = 16\n[stage_2]\ncrop = 16\n")
    folders = ("--vis", tmp_path / "data/vis", "--ir", tmp_path / "data/ir")
    result = fnet("train", path, *folders, "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert "batch = 1000000000000: crops of 16x16 pixels need" in error_line(result.stderr)
    assert not (tmp_path / "run").exists()
