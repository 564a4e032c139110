"""Scaling of stored numbers to grey levels, and resizing to one size."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from fnetcli.cli.options.group import OptionGroup
from fnetcli.cli.options.values import (
    BOTH,
    limits,
    limits_of_temperature,
    per_modality,
    percentiles,
    whole_number,
)
from fnetcli.errors import UsageError

if TYPE_CHECKING:
    from fnetcli.imaging.intensity import ScalingOptions

PANEL = "From stored numbers to grey levels"
MAX_BITS = 32


class ScopeChoice(StrEnum):
    """Which images a stretch is measured over."""

    image = "image"
    folder = "folder"


@dataclass(frozen=True)
class GivenScaling(OptionGroup):
    """Which stored numbers become black and white."""

    bits: Annotated[
        list[str] | None,
        typer.Option(
            "--bits",
            metavar="MODALITY=N",
            help="Bits in use; 2^N - 1 becomes white: vis=12. Default for 16-bit visible images: "
            "10 if no value in the run exceeds 1023, 12 if none exceeds 4095, else 16.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    value_range: Annotated[
        list[str] | None,
        typer.Option(
            "--range",
            metavar="MODALITY=LO,HI",
            help="Stored numbers that become black and white: ir=29315,31315; with a C at the end, "
            "degrees Celsius of images that hold temperatures: ir=20,40C.",
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

    def of_pictures(self) -> dict[str, object]:
        """Return the given options that apply only to pictures, with their values."""
        return {"--bits": self.bits, "--stretch": self.stretch}

    def options(self, modalities: tuple[str, str]) -> tuple[ScalingOptions, ScalingOptions]:
        """Return how to scale both modalities. Raise UsageError."""
        from fnetcli.imaging.intensity import DEFAULT_STRETCH, ScalingOptions
        from fnetcli.modalities import BY_NAME

        rules = {
            "--bits": per_modality("--bits", self.bits, modalities),
            "--range": per_modality("--range", self.value_range, modalities),
            "--stretch": per_modality("--stretch", self.stretch, modalities, has_default=True),
        }
        inverted = self.invert or ()
        for modality in {*inverted} - {*modalities}:
            raise UsageError(
                f"--invert {modality}: not one of the two images; use {' or '.join(modalities)}"
            )

        def one(modality: str) -> ScalingOptions:
            named = [option for option, values in rules.items() if modality in values]
            if len(named) > 1:
                raise UsageError(
                    f"{named[0]} and {named[1]}: both say how {modality} is scaled; leave one out"
                )
            of_all, of_this = rules["--stretch"].get(BOTH), rules["--stretch"].get(modality)
            text = of_all if of_this is None else of_this
            span = rules["--range"].get(modality)
            celsius = limits_of_temperature(span)
            if celsius is not None and not BY_NAME[modality].is_thermal:
                raise UsageError(
                    f"--range {modality}={span}: only ir images hold temperatures; leave out the C"
                )
            return ScalingOptions(
                limits=celsius or limits("--range", span),
                in_celsius=celsius is not None,
                bits=whole_number("--bits", rules["--bits"].get(modality), MAX_BITS),
                stretch=DEFAULT_STRETCH if text is None else percentiles(text),
                stretches_all=of_this is not None,
                is_inverted=modality in inverted,
            )

        first, second = modalities
        return one(first), one(second)


@dataclass(frozen=True)
class GivenScope(OptionGroup):
    """Which images of a run a stretch is measured over."""

    stretch_scope: Annotated[
        ScopeChoice,
        typer.Option(
            "--stretch-scope",
            help="Stretch each image on its own, or all with one range (no flicker in sequences).",
            rich_help_panel=PANEL,
        ),
    ] = ScopeChoice.image

    def given(self) -> dict[str, object]:
        """Return the given options with their values."""
        return {"--stretch-scope": self.stretch_scope is not ScopeChoice.image}


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
