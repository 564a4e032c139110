"""What a model brings to be trained: its modules, its stages, its losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from torch import Tensor, nn

from fnetcli.errors import ConfigError
from fnetcli.models.base import Network
from fnetcli.training.config import StageConfig
from fnetcli.training.validation import Validated

Losses = dict[str, Tensor]  # weighted terms by name; their sum is minimised
# Validation pairs of these numbers, one after another, as the averages fuse them.
Validate = Callable[[Sequence[int]], Iterator[Validated]]


@dataclass(frozen=True)
class Stage:
    """One stage: its numbers, and what learns in it.

    Each group of parameters has an optimiser of its own, and its gradients are clipped by
    themselves. If `keeps_optimizers`, groups of the stage before go on with theirs; if
    `starts_from_average`, the modules start as their moving averages. `validate` has the stage's
    own losses; None without validation pairs. `after_step` puts right what a step of the optimisers
    may not change.
    """

    config: StageConfig
    groups: Mapping[str, Sequence[nn.Parameter]]
    losses: Callable[[tuple[int, ...]], Losses]  # of the batch that a seed makes
    keeps_optimizers: bool = False
    starts_from_average: bool = False
    validate: Validate | None = None
    chooses_best: bool = True  # its validation losses compare with those of later stages
    rate_factors: Mapping[str, float] = field(default_factory=dict)  # of groups, if not 1
    after_step: Callable[[], None] = lambda: None


def without_frozen(stage: Stage, network: nn.Module) -> Stage:
    """Return a stage whose groups lack what its recipe freezes; a group with nothing left is gone.

    Raise ConfigError for a name that is no part of the network, or if nothing would learn.
    """
    frozen = set[nn.Parameter]()
    for name in stage.config.freeze:
        found = [
            parameter
            for path, parameter in network.named_parameters()
            if f"{path}.".startswith(f"{name}.")
        ]
        if not found:
            raise ConfigError(f"freeze = {name!r}: no part of the network; {_parts(network)}")
        frozen.update(found)
    groups = {
        name: left
        for name, group in stage.groups.items()
        if (left := [one for one in group if one not in frozen])
    }
    if stage.config.iterations and not groups:
        raise ConfigError(
            f"freeze = {list(stage.config.freeze)}: nothing is left to learn; name fewer parts"
        )
    return replace(stage, groups=groups)


def let_learn(stage: Stage, modules: Mapping[str, nn.Module]) -> None:
    """Take gradients of a stage's parameters alone; statistics of frozen parts stay as they are."""
    learning = {parameter for group in stage.groups.values() for parameter in group}
    for module in modules.values():
        for parameter in module.parameters():
            parameter.requires_grad_(parameter in learning)
    for path, module in modules["network"].named_modules():
        module.training = not any(f"{path}.".startswith(f"{one}.") for one in stage.config.freeze)


def _parts(network: nn.Module) -> str:
    names = dict.fromkeys(path.partition(".")[0] for path, _ in network.named_parameters())
    return f"name some of {', '.join(names)}"


class Procedure(Protocol):
    """How one model is trained, on the pairs that it was made with."""

    @property
    def modules(self) -> dict[str, nn.Module]:
        """All that learns, by name."""

    @property
    def averages(self) -> dict[str, nn.Module]:
        """The moving averages of some modules, under the same names: these are saved."""

    @property
    def stages(self) -> Sequence[Stage]:
        """The stages, in order."""

    def working(self, tell: Callable[[str], None]) -> AbstractContextManager[None]:
        """Prepare what makes training faster, and undo it."""

    def network(self) -> Network[Any]:
        """Return the averages as a network at rest."""

    def companions(self) -> Mapping[str, Network[Any]]:
        """Return further networks at rest to save beside it, by the word for their files."""

    def extra_state(self) -> dict[str, Any]:
        """Return what else the next iteration depends on: tensors and plain values by name."""

    def restore(self, extra: Mapping[str, Any]) -> None:
        """Go on from what `extra_state` returned."""
