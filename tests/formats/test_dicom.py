"""DICOM: where slices lie, what numbers mean, what is refused; and never a word of the patient."""

from __future__ import annotations

import copy
import io
import logging
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_modality_lut
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    generate_uid,
)

from fnetcli.errors import ReadError
from fnetcli.formats.dicom import SeriesChoiceError, files, list_series, read_dicom
from fnetcli.imaging.image import Image
from tests.drawn_volumes import (
    AXIAL,
    GRIDS,
    PATIENT,
    STORAGE,
    affine,
    assert_same_in_space,
    decimal,
    decimals,
    enhanced,
    item,
    new_header,
    nuclear,
    phantom,
    save,
    save_one,
    set_pixels,
    slices,
    world,
    write_series,
)

PLAIN = GRIDS["axial"]
LIMIT = 10**8
SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "volumes" / "STS_002"
BUNDLED = Path(pydicom.__file__).parent / "data"


def read(path: Path, wanted: str | None = None, limit: int = LIMIT) -> Image:
    return read_dicom(path, wanted, limit)


def refused(path: Path, wanted: str | None = None, limit: int = LIMIT) -> str:
    """Return the line that refuses a path; it names a path, and never a patient."""
    with pytest.raises(ReadError) as caught:
        read(path, wanted, limit)
    line = str(caught.value)
    assert_harmless(line, path)
    return line


def assert_harmless(line: str, path: Path) -> None:
    """A line for people that names a path, says what to do, and nothing of a patient."""
    assert line.startswith(str(path))
    assert "; " in line
    assert line.isprintable()
    assert "zzyzx" not in line.lower()


def renamed(headers: Sequence[FileDataset], folder: Path) -> Path:
    """Write slices under names and numbers that say nothing of their order."""
    order = np.random.default_rng(3).permutation(len(headers))
    for number, header in zip(order, headers, strict=True):
        header.InstanceNumber = int(number)
    return save([headers[i] for i in order], folder, "{:02d}")


class TestGeometry:
    @pytest.mark.parametrize("name", GRIDS)
    def test_voxels_lie_where_they_were(self, name: str, tmp_path: Path) -> None:
        pixels = phantom()
        image = read(renamed(slices(pixels, GRIDS[name]), tmp_path / "series"))
        assert_same_in_space(image, pixels, GRIDS[name])
        assert image.grid.affine is not None
        assert image.grid.affine.dtype == np.float64
        assert image.pixels.dtype == np.int16
        assert image.notices == ()

    @pytest.mark.parametrize("name", GRIDS)
    def test_slices_follow_the_normal(self, name: str, tmp_path: Path) -> None:
        """In LPS+, the step of slices is along row x column: the grid is right-handed there."""
        image = read(write_series(tmp_path / "series", phantom(), GRIDS[name]))
        steps = np.diag([-1, -1, 1]) @ np.asarray(image.grid.affine)[:3, :3]
        normal = np.cross(steps[:, 2], steps[:, 1])
        cosine = normal @ steps[:, 0] / np.linalg.norm(normal) / np.linalg.norm(steps[:, 0])
        assert cosine == pytest.approx(1, abs=1e-9)

    def test_a_point_of_the_head_is_up_left_and_behind(self, tmp_path: Path) -> None:
        """Say it in words once: DICOM's x and y grow to the left and back, ours to right, front."""
        pixels = np.zeros((4, 5, 6), np.int16)
        pixels[3, 4, 5] = 9
        headers = slices(pixels, affine(AXIAL, (2.0, 1.0, 1.0)))
        assert [float(one) for one in headers[3].ImagePositionPatient] == [0, 0, 6]
        assert [float(one) for one in headers[0].ImageOrientationPatient] == [1, 0, 0, 0, 1, 0]
        image = read(save(headers, tmp_path / "series"))
        brightest = np.unravel_index(np.argmax(image.pixels[..., 0]), image.grid.shape)
        right, front, up = world(image.grid.affine, [float(one) for one in brightest])
        assert (right, front, up) == (-5, -4, 6)  # LPS: 5 mm left, 4 mm back, 6 mm up

    def test_headers_follow_the_slices(self, tmp_path: Path) -> None:
        pixels = phantom()
        image = read(renamed(slices(pixels, PLAIN), tmp_path / "series"))
        assert image.series is not None
        assert image.series.frames == (1,) * len(pixels)
        assert image.frame_of_reference == "1.2.826.0.1.3680043.8.498.3"
        for index, header in enumerate(image.series.headers):
            there = np.array([float(one) for one in header.ImagePositionPatient])
            here = world(image.grid.affine, (index, 0, 0)) * [-1, -1, 1]
            np.testing.assert_allclose(there, here, atol=1e-6)
            assert "PixelData" not in header
            assert header.PatientID == PATIENT["PatientID"]
            assert header.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian

    def test_one_slice_takes_its_thickness(self, tmp_path: Path) -> None:
        image = read(write_series(tmp_path / "series", phantom((1, 4, 5)), PLAIN))
        assert_same_in_space(image, phantom((1, 4, 5)), PLAIN)

    def test_one_slice_of_unknown_thickness(self, tmp_path: Path) -> None:
        [header] = slices(phantom((1, 4, 5)), PLAIN)
        del header.SliceThickness
        image = read(save_one(header, tmp_path / "a.dcm"))
        assert np.linalg.norm(np.asarray(image.grid.affine)[:3, 0]) == pytest.approx(1)
        assert "1 mm is assumed" in image.notices[0]

    def test_a_tilted_gantry_shears_the_grid(self, tmp_path: Path) -> None:
        tilted = PLAIN.copy()
        tilted[1, 0] = 0.9  # of 3 mm: 16.7 degrees
        pixels = phantom()
        image = read(write_series(tmp_path / "series", pixels, tilted, "CT"))
        assert_same_in_space(image, pixels, tilted)
        assert "tilted by 16.7 degrees" in image.notices[0]

    def test_rounded_positions_are_no_tilt(self, tmp_path: Path) -> None:
        turned = GRIDS["oblique"]

        def rounded(_: int, header: FileDataset) -> None:
            header.ImagePositionPatient = [f"{float(x):.2f}" for x in header.ImagePositionPatient]

        image = read(write_series(tmp_path / "series", phantom(), turned, change=rounded))
        assert image.notices == ()
        np.testing.assert_allclose(np.asarray(image.grid.affine), turned, atol=0.02)

    def test_enhanced_frames_are_sorted_too(self, tmp_path: Path) -> None:
        pixels = phantom()
        order = [3, 0, 4, 1, 2]
        path = save_one(enhanced(pixels, GRIDS["oblique"], order), tmp_path / "enhanced")
        for given in (path, path.parent):
            image = read(given)
            assert_same_in_space(image, pixels, GRIDS["oblique"])
            assert image.series is not None
            assert image.series.frames == (2, 4, 5, 1, 3)
            assert len({id(header) for header in image.series.headers}) == 1

    @pytest.mark.parametrize("name", ["axial", "slices to the feet", "oblique"])
    def test_nuclear_frames_lie_behind_each_other(self, name: str, tmp_path: Path) -> None:
        pixels = phantom()
        image = read(save_one(nuclear(pixels, GRIDS[name]), tmp_path / "spect.dcm"))
        assert_same_in_space(image, pixels, GRIDS[name])

    def test_a_picture_without_place(self, tmp_path: Path) -> None:
        header = new_header("OT")
        set_pixels(header, np.arange(60, dtype=np.uint8).reshape(4, 5, 3))
        image = read(save_one(header, tmp_path / "capture"))
        assert image.grid.affine is None
        assert image.pixels.shape == (1, 4, 5, 3)
        assert "treated as a single picture" in image.notices[0]


# --- what makes no volume -------------------------------------------------------------------------

Headers = list[FileDataset]


def without(*gone: int) -> Callable[[Headers], Headers]:
    return lambda found: [one for i, one in enumerate(found) if i not in gone]


def moved(which: int, by: Sequence[float]) -> Callable[[Headers], Headers]:
    def change(found: Headers) -> Headers:
        old = [float(one) for one in found[which].ImagePositionPatient]
        found[which].ImagePositionPatient = decimals([a + b for a, b in zip(old, by, strict=True)])
        return found

    return change


def set_in(which: int, **attributes: Any) -> Callable[[Headers], Headers]:
    def change(found: Headers) -> Headers:
        for keyword, value in attributes.items():
            setattr(found[which], keyword, value)
        return found

    return change


def with_twin(found: Headers) -> Headers:
    twin = copy.deepcopy(found[2])
    twin.SOPInstanceUID = generate_uid()
    return [*found, twin]


def with_smaller(found: Headers) -> Headers:
    set_pixels(found[4], np.zeros((3, 3), np.int16))
    return found


UNEVEN = {
    "one missing": (without(2), "1 of its slices is missing (the first between slices 2 and 3: 6"),
    "two missing": (without(1, 2), "2 of its slices are missing"),
    "two gaps": (without(1, 4), "2 of its slices are missing (the first between slices 1 and 2"),
    "doubled": (with_twin, "1 of its 7 slices is at the position of another"),
    "too uneven": (moved(3, (0, 0, 2.3)), "spacing of its slices is uneven (0.7 to 5.3 mm)"),
    "sideways": (moved(3, (0.5, 0, 0)), "are not stacked on a line (up to 0.5 mm"),
    "other orientation": (
        set_in(1, ImageOrientationPatient=[1, 0, 0, 0, 0, -1]),
        "different orientations (1 of 6",
    ),
    "other spacing": (set_in(5, PixelSpacing=[0.8, 0.9]), "pixels of different sizes (0.8 to 0.9"),
    "other size": (with_smaller, "different sizes (3x3, 6x7)"),
    "no orientation": (
        set_in(5, ImageOrientationPatient=None),
        "only 5 of its 6 images has a position",
    ),
    "nonsense": (set_in(5, ImageOrientationPatient=[1, 1, 0, 0, 1, 0]), "Patient makes no sense"),
    "no spacing": (set_in(5, PixelSpacing=[0, 0]), "PixelSpacing makes no sense"),
    "another space": (set_in(0, FrameOfReferenceUID="1.2.3"), "different frames of reference"),
    "signed and not": (set_in(0, PixelRepresentation=0), "stored in different ways"),
    "no slope": (set_in(0, RescaleSlope=0), "rescale slope is 0"),
    "high bits": (set_in(0, HighBit=11), "unusual bits"),
    "mask": (set_in(0, BitsAllocated=1, BitsStored=1, HighBit=0), "only black or white"),
    "mosaic": (
        set_in(0, ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]),
        "are tiles of one picture",
    ),
    "no frames": (set_in(0, NumberOfFrames=0x7FFFFFF), "has an impossible size"),
}


class TestRefusal:
    @pytest.mark.parametrize("name", UNEVEN)
    def test_series_that_are_no_volume(self, name: str, tmp_path: Path) -> None:
        change, words = UNEVEN[name]
        headers = change(slices(phantom((6, 7, 6)), PLAIN))
        assert words in refused(renamed(headers, tmp_path / "series"))

    def test_copies_of_a_file_are_left_out(self, tmp_path: Path) -> None:
        folder = write_series(tmp_path / "series", phantom(), PLAIN)
        (folder / "copy").write_bytes((folder / "IM0002").read_bytes())
        image = read(folder)
        assert_same_in_space(image, phantom(), PLAIN)
        assert image.notices == ("ignored: 1 file that is a copy of others",)

    def test_localisers_are_left_out(self, tmp_path: Path) -> None:
        headers = slices(phantom(), PLAIN, "CT")
        scout = slices(phantom((1, 9, 9)), GRIDS["coronal"], "CT")[0]
        scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        image = read(save([scout, *headers], tmp_path / "series"))
        assert_same_in_space(image, phantom(), PLAIN)
        assert image.notices == ("1 of its images is a localiser, and ignored",)
        assert "holds a localiser, but no images" in refused(save([scout], tmp_path / "scout"))

    @pytest.mark.parametrize(
        ("modality", "storage", "words"),
        [
            ("SEG", "66.4", "a segmentation"),
            ("SEG", "66.7", "a label map"),
            ("RTSTRUCT", "481.3", "a radiotherapy structure set"),
            ("RTDOSE", "481.2", "a radiotherapy dose"),
            ("SR", "88.11", "a report"),
            ("OT", "104.1", "an object without pixels"),
        ],
    )
    def test_what_is_no_image(
        self, modality: str, storage: str, words: str, tmp_path: Path
    ) -> None:
        uid = {"SOPClassUID": f"{STORAGE}{storage}", "SeriesInstanceUID": "1.2.3.4"}
        other = new_header(modality if modality == "OT" else "MR", **uid)
        other.Modality, other.SeriesNumber = modality, 7
        if storage in {"66.4", "66.7", "481.2"}:
            set_pixels(other, phantom((1, 7, 6))[0])
        alone = save_one(other, tmp_path / "alone" / "object")
        assert f"holds {words}, but no images" in refused(alone)
        assert f"holds {words}, but no images" in refused(alone.parent)
        folder = write_series(tmp_path / "both", phantom(), PLAIN)
        save_one(other, folder / "object.dcm")
        image = read(folder)
        assert image.notices == (f"{words} in the same folder was ignored",)
        assert f"series '7' is {words}" in refused(folder, "7")

    def test_frames_without_places(self, tmp_path: Path) -> None:
        header = new_header("OT", NumberOfFrames=5)
        set_pixels(header, phantom())
        header.ImagePositionPatient, header.PixelSpacing = [0, 0, 0], [1, 1]
        header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        assert "none of its 5 images has a position" in refused(save_one(header, tmp_path / "cine"))

    def test_enhanced_time_points(self, tmp_path: Path) -> None:
        header = enhanced(phantom(), PLAIN, [0, 1, 2, 0, 1, 2])
        words = "holds 2 volumes that only the order of its images tells apart; choose one with"
        assert words in refused(save_one(header, tmp_path / "four.dcm"))

    def test_nuclear_energy_windows_and_projections(self, tmp_path: Path) -> None:
        header = nuclear(phantom((4, 7, 6)), PLAIN)
        header.EnergyWindowVector = [1, 1, 2, 2]
        assert "differ in energy window" in refused(save_one(header, tmp_path / "a.dcm"))
        del header.EnergyWindowVector
        del header.SliceVector
        header.ImageType = ["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"]
        assert "SliceVector is missing" in refused(save_one(header, tmp_path / "b.dcm"))

    def test_size_limit(self, tmp_path: Path) -> None:
        folder = write_series(tmp_path / "series", phantom(), PLAIN)
        read(folder, limit=210)
        words = "0.00021 million voxels are more than the limit of 0.000209 million; raise the"
        assert words in refused(folder, limit=209)
        path = save_one(enhanced(phantom(), PLAIN), tmp_path / "one.dcm")
        assert "raise the limit with --max-pixels" in refused(path, limit=209)

    def test_nothing_to_read(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert "contains no DICOM images" in refused(tmp_path / "empty")
        (tmp_path / "empty" / "a.dcm").touch()
        assert "a.dcm: the file is empty" in refused(tmp_path / "empty")
        assert "no such file" in refused(tmp_path / "none.dcm")


class TestFiles:
    def test_what_is_not_dicom_is_passed_over(self, tmp_path: Path) -> None:
        folder = write_series(tmp_path / "series", phantom(), PLAIN)
        (folder / "notes.txt").write_text("not DICOM, but beside it")
        (folder / "DICOMDIR").write_bytes((folder / "IM0000").read_bytes())
        (folder / ".hidden").write_bytes((folder / "IM0001").read_bytes()[:400])
        (folder / "short").write_bytes(b"\x08\0")
        (folder / "link").symlink_to(folder)
        hidden = folder / ".cache"
        hidden.mkdir()
        (hidden / "a.dcm").write_bytes(b"\0" * 128 + b"DICM")
        image = read(folder)
        assert_same_in_space(image, phantom(), PLAIN)
        words = "1 file beside its slices ignored, not DICOM (the first: short): look for a damaged"
        assert image.notices == (f"{words} slice",)

    def test_companions_by_name(self) -> None:
        companions = (
            "README",
            "readme.TXT",
            "License",
            "a.b.json",
            "scan.nii",
            "x.JPG",
            "Thumbs.db",
        )
        assert all(files.is_companion(Path(name)) for name in companions)
        strangers = (
            "IM0004",
            "README0",
            "1.2.840.3",
            "a.dc",
            "I.001",
            "scan.nii.gz",
            "txt",
            ".txt2",
        )
        assert not any(files.is_companion(Path(name)) for name in strangers)

    def test_folders_are_searched(self, tmp_path: Path) -> None:
        headers = slices(phantom(), PLAIN)
        save(headers[:2], tmp_path / "series" / "a" / "b")
        save(headers[2:], tmp_path / "series" / "c")
        assert_same_in_space(read(tmp_path / "series"), phantom(), PLAIN)

    def test_a_directory_of_another_name(self, tmp_path: Path) -> None:
        folder = write_series(tmp_path / "series", phantom(), PLAIN)
        header = new_header("OT", SOPClassUID="1.2.840.10008.1.3.10")
        save_one(header, folder / "INDEX")
        assert_same_in_space(read(folder), phantom(), PLAIN)

    def test_a_cut_file_is_named(self, tmp_path: Path) -> None:
        folder = write_series(tmp_path / "series", phantom(), PLAIN)
        whole = (folder / "IM0003").read_bytes()
        for length in (200, 700, 1000, len(whole) - 10):
            (folder / "IM0003").write_bytes(whole[:length])
            line = refused(folder)
            assert line.startswith(f"{folder / 'IM0003'}: ")

    @pytest.mark.parametrize(
        "syntax",
        [
            ImplicitVRLittleEndian,
            ExplicitVRLittleEndian,
            ExplicitVRBigEndian,
            DeflatedExplicitVRLittleEndian,
        ],
    )
    def test_uncompressed(self, syntax: UID, tmp_path: Path) -> None:
        headers = slices(phantom(), PLAIN)
        for header in headers:
            header.file_meta.TransferSyntaxUID = syntax
            if syntax == ExplicitVRBigEndian:
                header.PixelData = phantom()[header.InstanceNumber - 1].astype(">i2").tobytes()
        assert_same_in_space(read(save(headers, tmp_path / "series")), phantom(), PLAIN)

    def test_without_preamble(self, tmp_path: Path) -> None:
        folder = tmp_path / "series"
        folder.mkdir()
        for index, header in enumerate(slices(phantom(), PLAIN)):
            plain = pydicom.Dataset(header)
            plain.save_as(folder / f"{index}", implicit_vr=index % 2 == 0, little_endian=True)
            assert (folder / f"{index}").read_bytes()[128:132] != b"DICM"
        assert_same_in_space(read(folder), phantom(), PLAIN)

    def test_an_inflating_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files, "MAX_HEADER_BYTES", 1 << 20)
        [header] = slices(phantom((1, 7, 6)), PLAIN, syntax=DeflatedExplicitVRLittleEndian)
        header.add_new((0x0009, 0x0010), "LO", "bomb")
        header.add_new((0x0009, 0x1001), "OB", bytes(8 << 20))
        path = save_one(header, tmp_path / "bomb.dcm")
        assert path.stat().st_size < 1 << 20
        assert "inflates to more" in refused(path)


class TestSeries:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for number, words in enumerate(("T1 axial", "T2 axial", "FLAIR"), 1):
            write_series(
                tmp_path / "mr" / str(number),
                phantom(seed=number),
                PLAIN,
                SeriesInstanceUID=f"1.2.3.{number}",
                SeriesNumber=number * 100,
                SeriesDescription=words,
            )
        return tmp_path / "mr"

    def test_several_are_listed(self, folder: Path) -> None:
        line = refused(folder)
        assert line == (
            f"{folder}: holds 3 series; choose one with --series: 100 MR 'T1 axial' (5 slices of "
            "6x7), 200 MR 'T2 axial' (5 slices of 6x7), 300 MR 'FLAIR' (5 slices of 6x7)"
        )
        with pytest.raises(SeriesChoiceError) as caught:
            read(folder)
        assert caught.value.brief == f"{folder}: holds 3 series; choose one with --series"
        assert [one.uid for one in list_series(folder)] == ["1.2.3.1", "1.2.3.2", "1.2.3.3"]

    @pytest.mark.parametrize("wanted", ["1.2.3.2", "200", "T2 axial", " t2  AXIAL ", "t2"])
    def test_one_is_chosen(self, wanted: str, folder: Path) -> None:
        assert_same_in_space(read(folder, wanted), phantom(seed=2), PLAIN)

    def test_none_or_two_fit(self, folder: Path) -> None:
        assert "2 series match 'axial'; choose one" in refused(folder, "axial")
        assert "no series matches '7'; choose one with --series: 100 MR" in refused(folder, "7")
        assert "no series matches ''" in refused(folder, "")

    def test_uids_where_numbers_do_not_tell(self, folder: Path) -> None:
        for path in (folder / "3").iterdir():
            header = pydicom.dcmread(path)
            header.SeriesNumber, header.SeriesDescription = 200, "x" * 64
            header.save_as(path)
        assert f"{'x' * 57}...' (5" in refused(folder)
        assert "200 MR 'T2 axial' (5 slices of 6x7) 1.2.3.2" in refused(folder)
        assert "2 series match '200'" in refused(folder, "200")


# --- what numbers mean ----------------------------------------------------------------------------


def one(tmp_path: Path, pixels: NDArray[Any], modality: str = "CT", **attributes: Any) -> Image:
    """Read one slice of stored numbers."""
    bits = attributes.pop("bits", None)
    [header] = slices(pixels[None], PLAIN, modality, bits=bits, **attributes)
    return read(save_one(header, tmp_path / "slice.dcm"))


class TestValues:
    def test_hounsfield_stays_whole(self, tmp_path: Path) -> None:
        stored = np.array([[0, 1024], [2047, 4095]], np.uint16)
        image = one(tmp_path, stored, bits=12, RescaleSlope=1, RescaleIntercept=-1024)
        assert image.pixels.dtype == np.int16
        assert image.unit == "HU"
        np.testing.assert_array_equal(image.pixels[0, ..., 0], [[-1024, 0], [1023, 3071]])

    def test_wider_than_16_bits(self, tmp_path: Path) -> None:
        stored = np.array([[0, 40_000], [2047, 65_535]], np.uint16)
        image = one(tmp_path, stored, "MR")
        assert image.pixels.dtype == np.int32
        np.testing.assert_array_equal(image.pixels[0, ..., 0], stored)
        image = one(tmp_path, np.array([[0, 2**32 - 1]], np.uint32), "MR")
        assert image.pixels.dtype == np.float32

    def test_a_late_slice_may_need_more(self, tmp_path: Path) -> None:
        pixels = phantom().astype(np.uint16)
        pixels[4, 0, 0] = 60_000
        image = read(write_series(tmp_path / "series", pixels, PLAIN))
        assert image.pixels.dtype == np.int32
        assert_same_in_space(image, pixels, PLAIN)

    def test_each_slice_has_its_slope(self, tmp_path: Path) -> None:
        pixels = phantom()
        slopes = [0.5, 0.25, 3.7, 1e-3, 2]

        def change(index: int, header: FileDataset) -> None:
            header.RescaleSlope, header.RescaleIntercept = decimal(slopes[index]), index

        expected = pixels * np.array(slopes)[:, None, None] + np.arange(5)[:, None, None]
        image = read(write_series(tmp_path / "series", pixels, PLAIN, change=change))
        assert image.pixels.dtype == np.float32
        assert_same_in_space(image, expected.astype(np.float32), PLAIN)
        path = save_one(enhanced(pixels, PLAIN, slopes=slopes), tmp_path / "enhanced.dcm")
        expected = pixels * np.array(slopes)[:, None, None]
        assert_same_in_space(read(path), expected.astype(np.float32), PLAIN)

    @pytest.mark.parametrize("bits", [8, 16])
    def test_modality_lut(self, bits: int, tmp_path: Path) -> None:
        table = np.linspace(10, 200 if bits == 8 else 50_000, 40).astype(np.uint16)
        entry = item(LUTDescriptor=[40, 5, bits], ModalityLUTType="US", LUTData=table.tolist())
        entry["LUTDescriptor"].VR, entry["LUTData"].VR = "US", "US"
        stored = np.arange(60, dtype=np.uint16).reshape(6, 10)
        image = one(tmp_path, stored, "MR", ModalityLUTSequence=Items([entry]))
        expected = table[np.clip(stored.astype(int) - 5, 0, 39)]
        np.testing.assert_array_equal(image.pixels[0, ..., 0], expected)

    def test_unused_bits_are_cleared(self, tmp_path: Path) -> None:
        clean = np.array([[-2048, -1], [7, 2047]], np.int16)
        dirty = (clean & 0x0FFF) | np.array([[0x3000, 0], [0x7000, 0x1000]], np.int16)
        image = one(tmp_path, dirty.astype(np.int16), "MR", bits=12)
        np.testing.assert_array_equal(image.pixels[0, ..., 0], clean)

    def test_padding_is_no_data(self, tmp_path: Path) -> None:
        stored = np.array([[-2000, -1500, -1024], [0, 10, 20]], np.int16)
        image = one(tmp_path, stored, PixelPaddingValue=-2000)
        assert image.valid is not None
        np.testing.assert_array_equal(image.valid[0], stored != -2000)
        image = one(tmp_path, stored, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1500)
        np.testing.assert_array_equal(np.asarray(image.valid)[0], stored >= -1024)
        assert one(tmp_path, stored, PixelPaddingValue=99).valid is None

    def test_padding_of_the_wrong_sign(self, tmp_path: Path) -> None:
        [header] = slices(np.array([[[-2000, 5]]], np.int16), PLAIN, "CT")
        header.add_new("PixelPaddingValue", "US", 65536 - 2000)
        image = read(save_one(header, tmp_path / "a.dcm"))
        np.testing.assert_array_equal(np.asarray(image.valid)[0], [[False, True]])

    def test_monochrome1(self, tmp_path: Path) -> None:
        stored = np.array([[0, 1], [100, 4095]], np.uint16)
        image = one(tmp_path, stored, "MR", bits=12, PhotometricInterpretation="MONOCHROME1")
        np.testing.assert_array_equal(image.pixels[0, ..., 0], [[4095, 4094], [3995, 0]])
        assert "MONOCHROME1" in image.notices[0]

    def test_what_says_that_numbers_are_hounsfield_units(self, tmp_path: Path) -> None:
        stored = np.arange(12, dtype=np.uint16).reshape(3, 4)
        bare: dict[str, Any] = {"RescaleSlope": None, "RescaleIntercept": None}
        table = item(LUTDescriptor=[12, 0, 16], ModalityLUTType="HU", LUTData=[*range(12)])
        table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
        capture = {"SOPClassUID": f"{STORAGE}7", "RescaleType": "HU"}
        message = ("its values are not in Hounsfield units, as its header says",)
        other = item(LUTDescriptor=[12, 0, 16], ModalityLUTType="OD", LUTData=[*range(12)])
        other["LUTDescriptor"].VR = other["LUTData"].VR = "US"
        found: list[tuple[dict[str, Any], str | None, tuple[str, ...]]] = [
            ({}, "HU", ()),
            ({"RescaleSlope": None}, "HU", ()),
            (bare, None, ()),
            ({**bare, "RescaleType": "HU"}, "HU", ()),
            ({"RescaleType": "US"}, None, message),
            ({**bare, "ModalityLUTSequence": Items([table])}, "HU", ()),
            ({**bare, "ModalityLUTSequence": Items([other])}, None, message),
            (capture, None, ()),
            ({**capture, "SOPClassUID": f"{STORAGE}7.2"}, None, ()),
        ]
        for attributes, unit, notices in found:
            image = one(tmp_path, stored, **attributes)
            assert (image.unit, image.notices) == (unit, notices), attributes

    def test_hounsfield_units_are_never_turned(self, tmp_path: Path) -> None:
        stored = np.array([[0, 1], [100, 4095]], np.uint16)
        image = one(tmp_path, stored, "CT", bits=12, PhotometricInterpretation="MONOCHROME1")
        np.testing.assert_array_equal(image.pixels[0, ..., 0], stored)

    def test_ct_of_other_units(self, tmp_path: Path) -> None:
        image = one(tmp_path, phantom()[0], "CT", RescaleSlope=1, RescaleType="ED")
        assert image.unit is None
        assert "not in Hounsfield units" in image.notices[0]
        assert one(tmp_path, phantom()[0], "CT", RescaleType="HU").unit == "HU"

    def test_colour_with_a_place(self, tmp_path: Path) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 6, 3), dtype=np.uint8)
        image = read(write_series(tmp_path / "rgb", pixels, GRIDS["oblique"], "OT"))
        assert image.pixels.dtype == np.uint8
        assert image.unit is None
        assert_same_in_space(image, pixels, GRIDS["oblique"])

    def test_palette(self, tmp_path: Path) -> None:
        tables = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint8)
        header = new_header("OT", PhotometricInterpretation="PALETTE COLOR")
        stored = np.arange(40, dtype=np.uint8).reshape(5, 8)
        set_pixels(header, stored)
        for name, table in zip(("Red", "Green", "Blue"), tables, strict=True):
            header.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [256, 0, 8])
            header.add_new(f"{name}PaletteColorLookupTableData", "OW", table.tobytes())
        image = read(save_one(header, tmp_path / "a.dcm"))
        assert image.pixels.dtype == np.uint8
        np.testing.assert_array_equal(image.pixels[0], np.moveaxis(tables[:, stored], 0, -1))

    def test_float_pixels(self, tmp_path: Path) -> None:
        pixels = phantom((1, 7, 6)) / np.float32(7)
        pixels[0, 1, 2] = np.nan
        [header] = slices(phantom((1, 7, 6)), PLAIN, SOPClassUID=f"{STORAGE}30")
        for keyword in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
            del header[keyword]
        header.BitsAllocated = 32
        header.FloatPixelData = pixels.tobytes()
        image = read(save_one(header, tmp_path / "a.dcm"))
        assert image.pixels.dtype == np.float32
        np.testing.assert_array_equal(image.pixels[..., 0], pixels)
        np.testing.assert_array_equal(np.asarray(image.valid), np.isfinite(pixels))

    def test_unknown_colours(self, tmp_path: Path) -> None:
        [header] = slices(phantom((1, 7, 6)), PLAIN)
        header.PhotometricInterpretation = "CMYK"
        assert "stored in an unknown way" in refused(save_one(header, tmp_path / "a.dcm"))


# --- PET ------------------------------------------------------------------------------------------

DOSE, HALF_LIFE, WEIGHT = 4e8, 6588.0, 80.0
PER_ACTIVITY = 1000 * WEIGHT / DOSE


def injection(**attributes: Any) -> Items:
    details = {
        "RadionuclideTotalDose": decimal(DOSE),
        "RadionuclideHalfLife": decimal(HALF_LIFE),
        "RadiopharmaceuticalStartTime": "120000",
        **attributes,
    }
    return Items([item(**{key: value for key, value in details.items() if value is not None})])


def pet(tmp_path: Path, **attributes: Any) -> Image:
    """Read a PET of two slices, 2 hours after the injection unless told otherwise."""
    details = {
        "Units": "BQML",
        "DecayCorrection": "START",
        "CorrectedImage": ["NORM", "DECY", "ATTN"],
        "PatientWeight": WEIGHT,
        "SeriesDate": "20200202",
        "SeriesTime": "140000",
        "AcquisitionDate": "20200202",
        "AcquisitionTime": "140000",
        "RescaleSlope": 2,
        "RescaleIntercept": 0,
        "RadiopharmaceuticalInformationSequence": injection(),
        **attributes,
    }
    kept = {key: value for key, value in details.items() if value is not None}

    def change(_: int, header: FileDataset) -> None:
        if factor := attributes.get("philips"):
            block = header.private_block(0x7053, "Philips PET Private Group", create=True)
            block.add_new(factor[0], "DS", str(factor[1]))
        if moment := attributes.get("ge"):
            block = header.private_block(0x0009, "GEMS_PETD_01", create=True)
            block.add_new(0x0D, "DT", moment)

    for extra in ("philips", "ge"):
        kept.pop(extra, None)
    folder = tmp_path / "pet"
    return read(
        write_series(folder, np.full((2, 3, 3), 500, np.int16), PLAIN, "PT", change, **kept)
    )


class TestUptake:
    @pytest.mark.parametrize(
        ("attributes", "hours"),
        [
            ({}, 2.0),
            ({"DecayCorrection": "ADMIN"}, 0.0),
            ({"SeriesTime": "133000.5"}, 1.5 + 0.5 / 3600),  # bed positions follow
            ({"AcquisitionTime": "130000"}, 1.0),  # the series was made later on
            ({"AcquisitionTime": "130000", "ge": "20200202123000.00"}, 0.5),
            ({"AcquisitionTime": None, "AcquisitionDate": None}, 2.0),
            ({"SeriesTime": "003000", "AcquisitionTime": "003000"}, 12.5),  # after midnight
            (
                {
                    "RadiopharmaceuticalInformationSequence": injection(
                        RadiopharmaceuticalStartDateTime="20200202131500.00+0100"
                    )
                },
                0.75,
            ),
        ],
    )
    def test_by_weight_dose_and_decay(
        self, attributes: dict[str, Any], hours: float, tmp_path: Path
    ) -> None:
        image = pet(tmp_path, **attributes)
        left = 0.5 ** (hours * 3600 / HALF_LIFE)
        assert image.unit == "SUVbw"
        assert image.notices == ()
        assert image.pixels.dtype == np.float32
        np.testing.assert_allclose(image.pixels, 1000 * PER_ACTIVITY / left, rtol=1e-6)

    def test_shifted_dates(self, tmp_path: Path) -> None:
        given = injection(RadiopharmaceuticalStartDateTime="20200203130000")
        given[0].RadiopharmaceuticalStartTime = "130000"
        image = pet(tmp_path, RadiopharmaceuticalInformationSequence=given)
        left = 0.5 ** (3600 / HALF_LIFE)
        np.testing.assert_allclose(image.pixels, 1000 * PER_ACTIVITY / left, rtol=1e-6)
        assert "only the time is used" in image.notices[0]

    @pytest.mark.parametrize(
        ("attributes", "words"),
        [
            ({"PatientWeight": None}, "weight is missing"),
            ({"PatientWeight": 0}, "weight is missing"),
            ({"DecayCorrection": "NONE"}, "decay is not corrected"),
            ({"DecayCorrection": None}, "decay is not corrected"),
            ({"CorrectedImage": ["ATTN", "NORM"]}, "not corrected for decay"),
            ({"CorrectedImage": ["DECY", "NORM"]}, "not corrected for attenuation"),
            ({"RadiopharmaceuticalInformationSequence": None}, "the injection is missing"),
            ({"SeriesTime": None, "AcquisitionTime": None}, "time of the scan is missing"),
            *(
                ({"RadiopharmaceuticalInformationSequence": injection(**given)}, words)
                for given, words in (
                    ({"RadionuclideTotalDose": None}, "dose is missing"),
                    ({"RadionuclideTotalDose": 400}, "dose is not in Bq"),
                    ({"RadionuclideHalfLife": None}, "half-life is missing"),
                    ({"RadiopharmaceuticalStartTime": None}, "time of the injection is missing"),
                    ({"RadionuclideHalfLife": 122}, "contradicts that of the scan"),
                )
            ),
        ],
    )
    def test_what_is_missing_is_named(
        self, attributes: dict[str, Any], words: str, tmp_path: Path
    ) -> None:
        image = pet(tmp_path, **attributes)
        assert image.unit == "Bq/ml"
        assert words in image.notices[0]
        np.testing.assert_array_equal(image.pixels, 1000)

    def test_ready_made(self, tmp_path: Path) -> None:
        image = pet(tmp_path, Units="GML", PatientWeight=None, RescaleSlope=0.25)
        assert (image.unit, image.notices) == ("SUVbw", ())
        np.testing.assert_array_equal(image.pixels, 125)
        image = pet(tmp_path, Units="GML", SUVType="LBM")
        assert image.unit is None
        assert "lean body mass" in image.notices[0]

    def test_counts(self, tmp_path: Path) -> None:
        image = pet(tmp_path, Units="CNTS", philips=(0x00, 0.125))
        assert (image.unit, image.notices) == ("SUVbw", ())
        np.testing.assert_array_equal(image.pixels, 125)
        image = pet(tmp_path, Units="CNTS", philips=(0x09, 3), DecayCorrection="ADMIN")
        assert image.unit == "SUVbw"
        np.testing.assert_allclose(image.pixels, 3000 * PER_ACTIVITY, rtol=1e-6)
        image = pet(tmp_path, Units="CNTS", philips=(0x09, 3), PatientWeight=None)
        assert image.unit == "Bq/ml"
        np.testing.assert_array_equal(image.pixels, 3000)
        image = pet(tmp_path, Units="CNTS")
        assert image.unit == "counts"
        assert "without the vendor's factor" in image.notices[0]

    def test_other_units(self, tmp_path: Path) -> None:
        assert pet(tmp_path, Units="PROPCNTS").unit == "counts"
        image = pet(tmp_path, Units="CM2ML")
        assert image.unit is None
        assert "unit of its values is unknown" in image.notices[0]

    def test_units_differ(self, tmp_path: Path) -> None:
        headers = slices(phantom(), PLAIN, "PT", Units="GML")
        headers[1].Units = "CNTS"
        assert "different units" in refused(save(headers, tmp_path / "pet"))


# --- compressed -----------------------------------------------------------------------------------


def blobs(bits: int, channels: int = 1, *, is_signed: bool = False) -> NDArray[Any]:
    """Return a smooth picture (40, 48[, 3]) that uses all bits."""
    y, x = np.mgrid[0:40, 0:48] / 48
    waves = [np.sin(5 * x + 3 * y + shade) * np.cos(4 * y * x) for shade in range(channels)]
    unit = (np.stack(waves, -1) + 1) / 2
    shift = 2 ** (bits - 1) if is_signed else 0
    found = np.rint(unit / unit.max() * (2**bits - 1)).astype(np.int64) - shift
    kind = np.dtype(("i" if is_signed else "u") + ("1" if bits <= 8 else "2"))
    return np.asarray(found[..., 0] if channels == 1 else found, kind)


def unsigned(pixels: NDArray[Any], bits: int) -> NDArray[Any]:
    """Return signed numbers as those bits that JPEG and JPEG-LS store."""
    kind = np.dtype(f"u{pixels.dtype.itemsize}")
    return np.asarray(pixels.astype(np.int64) & (2**bits - 1), kind)


def jpeg_2000(pixels: NDArray[Any], bits: int) -> bytes | bytearray:
    return imagecodecs.jpeg2k_encode(
        pixels, level=0, codecformat="J2K", bitspersample=bits, reversible=True
    )


def pillow_jpeg(pixels: NDArray[Any], bits: int) -> bytes:
    assert bits == 8
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


Encode = Callable[[NDArray[Any], int], bytes | bytearray]
# name: (transfer syntax, bits, signed, channels, encoder, largest difference)
COMPRESSED: dict[str, tuple[UID, int, bool, int, Encode, int]] = {
    "jpeg": (JPEGBaseline8Bit, 8, False, 1, pillow_jpeg, 4),
    "jpeg colour": (JPEGBaseline8Bit, 8, False, 3, pillow_jpeg, 12),
    "jpeg 12": (
        JPEGExtended12Bit,
        12,
        False,
        1,
        lambda p, b: imagecodecs.jpeg8_encode(p, level=98, bitspersample=b),
        16,
    ),
    **{
        f"jpeg lossless {name}": (
            syntax,
            bits,
            is_signed,
            1,
            lambda p, b: imagecodecs.jpeg8_encode(
                unsigned(p, b), lossless=True, predictor=1, bitspersample=b
            ),
            0,
        )
        for name, syntax, bits, is_signed in (
            ("8", JPEGLosslessSV1, 8, False),
            ("12", JPEGLossless, 12, False),
            ("16", JPEGLosslessSV1, 16, False),
            ("16 signed", JPEGLosslessSV1, 16, True),
            ("12 signed", JPEGLosslessSV1, 12, True),
        )
    },
    **{
        f"jpeg-ls {bits} {is_signed}": (
            JPEGLSLossless,
            bits,
            is_signed,
            1,
            lambda p, b: imagecodecs.jpegls_encode(unsigned(p, b)),
            0,
        )
        for bits, is_signed in ((8, False), (16, False), (16, True))
    },
    "jpeg lossless colour": (
        JPEGLosslessSV1,
        8,
        False,
        3,
        lambda p, _: imagecodecs.jpeg8_encode(
            p, lossless=True, predictor=1, colorspace="RGB", outcolorspace="RGB"
        ),
        0,
    ),
    "jpeg-ls near": (
        JPEGLSNearLossless,
        16,
        False,
        1,
        lambda p, _: imagecodecs.jpegls_encode(p, level=2),
        2,
    ),
    "jpeg-ls colour": (JPEGLSLossless, 8, False, 3, lambda p, _: imagecodecs.jpegls_encode(p), 0),
    **{
        f"jpeg 2000 {bits} {is_signed}": (JPEG2000Lossless, bits, is_signed, 1, jpeg_2000, 0)
        for bits, is_signed in ((8, False), (12, False), (16, False), (16, True))
    },
    "jpeg 2000 colour": (JPEG2000Lossless, 8, False, 3, jpeg_2000, 0),
    "jpeg 2000 colour 16": (JPEG2000, 16, False, 3, jpeg_2000, 0),
    **{
        f"htj2k {bits} {is_signed}": (
            HTJ2KLossless,
            bits,
            is_signed,
            1,
            lambda p, _: imagecodecs.htj2k_encode(p, reversible=True),
            0,
        )
        for bits, is_signed in ((8, False), (16, False), (16, True))
    },
    "htj2k colour": (
        HTJ2K,
        8,
        False,
        3,
        lambda p, _: imagecodecs.htj2k_encode(p, reversible=True),
        0,
    ),
}


def compressed(name: str, folder: Path) -> tuple[Path, NDArray[Any]]:
    syntax, bits, is_signed, channels, encode, _ = COMPRESSED[name]
    pixels = blobs(bits, channels, is_signed=is_signed)
    [header] = slices(pixels[None], PLAIN, "OT", bits=bits)
    header.file_meta.TransferSyntaxUID = syntax
    header.PixelData = encapsulate([bytes(encode(pixels, bits))])
    header["PixelData"].VR = "OB"
    header["PixelData"].is_undefined_length = True
    if name == "jpeg colour":
        header.PhotometricInterpretation = "YBR_FULL_422"
    return save_one(header, folder / "slice.dcm"), pixels


class TestCompressed:
    @pytest.mark.parametrize("name", COMPRESSED)
    def test_numbers_come_back(self, name: str, tmp_path: Path) -> None:
        path, pixels = compressed(name, tmp_path)
        found = read(path).pixels[0].reshape(pixels.shape)
        off = np.abs(found.astype(np.int64) - pixels)
        assert off.max() <= COMPRESSED[name][5]

    @pytest.mark.parametrize("name", [name for name in COMPRESSED if "htj2k" not in name])
    def test_simpleitk_agrees(self, name: str, tmp_path: Path) -> None:
        """Encoders and decoders of one package could be wrong together."""
        sitk = pytest.importorskip("SimpleITK")
        path, _ = compressed(name, tmp_path)
        theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(int)
        ours = read(path).pixels.reshape(theirs.shape)
        assert np.abs(ours - theirs).max() <= (3 if name == "jpeg colour" else 0)

    @pytest.mark.parametrize(("bits", "channels"), [(8, 1), (16, 1), (8, 3), (16, 3)])
    def test_rle(self, bits: int, channels: int, tmp_path: Path) -> None:
        """Written by pydicom."""
        pixels = blobs(bits, channels)
        [header] = slices(pixels[None], PLAIN, "OT")
        header.compress(RLELossless, encoding_plugin="pydicom")
        found = read(save_one(header, tmp_path / "a.dcm")).pixels[0]
        np.testing.assert_array_equal(found.reshape(pixels.shape), pixels)

    def test_frames_of_one_file(self, tmp_path: Path) -> None:
        pixels = np.stack([blobs(12) + np.uint16(i) for i in range(4)])
        header = enhanced(pixels, GRIDS["oblique"], [2, 0, 3, 1])
        header.compress(RLELossless, encoding_plugin="pydicom")
        assert_same_in_space(read(save_one(header, tmp_path / "a.dcm")), pixels, GRIDS["oblique"])

    @pytest.mark.parametrize(
        "name", ["jpeg-ls 16 False", "jpeg lossless 16", "jpeg 12", "htj2k 8 False"]
    )
    def test_a_missing_decoder_names_the_extra(self, name: str, tmp_path: Path) -> None:
        path, _ = compressed(name, tmp_path)
        decoder = get_decoder(COMPRESSED[name][0])
        kept = dict(decoder._available)
        decoder._available.clear()
        try:
            line = refused(path)
        finally:
            decoder._available.update(kept)
        assert "there is no decoder for" in line
        assert line.endswith("; pip install 'fnetcli[dicom-codecs]'")

    @pytest.mark.parametrize(
        "name", ["jpeg", "jpeg lossless 12", "jpeg-ls 8 False", "jpeg 2000 8 False"]
    )
    def test_a_stream_of_another_size(self, name: str, tmp_path: Path) -> None:
        path, _ = compressed(name, tmp_path)
        header = pydicom.dcmread(path)
        header.Columns = 24
        header.save_as(path)
        assert "its compressed pixels are 48x40, but its header says 24x40" in refused(path)

    @pytest.mark.parametrize(
        ("syntax", "words"),
        [
            ("1.2.840.10008.1.2.4.102", "a video"),
            ("1.2.840.10008.1.2.4.999", "its compression is unknown"),
        ],
    )
    def test_unknown_and_moving(self, syntax: str, words: str, tmp_path: Path) -> None:
        path, _ = compressed("htj2k colour", tmp_path)
        content = path.read_bytes()
        assert str(HTJ2K).encode() in content
        path.write_bytes(content.replace(str(HTJ2K).encode(), syntax.encode()))
        assert words in refused(path)


# --- files of others ------------------------------------------------------------------------------

TEST_FILES = sorted(path for path in BUNDLED.rglob("*") if path.suffix == ".dcm")
MEDIUM = sorted(path for path in (BUNDLED / "test_files/dicomdirtests").glob("*/*/*"))
GREY = [
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_expb.dcm",
    "MR_small_padded.dcm",
    "MR_small_jp2klossless.dcm",
    "693_J2KI.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "JPEG2000.dcm",
    "JPEG-lossy.dcm",
    "image_dfl.dcm",
    "examples_overlay.dcm",
]
COLOR = [
    "SC_rgb_rle.dcm",
    "SC_rgb_rle_16bit.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_jpeg_app14_dcmd.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "SC_rgb_small_odd.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
    "examples_jpeg2k.dcm",
    "ExplVR_BigEnd.dcm",
]


class TestBundled:
    @pytest.mark.parametrize("path", [*TEST_FILES, *MEDIUM], ids=lambda path: path.name)
    def test_an_image_or_one_line(
        self,
        path: Path,
        recwarn: pytest.WarningsRecorder,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        if not path.is_file():
            pytest.skip("a folder")
        try:
            image = read(path)
        except ReadError as error:
            assert_harmless(str(error), path)
        else:
            assert image.pixels.ndim == 4
            assert image.pixels.shape[:3] == image.grid.shape
        assert not recwarn.list
        assert not caplog.records
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("name", GREY)
    def test_grey_is_what_pydicom_reads(self, name: str) -> None:
        path = BUNDLED / "test_files" / name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(path)
            expected = apply_modality_lut(header.pixel_array, header)
        np.testing.assert_array_equal(read(path).pixels[0, ..., 0], expected)

    @pytest.mark.parametrize("name", COLOR)
    def test_colour_is_what_pydicom_reads(self, name: str) -> None:
        path = BUNDLED / "test_files" / name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = pydicom.dcmread(path).pixel_array
        np.testing.assert_array_equal(read(path).pixels[0], expected)

    @pytest.mark.parametrize(
        "name",
        [
            "JPEGLSNearLossless_08.dcm",
            "JPEGLSNearLossless_16.dcm",
            "MR_small_jpeg_ls_lossless.dcm",
            "JPGExtended.dcm",
            "JPEG2000.dcm",
            "MR_small_jp2klossless.dcm",
            "SC_rgb_jls_lossy_line.dcm",
            "SC_rgb_jls_lossy_sample.dcm",
        ],
    )
    def test_compressed_is_what_simpleitk_reads(self, name: str) -> None:
        sitk = pytest.importorskip("SimpleITK")
        path = BUNDLED / "test_files" / name
        theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        ours = read(path).pixels
        np.testing.assert_array_equal(ours.reshape(theirs.shape), theirs)

    def test_a_medium_lists_its_series(self) -> None:
        line = refused(BUNDLED / "test_files" / "dicomdirtests" / "98892003")
        assert "holds 7 series; choose one with --series: " in line

    def test_a_refused_stream(self) -> None:
        path = BUNDLED / "test_files" / "JPEG2000-embedded-sequence-delimiter.dcm"
        assert "its compressed pixels are 3722445056x1024" in refused(path)


class TestOthers:
    @pytest.mark.parametrize("name", [*GRIDS, "STS_002/CT", "STS_002/MR_T1", "STS_002/PET"])
    def test_places_are_those_of_simpleitk(self, name: str, tmp_path: Path) -> None:
        sitk = pytest.importorskip("SimpleITK")
        if name.startswith("STS"):
            folder = SHARED.parent / name
            if not folder.is_dir():
                pytest.skip("no shared/ folder beside the checkout")
        else:
            folder = renamed(slices(phantom(), GRIDS[name]), tmp_path / "series")
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        theirs = reader.Execute()
        ours = read(folder)
        factor = 1.0
        rtol = 1e-6
        np.testing.assert_allclose(
            ours.pixels[..., 0], sitk.GetArrayFromImage(theirs) * factor, rtol=rtol, atol=1e-4
        )
        for index in ((0, 0, 0), (1, 2, 3), (4, 1, 5)):
            point = theirs.TransformContinuousIndexToPhysicalPoint([float(i) for i in index[::-1]])
            np.testing.assert_allclose(
                world(ours.grid.affine, index) * [-1, -1, 1], point, atol=1e-3
            )

    @pytest.mark.skipif(not SHARED.is_dir(), reason="no shared/ folder beside the checkout")
    def test_real_series(self) -> None:
        units = {name: read(SHARED / name).unit for name in ("CT", "MR_T1", "PET")}
        assert units == {"CT": "HU", "MR_T1": None, "PET": "SUVbw"}
        assert "holds 3 series" in refused(SHARED)
        assert read(SHARED, "3").unit == "HU"


# --- damage ---------------------------------------------------------------------------------------

SMALL: dict[str, Callable[[Path], Path]] = {
    "classic": lambda folder: save_one(slices(phantom((1, 7, 6)), PLAIN)[0], folder / "a.dcm"),
    "enhanced": lambda folder: save_one(
        enhanced(phantom(), PLAIN, slopes=[0.5] * 5), folder / "a.dcm"
    ),
    "nuclear": lambda folder: save_one(nuclear(phantom(), PLAIN), folder / "a.dcm"),
    "pet": lambda folder: (pet(folder), min((folder / "pet").iterdir()))[1],
    "deflated": lambda folder: save_one(
        slices(phantom((1, 7, 6)), PLAIN, syntax=DeflatedExplicitVRLittleEndian)[0],
        folder / "a.dcm",
    ),
    **{
        name: lambda folder, name=name: compressed(name, folder)[0]  # type: ignore[misc]
        for name in ("jpeg", "jpeg-ls 16 False", "jpeg 2000 16 True", "jpeg lossless 12", "jpeg 12")
    },
}


class TestDamage:
    @pytest.mark.parametrize("name", SMALL)
    def test_a_cut_file_is_whole_or_an_error(self, name: str, tmp_path: Path) -> None:
        path = SMALL[name](tmp_path)
        content, whole = path.read_bytes(), read(path).pixels
        for length in range(1, len(content), max(1, len(content) // 60)):
            path.write_bytes(content[:length])
            try:
                image = read(path)
            except ReadError as error:
                assert_harmless(str(error), path)
            else:
                np.testing.assert_array_equal(image.pixels, whole)

    @pytest.mark.parametrize("name", SMALL)
    def test_flipped_bits_give_an_image_or_an_error(
        self,
        name: str,
        tmp_path: Path,
        recwarn: pytest.WarningsRecorder,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        random = np.random.default_rng(zlib.crc32(name.encode()))
        path = SMALL[name](tmp_path)
        original = path.read_bytes()
        for _ in range(60):
            content = bytearray(original)
            for _ in range(random.integers(1, 6)):
                content[int(random.integers(128, len(content)))] ^= 1 << random.integers(8)
            path.write_bytes(content)
            try:
                image = read(path, limit=100_000)
            except ReadError as error:
                assert_harmless(str(error), path)
            else:
                assert image.pixels.shape[:3] == image.grid.shape
                assert not any("zzyzx" in words.lower() for words in image.notices)
        assert not [one for one in recwarn.list if "pydicom" in one.filename]
        assert not [one for one in caplog.records if one.levelno > logging.INFO]
        assert capfd.readouterr() == ("", "")
