"""Recipes that ship with fnet: by name, and written to be edited."""

from __future__ import annotations

from pathlib import Path

import pytest

from fnetcli.training.recipes import read_recipe, shipped_recipes
from tests.cli.command import error_line, fnet
from tests.cli.tiny_recipes import FNET_NETWORKS
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


TOP = "seed = 1\nvalidate_every = 1\ncheckpoint_every = 1\n" + FNET_NETWORKS
DATA = '[data]\nvis = "data/vis"\nir = "data/ir"\n'
STAGE = "[stage_1]\niterations = 1\nbatch = 1\ncrop = 16\n[stage_2]\niterations = 0\n"
WRONG = {
    "no pairs": (TOP + STAGE, "no training pairs given; use --vis DIR --ir DIR, or [data]"),
    "an empty set": ("data = [{}]\n" + TOP + STAGE, "[data]: no image given; give exactly two"),
    "one modality": (TOP + STAGE + '[data]\nvis = "data/vis"\n', "[data]: only vis given; give"),
    "three modalities": (TOP + STAGE + DATA + 'nir = "x"\n', "[data]: vis + ir + nir given; give"),
    "half of a validation": (
        TOP + STAGE + DATA + '[validation]\nir = "data/ir"\n',
        "[validation]: only ir given; give",
    ),
    "freezing nothing": (
        TOP + DATA + STAGE.replace("crop", 'freeze = ["nobody"]\ncrop', 1),
        "freeze = 'nobody': no part of the network; name some of ",
    ),
    "iterations": (
        TOP + DATA + STAGE.replace("iterations = 1", f"iterations = {10**18}"),
        f"[stage_1] iterations must be at most 1000000000, not {10**18}",
    ),
    "no iterations": (
        TOP + DATA + STAGE.replace("iterations = 1", "iterations = 0"),
        "iterations is 0 in all stages, so nothing would be trained; set it in one of them",
    ),
    "no loss": (
        f"{TOP}{DATA}[stage_2]\nintensity_weight = 0\ngradient_weight = 0\nssim_weight = 0\n",
        "[stage_2] intensity_weight, gradient_weight, ssim_weight, separation_weight are all 0: no",
    ),
    "a network": (
        TOP.replace("atoms = 4", f"atoms = {10**9}", 1) + DATA + STAGE,
        "[network]: training it needs more than the ",
    ),
    "a share": (
        TOP + STAGE + DATA + "share = 1e308\n",
        "[data] share must be at most 1000000000, not 1e+308",
    ),
    "no folder": (
        TOP + STAGE + DATA.replace("data/ir", ""),
        "[data] ir is empty; give a folder",
    ),
    "a batch": (
        TOP + DATA + STAGE.replace("batch = 1", f"batch = {10**12}"),
        f"batch = {10**12}: crops of 16x16 pixels need ",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_name_the_recipe(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eager: None
) -> None:
    del eager
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "data", 2)
    text, message = WRONG[name]
    Path("mine.toml").write_text(text)
    result = fnet("train", "mine.toml", "-o", "run")
    assert result.exit_code == 2, result.output
    assert error_line(result.stderr).startswith(f"error: mine.toml: {message}")


def test_one_image_option_is_no_error_of_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TOP + STAGE)
    result = fnet("train", tmp_path / "mine.toml", "--vis", tmp_path, "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert error_line(result.stderr).startswith("error: only --vis given; give exactly two")
    result = fnet("train", "-o", tmp_path / "run")
    assert error_line(result.stderr).startswith("error: no training pairs given; use --vis DIR")


def test_folders_that_hold_no_run(tmp_path: Path) -> None:
    result = fnet("train", "--resume", "-o", tmp_path)
    assert result.exit_code == 2
    assert f"{tmp_path}: no run there; check the path" in error_line(result.stderr)
    (tmp_path / "file").touch()
    result = fnet("train", "fnet", "-o", tmp_path / "file" / "run")
    assert result.exit_code == 2
    assert "file is a file, not a folder; choose another path" in error_line(result.stderr)
