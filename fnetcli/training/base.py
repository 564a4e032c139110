"""What a model brings to be trained: its modules, its stages, its losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from fnetcli.models.base import Network
from fnetcli.training.config import StageConfig

Losses = dict[str, Tensor]  # weighted terms by name; their sum is minimised


@dataclass(frozen=True)
class Stage:
    """One stage: its numbers, and what learns in it.

    Each group of parameters has an optimiser of its own, and its gradients are clipped by
    themselves. If `keeps_optimizers`, groups of the stage before go on with theirs; if
    `starts_from_average`, the modules start as their moving averages.
    """

    config: StageConfig
    groups: Mapping[str, Sequence[nn.Parameter]]
    losses: Callable[[tuple[int, ...]], Losses]  # of the batch that a seed makes
    keeps_optimizers: bool = False
    starts_from_average: bool = False
    is_validated: bool = True
    rate_factors: Mapping[str, float] = field(default_factory=dict)  # of groups, if not 1


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

    def validation_loss(self) -> float:
        """Return the mean loss of the averages over the validation pairs."""

    def extra_state(self) -> dict[str, Any]:
        """Return what else the next iteration depends on: tensors and plain values by name."""

    def restore(self, extra: Mapping[str, Any]) -> None:
        """Go on from what `extra_state` returned."""
