"""The network of a run: its weights, its device, and what it can output."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fnetcli.checkpoints.loading import WEIGHTS, Weights, load_weights, weights_of
from fnetcli.checkpoints.shipped import DEFAULT, DEFAULT_NAME, default_name, find_weights
from fnetcli.engine import Engine, EngineOptions, choose_device
from fnetcli.engine.options import Precision
from fnetcli.errors import UsageError
from fnetcli.files.guarded import read_bytes
from fnetcli.models.base import Wanted
from fnetcli.products import Products
from fnetcli.runs.baseline import BaselineSource, LoadedBaseline


@dataclass(frozen=True)
class LoadedNetwork:
    """An engine that is ready to run, and its weights."""

    engine: Engine
    weights: Weights
    precision_elsewhere: Precision | None = None  # of the workers that run it instead
    choice: str = ""  # why these weights, if the images decided
    source: NetworkSource | None = field(default=None, repr=False)

    @property
    def precision(self) -> Precision:
        """The precision of what runs it."""
        return self.precision_elsewhere or self.engine.precision

    @property
    def products(self) -> Products:
        """Its outputs besides the fused image."""
        return self.weights.network.products

    @property
    def notices(self) -> list[str]:
        """What a user should know about it."""
        choice = [self.choice] if self.choice else []
        return [*choice, *self.weights.notices(), *self.engine.notices]

    @property
    def warnings(self) -> list[str]:
        """What can be wrong with everything that it fuses."""
        return self.weights.warnings()

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return f"weights {self.weights.name}"

    @property
    def at_work(self) -> str:
        """What runs it, in a few words."""
        return f"network: {self.engine.path}, {self.engine.precision}"

    @property
    def subject(self) -> str:
        """How messages call it."""
        return "this network"

    @property
    def words(self) -> str:
        """How results say what they were fused by."""
        model = self.weights.network.spec.name
        return f"a neural network ({model}, weights {self.weights.name})"

    def require_memory(self, wanted: Wanted) -> None:
        """Raise UsageError if --max-memory is less than the minimum for large images."""
        self.engine.require_memory(wanted)

    def for_others(self) -> NetworkSource:
        """Return the source of the same network for workers. Raise CheckpointError, UsageError."""
        if self.source is None:
            raise UsageError("workers need a network that comes from a file: use load_network")
        source = self.source.on("auto").with_content()
        if hashlib.sha256(source.content or b"").hexdigest() != self.weights.sha256:
            raise UsageError(f"{source.weights}: has changed since it was loaded; load it again")
        return source

    def record(self) -> dict[str, Any]:
        """Return the manifest's entry: name, hash, and precision if it is not fp32."""
        further = {} if self.precision == "fp32" else {"precision": self.precision}
        known = {"name": self.weights.name, "sha256": self.weights.sha256, **further}
        return {"weights": known}


@dataclass(frozen=True)
class NetworkSource:
    """The source of a network, as picklable values: another process loads the same network."""

    weights: str | Path | None = None  # a file, or the name of shipped weights; None: the default
    device: str = "auto"
    options: EngineOptions = field(default_factory=EngineOptions)
    content: bytes | None = field(default=None, repr=False)  # of the file, if it travels along
    modalities: tuple[str, ...] = ()  # of the images: they decide what the default is

    def load(self, on_notice: Callable[[str], None] = lambda _: None) -> LoadedNetwork:
        """Load the network. Raise CheckpointError, UsageError."""
        if self.content is None:
            weights = load_weights(find_weights(self.weights, self.modalities))
        else:
            weights = weights_of(Path(self.weights or ""), self.content)
        device = choose_device(self.device)
        engine = Engine(weights.network, device, self.options, on_notice)
        return LoadedNetwork(engine, weights, choice=self._choice(), source=self)

    def _choice(self) -> str:
        """Return why these weights, if the modalities decided."""
        name = default_name(self.modalities)
        if self.weights not in (None, DEFAULT) or name == DEFAULT_NAME:
            return ""
        return f"weights {name} for {' and '.join(self.modalities)}; --weights chooses others"

    def load_for_others(self) -> LoadedNetwork:
        """Load the network for planning alone: workers on other machines run it."""
        here = replace(self, device="cpu", options=replace(self.options, precision="fp32"))
        return replace(here.load(), precision_elsewhere=self.options.precision)

    @property
    def files(self) -> list[Path]:
        """Its files. Raise CheckpointError if none ship."""
        return [find_weights(self.weights, self.modalities)]

    @property
    def precision(self) -> Precision:
        """The precision that is asked for."""
        return self.options.precision

    def of(self, modalities: tuple[str, ...]) -> NetworkSource:
        """Return the source for images of these modalities, which decide what the default is."""
        return replace(self, modalities=modalities)

    def on(self, device: str) -> NetworkSource:
        """Return the source of the same network on another device."""
        return replace(self, device=device)

    def with_content(self) -> NetworkSource:
        """Return the source with its file's content, for processes that may not see the file."""
        path = find_weights(self.weights, self.modalities)
        return replace(self, weights=path, content=read_bytes(path, WEIGHTS))


LoadedMethod = LoadedNetwork | LoadedBaseline  # what fuses
MethodSource = NetworkSource | BaselineSource


def require_products(
    products: Products,
    *,
    maps: str | None = None,
    has_gains: bool = False,
    features: bool = False,
    of: str = "this network",
) -> None:
    """Raise UsageError if outputs are requested that a network, or a baseline, does not have.

    `maps` is the requested choice, or None.
    """
    if maps is not None and not products.images:
        raise UsageError(f"--maps {maps}: {of} has no parts or maps; leave it out")
    if has_gains and not products.parts:
        raise UsageError(f"--gain: {of}'s fused image is not a sum of parts; leave it out")
    if features and not products.features:
        raise UsageError(f"--features: {of} has no features to write; leave it out")
