"""The files written for a pair of volumes: which, where, and in which format."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fnetcli.errors import OutputError, PairError, UsageError, WriteError
from fnetcli.files.durable import atomic_folder
from fnetcli.formats import PICTURE_KINDS, content_sha256, write_picture
from fnetcli.formats.dicom.writer import write_dicom
from fnetcli.formats.metaimage import write_metaimage
from fnetcli.formats.nifti.writer import write_nifti
from fnetcli.formats.nrrd import write_nrrd
from fnetcli.formats.transforms import write_transform
from fnetcli.formats.volumes import holds_dicom, volume_files
from fnetcli.imaging.image import Grid, Image
from fnetcli.imaging.intensity import PREVIEW_RANGE, Limits, to_stored
from fnetcli.inputs.pairing import Case
from fnetcli.modalities import in_words, shown_name
from fnetcli.models.base import Fusion, Maps
from fnetcli.products import CLASS_MAPS, Products
from fnetcli.volumes.bids import figure_path, result_path, transform_path
from fnetcli.volumes.color_bar import color_bar
from fnetcli.volumes.mix import VolumeMixOptions, in_color
from fnetcli.volumes.prepare import FINEST, PreparedVolumes, VolumePrepareOptions
from fnetcli.volumes.preview import write_preview
from fnetcli.volumes.resample import reference_of
from fnetcli.volumes.right_angles import at_right_angles, is_sheared, resampled

Target = Literal["nifti", "nrrd", "mha", "dicom", "png", "tiff"]

NO_DICOM = (
    "--to dicom: the reference ({}) is not DICOM, which alone has a patient and a study; "
    "use --to nifti, or choose the other volume with --reference"
)
# Targets that are one file: its suffix, and what writes it. Other targets have maps as NIfTI.
ONE_FILE: dict[Target, tuple[str, Callable[[Path, NDArray[Any], Image, Limits], None]]] = {
    "nifti": (".nii.gz", write_nifti),
    "nrrd": (".nrrd", write_nrrd),
    "mha": (".mha", write_metaimage),
}
NOWHERE = Grid((1, 1, 1))
COLOR = "fused_color"
# Numbers that viewers show as black and white: for signed parts and for maps.
OF_PARTS: Limits = (-PREVIEW_RANGE, PREVIEW_RANGE)
OF_MAPS: Limits = (0.0, 1.0)


@dataclass(frozen=True)
class VolumeOutputOptions:
    """Which files are written, and how; nothing here changes what the network sees."""

    target: Target = "nifti"
    with_maps: bool | None = None  # None: if the network has parts or maps
    keeps_shear: bool = False  # else volumes in one file are on grids at right angles
    is_multi_frame: bool = False  # of captures in colour
    maker: str = "fnet"  # what fused, as DICOM describes it
    is_bids: bool = False  # results have BIDS names

    def has_maps(self, products: Products) -> bool:
        """Whether parts or maps are written besides the fused volume."""
        return bool(products.images) if self.with_maps is None else self.with_maps


def reference_name(options: VolumePrepareOptions) -> str:
    """Return the reference's modality, if it is known before reading (not FINEST)."""
    return reference_of(options.reference, dict.fromkeys(options.modalities, NOWHERE))


def require_target(
    cases: Sequence[Case], options: VolumePrepareOptions, output: VolumeOutputOptions
) -> None:
    """Raise UsageError if the names of all references already show that none can be DICOM.

    Single cases are checked when they are read.
    """
    if output.target != "dicom" or options.reference == FINEST or not cases:
        return
    name = reference_name(options)
    paths = [(case.first, case.second)[options.modalities.index(name)] for case in cases]
    if all(not holds_dicom(path) for path in paths):
        raise UsageError(NO_DICOM.format(name))


def require_multi_frame(
    output: VolumeOutputOptions, mix: VolumeMixOptions, modalities: tuple[str, str]
) -> None:
    """Raise UsageError if captures are to be one file, but there are none."""
    if not output.is_multi_frame:
        return
    if output.target != "dicom":
        raise UsageError("--multi-frame: applies only to DICOM captures in colour; add --to dicom")
    if not mix.colors(modalities):
        raise UsageError(
            "--multi-frame: applies only to captures in colour, but none is written; leave it out"
        )


def require_bids(options: VolumePrepareOptions, output: VolumeOutputOptions) -> None:
    """Raise UsageError if results cannot have BIDS names."""
    if not output.is_bids:
        return
    if output.target != "nifti":
        raise UsageError(f"--to {output.target}: BIDS has NIfTI files; leave it out")
    if options.reference == FINEST:
        first, second = options.modalities
        raise UsageError(
            f"--reference {FINEST}: BIDS names follow the reference, which is then known after "
            f"reading only; choose {first} or {second}"
        )


def require_reference(name: str, image: Image, output: VolumeOutputOptions) -> None:
    """Raise PairError if DICOM is requested, but the reference of this case is not DICOM."""
    if output.target == "dicom" and image.series is None:
        raise PairError(NO_DICOM.format(name))


# --- where ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VolumePaths:
    """The paths of one case's results; `fused` and `color` may be folders of DICOM or pictures.

    Results that are not written (colour, if neither volume provides any) are absent. Maps have the
    names that users know.
    """

    fused: Path
    preview: Path
    maps: dict[str, Path]
    color: Path | None
    transform: Path | None = None  # of a registration

    def all(self) -> dict[str, Path]:
        """Return all paths by name; the fused volume is written last and comes last."""
        colored = {} if self.color is None else {COLOR: self.color}
        moved = {} if self.transform is None else {"transform": self.transform}
        return {**self.maps, **colored, **moved, "preview": self.preview, "fused": self.fused}


def volume_paths(
    case: Case,
    folder: Path,
    modalities: tuple[str, str],
    products: Products,
    mix: VolumeMixOptions,
    output: VolumeOutputOptions,
    *,
    is_registered: bool = False,
) -> VolumePaths:
    """Return ``folder/fused/<case>.nii.gz`` (or a folder ``<case>``) and so on."""
    names = map_names(modalities, products, output)
    suffix = ONE_FILE[output.target][0] if output.target in ONE_FILE else ""
    of_maps = suffix or ONE_FILE["nifti"][0]
    return VolumePaths(
        fused=folder / "fused" / f"{case.name}{suffix}",
        preview=folder / "preview" / f"{case.name}.png",
        maps={name: folder / name / f"{case.name}{of_maps}" for name in names},
        color=folder / COLOR / f"{case.name}{suffix}" if mix.colors(modalities) else None,
        transform=folder / "transform" / f"{case.name}.tfm" if is_registered else None,
    )


def map_names(
    modalities: tuple[str, str], products: Products, output: VolumeOutputOptions
) -> list[str]:
    """Return the names of all parts and maps that are written."""
    roles = products.images if output.has_maps(products) else ()
    return [shown_name(role, modalities) for role in roles]


def bids_paths(
    reference: Path,
    folder: Path,
    moved: tuple[str, str] | None,
    names: Sequence[str],
    *,
    has_color: bool,
) -> VolumePaths:
    """Return ``folder/sub-01/anat/sub-01_desc-fused_T1w.nii.gz`` and so on, after the reference.

    `moved` are the modalities of a registration: of the volume that it moves, and of the reference.
    """
    return VolumePaths(
        fused=result_path(folder, reference, "fused"),
        preview=figure_path(folder, reference, "preview"),
        maps={name: result_path(folder, reference, name) for name in names},
        color=result_path(folder, reference, COLOR) if has_color else None,
        transform=None if moved is None else transform_path(folder, reference, *moved),
    )


# --- files ----------------------------------------------------------------------------------------


def volume_sha256(path: Path) -> str:
    """Return a hash of the names and contents of a volume's files. Raise ReadError."""
    files = volume_files(path)
    if files == (path,):
        return content_sha256(path)
    digest, folder = hashlib.sha256(), path if path.is_dir() else path.parent
    for file in files:
        name = file.relative_to(folder).as_posix()
        digest.update(f"{name}\0{content_sha256(file)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def write_volumes(
    prepared: PreparedVolumes,
    fusion: Fusion[Maps],
    paths: VolumePaths,
    mix: VolumeMixOptions,
    output: VolumeOutputOptions,
) -> None:
    """Write maps, colour, preview and, last, the fused volume. Raise WriteError, OutputError."""
    reference, fused = prepared.sources[prepared.reference], fusion.fused
    for images, limits in ((fusion.parts, OF_PARTS), (fusion.maps, OF_MAPS)):
        for role, values in images.items():
            name = shown_name(role, prepared.modalities)
            if name in paths.maps:
                shown_range = (0.0, float(values.max())) if role in CLASS_MAPS else limits
                _write_file(paths.maps[name], values, reference, shown_range, output)
    colored = in_color(prepared, fused, mix, paths.fused)
    if colored is not None and paths.color is not None:
        bar = color_bar(prepared, mix, colored.shape[2]) if output.target == "dicom" else None
        _write_volume(paths.color, colored, prepared, output, bar)
    shown = fused[..., None] if colored is None else colored
    write_preview(paths.preview, prepared, prepared.order.apply(shown), mix)
    if paths.transform is not None and prepared.transform is not None:
        write_transform(paths.transform, prepared.transform)
    _write_volume(paths.fused, fused, prepared, output)


def shear_notice(prepared: PreparedVolumes, output: VolumeOutputOptions) -> list[str]:
    """Return a notice if files are resampled because the reference's grid is sheared."""
    if output.keeps_shear or not is_sheared(prepared.sources[prepared.reference]):
        return []
    name = prepared.modalities[prepared.reference]
    words = (
        f"the {name}'s grid is sheared, as by a tilted gantry: NIfTI, NRRD and MHA are resampled "
        "onto a grid at right angles, which other programs can open; --keep-shear keeps it"
    )
    return [words]


def _write_file(
    path: Path,
    values: NDArray[Any],
    reference: Image,
    limits: Limits,
    output: VolumeOutputOptions,
) -> None:
    """Write a volume as one file, on a grid at right angles."""
    if not output.keeps_shear and is_sheared(reference):
        grid = at_right_angles(reference.grid)
        values = resampled(values, reference.grid, grid)
        reference = Image(np.empty((*grid.shape, 1), np.uint8), grid)
    ONE_FILE.get(output.target, ONE_FILE["nifti"])[1](path, values, reference, limits)


def _write_volume(
    path: Path,
    values: NDArray[Any],
    prepared: PreparedVolumes,
    output: VolumeOutputOptions,
    below: NDArray[np.uint8] | None = None,
) -> None:
    """Write a volume as the target has it; `below` is put below each slice in DICOM."""
    reference, target = prepared.sources[prepared.reference], output.target
    if target in ONE_FILE:
        _write_file(path, values, reference, OF_MAPS, output)
        return
    with atomic_folder(path) as folder:
        try:
            if target == "dicom":
                derivation = _derivation(prepared, output.maker)
                write_dicom(
                    *(folder, values, reference, prepared.sources, derivation, below),
                    is_multi_frame=output.is_multi_frame,
                )
            else:
                kind: Literal["png", "tiff"] = "png" if target == "png" else "tiff"
                _write_slices(folder, prepared.order.apply(values), kind)
        except (WriteError, OutputError) as error:  # users do not know the temporary folder
            raise type(error)(str(error).replace(str(folder), str(path))) from None


def _derivation(prepared: PreparedVolumes, maker: str) -> str:
    fused = f"{in_words(prepared.modalities)} fused by {maker}"
    return "; ".join([fused, *prepared.denoised])


def _write_slices(folder: Path, values: NDArray[Any], kind: Literal["png", "tiff"]) -> None:
    """Write slices 0001, 0002, ... in the order of the slices: grey 16-bit PNG, float TIFF."""
    suffix = PICTURE_KINDS[kind].suffix
    for i, plane in enumerate(values):
        pixels = plane if plane.ndim == 3 else plane[..., None]
        if pixels.dtype == np.float32:
            pixels = to_stored(pixels, np.uint16 if kind == "png" else np.float32)
        write_picture(folder / f"{i + 1:04d}{suffix}", kind, np.ascontiguousarray(pixels))
