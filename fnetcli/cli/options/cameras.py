"""Thermal cameras whose files hold more than a picture."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fnetcli.cli.options.files import GivenPairing, GivenReading
from fnetcli.cli.options.group import OptionGroup
from fnetcli.cli.options.volumes import FoundInputs, GivenLayout, find_inputs
from fnetcli.errors import UsageError

if TYPE_CHECKING:
    from fnetcli.formats import Layer, ReadOptions

PANEL = "Thermal cameras"
SIZE = re.compile(r"(\d{1,6})[xX](\d{1,6})", re.ASCII)

Reading = tuple["ReadOptions", "ReadOptions"]


@dataclass(frozen=True)
class GivenCamera(OptionGroup):
    """What is read of a thermal camera's files."""

    flir: Annotated[
        Path | None,
        typer.Option(
            "--flir",
            metavar="FILE|DIR",
            help="FLIR files that hold both images: radiometric JPEG, FFF, SEQ. Instead of --vis "
            "and --ir. The camera's own alignment puts one on the other.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    ir_rendered: Annotated[
        bool,
        typer.Option(
            "--ir-rendered",
            help="Use the false-colour picture of FLIR files instead of their thermal numbers.",
            rich_help_panel=PANEL,
        ),
    ] = False
    raw_size: Annotated[
        str | None,
        typer.Option(
            "--raw-size",
            metavar="WxH",
            help="Size of .raw and .y16 files, which hold 16-bit numbers without a header.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None

    def given(self) -> dict[str, object]:
        """Return the given options with their values."""
        return {
            "--flir": self.flir,
            "--ir-rendered": self.ir_rendered,
            "--raw-size": self.raw_size,
        }

    @property
    def paths(self) -> list[Path]:
        """The files or folder that both images come from."""
        return [] if self.flir is None else [self.flir]

    @property
    def has_both(self) -> bool:
        """Whether both images come from one file."""
        return self.flir is not None

    def find(
        self,
        images: dict[str, Path],
        pairing: GivenPairing,
        reading: GivenReading,
        layout: GivenLayout | None = None,
    ) -> FoundInputs:
        """Find out what the given paths mean. Raise UsageError."""
        from fnetcli.inputs.camera_files import CAMERA_MODALITIES, pair_camera_files

        if self.flir is None:
            return find_inputs(images, pairing, reading, layout)
        others = {
            **{f"--{name}": path for name, path in images.items()},
            "--pairs": pairing.pairs,
            **{name: value for name, value in pairing.of_names().items() if name != "--recursive"},
            "--band": reading.band,
            **({} if layout is None else layout.given()),
        }
        for option, value in others.items():
            if value:
                raise UsageError(
                    f"{option} and --flir: each FLIR file holds both images; leave one out"
                )
        pages = reading.options(CAMERA_MODALITIES)
        if pages[0].page != pages[1].page:
            raise UsageError("--page with --flir: applies to both images; give --page N")
        found = pair_camera_files(
            self.flir, is_recursive=pairing.recursive, has_page=pages[0].page is not None
        )
        return FoundInputs(CAMERA_MODALITIES, found, has_volumes=False)

    def applied_to(self, reading: Reading, modalities: tuple[str, str]) -> Reading:
        """Return how both images are read. Raise UsageError."""
        from fnetcli.formats import usual_layer
        from fnetcli.inputs.camera_files import CAMERA_LAYERS

        if self.ir_rendered and "ir" not in modalities:
            raise UsageError(
                f"--ir-rendered: no ir image is read, but {' and '.join(modalities)}; leave it out"
            )
        size = self._raw_size()

        def one(modality: str, options: ReadOptions) -> ReadOptions:
            layer: Layer = usual_layer(modality)
            if self.has_both:
                layer = CAMERA_LAYERS[modality]
            if self.ir_rendered and modality == "ir":
                layer = "rendered"
            return replace(options, layer=layer, raw_size=size)

        first, second = modalities
        return one(first, reading[0]), one(second, reading[1])

    def applied_to_image(self, reading: ReadOptions) -> ReadOptions:
        """Return how a single image is read: thermal numbers where there are some."""
        layer: Layer = "rendered" if self.ir_rendered else "numbers"
        return replace(reading, layer=layer, raw_size=self._raw_size())

    def _raw_size(self) -> tuple[int, int] | None:
        if self.raw_size is None:
            return None
        found = SIZE.fullmatch(self.raw_size)
        if found is None or not (int(found[1]) and int(found[2])):
            raise UsageError(f"--raw-size {self.raw_size}: give width and height, as in 640x512")
        return int(found[1]), int(found[2])
