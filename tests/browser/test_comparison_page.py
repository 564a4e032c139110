"""The page of two networks in a browser: at every width, in the dark, and on paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fnetcli.inspection.base import NumberTable
from fnetcli.reports.comparison_page import ComparisonPage, Network, write_comparison_page
from fnetcli.reports.inspect_page import Plot
from tests.browser.conftest import OpenPage
from tests.reports.test_eval_page import HOSTILE
from tests.reports.test_inspect_page import png

HEADS = ("", "theta", "nearly zero", "zero", "mean of others", "largest")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A page whose every text is hostile."""
    random = np.random.default_rng(0)
    levels = random.integers(0, 256, (48, 64), dtype=np.uint8)
    names = [f"{i}{HOSTILE}" for i in range(2)]
    rows = tuple((f"{name}, k = 0", *["0.123456"] * 5) for name in names)
    page = ComparisonPage(
        title=HOSTILE,
        modalities=("ir", "vis"),
        sources=(levels, np.stack([levels] * 3, axis=2)),
        networks=[Network(name, "#2166ac", HOSTILE) for name in names],
        fused={name: random.random((48, 64), np.float32) for name in names},
        plots={HOSTILE: Plot(png(1500, 900), HOSTILE)},
        tables=[NumberTable(HOSTILE, HEADS, rows)] * 2,  # side by side where there is room
        warnings=[HOSTILE],
        notices=[HOSTILE],
        details={HOSTILE: HOSTILE},
    )
    write_comparison_page(tmp_path / "report.html", page)
    return tmp_path / "report.html"


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_hidden_without_a_word(open_page: OpenPage, path: Path, width: int) -> None:
    page = open_page(path, viewport={"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("img").count() == 5 + 1
    boxes = page.locator(".scroll").all()
    assert len(boxes) == 2
    for box in boxes:
        hidden = box.evaluate("({ scrollWidth, clientWidth }) => scrollWidth - clientWidth")
        assert (box.get_attribute("data-hidden") is not None) == (hidden > 2)
    assert page.locator(".sideways").is_visible() == (width == 360)


def test_on_paper_all_is_white_and_open(open_page: OpenPage, path: Path) -> None:
    page = open_page(path, color_scheme="dark")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert color == "rgb(255, 255, 255)"
    assert page.locator("details[open]").count() == page.locator("details").count() == 1
    assert page.locator("h1 bdi").text_content() == HOSTILE.replace("\udcff", "\ufffd")
