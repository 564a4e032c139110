"""Which files, and which belong together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fnetcli.cli.options.group import OptionGroup
from fnetcli.cli.options.values import BOTH, per_modality, whole_number
from fnetcli.errors import UsageError

if TYPE_CHECKING:
    from fnetcli.formats import ReadOptions
    from fnetcli.inputs.pairing import Pairing, PairingOptions

PANEL = "Which files, and which belong together"
MAX_PAGES = 1_000_000


@dataclass(frozen=True)
class GivenPairing(OptionGroup):
    """How files are paired."""

    pairs: Annotated[
        Path | None,
        typer.Option(
            "--pairs",
            metavar="FILE.csv",
            help="A list instead of two image options: its first line names two modalities, as "
            "vis,ir, and case if wanted; paths are relative to the list.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    recursive: Annotated[
        bool,
        typer.Option(
            "--recursive", help="Look in sub-folders too; results keep them.", rich_help_panel=PANEL
        ),
    ] = False
    suffix: Annotated[
        list[str] | None,
        typer.Option(
            "--suffix",
            metavar="MODALITY=TEXT",
            help="Take only files whose names end so, and pair them without it: vis=_RGB, ir=_T.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Exit code 1 where files have no partner.", rich_help_panel=PANEL
        ),
    ] = False

    def find(self, images: dict[str, Path]) -> tuple[tuple[str, str], Pairing]:
        """Return the modalities in the network's order, and the cases. Raise UsageError."""
        from fnetcli.inputs.pairing import pair_list, pair_paths
        from fnetcli.modalities import network_order

        if self.pairs is None:
            modalities = first, second = network_order(list(images))
            return modalities, pair_paths(images[first], images[second], self.options(modalities))
        unfit = {
            f"--{min(images, default='')}": images,
            "--suffix": self.suffix,
            "--recursive": self.recursive,
        }
        for option, value in unfit.items():
            if value:
                raise UsageError(f"{option} and --pairs: the list names the files; leave one out")
        return pair_list(self.pairs)

    def options(self, modalities: tuple[str, str]) -> PairingOptions:
        """Return how names are compared. Raise UsageError."""
        from fnetcli.inputs.pairing import PairingOptions

        first, second = modalities
        stripped = per_modality("--suffix", self.suffix, modalities)
        return PairingOptions(self.recursive, (stripped.get(first, ""), stripped.get(second, "")))


@dataclass(frozen=True)
class GivenReading(OptionGroup):
    """What of a file is read."""

    page: Annotated[
        list[str] | None,
        typer.Option(
            "--page",
            metavar="[MODALITY=]N",
            help="Which page of multi-page TIFF files, from 1 on.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    max_pixels: Annotated[
        float,
        typer.Option(
            "--max-pixels",
            metavar="MEGAPIXELS",
            help="Refuse larger images before they are decoded.",
            min=0.000001,
            rich_help_panel=PANEL,
        ),
    ] = 500.0

    def options(self, modalities: tuple[str, str]) -> tuple[ReadOptions, ReadOptions]:
        """Return what is read of both images. Raise UsageError."""
        pages = per_modality("--page", self.page, modalities, has_default=True)
        of_each = {name: self.of_page(text) for name, text in pages.items()}
        of_all = of_each.get(BOTH) or self.of_page(None)
        first, second = modalities
        return of_each.get(first, of_all), of_each.get(second, of_all)

    def of_page(self, page: str | None) -> ReadOptions:
        """Return what is read of one image. Raise UsageError."""
        from fnetcli.formats import ReadOptions

        return ReadOptions(whole_number("--page", page, MAX_PAGES), self.pixel_limit)

    @property
    def pixel_limit(self) -> int:
        """How many pixels an image may have. Raise UsageError."""
        if not math.isfinite(self.max_pixels):
            raise UsageError(f"--max-pixels {self.max_pixels}: give a number of megapixels")
        return round(self.max_pixels * 1e6)
