"""The interface of models: a specification, a network at rest, and its outputs for a pair.

Nothing here needs torch. A network at rest is a configuration and named arrays. Code that works
with it (an executor of the engine, training, inspection) looks up its support in a table by the
model's name, or runs it as plain torch through `ModelSpec.build`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fnetcli.products import Products

if TYPE_CHECKING:
    import torch

Array = NDArray[np.floating[Any]]
Arrays = Mapping[str, Array]
Maps = NDArray[np.float32]  # (N, H, W)

ValueT = TypeVar("ValueT")


class ModelConfig(Protocol):
    """The shape of a network: a frozen dataclass of plain values, so that metadata can hold it.

    Its constructor raises TypeError or ValueError for impossible values.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def reach(self) -> int | None:
        """The distance in pixels that a fused pixel may depend on; None: the whole image."""

    @property
    def multiply_adds(self) -> int | None:
        """The network's multiply-adds per pixel of a pair; None: unknown."""


@dataclass(frozen=True)
class Wanted:
    """The requested outputs besides the fused image; others are not computed."""

    parts: bool = True
    maps: bool = False
    features: bool = False


@dataclass(frozen=True)
class Fusion(Generic[ValueT]):
    """The outputs of a network for N pairs: tensors (N, C, H, W) inside models, arrays outside.

    `parts` are signed images that sum to the fused one, `maps` other images, `features` have many
    channels. All are by name. The fused image itself is `whole`, or None if it is the sum of the
    parts.
    """

    whole: ValueT | None
    parts: Mapping[str, ValueT] = field(default_factory=dict)
    maps: Mapping[str, ValueT] = field(default_factory=dict)
    features: Mapping[str, ValueT] = field(default_factory=dict)

    @property
    def fused(self) -> ValueT:
        """The fused image, not clipped."""
        if self.whole is not None:
            return self.whole
        first, *others = self.parts.values()
        fused: Any = first
        for part in others:
            fused = fused + part
        return fused  # type: ignore[no-any-return]

    def apply(self, change: Callable[[ValueT], ValueT]) -> Fusion[ValueT]:
        """Return the outputs with `change` applied to every image, without features."""
        return Fusion(
            None if self.whole is None else change(self.whole),
            {name: change(part) for name, part in self.parts.items()},
            {name: change(one) for name, one in self.maps.items()},
        )


class Model(Protocol):
    """A network at work in torch: a module."""

    def __call__(
        self, x: torch.Tensor, y: torch.Tensor, wanted: Wanted = ...
    ) -> Fusion[torch.Tensor]:
        """Fuse luminances in [0, 1], (N, 1, H, W) each, first and second."""


ConfigT = TypeVar("ConfigT", bound=ModelConfig)


class HasShape(Protocol):
    """A tensor of any library."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""


@dataclass(frozen=True)
class TensorLayout(Generic[ConfigT]):
    """One way to name the tensors of a network in a file."""

    name: str
    matches: Callable[[Collection[str]], bool]  # the names in a file
    config: Callable[[Mapping[str, HasShape], Mapping[str, Any]], ConfigT]  # tensors, metadata
    keys: Callable[[ConfigT], dict[str, str]]  # our name -> name in the file
    # Whether a name in the file is not needed.
    ignored: Callable[[ConfigT, str], bool] = lambda _, name: False  # noqa: ARG005
    # Our name and shape -> the shape in the file; the numbers come in the same order.
    shape: Callable[[str, tuple[int, ...]], tuple[int, ...]] = lambda _, shape: shape


@dataclass(frozen=True)
class ModelSpec(Generic[ConfigT]):
    """One kind of network, as data: its inputs and outputs.

    Names of parts, maps and features hold `first` or `second` if they belong to one of the images;
    users see the modality instead (`modalities.shown_name`).
    """

    name: str  # "fnet": in checkpoints, manifests and tables
    title: str  # one line for people
    config: type[ConfigT]
    shapes: Callable[[ConfigT], Iterator[tuple[str, tuple[int, ...]]]]  # of all tensors, our names
    build: Callable[[ConfigT, Arrays], torch.nn.Module]  # a Model that holds these arrays
    mark: str  # the name of a tensor that no other model has
    parts: tuple[str, ...] = ()  # they sum to the fused image
    maps: Callable[[ConfigT], tuple[str, ...]] = lambda _: ()
    features: Callable[[ConfigT], dict[str, int]] = lambda _: {}  # channels by name
    multiple_of: int = 1  # of allowed sides; the engine pads by reflection and crops
    needs_gradients: bool = False  # at inference too
    # Numbers that the module holds per pixel while it runs, measured; None: unknown.
    numbers_a_pixel: Callable[[ConfigT], int] | None = None
    layouts: tuple[TensorLayout[ConfigT], ...] = ()  # besides our own
    # Raise ValueError for impossible numbers; return notices about unusual ones.
    check: Callable[[Network[ConfigT]], None] = lambda _: None
    notices: Callable[[Network[ConfigT]], list[str]] = lambda _: []


@dataclass(frozen=True)
class Network(Generic[ConfigT]):
    """A network at rest: float32 (or float64) arrays under our names."""

    spec: ModelSpec[ConfigT]
    config: ConfigT
    arrays: Arrays

    @property
    def parameter_count(self) -> int:
        """The number of learned parameters."""
        return sum(array.size for array in self.arrays.values())

    @property
    def products(self) -> Products:
        """Its outputs besides the fused image."""
        spec, config = self.spec, self.config
        return Products(spec.parts, spec.maps(config), dict(spec.features(config)))

    def at_work(self) -> torch.nn.Module:
        """Return the torch module on the CPU, in evaluation mode, without gradients."""
        return self.spec.build(self.config, self.arrays).eval().requires_grad_(False)


def config_values(config: ModelConfig) -> dict[str, Any]:
    """Return the fields of a configuration by name."""
    return {one.name: getattr(config, one.name) for one in fields(config)}
