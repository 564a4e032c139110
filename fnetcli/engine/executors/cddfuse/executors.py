"""CDDFuse as the engine runs it: exact where memory allows, else with samples of the scene."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fnetcli.engine.device import Device, count_threads
from fnetcli.engine.executors.base import NOWHERE, Inner, Into, Values
from fnetcli.engine.executors.cddfuse.bands import (
    PIECE,
    Banded,
    Given,
    Place,
    Sampled,
    Samples,
    Take,
)
from fnetcli.engine.executors.plain import as_half, to_arrays, to_device
from fnetcli.engine.tiles import Tile
from fnetcli.models.base import Fusion, Network, Wanted
from fnetcli.models.cddfuse.config import CDDFuseConfig
from fnetcli.models.cddfuse.network import CDDFuse

PIECE_ELSEWHERE = 1024  # pixels, side of a piece on devices without caches as CPUs have them
IMAGES = 8  # numbers a pixel beside the maps: luminances, what is skipped, the result


class Setting:
    """A network on a device, and how it is run there."""

    def __init__(
        self, network: Network[CDDFuseConfig], device: Device, *, is_rounded: bool
    ) -> None:
        self.device = device.in_torch()
        module = network.at_work().to(self.device)
        assert isinstance(module, CDDFuse)  # noqa: S101  the specification builds it
        self.module = module
        self.config = network.config
        self.itemsize = next(iter(network.arrays.values())).dtype.itemsize
        self.is_rounded = is_rounded

    @property
    def side(self) -> int:
        """The side of a piece: threads share it, and each has a cache of its own."""
        if self.device.type != "cpu":
            return PIECE_ELSEWHERE
        return round(PIECE * math.sqrt(count_threads()))

    def run(self, runner: Banded, x: Values, y: Values, inner: Inner, into: Into) -> Fusion[Values]:
        """Run a whole image or a tile; put what lies inside of its features into arrays."""
        first, second = (to_device(image, self.device) for image in (x, y))
        take = _writer(into, inner, x.shape[1:]) if into else None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_rounded):
            fused = runner(first, second, take)
        return to_arrays(Fusion(fused), inner)

    def bytes_needed(self, runner: Banded, count: int, height: int, width: int) -> int:
        """Return the peak working memory of `run`, roughly."""
        of_images = IMAGES * count * height * width
        return self.itemsize * (runner.numbers_needed(count, height, width) + of_images)


def _writer(into: Into, inner: Inner, shape: tuple[int, ...]) -> Take:
    """Return what puts the features of a rectangle into arrays of what lies inside."""
    kept = [slice(*one.indices(side)) for one, side in zip(inner, shape, strict=True)]

    def write(name: str, where: Place, values: Tensor) -> None:
        places, parts = [], []
        for place, one in zip(where[2:], kept, strict=True):
            start, stop = max(place.start, one.start), min(place.stop, one.stop)
            if start >= stop:
                return
            places.append(slice(start - one.start, stop - one.start))
            parts.append(slice(start - place.start, stop - place.start))
        into[name][where[0], :, places[0], places[1]] = as_half(values[..., parts[0], parts[1]])

    return write


class Exact:
    """Run whole images, as `Banded` or `Lean` do."""

    name = "torch"
    margin = None
    grain = (1, 1)

    def __init__(self, setting: Setting, kind: type[Banded], smaller: Exact | Tiles) -> None:
        self.smaller = smaller
        self._setting, self._kind = setting, kind

    def run(
        self, x: Values, y: Values, inner: Inner, wanted: Wanted, into: Into = NOWHERE
    ) -> Fusion[Values]:
        """See `Executor`."""
        del wanted  # features go into what is given, and there is nothing else
        return self._setting.run(self._runner, x, y, inner, into)

    def bytes_needed(self, count: int, height: int, width: int, wanted: Wanted) -> int:
        """See `Executor`."""
        del wanted
        return self._setting.bytes_needed(self._runner, count, height, width)

    @property
    def _runner(self) -> Banded:
        return self._kind(self._setting.module, self._setting.side)


class Tiles:
    """Run tiles of one scene with attention matrices that samples of the scene have in common."""

    name = "torch"
    grain = (1, 1)
    smaller = None
    difference = (
        "this network's attention depends on the whole image, but tiles use attention matrices "
        "from samples of it"
    )
    remedy = "more memory (--max-memory) or --tile 0"

    def __init__(self, setting: Setting) -> None:
        self.margin = setting.config.frozen_reach
        self._setting = setting
        self._matrices: list[Tensor] = []

    def prepare(self, x: Values, y: Values, wanted: Wanted, budget: int) -> None:
        """See `SceneExecutor`."""
        del wanted, budget
        setting = self._setting
        _, height, width = x.shape
        samples = Samples(height, width, self.margin)
        runner = Sampled(setting.module, samples.margins, setting.side)
        images = (samples.of(torch.from_numpy(image)[:, None]) for image in (x, y))
        first, second = (image.to(setting.device) for image in images)
        with torch.autocast(setting.device.type, torch.bfloat16, enabled=setting.is_rounded):
            runner(first, second)
        self._matrices = runner.matrices

    def place(self, tile: Tile) -> None:
        """See `SceneExecutor`; all tiles are alike."""

    def run(
        self, x: Values, y: Values, inner: Inner, wanted: Wanted, into: Into = NOWHERE
    ) -> Fusion[Values]:
        """See `Executor`."""
        del wanted
        runner = Given(self._setting.module, self._matrices, self._setting.side)
        return self._setting.run(runner, x, y, inner, into)

    def bytes_needed(self, count: int, height: int, width: int, wanted: Wanted) -> int:
        """See `Executor`."""
        del wanted
        needed = self._setting.bytes_needed
        runner = Given(self._setting.module, side=self._setting.side)
        of_samples, *size = Samples(height, width, self.margin).most
        return max(needed(runner, count, height, width), needed(runner, of_samples, *size))
