"""The walk of one pair: read this file first.

disk -> formats -> Image -> intensity (unit range) -> align (one grid) -> color (luminance)
     -> engine -> color (colour back) -> intensity (stored range) -> formats -> disk
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fnetcli.errors import PairError, UsageError
from fnetcli.files.output_folder import InPlace
from fnetcli.files.scratch import scratch_array
from fnetcli.formats import (
    PICTURE_KINDS,
    ReadOptions,
    content_sha256,
    read_image,
    write_npz,
    write_picture,
    write_png,
    write_tiff_float,
)
from fnetcli.imaging import color
from fnetcli.imaging.image import Grid, Image, Mask, Pixels, Stored, bands
from fnetcli.imaging.intensity import Scaled, ScalingOptions, mark_nodata, preview, scale, to_stored
from fnetcli.inputs.pairing import Case
from fnetcli.mixing import NO_GAINS
from fnetcli.modalities import WITH_COLOR
from fnetcli.pictures.align import onto_one_grid

if TYPE_CHECKING:  # reading and preparing starts without torch
    from fnetcli.engine import Engine, Maps, Separated

# Raised whenever the same command would give other pixels than before: what older versions of fnet
# made is then made anew.
PIXELS_VERSION = 1

MapsKind = Literal["preview", "float", "none"]
Depth = Literal["auto", "8", "16", "float"]
DEPTHS: dict[Depth, type[np.generic]] = {"8": np.uint8, "16": np.uint16, "float": np.float32}


@dataclass(frozen=True)
class FuseOptions:
    """What decides the pixels, and which files are written."""

    modalities: tuple[str, str]  # first, second, in the network's order
    scaling: tuple[ScalingOptions, ScalingOptions] = (ScalingOptions(), ScalingOptions())
    reading: tuple[ReadOptions, ReadOptions] = (ReadOptions(), ReadOptions())
    resize_to: str | None = None  # modality whose size is kept where the two differ
    is_gray: bool = False  # write luminance only
    depth: Depth = "auto"  # of the fused picture; auto: that of the second image
    kind: str = "png"  # of the fused picture's file
    maps: MapsKind = "preview"
    with_features: bool = False
    gains: tuple[float, float, float] = NO_GAINS  # of unique first, unique second, common

    def __post_init__(self) -> None:
        """Raise UsageError where two choices contradict each other."""
        if self.resize_to not in (None, *self.modalities):
            raise UsageError(
                f"--resize {self.resize_to}: not one of the two images; "
                f"use {' or '.join(self.modalities)}"
            )
        if self.depth != "auto" and not self._holds(DEPTHS[self.depth]):
            raise UsageError(
                f"--depth {self.depth}: a {self.kind} file cannot hold it; use TIFF "
                "(--format tiff, or a name that ends in .tif)"
            )

    def stored_type(self, source: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type of the fused picture's numbers, where `source` is the second image's."""
        if self.depth != "auto":
            return np.dtype(DEPTHS[self.depth])
        wanted: type[np.generic] = np.uint8 if source.itemsize == 1 else np.uint16
        if source.kind == "f":
            wanted = np.float32
        kinds = (wanted, np.uint16, np.uint8)
        return np.dtype(next(kind for kind in kinds if self._holds(kind)))

    def record(self) -> dict[str, Any]:
        """Return everything that changes pixels or the set of files, as JSON takes it."""
        first, second = self.modalities
        gains = {} if self.gains == NO_GAINS else {"gains": list(self.gains)}
        return {
            "modalities": [first, second],
            "scaling": {
                name: asdict(scaling)
                for name, scaling in zip(self.modalities, self.scaling, strict=True)
            },
            "pages": [reading.page for reading in self.reading],
            "resize": self.resize_to,
            "gray": self.is_gray,
            "depth": self.depth,
            "format": self.kind,
            "maps": self.maps,
            "features": self.with_features,
            **gains,
        }

    def _holds(self, kind: type[np.generic]) -> bool:
        return np.dtype(kind) in PICTURE_KINDS[self.kind].dtypes


@dataclass(frozen=True)
class Prepared:
    """Two images on one grid, ready for the network; what it takes is made when it is asked for."""

    grids: tuple[Grid, Grid]  # before both came onto one
    scaled: tuple[Scaled, Scaled]

    @property
    def images(self) -> tuple[Image, Image]:
        """Both images; their pixels may still be as stored."""
        first, second = self.scaled
        return first.image, second.image

    @property
    def luminances(self) -> tuple[Maps, Maps]:
        """Both luminances in [0, 1], (slices, H, W)."""
        first, second = self.scaled
        return _luminance(first), _luminance(second)

    @property
    def were_resized(self) -> tuple[bool, bool]:
        """Which of the two did not keep its grid."""
        first, second = (
            image.grid is not grid for image, grid in zip(self.images, self.grids, strict=True)
        )
        return first, second


@dataclass(frozen=True)
class Fused:
    """A fused picture, grey or RGB, with everything it was made from."""

    image: Image  # its pixels are in [0, 1], or as they will be stored
    separated: Separated
    modalities: tuple[str, str]
    ranges: dict[str, dict[str, float]]  # stored numbers that became 0 and 1; pixels without data
    notices: list[str]

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
    prepared = prepare(first, second, options)
    separated = engine.run(*prepared.luminances, with_codes=options.with_features)
    return finish(prepared, separated, options)


def prepare(first: Image, second: Image, options: FuseOptions) -> Prepared:
    """Find the way of two images as read to [0, 1], and bring them onto one grid."""
    x, y = (
        scale(image, scaling.choose(image.stored_type, modality, image.bits))
        for image, scaling, modality in zip(
            (first, second), options.scaling, options.modalities, strict=True
        )
    )
    on_one_grid = onto_one_grid(x, y, options.modalities, options.resize_to)
    return Prepared((x.image.grid, y.image.grid), on_one_grid)


def finish(
    prepared: Prepared, separated: Separated, options: FuseOptions, kind: DTypeLike = np.float32
) -> Fused:
    """Give the fused luminance its colour, and what else the two images hand on.

    `kind` is the type of the picture's numbers: float32 in [0, 1], or uint8 or uint16 up to white.
    """
    giver = _giver_of_color(prepared, options)
    pixels = _picture(giver, separated, options.gains, np.dtype(kind))
    image = _hand_on(prepared, pixels, options)
    ranges = {
        modality: {"low": scaled.low, "high": scaled.high, "invalid": scaled.invalid}
        for modality, scaled in zip(options.modalities, prepared.scaled, strict=True)
    }
    notices = _notices(prepared, image, options)
    return Fused(image, separated, options.modalities, ranges, notices)


def _luminance(scaled: Scaled) -> Maps:
    """Return (slices, H, W)."""
    luminance = np.empty(scaled.image.grid.shape, np.float32)
    for band in scaled.image.grid.bands():
        unit = scaled.rows(band)
        luminance[:, band] = (color.luminance(unit) if scaled.image.is_color else unit)[..., 0]
    return luminance


def _has_color(scaled: Scaled) -> bool:
    return scaled.image.is_color and not all(
        color.is_gray(scaled.rows(band)) for band in scaled.image.grid.bands()
    )


def _giver_of_color(prepared: Prepared, options: FuseOptions) -> Scaled | None:
    """Return the vis, pet or spect image if it has colours that are wanted."""
    if not options.is_gray:
        for scaled, modality in zip(prepared.scaled, options.modalities, strict=True):
            if modality in WITH_COLOR and _has_color(scaled):
                return scaled
    return None


def _picture(
    giver: Scaled | None,
    separated: Separated,
    gains: tuple[float, float, float],
    kind: np.dtype[Any],
) -> Stored:
    """Return the sum of the parts in the colours of `giver`, (slices, H, W, 1 or 3); clip once."""
    shape = separated.common.shape
    picture = np.empty((*shape, 1 if giver is None else 3), kind)
    for band in bands((shape[1], shape[0] * shape[2])):
        unit = _mixed(_rows(separated, band), gains)[..., None]
        if giver is not None:
            unit = color.with_luminance(giver.rows(band), unit)
        picture[:, band] = to_stored(unit, kind)
    return picture


def _mixed(separated: Separated, gains: tuple[float, float, float]) -> Maps:
    """Return the fused luminance with every part weighed; gains of 1 change no bit."""
    if gains == NO_GAINS:
        return separated.fused
    first, second, common = (np.float32(gain) for gain in gains)
    mixed: Maps = (
        first * separated.unique_first
        + second * separated.unique_second
        + common * separated.common
    )
    return mixed


def _rows(separated: Separated, band: slice) -> Separated:
    """Return some rows of the parts."""
    return replace(
        separated,
        unique_first=separated.unique_first[:, band],
        unique_second=separated.unique_second[:, band],
        common=separated.common[:, band],
        codes=None,
    )


def _hand_on(prepared: Prepared, pixels: Stored, options: FuseOptions) -> Image:
    """Return the fused image with the place, transparency and profile that its sources give it."""
    x, y = prepared.images
    was_first_resized, was_second_resized = prepared.were_resized
    kept = [y] * (not was_second_resized) + [x] * (not was_first_resized)
    return Image(
        pixels=pixels,
        grid=y.grid,
        stored_type=y.stored_type,
        alpha=_alpha((x, y), options.modalities),
        valid=_both_valid(x.valid, y.valid),
        nodata=next((unit.nodata for unit in kept if unit.nodata is not None), None),
        georeference=next((unit.georeference for unit in kept if unit.georeference), None),
        color_profile=y.color_profile if pixels.shape[-1] == 3 else None,
    )


def _both_valid(first: Mask | None, second: Mask | None) -> Mask | None:
    if first is None or second is None:
        return second if first is None else first
    both: Mask = first & second
    return both


def _alpha(images: tuple[Image, Image], modalities: tuple[str, str]) -> Pixels | None:
    """Return the transparency of the image that gives colour, else of the other one."""
    by_importance = sorted(
        zip(images, modalities, strict=True), key=lambda pair: pair[1] not in WITH_COLOR
    )
    return next((image.alpha for image, _ in by_importance if image.alpha is not None), None)


def _notices(prepared: Prepared, fused: Image, options: FuseOptions) -> list[str]:
    """Say what a user should know of this pair."""
    notices = []
    for modality, scaled in zip(options.modalities, prepared.scaled, strict=True):
        notices += [f"{modality}: {text}" for text in (*scaled.image.notices, *scaled.notices)]
        if modality not in WITH_COLOR and _has_color(scaled):
            notices.append(
                f"the {modality} picture has colours, which mean nothing there: its luminance is "
                "used; export it as plain grey for a better result"
            )
    notices += _place_notices(prepared, fused, options)
    if fused.alpha is not None and not PICTURE_KINDS[options.kind].keeps_alpha:
        notices.append(f"{options.kind} cannot hold transparency: left out; use --format png")
    return notices


def _place_notices(prepared: Prepared, fused: Image, options: FuseOptions) -> list[str]:
    """Say where georeferences contradict each other, or get lost."""
    found = [image.georeference for image in prepared.images if image.georeference]
    if found and not fused.georeference:
        return ["the resized image's georeference is lost: the size of the other one was kept"]
    if len(found) == 2 and not any(prepared.were_resized) and found[0].place != found[1].place:
        notice = "the two images lie at different places on the map: they may not show the same"
        return [f"{notice} scene; the result is placed as {options.modalities[1]}"]
    return []


# --- files ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outputs:
    """Where the results of one case go; None is not written."""

    fused: Path
    parts: dict[str, Path]
    features: Path | None

    def all(self) -> dict[str, Path]:
        """Return every path by its name; the fused picture, which is written last, comes last."""
        features = {"features": self.features} if self.features else {}
        return {**self.parts, **features, "fused": self.fused}


def outputs_in_folder(case: Case, folder: Path, options: FuseOptions) -> Outputs:
    """Return ``folder/fused/<case>.png``, ``folder/unique_<modality>/<case>.png`` and so on."""
    suffix = _map_suffix(options)
    picture = PICTURE_KINDS[options.kind].suffix
    return Outputs(
        fused=folder / "fused" / f"{case.name}{picture}",
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


def read_case(case: Case, options: FuseOptions) -> Prepared:
    """Read both images of a case and prepare them. Raise ImageError."""
    first, second = (
        read_image(path, reading)
        for path, reading in zip((case.first, case.second), options.reading, strict=True)
    )
    try:
        return prepare(first, second, options)
    except PairError as error:
        raise PairError(f"{case.first} and {case.second}: {error}") from None


def write_fused(fused: Fused, outputs: Outputs, options: FuseOptions) -> None:
    """Write one slice's picture, maps and codes; the fused image, as it is, comes last.

    Raise WriteError.
    """
    image = fused.image
    valid = None if image.valid is None else image.valid[0]
    for name, path in outputs.parts.items():
        part = fused.parts[name][0]
        if options.maps == "float":
            if valid is not None:
                part = np.where(valid, part, np.float32(np.nan))
            nodata = None if valid is None else np.nan
            write_tiff_float(path, part, georeference=image.georeference, nodata=nodata)
        else:
            write_png(path, preview(part))
    if outputs.features is not None and fused.separated.codes is not None:
        write_npz(outputs.features, {name: code[0] for name, code in fused.separated.codes.items()})
    alpha = _stored_alpha(image, options)
    pixels, nodata = image.pixels[0], None
    if alpha is None:
        pixels, nodata = _with_nodata(pixels, image, options)
    elif valid is not None:  # transparent says it: a number beside it would contradict it
        alpha[~valid] = 0
    write_picture(
        outputs.fused,
        options.kind,
        pixels,
        alpha=alpha,
        georeference=image.georeference,
        nodata=nodata,
        color_profile=image.color_profile,
    )


def _with_nodata(pixels: Stored, image: Image, options: FuseOptions) -> tuple[Stored, float | None]:
    """Mark what no sensor saw, where the format can say so; return the mark too."""
    is_needed = image.valid is not None or image.nodata is not None
    if not is_needed or not PICTURE_KINDS[options.kind].keeps_nodata:
        return pixels, None
    nodata = _fitting_nodata(image.nodata, pixels.dtype)
    valid = None if image.valid is None else image.valid[0]
    return mark_nodata(pixels, valid, nodata), nodata


def _fitting_nodata(declared: float | None, kind: np.dtype[Any]) -> float:
    """Return the source's own mark if this type can hold it, else NaN or 0."""
    if kind.kind == "f":
        is_free = declared is not None and 1 < abs(declared) < np.finfo(np.float32).max
        return float(np.float32(declared)) if declared is not None and is_free else np.nan
    if declared is None or not declared.is_integer() or not 0 <= declared <= np.iinfo(kind).max:
        return 0.0
    return declared


def _stored_alpha(image: Image, options: FuseOptions) -> Stored | None:
    if image.alpha is None or not PICTURE_KINDS[options.kind].keeps_alpha:
        return None
    return to_stored(image.alpha[0], image.pixels.dtype)


def features_bytes(height: int, width: int, atoms: int) -> int:
    """Return the size of one features file: three codes of float16."""
    return 3 * atoms * height * width * 2


# --- as a run takes it ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Pictures:
    """The way of a case of two pictures, step by step (job.Walk)."""

    options: FuseOptions

    @property
    def modalities(self) -> tuple[str, str]:
        """First, second, in the network's order."""
        return self.options.modalities

    def record(self) -> dict[str, Any]:
        """Return every option that changes pixels or the set of files."""
        return self.options.record()

    def outputs(self, case: Case, out: Path, *, is_file: bool) -> Outputs:
        """Return where the results of a case go."""
        if is_file:
            return outputs_beside_file(out, self.options)
        return outputs_in_folder(case, out, self.options)

    def sha256(self, path: Path) -> str:
        """Return the hash of a file. Raise ReadError."""
        return content_sha256(path)

    def read(self, case: Case) -> Prepared:
        """Read both images and prepare them. Raise ImageError."""
        return read_case(case, self.options)

    def sizes(self, read: Prepared) -> tuple[str, str]:
        """Return the sizes of both images before they came onto one grid."""
        first, second = read.grids
        return first.size, second.size

    def nbytes(self, read: Prepared, atoms: int) -> int:
        """Return what a case takes from reading to writing, roughly.

        Large codes take room on the disk, not in memory, and there, too, it is bounded.
        """
        _, height, width = read.images[1].grid.shape
        stored = sum(image.pixels.nbytes for image in read.images)
        luminances_and_parts = 5 * 4 * height * width
        codes = features_bytes(height, width, atoms if self.options.with_features else 0)
        return 2 * stored + luminances_and_parts + codes

    def separate(
        self, engine: Engine, read: Prepared, outputs: Outputs, in_place: InPlace
    ) -> Separated:
        """Run the network; codes too large for memory lie beside the results."""

        def allocate(shape: tuple[int, ...]) -> NDArray[np.float16]:
            with in_place():
                return scratch_array(outputs.features or outputs.fused, shape, np.float16)

        with_codes = self.options.with_features
        return engine.run(*read.luminances, with_codes=with_codes, allocate=allocate)

    def write(
        self, read: Prepared, separated: Separated, outputs: Outputs, in_place: InPlace
    ) -> dict[str, Any]:
        """Write picture, maps and codes; return ranges and notices."""
        kind = self.options.stored_type(read.images[1].stored_type)
        fused = finish(read, separated, self.options, kind)
        with in_place():
            write_fused(fused, outputs, self.options)
        return {"ranges": fused.ranges, "notices": fused.notices}
