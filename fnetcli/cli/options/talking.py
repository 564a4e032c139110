"""How much a command says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from fnetcli.cli.options.group import OptionGroup


@dataclass(frozen=True)
class GivenVerbosity(OptionGroup):
    """Whether to say more of every case."""

    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more of every case.")] = (
        False
    )


@dataclass(frozen=True)
class GivenQuiet(OptionGroup):
    """Whether to say less, and of errors more; `exits_properly` reads both, too."""

    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong.")] = False
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False
