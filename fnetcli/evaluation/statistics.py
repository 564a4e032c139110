"""Statistics of scores: means over the cases that count, ranks, marks, significance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, wilcoxon

from fnetcli.evaluation.results import Evaluation, Table

BEST, SECOND = 1, 2
Place = Literal["best", "median", "worst", "chosen"]


@dataclass(frozen=True)
class Summary:
    """Statistics per method and metric, of shape (methods, metrics) except as noted.

    Means, deviations and counts are over the cases that count: those that every method has, or
    with `all_cases` those that the method has. Ranks and p-values are always over common cases.
    If a method lacks a metric of a common case, that metric of that case counts for no method.
    NaN: no case.
    """

    all_cases: bool
    common: NDArray[np.bool_]  # (cases,): whether every method has scores there
    means: Table
    deviations: Table  # sample standard deviation over cases; NaN for fewer than two
    counts: NDArray[np.int64]
    ranks: Table  # mean rank among the methods, 1 is best, ties share a rank
    mean_rank: Table  # (methods,): over metrics and cases
    p_values: Table  # Wilcoxon signed-rank test against the first method, two-sided
    marks: NDArray[np.int8]  # BEST, SECOND or 0; all 0 for a single method
    separation: Table | None = None  # (methods,): means; None: no method has parts


def summarise(evaluation: Evaluation, *, all_cases: bool = False) -> Summary:
    """Compare the methods of an evaluation."""
    values = evaluation.values
    common = np.asarray(evaluation.is_scored.all(axis=0))
    is_comparable = np.asarray(np.isfinite(values).all(axis=0))  # (cases, metrics)
    counted = values if all_cases else np.where(is_comparable, values, np.nan)
    counts = np.isfinite(counted).sum(axis=1)
    means = _over_cases(counted, counts)
    deviations = _deviations(counted, means, counts)
    ranks = _ranks(evaluation, is_comparable)
    scored = np.isfinite(ranks)
    return Summary(
        all_cases=all_cases,
        common=common,
        means=means,
        deviations=deviations,
        counts=counts,
        ranks=_over_cases(ranks, scored.sum(axis=1)),
        mean_rank=_over_cases(ranks.reshape(len(ranks), -1, 1), scored.sum(axis=(1, 2))[:, None])[
            :, 0
        ],
        p_values=_p_values(evaluation, is_comparable),
        marks=_marks(evaluation, means),
        separation=_mean_separation(evaluation, common | all_cases),
    )


def summaries(evaluation: Evaluation, whole: Summary) -> list[tuple[str, Evaluation, Summary]]:
    """Return each data set with its name and statistics, and then all together.

    One data set alone is not repeated; without sets there is one without a name.
    """
    sets = [
        (name, part, summarise(part, all_cases=whole.all_cases))
        for name, part in evaluation.parts()
    ]
    if len(sets) == 1:
        return [(sets[0][0], evaluation, whole)]
    return [*sets, ("all sets" if sets else "", evaluation, whole)]


def chosen_cases(evaluation: Evaluation, count: int) -> list[tuple[int, Place]]:
    """Return at most `count` cases to show: where the first method is best, median and worst.

    Cases are ordered by the mean over the metrics of its scores, each in standard deviations from
    its mean over the cases, with better scores higher; a missing score counts as the mean. Best
    first; all cases, in that order, if there are no more than `count`.
    """
    values = evaluation.values[0]
    scored = np.flatnonzero(np.isfinite(values).any(axis=1))
    signs = np.array([1 if metric.higher_is_better else -1 for metric in evaluation.metrics])
    seen = values[scored]
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.array(
            [np.nanstd(column) if np.isfinite(column).any() else 1 for column in seen.T]
        )
        centre = np.array(
            [np.nanmean(column) if np.isfinite(column).any() else 0 for column in seen.T]
        )
        standing = np.nan_to_num((seen - centre) / np.where(spread > 0, spread, 1)) @ signs
    order = [int(case) for case in scored[np.argsort(-standing, kind="stable")]]
    count = min(count, len(order))
    ends = (count + 1) // 3
    middle = count - 2 * ends
    start = (len(order) - middle) // 2
    chosen: list[tuple[int, Place]] = [(case, "best") for case in order[:ends]]
    chosen += [(case, "median") for case in order[start : start + middle]]
    return chosen + [(case, "worst") for case in order[len(order) - ends :]]


def _over_cases(values: Table, counts: NDArray[np.int64]) -> Table:
    """Return the mean over the second axis, without NaN; NaN if nothing is left."""
    sums = np.nansum(values, axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _mean_separation(evaluation: Evaluation, counts: NDArray[np.bool_]) -> Table | None:
    """Return the mean separation of each method over the cases that count."""
    if evaluation.separation is None:
        return None
    values = np.where(counts, evaluation.separation, np.nan)[..., None]
    return _over_cases(values, np.isfinite(values).sum(axis=1))[:, 0]


def _deviations(values: Table, means: Table, counts: NDArray[np.int64]) -> Table:
    squares = np.nansum((values - means[:, None]) ** 2, axis=1)
    return np.where(counts > 1, np.sqrt(squares / np.maximum(counts - 1, 1)), np.nan)


def _goodness(evaluation: Evaluation, values: Table) -> Table:
    """Return values, with metrics as the last axis, negated if needed so that more is better."""
    signs = np.array([1.0 if metric.higher_is_better else -1.0 for metric in evaluation.metrics])
    return np.asarray(values * signs)


def _ranks(evaluation: Evaluation, is_comparable: NDArray[np.bool_]) -> Table:
    """Return the rank of every method, (methods, cases, metrics); NaN if not comparable."""
    good = _goodness(evaluation, evaluation.values)
    ranks: Table = rankdata(-np.where(is_comparable, good, 0.0), axis=0)
    return np.where(is_comparable, ranks, np.nan)


def _p_values(evaluation: Evaluation, is_comparable: NDArray[np.bool_]) -> Table:
    values = evaluation.values
    p_values = np.full((len(values), len(evaluation.metrics)), np.nan)
    for method in range(1, len(values)):
        for metric, counts in enumerate(is_comparable.T):
            difference = values[method, counts, metric] - values[0, counts, metric]
            if difference.size:
                is_equal = not difference.any()
                p_values[method, metric] = 1.0 if is_equal else wilcoxon(difference).pvalue
    return p_values


def _marks(evaluation: Evaluation, means: Table) -> NDArray[np.int8]:
    marks = np.zeros(means.shape, np.int8)
    if len(means) < 2:
        return marks
    for metric, column in enumerate(_goodness(evaluation, means).T):
        levels = np.unique(column[np.isfinite(column)])[::-1]
        for mark, level in zip((BEST, SECOND), levels, strict=False):
            marks[column == level, metric] = mark
    return marks
