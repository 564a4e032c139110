"""Groups of options become a command's options; what may not repeat is refused."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from fnetcli.cli.app import app as fnet_app
from fnetcli.cli.options.group import OptionGroup, StrictCommand, takes_groups
from fnetcli.errors import UsageError
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


@app.command(cls=StrictCommand)
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
    assert isinstance(result.exception, UsageError)
    assert "given twice" in str(result.exception)


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


COMMANDS = typer.main.get_command(fnet_app).commands  # type: ignore[attr-defined]
ONCE = [
    (name, one.opts[-1])
    for name, command in COMMANDS.items()
    for one in command.params
    if one.param_type_name == "option" and not one.is_flag and not one.multiple
]
# Per modality or part: a second value for the same one is refused. The others collect their values
# (numbers of no data, methods to score) or say the same twice (--invert, --repair-dead).
COLLECTED = {"--nodata", "--invert", "--repair-dead", "--fused", "--weights", "--set", "--inset"}
# Parsed likewise; refused first for pictures.
OF_OTHERS = {"--series", "--volume", "--window", "--denoise", "--frame-rate", "--entity"}
VALUES = {
    "--bits": "vis=8",
    "--range": "vis=0,9",
    "--stretch": "vis=1,99",
    "--page": "vis=1",
    "--band": "vis=1",
    "--gain": "common=1",
    "--palette": "ir=jet",
}
PER_MODALITY = [
    (name, one.opts[-1])
    for name, command in COMMANDS.items()
    for one in command.params
    if getattr(one, "multiple", False) and one.opts[-1] not in COLLECTED | OF_OTHERS
]


def test_there_are_many_options() -> None:
    assert len(ONCE) > 100
    assert len(PER_MODALITY) > 25


@pytest.mark.parametrize(("command", "option"), ONCE)
def test_an_option_that_may_not_repeat_says_so(command: str, option: str) -> None:
    result = fnet(command, option, "1", option, "2")
    assert result.exit_code == 2
    assert f"{option}: given twice; leave one out" in result.stderr


@pytest.mark.parametrize(("command", "option"), PER_MODALITY)
def test_a_second_value_for_a_modality_is_refused(
    command: str, option: str, tmp_path: Path
) -> None:
    value = VALUES.get(option, "vis={}")
    for name in ("vis", "ir"):
        write(tmp_path / name / "a.png", smooth_noise(8, 8, 1))
    images = ("--vis", tmp_path / "vis", "--ir", tmp_path / "ir")
    more = ("--fused", tmp_path / "vis") if command == "eval" else ()
    out = ("-o", tmp_path / "out") if command != "eval" else ()
    result = fnet(command, *images, *more, *out, option, value, option, value)
    assert result.exit_code == 2, result.output
    assert f"{option} {value}: given twice; leave one out" in result.stderr
