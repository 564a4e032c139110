"""Transforms are those of ITK, and registration finds what was done to a phantom."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fnetcli.errors import PairError, ReadError, UsageError
from fnetcli.formats.transforms import FLIP, read_transform, write_transform
from fnetcli.imaging.image import Grid, Image
from fnetcli.volumes.registration import motion, register
from fnetcli.volumes.resample import Matrix, placed, resample

sitk = pytest.importorskip("SimpleITK")


def rigid(angles: tuple[float, float, float], shift: tuple[float, float, float]) -> Matrix:
    """Return a transform in RAS+, angles in degrees."""
    turn = sitk.Euler3DTransform((0, 0, 0), *(math.radians(a) for a in angles), shift)
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(turn.GetMatrix(), (3, 3))
    matrix[:3, 3] = shift
    return matrix


def grid_about(steps: NDArray[np.float64], shape: tuple[int, int, int]) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = steps
    affine[:3, 3] = -steps @ ((np.array(shape) - 1) / 2) + (20, -30, 400)
    return Grid(shape, affine)


AXIAL = np.array([[0, 0, -1], [0, -1, 0], [1, 0, 0]], float)
FIXED = grid_about(AXIAL * (3, 1.6, 1.6), (24, 56, 48))
MOVING = grid_about(AXIAL[:, [2, 0, 1]] * (2.5, 1.8, 1.8), (36, 44, 52))  # sagittal
ORGANS = (  # centre, half axes (mm), values in the two modalities
    ((0, 0, 0), (30, 38, 30), (400, 100)),
    ((-10, 12, 6), (9, 12, 10), (900, 30)),
    ((14, -6, -8), (7, 9, 12), (100, 300)),
    ((3, 20, -14), (5, 6, 5), (1000, 250)),
)


def phantom(grid: Grid, modality: int, transform: Matrix) -> Image:
    """Return a head in which `transform` maps the reference's points to this volume's."""
    assert grid.affine is not None
    index = np.indices(grid.shape).reshape(3, -1)
    there = grid.affine @ np.vstack([index, np.ones(index.shape[1])])
    points = (
        (np.linalg.solve(transform, there)[:3].T - (20, -30, 400))
        if transform is not None
        else there
    )
    values = np.zeros(index.shape[1])
    for centre, axes, levels in ORGANS:
        distance = np.sqrt(np.square((points - centre) / np.array(axes)).sum(axis=1))
        edge = np.clip((1 - distance) * min(axes) + 0.5, 0, 1)
        values = values * (1 - edge) + levels[modality] * edge
    values += np.random.default_rng(modality).normal(0, 3, values.shape)
    return Image(values.reshape(*grid.shape, 1).astype(np.float32), grid)


BOTH = ("mri", "mri")
LARGE = "the correction is large, and large corrections are often wrong: look at the result"
# About the phantom, not about the scanner's centre, which lies 400 mm off.
HOME = np.eye(4)
HOME[:3, 3] = (20, -30, 400)


def about_home(angles: tuple[float, float, float], shift: tuple[float, float, float]) -> Matrix:
    return np.asarray(HOME @ rigid(angles, shift) @ np.linalg.inv(HOME))


def worst(found: Matrix, true: Matrix) -> float:
    """Return the largest distance, mm, between where two transforms put the head's corners."""
    corners = np.array([[x, y, z, 0] for x in (-30, 30) for y in (-38, 38) for z in (-30, 30)]).T
    points = HOME @ np.array([[0, 0, 0, 1]]).T + corners
    return float(np.linalg.norm(((found - true) @ points)[:3], axis=0).max())


class TestRegister:
    def test_finds_what_was_done(self) -> None:
        true = about_home((4, -6, 5), (6, -4, 5))
        fixed, moving = phantom(FIXED, 0, np.eye(4)), phantom(MOVING, 1, true)
        found = register(fixed, moving, BOTH)
        assert worst(found.transform, true) < 0.8  # half of the finest voxel
        assert found.refusal is None
        assert found.after > found.before + 0.1
        assert found.notices == (LARGE,)  # 9 degrees
        assert found.shift == pytest.approx(np.linalg.norm((6, -4, 5)), abs=0.5)
        assert found.sentence.startswith(
            f"rigid registration: translated by {found.shift:.1f} mm and rotated by "
            f"{found.turn:.1f} deg"
        )
        again = register(fixed, moving, BOTH)
        np.testing.assert_array_equal(again.transform, found.transform)
        assert (again.before, again.after) == (found.before, found.after)
        onto = resample(placed(moving, found.transform), FIXED).pixels
        expected = phantom(FIXED, 1, np.eye(4)).pixels
        assert np.median(np.abs(onto - expected)) < 5

    def test_volumes_that_lie_apart(self) -> None:
        true = about_home((3, 2, -4), (5, 3, 300))
        moving = phantom(Grid(MOVING.shape, _shifted(MOVING, (0, 0, 300))), 1, true)
        found = register(phantom(FIXED, 0, np.eye(4)), moving, BOTH)
        assert worst(found.transform, true) < 0.8
        assert found.before == 0
        assert found.notices[0].startswith("the volumes hardly overlap by their headers")

    def test_what_is_aligned_stays(self) -> None:
        found = register(phantom(FIXED, 0, np.eye(4)), phantom(MOVING, 1, np.eye(4)), BOTH)
        np.testing.assert_array_equal(found.transform, np.eye(4))
        assert found.sentence.startswith("registration confirms the headers, which are kept")
        assert found.refusal is None
        assert found.notices == ()

    def test_holes_are_left_out(self) -> None:
        true = about_home((4, -6, 5), (6, -4, 5))
        fixed, moving = phantom(FIXED, 0, np.eye(4)), phantom(MOVING, 1, true)
        fixed.pixels[:3] = np.nan
        moving.pixels[:, :5] = np.nan
        assert worst(register(fixed, moving, BOTH).transform, true) < 1

    def test_one_frame_of_reference_is_trusted(self) -> None:
        """The headers may be wrong nevertheless: whoever knows says so."""
        true = about_home((4, -6, 5), (6, -4, 5))
        fixed, moving = (
            replace(image, frame_of_reference="1.2.3")
            for image in (phantom(FIXED, 0, np.eye(4)), phantom(MOVING, 1, true))
        )
        found = register(fixed, moving, BOTH)
        np.testing.assert_array_equal(found.transform, np.eye(4))
        assert "which is trusted unless --distrust-headers is given" in (found.refusal or "")
        distrusted = register(fixed, moving, BOTH, distrusts_headers=True)
        assert distrusted.refusal is None
        assert worst(distrusted.transform, true) < 0.8

    def test_skin_that_gives_way_is_not_followed(self) -> None:
        """The skin says one thing, what is inside another: neither is trusted."""
        skin = about_home((6, 0, -4), (8, -6, 5))
        inside = phantom(MOVING, 1, np.eye(4))
        assert MOVING.affine is not None
        index = np.indices(MOVING.shape).reshape(3, -1)
        points = (MOVING.affine @ np.vstack([index, np.ones(index.shape[1])]))[:3].T
        depth = np.sqrt(np.square((points - (20, -30, 400)) / (24, 30, 24)).sum(axis=1))
        is_inner = (depth < 1).reshape(*MOVING.shape, 1)
        outside = phantom(MOVING, 1, skin)
        torn = replace(inside, pixels=np.where(is_inner, inside.pixels, outside.pixels))
        found = register(phantom(FIXED, 0, np.eye(4)), torn, BOTH)
        np.testing.assert_array_equal(found.transform, np.eye(4))
        assert found.refusal is not None
        assert found.notices == ()

    def test_noise_is_refused(self) -> None:
        """Nothing in the two volumes says how they lie."""
        noise = np.random.default_rng(3).normal(100, 20, (*MOVING.shape, 1)).astype(np.float32)
        found = register(phantom(FIXED, 0, np.eye(4)), Image(noise, MOVING), BOTH)
        np.testing.assert_array_equal(found.transform, np.eye(4))
        assert found.refusal is not None
        assert found.refusal.startswith("registration failed (")

    def test_constant_volumes_are_refused(self) -> None:
        flat = Image(np.zeros((*FIXED.shape, 1), np.int16), FIXED)
        with pytest.raises(PairError, match="needs contrast"):
            register(flat, phantom(MOVING, 1, np.eye(4)), BOTH)

    def test_pictures_are_refused(self) -> None:
        picture = Image(np.zeros((1, 4, 5, 1), np.uint8), Grid((1, 4, 5)))
        with pytest.raises(PairError, match="a picture"):
            register(picture, phantom(MOVING, 1, np.eye(4)), BOTH)


def _shifted(grid: Grid, shift: tuple[float, float, float]) -> Matrix:
    assert grid.affine is not None
    affine = grid.affine.copy()
    affine[:3, 3] += shift
    return affine


KINDS = {
    "euler": sitk.Euler3DTransform((1, 2, 3), 0.1, -0.2, 0.3, (4, 5, 6)),
    "versor": sitk.VersorRigid3DTransform((1, 2, 3), 0.7, (1, 2, 3), (4, 5, 6)),
    "affine": sitk.AffineTransform((1, 0.1, 0, 0.2, 1.3, 0, -0.1, 0, 0.9), (1, 2, 3), (4, 5, 6)),
    "similarity": sitk.Similarity3DTransform(1.1, (0, 1, 2), 0.2, (1, 2, 3), (3, 2, 1)),
    "translation": sitk.TranslationTransform(3, (1, 2, 3)),
    "identity": sitk.Transform(3, sitk.sitkIdentity),
    "composite": sitk.CompositeTransform(
        [
            sitk.Euler3DTransform((1, 2, 3), 0.1, 0.2, 0.3, (4, 5, 6)),
            sitk.AffineTransform((1, 0.1, 0, 0, 1, 0, 0, 0, 1), (1, 2, 3), (4, 5, 6)),
        ]
    ),
}


class TestFiles:
    @pytest.mark.parametrize("suffix", [".tfm", ".txt"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_reads_what_itk_writes(self, kind: str, suffix: str, tmp_path: Path) -> None:
        path = tmp_path / f"a{suffix}"
        sitk.WriteTransform(KINDS[kind], str(path))
        matrix = read_transform(path)
        point = np.array([-12.0, 30, 7, 1])  # RAS+
        expected = KINDS[kind].TransformPoint((FLIP @ point)[:3].tolist())
        np.testing.assert_allclose((FLIP @ matrix @ point)[:3], expected, atol=1e-9)

    @given(
        angles=st.tuples(*[st.floats(-180, 180)] * 3), shift=st.tuples(*[st.floats(-500, 500)] * 3)
    )
    def test_itk_reads_what_we_write(
        self,
        angles: tuple[float, float, float],
        shift: tuple[float, float, float],
        tmp_path_factory: pytest.TempPathFactory,
    ) -> None:
        path, transform = tmp_path_factory.getbasetemp() / "out" / "a.tfm", rigid(angles, shift)
        write_transform(path, transform)
        point = np.array([-12.0, 30, 7, 1])
        got = sitk.ReadTransform(str(path)).TransformPoint((FLIP @ point)[:3].tolist())
        np.testing.assert_allclose(got, (FLIP @ transform @ point)[:3], atol=1e-9)
        np.testing.assert_array_equal(read_transform(path), transform)

    def test_a_shift_to_the_left_is_one_to_the_left(self, tmp_path: Path) -> None:
        """A reference point at x = 0 lies 10 mm to the left, LPS +10, in the moving volume."""
        sitk.WriteTransform(sitk.TranslationTransform(3, (10, 0, 0)), str(tmp_path / "a.tfm"))
        transform = read_transform(tmp_path / "a.tfm")
        assert transform[0, 3] == -10
        assert motion(transform) == (10, 0)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "not an ITK transform in text"),
            (b"\x89HDF\r\n", "ConvertTransformFile"),
            (b"#Insight Transform File V1.0\n", "holds no transform"),
            ("BSplineTransform_double_3_3|1 2|3", r"a deformable transform \(BSplineTransform\)"),
            ("DisplacementFieldTransform_double_3_3|1 2|3", "only rigid and affine"),
            ("Euler2DTransform_double_2_2|0 1 2|0 0", "is two-dimensional"),
            ("AffineTransform_double_2_2|1 0 0 1 1 2|0 0", "is two-dimensional"),
            ("OddTransform_double_3_3|1|2", r"unknown kind of transform \(OddTransform\)"),
            ("AffineTransform_double_3_3|1 2 3|0 0 0", "numbers are damaged"),
            ("Euler3DTransform_double_3_3|1 2|0 0 0", "numbers are damaged"),
            ("Euler3DTransform_double_3_3|0 0 0 1 2 3|0 0 0 1", "order ZYX"),
            ("VersorRigid3DTransform_double_3_3|1 1 1 0 0 0|0 0 0", "numbers are damaged"),
            ("AffineTransform_double_3_3|1 2 3 x 5 6 7 8 9 0 0 0|0 0 0", "numbers are damaged"),
            ("AffineTransform_double_3_3|0 0 0 0 0 0 0 0 0 0 0 0|0 0 0", "cannot be inverted"),
            ("AffineTransform_double_3_3|nan 0 0 0 1 0 0 0 1 0 0 0|0 0 0", "cannot be inverted"),
            ("AffineTransform_double_3_3|1 0 0 0 1 0 0 0 1 0 0 0|0", "numbers are damaged"),
            ("AffineTransform_double_3_3|inf 0 0 0 1 0 0 0 1 0 0 0|0 0 0", "cannot be inverted"),
            ("AffineTransform_double_3_3|1 0 0 0 1 0 0 0 1e-9 0 0 0|0 0 0", "cannot be inverted"),
            (
                "AffineTransform_double_3_3|1e200 0 0 0 1e200 0 0 0 1e200 0 0 0|0 0 0",
                r"stretches by 1e\+200 to 1e\+200",
            ),
            (
                "AffineTransform_double_3_3|1e-3 0 0 0 1e-3 0 0 0 1e-3 0 0 0|0 0 0",
                "stretches by 0.001 to 0.001",
            ),
            ("TranslationTransform_double_3_3|0 0 1e9|", r"shifts by more than 1e\+06 mm"),
        ],
    )
    def test_others_are_refused(self, content: bytes | str, words: str, tmp_path: Path) -> None:
        path = tmp_path / "a.tfm"
        if isinstance(content, str):
            kind, numbers, fixed = content.split("|")
            content = (
                f"#Insight Transform File V1.0\n#Transform 0\nTransform: {kind}\n"
                f"Parameters: {numbers}\nFixedParameters: {fixed}\n"
            ).encode()
        path.write_bytes(content)
        with pytest.raises(ReadError, match=words) as caught:
            read_transform(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)

    def test_two_without_an_order_are_refused(self, tmp_path: Path) -> None:
        one = "Transform: TranslationTransform_double_3_3\nParameters: 1 2 3\nFixedParameters: \n"
        (tmp_path / "a").write_text(f"#Insight Transform File V1.0\n{one}{one}")
        with pytest.raises(ReadError, match="holds 2 transforms"):
            read_transform(tmp_path / "a")

    def test_missing_files_and_folders(self, tmp_path: Path) -> None:
        for name, words in ((".", "a folder"), ("a\0b", "not a possible file name")):
            with pytest.raises(ReadError, match=words):
                read_transform(tmp_path / name)
        with pytest.raises(UsageError, match="no such file; check the path"):
            read_transform(tmp_path / "none")
