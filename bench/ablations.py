"""Train FNet and its fifteen ablations with one budget, and score them: the paper's Table III.

    python -m bench.ablations --budget short --vis DIR --ir DIR --test-vis DIR --test-ir DIR -o OUT

Every row is trained on the same pairs, from the same seed, with the same crops, batches, optimiser
and number of iterations; the recipes under configs/ablations/ decide the rest. `short` is an
excerpt of configs/fnet.toml, meant for a quarter of an hour per row on two cores; `full` is the
published recipe, for a GPU. `--iterations`, `--batch` and `--crop` replace those of both stages.
`--seeds` trains FNet with other seeds as well: how far its rows differ is noise. What is trained
already is not trained again, and an interrupted row goes on. Writes OUT/NAME/, OUT/scores.json and
OUT/table.md. docs/ablations.md says what may be concluded.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fnetcli.checkpoints.loading import load_weights
from fnetcli.training.fnet.recipe import FNetRecipe
from fnetcli.training.recipes import read_recipe

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
WHOLE = "fnet"  # the row without ablation
NAMES = [WHOLE, *sorted(path.stem for path in (CONFIGS / "ablations").glob("*.toml"))]
BUDGETS = {"short": (CONFIGS / "fnet.toml", (200, 1200)), "full": (CONFIGS / "paper.toml", None)}
KEPT = ("network", "inverse")  # what an ablation decides by itself
SEED = "-seed-"  # between the name of a row and its seed, if it is not the recipe's


@dataclass(frozen=True)
class Budget:
    """What every row is trained with; None: as the budget of that name has it."""

    name: str
    iterations: tuple[int, int] | None = None  # of both stages
    batch: int | None = None
    crop: int | None = None  # pixels, square


def recipe_of(row: str, budget: Budget) -> FNetRecipe:
    """Return the recipe of a row, "ae01" or "fnet-seed-2", trained with a budget."""
    name, _, seed = row.partition(SEED)
    base_path, usual = BUDGETS[budget.name]
    base = _read(base_path)
    wanted = FNetRecipe() if name == WHOLE else _read(CONFIGS / "ablations" / f"{name}.toml")
    usual = usual or (base.stage_1.iterations, base.stage_2.iterations)
    first, second = budget.iterations or usual
    sizes = {key: getattr(budget, key) for key in ("batch", "crop") if getattr(budget, key)}
    has_first = wanted.stage_1.iterations > 0
    weights = {
        one.name: getattr(wanted.stage_2, one.name)
        for one in dataclasses.fields(wanted.stage_2)
        if one.name.endswith("_weight")
    }
    return dataclasses.replace(
        base,
        **{key: getattr(wanted, key) for key in KEPT},
        seed=int(seed or base.seed),
        checkpoint_every=max(1, min(base.checkpoint_every, second // 4)),
        stage_1=dataclasses.replace(
            base.stage_1,
            iterations=first if has_first else 0,
            warmup=min(base.stage_1.warmup, first // 8),
            decay=min(base.stage_1.decay, first // 2),
            **sizes,
        ),
        stage_2=dataclasses.replace(
            base.stage_2,
            iterations=second,
            warmup=min(base.stage_2.warmup, second // 8),
            decay=min(base.stage_2.decay, second // 2),
            **sizes,
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
    parser.add_argument("--batch", type=int, metavar="CROPS")
    parser.add_argument("--crop", type=int, metavar="PIXELS")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], metavar="SEED")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    for option in ("--vis", "--ir", "--test-vis", "--test-ir"):
        parser.add_argument(option, required=True, metavar="DIR")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/ablations"))
    given = parser.parse_args(arguments)
    iterations = tuple(given.iterations) if given.iterations else None
    budget = Budget(given.budget, iterations, given.batch, given.crop)
    names = given.only + [f"{WHOLE}{SEED}{seed}" for seed in given.seeds]
    for name in names:
        recipe = recipe_of(name, budget)
        train(name, recipe, ("--vis", given.vis, "--ir", given.ir), given.out)
    rows = [f"{_title(name)}={given.out / name / 'last.safetensors'}" for name in names]
    _fnet(
        *("eval", "--vis", given.test_vis, "--ir", given.test_ir),
        *(word for row in rows for word in ("--weights", row)),
        *("--markdown", str(given.out / "table.md"), "--json", str(given.out / "scores.json")),
    )


def _title(row: str) -> str:
    name, _, seed = row.partition(SEED)
    title = "FNet" if name == WHOLE else f"AE{int(name[2:])}"
    return f"{title} (seed {seed})" if seed else title


if __name__ == "__main__":
    main()
