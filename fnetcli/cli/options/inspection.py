"""What `fnet inspect` reads and writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from fnetcli.cli.options.group import OptionGroup

RESULTS = "Results"


@dataclass(frozen=True)
class GivenInspection(OptionGroup):
    """Which results are written, and for which slice."""

    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Folder for the results. Default for a pair: fnet-inspect. For weights, their "
            "dictionaries are drawn only if a folder is given.",
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Write the numbers as JSON; - writes them to stdout instead of the tables.",
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None
    codes: Annotated[
        bool,
        typer.Option(
            "--codes/--no-codes",
            help="Save the network's features (FNet: the codes u, v, z) to features.npz as "
            "float16; FNet needs 118 MB for 640x480.",
            rich_help_panel=RESULTS,
        ),
    ] = True
    iterations: Annotated[
        bool,
        typer.Option(
            "--iterations",
            help="FNet: also save the codes of every iteration, before and after thresholding "
            "(ten times the size).",
            rich_help_panel=RESULTS,
        ),
    ] = False
    slice_number: Annotated[
        int | None,
        typer.Option(
            "--slice",
            metavar="N",
            min=1,
            help="Slice of volumes, counted from 1. Default: the middle one.",
            show_default=False,
        ),
    ] = None
