"""What is looked at: two pictures on one grid, or one slice of two volumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fnetcli.engine import Separated
from fnetcli.errors import UsageError
from fnetcli.fusion import FuseOptions, finish, read_case
from fnetcli.image import Image
from fnetcli.intensity import Scaled, to_stored
from fnetcli.pairing import Case
from fnetcli.volume_fusion import VolumeFuseOptions, read_volumes, slice_luminances

Levels = NDArray[np.uint8]
Map = NDArray[np.float32]


@dataclass(frozen=True)
class Subject:
    """A pair as the network takes it, and as people see it: (H, W), pictures also (H, W, 3)."""

    name: str
    luminances: tuple[Map, Map]
    sources: tuple[Levels, Levels]
    fuse: Callable[[Separated], Levels]  # the fused picture of what the network found
    notices: tuple[str, ...]


def two_pictures(case: Case, options: FuseOptions) -> Subject:
    """Read two pictures, scaled and on one grid as `fnet fuse` has them. Raise ImageError."""
    prepared = read_case(case, options)
    x, y = prepared.luminances
    first, second = map(_levels, prepared.scaled)
    notices = [
        f"{modality}: {text}"
        for modality, scaled in zip(options.modalities, prepared.scaled, strict=True)
        for text in (*scaled.image.notices, *scaled.notices)
    ]
    return Subject(
        name=case.name,
        luminances=(x[0], y[0]),
        sources=(first, second),
        fuse=lambda separated: _flat(finish(prepared, separated, options, np.uint8).image),
        notices=tuple(notices),
    )


def one_slice(case: Case, options: VolumeFuseOptions, number: int | None) -> Subject:
    """Read two volumes and take a slice, from 1 on; None: the middle one. Raise ImageError."""
    prepared = read_volumes(case, options)
    index = prepared.slices // 2 if number is None else number - 1
    if index >= prepared.slices:
        raise UsageError(f"--slice {number}: there are {prepared.slices}; give a smaller number")
    x, y = slice_luminances(prepared, options, index)

    def fuse(separated: Separated) -> Levels:
        return _stored(separated.fused[0])

    said = [window.sentence for window in prepared.windows]
    return Subject(
        name=f"{case.name}, slice {index + 1} of {prepared.slices}",
        luminances=(x, y),
        sources=(_stored(x), _stored(y)),
        fuse=fuse,
        notices=(*said, *prepared.notices),
    )


def _levels(scaled: Scaled) -> Levels:
    levels: Levels = to_stored(scaled.rows(slice(None)), np.uint8)[0]
    return levels if levels.shape[-1] == 3 else levels[..., 0]


def _flat(image: Image) -> Levels:
    pixels: Levels = image.pixels[0]
    return pixels if image.is_color else pixels[..., 0]


def _stored(values: Map) -> Levels:
    levels: Levels = to_stored(values, np.uint8)
    return levels
