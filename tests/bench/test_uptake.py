"""The share of uptake that is shown, on a slice where it is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import uptake
from tests.cli.command import tiny_weights
from tests.drawn_pictures import write


class Shown:
    """An engine that shows a quarter of what the PET adds to the MRI."""

    def __init__(self, _: object) -> None:
        self.fused = np.zeros(0)

    def run(self, first: np.ndarray, second: np.ndarray) -> Shown:
        mri, pet = first, second
        self.fused = mri + 0.25 * (pet - mri)
        return self


def test_share_of_what_is_brighter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(uptake, "Engine", Shown)
    mri, pet = np.full((24, 24), 60, np.uint8), np.full((24, 24), 70, np.uint8)
    pet[4:9, 4:9] = 200
    for name, image in (("mri", mri), ("pet", pet)):
        write(tmp_path / name / "a.png", image)
    weights = str(tiny_weights(tmp_path))
    uptake.main([str(tmp_path), "--with", "pet", "--weights", weights])
    assert capsys.readouterr().out == f"{weights}, 1 pair: 0.250 of the pet\n"
