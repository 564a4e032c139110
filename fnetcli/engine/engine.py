"""The engine: a network at its place of work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fnetcli.engine import memory
from fnetcli.engine.executors.fnet.bands import Bands
from fnetcli.engine.executors.fnet.library import NoLibraryError
from fnetcli.engine.executors.fnet.native import Native, load_library
from fnetcli.engine.options import EngineOptions, Precision
from fnetcli.engine.tiles import SMALLEST, Tile, Tiling, fitting
from fnetcli.errors import PairError, UsageError
from fnetcli.models.fnet.network import Codes, FNet, Parts

Maps = NDArray[np.float32]
LARGEST_CODE = float(np.finfo(np.float16).max)  # 65504; what lies beyond is taken for it
Allocate = Callable[[tuple[int, ...]], NDArray[np.float16]]  # shape -> array to fill
MUCH_WORK = 2.5  # times that of the image in one piece
BUILDING = "compiling the network's inner loop for this processor: once, some seconds"


@dataclass(frozen=True)
class Separated:
    """What the network found in N pairs of H x W.

    The three parts are (N, H, W) float32, signed; their sum is the fused luminance, not clipped.
    The codes are (N, atoms, H, W) float16, or None where nobody asked.
    """

    unique_first: Maps
    unique_second: Maps
    common: Maps
    codes: dict[str, NDArray[np.float16]] | None

    @property
    def fused(self) -> Maps:
        """The fused luminance, (N, H, W), not clipped."""
        fused: Maps = self.unique_first + self.unique_second
        fused += self.common
        return fused


class Executor(Protocol):
    """What runs the network on images that fit into memory."""

    @property
    def name(self) -> str:
        """A word for it."""

    @property
    def margin(self) -> int:
        """Pixels around a tile that can change it, by rounding too."""

    @property
    def grain(self) -> tuple[int, int]:
        """Rows and columns that tiles should start at a multiple of."""

    def run(self, x: Tensor, y: Tensor, *, with_codes: bool) -> tuple[Parts, Codes | None]:
        """Separate and combine (N, 1, H, W) images."""

    def bytes_needed(self, count: int, height: int, width: int, *, with_codes: bool) -> int:
        """Return the peak working memory of `run`, roughly."""


def _in_memory(shape: tuple[int, ...]) -> NDArray[np.float16]:
    return np.empty(shape, np.float16)


class Engine:
    """Run a network for every pair; load once.

    `path` says in a few words what does the work, `notices` what a user should know of it.
    `on_notice` hears what comes up later. Nothing is compiled before it is needed.
    """

    def __init__(
        self,
        network: FNet,
        device: torch.device,
        options: EngineOptions | None = None,
        on_notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.device = device
        self.network = network.to(device).eval()
        self.options = options or EngineOptions()
        self.on_notice = on_notice
        self.notices: list[str] = []
        self.precision: Precision = "bf16" if self._takes_bfloat16() else "fp32"
        self._learned: int | None = None  # bytes that proved to be there, once memory ran out
        self._has_mentioned_margins = False

    @property
    def path(self) -> str:
        """What does the work."""
        return self._chosen[1]

    @cached_property
    def _executor(self) -> Executor:
        return self._chosen[0]

    @cached_property
    def _chosen(self) -> tuple[Executor, str]:
        """The fastest path that runs here, and a few words about it."""
        if self.device.type != "cpu":
            operands = torch.bfloat16 if self.precision == "bf16" else None
            return Bands(self.network, operands=operands), f"torch on {self.device.type}"
        try:
            library = load_library(lambda: self.on_notice(BUILDING))
            return Native(self.network, library), "compiled for this processor"
        except NoLibraryError as error:
            return Bands(self.network), f"torch (the compiled path, several times faster: {error})"

    def _takes_bfloat16(self) -> bool:
        if self.options.precision == "fp32":
            return False
        if self.device.type == "cuda" and torch.cuda.is_bf16_supported():
            return True
        self.notices.append(
            f"--precision bf16: no faster than float32 on this {self.device.type} device; "
            "float32 is used"
        )
        return False

    def require_memory(self, *, with_codes: bool = False) -> None:
        """Raise UsageError where --max-memory is less than a large image takes at least."""
        far = 4 * (self._executor.margin + SMALLEST)
        self._require(self._whole(far, far), with_codes=with_codes)

    @torch.inference_mode()
    def run(
        self,
        first: Maps,
        second: Maps,
        *,
        with_codes: bool = False,
        allocate: Allocate = _in_memory,
    ) -> Separated:
        """Separate and combine luminances in [0, 1], each (N, H, W) float32.

        The codes are written, tile by tile, into what `allocate` returns for the shape of each.
        Raise PairError, and UsageError for --max-memory as `require_memory` does.
        """
        count, height, width = first.shape
        self._require(self._whole(height, width), with_codes=with_codes)
        parts: list[Maps] = [np.empty(first.shape, np.float32) for _ in Parts._fields]
        shape = (count, self.network.config.atoms, height, width)
        codes = {name: allocate(shape) for name in Codes._fields} if with_codes else None
        start = 0
        while start < count:
            tiling, images = self._plan(count - start, height, width, with_codes=with_codes)
            some = slice(start, start + images)
            self._mention_margins(tiling)
            try:
                for tile in tiling:
                    self._run_tile(tile, some, (first, second), parts, codes)
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                self._go_smaller(tiling, images, with_codes=with_codes)
                continue
            start += images
        unique_first, unique_second, common = parts
        return Separated(unique_first, unique_second, common, codes)

    def _run_tile(
        self,
        tile: Tile,
        images: slice,
        pair: tuple[Maps, Maps],
        parts: list[Maps],
        codes: dict[str, NDArray[np.float16]] | None,
    ) -> None:
        """Run one tile of some of the images and put what was found into its place."""
        outside = (images, tile.rows.computed, tile.columns.computed)
        inside = (tile.rows.inner, tile.columns.inner)
        x, y = (self._to_device(image[outside]) for image in pair)
        found_parts, found_codes = self._executor.run(x, y, with_codes=codes is not None)
        place = (images, tile.rows.kept, tile.columns.kept)
        for whole_part, part in zip(parts, found_parts, strict=True):
            found = part[:, 0][:, *inside].cpu().numpy()
            if not np.isfinite(found).all():
                raise PairError("the network's result is not finite; check the weights")
            whole_part[place] = found
        if codes is not None and found_codes is not None:
            place_of_codes = (images, slice(None), tile.rows.kept, tile.columns.kept)
            for whole_code, code in zip(codes.values(), found_codes, strict=True):
                known = code[:, :, *inside].clamp(-LARGEST_CODE, LARGEST_CODE)
                whole_code[place_of_codes] = known.half().cpu().numpy()

    def _to_device(self, image: Maps) -> Tensor:
        """Return (N, H, W) as (N, 1, H, W) where the network is, in its type of numbers."""
        tensor = torch.from_numpy(np.ascontiguousarray(image))[:, None]
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        dtype = self.network.reconstruct_z.weight.dtype
        return tensor.to(self.device, dtype, non_blocking=True)

    # --- tiles ---

    def _plan(self, count: int, height: int, width: int, *, with_codes: bool) -> tuple[Tiling, int]:
        """Return how images are cut, and how many go through together."""

        def bytes_needed(images: int, rows: int, columns: int) -> int:
            return self._executor.bytes_needed(images, rows, columns, with_codes=with_codes)

        tile, whole = self.options.tile, self._whole(height, width)
        if tile is not None and self._learned is None:
            return (replace(whole, tile_height=tile, tile_width=tile) if tile else whole), 1
        budget, images = self._budget(), count
        while images > 1 and bytes_needed(images, height, width) > budget:
            images = (images + 1) // 2
        found = fitting(whole, budget, lambda r, c: bytes_needed(images, r, c))
        return found or _smallest(whole), images

    def _budget(self) -> int:
        limits = (self._learned, self.options.max_memory)
        known = [limit for limit in limits if limit is not None]
        return min(known) if known else memory.budget(self.device)

    def _require(self, whole: Tiling, *, with_codes: bool) -> None:
        """Raise UsageError where --max-memory is less than the smallest tile takes."""
        given = self.options.max_memory
        if given is None:
            return
        needed = self._executor.bytes_needed(1, *_smallest(whole).largest, with_codes=with_codes)
        if given < needed:
            megabytes = _megabytes(needed)
            raise UsageError(
                f"--max-memory: the smallest tile of this network takes {megabytes} MB"
                f"{' with its codes' * with_codes}; give at least {megabytes}M"
            )

    def _whole(self, height: int, width: int) -> Tiling:
        """Return the tiling of one tile."""
        executor = self._executor
        return Tiling(height, width, height, width, executor.margin, executor.grain)

    def _mention_margins(self, tiling: Tiling) -> None:
        """Say once where little memory makes much work."""
        work = tiling.computed / (tiling.height * tiling.width)
        if work > MUCH_WORK and self.options.tile is None and not self._has_mentioned_margins:
            self._has_mentioned_margins = True
            self.on_notice(
                f"{tiling.width}x{tiling.height}: tiles that fit into memory are mostly margin, "
                f"{work:.1f} times the work; more memory makes it faster"
                + " (--max-memory)"
                * (self.options.max_memory is not None)
            )

    def _go_smaller(self, tiling: Tiling, images: int, *, with_codes: bool) -> None:
        """Remember that memory ran out; raise PairError where tiles cannot get any smaller."""
        needed = self._executor.bytes_needed(images, *tiling.largest, with_codes=with_codes)
        self._learned = needed // 2
        size = f"{tiling.width}x{tiling.height}"
        if tiling == _smallest(tiling) and images == 1:
            others = "fewer --workers or smaller images"
            raise PairError(
                f"{size}: not enough memory on {self.device}, the smallest tile takes "
                f"{_megabytes(needed)} MB; end other programs, or use "
                + (others if self.device.type == "cpu" else "--device cpu")
            )
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.on_notice(f"{size}: memory ran out on {self.device}; going on with smaller tiles")


def _smallest(tiling: Tiling) -> Tiling:
    """Return the tiling with the smallest tiles."""
    height, width = (min(SMALLEST, side) for side in (tiling.height, tiling.width))
    return replace(tiling, tile_height=height, tile_width=width)


def _megabytes(count: int) -> int:
    return -(-count // 2**20)


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error)
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError)
        or "allocate memory" in text
        or "out of memory" in text
        or "not enough memory" in text
        or "could not create a primitive" in text  # what oneDNN makes of it
    )
