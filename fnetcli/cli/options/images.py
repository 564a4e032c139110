"""Images: exactly two that belong together."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import typer

from fnetcli.cli.options.group import OptionGroup, parameter
from fnetcli.modalities import TABLE, Modality, partners

PANEL = "Images: exactly two that belong together"


@dataclass(frozen=True)
class GivenImages(OptionGroup):
    """The images given, by modality; one option for each entry of `modalities.TABLE`."""

    given: dict[str, Path]

    @classmethod
    def parameters(cls) -> list[inspect.Parameter]:
        """Return one option for each modality."""
        return [parameter(one.name, _option(one), None) for one in TABLE]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Keep the images that were given."""
        return cls({name: path for name, path in values.items() if path is not None})


def _option(modality: Modality) -> object:
    *others, last = partners(modality.name)
    goes_with = f"{', '.join(others)} or {last}" if others else last
    return Annotated[
        Path | None,
        typer.Option(
            f"--{modality.name}",
            help=f"{modality.about}; goes with {goes_with}.",
            rich_help_panel=PANEL,
        ),
    ]
