"""Read volumes in any format: DICOM, also zipped, NIfTI, NRRD, MetaImage, FreeSurfer's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fnetcli.errors import ReadError
from fnetcli.files.guarded import RefusedError, open_ordinary
from fnetcli.formats.archive import is_zip_file, read_zip
from fnetcli.formats.base import COPY_AGAIN
from fnetcli.formats.border import opened, reading
from fnetcli.formats.dicom import dicom_files, is_dicom_file, is_named_dicom, read_dicom
from fnetcli.formats.dicom.files import DIRECTORY, MAX_FILES, MISNAMED, search
from fnetcli.formats.metaimage import is_metaimage, metaimage_files, read_metaimage
from fnetcli.formats.mgh import read_mgh
from fnetcli.formats.nifti.reader import SUFFIXES as NIFTI_SUFFIXES
from fnetcli.formats.nifti.reader import is_named_nifti, is_nifti_file, nifti_files, read_nifti
from fnetcli.formats.nrrd import is_nrrd, nrrd_files, read_nrrd
from fnetcli.imaging.image import Image

HEAD_BYTES = 4096


@dataclass(frozen=True)
class VolumeOptions:
    """Which volume of a path to read, and how much at most.

    `series` chooses a DICOM series by UID, SeriesNumber or description, `volume` a volume of a 4-D
    file or series, counted from 1. `pixel_limit` counts all voxels of a volume.
    """

    series: str | None = None
    volume: int | None = None
    pixel_limit: int = 500_000_000
    refuses_uneven: bool = False  # DICOM slices of uneven spacing, which are resampled otherwise
    modality: str | None = None  # as in DICOM: without `series`, its only series is chosen


@dataclass(frozen=True)
class VolumeFormat:
    """One kind of file that holds a volume of its own.

    `is_named` tells by the name that a file claims to be one, `starts` by its first bytes (None:
    only the name tells). `read` takes number of the volume and limit of voxels.
    """

    name: str
    suffixes: tuple[str, ...]
    starts: Callable[[bytes], bool] | None
    read: Callable[[Path, int | None, int], Image]
    files: Callable[[Path], tuple[Path, ...]]

    def holds(self, path: Path) -> bool:
        """Whether a file is of this kind."""
        return path.name.lower().endswith(self.suffixes) or (
            self.starts is not None and self.starts(_head(path))
        )


def _head(path: Path) -> bytes:
    try:
        with open_ordinary(path) as file:
            return file.read(HEAD_BYTES)
    except (OSError, RefusedError):
        return b""


FIELDS = (  # NIfTI, whose files come in pairs, and DICOM, whose come in folders, stand apart
    VolumeFormat("NRRD", (".nrrd", ".nhdr"), is_nrrd, read_nrrd, nrrd_files),
    VolumeFormat("MetaImage", (".mha", ".mhd"), is_metaimage, read_metaimage, metaimage_files),
    VolumeFormat("FreeSurfer", (".mgz", ".mgh"), None, read_mgh, lambda path: (path,)),
)
FIELD_SUFFIXES = tuple(suffix for one in FIELDS for suffix in one.suffixes)
# Of files that are volumes of their own by their name; longer ones first.
VOLUME_SUFFIXES = tuple(sorted((*NIFTI_SUFFIXES, *FIELD_SUFFIXES, ".zip"), key=len, reverse=True))
KINDS = "DICOM, NIfTI, NRRD, MetaImage, MGZ"


DEFAULT_OPTIONS = VolumeOptions()


def is_volume_file(path: Path) -> bool:
    """Whether a file holds a volume or a slice, by its content, or by a name such as x.nii."""
    if not path.is_file():
        return False
    is_named = is_named_nifti(path) or is_named_dicom(path) or is_zip_file(path)
    is_known = is_named or _field(path) is not None
    return is_known or is_dicom_file(path) or is_nifti_file(path)


def _field(path: Path) -> VolumeFormat | None:
    return next((one for one in FIELDS if one.holds(path)), None)


def without_directory(path: Path) -> Path:
    """Return the folder that a DICOMDIR lists, any other path as it is."""
    try:
        is_directory = path.name.upper() == DIRECTORY and path.is_file()
    except OSError:
        is_directory = False
    return path.parent if is_directory else path


def volume_stem(path: Path) -> str:
    """Return the name of a file without .nii.gz and the like."""
    name = path.name
    for suffix in VOLUME_SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return path.stem


def volume_kind(path: Path) -> str:
    """Return what a volume is kept in, as people call it."""
    path = without_directory(path)
    field = None if path.is_dir() else _field(path)
    if field is not None:
        return field.name
    return "NIfTI" if not path.is_dir() and is_nifti_file(path) else "DICOM"


def holds_dicom(path: Path) -> bool:
    """Whether a path may be DICOM: a folder, a file, or an archive."""
    return path.is_dir() or is_dicom_file(path) or is_zip_file(path)


def is_volume(path: Path) -> bool:
    """Whether a path is a volume file or a folder with one, for `read_volume` to read or refuse.

    Folders are searched with their sub-folders, up to the first DICOM file.
    """
    path = without_directory(path)
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
    file: DICOM's along their normal, NIfTI's k. A DICOMDIR is read as its folder.
    """
    path = without_directory(path)
    if not path.is_dir():
        with opened(path, "file"):
            pass  # missing files, pipes and empty files are refused below
    if not path.is_dir():
        found = _read_file(path, options)
        if found is not None:
            return found
    if not (path.is_dir() or is_dicom_file(path)):
        if is_named_dicom(path):
            raise ReadError(f"{path}: {MISNAMED}; {COPY_AGAIN}")
        raise ReadError(f"{path}: not a volume ({KINDS}); convert it to NIfTI")
    return read_dicom(
        *(path, options.series, options.pixel_limit),
        volume=options.volume,
        modality=options.modality,
        refuses_uneven=options.refuses_uneven,
    )


def _read_file(path: Path, options: VolumeOptions) -> Image | None:
    """Read a file that is a volume of its own; None for DICOM."""
    if is_zip_file(path):
        return read_zip(
            *(path, options.series, options.pixel_limit),
            volume=options.volume,
            modality=options.modality,
            refuses_uneven=options.refuses_uneven,
        )
    field = _field(path)
    if field is None and not (is_named_nifti(path) or is_nifti_file(path)):
        return None
    if options.series is not None:
        name = "NIfTI" if field is None else field.name
        raise ReadError(f"{path}: {name} has no series; leave --series out, or name DICOM")
    read = read_nifti if field is None else field.read
    return read(path, options.volume, options.pixel_limit)


def volume_files(path: Path) -> tuple[Path, ...]:
    """Return the files that a volume's content depends on, in order; raise ReadError."""
    path = without_directory(path)
    if path.is_dir():
        return tuple(dicom_files(path))
    field = _field(path)
    return nifti_files(path) if field is None else field.files(path)


def volume_state(path: Path) -> object:
    """Return the sizes and times of a volume's files: equal means unchanged. Raise ReadError."""
    with reading(path, "file"):
        states = [(file, file.stat()) for file in volume_files(path)]
    return tuple((file, state.st_size, state.st_mtime_ns) for file, state in states)
