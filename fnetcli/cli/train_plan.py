"""`fnet train`: what is to be trained, on which pairs, and in which folder."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

from fnetcli.cli.console import Console, tell_pairing
from fnetcli.cli.options.files import GivenPairing, GivenReading
from fnetcli.cli.options.training import GivenTraining
from fnetcli.cli.options.values import per_modality

if TYPE_CHECKING:
    from fnetcli.checkpoints.loading import Weights
    from fnetcli.training.config import LabelledRecipe, Recipe
    from fnetcli.training.data import Pairs
    from fnetcli.training.loop import PairList

SHOWN_WARNINGS = 5  # of files


def choose_recipe(given: GivenTraining) -> str:
    """Return the recipe's name or path: by default FNet's published one, or for fine-tuning.

    Raise UsageError, CheckpointError.
    """
    from fnetcli.errors import UsageError
    from fnetcli.training.recipes import DEFAULT_NAME, fine_tuning_recipe

    if given.init == "":
        raise UsageError("--init: empty; give a name of shipped weights, or a file")
    if given.recipe is not None:
        return given.recipe
    return DEFAULT_NAME if given.init is None else fine_tuning_recipe(given.init)


def plan_run(name: str, run: Path, given: GivenTraining, folders: dict[str, Path]) -> Recipe:
    """Return the recipe with what the command line says; a run to resume has its own."""
    from fnetcli.errors import ConfigError
    from fnetcli.modalities import network_order
    from fnetcli.training.config import LabelledRecipe
    from fnetcli.training.loop import RECIPE_FILE
    from fnetcli.training.recipes import locate_weights, read_recipe

    init = "" if given.init is None else locate_weights(given.init, Path.cwd())
    if given.resume and given.recipe is None and os.path.lexists(run / RECIPE_FILE):
        plan = read_recipe(run / RECIPE_FILE, init, takes_init=given.names_weights)
    else:
        plan = read_recipe(name, init)
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
    if not plan.labels and plan.needs_labels:
        raise ConfigError(
            f"{plan.model} learns from labelled pairs, but no labels are given; use --labels DIR, "
            "or labels in the recipe, or start from weights (--init) and freeze segmentation"
        )
    if not plan.classes.names:
        raise ConfigError(
            "the recipe does not define the numbers in labels; list the names of the classes, "
            "starting from 1, under [classes]"
        )
    return plan


def initial_weights(plan: Recipe, given: GivenTraining) -> Weights | None:
    """Return the weights to start from; a run to resume without them named has its own.

    Raise CheckpointError.
    """
    from fnetcli.checkpoints.loading import load_weights
    from fnetcli.checkpoints.shipped import find_weights

    if not plan.init or (given.resume and not given.names_weights):
        return None
    return load_weights(find_weights(plan.init))


def check_run_folder(run: Path, *, resume: bool) -> None:
    """Raise UsageError for a run that does not exist, or a folder that is not empty."""
    from fnetcli.errors import UsageError

    if run.exists() and not run.is_dir():
        raise UsageError(f"{run}: is a file; give a folder for the run")
    if resume and not run.is_dir():
        raise UsageError(f"{run}: no such run; check the path, or start without --resume")
    if not resume and run.is_dir() and any(run.iterdir()):
        raise UsageError(f"{run}: not empty; use --resume, or choose another folder with -o")


def _largest_crop(recipe: Recipe) -> int:
    return max((stage.crop for stage in recipe.stages if stage.iterations), default=1)


def find_pairs(plan: Recipe, console: Console) -> tuple[PairList, PairList | None]:
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
    labels: list[Path | None] = [None] * len(pairs)
    if plan.labels:
        labels = find_labels(pairs.cases, Path(plan.labels))
    labelled = LabelledPairs(pairs, labels, classes, unlabelled)
    if plan.labels:
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
    prepare = PrepareOptions(modalities, reading=reading.options(modalities))
    found = survey(pairing.cases, prepare)
    for notice in found.notices:
        console.notice(notice)
    for warning in found.warnings:
        console.warning(warning)
    pairs = Pairs(
        pairing.cases, smallest, modalities, found.options.scaling, reading=prepare.reading
    )
    pairs.check()
    warnings = [(path, text) for path, texts in pairs.warnings.items() for text in texts]
    for path, text in warnings[:SHOWN_WARNINGS]:
        console.warning(f"{path}: {text}")
    if len(warnings) > SHOWN_WARNINGS:
        console.warning(f"{len(warnings) - SHOWN_WARNINGS} more warnings of this kind")
    return pairs
