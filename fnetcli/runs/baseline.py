"""A baseline in place of a network: the same steps before and after it, in the same run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnetcli.baselines import BY_NAME
from fnetcli.engine import Allocate, Device, Wanted
from fnetcli.engine.options import Precision
from fnetcli.errors import NotFiniteError
from fnetcli.models.base import Fusion, Maps
from fnetcli.products import Products

WANTED, CPU = Wanted(), Device()


@dataclass(frozen=True)
class BaselineEngine:
    """Fuses luminances as an `Engine` does, by a baseline of this name."""

    name: str
    device: Device = CPU
    precision: Precision = "fp32"
    path: str = "numpy"
    notices: tuple[str, ...] = ()

    def require_memory(self, wanted: Wanted = WANTED) -> None:
        """Accept any memory: there is nothing to limit."""

    def run(
        self,
        first: Maps,
        second: Maps,
        wanted: Wanted = WANTED,  # noqa: ARG002 - there is one output
        allocate: Allocate | None = None,  # noqa: ARG002 - there are no features
    ) -> Fusion[NDArray[Any]]:
        """Fuse luminances in [0, 1], each (N, H, W) float32."""
        fused = BY_NAME[self.name].blend(first, second)
        if not np.isfinite(fused).all():
            raise NotFiniteError("the result is not finite; check the images")
        return Fusion(fused)


@dataclass(frozen=True)
class LoadedBaseline:
    """A baseline where a `LoadedNetwork` could be."""

    name: str
    precision: Precision = "fp32"
    notices: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @cached_property
    def engine(self) -> BaselineEngine:
        """What fuses."""
        return BaselineEngine(self.name)

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return f"method {self.name}"

    @property
    def at_work(self) -> str:
        """What runs it, in a few words."""
        return f"no network: {self.engine.path}, {self.precision}"

    @property
    def subject(self) -> str:
        """How messages call it."""
        return f"the baseline {self.name}"

    @property
    def words(self) -> str:
        """How results say what they were fused by."""
        return f"the baseline {self.name}, which is not trained"

    @property
    def products(self) -> Products:
        """Its outputs besides the fused image: none."""
        return Products()

    def require_memory(self, wanted: Wanted) -> None:
        """Accept any memory."""

    def for_others(self) -> BaselineSource:
        """Return the source for workers."""
        return BaselineSource(self.name)

    def record(self) -> dict[str, Any]:
        """Return the manifest's entry."""
        return {"method": self.name}


@dataclass(frozen=True)
class BaselineSource:
    """The source of a baseline, as `NetworkSource` is of a network."""

    name: str

    def load(self, on_notice: Callable[[str], None] = lambda _: None) -> LoadedBaseline:  # noqa: ARG002
        """Return the baseline."""
        return LoadedBaseline(self.name)

    def load_for_others(self) -> LoadedBaseline:
        """Return the baseline."""
        return LoadedBaseline(self.name)

    @property
    def files(self) -> list[Path]:
        """Its files: none."""
        return []

    @property
    def precision(self) -> Precision:
        """The only precision."""
        return "fp32"

    def of(self, modalities: tuple[str, ...]) -> BaselineSource:  # noqa: ARG002
        """Return itself: it is the same for all."""
        return self

    def on(self, device: str) -> BaselineSource:  # noqa: ARG002 - it runs on the CPU
        """Return itself: every machine has a CPU."""
        return self

    def with_content(self) -> BaselineSource:
        """Return itself: there is no file."""
        return self
