"""Options of `fnet fuse` for volumes: DICOM and NIfTI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fnetcli.cli.console import Console
from fnetcli.cli.options import find_pairs, per_modality
from fnetcli.errors import UsageError

if TYPE_CHECKING:
    from fnetcli.imaging.intensity import ScalingOptions
    from fnetcli.inputs.pairing import Case, Pairing
    from fnetcli.volumes.fuse import Volumes
    from fnetcli.volumes.resample import Matrix

_VOLUMES = "Volumes: DICOM series and NIfTI files"
MOST_VOLUMES = 100_000


class LayoutChoice(StrEnum):
    """What two folders mean."""

    auto = "auto"
    pairs = "pairs"
    series = "series"
    cases = "cases"


class AxisChoice(StrEnum):
    """Along which anatomical axis slices lie."""

    auto = "auto"
    axial = "axial"
    coronal = "coronal"
    sagittal = "sagittal"


class InterpolationChoice(StrEnum):
    """How values between voxels are found."""

    linear = "linear"
    nearest = "nearest"
    cubic = "cubic"


class RegisterChoice(StrEnum):
    """How the moving volume is aligned first."""

    none = "none"
    rigid = "rigid"


class Target(StrEnum):
    """What kind of file fused volumes are."""

    nifti = "nifti"
    dicom = "dicom"
    png = "png"
    tiff = "tiff"


Layout = Annotated[
    LayoutChoice,
    typer.Option(
        "--layout",
        help="What two folders hold: pairs of pictures, one series each, or cases (a sub-folder or "
        "volume file for each). auto looks, and says what it found.",
        rich_help_panel=_VOLUMES,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="CASE",
        help="Name of the one case. Default: its file or folder.",
        show_default=False,
        rich_help_panel=_VOLUMES,
    ),
]
Series = Annotated[
    list[str] | None,
    typer.Option(
        "--series",
        metavar="MODALITY=TEXT",
        help="Which of several DICOM series: its UID, number or description.",
        show_default=False,
        rich_help_panel=_VOLUMES,
    ),
]
Volume = Annotated[
    list[str] | None,
    typer.Option(
        "--volume",
        metavar="MODALITY=N",
        help="Which volume of a 4-D NIfTI file, from 1 on.",
        show_default=False,
        rich_help_panel=_VOLUMES,
    ),
]
Window = Annotated[
    list[str] | None,
    typer.Option(
        "--window",
        metavar="MODALITY=WINDOW",
        help="ct=soft (default), brain, bone, lung, WIDTH,CENTER or auto; other modalities: "
        "WIDTH,CENTER or auto.",
        show_default=False,
        rich_help_panel=_VOLUMES,
    ),
]
Reference = Annotated[
    str | None,
    typer.Option(
        "--reference",
        metavar="MODALITY|finest",
        help="Whose grid the results lie on. Default: the MRI's, else the CT's.",
        show_default=False,
        rich_help_panel=_VOLUMES,
    ),
]
Interpolation = Annotated[
    InterpolationChoice,
    typer.Option("--interpolation", help="Onto the reference's grid.", rich_help_panel=_VOLUMES),
]
Axis = Annotated[
    AxisChoice,
    typer.Option(
        "--axis",
        help="Which slices the network sees; auto: as the reference was acquired.",
        rich_help_panel=_VOLUMES,
    ),
]
Register = Annotated[
    RegisterChoice,
    typer.Option(
        "--register",
        help="Align by mutual information first (needs SimpleITK: fnetcli[register]).",
        rich_help_panel=_VOLUMES,
    ),
]
Transform = Annotated[
    Path | None,
    typer.Option(
        "--transform",
        metavar="FILE",
        help="ITK transform (text) from points of the reference to points of the other volume.",
        show_default=False,
        rich_help_panel=_VOLUMES,
    ),
]
AssumeAligned = Annotated[
    bool,
    typer.Option(
        "--assume-aligned",
        help="Say nothing of volumes whose headers do not prove that they lie in one space.",
        rich_help_panel=_VOLUMES,
    ),
]
To = Annotated[
    Target,
    typer.Option("--to", help="What fused volumes are written as.", rich_help_panel=_VOLUMES),
]
Colormap = Annotated[
    str | None,
    typer.Option(
        "--colormap",
        metavar="NAME",
        help="Also lay PET or SPECT colours over the fused volume: hot, hot-iron, inferno, magma, "
        "rainbow.",
        show_default=False,
        rich_help_panel=_VOLUMES,
    ),
]


@dataclass(frozen=True)
class VolumeChoices:
    """What was said of volumes on the command line."""

    series: list[str] | None
    volume: list[str] | None
    window: list[str] | None
    reference: str | None
    interpolation: InterpolationChoice
    axis: AxisChoice
    register: RegisterChoice
    transform: Path | None
    assume_aligned: bool
    to: Target
    colormap: str | None

    def refuse(self) -> None:
        """Raise UsageError where pictures are fused and something was said of volumes."""
        said = {
            "--series": self.series,
            "--volume": self.volume,
            "--window": self.window,
            "--reference": self.reference,
            "--interpolation": self.interpolation is not InterpolationChoice.linear,
            "--axis": self.axis is not AxisChoice.auto,
            "--register": self.register is not RegisterChoice.none,
            "--transform": self.transform,
            "--assume-aligned": self.assume_aligned,
            "--to": self.to is not Target.nifti,
            "--colormap": self.colormap,
        }
        for option, value in said.items():
            if value:
                raise UsageError(
                    f"{option}: is for volumes (DICOM, NIfTI), but pictures are fused; leave it out"
                )


def find_cases(
    console: Console,
    images: dict[str, Path],
    pairs: Path | None,
    suffix: list[str] | None,
    layout: Literal["auto", "pairs", "series", "cases"],
    name: str | None,
    *,
    is_recursive: bool,
) -> tuple[tuple[str, str], Pairing, bool]:
    """Return the modalities in the network's order, the cases, and whether they are volumes.

    Only CT, MRI, PET and SPECT come as volumes. Raise UsageError.
    """
    from fnetcli.inputs.layout import read_layout
    from fnetcli.inputs.pairing import PairingOptions
    from fnetcli.modalities import VOLUMETRIC, network_order

    if pairs is not None or not {*images} <= {*VOLUMETRIC}:
        if layout != "auto" or name is not None:
            raise UsageError(
                f"{'--name' if layout == 'auto' else '--layout'}: is for two of "
                f"{', '.join(VOLUMETRIC)}, without a list; leave it out"
            )
        return (*find_pairs(images, pairs, suffix, is_recursive=is_recursive), False)
    modalities = first, second = network_order(list(images))
    stripped = per_modality("--suffix", suffix, modalities)
    options = PairingOptions(is_recursive, (stripped.get(first, ""), stripped.get(second, "")))
    found = read_layout(images[first], images[second], layout, name, options)
    if found.kind != "pairs" or found.pairing.source != "files":
        console.notice(found.reading)
    return modalities, found.pairing, found.kind != "pairs"


def volume_walk(
    choices: VolumeChoices,
    modalities: tuple[str, str],
    cases: Sequence[Case],
    scaling: tuple[ScalingOptions, ScalingOptions],
    *,
    pixel_limit: int,
    gains: tuple[float, float, float],
    with_maps: bool,
    on_slices: Callable[[int, int, int], None],
) -> Volumes:
    """Return how volumes are fused; raise UsageError, ReadError for the transform's file."""
    from fnetcli.formats.volumes import VolumeOptions
    from fnetcli.imaging.color import COLORMAPS
    from fnetcli.volumes.fuse import EMISSION, VolumeFuseOptions, Volumes, require_target
    from fnetcli.volumes.registration import require_simpleitk
    from fnetcli.volumes.windows import parse_window

    series = per_modality("--series", choices.series, modalities)
    volume = per_modality("--volume", choices.volume, modalities)
    windows = per_modality("--window", choices.window, modalities)
    for modality, text in windows.items():
        parse_window(text, modality)
    for modality, one in zip(modalities, scaling, strict=True):
        if one.limits is not None and modality in windows:
            raise UsageError(
                f"--window and --range: both say how {modality} is scaled; leave one out"
            )
    if choices.reference is not None and choices.reference not in (*modalities, "finest"):
        raise UsageError(
            f"--reference {choices.reference}: not one of the two volumes; "
            f"use {', '.join(modalities)} or finest"
        )
    if choices.colormap is not None and choices.colormap not in COLORMAPS:
        raise UsageError(
            f"--colormap {choices.colormap}: unknown; use one of {', '.join(COLORMAPS)}"
        )
    if choices.colormap is not None and not {*modalities} & {*EMISSION}:
        raise UsageError("--colormap: colours PET or SPECT, of which there is none; leave it out")
    if choices.register is RegisterChoice.rigid:
        if choices.transform is not None:
            raise UsageError("--register and --transform: both align the volumes; leave one out")
        require_simpleitk()

    def reading(modality: str) -> VolumeOptions:
        return VolumeOptions(
            series.get(modality), _number(modality, volume.get(modality)), pixel_limit
        )

    first, second = modalities
    options = VolumeFuseOptions(
        modalities=modalities,
        reading=(reading(first), reading(second)),
        windows=(windows.get(first), windows.get(second)),
        limits=(scaling[0].limits, scaling[1].limits),
        are_inverted=(scaling[0].is_inverted, scaling[1].is_inverted),
        reference=choices.reference,
        interpolation=choices.interpolation.value,
        axis=choices.axis.value,
        registers=choices.register is RegisterChoice.rigid,
        transform=_transform(choices.transform),
        assumes_aligned=choices.assume_aligned,
        target=choices.to.value,
        colormap=choices.colormap,
        with_maps=with_maps,
        gains=gains,
    )
    require_target(cases, options)
    return Volumes(options, on_slices)


def _transform(path: Path | None) -> Matrix | None:
    from fnetcli.formats.transforms import read_transform

    if path is None:
        return None
    try:
        return read_transform(path)
    except UsageError as missing:
        raise UsageError(f"--transform {missing}") from None


def _number(modality: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= len(text) <= 6 or not 1 <= int(text) <= MOST_VOLUMES:
        raise UsageError(f"--volume {modality}={text}: give a number from 1 to {MOST_VOLUMES}")
    return int(text)


def refuse_of_pictures(said: dict[str, object], out: Path) -> None:
    """Raise UsageError where volumes are fused and something was said that only pictures have."""
    if out.name.lower().endswith((".nii", ".nii.gz", ".dcm")) and not out.is_dir():
        raise UsageError(f"-o {out}: names a file; volumes take a folder, and --to says the format")
    for option, value in said.items():
        if value:
            raise UsageError(
                f"{option}: is for pictures, but volumes (DICOM, NIfTI) are fused; leave it out"
            )
