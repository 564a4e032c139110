"""The network: whose weights, and how it works."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fnetcli.cli.options.group import OptionGroup
from fnetcli.cli.options.values import byte_count
from fnetcli.errors import UsageError

if TYPE_CHECKING:
    from fnetcli.engine import EngineOptions

PANEL = "The network at work"
MAX_DIGITS = 9  # of a number of pixels


class PrecisionChoice(StrEnum):
    """Of the network's multiplications."""

    fp32 = "fp32"
    bf16 = "bf16"


@dataclass(frozen=True)
class GivenWeights(OptionGroup):
    """Which weights."""

    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="NAME|FILE",
            help="The name of shipped weights, or a file: ours (.safetensors) or in a published "
            "layout (.pth). Default: fnet.",
            show_default=False,
        ),
    ] = None

    @property
    def path(self) -> Path:
        """The file that is meant. Raise CheckpointError where nothing ships."""
        from fnetcli.checkpoints.shipped import find_weights

        return find_weights(self.weights)


@dataclass(frozen=True)
class GivenDevice(OptionGroup):
    """Where to compute."""

    device: Annotated[
        str,
        typer.Option(
            "--device",
            help="auto, cpu, cuda, cuda:N or mps.",
            metavar="DEVICE",
            rich_help_panel=PANEL,
        ),
    ] = "auto"


@dataclass(frozen=True)
class GivenPrecision(OptionGroup):
    """With which numbers to compute."""

    precision: Annotated[
        PrecisionChoice,
        typer.Option(
            "--precision",
            help="bf16: faster on CUDA devices that have it, within one grey level nearly "
            "everywhere; elsewhere it brings nothing and fp32 is used.",
            rich_help_panel=PANEL,
        ),
    ] = PrecisionChoice.fp32


@dataclass(frozen=True)
class GivenTiles(OptionGroup):
    """In which pieces to compute."""

    tile: Annotated[
        str,
        typer.Option(
            "--tile",
            metavar="auto|N|0",
            help="Side of the tiles that large images go through the network in; 0: whole. The "
            "result is the same.",
            rich_help_panel=PANEL,
        ),
    ] = "auto"
    max_memory: Annotated[
        str | None,
        typer.Option(
            "--max-memory",
            metavar="SIZE",
            help="Memory that the network may take beside the images, as 500M or 2G. Default: "
            "what is free, on a CPU at most 1G.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None

    def options(self, precision: PrecisionChoice = PrecisionChoice.fp32) -> EngineOptions:
        """Return how the network is to be run. Raise UsageError."""
        from fnetcli.engine import EngineOptions

        tile = self.tile
        if tile != "auto" and not (tile.isdecimal() and len(tile) <= MAX_DIGITS):
            raise UsageError(
                f"--tile {tile}: not a number of pixels; use auto, 0 or a whole number"
            )
        memory = self.max_memory
        return EngineOptions(
            precision=precision.value,
            tile=None if tile == "auto" else int(tile),
            max_memory=None if memory is None else byte_count("--max-memory", memory),
        )
