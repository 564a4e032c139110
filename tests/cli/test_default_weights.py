"""Which shipped weights are the default: `fnet`, or `fnet-medical` for a scanner's images."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from fnetcli import load_network
from fnetcli.checkpoints import shipped
from tests.cli.command import error_line, fnet, tiny_weights
from tests.drawn_pictures import smooth_noise, write
from tests.drawn_volumes import AXIAL, affine, write_nifti
from tests.paths import EXAMPLE

AXIAL_GRID = affine(AXIAL)
NOTICE = "weights fnet-medical for mri and {}; --weights chooses others"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FNET_NATIVE", "0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, seed in {"vis": 0, "ir": 1, "mri": 2, "ct": 3, "pet": 4, "spect": 5}.items():
        write(tmp_path / f"{name}.png", smooth_noise(24, 32, seed))


def images(*modalities: str) -> list[str]:
    return [text for name in modalities for text in (f"--{name}", f"{name}.png")]


def used(out: Path) -> str:
    """Return the name of the weights that the last case was fused with."""
    last = (out / "manifest.jsonl").read_text().splitlines()[-1]
    name: str = json.loads(last)["weights"]["name"]
    return name


@pytest.mark.parametrize("other", ["ct", "pet", "spect"])
def test_medical_pictures(tmp_path: Path, other: str) -> None:
    result = fnet("fuse", *images("mri", other), "-o", "out")
    assert result.exit_code == 0, result.output
    assert NOTICE.format(other) in result.stderr
    assert used(tmp_path / "out") == "fnet-medical.safetensors"


def test_default_by_name_and_another_choice(tmp_path: Path) -> None:
    """The default by name is the same; with other weights, a result is made again."""
    asked = ["fuse", *images("mri", "ct"), "-o", "out"]
    assert fnet(*asked, "--weights", "fnet").exit_code == 0
    assert used(tmp_path / "out") == "fnet.safetensors"
    result = fnet(*asked)
    assert "fnet-medical" in result.stderr
    assert used(tmp_path / "out") == "fnet-medical.safetensors"
    again = fnet(*asked, "--weights", "default")
    assert NOTICE.format("ct") in again.stderr
    assert "1 skipped" in again.stderr


def test_visible_and_infrared_pictures(tmp_path: Path) -> None:
    for weights in ([], ["--weights", "default"]):
        result = fnet("fuse", *images("vis", "ir"), "-o", "out", *weights)
        assert result.exit_code == 0, result.output
        assert "decides" not in result.stderr
        assert used(tmp_path / "out") == "fnet.safetensors"


def test_volumes(tmp_path: Path) -> None:
    for name, seed in (("pet", 6), ("ct", 7)):
        values = np.stack([smooth_noise(16, 16, seed + i) for i in range(2)], axis=2)
        write_nifti(tmp_path / f"{name}.nii", values.astype(np.int16), AXIAL_GRID)
    result = fnet("fuse", "--pet", "pet.nii", "--ct", "ct.nii", "-o", "out", "--maps", "none")
    assert result.exit_code == 0, result.output
    assert "weights fnet-medical for ct and pet; --weights chooses others" in result.stderr
    assert used(tmp_path / "out") == "fnet-medical.safetensors"


@pytest.mark.usefixtures("without_plots")
def test_inspect_and_eval() -> None:
    result = fnet("inspect", *images("mri", "ct"), "--json", "-", "-o", "seen", "--no-codes")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["weights"]["name"] == "fnet-medical.safetensors"
    result = fnet("eval", *images("mri", "pet"), "--weights", "default", "--metrics", "MI")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[2].startswith("fnet-medical ")


def test_a_name_wins_over_a_file_of_that_name(tmp_path: Path) -> None:
    tiny_weights(tmp_path).rename(tmp_path / "fnet")
    asked = ["fuse", *images("vis", "ir"), "-o", "out", "--weights"]
    assert fnet(*asked, "fnet").exit_code == 0
    assert used(tmp_path / "out") == "fnet.safetensors"
    assert fnet(*asked, "./fnet").exit_code == 0
    assert used(tmp_path / "out") == "fnet"
    result = fnet("inspect", "./fnet", "--json", "-")
    assert json.loads(result.stdout)["config"]["atoms"] == 4
    assert load_network("fnet").weights.name == "fnet.safetensors"
    assert load_network("./fnet").weights.name == "fnet"
    assert load_network(Path("fnet")).weights.name == "fnet"


def test_python_names_modalities() -> None:
    assert load_network(modalities=["mri", "pet"]).weights.name == "fnet-medical.safetensors"
    assert load_network(modalities=["ir", "vis"]).weights.name == "fnet.safetensors"
    assert load_network().weights.name == "fnet.safetensors"


def test_missing_from_the_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {name: path for name, path in shipped.shipped_weights().items() if name == "fnet"}
    monkeypatch.setattr(shipped, "shipped_weights", lambda: kept)
    result = fnet("fuse", *images("mri", "ct"), "-o", "out")
    assert result.exit_code == 1
    line = error_line(result.stderr)
    assert "fnet-medical.safetensors: the shipped weights are missing; reinstall fnet" in line
    assert fnet("fuse", *images("mri", "ct"), "-o", "out", "--weights", "fnet").exit_code == 0


def test_the_list_names_both() -> None:
    lines = fnet("inspect", "--list").stdout.splitlines()
    assert any(line.startswith("fnet (default): model fnet, trained for vis+ir") for line in lines)
    (medical,) = [line for line in lines if line.startswith("fnet-medical ")]
    assert "(default for CT, MRI, PET, SPECT)" in medical
    assert medical.endswith("trained for ct+mri, pet+mri, spect+mri")


@pytest.mark.usefixtures("without_plots")
def test_weights_for_the_parts_keep_less_of_what_both_show() -> None:
    """Its unique parts keep less of the edges of both pictures than those of fnet."""
    for name in ("vis", "ir"):
        write(Path(f"{name}.png"), iio.imread(EXAMPLE / f"{name}.png")[64:160, 96:208])
    pair = ["--vis", "vis.png", "--ir", "ir.png", "--no-codes"]
    kept = []
    for weights in ("fnet", "fnet-parts"):
        result = fnet("inspect", *pair, "--weights", weights, "--json", "-")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)["separation"]
        edges = (found[name]["edges_kept"] for name in ("ir", "vis"))
        kept.append([*edges, found["shared_edges"]])
    (ir, vis, shared), (less_ir, less_vis, more_shared) = kept
    assert less_ir < ir / 2
    assert less_vis < vis
    assert more_shared > shared
