"""The results of an evaluation: one number for every method, case and metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
class DataSet:
    """One of several data sets; its cases follow one another in the evaluation."""

    name: str
    modalities: tuple[str, str]
    count: int


@dataclass(frozen=True)
class Evaluation:
    """Scores of every method on every case.

    `values` is (methods, cases, metrics) in the units of the metrics; NaN if there is none, and
    `problems` tells why. If there are several data sets, cases are named SET/CASE.
    """

    modalities: tuple[str, str]
    convention: Convention
    metrics: tuple[Metric, ...]
    methods: tuple[Method, ...]
    cases: tuple[str, ...]
    values: Table
    problems: tuple[Problem, ...] = ()
    notices: tuple[str, ...] = ()  # how colour, depth and size were treated
    sets: tuple[DataSet, ...] = ()  # if there are several
    # How well the parts are separated, (methods, cases), NaN for a method without unique and common
    # parts; None: no method has them. It counts for no rank, as few methods have parts.
    separation: Table | None = None

    @property
    def is_scored(self) -> NDArray[np.bool_]:
        """Whether a method has any score on a case, (methods, cases)."""
        return np.asarray(np.isfinite(self.values).any(axis=2))

    @property
    def all_modalities(self) -> list[tuple[str, str]]:
        """The modalities of each data set, once each."""
        found = [one.modalities for one in self.sets] or [self.modalities]
        return list(dict.fromkeys(found))

    def modalities_of(self, case: int) -> tuple[str, str]:
        """Return the modalities of a case."""
        for one in self.sets:
            if case < one.count:
                return one.modalities
            case -= one.count
        return self.modalities

    def parts(self) -> Iterator[tuple[str, Evaluation]]:
        """Yield each of several data sets, with its name."""
        start = 0
        for one in self.sets:
            some = slice(start, start + one.count)
            start += one.count
            cases = self.cases[some]
            known = set(cases)
            problems = tuple(problem for problem in self.problems if problem.case in known)
            yield (
                one.name,
                replace(
                    self,
                    modalities=one.modalities,
                    cases=cases,
                    values=self.values[:, some],
                    problems=problems,
                    sets=(),
                    separation=None if self.separation is None else self.separation[:, some],
                ),
            )


def joined(parts: Sequence[tuple[str, Evaluation]]) -> Evaluation:
    """Return several data sets, scored with the same methods and metrics, as one evaluation."""
    _, first = parts[0]
    return replace(
        first,
        cases=tuple(f"{name}/{case}" for name, one in parts for case in one.cases),
        values=np.concatenate([one.values for _, one in parts], axis=1),
        problems=tuple(
            replace(problem, case=f"{name}/{problem.case}")
            for name, one in parts
            for problem in one.problems
        ),
        notices=tuple(f"{name}: {text}" for name, one in parts for text in one.notices),
        sets=tuple(DataSet(name, one.modalities, len(one.cases)) for name, one in parts),
        separation=_joined_separations([one for _, one in parts]),
    )


def _joined_separations(parts: Sequence[Evaluation]) -> Table | None:
    if all(one.separation is None for one in parts):
        return None
    missing = [np.full(one.values.shape[:2], np.nan) for one in parts]
    return np.concatenate(
        [
            none if one.separation is None else one.separation
            for one, none in zip(parts, missing, strict=True)
        ],
        axis=1,
    )
