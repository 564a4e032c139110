"""The wheel is complete: installed elsewhere it fuses with its own weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.drawn_pictures import smooth_noise, write

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_wheel_installed_elsewhere_fuses(tmp_path: Path) -> None:
    site, pip = tmp_path / "site", [sys.executable, "-m", "pip", "--quiet"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run([*pip, *build], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    install = ["install", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run([*pip, *install], check=True, capture_output=True)
    vis = write(tmp_path / "a.png", smooth_noise(16, 16, 1, 3))
    ir = write(tmp_path / "b.png", smooth_noise(16, 16, 2))

    def run(*arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    program = "from fnetcli.checkpoints.shipped import default_weights_path as p; print(p())"
    assert run("-c", program) == str(site / "fnetcli" / "weights" / "fnet.safetensors")
    assert run("-m", "fnetcli", "fuse", "--vis", vis, "--ir", ir) == "fnet-out/fused/a.png"
    assert (tmp_path / "fnet-out" / "fused" / "a.png").is_file()
    assert run("-m", "fnetcli", "train", "--write-recipe", "fnet") == "fnet.toml"
    assert (tmp_path / "fnet.toml").read_bytes() == (ROOT / "configs/fnet.toml").read_bytes()
