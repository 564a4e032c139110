"""`--denoise`: a median before everything else, in millimetres."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from typer.testing import Result

from tests.cli.command import error_line, fnet
from tests.drawn_pictures import smooth_noise, write
from tests.drawn_volumes import AXIAL, affine, load_nifti, write_nifti, write_series

PLACE = affine(AXIAL, (3.0, 2.0, 2.0), (20.0, 30.0, -600.0))
SHAPE = (5, 14, 12)
NOISE = np.random.default_rng(8).integers(0, 1000, SHAPE).astype(np.int16)


def fuse(tmp_path: Path, ct: NDArray[Any], *further: object) -> Result:
    """Fuse a CT with a black MRI by the maximum: the result is the CT, from 0 to 1000."""
    mri = write_nifti(tmp_path / "mr.nii", np.zeros(ct.shape, np.int16), PLACE)
    return fnet(
        *("fuse", "--ct", write_nifti(tmp_path / "ct.nii", ct, PLACE), "--mri", mri),
        *("--range", "ct=0,1000", "--range", "mri=0,1000", "--method", "max", "--name", "A"),
        *("-o", tmp_path / "out", *further),
    )


def fused(tmp_path: Path, ct: NDArray[Any], *further: object) -> NDArray[Any]:
    result = fuse(tmp_path, ct, *further)
    assert result.exit_code == 0, result.output
    image = load_nifti(tmp_path / "out" / "fused" / "A.nii.gz")
    return np.asarray(image.get_fdata()).transpose(2, 1, 0) * 1000


def record(tmp_path: Path) -> dict[str, Any]:
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    (found,) = map(json.loads, lines)
    return dict(found)


def medians(values: NDArray[Any], offsets: list[tuple[int, int, int]]) -> NDArray[Any]:
    """Return the median of each voxel and those at these offsets; the outermost are wrong."""
    moved = [np.roll(values, offset, axis=(0, 1, 2)) for offset in offsets]
    return np.asarray(np.median(moved, axis=0))


SQUARE = [(0, row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]
CROSS = [(0, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
BESIDE = [(1, 0, 0), (-1, 0, 0)]
INNER = (slice(1, -1), slice(2, -2), slice(2, -2))


@pytest.mark.parametrize(
    ("how", "offsets"),
    [
        ("median", [*SQUARE, *BESIDE]),  # 1.5 steps of 2 mm; slices are 3 mm apart
        ("median:2", CROSS),
        ("median:2.9", SQUARE),
    ],
)
def test_median_of_a_neighbourhood_in_millimetres(
    tmp_path: Path, how: str, offsets: list[tuple[int, int, int]]
) -> None:
    found = fused(tmp_path, NOISE, "--denoise", f"ct={how}")
    expected = medians(NOISE, offsets)
    np.testing.assert_allclose(found[INNER], expected[INNER], atol=1e-3)
    assert record(tmp_path)["options"]["denoise"] == [None, how]
    (said,) = (one for one in record(tmp_path)["said"] if "denoised" in one)
    assert said.startswith("ct denoised: median within ")
    assert said.endswith(f", {len(offsets)} voxels")


def test_edges_stay(tmp_path: Path) -> None:
    step = np.zeros(SHAPE, np.int16)
    step[:, :, 6:] = 800
    np.testing.assert_allclose(fused(tmp_path, step, "--denoise", "ct=median"), step, atol=1e-3)


def test_off_by_default(tmp_path: Path) -> None:
    np.testing.assert_allclose(fused(tmp_path, NOISE), NOISE, atol=1e-3)
    assert "denoise" not in record(tmp_path)["options"]


def test_holes_do_not_leak(tmp_path: Path) -> None:
    """Next to a voxel without data the numbers stay."""
    holed = NOISE.astype(np.float32)
    holed[2, 7, 6] = np.nan
    found = fused(tmp_path, holed, "--denoise", "ct=median:2")
    for place in ((2, 6, 6), (2, 8, 6), (2, 7, 5), (2, 7, 7)):
        assert abs(found[place] - NOISE[place]) < 1e-3
    expected = medians(NOISE, CROSS)
    assert abs(found[2, 5, 6] - expected[2, 5, 6]) < 1e-3
    assert record(tmp_path)["ranges"]["ct"]["invalid"] == 1


def test_dicom_says_so(tmp_path: Path) -> None:
    mri = write_series(tmp_path / "P1" / "MR", NOISE, PLACE, "MR")
    ct = write_series(tmp_path / "P1" / "CT", NOISE, PLACE, "CT")
    given = ("--ct", ct, "--mri", mri, "--method", "max", "-o", tmp_path / "out", "--to", "dicom")
    result = fnet("fuse", *given, "--denoise", "ct=median:2", "--denoise", "mri=median")
    assert result.exit_code == 0, result.output
    header = pydicom.dcmread(tmp_path / "out" / "fused" / "P1" / "0001.dcm")
    assert "ct denoised: median within 2 mm" in header.DerivationDescription
    assert "mri denoised: median within 3 mm" in header.DerivationDescription


@pytest.mark.usefixtures("without_plots")
def test_inspect_shows_it(tmp_path: Path) -> None:
    mri = write_nifti(tmp_path / "mr.nii", np.zeros(SHAPE, np.int16), PLACE)
    ct = write_nifti(tmp_path / "ct.nii", NOISE, PLACE)
    given = ("--ct", ct, "--mri", mri, "--range", "ct=0,1000", "--range", "mri=0,1")
    result = fnet("inspect", *given, "-o", tmp_path / "i", "--denoise", "ct=median", "--slice", 2)
    assert result.exit_code == 0, result.output
    assert "ct denoised: median within 3 mm" in result.stderr


@pytest.mark.parametrize(
    ("text", "words", "code"),
    [
        ("ct=gauss", "--denoise ct=gauss: give median, or median:MM", 2),
        ("ct=median:0", "give median, or median:MM", 2),
        ("ct=median:-1", "give median, or median:MM", 2),
        ("ct=median:nan", "give median, or median:MM", 2),
        ("ct=median:", "give median, or median:MM", 2),
        ("ct=median:99", "at most 20", 2),
        ("ct", "--denoise ct: give --denoise mri=VALUE or --denoise ct=VALUE", 2),
        ("pet=median", "give --denoise mri=VALUE or", 2),
        ("ct=median:1", "reaches no other of its voxels of 2 x 2 x 3 mm; give at least 2", 1),
        ("ct=median:20", "more than 343; give a smaller radius", 1),
    ],
)
def test_refused(tmp_path: Path, text: str, words: str, code: int) -> None:
    result = fuse(tmp_path, np.tile(NOISE, (3, 2, 2)), "--denoise", text)
    assert result.exit_code == code, result.output
    assert words in error_line(result.stderr)
    assert not (tmp_path / "out" / "fused" / "A.nii.gz").exists()


def test_uptake_is_not_filtered(tmp_path: Path) -> None:
    pet = write_nifti(tmp_path / "pet.nii", NOISE, PLACE)
    mri = write_nifti(tmp_path / "mr.nii", NOISE, PLACE)
    given = ("--pet", pet, "--mri", mri, "-o", tmp_path / "out", "--denoise", "pet=median")
    result = fnet("fuse", *given)
    assert result.exit_code == 2
    assert "would change the uptake" in error_line(result.stderr)


def test_pictures_have_none(tmp_path: Path) -> None:
    pair = [write(tmp_path / f"{name}.png", smooth_noise(20, 30, 1)) for name in ("ct", "mri")]
    given = ("--ct", pair[0], "--mri", pair[1], "-o", tmp_path / "out", "--denoise", "ct=median")
    result = fnet("fuse", *given)
    assert result.exit_code == 2
    assert "--denoise: applies only to volumes" in error_line(result.stderr)
