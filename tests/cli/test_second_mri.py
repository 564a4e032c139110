"""MRI with MRI: a second MRI is a modality like any other, in every command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fnetcli.checkpoints.loading import load_weights
from tests.cli.command import error_line, fnet, inspected, record, tiny_weights
from tests.cli.tiny_recipes import FNET_NETWORKS
from tests.drawn_pictures import smooth_noise, write
from tests.drawn_volumes import AXIAL, affine, load_nifti, phantom, write_nifti, write_series

PLACE = affine(AXIAL, (3.0, 2.0, 2.0))
SHAPE = (4, 12, 14)
RECIPE = """
model = "fnet"
ema = 0.5
[[data]]
mri = "mri"
mri2 = "mri2"
{networks}
[stage_1]
iterations = 2
batch = 2
crop = 16
learning_rate = 1e-3
[stage_2]
iterations = 2
batch = 2
crop = 16
learning_rate = 1e-3
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FNET_NATIVE", "0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for seed, name in enumerate(("mri/a.png", "mri/b.png", "mri2/a.png", "mri2/b.png")):
        write(tmp_path / name, smooth_noise(24, 32, seed))


BOTH = ("--mri", "mri", "--mri2", "mri2")


def test_pictures_in_folders_and_lists(tmp_path: Path) -> None:
    weights = ("--weights", tiny_weights(tmp_path))
    result = fnet("fuse", *BOTH, "-o", "out", *weights, "--gain", "unique_mri2=1.2")
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"unique_mri", "unique_mri2"}
    Path("list.csv").write_text("MRI2;mri;case\nmri2/a.png;mri/a.png;one\n")
    result = fnet("fuse", "--pairs", "list.csv", "-o", "listed", *weights)
    assert result.exit_code == 0, result.output
    found = json.loads(Path("listed/manifest.jsonl").read_text())
    assert [*found["inputs"]] == ["mri", "mri2"]
    assert found["inputs"]["mri2"]["path"] == "mri2/a.png"


def test_scores(tmp_path: Path) -> None:
    weights = tiny_weights(tmp_path)
    result = fnet("eval", *BOTH, "--weights", weights, "--metrics", "EN,MI", "--json", "-")
    assert result.exit_code == 0, result.output
    (method, *_) = json.loads(result.stdout)["methods"]
    assert method["mean"]["MI"] > 0


@pytest.mark.usefixtures("eager")
def test_training(tmp_path: Path) -> None:
    Path("recipe.toml").write_text(RECIPE.format(networks=FNET_NETWORKS))
    result = fnet("train", "recipe.toml", "-o", "run")
    assert result.exit_code == 0, result.output
    metadata = load_weights(tmp_path / "run" / "last.safetensors").metadata
    assert metadata["trained_for"] == ["mri2+mri"]


def test_volumes(tmp_path: Path) -> None:
    home = tmp_path / "study"
    for number, name in ((1, "T1"), (2, "FLAIR")):
        pixels = np.abs(phantom(SHAPE, number)).astype(np.int16)
        attributes: dict[str, Any] = {"SeriesNumber": number, "SeriesDescription": name}
        uid = f"1.2.3.{number}"
        write_series(home / name, pixels, PLACE, "MR", SeriesInstanceUID=uid, **attributes)
        write_nifti(tmp_path / f"{name}.nii.gz", pixels, PLACE)
    weights = ("--weights", tiny_weights(tmp_path))
    result = fnet("fuse", "--mri", "T1.nii.gz", "--mri2", "FLAIR.nii.gz", "-o", "out", *weights)
    assert result.exit_code == 0, result.output
    assert "MRI2 percentiles 0.5 to 99.5" in result.stderr
    fused = load_nifti(tmp_path / "out/fused/FLAIR.nii.gz").get_fdata()
    study = ("fuse", "--mri", home, "--mri2", home, "-o", "chosen", *weights)
    chosen = ("--series", "mri=T1", "--series", "mri2=FLAIR", "--to", "dicom")
    result = fnet(*study, *chosen, "--name", "A")
    assert result.exit_code == 0, result.output
    result = fnet(*study, *chosen[:4], "--name", "B", "--maps", "none")
    again = load_nifti(tmp_path / "chosen/fused/B.nii.gz").get_fdata()
    np.testing.assert_array_equal(fused, again)
    list_file = home.parent / "list.csv"
    list_file.write_text(f"mri,mri2,case\n{home.name},{home.name},C\n")
    result = fnet("fuse", "--pairs", list_file, *study[5:], *chosen[:4], "--maps", "none")
    assert result.exit_code == 0, result.output
    line = error_line(fnet(*study, "--series", "mri=1", "--series", "mri2=1").stderr)
    assert "the same for mri and mri2, which would be fused with itself; give two" in line
    other = ("fuse", "--ct", "T1.nii.gz", "--mri", "T1.nii.gz", "-o", "same", *weights)
    assert "T1.nii.gz: the same for mri and ct, which would be" in error_line(fnet(*other).stderr)
    line = error_line(fnet(*study).stderr)
    assert "holds 2 series; choose one with --series" in line or "fused with itself" in line


def test_wrong_company() -> None:
    result = fnet("fuse", "--ct", "mri", "--mri2", "mri2", "-o", "out")
    assert result.exit_code == 2
    assert "--ct + --mri2 given; give exactly two that belong together" in result.stderr
    assert "mri2+mri" in result.stderr


def test_an_mri_is_inspected_once(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "T1", np.abs(phantom(SHAPE)), PLACE, "MR")
    inspected(folder, "--json", "facts.json")
    assert [one["modalities"] for one in record(tmp_path / "facts.json")["scaling"]] == [["mri"]]
