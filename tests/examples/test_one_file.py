"""The drawn file of a thermal camera: the hot breaker lies where the visible picture shows it."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.command import fnet
from tests.paths import ROOT


@pytest.mark.parametrize("kind", ["none", "translation"])
def test_registration_finds_the_parallax(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT / "examples")])
    show_one_file = importlib.import_module("show_one_file")
    file, out = tmp_path / "IR_0001.jpg", tmp_path / "out"
    show_one_file.write_file(file)
    result = fnet("fuse", "--flir", file, "--method", "average", "--register", kind, "-o", out)
    assert result.exit_code == 0
    record = json.loads((out / "manifest.jsonl").read_text())["alignment"]
    size, ratio = show_one_file.WIDTH, show_one_file.RATIO
    step = size / ratio / show_one_file.THERMAL[0]
    left = size * (1 - 1 / ratio) / 2 + show_one_file.OFFSET[0] + (step - 1) / 2
    moved = 0 if kind == "none" else show_one_file.PARALLAX[0]
    assert np.array(record["matrix"])[0, 2] == pytest.approx(left + moved, abs=0.3)
