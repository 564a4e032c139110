"""Networks of models that only tests know: small, without parts, each pixel from the whole image.

`tiny` has maps (`weight_first` and `weight_second`, which are never below 0, and `detail`) and a
feature of some channels, `activity`; `bare` makes the fused image and nothing else. Register them
before their weights are read: `register(monkeypatch)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fnetcli.checkpoints.loading import save_weights
from fnetcli.models.base import Arrays, Fusion, ModelSpec, Network, Wanted
from fnetcli.models.table import MODELS
from fnetcli.models.torch_arrays import at_rest, module_with

NOTHING = Wanted()
MAPS = ("weight_first", "weight_second", "detail")


@dataclass(frozen=True)
class TinyConfig:
    """How many channels lie between the convolutions."""

    channels: int = 4

    def __post_init__(self) -> None:
        """Raise ValueError where there is none."""
        if type(self.channels) is not int or self.channels < 1:
            raise ValueError(f"channels must be at least 1, not {self.channels!r}")

    @property
    def reach(self) -> None:
        """The whole image."""

    @property
    def multiply_adds(self) -> None:
        """Nobody has counted them."""


class Bare(nn.Module):
    """Two convolutions; between them the mean of the whole image is taken away."""

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        self.encode = nn.Conv2d(2, config.channels, 3, padding=1)
        self.sketch = nn.Conv2d(config.channels, 1, 3, padding=1)

    def forward(self, x: Tensor, y: Tensor, wanted: Wanted = NOTHING) -> Fusion[Tensor]:
        del wanted
        activity = _centred(self.encode(torch.cat([x, y], dim=1)))
        return Fusion((x + y) / 2 + 0.1 * torch.tanh(self.sketch(activity)))


class Tiny(nn.Module):
    """The two images weighed pixel by pixel, and some detail."""

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        self.encode = nn.Conv2d(2, config.channels, 3, padding=1)
        self.weigh = nn.Conv2d(config.channels, 2, 3, padding=1)
        self.paint = nn.Conv2d(config.channels, 1, 3, padding=1)

    def forward(self, x: Tensor, y: Tensor, wanted: Wanted = NOTHING) -> Fusion[Tensor]:
        activity = _centred(self.encode(torch.cat([x, y], dim=1)))
        weights = F.softmax(self.weigh(activity), dim=1)
        detail = 0.1 * torch.tanh(self.paint(activity))
        one, other = weights[:, :1], weights[:, 1:]
        maps = dict(zip(MAPS, (one, other, detail), strict=True)) if wanted.maps else {}
        features = {"activity": activity} if wanted.features else {}
        return Fusion(one * x + other * y + detail, maps=maps, features=features)


def _centred(activity: Tensor) -> Tensor:
    return activity - activity.mean(dim=(2, 3), keepdim=True)


def _convolution(name: str, channels: int, count: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (count, channels, 3, 3)
    yield f"{name}.bias", (count,)


def _bare_shapes(config: TinyConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _convolution("encode", 2, config.channels)
    yield from _convolution("sketch", config.channels, 1)


def _tiny_shapes(config: TinyConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _convolution("encode", 2, config.channels)
    yield from _convolution("weigh", config.channels, 2)
    yield from _convolution("paint", config.channels, 1)


def _build_bare(config: TinyConfig, arrays: Arrays) -> nn.Module:
    return module_with(lambda: Bare(config), arrays)


def _build_tiny(config: TinyConfig, arrays: Arrays) -> nn.Module:
    return module_with(lambda: Tiny(config), arrays)


BARE = ModelSpec(
    name="bare",
    title="Bare: shows nothing",
    config=TinyConfig,
    shapes=_bare_shapes,
    build=_build_bare,
    mark="sketch.weight",
)
TINY = ModelSpec(
    name="tiny",
    title="Tiny: weighs two images",
    config=TinyConfig,
    shapes=_tiny_shapes,
    build=_build_tiny,
    mark="weigh.weight",
    maps=lambda _: MAPS,
    features=lambda config: {"activity": config.channels},
)


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fnet know both models for as long as a test runs."""
    for spec in (BARE, TINY):
        monkeypatch.setitem(MODELS, spec.name, spec)


def random_network(spec: ModelSpec[Any], channels: int = 4) -> Network[Any]:
    """Return a network of one of the two, always the same."""
    config = TinyConfig(channels)
    torch.manual_seed(0)
    return at_rest(spec, config, Bare(config) if spec is BARE else Tiny(config))


def save(folder: Path, spec: ModelSpec[Any], channels: int = 4, **metadata: Any) -> Path:
    """Write weights of such a network and return their path."""
    path = folder / f"{spec.name}.safetensors"
    save_weights(path, random_network(spec, channels), metadata)
    return path
