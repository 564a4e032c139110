"""Result files: neither pictures nor other files of the user are replaced by mistake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.command import error_line, fnet, tiny_weights
from tests.drawn_pictures import write
from tests.drawn_scenes import scene

REGISTER = ("--register", "translation", "--register-scope", "folder")
# Arguments before the option and its file, by command; of each option a name that fits.
FUSE = ("fuse", "--vis", "vis", "--ir", "ir", "-o", "out", "--weights", "tiny.safetensors")
EVAL = ("eval", "--vis", "vis", "--ir", "ir", "--baselines", "--metrics", "MI")
INSPECT = ("inspect", "--vis", "vis/0.png", "--ir", "ir/0.png", "-o", "out", "--weights")
COMMANDS = {
    "fuse --json": (*FUSE, "--json"),
    "fuse --save-transform": (*FUSE, *REGISTER, "--save-transform"),
    "eval --csv": (*EVAL, "--csv"),
    "eval --json": (*EVAL, "--json"),
    "eval --markdown": (*EVAL, "--markdown"),
    "eval --latex": (*EVAL, "--latex"),
    "eval --html": (*EVAL, "--html"),
    "eval --cost": ("eval", "--cost", "8x8", "--baselines", "--json"),
    "inspect --json": (*INSPECT, "tiny.safetensors", "--json"),
    "inspect --save-transform": (
        *(*INSPECT, "tiny.safetensors", "--register", "translation", "--save-transform"),
    ),
    "inspect picture": ("inspect", "vis/0.png", "--json"),
    "inspect weights": ("inspect", "tiny.safetensors", "--json"),
}
FITTING = {"--csv": ".csv", "--markdown": ".md", "--latex": ".tex", "--html": ".html"}
every_option = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_plots: None) -> Path:
    del without_plots
    for i in range(2):  # scenes that can be registered
        picture = (255 * scene(i)[:150, :200]).astype(np.uint8)
        write(tmp_path / "vis" / f"{i}.png", picture)
        write(tmp_path / "ir" / f"{i}.png", picture)
    tiny_weights(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(command: tuple[str, ...], path: Path) -> str:
    """Return the error of a call that must print nothing else and write nothing."""
    before = {one: one.read_bytes() for one in Path().rglob("*") if one.is_file()}
    result = fnet(*command, path)
    assert result.exit_code == 2, result.output
    assert {one: one.read_bytes() for one in Path().rglob("*") if one.is_file()} == before
    assert not Path("out").exists()
    line = error_line(result.stderr)
    assert result.output.strip() == line
    return line


@every_option
def test_names_and_files_of_another_kind_are_refused(command: tuple[str, ...]) -> None:
    suffix = FITTING.get(command[-1], ".json")
    line = refused(command, Path("photo.PNG"))
    assert "is the name of another kind of file" in line
    assert line.endswith(f"end it in {suffix}")
    path = Path(f"scores{suffix}")
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    assert f"{command[-1]} {path}: exists and is not " in refused(command, path)


@every_option
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("file/sub/scores", "{} is a file, not a folder; choose another path"),
        ("new/" + "x" * 300, "cannot be written (File name too long); shorten the name"),
    ],
)
def test_what_cannot_be_written_is_told_before_anything_is_computed(
    command: tuple[str, ...], name: str, reason: str
) -> None:
    Path("file").touch()
    path = Path(name + FITTING.get(command[-1], ".json"))
    words = reason.format(Path("file").absolute())
    assert refused(command, path) == f"error: {command[-1]} {path}: {words}"


@every_option
def test_results_of_the_kind_are_replaced(command: tuple[str, ...]) -> None:
    path = Path(f"scores{FITTING.get(command[-1], '.json')}")
    path.touch()
    for _ in range(2):
        result = fnet(*command, path)
        assert result.exit_code == 0, result.output
        assert path.stat().st_size > 0


@pytest.mark.parametrize("name", ["scores.txt", "scores", "scores.2026-11-29"])
def test_a_table_edited_elsewhere_is_replaced(name: str) -> None:
    path = Path(name)
    path.write_bytes("\ufeffMéthode;MI\r\n".encode("utf-8-sig"))
    assert fnet(*EVAL, "--csv", path).exit_code == 0
    path.write_bytes("Méthode;MI\r\n".encode("cp1252"))
    assert fnet(*EVAL, "--csv", path).exit_code == 0
    assert path.read_text().startswith("method,")
