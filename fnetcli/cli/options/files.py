"""Which files, and which belong together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fnetcli.cli.options.group import OptionGroup
from fnetcli.cli.options.values import BOTH, band_names, per_modality, whole_number
from fnetcli.errors import UsageError

if TYPE_CHECKING:
    from fnetcli.formats import ReadOptions
    from fnetcli.inputs.names import NameRule
    from fnetcli.inputs.pairing import Pairing, PairingOptions

PANEL = "Which files, and which belong together"
MAX_PAGES = 1_000_000
# Also of `fnet train`.
Match = Annotated[
    list[str] | None,
    typer.Option(
        "--match",
        metavar="MODALITY=PATTERN",
        help="Use only files whose paths below the folder fit, in sub-folders too, and pair "
        "them by what {} and ** stand for: vis=**/visible/{}, ir=**/lwir/{}. * is any text of "
        "a name, which may differ.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Band = Annotated[
    list[str] | None,
    typer.Option(
        "--band",
        metavar="MODALITY=BANDS",
        help="Bands of a file that are this image, by number, counted from 1, or by the file's own "
        "descriptions: vis=1,2,3, ir=4, nir=nir. One is grey, three are red, green and blue.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]


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
    prefix: Annotated[
        list[str] | None,
        typer.Option(
            "--prefix",
            metavar="MODALITY=TEXT",
            help="Use only files whose names begin with TEXT, and ignore TEXT when pairing: "
            "vis=VIS, ir=IR.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    match: Match = None
    nearest_time: Annotated[
        str | None,
        typer.Option(
            "--nearest-time",
            metavar="TIME",
            help="Pair by the time in the names or in EXIF data, at most TIME apart: 2s, 500ms.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Exit with code 1 if files have no partner; fail cases that cannot be registered.",
            rich_help_panel=PANEL,
        ),
    ] = False

    def of_names(self) -> dict[str, object]:
        """Return what was given of the files' names, by option."""
        return {
            "--suffix": self.suffix,
            "--prefix": self.prefix,
            "--match": self.match,
            "--nearest-time": self.nearest_time,
            "--recursive": self.recursive,
        }

    def find(
        self, images: dict[str, Path], reading: GivenReading
    ) -> tuple[tuple[str, str], Pairing]:
        """Return the modalities in the network's order, and the pairs. Raise UsageError."""
        from fnetcli.inputs.lists import pair_list
        from fnetcli.inputs.pairing import pair_paths
        from fnetcli.modalities import network_order

        if self.pairs is None:
            modalities = first, second = network_order(list(images))
            options = self.options(modalities, reading)
            return modalities, pair_paths(images[first], images[second], options)
        for option, value in {f"--{min(images, default='')}": images, **self.of_names()}.items():
            if value:
                raise UsageError(f"{option} and --pairs: the list names the files; leave one out")
        return pair_list(self.pairs, takes_same_file=reading.tells_apart)

    def options(self, modalities: tuple[str, str], reading: GivenReading) -> PairingOptions:
        """Return how names are compared. Raise UsageError."""
        from fnetcli.inputs.pairing import PairingOptions
        from fnetcli.inputs.times import parse_duration

        time = self.nearest_time
        return PairingOptions(
            self.recursive,
            self._rules(modalities),
            None if time is None else parse_duration("--nearest-time", time),
            modalities,
            reading.tells_apart(modalities),
        )

    def _rules(self, modalities: tuple[str, str]) -> tuple[NameRule, NameRule]:
        from fnetcli.inputs.names import name_rules

        for option, value in (
            ("--recursive", self.recursive),
            ("--nearest-time", self.nearest_time),
        ):
            if value and self.match:
                raise UsageError(
                    f"{option} and --match: the pattern alone pairs the files; leave one out"
                )
        return name_rules(
            modalities,
            per_modality("--prefix", self.prefix, modalities),
            per_modality("--suffix", self.suffix, modalities),
            per_modality("--match", self.match, modalities),
        )


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
    band: Band = None
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
        bands = per_modality("--band", self.band, modalities)
        first, second = (
            self.of_image(pages.get(name, pages.get(BOTH)), bands.get(name)) for name in modalities
        )
        return first, second

    def of_image(self, page: str | None, bands: str | None) -> ReadOptions:
        """Return how to read one image. Raise UsageError."""
        from fnetcli.formats import ReadOptions

        number = whole_number("--page", page, MAX_PAGES)
        return ReadOptions(number, self.pixel_limit, band_names("--band", bands))

    def tells_apart(self, modalities: tuple[str, str]) -> bool:
        """Whether both images may be read of one file. Raise UsageError."""
        first, second = self.options(modalities)
        are_told = all(one.page is not None or one.bands for one in (first, second))
        return are_told and first != second

    @property
    def pixel_limit(self) -> int:
        """How many pixels an image may have. Raise UsageError."""
        if not math.isfinite(self.max_pixels):
            raise UsageError(f"--max-pixels {self.max_pixels}: give a number of megapixels")
        return round(self.max_pixels * 1e6)
