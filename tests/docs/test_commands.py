"""The commands of the documentation work: all are run, in small, but for those in NOT_RUN."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
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
from fnetcli.reports import plots
from fnetcli.training import recipes
from tests.cli.command import dot, fnet, leave_plots_out
from tests.docs import inputs
from tests.docs.pages import DOCS, Block, blocks, indented_commands, shown_commands
from tests.paths import ROOT

COMMANDS: Mapping[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
BESIDE = ("README.md", "weights/README.md", "CONTRIBUTING.md", "RELEASING.md", "SECURITY.md")
PAGES = {
    str(page.relative_to(ROOT).with_suffix("")): page
    for page in (*sorted(DOCS.rglob("*.md")), *(ROOT / name for name in BESIDE))
}
# Why a command is not run here; every other one is.
NOT_RUN = {
    "it installs packages; CI and `make release-check` do": [
        "pip install .",
        "pip install fnetcli-VERSION-py3-none-manylinux_2_31_x86_64.whl",
        "pip install 'fnetcli[cluster]'",
        "pip install 'fnetcli[compiler]'",
        "pip install 'fnetcli[video]'",
        ". .venv/bin/activate",
        "make demo",
    ],
    "it changes the settings of the user's shell; tests/cli/test_help.py": [
        "fnet --install-completion",
    ],
    "it takes a minute or hours; CI runs both, bounded": [
        "make fuzz",
        "make fuzz FUZZ=100000",
        "make chaos",
        "make chaos CHAOS=3600",
    ],
    "it starts Ray; tests/cli/test_cluster.py": [
        "ray start --head --port=6379",
        "ray start --address=HEAD:6379",
        "ray stop",
        "fnet fuse --vis VIS --ir IR -o OUT --cluster ray",
        "fnet fuse --vis VIS --ir IR -o OUT --cluster auto",
        "fnet fuse --vis VIS --ir IR -o OUT --cluster ray://HEAD:10001",
    ],
    "it starts several processes, each of which imports torch; tests/cli/test_torchrun.py": [
        "torchrun --nproc-per-node 4 -m fnetcli train paper --vis VIS --ir IR -o RUN",
    ],
    "it needs several GPUs; tests/engine/test_device.py": [
        "fnet fuse --vis VIS --ir IR -o OUT --device all",
    ],
    "it needs GNU parallel": [
        "seq 8 | parallel fnet fuse --vis VIS --ir IR -o OUT -q --threads 2 --part {}/8",
    ],
    "it is abridged": [
        "fnet fuse [OPTIONS]",
        "fnet train [RECIPE] [OPTIONS]",
        "fnet eval [STUDY] [OPTIONS]",
        "fnet inspect [FILE] [OPTIONS]",
        "fnet fuse ... --cluster auto",
        "fnet fuse ... --cluster ray://HEAD:10001",
        "fnet eval ... --cluster ray",
        "fnet fuse ... --device cuda:0,cuda:2",
        "fnet fuse ... --device cpu,cpu",
        "fnet train ... --accumulate 4",
        "python -m bench.ablations --budget full ...",
        "python -m bench.ablations --budget short --seeds 2 3 ...",
        (
            "torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d"
            " --rdzv-endpoint HOST:29500 -m fnetcli train ..."
        ),
    ],
    "it trains several networks; tests/bench": [
        (
            "python -m bench.ablations --budget short --vis VIS --ir IR --test-vis TEST/vis"
            " --test-ir TEST/ir -o runs/ablations"
        ),
        (
            "python -m bench.ablations --budget short --iterations 100 300 --batch 4 --crop 64"
            " --seeds 2 --vis VIS --ir IR --test-vis TEST/vis --test-ir TEST/ir -o OUT"
        ),
        "python -m bench.detection TRAIN TEST --weights fnet --weights cddfuse --draw found.png",
        "python -m bench.detection TRAIN TEST --steps 400 --weights fnet",
        "python -m bench.segmentation TRAIN TEST --weights fnet --weights cddfuse",
        "python -m bench.segmentation TRAIN TEST --weights fnet --weights uaafusion --steps 120",
    ],
}
TRAININGS = {"weights/README"}  # a page of little else: ten of them
LEFT = {command for listed in NOT_RUN.values() for command in listed}
# What a program leaves out, the name of a case, and Ray, which tests/cli/test_cluster.py starts.
INSTEAD = {
    'report.done["a"]': 'report.done["0"]',
    'report.fused["a"]': 'report.fused["0"]',
    "(View(a), View(b)), ...": "(View(a), View(b))",
    'cluster="ray"': "cluster=None",
    'cluster="ray://HEAD:10001"': "cluster=None",
    'cluster=ClusterOptions("ray", cpus=1)': "cluster=None",
}
# What readers do at leisure, in small.
SMALLER = {
    "night-street": {},
    "two-cameras": {
        "--count 3": "--count 2 --size 160",
        "ir is 160x160, vis is 320x320": "ir is 80x80, vis is 160x160",
        "scaled by 1.802, rotated by -1.0 degrees": "scaled by 1.8",
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
# The same for the commands of all pages.
SHORTER = {
    "--raw-size 640x512": "--raw-size 48x48",
    "--slice 40": "--slice 9",
    "--cost 480x640": "--cost 16x16",
    "--count 60 --size 128": "--count 3 --size 48",
    "0005?": "0000[01]",
    "--count 10 --size 128": "--count 2 --size 48",
    "--count 200": "--count 2 --size 48",
    "--count 96": "--count 2 --size 48",
    "--count 50": "--count 2 --size 48",
    "--count 40": "--count 2 --size 48",
    "in 96 112 128 144": "in 48 56",
    "--count 150": "--count 2",
    "120,80,64,48": "8,4,16,12",
    "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT": "3/16",
}
# Largest numbers in the recipes.
SHORT = {
    "iterations": 1,
    "batch": 4,
    "crop": 16,
    "warmup": 0,
    "decay": 1,
    "validate_every": 1,
    "validation_crop": 16,
    "min_contrast": 0,
}
NUMBER = re.compile(rf"^({'|'.join(SHORT)}) = (\d+)", re.MULTILINE)
PUBLISHED = "iterations = 20000\nbatch = 16\ncrop = 128\n"
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
            self._output = "\n".join(self.run(line, fails=block.fails) for line in block.lines)
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

    def run(self, line: str, *, fails: bool = False) -> str:
        """Run a command, `fnet` in this process; return what it printed."""
        program, *arguments = shlex.split(line)
        if program == "fnet":
            done = fnet(*arguments)
            assert (done.exit_code != 0) == fails, f"{line}\n{done.output}"
            return done.output
        assert program in {"python", "for"}, f"neither run nor in NOT_RUN: {line}"
        called = [sys.executable, *arguments] if program == "python" else ["bash", "-ec", line]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        made = subprocess.run(
            called,
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
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


def shortened(found: re.Match[str]) -> str:
    """Return a line of a recipe with a number that is not too large."""
    return f"{found[1]} = {min(int(found[2]), SHORT[found[1]])}"


def in_short(text: str) -> str:
    """Return commands or a file with smaller numbers."""
    for large, small in SHORTER.items():
        text = text.replace(large, small)
    return text


def to_run(page: Path) -> list[str]:
    """Return the commands of a page that are run, but for those that a tutorial's test runs."""
    is_tutorial = page.parent.name == "tutorials"
    found = indented_commands(page) if is_tutorial else shown_commands(page)
    return [command for command in found if command not in LEFT | elsewhere(page)]


def elsewhere(page: Path) -> set[str]:
    """Return the commands of the help that other pages have, too, where they are run."""
    others = [one for one in PAGES.values() if page.name == "cli.md" and one != page]
    return {command for other in others for command in shown_commands(other)}


def programs(page: Path) -> list[str]:
    """Return the Python of a page, but for the pages that a reader follows block by block."""
    is_followed = page.parent.name == "tutorials" or page.stem == "how-it-works"
    return [] if is_followed else [block.text for block in blocks(page) if block.kind == "python"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do without what takes longer than tiny runs: compiling, and drawing plots."""
    monkeypatch.setattr(shaped, "compile_threshold", lambda: None)
    monkeypatch.setattr(plots, "draw_loss_curves", lambda _, picture: picture.write_bytes(dot()))
    leave_plots_out(monkeypatch)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Someone in an empty folder that has the repository's examples."""
    for name in ("examples", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
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


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small file or folder for each name that the pages use."""
    folder = tmp_path_factory.mktemp("drawn")
    inputs.draw(folder)
    return folder


@pytest.fixture
def _short_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipes that ship with fnet, with an iteration or two per stage."""
    folder = tmp_path / "configs"
    found = {}
    for name, source in recipes.shipped_recipes().items():
        found[name] = folder / f"{name}.toml"
        found[name].parent.mkdir(parents=True, exist_ok=True)
        text = source.read_text(encoding="utf-8")
        text = text.replace("ema_warmup = false", "ema_warmup = true")  # which suits few iterations
        if "[stage_1]" not in text:  # the published one with a change
            text = "ema_warmup = true\n" + text
            text += "".join(f"\n[{stage}]\n{PUBLISHED}" for stage in ("stage_1", "stage_2"))
        found[name].write_text(NUMBER.sub(shortened, text), encoding="utf-8")
    monkeypatch.setattr(recipes, "shipped_recipes", lambda: found)


@pytest.mark.slow
@pytest.mark.usefixtures("_short_recipes")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long if name in TRAININGS else ())
        for name, page in PAGES.items()
        if to_run(page)
    ],
)
def test_commands_run(
    name: str, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder that has what they name."""
    shutil.copytree(drawn, tmp_path, dirs_exist_ok=True)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "weights").mkdir()
    if name in inputs.LISTS:
        (tmp_path / "list.csv").write_text(inputs.LISTS[name])
    monkeypatch.chdir(tmp_path)
    reader = Reader(tmp_path)
    for block in blocks(PAGES[name]):
        if block.title:
            (tmp_path / block.title).write_text(in_short(block.text))
    for command in to_run(PAGES[name]):
        if command.startswith("fnet train") and "--resume" not in command:
            shutil.rmtree("runs", ignore_errors=True)  # of another section of the page
        if "--write-recipe" in command:
            Path("mine.toml").unlink(missing_ok=True)  # too
        reader.run(in_short(command))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if programs(page)])
def test_programs_run(
    name: str, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder that has what they name, with what they leave open."""
    shutil.copytree(drawn, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    names = inputs.variables()
    program = "".join(programs(PAGES[name]))
    for shown, run in INSTEAD.items():
        program = program.replace(shown, run)
    exec(program, names)  # noqa: S102


def test_what_is_not_run_is_on_a_page() -> None:
    assert not LEFT - {command for page in PAGES.values() for command in shown_commands(page)}


@pytest.mark.parametrize("name", PAGES)
def test_commands_are_spelled_as_the_program_knows_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fnetcli.cli.options.network.limit_threads", lambda _: None)
    Path("study.toml").write_text("decimals = 2\n")  # the only file that is read
    for line in shown_commands(PAGES[name]):
        program, command, *arguments = shlex.split(line)
        is_abridged = {"...", "[OPTIONS]"} & {*arguments}
        if program != "fnet" or is_abridged or command.startswith("-"):
            continue
        assert command in COMMANDS, line
        COMMANDS[command].make_context(command, arguments)
