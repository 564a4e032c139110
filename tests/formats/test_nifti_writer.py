"""nibabel and SimpleITK read what is written where the reference lies; no text comes along."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset

from fnetcli.errors import ImageError, WriteError
from fnetcli.formats.nifti.writer import write_nifti
from fnetcli.imaging.image import DicomSeries, Grid, Image, NiftiSpace

SHAPE = (4, 5, 6)
TEXTS = ("descrip", "intent_name", "aux_file", "db_name")


def turned(degrees: float) -> NDArray[np.float64]:
    a = math.radians(degrees)
    return np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])


def grid_of(steps: NDArray[np.float64], shape: tuple[int, int, int] = SHAPE) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = steps
    affine[:3, 3] = (-90.25, 126.5, -72.125)
    return Grid(shape, affine)


LPS_AXIAL = np.array([[0, 0, -0.7], [0, -0.8, 0], [3, 0, 0]])  # slices, rows, columns
OBLIQUE = turned(20) @ LPS_AXIAL


def values(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(shape, np.float32)


def reference(grid: Grid, **details: Any) -> Image:
    return Image(np.zeros((*grid.shape, 1), np.int16), grid, **details)


def header_of(path: Path) -> Any:
    return nib.load(path).header


def from_nifti(
    qform: NDArray[np.float64] | None,
    sform: NDArray[np.float64] | None,
    order: tuple[int, int, int] = (2, 1, 0),
    **details: Any,
) -> Image:
    """Return an image as if read from a file with these forms, index (i, j, k)."""
    best = sform if sform is not None else qform
    assert best is not None
    shape = [0, 0, 0]
    for size, axis in zip(SHAPE, order, strict=True):
        shape[axis] = size
    zooms = np.linalg.norm((best if qform is None else qform)[:3, :3], axis=0)  # pixdim: qform's
    space = NiftiSpace(
        (shape[0], shape[1], shape[2]),
        (float(zooms[0]), float(zooms[1]), float(zooms[2])),
        qform,
        sform,
        order=order,
        **details,
    )
    return reference(Grid(SHAPE, best[:, [*order, 3]]), nifti=space)


class TestFromDicom:
    @pytest.mark.parametrize("steps", [LPS_AXIAL, OBLIQUE, OBLIQUE[:, [2, 0, 1]]])
    @pytest.mark.parametrize("name", ["a.nii.gz", "a.nii"])
    def test_lies_where_the_reference_lies(
        self, steps: NDArray[np.float64], name: str, tmp_path: Path
    ) -> None:
        image, path = reference(grid_of(steps)), tmp_path / "new" / name
        fused = values()
        write_nifti(path, fused[..., None], image)
        got: Any = nib.load(path)
        assert image.grid.affine is not None
        expected = image.grid.affine[:, [2, 1, 0, 3]]
        for form, code in (got.get_qform(coded=True), got.get_sform(coded=True)):
            np.testing.assert_allclose(form, expected, atol=1e-4)
            assert code == 1
        assert got.header.get_xyzt_units() == ("mm", "unknown")
        assert got.get_data_dtype() == np.float32
        np.testing.assert_array_equal(np.asarray(got.dataobj), fused.transpose(2, 1, 0))

    def test_simpleitk_finds_the_same_voxel_at_the_same_place(self, tmp_path: Path) -> None:
        sitk = pytest.importorskip("SimpleITK")
        image, fused = reference(grid_of(OBLIQUE)), values()
        write_nifti(tmp_path / "a.nii.gz", fused, image)
        got = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
        assert image.grid.affine is not None
        for index in ((0, 0, 0), (3, 1, 5), (2, 4, 0)):
            x, y, z, _ = image.grid.affine @ (*index, 1)
            place = got.TransformPhysicalPointToIndex((-x, -y, z))
            assert place == index[::-1]
            assert got[place] == fused[index]

    def test_sheared_grids_have_no_qform(self, tmp_path: Path) -> None:
        steps = LPS_AXIAL.copy()
        steps[1, 0] = 0.6  # a tilted gantry
        write_nifti(tmp_path / "a.nii", values(), reference(grid_of(steps)))
        header = header_of(tmp_path / "a.nii")
        assert (int(header["qform_code"]), int(header["sform_code"])) == (0, 1)
        np.testing.assert_allclose(header.get_sform()[:3, :3], steps[:, ::-1], atol=1e-6)
        np.testing.assert_allclose(header.get_zooms(), np.linalg.norm(steps[:, ::-1], axis=0))

    def test_no_patient_text_comes_along(self, tmp_path: Path) -> None:
        header = Dataset()
        header.PatientName, header.PatientID = "Zyxwv^Distinctive", "ID-4711"
        image = reference(
            grid_of(LPS_AXIAL),
            series=DicomSeries((header,) * 4, (1,) * 4),
            frame_of_reference="1.2.3.4711",
            notices=("Zyxwv",),
        )
        write_nifti(tmp_path / "a.nii.gz", values(), image)
        content = gzip.decompress((tmp_path / "a.nii.gz").read_bytes())
        assert not any(word in content for word in (b"Zyxwv", b"4711", b"1.2.3"))
        written = header_of(tmp_path / "a.nii.gz")
        assert all(not bytes(written[name].tobytes()).strip(b"\0") for name in TEXTS)
        assert not written.extensions


class TestFromNifti:
    @pytest.mark.parametrize("order", [(2, 1, 0), (0, 1, 2), (1, 0, 2), (0, 2, 1)])
    @pytest.mark.parametrize("version", [1, 2])
    def test_keeps_forms_codes_units_and_order(
        self, order: tuple[int, int, int], version: int, tmp_path: Path
    ) -> None:
        qform, sform = np.eye(4), np.eye(4)
        qform[:3, :3] = turned(15) * (0.7, 0.8, 3)
        sform[:3, :3] = [[-0.71, 0.1, 0], [0, 0.8, 0.3], [0.05, 0, 3.1]]  # sheared, to a template
        qform[:3, 3], sform[:3, 3] = (1, 2, 3), (-90, -126, -72)
        image = from_nifti(
            qform, sform, order, qform_code=1, sform_code=4, xyzt_units=2 | 8, version=version
        )
        fused = values()
        write_nifti(tmp_path / "a.nii.gz", fused, image)
        got: Any = nib.load(tmp_path / "a.nii.gz")
        assert type(got).__name__ == f"Nifti{version}Image"
        for (form, code), expected in zip(
            (got.get_qform(coded=True), got.get_sform(coded=True)),
            ((qform, 1), (sform, 4)),
            strict=True,
        ):
            np.testing.assert_allclose(form, expected[0], atol=1e-5)
            assert code == expected[1]
        assert got.header.get_xyzt_units()[0] == "mm"
        np.testing.assert_allclose(got.header["pixdim"][1:4], (0.7, 0.8, 3), rtol=1e-6)
        # A voxel is found under the index that it has in the reference's file.
        for index in ((0, 0, 0), (3, 1, 5), (2, 4, 0)):
            in_file = [0, 0, 0]
            for position, axis in zip(index, order, strict=True):
                in_file[axis] = position
            assert got.dataobj[tuple(in_file)] == fused[index]

    def test_only_one_form(self, tmp_path: Path) -> None:
        form = np.diag([2.0, 2, 2, 1])
        for name, image in (
            ("q", from_nifti(form, None, qform_code=1)),
            ("s", from_nifti(None, form, sform_code=2)),
        ):
            write_nifti(tmp_path / f"{name}.nii", values(), image)
            header = header_of(tmp_path / f"{name}.nii")
            codes = {
                "qform_code": int(header["qform_code"]),
                "sform_code": int(header["sform_code"]),
            }
            assert codes == (
                {"qform_code": 1, "sform_code": 0}
                if name == "q"
                else {"qform_code": 0, "sform_code": 2}
            )
            np.testing.assert_allclose(header.get_best_affine(), form)

    def test_other_units_stay(self, tmp_path: Path) -> None:
        form = np.diag([250.0, 250, 900, 1])
        image = from_nifti(form, form, qform_code=1, sform_code=1, xyzt_units=3)
        write_nifti(tmp_path / "a.nii", values(), image)
        header = header_of(tmp_path / "a.nii")
        assert header.get_xyzt_units()[0] == "micron"
        assert header.get_zooms() == (250, 250, 900)


class TestValues:
    image = reference(grid_of(LPS_AXIAL))

    def test_scaling_and_display_range(self, tmp_path: Path) -> None:
        write_nifti(tmp_path / "a.nii", values(), self.image)
        write_nifti(tmp_path / "b.nii", values() - 0.5, self.image, limits=(-0.5, 0.5))
        header, signed = header_of(tmp_path / "a.nii"), header_of(tmp_path / "b.nii")
        assert (header["cal_min"], header["cal_max"]) == (0, 1)
        assert (signed["cal_min"], signed["cal_max"]) == (-0.5, 0.5)
        content = (tmp_path / "a.nii").read_bytes()
        stored = nib.Nifti1Header(content[:348], check=False)  # nibabel hides it where it loads
        assert (stored["scl_slope"], stored["scl_inter"]) == (1, 0)

    def test_colour_is_rgb24(self, tmp_path: Path) -> None:
        rgb = np.random.default_rng(1).integers(0, 256, (*SHAPE, 3), np.uint8)
        write_nifti(tmp_path / "a.nii.gz", rgb, self.image)
        got: Any = nib.load(tmp_path / "a.nii.gz")
        assert int(got.header["datatype"]) == 128
        assert int(got.header["bitpix"]) == 24
        stored = np.asarray(got.dataobj)
        for channel, name in enumerate("RGB"):
            np.testing.assert_array_equal(stored[name], rgb[..., channel].transpose(2, 1, 0))

    @given(shape=st.tuples(*[st.integers(1, 6)] * 3), seed=st.integers(0, 99))
    def test_every_shape_reads_back(
        self, shape: tuple[int, int, int], seed: int, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        path, fused = tmp_path_factory.getbasetemp() / "a.nii", values(seed, shape)
        write_nifti(path, fused, reference(grid_of(OBLIQUE, shape)))
        got: Any = nib.load(path)
        np.testing.assert_array_equal(np.asarray(got.dataobj), fused.transpose(2, 1, 0))

    def test_equal_input_gives_equal_bytes(self, tmp_path: Path) -> None:
        for name in ("a.nii.gz", "b.nii.gz"):
            write_nifti(tmp_path / name, values().copy(), self.image)
        content = (tmp_path / "a.nii.gz").read_bytes()
        assert content == (tmp_path / "b.nii.gz").read_bytes()
        assert content[3:8] == bytes(5)  # neither a file name nor a time

    def test_nan_is_refused_and_nothing_is_left(self, tmp_path: Path) -> None:
        broken = values()
        broken[1, 2, 3] = np.nan
        with pytest.raises(ImageError, match="NaN"):
            write_nifti(tmp_path / "a.nii.gz", broken, self.image)
        assert not list(tmp_path.iterdir())

    def test_pictures_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(WriteError, match=r"a\.nii: the reference has no position"):
            write_nifti(tmp_path / "a.nii", values(), reference(Grid(SHAPE)))

    @pytest.mark.parametrize(
        "other",
        [
            np.zeros(SHAPE),
            np.zeros((*SHAPE, 3), np.float32),
            np.zeros((*SHAPE, 1), np.uint8),
            np.zeros((4, 5, 7), np.float32),
            np.zeros((5, 6), np.float32),
        ],
    )
    def test_other_arrays_are_refused(self, other: NDArray[Any], tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"NIfTI takes|the grid is"):
            write_nifti(tmp_path / "a.nii", other, self.image)
