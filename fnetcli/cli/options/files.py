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
            help="A list of pairs, instead of two image options. Its first line names two "
            "modalities (vis,ir) and optionally case; paths are relative to the list.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    recursive: Annotated[
        bool,
        typer.Option(
            "--recursive",
            help="Search sub-folders too; results keep the same sub-folders.",
            rich_help_panel=PANEL,
        ),
    ] = False
    suffix: Annotated[
        list[str] | None,
        typer.Option(
            "--suffix",
            metavar="MODALITY=TEXT",
            help="Use only files whose names end in TEXT, and ignore TEXT when pairing: vis=_RGB, "
            "ir=_T.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Exit with code 1 if files have no partner.", rich_help_panel=PANEL
        ),
    ] = False

    def find(self, images: dict[str, Path]) -> tuple[tuple[str, str], Pairing]:
        """Return the modalities in the network's order, and the pairs. Raise UsageError."""
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
    """What is read from a file."""

    page: Annotated[
        list[str] | None,
        typer.Option(
            "--page",
            metavar="[MODALITY=]N",
            help="Page of multi-page TIFF files, counted from 1.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    max_pixels: Annotated[
        float,
        typer.Option(
            "--max-pixels",
            metavar="MEGAPIXELS",
            help="Refuse larger images before decoding them.",
            min=0.000001,
            rich_help_panel=PANEL,
        ),
    ] = 500.0

    def options(self, modalities: tuple[str, str]) -> tuple[ReadOptions, ReadOptions]:
        """Return how to read each image. Raise UsageError."""
        pages = per_modality("--page", self.page, modalities, has_default=True)
        of_each = {name: self.of_page(text) for name, text in pages.items()}
        of_all = of_each.get(BOTH) or self.of_page(None)
        first, second = modalities
        return of_each.get(first, of_all), of_each.get(second, of_all)

    def of_page(self, page: str | None) -> ReadOptions:
        """Return how to read one image. Raise UsageError."""
        from fnetcli.formats import ReadOptions

        return ReadOptions(whole_number("--page", page, MAX_PAGES), self.pixel_limit)

    @property
    def pixel_limit(self) -> int:
        """How many pixels an image may have. Raise UsageError."""
        if not math.isfinite(self.max_pixels):
            raise UsageError(f"--max-pixels {self.max_pixels}: give a number of megapixels")
        return round(self.max_pixels * 1e6)
