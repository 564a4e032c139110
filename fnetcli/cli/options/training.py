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
        str | None,
        typer.Argument(
            metavar="[RECIPE]",
            help="A TOML file, or the name of a recipe that ships with fnet: fnet, paper, cddfuse, "
            "uaafusion, ... For a file with such a name, write ./NAME.",
            show_default=False,
        ),
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
            help="Folder with one label image per pair, for models that need labels (uaafusion): "
            "8 bits, grey or with a palette; pixels are numbers of the recipe's [classes], 0 is "
            "unlabelled. Labels of the validation pairs are in the folder 'label' of --validation.",
            show_default=False,
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Run folder. Default: runs/<recipe>.", show_default=False),
    ] = None
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            metavar="NAME|FILE",
            help="Start from these weights: a file, or the name of shipped ones. They also decide "
            "the network. Without a recipe, <model>-finetune is used.",
            show_default=False,
        ),
    ] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from the last state in the run folder.")
    ] = False
    accumulate: Annotated[
        int,
        typer.Option(
            "--accumulate",
            metavar="N",
            min=1,
            max=1024,
            help="Process each batch in N pieces, one after another: less memory, the same "
            "gradient. Losses that average over a batch average over a piece instead.",
        ),
    ] = 1
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard",
            help="Also write losses, scores and pictures for TensorBoard, to the folder "
            "tensorboard of the run. Needs: pip install 'fnetcli[tensorboard]'.",
        ),
    ] = False
    write_recipe: Annotated[
        str | None,
        typer.Option(
            "--write-recipe",
            metavar="NAME",
            help="Write a recipe that ships with fnet to NAME.toml, or to -o FILE, to edit it; "
            "nothing is trained. Names: fnet, paper, cddfuse, uaafusion, <model>-finetune, ...",
            show_default=False,
        ),
    ] = None
    match: Match = None
    band: Band = None

    @property
    def names_weights(self) -> bool:
        """Whether the command line says what to start from, itself or by its recipe."""
        return self.recipe is not None or self.init is not None
