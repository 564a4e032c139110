"""The methods to compare: fused files, networks, baselines, each with a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fnetcli.baselines import BASELINES, Baseline
from fnetcli.evaluation.results import Method

if TYPE_CHECKING:
    from fnetcli.engine import Engine
    from fnetcli.runs.network import NetworkSource


@dataclass(frozen=True)
class FilesEntrant:
    """A method whose fused images are files."""

    method: Method
    files: Mapping[str, Path]  # by case


@dataclass(frozen=True)
class NetworkEntrant:
    """Weights: the fused luminance, as `fnet fuse --gray` writes it, is scored."""

    method: Method
    engine: Callable[[], Engine]  # loads it on the first call
    digest: str
    source: NetworkSource  # for workers


@dataclass(frozen=True)
class RuleEntrant:
    """A baseline."""

    method: Method
    baseline: Baseline


Entrant = FilesEntrant | NetworkEntrant | RuleEntrant


def rule_entrants() -> list[RuleEntrant]:
    """Return all baselines as methods."""
    return [RuleEntrant(Method(one.name, "baseline", one.description), one) for one in BASELINES]
