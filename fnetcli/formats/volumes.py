"""Volumes, whatever they are kept in: a folder of DICOM slices, a DICOM file, or NIfTI."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fnetcli.errors import ReadError
from fnetcli.formats.base import COPY_AGAIN
from fnetcli.formats.border import opened
from fnetcli.formats.dicom import dicom_files, is_dicom_file, is_named_dicom, read_dicom
from fnetcli.formats.dicom.files import DIRECTORY, MAX_FILES, MISNAMED, search
from fnetcli.formats.nifti.reader import is_named_nifti, is_nifti_file, nifti_files, read_nifti
from fnetcli.imaging.image import Image


@dataclass(frozen=True)
class VolumeOptions:
    """What to read where a path holds several volumes, and how much at most.

    `series` chooses a DICOM series by UID, SeriesNumber or description, `volume` one of a 4-D NIfTI
    file, from 1 on. `pixel_limit` counts all voxels of a volume.
    """

    series: str | None = None
    volume: int | None = None
    pixel_limit: int = 500_000_000


DEFAULT_OPTIONS = VolumeOptions()


def is_volume_file(path: Path) -> bool:
    """Whether a file holds a volume, or a slice of one: by its content, or by a name as .nii."""
    if not path.is_file():
        return False
    is_named = is_named_nifti(path) or is_named_dicom(path)
    return is_named or is_dicom_file(path) or is_nifti_file(path)


def is_volume(path: Path) -> bool:
    """Whether `read_volume` has something to read, or to refuse by name: a file, or one below.

    Folders are searched with the folders in them, up to the first DICOM file.
    """
    try:
        if path.is_dir():
            return any(holds_dicom for _, holds_dicom in islice(search(path), MAX_FILES))
        return is_volume_file(path)
    except ReadError:
        return True
    except (OSError, ValueError):
        return False


def read_volume(path: Path, options: VolumeOptions = DEFAULT_OPTIONS) -> Image:
    """Read one volume; raise ReadError, with one line for the user, for whatever cannot be read.

    Pixels are the numbers that are meant, after rescale and in the `unit` that the image names; the
    grid's affine maps (slice, row, column) to millimetres (RAS+), or is None where the file does
    not say where it lies. Slices are those of the file: DICOM's along their normal, NIfTI's k.
    """
    if not path.is_dir():
        with opened(path, "file"):
            pass  # a path of nothing, of a pipe, of an empty file is refused as such
    is_nifti = not path.is_dir() and (is_named_nifti(path) or is_nifti_file(path))
    if is_nifti:
        if options.series is not None:
            raise ReadError(f"{path}: NIfTI has no series; leave --series out, or name DICOM")
        return read_nifti(path, options.volume, options.pixel_limit)
    if path.is_file() and path.name.upper() == DIRECTORY:
        raise ReadError(f"{path}: a directory of DICOM files, not an image; name its folder")
    if not (path.is_dir() or is_dicom_file(path)):
        if is_named_dicom(path):
            raise ReadError(f"{path}: {MISNAMED}; {COPY_AGAIN}")
        raise ReadError(f"{path}: not a volume (DICOM, NIfTI); convert it to NIfTI")
    if options.volume is not None:
        raise ReadError(f"{path}: DICOM has series, not numbered volumes; use --series")
    return read_dicom(path, options.series, options.pixel_limit)


def volume_files(path: Path) -> tuple[Path, ...]:
    """Return the files that a volume's content depends on, in order; raise ReadError."""
    return tuple(dicom_files(path)) if path.is_dir() else nifti_files(path)
