"""The network of a run: which weights, on which device; loaded, with what it can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from fnetcli.checkpoints.loading import Weights, load_weights
from fnetcli.engine import Engine, EngineOptions, choose_device
from fnetcli.errors import UsageError
from fnetcli.models.base import Wanted
from fnetcli.products import Products


@dataclass(frozen=True)
class LoadedNetwork:
    """An engine that is ready to work, and the weights it holds."""

    engine: Engine
    weights: Weights

    @property
    def products(self) -> Products:
        """What it makes beside the fused image."""
        return self.weights.network.products

    @property
    def notices(self) -> list[str]:
        """What a user should know of it."""
        return [*self.weights.notices(), *self.engine.notices]

    def require_memory(self, wanted: Wanted) -> None:
        """Raise UsageError where --max-memory is less than a large image takes at least."""
        self.engine.require_memory(wanted)

    def record(self) -> dict[str, str]:
        """Return what a manifest holds: name, hash, and precision where it is not that of fp32."""
        precision = self.engine.precision
        further = {} if precision == "fp32" else {"precision": precision}
        return {"name": self.weights.name, "sha256": self.weights.sha256, **further}


@dataclass(frozen=True)
class NetworkSource:
    """Where a network comes from, as picklable values: another process loads the same."""

    weights: str | Path | None = None  # a file, or the name of shipped ones; None: the default
    device: str = "auto"
    options: EngineOptions = field(default_factory=EngineOptions)

    def load(self, on_notice: Callable[[str], None] = lambda _: None) -> LoadedNetwork:
        """Load it. Raise CheckpointError, UsageError."""
        weights = load_weights(self.weights)
        device = choose_device(self.device)
        return LoadedNetwork(Engine(weights.network, device, self.options, on_notice), weights)


@cache
def loaded(source: NetworkSource) -> LoadedNetwork:
    """Return a network that is loaded once in a process."""
    return source.load()


def require_products(
    products: Products, *, maps: str | None = None, has_gains: bool = False, features: bool = False
) -> None:
    """Raise UsageError where something is asked for that the network does not make.

    `maps` is what was asked for, None where nothing was.
    """
    if maps is not None and not products.images:
        raise UsageError(
            f"--maps {maps}: this network shows nothing beside the fused image; leave it out"
        )
    if has_gains and not products.parts:
        raise UsageError("--gain: this network's fused image is not a sum of parts; leave it out")
    if features and not products.features:
        raise UsageError("--features: this network has no features to write; leave it out")
