"""The commands of the documentation work: those of the tutorials are run, all others parsed."""

from __future__ import annotations

import contextlib
import io
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
import typer.main

from fnetcli.cli.app import app
from fnetcli.models.fnet import shaped
from tests.cli.command import fnet
from tests.docs.pages import DOCS, Block, blocks, shown_commands
from tests.paths import ROOT

COMMANDS: Mapping[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
BESIDE = [ROOT / name for name in ("README.md", "weights/README.md")]
PAGES = [*(page for page in sorted(DOCS.rglob("*.md")) if page.name != "cli.md"), *BESIDE]
# What readers do at leisure, in small.
SMALLER = {
    "night-street": {},
    "two-cameras": {
        "--count 3": "--count 2 --size 160",
        "ir is 160x160, vis is 320x320": "ir is 80x80, vis is 160x160",
        "scaled by 1.801, rotated by -1.0 degrees": "scaled by 1.8",
        "3 of 3 pairs": "2 of 2 pairs",
    },
    "ct-and-mri": {},
    "compare-methods": {"--count 20 --size 128": "--count 2 --size 48", "96x128": "16x16"},
    "train-on-my-data": {
        "--count 40 --size 128": "--count 4 --size 48",
        "--count 8 --size 128": "--count 2 --size 48",
        "crop = 64": "crop = 16",
        "iterations = 30": "iterations = 1",
        "iterations = 60": "iterations = 2",
        "decay = 40": "decay = 1",
        "validate_every = 20": "validate_every = 1",
    },
}
COARSER = 5  # voxels of the drawn volumes that become one


class Reader:
    """Does what a page says, in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._output = ""
        self._names: dict[str, object] = {}

    def follow(self, block: Block) -> None:
        """Run, write or compare a block."""
        if block.kind == "sh":
            self._output = "\n".join(self._run(line, fails=block.fails) for line in block.lines)
        elif block.kind == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(block.text, self._names)  # noqa: S102
            self._output = printed.getvalue()
        elif block.kind == "text":
            told = " ".join(self._output.split())
            for line in block.lines:
                assert " ".join(line.split()) in told
        else:
            assert block.title, "a block that is neither run nor written nor compared"
            (self._folder / block.title).write_text(block.text)

    def _run(self, line: str, *, fails: bool) -> str:
        program, *arguments = shlex.split(line)
        if program == "fnet":
            done = fnet(*arguments)
            assert (done.exit_code != 0) == fails, f"{line}\n{done.output}"
            return done.output
        assert program == "python", line
        made = subprocess.run(
            [sys.executable, *arguments], check=True, capture_output=True, text=True
        )
        if arguments[0].endswith("draw_head_volumes.py"):
            self._coarsen(self._folder / arguments[1])
        return made.stdout

    @staticmethod
    def _coarsen(folder: Path) -> None:
        for path in folder.glob("*.nii.gz"):
            volume: Any = nib.load(path)
            coarse = volume.slicer[::COARSER, ::COARSER, ::COARSER]
            nib.save(nib.Nifti1Image(coarse.get_fdata(dtype="f4"), coarse.affine), path)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Someone in an empty folder that has the repository's examples."""
    for name in ("examples", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    # Compiling takes longer than these trainings.
    monkeypatch.setattr(shaped, "compile_threshold", lambda: None)
    return Reader(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLER)
def test_tutorials_do_what_they_say(name: str, reader: Reader) -> None:
    unused = dict(SMALLER[name])
    for block in blocks(DOCS / "tutorials" / f"{name}.md"):
        text = block.text
        for large, small in SMALLER[name].items():
            if large in text:
                unused.pop(large, None)
                text = text.replace(large, small)
        reader.follow(Block(block.kind, text, block.title, block.fails))
    assert not unused


def test_every_tutorial_is_tested() -> None:
    assert {page.stem for page in (DOCS / "tutorials").glob("*.md")} == set(SMALLER)


def test_the_worked_example_prints_what_it_says(reader: Reader) -> None:
    for block in blocks(DOCS / "how-it-works.md"):
        reader.follow(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_are_spelled_as_the_program_knows_them(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fnetcli.cli.options.network.limit_threads", lambda _: None)
    Path("study.toml").write_text("decimals = 2\n")  # the only file that is read
    for line in shown_commands(page):
        name, *arguments = shlex.split(line)[1:]
        if name.startswith("-") or "..." in arguments or name == "COMMAND":
            continue
        assert name in COMMANDS, line
        COMMANDS[name].make_context(name, arguments)
