"""What `fnet inspect` looks at, and what it writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from fnetcli.cli.options.group import OptionGroup

RESULTS = "Results"


@dataclass(frozen=True)
class GivenInspection(OptionGroup):
    """Which results are written, and of which slice."""

    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Folder for the results. Of a pair it is fnet-inspect by default; of weights the "
            "dictionaries are drawn there if it is given.",
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Write the numbers as JSON; - for stdout, in place of the tables.",
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None
    codes: Annotated[
        bool,
        typer.Option(
            "--codes/--no-codes",
            help="Keep the codes u, v, z in features.npz (float16: 118 MB for 640x480).",
            rich_help_panel=RESULTS,
        ),
    ] = True
    iterations: Annotated[
        bool,
        typer.Option(
            "--iterations",
            help="Keep every iteration's codes before and after its threshold (ten times as many).",
            rich_help_panel=RESULTS,
        ),
    ] = False
    slice_number: Annotated[
        int | None,
        typer.Option(
            "--slice",
            metavar="N",
            min=1,
            help="Of volumes: which slice, from 1 on. Default: the middle one.",
            show_default=False,
        ),
    ] = None
