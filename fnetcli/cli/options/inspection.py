"""What `fnet inspect` reads and writes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from fnetcli.cli.options.group import OptionGroup

RESULTS = "Results"


@dataclass(frozen=True)
class GivenInspection(OptionGroup):
    """Which results are written, and for which slice."""

    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            metavar="NAME|FILE",
            help="Name of shipped weights, or a file: ours (.safetensors) or a published "
            "checkpoint (.pth). Given twice, two FNets are compared on the pair, iteration by "
            "iteration. Default: fnet-medical for CT, MRI, PET and SPECT, else fnet.",
            show_default=False,
        ),
    ] = None
    inverse: Annotated[
        Path | None,
        typer.Option(
            "--inverse",
            metavar="FILE",
            help="Inverse that was trained beside the weights (keep_inverse = true): show both "
            "sources as recovered from the fused picture alone.",
            show_default=False,
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Folder for the results. Default for a pair: fnet-inspect. For weights, their "
            "dictionaries are drawn only if a folder is given.",
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Write the numbers as JSON; - writes them to stdout instead of the tables.",
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None
    codes: Annotated[
        bool,
        typer.Option(
            "--codes/--no-codes",
            help="Save the network's features (FNet: the codes u, v, z) to features.npz as "
            "float16; FNet needs 118 MB for 640x480.",
            rich_help_panel=RESULTS,
        ),
    ] = True
    iterations: Annotated[
        bool,
        typer.Option(
            "--iterations",
            help="FNet: also save the codes of every iteration, before and after thresholding "
            "(eleven times the size).",
            rich_help_panel=RESULTS,
        ),
    ] = False
    slice_number: Annotated[
        int | None,
        typer.Option(
            "--slice",
            metavar="N",
            min=1,
            help="Slice of volumes, counted from 1. Default: the middle one.",
            show_default=False,
        ),
    ] = None

    @property
    def network(self) -> str | None:
        """The weights to inspect, or the first of two; None: the default."""
        return self.weights[0] if self.weights else None

    def paths(self, modalities: Collection[str] = ()) -> list[Path]:
        """Return all weights files, for images of these modalities. Raise CheckpointError."""
        from fnetcli.checkpoints.shipped import find_weights

        named: list[str | None] = [*self.weights] if self.weights else [None]
        found = [find_weights(one, modalities) for one in named]
        return [*found, *([self.inverse] if self.inverse else [])]
