"""Read a training recipe from TOML: a file, or one that ships with fnet, by name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection
from importlib import resources
from pathlib import Path
from typing import Any

from fnetcli.checkpoints.loading import Weights, load_weights
from fnetcli.checkpoints.shipped import DEFAULT, default_name, find_weights, is_shipped
from fnetcli.errors import ConfigError
from fnetcli.files.guarded import FileKind, read_text
from fnetcli.files.toml import read_toml
from fnetcli.modalities import MODALITIES
from fnetcli.training.config import DEFAULT_MODEL, DataSet, Recipe, build
from fnetcli.training.table import RECIPES

DEFAULT_NAME = "paper"
SUFFIX = ".toml"
FINE_TUNING = "-finetune"  # after a model's name: the recipe that --init takes


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that ship with fnet by name: of the installed package or a checkout."""
    packaged = Path(str(resources.files("fnetcli"))) / "configs"
    checkout = Path(__file__).parents[2] / "configs"
    for folder in (packaged, checkout):
        paths = sorted(folder.rglob(f"*{SUFFIX}"))
        if paths:
            return {one.relative_to(folder).with_suffix("").as_posix(): one for one in paths}
    return {}


def listed_recipes() -> str:
    """Return the names of the shipped recipes, those of the paper's ablations as one."""
    names = [name for name in shipped_recipes() if "/" not in name]
    return ", ".join([*names, "ablations/..."])


def fine_tuning_recipe(init: str) -> str:
    """Return the name of the recipe that fine-tunes these weights. Raise CheckpointError."""
    return load_weights(find_weights(init)).network.spec.name + FINE_TUNING


def read_recipe(
    name: str | Path, init: str = "", modalities: Collection[str] = (), *, takes_init: bool = True
) -> Recipe:
    """Read a TOML recipe: a file, or by name a shipped one, whose folders are left out.

    A name takes precedence over a file of that name, which is `./NAME`. Paths in a file are
    relative to it; those of the recipe are relative to the working folder, or absolute. With
    `init`, in the recipe or here, the network is that of these weights; "default" are those for
    `modalities`, else for the recipe's pairs. Without `takes_init`, as for a run that has begun,
    they are not needed. Raise ConfigError, CheckpointError.
    """
    shipped = shipped_recipes().get(str(name))
    path = shipped or Path(name)
    table = read_toml(path, _kind())
    own = table.get("init", "")
    if own and isinstance(own, str):
        table["init"] = locate_weights(own, path.parent)
    if init:
        table["init"] = init
    if table.get("init") == DEFAULT:
        table["init"] = default_name(modalities or _modalities(table.get("data")))
    model = _model(path, table)
    weights = _weights(table["init"]) if takes_init and table.get("init") else None
    if weights is not None:
        _follow(path, model, weights, table)
    kind = RECIPES[model]
    recipe: Recipe = build(kind, kind.completed(table), str(path))
    if weights is not None:
        _require_shapes(path, recipe, weights)
    if shipped:
        none = {name: type(getattr(recipe, name))() for name in recipe.paths}
        return dataclasses.replace(recipe, **none)
    return _with_paths(recipe, lambda one: str(path.parent / one))


def resolved(recipe: Recipe) -> Recipe:
    """Return the recipe with absolute paths, as a run keeps it."""
    if recipe.init and not is_shipped(recipe.init):
        recipe = dataclasses.replace(recipe, init=str(Path(recipe.init).resolve()))
    return _with_paths(recipe, lambda one: str(Path(one).resolve()))


def _with_paths(recipe: Recipe, change: Callable[[str], str]) -> Recipe:
    """Return the recipe with the paths of images, labels and the transform changed."""
    given: dict[str, Any] = {}
    for name in recipe.paths:
        value: str | tuple[DataSet, ...] = getattr(recipe, name)
        if isinstance(value, str):
            given[name] = change(value) if value else ""
        else:
            given[name] = tuple(one.with_paths(change) for one in value)
    if transform := recipe.registration.get("transform"):
        given["registration"] = {**recipe.registration, "transform": change(transform)}
    return dataclasses.replace(recipe, **given)


def recipe_text(path: Path) -> str:
    """Return the text of a recipe. Raise ConfigError."""
    return read_text(path, _kind(), "utf-8-sig")


def _kind() -> FileKind:
    return FileKind(
        name="a recipe",
        limit=1 << 20,
        todo="give a TOML file",
        error=ConfigError,
        missing=ConfigError,
        missing_todo=f"give a TOML file, or a recipe by name ({listed_recipes()})",
        names=tuple(shipped_recipes()),
    )


def _model(path: Path, table: dict[str, Any]) -> str:
    """Return the model that a recipe names; take the name out of the table."""
    model = table.pop("model", DEFAULT_MODEL)
    if not isinstance(model, str) or model not in RECIPES:
        known = ", ".join(RECIPES)
        raise ConfigError(f"{path}: model = {model!r}; must be one of {known}")
    return model


# --- weights to start from ------------------------------------------------------------------------


def locate_weights(text: str, base: Path) -> str:
    """Return a name of shipped weights as it is, a path as one that is not relative to `base`."""
    if is_shipped(text):
        return text
    path = str(base / text)
    return f"./{path}" if is_shipped(path) else path


def _modalities(data: object) -> set[str]:
    """Return the modalities of [data] or [[data]]; `build` reports what is neither."""
    tables = data if isinstance(data, list) else [data]
    return {name for one in tables if isinstance(one, dict) for name in one} & {*MODALITIES}


def _weights(init: object) -> Weights | None:
    """Return the weights; None if the key is of a wrong type, which `build` reports."""
    return load_weights(find_weights(init)) if isinstance(init, str) else None


def _follow(path: Path, model: str, weights: Weights, table: dict[str, Any]) -> None:
    """Take from the weights what they decide. Raise ConfigError if the recipe says otherwise."""
    name, spec = weights.name, weights.network.spec
    if spec.name != model:
        raise ConfigError(
            f"{path}: trains {model}, but {name} holds a {spec.name}; give a recipe of "
            f"{spec.name}, such as {spec.name}{FINE_TUNING}, or other initial weights"
        )
    sections = RECIPES[model].follow(weights.network.config)
    for section, values in json.loads(json.dumps(sections)).items():
        given = table.get(section, {})
        if not isinstance(given, dict):
            continue  # `build` reports it
        for key, value in given.items():
            if key in values and value != values[key]:
                raise ConfigError(
                    f"{path}: {section}.{key} = {value!r}, but {name} has {values[key]!r}; leave "
                    "the key out, or give other initial weights"
                )
        table[section] = values | given


def _require_shapes(path: Path, recipe: Any, weights: Weights) -> None:
    """Raise ConfigError if the recipe's network is none that these weights fit."""
    wanted = dict(weights.network.spec.shapes(recipe.network))
    found = {name: array.shape for name, array in weights.network.arrays.items()}
    if wanted != found:
        raise ConfigError(
            f"{path}: the network of this recipe differs from that of {weights.name}; leave out "
            "[network], and give as many classes"
        )
