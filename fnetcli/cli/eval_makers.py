"""The methods that `fnet eval` runs in memory, weights and baselines, and their cost."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fnetcli.cli.console import Console, Progress
from fnetcli.errors import FnetError

if TYPE_CHECKING:
    from fnetcli.baselines import Baseline
    from fnetcli.engine import Engine, EngineOptions
    from fnetcli.evaluation.cost import Cost
    from fnetcli.evaluation.entrants import NetworkEntrant, RuleEntrant
    from fnetcli.runs.network import NetworkSource

RUN_STEMS = ("best", "last")  # of the weights in every run's folder
Errors = list[FnetError | BrokenPipeError]


@contextmanager
def kept(errors: Errors) -> Iterator[None]:
    """Keep an error for the end, so that the remaining work is done all the same."""
    try:
        yield
    except (FnetError, BrokenPipeError) as error:
        errors.append(error)


@dataclass
class Makers:
    """The methods that fuse in memory: weights, and optionally baselines."""

    console: Console
    weights: list[str]
    at_work: EngineOptions
    device: str
    has_baselines: bool
    modalities: tuple[str, ...] = ()  # of the images: they decide what the default is

    @property
    def paths(self) -> list[Path]:
        """The named weights files."""
        return [self._load_name(text)[1] for text in self.weights]

    def entrants(self, modalities: tuple[str, ...]) -> list[NetworkEntrant | RuleEntrant]:
        """Load all weights, for images of these modalities. Raise CheckpointError."""
        from fnetcli.evaluation.entrants import rule_entrants

        self.modalities = modalities
        rules = rule_entrants() if self.has_baselines else []
        return [*map(self._network, self.weights), *rules]

    def costs(self, size: tuple[int, int], errors: Errors) -> list[Cost]:
        """Measure every method in a process of its own; keep the errors of those that fail."""
        from fnetcli.baselines import BASELINES
        from fnetcli.evaluation.cost import measure_cost

        methods: list[tuple[str, Path | Baseline]] = [*map(self._load_name, self.weights)]
        if self.has_baselines:
            methods += [(one.name, one) for one in BASELINES]
        if not methods:
            self.console.warning("--cost: measures weights and baselines, but none were given")
        costs = []
        with Progress(len(methods), "methods measured", self.console) as progress:
            for name, origin in methods:
                with kept(errors):
                    costs.append(
                        measure_cost(name, origin, size, device=self.device, options=self.at_work)
                    )
                progress.step(name)
        for cost in costs:
            for notice in cost.notices:
                self.console.notice(f"{cost.method}: {notice}")
        return costs

    def _load_name(self, text: str) -> tuple[str, Path]:
        """Return a method's name and the path of its weights."""
        from fnetcli.checkpoints.shipped import find_weights
        from fnetcli.evaluation.fused_files import split_name

        name, weights = split_name("--weights", text)
        path = find_weights(weights, self.modalities)
        return name or _name_of(path), path

    def _network(self, text: str) -> NetworkEntrant:
        """Return a method whose weights are loaded on first use: all scores may be cached."""
        from fnetcli.errors import ReadError
        from fnetcli.evaluation.entrants import NetworkEntrant
        from fnetcli.evaluation.results import Method
        from fnetcli.formats import content_sha256
        from fnetcli.pictures.fuse import PIXELS_VERSION

        name, path = self._load_name(text)
        precision = self.at_work.precision
        engine = functools.cache(lambda: self._load(name, path))
        try:
            sha256 = content_sha256(path)
        except ReadError:
            sha256 = ""
        if not sha256 or precision != "fp32":  # loading tells the error, or the actual precision
            precision = engine().precision
        origin = f"{path.name}, sha256 {sha256}"
        digest = f"weights {sha256} {precision} {PIXELS_VERSION}"
        return NetworkEntrant(Method(name, "weights", origin), engine, digest, self._source(path))

    def _source(self, path: Path) -> NetworkSource:
        from fnetcli.runs.network import NetworkSource

        return NetworkSource(path, self.device, self.at_work)

    def _load(self, name: str, path: Path) -> Engine:
        source = self._source(path)
        network = source.load(self.console.notice)
        engine = network.engine
        self.console.notice(f"{name}: weights {network.weights.name}, device {engine.device}")
        self.console.detail(f"{name}: network {engine.path}, {engine.precision}")
        self.console.tell_method(network)
        return engine


def _name_of(path: Path) -> str:
    """Return the name of weights: their file's, for those of `fnet train` with the run's folder."""
    if path.stem not in RUN_STEMS:
        return path.stem
    folder = path.resolve().parent.name
    return f"{folder} {path.stem}" if folder else path.stem
