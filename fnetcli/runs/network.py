"""The network of a run: its weights, its device, and what it can output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from fnetcli.checkpoints.loading import Weights, load_weights
from fnetcli.checkpoints.shipped import DEFAULT, DEFAULT_NAME, default_name, find_weights
from fnetcli.engine import Engine, EngineOptions, choose_device
from fnetcli.errors import UsageError
from fnetcli.models.base import Wanted
from fnetcli.products import Products


@dataclass(frozen=True)
class LoadedNetwork:
    """An engine that is ready to run, and its weights."""

    engine: Engine
    weights: Weights

    @property
    def products(self) -> Products:
        """Its outputs besides the fused image."""
        return self.weights.network.products

    @property
    def notices(self) -> list[str]:
        """What a user should know about it."""
        return [*self.weights.notices(), *self.engine.notices]

    def require_memory(self, wanted: Wanted) -> None:
        """Raise UsageError if --max-memory is less than the minimum for large images."""
        self.engine.require_memory(wanted)

    def record(self) -> dict[str, str]:
        """Return the manifest's entry: name, hash, and precision if it is not fp32."""
        precision = self.engine.precision
        further = {} if precision == "fp32" else {"precision": precision}
        return {"name": self.weights.name, "sha256": self.weights.sha256, **further}


@dataclass(frozen=True)
class NetworkSource:
    """The source of a network, as picklable values: another process loads the same network."""

    weights: str | Path | None = None  # a file, or the name of shipped weights; None: the default
    device: str = "auto"
    options: EngineOptions = field(default_factory=EngineOptions)
    modalities: tuple[str, ...] = ()  # of the images: they decide what the default is

    def load(self, on_notice: Callable[[str], None] = lambda _: None) -> LoadedNetwork:
        """Load the network. Raise CheckpointError, UsageError."""
        weights = load_weights(find_weights(self.weights, self.modalities))
        if self.weights in (None, DEFAULT) and default_name(self.modalities) != DEFAULT_NAME:
            images = " and ".join(self.modalities)
            on_notice(f"weights {default_name(self.modalities)} for {images}: --weights decides")
        device = choose_device(self.device)
        return LoadedNetwork(Engine(weights.network, device, self.options, on_notice), weights)


@cache
def loaded(source: NetworkSource) -> LoadedNetwork:
    """Return the network, loaded once per process."""
    return source.load()


def require_products(
    products: Products, *, maps: str | None = None, has_gains: bool = False, features: bool = False
) -> None:
    """Raise UsageError if outputs are requested that the network does not have.

    `maps` is the requested choice, or None.
    """
    if maps is not None and not products.images:
        raise UsageError(f"--maps {maps}: this network has no parts or maps; leave it out")
    if has_gains and not products.parts:
        raise UsageError("--gain: this network's fused image is not a sum of parts; leave it out")
    if features and not products.features:
        raise UsageError("--features: this network has no features to write; leave it out")
