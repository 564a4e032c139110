"""Numbers of arrays that were made by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fnetcli.inspection.fnet.numbers import falls, measure_code, measure_pair, rises
from fnetcli.inspection.fnet.trace import BlockTrace, Measured, PairTrace, Step
from fnetcli.inspection.numbers import correlation, measure_source
from fnetcli.models.fnet.config import FNetConfig
from tests.inspection.fnet.traces import small_pair, small_trace
from tests.networks import fusion_of

Map = NDArray[np.float32]


def counted(nearly_zero: float) -> Measured:
    return Measured(nearly_zero, np.zeros(1, np.float32), np.ones(1, np.int64))


def block(energy_map: Map, thetas: tuple[float, ...], rhos: tuple[float | None, ...]) -> BlockTrace:
    steps = [Step(k, thetas[k], rhos[k]) for k in range(len(thetas))]
    last: Step = replace(steps[-1], before=counted(0.25), after=counted(0.75))
    return BlockTrace(
        steps=(*steps[:-1], last),
        energies=np.array([1.0, 3.0]),
        peaks=np.array([1.0, 2.0]),
        energy_map=energy_map,
        thumbnails=np.zeros((2, 1, 1), np.float16),
        code=None,
    )


def made_by_hand() -> PairTrace:
    rising = np.array([[0, 1], [2, 3]], np.float32)
    ones = np.ones((2, 2), np.float32)
    quarter = (rising / 4).astype(np.float32)
    parts: list[Map] = [quarter, -quarter, np.array([[0, 0], [1.5, -1]], np.float32)]
    blocks = {
        "u": block(rising, (0.3, 0.2, 0.1), (None, 0.1, 0.2)),
        "v": block(3 - rising, (0.3, 0.3, 0.1), (None, 0.2, 0.1)),
        "z": block(ones, (0.3, 0.2, 0.1), (None, None, None)),
    }
    fusion = fusion_of(parts[0][None], parts[1][None], parts[2][None])
    return PairTrace(blocks, fusion, (ones, ones), FNetConfig())


def test_a_pair_made_by_hand() -> None:
    first = np.array([[0, 0.25], [0.5, 0.75]], np.float32)
    numbers = measure_pair(first, np.ones_like(first), made_by_hand())
    assert numbers.clipped_below == 0.25
    assert numbers.clipped_above == 0.25
    assert numbers.clipped == 0.5
    assert numbers.unique_energy_correlation == pytest.approx(-1)
    own, other, common = numbers.parts.values()
    assert list(numbers.parts) == ["unique_first", "unique_second", "common"]
    squares = [14 / 16, 14 / 16, 3.25]
    for part, square in zip((own, other, common), squares, strict=True):
        assert part.energy_share == pytest.approx(square / sum(squares))
        assert part.correlation_with_second is None
    assert own.correlation_with_first == pytest.approx(1)
    assert other.correlation_with_first == pytest.approx(-1)
    assert (common.lowest, common.highest) == (-1, 1.5)
    u, v, z = numbers.codes.values()
    assert (u.nearly_zero_before, u.nearly_zero_after) == (0.25, 0.75)
    assert u.energy_per_atom == [1, 3]
    assert u.energy == 4
    assert (u.thresholds_fall, v.thresholds_fall) == (True, False)
    assert (u.momentum_rises, v.momentum_rises, z.momentum_rises) == (True, False, None)
    assert z.rho == []


def test_the_record_is_plain_json() -> None:
    numbers = measure_pair(*small_pair(), small_trace())
    record = numbers.record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["sources"].keys() == {"first", "second"}
    assert record["codes"].keys() == {"u", "v", "z"}
    shares = [part["energy_share"] for part in record["parts"].values()]
    assert sum(shares) == pytest.approx(1)


def test_parts_without_energy_have_no_share() -> None:
    trace = made_by_hand()
    nothing = np.zeros((1, 2, 2), np.float32)
    empty = replace(trace, fusion=fusion_of(nothing, nothing, nothing))
    numbers = measure_pair(nothing[0], nothing[0], empty)
    assert [part.energy_share for part in numbers.parts.values()] == [None] * 3
    assert numbers.clipped == 0


class TestSource:
    def test_saturation(self) -> None:
        image = np.full((10, 10), 0.5, np.float32)
        image[0], image[1:3] = 0, 1
        found = measure_source(image)
        assert (found.lowest, found.highest) == (0, 1)
        assert (found.at_lowest, found.at_highest) == (0.1, 0.2)
        assert found.mean == pytest.approx(0.55)

    def test_constant_area(self) -> None:
        random = np.random.default_rng(0)
        image = random.random((40, 40)).astype(np.float32)
        image[:20] = 0.25
        assert measure_source(image).constant == pytest.approx(17 * 40 / 1600)
        assert measure_source(np.zeros((5, 5), np.float32)).constant == 1

    def test_one_grey_level_is_a_difference(self) -> None:
        image = (np.indices((30, 30)).sum(0) % 2 / 255).astype(np.float32)
        assert measure_source(image).constant == 0


@given(st.integers(0, 100), st.floats(0.1, 9), st.floats(-5, 5))
def test_correlation_ignores_scale_and_offset(seed: int, scale: float, offset: float) -> None:
    random = np.random.default_rng(seed)
    x, y = random.random((2, 12, 9), np.float32)
    wanted = np.corrcoef(x.ravel(), y.ravel())[0, 1]
    assert correlation(x, y) == pytest.approx(wanted, abs=1e-5)
    assert correlation((scale * x + offset).astype(np.float32), y) == pytest.approx(
        wanted, abs=1e-4
    )
    assert correlation(x, x) == pytest.approx(1)


def test_correlation_of_a_constant_is_none() -> None:
    assert correlation(np.full((4, 4), 0.1, np.float32), np.eye(4, dtype=np.float32)) is None


@given(st.lists(st.floats(0, 1), max_size=6))
def test_falls(values: list[float]) -> None:
    assert falls(values) == all(after < before for before, after in pairwise(values))


@pytest.mark.parametrize(
    ("values", "answer"),
    [([], None), ([0.3], None), ([0.1, 0.2], True), ([0.2, 0.2], False), ([0.1, 0.3, 0.2], False)],
)
def test_rises(values: list[float], answer: bool | None) -> None:
    assert rises(values) is answer


def test_a_code_that_was_not_measured() -> None:
    bare = block(np.ones((2, 2), np.float32), (0.2, 0.1), (None, 0.1))
    unmeasured = replace(bare, steps=(bare.steps[0],))
    assert measure_code(unmeasured).nearly_zero_after is None
