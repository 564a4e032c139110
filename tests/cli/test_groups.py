"""Groups of options become a command's options; what may not repeat is refused."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from fnetcli.cli.options.group import OnceCommand, OptionGroup, takes_groups
from fnetcli.modalities import MODALITIES
from tests.cli.command import fnet
from tests.drawn_pictures import smooth_noise, write


@dataclass(frozen=True)
class Colours(OptionGroup):
    """A panel."""

    colour: Annotated[str, typer.Option("--colour", help="Which.")] = "red"
    shades: Annotated[list[str] | None, typer.Option("--shade", help="Which too.")] = None


@dataclass(frozen=True)
class Sizes(OptionGroup):
    """Another one."""

    size: Annotated[int, typer.Option("--size", "-s", help="How much.")] = 3
    large: Annotated[bool, typer.Option("--large", help="Very much.")] = False


app = typer.Typer(pretty_exceptions_enable=False)


@app.command(cls=OnceCommand)
@takes_groups
def paint(
    colours: Colours,
    sizes: Sizes,
    *,
    name: Annotated[str, typer.Argument(help="Of it.")] = "it",
) -> int:
    """Paint something."""
    typer.echo(f"{name} {colours.colour} {colours.shades} {sizes.size} {sizes.large}")
    return 0


def painted(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_options_of_groups() -> None:
    assert painted() == "it red None 3 False"
    assert painted("--colour", "blue", "wall", "-s", "7") == "wall blue None 7 False"
    assert painted("--shade", "a", "--shade", "b") == "it red ['a', 'b'] 3 False"
    assert list(inspect.signature(paint).parameters) == [
        *("colour", "shades", "size", "large", "name")
    ]
    assert "Paint something." in CliRunner().invoke(app, ["--help"]).stdout


@pytest.mark.parametrize(
    "twice",
    [("--colour", "a", "--colour", "b"), ("-s", "1", "--size", "1"), ("-s", "1", "-s", "2")],
)
def test_given_twice(twice: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, twice)
    assert result.exit_code == 2
    assert "given twice" in result.stderr


def test_a_flag_may_repeat() -> None:
    assert painted("--large", "--large") == "it red None 3 True"


@pytest.mark.parametrize("command", ["fuse", "train", "eval", "inspect"])
def test_no_command_keeps_the_last_of_two(command: str, tmp_path: Path) -> None:
    picture = write(tmp_path / "a.png", smooth_noise(8, 8, 1))
    result = fnet(command, "--vis", picture, "--ir", picture, "--vis", tmp_path)
    assert result.exit_code == 2
    assert "--vis: given twice" in result.stderr


@pytest.mark.parametrize("command", ["fuse", "train", "eval", "inspect"])
def test_every_modality_is_an_option_of_every_command(command: str) -> None:
    shown = fnet(command, "--help").stdout
    assert all(f"--{name}" in shown for name in MODALITIES)
