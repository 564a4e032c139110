"""What `fnet fuse` writes, and how it goes about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fnetcli.cli.options.group import OptionGroup
from fnetcli.cli.options.values import DECIMAL
from fnetcli.errors import UsageError

if TYPE_CHECKING:
    from fnetcli.pictures.mix import MixOptions
    from fnetcli.pictures.outputs import MapsKind
    from fnetcli.products import Gains, Products

PANEL = "Results"
RUNNING = "Running"
MAX_GAIN = 10.0


class FormatChoice(StrEnum):
    """What kind of file the fused pictures are."""

    png = "png"
    tiff = "tiff"
    jpeg = "jpeg"
    webp = "webp"


class DepthChoice(StrEnum):
    """How deep the fused pictures are."""

    auto = "auto"
    eight = "8"
    sixteen = "16"
    float = "float"


class MapsChoice(StrEnum):
    """How the images beside the fused one are written."""

    preview = "preview"
    float = "float"
    none = "none"


class ExistingChoice(StrEnum):
    """What happens to results that are there already."""

    skip = "skip"
    overwrite = "overwrite"
    error = "error"


@dataclass(frozen=True)
class GivenResults(OptionGroup):
    """Which files are written, and where."""

    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            help="Folder for the results; for one pair also a .png, .tif, .jpg or .webp file.",
            rich_help_panel=PANEL,
        ),
    ] = Path("fnet-out")
    kind: Annotated[
        FormatChoice | None,
        typer.Option(
            "--format",
            help="Of the fused pictures. Default: png; tiff for floats and GeoTIFF.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    depth: Annotated[
        DepthChoice,
        typer.Option(
            "--depth",
            help="Bits of the fused pictures; auto: as the visible (CT, PET, SPECT) image has; "
            "float: TIFF.",
            rich_help_panel=PANEL,
        ),
    ] = DepthChoice.auto
    gray: Annotated[
        bool,
        typer.Option("--gray", help="Write luminance only, no colour.", rich_help_panel=PANEL),
    ] = False
    gain: Annotated[
        list[str] | None,
        typer.Option(
            "--gain",
            metavar="PART=NUMBER",
            help="Weigh a part in the fused picture: unique_ir=1.3 for hotter targets, common=0.9. "
            "The maps stay as they are.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    maps: Annotated[
        MapsChoice | None,
        typer.Option(
            "--maps",
            help="Unique and common maps: 8-bit previews (grey 128 is zero), float32 TIFF "
            "(their sum is the unclipped fused luminance), or none. Default: previews of what the "
            "network shows.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    features: Annotated[
        bool,
        typer.Option(
            "--features",
            help="Also write the codes u, v, z as float16 (large).",
            rich_help_panel=PANEL,
        ),
    ] = False
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Write OUT/index.html, a contact sheet that opens in any browser.",
            rich_help_panel=PANEL,
        ),
    ] = False
    existing: Annotated[
        ExistingChoice,
        typer.Option(
            "--existing",
            help="Results that are there: skip what was made of the same files with the same "
            "options, overwrite all, or end with an error.",
            rich_help_panel=PANEL,
        ),
    ] = ExistingChoice.skip

    def of_pictures(self) -> dict[str, object]:
        """Return what was given that only pictures have, by option."""
        return {
            "--format": self.kind,
            "--depth": self.depth is not DepthChoice.auto,
            "--gray": self.gray,
            "--features": self.features,
            "--report": self.report,
        }

    @property
    def maps_kind(self) -> MapsKind | None:
        """How images beside the fused one are written; None where nobody said."""
        return None if self.maps is None else self.maps.value

    def mix(self, gains: Gains) -> MixOptions:
        """Return how fused pictures are made."""
        from fnetcli.pictures.mix import MixOptions

        return MixOptions(gains, self.gray)

    def gains(self, products: Products, modalities: tuple[str, str]) -> dict[str, float]:
        """Read ``unique_ir=1.3`` and the like; return the gains by role.

        Raise UsageError for what is not a part or not a number from 0 to MAX_GAIN.
        """
        roles = products.shown_parts(modalities)
        found: dict[str, float] = {}
        for text in self.gain or []:
            name, _, number = text.partition("=")
            if roles and name not in roles:
                raise UsageError(f"--gain {text}: give it as PART=NUMBER, PART {', '.join(roles)}")
            role = roles.get(name, name)
            if role in found:
                raise UsageError(f"--gain {text}: said twice; leave one out")
            gain = float(number) if DECIMAL.fullmatch(number) else math.nan
            if not 0 <= gain <= MAX_GAIN:
                raise UsageError(f"--gain {text}: give a number from 0 to {MAX_GAIN:g}")
            found[role] = gain
        return found


@dataclass(frozen=True)
class GivenRun(OptionGroup):
    """How the run goes."""

    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="List the pairs and what would be skipped; write nothing.",
            rich_help_panel=RUNNING,
        ),
    ] = False
    fail_fast: Annotated[
        bool,
        typer.Option(
            "--fail-fast", help="End at the first pair that fails.", rich_help_panel=RUNNING
        ),
    ] = False
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            max=64,
            help="Threads that read and write beside the network. Default: one a core, at most 4.",
            show_default=False,
            rich_help_panel=RUNNING,
        ),
    ] = None
    summary: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Write a summary of the run as JSON; - for stdout, in place of the paths.",
            show_default=False,
            rich_help_panel=RUNNING,
        ),
    ] = None
