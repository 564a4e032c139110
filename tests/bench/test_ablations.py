"""The bench of ablations: one budget for all rows, trained once, scored in one table."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from bench import ablations
from fnetcli.models.fnet import shaped
from fnetcli.training.fnet.recipe import FNetRecipe
from tests.cli.command import fnet
from tests.drawn_pictures import write_pairs


def test_all_rows_have_one_budget() -> None:
    """They differ only in what their name says, and AE11 in having no first stage."""
    budget = ablations.Budget("short", (40, 80), batch=3, crop=48)
    rows = {name: ablations.recipe_of(name, budget) for name in ablations.NAMES}
    assert len(rows) == 16
    whole = rows["fnet"]
    assert (whole.network, whole.inverse) == (FNetRecipe().network, FNetRecipe().inverse)
    for name, row in rows.items():
        assert row.stage_1.iterations == (0 if name == "ae11" else 40)
        assert row.stage_2.iterations == 80
        stages = (row.stage_1, row.stage_2)
        assert [(stage.batch, stage.crop) for stage in stages] == [(3, 48)] * 2
        for key in ("seed", "precision", "optimizer", "ema", "gradient_clip"):
            assert getattr(row, key) == getattr(whole, key)
        is_same = (row.stage_1, row.stage_2) == (whole.stage_1, whole.stage_2)
        assert is_same == (name not in {"ae11", "ae13", "ae14", "ae15"})
    other = ablations.recipe_of("fnet-seed-7", budget)
    assert other.seed == 7 != whole.seed
    assert other == dataclasses.replace(whole, seed=7)
    full = ablations.recipe_of("ae02", ablations.Budget("full"))
    assert full.network.threshold == full.inverse.threshold == "soft"
    assert (full.stage_1, full.stage_2) == (FNetRecipe().stage_1, FNetRecipe().stage_2)


@pytest.mark.long
def test_rows_are_trained_once_and_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole files stay; another budget in the same folder is refused."""

    def in_this_process(*words: str) -> None:
        result = fnet(*words)
        assert result.exit_code == 0, result.output

    monkeypatch.setattr(ablations, "_fnet", in_this_process)
    monkeypatch.setattr(shaped, "compile_threshold", lambda: None)  # takes longer than tiny runs
    write_pairs(tmp_path / "data", 2)
    small = FNetRecipe().network.__class__(4, 3, 2)

    def recipe_of(row: str, budget: ablations.Budget) -> FNetRecipe:
        recipe = original(row, budget)
        inverse = recipe.inverse.__class__(4, 3, 2)
        stages = {
            key: getattr(recipe, key).__class__(**vars(getattr(recipe, key)) | {"crop": 16})
            for key in ("stage_1", "stage_2")
        }
        return FNetRecipe(**vars(recipe) | {"network": small, "inverse": inverse} | stages)

    original = ablations.recipe_of
    monkeypatch.setattr(ablations, "recipe_of", recipe_of)
    folders = [str(tmp_path / "data" / name) for name in ("vis", "ir")]
    given = [
        *("--vis", folders[0], "--ir", folders[1]),
        *("--test-vis", folders[0], "--test-ir", folders[1]),
        *("--only", "fnet", "ae11", "--seeds", "2", "-o", str(tmp_path / "out")),
    ]
    ablations.main([*given, "--iterations", "2", "3"])
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert [method["name"] for method in scores["methods"]] == ["FNet", "AE11", "FNet (seed 2)"]
    assert [metric["name"] for metric in scores["metrics"]] == [
        *("MI", "CE", "VIF", "Qabf", "Qcb", "SSIM"),
    ]
    weights = tmp_path / "out" / "fnet" / "last.safetensors"
    before = weights.stat().st_mtime_ns
    ablations.main([*given, "--iterations", "2", "3"])
    assert weights.stat().st_mtime_ns == before
    with pytest.raises(SystemExit, match="another budget"):
        ablations.main([*given, "--iterations", "2", "4"])
