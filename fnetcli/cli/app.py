"""The `fnet` command: options and help; no torch until a command runs."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from fnetcli.cli.eval import evaluate
from fnetcli.cli.fuse import fuse
from fnetcli.cli.help import LiteralCommand, LiteralGroup
from fnetcli.cli.inspect import inspect
from fnetcli.cli.study import StudyCommand
from fnetcli.cli.train import train
from fnetcli.cores import THREADS, core_quota, usable_cores

app = typer.Typer(
    name="fnet",
    cls=LiteralGroup,
    help="Fuse images from two sensors, and show what each of them contributes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 success; 1 something failed or there was nothing to do; "
    "2 wrong usage or missing path; 130 interrupted.",
)


def _version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        typer.echo(f"fnet {version('fnetcli')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Fuse images from two sensors, and show what each of them contributes."""
    del version  # its callback has printed it
    quota = core_quota()
    if quota is not None:  # libraries count the cores of the machine, not of the container
        os.environ.setdefault(THREADS, str(min(quota, usable_cores())))


app.command(no_args_is_help=True, cls=LiteralCommand)(fuse)
app.command(no_args_is_help=True, cls=LiteralCommand)(train)
app.command("eval", no_args_is_help=True, cls=StudyCommand)(evaluate)
app.command(cls=LiteralCommand)(inspect)
