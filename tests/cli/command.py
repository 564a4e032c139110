"""Run `fnet` in this process, as a user would."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from fnetcli.checkpoints.loading import save_weights
from fnetcli.cli.app import app
from fnetcli.models.fnet.config import FNetConfig
from fnetcli.models.fnet.network import FNet
from fnetcli.reports.figures import Figure
from tests.networks import resting

Arrays = dict[str, NDArray[Any]]


def fnet(*arguments: object) -> Result:
    """Return exit code, stdout and stderr of one call."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def tiny_weights(folder: Path) -> Path:
    """Write weights of a small random network and return their path."""
    path = folder / "tiny.safetensors"
    path.write_bytes(_tiny_file())
    return path


@functools.cache
def _tiny_file() -> bytes:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "tiny.safetensors"
        save_weights(path, resting(FNet(FNetConfig(atoms=4, kernel_size=3, iterations=2))), {})
        return path.read_bytes()


def leave_plots_out(patch: pytest.MonkeyPatch) -> None:
    """Put a dot in place of every plot: they take most of the time of `fnet inspect`."""
    for name in ("draw_histograms", "draw_lines"):
        patch.setattr(f"fnetcli.reports.figures.{name}", lambda *_: Figure(dot(), "plot"))


def dot() -> bytes:
    """Return a tiny PNG."""
    return iio.imwrite("<bytes>", np.zeros((4, 4, 3), np.uint8), extension=".png")


def error_line(stderr: str) -> str:
    """Return the only error of a call, which is one line."""
    assert "Traceback" not in stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
    return line


def log_rows(run: Path) -> list[dict[str, float]]:
    """Return the rows of a training log, without what depends on the machine's speed."""
    lines = (run / "log.jsonl").read_text().splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if key != "seconds"}
        for line in lines
    ]


def inspected(*arguments: object) -> Result:
    """Return the result of `fnet inspect`, which must succeed."""
    result = fnet("inspect", *arguments)
    assert result.exit_code == 0, result.output
    return result


def feature_arrays(folder: Path) -> Arrays:
    """Return the arrays that `fnet inspect` wrote."""
    with np.load(folder / "features.npz", allow_pickle=False) as found:
        return dict(found)


def record(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
