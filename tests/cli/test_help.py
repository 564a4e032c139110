"""--help says what was written, square brackets included."""

from __future__ import annotations

import functools
import itertools
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
from fnetcli.cli.help import EVERYDAY, KEPT
from fnetcli.cli.markup import literal

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
WIDE = {"COLUMNS": "4000", "NO_COLOR": "1", "TERM": "dumb"}


def words(text: str) -> str:
    """Return text without line breaks and frames."""
    return " ".join(re.sub(r"[\u2500-\u257f]", " ", text).split())


@functools.cache
def page(*arguments: str, **environment: str) -> str:
    """Return what a new process prints."""
    done = subprocess.run(
        [sys.executable, "-m", "fnetcli", *arguments],
        env={**os.environ, **WIDE, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def shown(*arguments: str) -> str:
    """Return all of a command's help on one line."""
    return words(page(*arguments, "--help-all" if arguments else "--help"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained_as_written(name: str) -> None:
    text, command = shown(name), COMMANDS[name]
    for paragraph in command.help.replace(KEPT, "").split("\n\n"):
        assert words(paragraph) in text
    for parameter in command.params:
        assert words(parameter.help or "") in text, parameter.name
        if isinstance(parameter.metavar, str):
            assert parameter.metavar in text
        if panel := getattr(parameter, "rich_help_panel", None):
            assert words(panel) in text


def test_commands_are_listed_as_written() -> None:
    text = shown()
    for command in COMMANDS.values():
        assert words(command.help.split("\n\n")[0]) in text


@pytest.mark.parametrize("name", COMMANDS)
def test_images_are_first_and_general_options_last(name: str) -> None:
    lines = page(name, "--help").splitlines()
    titles = [line for line in lines if line[:1].isupper() and not line.endswith((".", ":"))]
    panels = [title for title in titles if not title.startswith("Usage")]
    assert lines.index("Images: exactly two that belong together") < lines.index("General")
    assert next(one for one in panels if one.startswith("Images"))
    assert "  -h, --help" in page(name, "--help").split("General")[-1]


@pytest.mark.parametrize("name", COMMANDS)
def test_lines_fit_and_sentences_are_not_broken(name: str) -> None:
    """A line ends early only where the next word does not fit, or a paragraph ends."""
    lines = page(name, "--help-all", COLUMNS="80").splitlines()
    assert max(map(len, lines)) <= 80
    text = lines[2 : lines.index("Images: exactly two that belong together")]
    for line, following in itertools.pairwise(text):
        if line and following and not line.startswith("fnet "):
            assert len(f"{line} {following.split()[0]}") > 80


def test_fuse_is_two_screens_with_the_rest_elsewhere() -> None:
    short, full = page("fuse", "--help", COLUMNS="80"), page("fuse", "--help-all", COLUMNS="80")
    assert len(short.splitlines()) <= 100
    assert "--help-all" in short
    assert "--install-completion" in short
    for option in ("--vis", "--out", "--weights", "--gain", "--pairs"):
        assert f"{option} " in short
    for option in ("--max-memory", "--precision", "--nodata"):
        assert option not in short
        assert option in full


def test_everyday_options_exist() -> None:
    for name, everyday in EVERYDAY.items():
        assert set(everyday) <= {one.name for one in COMMANDS[name].params}
        assert len(set(everyday)) == len(everyday)


@given(st.text(alphabet="[]/\\#@aA1 ", max_size=20))
def test_literal_is_what_rich_calls_escaping(text: str) -> None:
    if not text.endswith("\\"):
        assert literal(text) == rich.markup.escape(text)
