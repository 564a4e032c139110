"""Pictures are there, of the right size, on the scale they tell."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fnetcli.inspection.fnet.trace import PairTrace
from fnetcli.inspection.fnet.weights import BlockFacts, dictionaries
from fnetcli.reports.figures import (
    GAP,
    LABEL,
    MARGIN,
    TITLE,
    Figure,
    draw_code,
    draw_dictionaries,
    draw_features,
    draw_histograms,
    draw_maps,
    draw_parts,
    draw_residuals,
    draw_schedules,
    round_limit,
)
from tests.inspection.fnet.traces import small_network, small_trace

NAMES = ("ir", "vis")


@pytest.fixture(scope="module")
def trace() -> PairTrace:
    return small_trace()


def pixels(figure: Figure) -> NDArray[Any]:
    with PIL.Image.open(io.BytesIO(figure.png)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def test_parts_are_grey_with_zero_in_the_middle() -> None:
    values = np.zeros((60, 240), np.float32)
    values[20:40, :80], values[20:40, 160:] = -0.5, 0.4
    figure = draw_maps({"signed": values}, "A map")
    assert figure.limit == 0.5
    assert figure.scale == "black -0.5, middle grey 0, white 0.5"
    drawn = pixels(figure)[MARGIN + TITLE + LABEL :, MARGIN:]
    assert tuple(drawn[30, 20]) == (0, 0, 0)
    assert tuple(drawn[30, 120]) == (128, 128, 128)
    assert tuple(drawn[30, 200]) == (230, 230, 230)


def test_maps_side_by_side_share_one_scale(trace: PairTrace) -> None:
    for figure in (draw_parts(trace, NAMES), draw_residuals(trace, NAMES)):
        assert figure.limit is not None
        assert f"{figure.limit:g}" in figure.scale
    assert draw_parts(trace, NAMES).limit == round_limit(*trace.parts)


def test_a_code_has_all_its_maps_in_order_of_energy(trace: PairTrace) -> None:
    block = trace.blocks["u"]
    figure = draw_code(block, "Code u")
    assert figure.limit == round_limit(block.thumbnails)
    found = pixels(figure)
    zoom = 2  # 52 pixels are too narrow for a label
    height, width, _ = found.shape
    assert height == 2 * MARGIN + TITLE + LABEL + zoom * 40
    assert width >= 2 * MARGIN + 5 * zoom * 52 + 3 * GAP


def test_colours_tell_the_sign(trace: PairTrace) -> None:
    block = trace.blocks["u"]
    values = np.zeros((5, 100, 120), np.float16)
    values[block.order[0], :50], values[block.order[0], 50:] = -1, 1
    drawn = pixels(draw_code(replace(block, thumbnails=values), "Code u"))
    below, above = drawn[MARGIN + TITLE + LABEL + 20, 60], drawn[MARGIN + TITLE + LABEL + 80, 60]
    assert below[2] > below[0]
    assert above[0] > above[2]


def test_every_figure_is_a_picture(trace: PairTrace, tmp_path: Path) -> None:
    kernels = dictionaries(small_network())
    blocks = {
        "u": BlockFacts([0.2, 0.1], [0.3], thresholds_fall=True, momentum_rises=True),
        "v": BlockFacts([0.2, 0.3], [-0.3], thresholds_fall=False, momentum_rises=True),
    }
    plain = {"u": BlockFacts([0.2, 0.1], [], thresholds_fall=True, momentum_rises=None)}
    for i, figure in enumerate(
        (
            draw_features(trace, NAMES),
            draw_histograms(trace, NAMES),
            draw_schedules(blocks),
            draw_schedules(plain),
            draw_dictionaries(kernels, "All dictionaries"),
            draw_dictionaries(kernels[:1], "One"),
        )
    ):
        assert pixels(figure).std() > 1
        assert figure.scale
        figure.save(tmp_path / "figures" / f"{i}.png")
        assert (tmp_path / "figures" / f"{i}.png").read_bytes() == figure.png


def test_equal_traces_make_equal_files(trace: PairTrace) -> None:
    assert draw_histograms(trace, NAMES).png == draw_histograms(trace, NAMES).png
    assert draw_features(trace, NAMES).png == draw_features(trace, NAMES).png


def test_nothing_to_see_is_no_error(trace: PairTrace) -> None:
    nothing = np.zeros((30, 40), np.float32)
    assert draw_maps({"nothing": nothing}, "Nothing").limit == 1
    block = trace.blocks["z"]
    empty = replace(
        block, thumbnails=np.zeros_like(block.thumbnails), energies=np.zeros_like(block.energies)
    )
    assert draw_code(empty, "Nothing").limit == 1


def test_large_maps_are_drawn_smaller() -> None:
    values = np.random.default_rng(0).random((1500, 2000), np.float32)
    height, width, _ = pixels(draw_maps({"a": values, "b": values}, "Large")).shape
    assert width == 2 * 640 + GAP + 2 * MARGIN
    assert height == 480 + LABEL + TITLE + 2 * MARGIN


@given(st.floats(1e-4, 1e4))
def test_limits_are_round_and_close(size: float) -> None:
    limit = round_limit(np.full(10, -size))
    assert 0.999 * size <= limit <= 2 * size
    assert float(f"{limit:.1e}") == limit
