"""Volumes: DICOM series and NIfTI files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fnetcli.cli.options.files import GivenPairing, GivenReading
from fnetcli.cli.options.group import OptionGroup
from fnetcli.cli.options.registration import GivenRegistration
from fnetcli.cli.options.values import per_modality
from fnetcli.errors import UsageError

if TYPE_CHECKING:
    from fnetcli.formats.volumes import VolumeOptions
    from fnetcli.imaging.intensity import ScalingOptions
    from fnetcli.inputs.bids import BidsName
    from fnetcli.inputs.pairing import Pairing
    from fnetcli.products import Gains
    from fnetcli.volumes.mix import VolumeMixOptions
    from fnetcli.volumes.prepare import VolumePrepareOptions
    from fnetcli.volumes.resample import Matrix

PANEL = "Volumes: DICOM series, NIfTI and other files"
MAX_VOLUMES = 100_000
SUFFIXES = {"ct": "ct", "mri": "T1w", "mri2": "FLAIR", "pet": "pet", "spect": "spect"}  # examples


class LayoutChoice(StrEnum):
    """What two folders hold."""

    auto = "auto"
    pairs = "pairs"
    series = "series"
    cases = "cases"
    bids = "bids"


class AxisChoice(StrEnum):
    """The anatomical orientation of the slices."""

    auto = "auto"
    axial = "axial"
    coronal = "coronal"
    sagittal = "sagittal"


class InterpolationChoice(StrEnum):
    """How values between voxels are interpolated."""

    linear = "linear"
    nearest = "nearest"
    cubic = "cubic"


class UnevenChoice(StrEnum):
    """What happens to slices of uneven spacing."""

    resample = "uneven=resample"
    refuse = "uneven=refuse"


class BelowChoice(StrEnum):
    """What lies below the colours of PET or SPECT."""

    fused = "fused"
    anatomy = "anatomy"


class TargetChoice(StrEnum):
    """The file format of fused volumes."""

    nifti = "nifti"
    nrrd = "nrrd"
    mha = "mha"
    dicom = "dicom"
    png = "png"
    tiff = "tiff"


# --- which ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GivenLayout(OptionGroup):
    """What two paths mean, and the name of a single case."""

    layout: Annotated[
        LayoutChoice,
        typer.Option(
            "--layout",
            help="What two folders hold: pairs of pictures, one series each, or cases (one "
            "sub-folder or volume file per case). auto detects it and reports the result. bids: a "
            "BIDS data set, twice (or two), with --entity; OUT becomes a BIDS derivative.",
            rich_help_panel=PANEL,
        ),
    ] = LayoutChoice.auto
    entity: Annotated[
        list[str] | None,
        typer.Option(
            "--entity",
            metavar="MODALITY=[KEY-[LABEL]_]SUFFIX,...",
            help="With --layout bids: which files are of which modality, by suffix and, if "
            "needed, entities: ct=_ct,mri=_T1w or ct=_ct,mri=acq-mprage_run-1_T1w. An entity "
            "without a label must be absent: mri=ce-_T1w.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="CASE",
            help="Name of a single case. Default: the name of its file or folder.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    each_volume: Annotated[
        bool,
        typer.Option(
            "--each-volume",
            help="Fuse all volumes of 4-D files and series (time points, echoes, b-values), as "
            "cases CASE/0001, CASE/0002, ... with one window for all of them.",
            rich_help_panel=PANEL,
        ),
    ] = False

    def given(self) -> dict[str, object]:
        """Return the given options with their values."""
        return {
            "--layout": self.layout is not LayoutChoice.auto,
            "--name": self.name,
            "--each-volume": self.each_volume,
            "--entity": self.entity,
        }

    def entities(
        self, modalities: tuple[str, str], pairing: GivenPairing
    ) -> tuple[BidsName, BidsName] | None:
        """Return which files of BIDS data sets are of either modality. Raise UsageError."""
        from fnetcli.inputs.bids import read_rule

        if self.layout is not LayoutChoice.bids:
            if self.entity:
                raise UsageError("--entity: goes with --layout bids; add it, or leave this out")
            return None
        others = {"--name": self.name, "--each-volume": self.each_volume, **pairing.of_names()}
        for option, value in others.items():
            if value:
                raise UsageError(f"{option} and --layout bids: names of BIDS decide; leave one out")
        texts = [one for text in self.entity or () for one in text.split(",")]
        given = per_modality("--entity", texts, modalities)
        for name in modalities:
            if name not in given:
                raise UsageError(
                    f"--layout bids: no --entity of {name}; name the suffix of its files, such as "
                    f"--entity {name}=_{SUFFIXES[name]}"
                )
        first, second = (
            read_rule(f"--entity {name}={given[name]}", given[name]) for name in modalities
        )
        return first, second


@dataclass(frozen=True)
class FoundInputs:
    """The modalities in the network's order, the cases, and whether they are volumes."""

    modalities: tuple[str, str]
    pairing: Pairing
    has_volumes: bool
    info: str | None = None  # how the paths were understood

    def with_each_volume(
        self, options: VolumePrepareOptions, on_step: Callable[[], None]
    ) -> FoundInputs:
        """Return a case for every volume of series and files that hold several.

        Raise UsageError.
        """
        from fnetcli.volumes.sequence import each_volume

        if None not in [reading.volume for reading in options.reading]:
            raise UsageError(
                "--each-volume and --volume: of both sides one volume is chosen; leave one out"
            )
        found = each_volume(self.pairing, options.readings, options.modalities, on_step)
        return replace(self, pairing=found)


def find_inputs(
    images: dict[str, Path],
    pairing: GivenPairing,
    reading: GivenReading,
    layout: GivenLayout | None = None,
) -> FoundInputs:
    """Find out what the given paths mean. Raise UsageError."""
    from fnetcli.modalities import VOLUMETRIC, network_order

    kind: Literal["auto", "pairs", "series", "cases", "bids"]
    kind, name = (layout.layout.value, layout.name) if layout else ("auto", None)
    if pairing.pairs is not None or not {*images} <= {*VOLUMETRIC}:
        given = {} if layout is None else layout.given()
        if pairing.pairs is not None:
            given.pop("--each-volume", None)  # volumes are known when the list is read
        if option := next((name for name, value in given.items() if value), None):
            raise UsageError(
                f"{option}: applies only to two of {', '.join(VOLUMETRIC)}, without --pairs; leave "
                "it out"
            )
        modalities, found_pairs = pairing.find(images, reading)
        return FoundInputs(modalities, found_pairs, _are_volumes(modalities, found_pairs))
    from fnetcli.inputs.layout import read_layout  # slow to import, and only volumes need it

    modalities = first, second = network_order(list(images))
    options = pairing.options(modalities, reading)
    entities = None if layout is None else layout.entities(modalities, pairing)
    found = read_layout(images[first], images[second], kind, name, options, entities)
    is_plain = found.kind == "pairs" and found.pairing.source == "files"
    info = None if is_plain else found.sentence
    return FoundInputs(modalities, found.pairing, found.kind != "pairs", info)


def _are_volumes(modalities: tuple[str, str], pairing: Pairing) -> bool:
    """Whether a list names volumes, judging by the first file that is there."""
    from fnetcli.modalities import VOLUMETRIC

    if not {*modalities} <= {*VOLUMETRIC}:
        return False
    from fnetcli.formats.volumes import is_volume

    paths = (path for case in pairing.cases for path in (case.first, case.second))
    there = next((path for path in paths if path.exists()), None)
    return there is not None and is_volume(there)


# --- what the network sees of them ----------------------------------------------------------------


@dataclass(frozen=True)
class GivenVolume(OptionGroup):
    """Which slices the network sees."""

    series: Annotated[
        list[str] | None,
        typer.Option(
            "--series",
            metavar="MODALITY=TEXT",
            help="Choose among several DICOM series, by UID, number or description.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    volume: Annotated[
        list[str] | None,
        typer.Option(
            "--volume",
            metavar="MODALITY=N",
            help="Volume of a 4-D file or series (time point, echo, b-value), counted from 1.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    spacing: Annotated[
        UnevenChoice | None,
        typer.Option(
            "--spacing",
            metavar="uneven=resample|refuse",
            help="DICOM slices of uneven spacing: resample them to even ones (default), with a "
            "notice, or refuse them. Missing slices are always refused.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    window: Annotated[
        list[str] | None,
        typer.Option(
            "--window",
            metavar="MODALITY=WINDOW",
            help="ct=soft (default), brain, stroke, subdural, bone, lung, mediastinum, liver, "
            "WIDTH,CENTER or auto; other modalities: WIDTH,CENTER or auto.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    denoise: Annotated[
        list[str] | None,
        typer.Option(
            "--denoise",
            metavar="MODALITY=FILTER",
            help="Filter a CT or MRI before everything else, keeping edges: ct=median, or "
            "ct=median:MM for all voxels within a radius in millimetres. Default: no filter.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    axis: Annotated[
        AxisChoice,
        typer.Option(
            "--axis",
            help="Orientation of the slices that the network sees; auto: as the reference was "
            "acquired.",
            rich_help_panel=PANEL,
        ),
    ] = AxisChoice.auto

    def given(self) -> dict[str, object]:
        """Return the given options with their values."""
        return {
            "--series": self.series,
            "--volume": self.volume,
            "--spacing": self.spacing,
            "--window": self.window,
            "--denoise": self.denoise,
            "--axis": self.axis is not AxisChoice.auto,
        }

    def options(
        self,
        modalities: tuple[str, str],
        scaling: tuple[ScalingOptions, ScalingOptions],
        pixel_limit: int,
        reference: str | None,
    ) -> VolumePrepareOptions:
        """Return how to prepare volumes for the network. Raise UsageError."""
        from fnetcli.volumes.prepare import VolumePrepareOptions

        windows = per_modality("--window", self.window, modalities)
        denoise = per_modality("--denoise", self.denoise, modalities)
        first, second = modalities
        return VolumePrepareOptions(
            modalities=modalities,
            reading=self._reading(modalities, pixel_limit),
            windows=(windows.get(first), windows.get(second)),
            limits=(scaling[0].limits, scaling[1].limits),
            are_inverted=(scaling[0].is_inverted, scaling[1].is_inverted),
            denoise=(denoise.get(first), denoise.get(second)),
            reference=reference,
            axis=self.axis.value,
        )

    def _reading(
        self, modalities: tuple[str, str], pixel_limit: int
    ) -> tuple[VolumeOptions, VolumeOptions]:
        from fnetcli.formats.volumes import VolumeOptions

        series = per_modality("--series", self.series, modalities)
        volume = per_modality("--volume", self.volume, modalities)

        refuses = self.spacing is UnevenChoice.refuse

        def one(modality: str) -> VolumeOptions:
            number = _number(modality, volume.get(modality))
            return VolumeOptions(series.get(modality), number, pixel_limit, refuses)

        first, second = modalities
        return one(first), one(second)


def _number(modality: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= len(text) <= 6 or not 1 <= int(text) <= MAX_VOLUMES:
        raise UsageError(f"--volume {modality}={text}: give a number from 1 to {MAX_VOLUMES}")
    return int(text)


@dataclass(frozen=True)
class GivenAlignment(OptionGroup):
    """How one volume is resampled onto the grid of the other."""

    interpolation: Annotated[
        InterpolationChoice,
        typer.Option(
            "--interpolation",
            help="Interpolation for resampling onto the reference's grid.",
            rich_help_panel=PANEL,
        ),
    ] = InterpolationChoice.linear
    distrust_headers: Annotated[
        bool,
        typer.Option(
            "--distrust-headers",
            help="Let --register move a volume by more than 2 mm although both series have one "
            "frame of reference.",
            rich_help_panel=PANEL,
        ),
    ] = False
    assume_aligned: Annotated[
        bool,
        typer.Option(
            "--assume-aligned",
            help="Suppress the warning that headers do not prove the volumes are aligned.",
            rich_help_panel=PANEL,
        ),
    ] = False

    def given(self) -> dict[str, object]:
        """Return the given options with their values."""
        return {
            "--interpolation": self.interpolation is not InterpolationChoice.linear,
            "--distrust-headers": self.distrust_headers,
            "--assume-aligned": self.assume_aligned,
        }

    def applied_to(
        self,
        options: VolumePrepareOptions,
        registration: GivenRegistration,
        *,
        is_strict: bool = False,
    ) -> VolumePrepareOptions:
        """Return the options with this alignment added. Raise UsageError, ReadError."""
        from fnetcli.volumes.prepare import require_one_alignment

        registration.require_for_volumes()
        if registration.is_rigid:
            require_one_alignment(has_transform=registration.transform is not None)
        return replace(
            options,
            interpolation=self.interpolation.value,
            registers=registration.is_rigid,
            distrusts_headers=self.distrust_headers,
            requires_registration=is_strict,
            transform=_read_transform(registration.transform),
            assumes_aligned=self.assume_aligned,
        )


def _read_transform(path: Path | None) -> Matrix | None:
    from fnetcli.formats.transforms import read_transform

    if path is None:
        return None
    try:
        return read_transform(path)
    except UsageError as missing:
        raise UsageError(f"--transform {missing}") from None


@dataclass(frozen=True)
class GivenVolumeResults(OptionGroup):
    """What is written for volumes."""

    to: Annotated[
        TargetChoice,
        typer.Option("--to", help="File format of fused volumes.", rich_help_panel=PANEL),
    ] = TargetChoice.nifti
    colormap: Annotated[
        str | None,
        typer.Option(
            "--colormap",
            metavar="NAME",
            help="Colours of PET or SPECT over the fused volume, in fused_color and the preview: "
            "hot (default), hot-iron, inferno, magma, rainbow. --grey leaves them out.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    opacity: Annotated[
        float | None,
        typer.Option(
            "--opacity",
            metavar="0..1",
            help="How much these colours cover what lies below, where uptake is high. "
            "Default: 0.7.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    below: Annotated[
        BelowChoice,
        typer.Option(
            "--below",
            help="What lies below these colours: the fused grey, or the unchanged CT or MRI.",
            rich_help_panel=PANEL,
        ),
    ] = BelowChoice.fused

    multi_frame: Annotated[
        bool,
        typer.Option(
            "--multi-frame",
            help="With --to dicom: write captures in colour as one file with a frame per slice.",
            rich_help_panel=PANEL,
        ),
    ] = False
    keep_shear: Annotated[
        bool,
        typer.Option(
            "--keep-shear",
            help="Write NIfTI, NRRD and MHA on the sheared grid of a tilted reference, which ITK "
            "does not open, instead of resampling them.",
            rich_help_panel=PANEL,
        ),
    ] = False

    def given(self) -> dict[str, object]:
        """Return the given options with their values."""
        return {
            "--to": self.to is not TargetChoice.nifti,
            "--colormap": self.colormap,
            "--opacity": self.opacity is not None,
            "--below": self.below is not BelowChoice.fused,
            "--multi-frame": self.multi_frame,
            "--keep-shear": self.keep_shear,
        }

    def mix(self, gains: Gains, *, is_grey: bool) -> VolumeMixOptions:
        """Return how to mix fused volumes. Raise UsageError."""
        from fnetcli.volumes.mix import VolumeMixOptions

        return VolumeMixOptions(gains, self.colormap, self.opacity, self.below.value, is_grey)


# --- what does not fit ----------------------------------------------------------------------------


def refuse_for_pictures(*given: dict[str, object]) -> None:
    """Raise UsageError if an option that applies only to volumes was given for pictures."""
    for option, value in ((name, value) for one in given for name, value in one.items()):
        if value:
            raise UsageError(
                f"{option}: applies only to volumes (DICOM, NIfTI), but pictures are fused; leave "
                "it out"
            )


def refuse_for_volumes(given: dict[str, object]) -> None:
    """Raise UsageError if an option that applies only to pictures was given for volumes."""
    for option, value in given.items():
        if value:
            raise UsageError(
                f"{option}: applies only to pictures, but volumes (DICOM, NIfTI) are fused; leave "
                "it out"
            )


def require_folder(out: Path) -> None:
    """Raise UsageError if the output path for volumes is a file name."""
    if out.name.lower().endswith((".nii", ".nii.gz", ".dcm", ".nrrd", ".mha")) and not out.is_dir():
        raise UsageError(
            f"-o {out}: names a file; give a folder for volumes, and choose the format with --to"
        )
