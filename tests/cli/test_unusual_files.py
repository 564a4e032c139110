"""Whatever a user names that is no ordinary file, or far too large a one, is refused in one line.

All options are tried in one process, which may take little more memory than it has when it begins:
what reads a device without end, or waits for a pipe, does not come out of it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path

import pytest

from tests.cli.command import tiny_weights
from tests.drawn_pictures import smooth_noise, write
from tests.drawn_volumes import GRIDS, phantom, write_nifti
from tests.paths import ROOT

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes and devices here")

Answers = dict[str, dict[str, tuple[int, str]]]

SECONDS = 300  # for all options together, on a busy machine
MORE_BYTES = 4 << 30
PROGRAM = """
import json, os, resource, sys
from tests.cli.command import fnet
import fnetcli.training.loop, fnetcli.volumes.fuse, fnetcli.runs.run, fnetcli.evaluation.run
import fnetcli.inspection.subject, fnetcli.reports.tables
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[2]),) * 2)
for folder, commands in json.loads(sys.argv[1]).items():
    os.chdir(folder)
    for command in commands:
        print("running", folder, *command, file=sys.stderr, flush=True)
        done = fnet(*command)
        print(json.dumps([done.exit_code, done.stderr]), flush=True)
"""
NAMES = {
    "device": "/dev/zero",
    "pipe": "pipe",
    "socket": "socket",
    "folder": "folder",
    "large": "large",
}


@contextmanager
def in_place(folder: Path) -> Iterator[None]:
    """Make a pipe, a socket, a folder and a file of many terabytes that take no room."""
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    (folder / "large").touch()
    os.truncate(folder / "large", 4 << 40)
    with socket.socket(socket.AF_UNIX) as there:
        with chdir(folder):
            there.bind("socket")  # its name may not be long
        yield


def commands(subject: str) -> dict[str, list[str]]:
    """Return what a user may type, by what is unusual in it."""
    pair = ["--vis", "vis.png", "--ir", "ir.png"]
    volumes = ["--mri", "mri.nii", "--pet", "pet.nii"]
    fuse, evaluate = ["fuse", "--weights", "tiny.safetensors"], ["eval", "--no-cache"]
    return {
        "vis": [*fuse, "--vis", subject, "--ir", "ir.png", "-o", "o1"],
        "volume": [*fuse, "--mri", "mri.nii", "--pet", subject, "-o", "o2"],
        "flir": [*fuse, "--flir", subject, "-o", "o8"],
        "fuse --weights": ["fuse", *pair, "--weights", subject, "-o", "o3"],
        "fuse --pairs": [*fuse, "--pairs", subject, "-o", "o4"],
        "fuse --transform": [*fuse, *volumes, "--transform", subject, "-o", "o5"],
        "manifest": [*fuse, *pair, "-o", "unusual"],
        "eval --weights": [*evaluate, *pair, "--weights", f"n={subject}"],
        "eval --fused": [*evaluate, *pair, "--fused", f"n={subject}"],
        "eval --pairs": [*evaluate, "--pairs", subject, "--baselines"],
        "inspect": ["inspect", subject],
        "inspect --weights": ["inspect", *pair, "--weights", subject],
        "train": ["train", subject, "-o", "o6"],
        "train --resume": ["train", "--resume", "-o", "run"],
    }


def prepare(folder: Path, kind: str) -> None:
    """Write ordinary inputs, and folders in which one file is unusual."""
    subject = NAMES[kind]
    tiny_weights(folder)
    for name in ("vis.png", "ir.png"):
        write(folder / name, smooth_noise(32, 32, 1))
    for name in ("mri.nii", "pet.nii"):
        write_nifti(folder / name, phantom(), GRIDS["axial"])
    for place, name in (("unusual", "manifest.jsonl"), ("run", "recipe.toml")):
        (folder / place).mkdir()
        (folder / place / name).symlink_to(subject if kind == "device" else f"../{subject}")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Exit codes and messages of all commands, by kind of file and option."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in NAMES}
    asked = {kind: commands(subject) for kind, subject in NAMES.items()}
    work = {str(folders[kind]): [*one.values()] for kind, one in asked.items()}
    with ExitStack() as stack:
        for kind, folder in folders.items():
            prepare(folder, kind)
            stack.enter_context(in_place(folder))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(work), str(MORE_BYTES)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    lines = iter(done.stdout.splitlines())
    return {kind: {option: json.loads(next(lines)) for option in asked[kind]} for kind in NAMES}


@pytest.mark.slow
@pytest.mark.parametrize("kind", NAMES)
def test_every_option_that_takes_a_file(kind: str, answers: Answers) -> None:
    asked = commands(NAMES[kind])
    for option, (code, message) in answers[kind].items():
        command = asked[option]
        lines = [line for line in message.splitlines() if line.startswith("error: ")]
        assert code in (1, 2), (option, command, message)
        assert lines, (option, message)
        assert "unexpected" not in message
        assert "memory" not in message
        assert len(lines) <= 2, (option, message)  # of a pair, and of the run
