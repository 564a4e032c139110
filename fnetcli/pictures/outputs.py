"""The files written for a pair of pictures: which, where, in which format and depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fnetcli.errors import UsageError
from fnetcli.formats import PICTURE_KINDS, write_npz, write_picture, write_png, write_tiff_float
from fnetcli.formats.labels import write_labels
from fnetcli.imaging.image import Image, Mask, Stored
from fnetcli.imaging.intensity import mark_nodata, preview, to_stored
from fnetcli.inputs.pairing import Case
from fnetcli.modalities import shown_name
from fnetcli.models.base import Fusion, Maps
from fnetcli.products import CLASS_MAPS, Products

MapsKind = Literal["preview", "float", "none"]
Depth = Literal["auto", "8", "16", "float"]
DEPTHS: dict[Depth, type[np.generic]] = {"8": np.uint8, "16": np.uint16, "float": np.float32}


@dataclass(frozen=True)
class OutputOptions:
    """Which files are written, and how; nothing here changes what the network sees."""

    kind: str = "png"  # of the fused picture's file
    depth: Depth = "auto"  # of the fused picture; auto: that of the second image
    maps: MapsKind | None = None  # None: previews, if the network has parts or maps
    with_features: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError if two choices contradict each other."""
        if self.depth != "auto" and not self._holds(DEPTHS[self.depth]):
            raise UsageError(
                f"--depth {self.depth}: a {self.kind} file cannot hold it; use TIFF "
                "(--format tiff, or a name that ends in .tif)"
            )

    def stored_type(self, source: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type of the fused picture's numbers; `source` is that of the second image."""
        if self.depth != "auto":
            return np.dtype(DEPTHS[self.depth])
        wanted: type[np.generic] = np.uint8 if source.itemsize == 1 else np.uint16
        if source.kind == "f":
            wanted = np.float32
        kinds = (wanted, np.uint16, np.uint8)
        return np.dtype(next(kind for kind in kinds if self._holds(kind)))

    def maps_of(self, products: Products) -> MapsKind:
        """Return how parts and maps are written."""
        return self.maps or ("preview" if products.images else "none")

    def _holds(self, kind: type[np.generic]) -> bool:
        return np.dtype(kind) in PICTURE_KINDS[self.kind].dtypes


# --- where ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PicturePaths:
    """The paths of one case's results; None is not written. Maps have the names users know."""

    fused: Path
    maps: dict[str, Path]
    features: Path | None

    def all(self) -> dict[str, Path]:
        """Return all paths by name; the fused picture is written last and comes last."""
        features = {"features": self.features} if self.features else {}
        return {**self.maps, **features, "fused": self.fused}


def paths_in_folder(
    case: Case,
    folder: Path,
    modalities: tuple[str, str],
    products: Products,
    options: OutputOptions,
) -> PicturePaths:
    """Return ``folder/fused/<case>.png``, ``folder/unique_<modality>/<case>.png`` and so on."""
    suffix = _map_suffix(options.maps_of(products))
    picture = PICTURE_KINDS[options.kind].suffix
    names = map_names(modalities, products, options)
    return PicturePaths(
        fused=folder / "fused" / f"{case.name}{picture}",
        maps={name: folder / name / f"{case.name}{suffix}" for name in names},
        features=folder / "features" / f"{case.name}.npz" if options.with_features else None,
    )


def paths_beside_file(
    file: Path, modalities: tuple[str, str], products: Products, options: OutputOptions
) -> PicturePaths:
    """Return the named file for the fused image, and ``<stem>-maps/`` for everything else."""
    folder = file.with_name(f"{file.stem}-maps")
    suffix = _map_suffix(options.maps_of(products))
    names = map_names(modalities, products, options)
    return PicturePaths(
        fused=file,
        maps={name: folder / f"{name}{suffix}" for name in names},
        features=folder / "features.npz" if options.with_features else None,
    )


def map_names(modalities: tuple[str, str], products: Products, options: OutputOptions) -> list[str]:
    """Return the names, as users know them, of the parts and maps that are written."""
    if options.maps_of(products) == "none":
        return []
    return [shown_name(role, modalities) for role in products.images]


def _map_suffix(maps: MapsKind) -> str:
    return ".tif" if maps == "float" else ".png"


# --- files ----------------------------------------------------------------------------------------


def write_fused(
    image: Image,
    fusion: Fusion[Maps],
    modalities: tuple[str, str],
    paths: PicturePaths,
    options: OutputOptions,
) -> list[str]:
    """Write one slice's picture, maps and features; write the fused picture last.

    Return what a user should know about the files. Raise WriteError, OutputError.
    """
    valid = None if image.valid is None else image.valid[0]
    _write_maps(image, valid, fusion, modalities, paths, is_float=options.maps == "float")
    if paths.features is not None:
        write_npz(paths.features, {name: one[0] for name, one in fusion.features.items()})
    alpha = _stored_alpha(image, options)
    pixels, nodata = image.pixels[0], None
    if alpha is None:
        pixels, nodata = _with_nodata(pixels, image, options)
    elif valid is not None:  # transparency marks these pixels: a nodata number could contradict it
        alpha[~valid] = 0
    write_picture(
        paths.fused,
        options.kind,
        pixels,
        alpha=alpha,
        georeference=image.georeference,
        nodata=nodata,
        color_profile=image.color_profile,
    )
    if image.alpha is not None and not PICTURE_KINDS[options.kind].keeps_alpha:
        return [f"{options.kind} cannot hold transparency, so it is omitted; use --format png"]
    return []


def _write_maps(
    image: Image,
    valid: Mask | None,
    fusion: Fusion[Maps],
    modalities: tuple[str, str],
    paths: PicturePaths,
    *,
    is_float: bool,
) -> None:
    """Write parts on a signed scale, other maps on that of pictures; or both as numbers.

    Maps of classes have a colour for each, and the class as the number of the colour.
    """
    for images, picture in ((fusion.parts, preview), (fusion.maps, to_stored)):
        for name, values in shown_images(images, modalities).items():
            if name not in paths.maps:
                continue
            if is_float:
                _write_numbers(paths.maps[name], values[0], image, valid)
            elif name in CLASS_MAPS:
                write_labels(paths.maps[name], values[0].astype(np.uint8))
            else:
                write_png(paths.maps[name], picture(values[0]))


def _write_numbers(path: Path, values: Maps, image: Image, valid: Mask | None) -> None:
    """Write float32, with NaN for pixels without data."""
    if valid is not None:
        values = np.where(valid, values, np.float32(np.nan))
    nodata = None if valid is None else np.nan
    write_tiff_float(path, values, georeference=image.georeference, nodata=nodata)


def shown_images(images: Mapping[str, Maps], modalities: tuple[str, str]) -> dict[str, Maps]:
    """Return images by the names that users know."""
    return {shown_name(role, modalities): values for role, values in images.items()}


def _with_nodata(
    pixels: Stored, image: Image, options: OutputOptions
) -> tuple[Stored, float | None]:
    """Mark pixels without data, if the format can hold a mark; return the mark, too."""
    is_needed = image.valid is not None or image.nodata is not None
    if not is_needed or not PICTURE_KINDS[options.kind].keeps_nodata:
        return pixels, None
    nodata = _fitting_nodata(image.nodata, pixels.dtype)
    valid = None if image.valid is None else image.valid[0]
    return mark_nodata(pixels, valid, nodata), nodata


def _fitting_nodata(declared: float | None, kind: np.dtype[Any]) -> float:
    """Return the source's own nodata number if this type can hold it, else NaN or 0."""
    if kind.kind == "f":
        is_free = declared is not None and 1 < abs(declared) < np.finfo(np.float32).max
        return float(np.float32(declared)) if declared is not None and is_free else np.nan
    if declared is None or not declared.is_integer() or not 0 <= declared <= np.iinfo(kind).max:
        return 0.0
    return declared


def _stored_alpha(image: Image, options: OutputOptions) -> Stored | None:
    if image.alpha is None or not PICTURE_KINDS[options.kind].keeps_alpha:
        return None
    return to_stored(image.alpha[0], image.pixels.dtype)


def features_bytes(height: int, width: int, channels: int) -> int:
    """Return the size of a features file: float16 numbers, `channels` per pixel."""
    return channels * height * width * 2
