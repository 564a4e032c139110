"""What `fnet fuse` writes, and how it runs."""

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
    from fnetcli.runs.parts import Part

PANEL = "Results"
RUNNING = "Running"
MAX_GAIN = 10.0


class FormatChoice(StrEnum):
    """The file format of fused pictures."""

    png = "png"
    tiff = "tiff"
    jpeg = "jpeg"
    webp = "webp"


class DepthChoice(StrEnum):
    """The bit depth of fused pictures."""

    auto = "auto"
    eight = "8"
    sixteen = "16"
    float = "float"


class MapsChoice(StrEnum):
    """How parts and maps are written."""

    preview = "preview"
    float = "float"
    none = "none"


class ExistingChoice(StrEnum):
    """What to do with existing results."""

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
            help="Folder; for one pair also .png, .tif, .jpg or .webp, for films .mp4, .mkv or "
            ".avi.",
            rich_help_panel=PANEL,
        ),
    ] = Path("fnet-out")
    kind: Annotated[
        FormatChoice | None,
        typer.Option(
            "--format",
            help="File format of the fused pictures. Default: png; tiff for floats and GeoTIFF.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    depth: Annotated[
        DepthChoice,
        typer.Option(
            "--depth",
            help="Bit depth of the fused pictures; auto: that of the visible (CT, PET, SPECT) "
            "image; float: TIFF.",
            rich_help_panel=PANEL,
        ),
    ] = DepthChoice.auto
    gray: Annotated[
        bool,
        typer.Option(
            "--gray", "--grey", help="Write luminance only, no colour.", rich_help_panel=PANEL
        ),
    ] = False
    gain: Annotated[
        list[str] | None,
        typer.Option(
            "--gain",
            metavar="PART=NUMBER",
            help="Scale a part in the fused picture: unique_ir=1.3 for brighter hot targets, "
            "common=0.9. The maps do not change.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    maps: Annotated[
        MapsChoice | None,
        typer.Option(
            "--maps",
            help="The network's parts or maps (FNet: unique and common): 8-bit previews (grey 128 "
            "is zero in a part), float32 TIFF (parts sum to the unclipped fused luminance), or "
            "none. Default: previews, if the network has any.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    features: Annotated[
        bool,
        typer.Option(
            "--features",
            help="Also write the network's features (FNet: the codes u, v, z) as float16 (large).",
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
            help="For existing results: skip those made from the same files with the same options, "
            "overwrite all, or stop with an error.",
            rich_help_panel=PANEL,
        ),
    ] = ExistingChoice.skip

    def of_pictures(self) -> dict[str, object]:
        """Return the given options that apply only to pictures, with their values."""
        return {
            "--format": self.kind,
            "--depth": self.depth is not DepthChoice.auto,
            "--features": self.features,
            "--report": self.report,
        }

    @property
    def maps_kind(self) -> MapsKind | None:
        """How parts and maps are written; None if not given."""
        return None if self.maps is None else self.maps.value

    def mix(self, gains: Gains) -> MixOptions:
        """Return how to mix fused pictures."""
        from fnetcli.pictures.mix import MixOptions

        return MixOptions(gains, self.gray)

    def gains(self, products: Products, modalities: tuple[str, str]) -> dict[str, float]:
        """Parse values such as ``unique_ir=1.3``; return the gains by role.

        Raise UsageError if a name is not a part, or a gain is not a number from 0 to MAX_GAIN.
        """
        roles = products.shown_parts(modalities)
        found: dict[str, float] = {}
        for text in self.gain or []:
            name, _, number = text.partition("=")
            if roles and name not in roles:
                raise UsageError(
                    f"--gain {text}: give PART=NUMBER, with PART one of {', '.join(roles)}"
                )
            role = roles.get(name, name)
            if role in found:
                raise UsageError(f"--gain {text}: given twice; leave one out")
            gain = float(number) if DECIMAL.fullmatch(number) else math.nan
            if not 0 <= gain <= MAX_GAIN:
                raise UsageError(f"--gain {text}: give a number from 0 to {MAX_GAIN:g}")
            found[role] = gain
        return found


@dataclass(frozen=True)
class GivenRun(OptionGroup):
    """How the run proceeds."""

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
            "--fail-fast", help="Stop at the first pair that fails.", rich_help_panel=RUNNING
        ),
    ] = False
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            max=64,
            help="Threads that read and write while the network runs. Default: one per core, at "
            "most 4.",
            show_default=False,
            rich_help_panel=RUNNING,
        ),
    ] = None
    part: Annotated[
        str | None,
        typer.Option(
            "--part",
            metavar="I/N",
            help="Process only every N-th pair, from the I-th on: N processes with the same "
            "options, at the same time or not, process all pairs. Run without --part, or with "
            "--merge-parts, to merge their manifests.",
            show_default=False,
            rich_help_panel=RUNNING,
        ),
    ] = None
    merge_parts: Annotated[
        bool,
        typer.Option(
            "--merge-parts",
            help="Fuse nothing; merge the manifests of all parts into one.",
            rich_help_panel=RUNNING,
        ),
    ] = False
    summary: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Write a summary of the run as JSON; - writes it to stdout instead of the paths.",
            show_default=False,
            rich_help_panel=RUNNING,
        ),
    ] = None

    def chosen_part(self, *, is_file: bool, wants_report: bool) -> Part | None:
        """Return the part to process. Raise UsageError for options that do not go with one."""
        from fnetcli.runs.parts import parse_part

        if self.part is None and not self.merge_parts:
            return None
        option = "--part" if self.part is not None else "--merge-parts"
        if self.part is not None and self.merge_parts:
            raise UsageError(
                "--part and --merge-parts: merge after all parts have run; leave one out"
            )
        if is_file:
            raise UsageError(f"{option}: -o names a file; give a folder")
        if wants_report:
            raise UsageError(
                f"{option} and --report: a report shows all pairs; add it to the whole run that "
                "follows the parts"
            )
        return None if self.part is None else parse_part(self.part)
