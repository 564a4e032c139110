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
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.command import tiny_weights
from tests.drawn_pictures import smooth_noise, write
from tests.drawn_volumes import GRIDS, phantom, write_nifti
from tests.paths import ROOT

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes and devices here")

SECONDS = 300  # for all options together, on a busy machine
MORE_BYTES = 4 << 30
PROGRAM = """
import json, resource, sys
from tests.cli.command import fnet
import fnetcli.training.loop, fnetcli.volumes.fuse, fnetcli.runs.run, fnetcli.evaluation.run
import fnetcli.inspection.subject, fnetcli.reports.tables
commands = json.loads(sys.argv[1])
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[2]),) * 2)
done = [fnet(*command) for command in commands]
print(json.dumps([[one.exit_code, one.stderr] for one in done]))
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
        there.bind("socket")
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


@pytest.mark.slow
@pytest.mark.parametrize("kind", NAMES)
def test_every_option_that_takes_a_file(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's name may not be long
    subject = NAMES[kind]
    tiny_weights(tmp_path)
    for name in ("vis.png", "ir.png"):
        write(tmp_path / name, smooth_noise(32, 32, 1))
    for name in ("mri.nii", "pet.nii"):
        write_nifti(tmp_path / name, phantom(), GRIDS["axial"])
    for folder, name in (("unusual", "manifest.jsonl"), ("run", "recipe.toml")):
        Path(folder).mkdir()
        Path(folder, name).symlink_to(subject if kind == "device" else f"../{subject}")
    asked = commands(subject)
    with in_place(tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps([*asked.values()]), str(MORE_BYTES)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    for (option, command), (code, message) in zip(
        asked.items(), json.loads(done.stdout.splitlines()[-1]), strict=True
    ):
        lines = [line for line in message.splitlines() if line.startswith("error: ")]
        assert code in (1, 2), (option, command, message)
        assert lines, (option, message)
        assert "unexpected" not in message
        assert "memory" not in message
        assert len(lines) <= 2, (option, message)  # of a pair, and of the run
