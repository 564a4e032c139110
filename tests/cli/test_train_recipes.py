"""Recipes that ship with fnet: by name, and written to be edited."""

from __future__ import annotations

from pathlib import Path

import pytest

from fnetcli.training.recipes import read_recipe, shipped_recipes
from tests.cli.command import error_line, fnet
from tests.drawn_pictures import write_pairs
from tests.paths import ROOT


def test_all_recipes_have_a_name() -> None:
    found = shipped_recipes()
    assert {"fnet", "paper", "cddfuse", "uaafusion", "fnet-finetune", "ablations/ae01"} <= set(
        found
    )
    assert len(found) == len(list((ROOT / "configs").rglob("*.toml")))
    assert not read_recipe("fnet").data  # folders of a checkout mean nothing elsewhere
    assert read_recipe(ROOT / "configs/fnet.toml").data


def test_written_to_be_edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = fnet("train", "--write-recipe", "paper")
    assert (result.exit_code, result.stdout) == (0, "paper.toml\n")
    assert Path("paper.toml").read_bytes() == (ROOT / "configs/paper.toml").read_bytes()
    assert fnet("train", "--write-recipe", "fnet", "-o", "mine.toml").stdout == "mine.toml\n"
    Path("sub").mkdir()
    inside = fnet("train", "--write-recipe", "ablations/ae01", "-o", "sub")
    assert inside.stdout == "sub/ae01.toml\n"


def test_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, message in (
        (["none"], "--write-recipe none: no such recipe; give one of cddfuse-finetune, "),
        (["fnet", "-o", "none/x.toml"], "none/x.toml: its folder does not exist"),
        (["fnet", "-o", "there.toml"], "there.toml: exists already; name another file with -o"),
    ):
        Path("there.toml").touch()
        result = fnet("train", "--write-recipe", *arguments)
        assert result.exit_code == 2
        assert message in error_line(result.stderr)
    assert Path("there.toml").read_bytes() == b""


def test_a_name_wins_over_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fnet").write_text("seed = ")
    write_pairs(tmp_path / "data", 1)
    result = fnet("train", "./fnet", "--vis", "data/vis", "--ir", "data/ir")
    assert "fnet: not valid TOML" in error_line(result.stderr)
    by_name = fnet("train", "fnet", "--vis", "data/vis", "--ir", "data/ir")
    assert "smaller than the crop of 128" in error_line(by_name.stderr)
    missing = fnet("train", "zzz", "--vis", "data/vis", "--ir", "data/ir")
    assert missing.exit_code == 2
    assert "give a TOML file, or a recipe by name (cddfuse-finetune, " in error_line(missing.stderr)
