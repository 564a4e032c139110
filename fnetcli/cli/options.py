"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_IMAGES = "Images: exactly two that belong together"

Vis = Annotated[
    Path | None,
    typer.Option("--vis", help="Visible light, colour or grey.", rich_help_panel=_IMAGES),
]
Ir = Annotated[
    Path | None,
    typer.Option("--ir", help="Thermal infrared; goes with vis.", rich_help_panel=_IMAGES),
]
Nir = Annotated[
    Path | None,
    typer.Option("--nir", help="Near infrared; goes with vis.", rich_help_panel=_IMAGES),
]
Ct = Annotated[
    Path | None,
    typer.Option("--ct", help="CT; goes with mri, pet or spect.", rich_help_panel=_IMAGES),
]
Mri = Annotated[
    Path | None,
    typer.Option("--mri", help="MRI; goes with ct, pet or spect.", rich_help_panel=_IMAGES),
]
Pet = Annotated[
    Path | None,
    typer.Option("--pet", help="PET, colour kept; goes with mri or ct.", rich_help_panel=_IMAGES),
]
Spect = Annotated[
    Path | None,
    typer.Option(
        "--spect", help="SPECT, colour kept; goes with mri or ct.", rich_help_panel=_IMAGES
    ),
]

Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.", metavar="DEVICE")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def given(**images: Path | None) -> dict[str, Path]:
    """Return the modalities that were given."""
    return {modality: path for modality, path in images.items() if path is not None}
