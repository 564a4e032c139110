"""A command line that cannot be understood: one line, what is wrong and what to do; exit code 2."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import torch
import typer.main

from fnetcli.cli.app import app
from fnetcli.cli.usage import asked
from tests.cli.command import error_line, fnet

COMMAND: Any = typer.main.get_command(app)
COMMANDS: Mapping[str, Any] = COMMAND.commands
OPTIONS = [
    (name, one)
    for name, command in COMMANDS.items()
    for one in command.params
    if one.param_type_name == "option"
]
VALUED = [(name, one) for name, one in OPTIONS if not one.is_flag]


def names(value: Any) -> str:
    return value if isinstance(value, str) else str(value.opts[-1])


Refusal = Callable[..., str]


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Return the only line that is printed for a command line."""

    def run(*words: str) -> str:
        assert COMMAND.main(list(words), prog_name="fnet", standalone_mode=False) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        (line,) = printed.err.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    return run


@pytest.mark.parametrize(("name", "option"), VALUED, ids=names)
def test_no_value(name: str, option: Any, refusal: Refusal) -> None:
    for spelling in option.opts:
        assert refusal(name, spelling).startswith(f"{spelling}: no value given; ")
        line = refusal(name, spelling, "--quiet")
        assert line.startswith(f"{option.opts[-1]}: no value given, --quiet follows; ")


@pytest.mark.parametrize(("name", "option"), VALUED, ids=names)
def test_no_such_choice(name: str, option: Any, refusal: Refusal) -> None:
    kind, (low, high) = asked(COMMANDS[name], option)
    spelling = option.opts[-1]
    if issubclass(kind, Enum):
        choices = [one.value for one in kind]
        line = refusal(name, spelling, "@")
        assert line.startswith(f"{spelling} @: unknown value; use ")
        assert all(choice in line for choice in choices)
        for choice in choices:
            assert f"did you mean {choice}?" in refusal(name, f"{spelling}={choice}@")
    elif issubclass(kind, int | float):
        for text in ("many", "", *([] if low is None else [str(low - 1)])):
            assert refusal(name, f"{spelling}={text}").startswith(f"{spelling} {text}: give a")
        if high is not None:
            assert f" to {high}" in refusal(name, spelling, str(high + 1))


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=names)
def test_misspelled(name: str, option: Any, refusal: Refusal) -> None:
    long = next(one for one in option.opts if one.startswith("--"))
    line = f"unknown option; did you mean {long}?"
    assert refusal(name, f"{long}x", "1") == f"{long}x: {line}"
    assert refusal(name, long[1:], "1") == f"{long[1:]}: {line}"


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=names)
def test_flags_take_no_value(name: str, option: Any, refusal: Refusal) -> None:
    long = next(one for one in option.opts if one.startswith("--"))
    if option.is_flag:
        assert refusal(name, f"{long}=1") == f"{long}: takes no value; write {long} alone"


@pytest.mark.parametrize("name", COMMANDS)
def test_options_of_other_commands(name: str, refusal: Refusal) -> None:
    own = {one for parameter in COMMANDS[name].params for one in parameter.opts}
    for command in COMMANDS.values():
        for option in {one.opts[-1] for one in command.params if one.opts[-1][:2] == "--"} - own:
            line = refusal(name, option, "1")
            assert line.startswith(f"{option}: an option of fnet ")
            assert line.endswith(f", not of fnet {name}; leave it out")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("fus", "fus: unknown command; did you mean fuse?"),
        ("evaluate", "evaluate: unknown command; did you mean eval?"),
        ("help", "help: unknown command; did you mean --help?"),
        (
            "a.png b.png",
            "a.png: unknown command; use fuse, train, eval or inspect, see fnet --help",
        ),
        ("--vis a.png --ir b.png", "--vis: an option of a command; write fnet fuse --vis ..."),
        ("--metrics MI", "--metrics: an option of a command; write fnet eval --metrics ..."),
        ("--versoin", "--versoin: unknown option; did you mean --version?"),
        ("--zzz", "--zzz: unknown option; see fnet --help"),
        ("fuse --zzz", "--zzz: unknown option; see fnet fuse --help-all"),
        ("fuse -z", "-z: unknown option; see fnet fuse --help-all"),
        ("fuse -vis a.png", "-vis: unknown option; did you mean --vis?"),
        ("fuse -ir=a.png", "-ir: unknown option; did you mean --ir?"),
        (
            "fuse --vis a.png b.png c.png -o out",
            "b.png c.png: no option before it; name an image as in --vis b.png, many by a folder",
        ),
        (
            "fuse a b c d -o out",
            "a b c ...: no option before it; name an image as in --vis a, many by a folder",
        ),
        ("inspect a b", "b: one too many; fnet inspect takes one FILE, and options"),
        ("train a b c", "b c: one too many; fnet train takes one RECIPE, and options"),
        (
            "fuse --existing ovrwrite --register rotate",
            "--existing ovrwrite: unknown value; did you mean overwrite?",
        ),
        ("fuse --max-pixels 0", "--max-pixels 0: give a number of at least 0.000001"),
        ("fuse --vis a --vis b -o out", "--vis: given twice; leave one out"),
    ],
)
def test_words(words: str, line: str, refusal: Refusal) -> None:
    assert refusal(*words.split()) == line


def test_values_that_look_like_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = fnet("fuse", "--vis=--ir", "--ir", "b.png", "-o", "out")
    assert error_line(done.stderr).endswith("no such file or folder; check the path")


def test_in_a_study(tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text('convention = "papr"\n')
    done = fnet("eval", study)
    assert done.exit_code == 2
    assert error_line(done.stderr) == (
        "error: --convention papr: unknown value; did you mean paper?"
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("train", "fnte"), "fnte: no such file; did you mean fnet?"),
        (("train", "--init", "fnet-medcal"), "fnet-medcal: no such file; did you mean"),
        (("train", "--write-recipe", "papr"), "--write-recipe papr: no such recipe; did you mean"),
        (("inspect", "--weights", "cddfuze"), "cddfuze: no such file; did you mean cddfuse?"),
    ],
)
def test_names_of_what_ships(words: tuple[str, ...], line: str) -> None:
    done = fnet(*words)
    assert done.exit_code == 2
    assert line in error_line(done.stderr)


def test_a_device_is_refused_before_images_are_read() -> None:
    done = fnet("train", "--vis", "nowhere", "--ir", "nowhere", "--device", "tpu")
    assert done.exit_code == 2
    assert error_line(done.stderr).startswith("error: --device tpu: not a device; use ")


@pytest.mark.parametrize("name", COMMANDS)
def test_threads(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    try:
        fnet(name, "--threads", 3, "--vis", tmp_path / "missing")
        assert os.environ["OMP_NUM_THREADS"] == "3"
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


TEXTS = [
    (name, one.opts[-1])
    for name, command in COMMANDS.items()
    for one in command.params
    if one.param_type_name == "option" and asked(command, one)[0] is str and not one.is_flag
]
PATHS = [
    (name, one.opts[-1] if one.param_type_name == "option" else "")
    for name, command in COMMANDS.items()
    for one in command.params
    if one.name != "help" and issubclass(asked(command, one)[0], Path)
]


def test_there_are_many_paths() -> None:
    assert len(PATHS) > 40
    assert ("inspect", "") in PATHS


@pytest.mark.parametrize(("command", "option"), PATHS)
def test_an_empty_path_is_not_the_working_folder(command: str, option: str) -> None:
    result = fnet(command, *([option] if option else []), "")
    assert result.exit_code == 2
    assert "an empty path, as of a variable that is not set; give a path" in error_line(
        result.stderr
    )


@pytest.mark.parametrize(("command", "option"), [*PATHS, *TEXTS])
def test_a_nul_character_is_none_of_a_path(command: str, option: str) -> None:
    """The shell gives none, but a study or a recipe may."""
    result = fnet(command, *([option] if option else []), "a\0b")
    assert result.exit_code == 2
    assert " a\\x00b: holds a NUL character; remove it" in error_line(result.stderr)


@pytest.mark.parametrize(("command", "option"), TEXTS)
def test_an_empty_value_is_none(command: str, option: str) -> None:
    result = fnet(command, option, "")
    assert result.exit_code == 2
    assert f"{option}: an empty value, as of a variable that is not set; give a value" in (
        error_line(result.stderr)
    )


@pytest.mark.parametrize("command", ["fuse", "eval", "inspect"])
def test_less_and_more_at_once(command: str) -> None:
    result = fnet(command, "-q", "--vis", "a.png", "-v")
    assert result.exit_code == 2
    assert error_line(result.stderr) == (
        "error: --quiet and --verbose: less and more is printed; leave one out"
    )
