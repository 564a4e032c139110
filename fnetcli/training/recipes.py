"""Read a training recipe from TOML."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from fnetcli.errors import ConfigError
from fnetcli.files.guarded import FileKind, read_text
from fnetcli.training.config import DEFAULT_MODEL, Recipe, build
from fnetcli.training.table import RECIPES

RECIPE = FileKind(
    name="a recipe",
    limit=1 << 20,
    todo="give a TOML file",
    error=ConfigError,
    missing=ConfigError,
    missing_todo="give a recipe, for example configs/fnet.toml",
)


def default_recipe() -> Recipe:
    """Return the recipe where none is named: FNet's, as published."""
    return RECIPES[DEFAULT_MODEL]()


def read_recipe(path: Path) -> Recipe:
    """Read a TOML recipe; folders in it are relative to the file. Raise ConfigError."""
    try:
        table = tomllib.loads(read_text(path, RECIPE))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML ({error}); correct that line") from None
    kind = _kind(path, table)
    recipe: Recipe = build(kind, kind.completed(table), str(path))
    folders = {name: _resolve(getattr(recipe, name), path.parent) for name in recipe.paths}
    return dataclasses.replace(recipe, **folders)


def _kind(path: Path, table: dict[str, Any]) -> type[Recipe]:
    """Return the class of the model that a recipe names; take the name out of the table."""
    model = table.pop("model", DEFAULT_MODEL)
    if model not in RECIPES:
        known = ", ".join(RECIPES)
        raise ConfigError(f"{path}: model = {model!r}; must be one of {known}")
    return RECIPES[model]


def _resolve(value: dict[str, str] | str, base: Path) -> Any:
    """Return one folder, or those of some modalities, absolute; none stays none."""
    if isinstance(value, str):
        return str((base / value).resolve()) if value else ""
    return {modality: str((base / folder).resolve()) for modality, folder in value.items()}
