"""What is said of scores: means, ranks, marks and p-values, by hand and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from fnetcli.evaluation.results import Evaluation, Method, Table
from fnetcli.evaluation.statistics import BEST, SECOND, chosen_cases, summarise
from fnetcli.metrics import METRICS

UP, DOWN = (next(metric for metric in METRICS if metric.name == name) for name in ("MI", "CE"))
NAN = float("nan")


def evaluation(values: object, metrics: str = "+") -> Evaluation:
    """An evaluation of (methods, cases, metrics); + is a metric where more is better, - less."""
    table: Table = np.array(values, np.float64)
    methods, cases, _ = table.shape
    return Evaluation(
        modalities=("ir", "vis"),
        convention="paper",
        metrics=tuple({"+": UP, "-": DOWN}[sign] for sign in metrics),
        methods=tuple(Method(f"m{i}", "files", "a folder") for i in range(methods)),
        cases=tuple(f"c{i}" for i in range(cases)),
        values=table,
    )


def column(*methods: list[float]) -> Evaluation:
    """An evaluation by one metric, a list of scores for each method."""
    return evaluation([[[score] for score in scores] for scores in methods])


@st.composite
def evaluations(draw: st.DrawFn) -> Evaluation:
    """Draw few methods, cases and metrics, with ties and gaps."""
    methods, cases = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    metrics = draw(st.text("+-", min_size=1, max_size=3))
    size = methods * cases * len(metrics)
    scores = st.sampled_from([NAN, -1.5, 0.0, 0.1, 0.2, 0.3, 2.0, 7.0])
    drawn = draw(st.lists(scores, min_size=size, max_size=size))
    return evaluation(np.reshape(drawn, (methods, cases, len(metrics))), metrics)


class TestMeans:
    def test_by_hand(self) -> None:
        summary = summarise(column([1, 2, 6], [4, 4, 4]))
        np.testing.assert_allclose(summary.means, [[3], [4]])
        np.testing.assert_allclose(summary.deviations, [[math.sqrt(7)], [0.0]])
        np.testing.assert_array_equal(summary.counts, [[3], [3]])

    def test_over_common_cases_or_all(self) -> None:
        scores = column([1, 2, 6], [4, NAN, 8])
        summary = summarise(scores)
        np.testing.assert_array_equal(summary.common, [True, False, True])
        np.testing.assert_allclose(summary.means, [[3.5], [6.0]])
        np.testing.assert_array_equal(summary.counts, [[2], [2]])
        summary = summarise(scores, all_cases=True)
        np.testing.assert_array_equal(summary.common, [True, False, True])
        np.testing.assert_allclose(summary.means, [[3], [6]])
        np.testing.assert_allclose(summary.deviations, [[math.sqrt(7)], [math.sqrt(8)]])
        np.testing.assert_array_equal(summary.counts, [[3], [2]])

    def test_a_missing_metric_takes_its_case_from_every_method(self) -> None:
        """Else the two methods would be compared on different cases."""
        scores = evaluation([[[1, 10], [3, 20]], [[2, 30], [NAN, 50]]], "+-")
        summary = summarise(scores)
        np.testing.assert_array_equal(summary.common, [True, True])
        np.testing.assert_array_equal(summary.counts, [[1, 2], [1, 2]])
        np.testing.assert_allclose(summary.means, [[1, 15], [2, 40]])
        np.testing.assert_allclose(summarise(scores, all_cases=True).means, [[2, 15], [2, 40]])

    def test_a_metric_that_no_case_allows(self) -> None:
        summary = summarise(evaluation([[[1, NAN], [2, NAN]], [[3, NAN], [5, NAN]]], "++"))
        np.testing.assert_array_equal(summary.counts, [[2, 0], [2, 0]])
        np.testing.assert_array_equal(summary.means, [[1.5, NAN], [4, NAN]])
        np.testing.assert_array_equal(summary.ranks, [[2, NAN], [1, NAN]])
        np.testing.assert_array_equal(summary.mean_rank, [2, 1])
        np.testing.assert_array_equal(summary.p_values, [[NAN, NAN], [0.5, NAN]])
        np.testing.assert_array_equal(summary.marks, [[SECOND, 0], [BEST, 0]])

    def test_one_case_has_no_deviation(self) -> None:
        assert np.isnan(summarise(column([1], [2])).deviations).all()


class TestRanks:
    def test_by_hand_with_ties(self) -> None:
        scores = evaluation(
            [
                [[3, 3], [1, 1]],
                [[3, 1], [2, 2]],
                [[1, 2], [3, 3]],
            ],
            "+-",
        )
        summary = summarise(scores)
        np.testing.assert_allclose(summary.ranks, [[(1.5 + 3) / 2, 2], [1.75, 1.5], [2, 2.5]])
        np.testing.assert_allclose(summary.mean_rank, [2.125, 1.625, 2.25])

    def test_only_common_cases_count(self) -> None:
        scores = column([1, 9, 9], [2, NAN, 3])
        for all_cases in (False, True):
            np.testing.assert_allclose(summarise(scores, all_cases=all_cases).ranks, [[1.5], [1.5]])

    @given(evaluations())
    def test_they_sum_to_what_ranks_sum_to(self, scores: Evaluation) -> None:
        count = len(scores.methods)
        ranks = summarise(scores).ranks
        seen = np.isfinite(ranks)
        assert (seen.all(axis=0) == seen.any(axis=0)).all()
        np.testing.assert_allclose(ranks.sum(axis=0)[seen[0]], count * (count + 1) / 2)


class TestPValues:
    FIRST = (0.51, 0.62, 0.70, 0.44, 0.58, 0.66, 0.49, 0.73)

    def test_known_numbers(self) -> None:
        """All eight differences have one sign: 2 of the 2^8 ways the signs could fall."""
        better = [score + 0.01 * (i + 1) for i, score in enumerate(self.FIRST)]
        summary = summarise(column(list(self.FIRST), better))
        np.testing.assert_allclose(summary.p_values, [[NAN], [2 / 2**8]])

    def test_agrees_with_scipy_over_common_cases(self) -> None:
        rng = np.random.default_rng(4)
        values = rng.normal(size=(3, 30, 2))
        values[1] += 0.4
        values[1, 3], values[2, 5], values[2, 9, 1] = NAN, NAN, NAN
        found = summarise(evaluation(values, "+-"), all_cases=True).p_values
        for metric, missing in enumerate(([3, 5], [3, 5, 9])):
            kept = np.delete(values[:, :, metric], missing, axis=1)
            for method in (1, 2):
                expected = wilcoxon(kept[method], kept[0]).pvalue
                assert found[method, metric] == pytest.approx(expected, rel=1e-12)
        assert np.isnan(found[0]).all()
        assert found[1].max() < 0.3

    def test_equal_methods_do_not_differ(self) -> None:
        summary = summarise(column(list(self.FIRST), list(self.FIRST)))
        np.testing.assert_array_equal(summary.p_values, [[NAN], [1]])

    def test_one_difference_may_be_chance(self) -> None:
        assert summarise(column([1], [2])).p_values[1, 0] == 1
        assert summarise(column([1, 1, 1], [1, 2, 1])).p_values[1, 0] == 1


class TestMarks:
    def test_best_and_second_by_direction(self) -> None:
        summary = summarise(evaluation([[[1, 1]], [[2, 2]], [[3, 3]]], "+-"))
        np.testing.assert_array_equal(summary.marks, [[0, BEST], [SECOND, SECOND], [BEST, 0]])

    def test_ties_share(self) -> None:
        summary = summarise(column([3], [1], [3], [2], [2]))
        np.testing.assert_array_equal(summary.marks[:, 0], [BEST, 0, BEST, SECOND, SECOND])

    def test_a_method_without_scores_has_none(self) -> None:
        summary = summarise(column([3, 3], [NAN, NAN], [1, 2]), all_cases=True)
        np.testing.assert_array_equal(summary.marks[:, 0], [BEST, 0, SECOND])


class TestEdges:
    def test_one_method_has_means_and_no_rivals(self) -> None:
        summary = summarise(column([1, NAN, 3]))
        np.testing.assert_array_equal(summary.common, [True, False, True])
        np.testing.assert_array_equal(summary.means, [[2]])
        np.testing.assert_array_equal(summary.mean_rank, [1])
        assert not summary.marks.any()
        assert np.isnan(summary.p_values).all()

    def test_no_common_case(self) -> None:
        scores = column([1, NAN], [NAN, 2])
        summary = summarise(scores)
        assert not summary.common.any()
        assert not summary.counts.any()
        assert not summary.marks.any()
        for table in (summary.means, summary.deviations, summary.ranks, summary.mean_rank):
            assert np.isnan(table).all()
        assert np.isnan(summary.p_values).all()
        np.testing.assert_array_equal(summarise(scores, all_cases=True).means, [[1], [2]])

    def test_no_case_at_all(self) -> None:
        scores = evaluation(np.empty((2, 0, 2)), "+-")
        assert np.isnan(summarise(scores).means).all()
        assert chosen_cases(scores, 3) == []

    @given(evaluations(), st.booleans())
    def test_shapes_and_bounds(self, scores: Evaluation, all_cases: bool) -> None:
        methods, cases, metrics = scores.values.shape
        summary = summarise(scores, all_cases=all_cases)
        for table in (summary.means, summary.deviations, summary.ranks, summary.p_values):
            assert table.shape == (methods, metrics)
        assert summary.mean_rank.shape == (methods,)
        assert summary.counts.max() <= cases
        assert ((summary.counts > 0) == np.isfinite(summary.means)).all()
        assert ((summary.counts > 1) == np.isfinite(summary.deviations)).all()
        known = summary.p_values[np.isfinite(summary.p_values)]
        assert ((known >= 0) & (known <= 1)).all()


class TestChosenCases:
    SCORES = (5.0, 9.0, 1.0, 7.0, 3.0, 8.0, 2.0, 6.0, 4.0)  # case 1 is best, case 2 worst

    @pytest.mark.parametrize(
        ("count", "expected"),
        [
            (0, ""),
            (1, "0m"),
            (2, "1b 2w"),
            (3, "1b 0m 2w"),
            (4, "1b 7m 0m 2w"),
            (5, "1b 5b 0m 6w 2w"),
            (6, "1b 5b 7m 0m 6w 2w"),
            (9, "1b 5b 3b 7m 0m 8m 4w 6w 2w"),
            (99, "1b 5b 3b 7m 0m 8m 4w 6w 2w"),
        ],
    )
    def test_best_middle_and_worst(self, count: int, expected: str) -> None:
        chosen = chosen_cases(column(list(self.SCORES)), count)
        assert " ".join(f"{case}{place[0]}" for case, place in chosen) == expected

    def test_fewer_cases_than_asked(self) -> None:
        assert chosen_cases(column([1]), 6) == [(0, "median")]
        assert chosen_cases(column([1, 2]), 6) == [(1, "best"), (0, "worst")]
        assert chosen_cases(column([1, 3, 2, 4]), 6) == [
            (3, "best"),
            (1, "median"),
            (2, "median"),
            (0, "worst"),
        ]

    def test_only_the_first_method_decides(self) -> None:
        assert chosen_cases(column([1, 2, 3], [3, 2, 1]), 3)[0] == (2, "best")

    def test_metrics_count_alike_and_in_their_direction(self) -> None:
        """In large units less is better: 1000 is worse than 900 by as much as 1 than 2."""
        scores = evaluation([[[1, 1000], [2, 900], [1.5, 950], [2, 1000]]], "+-")
        chosen = [case for case, _ in chosen_cases(scores, 4)]
        assert (chosen[0], chosen[-1]) == (1, 0)

    def test_gaps_stand_at_the_mean(self) -> None:
        scores = evaluation([[[5, NAN], [1, NAN], [NAN, NAN], [3, NAN]]], "++")
        assert chosen_cases(scores, 9) == [(0, "best"), (3, "median"), (1, "worst")]

    def test_equal_cases_keep_their_order(self) -> None:
        assert [case for case, _ in chosen_cases(column([0.1] * 5), 5)] == [0, 1, 2, 3, 4]

    @given(evaluations(), st.integers(0, 12))
    def test_each_at_most_once_and_all_with_scores(self, scores: Evaluation, count: int) -> None:
        chosen = chosen_cases(scores, count)
        cases = [case for case, _ in chosen]
        scored = np.flatnonzero(scores.is_scored[0])
        assert len(set(cases)) == len(cases) == min(count, len(scored))
        assert set(cases) <= set(scored.tolist())
        places = [place for _, place in chosen]
        assert places == sorted(places, key=["best", "median", "worst"].index)
