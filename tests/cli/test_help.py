"""--help says what was written, square brackets included."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import pytest
import rich.markup
import typer.main
from hypothesis import given
from hypothesis import strategies as st

from fnetcli.cli.app import app
from fnetcli.cli.help import literal, literal_help
from tests.paths import ROOT

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
WIDE = {"TERMINAL_WIDTH": "4000", "COLUMNS": "4000", "NO_COLOR": "1", "TERM": "dumb"}


def words(text: str) -> str:
    """Return text without line breaks and frames."""
    return " ".join(re.sub(r"[\u2500-\u257f]", " ", text).split())


def shown(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "fnetcli", *arguments, "--help"],
        env={**os.environ, **WIDE},
        capture_output=True,
        text=True,
        check=True,
    )
    return words(done.stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained_as_written(name: str) -> None:
    page, command = shown(name), COMMANDS[name]
    for paragraph in command.help.replace("\b", "").split("\n\n"):
        assert words(paragraph) in page
    for parameter in command.params:
        assert words(parameter.help or "") in page, parameter.name
        if isinstance(parameter.metavar, str):
            assert parameter.metavar in page
        if panel := getattr(parameter, "rich_help_panel", None):
            assert words(panel) in page


def test_commands_are_listed_as_written() -> None:
    page = shown()
    for command in COMMANDS.values():
        assert words(command.help.split("\n\n")[0]) in page


WITH_BRACKETS = """
from typing import Annotated
import typer
from fnetcli.cli.help import LiteralCommand, LiteralGroup
app = typer.Typer(cls=LiteralGroup, epilog="After [e]")
@app.callback()
def group() -> None:
    "Groups [g]."
@app.command(cls=LiteralCommand)
def one(a: Annotated[int, typer.Option(help="needs fnetcli[register], a [b]", metavar="[M=]N",
    rich_help_panel="Panel [p]")] = 1) -> None:
    "Does [x] and [y]."
app()
"""


def test_square_brackets_are_seen_wherever_they_stand() -> None:
    pages = [
        words(
            subprocess.run(
                [sys.executable, "-c", WITH_BRACKETS, *arguments, "--help"],
                env={**os.environ, **WIDE, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for arguments in ((), ("one",))
    ]
    for text in ("Groups [g].", "Does [x] and [y].", "After [e]"):
        assert text in pages[0]
    for text in ("Does [x] and [y].", "needs fnetcli[register], a [b]", "[M=]N", "Panel [p]"):
        assert text in pages[1]


def test_help_is_given_back_as_it_was() -> None:
    command = typer.main.get_command(app)
    before = command.help
    command.help = "Does [x]."
    with literal_help(command):
        assert command.help == "Does \\[x]."
    assert command.help == "Does [x]."
    command.help = before


@given(st.text(alphabet="[]/\\#@aA1 ", max_size=20))
def test_literal_is_what_rich_calls_escaping(text: str) -> None:
    if not text.endswith("\\"):
        assert literal(text) == rich.markup.escape(text)
