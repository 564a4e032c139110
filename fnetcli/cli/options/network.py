"""The network: which weights, and how it is run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fnetcli.cli.options.group import OptionGroup
from fnetcli.cli.options.values import byte_count
from fnetcli.cores import limit_threads
from fnetcli.errors import UsageError

if TYPE_CHECKING:
    from fnetcli.engine import EngineOptions
    from fnetcli.runs.network import MethodSource

PANEL = "Running the network"
MAX_DIGITS = 9  # of a pixel count
NETWORK = "network"
BASELINES = ("average", "maximum", "laplacian")  # their module is slow to import


class PrecisionChoice(StrEnum):
    """The precision of the network's multiplications."""

    fp32 = "fp32"
    tf32 = "tf32"
    bf16 = "bf16"


@dataclass(frozen=True)
class GivenWeights(OptionGroup):
    """Which weights to load."""

    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="NAME|FILE",
            help="Name of shipped weights, or a file: ours (.safetensors) or a published "
            "checkpoint (.pth). Default: fnet-medical for CT, MRI, PET and SPECT, else fnet.",
            show_default=False,
        ),
    ] = None

    def path(self, modalities: Collection[str] = ()) -> Path:
        """Return the file for images of these modalities. Raise CheckpointError if none ship."""
        from fnetcli.checkpoints.shipped import find_weights

        return find_weights(self.weights, modalities)


def _limited(threads: int | None) -> int | None:
    """Limit the threads while options are parsed, before any library counts cores."""
    if threads is not None:
        limit_threads(threads)
    return threads


@dataclass(frozen=True)
class GivenMethod(OptionGroup):
    """What fuses: a network, or a baseline."""

    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="NAME",
            help="What fuses the images: network, or for comparison a baseline without training: "
            "average, max, laplacian. Grids, colours and formats are the same for all.",
        ),
    ] = NETWORK

    def source(
        self,
        weights: GivenWeights,
        device: GivenDevice,
        precision: GivenPrecision,
        tiles: GivenTiles,
    ) -> MethodSource:
        """Return where it comes from. Raise UsageError for options that only a network has."""
        from fnetcli.baselines import SHORT_NAMES
        from fnetcli.runs.baseline import BaselineSource
        from fnetcli.runs.network import NetworkSource

        if self.method == NETWORK:
            options = tiles.options(precision.precision)
            return NetworkSource(weights.weights, device.device, options)
        name = SHORT_NAMES.get(self.method, self.method)
        if name not in BASELINES:
            raise UsageError(
                f"--method {self.method}: unknown; use {NETWORK}, average, max or laplacian"
            )
        of_networks = {
            "--weights": weights.weights is not None,
            f"--device {device.device}": device.device not in {"auto", "cpu"},
            "--precision": precision.precision is not PrecisionChoice.fp32,
            "--tile": tiles.tile != "auto",
            "--max-memory": tiles.max_memory is not None,
        }
        for option in (option for option, is_given in of_networks.items() if is_given):
            raise UsageError(
                f"{option} and --method {self.method}: there is no network; leave one out"
            )
        return BaselineSource(name)


@dataclass(frozen=True)
class GivenDevice(OptionGroup):
    """Where to compute."""

    device: Annotated[
        str,
        typer.Option(
            "--device",
            help="auto, cpu, cuda, cuda:N or mps; fuse and eval also take all (every GPU, a "
            "process each) or a list such as cuda:0,cuda:1.",
            metavar="DEVICE",
            rich_help_panel=PANEL,
        ),
    ] = "auto"
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            metavar="N",
            min=1,
            max=1024,
            help="Computing threads. Default: OMP_NUM_THREADS, else one per core. Ray workers use "
            "--cpus-per-worker.",
            callback=_limited,
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None


@dataclass(frozen=True)
class GivenPrecision(OptionGroup):
    """Which precision to compute in."""

    precision: Annotated[
        PrecisionChoice,
        typer.Option(
            "--precision",
            help="fp32: float32 throughout, without TF32. tf32, bf16: round the factors of "
            "products to 10 or 7 bits on CUDA devices where that is faster; other devices use "
            "fp32.",
            rich_help_panel=PANEL,
        ),
    ] = PrecisionChoice.fp32


@dataclass(frozen=True)
class GivenTiles(OptionGroup):
    """How large the tiles are, and how much memory the network may use."""

    tile: Annotated[
        str,
        typer.Option(
            "--tile",
            metavar="auto|N|0",
            help="Tile size in pixels for large images; 0: no tiles. FNet's result is the same "
            "for any tile size; other networks may differ, and a notice says so.",
            rich_help_panel=PANEL,
        ),
    ] = "auto"
    max_memory: Annotated[
        str | None,
        typer.Option(
            "--max-memory",
            metavar="SIZE",
            help="Memory the network may use besides the images, such as 500M or 2G. Default: "
            "half of the free memory (80 % on a GPU), for FNet on a CPU at most 1G.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None

    def options(self, precision: PrecisionChoice = PrecisionChoice.fp32) -> EngineOptions:
        """Return how to run the network. Raise UsageError."""
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
