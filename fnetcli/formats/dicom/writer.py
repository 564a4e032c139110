"""Write fused volumes as DICOM: a new series in the reference's study and frame of reference.

Grey keeps the SOP class of a CT, MR or PET reference. An enhanced (multi-frame) reference becomes
the classic class of its modality, one file per slice: every reader supports those, and the
functional groups of an enhanced image describe an acquisition, which a fused image does not have.
Everything else (nuclear medicine, colour) becomes Secondary Capture, one file per slice, positioned
by the attributes of the image plane module. SimpleITK reads those; other readers may ignore them in
this class. Colour may also become one multi-frame file, whose functional groups have the positions
as the standard wants them.

Only the attributes listed below are copied from the reference's headers, module by module (DICOM
PS3.3): those of the patient, the study, and the acquisition as far as the SOP class requires them.
Private tags, overlays, lookup tables, windows and texts of the acquisition are not copied.
ImageType is DERIVED, SECONDARY; for PET, whose class allows nothing else, DERIVED, PRIMARY. UIDs
are computed from the content: equal input gives equal files, different input different UIDs
(PS3.5, B.2).
"""

from __future__ import annotations

import hashlib
import itertools
import uuid
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from fnetcli.errors import ImageError, WriteError
from fnetcli.files.durable import atomic_write
from fnetcli.formats.border import quiet
from fnetcli.imaging.image import DicomSeries, Grid, Image

WHITE = 1000.0  # the value, after rescale, of 1 in [0, 1]: viewers display and step in whole units
HIGHEST = 65535  # the stored one; MR, whose class defines no rescale, stores WHITE itself
# PS3.3, C.11.2.1.2.1: black up to centre - width / 2, white from centre + width / 2 - 1 on.
WINDOW_CENTER, WINDOW_WIDTH = WHITE / 2 + 0.5, WHITE + 1
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from RAS+
PACKAGE = "fnetcli"
DESCRIPTION = "fnet fusion"
SERIES_STEP = 1000  # added to the reference's SeriesNumber; twice for colour
MAX_NUMBER = 2**31 - 1
IMPLEMENTATION = UID("2.25.209731163402926530245173563086216301465")
LONGEST = {"SH": 16, "LO": 64}  # characters (PS3.5, 6.2)
# Two identifiers may become equal if they are cut; too long for the standard, they remain unique.
IDENTIFIERS = frozenset({"PatientID", "IssuerOfPatientID", "StudyID", "AccessionNumber"})
MARGIN = 1.0  # slices on either side that interpolation may use
PER_FRAME = 0x52009230  # the tag of what distinguishes the frames of a multi-frame file
UNKNOWN_DATE, UNKNOWN_TIME = "19000101", "000000"  # where one is required, and unknown
# Purpose of reference (PS3.16, CID 7202).
PURPOSE = ("121322", "DCM", "Source image for image processing operation")

CT, MR, PET = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "4", "128"))
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MULTI_FRAME = f"{SECONDARY_CAPTURE}.4"  # true colour
MAX_BYTES = 2**32 - 2  # of the pixels of one file
CLASSIC = {  # SOP class of the reference: SOP class of the result
    CT: CT,
    f"{CT}.1": CT,  # enhanced
    f"{CT}.2": CT,  # legacy converted enhanced
    MR: MR,
    f"{MR}.1": MR,
    f"{MR}.3": MR,  # enhanced colour
    f"{MR}.4": MR,
    PET: PET,
    f"{PET}.1": PET,  # legacy converted enhanced
    "1.2.840.10008.5.1.4.1.1.130": PET,  # enhanced
}
MODALITIES = {CT: "CT", MR: "MR", PET: "PT", SECONDARY_CAPTURE: "OT"}


def _names(*lines: str) -> tuple[str, ...]:
    return tuple(itertools.chain.from_iterable(line.split() for line in lines))


# --- copied from the reference: patient, study, patient study, frame of reference ----------------
KEPT = _names(
    "SpecificCharacterSet TimezoneOffsetFromUTC LongitudinalTemporalInformationModified",
    "PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex OtherPatientIDsSequence",
    "PatientIdentityRemoved DeidentificationMethod DeidentificationMethodCodeSequence",
    "StudyInstanceUID StudyDate StudyTime ReferringPhysicianName StudyID AccessionNumber",
    "IssuerOfAccessionNumberSequence StudyDescription PatientAge PatientSize PatientWeight",
    "BodyPartExamined Laterality PatientPosition FrameOfReferenceUID PositionReferenceIndicator",
    "BurnedInAnnotation",
)
EMPTY = _names(  # type 2: present, possibly without a value
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName",
    "StudyID AccessionNumber PositionReferenceIndicator",
)
# Laterality is required for all parts of the body but these, empty if unknown (C.7.3.1).
UNPAIRED = _names(
    "ABDOMEN ABDOMENPELVIS AORTA BACK BLADDER BRAIN CEREBELLUM CHEST CHESTABDOMEN CHESTABDPELVIS",
    "CIRCLEOFWILLIS COCCYX COLON CSPINE CTSPINE FACE HEAD HEADNECK HEART ILIUM JAW LIVER LSPINE",
    "LSSPINE MAXILLA MEDIASTINUM NECK NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV PANCREAS PELVIS",
    "PROSTATE SKULL SPINE SPLEEN SSPINE STERNUM STOMACH THYROID TLSPINE TSPINE UTERUS WHOLEBODY",
)
KEPT_OF = {
    CT: ("KVP", "AcquisitionNumber"),
    MR: _names(
        "ScanningSequence SequenceVariant ScanOptions MRAcquisitionType RepetitionTime EchoTime",
        "EchoTrainLength InversionTime TriggerTime MagneticFieldStrength",
    ),
    PET: _names(
        "SeriesDate SeriesTime AcquisitionDate AcquisitionTime CountsSource",
        "CorrectedImage DecayCorrection CollimatorType FrameReferenceTime",
        "ActualFrameDuration DecayFactor ScatterFractionFactor DeadTimeFactor",
        "RadiopharmaceuticalInformationSequence PatientOrientationCodeSequence",
        "PatientGantryRelationshipCodeSequence",
        "RandomsCorrectionMethod AttenuationCorrectionMethod ScatterCorrectionMethod",
    ),
    SECONDARY_CAPTURE: (),
}
# Required by a SOP class if the reference has no value; None: an empty value is enough.
DEMANDED: dict[str, dict[str, object]] = {
    CT: {"KVP": None, "AcquisitionNumber": None, "PatientPosition": None},
    MR: {
        "ScanningSequence": "RM",  # research mode
        "SequenceVariant": "NONE",
        "ScanOptions": None,
        "MRAcquisitionType": None,
        "RepetitionTime": None,
        "EchoTime": None,
        "EchoTrainLength": None,
        "PatientPosition": None,
    },
    PET: {
        "SeriesDate": UNKNOWN_DATE,  # if not even the study has one
        "SeriesTime": UNKNOWN_TIME,
        "AcquisitionDate": None,
        "AcquisitionTime": None,
        "CountsSource": "EMISSION",
        "SeriesType": ["STATIC", "IMAGE"],  # whatever the gates and times of the reference
        "CorrectedImage": None,
        "DecayCorrection": "NONE",
        "CollimatorType": None,
        "FrameReferenceTime": 0,
        "ActualFrameDuration": None,
        "RadiopharmaceuticalInformationSequence": [],
        "PatientOrientationCodeSequence": [],
        "PatientGantryRelationshipCodeSequence": [],
    },
    SECONDARY_CAPTURE: {"PatientOrientation": None},
}


@dataclass(frozen=True)
class _Result:
    """Everything shared by the files of the new series."""

    stored: NDArray[Any]  # uint16 (slices, rows, columns), or uint8 (..., 3)
    reference: Image
    series: DicomSeries
    sources: tuple[Image, ...]
    sop_class: str
    digest: bytes
    description: str
    below: NDArray[np.uint8] | None = None

    @property
    def is_color(self) -> bool:
        return self.stored.ndim == 4

    def uid(self, *of: object) -> str:
        """Return a UID for an object of this result: a UUID as in PS3.5, B.2."""
        found = hashlib.sha256(self.digest + repr(of).encode()).digest()
        return f"2.25.{uuid.UUID(bytes=found[:16], version=5).int}"


def write_dicom(
    folder: Path,
    values: NDArray[Any],
    reference: Image,
    sources: Sequence[Image] = (),
    derivation: str = "",
    below: NDArray[np.uint8] | None = None,
    *,
    is_multi_frame: bool = False,
) -> list[Path]:
    """Write a fused volume as a series of files 0001.dcm, 0002.dcm, ... in a folder; create it.

    `values` is float32 in [0, 1], (slices, height, width[, 1]), or uint8 (..., 3), on the grid of
    `reference`, an image as read from DICOM. `sources` are the fused volumes, in their position on
    it; those from DICOM, and the reference, are referenced as sources, slice by slice, as far as
    they overlap it. `derivation` is added to the derivation description, in ASCII. `below`, (rows,
    width, 3), is put below every slice in colour, outside of the grid. With `is_multi_frame`,
    colour is one file, 0001.dcm. Grey is stored in 16 bits; its rescaled values are WHITE times
    those in [0, 1]. MR has no rescale, which its class does not define and many viewers ignore: it
    is stored as these values, rounded.

    Every file is written completely or not at all. Raise WriteError if the reference is not from
    DICOM or has no position, ImageError for NaN and infinity, what `atomic_write` raises, and
    ValueError for other arrays.
    """
    if reference.series is None:
        raise WriteError(
            f"{folder}: DICOM results need a reference from DICOM (for patient and study); choose "
            "--to nifti, or the other volume with --reference"
        )
    if reference.grid.affine is None:
        raise WriteError(f"{folder}: the reference has no position in the patient; choose --to png")
    sop_class = _sop_class(reference.series, is_color=values.dtype == np.uint8)
    highest = round(WHITE) if sop_class == MR else HIGHEST
    stored = _stored(values, reference.grid, highest)
    paths = []
    with quiet:
        result = _result(
            *(stored, sop_class, reference, reference.series, tuple(sources), derivation), below
        )
        is_one = is_multi_frame and result.is_color
        for index in range(1 if is_one else reference.grid.shape[0]):
            path = folder / f"{index + 1:04d}.dcm"
            content = _encoded(path, result, None if is_one else index)
            atomic_write(path, lambda file, content=content: file.write(content))  # type: ignore[misc]
            paths.append(path)
    return paths


def _sop_class(series: DicomSeries, *, is_color: bool) -> str:
    found = CLASSIC.get(str(series.headers[0].get("SOPClassUID", "")), SECONDARY_CAPTURE)
    return SECONDARY_CAPTURE if is_color else found


def _stored(values: NDArray[Any], grid: Grid, highest: int) -> NDArray[Any]:
    planes = values[..., 0] if values.ndim == 4 and values.shape[3] == 1 else values
    is_color = planes.ndim == 4 and planes.shape[3] == 3
    if planes.dtype != (np.uint8 if is_color else np.float32) or not (is_color or planes.ndim == 3):
        raise ValueError(
            "DICOM takes float32 (slices, H, W[, 1]) or uint8 (slices, H, W, 3), "
            f"not {values.dtype} {values.shape}"
        )
    if planes.shape[:3] != grid.shape:
        raise ValueError(f"values are {planes.shape[:3]}, the grid is {grid.shape}")
    if is_color:
        return planes
    stored = np.empty(planes.shape, np.uint16)
    for i, plane in enumerate(planes):
        if not np.isfinite(plane).all():
            raise ImageError("the result holds NaN or infinity; check the weights and the input")
        stored[i] = np.rint(np.clip(plane, 0, 1) * np.float32(highest))
    return stored


def _result(
    stored: NDArray[Any],
    sop_class: str,
    reference: Image,
    series: DicomSeries,
    sources: tuple[Image, ...],
    derivation: str,
    below: NDArray[np.uint8] | None,
) -> _Result:
    others = tuple(one for one in sources if one.series is not series)
    digest = hashlib.sha256(np.ascontiguousarray(stored).data)
    for image in (reference, *others):
        for header in () if image.series is None else image.series.headers:
            digest.update(str(header.get("SOPInstanceUID", "")).encode())
    kinds = [
        str(image.series.headers[0].get("Modality", "")) or "image"
        for image in (reference, *others)
        if image.series is not None
    ]
    text = (
        f"fnet {version(PACKAGE)}: image fusion of {' and '.join(kinds)}, computed for "
        f"research; values are not those of the sources. {derivation}"
    )
    description = text.encode("ascii", "replace").decode().strip()[:1024]
    digest.update(description.encode())
    if below is not None:
        digest.update(below.tobytes())
    return _Result(
        *(stored, reference, series, others, sop_class, digest.digest(), description), below
    )


def _encoded(path: Path, result: _Result, index: int | None) -> bytes:
    """Return the file of a slice, or of all; raise WriteError, which quotes nothing."""
    buffer = BytesIO()
    if index is None and len(result.stored) * _frame(result, 0).nbytes > MAX_BYTES:
        raise WriteError(
            f"{path}: more than 4 GiB do not fit into one file; leave --multi-frame out"
        )
    try:
        made = _multi_frame(result) if index is None else _slice(result, index)
        pydicom.dcmwrite(buffer, made, enforce_file_format=True)
    except Exception:  # noqa: BLE001 - pydicom raises anything, and quotes the patient's data
        raise WriteError(
            f"{path}: the reference's header holds impossible values that cannot be copied; choose "
            "--to nifti"
        ) from None
    return buffer.getvalue()


# --- one file -------------------------------------------------------------------------------------


def _slice(result: _Result, index: int) -> Dataset:
    made = _kept(result.series.headers[index], result.sop_class)
    _describe(made, result, index)
    _place(made, result, index)
    _put_pixels(made, result, index)
    return _with_meta(made)


def _with_meta(made: Dataset) -> Dataset:
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.ImplementationClassUID = IMPLEMENTATION
    made.file_meta.ImplementationVersionName = "FNET"
    return made


def _kept(source: Dataset, sop_class: str) -> Dataset:
    """Return the copied attributes of a header, and required ones with empty or neutral values."""
    made = Dataset()
    _keep(made, source, (*KEPT, *KEPT_OF[sop_class]))
    if made.get("BurnedInAnnotation") != "YES":  # nobody has checked that there is none
        made.pop("BurnedInAnnotation", None)
    if made.get("BodyPartExamined", "") in UNPAIRED:
        made.pop("Laterality", None)
    elif "Laterality" not in made:
        made.Laterality = None
    if "IR" not in (made.get("ScanningSequence") or ()):
        made.pop("InversionTime", None)
    demanded: dict[str, object] = dict.fromkeys(EMPTY) | DEMANDED[sop_class]
    if sop_class == PET:
        made.pop("PatientPosition", None)  # given by codes, and must not be given twice (C.7.3.1)
        if made.get("StudyDate") and "SeriesDate" not in made:
            demanded["SeriesDate"] = made.StudyDate
    for keyword, value in demanded.items():
        if keyword not in made:
            setattr(made, keyword, value)
    return made


def _keep(made: Dataset, source: Dataset, keywords: Sequence[str]) -> None:
    """Copy attributes that have a value; cut descriptions that are too long for their type."""
    for keyword in keywords:
        if keyword not in source or source[keyword].is_empty:
            continue
        element = copy(source[keyword])
        if element.VR == "SQ":
            setattr(made, keyword, [_without_private(item) for item in element.value])
            continue
        most = None if keyword in IDENTIFIERS else LONGEST.get(element.VR)
        if most is not None and isinstance(element.value, str) and len(element.value) > most:
            element.value = element.value[:most]
        made.add(element)


def _without_private(item: Dataset) -> Dataset:
    copied = Dataset()
    for element in item:
        if element.tag.is_private:
            continue
        if element.VR == "SQ":
            copied.add_new(element.tag, "SQ", [_without_private(one) for one in element.value])
        else:
            copied.add(copy(element))
    return copied


def _describe(made: Dataset, result: _Result, index: int) -> None:
    made.SOPClassUID = UID(result.sop_class)
    made.SOPInstanceUID = UID(result.uid("instance", index))
    made.SeriesInstanceUID = UID(result.uid("series"))
    made.Modality = MODALITIES[result.sop_class]
    made.ImageType = ["DERIVED", "SECONDARY"]
    if result.sop_class == CT:
        made.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]  # the third value: not a localiser
    elif result.sop_class == MR:
        made.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    elif result.sop_class == PET:
        made.ImageType = ["DERIVED", "PRIMARY"]  # PET allows no other second value
        made.Units = "NONE"
        made.NumberOfSlices = len(result.series.headers)
        made.ImageIndex = index + 1
    else:
        made.ConversionType = "WSD"  # workstation
    made.SeriesDescription = DESCRIPTION
    made.SeriesNumber = _series_number(result)
    made.InstanceNumber = index + 1
    made.Manufacturer = made.ManufacturerModelName = "fnet"
    made.SoftwareVersions = version(PACKAGE)
    made.DerivationDescription = result.description
    made.SourceImageSequence = _sources(result, index)
    if "StudyInstanceUID" not in made:
        made.StudyInstanceUID = result.uid("study")
    if "FrameOfReferenceUID" not in made:
        made.FrameOfReferenceUID = result.uid("frame of reference")
    _tell_losses(made, result)


def _series_number(result: _Result) -> int | None:
    try:
        number = int(result.series.headers[0].get("SeriesNumber") or 0)
    except (TypeError, ValueError):
        number = 0
    number += SERIES_STEP * (2 if result.is_color else 1)
    return number if 0 < number <= MAX_NUMBER else None


def _tell_losses(made: Dataset, result: _Result) -> None:
    """Record that a source was compressed with losses (PS3.3, C.7.6.1.1.5)."""
    names = "LossyImageCompressionRatio", "LossyImageCompressionMethod"
    for image in (result.reference, *result.sources):
        header = None if image.series is None else image.series.headers[0]
        if header is not None and header.get("LossyImageCompression") == "01":
            made.LossyImageCompression = "01"
            _keep(made, header, names)
            return


def _place(made: Dataset, result: _Result, index: int) -> None:
    """Record the position of the slice (PS3.3, C.7.6.2), to the precision of 16 characters."""
    affine = result.reference.grid.affine
    assert affine is not None  # noqa: S101 - seen to by write_dicom
    there = LPS @ affine
    lengths = np.linalg.norm(there[:3, :3], axis=0)
    along, down = there[:3, 2] / lengths[2], there[:3, 1] / lengths[1]
    position = (there @ (index, 0, 0, 1))[:3]
    made.ImagePositionPatient = _decimals(position)
    made.ImageOrientationPatient = _decimals([*along, *down])
    made.PixelSpacing = _decimals(lengths[[1, 2]])
    distance = abs(float(np.cross(along, down) @ there[:3, 0]))
    thickness = result.series.headers[index].get("SliceThickness") or distance
    made.SliceThickness = _decimals([float(thickness)])[0]
    if result.sop_class in {MR, SECONDARY_CAPTURE}:
        made.SpacingBetweenSlices = _decimals([distance])[0]


def _decimals(values: Any) -> list[str]:
    rounded = (round(float(value), 9) + 0.0 for value in values)  # no -0
    return [format_number_as_ds(value) for value in rounded]


def _frame(result: _Result, index: int) -> NDArray[Any]:
    """Return the stored numbers of a slice, with what is put below it."""
    plane: NDArray[Any] = result.stored[index]
    if result.is_color and result.below is not None:
        plane = np.vstack([plane, result.below])
    return plane


def _put_pixels(made: Dataset, result: _Result, index: int) -> None:
    plane = _frame(result, index)
    made.Rows, made.Columns = plane.shape[:2]
    made.PixelRepresentation = 0
    if result.is_color:
        made.SamplesPerPixel, made.PlanarConfiguration = 3, 0
        made.PhotometricInterpretation = "RGB"
        made.BitsAllocated = made.BitsStored = 8
        made.HighBit = 7
        content = plane.tobytes()
        made.add_new("PixelData", "OB", content + b"\0" * (len(content) % 2))
        return
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit = 15
    if result.sop_class != MR:
        made.RescaleIntercept = 0
        made.RescaleSlope = format_number_as_ds(WHITE / HIGHEST)
        if result.sop_class != PET:
            made.RescaleType = "US"  # unspecified: not HU
    made.WindowCenter, made.WindowWidth = str(WINDOW_CENTER), str(WINDOW_WIDTH)
    made.add_new("PixelData", "OW", plane.astype("<u2", copy=False).tobytes())


# --- all slices in one file -----------------------------------------------------------------------


def _multi_frame(result: _Result) -> Dataset:
    """Return all slices as a Multi-frame True Color Secondary Capture (PS3.3, A.8.5)."""
    made = _slice(result, 0)
    made.SOPClassUID = UID(MULTI_FRAME)
    made.SOPInstanceUID = UID(result.uid("multi-frame"))
    made.ImageType = ["DERIVED", "SECONDARY"]
    if "BurnedInAnnotation" not in made:  # required here; scanners' pixels name nobody
        made.BurnedInAnnotation = "YES" if _may_name_patient(result) else "NO"
    count = len(result.stored)
    places = []
    for index in range(count):
        one = Dataset()
        _place(one, result, index)
        places.append(one)
    first = places[0]
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    for keyword in ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"):
        setattr(measures, keyword, first[keyword].value)
        made.pop(keyword, None)
    orientation.ImageOrientationPatient = first.ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    made.SharedFunctionalGroupsSequence = [shared]
    made.pop("ImagePositionPatient", None)
    made.pop("ImageOrientationPatient", None)
    made.PerFrameFunctionalGroupsSequence = [_frame_groups(place) for place in places]
    made.ContentDate = made.get("StudyDate") or UNKNOWN_DATE
    made.ContentTime = made.get("StudyTime") or UNKNOWN_TIME
    made.SourceImageSequence = [
        item
        for image in (result.reference, *result.sources)
        if image.series is not None
        for item in _referenced(image.series, range(len(image.series.headers)))
    ]
    made.NumberOfFrames = count
    made.FrameIncrementPointer = PER_FRAME
    content = b"".join(_frame(result, index).tobytes() for index in range(count))
    made.add_new("PixelData", "OB", content + b"\0" * (len(content) % 2))
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def _frame_groups(place: Dataset) -> Dataset:
    groups, position = Dataset(), Dataset()
    position.ImagePositionPatient = place.ImagePositionPatient
    groups.PlanePositionSequence = [position]
    return groups


def _may_name_patient(result: _Result) -> bool:
    """Whether a source is a capture, whose pixels may hold anything."""
    images = (result.reference, *result.sources)
    headers = (image.series.headers[0] for image in images if image.series is not None)
    return any(
        str(header.get("SOPClassUID", "")).startswith(SECONDARY_CAPTURE)
        and header.get("BurnedInAnnotation") != "NO"
        for header in headers
    )


# --- sources --------------------------------------------------------------------------------------


def _sources(result: _Result, index: int) -> list[Dataset]:
    """Return references to the source images of a slice (PS3.3, C.7.6.1.1.4), each file once."""
    found = _referenced(result.series, [index])
    for image in result.sources:
        if image.series is not None and image.grid.affine is not None:
            found += _referenced(image.series, _reached(result.reference.grid, image.grid, index))
    return found


def _reached(reference: Grid, moving: Grid, index: int) -> list[int]:
    """Return the slices of a moving volume that may contribute to a slice of the reference."""
    if reference.affine is None or moving.affine is None:
        return []
    way = np.linalg.solve(moving.affine, reference.affine)
    sides = [(-0.5, size - 0.5) for size in reference.shape[1:]]
    corners = [*itertools.product((index - 0.5, index + 0.5), *sides)]
    places = way[0] @ np.array([(*corner, 1) for corner in corners]).T
    first, last = places.min() - MARGIN, places.max() + MARGIN
    return list(range(max(0, int(np.ceil(first))), min(moving.shape[0], int(np.floor(last)) + 1)))


def _referenced(series: DicomSeries, slices: Sequence[int]) -> list[Dataset]:
    frames: dict[tuple[str, str], list[int]] = {}
    for i in slices:
        header = series.headers[i]
        uid, sop_class = (str(header.get(f"SOP{name}UID", "")) for name in ("Instance", "Class"))
        if uid:
            numbers = frames.setdefault((uid, sop_class), [])
            if int(header.get("NumberOfFrames") or 1) > 1:
                numbers.append(series.frames[i])
    return [_item(uid, sop_class, numbers) for (uid, sop_class), numbers in frames.items()]


def _item(uid: str, sop_class: str, frames: list[int]) -> Dataset:
    item, purpose = Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    if frames:
        item.ReferencedFrameNumber = sorted(frames)
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = PURPOSE
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item
