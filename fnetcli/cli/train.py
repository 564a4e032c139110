"""`fnet train`: read a recipe and pairs, write weights."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

from fnetcli.cli.console import (
    Console,
    Progress,
    exits_properly,
    leaving_at_once,
    tell_pairing,
)
from fnetcli.cli.options.files import GivenPairing, GivenReading
from fnetcli.cli.options.group import takes_groups
from fnetcli.cli.options.images import GivenImages
from fnetcli.cli.options.network import GivenDevice
from fnetcli.cli.options.registration import GivenRegistration
from fnetcli.cli.options.talking import GivenQuiet
from fnetcli.cli.options.training import GivenTraining
from fnetcli.cli.options.values import per_modality
from fnetcli.runs.batch import EXIT_DONE, EXIT_INTERRUPTED

if TYPE_CHECKING:
    from fnetcli.training.config import LabelledRecipe, Recipe
    from fnetcli.training.data import Pairs
    from fnetcli.training.loop import PairList


SHOWN_WARNINGS = 5  # of files


@exits_properly
@takes_groups
def train(
    given: GivenTraining,
    images: GivenImages,
    registration: GivenRegistration,
    device: GivenDevice,
    talking: GivenQuiet,
) -> int:
    """Train a network on aligned pairs, stage by stage.

    The recipe names the model and sets all numbers (default: FNet's published recipe, or with
    --resume the run's own). Image options name folders and replace those of the recipe, for
    validation too. UAAFusion learns from labels: --labels, or labels in the recipe. Ctrl-C saves
    the state and stops; resuming with --resume gives results identical to those of an
    uninterrupted run. Writes best.safetensors, last.safetensors, log.jsonl, loss.png, recipe.toml
    and state.pt to the run folder.
    """
    with leaving_at_once():
        from fnetcli.engine import choose_device
        from fnetcli.training import loop

    console = Console(is_quiet=talking.quiet)
    recipe, resume = given.recipe, given.resume
    run = given.out or Path("runs") / (recipe.stem if recipe else "paper")
    plan = _plan(recipe or _recipe_of(run, resume=resume), given, images.given)
    plan = _plan_registration(plan, registration)
    _check_run_folder(run, resume=resume)
    pairs, validation_pairs = _training_pairs(plan, console)
    chosen = choose_device(device.device)
    console.notice(f"{len(pairs)} pairs, device {chosen}, run folder {run}")
    observer = _Observer(console, plan)
    try:
        loop.train(
            plan,
            pairs,
            validation_pairs,
            run,
            device=chosen.in_torch(),
            resume=resume,
            observer=observer,
        )
    except loop.Stopped:
        console.error(f"interrupted; the state is saved, resume with --resume -o {run}")
        return EXIT_INTERRUPTED
    finally:
        observer.close()
        _draw_curves(console, run)
    best, last = run / loop.BEST_FILE, run / loop.LAST_FILE
    console.result(str(best if best.is_file() else last))
    return EXIT_DONE


class _Observer:
    """Shows losses and the time left, stage by stage."""

    def __init__(self, console: Console, recipe: Recipe) -> None:
        self.console, self.recipe = console, recipe
        self.stage = 0
        self.progress: Progress | None = None
        self.smooth: dict[str, float] = {}

    def step(self, stage: int, iteration: int, total: int, losses: dict[str, float]) -> None:
        if stage != self.stage:
            self.close()
            self.stage, self.smooth = stage, dict(losses)
            self.console.notice(f"stage {stage}: iterations {iteration} to {total}")
            self.progress = Progress(
                total - iteration + 1, f"iterations of stage {stage}", self.console
            )
        for name, value in losses.items():
            self.smooth[name] += 0.05 * (value - self.smooth[name])
        if self.progress is not None:
            self.progress.step(
                " ".join(f"{name} {value:.3f}" for name, value in self.smooth.items())
            )

    def message(self, text: str) -> None:
        self.console.notice(text)

    def close(self) -> None:
        if self.progress is not None:
            self.progress.close()


def _recipe_of(run: Path, *, resume: bool) -> Path | None:
    """Return the recipe in the folder of a run to resume."""
    from fnetcli.training.loop import RECIPE_FILE

    kept = run / RECIPE_FILE
    return kept if resume and os.path.lexists(kept) else None


def _plan(recipe: Path | None, given: GivenTraining, folders: dict[str, Path]) -> Recipe:
    """Return the recipe with the folders named on the command line."""
    from fnetcli.errors import ConfigError
    from fnetcli.modalities import network_order
    from fnetcli.training.config import LabelledRecipe
    from fnetcli.training.recipes import default_recipe, read_recipe

    plan = read_recipe(recipe) if recipe else default_recipe()
    if folders:
        data = {name: str(path.resolve()) for name, path in folders.items()}
        plan = dataclasses.replace(plan, data=data, validation={})
    if given.validation is not None:
        is_one = len({*plan.data.values()}) == 1  # folder, for both sides
        below = {
            name: given.validation if is_one else given.validation / name for name in plan.data
        }
        validation = {name: str(path.resolve()) for name, path in below.items()}
        plan = dataclasses.replace(plan, validation=validation)
    if not plan.data:
        raise ConfigError(
            "no training pairs given; use --vis DIR --ir DIR, or [data] in the recipe"
        )
    modalities = network_order([*plan.data])
    if given.match:
        plan = dataclasses.replace(plan, match=per_modality("--match", given.match, modalities))
    if given.band:
        plan = dataclasses.replace(plan, bands=per_modality("--band", given.band, modalities))
    if isinstance(plan, LabelledRecipe):
        return _plan_labels(plan, given, is_elsewhere=bool(folders))
    if given.labels is not None:
        raise ConfigError(
            f"--labels: the recipe trains {plan.model}, which learns without labels; leave the "
            "option out, or give a recipe of uaafusion"
        )
    return plan


def _plan_registration(plan: Recipe, registration: GivenRegistration) -> Recipe:
    """Return the recipe with the registration of the command line, if it has any."""
    given = {
        name.removeprefix("--"): value for name, value in registration.words().items() if value
    }
    if not given:
        return plan
    if "transform" in given:
        given["transform"] = str(Path(given["transform"]).resolve())
    return dataclasses.replace(plan, registration=given)


def _plan_labels(
    plan: LabelledRecipe, given: GivenTraining, *, is_elsewhere: bool
) -> LabelledRecipe:
    """Return the recipe with the labels that belong to its folders; those of others are dropped."""
    from fnetcli.errors import ConfigError

    if is_elsewhere:
        plan = dataclasses.replace(plan, labels="", validation_labels="")
    if given.labels is not None:
        plan = dataclasses.replace(plan, labels=str(given.labels.resolve()))
    if given.validation is not None:
        folder = given.validation / "label"
        labels = str(folder.resolve()) if folder.is_dir() else ""
        plan = dataclasses.replace(plan, validation_labels=labels)
    if not plan.labels:
        raise ConfigError(
            f"{plan.model} learns from labelled pairs, but no labels are given; use --labels DIR, "
            "or labels in the recipe"
        )
    if not plan.classes.names:
        raise ConfigError(
            "the recipe does not define the numbers in labels; list the names of the classes, "
            "starting from 1, under [classes]"
        )
    return plan


def _check_run_folder(run: Path, *, resume: bool) -> None:
    from fnetcli.errors import UsageError

    if run.exists() and not run.is_dir():
        raise UsageError(f"{run}: is a file; give a folder for the run")
    if not resume and run.is_dir() and any(run.iterdir()):
        raise UsageError(f"{run}: not empty; use --resume, or choose another folder with -o")


def _largest_crop(recipe: Recipe) -> int:
    return max((stage.crop for stage in recipe.stages if stage.iterations), default=1)


def _training_pairs(plan: Recipe, console: Console) -> tuple[PairList, PairList | None]:
    """Find, read and check all training and validation pairs, with labels if they are learnt."""
    from fnetcli.training.config import LabelledRecipe
    from fnetcli.training.labelled import LabelledPairs, find_labels

    smallest = _largest_crop(plan)
    pairs = _pairs(plan, plan.data, console, smallest)
    validation = _pairs(plan, plan.validation, console) if plan.validation else None
    if not isinstance(plan, LabelledRecipe):
        return pairs, validation
    classes = len(plan.classes.names) + 1
    unlabelled = _pairs(plan, plan.unlabelled, console, smallest) if plan.unlabelled else None
    labelled = LabelledPairs(
        pairs, find_labels(pairs.cases, Path(plan.labels)), classes, unlabelled
    )
    labelled.check()
    if validation is None:
        return labelled, None
    if not plan.validation_labels:
        return labelled, LabelledPairs(validation, [None] * len(validation), classes)
    found = find_labels(validation.cases, Path(plan.validation_labels))
    labelled_validation = LabelledPairs(validation, found, classes)
    labelled_validation.check()
    return labelled, labelled_validation


def _pairs(plan: Recipe, folders: dict[str, str], console: Console, smallest: int = 1) -> Pairs:
    """Find, read and check all pairs of two folders."""
    from fnetcli.errors import TrainingError
    from fnetcli.inputs.pairing import pair_paths
    from fnetcli.modalities import network_order
    from fnetcli.pictures.prepare import PrepareOptions
    from fnetcli.pictures.survey import survey
    from fnetcli.training.data import Pairs

    modalities = first, second = network_order(list(folders))
    reading = GivenReading(band=[f"{name}={text}" for name, text in plan.bands.items()] or None)
    named = GivenPairing(match=[f"{name}={text}" for name, text in plan.match.items()] or None)
    options = named.options(modalities, reading)
    pairing = pair_paths(Path(folders[first]), Path(folders[second]), options)
    tell_pairing(console, pairing)
    if not pairing.cases:
        advice = f"{pairing.advice}; " if pairing.advice.startswith("--match") else ""
        raise TrainingError(
            f"{folders[first]} and {folders[second]}: no pairs, as no two files have the same "
            f"name; {advice}check the folders, or describe the names with --match"
        )
    place = GivenRegistration.of_words(plan.registration).place(None, of_camera=False)
    prepare = PrepareOptions(modalities, reading=reading.options(modalities), place=place)
    found = survey(pairing.cases, prepare)
    for notice in found.notices:
        console.notice(notice)
    for warning in found.warnings:
        console.warning(warning)
    pairs = Pairs(
        pairing.cases,
        smallest,
        modalities,
        found.options.scaling,
        reading=prepare.reading,
        place=found.options.place,
    )
    pairs.check()
    warnings = [(path, text) for path, texts in pairs.warnings.items() for text in texts]
    for path, text in warnings[:SHOWN_WARNINGS]:
        console.warning(f"{path}: {text}")
    if len(warnings) > SHOWN_WARNINGS:
        console.warning(f"{len(warnings) - SHOWN_WARNINGS} more warnings of this kind")
    return pairs


def _draw_curves(console: Console, run: Path) -> None:
    """Draw the log's losses, however training ended."""
    from fnetcli.reports.plots import draw_loss_curves
    from fnetcli.training.loop import LOG_FILE

    try:
        if (run / LOG_FILE).is_file():
            draw_loss_curves(run / LOG_FILE, run / "loss.png")
    except Exception as error:  # noqa: BLE001  a picture must not hide how training ended
        console.warning(f"{run / 'loss.png'}: not drawn ({error})")
