"""Train FNet and its fifteen ablations with one budget, and score them: the paper's Table III.

    python -m bench.ablations --budget short --vis DIR --ir DIR --test-vis DIR --test-ir DIR -o OUT

Every row is trained on the same pairs, from the same seed, with the same crops, batches, optimiser
and number of iterations; the recipes under configs/ablations/ decide the rest. `short` is an
excerpt of configs/fnet.toml, meant for a quarter of an hour per row on two cores; `full` is the
published recipe, for a GPU. `--iterations` replaces the lengths of both stages. What is trained
already is not trained again, and an interrupted row goes on. Writes OUT/NAME/, OUT/scores.json and
OUT/table.md. docs/ablations.md says what may be concluded.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fnetcli.checkpoints.loading import load_weights
from fnetcli.training.fnet.recipe import FNetRecipe
from fnetcli.training.recipes import read_recipe

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
WHOLE = "fnet"  # the row without ablation
NAMES = [WHOLE, *sorted(path.stem for path in (CONFIGS / "ablations").glob("*.toml"))]
BUDGETS = {"short": (CONFIGS / "fnet.toml", (200, 1200)), "full": (CONFIGS / "paper.toml", None)}
KEPT = ("network", "inverse")  # what an ablation decides by itself


def recipe_of(name: str, budget: str, iterations: tuple[int, int] | None) -> FNetRecipe:
    """Return the recipe of an ablation, trained with a budget."""
    base_path, usual = BUDGETS[budget]
    base = _read(base_path)
    wanted = FNetRecipe() if name == WHOLE else _read(CONFIGS / "ablations" / f"{name}.toml")
    first, second = iterations or usual or (base.stage_1.iterations, base.stage_2.iterations)
    has_first = wanted.stage_1.iterations > 0
    weights = {
        one.name: getattr(wanted.stage_2, one.name)
        for one in dataclasses.fields(wanted.stage_2)
        if one.name.endswith("_weight")
    }
    return dataclasses.replace(
        base,
        **{key: getattr(wanted, key) for key in KEPT},
        stage_1=dataclasses.replace(
            base.stage_1,
            iterations=first if has_first else 0,
            warmup=min(base.stage_1.warmup, first // 8),
            decay=min(base.stage_1.decay, first // 2),
        ),
        stage_2=dataclasses.replace(
            base.stage_2,
            iterations=second,
            warmup=min(base.stage_2.warmup, second // 8),
            decay=min(base.stage_2.decay, second // 2),
            **weights,
        ),
        data=(),
        validation=(),
    )


def _read(path: Path) -> FNetRecipe:
    recipe = read_recipe(path)
    if not isinstance(recipe, FNetRecipe):
        raise TypeError(f"{path}: not a recipe of FNet")
    return recipe


def train(name: str, recipe: FNetRecipe, folders: Sequence[str], out: Path) -> None:
    """Train one row in a folder of its own, unless it is finished; go on if it was interrupted."""
    run, text = out / name, recipe.to_toml()
    weights, kept = run / "last.safetensors", out / f"{name}.toml"
    if weights.is_file():
        if kept.read_text() != text:
            raise SystemExit(f"{run}: was trained with another budget; name another folder with -o")
        trained = load_weights(weights).metadata["trained"]
        if (trained["stage"], trained["iteration"]) == (2, recipe.stage_2.iterations):
            return
    out.mkdir(parents=True, exist_ok=True)
    kept.write_text(text)
    resume = ["--resume"] if (run / "state.pt").is_file() else []
    _fnet("train", str(kept), *folders, "-o", str(run), *resume)


def _fnet(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "fnetcli", *arguments], check=True)  # noqa: S603


def main(arguments: Sequence[str] | None = None) -> None:
    """Train all rows, then score them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", choices=BUDGETS, default="short")
    parser.add_argument("--iterations", nargs=2, type=int, metavar=("STAGE_1", "STAGE_2"))
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    for option in ("--vis", "--ir", "--test-vis", "--test-ir"):
        parser.add_argument(option, required=True, metavar="DIR")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/ablations"))
    given = parser.parse_args(arguments)
    iterations = tuple(given.iterations) if given.iterations else None
    for name in given.only:
        recipe = recipe_of(name, given.budget, iterations)
        train(name, recipe, ("--vis", given.vis, "--ir", given.ir), given.out)
    rows = [f"{_title(name)}={given.out / name / 'last.safetensors'}" for name in given.only]
    _fnet(
        *("eval", "--vis", given.test_vis, "--ir", given.test_ir),
        *(word for row in rows for word in ("--weights", row)),
        *("--markdown", str(given.out / "table.md"), "--json", str(given.out / "scores.json")),
    )


def _title(name: str) -> str:
    return "FNet" if name == WHOLE else f"AE{int(name[2:])}"


if __name__ == "__main__":
    main()
