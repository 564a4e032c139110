"""Prepare two pictures for the network: read them, scale them to [0, 1], put them on one grid."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnetcli.errors import ImageError, PairError, UsageError
from fnetcli.formats import ReadOptions, read_image, usual_layer
from fnetcli.imaging import color
from fnetcli.imaging.image import Grid, Image
from fnetcli.imaging.intensity import Scaled, ScalingOptions
from fnetcli.inputs.pairing import Case
from fnetcli.models.lone import HasData
from fnetcli.pictures.place import Placed, PlaceOptions, place
from fnetcli.pictures.sources import scale_source

Luminance = NDArray[np.float32]  # (slices, H, W) in [0, 1]


@dataclass(frozen=True)
class PrepareOptions:
    """What decides the pixels that the network sees."""

    modalities: tuple[str, str]  # first, second, in the network's order
    scaling: tuple[ScalingOptions, ScalingOptions] = (ScalingOptions(), ScalingOptions())
    reading: tuple[ReadOptions, ReadOptions] = (ReadOptions(), ReadOptions())
    resize_to: str | None = None  # modality whose size is kept if the two differ
    place: PlaceOptions = field(default_factory=PlaceOptions)  # how they are aligned

    def __post_init__(self) -> None:
        """Raise UsageError if an option does not fit the two modalities."""
        if self.resize_to not in (None, *self.modalities):
            raise UsageError(
                f"--resize {self.resize_to}: not one of the two images; "
                f"use {' or '.join(self.modalities)}"
            )
        self.place.require_fitting(self.modalities)

    def record(self) -> dict[str, Any]:
        """Return everything that changes pixels, ready for JSON."""
        return {
            "modalities": list(self.modalities),
            "scaling": {
                name: asdict(scaling)
                for name, scaling in zip(self.modalities, self.scaling, strict=True)
            },
            "pages": [reading.page for reading in self.reading],
            "resize": self.resize_to,
            **self._bands(),
            **self._camera(),
            **self.place.record(),
        }

    def _camera(self) -> dict[str, Any]:
        """Return what only thermal cameras' files have, where it was chosen."""
        layers = [reading.layer for reading in self.reading]
        is_usual = layers == [usual_layer(name) for name in self.modalities]
        sizes = [reading.raw_size for reading in self.reading]
        return {
            **({"layers": layers} if not is_usual else {}),
            **({"raw_size": [*sizes]} if any(sizes) else {}),
        }

    def _bands(self) -> dict[str, Any]:
        bands = [list(reading.bands) for reading in self.reading]
        return {"bands": bands} if any(bands) else {}


@dataclass(frozen=True)
class Prepared:
    """Two images on one grid, ready for the network; luminances are computed on demand."""

    modalities: tuple[str, str]
    grids: tuple[Grid, Grid]  # before both were put on one grid
    scaled: tuple[Scaled, Scaled]
    placed: Placed | None = None  # how a transform put them there
    has_data: HasData = (None, None)  # where only one of them looks, the other passes through
    notices: tuple[str, ...] = ()  # about both

    @property
    def images(self) -> tuple[Image, Image]:
        """Both images; their pixels may still be as stored."""
        first, second = self.scaled
        return first.image, second.image

    @property
    def luminances(self) -> tuple[Luminance, Luminance]:
        """Both luminances in [0, 1], (slices, H, W)."""
        first, second = self.scaled
        return _luminance(first), _luminance(second)

    @property
    def were_resized(self) -> tuple[bool, bool]:
        """Whether each of the two was resized."""
        first, second = (
            image.grid is not grid for image, grid in zip(self.images, self.grids, strict=True)
        )
        return first, second


def read_case(case: Case, options: PrepareOptions) -> Prepared:
    """Read both images of a case and prepare them. Raise ImageError."""
    first, second = (
        read_image(path, case.reading(reading))
        for path, reading in zip((case.first, case.second), options.reading, strict=True)
    )
    try:
        return prepare(first, second, options)
    except PairError as error:
        raise PairError(f"{case.files}: {error}") from None


def read_scaled(case: Case, options: PrepareOptions) -> tuple[Scaled, Scaled]:
    """Read and scale both images of a case, without putting them on one grid. Raise ImageError."""
    first, second = (
        read_image(path, case.reading(reading))
        for path, reading in zip((case.first, case.second), options.reading, strict=True)
    )
    return scale_both(first, second, options)


def scale_both(first: Image, second: Image, options: PrepareOptions) -> tuple[Scaled, Scaled]:
    """Choose each image's intensity scaling. Raise PairError."""
    x, y = (
        _scale(image, modality, scaling)
        for image, scaling, modality in zip(
            (first, second), options.scaling, options.modalities, strict=True
        )
    )
    return x, y


def prepare(first: Image, second: Image, options: PrepareOptions) -> Prepared:
    """Choose each image's intensity scaling and put both on one grid. Raise PairError."""
    x, y = scale_both(first, second, options)
    grids = (x.image.grid, y.image.grid)
    found = place(x, y, options.modalities, options.place, options.resize_to)
    return Prepared(
        options.modalities, grids, found.scaled, found.placed, found.has_data, found.notices
    )


def _scale(image: Image, modality: str, options: ScalingOptions) -> Scaled:
    """Correct and scale a picture. Raise PairError for a range that does not fit it."""
    try:
        return scale_source(image, modality, options)
    except ImageError as error:
        raise PairError(str(error)) from None


def _luminance(scaled: Scaled) -> Luminance:
    luminance = np.empty(scaled.image.grid.shape, np.float32)
    for band in scaled.image.grid.bands():
        unit = scaled.rows(band)
        luminance[:, band] = (color.luminance(unit) if scaled.image.is_color else unit)[..., 0]
    return luminance


def has_color(scaled: Scaled) -> bool:
    """Whether a picture is in colour, and not grey that is stored as colour."""
    return scaled.image.is_color and not all(
        color.is_gray(scaled.rows(band)) for band in scaled.image.grid.bands()
    )
