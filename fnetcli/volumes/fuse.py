"""The walk of one pair of volumes: as `fusion.py`, with a grid in millimetres and slices.

disk -> formats/volumes -> Image -> windows (which numbers become black and white, once a volume)
     -> registration, if asked for -> resample (onto the reference's grid) -> slices in [0, 1]
     -> engine, slab by slab -> NIfTI, DICOM or pictures on the reference's grid -> disk
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fnetcli.errors import ImageError, OutputError, PairError, ReadError, UsageError, WriteError
from fnetcli.files.durable import atomic_folder
from fnetcli.files.output_folder import InPlace
from fnetcli.files.scratch import scratch_array
from fnetcli.formats import PICTURE_KINDS, content_sha256, write_picture
from fnetcli.formats.dicom import is_dicom_file
from fnetcli.formats.dicom.writer import write_dicom
from fnetcli.formats.nifti.writer import write_nifti
from fnetcli.formats.volumes import VolumeOptions, read_volume, volume_files
from fnetcli.imaging import color
from fnetcli.imaging.image import Grid, Image, Mask, Pixels
from fnetcli.imaging.intensity import PREVIEW_RANGE, Limits, Scaling, to_stored, to_unit
from fnetcli.inputs.pairing import Case
from fnetcli.interruption import require_wanted
from fnetcli.mixing import NO_GAINS
from fnetcli.modalities import WITH_COLOR
from fnetcli.volumes.mosaic import write_mosaic
from fnetcli.volumes.registration import register
from fnetcli.volumes.resample import (
    Axis,
    Interpolation,
    Matrix,
    Reordering,
    overlap,
    placed,
    reference_of,
    resample,
    spacing,
    to_axis,
)
from fnetcli.volumes.windows import Window, window_of

if TYPE_CHECKING:
    from fnetcli.engine import Engine

Target = Literal["nifti", "dicom", "png", "tiff"]
Maps = NDArray[np.float32]  # (slices, height, width)

SLAB = 1 << 19  # pixels that go through the network together, about; an interrupt waits for them
EMISSION = ("pet", "spect")
NO_DICOM = (
    "--to dicom: the {} is the reference and is NIfTI, which has no patient and study to belong to;"
    " use --to nifti, or the other volume with --reference"
)
NOWHERE = Grid((1, 1, 1))
# What a DICOM file may say of itself where it is taken for a modality; captures may be anything.
DICOM_MODALITIES = {"ct": "CT", "mri": "MR", "pet": "PT", "spect": "NM"}
TRUSTED = 0.999  # share of the reference that the other volume covers, from which nothing is said


@dataclass(frozen=True)
class VolumeFuseOptions:
    """What decides the voxels, and which files are written; pairs are of first and second."""

    modalities: tuple[str, str]
    reading: tuple[VolumeOptions, VolumeOptions] = (VolumeOptions(), VolumeOptions())
    windows: tuple[str | None, str | None] = (None, None)
    limits: tuple[Limits | None, Limits | None] = (None, None)  # stored units; override windows
    are_inverted: tuple[bool, bool] = (False, False)
    reference: str | None = None  # modality, "finest", or None: the MRI, else the CT
    interpolation: Interpolation = "linear"
    axis: Axis = "auto"
    registers: bool = False
    transform: Matrix | None = None  # RAS+ millimetres, reference points to moving points
    assumes_aligned: bool = False  # changes nothing but words
    target: Target = "nifti"
    colormap: str | None = None
    with_maps: bool = True
    gains: tuple[float, float, float] = NO_GAINS

    def record(self) -> dict[str, Any]:
        """Return everything that changes voxels or the set of files, as JSON takes it."""
        return {
            "modalities": list(self.modalities),
            "series": [reading.series for reading in self.reading],
            "volumes": [reading.volume for reading in self.reading],
            "windows": list(self.windows),
            "limits": [None if limits is None else list(limits) for limits in self.limits],
            "inverted": list(self.are_inverted),
            "reference": self.reference,
            "interpolation": self.interpolation,
            "axis": self.axis,
            "register": self.registers,
            "transform": None if self.transform is None else self.transform.tolist(),
            "to": self.target,
            "colormap": self.colormap,
            "maps": self.with_maps,
            "gains": list(self.gains),
        }


@dataclass(frozen=True)
class PreparedVolumes:
    """Two volumes on the reference's grid, in the units of their files, and what is known of them.

    Everything is in the order of the modalities; `order` leads to the slices that the network sees.
    """

    sources: tuple[Image, Image]  # as read; the other one where a transform puts it
    on_grid: tuple[Image, Image]
    windows: tuple[Window, Window]
    reference: int  # which of the two gave the grid
    order: Reordering
    said: tuple[str, ...] = ()  # good to know
    notices: tuple[str, ...] = ()  # perhaps not wanted
    facts: dict[str, Any] = field(default_factory=dict)  # for the manifest: numbers, nothing else

    @property
    def grid(self) -> Grid:
        """The reference's grid."""
        return self.sources[self.reference].grid

    @property
    def slices(self) -> int:
        """How many slices go through the network."""
        return self.order.grid(self.grid).shape[0]

    @property
    def nbytes(self) -> int:
        """What both volumes take, as read and on one grid."""
        return sum(
            image.pixels.nbytes + (0 if image.valid is None else image.valid.nbytes)
            for image in {id(image): image for image in (*self.sources, *self.on_grid)}.values()
        )


@dataclass(frozen=True)
class SeparatedVolumes:
    """The three signed parts on the reference's grid, (slices, height, width) in its own order."""

    unique_first: Maps
    unique_second: Maps
    common: Maps
    fused: Maps  # with the gains, clipped to [0, 1]

    def parts(self, modalities: tuple[str, str]) -> dict[str, Maps]:
        """Return the parts by name; without gains their sum is the unclipped fused volume."""
        first, second = modalities
        return {
            f"unique_{first}": self.unique_first,
            f"unique_{second}": self.unique_second,
            "common": self.common,
        }


# --- reading, and onto one grid -------------------------------------------------------------------


def read_volumes(case: Case, options: VolumeFuseOptions) -> PreparedVolumes:
    """Read both volumes of a case and bring them onto one grid. Raise ImageError."""
    first, second = (
        read_volume(path, reading)
        for path, reading in zip((case.first, case.second), options.reading, strict=True)
    )
    for path, image in ((case.first, first), (case.second, second)):
        if image.valid is not None and not image.valid.any():
            raise ReadError(f"{path}: no voxel holds data; export it again, or name another one")
    try:
        return prepare_volumes(first, second, options)
    except ReadError:
        raise
    except ImageError as error:
        raise PairError(f"{case.first} and {case.second}: {error}") from None


def require_target(cases: Sequence[Case], options: VolumeFuseOptions) -> None:
    """Raise UsageError where already the names of all references say that none can be DICOM.

    Those of single cases are found as they are read.
    """
    if options.target != "dicom" or options.reference == "finest" or not cases:
        return
    name = reference_of(options.reference, dict.fromkeys(options.modalities, NOWHERE))
    paths = [(case.first, case.second)[options.modalities.index(name)] for case in cases]
    if all(path.is_file() and not is_dicom_file(path) for path in paths):
        raise UsageError(NO_DICOM.format(name))


def prepare_volumes(first: Image, second: Image, options: VolumeFuseOptions) -> PreparedVolumes:
    """Choose windows and grid, and resample what is not on it. Raise ImageError, UsageError."""
    sources, modalities = (first, second), options.modalities
    grids = {name: image.grid for name, image in zip(modalities, sources, strict=True)}
    for name, grid in grids.items():
        if grid.affine is None:
            raise PairError(
                f"the {name} does not say where it lies in the patient (DICOM: place of its slices;"
                " NIfTI: sform or qform); name a volume that does, or two pictures"
            )
    reference = modalities.index(reference_of(options.reference, grids))
    kept, moving = sources[reference], sources[1 - reference]
    if options.target == "dicom" and kept.series is None:
        raise PairError(NO_DICOM.format(modalities[reference]))
    window_first, window_second = (
        window_of(image, modality, choice, limits)
        for image, modality, choice, limits in zip(
            sources, modalities, options.windows, options.limits, strict=True
        )
    )
    facts = dict[str, Any]()
    require_wanted()
    said, notices = _trust(kept, moving, options)
    transform = options.transform
    if options.registers:
        found = register(kept, moving)
        transform = found.transform
        said.append(found.sentence)
        notices += found.notices
        facts["registration"] = {
            "transform": found.transform.tolist(),
            "mutual_information": [found.before, found.after],
        }
    if transform is not None:
        moving = placed(moving, transform)
        sources = (kept, moving) if reference == 0 else (moving, kept)
    share = overlap(kept.grid, moving.grid)
    if share < TRUSTED:
        notices.append(
            f"the {modalities[1 - reference]} covers {100 * share:.3g} % of the "
            f"{modalities[reference]}'s grid; beyond, the {modalities[reference]} passes through"
        )
    moved = resample(moving, kept.grid, options.interpolation)
    if not _share_data(kept, moved):
        notices.append(
            "no voxel holds data of both volumes: nothing is fused, and each passes through alone; "
            "check that they show the same region"
        )
    on_grid = (kept, moved) if reference == 0 else (moved, kept)
    notices += _source_notices(sources, options)
    facts |= {
        "reference": modalities[reference],
        "overlap": round(share, 4),
        "spacing_mm": [round(step, 4) for step in spacing(kept.grid)],
    }
    return PreparedVolumes(
        sources=sources,
        on_grid=on_grid,
        windows=(window_first, window_second),
        reference=reference,
        order=to_axis(kept.grid, options.axis),
        said=tuple(said),
        notices=tuple(notices),
        facts=facts,
    )


def _share_data(first: Image, second: Image) -> bool:
    if first.valid is None or second.valid is None:
        return all(image.valid is None or bool(image.valid.any()) for image in (first, second))
    return bool((first.valid & second.valid).any())


def _trust(kept: Image, moving: Image, options: VolumeFuseOptions) -> tuple[list[str], list[str]]:
    """Say on what the alignment rests: what is good to know, and what is to be warned of."""
    spaces = (kept.frame_of_reference, moving.frame_of_reference)
    is_given = options.assumes_aligned or options.registers or options.transform is not None
    if is_given or (None not in spaces and spaces[0] == spaces[1]):
        return [], []
    further = "--assume-aligned silences this, --register rigid aligns them"
    if None in spaces:
        return [f"that both volumes lie in one space is taken from their headers; {further}"], []
    words = (
        "the two series have different frames of reference: where their headers place them is "
        "taken as aligned, look at the preview"
    )
    return [], [f"{words}; {further}"]


def _source_notices(sources: tuple[Image, Image], options: VolumeFuseOptions) -> list[str]:
    """Say where files are not what they were given as, and what becomes of their colours."""
    found = []
    for image, modality in zip(sources, options.modalities, strict=True):
        kind = "" if image.series is None else str(image.series.headers[0].get("Modality", ""))
        if kind != DICOM_MODALITIES[modality] and kind in DICOM_MODALITIES.values():
            found.append(f"{modality}: its files say that they are {kind}; is it the right folder?")
        if not has_color(image):
            continue
        if modality not in WITH_COLOR:
            found.append(
                f"{modality}: it has colours, which mean nothing there: its luminance is used"
            )
        elif options.colormap is not None:
            found.append(f"{modality}: it has colours of its own, which are kept")
        else:
            found.append(
                f"{modality}: its colours are shown in the preview; with --colormap they are "
                "written, too, to fused_color"
            )
    return found


def has_color(image: Image) -> bool:
    """Whether a volume is in colour, and not grey that is stored as colour."""
    if not image.is_color:
        return False
    white = np.float32(np.iinfo(image.pixels.dtype).max if image.pixels.dtype.kind == "u" else 1)
    return not all(color.is_gray(plane.astype(np.float32) / white) for plane in image.pixels)


# --- through the network --------------------------------------------------------------------------


def separate_volumes(
    engine: Engine,
    prepared: PreparedVolumes,
    options: VolumeFuseOptions,
    beside: Path,
    on_slices: Callable[[int, int, int], None] = lambda *_: None,
) -> SeparatedVolumes:
    """Take all slices through the network, slab by slab; large results lie in files beside a path.

    Where only one volume has data it is its own unique part, and the other parts are 0; where
    neither has, all are. `on_slices` hears how many slices are done, how many of this case, and of
    how many. Raise PairError, OutputError.
    """
    shape = prepared.grid.shape
    parts = [scratch_array(beside, shape, np.float32) for _ in range(4)]
    ordered = [prepared.order.apply(part) for part in parts]
    images = tuple(prepared.order.image(image) for image in prepared.on_grid)
    gains = [np.float32(gain) for gain in options.gains]
    for slab in _slabs(ordered[0].shape):
        (x, has_x), (y, has_y) = (
            _unit_slab(image, slab, window.limits, is_inverted)
            for image, window, is_inverted in zip(
                images, prepared.windows, options.are_inverted, strict=True
            )
        )
        found = _separated(engine, (x, y), (has_x, has_y))
        _pass_through(found, (x, y), (has_x, has_y))
        mixed = sum(gain * part for gain, part in zip(gains, found, strict=True))
        for whole, values in zip(ordered, (*found, np.clip(mixed, 0, 1)), strict=True):
            whole[slab] = values
        on_slices(slab.stop - slab.start, slab.stop, len(ordered[0]))
    return SeparatedVolumes(*parts)


def slice_luminances(
    prepared: PreparedVolumes, options: VolumeFuseOptions, index: int
) -> tuple[Maps, Maps]:
    """Return both luminances (height, width) of one of the slices that the network sees."""
    (first, _), (second, _) = (
        _unit_slab(prepared.order.image(image), slice(index, index + 1), window.limits, is_inverted)
        for image, window, is_inverted in zip(
            prepared.on_grid, prepared.windows, options.are_inverted, strict=True
        )
    )
    return first[0], second[0]


def _slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    count = max(1, SLAB // (shape[1] * shape[2]))
    return (slice(top, min(top + count, shape[0])) for top in range(0, shape[0], count))


def _unit_slab(
    image: Image, slab: slice, limits: Limits, is_inverted: bool
) -> tuple[Pixels, Mask | None]:
    """Return the luminance of some slices in [0, 1], holes filled, and where there is data."""
    some = replace(
        image,
        pixels=np.ascontiguousarray(image.pixels[slab]),
        grid=Grid(image.pixels[slab].shape[:3]),
        alpha=None,
        valid=None if image.valid is None else image.valid[slab],
    )
    unit = to_unit(some, Scaling(limits, is_inverted=is_inverted)).image
    values = color.luminance(unit.pixels) if unit.is_color else unit.pixels
    return np.ascontiguousarray(values[..., 0]), unit.valid


def _separated(
    engine: Engine, luminances: tuple[Pixels, Pixels], has_data: tuple[Mask | None, Mask | None]
) -> list[Maps]:
    """Return the three parts; slices in which one volume has no data at all are left out: 0."""
    x, y = luminances
    parts = [np.zeros(x.shape, np.float32) for _ in range(3)]
    shared = np.ones(len(x), bool)
    for mask in has_data:
        if mask is not None:
            shared &= mask.any(axis=(1, 2))
    if shared.any():
        separated = engine.run(x[shared], y[shared])
        found = (separated.unique_first, separated.unique_second, separated.common)
        for part, values in zip(parts, found, strict=True):
            part[shared] = values
    return parts


def _pass_through(
    parts: list[Maps], luminances: tuple[Pixels, Pixels], has_data: tuple[Mask | None, Mask | None]
) -> None:
    """Give each volume, where it is alone, to its unique part."""
    for own, other in ((0, 1), (1, 0)):
        missing = has_data[other]
        if missing is None:
            continue
        alone = ~missing
        for part in parts:
            part[alone] = 0
        present = has_data[own]
        seen = alone if present is None else alone & present
        parts[own][seen] = luminances[own][seen]


# --- colour ---------------------------------------------------------------------------------------


def in_color(
    prepared: PreparedVolumes, fused: Maps, options: VolumeFuseOptions, beside: Path
) -> NDArray[np.uint8] | None:
    """Return the fused volume in colour, (slices, height, width, 3), or None where there is none.

    Colours are those of a volume that has its own, or of the colour map, laid over PET or SPECT.
    """
    giver = _giver(prepared, options)
    if giver is None:
        return None
    has_own = has_color(prepared.sources[giver])
    image, window = prepared.on_grid[giver], prepared.windows[giver]
    colored: NDArray[np.uint8] = scratch_array(beside, (*fused.shape, 3), np.uint8)
    for slab in _slabs(fused.shape):
        some = replace(
            image,
            pixels=np.ascontiguousarray(image.pixels[slab]),
            grid=Grid(image.pixels[slab].shape[:3]),
            valid=None if image.valid is None else image.valid[slab],
        )
        unit = to_unit(some, Scaling(window.limits, is_inverted=options.are_inverted[giver])).image
        if has_own:
            rgb = unit.pixels
        else:
            values = color.luminance(unit.pixels) if unit.is_color else unit.pixels
            values = values[..., 0]
            if unit.valid is not None:
                values = np.where(unit.valid, values, np.float32(0))
            rgb = color.colormap(options.colormap or "hot", values)
        colored[slab] = to_stored(color.with_luminance(rgb, fused[slab][..., None]), np.uint8)
    return colored


def _giver(prepared: PreparedVolumes, options: VolumeFuseOptions) -> int | None:
    for i, (image, modality) in enumerate(zip(prepared.sources, options.modalities, strict=True)):
        if modality in WITH_COLOR and has_color(image):
            return i
    if options.colormap is not None:
        return next((i for i, name in enumerate(options.modalities) if name in EMISSION), None)
    return None


# --- files ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VolumeOutputs:
    """Where the results of one case go; `fused` and `color` are folders of DICOM or pictures.

    What is not made (colour, where nothing gives any) is not there.
    """

    fused: Path
    preview: Path
    parts: dict[str, Path]
    color: Path | None

    def all(self) -> dict[str, Path]:
        """Return every path by its name; the fused volume, which is written last, comes last."""
        colored = {} if self.color is None else {"fused_color": self.color}
        return {**self.parts, **colored, "preview": self.preview, "fused": self.fused}


def volume_outputs(case: Case, folder: Path, options: VolumeFuseOptions) -> VolumeOutputs:
    """Return ``folder/fused/<case>.nii.gz`` (or a folder ``<case>``) and so on."""
    first, second = options.modalities
    names = (f"unique_{first}", f"unique_{second}", "common") if options.with_maps else ()
    suffix = ".nii.gz" if options.target == "nifti" else ""
    return VolumeOutputs(
        fused=folder / "fused" / f"{case.name}{suffix}",
        preview=folder / "preview" / f"{case.name}.png",
        parts={name: folder / name / f"{case.name}.nii.gz" for name in names},
        color=folder / "fused_color" / f"{case.name}{suffix}"
        if options.colormap is not None
        else None,
    )


def volume_sha256(path: Path) -> str:
    """Return a hash of all files that a volume may depend on, and their names. Raise ReadError."""
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
    separated: SeparatedVolumes,
    outputs: VolumeOutputs,
    options: VolumeFuseOptions,
) -> None:
    """Write parts, colour, preview and, last, the fused volume. Raise WriteError, OutputError."""
    reference = prepared.sources[prepared.reference]
    for name, path in outputs.parts.items():
        part = separated.parts(options.modalities)[name]
        write_nifti(path, part, reference, (-PREVIEW_RANGE, PREVIEW_RANGE))
    colored = in_color(prepared, separated.fused, options, outputs.fused)
    if colored is not None and outputs.color is not None:
        _write_volume(outputs.color, colored, prepared, options)
    shown = separated.fused[..., None] if colored is None else colored
    write_mosaic(outputs.preview, prepared.order.apply(shown), prepared.order.grid(prepared.grid))
    _write_volume(outputs.fused, separated.fused, prepared, options)


def _write_volume(
    path: Path, values: NDArray[Any], prepared: PreparedVolumes, options: VolumeFuseOptions
) -> None:
    reference = prepared.sources[prepared.reference]
    if options.target == "nifti":
        write_nifti(path, values, reference)
        return
    with atomic_folder(path) as folder:
        try:
            if options.target == "dicom":
                write_dicom(folder, values, reference, prepared.sources, _derivation(options))
            else:
                _write_slices(folder, prepared.order.apply(values), options.target)
        except (WriteError, OutputError) as error:  # nobody has heard of the temporary folder
            raise type(error)(str(error).replace(str(folder), str(path))) from None


def _derivation(options: VolumeFuseOptions) -> str:
    first, second = options.modalities
    return f"{second.upper()} and {first.upper()} fused by FNet"


def _write_slices(folder: Path, values: NDArray[Any], kind: Literal["png", "tiff"]) -> None:
    """Write slices 0001, 0002, ... in the order that was asked for: grey 16-bit PNG, float TIFF."""
    suffix = PICTURE_KINDS[kind].suffix
    for i, plane in enumerate(values):
        pixels = plane if plane.ndim == 3 else plane[..., None]
        if pixels.dtype == np.float32:
            pixels = to_stored(pixels, np.uint16 if kind == "png" else np.float32)
        write_picture(folder / f"{i + 1:04d}{suffix}", kind, np.ascontiguousarray(pixels))


# --- as a run takes it ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Volumes:
    """The way of a case of two volumes, step by step (job.Walk)."""

    options: VolumeFuseOptions
    on_slices: Callable[[int, int, int], None] = lambda *_: None

    @property
    def modalities(self) -> tuple[str, str]:
        """First, second, in the network's order."""
        return self.options.modalities

    def record(self) -> dict[str, Any]:
        """Return every option that changes voxels or the set of files."""
        return self.options.record()

    def outputs(self, case: Case, out: Path, *, is_file: bool) -> VolumeOutputs:
        """Return where the results of a case go, which is always a folder."""
        if is_file:
            raise UsageError(f"-o {out}: names a file, but volumes are fused; give a folder")
        return volume_outputs(case, out, self.options)

    def sha256(self, path: Path) -> str:
        """Return the hash of a file, or of all files of a folder. Raise ReadError."""
        return volume_sha256(path)

    def read(self, case: Case) -> PreparedVolumes:
        """Read both volumes and bring them onto one grid. Raise ImageError."""
        return read_volumes(case, self.options)

    def sizes(self, read: PreparedVolumes) -> tuple[str, str]:
        """Return columns x rows x slices of both volumes as read."""
        first, second = (f"{image.grid.size}x{image.grid.shape[0]}" for image in read.sources)
        return first, second

    def nbytes(self, read: PreparedVolumes, _: int) -> int:
        """Return what a case takes from reading to writing; its results lie on the disk."""
        return read.nbytes

    def separate(
        self, engine: Engine, read: PreparedVolumes, outputs: VolumeOutputs, in_place: InPlace
    ) -> SeparatedVolumes:
        """Take all slices through the network."""
        with in_place():
            return separate_volumes(engine, read, self.options, outputs.fused, self.on_slices)

    def write(
        self,
        read: PreparedVolumes,
        separated: SeparatedVolumes,
        outputs: VolumeOutputs,
        in_place: InPlace,
    ) -> dict[str, Any]:
        """Write everything; return ranges, notices and what is known of the grid."""
        with in_place():
            write_volumes(read, separated, outputs, self.options)
        ranges = {
            modality: {"low": window.limits[0], "high": window.limits[1], "invalid": _holes(image)}
            for modality, window, image in zip(
                self.modalities, read.windows, read.on_grid, strict=True
            )
        }
        said = [*(window.sentence for window in read.windows), *read.said]
        return {"ranges": ranges, "said": said, "notices": self.notices(read), **read.facts}

    def notices(self, read: PreparedVolumes) -> list[str]:
        """Return what a user should know of this case."""
        found = list(read.notices)
        for modality, image, window in zip(
            self.modalities, read.sources, read.windows, strict=True
        ):
            found += [f"{modality}: {text}" for text in window.notices]
            found += [f"{modality}: {text}" for text in image.notices]
        return found


def _holes(image: Image) -> int:
    """Return how many voxels hold no data."""
    return 0 if image.valid is None else image.valid.size - int(np.count_nonzero(image.valid))
