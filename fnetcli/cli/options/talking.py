"""How much a command prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from fnetcli.cli.options.group import OptionGroup


@dataclass(frozen=True)
class GivenVerbosity(OptionGroup):
    """Whether to print details of every case."""

    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print details of every case.")
    ] = False


@dataclass(frozen=True)
class GivenQuiet(OptionGroup):
    """Whether to print less, or more about errors; `exits_properly` reads both, too."""

    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print errors and warnings only.")
    ] = False
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False
