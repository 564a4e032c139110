"""`fnet fuse` on volumes: DICOM and NIfTI in; the clinic's formats out, where the patient lies."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import imageio.v3 as iio
import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from typer.testing import Result

from fnetcli.checkpoints.loading import save_weights
from fnetcli.formats.volumes import read_volume
from fnetcli.inputs.pairing import Case
from fnetcli.interruption import GivenUpError, require_wanted
from fnetcli.models.fnet.config import FNetConfig
from fnetcli.models.fnet.network import FNet
from fnetcli.runs.batch import MAX_BYTES, Batch, Stages
from tests.cli.command import fnet, tiny_weights
from tests.drawn_volumes import (
    AXIAL,
    CLASSES,
    CORONAL,
    LPS,
    PATIENT,
    SAGITTAL,
    Matrix,
    Volume,
    affine,
    enhanced,
    load_nifti,
    nuclear,
    rotation,
    save,
    save_one,
    slices,
    spacing,
    to_nifti,
    write_nifti,
    write_series,
)
from tests.networks import resting

sitk: Any = pytest.importorskip("SimpleITK")  # of the extra "test"
SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "volumes" / "STS_002"
WHITE = 10_000
SIGMA = 4.0  # mm, of the blob
HOLE = -5  # stored number that means nothing there
PARTS = ("unique_mri", "unique_ct", "common")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write weights of a network that averages: a quarter of x and y is unique, of both common."""
    network = FNet(
        FNetConfig(atoms=1, kernel_size=1, iterations=1, momentum="none", threshold="soft")
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for block in (network.encode_u, network.encode_v, network.encode_z):
            block.b_theta.fill_(-30)  # a threshold of nothing
            block.iteration(1).encode.weight.fill_(1)
        for last in (network.reconstruct_u, network.reconstruct_v, network.reconstruct_z):
            last.weight.fill_(0.25)
    path = tmp_path_factory.mktemp("weights") / "average.safetensors"
    save_weights(path, resting(network), {})
    return path


def one_line(result: Result, code: int = 2) -> str:
    """Return the error of a call that failed as it should: one line, no traceback."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert (result.exit_code, len(lines)) == (code, 1), result.output
    assert "Traceback" not in result.output
    assert "; " in lines[0] or ": give " in lines[0]
    return lines[0].removeprefix("error: ")


def succeeds(*arguments: object) -> Result:
    result = fnet("fuse", *arguments)
    assert result.exit_code == 0, result.output
    return result


def records(out: Path) -> dict[str, Any]:
    lines = (out / "manifest.jsonl").read_text().splitlines()
    return {record["case"]: record for record in map(json.loads, lines)}


def values(path: Path) -> tuple[NDArray[np.float64], Matrix]:
    """Return what nibabel reads: numbers (i, j, k), affine."""
    image = load_nifti(path)
    return np.asarray(image.get_fdata()), np.asarray(image.affine)


# --- phantoms of known geometry -------------------------------------------------------------------


def placed(
    steps: Matrix, step: tuple[float, float, float], shape: tuple[int, int, int]
) -> tuple[Matrix, tuple[int, int, int]]:
    """Return an affine whose middle is HOME, and the shape."""
    found = affine(steps, step)
    middle = [(size - 1) / 2 for size in shape]
    found[:3, 3] = HOME - found[:3, :3] @ middle
    return found, shape


HOME = np.array([31.0, -47.0, -612.5])  # mm, RAS+: the middle of every phantom
SPOT = np.array([34.3, -49.6, -610.6])  # of the blob
PLAIN = placed(AXIAL, (3.0, 1.6, 1.6), (16, 28, 30))
HALF = np.eye(4)
HALF[:3, 3] = 0.5
GRIDS: dict[str, tuple[Matrix, tuple[int, int, int]]] = {
    "axial": PLAIN,
    "half a voxel off": (PLAIN[0] @ HALF, PLAIN[1]),
    "oblique": placed(rotation((20, -35, 50)) @ AXIAL, (2.4, 1.5, 1.7), (20, 30, 28)),
    "rows and columns backwards": placed(
        AXIAL @ np.diag([1.0, -1, -1]), (3.0, 1.6, 1.6), (16, 28, 30)
    ),
    "slices to the feet": placed(AXIAL @ np.diag([-1.0, 1, 1]), (2.5, 1.6, 1.6), (19, 28, 30)),
    "anisotropic": placed(AXIAL, (5.0, 1.1, 2.3), (10, 40, 20)),
    "sagittal": placed(SAGITTAL, (2.6, 1.5, 1.5), (18, 30, 30)),
    "coronal": placed(CORONAL, (2.6, 1.5, 1.5), (18, 30, 30)),
    "finer": placed(AXIAL, (1.5, 1.0, 1.0), (30, 44, 44)),
}


def blob(matrix: Matrix, shape: tuple[int, int, int]) -> NDArray[np.int16]:
    """Return a bell of height WHITE at SPOT, as a scanner on this grid sees it."""
    there = np.moveaxis(np.indices(shape), 0, -1) @ matrix[:3, :3].T + matrix[:3, 3]
    distance = np.square(there - SPOT).sum(axis=-1)
    bell = np.rint(WHITE * np.exp(-distance / (2 * SIGMA**2)))
    return np.asarray(bell, np.int16)


def corner(shape: tuple[int, int, int]) -> NDArray[np.int16]:
    """Return a volume without data but for two black slices at the end, far from the blob."""
    pixels = np.full(shape, HOLE, np.int16)
    pixels[-2:] = 0
    return pixels


def write_corner(path: Path, kind: str, name: str) -> Path:
    """Write a reference that lets the other volume through nearly everywhere."""
    matrix, shape = GRIDS[name]
    pixels = corner(shape)
    if kind == "dicom":
        return write_series(path, pixels, matrix, "MR", PixelPaddingValue=HOLE)
    holed = np.where(pixels == HOLE, np.float32(np.nan), pixels).astype(np.float32)
    return write_nifti(path.with_name(f"{path.name}.nii.gz"), holed, matrix)


def write_blob(path: Path, kind: str, name: str) -> Path:
    matrix, shape = GRIDS[name]
    if kind == "dicom":
        return write_series(path, blob(matrix, shape), matrix, "CT")
    return write_nifti(path.with_name(f"{path.name}.nii"), blob(matrix, shape), matrix)


def centroid(path: Path) -> NDArray[np.float64]:
    """Return where the mass lies, in RAS+ millimetres, but for the slices at the ends."""
    found, matrix = values(path)
    mass = found.copy()
    mass[..., :2] = mass[..., -2:] = 0
    places = np.indices(found.shape)
    middle = [float((mass * place).sum() / mass.sum()) for place in places]
    return np.asarray(matrix[:3, :3] @ middle + matrix[:3, 3])


def itk_grid(folder: Path) -> tuple[Matrix, tuple[int, int, int]]:
    """Return the affine (column, row, slice) -> RAS+ and the size that SimpleITK reads."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return LPS @ matrix, image.GetSize()


def itk_place(path: Path) -> tuple[Matrix, tuple[int, int, int]]:
    """Return the same of one file."""
    image = sitk.ReadImage(str(path))
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return LPS @ matrix, image.GetSize()


def assert_same_place(some: Path, others: Path) -> None:
    (mine, size), (theirs, other_size) = itk_grid(some), itk_grid(others)
    assert size == other_size
    np.testing.assert_allclose(mine, theirs, atol=1e-6)


FORMATS = ("dicom", "nifti")
SIDES = [
    *(("axial", moving) for moving in GRIDS),
    *((reference, "axial") for reference in GRIDS if reference != "axial"),
    ("sagittal", "oblique"),
    ("oblique", "anisotropic"),
]
GATE = [  # reference, its format, moving volume, its format
    (reference, one, moving, other)
    for reference, moving in SIDES
    for one, other in itertools.product(FORMATS, FORMATS)
    if one != other or reference == moving
]


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    home = tmp_path_factory.mktemp("gate")
    for case in GATE:
        reference, one, moving, other = case
        write_corner(home / "mri" / "-".join(case), one, reference)
        write_blob(home / "ct" / "-".join(case), other, moving)
    result = succeeds(
        *("--ct", home / "ct", "--mri", home / "mri", "-o", home / "out", "--weights", weights),
        *("--range", f"ct=0,{WHITE}", "--range", f"mri=0,{WHITE}"),
    )
    assert f"two folders of volumes: {len(GATE)} cases by name" in result.stderr
    assert f"{len(GATE)} fused, 0 skipped, 0 failed" in result.stderr
    return home


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders mri and pet, with a series for each grid."""
    home = tmp_path_factory.mktemp("scans")
    for name, (matrix, shape) in GRIDS.items():
        scan, uptake = (np.clip(blob(matrix, shape) // k, 0, 999) for k in (20, 999))
        write_series(home / "mri" / name, scan, matrix, "MR")
        write_series(home / "pet" / name, uptake, matrix, "PT", Units="GML")
    return home


class TestGate:
    """A blob that only the moving volume has comes out where it was put."""

    @pytest.mark.parametrize("case", GATE, ids="-".join)
    def test_aligned_within_a_tenth_of_a_voxel(
        self, gate: Path, case: tuple[str, str, str, str]
    ) -> None:
        name, reference, moving = "-".join(case), case[0], case[2]
        tenth = 0.1 * min(*spacing(GRIDS[reference][0]), *spacing(GRIDS[moving][0]))
        for folder in ("unique_ct", "fused"):
            found = centroid(gate / "out" / folder / f"{name}.nii.gz")
            assert np.abs(found - SPOT).max() < tenth, found - SPOT

    @pytest.mark.parametrize("reference", GRIDS)
    def test_lies_where_the_reference_lies(self, gate: Path, reference: str) -> None:
        for case in [case for case in GATE if case[0] == reference][:2]:
            kind, name = case[1], "-".join(case)
            for folder in ("fused", *PARTS):
                found = load_nifti(gate / "out" / folder / f"{name}.nii.gz")
                if kind == "nifti":
                    source = load_nifti(gate / "mri" / f"{name}.nii.gz")
                    matrix, shape = source.affine, source.shape
                    for key in ("sform_code", "qform_code", "xyzt_units"):
                        assert found.header[key] == source.header[key]
                else:
                    matrix, shape = itk_grid(gate / "mri" / name)
                assert found.shape == shape
                assert found.get_data_dtype() == np.float32
                np.testing.assert_allclose(found.affine, matrix, atol=1e-4)

    def test_every_file_opens_in_itk(self, gate: Path) -> None:
        """SimpleITK and nibabel agree on where it lies."""
        paths = [path for folder in ("fused", *PARTS) for path in (gate / "out" / folder).iterdir()]
        assert len(paths) == 4 * len(GATE)
        for path in paths:
            matrix, size = itk_place(path)
            found = load_nifti(path)
            assert found.shape == size
            np.testing.assert_allclose(matrix, found.affine, atol=1e-4)

    @pytest.mark.parametrize("target", ["nifti", "nrrd", "mha", "dicom"])
    def test_every_format_opens_in_itk_at_the_references_place(
        self, scans: Path, tmp_path: Path, target: str
    ) -> None:
        """Fused, in colour and not, on every grid."""
        succeeds(
            *("--mri", scans / "mri", "--pet", scans / "pet", "-o", tmp_path / "out"),
            *("--to", target, "--method", "average"),
        )
        for name, folder in itertools.product(GRIDS, ("fused", "fused_color")):
            (path,) = (tmp_path / "out" / folder).glob(f"{name}*")
            found, size = itk_grid(path) if path.is_dir() else itk_place(path)
            expected, shape = itk_grid(scans / "mri" / name)
            np.testing.assert_allclose(found, expected, atol=1e-4)
            assert size == shape

    def test_own_grid_is_exact(self, gate: Path) -> None:
        for kinds in itertools.product(FORMATS, FORMATS):
            name = "-".join(("axial", kinds[0], "axial", kinds[1]))
            found, _ = values(gate / "out" / "unique_ct" / f"{name}.nii.gz")
            matrix, shape = PLAIN
            stored = blob(matrix, shape).transpose(2, 1, 0).astype(np.float32)
            expected = (stored / np.float32(WHITE)).astype(np.float64) / 2  # with black
            np.testing.assert_allclose(found[..., 2:-2], expected[..., 2:-2], atol=1e-6)


# --- smaller ones, for everything else ------------------------------------------------------------


SHAPE = (5, 14, 12)
PLACE = affine(AXIAL, (3.0, 2.0, 2.0), (20.0, 30.0, -600.0))


def grey(seed: int, shape: tuple[int, int, int] = SHAPE) -> NDArray[np.int16]:
    """Return a body in air, in numbers that may be HU."""
    pixels = np.full(shape, -1000, np.int16)
    inner = tuple(slice(size // 5, size - size // 5) for size in shape)
    noise = np.random.default_rng(seed).integers(-100, 300, shape, np.int16)
    pixels[inner] = noise[inner]
    return pixels


def positive(seed: int, shape: tuple[int, int, int] = SHAPE) -> NDArray[np.int16]:
    return np.asarray(np.clip(grey(seed, shape) + 120, 0, None), np.int16)


@dataclass
class Study:
    """A CT and an MRI of one patient as DICOM, and the same MRI as NIfTI."""

    ct: Path
    mri: Path
    scan: Path
    weights: Path
    out: Path

    def fuse(
        self,
        *further: object,
        ct: Path | None = None,
        mri: Path | None = None,
        out: Path | None = None,
    ) -> Result:
        return fnet(
            *("fuse", "--ct", ct or self.ct, "--mri", mri or self.mri, "-o", out or self.out),
            *("--weights", self.weights, *further),
        )

    def fused(self, *further: object, ct: Path | None = None, mri: Path | None = None) -> Result:
        result = self.fuse(*further, ct=ct, mri=mri)
        assert result.exit_code == 0, result.output
        return result


@pytest.fixture
def study(tmp_path: Path, weights: Path) -> Study:
    home = tmp_path / "P1"
    mri = positive(1)
    return Study(
        ct=write_series(home / "CT", grey(0), PLACE, "CT"),
        mri=write_series(home / "MR", mri, PLACE, "MR"),
        scan=write_nifti(home / "scan.nii.gz", mri, PLACE),
        weights=weights,
        out=tmp_path / "out",
    )


def made(out: Path) -> list[str]:
    """Return the names of all results."""
    return sorted(
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if path.is_file() and path.suffix not in {".json", ".jsonl"}
    )


def echoes(folder: Path, count: int, **attributes: Any) -> Path:
    """Write a series of MRI with several echoes, in one folder."""
    for echo in range(1, count + 1):
        headers = slices(positive(echo), PLACE, "MR", EchoTime=5 * echo, **attributes)
        save(headers, folder, f"E{echo}-{{:04d}}")
    return folder


class TestResults:
    def test_names_and_what_is_said(self, study: Study) -> None:
        result = study.fused()
        assert result.stdout.split() == [str(study.out / "fused" / "P1.nii.gz")]
        assert made(study.out) == [
            *("common/P1.nii.gz", "fused/P1.nii.gz", "preview/P1.png"),
            *("unique_ct/P1.nii.gz", "unique_mri/P1.nii.gz"),
        ]
        for words in (
            "two volumes: one case, P1",
            "P1: CT window soft: -160 to 240 HU",
            "P1: MRI percentiles 0.5 to 99.5 within the body: ",
            "1 fused, 0 skipped, 0 failed",
        ):
            assert words in result.stderr
        assert "warning" not in result.stderr
        record = records(study.out)["P1"]
        assert record["ranges"]["ct"] == {"low": -160, "high": 240, "invalid": 0, "window": "soft"}
        assert record["reference"] == "mri"
        assert record["spacing_mm"] == [3, 2, 2]
        assert record["inputs"]["ct"]["path"] == "CT"
        assert record["inputs"]["ct"]["size"] == "12x14x5"

    def test_parts_sum_to_the_fused_volume(self, study: Study) -> None:
        study.fused()
        total = sum(values(study.out / name / "P1.nii.gz")[0] for name in PARTS)
        fused, _ = values(study.out / "fused" / "P1.nii.gz")
        np.testing.assert_allclose(fused, np.clip(total, 0, 1), atol=1e-6)
        header = load_nifti(study.out / "fused" / "P1.nii.gz").header
        assert (header["cal_min"], header["cal_max"]) == (0, 1)
        assert (header["descrip"], header["db_name"], header["aux_file"]) == (b"", b"", b"")

    def test_gains_weigh_the_parts(self, study: Study) -> None:
        study.fused("--gain", "unique_ct=0", "--gain", "common=0.5")
        first, _, common = (values(study.out / name / "P1.nii.gz")[0] for name in PARTS)
        fused, _ = values(study.out / "fused" / "P1.nii.gz")
        np.testing.assert_allclose(fused, np.clip(first + 0.5 * common, 0, 1), atol=1e-6)

    def test_without_maps(self, study: Study) -> None:
        study.fused("--maps", "none")
        assert made(study.out) == ["fused/P1.nii.gz", "preview/P1.png"]

    def test_where_one_has_no_data_the_other_passes_through(
        self, study: Study, tmp_path: Path
    ) -> None:
        """Of the MRI's five slices the CT covers the first two, and the MRI lacks some voxels."""
        mri = positive(1).astype(np.float32)
        mri[0, :3] = np.nan
        mri[4, 2:4] = np.nan
        scan = write_nifti(tmp_path / "mr.nii", mri, PLACE)
        ct = write_series(tmp_path / "short", grey(0)[:2], PLACE, "CT")
        result = study.fused("--range", "mri=0,400", ct=ct, mri=scan)
        words = "the ct covers 40 % of the mri's grid; elsewhere only the mri is shown"
        assert f"warning: mr: {words}" in result.stderr
        unique_mri, unique_ct, common, fused = (
            values(study.out / name / "mr.nii.gz")[0].transpose(2, 1, 0)
            for name in (*PARTS, "fused")
        )
        np.testing.assert_array_equal(fused[2:], unique_mri[2:])
        alone, seen = np.clip(mri[2:] / 400, 0, 1), ~np.isnan(mri[2:])
        assert np.corrcoef(fused[2:][seen], alone[seen])[0, 1] > 0.8
        assert not fused[2:][~seen].any()
        assert not unique_ct[2:].any()
        assert not common[2:].any()
        assert common[1].any()
        np.testing.assert_array_equal(unique_ct[0, :3], fused[0, :3])
        assert not unique_mri[0, :3].any()
        assert not common[0, :3].any()
        assert records(study.out)["mr"]["ranges"]["mri"]["invalid"] == 5 * 12
        assert records(study.out)["mr"]["ranges"]["ct"]["invalid"] == 3 * 14 * 12

    @pytest.mark.parametrize("cut", ["slices", "rows", "hole"])
    def test_where_one_volume_ends_there_is_no_seam(
        self, weights: Path, tmp_path: Path, cut: str
    ) -> None:
        """Half of a CT with all of an MRI: as bright as with all of the CT, and no step between."""
        shape, place = (16, 40, 32), affine(AXIAL, (3.0, 2.0, 2.0), (20.0, 30.0, -600.0))
        z, y, x = np.indices(shape)
        inside = np.square((z - 7.5) / 9) + np.square((y - 20) / 17) + np.square((x - 16) / 13) < 1
        fat = inside & (np.square((y - 20) / 13) + np.square((x - 16) / 9) > 1)
        bone = np.square(y - 22) + np.square(x - 18) < 26
        noise = np.random.default_rng(1)
        tissues = ((inside, 50, 80), (fat, -100, 350), (bone & inside, 700, 20))
        ct = np.full(shape, -1000.0)
        mri = np.full(shape, 4.0)
        for mask, hu, brightness in tissues:
            ct[mask], mri[mask] = hu, brightness
        ct += noise.normal(0, 2, shape)
        mri += noise.normal(0, 1, shape)
        is_cut = {
            "slices": z >= 8,
            "rows": y >= 20,
            "hole": np.square(z - 8) + np.square(y - 20) + np.square(x - 10) < 20,
        }[cut]
        half = np.where(is_cut, np.nan, ct).astype(np.float32)
        scan = write_nifti(tmp_path / "mr.nii", mri.astype(np.float32), place)
        found = {}
        for name, pixels in (("half", half), ("whole", ct.astype(np.float32))):
            succeeds(
                *("--ct", write_nifti(tmp_path / f"{name}.nii", pixels, place), "--mri", scan),
                *("-o", tmp_path / "out", "--weights", weights, "--name", name),
                *("--range", "ct=-160,240", "--range", "mri=0,400"),
            )
            found[name] = values(tmp_path / "out" / "fused" / f"{name}.nii.gz")[0].T
        tissues_apart = (inside & ~fat & ~bone, fat, bone & inside, ~inside)
        for mask in tissues_apart:
            core = ndimage.binary_erosion(mask, np.ones((1, 3, 3)))
            if (core & is_cut).any():
                apart = found["half"][core & is_cut].mean() - found["half"][core & ~is_cut].mean()
                assert abs(apart) < 0.02
        air = ~ndimage.binary_dilation(inside, iterations=4) & is_cut
        assert not air.any() or found["half"][air].max() < 0.03
        step = np.abs(np.diff(found["half"] - found["whole"], axis=0 if cut == "slices" else 1))
        assert step.mean() < 0.02
        np.testing.assert_allclose(found["half"][~is_cut], found["whole"][~is_cut], atol=1e-5)

    def test_own_grid_turned_about_is_exact(self, study: Study, tmp_path: Path) -> None:
        """The same voxels in another order give the same bits."""
        study.fused(mri=study.scan, ct=study.ct)
        expected = [values(study.out / name / "scan.nii.gz") for name in (*PARTS, "fused")]
        turned = np.ascontiguousarray(grey(0)[::-1].transpose(1, 2, 0))
        way = np.zeros((4, 4))  # (row, column, slice from the last on) -> (slice, row, column)
        way[1, 0] = way[2, 1] = way[3, 3] = 1
        way[0, 2], way[0, 3] = -1, SHAPE[0] - 1
        ct = write_nifti(tmp_path / "ct.nii", turned, PLACE @ way)
        study.fused("--window", "ct=soft", mri=study.scan, ct=ct)
        for name, (pixels, matrix) in zip((*PARTS, "fused"), expected, strict=True):
            found, where = values(study.out / name / "scan.nii.gz")
            np.testing.assert_array_equal(found, pixels)
            np.testing.assert_array_equal(where, matrix)

    def test_preview_shows_slices(self, study: Study) -> None:
        study.fused()
        preview = iio.imread(study.out / "preview" / "P1.png")
        assert preview.ndim == 2
        assert preview.max() > 0

    def test_windows_are_recorded_by_name(self, study: Study) -> None:
        def recorded(*further: object) -> tuple[object, ...]:
            study.fused("--maps", "none", *further)
            known = records(study.out)["P1"]["ranges"]["ct"]
            return known.get("window"), known["low"], known["high"]

        assert recorded() == ("soft", -160, 240)
        assert recorded("--window", "ct=liver") == ("liver", -15, 135)
        assert recorded("--window", "ct=150,60") == (None, -15, 135)
        assert recorded("--range", "ct=-160,240") == (None, -160, 240)

    def test_preview_has_inputs_letters_and_no_empty_slices(
        self, study: Study, tmp_path: Path
    ) -> None:
        shape = (6, 80, 70)
        mri, ct = np.zeros(shape, np.int16), np.full(shape, -1000, np.int16)
        mri[2:4, 20:60, 20:50] = 200
        ct[2:4, 20:60, 20:50] = 50
        scan = write_nifti(tmp_path / "mr.nii", mri, PLACE)
        pet = write_series(tmp_path / "pet", (mri // 25).astype(np.int16), PLACE, "PT", Units="GML")
        given = ("--mri", scan, "-o", study.out, "--weights", study.weights, "--name", "A")
        succeeds("--ct", write_nifti(tmp_path / "ct.nii", ct, PLACE), *given)
        sheet = iio.imread(study.out / "preview" / "A.png")
        full = [2, 3]
        tiles = 80 * 3 * 70 * len(full)
        assert tiles <= sheet.size < tiles + 1000  # four of six slices are empty
        first, second, result = (sheet[:80, i * 70 : (i + 1) * 70] for i in range(3))
        for tile in (first, second, result):
            assert tile[40, 35] > 80
            assert tile[70, 35] == 0
        assert first[:12].max() > 200  # its position
        assert result[40:52, :8].max() > 200  # R
        assert result[40:52, -8:].max() > 200  # L
        succeeds("--pet", pet, *given)
        colored = iio.imread(study.out / "preview" / "A.png")
        assert colored.shape[0] > sheet.shape[0]
        bar = colored[-20]
        assert not bar[0].any()
        assert bar[-1][0] > 200
        assert bar[-1][2] < 50


class TestTargets:
    def test_dicom(self, study: Study) -> None:
        study.fused("--to", "dicom")
        assert made(study.out) == [
            "common/P1.nii.gz",
            *(f"fused/P1/000{i}.dcm" for i in range(1, 6)),
            *("preview/P1.png", "unique_ct/P1.nii.gz", "unique_mri/P1.nii.gz"),
        ]
        source = pydicom.dcmread(study.mri / "IM0000")
        first = pydicom.dcmread(study.out / "fused" / "P1" / "0001.dcm")
        for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
            assert first[keyword].value == source[keyword].value
        assert first.SOPClassUID == source.SOPClassUID
        assert first.SeriesInstanceUID != source.SeriesInstanceUID
        assert first.ImageType[:2] == ["DERIVED", "SECONDARY"]
        assert len(first.SourceImageSequence) >= 2
        assert_same_place(study.out / "fused" / "P1", study.mri)
        shown = values_of_dicom(study.out / "fused" / "P1") / 1000
        study.fused("--to", "nifti")
        fused, _ = values(study.out / "fused" / "P1.nii.gz")
        np.testing.assert_allclose(shown, fused.transpose(2, 1, 0), atol=6e-4)

    def test_viewers_that_ignore_the_rescale_of_mr_show_it(self, study: Study) -> None:
        """The MR object defines none: pydicom's own window, on the stored numbers, is right."""
        study.fused("--to", "dicom", "--maps", "none")
        study.fused("--to", "nifti", "--maps", "none")
        fused, _ = values(study.out / "fused" / "P1.nii.gz")
        for i, path in enumerate(sorted((study.out / "fused" / "P1").iterdir())):
            header = pydicom.dcmread(path)
            assert "RescaleSlope" not in header
            low = float(header.WindowCenter) - 0.5 - (float(header.WindowWidth) - 1) / 2
            shown = (header.pixel_array - low) / (float(header.WindowWidth) - 1)
            np.testing.assert_allclose(shown, fused[..., i].T, atol=6e-4)

    def test_dicom_keeps_its_slices_whatever_the_axis(self, study: Study) -> None:
        study.fused("--to", "dicom", "--axis", "coronal")
        assert_same_place(study.out / "fused" / "P1", study.mri)

    @pytest.mark.parametrize("how", ["transform", "register"])
    def test_dicom_names_the_sources_where_they_come_to_lie(
        self, study: Study, tmp_path: Path, how: str
    ) -> None:
        """The CT says that it lies 24 mm, two of its slices, too high."""
        matrix, shape = placed(AXIAL, (12, 6, 6), (10, 24, 24))
        there = np.moveaxis(np.indices(shape), 0, -1) @ matrix[:3, :3].T + matrix[:3, 3]
        apart = [np.linalg.norm((there - HOME) / radii, axis=-1) for radii in RADII]
        body = sum((one < 1) * weight for one, weight in zip(apart, (100, 60, -40), strict=True))
        assert isinstance(body, np.ndarray)
        high = matrix.copy()
        high[2, 3] += 24
        mri = write_series(tmp_path / "mr", (200 - body).astype(np.int16), matrix, "MR")
        ct = write_series(tmp_path / "ct", body.astype(np.int16), high, "CT")
        shift = sitk.TranslationTransform(3, (0, 0, 24))
        sitk.WriteTransform(shift, str(tmp_path / "shift.tfm"))
        option = {
            "transform": ("--transform", tmp_path / "shift.tfm"),
            "register": ("--register", "rigid", "--distrust-headers"),
        }[how]
        study.fused("--to", "dicom", "--name", "A", "--maps", "none", *option, ct=ct, mri=mri)
        heights = {
            header.SOPInstanceUID: float(header.ImagePositionPatient[2])
            for header in map(pydicom.dcmread, ct.iterdir())
        }
        for path in (study.out / "fused" / "A").iterdir():
            header = pydicom.dcmread(path)
            uids = {item.ReferencedSOPInstanceUID for item in header.SourceImageSequence}
            found = [heights[uid] for uid in uids & heights.keys()]
            expected = float(header.ImagePositionPatient[2]) + 24
            assert abs(np.mean(found) - expected) <= 12
            assert np.abs(np.subtract(found, expected)).max() < 36

    def test_dicom_hands_identifiers_on_as_they_are(self, study: Study, tmp_path: Path) -> None:
        """Longer than the standard has it, as hashes are: cut, two patients might become one."""
        given: dict[str, Any] = {
            "PatientID": "4f" * 40,
            "AccessionNumber": "8d" * 20,
            "StudyID": "77" * 9,
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mri = write_series(tmp_path / "mr", positive(1), PLACE, "MR", **given)
            study.fused("--to", "dicom", "--name", "A", mri=mri)
            header = pydicom.dcmread(study.out / "fused" / "A" / "0001.dcm")
            assert {keyword: header[keyword].value for keyword in given} == given

    @pytest.mark.parametrize(("target", "suffix"), [("png", ".png"), ("tiff", ".tif")])
    def test_slices_as_pictures(self, study: Study, target: str, suffix: str) -> None:
        study.fused("--to", target)
        names = sorted(path.name for path in (study.out / "fused" / "P1").iterdir())
        assert names == [f"000{i}{suffix}" for i in range(1, 6)]
        pictures = np.stack([iio.imread(study.out / "fused" / "P1" / name) for name in names])
        study.fused()
        fused, _ = values(study.out / "fused" / "P1.nii.gz")
        if target == "png":
            assert pictures.dtype == np.uint16
            pictures = pictures / 65535
        np.testing.assert_allclose(pictures, fused.transpose(2, 1, 0), atol=1e-5)

    def test_pictures_along_an_axis(self, study: Study) -> None:
        study.fused("--to", "png", "--axis", "sagittal")
        pictures = sorted((study.out / "fused" / "P1").iterdir())
        assert len(pictures) == SHAPE[2]
        assert iio.imread(pictures[0]).shape == (SHAPE[0], SHAPE[1])

    def test_standard(self, study: Study) -> None:
        if shutil.which("dciodvfy") is None:
            pytest.skip("dciodvfy (Debian's dicom3tools) is not installed")
        study.fused("--to", "dicom", "--reference", "ct")
        for path in (study.out / "fused" / "P1").iterdir():
            told = subprocess.run(
                ["dciodvfy", path],  # noqa: S607
                capture_output=True,
                text=True,
                check=False,
            )
            errors = [line for line in told.stderr.splitlines() if line.startswith("Error")]
            assert not errors


def values_of_dicom(folder: Path) -> NDArray[np.float64]:
    """Return (slices, rows, columns) after rescale, in the order of SimpleITK."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return np.asarray(sitk.GetArrayFromImage(reader.Execute()), np.float64)


# --- options --------------------------------------------------------------------------------------


def pet_of(path: Path, matrix: Matrix = PLACE, **attributes: Any) -> Path:
    """Write a PET in SUV: a hot spot in a warm body."""
    pixels = np.where(grey(2) > -1000, 2, 0).astype(np.int16)
    pixels[2, 6:8, 5:7] = 9
    return write_series(path, pixels, matrix, "PT", Units="GML", **attributes)


class TestOptions:
    @pytest.mark.parametrize(
        ("chosen", "limits"),
        [
            ("bone", (-500, 1300)),
            ("brain", (0, 80)),
            ("lung", (-1350, 150)),
            ("liver", (-15, 135)),
            ("mediastinum", (-125, 225)),
            ("stroke", (20, 60)),
            ("subdural", (-35, 205)),
            ("300,50", (-100, 200)),
        ],
    )
    def test_windows(self, study: Study, chosen: str, limits: tuple[float, float]) -> None:
        result = study.fused("--window", f"ct={chosen}", "--maps", "none")
        assert f"CT window {chosen}: {limits[0]} to {limits[1]} HU" in result.stderr
        found = records(study.out)["P1"]["ranges"]["ct"]
        assert (found["low"], found["high"]) == limits

    def test_automatic_windows(self, study: Study) -> None:
        result = study.fused("--window", "ct=auto", "--window", "mri=200,150")
        assert "CT percentiles 0.5 to 99.5 within the body" in result.stderr
        assert "MRI window 200,150: 50 to 250" in result.stderr

    def test_range_and_inversion(self, study: Study) -> None:
        study.fused("--range", "ct=-200,200", "--invert", "ct", "--maps", "none")
        found = records(study.out)["P1"]
        assert found["ranges"]["ct"] == {"low": -200, "high": 200, "invalid": 0}
        assert found["options"]["inverted"] == [False, True]

    def test_pet_in_suv(self, study: Study, tmp_path: Path) -> None:
        pet = pet_of(tmp_path / "PET")
        result = succeeds(
            "--pet", pet, "--mri", study.mri, "-o", study.out, "--weights", study.weights
        )
        assert "PET window: 0 to 10 SUVbw" in result.stderr

    def test_spect(self, study: Study, tmp_path: Path) -> None:
        spect = save_one(nuclear(positive(4).astype(np.uint16), PLACE), tmp_path / "spect.dcm")
        result = succeeds(
            "--spect", spect, "--ct", study.ct, "-o", study.out, "--weights", study.weights
        )
        assert "SPECT 0 to percentile 99.5 within the body" in result.stderr
        assert (study.out / "fused" / "spect.nii.gz").is_file()

    @pytest.mark.parametrize(
        ("choice", "expected"), [(None, "mri"), ("ct", "ct"), ("mri", "mri"), ("finest", "ct")]
    )
    def test_reference(self, study: Study, tmp_path: Path, choice: str, expected: str) -> None:
        """The CT here is half as large in each direction, its voxels too."""
        small = PLACE @ np.diag([0.5, 0.5, 0.5, 1])
        ct = write_nifti(tmp_path / "ct.nii", grey(0), small)
        option = () if choice is None else ("--reference", choice)
        study.fused(*option, "--name", "A", "--maps", "none", ct=ct, mri=study.scan)
        _, matrix = values(study.out / "fused" / "A.nii.gz")
        source = load_nifti(ct if expected == "ct" else study.scan)
        np.testing.assert_array_equal(matrix, source.affine)
        assert records(study.out)["A"]["reference"] == expected

    def test_reference_without_an_mri(self, study: Study, tmp_path: Path) -> None:
        pet = pet_of(tmp_path / "PET")
        succeeds("--pet", pet, "--ct", study.ct, "-o", study.out, "--weights", study.weights)
        assert next(iter(records(study.out).values()))["reference"] == "ct"

    def test_interpolation(self, study: Study, tmp_path: Path) -> None:
        """Of "nearest" nothing comes out that did not go in."""
        mri = np.full(SHAPE, np.nan, np.float32)
        mri[-1] = 0
        scan = write_nifti(tmp_path / "mr.nii", mri, PLACE)
        off = PLACE.copy()
        off[:3, 3] += (0.7, 0.9, 0.8)
        ct = write_nifti(tmp_path / "ct.nii", grey(0), off)
        found = {}
        for name in ("nearest", "linear", "cubic"):
            study.fused(
                *("--interpolation", name, "--range", "ct=-1000,300", "--range", "mri=0,1"),
                *("--name", "mr"),
                ct=ct,
                mri=scan,
            )
            # Half of the CT, and half of a black MRI.
            found[name] = 2 * values(study.out / "unique_ct" / "mr.nii.gz")[0][..., :-1]
        scaled = np.rint(grey(0).astype(float) + 1000)
        assert np.isin(np.rint(1300 * found["nearest"]), scaled).mean() > 0.99
        assert np.abs(1300 * found["nearest"] - np.rint(1300 * found["nearest"])).max() < 0.01
        assert np.abs(1300 * found["linear"] - np.rint(1300 * found["linear"])).max() > 0.1
        assert not np.array_equal(found["cubic"], found["linear"])
        np.testing.assert_allclose(found["cubic"], found["linear"], atol=0.5)

    @pytest.mark.parametrize("axis", ["auto", "axial", "coronal", "sagittal"])
    def test_axis(self, study: Study, axis: str) -> None:
        study.fused("--axis", axis)
        fused, matrix = values(study.out / "fused" / "P1.nii.gz")
        assert fused.shape == SHAPE[::-1]
        np.testing.assert_allclose(matrix, itk_grid(study.mri)[0], atol=1e-6)
        total = sum(values(study.out / name / "P1.nii.gz")[0] for name in PARTS)
        np.testing.assert_allclose(fused, np.clip(total, 0, 1), atol=1e-6)

    def test_axis_changes_what_the_network_sees(self, study: Study, tmp_path: Path) -> None:
        found = []
        study.weights = tiny_weights(tmp_path)
        for axis in ("auto", "axial", "coronal"):
            study.fused("--axis", axis)
            found.append(values(study.out / "fused" / "P1.nii.gz")[0])
        np.testing.assert_allclose(found[0], found[1], atol=1e-6)  # it was taken in this plane
        assert np.abs(found[0] - found[2]).max() > 1e-3

    def test_transform(self, study: Study, tmp_path: Path) -> None:
        """It maps a point of the reference to one of the CT, in ITK's millimetres: LPS+."""
        matrix, shape = PLAIN
        moved = matrix.copy()
        moved[:3, 3] += (7, -5, 3)
        write_corner(tmp_path / "mr", "nifti", "axial")
        ct = write_nifti(tmp_path / "ct.nii", blob(matrix, shape), moved)
        shift = sitk.TranslationTransform(3, (-7, 5, 3))
        sitk.WriteTransform(shift, str(tmp_path / "shift.tfm"))
        result = study.fused(
            *("--transform", tmp_path / "shift.tfm", "--range", f"ct=0,{WHITE}", "--name", "mr"),
            ct=ct,
            mri=tmp_path / "mr.nii.gz",
        )
        assert "assumed to be aligned" not in result.stderr
        found = centroid(study.out / "unique_ct" / "mr.nii.gz")
        assert np.abs(found - SPOT).max() < 0.1

    def test_series(self, study: Study) -> None:
        write_series(
            study.ct,
            grey(5),
            PLACE,
            "CT",
            lambda i, header: setattr(header, "InstanceNumber", i),
            SeriesInstanceUID="1.2.3.99",
            SeriesNumber=7,
            SeriesDescription="thin slices",
        )
        write_series(study.ct / "first", grey(0), PLACE, "CT", SeriesDescription="thick")
        line = one_line(study.fuse(), 1)
        assert "holds 2 series; choose one with --series: 1 CT 'thick' (5 slices of 12x14)" in line
        assert "7 CT 'thin slices' (5 slices of 12x14)" in line
        kept = records(study.out)["P1"]["error"]
        assert kept == f"{study.ct}: holds 2 series; choose one with --series"
        for choice in ("7", "1.2.3.99", "thin slices", "THIN"):
            study.fused("--series", f"ct={choice}", "--maps", "none")
        assert "no series matches 'x'" in one_line(study.fuse("--series", "ct=x"), 1)
        both = study.fuse("--series", "ct=7", "--series", "mri=1", "--dry-run")
        assert both.exit_code == 0

    def test_one_folder_of_a_ct_and_an_mri(self, study: Study, tmp_path: Path) -> None:
        """Each option takes the only series of its modality; two of one are a choice."""
        study.fused("--name", "A", "--maps", "none")
        expected = values(study.out / "fused" / "A.nii.gz")[0]
        home = tmp_path / "both"
        for name, source in (("ct", study.ct), ("mr", study.mri)):
            for path in source.iterdir():
                header = pydicom.dcmread(path)
                header.SeriesInstanceUID = "1.2.3.8" if name == "ct" else "1.2.3.9"
                save_one(header, home / f"{name}{path.name}")
        study.out = tmp_path / "again"
        result = study.fused("--name", "A", "--maps", "none", ct=home, mri=home)
        assert "ct: of 2 series the only CT is used: number 1, 5 slices of 12x14" in result.stderr
        assert "mri: of 2 series the only MR is used" in result.stderr
        np.testing.assert_array_equal(values(study.out / "fused" / "A.nii.gz")[0], expected)
        header = pydicom.dcmread(home / "mrIM0000")
        header.SeriesInstanceUID = "1.2.3.10"
        save_one(header, home / "third")
        line = one_line(study.fuse("--name", "A", ct=home, mri=home), 1)
        assert "holds 3 series; choose one with --series" in line

    def test_volume_of_four_dimensions(self, study: Study, tmp_path: Path) -> None:
        several = np.stack([positive(1), positive(2)], axis=-1).transpose(2, 1, 0, 3)
        image = nib.Nifti1Image(several, load_nifti(study.scan).affine)
        nib.save(image, tmp_path / "several.nii.gz")
        scan = tmp_path / "several.nii.gz"
        line = one_line(study.fuse(mri=scan), 1)
        assert f"{scan}: holds 2 volumes; choose one with --volume, a number from 1 to 2" in line
        study.fused("--volume", "mri=1", "--name", "first", mri=scan)
        study.fused("--name", "first", mri=study.scan)
        assert "not a number 3" in one_line(study.fuse("--volume", "mri=3", mri=scan), 1)

    def test_a_dicomdir_is_its_folder(self, study: Study) -> None:
        study.fused("--name", "A")
        expected = values(study.out / "fused" / "A.nii.gz")[0]
        for folder in (study.ct, study.mri):
            (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
        directories = {"ct": study.ct / "DICOMDIR", "mri": study.mri / "DICOMDIR"}
        result = study.fused("--name", "B", **directories)
        assert "warning" not in result.stderr
        np.testing.assert_array_equal(values(study.out / "fused" / "B.nii.gz")[0], expected)
        study.fused(**directories)
        assert {*records(study.out)} == {"P1", "A", "B"}
        result = fnet("inspect", study.ct / "DICOMDIR")
        assert "14 pixels, 5 slices" in result.stdout, result.output
        for path in study.ct.glob("IM*"):
            path.unlink()
        line = one_line(study.fuse("--name", "C", **directories))
        assert "contains no volume" in line

    def test_volume_of_a_series(self, study: Study, tmp_path: Path) -> None:
        series = echoes(tmp_path / "echoes", 2)
        line = one_line(study.fuse("--name", "A", mri=series), 1)
        words = "holds 2 volumes that differ in echo time (1: 5 ms, 2: 10 ms); choose one with"
        words += " --volume, a number from 1 to 2, or fuse all with --each-volume"
        assert line == f"{series}: {words}"
        result = study.fused("--volume", "mri=2", "--name", "A", mri=series)
        assert "A: mri: volume 2 of 2, echo time 10 ms" in result.stderr
        found = values(study.out / "fused" / "A.nii.gz")[0]
        study.fused("--name", "B", mri=write_series(tmp_path / "B", positive(2), PLACE, "MR"))
        np.testing.assert_array_equal(found, values(study.out / "fused" / "B.nii.gz")[0])
        words = "holds 2 volumes, not a number 3; correct --volume"
        assert words in one_line(study.fuse("--volume", "mri=3", mri=series), 1)

    def test_series_are_listed_with_what_differs(self, study: Study, tmp_path: Path) -> None:
        home = echoes(tmp_path / "study", 2, SeriesNumber=4)
        write_series(home, positive(0), PLACE, "MR", SeriesNumber=5, SeriesInstanceUID="1.2.3.5")
        line = one_line(study.fuse("--name", "A", mri=home), 1)
        assert "4 MR (10 slices of 12x14, 2 volumes that differ in echo time (1: 5 ms, " in line
        assert "5 MR (5 slices of 12x14)" in line
        study.fused("--series", "mri=4", "--volume", "mri=1", "--name", "A", mri=home)

    def test_frames_of_reference(self, study: Study, tmp_path: Path) -> None:
        other = write_series(tmp_path / "CT", grey(0), PLACE, "CT", FrameOfReferenceUID="1.2.3")
        words = "the two series have different frames of reference"
        result = study.fused(ct=other, mri=study.mri)
        assert len([line for line in result.stderr.splitlines() if words in line]) == 1
        assert result.stderr.count("warning: ") == 1
        silent = study.fused("--existing", "overwrite", "--assume-aligned", ct=other)
        assert words not in silent.stderr
        unknown = "the volumes are assumed to be aligned as their headers say"
        result = study.fused(mri=study.scan)
        assert result.stderr.count(unknown) == 1
        assert "warning" not in result.stderr
        again = study.fused("--existing", "overwrite", "--assume-aligned", mri=study.scan)
        assert unknown not in again.stderr

    def test_a_folder_of_the_other_modality(self, study: Study) -> None:
        result = study.fused("--window", "ct=auto", ct=study.mri, mri=study.ct)
        assert "ct: its files declare MR; check that this is the right folder" in result.stderr
        assert "mri: its files declare CT; check that this is the right folder" in result.stderr


class TestGrids:
    """Whatever the scanner did, the results open in other programs, at the right place."""

    def tilted(self, path: Path, pixels: Volume) -> tuple[Path, Matrix]:
        """Write slices that are shifted sideways, as by a gantry tilted by 18 degrees."""
        matrix = PLACE.copy()
        matrix[:3, 0] = (0, 1, 3)
        return write_series(path, pixels, matrix, "MR"), matrix

    @pytest.mark.parametrize("target", ["nifti", "nrrd", "mha"])
    def test_a_tilted_reference_opens_in_itk(
        self, study: Study, tmp_path: Path, target: str
    ) -> None:
        shape = (6, 20, 18)
        there = np.moveaxis(np.indices(shape), 0, -1)
        mri, matrix = self.tilted(tmp_path / "mr", np.zeros(shape, np.int16))
        world = there @ matrix[:3, :3].T + matrix[:3, 3]
        middle = matrix[:3, :3] @ [2.5, 9.5, 8.5] + matrix[:3, 3]
        bell = 1000 * np.exp(-np.square(world - middle).sum(axis=-1) / 50)
        mri, _ = self.tilted(tmp_path / "mr", bell.astype(np.int16))
        ct = write_series(tmp_path / "ct", np.zeros(shape, np.int16), matrix, "CT")
        given = ("--name", "A", "--range", "mri=0,1000", "--range", "ct=0,100", "--to", target)
        result = study.fused(*given, ct=ct, mri=mri)
        assert "A: the mri's grid is sheared, as by a tilted gantry" in result.stderr
        files = [path for path in study.out.rglob("A.*") if path.parent.name != "preview"]
        assert len(files) == 4
        for path in files:
            image = sitk.ReadImage(str(path))
            direction = np.reshape(image.GetDirection(), (3, 3))
            np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-5)
            if path.parent.name != "fused":
                continue
            mass = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
            index = [float((mass * one).sum() / mass.sum()) for one in np.indices(mass.shape)]
            found = image.TransformContinuousIndexToPhysicalPoint(index)
            np.testing.assert_allclose((LPS @ [*found, 1])[:3], middle, atol=0.2)

    def test_the_shear_is_kept_on_demand(self, study: Study, tmp_path: Path) -> None:
        mri, matrix = self.tilted(tmp_path / "mr", positive(1))
        result = study.fused("--keep-shear", "--name", "A", mri=mri)
        assert "is sheared" not in result.stderr
        found, affine = values(study.out / "fused" / "A.nii.gz")
        assert found.shape == SHAPE[::-1]
        np.testing.assert_allclose(affine[:, [2, 1, 0, 3]], matrix, atol=1e-4)

    def test_dicom_keeps_the_slices_of_a_tilted_reference(
        self, study: Study, tmp_path: Path
    ) -> None:
        mri, matrix = self.tilted(tmp_path / "mr", positive(1))
        study.fused("--to", "dicom", "--name", "A", mri=mri)
        for i, path in enumerate(sorted((study.out / "fused" / "A").iterdir())):
            place = [float(one) for one in pydicom.dcmread(path).ImagePositionPatient]
            np.testing.assert_allclose(place, (LPS @ matrix @ [i, 0, 0, 1])[:3], atol=1e-4)
        sitk.ReadImage(str(study.out / "common" / "A.nii.gz"))

    def test_uneven_slices_are_made_even(self, study: Study, tmp_path: Path) -> None:
        """4 mm through the base of the skull and 8 mm above it: nothing is missing."""
        heights = np.array([0, 4, 8, 12, 20, 28, 36.0])
        pixels = np.repeat(np.rint(10 * heights)[:, None, None], 12, axis=1).repeat(10, axis=2)
        place = affine(AXIAL, (4.0, 2.0, 2.0), (20.0, 30.0, -600.0))

        def put(i: int, header: Any) -> None:
            header.ImagePositionPatient = [-20, -30, -600 + float(heights[i])]
            header.SliceThickness = 4 if i < 4 else 8

        mri = write_series(tmp_path / "mr", pixels.astype(np.int16), place, "MR", put)
        ct = write_series(tmp_path / "ct", grey(0), PLACE, "CT")
        given = ("--name", "A", "--range", "mri=0,360", "--window", "ct=auto")
        result = study.fused(*given, ct=ct, mri=mri)
        assert "spacing of its slices is uneven (4 to 8 mm): resampled to 10 even" in result.stderr
        assert "missing" not in result.stderr
        found, matrix = values(study.out / "fused" / "A.nii.gz")
        assert found.shape == (10, 12, 10)
        np.testing.assert_allclose(matrix[:3, 2], (0, 0, 4), atol=1e-5)
        line = one_line(study.fuse(*given, "--spacing", "uneven=refuse", ct=ct, mri=mri), 1)
        assert "the spacing of its slices is uneven; " in line
        for text in ("even", "uneven=maybe"):
            assert study.fuse("--spacing", text).exit_code == 2

    def test_uneven_slices_go_to_dicom(self, study: Study, tmp_path: Path) -> None:
        def put(i: int, header: Any) -> None:
            header.ImagePositionPatient = [-20, -30, -600 + [0, 4, 8, 15, 22][i]]

        mri = write_series(tmp_path / "mr", positive(1), PLACE, "MR", put)
        study.fused("--to", "dicom", "--name", "A", mri=mri)
        written = [pydicom.dcmread(path) for path in (study.out / "fused" / "A").iterdir()]
        places = sorted(float(one.ImagePositionPatient[2]) for one in written)
        assert len({one.SOPInstanceUID for one in written}) == len(places) == 7
        np.testing.assert_allclose(np.diff(places), 22 / 6, atol=1e-4)

    def test_numbers_that_are_none_are_counted(self, study: Study, tmp_path: Path) -> None:
        mri = positive(1).astype(np.float32)
        mri[1, 2, 3], mri[2, 3, 4:6] = np.inf, np.nan
        scan = write_nifti(tmp_path / "mr.nii", mri, PLACE)
        result = study.fused(mri=scan)
        words = "warning: mr: mri: 3 voxels (0.4 %) are NaN or infinite"
        assert words in result.stderr
        assert records(study.out)["mr"]["ranges"]["mri"]["invalid"] == 3


class TestRegistration:
    """A wrong registration is worse than none: what does not convince is refused, and said."""

    @pytest.fixture
    def bodies(self) -> tuple[Volume, Volume, Matrix, Matrix]:
        """Return an MRI and a CT of one body, and where they claim to lie: 5.4 mm apart."""
        matrix, shape = placed(AXIAL, (3, 2, 2), (20, 40, 40))
        there = np.moveaxis(np.indices(shape), 0, -1) @ matrix[:3, :3].T + matrix[:3, 3]
        apart = [np.linalg.norm((there - HOME) / radii, axis=-1) for radii in RADII]
        body = sum((one < 1) * weight for one, weight in zip(apart, (100, 60, -40), strict=True))
        assert isinstance(body, np.ndarray)
        moved = matrix.copy()
        moved[:3, 3] += (4, -3, 2)
        return (200 - body).astype(np.int16), body.astype(np.int16), matrix, moved

    def test_found(
        self, study: Study, tmp_path: Path, bodies: tuple[Volume, Volume, Matrix, Matrix]
    ) -> None:
        """The transform is written, and --transform takes it: the same voxels."""
        mri = write_nifti(tmp_path / "mr.nii", bodies[0], bodies[2])
        ct = write_nifti(tmp_path / "ct.nii", bodies[1], bodies[3])
        further = ("--maps", "none", "--name", "mr")
        result = study.fused("--register", "rigid", *further, ct=ct, mri=mri)
        assert "mr: rigid registration: translated by 5." in result.stderr
        facts = records(study.out)["mr"]["registration"]
        before, after = facts["mutual_information"]
        assert after > before
        assert facts["refused"] is False
        np.testing.assert_allclose(np.array(facts["transform"])[:3, 3], (4, -3, 2), atol=0.7)
        path = study.out / "transform" / "mr.tfm"
        read = np.array(sitk.ReadTransform(str(path)).TransformPoint((0, 0, 0)))
        np.testing.assert_allclose(read, (-4, 3, 2), atol=0.7)  # ITK's: LPS+
        registered = values(study.out / "fused" / "mr.nii.gz")[0]
        study.out = tmp_path / "again"
        study.fused("--transform", path, *further, ct=ct, mri=mri)
        np.testing.assert_array_equal(values(study.out / "fused" / "mr.nii.gz")[0], registered)

    def test_headers_of_one_frame_of_reference_are_trusted(
        self, study: Study, tmp_path: Path, bodies: tuple[Volume, Volume, Matrix, Matrix]
    ) -> None:
        mri = write_series(tmp_path / "mr", bodies[0], bodies[2], "MR")
        ct = write_series(tmp_path / "ct", bodies[1], bodies[3], "CT")
        how = ("--register", "rigid", "--maps", "none", "--name", "A", "--window", "ct=auto")
        kept = study.fused(*how, ct=ct, mri=mri)
        words = "both series have one frame of reference, which is trusted unless"
        assert kept.stderr.count("warning: A: registration failed") == 1
        assert words in kept.stderr
        assert "rigid registration" not in kept.stderr
        facts = records(study.out)["A"]["registration"]
        assert facts["refused"] is True
        np.testing.assert_array_equal(facts["transform"], np.eye(4))
        strict = one_line(study.fuse(*how, "--strict", ct=ct, mri=mri, out=tmp_path / "b"), 1)
        assert words in strict
        assert strict.endswith("give a transform with --transform, or leave --strict out")
        study.fused(*how, "--distrust-headers", ct=ct, mri=mri)
        assert records(study.out)["A"]["registration"]["refused"] is False

    def test_preview_has_chequerboards_before_and_after(
        self, study: Study, tmp_path: Path, bodies: tuple[Volume, Volume, Matrix, Matrix]
    ) -> None:
        """Of equal volumes, moved apart: an edge at a field's border before, none afterwards."""
        body = bodies[1].astype(np.int16)
        matrix, moved = bodies[2], bodies[2].copy()
        moved[:3, 3] += (0, 16, 0)
        mri = write_nifti(tmp_path / "mr.nii", body, matrix)
        ct = write_nifti(tmp_path / "ct.nii", body, moved)
        ranges = ("--range", "ct=0,160", "--range", "mri=0,160", "--maps", "none", "--name", "A")
        study.fused(*ranges, ct=ct, mri=mri)
        plain = iio.imread(study.out / "preview" / "A.png")
        shift = sitk.TranslationTransform(3, (0, -16, 0))  # LPS
        sitk.WriteTransform(shift, str(tmp_path / "shift.tfm"))
        for how, name in (
            (("--transform", tmp_path / "shift.tfm"), "transform"),
            (("--register", "rigid"), "registered"),
        ):
            study.out = tmp_path / name
            study.fused(*ranges, *how, ct=ct, mri=mri)
            sheet = iio.imread(study.out / "preview" / "A.png")
            side = 80  # 40 pixels, enlarged
            assert sheet.size > 1.4 * plain.size  # five tiles a slice instead of three
            middle = sheet[sheet.shape[0] // 2 // (side + 2) * (side + 2) :][:side, : 5 * side]
            mri_tile, before, after = (
                middle[16:, i * side : (i + 1) * side].astype(int) for i in (0, 3, 4)
            )
            assert np.abs(after - mri_tile).mean() < 3
            assert np.abs(before - mri_tile).mean() > 15

    def test_refused_ones_have_one_chequerboard(
        self, study: Study, tmp_path: Path, bodies: tuple[Volume, Volume, Matrix, Matrix]
    ) -> None:
        mri = write_series(tmp_path / "mr", bodies[0], bodies[2], "MR")
        ct = write_series(tmp_path / "ct", bodies[1], bodies[3], "CT")
        how = ("--maps", "none", "--name", "A", "--window", "ct=auto")
        study.fused(*how, ct=ct, mri=mri)
        plain = iio.imread(study.out / "preview" / "A.png")
        study.fused(*how, "--register", "rigid", ct=ct, mri=mri)
        assert records(study.out)["A"]["registration"]["refused"] is True
        sheet = iio.imread(study.out / "preview" / "A.png")
        assert 1.2 * plain.size < sheet.size < 1.4 * plain.size

    def test_without_anything_in_common_it_is_refused(
        self, study: Study, tmp_path: Path, bodies: tuple[Volume, Volume, Matrix, Matrix]
    ) -> None:
        noise = np.random.default_rng(5).integers(0, 100, bodies[1].shape, np.int16)
        mri = write_nifti(tmp_path / "mr.nii", bodies[0], bodies[2])
        ct = write_nifti(tmp_path / "ct.nii", noise, bodies[3])
        how = ("--register", "rigid", "--maps", "none", "--window", "ct=auto", "--name", "A")
        result = study.fused(*how, ct=ct, mri=mri)
        assert result.stderr.count("warning: A: registration failed (") == 1
        assert "warning: A: the correction is large" not in result.stderr
        strict = one_line(study.fuse(*how, "--strict", ct=ct, mri=mri, out=tmp_path / "b"), 1)
        assert "are kept" not in strict

    def test_distrust_goes_with_registration(self, study: Study) -> None:
        assert "goes with --register rigid" in one_line(study.fuse("--distrust-headers"))


RADII = ((34.0, 30.0, 26.0), (14.0, 18.0, 12.0), (6.0, 9.0, 16.0))


class TestColour:
    def fuse_pet(self, study: Study, pet: Path, *further: object) -> Result:
        return succeeds(
            *("--pet", pet, "--mri", study.mri, "-o", study.out, "--weights", study.weights),
            *("--name", "A", *further),
        )

    @pytest.mark.parametrize("name", ["hot", "hot-iron", "inferno", "magma", "rainbow"])
    def test_colormap(self, study: Study, tmp_path: Path, name: str) -> None:
        self.fuse_pet(study, pet_of(tmp_path / "PET"), "--colormap", name)
        found = load_nifti(study.out / "fused_color" / "A.nii.gz")
        assert found.get_data_dtype() == np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
        np.testing.assert_allclose(found.affine, itk_grid(study.mri)[0], atol=1e-6)
        stored = np.asarray(found.dataobj)
        rgb = np.stack([stored[channel] for channel in "RGB"], axis=-1).astype(float)
        cold, hot = rgb[0, 0, 0], rgb[6, 7, 2]
        assert np.ptp(cold) == 0
        assert np.ptp(hot) > 20
        assert iio.imread(study.out / "preview" / "A.png").ndim == 3

    def colors(self, out: Path) -> NDArray[np.float64]:
        stored = np.asarray(load_nifti(out / "fused_color" / "A.nii.gz").dataobj)
        return np.stack([stored[channel] for channel in "RGB"], axis=-1) / 255

    def test_colour_is_the_default(self, study: Study, tmp_path: Path) -> None:
        """The hot spot stands out, and hue says how hot; cold places stay grey."""
        self.fuse_pet(study, pet_of(tmp_path / "PET"))
        found = self.colors(study.out)
        fused, _ = values(study.out / "fused" / "A.nii.gz")
        assert np.ptp(found[0, 0, 0]) == 0
        np.testing.assert_allclose(found[0, 0, 0], fused[0, 0, 0], atol=1 / 255)
        red, green, blue = found[6, 7, 2]  # SUV 9: yellow over grey
        assert red > 0.7
        assert green - blue > 0.5
        warm = found[3, 7, 2]  # SUV 2: red
        assert warm[0] - warm[1] > 0.1
        assert abs(warm[1] - warm[2]) < 0.05
        assert records(study.out)["A"]["options"]["colormap"] == "hot"

    def test_opacity_and_what_lies_below(self, study: Study, tmp_path: Path) -> None:
        pet = pet_of(tmp_path / "PET")
        self.fuse_pet(study, pet, "--opacity", "0")
        fused, _ = values(study.out / "fused" / "A.nii.gz")
        np.testing.assert_allclose(self.colors(study.out), fused[..., None] + [0, 0, 0], atol=0.003)
        self.fuse_pet(study, pet, "--opacity", "1")
        assert self.colors(study.out)[6, 7, 2][2] < 0.05  # nothing shines through
        self.fuse_pet(study, pet, "--opacity", "0", "--below", "anatomy", "--range", "mri=0,400")
        expected = np.clip(positive(1) / 400, 0, 1).transpose(2, 1, 0)[..., None] + [0, 0, 0]
        np.testing.assert_allclose(self.colors(study.out), expected, atol=0.003)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("--opacity", "1.5"), "give a number from 0 to 1"),
            (("--opacity", "nan"), "give a number from 0 to 1"),
            (("--grey", "--opacity", "0.5"), "nothing is coloured"),
            (("--grey", "--colormap", "hot"), "nothing is coloured"),
            (("--grey", "--below", "anatomy"), "nothing is coloured"),
        ],
    )
    def test_contradictions(
        self, study: Study, tmp_path: Path, options: tuple[str, ...], words: str
    ) -> None:
        pet = pet_of(tmp_path / "PET")
        given = ("--pet", pet, "--mri", study.mri, "-o", study.out, "--weights", study.weights)
        assert words in one_line(fnet("fuse", *given, *options))

    def test_nothing_to_colour(self, study: Study) -> None:
        for options in (("--opacity", "0.5"), ("--below", "anatomy"), ("--colormap", "hot")):
            assert "neither is given" in one_line(study.fuse(*options))

    def test_as_dicom(self, study: Study, tmp_path: Path) -> None:
        self.fuse_pet(study, pet_of(tmp_path / "PET"), "--colormap", "hot", "--to", "dicom")
        first = pydicom.dcmread(study.out / "fused_color" / "A" / "0001.dcm")
        assert first.SOPClassUID.name == "Secondary Capture Image Storage"
        assert (first.SamplesPerPixel, first.BitsAllocated) == (3, 8)
        source = pydicom.dcmread(study.mri / "IM0000")
        np.testing.assert_allclose(first.ImagePositionPatient, source.ImagePositionPatient)
        assert "fused_color" not in {path.name for path in (study.out / "fused").iterdir()}

    def test_captures_have_a_colour_bar_below(self, study: Study, tmp_path: Path) -> None:
        """Outside of the grid: the patient lies where the reference has them."""
        shape = (4, 40, 110)
        scan = np.zeros(shape, np.int16)
        scan[1:3, 8:30, 20:80] = 200
        mri = write_series(tmp_path / "mr", scan, PLACE, "MR")
        pet = write_series(tmp_path / "pt", (scan // 25).astype(np.int16), PLACE, "PT", Units="GML")
        given = ("--pet", pet, "--mri", mri, "-o", study.out, "--weights", study.weights)
        uids = set()
        for further, is_turned in (((), False), (("--invert", "pet"), True)):
            succeeds(*given, "--to", "dicom", "--maps", "none", "--name", "A", *further)
            first = pydicom.dcmread(study.out / "fused_color" / "A" / "0001.dcm")
            assert (first.Rows, first.Columns) == (40 + 26, 110)
            bar = first.pixel_array[40 + 8].astype(int)
            cold, hot = (bar[-1], bar[0]) if is_turned else (bar[0], bar[-1])
            assert not cold.any()
            assert tuple(hot) == (255, 255, 0)
            assert first.pixel_array[-12:, :40].max() > 200  # pet 0
            assert first.pixel_array[-12:, 70:].max() > 200  # 10 SUVbw
            (matrix, _), (expected, _) = (
                itk_grid(folder) for folder in (study.out / "fused_color" / "A", mri)
            )
            np.testing.assert_allclose(matrix, expected, atol=1e-6)
            plain = pydicom.dcmread(study.out / "fused" / "A" / "0001.dcm")
            assert (plain.Rows, plain.Columns) == (40, 110)
            uids.add(first.SeriesInstanceUID)
        assert len(uids) == 2

    def test_captures_as_one_file_of_frames(self, study: Study, tmp_path: Path) -> None:
        """Where the reference lies, for SimpleITK and for fnet itself; the same pixels."""
        mri = write_series(tmp_path / "mr", positive(1), GRIDS["oblique"][0], "MR")
        pet = write_series(
            tmp_path / "pt", positive(2) // 30, GRIDS["oblique"][0], "PT", Units="GML"
        )
        given = ("--pet", pet, "--mri", mri, "--weights", study.weights, "--to", "dicom")
        plain, one = tmp_path / "plain", tmp_path / "one"
        succeeds(*given, "--maps", "none", "--name", "A", "-o", plain)
        succeeds(*given, "--maps", "none", "--name", "A", "-o", one, "--multi-frame")
        (path,) = (one / "fused_color" / "A").iterdir()
        found = pydicom.dcmread(path)
        assert found.SOPClassUID.name == "Multi-frame True Color Secondary Capture Image Storage"
        assert found.NumberOfFrames == SHAPE[0]
        assert (found.BurnedInAnnotation, found.ContentDate) == ("NO", "19000101")  # unknown
        names = {item.ReferencedSOPInstanceUID for item in found.SourceImageSequence}
        assert len(names) == 2 * SHAPE[0]
        slices = [pydicom.dcmread(one) for one in sorted((plain / "fused_color" / "A").iterdir())]
        np.testing.assert_array_equal(found.pixel_array, [one.pixel_array for one in slices])
        (matrix, size), (expected, shape) = itk_place(path), itk_grid(mri)
        np.testing.assert_allclose(matrix, expected, atol=1e-6)
        assert size == shape
        read = read_volume(path).grid.affine
        assert read is not None
        np.testing.assert_allclose(read, GRIDS["oblique"][0], atol=1e-6)
        assert records(one)["A"]["options"]["multi_frame"] is True
        assert "multi_frame" not in records(plain)["A"]["options"]

    def test_frames_may_name_the_patient_if_a_source_is_a_capture(
        self, study: Study, tmp_path: Path
    ) -> None:
        pet = write_series(tmp_path / "PET", self.colored(), PLACE, "OT")
        self.fuse_pet(study, pet, "--to", "dicom", "--multi-frame")
        found = pydicom.dcmread(study.out / "fused_color" / "A" / "0001.dcm")
        assert found.BurnedInAnnotation == "YES"

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ((), "--multi-frame: applies only to DICOM captures in colour; add --to dicom"),
            (("--to", "png"), "add --to dicom"),
            (("--to", "dicom", "--grey"), "but none is written; leave it out"),
        ],
    )
    def test_frames_without_captures(
        self, study: Study, tmp_path: Path, options: tuple[str, ...], words: str
    ) -> None:
        given = ("--pet", pet_of(tmp_path / "PET"), "--mri", study.mri, "-o", study.out)
        further = ("--weights", study.weights, "--multi-frame", *options)
        assert words in one_line(fnet("fuse", *given, *further))

    @pytest.mark.parametrize("below", ["fused", "anatomy"])
    @pytest.mark.parametrize("name", ["hot", "hot-iron", "inferno", "magma", "rainbow"])
    def test_colours_say_how_much_whatever_lies_below(
        self, study: Study, tmp_path: Path, name: str, below: str
    ) -> None:
        """What the colours have beyond their grey part is the same on black and on white."""
        pet = np.tile(np.arange(100, dtype=np.int16), (4, 8, 1))
        scan = np.repeat(np.arange(0, 800, 100, dtype=np.int16), 100).reshape(1, 8, 100)
        given = ("--name", "A", "--colormap", name, "--below", below, "--maps", "none")
        succeeds(
            *("--pet", write_nifti(tmp_path / "pet.nii", pet, PLACE), "-o", study.out),
            *("--mri", write_nifti(tmp_path / "mr.nii", np.tile(scan, (4, 1, 1)), PLACE)),
            *("--weights", study.weights, "--range", "pet=0,99", "--range", "mri=0,700", *given),
        )
        found = self.colors(study.out)[:, :, 1]  # columns, rows, channels
        hue = found - found.min(axis=-1, keepdims=True)
        for row in range(1, 8):
            np.testing.assert_allclose(hue[:, row], hue[:, 0], atol=3 / 255)
        steps = np.abs(np.diff(hue[:, 0][::10], axis=0)).max(axis=-1)
        assert steps[1:].min() > 4 / 255  # and differs from SUV to SUV

    @pytest.mark.parametrize(("target", "suffix"), [("png", "png"), ("tiff", "tif")])
    def test_as_pictures(self, study: Study, tmp_path: Path, target: str, suffix: str) -> None:
        self.fuse_pet(study, pet_of(tmp_path / "PET"), "--colormap", "hot", "--to", target)
        found = iio.imread(study.out / "fused_color" / "A" / f"0003.{suffix}")
        assert found.shape == (14, 12, 3)

    def colored(self) -> Volume:
        pixels = np.zeros((*SHAPE, 3), np.uint8)
        pixels[1:4, 3:10, 3:9] = (200, 40, 10)
        return pixels

    @pytest.mark.parametrize("kind", ["dicom", "nifti"])
    def test_own_colours_are_kept(self, study: Study, tmp_path: Path, kind: str) -> None:
        pixels = self.colored()
        if kind == "dicom":
            pet = write_series(tmp_path / "PET", pixels, PLACE, "OT")
        else:
            stored = np.zeros(SHAPE, np.dtype([(channel, "u1") for channel in "RGB"]))
            for i, channel in enumerate("RGB"):
                stored[channel] = pixels[..., i]
            pet = write_nifti(tmp_path / "pet.nii", stored, PLACE)
        self.fuse_pet(study, pet, "--grey")
        assert iio.imread(study.out / "preview" / "A.png").ndim == 2
        assert not (study.out / "fused_color").exists()
        result = self.fuse_pet(study, pet)
        assert "it is in colour, and its colours are kept" in result.stderr
        stored = np.asarray(load_nifti(study.out / "fused_color" / "A.nii.gz").dataobj)
        red, green, blue = (stored[channel][6, 6, 2].astype(int) for channel in "RGB")
        assert red > green > blue
        fused, _ = values(study.out / "fused" / "A.nii.gz")
        luminance = (0.299 * red + 0.587 * green + 0.114 * blue) / 255
        assert abs(luminance - fused[6, 6, 2]) < 0.1

    def test_grey_stored_as_colour_is_grey(self, study: Study, tmp_path: Path) -> None:
        pixels = np.repeat(self.colored()[..., :1], 3, axis=-1)
        pet = write_series(tmp_path / "PET", pixels, PLACE, "OT")
        result = self.fuse_pet(study, pet)
        assert "colours" not in result.stderr.replace("PET colours: 0 to 255", "")
        stored = np.asarray(load_nifti(study.out / "fused_color" / "A.nii.gz").dataobj)
        assert stored["R"][6, 6, 2] != stored["B"][6, 6, 2]

    def test_a_reference_in_colour_as_dicom(self, study: Study, tmp_path: Path) -> None:
        pet = write_series(tmp_path / "PET", self.colored(), PLACE, "OT")
        self.fuse_pet(study, pet, "--reference", "pet", "--to", "dicom", "--colormap", "hot")
        for folder, samples in (("fused", 1), ("fused_color", 3)):
            first = pydicom.dcmread(study.out / folder / "A" / "0001.dcm")
            assert first.SOPClassUID.name == "Secondary Capture Image Storage"
            assert first.SamplesPerPixel == samples

    def test_colours_of_an_mri_mean_nothing(self, study: Study, tmp_path: Path) -> None:
        mri = write_series(tmp_path / "MR", self.colored(), PLACE, "OT")
        result = study.fused(mri=mri)
        words = "mri: it has colours, which have no meaning there: its luminance is used"
        assert words in result.stderr
        assert iio.imread(next((study.out / "preview").iterdir())).ndim == 2


# --- what paths mean ------------------------------------------------------------------------------


class TestLayout:
    def test_series(self, study: Study) -> None:
        """DICOM directly inside, further down, one NIfTI below a folder, a single file."""
        for ct, mri, name in (
            (study.ct, study.mri, "P1"),
            (study.ct, study.scan, "scan"),
            (study.ct.parent / "CT" / "IM0002", study.mri, "IM0002"),
        ):
            result = study.fused("--maps", "none", ct=ct, mri=mri)
            assert f"two volumes: one case, {name}" in result.stderr
            assert (study.out / "fused" / f"{name}.nii.gz").is_file()

    def test_name(self, study: Study) -> None:
        result = study.fused("--name", "night 7", "--maps", "none")
        assert "two volumes: one case, night 7" in result.stderr
        assert made(study.out) == ["fused/night 7.nii.gz", "preview/night 7.png"]
        for name in ("../x", "a\nb", "\x1b[31mred"):
            assert "not a case name" in one_line(study.fuse("--name", name))

    def cases(self, home: Path) -> None:
        for i, name in enumerate(("A", "B", "lonely")):
            write_series(home / "ct" / name / "deeper", grey(i), PLACE, "CT")
        write_series(home / "mr" / "A", positive(3), PLACE, "MR")
        write_nifti(home / "mr" / "B.nii.gz", positive(4), PLACE)

    def test_cases(self, tmp_path: Path, weights: Path) -> None:
        self.cases(tmp_path)
        given = ("--ct", tmp_path / "ct", "--mri", tmp_path / "mr", "-o", tmp_path / "out")
        result = succeeds(*given, "--weights", weights, "--maps", "none")
        assert "two folders of volumes: 2 cases by name" in result.stderr
        assert f"1 file without a partner: {tmp_path / 'ct' / 'lonely'}" in result.stderr
        assert result.stdout.splitlines() == [
            str(tmp_path / "out" / "fused" / f"{name}.nii.gz") for name in ("A", "B")
        ]
        found = records(tmp_path / "out")
        assert found["B"]["inputs"]["mri"]["path"] == "B.nii.gz"
        assert found["B"]["inputs"]["ct"]["path"] == "B"
        assert fnet("fuse", *given, "--weights", weights, "--strict").exit_code == 1
        named = fnet("fuse", *given, "--weights", weights, "--name", "A")
        assert "names one case, but there are 2" in one_line(named)

    def test_one_bad_case_stops_nothing(self, tmp_path: Path, weights: Path) -> None:
        self.cases(tmp_path)
        (tmp_path / "ct" / "A" / "deeper" / "IM0001").unlink()
        given = ("--ct", tmp_path / "ct", "--mri", tmp_path / "mr", "-o", tmp_path / "out")
        result = fnet("fuse", *given, "--weights", weights, "--maps", "none")
        assert "1 of its slices is missing" in one_line(result, 1)
        assert "1 fused, 0 skipped, 1 failed" in result.stderr
        assert made(tmp_path / "out") == ["fused/B.nii.gz", "preview/B.png"]

    def test_forced(self, tmp_path: Path, weights: Path) -> None:
        """Two studies whose series have one name are cases, unless something else is said."""
        write_series(tmp_path / "P" / "ct" / "S1", grey(0), PLACE, "CT")
        write_series(tmp_path / "P" / "mr" / "S1", positive(1), PLACE, "MR")
        given = (
            *("--ct", tmp_path / "P" / "ct", "--mri", tmp_path / "P" / "mr"),
            *("-o", tmp_path / "out", "--weights", weights, "--dry-run"),
        )
        assert "1 case by name" in succeeds(*given).stderr
        assert "one case, P" in succeeds(*given, "--layout", "series").stderr
        assert "1 case by name" in succeeds(*given, "--layout", "cases").stderr
        assert "nothing to do" in one_line(fnet("fuse", *given, "--layout", "pairs"), 1)

    def test_one_study_on_both_sides(self, study: Study) -> None:
        """A sub-folder for each series, as scanners export it: one case, not one a series."""
        home = study.ct.parent
        study.scan.unlink()
        for path in study.mri.iterdir():
            header = pydicom.dcmread(path)
            header.SeriesInstanceUID, header.SeriesNumber = "1.2.3.77", 2
            header.SeriesDescription = "T1 axial"
            header.save_as(path)
        (home.parent / "link").symlink_to(home)
        plain = study.fused(ct=home, mri=home)
        assert "mri: of 2 series the only MR is used: number 2, 5 slices" in plain.stderr
        assert "T1 axial" not in (study.out / "manifest.jsonl").read_text()  # a name, perhaps
        chosen = ("--series", "ct=1", "--series", "mri=T1 axial")
        for other in (home, home.parent / "link"):
            result = study.fused(*chosen, "--existing", "overwrite", ct=home, mri=other)
            assert "two volumes: one case, " in result.stderr
            assert "warning" not in result.stderr
        forced = study.fuse("--layout", "cases", ct=home, mri=home)
        assert "two folders of volumes: 2 cases by name" in forced.stderr

    def test_what_is_neither_an_image_nor_a_volume(self, study: Study, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("neither")
        line = one_line(study.fuse(mri=tmp_path / "notes.txt"))
        words = (
            "neither an image nor a volume (DICOM, NIfTI, NRRD, MetaImage, MGZ); give another file"
        )
        assert line == f"{tmp_path / 'notes.txt'}: {words}"

    def test_pictures_are_pictures(self, tmp_path: Path, weights: Path) -> None:
        for side in ("ct", "mr"):
            (tmp_path / side).mkdir()
            iio.imwrite(tmp_path / side / "1.png", np.zeros((8, 9), np.uint8))
        given = ("--ct", tmp_path / "ct", "--mri", tmp_path / "mr", "--weights", weights)
        result = succeeds(*given, "-o", tmp_path / "out")
        assert "two folders of pictures: 1 pair by name" in result.stderr
        assert (tmp_path / "out" / "fused" / "1.png").is_file()

    def test_results_beside_the_files_but_not_within_the_folder_that_is_read(
        self, study: Study, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(study.ct.parent)
        given = ("--ct", "CT", "--weights", study.weights, "--maps", "none")
        succeeds(*given, "--mri", "scan.nii.gz", "-o", "OUT")
        assert Path("OUT/fused/scan.nii.gz").is_file()
        assert records(Path("OUT"))["scan"]["inputs"]["mri"]["path"] == "scan.nii.gz"
        inside = fnet("fuse", *given, "--mri", "scan.nii.gz", "-o", "CT/OUT")
        assert "is in the input folder CT" in one_line(inside)

    def test_dry_run(self, study: Study) -> None:
        result = study.fused("--dry-run")
        fused = study.out / "fused" / "P1.nii.gz"
        assert result.stdout == f"fuse\tP1\t{study.mri}\t{study.ct}\t{fused}\n"
        assert "1 to fuse, 0 to skip, 0 unpaired; nothing was written" in result.stderr
        assert not study.out.exists()

    def test_summary(self, study: Study) -> None:
        summary = json.loads(study.fused("--json", "-").stdout)
        assert summary["status"] == "finished"
        assert summary["totals"]["done"] == 1
        assert summary["options"]["to"] == "nifti"
        assert summary["options"]["modalities"] == ["mri", "ct"]


# --- again ----------------------------------------------------------------------------------------


class TestResume:
    def test_done_cases_are_skipped(self, study: Study) -> None:
        study.fused()
        times = {name: (study.out / name).stat().st_mtime_ns for name in made(study.out)}
        result = study.fused()
        assert "0 fused, 1 skipped" in result.stderr
        assert result.stdout.split() == [str(study.out / "fused" / "P1.nii.gz")]
        assert {name: (study.out / name).stat().st_mtime_ns for name in made(study.out)} == times

    @pytest.mark.parametrize("target", ["nifti", "dicom", "png"])
    def test_equal_input_gives_equal_files(self, study: Study, target: str) -> None:
        study.fused("--to", target)
        before = {name: (study.out / name).read_bytes() for name in made(study.out)}
        study.fused("--to", target, "--existing", "overwrite")
        assert {name: (study.out / name).read_bytes() for name in made(study.out)} == before

    def test_a_changed_slice_is_noticed(self, study: Study) -> None:
        study.fused()
        header = pydicom.dcmread(study.ct / "IM0003")
        header.PixelData = bytes(len(header.PixelData))
        header.save_as(study.ct / "IM0003")
        assert "1 fused, 0 skipped" in study.fused().stderr
        assert "0 fused, 1 skipped" in study.fused().stderr
        (study.mri / "notes.txt").write_text("not a slice")
        assert "0 fused, 1 skipped" in study.fused().stderr
        (study.mri / "IM0000").rename(study.mri / "IM0000.dcm")
        assert "1 fused, 0 skipped" in study.fused().stderr

    def test_both_files_of_a_pair_count(self, study: Study, tmp_path: Path) -> None:
        nib.save(to_nifti(positive(1), PLACE, nib.Nifti1Pair), tmp_path / "mr.hdr")
        study.fused(mri=tmp_path / "mr.hdr")
        assert "0 fused, 1 skipped" in study.fused(mri=tmp_path / "mr.hdr").stderr
        content = (tmp_path / "mr.img").read_bytes()
        (tmp_path / "mr.img").write_bytes(content[::-1])
        assert "1 fused, 0 skipped" in study.fused(mri=tmp_path / "mr.hdr").stderr

    def test_other_options_are_another_result(self, study: Study) -> None:
        study.fused()
        for further in (("--window", "ct=bone"), ("--interpolation", "cubic"), ("--to", "png")):
            assert "1 fused, 0 skipped" in study.fused(*further).stderr
        assert "0 fused, 1 skipped" in study.fused(*further).stderr
        assert "0 fused, 1 skipped" in study.fused(*further, "--assume-aligned").stderr

    def test_what_is_missing_is_made_again(self, study: Study) -> None:
        study.fused("--to", "dicom")
        shutil.rmtree(study.out / "fused" / "P1")
        assert "1 fused, 0 skipped" in study.fused("--to", "dicom").stderr
        (study.out / "preview" / "P1.png").unlink()
        assert "1 fused, 0 skipped" in study.fused("--to", "dicom").stderr

    @pytest.mark.parametrize("target", ["dicom", "png", "tiff"])
    def test_a_damaged_folder_is_made_again(self, study: Study, target: str) -> None:
        study.fused("--to", target)
        before = {name: (study.out / name).read_bytes() for name in made(study.out)}
        folder = study.out / "fused" / "P1"
        assert records(study.out)["P1"]["folders"] == {
            "fused": {"files": 5, "bytes": sum(one.stat().st_size for one in folder.iterdir())}
        }
        (folder / ".DS_Store").touch()
        assert "0 fused, 1 skipped" in study.fused("--to", target).stderr
        second = min(folder.glob("0002.*"))
        second.write_bytes(second.read_bytes()[:100])
        assert "1 fused, 0 skipped" in study.fused("--to", target).stderr
        second.unlink()
        assert "1 fused, 0 skipped" in study.fused("--to", target).stderr
        assert {name: (study.out / name).read_bytes() for name in made(study.out)} == before

    def test_folders_that_an_older_fnet_left_are_made_again(self, study: Study) -> None:
        """It did not count what is in them."""
        for target, words in (("dicom", "1 fused, 0 skipped"), ("nifti", "0 fused, 1 skipped")):
            study.fused("--to", target)
            record = records(study.out)["P1"]
            assert ("folders" in record) == (target == "dicom")
            record.pop("folders", None)
            (study.out / "manifest.jsonl").write_text(f"{json.dumps(record)}\n")
            assert words in study.fused("--to", target).stderr

    def test_existing_results_may_be_an_error(self, study: Study) -> None:
        study.fused("--to", "dicom")
        line = one_line(study.fuse("--to", "dicom", "--existing", "error"))
        assert "exists; remove it, or use --existing skip or overwrite" in line

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
    def test_interrupted_in_the_middle(self, tmp_path: Path, number: signal.Signals) -> None:
        """With the shipped weights, so that the network takes its time."""
        shape = (60, 160, 160)
        ct = write_nifti(tmp_path / "ct.nii", grey(0, shape), PLACE)
        mri = write_nifti(tmp_path / "mr.nii", positive(1, shape), PLACE)
        arguments = ["fuse", "--ct", ct, "--mri", mri, "-o", tmp_path / "out", "--to", "png"]
        command = [sys.executable, "-m", "fnetcli", *map(str, arguments)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            while not (tmp_path / "out" / "run.json").exists() and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(number)
            _, told = process.communicate()
        if number is signal.SIGINT:
            assert process.returncode == 130, told
            assert "error: interrupted; finished results are on disk" in told
            assert "Traceback" not in told
            assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == (
                "interrupted"
            )
            assert not [*(tmp_path / "out").rglob(".fnet-*")]
        assert made(tmp_path / "out") == []
        tiny = tiny_weights(tmp_path)
        succeeds(*arguments[1:], "--weights", tiny)
        assert not [*(tmp_path / "out").rglob(".fnet-*")]
        assert len(made(tmp_path / "out")) == 60 + 4


# --- memory ---------------------------------------------------------------------------------------


class TestMemory:
    def test_the_next_large_case_is_not_read_ahead(self) -> None:
        """Of two cases that together are too much, one is on disk before the other is read."""
        steps = list[str]()

        def step(name: str) -> Callable[..., str]:
            def note(case: Case, *_: object) -> str:
                steps.append(f"{name} {case.name}")
                return case.name

            return note

        cases = [Case(name, Path(name), Path(name)) for name in "abc"]
        stages = Stages(step("read"), step("work"), step("write"), lambda _: MAX_BYTES * 3 // 4)
        Batch(lambda *_: None, lambda *_: None, stages, workers=4).run(cases)
        order = [f"{name} {case}" for case in "abc" for name in ("read", "work", "write")]
        assert steps == order

    def test_an_interrupt_need_not_wait_for_what_is_read(self) -> None:
        left, begun = list[str](), Event()

        def read(case: Case) -> str:
            if case.name == "b":
                begun.set()
                try:
                    while True:
                        require_wanted()
                        time.sleep(0.01)
                except GivenUpError:
                    left.append(case.name)
                    raise
            return case.name

        def work(_: Case, read: str) -> str:
            begun.wait()
            raise KeyboardInterrupt(read)

        cases = [Case(name, Path(name), Path(name)) for name in "ab"]
        batch = Batch(lambda *_: None, lambda *_: None, Stages(read, work, lambda *_: ""))
        with pytest.raises(KeyboardInterrupt):
            batch.run(cases)
        assert left == ["b"]
        require_wanted()  # in no batch, nothing is ever given up


# --- what is refused ------------------------------------------------------------------------------


class TestRefusals:
    @pytest.mark.parametrize(
        "option",
        [
            ("--page", "2"),
            ("--bits", "ct=12"),
            ("--stretch", "1,99"),
            ("--stretch-scope", "folder"),
            ("--resize", "ct"),
            ("--format", "png"),
            ("--depth", "16"),
            ("--features",),
            ("--report",),
        ],
        ids=lambda option: option[0],
    )
    def test_options_of_pictures(self, study: Study, option: tuple[str, ...]) -> None:
        line = one_line(study.fuse(*option))
        words = "applies only to pictures, but volumes (DICOM, NIfTI) are fused; leave it out"
        assert line == f"{option[0]}: {words}"
        assert not study.out.exists()

    @pytest.mark.parametrize(
        "option",
        [
            ("--series", "ct=1"),
            ("--volume", "ct=1"),
            ("--window", "ct=bone"),
            ("--interpolation", "cubic"),
            ("--axis", "axial"),
            ("--assume-aligned",),
            ("--to", "dicom"),
            ("--colormap", "hot"),
        ],
        ids=lambda option: option[0],
    )
    def test_options_of_volumes(
        self, tmp_path: Path, weights: Path, option: tuple[str, ...]
    ) -> None:
        for name in ("a.png", "b.png"):
            iio.imwrite(tmp_path / name, np.zeros((8, 9), np.uint8))
        pair = ("--ct", tmp_path / "a.png", "--mri", tmp_path / "b.png")
        given = (*pair, "-o", tmp_path / "out", "--weights", weights)
        line = one_line(fnet("fuse", *given, *option))
        words = "applies only to volumes (DICOM, NIfTI), but pictures are fused; leave it out"
        assert line == f"{option[0]}: {words}"

    def test_layout_of_what_is_never_a_volume(self, tmp_path: Path) -> None:
        given = ("--vis", tmp_path, "--ir", tmp_path, "-o", tmp_path / "out")
        for option in (("--layout", "cases"), ("--name", "A")):
            line = one_line(fnet("fuse", *given, *option))
            assert line.startswith(f"{option[0]}: applies only to two of ct, mri, mri2, pet, spect")

    @pytest.mark.parametrize(
        ("option", "words"),
        [
            (("--window", "ct=wide"), "not a window"),
            (("--window", "mri=soft"), "not a window"),
            (("--window", "ct=0,40"), "not a window"),
            (("--window", "soft"), "give --window mri=VALUE or --window ct=VALUE"),
            (("--window", "ct=soft", "--range", "ct=0,1"), "both say how ct is scaled"),
            (("--reference", "pet"), "not one of the two volumes"),
            (("--colormap", "hot"), "colours PET or SPECT, but neither is given"),
            (("--volume", "mri=0"), "give a number from 1 to"),
            (("--series", "pet=1"), "give --series mri=VALUE or --series ct=VALUE"),
            (("--window", "ct=1.7e308,1.7e308"), "not a window"),
            (("--window", "ct=1e-320,0"), "not a window"),
            (("--transform", "none.tfm"), "--transform none.tfm: no such file; check the path"),
            (("--transform", "none.tfm", "--register", "rigid"), "both align the volumes"),
            (("--layout", "cases", "--name", "A"), "names one case, but there are 5"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_nonsense(self, study: Study, option: tuple[str, ...], words: str) -> None:
        assert words in one_line(study.fuse(*option))
        assert not study.out.exists()

    def test_colormap_that_does_not_exist(self, study: Study) -> None:
        given = ("fuse", "--pet", study.ct, "--mri", study.mri, "-o", study.out)
        line = one_line(fnet(*given, "--weights", study.weights, "--colormap", "jet"))
        assert line.startswith("--colormap jet: unknown; use one of hot, hot-iron, ")

    @pytest.mark.parametrize("name", ["fused.nii.gz", "fused.nii", "fused.dcm", "fused.png"])
    def test_a_file_for_the_results(self, study: Study, name: str) -> None:
        for result in (
            fnet("fuse", "--ct", study.ct, "--mri", study.mri, "-o", study.out / name),
            fnet("fuse", "--ct", study.ct / "IM0000", "--mri", study.scan, "-o", study.out / name),
        ):
            assert f"-o {study.out / name}: " in one_line(result)

    def test_a_volume_with_a_picture(self, study: Study, tmp_path: Path) -> None:
        picture = tmp_path / "a.png"
        iio.imwrite(picture, np.zeros((8, 9), np.uint8))
        line = one_line(study.fuse(mri=picture))
        assert line.startswith(f"{picture} holds pictures, {study.ct} volumes; give two")
        mixed = study.ct / "b.png"
        iio.imwrite(mixed, np.zeros((8, 9), np.uint8))
        assert "pictures and volumes are directly inside" in one_line(study.fuse())

    def test_a_capture_without_a_place(self, study: Study, tmp_path: Path) -> None:
        """A picture in DICOM's clothes."""
        header = pydicom.dcmread(study.mri / "IM0000")
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient"):
            del header[keyword]
        path = save_one(header, tmp_path / "capture.dcm")
        line = one_line(study.fuse(mri=path), 1)
        assert f"{path} and {study.ct}: " in line
        assert "the mri has no position in the patient" in line

    def test_nifti_without_a_place(self, study: Study, tmp_path: Path) -> None:
        image = load_nifti(study.scan)
        image.header["sform_code"] = image.header["qform_code"] = 0
        nib.save(nib.Nifti1Image(image.dataobj, None, image.header), tmp_path / "lost.nii")
        line = one_line(study.fuse(mri=tmp_path / "lost.nii"), 1)
        assert "has no position in the patient" in line

    def test_nothing_in_common_in_space(self, study: Study, tmp_path: Path) -> None:
        far = PLACE.copy()
        far[2, 3] += 500
        ct = write_series(tmp_path / "far", grey(0), far, "CT")
        line = one_line(study.fuse(ct=ct), 1)
        assert line.startswith(f"{study.mri} and {ct}: the two volumes do not overlap")
        assert "their centres are 500 mm apart" in line
        assert made(study.out) == []

    def test_nifti_does_not_become_dicom(self, study: Study, tmp_path: Path) -> None:
        """Known from the name of the reference: once, before anything is read or written."""
        line = one_line(study.fuse("--to", "dicom", mri=study.scan))
        assert line.startswith("--to dicom: the reference (mri) is not DICOM")
        assert not study.out.exists()
        study.fused("--to", "dicom", "--reference", "ct", mri=study.scan)
        shutil.rmtree(study.out)
        late = study.fuse("--to", "dicom", "--reference", "finest", mri=study.scan)
        assert "--to dicom: the reference (mri) is not DICOM" in one_line(late, 1)
        assert made(study.out) == []
        for name in ("A", "B"):
            write_series(tmp_path / "cts" / name, grey(0), PLACE, "CT")
        write_series(tmp_path / "mrs" / "A", positive(0), PLACE, "MR")
        write_nifti(tmp_path / "mrs" / "B.nii", positive(0), PLACE)
        some = study.fuse("--to", "dicom", ct=tmp_path / "cts", mri=tmp_path / "mrs")
        assert "B.nii and " in one_line(some, 1)
        assert "1 fused, 0 skipped, 1 failed" in some.stderr

    def test_what_is_no_image(self, study: Study, tmp_path: Path) -> None:
        for modality, words in (("RTSTRUCT", "structure set"), ("SEG", "segmentation")):
            folder = tmp_path / modality
            write_series(folder, grey(0), PLACE, "CT", Modality=modality)
            assert words in one_line(study.fuse(ct=folder), 1)
        localiser = write_series(
            tmp_path / "scout", grey(0), PLACE, "CT", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
        )
        assert "localiser" in one_line(study.fuse(ct=localiser), 1)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ("missing", "1 of its slices is missing"),
            ("doubled", "at the position of another"),
            ("uneven", "the spacing of its slices is uneven (0.7 to 5.3 mm)"),
            ("orientation", "different orientations"),
            ("size", "different sizes"),
            ("cut", "not a complete DICOM file"),
        ],
    )
    def test_slices_that_make_no_volume(self, study: Study, change: str, words: str) -> None:
        path = study.ct / "IM0002"
        header = pydicom.dcmread(path)
        if change == "missing":
            path.unlink()
        elif change == "cut":
            path.write_bytes(path.read_bytes()[:-50])
        else:
            if change == "doubled":
                header.ImagePositionPatient = pydicom.dcmread(
                    study.ct / "IM0001"
                ).ImagePositionPatient
            elif change == "uneven":
                header.ImagePositionPatient[2] += 2.3
            elif change == "orientation":
                header.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
            else:
                header.Rows -= 1
                header.PixelData = header.PixelData[: -2 * header.Columns]
            save_one(header, path)
        assert words in one_line(study.fuse(), 1)

    @pytest.mark.parametrize("suffix", [".dcm", ".IMA", ".dicom"])
    def test_a_last_slice_that_is_dicom_by_its_name_alone(self, study: Study, suffix: str) -> None:
        """Without it the others are an even stack."""
        last = (study.ct / "IM0004").rename(study.ct / f"IM0004{suffix}")
        last.write_bytes(last.read_bytes()[:100])
        line = one_line(study.fuse("--reference", "ct"), 1)
        what = "not a DICOM file, despite its name; copy or export the file again"
        assert line == f"{last}: {what}"
        assert one_line(study.fuse(ct=last), 1) == f"{last}: {what}"
        last.write_bytes(b"")
        line = one_line(study.fuse("--reference", "ct"), 1)
        assert line == f"{last}: the file is empty; copy or export the file again"

    @pytest.mark.parametrize("damage", ["missing", "loop", "forbidden"])
    def test_a_last_slice_that_cannot_be_read(self, study: Study, damage: str) -> None:
        last = study.ct / "IM0004"
        if damage == "forbidden":
            if os.geteuid() == 0:
                pytest.skip("nothing is forbidden to root")
            last.chmod(0)
        else:
            last.unlink()
            last.symlink_to(last if damage == "loop" else study.ct / "gone")
        words = {
            "missing": "no such file; check the path",
            "loop": "cannot be read (Too many levels of symbolic links); check the path",
            "forbidden": "no permission to read it; change the file's permissions",
        }
        for only in ((), ("IM0000", "IM0001", "IM0002", "IM0003")):
            for name in only:
                (study.ct / name).unlink()
            line = one_line(study.fuse("--reference", "ct"), 1)
            assert line.startswith(f"{last}: {words[damage]}")

    def test_what_lies_beside_slices(self, study: Study) -> None:
        """Companions are passed over; what may be a slice is told of, all of it at once."""
        for name in ("notes.txt", "REPORT.XML", "info.json", "a.csv", "a.PDF", "DICOMDIR", ".x"):
            (study.ct / name).write_bytes(b"not a slice")
        (study.ct.parent / "other").mkdir()
        (study.ct.parent / "other" / "IM0009").write_bytes(b"not a slice")
        study.scan.unlink()
        shutil.move(study.mri, study.out.with_name("MR"))
        home, mri = study.ct.parent, study.out.with_name("MR")
        assert "warning" not in study.fused("--name", "A", ct=home, mri=mri).stderr
        words = "warning: A: ct: {} beside its slices ignored, not DICOM (the first: {})"
        for name, expected in (("IM0004", "1 file"), ("1.2.840", "2 files")):
            path = study.ct / name
            path.write_bytes(path.read_bytes()[:100] if path.exists() else b"")
            again = ("--existing", "overwrite", "--reference", "ct")
            result = study.fused("--name", "A", *again, ct=home, mri=mri)
            first = "IM0004" if expected == "1 file" else "1.2.840"
            assert words.format(expected, first) in result.stderr
            assert result.stderr.count("beside its slices") == 1

    def test_a_modality_that_is_a_text(self, study: Study) -> None:
        """What the list of series shows of a header is cut."""
        for i, path in enumerate(sorted(study.ct.iterdir())):
            header = pydicom.dcmread(path)
            header.SeriesInstanceUID, header.SeriesNumber = f"1.2.3.{i % 2}", i % 2
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                header.Modality = "x" * 500
                header.save_as(path)
        line = one_line(study.fuse(), 1)
        assert f"0 {'X' * 57}... (3 slices of 12x14)" in line
        assert "X" * 58 not in line

    def test_a_damaged_form_of_nifti_is_told_of(self, study: Study, tmp_path: Path) -> None:
        nib.save(load_nifti(study.scan), tmp_path / "mr.nii")
        good = (tmp_path / "mr.nii").read_bytes()
        for start, words in (
            (280, "its sform is damaged (it cannot be inverted): the qform is used"),
            (256, "its qform is damaged (it cannot be inverted): the sform is used"),
        ):
            damaged = good[:start] + np.float32("nan").tobytes() + good[start + 4 :]
            (tmp_path / "mr.nii").write_bytes(damaged)
            assert f"warning: mr: mri: {words}" in study.fused(mri=tmp_path / "mr.nii").stderr
            found = load_nifti(study.out / "fused" / "mr.nii.gz")
            np.testing.assert_allclose(found.affine, load_nifti(study.scan).affine, atol=1e-4)

    def test_no_voxel_with_data(self, study: Study, tmp_path: Path) -> None:
        ct = write_series(
            tmp_path / "ct",
            grey(0),
            PLACE,
            "CT",
            PixelPaddingValue=-1000,
            PixelPaddingRangeLimit=500,
        )
        scan = write_nifti(tmp_path / "mr.nii", np.full(SHAPE, np.nan, np.float32), PLACE)
        for given in ({"ct": ct}, {"mri": scan}):
            for option in (("--reference", "ct"), ("--reference", "mri")):
                line = one_line(study.fuse(*option, **given), 1)
                named = next(iter(given.values()))
                assert (
                    line == f"{named}: no voxel has data; export it again, or give another volume"
                )

    @pytest.mark.parametrize("reference", ["ct", "mri"])
    def test_no_voxel_with_data_of_both(self, study: Study, tmp_path: Path, reference: str) -> None:
        ct, mri = (np.full(SHAPE, np.nan, np.float32) for _ in range(2))
        ct[:2], mri[3:] = grey(0)[:2], positive(1)[3:]
        result = study.fused(
            *("--reference", reference, "--name", "A"),
            ct=write_nifti(tmp_path / "ct.nii", ct, PLACE),
            mri=write_nifti(tmp_path / "mr.nii", mri, PLACE),
        )
        assert "warning: A: no voxel has data in both volumes: nothing is fused" in result.stderr

    @pytest.mark.parametrize("step", [1e-8, 1e-4, 1e5])
    def test_voxels_of_a_size_that_nothing_has(
        self, study: Study, tmp_path: Path, step: float
    ) -> None:
        far = PLACE @ np.diag([1, step, step, 1])
        size = f"3 x {2 * step:.3g} x {2 * step:.3g} mm (slices, rows, columns)"
        words = f"its voxels are {size}, not between 0.001 and 10000 mm; correct their size in its"
        ct = write_series(tmp_path / "ct", grey(0), far, "CT")
        assert one_line(study.fuse(ct=ct), 1).startswith(f"{ct}: {words}")
        scan = write_nifti(tmp_path / "mr.nii", positive(1), far)
        assert one_line(study.fuse(mri=scan), 1).startswith(f"{scan}: {words}")

    def test_a_place_where_nothing_is(self, study: Study, tmp_path: Path) -> None:
        far = PLACE.copy()
        far[0, 3] = 1e12
        ct = write_series(tmp_path / "ct", grey(0), far, "CT")
        words = "its first voxel is more than 1e+06 mm away from the origin"
        assert one_line(study.fuse(ct=ct), 1).startswith(f"{ct}: {words}")

    @pytest.mark.parametrize("scale", [1e-300, 1e-3, 1e4, 1e200])
    def test_transforms_that_no_patient_undergoes(
        self, study: Study, tmp_path: Path, scale: float
    ) -> None:
        path = tmp_path / "a.tfm"
        sitk.WriteTransform(sitk.AffineTransform((np.eye(3) * scale).ravel(), (0, 0, 0)), str(path))
        line = one_line(study.fuse("--transform", path), 1)
        assert line.startswith(f"{path}: its transform stretches by {scale:.3g} to {scale:.3g}")
        assert not study.out.exists()

    def test_wide_smoothing_ends(self, study: Study, tmp_path: Path) -> None:
        """A voxel of the reference may be as wide as millions of the other volume's."""
        wide, fine = np.diag([1e4, 1e4, 1e4, 1]), np.diag([1e-3, 1e-3, 1e-3, 1])
        shape = (3, 40, 40)
        ct = write_nifti(tmp_path / "ct.nii", grey(0, shape), fine)
        mri = write_nifti(tmp_path / "mr.nii", positive(1, shape), wide)
        study.fused("--name", "A", "--range", "ct=-1000,300", ct=ct, mri=mri)
        unique, _ = values(study.out / "unique_ct" / "A.nii.gz")
        assert np.count_nonzero(unique) == 1

    def test_tilted_gantry_is_handled_and_said(self, study: Study, tmp_path: Path) -> None:
        tilted = PLACE.copy()
        tilted[1, 0] = 0.6
        ct = write_series(tmp_path / "tilted", grey(0), tilted, "CT")
        assert "ct: its slices are shifted sideways, as by a gantry tilted by" in (
            study.fused(ct=ct).stderr
        )

    def test_numbers_that_are_no_hu(self, study: Study, tmp_path: Path) -> None:
        scan = write_nifti(tmp_path / "ct.nii", positive(0) + np.int16(5000), PLACE)
        assert "do not look like HU" in study.fused(ct=scan).stderr
        line = one_line(study.fuse("--window", "ct=bone", ct=scan), 1)
        assert "do not look like HU" in line

    def test_a_ct_that_does_not_say_what_its_numbers_are(
        self, study: Study, tmp_path: Path
    ) -> None:
        rescale = {"RescaleSlope": None, "RescaleIntercept": None}
        ct = write_series(tmp_path / "plain" / "CT", grey(0), PLACE, "CT", **rescale)
        words = "warning: A: ct: no unit in the file: its numbers (-1000 to 298) are taken as HU"
        assert words in study.fused("--name", "A", ct=ct).stderr
        alike = study.fused("--name", "ct", ct=ct).stderr
        assert words.replace("A: ct: ", "ct: ") in alike
        assert "ct: ct: " not in alike
        known = write_series(
            tmp_path / "typed" / "CT", grey(0), PLACE, "CT", **rescale, RescaleType="HU"
        )
        assert "warning" not in study.fused("--name", "A", ct=known).stderr
        half = write_series(tmp_path / "half" / "CT", grey(0), PLACE, "CT", RescaleSlope=None)
        assert "warning" not in study.fused("--name", "A", ct=half).stderr

    def test_a_capture_of_a_ct_is_not_in_hu(self, study: Study, tmp_path: Path) -> None:
        pixels = np.clip(grey(0) // 8 + 125, 0, 255).astype(np.uint8)
        capture: dict[str, Any] = {"SOPClassUID": CLASSES["OT"], "RescaleType": "HU"}
        ct = write_series(tmp_path / "CT", pixels, PLACE, "CT", **capture)
        result = study.fused("--name", "A", ct=ct)
        assert "A: ct: the numbers (0 to 162) do not look like HU: stretched by" in result.stderr
        line = one_line(study.fuse("--name", "A", "--window", "ct=bone", ct=ct), 1)
        assert "do not look like HU" in line

    def test_options_of_the_other_format(self, study: Study) -> None:
        assert "NIfTI has no series" in one_line(study.fuse("--series", "mri=1", mri=study.scan), 1)
        words = "holds 1 volume, not a number 2; correct --volume"
        assert words in one_line(study.fuse("--volume", "mri=2"), 1)

    def test_too_many_voxels(self, study: Study) -> None:
        assert "raise the limit with --max-pixels" in one_line(
            study.fuse("--max-pixels", "0.0001"), 1
        )

    def test_deformable_transforms(self, study: Study, tmp_path: Path) -> None:
        path = tmp_path / "bent.tfm"
        sitk.WriteTransform(sitk.BSplineTransform(3, 3), str(path))
        assert "deformable" in one_line(study.fuse("--transform", path), 1)


# --- sequences ------------------------------------------------------------------------------------


class TestEachVolume:
    def test_a_series_with_a_single_volume(self, study: Study, tmp_path: Path) -> None:
        series = echoes(tmp_path / "echoes", 3)
        given = ("--each-volume", "--name", "A", "--maps", "none")
        result = study.fused(*given, mri=series)
        names = [f"A/{number:04d}" for number in (1, 2, 3)]
        assert result.stdout.split() == [
            str(study.out / "fused" / f"{name}.nii.gz") for name in names
        ]
        found = records(study.out)
        assert [*found] == names
        for number, name in enumerate(names, 1):
            assert found[name]["inputs"]["mri"]["volume"] == number
            assert "volume" not in found[name]["inputs"]["ct"]
            assert (study.out / "preview" / f"{name}.png").is_file()
        assert "0 fused, 3 skipped" in study.fused(*given, mri=series).stderr
        (study.out / "fused" / "A" / "0002.nii.gz").unlink()
        assert "1 fused, 2 skipped" in study.fused(*given, mri=series).stderr

    def test_one_window_for_all(self, study: Study, tmp_path: Path) -> None:
        several = np.stack([positive(1), 3 * positive(1), positive(1)], axis=-1)
        scan = tmp_path / "several.nii.gz"
        nib.save(
            nib.Nifti1Image(several.transpose(2, 1, 0, 3), load_nifti(study.scan).affine), scan
        )
        result = study.fused("--each-volume", "--maps", "none", mri=scan)
        found = records(study.out)
        ranges = [found[f"several/000{number}"]["ranges"]["mri"] for number in (1, 2, 3)]
        assert ranges[0] == ranges[1] == ranges[2]
        alone = study.fused("--volume", "mri=2", "--name", "alone", "--maps", "none", mri=scan)
        whole = records(study.out)["alone"]["ranges"]["mri"]
        assert (ranges[0]["low"], ranges[0]["high"]) == (whole["low"] / 3, whole["high"])
        assert "within the body, of all 3 volumes: " in result.stderr
        assert "of all" not in alone.stderr
        first, last = (
            values(study.out / "fused" / "several" / f"000{n}.nii.gz")[0] for n in (1, 3)
        )
        np.testing.assert_array_equal(first, last)

    def test_two_sequences(self, study: Study, tmp_path: Path) -> None:
        mri = echoes(tmp_path / "P2" / "MR", 2)
        ct = tmp_path / "P2" / "CT"
        for number in (1, 2):
            headers = slices(grey(number), PLACE, "CT", TemporalPositionIdentifier=number)
            save(headers, ct, f"T{number}-{{:04d}}")
        study.fused("--each-volume", ct=ct, mri=mri)
        found = records(study.out)["P2/0002"]["inputs"]
        assert (found["ct"]["volume"], found["mri"]["volume"]) == (2, 2)
        line = one_line(study.fuse("--each-volume", ct=ct, mri=echoes(tmp_path / "x", 3)))
        words = "3 volumes of mri and 2 of ct do not make pairs; choose one with --volume mri=N or"
        assert words in line
        study.fused("--each-volume", "--volume", "ct=1", "--name", "B", ct=ct, mri=mri)
        assert records(study.out)["B/0002"]["inputs"]["mri"]["volume"] == 2

    def test_dicom_series_are_distinct(self, study: Study, tmp_path: Path) -> None:
        series = echoes(tmp_path / "echoes", 2)
        study.fused("--each-volume", "--name", "A", "--to", "dicom", mri=series)
        uids = set()
        for name in ("0001", "0002"):
            (path, *_) = sorted((study.out / "fused" / "A" / name).iterdir())
            header = pydicom.dcmread(path)
            uids.add(header.SeriesInstanceUID)
            (source,) = {
                one.ReferencedSOPInstanceUID
                for one in header.SourceImageSequence
                if one.ReferencedSOPClassUID == CLASSES["MR"]
            }
            assert source in {
                pydicom.dcmread(one).SOPInstanceUID for one in series.glob(f"E{int(name)}-*")
            }
        assert len(uids) == 2

    def test_a_volume_that_fails_stops_no_other(self, study: Study, tmp_path: Path) -> None:
        series = echoes(tmp_path / "echoes", 3)
        (series / "E3-0002").unlink()
        result = study.fuse("--each-volume", "--name", "A", mri=series)
        assert "volume 3 lacks 1 of its slices" in one_line(result, 1)
        assert "2 fused, 0 skipped, 1 failed" in result.stderr

    def test_single_volumes_stay_as_they_are(self, study: Study) -> None:
        study.fused("--each-volume")
        assert [*records(study.out)] == ["P1"]

    def test_parts_of_a_sequence(self, study: Study, tmp_path: Path) -> None:
        series = echoes(tmp_path / "echoes", 2)
        for part in ("1/2", "2/2"):
            study.fused("--each-volume", "--name", "A", "--part", part, mri=series)
        study.fused("--each-volume", "--name", "A", "--merge-parts", mri=series)
        assert [*records(study.out)] == ["A/0001", "A/0002"]

    def test_wrong_choices(self, study: Study, tmp_path: Path) -> None:
        line = one_line(study.fuse("--each-volume", "--volume", "ct=1", "--volume", "mri=1"))
        assert line.startswith("--each-volume and --volume: ")
        for name in ("a.png", "b.png"):
            iio.imwrite(tmp_path / name, np.zeros((8, 9), np.uint8))
        pictures = ("--ct", tmp_path / "a.png", "--mri", tmp_path / "b.png")
        given = ("-o", tmp_path / "pictures", "--weights", study.weights, "--each-volume")
        words = "--each-volume: applies only to volumes (DICOM, NIfTI), but pictures are fused"
        assert words in one_line(fnet("fuse", *pictures, *given))
        visible = ("--vis", tmp_path / "a.png", "--ir", tmp_path / "b.png")
        assert "--each-volume: applies only to two of" in one_line(fnet("fuse", *visible, *given))


# --- patients -------------------------------------------------------------------------------------


SECRETS: dict[str, Any] = {
    **PATIENT,
    "SeriesDescription": "Zzyzx series",
    "ProtocolName": "Zzyzx protocol",
    "ReferringPhysicianName": "Zzyzx^Doctor",
    "OperatorsName": "Zzyzx^Operator",
    "InstitutionAddress": "Zzyzx street",
    "PatientComments": "zzyzx comment",
    "StudyID": "ZZYZX7",
    "StationName": "ZZYZXSTATION",
}
NEEDLES = (b"zzyzx", b"id-4711", b"19011231")


def secrets_in(content: bytes) -> list[bytes]:
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    return [needle for needle in NEEDLES if needle in content.lower()]


def spoil(path: Path, good: bytes, bad: bytes) -> None:
    """Exchange a value in a file for another one of the same length."""
    content = path.read_bytes()
    assert content.count(good) == 1
    path.write_bytes(content.replace(good, bad))


class TestPrivacy:
    @pytest.fixture
    def secret(self, tmp_path: Path, weights: Path) -> Study:
        home = tmp_path / "P1"
        return Study(
            ct=write_series(home / "CT", grey(0), PLACE, "CT", **SECRETS),
            mri=save_one(enhanced(positive(1), PLACE, **SECRETS), home / "mr.dcm"),
            scan=pet_of(home / "PET", **SECRETS),
            weights=weights,
            out=tmp_path / "out",
        )

    def assert_nothing_told(self, study: Study, result: Result, but: str = "-") -> None:
        assert secrets_in(result.output.encode()) == []
        files = [path for path in study.out.rglob("*") if path.is_file()]
        assert files
        for path in files:
            assert secrets_in(str(path.relative_to(study.out)).encode()) == []
            found = secrets_in(path.read_bytes())
            if path.suffix == ".dcm" and but in path.parts:
                assert b"zzyzx" in found
            else:
                assert found == [], path

    @pytest.mark.parametrize("target", ["nifti", "dicom", "png", "tiff"])
    def test_only_dicom_carries_the_patient(self, secret: Study, target: str) -> None:
        result = secret.fused("--to", target, "-v", "--json", secret.out.with_name("s.json"))
        self.assert_nothing_told(secret, result, but="fused")
        assert secrets_in(secret.out.with_name("s.json").read_bytes()) == []
        if target == "dicom":
            first = pydicom.dcmread(secret.out / "fused" / "mr" / "0001.dcm")
            assert first.PatientName == PATIENT["PatientName"]
            for keyword in ("InstitutionName", "OperatorsName", "ProtocolName", "StationName"):
                assert keyword not in first

    def test_colour_and_registration(self, secret: Study, tmp_path: Path) -> None:
        shape = (16, 30, 30)
        pet = write_series(
            tmp_path / "PT", positive(3, shape), PLACE, "PT", Units="BQML", **SECRETS
        )
        mri = write_series(tmp_path / "MR", positive(3, shape), PLACE, "MR", **SECRETS)
        given = ("--pet", pet, "--mri", mri, "-o", secret.out)
        result = succeeds(
            *(*given, "--weights", secret.weights, "--colormap", "hot", "-v"),
            *("--register", "rigid"),
        )
        self.assert_nothing_told(secret, result)

    @pytest.mark.parametrize("damage", ["cut", "geometry", "units", "two series", "far", "number"])
    def test_failures(self, secret: Study, damage: str) -> None:
        path = secret.ct / "IM0002"
        header = pydicom.dcmread(path)
        if damage == "cut":
            path.write_bytes(path.read_bytes()[:-60])
        elif damage == "geometry":
            header.ImageOrientationPatient = [1, 0, 0, 1, 0, 0]
            save_one(header, path)
        elif damage == "units":
            header.RescaleSlope = 0
            save_one(header, path)
        elif damage == "two series":
            header.SeriesInstanceUID = "1.2.3.98"
            save_one(header, path)
        elif damage == "far":
            shutil.rmtree(secret.ct)
            far = PLACE.copy()
            far[2, 3] += 900
            write_series(secret.ct, grey(0), far, "CT", **SECRETS)
        else:
            spoil(path, b"2.0\\2.0", b"zzy\\zzx")
        result = secret.fuse("-v")
        assert result.exit_code == 1, result.output
        if damage == "two series":  # the terminal lists descriptions, nothing else does
            assert "'Zzyzx series'" in result.stderr
            result = fnet("--version")
        self.assert_nothing_told(secret, result)

    def test_headers_that_cannot_be_encoded(self, secret: Study) -> None:
        """What pydicom says of a value that makes no sense quotes it."""
        header = pydicom.dcmread(secret.mri)
        header.PatientAge, header.PatientWeight, header.StudyTime = "042Y", "70.5", "101112"
        header.EchoTime = "12.5"
        save_one(header, secret.mri)
        for good, bad in (
            *((b"19011231", b"zzyzxday"), (b"042Y", b"zzyz"), (b"70.5", b"zzyz")),
            *((b"101112", b"zzyzxh"), (b"12.5", b"zzyz")),
        ):
            spoil(secret.mri, good, bad)
        result = secret.fuse("--to", "dicom", "-v")
        self.assert_nothing_told(secret, result, but="fused")


# --- a real patient -------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared/ folder beside the checkout")
class TestShared:
    @pytest.mark.parametrize(
        ("first", "second", "reference"),
        [
            (("--ct", "CT"), ("--mri", "MR_T1"), "MR_T1"),
            (("--pet", "PET"), ("--ct", "CT"), "CT"),
            (("--pet", "PET"), ("--mri", "MR_T1"), "MR_T1"),
        ],
        ids=["CT with MR", "PET with CT", "PET with MR"],
    )
    def test_lies_where_the_reference_lies(
        self,
        tmp_path: Path,
        weights: Path,
        first: tuple[str, str],
        second: tuple[str, str],
        reference: str,
    ) -> None:
        given = [one for option, name in (first, second) for one in (option, SHARED / name)]
        matrix, shape = itk_grid(SHARED / reference)
        for target in ("nifti", "dicom"):
            colored = ("--colormap", "hot") if "--pet" in first else ()
            result = succeeds(
                *(*given, "-o", tmp_path / "out", "--weights", weights, "--to", target, *colored)
            )
            assert "STS_002: " in result.stderr
            assert "frames of reference" not in result.stderr
        found = load_nifti(tmp_path / "out" / "fused" / "STS_002.nii.gz")
        assert found.shape == shape
        np.testing.assert_allclose(found.affine, matrix, atol=1e-3)
        written, size = itk_grid(tmp_path / "out" / "fused" / "STS_002")
        assert size == shape
        np.testing.assert_allclose(written, matrix, atol=1e-3)
        fused = np.asarray(found.dataobj).transpose(2, 1, 0)
        dicom = values_of_dicom(tmp_path / "out" / "fused" / "STS_002") / 1000
        np.testing.assert_allclose(dicom, fused, atol=6e-4)
        assert fused.std() > 0.05
