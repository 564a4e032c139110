"""What is drawn of an FNet, and with which words."""

from __future__ import annotations

import numpy as np
import pytest

from fnetcli.inspection.figures import ChannelSheet, HistogramRow, LineRow, MapRow, NormRow
from fnetcli.inspection.fnet.figures import pair_figures, schedules_row, weights_figures
from fnetcli.inspection.fnet.inspector import FNetInspector
from fnetcli.inspection.fnet.trace import PairTrace
from fnetcli.inspection.fnet.weights import BlockFacts, dictionaries
from tests.inspection.fnet.traces import small_network, small_trace

BLOCKS = {
    "u": BlockFacts([0.2, 0.1], [0.3], thresholds_fall=True, momentum_rises=True),
    "v": BlockFacts([0.2, 0.3], [-0.3], thresholds_fall=False, momentum_rises=True),
}


@pytest.fixture(scope="module")
def trace() -> PairTrace:
    return small_trace()


def test_of_a_pair(trace: PairTrace) -> None:
    figures = pair_figures(trace, BLOCKS, ("ir", "vis"))
    assert tuple(figures) == FNetInspector.pair_pictures
    parts, features = figures["parts.png"], figures["features.png"]
    assert isinstance(parts, MapRow)
    assert list(parts.maps) == ["unique to ir", "unique to vis", "common to both"]
    for shown, part in zip(parts.maps.values(), trace.parts, strict=True):
        assert np.array_equal(shown, part)
    assert isinstance(features, NormRow)
    assert features.meaning == "L2 norm over the 5 atoms"

    code = figures["code_v.png"]
    assert isinstance(code, ChannelSheet)
    assert code.title == "v: unique to vis"
    assert code.thumbnails is trace.blocks["v"].thumbnails


def test_histograms_are_before_and_after_the_threshold(trace: PairTrace) -> None:
    row = pair_figures(trace, BLOCKS, ("ir", "vis"))["histograms.png"]
    assert isinstance(row, HistogramRow)
    for panel, block in zip(row.panels, trace.blocks.values(), strict=True):
        assert [one.label for one in panel.distributions] == ["before", "after"]
        assert panel.marks == (-block.last.theta, block.last.theta)
        assert "nearly zero: " in panel.title


def test_schedules() -> None:
    row = schedules_row(BLOCKS)
    assert isinstance(row, LineRow)
    thresholds, momenta = row.panels
    assert [list(line.values) for line in thresholds.lines] == [[0.2, 0.1], [0.2, 0.3]]
    assert [(line.start, list(line.values)) for line in momenta.lines] == [(1, [0.3]), (1, [-0.3])]
    plain = {"u": BlockFacts([0.2, 0.1], [], thresholds_fall=True, momentum_rises=None)}
    assert schedules_row(plain).panels[1].lines == ()


def test_of_weights() -> None:
    figures = weights_figures(dictionaries(small_network()), dict.fromkeys("uvz", BLOCKS["u"]))
    assert sorted(figures) == sorted(FNetInspector.weights_pictures)
