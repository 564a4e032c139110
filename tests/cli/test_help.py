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


def test_some_help_has_brackets() -> None:
    """Else the tests above would not see what they are for."""
    helps = [one.help or "" for command in COMMANDS.values() for one in command.params]
    assert any("[" in text for text in helps)


def test_help_is_given_back_as_it_was() -> None:
    command = COMMANDS["fuse"]
    before = [one.help for one in command.params]
    with literal_help(command):
        assert [one.help for one in command.params] != before
    assert [one.help for one in command.params] == before


@given(st.text(alphabet="[]/\\#@aA1 ", max_size=20))
def test_literal_is_what_rich_calls_escaping(text: str) -> None:
    if not text.endswith("\\"):
        assert literal(text) == rich.markup.escape(text)
