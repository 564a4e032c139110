"""Errors name files as the user wrote them: relative paths stay relative, in every command."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from tests.cli.command import error_line, fnet, tiny_weights
from tests.cli.tiny_recipes import FNET_NETWORKS, PAIRS
from tests.drawn_pictures import smooth_noise, write, write_pairs

pytestmark = pytest.mark.usefixtures("eager")

FEW = "[stage_1]\niterations = 1\nbatch = 1\ncrop = 16\n[stage_2]\niterations = 0\n"
FOLDERS = ("--vis", "data/vis", "--ir", "data/ir")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, with pairs and a recipe."""
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "data", 2)
    (tmp_path / "tiny.toml").write_text("ema = 0.0\n" + PAIRS + FNET_NETWORKS + FEW)
    return tmp_path


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def too_small(path: Path) -> None:
    iio.imwrite(path, np.zeros((8, 8), np.uint8))


@pytest.mark.parametrize("damage", [damaged, too_small])
@pytest.mark.parametrize(
    "words", [("tiny.toml",), ("tiny.toml", *FOLDERS)], ids=["recipe", "options"]
)
def test_a_training_file(
    here: Path, words: tuple[str, ...], damage: Callable[[Path], None]
) -> None:
    damage(here / "data/ir/1.png")
    result = fnet("train", *words, "-o", "run")
    assert result.exit_code == 1
    assert error_line(result.stderr).startswith("error: data/ir/1.png")
    assert str(here) not in result.stderr


def test_a_training_folder_and_weights(here: Path) -> None:
    for words, start in (
        (("--vis", "data/vis", "--ir", "no/ir"), "no/ir: no such file or folder"),
        ((*FOLDERS, "--validation", "held"), "held/ir: no such file or folder"),
        (("--init", "no.safetensors"), "no.safetensors: no such file"),
        (("--transform", "no.json"), "no.json: no such file"),
    ):
        result = fnet("train", "tiny.toml", *words, "-o", "run")
        assert result.exit_code != 0
        assert start in error_line(result.stderr)
        assert str(here) not in result.stderr


def test_a_recipe_elsewhere(here: Path) -> None:
    """Its paths are relative to it, and are named from here; those of its run are absolute."""
    (here / "recipes").mkdir()
    text = (here / "tiny.toml").read_text().replace('"data/', '"../data/')
    (here / "recipes" / "tiny.toml").write_text(text)
    assert fnet("train", "recipes/tiny.toml", "-o", "run").exit_code == 0
    kept = tomllib.loads((here / "run" / "recipe.toml").read_text())
    assert kept["data"] == {name: str(here / "data" / name) for name in ("vis", "ir")}
    (here / "data/vis/0.png").write_bytes(b"no picture")
    result = fnet("train", "recipes/tiny.toml", "-o", "other")
    assert error_line(result.stderr).startswith("error: recipes/../data/vis/0.png: ")


def test_weights_named_like_shipped_ones(here: Path) -> None:
    """./fnet is a file, also after the path was joined with the recipe's folder."""
    tiny_weights(here).rename(here / "fnet")
    (here / "tiny.toml").write_text('ema = 0.0\ninit = "./fnet"\n' + PAIRS + FEW)
    result = fnet("train", "tiny.toml", "-o", "run")
    assert result.exit_code == 0, result.output
    assert tomllib.loads((here / "run" / "recipe.toml").read_text())["init"] == str(here / "fnet")


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (("fuse", "--vis", "data/vis/0.png", "--ir", "bad.png"), "bad.png"),
        (("fuse", "--vis", "vis", "--ir", "data/ir"), "vis/0.png"),
        (("fuse", "--pairs", "lists/pairs.csv"), "lists/bad.png"),
        (("fuse", "--vis", "data/vis", "--ir", "data/ir", "--weights", "bad.png"), "bad.png"),
        (("inspect", "bad.png"), "bad.png"),
        (("inspect", "--vis", "data/vis/0.png", "--ir", "bad.png"), "bad.png"),
        (("eval", *FOLDERS, "--fused", "m=vis"), "vis/0.png"),
        (("eval", "study.toml"), "vis/0.png"),
    ],
)
def test_other_commands(here: Path, words: tuple[str, ...], start: str) -> None:
    for path in ("bad.png", "vis/0.png", "lists/bad.png"):
        write(here / path, smooth_noise(16, 16, 0))
        (here / path).write_bytes((here / path).read_bytes()[:40])
    write(here / "lists/good.png", smooth_noise(16, 16, 0))
    (here / "lists/pairs.csv").write_text("vis,ir\ngood.png,bad.png\n")
    (here / "study.toml").write_text('vis = "data/vis"\nir = "data/ir"\nfused = ["m=vis"]\n')
    result = fnet(*words, *(["-o", "out"] if words[0] == "fuse" else []))
    assert result.exit_code != 0
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert any(start in line for line in errors), result.stderr
    assert str(here) not in result.stderr


def test_names_in_another_encoding() -> None:
    """As in a locale without UTF-8: bytes are shown, not question marks."""
    result = fnet("fuse", "--vis", "b.png", "--ir", "n\udcc3\udcb6.png")
    assert error_line(result.stderr).startswith(r"error: n\xc3\xb6.png: no such file")


def test_names_of_one_letter(here: Path) -> None:
    """They are no options that lack a dash."""
    for name, short in (("vis", "o"), ("ir", "v")):
        (here / "data" / name).rename(here / short)
    tiny_weights(here).rename(here / "q")
    result = fnet("fuse", "--vis", "o", "--ir", "v", "-o", "h", "--weights", "q")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (here / "h/fused").iterdir()) == ["0.png", "1.png"]
