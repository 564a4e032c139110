"""The subject of an inspection: two pictures on one grid, or one slice of two volumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fnetcli.errors import UsageError
from fnetcli.imaging.corrections import facts_words
from fnetcli.imaging.image import Grid, Image
from fnetcli.imaging.intensity import CELSIUS, Scaled, to_stored, valid_pixels
from fnetcli.inputs.pairing import Case
from fnetcli.models.base import Fusion, Maps
from fnetcli.pictures.fuse import finish
from fnetcli.pictures.place import Placed, PlaceOptions, as_they_are
from fnetcli.pictures.prepare import Prepared, PrepareOptions, read_case, read_scaled
from fnetcli.pictures.survey import survey
from fnetcli.volumes.completion import slice_luminances
from fnetcli.volumes.mix import VolumeMixOptions, notices_of
from fnetcli.volumes.prepare import (
    PreparedVolumes,
    VolumePrepareOptions,
    read_volumes,
)

Levels = NDArray[np.uint8]
Map = NDArray[np.float32]


@dataclass(frozen=True)
class Finished:
    """The fused picture for display, and warnings about the pair."""

    picture: Levels
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    """A pair for the network and for display: (H, W), pictures also (H, W, 3)."""

    name: str
    luminances: tuple[Map, Map]
    sources: tuple[Levels, Levels]
    info: tuple[str, ...]  # good to know: what became black and white
    finish: Callable[[Fusion[Maps]], Finished]  # turns the network's output into a picture
    place: PlaceOptions | None = None  # of pictures: as it was decided
    placed: Placed | None = None
    place_of_reference: int = 1  # among the two
    before: tuple[Levels, Levels] | None = None  # first and second, as they lie without it


# --- pictures -------------------------------------------------------------------------------------


def two_pictures(case: Case, options: PrepareOptions) -> Subject:
    """Read two pictures, scaled and on one grid as in `fnet fuse`. Raise ImageError."""
    found = survey([case], options)  # the bits that a visible picture really uses
    options = found.options
    prepared = read_case(case, options)
    x, y = prepared.luminances
    first, second = map(_levels, prepared.scaled)

    def finished(fusion: Fusion[Maps]) -> Finished:
        fused = finish(prepared, fusion, kind=np.uint8)
        return Finished(_flat(fused.image), (*found.warnings, *fused.notices))

    return Subject(
        name=case.name,
        luminances=(x[0], y[0]),
        sources=(first, second),
        info=(*found.notices, *_ranges(prepared), *_placed(prepared)),
        finish=finished,
        place=options.place,
        placed=prepared.placed,
        place_of_reference=int(
            prepared.placed is not None and prepared.placed.reference == prepared.modalities[1]
        ),
        before=None if prepared.placed is None else _as_they_are(case, options, prepared),
    )


def _as_they_are(case: Case, options: PrepareOptions, prepared: Prepared) -> tuple[Levels, Levels]:
    """Return both pictures on the kept grid, centre on centre, without their transform."""
    scaled = read_scaled(case, options)
    placed = prepared.placed
    if placed is None:
        raise RuntimeError("the pictures were not placed")
    is_first = placed.reference == prepared.modalities[0]
    reference, moving = scaled if is_first else scaled[::-1]
    pair = as_they_are(reference, moving, placed.window)
    first, second = map(_levels, pair if is_first else pair[::-1])
    return first, second


def _ranges(prepared: Prepared) -> list[str]:
    found = []
    for modality, grid, scaled in zip(
        prepared.modalities, prepared.grids, prepared.scaled, strict=True
    ):
        found.append(
            f"{modality}: {grid.size}, {scaled.low:g} to {scaled.high:g}{_unit(scaled)} become "
            + ("white to black" if scaled.is_inverted else "black to white")
        )
        found += [f"{modality}: {words}" for words in facts_words(scaled.facts)]
    return found


def _unit(scaled: Scaled) -> str:
    return f" {CELSIUS}" if scaled.image.unit == CELSIUS else ""


def _placed(prepared: Prepared) -> list[str]:
    return [] if prepared.placed is None else [*prepared.placed.sentences]


def _levels(scaled: Scaled) -> Levels:
    levels: Levels = to_stored(scaled.rows(slice(None)), np.uint8)[0]
    return levels if levels.shape[-1] == 3 else levels[..., 0]


def _flat(image: Image) -> Levels:
    pixels: Levels = image.pixels[0]
    return pixels if image.is_color else pixels[..., 0]


# --- a slice of volumes ---------------------------------------------------------------------------


def one_slice(case: Case, options: VolumePrepareOptions, number: int | None) -> Subject:
    """Read two volumes and return a slice, counted from 1; None: the middle one.

    It has the same orientation as in `fnet fuse`. Raise ImageError, and UsageError if the number is
    too high.
    """
    prepared = read_volumes(case, options)
    index = prepared.slices // 2 if number is None else number - 1
    if index >= prepared.slices:
        raise UsageError(
            f"--slice {number}: there are only {prepared.slices}; give a smaller number"
        )
    x, y = slice_luminances(prepared, index)
    notices = (*notices_of(prepared, VolumeMixOptions()), *_lonely(prepared, index))
    return Subject(
        name=f"{case.name}, slice {index + 1} of {prepared.slices}",
        luminances=(x, y),
        sources=(_stored(x), _stored(y)),
        info=(*(window.sentence for window in prepared.windows), *prepared.info),
        finish=lambda fusion: Finished(_stored(fusion.fused[0]), notices),
    )


def _lonely(prepared: PreparedVolumes, index: int) -> list[str]:
    """Return whether only one volume has data somewhere."""
    found = []
    for modality, image in zip(prepared.modalities, prepared.on_grid, strict=True):
        valid = valid_pixels(_slice(prepared.order.image(image), index))
        missing = 0.0 if valid is None else 1 - float(np.mean(valid))
        if missing > 0:
            found.append(
                f"{modality}: no data in {100 * missing:.1f} % of this slice; it is estimated "
                "there from the other volume"
            )
    return found


def _slice(image: Image, index: int) -> Image:
    one = slice(index, index + 1)
    pixels = image.pixels[one]
    grid = Grid((1, pixels.shape[1], pixels.shape[2]))
    valid = None if image.valid is None else image.valid[one]
    return replace(image, pixels=pixels, grid=grid, alpha=None, valid=valid)


def _stored(values: Map) -> Levels:
    levels: Levels = to_stored(values, np.uint8)
    return levels
