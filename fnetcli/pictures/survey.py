"""What only the whole folder can tell: used bits, one range for a sequence, the files' format."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

from fnetcli.errors import ImageError, ReadError
from fnetcli.formats import Header, ReadOptions, probe_image, read_image
from fnetcli.imaging.corrections import correct
from fnetcli.imaging.image import Image
from fnetcli.imaging.intensity import (
    Limits,
    Scaled,
    ScalingOptions,
    own_limits,
    percent,
    seen_pixels,
)
from fnetcli.imaging.ranges import stray_ranges
from fnetcli.inputs.pairing import Case, Source
from fnetcli.modalities import BY_NAME
from fnetcli.pictures.outputs import Depth, OutputOptions
from fnetcli.pictures.place import PlaceOptions, estimate_over_frames
from fnetcli.pictures.prepare import PrepareOptions, read_scaled
from fnetcli.text import number_of, verb_of

Scope = Literal["image", "folder"]
USED_BITS = range(8, 17)  # that 16-bit files may really hold
MAX_BRIGHT = 1e-4  # share of an image's pixels, but at least one, that no rule looks at: stuck ones
HIGH, DARK = 99, 1 / 4  # percentile; share of white below which a visible picture comes out dark
SHOWN_STRAYS = 3
MAX_FRAMES = 24  # pairs over which one transform is estimated
MAX_BYTES = 1 << 30  # of images that are measured side by side

ItemT = TypeVar("ItemT")
FoundT = TypeVar("FoundT")


@dataclass(frozen=True)
class Survey:
    """The options with what the folder decides filled in, the headers, and notices of all files."""

    options: PrepareOptions
    headers: tuple[dict[Source, Header], dict[Source, Header]]  # of the files that can be read
    notices: list[str] = field(default_factory=list)  # good to know
    warnings: list[str] = field(default_factory=list)  # perhaps not wanted


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
    messages = Messages()
    sides = [[case.sources[i] for case in cases] for i in (0, 1)]
    headers: list[dict[Source, Header]] = []
    scalings: list[ScalingOptions] = []
    for modality, paths, reading, scaling in zip(
        options.modalities, sides, options.reading, options.scaling, strict=True
    ):
        found = _headers(paths, reading, workers, on_step)
        side = _Files(modality, found, reading, scaling, workers)
        headers.append(found)
        scalings.append(_complete(side, scope, messages, on_step))
    first, second = scalings
    completed = replace(options, scaling=(first, second))
    if options.place.needs_folder:
        completed = replace(completed, place=_place(cases, completed, messages, on_step))
    return Survey(completed, (headers[0], headers[1]), messages.notices, messages.warnings)


def _place(
    cases: Sequence[Case],
    options: PrepareOptions,
    messages: Messages,
    on_step: Callable[[], None],
) -> PlaceOptions:
    """Find the one transform of all pairs, over some of them. Raise PairError."""
    step = max(1, math.ceil(len(cases) / MAX_FRAMES))
    some = cases[::step]

    def frames() -> Iterator[tuple[Scaled, Scaled]]:
        for case in some:
            on_step()
            try:
                yield read_scaled(case, options)
            except ImageError:
                continue  # it fails in its own turn

    found = estimate_over_frames(frames(), options.modalities, options.place)
    if len(cases) > 1:
        tell_place(found, "pairs", messages)
    elif found.found is not None:
        messages.notices.append(found.found.sentence)
    return found


def tell_place(found: PlaceOptions, what: str, messages: Messages) -> None:
    """Say what the one transform of all pairs, or frames, is."""
    if found.found is None:
        (messages.warnings if found.falls_back else messages.notices).extend(found.remarks)
        return
    messages.notices.append(f"one transform for all {what}: {found.found.sentence}")
    agreeing, count = found.found.frames_agreeing, found.found.frames
    if 2 * agreeing < count:
        messages.warnings.append(
            f"one transform for all {what} fits only {agreeing} of {count} {what}: the cameras "
            "may have moved, or objects are at very different distances"
            + "; compare --register-scope pair"
            * (what == "pairs")
        )


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
class Messages:
    """What a user should know of the files as a whole."""

    notices: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Side(Protocol):
    """The images of one modality that can be read."""

    @property
    def modality(self) -> str:
        """Its name."""

    @property
    def scaling(self) -> ScalingOptions:
        """What is known of their scaling before they are measured."""

    @property
    def types(self) -> dict[Source, np.dtype[Any]]:
        """The type of every image's numbers, as far as it is known before they are read."""

    def measure(
        self, paths: list[Source], find: Callable[[Image], FoundT | None]
    ) -> Iterator[tuple[Source, FoundT]]:
        """Yield what is found in images, after corrections, in order."""


@dataclass(frozen=True)
class _Files:
    """Images in files (Side)."""

    modality: str
    headers: dict[Source, Header]
    reading: ReadOptions
    scaling: ScalingOptions
    workers: int

    @property
    def types(self) -> dict[Source, np.dtype[Any]]:
        """The types that the headers tell."""
        return {path: header.dtype for path, header in self.headers.items()}

    def measure(
        self, paths: list[Source], find: Callable[[Image], FoundT | None]
    ) -> Iterator[tuple[Source, FoundT]]:
        """Read images side by side, correct them, and yield what is found in them, in order.

        Those that fail are left out; large ones are read one at a time.
        """

        def read(path: Source) -> FoundT | None:
            try:
                image = read_image(path.path, path.reading(self.reading))
                return find(correct(image, self.modality, self.scaling.corrections).image)
            except ReadError:
                return None

        largest = max((_bytes(self.headers[path]) for path in paths), default=0)
        workers = self.workers if self.workers * largest <= MAX_BYTES else 1
        found = zip(paths, _ahead(read, paths, workers), strict=True)
        return ((path, one) for path, one in found if one is not None)


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
    side: Side, scope: Scope, messages: Messages, on_step: Callable[[], None]
) -> ScalingOptions:
    """Fill in the bits that visible files use, and the limits of a folder."""
    scaling, modality = with_found_bits(side, messages, on_step), side.modality
    limits = _folder_limits(side, messages, on_step) if scope == "folder" else None
    if limits is not None:
        messages.notices.append(
            f"{modality}: {limits[0]:g} to {limits[1]:g} become black to white in all images"
        )
        scaling = replace(scaling, folder_limits=limits)
    return scaling


def with_found_bits(
    side: Side, messages: Messages, on_step: Callable[[], None] = lambda: None
) -> ScalingOptions:
    """Fill in the bits that visible images of 16 bits use, where nothing says how many."""
    scaling, modality = side.scaling, side.modality
    found = _find_brightness(side, on_step)
    if found is not None and found.bits is not None:
        scaling = replace(scaling, found_bits=found.bits)
        messages.notices.append(_bits_words(found, modality))
    if found is not None and found.is_dark:
        messages.warnings.append(
            f"{modality}: only {100 - HIGH} % of the pixels of the brightest image are above "
            f"{found.high:.6g}, {percent(found.high / found.white)} of white ({found.white:g}), so "
            f"all come out dark; --bits {modality}=N, --range {modality}=LO,HI or --stretch "
            f"{modality}=0.1,99.9 makes them brighter"
        )
    return scaling


# --- visible images of more than 8 bits -----------------------------------------------------------


@dataclass(frozen=True)
class _Brightness:
    """How bright the visible 16-bit images of a folder are, in stored numbers.

    `bits` are None where all 16 are used or the files say how many are. `bright` counts pixels
    that are brighter than these bits hold, and are taken as white.
    """

    bits: int | None
    bright: int
    high: float  # HIGH percentile of the brightest image
    white: float

    @property
    def is_dark(self) -> bool:
        """Whether even the brightest image uses little of the range."""
        return 0 < self.high < DARK * self.white


@dataclass(frozen=True)
class _OneBrightness:
    """The same of one image; `highest` but for stuck pixels, above which `counts` tells bits."""

    highest: int
    above: tuple[int, ...]  # pixels that do not fit, for each of USED_BITS
    high: float
    white: float | None  # that the file declares


def _find_brightness(side: Side, on_step: Callable[[], None]) -> _Brightness | None:
    """Measure visible 16-bit images; None where there is none, or the user says their range."""
    scaling = side.scaling
    if (
        not BY_NAME[side.modality].fills_its_type
        or scaling.bits
        or scaling.limits
        or scaling.stretches_all
    ):
        return None
    deep = [path for path, kind in side.types.items() if kind == np.uint16]
    measured: list[_OneBrightness] = []
    for _, one in side.measure(deep, _brightness):
        on_step()
        measured.append(one)
        if one.white is None and one.highest >= 2 ** USED_BITS[-2] and one.high >= DARK * 2**16:
            break  # all bits are used, and the images are not dark
    if not measured:
        return None
    undeclared = [one for one in measured if one.white is None]
    highest = max((one.highest for one in undeclared), default=0)
    used = next((i for i, bits in enumerate(USED_BITS) if highest < 2**bits)) if highest else -1
    bits = USED_BITS[used]
    white = [float(2**bits - 1 if one.white is None else one.white) for one in measured]
    best = max(range(len(measured)), key=lambda i: measured[i].high / white[i])
    return _Brightness(
        bits=None if bits == USED_BITS[-1] else bits,
        bright=sum(one.above[used] for one in undeclared),
        high=measured[best].high,
        white=white[best],
    )


def _brightness(image: Image) -> _OneBrightness | None:
    seen = seen_pixels(image)
    if not seen.size:
        return None
    brightest = seen[:, 0]
    for channel in seen.T[1:]:  # along an axis of 3, max is slow
        brightest = np.maximum(brightest, channel)
    counts = np.bincount(brightest, minlength=1 << USED_BITS[-1])
    up_to = np.cumsum(counts)
    spare = max(1, int(MAX_BRIGHT * brightest.size))
    white: float | None = None
    if image.reflectance is not None:
        white = image.reflectance[1]
    elif image.bits not in (None, 16):
        white = float(2**image.bits - 1)
    return _OneBrightness(
        highest=int(np.searchsorted(up_to, brightest.size - spare)),
        above=tuple(int(brightest.size - up_to[2**bits - 1]) for bits in USED_BITS),
        high=float(np.searchsorted(up_to, HIGH / 100 * brightest.size)),
        white=white,
    )


def _bits_words(found: _Brightness, modality: str) -> str:
    if found.bits is None:
        return ""
    most = 2**found.bits - 1
    words = f"no value above {most}"
    if found.bright:
        words = f"only {number_of(found.bright, 'pixel')} above {most}, taken as white"
    return (
        f"{modality}: 16-bit files, but {words}: taken as {found.bits} bits "
        f"(--bits {modality}=16 if they are not)"
    )


# --- one range for a folder -----------------------------------------------------------------------


def _folder_limits(side: Side, messages: Messages, on_step: Callable[[], None]) -> Limits | None:
    """Return one range for all images that are stretched: no image loses more than on its own.

    It reaches from the lowest of the images' low percentiles to the highest of their high ones; if
    these are equal, because little stands out anywhere, from the lowest number to the highest.
    """
    scaling = side.scaling
    if scaling.stretch is None:
        return None
    stretched = [
        path for path, kind in side.types.items() if scaling.is_stretched(kind, side.modality)
    ]
    stretch = scaling.stretch
    found: list[tuple[Limits, Limits]] = []
    paths: list[Source] = []
    for path, one in side.measure(stretched, lambda image: own_limits(image, stretch)):
        on_step()
        found.append(one)
        paths.append(path)
    for limits in zip(*found, strict=True):  # the percentiles of all images, then their extremes
        low, high = min(low for low, _ in limits), max(high for _, high in limits)
        if low < high:
            messages.warnings.extend(_stray_words(side.modality, paths, limits))
            return low, high
    return None


def _stray_words(modality: str, paths: list[Source], ranges: Sequence[Limits]) -> Iterator[str]:
    """Say which images have nothing in common with the others, so that one range fits none."""
    strays = stray_ranges(ranges)
    if not strays:
        return
    others = [limits for i, limits in enumerate(ranges) if i not in strays]
    low, high = min(low for low, _ in others), max(high for _, high in others)
    for i in strays[:SHOWN_STRAYS]:
        yield (
            f"{paths[i]}: its range, {ranges[i][0]:g} to {ranges[i][1]:g}, has nothing in common "
            f"with that of the others, {low:g} to {high:g}: with one range for all, details of all "
            f"are lost; leave it out, or use --stretch-scope image"
        )
    if (more := len(strays) - SHOWN_STRAYS) > 0:
        have = verb_of(more, "has", "have")
        yield f"{modality}: {number_of(more, 'more image')} {have} such a range"


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
