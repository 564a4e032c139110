"""Volumes as files, made as needed: phantoms of known geometry as DICOM and NIfTI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import DSfloat

from fnetcli.imaging.image import Image

Matrix = NDArray[np.float64]
Volume = NDArray[Any]  # (slices, rows, columns), or with colours

STORAGE = "1.2.840.10008.5.1.4.1.1."
CLASSES = {
    "CT": f"{STORAGE}2",
    "MR": f"{STORAGE}4",
    "PT": f"{STORAGE}128",
    "NM": f"{STORAGE}20",
    "OT": f"{STORAGE}7",
    "CR": f"{STORAGE}1",
}
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# What must never be seen outside of DICOM files.
PATIENT = {
    "PatientName": "Zzyzxname^Quentin",
    "PatientID": "ZZYZX-ID-4711",
    "PatientBirthDate": "19011231",
    "AccessionNumber": "ZZYZXACC",
    "InstitutionName": "Zzyzx Clinic",
    "StudyDescription": "Zzyzx study",
}


def rotation(degrees: Sequence[float]) -> Matrix:
    """Return 3x3 that turns around x, then y, then z."""
    found = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        turn = np.eye(3)
        i, j = [one for one in range(3) if one != axis]
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        found = turn @ found
    return found


def affine(
    steps: Matrix | Sequence[Sequence[float]],
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    origin: Sequence[float] = (0.0, 0.0, 0.0),
) -> Matrix:
    """Return (slice, row, column) -> RAS+: columns of `steps` are unit vectors."""
    found = np.eye(4)
    found[:3, :3] = np.asarray(steps) * np.asarray(spacing)
    found[:3, 3] = origin
    return found


AXIAL = np.array([[0.0, 0, -1], [0, -1, 0], [1, 0, 0]])  # slices to the head, rows to the back
SAGITTAL = np.array([[1.0, 0, 0], [0, 0, -1], [0, -1, 0]])
CORONAL = np.array([[0.0, 0, -1], [-1, 0, 0], [0, -1, 0]])
GRIDS: dict[str, Matrix] = {
    "axial": affine(AXIAL, (3.0, 0.8, 0.8), (40.0, 50.0, -600.0)),
    "anisotropic": affine(AXIAL, (5.0, 0.7, 1.3), (-7.5, 3.25, 11.0)),
    "sagittal": affine(SAGITTAL, (2.0, 1.0, 1.0), (-30.0, 80.0, 90.0)),
    "coronal": affine(CORONAL, (2.5, 1.0, 1.0), (90.0, 60.0, 70.0)),
    "oblique": affine(rotation((20, -35, 50)) @ AXIAL, (2.2, 0.9, 1.1), (5.0, -12.0, 33.0)),
    "upside down": affine(AXIAL @ np.diag([1, -1, -1]), (3.0, 0.8, 0.8), (-40.0, -50.0, 9.0)),
    "slices to the feet": affine(AXIAL @ np.diag([-1, 1, 1]), (3.0, 0.8, 0.8), (40.0, 50.0, 9.0)),
}


def phantom(shape: tuple[int, int, int] = (5, 7, 6), seed: int = 0) -> NDArray[np.int16]:
    """Return a volume that no flip and no exchange of axes maps onto itself."""
    return np.random.default_rng(seed).permutation(np.prod(shape)).reshape(shape).astype(np.int16)


def world(matrix: Matrix | None, index: Sequence[float]) -> Matrix:
    """Return where an index lies, in millimetres."""
    assert matrix is not None
    found: Matrix = (matrix @ [*index, 1.0])[:3]
    return found


def assert_same_in_space(image: Image, pixels: Volume, matrix: Matrix) -> None:
    """Compare voxel by voxel where they lie, whatever the order of indices."""
    assert image.grid.affine is not None
    assert image.grid.shape == image.pixels.shape[:3]
    between = np.linalg.inv(matrix) @ image.grid.affine
    np.testing.assert_allclose(between, np.rint(between), atol=1e-4)
    indices = np.moveaxis(np.indices(image.grid.shape), 0, -1).reshape(-1, 3)
    there = np.rint(indices @ between[:3, :3].T + between[:3, 3]).astype(int)
    assert pixels.size // (3 if pixels.ndim == 4 else 1) == len(there)
    found = image.pixels.reshape(len(there), -1)
    np.testing.assert_array_equal(found, pixels[tuple(there.T)].reshape(len(there), -1))


# --- DICOM ----------------------------------------------------------------------------------------


def decimal(value: float) -> DSfloat:
    return DSfloat(float(value), auto_format=True)


def decimals(values: Sequence[float] | Matrix) -> list[DSfloat]:
    return [decimal(one) for one in values]


def new_header(
    modality: str, syntax: str = ExplicitVRLittleEndian, **attributes: Any
) -> FileDataset:
    """Return a header with a patient, a study and a series, without geometry and pixels."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(attributes.get("SOPClassUID", CLASSES[modality]))
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = UID(syntax)
    header = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID = meta.MediaStorageSOPClassUID
    header.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    header.Modality = modality
    header.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    header.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.2"
    header.FrameOfReferenceUID = "1.2.826.0.1.3680043.8.498.3"
    header.SeriesNumber = 1
    header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    rescale = {"RescaleSlope": 1, "RescaleIntercept": 0} if modality == "CT" else {}
    for keyword, value in {**PATIENT, **rescale, **attributes}.items():
        setattr(header, keyword, value)
    return header


def set_pixels(header: Dataset, pixels: Volume, *, bits: int | None = None) -> None:
    """Put in pixels (rows, columns[, 3]), of several frames with an axis before."""
    is_color = pixels.shape[-1] == 3 and pixels.ndim > 2
    rows, columns = pixels.shape[-3:-1] if is_color else pixels.shape[-2:]
    header.Rows, header.Columns = rows, columns
    header.SamplesPerPixel = 3 if is_color else 1
    if is_color:
        header.PlanarConfiguration = 0
    if "PhotometricInterpretation" not in header:
        header.PhotometricInterpretation = "RGB" if is_color else "MONOCHROME2"
    header.BitsAllocated = 8 * pixels.dtype.itemsize
    header.BitsStored = bits or header.BitsAllocated
    header.HighBit = header.BitsStored - 1
    header.PixelRepresentation = int(pixels.dtype.kind == "i")
    content = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    header.PixelData = content + b"\0" * (len(content) % 2)
    header["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"


def orientation(matrix: Matrix) -> list[DSfloat]:
    lps = (LPS @ matrix)[:3]
    return decimals(np.concatenate([lps[:, i] / np.linalg.norm(lps[:, i]) for i in (2, 1)]))


def position(matrix: Matrix, index: int) -> list[DSfloat]:
    return decimals(world(LPS @ matrix, (index, 0, 0)))


def spacing(matrix: Matrix) -> list[float]:
    """Return the distances of slices, rows and columns."""
    return [float(one) for one in np.linalg.norm(matrix[:3, :3], axis=0)]


def slices(
    pixels: Volume,
    matrix: Matrix,
    modality: str = "MR",
    *,
    bits: int | None = None,
    **attributes: Any,
) -> list[FileDataset]:
    """Return a classic series, one header with pixels a slice, in the order of the array."""
    found = []
    for index, plane in enumerate(pixels):
        header = new_header(modality, **attributes)
        header.ImageOrientationPatient = orientation(matrix)
        header.ImagePositionPatient = position(matrix, index)
        header.PixelSpacing = decimals(spacing(matrix)[1:])
        header.SliceThickness = decimal(spacing(matrix)[0])
        header.InstanceNumber = index + 1
        set_pixels(header, plane, bits=bits)
        found.append(header)
    return found


def save(headers: Sequence[FileDataset], folder: Path, pattern: str = "IM{:04d}") -> Path:
    """Write headers as files, and return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, header in enumerate(headers):
        save_one(header, folder / pattern.format(index))
    return folder


def write_series(
    folder: Path,
    pixels: Volume,
    matrix: Matrix,
    modality: str = "MR",
    change: Callable[[int, FileDataset], None] | None = None,
    **attributes: Any,
) -> Path:
    """Write a classic series; `change` may alter each header."""
    headers = slices(pixels, matrix, modality, **attributes)
    for index, header in enumerate(headers):
        if change is not None:
            change(index, header)
    return save(headers, folder)


def item(**attributes: Any) -> Dataset:
    found = Dataset()
    for keyword, value in attributes.items():
        setattr(found, keyword, value)
    return found


def enhanced(
    pixels: Volume,
    matrix: Matrix,
    order: Sequence[int] | None = None,
    slopes: Sequence[float] | None = None,
    **attributes: Any,
) -> FileDataset:
    """Return an enhanced multi-frame MR; frame n holds slice order[n]."""
    order = list(range(len(pixels))) if order is None else list(order)
    header = new_header("MR", SOPClassUID=f"{STORAGE}4.1", **attributes)
    header.NumberOfFrames = len(order)
    set_pixels(header, pixels[order])
    header.SharedFunctionalGroupsSequence = Items(
        [
            item(
                PlaneOrientationSequence=Items([item(ImageOrientationPatient=orientation(matrix))]),
                PixelMeasuresSequence=Items(
                    [
                        item(
                            PixelSpacing=decimals(spacing(matrix)[1:]),
                            SliceThickness=decimal(spacing(matrix)[0]),
                        )
                    ]
                ),
            )
        ]
    )
    groups = []
    for frame, index in enumerate(order):
        group = item(
            PlanePositionSequence=Items([item(ImagePositionPatient=position(matrix, index))])
        )
        if slopes is not None:
            group.PixelValueTransformationSequence = Items(
                [item(RescaleSlope=decimal(slopes[frame]), RescaleIntercept=0, RescaleType="US")]
            )
        groups.append(group)
    header.PerFrameFunctionalGroupsSequence = Items(groups)
    return header


def nuclear(pixels: Volume, matrix: Matrix, **attributes: Any) -> FileDataset:
    """Return a reconstructed SPECT: frames that lie behind each other from the first one on."""
    header = new_header("NM", **attributes)
    header.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    header.NumberOfFrames = len(pixels)
    set_pixels(header, pixels)
    header.PixelSpacing = decimals(spacing(matrix)[1:])
    lps = (LPS @ matrix)[:3, :3]
    normal = np.cross(lps[:, 2], lps[:, 1])
    header.SpacingBetweenSlices = decimal(float(np.sign(normal @ lps[:, 0])) * spacing(matrix)[0])
    header.SliceVector = list(range(1, len(pixels) + 1))
    header.DetectorInformationSequence = Items(
        [
            item(
                ImageOrientationPatient=orientation(matrix),
                ImagePositionPatient=position(matrix, 0),
            )
        ]
    )
    return header


def save_one(header: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, header, enforce_file_format=True)
    return path


# --- NIfTI ----------------------------------------------------------------------------------------


def to_nifti(pixels: Volume, matrix: Matrix, kind: Any = nib.Nifti1Image) -> Any:
    """Return a NIfTI image; its third axis are our slices, its second rows, its first columns."""
    turned = np.moveaxis(pixels, (0, 1, 2), (2, 1, 0))
    image = kind(turned, matrix @ np.eye(4)[[2, 1, 0, 3]])
    image.header.set_xyzt_units("mm")
    image.set_sform(image.affine, 1)
    try:
        image.set_qform(image.affine, 1)
    except nib.spatialimages.HeaderDataError:  # sheared
        image.set_qform(None, 0)
    return image


def load_nifti(path: Path) -> Any:
    """Return what nibabel makes of a file."""
    return nib.load(path)


def write_nifti(path: Path, pixels: Volume, matrix: Matrix, kind: Any = nib.Nifti1Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(to_nifti(pixels, matrix, kind), path)
    return path
