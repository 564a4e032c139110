"""What only the whole folder can tell: used bits, one range for a sequence, the files' format."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from fnetcli.errors import ReadError
from fnetcli.formats import Header, ReadOptions, probe_image, read_image
from fnetcli.fusion import FuseOptions
from fnetcli.image import Image
from fnetcli.intensity import Limits, ScalingOptions, own_limits, valid_pixels
from fnetcli.pairing import Case

Scope = Literal["image", "folder"]
USED_BITS = (10, 12)  # that 16-bit files may really hold, fewest first

ItemT = TypeVar("ItemT")
FoundT = TypeVar("FoundT")


@dataclass(frozen=True)
class Survey:
    """The options with what the folder decides filled in, and what is to be said of it."""

    options: FuseOptions
    notices: list[str] = field(default_factory=list)


def survey(
    cases: list[Case],
    options: FuseOptions,
    *,
    scope: Scope = "image",
    kind: str | None = None,
    workers: int = 2,
    on_step: Callable[[], None] = lambda: None,
) -> Survey:
    """Look at the headers of all images, and at pixels only where they decide for all.

    `kind` names the format of the fused pictures; without it they are TIFF where they hold floats
    or a georeference, else PNG. Files that cannot be read are left for their own turn.
    """
    notices: list[str] = []
    sides = [[case.first for case in cases], [case.second for case in cases]]
    headers: list[dict[Path, Header]] = []
    scalings: list[ScalingOptions] = []
    for modality, paths, reading, scaling in zip(
        options.modalities, sides, options.reading, options.scaling, strict=True
    ):
        side = _Side(modality, _headers(paths, reading, workers, on_step), reading, workers)
        headers.append(side.headers)
        scalings.append(_complete(side, scaling, scope, notices, on_step))
    kind = kind or _kind(options, headers, notices)
    first, second = scalings
    return Survey(replace(options, scaling=(first, second), kind=kind), notices)


@dataclass(frozen=True)
class _Side:
    """The images of one modality that can be read."""

    modality: str
    headers: dict[Path, Header]
    reading: ReadOptions
    workers: int

    def images(self, paths: Iterable[Path]) -> Iterator[Image]:
        """Read images side by side, in order; leave out those that fail."""

        def read(path: Path) -> Image | None:
            try:
                return read_image(path, self.reading)
            except ReadError:
                return None

        return (image for image in _ahead(read, paths, self.workers) if image is not None)


def _headers(
    paths: list[Path], reading: ReadOptions, workers: int, on_step: Callable[[], None]
) -> dict[Path, Header]:
    def probe(path: Path) -> Header | None:
        try:
            return probe_image(path, reading)
        except ReadError:
            return None

    headers = {}
    for path, header in zip(paths, _ahead(probe, paths, workers), strict=True):
        on_step()
        if header is not None:
            headers[path] = header
    return headers


def _complete(
    side: _Side,
    scaling: ScalingOptions,
    scope: Scope,
    notices: list[str],
    on_step: Callable[[], None],
) -> ScalingOptions:
    """Fill in the bits that visible files use, and the limits of a folder."""
    bits = _used_bits(side, scaling, on_step)
    if bits is not None:
        notices.append(
            f"{side.modality}: 16-bit files, but no value above {2**bits - 1}: taken as {bits} "
            f"bits (--bits {side.modality}=16 if they are not)"
        )
        scaling = replace(scaling, found_bits=bits)
    limits = _folder_limits(side, scaling, on_step) if scope == "folder" else None
    if limits is not None:
        notices.append(
            f"{side.modality}: {limits[0]:g} to {limits[1]:g} become black to white in all images"
        )
        scaling = replace(scaling, folder_limits=limits)
    return scaling


def _used_bits(side: _Side, scaling: ScalingOptions, on_step: Callable[[], None]) -> int | None:
    """Return 10 or 12 where no visible 16-bit file holds a higher number, None where one does."""
    if side.modality != "vis" or scaling.bits or scaling.limits or scaling.stretches_all:
        return None
    undeclared = [
        path
        for path, header in side.headers.items()
        if header.dtype == np.uint16 and header.bits in (None, 16)
    ]
    highest = 0
    for image in side.images(undeclared):
        on_step()
        valid = valid_pixels(image)
        seen = image.pixels if valid is None else image.pixels[valid]
        highest = max(highest, int(seen.max(initial=0)))
        if highest >= 2 ** USED_BITS[-1]:
            return None
    return next((bits for bits in USED_BITS if highest < 2**bits), None) if highest else None


def _folder_limits(
    side: _Side, scaling: ScalingOptions, on_step: Callable[[], None]
) -> Limits | None:
    """Return one range for all images that are stretched: no image loses more than on its own.

    It reaches from the lowest of the images' low percentiles to the highest of their high ones.
    """
    if scaling.stretch is None:
        return None
    stretched = [
        path
        for path, header in side.headers.items()
        if scaling.is_stretched(header.dtype, side.modality)
    ]
    lows, highs = [], []
    for image in side.images(stretched):
        on_step()
        limits = own_limits(image, scaling.stretch)
        if limits is not None:
            lows.append(limits[0])
            highs.append(limits[1])
    return (min(lows), max(highs)) if lows and min(lows) < max(highs) else None


def _kind(options: FuseOptions, headers: list[dict[Path, Header]], notices: list[str]) -> str:
    if options.depth == "float":
        return "tiff"
    second = headers[1].values()
    if options.depth == "auto" and any(header.dtype.kind == "f" for header in second):
        notices.append(f"{options.modalities[1]} images hold floats: results are float TIFF")
        return "tiff"
    if any(header.is_georeferenced for side in headers for header in side.values()):
        notices.append("some images are GeoTIFF: results are TIFF and keep their georeference")
        return "tiff"
    return "png"


def _ahead(do: Callable[[ItemT], FoundT], items: Iterable[ItemT], workers: int) -> Iterator[FoundT]:
    """Yield what `do` finds, in order, worked out a few items ahead in threads."""
    with ThreadPoolExecutor(workers) as pool:
        running: deque[Future[FoundT]] = deque()
        try:
            for item in items:
                running.append(pool.submit(do, item))
                if len(running) > workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
