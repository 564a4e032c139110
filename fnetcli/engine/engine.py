"""Run a network tile by tile on any device: arrays in, arrays out, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fnetcli.engine import memory
from fnetcli.engine.device import Device
from fnetcli.engine.executors.base import NOWHERE, Executor, Inner, Into, SceneExecutor
from fnetcli.engine.executors.table import ROUNDED, choose_executor
from fnetcli.engine.options import EngineOptions, Precision
from fnetcli.engine.tiles import SMALLEST, Span, Tile, Tiling, fitting
from fnetcli.errors import NotFiniteError, PairError, UsageError
from fnetcli.models.base import Fusion, Maps, Network, Wanted

Allocate = Callable[[tuple[int, ...]], NDArray[np.float16]]  # shape -> array to fill
PARTS_ONLY = Wanted()
MUCH_WORK = 2.5  # times that of the whole image
BLENDED = 32  # pixels, on either side of their border, over which neighbouring tiles are blended


def _in_memory(shape: tuple[int, ...]) -> NDArray[np.float16]:
    return np.empty(shape, np.float16)


class Fuser(Protocol):
    """Fuses luminances as `Engine.run` does: an engine, or a baseline in place of a network."""

    def run(
        self, first: Maps, second: Maps, wanted: Wanted = ..., allocate: Allocate = ...
    ) -> Fusion[NDArray[Any]]:
        """Fuse luminances in [0, 1], each (N, H, W) float32."""


class Engine:
    """Runs one loaded network for any number of pairs.

    `path` describes the executor in a few words, `notices` hold what a user should know about it.
    `on_notice` is called with later notices. Nothing is compiled before it is needed.
    """

    def __init__(
        self,
        network: Network[Any],
        device: Device | None = None,
        options: EngineOptions | None = None,
        on_notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.network = network
        self.device = device or Device()
        self.options = options or EngineOptions()
        self.on_notice = on_notice
        self.notices: list[str] = []
        self.precision = self._actual_precision()
        self._learned: int | None = None  # bytes that proved available after memory ran out
        self._mentioned = set[str]()

    @property
    def path(self) -> str:
        """A few words about the executor."""
        return self._chosen[1]

    @cached_property
    def _executor(self) -> Executor:
        return self._chosen[0]

    @cached_property
    def _chosen(self) -> tuple[Executor, str]:
        """The fastest executor that runs here, and a few words about it."""
        return choose_executor(self.network, self.device, self.precision, self.on_notice)

    @property
    def _dtype(self) -> np.dtype[Any]:
        return next(iter(self.network.arrays.values())).dtype

    def _actual_precision(self) -> Precision:
        """Return the precision asked for if it is faster here, else float32, with a notice."""
        asked = self.options.precision
        if asked == "fp32":
            return "fp32"
        if not self.device.has_tensor_cores():
            why = f"no faster than float32 on this {self.device.kind} device"
        elif asked == "bf16" and self.network.spec.name not in ROUNDED:
            why = "not for this network"
        else:
            return asked
        self.notices.append(f"--precision {asked}: {why}; float32 is used")
        return "fp32"

    def require_memory(self, wanted: Wanted = PARTS_ONLY) -> None:
        """Raise UsageError if --max-memory is less than the minimum for large images."""
        far = 4 * (_margin(self._executors[-1]) + SMALLEST)
        self._require(far, far, wanted)

    def run(
        self,
        first: Maps,
        second: Maps,
        wanted: Wanted = PARTS_ONLY,
        allocate: Allocate = _in_memory,
    ) -> Fusion[NDArray[Any]]:
        """Fuse luminances in [0, 1], each (N, H, W) float32.

        The fused image, parts and maps are (N, H, W) float32; the fused image is not clipped.
        Features are (N, C, H, W) float16; they are written, tile by tile, into the array that
        `allocate` returns for the shape of each. Raise PairError, and UsageError for --max-memory
        like `require_memory`.
        """
        count, height, width = first.shape
        self._require(height, width, wanted)
        result = _Result(self.network, first.shape, wanted, allocate)
        start = 0
        while start < count:
            plan = self._plan(count - start, height, width, wanted)
            some = slice(start, start + plan.images)
            self._mention_margins(plan.tiling)
            if self._has_memory_for(plan, some, (first, second), result):
                start += plan.images
            else:
                self._go_smaller(plan, wanted)
        return result.fusion()

    def _has_memory_for(
        self, plan: _Plan, images: slice, pair: tuple[Maps, Maps], result: _Result
    ) -> bool:
        """Run all tiles; return False if memory ran out.

        The error is gone afterwards: it would hold the arrays of the function that raised it.
        """
        try:
            with self.device.at_work(with_tf32=self.precision == "tf32"):
                self._run_tiles(plan, images, pair, result)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            return False
        return True

    def _run_tiles(
        self, plan: _Plan, images: slice, pair: tuple[Maps, Maps], result: _Result
    ) -> None:
        """Run all tiles of some of the images, and copy the inner part of each to the result."""
        executor, tiling = plan.executor, plan.tiling
        if executor.margin is None and len(tiling) > 1:
            self._mention_blending(tiling)
            self._run_blended(plan, images, pair, result)
            return
        if isinstance(executor, SceneExecutor):
            x, y = (self._padded(image[images]) for image in pair)
            executor.prepare(x, y, result.wanted, self._budget(takes_all=True))
            if executor.difference:
                self._mention_scene(tiling, executor)
        for tile in tiling:
            if isinstance(executor, SceneExecutor):
                executor.place(tile)
            inner = Inner(tile.rows.inner, tile.columns.inner)
            into = result.room(images, tile)
            found = self._run_tile(executor, tile, images, pair, inner, result.wanted, into)
            result.put(images, tile, found)

    def _run_blended(
        self, plan: _Plan, images: slice, pair: tuple[Maps, Maps], result: _Result
    ) -> None:
        """Run all tiles with their margins, and blend neighbours over the margins they share."""
        result.clear(images)
        tiling = plan.tiling
        tiles = list(tiling)
        of_rows = _blending_weights([tile.rows for tile in tiles], tiling.height)
        of_columns = _blending_weights([tile.columns for tile in tiles], tiling.width)
        for tile in tiles:
            whole = Inner(slice(None), slice(None))
            found = self._run_tile(plan.executor, tile, images, pair, whole, result.wanted)
            result.add(images, tile, found, np.outer(of_rows[tile.rows], of_columns[tile.columns]))

    def _run_tile(
        self,
        executor: Executor,
        tile: Tile,
        images: slice,
        pair: tuple[Maps, Maps],
        inner: Inner,
        wanted: Wanted,
        into: Into = NOWHERE,
    ) -> Fusion[NDArray[Any]]:
        outside = (images, tile.rows.computed, tile.columns.computed)
        shape = pair[0][outside].shape[1:]
        x, y = (self._padded(image[outside]) for image in pair)
        if x.shape[1:] != shape:  # sides that the network does not accept
            inner = Inner(
                *(slice(*one.indices(side)) for one, side in zip(inner, shape, strict=True))
            )
        found = executor.run(x, y, inner, wanted, into)
        for image in _images(found):
            if not np.isfinite(image).all():
                raise NotFiniteError("the network's result is not finite; check the weights")
        return found

    def _padded(self, image: Maps) -> NDArray[Any]:
        """Return (N, H, W) in the network's type, padded by reflection to allowed sides."""
        step = self.network.spec.multiple_of
        missing = [(0, -side % step) for side in image.shape[1:]]
        if any(after for _, after in missing):
            image = np.pad(image, ((0, 0), *missing), mode="symmetric")
        return np.ascontiguousarray(image, self._dtype)

    # --- tiles ---

    @property
    def _executors(self) -> list[Executor]:
        """The executor and those that run what does not fit into memory with the one before."""
        found = list[Executor]()
        one: Executor | None = self._executor
        while one is not None:
            found.append(one)
            one = one.smaller
        return found

    def _plan(self, count: int, height: int, width: int, wanted: Wanted) -> _Plan:
        """Return what runs images, how they are cut, and how many go through together."""
        executors, tile = self._executors, self.options.tile
        if tile is not None and self._learned is None:
            is_cut = 0 < tile < max(height, width)
            executor = executors[-1 if is_cut else 0]
            whole = self._whole(executor, height, width)
            return _Plan(
                executor, replace(whole, tile_height=tile, tile_width=tile) if tile else whole
            )
        for executor in executors:
            budget = self._budget(takes_all=executor.margin is None)
            images = 1 if isinstance(executor, SceneExecutor) else count
            while images > 1 and executor.bytes_needed(images, height, width, wanted) > budget:
                images = (images + 1) // 2
            if executor.bytes_needed(images, height, width, wanted) <= budget:
                break
        whole = self._whole(executor, height, width)
        found = fitting(whole, budget, lambda r, c: executor.bytes_needed(images, r, c, wanted))
        return _Plan(executor, found or _smallest(whole), images)

    def _budget(self, *, takes_all: bool) -> int:
        limits = (self._learned, self.options.max_memory)
        known = [limit for limit in limits if limit is not None]
        if known:
            return min(known)
        return memory.budget(self.device, takes_all=takes_all)

    def _require(self, height: int, width: int, wanted: Wanted) -> None:
        """Raise UsageError where --max-memory is less than what takes least needs."""
        given = self.options.max_memory
        if given is None:
            return
        *others, last = self._executors
        smallest = _smallest(self._whole(last, height, width))
        needed = last.bytes_needed(1, *smallest.largest, wanted)
        for executor in others:
            needed = min(needed, executor.bytes_needed(1, height, width, wanted))
        if given < needed:
            megabytes = _megabytes(needed)
            raise UsageError(
                f"--max-memory: the smallest tile of this network needs {megabytes} MB"
                f"{' with its features' * wanted.features}; give at least {megabytes}M"
            )

    def _whole(self, executor: Executor, height: int, width: int) -> Tiling:
        """Return the tiling with a single tile."""
        return Tiling(height, width, height, width, _margin(executor), executor.grain)

    def _mention_margins(self, tiling: Tiling) -> None:
        """Report once if little memory causes much extra work."""
        work = tiling.computed / (tiling.height * tiling.width)
        if work > MUCH_WORK and self.options.tile is None:
            self._mention(
                "margins",
                f"{tiling.width}x{tiling.height}: tiles that fit into memory are mostly margin, "
                f"{work:.1f} times the work; more memory would be faster"
                + " (--max-memory)"
                * (self.options.max_memory is not None),
            )

    def _mention_blending(self, tiling: Tiling) -> None:
        self._mention(
            "blending",
            f"{tiling.width}x{tiling.height}: this network needs the whole image, but runs tile by "
            f"tile ({len(tiling)} tiles, blended at their borders): the result differs from that "
            "of the whole image; more memory (--max-memory) or --tile 0 avoids this",
        )

    def _mention_scene(self, tiling: Tiling, executor: SceneExecutor) -> None:
        self._mention(
            "scene",
            f"{tiling.width}x{tiling.height}: {executor.difference}; the result differs from that "
            f"of the whole image; {executor.remedy} avoids it",
        )

    def _mention(self, what: str, text: str) -> None:
        if what not in self._mentioned:
            self._mentioned.add(what)
            self.on_notice(text)

    def _go_smaller(self, plan: _Plan, wanted: Wanted) -> None:
        """Remember that memory ran out; raise PairError if tiles cannot get any smaller."""
        tiling = plan.tiling
        needed = plan.executor.bytes_needed(plan.images, *tiling.largest, wanted)
        self._learned = needed // 2
        size = f"{tiling.width}x{tiling.height}"
        is_last = plan.executor.smaller is None
        if tiling == _smallest(tiling) and plan.images == 1 and is_last:
            others = "fewer --workers or smaller images"
            raise PairError(
                f"{size}: not enough memory on {self.device}, the smallest tile needs "
                f"{_megabytes(needed)} MB; end other programs, or use "
                + (others if self.device.kind == "cpu" else "--device cpu")
            )
        if self.device.kind == "cuda":
            import torch

            torch.cuda.empty_cache()
        self.on_notice(f"{size}: memory ran out on {self.device}; continuing with smaller tiles")


# --- what runs, and what it makes, tile by tile ---------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    """What runs some images, and how they are cut."""

    executor: Executor
    tiling: Tiling
    images: int = 1  # that go through together


def _margin(executor: Executor) -> int:
    return BLENDED if executor.margin is None else executor.margin


@dataclass
class _Result:
    """The whole images and features that tiles fill."""

    network: Network[Any]
    shape: tuple[int, int, int]  # N, H, W
    wanted: Wanted
    allocate: Allocate
    whole: Maps | None = None
    parts: dict[str, Maps] = field(default_factory=dict)
    maps: dict[str, Maps] = field(default_factory=dict)
    features: dict[str, NDArray[np.float16]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        spec, config = self.network.spec, self.network.config
        has_parts = self.wanted.parts and bool(spec.parts)
        if not has_parts:
            self.whole = self._empty()
        self.parts = {name: self._empty() for name in spec.parts if has_parts}
        self.maps = {name: self._empty() for name in spec.maps(config) if self.wanted.maps}
        if self.wanted.features:
            count, *size = self.shape
            self.features = {
                name: self.allocate((count, channels, *size))
                for name, channels in spec.features(config).items()
            }

    def _empty(self) -> Maps:
        return np.empty(self.shape, np.float32)

    def fusion(self) -> Fusion[NDArray[Any]]:
        """Return the assembled result."""
        return Fusion(self.whole, self.parts, self.maps, self.features)

    def room(self, images: slice, tile: Tile) -> Into:
        """Return where the features inside a tile go."""
        rows, columns = tile.rows.kept, tile.columns.kept
        return {name: one[images, :, rows, columns] for name, one in self.features.items()}

    def put(self, images: slice, tile: Tile, found: Fusion[NDArray[Any]]) -> None:
        """Copy the inner part of a tile to its place."""
        rows, columns = tile.rows.kept, tile.columns.kept
        for target, values in self._pairs(found):
            target[images, rows, columns] = values
        for name, feature in found.features.items():
            self.features[name][images, :, rows, columns] = feature

    def clear(self, images: slice) -> None:
        """Set some images to zero, so that tiles can be added."""
        for target in self._targets():
            target[images] = 0
        for feature in self.features.values():
            feature[images] = 0

    def add(
        self,
        images: slice,
        tile: Tile,
        found: Fusion[NDArray[Any]],
        weights: NDArray[np.float32],
    ) -> None:
        """Add a tile with its margin, (N, h, w), multiplied by weights (h, w)."""
        rows, columns = tile.rows.computed, tile.columns.computed
        for target, values in self._pairs(found):
            target[images, rows, columns] += weights * values
        for name, feature in self.features.items():
            weighed = (weights * found.features[name]).astype(np.float16)
            feature[images, :, rows, columns] += weighed

    def _targets(self) -> Iterator[Maps]:
        if self.whole is not None:
            yield self.whole
        yield from (*self.parts.values(), *self.maps.values())

    def _pairs(self, found: Fusion[NDArray[Any]]) -> Iterator[tuple[Maps, NDArray[Any]]]:
        if self.whole is not None:
            yield self.whole, found.fused
        for mine, its in ((self.parts, found.parts), (self.maps, found.maps)):
            for name, target in mine.items():
                yield target, its[name]


def _blending_weights(spans: list[Span], length: int) -> dict[Span, NDArray[np.float32]]:
    """Return the weights of each computed span; at every position they sum to 1."""
    ramps = {span: _ramp(span, length) for span in spans}
    total = np.zeros(length)
    for span, ramp in ramps.items():
        total[span.computed] += ramp
    return {span: (ramp / total[span.computed]).astype(np.float32) for span, ramp in ramps.items()}


def _ramp(span: Span, length: int) -> NDArray[np.float64]:
    """Return weights of 1 inside a span that fall over its margins, except at the image border."""
    places = np.arange(span.outer_start, span.outer_stop) + 0.5
    weights = np.ones(len(places))
    if span.start > 0:
        margin = span.start - span.outer_start
        weights = np.minimum(weights, 0.5 + (places - span.start) / (2 * margin))
    if span.stop < length:
        margin = span.outer_stop - span.stop
        weights = np.minimum(weights, 0.5 + (span.stop - places) / (2 * margin))
    return weights


def _images(found: Fusion[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    if found.whole is not None:
        yield found.whole
    yield from (*found.parts.values(), *found.maps.values())


def _smallest(tiling: Tiling) -> Tiling:
    """Return the tiling with the smallest tiles."""
    height, width = (min(SMALLEST, side) for side in (tiling.height, tiling.width))
    return replace(tiling, tile_height=height, tile_width=width)


def _megabytes(count: int) -> int:
    return -(-count // 2**20)


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's
        or "allocate memory" in text
        or "out of memory" in text
        or "not enough memory" in text
        or "could not create a primitive" in text  # oneDNN's words for it
        or "STATUS_ALLOC_FAILED" in text  # cuDNN's and cuBLAS's
    )
