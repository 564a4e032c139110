"""Scaling of stored numbers to grey levels, and resizing to one size."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fnetcli.cli.options.group import OptionGroup
from fnetcli.cli.options.values import (
    BOTH,
    limits,
    limits_of_temperature,
    numbers_per_modality,
    per_modality,
    percentiles,
    whole_number,
)
from fnetcli.errors import UsageError
from fnetcli.text import near_miss

if TYPE_CHECKING:
    from fnetcli.imaging.intensity import ScalingOptions

PANEL = "From stored numbers to grey levels"
NONE = "none"
MAX_BITS = 32


class ScopeChoice(StrEnum):
    """Which images a stretch is measured over."""

    image = "image"
    folder = "folder"
    moving = "moving"


@dataclass(frozen=True)
class GivenScaling(OptionGroup):
    """Which stored numbers become black and white."""

    bits: Annotated[
        list[str] | None,
        typer.Option(
            "--bits",
            metavar="MODALITY=N",
            help="Bits in use; 2^N - 1 becomes white: vis=12. Default for 16-bit visible images: "
            "as many as the values in the run need.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    value_range: Annotated[
        list[str] | None,
        typer.Option(
            "--range",
            metavar="MODALITY=LO,HI",
            help="Stored numbers that become black and white: ir=29315,31315; with C at the end, "
            "degrees Celsius, for images that hold temperatures: ir=20,40C.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    stretch: Annotated[
        list[str] | None,
        typer.Option(
            "--stretch",
            metavar="[MODALITY=]LO,HI",
            help="Percentiles that become black and white, or minmax, or none. Applies to images "
            "that are neither 8-bit nor 16-bit visible; with MODALITY= to all of that modality. "
            "Default: 0.1,99.9.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    invert: Annotated[
        list[str] | None,
        typer.Option(
            "--invert",
            metavar="MODALITY",
            help="Swap black and white: ir for black-hot thermal images.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None

    nodata: Annotated[
        list[str] | None,
        typer.Option(
            "--nodata",
            metavar="MODALITY=VALUE|none",
            help="The stored number that means no data: ir=-9999; repeatable. none: no number "
            "does, not even one that a file declares. Default: numbers that files declare, and "
            "those of dead pixels, borders and telemetry far from all other numbers.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    repair_dead: Annotated[
        list[str] | None,
        typer.Option(
            "--repair-dead",
            metavar="MODALITY",
            help="Replace dead and stuck pixels by the median around them.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    palette: Annotated[
        list[str] | None,
        typer.Option(
            "--palette",
            metavar="MODALITY=NAME",
            help="Undo the palette of false-colour pictures: auto (the nearest), jet, iron, "
            "rainbow, inferno, magma, plasma, viridis, turbo or hot. Default: none; luminance is "
            "used.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None

    def of_pictures(self) -> dict[str, object]:
        """Return the given options that apply only to pictures, with their values."""
        return {"--bits": self.bits, "--stretch": self.stretch, **self.of_corrections()}

    def of_corrections(self) -> dict[str, list[str] | None]:
        """Return the given options of what is done before scaling, with their values."""
        return {
            "--nodata": self.nodata,
            "--repair-dead": self.repair_dead,
            "--palette": self.palette,
        }

    def options(self, modalities: tuple[str, str]) -> tuple[ScalingOptions, ScalingOptions]:
        """Return how to scale both modalities. Raise UsageError."""
        from fnetcli.imaging.intensity import DEFAULT_STRETCH, Corrections, ScalingOptions
        from fnetcli.modalities import BY_NAME

        rules = {
            "--bits": per_modality("--bits", self.bits, modalities),
            "--range": per_modality("--range", self.value_range, modalities),
            "--stretch": per_modality("--stretch", self.stretch, modalities, has_default=True),
        }
        inverted, repaired = self.invert or (), self.repair_dead or ()
        for option, named in (("--invert", inverted), ("--repair-dead", repaired)):
            for modality in {*named} - {*modalities}:
                raise UsageError(
                    f"{option} {modality}: not one of the two images; use {' or '.join(modalities)}"
                )
        nodata = numbers_per_modality("--nodata", self.nodata, modalities)
        palettes = per_modality("--palette", self.palette, modalities)
        for modality, name in palettes.items():
            _require_palette(modality, name)

        def one(modality: str) -> ScalingOptions:
            named = [option for option, values in rules.items() if modality in values]
            if len(named) > 1:
                raise UsageError(
                    f"{named[0]} and {named[1]}: both say how {modality} is scaled; leave one out"
                )
            of_all, of_this = rules["--stretch"].get(BOTH), rules["--stretch"].get(modality)
            text = of_all if of_this is None else of_this
            span = rules["--range"].get(modality)
            celsius = limits_of_temperature(span, modality)
            if celsius is not None and not BY_NAME[modality].is_thermal:
                raise UsageError(
                    f"--range {modality}={span}: only ir images hold temperatures; leave out the C"
                )
            return ScalingOptions(
                limits=celsius or limits("--range", span, modality),
                in_celsius=celsius is not None,
                bits=whole_number("--bits", rules["--bits"].get(modality), MAX_BITS, modality),
                stretch=DEFAULT_STRETCH
                if text is None
                else percentiles(text, BOTH if of_this is None else modality),
                stretches_all=of_this is not None,
                is_inverted=modality in inverted,
                corrections=Corrections(
                    nodata=nodata.get(modality),
                    repairs_dead=modality in repaired,
                    palette=palettes.get(modality, NONE),
                ),
            )

        first, second = modalities
        return one(first), one(second)


def _require_palette(modality: str, name: str) -> None:
    """Raise UsageError for a palette that does not exist, or where colours are no palette."""
    from fnetcli.imaging.palettes import CHOICES
    from fnetcli.modalities import BY_NAME

    if name not in CHOICES:
        todo = near_miss(name, CHOICES) or f"use one of {', '.join(CHOICES)}"
        raise UsageError(f"--palette {modality}={name}: unknown; {todo}")
    if BY_NAME[modality].carries_color and name != NONE:
        raise UsageError(
            f"--palette {modality}={name}: the colours of {modality} are kept; leave it out"
        )


@dataclass(frozen=True)
class GivenScope(OptionGroup):
    """Which images of a run a stretch is measured over."""

    stretch_scope: Annotated[
        ScopeChoice | None,
        typer.Option(
            "--stretch-scope",
            help="image: a range for each image; folder: one range for all, the default for films; "
            "moving: a range that follows the film.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None

    def given(self) -> dict[str, object]:
        """Return the given options with their values."""
        return {"--stretch-scope": self.stretch_scope not in {None, ScopeChoice.image}}

    @property
    def of_pictures(self) -> Literal["image", "folder"]:
        """Which pictures a range is measured over. Raise UsageError."""
        if self.stretch_scope is ScopeChoice.moving:
            raise UsageError("--stretch-scope moving: applies only to films; use folder or image")
        return "folder" if self.stretch_scope is ScopeChoice.folder else "image"


@dataclass(frozen=True)
class GivenSize(OptionGroup):
    """Which image's size is kept."""

    resize: Annotated[
        str | None,
        typer.Option(
            "--resize",
            metavar="MODALITY",
            help="If the two sizes differ, keep this image's size and resize the other image.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None

    def given(self) -> dict[str, object]:
        """Return the given options with their values."""
        return {"--resize": self.resize}
