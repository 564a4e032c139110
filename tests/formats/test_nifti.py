"""NIfTI: where voxels lie, what numbers mean, what is refused; nibabel is the judge."""

from __future__ import annotations

import gzip
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fnetcli.errors import ReadError
from fnetcli.formats.nifti.reader import is_nifti_file, nifti_files, read_nifti
from fnetcli.formats.volumes import volume_stem
from fnetcli.imaging.image import Image
from tests.drawn_volumes import (
    GRIDS,
    Matrix,
    assert_same_in_space,
    load_nifti,
    phantom,
    to_nifti,
    world,
    write_nifti,
)

PLAIN = GRIDS["axial"]
LIMIT = 10**8
COLOR = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


def read(path: Path, volume: int | None = None, limit: int = LIMIT) -> Image:
    return read_nifti(path, volume, limit)


def refused(path: Path, volume: int | None = None, limit: int = LIMIT) -> str:
    with pytest.raises(ReadError) as caught:
        read(path, volume, limit)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "; " in line, "says what to do"
    assert line.isprintable()
    return line


def saved(image: Any, path: Path, **fields: Any) -> Path:
    """Write an image whose header fields are then set as they are, past nibabel's checks."""
    nib.save(image, path)
    content = bytearray(path.read_bytes())
    header = type(image.header)(bytes(content[: image.header.sizeof_hdr]), check=False)
    for name, value in fields.items():
        header[name] = value
    content[: len(header.binaryblock)] = header.binaryblock
    path.write_bytes(bytes(content))
    return path


class TestPlace:
    @pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    @pytest.mark.parametrize("name", GRIDS)
    def test_voxels_lie_where_they_were(
        self, name: str, suffix: str, kind: Any, tmp_path: Path
    ) -> None:
        path = write_nifti(tmp_path / f"a{suffix}", phantom(), GRIDS[name], kind)
        image = read(path)
        assert_same_in_space(image, phantom(), GRIDS[name])
        assert image.pixels.dtype == np.int16
        assert image.notices == ()
        theirs = load_nifti(path)
        for index in ((0, 0, 0), (4, 1, 5)):
            here = world(image.grid.affine, index)
            np.testing.assert_allclose(here, world(theirs.affine, index[::-1]), atol=1e-9)

    @settings(max_examples=30)
    @given(code=st.permutations("RAS"), flips=st.tuples(*[st.booleans()] * 3))
    def test_any_orientation(self, code: list[str], flips: tuple[bool, bool, bool]) -> None:
        """What nibabel turns into another orientation stays the same volume."""
        opposite = {"R": "L", "A": "P", "S": "I"}
        codes = [opposite[a] if flip else a for a, flip in zip(code, flips, strict=True)]
        turned = to_nifti(phantom(), GRIDS["oblique"]).as_reoriented(
            nib.orientations.ornt_transform(
                nib.io_orientation(to_nifti(phantom(), GRIDS["oblique"]).affine),
                nib.orientations.axcodes2ornt(codes),
            )
        )
        with tempfile.TemporaryDirectory() as folder:
            nib.save(turned, Path(folder) / "a.nii")
            assert_same_in_space(read(Path(folder) / "a.nii"), phantom(), GRIDS["oblique"])

    def test_sform_before_qform(self, tmp_path: Path) -> None:
        image = to_nifti(phantom(), PLAIN)
        other = image.affine.copy()
        other[:3, 3] += (0.0, 2.0, 0.0)
        image.set_qform(other, 1)
        path = saved(image, tmp_path / "a.nii")
        found = read(path)
        assert_same_in_space(found, phantom(), PLAIN)
        words = "its sform and qform contradict each other (up to 2 mm apart): the sform is used"
        assert found.notices == (words,)
        assert found.nifti is not None
        np.testing.assert_allclose(np.asarray(found.nifti.qform), other, atol=1e-4)
        image.set_sform(None, 0)
        found = read(saved(image, path))
        np.testing.assert_allclose(world(found.grid.affine, (0, 0, 0)), other[:3, 3], atol=1e-4)
        assert found.notices == ()

    def test_neither(self, tmp_path: Path) -> None:
        path = saved(to_nifti(phantom(), PLAIN), tmp_path / "a.nii", sform_code=0, qform_code=0)
        image = read(path)
        assert image.grid.affine is None
        assert "neither sform nor qform" in image.notices[0]
        assert image.nifti is not None
        assert image.nifti.zooms == pytest.approx((0.8, 0.8, 3.0))

    @pytest.mark.parametrize("rows", [(0, 0, 0), (np.nan, 0, 0), (0, np.inf, 0), (1, 1, 1)])
    def test_a_broken_sform_leaves_the_qform(
        self, rows: tuple[float, float, float], tmp_path: Path
    ) -> None:
        image = to_nifti(phantom(), PLAIN)
        broken = dict(zip(("srow_x", "srow_y", "srow_z"), rows, strict=True))
        path = saved(image, tmp_path / "a.nii", **broken)
        found = read(path)
        assert_same_in_space(found, phantom(), PLAIN)
        words = "its sform is damaged (it cannot be inverted): the qform is used"
        assert found.notices == (words,)
        assert read(saved(image, path, **broken, sform_code=0)).notices == ()
        path = saved(image, path, **broken, qform_code=0)
        assert "its affine makes no sense" in refused(path)

    def test_a_broken_qform_leaves_the_sform(self, tmp_path: Path) -> None:
        image = to_nifti(phantom(), PLAIN)
        path = saved(image, tmp_path / "a.nii", quatern_b=np.nan)
        found = read(path)
        assert_same_in_space(found, phantom(), PLAIN)
        words = "its qform is damaged (it cannot be inverted): the sform is used"
        assert found.notices == (words,)
        assert read(saved(image, path, quatern_b=np.nan, qform_code=0)).notices == ()
        path = saved(image, path, quatern_b=np.nan, sform_code=0)
        assert "its affine makes no sense" in refused(path)

    @pytest.mark.parametrize("step", [1e-4, 2e4, 1e30])
    def test_voxels_of_a_size_that_nothing_has(self, step: float, tmp_path: Path) -> None:
        path = write_nifti(tmp_path / "a.nii", phantom(), np.diag([step, 1.0, 2.0, 1.0]))
        words = f"its voxels are {step:.3g} x 1 x 2 mm (slices, rows, columns), not between 0.001"
        assert words in refused(path)

    @pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("micron", 1e-3), ("mm", 1)])
    def test_units_of_length(self, unit: str, factor: float, tmp_path: Path) -> None:
        image = to_nifti(phantom(), PLAIN @ np.diag([2, 2, 2, 1]))
        image.header.set_xyzt_units(unit, "sec")
        found = read(saved(image, tmp_path / "a.nii"))
        scale = np.diag([factor, factor, factor, 1])
        expected = scale @ PLAIN @ np.diag([2, 2, 2, 1])
        np.testing.assert_allclose(np.asarray(found.grid.affine), expected, rtol=1e-6)

    @pytest.mark.parametrize("name", GRIDS)
    def test_the_header_can_be_written_again(self, name: str, tmp_path: Path) -> None:
        theirs = load_nifti(
            write_nifti(tmp_path / "a.nii", phantom(), GRIDS[name], nib.Nifti2Image)
        )
        space = read(tmp_path / "a.nii").nifti
        assert space is not None
        assert space.shape == theirs.shape
        assert space.version == 2
        assert (space.qform_code, space.sform_code) == (1, 1)
        assert space.xyzt_units == int(theirs.header["xyzt_units"])
        np.testing.assert_array_equal(np.asarray(space.sform), theirs.get_sform())
        np.testing.assert_array_equal(np.asarray(space.qform), theirs.get_qform())
        assert space.zooms == pytest.approx(theirs.header.get_zooms())
        assert space.order == (2, 1, 0)


class TestNumbers:
    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("u1", "int16"),
            ("i1", "int16"),
            ("i2", "int16"),
            ("u2", "int32"),
            ("i4", "int32"),
            ("u4", "float32"),
            ("i8", "float32"),
            ("f4", "float32"),
            ("f8", "float32"),
        ],
    )
    def test_types_and_byte_orders(
        self, kind: str, expected: str, order: Literal["<", ">"], tmp_path: Path
    ) -> None:
        limits = np.iinfo(kind) if kind[0] != "f" else np.finfo(np.float32)
        pixels = phantom().astype(kind)
        pixels[0, 0, 0], pixels[0, 0, 1] = limits.min, limits.max
        plain: Matrix = PLAIN @ np.eye(4)[[2, 1, 0, 3]]
        header = nib.Nifti1Header(endianness=order)
        header.set_data_dtype(np.dtype(kind).newbyteorder(order))
        turned = np.moveaxis(pixels, (0, 1, 2), (2, 1, 0))
        nib.save(nib.Nifti1Image(turned, plain, header, dtype=kind), tmp_path / "a.nii")
        assert (tmp_path / "a.nii").read_bytes()[0] == (92 if order == "<" else 0)
        image = read(tmp_path / "a.nii")
        assert image.pixels.dtype == expected
        assert image.pixels.dtype.isnative
        assert_same_in_space(image, pixels.astype(expected), PLAIN)

    def test_wide_types_with_small_numbers_stay_whole(self, tmp_path: Path) -> None:
        path = write_nifti(tmp_path / "a.nii", phantom().astype(np.uint32), PLAIN)
        assert read(path).pixels.dtype == np.int16

    @pytest.mark.parametrize(
        ("slope", "intercept", "kind"),
        [
            (1, -1024, "int16"),
            (100, 50_000, "int32"),
            (0.25, 3, "float32"),
            (1e-30, 0, "float32"),
            (0, 7, "int16"),
            (np.nan, np.nan, "int16"),
            (np.inf, 0, "int16"),
        ],
    )
    def test_rescale_is_nibabels(
        self, slope: float, intercept: float, kind: str, tmp_path: Path
    ) -> None:
        image = to_nifti(phantom(), PLAIN)
        path = saved(image, tmp_path / "a.nii", scl_slope=slope, scl_inter=intercept)
        found = read(path)
        assert found.pixels.dtype == kind
        expected = np.moveaxis(np.asanyarray(load_nifti(path).dataobj), (0, 1, 2), (2, 1, 0))
        np.testing.assert_allclose(found.pixels[..., 0], expected, rtol=1e-6)

    def test_no_number_is_no_data(self, tmp_path: Path) -> None:
        pixels = phantom().astype(np.float32)
        pixels[1, 2, 3], pixels[4, 0, 0] = np.nan, np.inf
        image = read(write_nifti(tmp_path / "a.nii", pixels, PLAIN))
        np.testing.assert_array_equal(np.asarray(image.valid), np.isfinite(pixels))
        assert read(write_nifti(tmp_path / "b.nii", phantom(), PLAIN)).valid is None

    def test_colour(self, tmp_path: Path) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 6, 3), dtype=np.uint8)
        path = write_nifti(tmp_path / "a.nii.gz", pixels.view(COLOR)[..., 0], PLAIN)
        image = read(path)
        assert image.pixels.dtype == np.uint8
        assert_same_in_space(image, pixels, PLAIN)

    def test_colour_with_alpha(self, tmp_path: Path) -> None:
        kind = np.dtype([*COLOR.descr, ("A", "u1")])
        pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 6, 4), dtype=np.uint8)
        image = read(write_nifti(tmp_path / "a.nii", pixels.view(kind)[..., 0], PLAIN))
        np.testing.assert_array_equal(image.pixels, pixels[..., :3])
        np.testing.assert_allclose(np.asarray(image.alpha), pixels[..., 3] / 255, rtol=1e-6)

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    def test_one_of_many_volumes(self, suffix: str, tmp_path: Path) -> None:
        many = np.stack([phantom(seed=i) for i in range(3)], -1)
        path = write_nifti(tmp_path / f"a{suffix}", many, PLAIN)
        assert "holds 3 volumes; choose one with --volume, a number from 1 to 3" in refused(path)
        for number in (1, 2, 3):
            assert_same_in_space(read(path, number), phantom(seed=number - 1), PLAIN)
        assert "holds 3 volumes, not a number 4; correct --volume" in refused(path, 4)
        assert "not a number 0" in refused(path, 0)

    def test_a_single_one_may_be_chosen(self, tmp_path: Path) -> None:
        path = write_nifti(tmp_path / "a.nii", phantom()[..., None], PLAIN)
        assert_same_in_space(read(path), phantom(), PLAIN)
        assert_same_in_space(read(path, 1), phantom(), PLAIN)
        assert "holds 1 volume, not a number 2" in refused(path, 2)

    def test_one_slice(self, tmp_path: Path) -> None:
        image = nib.Nifti1Image(phantom()[0].T, np.eye(4))
        image.set_sform(np.eye(4), 1)
        nib.save(image, tmp_path / "a.nii")
        np.testing.assert_array_equal(read(tmp_path / "a.nii").pixels[0, ..., 0], phantom()[0])


class TestPairs:
    @pytest.mark.parametrize("suffix", ["", ".gz"])
    def test_header_and_numbers(self, suffix: str, tmp_path: Path) -> None:
        image = to_nifti(phantom(), GRIDS["oblique"], nib.Nifti1Pair)
        nib.save(image, tmp_path / f"a.img{suffix}")
        for name in ("a.hdr", "a.img"):
            path = tmp_path / f"{name}{suffix}"
            assert is_nifti_file(path)
            assert_same_in_space(read(path), phantom(), GRIDS["oblique"])
            assert nifti_files(path) == (
                tmp_path / f"a.hdr{suffix}",
                tmp_path / f"a.img{suffix}",
            )

    def test_half_a_pair(self, tmp_path: Path) -> None:
        nib.save(to_nifti(phantom(), PLAIN, nib.Nifti1Pair), tmp_path / "a.img")
        numbers = (tmp_path / "a.img").read_bytes()
        (tmp_path / "a.img").write_bytes(numbers[:-1])
        with pytest.raises(ReadError, match=r"a\.img: not a complete NIfTI file \(ends early\)"):
            read(tmp_path / "a.hdr")
        (tmp_path / "a.img").unlink()
        assert "the .img file beside it is missing" in refused(tmp_path / "a.hdr")
        (tmp_path / "a.hdr").rename(tmp_path / "b.hdr")
        (tmp_path / "a.img").write_bytes(numbers)
        assert "not a NIfTI file" in refused(tmp_path / "a.img")
        assert not is_nifti_file(tmp_path / "a.img")


Change = Callable[[Path], Path]


def header_of(**fields: Any) -> Change:
    return lambda path: saved(to_nifti(phantom(), PLAIN), path, **fields)


def content(change: Callable[[bytes], bytes]) -> Change:
    def make(path: Path) -> Path:
        write_nifti(path, phantom(), PLAIN)
        path.write_bytes(change(path.read_bytes()))
        return path

    return make


def five_dimensions(path: Path) -> Path:
    return write_nifti(path, np.zeros((5, 7, 6, 1, 3), np.float32), PLAIN)


REFUSED: dict[str, tuple[Change, str]] = {
    "wrong mark": (
        content(lambda b: b.replace(b"n+1\0", b"n-1\0")),
        "an Analyze file, or one with",
    ),
    "no header": (content(lambda b: bytes(len(b))), "not a NIfTI file, despite its name"),
    "text": (content(lambda _: b"# not a volume\n"), "not a NIfTI file"),
    "half a header": (content(lambda b: b[:200]), "not a NIfTI file"),
    "cut": (content(lambda b: b[:-1]), "not a complete NIfTI file (ends early)"),
    "cut gzip": (content(lambda b: gzip.compress(b)[:-40]), "not a complete NIfTI file"),
    "cut checksum": (content(lambda b: gzip.compress(b)[:-3]), "not a complete NIfTI file"),
    "wrong checksum": (
        content(lambda b: gzip.compress(b)[:-8] + b"\1\2\3\4" + gzip.compress(b)[-4:]),
        "not a readable NIfTI file",
    ),
    "gzip of nothing": (content(lambda _: gzip.compress(b"")), "not a NIfTI file"),
    "no gzip": (content(lambda b: b"\x1f\x8b" + b), "not a readable NIfTI file"),
    "empty": (content(lambda _: b""), "the file is empty"),
    "no size": (header_of(dim=[3, 0, 7, 5, 1, 1, 1, 1]), "its sizes make no sense"),
    "no dimensions": (header_of(dim=[0, 6, 7, 5, 1, 1, 1, 1]), "its sizes make no sense"),
    "too large": (
        header_of(dim=[3, 30_000, 30_000, 30_000, 1, 1, 1, 1]),
        "27,000,000 million voxels are more than the limit of 100 million; raise the limit with",
    ),
    "five dimensions": (five_dimensions, "has 5 dimensions"),
    "labels": (header_of(intent_code=1002), "a label map, not an image"),
    "complex": (header_of(datatype=32, bitpix=64), "its numbers are complex, bits or"),
    "bits": (header_of(datatype=1, bitpix=1), "its numbers are complex, bits or"),
    "unknown type": (header_of(datatype=9999), "its numbers are complex, bits or"),
    "no offset": (header_of(vox_offset=12), "its vox_offset is wrong"),
    "far offset": (header_of(vox_offset=1e30), "its vox_offset is wrong"),
    "no intercept": (header_of(scl_slope=2, scl_inter=np.nan), "its scl_inter is not a number"),
    "unknown unit": (header_of(xyzt_units=5), "its unit of length is unknown"),
}


class TestRefusal:
    @pytest.mark.parametrize("name", REFUSED)
    def test_one_line(self, name: str, tmp_path: Path) -> None:
        make, words = REFUSED[name]
        assert words in refused(make(tmp_path / "a.nii"))

    def test_no_file(self, tmp_path: Path) -> None:
        assert "no such file" in refused(tmp_path / "a.nii")

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    def test_flipped_bits_give_an_image_or_an_error(
        self,
        suffix: str,
        tmp_path: Path,
        recwarn: pytest.WarningsRecorder,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        random = np.random.default_rng(1)
        path = write_nifti(tmp_path / f"a{suffix}", phantom(), PLAIN)
        original = path.read_bytes()
        for _ in range(200):
            changed = bytearray(original)
            for _ in range(random.integers(1, 5)):
                changed[int(random.integers(len(changed)))] ^= 1 << random.integers(8)
            path.write_bytes(changed)
            try:
                image = read(path, limit=100_000)
            except ReadError as error:
                assert str(error).isprintable()  # noqa: PT017 - either is right
            else:
                assert image.pixels.shape[:3] == image.grid.shape
        assert not recwarn.list
        assert not [one for one in caplog.records if one.levelno > logging.INFO]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.nii", "a"),
        ("a.b.nii.gz", "a.b"),
        ("A.NII.GZ", "A"),
        ("a.img.gz", "a"),
        (".nii", ".nii"),
        ("IM0001", "IM0001"),
        ("a.dcm", "a"),
    ],
)
def test_stem(name: str, expected: str) -> None:
    assert volume_stem(Path("folder") / name) == expected


def test_others_read_the_same(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    for name, matrix in GRIDS.items():
        path = write_nifti(tmp_path / f"{name}.nii.gz", phantom(), matrix)
        theirs, ours = sitk.ReadImage(str(path)), read(path)
        values: NDArray[Any] = sitk.GetArrayFromImage(theirs)
        np.testing.assert_array_equal(ours.pixels[..., 0], values)
        point = theirs.TransformIndexToPhysicalPoint((5, 1, 4))
        here = world(ours.grid.affine, (4, 1, 5)) * [-1, -1, 1]  # ITK is LPS+
        np.testing.assert_allclose(here, point, atol=1e-4)
