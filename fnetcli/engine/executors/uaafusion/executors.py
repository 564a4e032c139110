"""UAAFusion as the engine runs it: as it is, or with a guide from a reduced image.

S decides on weights and attention by gradients that depend on every pixel, and takes most of the
time. What it decides is smooth: of a large image, or where memory is short, that of the image
reduced by averaging does, enlarged again bilinearly. The convolutions run at full size in tiles;
all take their pieces of one guide, so there are no seams.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from fnetcli.engine.device import Device
from fnetcli.engine.executors.base import NOWHERE, Inner, Into, Values
from fnetcli.engine.executors.plain import to_arrays, to_device
from fnetcli.engine.tiles import SMALLEST, Tile
from fnetcli.models.base import Fusion, Network, Wanted
from fnetcli.models.uaafusion.config import UAAFusionConfig
from fnetcli.models.uaafusion.network import Guide, UAAFusion

NUMBERS = 28  # times the channels: held for each pixel of a tile, measured
GUIDE_NUMBERS = 48  # likewise where S's gradients are taken too
NEVER = 1 << 60  # bytes: more than there are


class Setting:
    """A network on a device."""

    def __init__(self, network: Network[UAAFusionConfig], device: Device) -> None:
        self.config = network.config
        self.device = device.in_torch()
        module = network.at_work().to(self.device)
        assert isinstance(module, UAAFusion)  # noqa: S101  the specification builds it
        for kernels in module.parameters():
            if kernels.ndim == 4:  # channels last: a quarter faster on a CPU
                kernels.data = kernels.data.contiguous(memory_format=torch.channels_last)
        self.module = module
        self._itemsize = next(iter(network.arrays.values())).dtype.itemsize

    def bytes_needed(self, pixels: int, numbers: int) -> int:
        """Return what so many pixels take at so many numbers a channel."""
        return pixels * (numbers * self.config.channels + 12) * self._itemsize


class Whole:
    """Run whole images as the network says.

    Images with more than `config.guide_pixels` take too long, unless all at once is asked for.
    """

    name = "torch"
    margin = None
    grain = (1, 1)

    def __init__(self, setting: Setting) -> None:
        self.smaller = Guided(setting)
        self._setting = setting

    def run(
        self, x: Values, y: Values, inner: Inner, wanted: Wanted, into: Into = NOWHERE
    ) -> Fusion[Values]:
        """See `Executor`."""
        del into
        first, second = (to_device(image, self._setting.device) for image in (x, y))
        with torch.enable_grad():  # of the images; nothing ever asks for those of weights
            return to_arrays(self._setting.module(first, second, wanted), inner)

    def bytes_needed(self, count: int, height: int, width: int, wanted: Wanted) -> int:
        """See `Executor`."""
        del wanted
        is_thin = min(height, width) < 2  # reflection needs two pixels; the network widens it
        if height * width > self._setting.config.guide_pixels and not is_thin:
            return NEVER
        return self._setting.bytes_needed(count * height * width, GUIDE_NUMBERS)


class Guided:
    """Run tiles of one pair with pieces of its guide."""

    name = "torch"
    grain = (1, 1)
    smaller = None
    remedy = "--tile 0"

    def __init__(self, setting: Setting) -> None:
        self.margin = setting.config.margin
        self._setting = setting
        self.difference = ""
        self._guide = Guide(None, (), None)
        self._place: tuple[slice, slice] = (slice(None), slice(None))

    def prepare(self, x: Values, y: Values, wanted: Wanted, budget: int) -> None:
        """See `SceneExecutor`."""
        setting = self._setting
        whole = (x.shape[1], x.shape[2])
        size = self._reduced(*whole, budget)
        self.difference = (
            ""
            if size == whole
            else "weights, attention and segmentation are those of the image reduced to "
            f"{size[1]}x{size[0]}, which saves time and memory; convolutions run at full size"
        )
        pair = [to_device(image, setting.device) for image in (x, y)]
        maps = setting.config.map_names if wanted.maps else ()
        with torch.no_grad():
            first, second = (F.interpolate(one, size, mode="area") for one in pair)
            found = setting.module.guide(first, second, {*maps})
            self._guide = Guide(
                None if found.weight is None else _enlarge(found.weight, whole),
                tuple(_enlarge(gate, whole) for gate in found.gates),
                None
                if found.classes is None
                else F.interpolate(found.classes, whole, mode="nearest-exact"),
            )

    def place(self, tile: Tile) -> None:
        """See `SceneExecutor`."""
        self._place = tile.rows.computed, tile.columns.computed

    def run(
        self, x: Values, y: Values, inner: Inner, wanted: Wanted, into: Into = NOWHERE
    ) -> Fusion[Values]:
        """See `Executor`."""
        del into
        config = self._setting.config
        first, second = (to_device(image, self._setting.device) for image in (x, y))
        guide, (rows, columns) = self._guide, self._place
        piece = Guide(
            None if guide.weight is None else guide.weight[..., rows, columns],
            tuple(gate[..., rows, columns] for gate in guide.gates),
            None if guide.classes is None else guide.classes[..., rows, columns],
        )
        maps = config.map_names if wanted.maps else ()
        features = config.feature_names if wanted.features else ()
        with torch.no_grad():
            found = self._setting.module.fuse_guided(first, second, piece, {*maps, *features})
        return to_arrays(found, inner)

    def bytes_needed(self, count: int, height: int, width: int, wanted: Wanted) -> int:
        """See `Executor`."""
        del wanted
        of_tile = self._setting.bytes_needed(count * height * width, NUMBERS)
        return max(of_tile, self._setting.bytes_needed(SMALLEST**2, GUIDE_NUMBERS))

    def _reduced(self, height: int, width: int, budget: int) -> tuple[int, int]:
        """Return at which size S decides: the image's own, or what time and memory allow."""
        most = min(
            self._setting.config.guide_pixels,
            budget // self._setting.bytes_needed(1, GUIDE_NUMBERS),
        )
        scale = min(1.0, math.sqrt(max(most, SMALLEST**2) / (height * width)))
        return max(2, int(height * scale)), max(2, int(width * scale))


def _enlarge(image: Tensor, size: tuple[int, int]) -> Tensor:
    if image.shape[2:] == size:
        return image
    return F.interpolate(image, size, mode="bilinear", align_corners=False)
