"""Images and volumes in which nearly all is equal, or all of a type's range is used: no surprises.

They are fused, or refused in one line of ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from tests.cli.command import fnet, leave_plots_out, tiny_weights
from tests.drawn_pictures import smooth_noise, write
from tests.drawn_volumes import GRIDS, phantom, to_nifti

LARGEST = np.finfo(np.float32).max
LEAST = 1e-45  # the least number there is above zero


def pair_of(low: float, high: float, dtype: Any) -> tuple[NDArray[Any], ...]:
    """Return what holds two numbers only, and how often: half each, and once among all others."""
    half: NDArray[Any] = np.full((4, 32, 32), low, dtype)
    half[:, 8:24, 8:20] = high
    once: NDArray[Any] = np.full((4, 32, 32), low, dtype)
    once[2, 16, 16] = high
    return half, once


def after(value: float) -> float:
    return float(np.nextafter(np.float32(value), np.float32(np.inf)))


STEPS: dict[str, tuple[float, float, Any]] = {
    "constant": (7, 7, np.float32),
    "zeros": (0, 0, np.float32),
    "a step at 0": (0, LEAST, np.float32),
    "a step at 1": (1, after(1), np.float32),
    "a step at 1000": (1000, after(1000), np.float32),
    "a step below 0": (-1000, after(-1000), np.float32),
    "a step at 1e30": (1e30, after(1e30), np.float32),
    "a step at the end": (-float(LARGEST), after(-float(LARGEST)), np.float32),
    "all of the type": (-float(LARGEST), float(LARGEST), np.float32),
    "a step of a double": (1, float(np.nextafter(1, 2)), np.float64),
    "doubles beyond floats": (-1e300, 1e300, np.float64),
    "a whole step": (40_000, 40_001, np.int32),
    "all whole numbers": (-(2**31), 2**31 - 1, np.int32),
}
CASES: dict[str, NDArray[Any]] = {
    f"{name}, {often}": values
    for name, step in STEPS.items()
    for often, values in zip(("half", "once"), pair_of(*step), strict=True)
}


def assert_ours(code: int, stderr: str) -> None:
    assert code in (0, 1), stderr
    assert "unexpected" not in stderr
    assert "Warning" not in stderr
    errors = [line for line in stderr.splitlines() if line.startswith("error")]
    assert len(errors) == code, stderr


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "options",
    [(), ("--stretch", "minmax"), ("--stretch-scope", "folder", "--format", "tiff")],
    ids=" ".join,
)
def test_pictures(name: str, options: tuple[str, ...], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "ir.tif", CASES[name][2])
    write(tmp_path / "vis.png", smooth_noise(32, 32, 1, 3))
    pair = ("--vis", tmp_path / "vis.png", "--ir", tmp_path / "ir.tif")
    done = fnet(
        "fuse", *pair, "-o", tmp_path / "out", "--weights", tiny_weights(tmp_path), *options
    )
    assert_ours(done.exit_code, done.stderr)


@pytest.mark.parametrize("name", CASES)
def test_what_is_told_of_a_picture(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plots show scaled numbers: all of a type's range is enough to see that they hold."""
    if not name.startswith("all of the type"):
        leave_plots_out(monkeypatch)
    tifffile.imwrite(tmp_path / "ir.tif", CASES[name][2])
    write(tmp_path / "vis.png", smooth_noise(32, 32, 1))
    pair = ("--vis", tmp_path / "vis.png", "--ir", tmp_path / "ir.tif")
    for command in (
        ("inspect", tmp_path / "ir.tif"),
        ("inspect", *pair, "--weights", tiny_weights(tmp_path), "-o", tmp_path / "out"),
        ("eval", *pair, "--baselines", "--no-cache"),
    ):
        done = fnet(*command)
        assert_ours(done.exit_code, done.stderr)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("modalities", "options"),
    [
        ("mri ct", ()),
        ("mri ct", ("--window", "ct=auto")),
        ("mri pet", ()),  # its body is found as that of MRI is, and registration sees nothing else
        ("ct mri", ("--register", "rigid")),
    ],
)
def test_volumes(name: str, modalities: str, options: tuple[str, ...], tmp_path: Path) -> None:
    usual, odd = modalities.split()
    grid = GRIDS["axial"]
    nib.save(to_nifti(phantom((4, 32, 32)), grid), tmp_path / "usual.nii")
    nib.save(to_nifti(CASES[name], grid), tmp_path / "odd.nii")
    pair = (f"--{usual}", tmp_path / "usual.nii", f"--{odd}", tmp_path / "odd.nii")
    weights = tiny_weights(tmp_path)
    done = fnet("fuse", *pair, "-o", tmp_path / "out", "--weights", weights, *options)
    assert_ours(done.exit_code, done.stderr)
