"""Where things lie is known beforehand: phantoms are functions of millimetres."""

from __future__ import annotations

import functools
import itertools
import math
import tracemalloc
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from fnetcli.errors import PairError, UsageError
from fnetcli.imaging.image import Grid, Image
from fnetcli.volumes import resample as module
from fnetcli.volumes.resample import (
    Axis,
    Interpolation,
    Matrix,
    Reordering,
    overlap,
    placed,
    plane_of,
    reference_grid,
    reference_of,
    resample,
    smoothing,
    spacing,
    to_axis,
)

BLOBS = np.array([(0.0, 0.0, 0.0), (14.0, 6.0, -9.0), (-11.0, 13.0, 8.0)])  # mm, RAS+
WIDTH = 4.0  # sigma of a blob, mm


def turned(degrees: float, axis: int = 2) -> NDArray[np.float64]:
    """Return a rotation about one axis, 3x3."""
    angle = math.radians(degrees)
    turn = np.eye(3)
    a, b = [i for i in range(3) if i != axis]
    turn[[a, b], [a, b]] = math.cos(angle)
    turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
    return turn


def grid_about(steps: NDArray[np.float64], shape: tuple[int, int, int], shift: float = 0.0) -> Grid:
    """Return a grid whose centre lies `shift` voxels off the origin; columns of `steps` in mm."""
    affine = np.eye(4)
    affine[:3, :3] = steps
    affine[:3, 3] = -steps @ ((np.array(shape) - 1) / 2 + shift)
    return Grid(shape, affine)


# Steps of slices, rows, columns in RAS+ millimetres.
AXIAL = np.array([[0, 0, -1], [0, -1, 0], [1, 0, 0]], float)  # as DICOM's: columns run to the left
SHEAR = np.array([[0, 0, 0], [0.3, 0, 0], [0, 0, 0]])
GRIDS = {
    "axial": grid_about(AXIAL * 1.5, (48, 48, 48)),
    "nifti": grid_about(np.eye(3)[:, ::-1] * 1.5, (48, 50, 46)),
    "flipped": grid_about(-AXIAL * 1.5, (48, 48, 48)),
    "thick": grid_about(AXIAL * (4, 1, 1), (19, 72, 70)),
    "oblique": grid_about(turned(23, 0) @ turned(-17, 1) @ AXIAL * (2, 1.5, 1.5), (40, 56, 56)),
    "half": grid_about(AXIAL * 1.5, (48, 48, 48), 0.5),
    "sagittal": grid_about(AXIAL[:, [2, 0, 1]] * (2, 1.2, 1.2), (38, 64, 60)),
    "coronal": grid_about(AXIAL[:, [1, 0, 2]] * (3, 1, -1), (28, 72, 72)),
    "sheared": grid_about((AXIAL + SHEAR) * 1.5, (48, 52, 48)),
}


PAIRS = [
    (reference, moving, interpolation)
    for reference, moving in itertools.permutations(GRIDS, 2)
    for interpolation in ("linear", "nearest", "cubic")
    if "oblique" in {reference, moving} or {"axial", interpolation} <= {reference, moving, "linear"}
]


def millimetres(grid: Grid) -> NDArray[np.float64]:
    """Return where every voxel lies, (slices, height, width, 3)."""
    assert grid.affine is not None
    index = np.moveaxis(np.indices(grid.shape), 0, -1)
    return np.asarray(index @ grid.affine[:3, :3].T + grid.affine[:3, 3])


def indices(grid: Grid, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the indices in a grid, (3, points), of points in millimetres, (..., 3)."""
    assert grid.affine is not None
    flat = points.reshape(-1, 3).T
    return np.asarray(np.linalg.solve(grid.affine, np.vstack([flat, np.ones(flat.shape[1])]))[:3])


def blob(grid: Grid, centre: NDArray[np.float64]) -> Image:
    """Return a Gaussian blob as a scanner with this grid would see it."""
    squares = np.square(millimetres(grid) - centre).sum(axis=-1)
    return Image(np.exp(-squares / (2 * WIDTH**2))[..., None].astype(np.float32), grid)


@functools.cache
def blobs(name: str) -> Image:
    """Return a volume with one blob in each of three channels."""
    grid = GRIDS[name]
    return Image(np.concatenate([blob(grid, centre).pixels for centre in BLOBS], -1), grid)


def centroids(image: Image) -> NDArray[np.float64]:
    """Return the centre of mass of every channel, mm."""
    weights = image.pixels.reshape(-1, image.pixels.shape[3]).astype(np.float64)
    moments: NDArray[np.float64] = weights.T @ millimetres(image.grid).reshape(-1, 3)
    return np.asarray(moments / weights.sum(axis=0)[:, None])


def numbered(shape: tuple[int, int, int], kind: str = "int16") -> NDArray[np.int16]:
    return np.arange(math.prod(shape)).reshape(*shape, 1).astype(kind)


class TestPlace:
    @pytest.mark.parametrize(("reference", "moving", "interpolation"), PAIRS)
    def test_blobs_come_out_where_they_are(
        self, reference: str, moving: str, interpolation: Interpolation
    ) -> None:
        to = GRIDS[reference]
        got = resample(blobs(moving), to, interpolation)
        assert got.pixels.shape == (*to.shape, 3)
        apart = np.abs(centroids(got) - BLOBS)
        assert apart.max() < min(spacing(to)) / 10

    def test_own_grid_is_exact(self) -> None:
        for grid in GRIDS.values():
            image = Image(numbered(grid.shape, "float32") + 0.1, grid)
            assert grid.affine is not None
            nudge = np.zeros((4, 4))
            nudge[:3] = 1e-7
            got = resample(image, Grid(grid.shape, grid.affine + nudge))
            np.testing.assert_array_equal(got.pixels, image.pixels)
            assert got.valid is None
            assert got.pixels.dtype == image.pixels.dtype

    def test_a_tenth_of_a_voxel_is_not_the_own_grid(self) -> None:
        grid = GRIDS["axial"]
        image = Image(numbered(grid.shape), grid)
        moved = grid_about(AXIAL * 1.5, grid.shape, 0.1)
        assert not np.array_equal(resample(image, moved).pixels, image.pixels)

    @given(
        axes=st.permutations(range(3)),
        flips=st.tuples(st.booleans(), st.booleans(), st.booleans()),
        begin=st.tuples(*[st.integers(-3, 6)] * 3),
        shape=st.tuples(*[st.integers(1, 7)] * 3),
        is_float=st.booleans(),
    )
    def test_turned_flipped_and_cut_grids_are_exact(
        self,
        axes: list[int],
        flips: tuple[bool, bool, bool],
        begin: tuple[int, int, int],
        shape: tuple[int, int, int],
        is_float: bool,
    ) -> None:
        source = grid_about(GRIDS["oblique"].affine[:3, :3], (4, 5, 6))  # type: ignore[index]
        image = Image(numbered(source.shape, "float32" if is_float else "int32"), source)
        turned_grid = Reordering(tuple(axes), flips).grid(source)
        assert turned_grid.affine is not None
        shift = np.eye(4)
        shift[:3, 3] = begin
        got = resample(image, Grid(shape, turned_grid.affine @ shift))
        index = np.rint(indices(source, millimetres(got.grid))).astype(int)
        inside = np.all((index >= 0) & (index < np.array([[4], [5], [6]])), axis=0)
        expected = np.zeros(len(inside))
        expected[inside] = image.pixels[..., 0][tuple(index[:, inside])]
        assert got.pixels.dtype == image.pixels.dtype
        np.testing.assert_array_equal(got.pixels.ravel(), expected)
        valid = np.ones(shape, bool) if got.valid is None else got.valid
        np.testing.assert_array_equal(valid.ravel(), inside)

    def test_a_transform_moves_the_moving_image(self) -> None:
        transform = np.eye(4)
        transform[:3, :3] = turned(8, 1)
        transform[:3, 3] = (3, -2, 5)
        centre = np.array([4.0, -3, 2])
        there = transform[:3, :3] @ centre + transform[:3, 3]
        got = resample(placed(blob(GRIDS["nifti"], there), transform), GRIDS["thick"])
        assert np.abs(centroids(got) - centre).max() < 0.1

    def test_colour_volumes(self) -> None:
        got = resample(blobs("nifti"), GRIDS["oblique"])
        for channel, centre in enumerate(BLOBS):
            part = blob(GRIDS["nifti"], centre)
            expected = resample(part, GRIDS["oblique"]).pixels[..., 0]
            np.testing.assert_array_equal(got.pixels[..., channel], expected)


class TestValues:
    @pytest.mark.parametrize(
        ("interpolation", "tolerance"), [("linear", 0.02), ("cubic", 0.001), ("nearest", 0.35)]
    )
    @pytest.mark.parametrize("reference", ["nifti", "half", "oblique"])
    def test_a_smooth_function(
        self, reference: str, interpolation: Interpolation, tolerance: float
    ) -> None:
        def waves(grid: Grid) -> NDArray[np.float64]:
            return np.asarray(np.sin(millimetres(grid) / 8).sum(axis=-1))

        grid = GRIDS["axial"]
        image = Image(waves(grid)[..., None].astype(np.float32), grid)
        fine = grid_about(GRIDS[reference].affine[:3, :3] * 0.6, (40, 40, 40), 0.3)  # type: ignore[index]
        assert not smoothing(module.index_map(fine, grid)).any()
        got = resample(image, fine, interpolation)
        assert got.valid is None
        assert np.abs(got.pixels[..., 0] - waves(fine)).max() < tolerance

    def test_linear_is_exact_for_planes_to_the_last_centre(self) -> None:
        grid = Grid((6, 7, 8), np.diag([2.0, 1.5, 1, 1]))
        index = np.indices(grid.shape).astype(np.float32)
        image = Image((3 * index[0] - index[1] + 0.5 * index[2])[..., None], grid)
        fine = Grid((11, 13, 15), np.diag([1.0, 0.75, 0.5, 1]))
        got = resample(image, fine)
        expected = np.tensordot((1.5, -0.5, 0.25), np.indices(fine.shape), 1)
        np.testing.assert_allclose(got.pixels[..., 0], expected, atol=1e-5)
        assert got.valid is None

    @pytest.mark.parametrize("interpolation", ["linear", "cubic"])
    def test_a_fine_pattern_does_not_alias(self, interpolation: Interpolation) -> None:
        """Stripes of 2 voxels on a grid 3 times as coarse would come out as stripes again."""
        fine = Grid((48, 48, 48), np.eye(4))
        stripes = 100 * (np.indices(fine.shape)[2] % 2)[..., None].astype(np.float32)
        coarse = Grid((15, 15, 15), np.diag([3.0, 3, 3, 1]))
        got = resample(Image(stripes, fine), coarse, interpolation).pixels[2:-2, 2:-2, 2:-2]
        assert np.abs(got - 50).max() < 3
        crude = stripes[:45:3, :45:3, :45:3]
        assert np.ptp(crude) == 100

    def test_smoothing_makes_up_for_what_the_coarser_voxels_are_wider(self) -> None:
        """Blurring to the FWHM of a coarse voxel: variances add up."""
        way = np.eye(4)
        way[:3, :3] = np.diag([2.0, 1.0, 0.5])
        sigmas = smoothing(way)
        assert sigmas[0] * 2.3548 == pytest.approx(math.sqrt(3), rel=1e-4)
        assert sigmas[1] == sigmas[2] == 0
        # Slices of 6 mm tilted by 30 degrees are wide within the moving volume's rows as well.
        way[:3, :3] = turned(30, 2) * (6, 1, 1)
        assert sigmas[1] == 0 < smoothing(way)[1]

    @pytest.mark.parametrize("kind", [np.int16, np.float32])
    def test_a_wide_gaussian_is_the_same_as_a_narrow_one(self, kind: type) -> None:
        values: NDArray[Any] = np.zeros((5, 300, 7), kind)
        values[:, 90:130] = np.random.default_rng(3).integers(0, 1000, (5, 40, 7))
        before = values.copy()
        for sigma in (module.WIDE, 1.001 * module.WIDE, 100.0):
            found = module._smoothed(values, np.array([0.0, sigma, 0.0]))
            expected = ndimage.gaussian_filter1d(values.astype(float), sigma, 1, mode="reflect")
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=0.1)
        everywhere = module._smoothed(values, np.full(3, 1e9))
        np.testing.assert_allclose(everywhere, before.mean(), rtol=1e-5)
        np.testing.assert_array_equal(values, before)

    def test_labels_keep_their_numbers_and_type(self) -> None:
        labels = Image(
            (numbered((20, 20, 20)) % 7 * 100).astype(np.int16), Grid((20, 20, 20), np.eye(4))
        )
        got = resample(labels, grid_about(turned(20) * 2.3, (6, 6, 6), -4), "nearest")
        assert got.pixels.dtype == np.int16
        assert set(np.unique(got.pixels)) <= set(np.unique(labels.pixels))

    def test_cubic_stays_in_the_volumes_range(self) -> None:
        step = np.zeros((16, 16, 16, 1), np.int16)
        step[8:] = 1000
        grid = Grid((16, 16, 16), np.eye(4))
        got = resample(Image(step, grid), Grid((30, 30, 30), np.diag([0.5, 0.5, 0.5, 1])), "cubic")
        assert (got.pixels.min(), got.pixels.max()) == (0, 1000)

    def test_slabs_make_no_difference(self, monkeypatch: pytest.MonkeyPatch) -> None:
        random = np.random.default_rng(1)
        image = Image(
            random.normal(size=(20, 21, 22, 1)).astype(np.float32), grid_about(AXIAL, (20, 21, 22))
        )
        image.pixels[3:6, 4:9, 10:15] = np.nan
        whole = resample(image, GRIDS["oblique"])
        monkeypatch.setattr(module, "SLAB", 1)
        parts = resample(image, GRIDS["oblique"])
        np.testing.assert_allclose(parts.pixels, whole.pixels, atol=1e-6)
        np.testing.assert_array_equal(parts.valid, whole.valid)


class TestHoles:
    @pytest.mark.parametrize("reference", GRIDS)
    def test_valid_is_where_the_moving_volume_reaches(self, reference: str) -> None:
        grid = GRIDS[reference]
        small = grid_about(turned(35, 1) * (3, 1, 1.4), (9, 21, 17), 0.2)
        got = resample(Image(np.ones((*small.shape, 1), np.float32), small), grid)
        half = np.array(small.shape)[:, None] / 2
        beyond = np.abs(indices(small, millimetres(grid)) - (half - 0.5)) - half
        distance = beyond.max(axis=0)
        assert got.valid is not None
        is_clear = np.abs(distance) > 1e-3
        np.testing.assert_array_equal(got.valid.ravel()[is_clear], distance[is_clear] < 0)
        assert got.valid.mean() == pytest.approx(overlap(grid, small))
        np.testing.assert_array_equal(got.pixels, 1)

    def test_the_border_is_as_far_as_the_outer_faces(self) -> None:
        grid = Grid((1, 1, 4), np.eye(4))
        image = Image(np.array([10, 20, 30, 40], np.float32).reshape(1, 1, 4, 1), grid)
        affine = np.diag([1.0, 1, 0.5, 1])
        affine[2, 3] = -1
        got = resample(image, Grid((1, 1, 12), affine))
        assert got.valid is not None
        np.testing.assert_array_equal(got.valid[0, 0], [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0])
        expected = [10, 10, 10, 15, 20, 25, 30, 35, 40, 40, 10, 10]
        np.testing.assert_allclose(got.pixels[0, 0, :, 0], expected)

    @pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
    @pytest.mark.parametrize("factor", [0.7, 2.0])
    def test_what_holds_no_data_does_not_leak(
        self, interpolation: Interpolation, factor: float
    ) -> None:
        grid = grid_about(np.eye(3), (24, 24, 24))
        pixels = np.full((*grid.shape, 1), 7, np.int16)
        pixels[:, :, 16:] = -2000  # padding
        image = Image(pixels, grid, nodata=-2000)
        got = resample(image, grid_about(np.eye(3) * factor, (30, 30, 30)), interpolation)
        assert got.valid is not None
        assert 0 < got.valid.mean() < 1
        np.testing.assert_allclose(got.pixels[got.valid], 7, rtol=1e-5)
        np.testing.assert_allclose(got.pixels[~got.valid], 7, rtol=1e-5)  # the lowest there is

    def test_nothing_valid_at_all(self) -> None:
        grid = grid_about(np.eye(3), (4, 4, 4))
        image = Image(np.full((4, 4, 4, 1), np.nan, np.float32), grid)
        got = resample(image, grid_about(np.eye(3) * 0.9, (4, 4, 4)))
        assert got.valid is not None
        assert not got.valid.any()
        assert np.isfinite(got.pixels).all()

    def test_single_slices(self) -> None:
        grid = grid_about(AXIAL * (5, 1, 1), (1, 30, 30))
        got = resample(blob(grid, BLOBS[0]), grid_about(AXIAL * (1, 1, 1), (9, 30, 30)), "cubic")
        assert got.valid is not None
        np.testing.assert_array_equal(got.valid.any(axis=(1, 2)), [0, 0, 1, 1, 1, 1, 1, 0, 0])


class TestMemory:
    def test_own_grid_takes_none_and_another_takes_little(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "SLAB", 1 << 16)
        shape = (60, 128, 128)  # 2 MB of int16
        image = Image(np.ones((*shape, 1), np.int16), grid_about(AXIAL, shape))
        result = 4 * math.prod(shape)
        finer = grid_about(turned(10) @ AXIAL * 0.9, shape)
        for grid, most in ((image.grid, 0.1 * result), (finer, 1.9 * result)):
            tracemalloc.start()
            resample(image, grid)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < most


class TestOverlap:
    def test_share_of_the_reference(self) -> None:
        grid = grid_about(np.eye(3), (10, 10, 10))
        half = Grid((5, 10, 10), grid.affine)
        assert overlap(grid, half) == 0.5
        assert overlap(half, grid) == 1
        assert overlap(grid, grid) == 1

    def test_nothing_in_common(self) -> None:
        far = grid_about(np.eye(3), (10, 10, 10), 200)
        with pytest.raises(PairError, match=r"do not overlap .*346 mm apart.*align them"):
            overlap(GRIDS["axial"], far)

    def test_a_picture_has_no_place(self) -> None:
        picture = Image(np.zeros((1, 4, 5, 1), np.uint8), Grid((1, 4, 5)))
        for call in (
            lambda: overlap(GRIDS["axial"], picture.grid),
            lambda: overlap(picture.grid, GRIDS["axial"]),
            lambda: resample(picture, GRIDS["axial"]),
            lambda: to_axis(picture.grid, "axial"),
        ):
            with pytest.raises(PairError, match=r"a picture \(5x4\).*give two volumes or two"):
                call()


class TestReference:
    grids = MappingProxyType({"ct": GRIDS["thick"], "pet": GRIDS["axial"]})

    def test_choices(self) -> None:
        assert reference_of(None, {"pet": GRIDS["axial"], "ct": GRIDS["thick"]}) == "ct"
        assert reference_of(None, {"ct": GRIDS["axial"], "mri": GRIDS["thick"]}) == "mri"
        assert reference_of("pet", self.grids) == "pet"
        assert reference_of("finest", self.grids) == "pet"
        assert reference_grid("finest", self.grids) is GRIDS["axial"]

    def test_another_one_is_refused(self) -> None:
        with pytest.raises(UsageError, match=r"--reference mri: .*use ct, pet or finest"):
            reference_of("mri", self.grids)


PLANES: tuple[Axis, ...] = ("auto", "axial", "coronal", "sagittal")


def _names(affine: Matrix) -> str:
    """Return where slices, rows and columns go, as letters."""
    names = []
    for step in affine[:3, :3].T:
        axis = int(np.abs(step).argmax())
        names.append(("LR", "PA", "IS")[axis][int(step[axis] > 0)])
    return "".join(names)


class TestAxis:
    @pytest.mark.parametrize("name", GRIDS)
    @pytest.mark.parametrize("plane", PLANES)
    def test_goes_there_and_back(self, name: str, plane: Axis) -> None:
        grid = GRIDS[name]
        image = Image(numbered(grid.shape, "int32"), grid)
        reordering = to_axis(grid, plane)
        turned_image = reordering.image(image)
        assert np.shares_memory(turned_image.pixels, image.pixels)
        np.testing.assert_array_equal(reordering.undo(turned_image.pixels), image.pixels)
        np.testing.assert_array_equal(
            reordering.undo(turned_image.pixels[..., 0]), image.pixels[..., 0]
        )
        back = resample(turned_image, grid)  # by the affines, which must tell the same
        np.testing.assert_array_equal(back.pixels, image.pixels)
        if plane != "auto":
            assert turned_image.grid.affine is not None
            expected = {"axial": "SPL", "coronal": "PIL", "sagittal": "RIP"}[plane]
            assert _names(turned_image.grid.affine) == expected
            assert plane_of(turned_image.grid) == plane
        assert reordering.is_identity == np.array_equal(turned_image.pixels, image.pixels)

    @given(
        axes=st.permutations(range(3)),
        flips=st.tuples(st.booleans(), st.booleans(), st.booleans()),
        channels=st.integers(1, 3),
    )
    def test_undo_is_the_inverse(
        self, axes: list[int], flips: tuple[bool, bool, bool], channels: int
    ) -> None:
        values = np.arange(2 * 3 * 4 * channels).reshape(2, 3, 4, channels)
        reordering = Reordering(tuple(axes), flips)
        np.testing.assert_array_equal(reordering.undo(reordering.apply(values)), values)
        np.testing.assert_array_equal(reordering.apply(reordering.undo(values)).shape, values.shape)

    def test_planes(self) -> None:
        found = {name: plane_of(grid) for name, grid in GRIDS.items()}
        assert found.pop("sagittal") == "sagittal"
        assert found.pop("coronal") == "coronal"
        assert set(found.values()) == {"axial"}
