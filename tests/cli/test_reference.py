"""docs/cli.md says what the commands say."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from fnetcli.cli.app import app
from tests.cli.command import fnet

DOCS = Path(__file__).parents[2] / "docs"
MAKER = runpy.run_path(str(DOCS / "make_cli.py"))


def test_the_reference_is_fresh() -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert page == MAKER["page"](), "stale: run python docs/make_cli.py"


@pytest.mark.parametrize("command", ["fuse", "train", "eval", "inspect"])
def test_every_option_of_the_help_is_in_it(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    chapter = MAKER["page"]().split(f"## fnet {command}\n")[1].split("\n## ")[0]
    words = fnet(command, "--help").stdout.split()
    options = {word for word in words if word.startswith("--") and word[2:].isalpha()}
    assert len(options) > 5
    assert {option for option in options - {"--help"} if f"`{option}`" not in chapter} == set()


def test_there_is_a_chapter_for_every_command() -> None:
    page = MAKER["page"]()
    assert page.count("\n## fnet ") == len(app.registered_commands)
