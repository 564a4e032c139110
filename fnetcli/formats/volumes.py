"""Read volumes in any format: a folder of DICOM slices, a DICOM file, or NIfTI."""

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
    """Which volume of a path to read, and how much at most.

    `series` chooses a DICOM series by UID, SeriesNumber or description, `volume` a volume of a 4-D
    NIfTI file, counted from 1. `pixel_limit` counts all voxels of a volume.
    """

    series: str | None = None
    volume: int | None = None
    pixel_limit: int = 500_000_000


DEFAULT_OPTIONS = VolumeOptions()


def is_volume_file(path: Path) -> bool:
    """Whether a file holds a volume or a slice, by its content, or by a name such as x.nii."""
    if not path.is_file():
        return False
    is_named = is_named_nifti(path) or is_named_dicom(path)
    return is_named or is_dicom_file(path) or is_nifti_file(path)


def is_volume(path: Path) -> bool:
    """Whether a path is a volume file or a folder with one, for `read_volume` to read or refuse.

    Folders are searched with their sub-folders, up to the first DICOM file.
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
    """Read one volume; raise ReadError, with one line for the user, if it cannot be read.

    Pixels are values after rescale, in the image's `unit`; the grid's affine maps (slice, row,
    column) to millimetres (RAS+), or is None if the file has no position. Slices are those of the
    file: DICOM's along their normal, NIfTI's k.
    """
    if not path.is_dir():
        with opened(path, "file"):
            pass  # missing files, pipes and empty files are refused below
    is_nifti = not path.is_dir() and (is_named_nifti(path) or is_nifti_file(path))
    if is_nifti:
        if options.series is not None:
            raise ReadError(f"{path}: NIfTI has no series; leave out --series, or give DICOM files")
        return read_nifti(path, options.volume, options.pixel_limit)
    if path.is_file() and path.name.upper() == DIRECTORY:
        raise ReadError(f"{path}: a DICOMDIR, not an image; give its folder")
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
