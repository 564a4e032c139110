"""The walk of one pair: read this file first.

disk -> formats -> Image -> align (one grid) -> intensity (unit range) -> color (luminance)
     -> engine -> color (colour back) -> intensity (stored range) -> formats -> disk
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from fnetcli import color
from fnetcli.align import onto_one_grid
from fnetcli.engine import Engine, Maps, Separated
from fnetcli.errors import PairError, UsageError
from fnetcli.formats import read_image, write_npz, write_png, write_tiff_float
from fnetcli.image import Image, Pixels
from fnetcli.intensity import preview, to_stored, to_unit
from fnetcli.modality import WITH_COLOR
from fnetcli.pairing import Case

MapsKind = Literal["preview", "float", "none"]


@dataclass(frozen=True)
class FuseOptions:
    """What decides the pixels, and which files are written."""

    modalities: tuple[str, str]  # first, second, in the network's order
    resize_to: str | None = None  # modality whose size is kept where the two differ
    is_gray: bool = False  # write luminance only
    maps: MapsKind = "preview"
    with_features: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError where the size to keep is of neither image."""
        if self.resize_to not in (None, *self.modalities):
            raise UsageError(
                f"--resize {self.resize_to}: not one of the two images; "
                f"use {' or '.join(self.modalities)}"
            )


@dataclass(frozen=True)
class Fused:
    """A fused picture in [0, 1], grey or RGB, with everything it was made from."""

    image: Image
    separated: Separated
    modalities: tuple[str, str]
    notices: list[str] = field(default_factory=list)

    @property
    def parts(self) -> dict[str, Maps]:
        """The three signed parts (slices, H, W) by name; their sum is the unclipped luminance."""
        first, second = self.modalities
        return {
            f"unique_{first}": self.separated.unique_first,
            f"unique_{second}": self.separated.unique_second,
            "common": self.separated.common,
        }


def fuse(first: Image, second: Image, engine: Engine, options: FuseOptions) -> Fused:
    """Fuse two images of the modalities named in the options. Raise PairError."""
    first, second = onto_one_grid(first, second, options.modalities, options.resize_to)
    x, y = to_unit(first), to_unit(second)
    notices = _palette_notices((x, y), options.modalities)
    separated = engine.run(
        _luminance(x)[..., 0], _luminance(y)[..., 0], with_codes=options.with_features
    )
    pixels = _with_color((x, y), separated.fused[..., None], options)
    image = Image(pixels, first.grid, first.stored_type, _alpha((x, y), options.modalities))
    return Fused(image, separated, options.modalities, notices)


def _luminance(unit: Image) -> Pixels:
    """Return (slices, H, W, 1)."""
    return color.luminance(unit.pixels) if unit.is_color else unit.pixels


def _has_color(unit: Image) -> bool:
    return unit.is_color and not color.is_gray(unit.pixels)


def _palette_notices(units: tuple[Image, Image], modalities: tuple[str, str]) -> list[str]:
    return [
        f"the {modality} picture has colours, which mean nothing there: its luminance is used; "
        "export it as plain grey for a better result"
        for unit, modality in zip(units, modalities, strict=True)
        if modality not in WITH_COLOR and _has_color(unit)
    ]


def _with_color(units: tuple[Image, Image], luminance: Pixels, options: FuseOptions) -> Pixels:
    """Give the fused luminance the colour of vis, pet or spect, if there is any; clip once."""
    if not options.is_gray:
        for unit, modality in zip(units, options.modalities, strict=True):
            if modality in WITH_COLOR and _has_color(unit):
                return color.with_luminance(unit.pixels, luminance)
    return np.clip(luminance, 0, 1)


def _alpha(units: tuple[Image, Image], modalities: tuple[str, str]) -> Pixels | None:
    """Return the transparency of the image that gives colour, else of the other one."""
    by_importance = sorted(
        zip(units, modalities, strict=True), key=lambda pair: pair[1] not in WITH_COLOR
    )
    return next((unit.alpha for unit, _ in by_importance if unit.alpha is not None), None)


# --- files ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outputs:
    """Where the results of one case go; None is not written."""

    fused: Path
    parts: dict[str, Path]
    features: Path | None

    def all(self) -> list[Path]:
        """Return every path."""
        features = [self.features] if self.features else []
        return [self.fused, *self.parts.values(), *features]


def outputs_in_folder(case: Case, folder: Path, options: FuseOptions) -> Outputs:
    """Return ``folder/fused/<case>.png``, ``folder/unique_<modality>/<case>.png`` and so on."""
    suffix = _map_suffix(options)
    return Outputs(
        fused=folder / "fused" / f"{case.name}.png",
        parts={name: folder / name / f"{case.name}{suffix}" for name in _part_names(options)},
        features=folder / "features" / f"{case.name}.npz" if options.with_features else None,
    )


def outputs_beside_file(file: Path, options: FuseOptions) -> Outputs:
    """Return the named file for the fused image, ``<stem>-maps/`` beside it for everything else."""
    folder, suffix = file.with_name(f"{file.stem}-maps"), _map_suffix(options)
    return Outputs(
        fused=file,
        parts={name: folder / f"{name}{suffix}" for name in _part_names(options)},
        features=folder / "features.npz" if options.with_features else None,
    )


def _part_names(options: FuseOptions) -> list[str]:
    first, second = options.modalities
    return [] if options.maps == "none" else [f"unique_{first}", f"unique_{second}", "common"]


def _map_suffix(options: FuseOptions) -> str:
    return ".tif" if options.maps == "float" else ".png"


def fuse_files(case: Case, outputs: Outputs, engine: Engine, options: FuseOptions) -> list[str]:
    """Read, fuse and write one case; return its notices. Raise ImageError."""
    first, second = read_image(case.first), read_image(case.second)
    try:
        fused = fuse(first, second, engine, options)
    except PairError as error:
        raise PairError(f"{case.first} and {case.second}: {error}") from None
    write_fused(fused, outputs, options)
    return [f"{case.name}: {notice}" for notice in fused.notices]


def write_fused(fused: Fused, outputs: Outputs, options: FuseOptions) -> None:
    """Write one slice's picture, maps and codes; the fused image comes last. Raise WriteError."""
    for name, path in outputs.parts.items():
        part = fused.parts[name][0]
        if options.maps == "float":
            write_tiff_float(path, part)
        else:
            write_png(path, preview(part))
    if outputs.features is not None and fused.separated.codes is not None:
        write_npz(outputs.features, {name: code[0] for name, code in fused.separated.codes.items()})
    picture = to_stored(fused.image.pixels)[0]
    if fused.image.alpha is not None:
        alpha = to_stored(fused.image.alpha)[0, ..., None]
        picture = np.concatenate((picture, alpha), axis=-1)
    write_png(outputs.fused, picture)


def features_bytes(height: int, width: int, atoms: int) -> int:
    """Return the size of one features file: three codes of float16."""
    return 3 * atoms * height * width * 2
