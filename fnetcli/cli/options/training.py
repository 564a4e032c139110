"""The options of `fnet train`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from fnetcli.cli.options.files import Band, Match
from fnetcli.cli.options.group import OptionGroup


@dataclass(frozen=True)
class GivenTraining(OptionGroup):
    """The recipe, the validation pairs and the run folder."""

    recipe: Annotated[
        Path | None,
        typer.Argument(help="TOML recipe, for example configs/fnet.toml.", show_default=False),
    ] = None
    validation: Annotated[
        Path | None,
        typer.Option(
            "--validation",
            help="Folder of validation pairs, with one sub-folder per modality (vis, ir, ...), or "
            "without any if one training folder holds both.",
            show_default=False,
        ),
    ] = None
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            help="Folder with one label image per pair: 8-bit grey, pixel = class of the recipe's "
            "[classes], 0 = unlabelled. For models that need labels (uaafusion). Labels of the "
            "validation pairs are in a folder 'label' within --validation.",
            show_default=False,
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Run folder. Default: runs/<recipe>.", show_default=False),
    ] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from the last state in the run folder.")
    ] = False
    match: Match = None
    band: Band = None
