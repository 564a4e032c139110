"""Written series are valid, lie where the reference lies, and hold what was put in."""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.pixels.processing import apply_modality_lut, apply_windowing
from pydicom.uid import ExplicitVRLittleEndian

from fnetcli.errors import ImageError, WriteError
from fnetcli.formats.dicom.writer import WHITE, write_dicom
from fnetcli.imaging.image import DicomSeries, Grid, Image

SHAPE = (5, 7, 9)
UIDS = {
    "ct": "1.2.840.10008.5.1.4.1.1.2",
    "mri": "1.2.840.10008.5.1.4.1.1.4",
    "pet": "1.2.840.10008.5.1.4.1.1.128",
    "enhanced ct": "1.2.840.10008.5.1.4.1.1.2.1",
    "enhanced mri": "1.2.840.10008.5.1.4.1.1.4.1",
    "enhanced pet": "1.2.840.10008.5.1.4.1.1.130",
    "spect": "1.2.840.10008.5.1.4.1.1.20",
}
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
LPS = np.diag([-1.0, -1, 1, 1])
HALF_STEP = 0.5 / 65535


def oblique(shape: tuple[int, int, int] = SHAPE, shear: float = 0) -> Grid:
    a, b = math.radians(20), math.radians(-12)
    turn = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    turn = turn @ [[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]]
    steps = turn @ np.array([[0, 0, -0.7], [shear, -0.8, 0], [2.5, 0, 0]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = steps, (101.25, 87.5, -640.125)
    return Grid(shape, affine)


def patient() -> Dataset:
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 100"
    made.PatientName, made.PatientID = "Müller^Zoë", "ID-4711"
    made.PatientBirthDate, made.PatientSex = "19500102", "F"
    made.StudyInstanceUID, made.FrameOfReferenceUID = "1.2.3.4", "1.2.3.5"
    made.StudyDate, made.StudyTime, made.StudyID = "20200102", "101112", "7"
    made.AccessionNumber, made.ReferringPhysicianName = "A-99", "Doc^Tor"
    made.SeriesInstanceUID, made.SeriesNumber = "1.2.3.6", 4
    made.SeriesDescription, made.InstitutionName = "head", "Somewhere"
    made.Manufacturer, made.ProtocolName = "ACME", "brain of Müller"
    made.PatientPosition, made.BodyPartExamined = "HFS", "HEAD"
    made.PositionReferenceIndicator = ""
    made.WindowCenter, made.WindowWidth = "40", "400"
    made.RescaleIntercept, made.RescaleSlope, made.RescaleType = "-1024", "2", "HU"
    made.SmallestImagePixelValue = 3
    made.PixelPaddingValue = 5
    made.BurnedInAnnotation = "NO"
    made.VOILUTSequence = [Dataset()]
    made.add_new(0x60000010, "US", 7)  # overlay rows
    made.private_block(0x0029, "ACME 1", create=True).add_new(1, "LO", "Müller private")
    return made


KINDS: dict[str, dict[str, Any]] = {
    "ct": {"Modality": "CT", "KVP": "120", "AcquisitionNumber": 1, "SliceThickness": "2.5"},
    "mri": {
        "Modality": "MR",
        "ScanningSequence": ["SE", "IR"],
        "SequenceVariant": "SK",
        "ScanOptions": "",
        "MRAcquisitionType": "2D",
        "RepetitionTime": "500",
        "EchoTime": "12.5",
        "EchoTrainLength": 1,
        "InversionTime": "900",
    },
    "pet": {
        "Modality": "PT",
        "SeriesDate": "20200102",
        "SeriesTime": "120000",
        "AcquisitionDate": "20200102",
        "AcquisitionTime": "120000",
        "Units": "BQML",
        "CountsSource": "EMISSION",
        "SeriesType": ["STATIC", "IMAGE"],
        "CorrectedImage": ["ATTN", "DECY"],
        "DecayCorrection": "START",
        "CollimatorType": "NONE",
        "FrameReferenceTime": "0",
        "ActualFrameDuration": "60000",
        "DecayFactor": "1.0",
    },
    "enhanced ct": {"Modality": "CT", "NumberOfFrames": 5},
    "enhanced mri": {"Modality": "MR", "NumberOfFrames": 5},
    "enhanced pet": {"Modality": "PT", "NumberOfFrames": 5},
    "spect": {"Modality": "NM", "NumberOfFrames": 5},
}


def reference(kind: str = "ct", grid: Grid | None = None, series: str = "1.2.3.6") -> Image:
    """Return an image as the reader gives it: headers without pixels, in the order of slices."""
    grid = grid or oblique()
    headers = []
    for i in range(1 if "NumberOfFrames" in KINDS[kind] else grid.shape[0]):
        header = patient()
        header.SOPClassUID, header.SOPInstanceUID = UIDS[kind], f"{series}.{i + 1}"
        header.SeriesInstanceUID = series
        for keyword, value in KINDS[kind].items():
            setattr(header, keyword, value)
        if kind == "pet":
            drug = Dataset()
            drug.Radiopharmaceutical, drug.RadionuclideTotalDose = "FDG", "300000000"
            drug.RadionuclideCodeSequence = []
            drug.private_block(0x0029, "ACME 1", create=True).add_new(1, "LO", "private too")
            header.RadiopharmaceuticalInformationSequence = [drug]
        headers.append(header)
    frames = tuple(range(1, grid.shape[0] + 1)) if len(headers) == 1 else (1,) * len(headers)
    shared = tuple(headers * grid.shape[0]) if len(headers) == 1 else tuple(headers)
    zeros = np.zeros((*grid.shape, 1), np.int16)
    return Image(zeros, grid, series=DicomSeries(shared, frames))


def values(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> NDArray[np.float32]:
    random = np.random.default_rng(seed).random(shape, np.float32)
    random.flat[:2] = 0, 1
    return random


def colours() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (*SHAPE, 3), np.uint8)


def read(folder: Path) -> list[Any]:
    return [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]


class TestGrey:
    @pytest.mark.parametrize("kind", UIDS)
    def test_values_within_half_a_step_and_the_class_of_the_reference(
        self, kind: str, tmp_path: Path
    ) -> None:
        fused = values()
        paths = write_dicom(tmp_path / "out", fused[..., None], reference(kind))
        assert paths == [tmp_path / "out" / f"{i:04d}.dcm" for i in range(1, 6)]
        expected = UIDS.get(kind.removeprefix("enhanced "), "")
        for i, got in enumerate(read(tmp_path / "out")):
            assert got.SOPClassUID == (CAPTURE if kind == "spect" else expected)
            assert got.file_meta.MediaStorageSOPClassUID == got.SOPClassUID
            is_mr = kind.endswith("mri")
            assert ("RescaleSlope" in got) != is_mr  # the class defines none, and viewers ignore it
            found = apply_modality_lut(got.pixel_array, got)
            most = 0.5 / WHITE if is_mr else HALF_STEP
            assert np.abs(found / WHITE - fused[i]).max() <= most * 1.001
            assert (got.pixel_array.dtype, got.BitsStored, got.HighBit) == (np.uint16, 16, 15)
            second = "PRIMARY" if kind.endswith("pet") else "SECONDARY"  # PS3.3, C.8.9.4.1.3
            assert got.ImageType[:2] == ["DERIVED", second]

    @pytest.mark.parametrize("kind", UIDS)
    def test_the_window_shows_all_of_it(self, kind: str, tmp_path: Path) -> None:
        fused = values()
        write_dicom(tmp_path, fused, reference(kind))
        got = read(tmp_path)[0]
        shown = apply_windowing(apply_modality_lut(got.pixel_array, got), got)
        (black, white), span = shown[0, :2], np.ptp(shown)
        assert (black, white) == (shown.min(), shown.max())  # 0 and 1
        np.testing.assert_allclose((shown - black) / span, fused[0], atol=6e-4)

    @pytest.mark.parametrize("shear", [0, 0.4])
    def test_lies_where_the_reference_lies(self, shear: float, tmp_path: Path) -> None:
        image = reference(grid=oblique(shear=shear))
        write_dicom(tmp_path, values(), image)
        assert image.grid.affine is not None
        for i, got in enumerate(read(tmp_path)):
            along, down = np.reshape(got.ImageOrientationPatient, (2, 3))
            rows, columns = got.PixelSpacing
            for r, c in ((0, 0), (6, 8), (3, 1)):  # PS3.3, C.7.6.2.1.1
                place = got.ImagePositionPatient + along * columns * c + down * rows * r
                expected = (LPS @ image.grid.affine @ (i, r, c, 1))[:3]
                np.testing.assert_allclose(place, expected, atol=1e-6)
            for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
                assert all(len(str(value)) <= 16 for value in got[name].value)

    def test_simpleitk_reads_it_at_the_right_place(self, tmp_path: Path) -> None:
        sitk = pytest.importorskip("SimpleITK")
        image, fused = reference("mri"), values()
        paths = write_dicom(tmp_path, fused, image)
        (series,) = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(tmp_path))
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path), series)
        assert sorted(names) == [str(path) for path in paths]
        got = sitk.ReadImage(names)
        assert image.grid.affine is not None
        for index in ((0, 0, 0), (4, 6, 8), (2, 5, 1)):
            x, y, z, _ = LPS @ image.grid.affine @ (*index, 1)
            place = got.TransformPhysicalPointToContinuousIndex((x, y, z))
            np.testing.assert_allclose(place, index[::-1], atol=1e-4)
            found = got[tuple(round(one) for one in place)]
            assert abs(found / WHITE - fused[index]) <= 0.5 / WHITE * 1.01

    def test_out_of_range_is_clipped_and_nan_refused(self, tmp_path: Path) -> None:
        fused = values()
        fused[0, 0, :2] = -1, 2
        write_dicom(tmp_path / "a", fused, reference())
        stored = read(tmp_path / "a")[0].pixel_array
        assert stored[0, :2].tolist() == [0, 65535]
        fused[4, 0, 0] = np.nan
        with pytest.raises(ImageError, match="NaN"):
            write_dicom(tmp_path / "b", fused, reference())
        assert not (tmp_path / "b").exists()


class TestHeader:
    def test_patient_study_and_space_stay(self, tmp_path: Path) -> None:
        write_dicom(tmp_path, values(), reference())
        for i, got in enumerate(read(tmp_path)):
            assert (str(got.PatientName), got.PatientID) == ("Müller^Zoë", "ID-4711")
            assert (got.PatientBirthDate, got.AccessionNumber) == ("19500102", "A-99")
            assert (got.StudyInstanceUID, got.FrameOfReferenceUID) == ("1.2.3.4", "1.2.3.5")
            assert (got.SeriesDescription, got.SeriesNumber) == ("fnet fusion", 1004)
            assert got.InstanceNumber == i + 1
            assert got.SliceThickness == 2.5

    def test_series_and_instances_are_new_and_the_same_for_the_same(self, tmp_path: Path) -> None:
        for name, seed in (("a", 0), ("b", 0), ("c", 1)):
            write_dicom(tmp_path / name, values(seed), reference())
        a, b, c = (read(tmp_path / name) for name in "abc")
        for first, second in zip(
            sorted((tmp_path / "a").iterdir()), sorted((tmp_path / "b").iterdir()), strict=True
        ):
            assert first.read_bytes() == second.read_bytes()
        series = {got.SeriesInstanceUID for got in (*a, *b, *c)}
        instances = {got.SOPInstanceUID for got in (*a, *b, *c)}
        assert (len(series), len(instances)) == (2, 10)
        assert all(uid.is_valid and uid.startswith("2.25.") for uid in series | instances)
        for got in a:
            assert got.file_meta.MediaStorageSOPInstanceUID == got.SOPInstanceUID

    @pytest.mark.parametrize("kind", UIDS)
    def test_what_describes_the_source_alone_stays_behind(self, kind: str, tmp_path: Path) -> None:
        image = reference(kind)
        before = [str(header) for header in image.series.headers]  # type: ignore[union-attr]
        write_dicom(tmp_path, values(), image)
        assert before == [str(header) for header in image.series.headers]  # type: ignore[union-attr]
        for got in read(tmp_path):
            text = str(got)
            assert "Private" not in text
            assert "private" not in text
            assert "Overlay" not in text
            for keyword in (
                *("VOILUTSequence", "ModalityLUTSequence", "SmallestImagePixelValue"),
                *("PixelPaddingValue", "InstitutionName", "ProtocolName", "BurnedInAnnotation"),
                *("NumberOfFrames", "SharedFunctionalGroupsSequence", "IconImageSequence"),
            ):
                assert keyword not in got
            assert got.Manufacturer == "fnet"
            assert "HU" not in text
            assert got.DerivationDescription.startswith("fnet ")

    def test_burned_in_text_stays_a_warning(self, tmp_path: Path) -> None:
        image = reference()
        assert image.series is not None
        for header in image.series.headers:
            header.BurnedInAnnotation = "YES"
        write_dicom(tmp_path, values(), image)
        assert read(tmp_path)[0].BurnedInAnnotation == "YES"

    def test_losses_of_a_source_stay_known(self, tmp_path: Path) -> None:
        other = reference("mri", series="1.2.9")
        assert other.series is not None
        for header in other.series.headers:
            header.LossyImageCompression, header.LossyImageCompressionRatio = "01", "12"
        write_dicom(tmp_path, values(), reference(), [other])
        got = read(tmp_path)[0]
        assert (got.LossyImageCompression, got.LossyImageCompressionRatio) == ("01", 12)

    def test_sources_are_named_slice_by_slice(self, tmp_path: Path) -> None:
        fine = oblique((15, 7, 9))
        assert fine.affine is not None
        fine.affine[:3, 0] /= 3
        image, moving = reference(), reference("mri", fine, "1.2.9")
        picture = Image(np.zeros((1, 2, 3, 1), np.uint8), Grid((1, 2, 3)))
        write_dicom(tmp_path, values(), image, [moving, image, picture], "Window soft.")
        for i, got in enumerate(read(tmp_path)):
            uids = [item.ReferencedSOPInstanceUID for item in got.SourceImageSequence]
            assert uids[0] == f"1.2.3.6.{i + 1}"
            numbers = [int(uid.removeprefix("1.2.9.")) for uid in uids[1:]]
            middle = 3 * i + 1  # of three thin slices in a thick one, from 1 on
            assert set(numbers) >= {n for n in range(middle - 1, middle + 2) if 1 <= n <= 15}
            assert all(abs(n - middle) <= 3 for n in numbers)
            item = got.SourceImageSequence[1]
            assert item.ReferencedSOPClassUID == UIDS["mri"]
            assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
            assert "image fusion of CT and MR" in got.DerivationDescription
            assert got.DerivationDescription.endswith(" Window soft.")

    def test_frames_of_a_multi_frame_source_are_numbered(self, tmp_path: Path) -> None:
        write_dicom(tmp_path, values(), reference("enhanced mri"))
        for i, got in enumerate(read(tmp_path)):
            (item,) = got.SourceImageSequence
            assert item.ReferencedSOPInstanceUID == "1.2.3.6.1"
            assert item.ReferencedFrameNumber == i + 1

    def test_headers_with_values_that_are_too_long(self, tmp_path: Path) -> None:
        image = reference()
        assert image.series is not None
        for header in image.series.headers:
            header.file_meta = FileMetaDataset()
            header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            with pytest.warns(UserWarning, match="exceeds the maximum"):
                header.StudyDescription = "x" * 70
            with pytest.warns(UserWarning, match="exceeds the maximum"):
                header.AccessionNumber = "longer than sixteen letters"
        write_dicom(tmp_path, values(), image)  # without a warning, which would be an error here
        with pytest.warns(UserWarning, match="exceeds the maximum"):
            assert read(tmp_path)[0].AccessionNumber == "longer than sixteen letters"
        assert read(tmp_path)[0].StudyDescription == "x" * 64

    def test_conditional_attributes_only_with_a_value_and_their_condition(
        self, tmp_path: Path
    ) -> None:
        image = reference("mri")
        assert image.series is not None
        for header in image.series.headers:
            header.ScanningSequence, header.TriggerTime, header.RepetitionTime = "SE", None, None
        write_dicom(tmp_path, values(), image)
        got = read(tmp_path)[0]
        assert "InversionTime" not in got
        assert "TriggerTime" not in got
        assert got["RepetitionTime"].is_empty

    def test_bare_headers(self, tmp_path: Path) -> None:
        grid = oblique()
        headers = []
        for kind in ("ct", "mri", "pet", "spect"):
            header = Dataset()
            header.SOPClassUID = UIDS[kind]
            headers.append(header)
            image = Image(np.zeros((*SHAPE, 1)), grid, series=DicomSeries((header,) * 5, (1,) * 5))
            write_dicom(tmp_path / kind, values(), image)
            got = read(tmp_path / kind)
            assert len({one.StudyInstanceUID for one in got}) == 1
            assert len({one.FrameOfReferenceUID for one in got}) == 1
            assert list(got[0].SourceImageSequence) == []


class TestColour:
    def test_secondary_capture_with_the_planes_geometry(self, tmp_path: Path) -> None:
        image, rgb = reference("mri"), colours()
        write_dicom(tmp_path, rgb, image)
        assert image.grid.affine is not None
        for i, got in enumerate(read(tmp_path)):
            assert got.SOPClassUID == CAPTURE
            assert (got.Modality, got.ConversionType) == ("OT", "WSD")
            np.testing.assert_array_equal(got.pixel_array, rgb[i])
            place = (LPS @ image.grid.affine @ (i, 0, 0, 1))[:3]
            np.testing.assert_allclose(got.ImagePositionPatient, place, atol=1e-6)
            assert got.SeriesNumber == 2004
            assert "RescaleSlope" not in got
            assert "WindowWidth" not in got

    def test_simpleitk_finds_the_place(self, tmp_path: Path) -> None:
        sitk = pytest.importorskip("SimpleITK")
        image, rgb = reference(), colours()
        got = sitk.ReadImage([str(path) for path in write_dicom(tmp_path, rgb, image)])
        assert image.grid.affine is not None
        x, y, z, _ = LPS @ image.grid.affine @ (4, 6, 1, 1)
        place = got.TransformPhysicalPointToIndex((x, y, z))
        assert place == (1, 6, 4)
        assert got[place] == tuple(rgb[4, 6, 1])


class TestRefusals:
    def test_a_reference_that_is_no_dicom(self, tmp_path: Path) -> None:
        image = Image(np.zeros((*SHAPE, 1)), oblique())
        with pytest.raises(WriteError, match=r"out: DICOM results need .*choose --to nifti"):
            write_dicom(tmp_path / "out", values(), image)
        assert not list(tmp_path.iterdir())

    def test_a_reference_without_a_place(self, tmp_path: Path) -> None:
        image = reference(grid=oblique())
        placeless = Image(image.pixels, Grid(SHAPE), series=image.series)
        with pytest.raises(WriteError, match="has no position"):
            write_dicom(tmp_path, values(), placeless)

    @pytest.mark.parametrize(
        "other",
        [
            np.zeros(SHAPE),
            np.zeros((*SHAPE, 3), np.float32),
            np.zeros((5, 7, 8), np.float32),
            np.zeros((7, 9), np.float32),
        ],
    )
    def test_other_arrays(self, other: NDArray[Any], tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"DICOM takes|the grid is"):
            write_dicom(tmp_path, other, reference())


DCIODVFY = shutil.which("dciodvfy") or ""


@pytest.mark.skipif(not DCIODVFY, reason="dicom3tools is not installed")
class TestStandard:
    @pytest.mark.parametrize("kind", UIDS)
    @pytest.mark.parametrize("is_color", [False, True])
    @pytest.mark.parametrize("part", ["HEAD", "EXTREMITY", ""])
    def test_dciodvfy_finds_no_error(
        self, kind: str, is_color: bool, part: str, tmp_path: Path
    ) -> None:
        image = reference(kind)
        assert image.series is not None
        for header in image.series.headers:
            header.BodyPartExamined = part
        (path, *_) = write_dicom(
            tmp_path, colours() if is_color else values(), image, [reference("mri", series="1.2.9")]
        )
        done = subprocess.run([DCIODVFY, "-new", path], capture_output=True, text=True, check=False)
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
        assert errors == []
