"""The pipeline for one pair: read this file first.

disk -> formats -> Image -> corrections -> intensity (unit range) -> align (one grid)
     -> color (luminance)
     -> engine -> color (colour back) -> intensity (stored range) -> formats -> disk

`prepare.py` implements what stands before the engine, `mix.py` and `outputs.py` what follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fnetcli.errors import UsageError
from fnetcli.files.output_folder import InPlace
from fnetcli.files.scratch import scratch_array
from fnetcli.formats import content_sha256
from fnetcli.formats.border import reading
from fnetcli.formats.writers import PICTURE_KINDS, Details, kind_of_suffix
from fnetcli.imaging.corrections import facts_words
from fnetcli.imaging.image import Image
from fnetcli.imaging.intensity import to_stored
from fnetcli.inputs.pairing import Case
from fnetcli.models.base import Fusion, Maps, Wanted
from fnetcli.models.lone import pass_through
from fnetcli.pictures.mix import (
    MixOptions,
    giver_of_color,
    in_place_of,
    mixed_picture,
    notices_of,
)
from fnetcli.pictures.outputs import (
    Depth,
    OutputOptions,
    PicturePaths,
    features_bytes,
    paths_beside_file,
    paths_in_folder,
    shown_images,
    write_fused,
)
from fnetcli.pictures.prepare import Prepared, PrepareOptions, prepare, read_case
from fnetcli.products import Products, gain_list

if TYPE_CHECKING:  # reading and preparing starts without torch
    from fnetcli.engine import Fuser

# Increased whenever the same command would compute other pixels than before: results of older
# versions of fnet are then computed again.
PIXELS_VERSION = 2

PLAIN = MixOptions()


@dataclass(frozen=True)
class FuseOptions:
    """What decides the pixels and the files; `products`: the outputs of the network."""

    prepare: PrepareOptions
    products: Products
    mix: MixOptions = field(default_factory=MixOptions)
    output: OutputOptions = field(default_factory=OutputOptions)

    @property
    def modalities(self) -> tuple[str, str]:
        """First and second, in the network's order."""
        return self.prepare.modalities

    def wanted(self) -> Wanted:
        """Return which outputs are needed besides the fused image."""
        shows_images = self.output.maps_of(self.products) != "none"
        return Wanted(
            parts=shows_images or bool(self.mix.gains),
            maps=shows_images,
            features=self.output.with_features,
        )

    def record(self) -> dict[str, Any]:
        """Return everything that changes pixels or the set of files, ready for JSON."""
        gains = gain_list(self.mix.gains, self.products.parts)
        return {
            **self.prepare.record(),
            "gray": self.mix.is_gray,
            "depth": self.output.depth,
            "format": self.output.kind,
            "maps": self.output.maps_of(self.products),
            "features": self.output.with_features,
            **({} if all(gain == 1 for gain in gains) else {"gains": gains}),
        }


@dataclass(frozen=True)
class Fused:
    """A fused picture, grey or RGB, with everything it was computed from."""

    image: Image  # its pixels are in [0, 1], or in the type that will be stored
    fusion: Fusion[Maps]
    modalities: tuple[str, str]
    ranges: dict[str, dict[str, Any]]  # numbers that became 0 and 1, pixels without data; and more
    notices: list[str]

    @property
    def parts(self) -> dict[str, Maps]:
        """The signed parts (slices, H, W) by name; they sum to the unclipped luminance."""
        return shown_images(self.fusion.parts, self.modalities)

    @property
    def maps(self) -> dict[str, Maps]:
        """The network's maps, (slices, H, W) by name."""
        return shown_images(self.fusion.maps, self.modalities)

    @property
    def features(self) -> dict[str, NDArray[Any]]:
        """The requested features, (slices, channels, H, W) by name."""
        return dict(self.fusion.features)

    def save(self, path: str | Path, depth: Depth = "8") -> Path:
        """Write the picture, in the format of the path's suffix; return the path.

        `depth` is that of --depth: "8", "16", or "float" (TIFF). Missing folders are created, and
        a file that is there is replaced. Raise UsageError, WriteError, OutputError.
        """
        path = Path(path)
        kind = kind_of_suffix(path)
        if kind is None:
            raise UsageError(
                f"{path}: pictures are PNG, TIFF, JPEG or WebP; give a name that ends in .png, "
                ".tif, .jpg or .webp"
            )
        options = OutputOptions(kind, "8" if depth == "auto" else depth, maps="none")
        stored = self._stored(options.stored_type(np.dtype(np.uint8)))
        write_fused(stored, self.fusion, self.modalities, PicturePaths(path, {}, None), options)
        return path

    def _repr_png_(self) -> bytes:
        """Return the picture as notebooks show it: an 8-bit PNG."""
        pixels = self._stored(np.dtype(np.uint8)).pixels[0]
        return b"".join(PICTURE_KINDS["png"].encode(pixels, Details()))

    def _stored(self, kind: np.dtype[Any]) -> Image:
        """Return the picture in the type that is stored."""
        if self.image.pixels.dtype.kind == "f":
            return replace(self.image, pixels=to_stored(self.image.pixels, kind))
        return self.image


def fuse(first: Image, second: Image, engine: Fuser, options: FuseOptions) -> Fused:
    """Fuse two images of the modalities named in the options. Raise PairError."""
    prepared = prepare(first, second, options.prepare)
    fusion = engine.run(*prepared.luminances, options.wanted())
    return finish(prepared, fusion, options.mix)


def finish(
    prepared: Prepared,
    fusion: Fusion[Maps],
    mix: MixOptions = PLAIN,
    kind: DTypeLike = np.float32,
) -> Fused:
    """Add colour, transparency and metadata of the two images to the fused luminance.

    Where only one of the two looks, it passes through unfused, also in `fusion`. `kind` is the type
    of the picture's numbers: float32 in [0, 1], or uint8 or uint16 up to white.
    """
    if any(mask is not None for mask in prepared.has_data):
        pass_through(fusion, prepared.luminances, prepared.has_data)
    giver = giver_of_color(prepared, mix)
    image = in_place_of(prepared, mixed_picture(giver, fusion, mix.gains, np.dtype(kind)))
    ranges = {
        modality: {
            "low": scaled.low,
            "high": scaled.high,
            "invalid": scaled.invalid,
            **scaled.facts,
        }
        for modality, scaled in zip(prepared.modalities, prepared.scaled, strict=True)
    }
    return Fused(image, fusion, prepared.modalities, ranges, notices_of(prepared, image))


# --- as part of a run -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Pictures:
    """The pipeline for a case of two pictures, step by step (runs.process.Pipeline)."""

    options: FuseOptions

    @property
    def modalities(self) -> tuple[str, str]:
        """First and second, in the network's order."""
        return self.options.modalities

    def record(self) -> dict[str, Any]:
        """Return every option that changes pixels or the set of files."""
        return self.options.record()

    def paths(self, case: Case, out: Path, *, is_file: bool) -> PicturePaths:
        """Return the paths of a case's results."""
        known = (self.options.modalities, self.options.products, self.options.output)
        return paths_beside_file(out, *known) if is_file else paths_in_folder(case, out, *known)

    def state(self, path: Path) -> object:
        """Return the size and time of a file. Raise ReadError."""
        with reading(path, "file"):
            state = path.stat()
        return path, state.st_size, state.st_mtime_ns

    def sha256(self, path: Path) -> str:
        """Return the hash of a file. Raise ReadError."""
        return content_sha256(path)

    def read(self, case: Case) -> Prepared:
        """Read both images and prepare them. Raise ImageError."""
        return read_case(case, self.options.prepare)

    def sizes(self, prepared: Prepared) -> tuple[str, str]:
        """Return the sizes of both images before they were put on one grid."""
        first, second = prepared.grids
        return first.size, second.size

    def nbytes(self, prepared: Prepared) -> int:
        """Return roughly how many bytes a case needs from reading to writing.

        Large features are on disk, not in memory; there, too, their size is limited.
        """
        _, height, width = prepared.images[1].grid.shape
        stored = sum(image.pixels.nbytes for image in prepared.images)
        luminances_and_images = (2 + max(1, len(self.options.products.images))) * 4 * height * width
        has_features = self.options.output.with_features
        channels = self.options.products.feature_channels if has_features else 0
        return 2 * stored + luminances_and_images + features_bytes(height, width, channels)

    def work(
        self,
        engine: Fuser,
        prepared: Prepared,
        paths: PicturePaths,
        in_place: InPlace,
        on_slices: Callable[[int, int, int], None] = lambda *_: None,  # noqa: ARG002  there is one
    ) -> Fusion[Maps]:
        """Run the network; features too large for memory are kept in files beside the results."""

        def allocate(shape: tuple[int, ...]) -> NDArray[np.float16]:
            with in_place():
                return scratch_array(paths.features or paths.fused, shape, np.float16)

        return engine.run(*prepared.luminances, self.options.wanted(), allocate)

    def write(
        self, prepared: Prepared, fusion: Fusion[Maps], paths: PicturePaths, in_place: InPlace
    ) -> dict[str, Any]:
        """Write the picture, maps and features; return ranges and notices."""
        kind = self.options.output.stored_type(prepared.images[1].stored_type)
        fused = finish(prepared, fusion, self.options.mix, kind)
        with in_place():
            notices = write_fused(fused.image, fusion, self.modalities, paths, self.options.output)
        record = {"ranges": fused.ranges, "notices": fused.notices + notices}
        sentences = [
            f"{modality}: {words}"
            for modality, scaled in zip(prepared.modalities, prepared.scaled, strict=True)
            for words in facts_words(scaled.facts)
        ]
        if prepared.placed is not None:
            record["alignment"] = prepared.placed.record()
            sentences += prepared.placed.sentences
        return record | ({"said": sentences} if sentences else {})
