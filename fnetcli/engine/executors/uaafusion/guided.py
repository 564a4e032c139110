"""UAAFusion on images of any size: S sees all of the image, the convolutions see pieces of it.

S decides on weights and attention, by gradients that depend on every pixel; that guide is smooth.
Up to `config.guide_pixels` the network runs as it is. Of a larger image, or where memory is short,
the guide is that of the image reduced by averaging, enlarged again bilinearly, and the convolutions
run at full size in tiles with `config.margin` pixels around them. Tiles leave no seams: all take
their pieces of one guide.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from fnetcli.engine.device import Device
from fnetcli.engine.executors.base import NOWHERE, Inner, Into, Values
from fnetcli.engine.executors.plain import to_arrays, to_device
from fnetcli.engine.tiles import SMALLEST, Tile, Tiling
from fnetcli.models.base import Fusion, Network, Wanted
from fnetcli.models.uaafusion.config import UAAFusionConfig
from fnetcli.models.uaafusion.network import Guide, UAAFusion

LARGEST_TILE = 768  # pixels of a side, without the margin: larger ones save little work
NUMBERS = 28  # times the channels: held for each pixel of a tile, measured
GUIDE_NUMBERS = 48  # likewise where S's gradients are taken too


class Guided:
    """Run UAAFusion as torch, cutting large images by itself."""

    name = "torch"
    margin = None
    grain = (1, 1)
    smaller = None

    def __init__(
        self,
        network: Network[UAAFusionConfig],
        device: Device,
        on_notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.config = network.config
        self._device = device.in_torch()
        model = network.at_work().to(self._device)
        assert isinstance(model, UAAFusion)  # noqa: S101
        self._model = model
        for kernels in model.parameters():
            if kernels.ndim == 4:  # channels last: a quarter faster on a CPU
                kernels.data = kernels.data.contiguous(memory_format=torch.channels_last)
        self._itemsize = next(iter(network.arrays.values())).dtype.itemsize
        self._on_notice, self._noticed = on_notice, False
        self._budget: int | None = None
        self._tile: int | None = None

    def limit(self, budget: int, tile: int | None) -> None:
        """See `CutsItself`."""
        self._budget, self._tile = budget, tile

    def run(
        self, x: Values, y: Values, inner: Inner, wanted: Wanted, into: Into = NOWHERE
    ) -> Fusion[Values]:
        """See `Executor`."""
        del into
        first, second = (to_device(image, self._device) for image in (x, y))
        height, width = x.shape[1:]
        if self._is_in_one_piece(height, width):
            with torch.enable_grad():  # of the images; nothing ever asks for those of weights
                return to_arrays(self._model(first, second, wanted), inner)
        pairs = zip(first.split(1), second.split(1), strict=True)
        return to_arrays(_join([self._run_in_tiles(*pair, wanted) for pair in pairs]), inner)

    def bytes_needed(self, count: int, height: int, width: int, wanted: Wanted) -> int:
        """See `Executor`; what `run` takes within the limit that it has heard of."""
        channels = self.config.channels
        if self._is_in_one_piece(height, width):
            return count * height * width * GUIDE_NUMBERS * channels * self._itemsize
        side = min(self._tile_side(), max(height, width)) + 2 * self.config.margin
        tile = min(side, height) * min(side, width) * NUMBERS * channels
        guide = math.prod(self._guide_size(height, width)) * GUIDE_NUMBERS * channels
        images = 6 + len(self.config.map_names) * wanted.maps + self.config.stages
        features = 2 * channels * wanted.features
        return self._itemsize * (max(tile, guide) + height * width * (images + features))

    # --- what fits ---

    def _is_in_one_piece(self, height: int, width: int) -> bool:
        if min(height, width) < 2:  # too thin for reflection; the network widens it
            return True
        if self._tile is not None:
            return self._tile == 0 or max(height, width) <= self._tile
        return height * width <= self._most_guide_pixels()

    def _most_guide_pixels(self) -> int:
        """Return of how many pixels S's gradients are taken: as time and memory allow."""
        if self._budget is None:
            return self.config.guide_pixels
        bytes_a_pixel = GUIDE_NUMBERS * self.config.channels * self._itemsize
        return max(SMALLEST**2, min(self.config.guide_pixels, self._budget // bytes_a_pixel))

    def _guide_size(self, height: int, width: int) -> tuple[int, int]:
        scale = min(1.0, math.sqrt(self._most_guide_pixels() / (height * width)))
        return max(2, int(height * scale)), max(2, int(width * scale))

    def _tile_side(self) -> int:
        if self._tile:
            return self._tile
        if self._budget is None:
            return LARGEST_TILE
        pixels = self._budget // (NUMBERS * self.config.channels * self._itemsize)
        return max(SMALLEST, min(LARGEST_TILE, math.isqrt(pixels) - 2 * self.config.margin))

    # --- a large image ---

    def _run_in_tiles(self, first: Tensor, second: Tensor, wanted: Wanted) -> Fusion[Tensor]:
        """Fuse one pair, (1, 1, H, W)."""
        model, config = self._model, self.config
        height, width = first.shape[2:]
        maps = config.map_names if wanted.maps else ()
        features = config.feature_names if wanted.features else ()
        guide = self._guide(first, second, {*maps})
        fused = torch.empty_like(first)
        made = {name: torch.empty_like(first) for name in maps}
        kept = {
            name: first.new_empty((1, config.channels, height, width), dtype=torch.float16)
            for name in features
        }
        side = self._tile_side()
        for tile in Tiling(height, width, side, side, config.margin):
            piece = Guide(
                None if guide.weight is None else _cut(guide.weight, tile),
                tuple(_cut(gate, tile) for gate in guide.gates),
            )
            with torch.no_grad():
                found = model.fuse_guided(
                    _cut(first, tile), _cut(second, tile), piece, {*maps, *features}
                )
            _put(fused, tile, found.fused)
            for target, source in ((made, found.maps), (kept, found.features)):
                for name in target.keys() & source.keys():
                    _put(target[name], tile, source[name])
        if "segmentation" in made:
            made["segmentation"] = self._segment(fused)
        return Fusion(fused, {}, made, kept)

    def _guide(self, first: Tensor, second: Tensor, want: set[str]) -> Guide:
        """Return the guide at the image's size, from a reduced image if it is large."""
        whole = (first.shape[2], first.shape[3])
        size = self._guide_size(*whole)
        if size == whole:
            with torch.no_grad():
                return self._model.guide(first, second, want)
        self._mention(whole, size)
        with torch.no_grad():
            small = [F.interpolate(image, size, mode="area") for image in (first, second)]
            weight, gates = self._model.guide(small[0], small[1], want)
            return Guide(
                None if weight is None else _enlarge(weight, whole),
                tuple(_enlarge(gate, whole) for gate in gates),
            )

    def _segment(self, fused: Tensor) -> Tensor:
        """Return S's class of each pixel, of a reduced image if it is large."""
        whole = (fused.shape[2], fused.shape[3])
        size = self._guide_size(*whole)
        if size == whole:
            return self._model.segment(fused)
        small = F.interpolate(fused, size, mode="area")
        return F.interpolate(self._model.segment(small), whole, mode="nearest-exact")

    def _mention(self, whole: tuple[int, int], size: tuple[int, int]) -> None:
        if self._noticed:
            return
        self._noticed = True
        self._on_notice(
            f"{whole[1]}x{whole[0]}: weights, attention and segmentation are those of the image "
            f"reduced to {size[1]}x{size[0]}, the convolutions run at full size; --tile 0 takes "
            "all at full size (slow, much memory)"
        )


def _cut(image: Tensor, tile: Tile) -> Tensor:
    return image[..., tile.rows.computed, tile.columns.computed]


def _put(target: Tensor, tile: Tile, values: Tensor) -> None:
    target[..., tile.rows.kept, tile.columns.kept] = values[
        ..., tile.rows.inner, tile.columns.inner
    ]


def _enlarge(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(image, size, mode="bilinear", align_corners=False)


def _join(found: list[Fusion[Tensor]]) -> Fusion[Tensor]:
    """Return the results of several pairs as one batch."""
    if len(found) == 1:
        return found[0]
    one = found[0]
    return Fusion(
        torch.cat([each.fused for each in found]),
        {},
        {name: torch.cat([each.maps[name] for each in found]) for name in one.maps},
        {name: torch.cat([each.features[name] for each in found]) for name in one.features},
    )
