"""Pictures are there, of the right size, on the scale they tell."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fnetcli.formats.labels import class_colors
from fnetcli.inspection.figures import (
    ChannelSheet,
    ClassMaps,
    Distribution,
    FigureData,
    HistogramPanel,
    HistogramRow,
    KernelGrids,
    Line,
    LinePanel,
    LineRow,
    MapRow,
    NormRow,
)
from fnetcli.reports.figures import GAP, LABEL, MARGIN, TITLE, Figure, draw, round_limit
from tests.drawn_pictures import smooth_noise

NUMBERS = np.random.default_rng(0)
ENERGIES = np.array([3.0, 1.0, 4.0, 1.0, 5.0])


def pixels(figure: Figure) -> NDArray[Any]:
    with PIL.Image.open(io.BytesIO(figure.png)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def maps(count: int, height: int = 40, width: int = 52) -> dict[str, NDArray[np.float32]]:
    return {
        f"map {i}": (smooth_noise(height, width, i) / 255 - 0.3 * i).astype(np.float32)
        for i in range(count)
    }


def sheet(thumbnails: NDArray[np.float16] | None = None) -> ChannelSheet:
    if thumbnails is None:
        thumbnails = NUMBERS.normal(size=(5, 40, 52)).astype(np.float16)
    return ChannelSheet("Feature u", thumbnails, ENERGIES)


def histograms() -> HistogramRow:
    values = np.linspace(-1, 1, 50, dtype=np.float32)
    counted = Distribution("before", values, np.arange(50))
    counted_once = Distribution("after", np.full((8, 9), 0.5, np.float32), color="#b2182b")
    panels = (
        HistogramPanel("both", (counted, counted_once), marks=(-0.5, 0.5), reach=0.8),
        HistogramPanel("one", (counted_once,), span=(0.0, 1.0)),
    )
    return HistogramRow("Values", panels, "dotted: half")


def lines(*, has_second: bool = True) -> LineRow:
    second = (Line("v", [-0.3], 1, "#2166ac", "s"),) if has_second else ()
    panels = (
        LinePanel("falls", (Line("u", [0.2, 0.1]), Line("v", [0.2, 0.3], marker="D"))),
        LinePanel("rises", second, "there is none"),
    )
    return LineRow(panels, "k", 2, "one line per block")


def kernels(count: int) -> KernelGrids:
    grids = [
        (f"kernels {i}", NUMBERS.normal(size=(7, 5, 5)).astype(np.float32)) for i in range(count)
    ]
    return KernelGrids("Dictionaries", tuple(grids))


EVERYTHING: dict[str, FigureData] = {
    "maps": MapRow("Maps", maps(3)),
    "many maps": MapRow("Maps", maps(7), are_signed=False),
    "maps on scales of their own": MapRow("Maps", maps(2), has_own_scales=True),
    "lengths": NormRow("Lengths", {"one": np.abs(maps(1)["map 0"])}, "how long"),
    "channels": sheet(),
    "histograms": histograms(),
    "lines": lines(),
    "no second lines": lines(has_second=False),
    "kernels": kernels(5),
    "one grid": kernels(1),
}


def test_signed_maps_are_grey_with_zero_in_the_middle() -> None:
    values = np.zeros((60, 240), np.float32)
    values[20:40, :80], values[20:40, 160:] = -0.5, 0.4
    figure = draw(MapRow("A map", {"signed": values}))
    assert figure.limit == 0.5
    assert figure.scale == "black -0.5, middle grey 0, white 0.5"
    drawn = pixels(figure)[MARGIN + TITLE + LABEL :, MARGIN:]
    assert tuple(drawn[30, 20]) == (0, 0, 0)
    assert tuple(drawn[30, 120]) == (128, 128, 128)
    assert tuple(drawn[30, 200]) == (230, 230, 230)


def test_maps_without_a_sign_begin_with_black() -> None:
    values = np.zeros((60, 240), np.float32)
    values[20:40, 80:160], values[20:40, 160:] = 0.25, 0.5
    figure = draw(MapRow("A map", {"weights": values}, are_signed=False))
    assert figure.scale == "black 0, white 0.5"
    drawn = pixels(figure)[MARGIN + TITLE + LABEL :, MARGIN:]
    found = [tuple(drawn[30, column]) for column in (20, 120, 200)]
    assert found == [(0, 0, 0), (128, 128, 128), (255, 255, 255)]


def test_maps_of_different_things_have_scales_of_their_own() -> None:
    signed, labels = np.zeros((60, 240), np.float32), np.zeros((60, 240), np.float32)
    signed[20:40], labels[20:40] = -0.5, 8
    row = MapRow("Maps", {"signed": signed, "classes": labels}, has_own_scales=True)
    drawn = pixels(draw(row))[MARGIN + TITLE + LABEL :, MARGIN:]
    second = 240 + GAP + 120
    assert [tuple(drawn[line, 120]) for line in (5, 30)] == [(128, 128, 128), (0, 0, 0)]
    assert [tuple(drawn[line, second]) for line in (5, 30)] == [(0, 0, 0), (255, 255, 255)]


def test_maps_side_by_side_share_one_scale() -> None:
    row = MapRow("Maps", maps(3))
    figure = draw(row)
    assert figure.limit == round_limit(*row.maps.values())
    assert f"{figure.limit:g}" in figure.scale


def test_three_maps_stand_in_a_row() -> None:
    height, width, _ = pixels(draw(MapRow("Maps", maps(7, 40, 200)))).shape
    assert width == 3 * 200 + 2 * GAP + 2 * MARGIN
    assert height == 3 * (40 + LABEL) + 2 * GAP + TITLE + 2 * MARGIN


def test_a_feature_has_all_its_channels_in_order_of_energy() -> None:
    data = sheet()
    figure = draw(data)
    assert figure.limit == round_limit(data.thumbnails)
    found = pixels(figure)
    zoom = 2  # 52 pixels are too narrow for a label
    height, width, _ = found.shape
    assert height == 2 * MARGIN + TITLE + LABEL + zoom * 40
    assert width >= 2 * MARGIN + 5 * zoom * 52 + 3 * GAP


def test_colours_tell_the_sign() -> None:
    values = np.zeros((5, 100, 120), np.float16)
    values[4, :50], values[4, 50:] = -1, 1  # it has the most energy, and comes first
    drawn = pixels(draw(sheet(values)))
    below, above = drawn[MARGIN + TITLE + LABEL + 20, 60], drawn[MARGIN + TITLE + LABEL + 80, 60]
    assert below[2] > below[0]
    assert above[0] > above[2]


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_figure_is_a_picture(name: str, tmp_path: Path) -> None:
    figure = draw(EVERYTHING[name])
    assert pixels(figure).std() > 1
    assert figure.scale
    figure.save(tmp_path / "figures" / "one.png")
    assert (tmp_path / "figures" / "one.png").read_bytes() == figure.png


def test_equal_data_make_equal_files() -> None:
    for name in ("histograms", "lines", "lengths"):
        assert draw(EVERYTHING[name]).png == draw(EVERYTHING[name]).png


def test_nothing_to_see_is_no_error() -> None:
    nothing = np.zeros((30, 40), np.float32)
    for are_signed in (True, False):
        assert draw(MapRow("Nothing", {"nothing": nothing}, are_signed)).limit == 1
    assert draw(NormRow("Nothing", {"nothing": nothing}, "nothing")).limit == 1
    zeros = np.zeros((2, 30, 40), np.float16)
    assert draw(ChannelSheet("Nothing", zeros, np.zeros(2))).limit == 1


def test_large_maps_are_drawn_smaller() -> None:
    values = NUMBERS.random((1500, 2000), np.float32)
    height, width, _ = pixels(draw(MapRow("Large", {"a": values, "b": values}))).shape
    assert width == 2 * 640 + GAP + 2 * MARGIN
    assert height == 480 + LABEL + TITLE + 2 * MARGIN


@given(st.floats(1e-4, 1e4))
def test_limits_are_round_and_close(size: float) -> None:
    limit = round_limit(np.full(10, -size))
    assert 0.999 * size <= limit <= 2 * size
    assert float(f"{limit:.1e}") == limit


def test_classes_have_their_colours_and_a_key() -> None:
    numbers = np.zeros((30, 50), np.intp)
    numbers[:, 25:] = 2
    figure = draw(ClassMaps("Classes", {"segmentation": numbers}, {0: "none", 2: "person"}))
    found = {tuple(color) for color in pixels(figure).reshape(-1, 3)}
    colors = {tuple(color) for color in class_colors(3)}
    assert found >= {(0, 0, 0), tuple(class_colors(3)[2])}
    assert tuple(class_colors(3)[1]) not in found & colors
    large = np.zeros((700, 1300), np.intp)
    assert pixels(draw(ClassMaps("", {"a": large}, {0: "none"}))).shape[1] < 1300
