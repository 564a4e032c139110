"""Prepare two volumes for the network: read and window them, and put them on one grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fnetcli.errors import ImageError, PairError, ReadError, UsageError
from fnetcli.formats.volumes import VolumeOptions, read_volume
from fnetcli.imaging import color
from fnetcli.imaging.image import Grid, Image, Mask, Pixels
from fnetcli.imaging.intensity import Limits, Scaling, percent, to_unit
from fnetcli.inputs.pairing import Case
from fnetcli.interruption import require_wanted
from fnetcli.modalities import BY_NAME
from fnetcli.text import number_of, verb_of
from fnetcli.volumes.denoise import denoised, parse_denoising
from fnetcli.volumes.registration import ADVICE, register
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
from fnetcli.volumes.sequence import window_of_all
from fnetcli.volumes.windows import Window, parse_window, window_of

SLAB = 1 << 19  # approximate pixels fused together; an interrupt waits for them
TRUSTED = 0.999  # share of the reference that the other volume covers; no notice above it
FINEST = "finest"


@dataclass(frozen=True)
class VolumePrepareOptions:
    """What decides the voxels that the network sees; tuples are (first, second)."""

    modalities: tuple[str, str]
    reading: tuple[VolumeOptions, VolumeOptions] = (VolumeOptions(), VolumeOptions())
    windows: tuple[str | None, str | None] = (None, None)
    limits: tuple[Limits | None, Limits | None] = (None, None)  # stored units; not with a window
    are_inverted: tuple[bool, bool] = (False, False)
    denoise: tuple[str | None, str | None] = (None, None)  # as `denoise.parse_denoising` takes it
    reference: str | None = None  # modality, "finest", or None: the MRI, else the CT
    interpolation: Interpolation = "linear"
    axis: Axis = "auto"
    registers: bool = False
    distrusts_headers: bool = False  # registration may contradict one frame of reference
    requires_registration: bool = False  # a refused one fails the case; else the headers count
    transform: Matrix | None = None  # RAS+ millimetres, reference points to moving points
    assumes_aligned: bool = False  # only suppresses notices and warnings

    def __post_init__(self) -> None:
        """Raise UsageError if a choice is unknown, or two contradict each other."""
        for modality, filtering in zip(self.modalities, self.denoise, strict=True):
            if filtering is not None:
                parse_denoising(modality, filtering)
        for modality, window, limits in zip(
            self.modalities, self.windows, self.limits, strict=True
        ):
            if window is not None:
                parse_window(window, modality)
            if window is not None and limits is not None:
                raise UsageError(
                    f"--window and --range: both say how {modality} is scaled; leave one out"
                )
        if self.reference not in (None, *self.modalities, FINEST):
            raise UsageError(
                f"--reference {self.reference}: not one of the two volumes; "
                f"use {', '.join(self.modalities)} or {FINEST}"
            )
        if self.registers:
            require_one_alignment(has_transform=self.transform is not None)
        elif self.distrusts_headers:
            raise UsageError("--distrust-headers: goes with --register rigid; leave it out")

    @property
    def readings(self) -> tuple[VolumeOptions, VolumeOptions]:
        """How both volumes are read, by modality among several series."""
        first, second = (
            replace(reading, modality=BY_NAME[name].dicom)
            for reading, name in zip(self.reading, self.modalities, strict=True)
        )
        return first, second

    def record(self) -> dict[str, Any]:
        """Return everything that changes voxels, ready for JSON."""
        return {
            "modalities": list(self.modalities),
            "series": [reading.series for reading in self.reading],
            "volumes": [reading.volume for reading in self.reading],
            "refuse_uneven": [reading.refuses_uneven for reading in self.reading],
            "windows": list(self.windows),
            "limits": [None if limits is None else list(limits) for limits in self.limits],
            "inverted": list(self.are_inverted),
            **({"denoise": list(self.denoise)} if any(self.denoise) else {}),
            "reference": self.reference,
            "interpolation": self.interpolation,
            "axis": self.axis,
            "register": self.registers,
            "distrust_headers": self.distrusts_headers,
            "transform": None if self.transform is None else self.transform.tolist(),
        }


def require_one_alignment(*, has_transform: bool) -> None:
    """Raise UsageError if volumes are to be registered although a transform is given."""
    if has_transform:
        raise UsageError("--register and --transform: both align the volumes; leave one out")


@dataclass(frozen=True)
class PreparedVolumes:
    """Two volumes on the reference's grid, in the units of their files, and facts about them.

    Tuples are in the order of the modalities; `order` maps to the slices that the network sees.
    """

    modalities: tuple[str, str]
    sources: tuple[Image, Image]  # as read; the moving one as placed by the transform
    on_grid: tuple[Image, Image]
    windows: tuple[Window, Window]
    are_inverted: tuple[bool, bool]
    reference: int  # which of the two defines the grid
    order: Reordering
    transform: Matrix | None = None  # that registration applied
    by_headers: Image | None = None  # the moving volume there, if a transform was looked for
    info: tuple[str, ...] = ()  # good to know
    notices: tuple[str, ...] = ()  # possibly not what the user wanted
    denoised: tuple[str, ...] = ()  # sentences
    facts: dict[str, Any] = field(default_factory=dict)  # for the manifest: numbers, nothing else

    @property
    def grid(self) -> Grid:
        """The reference's grid."""
        return self.sources[self.reference].grid

    @property
    def slices(self) -> int:
        """The number of slices to fuse."""
        return self.order.grid(self.grid).shape[0]

    @property
    def nbytes(self) -> int:
        """The bytes of both volumes, as read and on one grid."""
        return sum(
            image.pixels.nbytes + (0 if image.valid is None else image.valid.nbytes)
            for image in {id(image): image for image in (*self.sources, *self.on_grid)}.values()
        )

    @property
    def scalings(self) -> tuple[Scaling, Scaling]:
        """How to scale the numbers of both volumes to [0, 1]."""
        first, second = (
            Scaling(window.limits, is_inverted=is_inverted)
            for window, is_inverted in zip(self.windows, self.are_inverted, strict=True)
        )
        return first, second


# --- reading, and one grid ------------------------------------------------------------------------

OnReference = Callable[[str, Image], None]


def read_volumes(
    case: Case, options: VolumePrepareOptions, on_reference: OnReference = lambda *_: None
) -> PreparedVolumes:
    """Read both volumes of a case and put them on one grid. Raise ImageError.

    Volumes of a sequence have one window.
    """
    images, windows = list[Image](), list[Window | None]()
    for i, path in enumerate((case.first, case.second)):
        number, modality = case.volumes[i], options.modalities[i]
        reading = options.readings[i]
        image = read_volume(path, reading if number is None else replace(reading, volume=number))
        if image.valid is not None and not image.valid.any():
            raise ReadError(f"{path}: no voxel has data; export it again, or give another volume")
        is_shared = number is not None and options.limits[i] is None
        images.append(image)
        windows.append(
            window_of_all(path, reading, image, modality, options.windows[i]) if is_shared else None
        )
    first, second = images
    _require_two(case, options.modalities, first, second)
    try:
        return prepare_volumes(first, second, options, on_reference, (windows[0], windows[1]))
    except ReadError:
        raise
    except ImageError as error:
        raise PairError(f"{case.first} and {case.second}: {error}") from None


def _require_two(case: Case, modalities: tuple[str, str], first: Image, second: Image) -> None:
    """Raise PairError if both volumes of a case are one and the same."""
    one, other = first.pixels, second.pixels
    if case.first.samefile(case.second) and np.array_equal(
        one, other, equal_nan=one.dtype.kind == "f"
    ):
        raise PairError(
            f"{case.first}: the same for {modalities[0]} and {modalities[1]}, which would be fused "
            "with itself; give two volumes, or choose among several with --series or --volume"
        )


def prepare_volumes(
    first: Image,
    second: Image,
    options: VolumePrepareOptions,
    on_reference: OnReference = lambda *_: None,
    windows: tuple[Window | None, Window | None] = (None, None),
) -> PreparedVolumes:
    """Choose windows, where none are given, and a grid; resample the volume that is not on it.

    `on_reference` is called with the volume that defines the grid, before any slow step; it may
    refuse it with a PairError. Raise ImageError, UsageError.
    """
    sources, modalities = (first, second), options.modalities
    grids = {name: image.grid for name, image in zip(modalities, sources, strict=True)}
    for name, grid in grids.items():
        if grid.affine is None:
            raise PairError(
                f"the {name} has no position in the patient (DICOM: position of its slices; "
                "NIfTI: sform or qform); give a volume that has one, or two pictures"
            )
    reference = modalities.index(reference_of(options.reference, grids))
    kept, moving = sources[reference], sources[1 - reference]
    on_reference(modalities[reference], kept)
    window_first, window_second = (
        window or window_of(image, modality, choice, limits)
        for window, image, modality, choice, limits in zip(
            windows, sources, modalities, options.windows, options.limits, strict=True
        )
    )
    facts = dict[str, Any]()
    require_wanted()
    info, notices = _trust(kept, moving, options)
    for name, image in zip(modalities, sources, strict=True):
        info += [f"{name}: {words}" for words in image.details]
    notices += _not_numbers(modalities, sources)
    sources, filtered = _denoised(sources, options)
    kept, moving = sources[reference], sources[1 - reference]
    transform, by_headers = options.transform, moving
    if options.registers:
        ours = modalities[reference], modalities[1 - reference]
        found = register(kept, moving, ours, distrusts_headers=options.distrusts_headers)
        if found.refusal is not None and options.requires_registration:
            raise PairError(f"{found.refusal}; {ADVICE}, or leave --strict out")
        transform = found.transform
        info += [found.sentence] if found.sentence else []
        notices += found.notices
        if found.refusal is not None:
            notices.append(f"{found.refusal}: the positions in the headers are kept; {ADVICE}")
        facts["registration"] = {
            "transform": found.transform.tolist(),
            "mutual_information": [found.before, found.after],
            "refused": found.refusal is not None,
        }
    if transform is not None:
        moving = placed(moving, transform)
        sources = (kept, moving) if reference == 0 else (moving, kept)
    share = overlap(kept.grid, moving.grid)
    if share < TRUSTED:
        notices.append(
            f"the {modalities[1 - reference]} covers {100 * share:.3g} % of the "
            f"{modalities[reference]}'s grid; elsewhere only the {modalities[reference]} is shown, "
            "as bright as where both are fused"
        )
    moved = resample(moving, kept.grid, options.interpolation)
    if not _share_data(kept, moved):
        notices.append(
            "no voxel has data in both volumes: nothing is fused, and each passes through alone; "
            "check that they show the same region"
        )
    on_grid = (kept, moved) if reference == 0 else (moved, kept)
    facts |= {
        "reference": modalities[reference],
        "overlap": round(share, 4),
        "spacing_mm": [round(step, 4) for step in spacing(kept.grid)],
    }
    return PreparedVolumes(
        modalities=modalities,
        are_inverted=options.are_inverted,
        sources=sources,
        on_grid=on_grid,
        windows=(window_first, window_second),
        reference=reference,
        order=to_axis(kept.grid, options.axis),
        transform=transform if options.registers else None,
        by_headers=None if transform is None else by_headers,
        info=(*filtered, *info),
        denoised=filtered,
        notices=tuple(notices),
        facts=facts,
    )


def _denoised(
    sources: tuple[Image, Image], options: VolumePrepareOptions
) -> tuple[tuple[Image, Image], tuple[str, ...]]:
    """Denoise what is to be denoised; return also a sentence about each."""
    images, sentences = list(sources), []
    for i, (modality, filtering) in enumerate(
        zip(options.modalities, options.denoise, strict=True)
    ):
        if filtering is not None:
            images[i], sentence = denoised(
                sources[i], modality, parse_denoising(modality, filtering)
            )
            sentences.append(sentence)
    return (images[0], images[1]), tuple(sentences)


def _not_numbers(modalities: tuple[str, str], sources: tuple[Image, Image]) -> list[str]:
    """Count voxels that are NaN or infinite."""
    found = []
    for name, image in zip(modalities, sources, strict=True):
        if image.pixels.dtype.kind != "f":
            continue
        count = sum(int(np.count_nonzero(~np.isfinite(part).all(-1))) for part in image.pixels)
        if count:
            share = percent(count / math.prod(image.grid.shape))
            found.append(
                f"{name}: {number_of(count, 'voxel')} ({share}) {verb_of(count)} NaN or infinite: "
                "taken as no data"
            )
    return found


def _share_data(first: Image, second: Image) -> bool:
    if first.valid is None or second.valid is None:
        return all(image.valid is None or bool(image.valid.any()) for image in (first, second))
    return bool((first.valid & second.valid).any())


def _trust(
    kept: Image, moving: Image, options: VolumePrepareOptions
) -> tuple[list[str], list[str]]:
    """Return notices and warnings on how far the alignment can be trusted."""
    spaces = (kept.frame_of_reference, moving.frame_of_reference)
    is_given = options.assumes_aligned or options.registers or options.transform is not None
    if is_given or (None not in spaces and spaces[0] == spaces[1]):
        return [], []
    further = "--assume-aligned suppresses this, --register rigid aligns them"
    if None in spaces:
        return [f"the volumes are assumed to be aligned as their headers say; {further}"], []
    words = (
        "the two series have different frames of reference, but are assumed to be aligned as their "
        "headers say: look at the preview"
    )
    return [], [f"{words}; {further}"]


# --- slices ---------------------------------------------------------------------------------------


def slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of the first axis with about SLAB pixels each."""
    count = max(1, SLAB // (shape[1] * shape[2]))
    return (slice(top, min(top + count, shape[0])) for top in range(0, shape[0], count))


def unit_slab(image: Image, slab: slice, scaling: Scaling) -> tuple[Pixels, Mask | None]:
    """Return the luminance of some slices in [0, 1], with holes filled, and where data is valid."""
    unit = unit_slices(image, slab, scaling)
    values = color.luminance(unit.pixels) if unit.is_color else unit.pixels
    return np.ascontiguousarray(values[..., 0]), unit.valid


def unit_slices(image: Image, slab: slice, scaling: Scaling) -> Image:
    """Return some slices in [0, 1], with holes filled."""
    some = replace(
        image,
        pixels=np.ascontiguousarray(image.pixels[slab]),
        grid=Grid(image.pixels[slab].shape[:3]),
        alpha=None,
        valid=None if image.valid is None else image.valid[slab],
    )
    return to_unit(some, scaling).image
