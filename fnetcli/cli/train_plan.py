"""`fnet train`: what is to be trained, on which pairs, and in which folder."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fnetcli.cli.console import Console, Progress, tell_pairing
from fnetcli.cli.options.files import GivenPairing, GivenReading
from fnetcli.cli.options.registration import GivenRegistration
from fnetcli.cli.options.training import GivenTraining
from fnetcli.cli.options.values import per_modality
from fnetcli.text import number_of

if TYPE_CHECKING:
    from fnetcli.checkpoints.loading import Weights
    from fnetcli.inputs.pairing import Pairing
    from fnetcli.training.config import DataSet, LabelledRecipe, Recipe
    from fnetcli.training.data import Pairs, PairSource
    from fnetcli.training.loop import PairList

SHOWN_WARNINGS = 5  # of files
BYTES_A_WEIGHT = 20  # in training: itself, its gradient, average and two moments, 4 bytes each
BYTES_A_TENSOR = 1000  # besides, at least
LABELS = ("labels", "validation_labels")  # fields of a recipe


def choose_recipe(given: GivenTraining) -> str:
    """Return the recipe's name or path: by default FNet's published one, or for fine-tuning.

    Raise CheckpointError.
    """
    from fnetcli.training.recipes import DEFAULT_NAME, fine_tuning_recipe

    if given.recipe is not None:
        return given.recipe
    return DEFAULT_NAME if given.init is None else fine_tuning_recipe(given.init)


def write_recipe(name: str, out: Path | None) -> Path:
    """Write a recipe that ships with fnet to a file; return its path. Raise UsageError."""
    from fnetcli.errors import UsageError
    from fnetcli.files.durable import atomic_write
    from fnetcli.text import near_miss
    from fnetcli.training.recipes import listed_recipes, recipe_text, shipped_recipes

    source = shipped_recipes().get(name)
    if source is None:
        todo = near_miss(name, shipped_recipes()) or f"give one of {listed_recipes()}"
        raise UsageError(f"--write-recipe {name}: no such recipe; {todo}")
    path = out or Path(source.name)
    path = path / source.name if path.is_dir() else path
    if os.path.lexists(path):
        raise UsageError(f"{path}: exists already; name another file with -o")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: its folder does not exist; make it first")
    text = recipe_text(source)
    atomic_write(path, lambda file: file.write(text.encode()))
    return path


@contextmanager
def naming(recipe: str | Path) -> Iterator[None]:
    """Put the name of the recipe before errors about it; nothing before them if it is empty."""
    from fnetcli.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        if not recipe or str(error).startswith("--"):
            raise
        raise ConfigError(f"{recipe}: {error}") from None


def kept_recipe(run: Path, given: GivenTraining) -> Path | None:
    """Return the recipe of the run to resume if no other is given. Raise UsageError."""
    from fnetcli.errors import UsageError
    from fnetcli.training.loop import RECIPE_FILE

    path = run / RECIPE_FILE
    if not given.resume or given.recipe is not None:
        return None
    if not os.path.lexists(path):
        raise UsageError(f"{run}: no run there; check the path, or start without --resume")
    return path


def read_plan(
    name: str, kept: Path | None, given: GivenTraining, folders: dict[str, Path]
) -> Recipe:
    """Return the recipe; a run to resume has its own. Raise ConfigError, CheckpointError."""
    from fnetcli.training.recipes import locate_weights, read_recipe

    init = "" if given.init is None else locate_weights(given.init, Path())
    if kept is not None:
        return read_recipe(kept, init, folders, takes_init=given.names_weights)
    return read_recipe(name, init, folders)


def plan_run(plan: Recipe, given: GivenTraining, folders: dict[str, Path]) -> Recipe:
    """Return the recipe with what the command line says. Raise ConfigError, UsageError."""
    from fnetcli.errors import ConfigError
    from fnetcli.modalities import TABLE, network_order
    from fnetcli.training.config import DataSet, LabelledRecipe

    if not any(stage.iterations for stage in plan.stages):
        raise ConfigError(
            "iterations is 0 in all stages, so nothing would be trained; set it in one of them"
        )
    if folders:
        network_order([*folders])  # two, of which networks are for
        data = DataSet({name: str(path) for name, path in folders.items()})
        plan = dataclasses.replace(plan, data=(data,), validation=())
    if not plan.data:
        raise ConfigError(
            "no training pairs given; use --vis DIR --ir DIR, or [data] in the recipe"
        )
    if given.validation is not None:
        plan = dataclasses.replace(plan, validation=_validation_sets(plan, given.validation))
    _require_two(plan)
    plan = _plan_reading(plan, given)
    thermal = [one.name for one in TABLE if one.is_thermal]
    if plan.augment.invert_thermal and not any({*one.folders} & {*thermal} for one in plan.data):
        raise ConfigError(
            "[augment] invert_thermal: none of the images is thermal; leave it out, or train on ir"
        )
    if isinstance(plan, LabelledRecipe):
        return _plan_labels(plan, given, is_elsewhere=bool(folders))
    if given.labels is not None or any(one.labels for one in plan.data):
        raise ConfigError(
            f"--labels: the recipe trains {plan.model}, which learns without labels; leave the "
            "option out, or give a recipe of uaafusion"
        )
    return plan


def _require_two(plan: Recipe) -> None:
    """Raise ConfigError for a set of pairs that does not have two modalities."""
    from fnetcli.errors import ConfigError, UsageError
    from fnetcli.modalities import network_order

    for name in plan.paths:
        sets = getattr(plan, name)
        for one in sets if isinstance(sets, tuple) else ():
            try:
                network_order([*one.folders], prefix="")
            except UsageError as error:
                raise ConfigError(f"[{name}]: {error}") from None


def plan_registration(plan: Recipe, registration: GivenRegistration) -> Recipe:
    """Return the recipe with the registration of the command line, if it has any."""
    given = {
        name.removeprefix("--"): value for name, value in registration.words().items() if value
    }
    return dataclasses.replace(plan, registration=given) if given else plan


def _validation_sets(plan: Recipe, folder: Path) -> tuple[DataSet, ...]:
    """Return one set below a folder for each two modalities that the recipe trains on."""
    from fnetcli.training.config import DataSet

    found = dict[frozenset[str], DataSet]()
    for one in plan.data:
        is_one = len({Path(folder).resolve() for folder in one.folders.values()}) == 1
        below = {name: folder if is_one else folder / name for name in one.folders}
        own = DataSet(
            {name: str(path) for name, path in below.items()}, match=one.match, bands=one.bands
        )
        found.setdefault(frozenset(below), own)
    return tuple(found.values())


def _plan_reading(plan: Recipe, given: GivenTraining) -> Recipe:
    """Return the recipe with --match and --band. Raise UsageError."""
    from fnetcli.errors import UsageError
    from fnetcli.modalities import network_order

    if (given.match or given.band) and len(plan.data) > 1:
        option, name = ("--match", "match") if given.match else ("--band", "bands")
        raise UsageError(
            f"{option}: the recipe has {len(plan.data)} sets of pairs; write {name} in each "
            "[[data]] that needs it"
        )
    modalities = network_order([*plan.data[0].folders])
    if given.match:
        plan = dataclasses.replace(plan, match=per_modality("--match", given.match, modalities))
    if given.band:
        plan = dataclasses.replace(plan, bands=per_modality("--band", given.band, modalities))
    return plan


def _plan_labels(
    plan: LabelledRecipe, given: GivenTraining, *, is_elsewhere: bool
) -> LabelledRecipe:
    """Return the recipe with the labels that belong to its folders; those of others are dropped."""
    from fnetcli.errors import ConfigError

    if is_elsewhere:
        plan = dataclasses.replace(plan, labels="", validation_labels="")
    if given.labels is not None:
        plan = dataclasses.replace(plan, labels=str(given.labels))
    if given.validation is not None:
        folder = given.validation / "label"
        labels = str(folder) if folder.is_dir() else ""
        plan = dataclasses.replace(plan, validation_labels=labels)
    if len(plan.data) > 1 and (plan.labels or plan.unlabelled):
        raise ConfigError(
            f"labels and [unlabelled] belong to one set of pairs, but the recipe has "
            f"{len(plan.data)}; write labels in each [[data]] that has some"
        )
    if plan.needs_labels and not any((plan.labels, *(one.labels for one in plan.data))):
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
    """Raise UsageError for no run to resume, or a folder that is not empty or not writable."""
    from fnetcli.errors import UsageError
    from fnetcli.runs.protect import require_writable

    if run.exists() and not run.is_dir():
        raise UsageError(f"{run}: is a file; give a folder for the run")
    require_writable("-o", run / "any")
    if resume and not run.is_dir():
        raise UsageError(f"{run}: no such run; check the path, or start without --resume")
    if not resume and run.is_dir() and any(run.iterdir()):
        raise UsageError(f"{run}: not empty; use --resume, or choose another folder with -o")


class _Paired(NamedTuple):
    """A set of pairs: what belongs together, and how it is read."""

    data: DataSet
    modalities: tuple[str, str]
    reading: GivenReading
    pairing: Pairing


def find_pairs(plan: Recipe, run: Path, console: Console) -> tuple[PairList, PairList | None]:
    """Find, read and check all training and validation pairs, with labels if they are learnt.

    Raise UsageError if the run folder lies in one of theirs.
    """
    from fnetcli.training.config import LabelledRecipe
    from fnetcli.training.labelled import LabelledPairs

    crop = max((stage.crop for stage in plan.stages if stage.iterations), default=1)
    further = plan.unlabelled if isinstance(plan, LabelledRecipe) else ()
    paired = _pair_all(plan, (*plan.data, *plan.validation, *further), run, console)
    first, rest = paired[: len(plan.data)], paired[len(plan.data) :]
    sets = [_pairs(plan, one, console, one.data.crop or crop) for one in first]
    others = [_pairs(plan, one, console) for one in rest[: len(plan.validation)]]
    _require_memory(plan)
    pairs, validation = _together(sets, plan.data), _together(others, plan.validation)
    if not isinstance(plan, LabelledRecipe):
        return pairs, validation if others else None
    classes = len(plan.classes.names) + 1
    unlabelled = [_pairs(plan, one, console, crop) for one in rest[len(plan.validation) :]]
    labelled = LabelledPairs(
        pairs,
        _labels(sets, plan.data, plan.labels),
        classes,
        _together(unlabelled, plan.unlabelled) if unlabelled else None,
    )
    labelled.check()
    if not others:
        return labelled, None
    labels = _labels(others, plan.validation, plan.validation_labels)
    labelled_validation = LabelledPairs(validation, labels, classes)
    labelled_validation.check()
    return labelled, labelled_validation


def _require_memory(plan: Recipe) -> None:
    """Raise ConfigError if the network, or the crops of a batch, alone do not fit into memory."""
    from fnetcli.errors import ConfigError
    from fnetcli.memory import free_memory
    from fnetcli.models.table import MODELS
    from fnetcli.training.data import bytes_of_crops

    free, size = free_memory(), 0
    own: Any = plan  # the class of each model has a network
    for _, shape in MODELS[plan.model].shapes(own.network):
        size += BYTES_A_WEIGHT * math.prod(shape) + BYTES_A_TENSOR
        if size > free:  # the number of tensors may be beyond all measure, too
            raise ConfigError(
                f"[network]: training it needs more than the {free / 1e9:,.1f} GB of memory that "
                "are free; choose smaller numbers"
            )
    for stage in (stage for stage in plan.stages if stage.iterations):
        side = max(one.crop or stage.crop for one in plan.data)
        needed = bytes_of_crops(stage.batch, side)
        if needed > free:
            raise ConfigError(
                f"batch = {stage.batch}: crops of {side}x{side} pixels need {needed / 1e9:,.1f} GB "
                f"of memory, but {free / 1e9:,.1f} GB are free; choose a smaller batch in the "
                "recipe"
            )


def _together(sets: list[Pairs], data: tuple[DataSet, ...]) -> PairSource:
    """Return one set as it is, several as a mixture."""
    from fnetcli.training.data import Mixture

    if len(sets) == 1:
        return sets[0]
    shares = [one.share or float(len(pairs)) for one, pairs in zip(data, sets, strict=True)]
    return Mixture(sets, shares, [one.crop for one in data])


def _labels(sets: list[Pairs], data: tuple[DataSet, ...], labels: str) -> list[Path | None]:
    """Return the label of each pair of all sets; None for those of sets without labels."""
    from fnetcli.training.labelled import find_labels

    found: list[Path | None] = []
    for pairs, one in zip(sets, data, strict=True):
        folder = one.labels or labels
        found += find_labels(pairs.cases, Path(folder)) if folder else [None] * len(pairs)
    return found


def _pair_all(plan: Recipe, sets: Sequence[DataSet], run: Path, console: Console) -> list[_Paired]:
    """Pair the files of all sets, and say which have no partner in any of them."""
    from fnetcli.inputs.pairing import together
    from fnetcli.runs.protect import Inputs, require_outside

    found = [_pair(plan, one) for one in sets]
    labels = (*(one.labels for one in sets), *(getattr(plan, name, "") for name in LABELS))
    for one in found:
        require_outside(run, one.pairing)
    Inputs([Path(folder) for folder in labels if folder]).require_outside(run, f"-o {run}")
    for pairing in together([one.pairing for one in found]):
        tell_pairing(console, pairing)
    return found


def _pair(plan: Recipe, data: DataSet) -> _Paired:
    """Find all pairs of two folders. Raise TrainingError if there is none."""
    from fnetcli.errors import TrainingError
    from fnetcli.inputs.advice import VOLUMES
    from fnetcli.inputs.pairing import pair_paths
    from fnetcli.modalities import network_order

    folders = data.folders
    modalities = first, second = network_order(list(folders))
    bands, match = (
        [f"{name}={text}" for name, text in (own or of_all).items() if own or name in modalities]
        for own, of_all in ((data.bands, plan.bands), (data.match, plan.match))
    )
    reading = GivenReading(band=bands or None)
    named = GivenPairing(match=match or None)
    options = named.options(modalities, reading)
    pairing = pair_paths(Path(folders[first]), Path(folders[second]), options)
    if not pairing.cases:
        if pairing.advice.startswith(VOLUMES):
            raise TrainingError(f"{pairing.advice}; save their slices as pictures")
        advice = f"{pairing.advice}; " if pairing.advice.startswith("--match") else ""
        raise TrainingError(
            f"{folders[first]} and {folders[second]}: no pairs, as no two files have the same "
            f"name; {advice}check the folders, or describe the names with --match"
        )
    return _Paired(data, modalities, reading, pairing)


def _pairs(plan: Recipe, paired: _Paired, console: Console, smallest: int = 1) -> Pairs:
    """Read and check all pairs of a set."""
    from fnetcli.pictures.prepare import PrepareOptions
    from fnetcli.pictures.survey import survey
    from fnetcli.training.data import Pairs

    _, modalities, reading, pairing = paired
    place = GivenRegistration.of_words(plan.registration).place(None, of_camera=False)
    prepare = PrepareOptions(modalities, reading=reading.options(modalities), place=place)
    with Progress(None, "headers and ranges", console) as progress:
        found = survey(pairing.cases, prepare, on_step=progress.step)
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
    with Progress(len(pairs), "pairs read", console) as progress:
        pairs.check(progress.step)
    warnings = [(path, text) for path, texts in pairs.warnings.items() for text in texts]
    for path, text in warnings[:SHOWN_WARNINGS]:
        console.warning(f"{path}: {text}")
    if len(warnings) > SHOWN_WARNINGS:
        console.warning(f"{number_of(len(warnings) - SHOWN_WARNINGS, 'more warning')} of this kind")
    return pairs
