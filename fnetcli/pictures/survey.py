"""What only the whole folder can tell: used bits, one range for a sequence, the files' format."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numpy as np

from fnetcli.errors import ReadError
from fnetcli.formats import Header, ReadOptions, probe_image, read_image
from fnetcli.imaging.image import Image
from fnetcli.imaging.intensity import Limits, ScalingOptions, own_limits, seen_pixels
from fnetcli.inputs.pairing import Case, Source
from fnetcli.modalities import BY_NAME
from fnetcli.pictures.outputs import Depth, OutputOptions
from fnetcli.pictures.prepare import PrepareOptions

Scope = Literal["image", "folder"]
USED_BITS = (10, 12)  # that 16-bit files may really hold, fewest first
MAX_BYTES = 1 << 30  # of images that are measured side by side

ItemT = TypeVar("ItemT")
FoundT = TypeVar("FoundT")


@dataclass(frozen=True)
class Survey:
    """The options with what the folder decides filled in, the headers, and what is to be said."""

    options: PrepareOptions
    headers: tuple[dict[Source, Header], dict[Source, Header]]  # of the files that can be read
    notices: list[str] = field(default_factory=list)


def survey(
    cases: Sequence[Case],
    options: PrepareOptions,
    *,
    scope: Scope = "image",
    workers: int = 2,
    on_step: Callable[[], None] = lambda: None,
) -> Survey:
    """Look at the headers of all images, and at pixels only where they decide for all.

    Files that cannot be read are left for their own turn.
    """
    notices: list[str] = []
    sides = [[case.sources[i] for case in cases] for i in (0, 1)]
    headers: list[dict[Source, Header]] = []
    scalings: list[ScalingOptions] = []
    for modality, paths, reading, scaling in zip(
        options.modalities, sides, options.reading, options.scaling, strict=True
    ):
        side = _Side(modality, _headers(paths, reading, workers, on_step), reading, workers)
        headers.append(side.headers)
        scalings.append(_complete(side, scaling, scope, notices, on_step))
    first, second = scalings
    return Survey(replace(options, scaling=(first, second)), (headers[0], headers[1]), notices)


def fitting_kind(found: Survey, depth: Depth) -> tuple[str, str | None]:
    """Return the format of the fused pictures where none is asked for, and why, if it is not PNG.

    They are TIFF where they hold floats or a georeference.
    """
    if depth == "float":
        return "tiff", None
    second = found.headers[1].values()
    if depth == "auto" and any(header.dtype.kind == "f" for header in second):
        modality = found.options.modalities[1]
        return "tiff", f"{modality} images hold floats: results are float TIFF"
    if any(header.is_georeferenced for side in found.headers for header in side.values()):
        return "tiff", "some images are GeoTIFF: results are TIFF, which can say where they lie"
    return "png", None


def lost_depth(found: Survey, options: OutputOptions) -> list[str]:
    """Say where the format holds fewer bits than the images whose depth it should follow."""
    if options.depth != "auto":
        return []
    kinds = {header.dtype for header in found.headers[1].values()}
    if all(options.stored_type(kind).itemsize >= min(kind.itemsize, 2) for kind in kinds):
        return []
    return [f"{options.kind} holds 8 bits, the images have more: use --format png or tiff"]


@dataclass(frozen=True)
class _Side:
    """The images of one modality that can be read."""

    modality: str
    headers: dict[Source, Header]
    reading: ReadOptions
    workers: int

    def measure(
        self, paths: list[Source], find: Callable[[Image], FoundT | None]
    ) -> Iterator[FoundT]:
        """Read images side by side and yield what is found in them, in order.

        Those that fail are left out; large ones are read one at a time.
        """

        def read(path: Source) -> FoundT | None:
            try:
                return find(read_image(path.path, path.reading(self.reading)))
            except ReadError:
                return None

        largest = max((_bytes(self.headers[path]) for path in paths), default=0)
        workers = self.workers if self.workers * largest <= MAX_BYTES else 1
        return (found for found in _ahead(read, paths, workers) if found is not None)


def _bytes(header: Header) -> int:
    """Return what measuring an image takes, roughly: the pixels, and a copy to sort."""
    return header.height * header.width * header.channels * (header.dtype.itemsize + 8)


def _headers(
    paths: list[Source], reading: ReadOptions, workers: int, on_step: Callable[[], None]
) -> dict[Source, Header]:
    def probe(path: Source) -> Header | None:
        try:
            return probe_image(path.path, path.reading(reading))
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
    if (
        not BY_NAME[side.modality].fills_its_type
        or scaling.bits
        or scaling.limits
        or scaling.stretches_all
    ):
        return None
    undeclared = [
        path
        for path, header in side.headers.items()
        if header.dtype == np.uint16 and header.bits in (None, 16)
    ]
    highest = 0
    for found in side.measure(undeclared, _highest):
        on_step()
        highest = max(highest, found)
        if highest >= 2 ** USED_BITS[-1]:
            return None
    return next((bits for bits in USED_BITS if highest < 2**bits), None) if highest else None


def _highest(image: Image) -> int:
    return int(seen_pixels(image).max(initial=0))


def _folder_limits(
    side: _Side, scaling: ScalingOptions, on_step: Callable[[], None]
) -> Limits | None:
    """Return one range for all images that are stretched: no image loses more than on its own.

    It reaches from the lowest of the images' low percentiles to the highest of their high ones; if
    these are equal, because little stands out anywhere, from the lowest number to the highest.
    """
    if scaling.stretch is None:
        return None
    stretched = [
        path
        for path, header in side.headers.items()
        if scaling.is_stretched(header.dtype, side.modality)
    ]
    stretch = scaling.stretch
    found: list[tuple[Limits, Limits]] = []
    for one in side.measure(stretched, lambda image: own_limits(image, stretch)):
        on_step()
        found.append(one)
    for limits in zip(*found, strict=True):  # the percentiles of all images, then their extremes
        low, high = min(low for low, _ in limits), max(high for _, high in limits)
        if low < high:
            return low, high
    return None


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
