"""The results of an evaluation: one number for every method, case and metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fnetcli.metrics.base import Convention, Metric

Kind = Literal["files", "weights", "baseline"]
Table = NDArray[np.float64]


@dataclass(frozen=True)
class Method:
    """The origin of fused images: files of any program, weights, or a rule."""

    name: str
    kind: Kind
    origin: str  # the folder or list, the weights file with its sha256, what the rule does


@dataclass(frozen=True)
class Problem:
    """Why a case has no scores, or not all; `method` is empty if its sources are the cause."""

    case: str
    method: str
    text: str


@dataclass(frozen=True)
class Evaluation:
    """Scores of every method on every case.

    `values` is (methods, cases, metrics) in the units of the metrics; NaN if there is none, and
    `problems` tells why.
    """

    modalities: tuple[str, str]
    convention: Convention
    metrics: tuple[Metric, ...]
    methods: tuple[Method, ...]
    cases: tuple[str, ...]
    values: Table
    problems: tuple[Problem, ...] = ()
    notices: tuple[str, ...] = ()  # how colour, depth and size were treated
    # How well the parts are separated, (methods, cases), NaN for a method without unique and common
    # parts; None: no method has them. It counts for no rank, as few methods have parts.
    separation: Table | None = None

    @property
    def is_scored(self) -> NDArray[np.bool_]:
        """Whether a method has any score on a case, (methods, cases)."""
        return np.asarray(np.isfinite(self.values).any(axis=2))
