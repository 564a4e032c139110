"""Tiles cover an image once, and their margins hold what can reach them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fnetcli.engine.tiles import SMALLEST, Tiling, fitting


@settings(max_examples=40)
@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.tuples(st.integers(9, 120), st.integers(9, 120)),
    st.integers(0, 90),
    st.sampled_from([(1, 1), (4, 64), (4, 1)]),
)
def test_every_pixel_belongs_to_one_tile_and_sees_its_surroundings(
    size: tuple[int, int], tile_size: tuple[int, int], margin: int, grain: tuple[int, int]
) -> None:
    tiling = Tiling(*size, *tile_size, margin, grain)
    seen = np.zeros(size, int)
    for tile in tiling:
        seen[tile.rows.kept, tile.columns.kept] += 1
        for span, length, step in (
            (tile.rows, size[0], grain[0]),
            (tile.columns, size[1], grain[1]),
        ):
            assert span.outer_start <= max(0, span.start - margin)
            assert min(length, span.stop + margin) <= span.outer_stop <= length
            assert span.outer_stop in (length, -(-span.outer_stop // min(grain)) * min(grain))
            assert span.outer_start % step == 0
            inside = np.arange(length)[span.computed][span.inner]
            assert (inside == np.arange(length)[span.kept]).all()
    assert (seen == 1).all()
    boxes = [(t.rows.computed, t.columns.computed) for t in tiling]
    heights, widths = ([s.stop - s.start for s in spans] for spans in zip(*boxes, strict=True))
    assert tiling.largest == (max(heights), max(widths))
    assert tiling.computed == sum(h * w for h, w in zip(heights, widths, strict=True))
    assert len(tiling) == len(boxes)


@given(st.tuples(st.integers(1, 3000), st.integers(1, 3000)), st.integers(1, 10**7))
def test_a_fitting_tiling_keeps_to_its_budget(size: tuple[int, int], budget: int) -> None:
    one = Tiling(*size, *size, 80, (4, 64))
    found = fitting(one, budget, lambda height, width: height * width)
    if found is None:
        height, width = Tiling(*size, SMALLEST, SMALLEST, 80, (4, 64)).largest
        assert height * width > budget
    else:
        height, width = found.largest
        assert height * width <= budget
        assert found.computed >= size[0] * size[1]
    if size[0] * size[1] <= budget:
        assert found == one
