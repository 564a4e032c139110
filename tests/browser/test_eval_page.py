"""The page of an evaluation in a browser: sorted, searched, zoomed, and read in the dark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fnetcli.evaluation.results import Evaluation, Problem
from fnetcli.evaluation.statistics import summarise
from fnetcli.metrics import METRICS
from fnetcli.reports.eval_page import ShownCase, write_eval_page
from tests.browser.conftest import OpenPage
from tests.reports.test_eval_page import HOSTILE, evaluation_of, random_values, shown_of

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

MI, CE = 2, 3  # columns of the summary table
DARK: dict[str, Any] = {"color_scheme": "dark"}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 800},
    "has_touch": True,
    "is_mobile": True,
}


def write(path: Path, evaluation: Evaluation, shown: list[ShownCase] | None = None) -> Path:
    write_eval_page(path, evaluation, summarise(evaluation), shown or [], details={})
    return path


@pytest.fixture
def values() -> Any:
    """Three methods: MI 2, 3, 1 and CE 2, 3, 1 in the mean; the third lacks the first case."""
    table = random_values(3, 120, 15) * 0.01
    table += np.array([2.0, 3.0, 1.0])[:, None, None]
    table[2, 0] = np.nan
    return table


@pytest.fixture
def path(tmp_path: Path, values: Any) -> Path:
    evaluation = evaluation_of(values)
    return write(tmp_path / "eval.html", evaluation, shown_of(evaluation, 3, (48, 64)))


def names(page: Page, table: str) -> list[str]:
    found: list[str] = page.locator(f"#{table} tbody th").all_inner_texts()
    return found


def head(page: Page, table: str, column: int) -> Locator:
    return page.locator(f"#{table} thead th").nth(column)


def sort_of(page: Page, table: str) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        f"#{table} thead th", "heads => heads.map((head) => head.getAttribute('aria-sort'))"
    )
    return found


def numbers(page: Page, column: int) -> list[float]:
    """Return what a column of the table of cases shows, without gaps."""
    texts = page.locator(f"#cases tbody tr td:nth-child({column + 1})").all_inner_texts()
    return [float(text) for text in texts if text != "\u2013"]


def transforms(strip: Locator) -> set[str]:
    """Return how a case's pictures lie; one text if all lie alike."""
    found: list[str] = strip.locator("img").evaluate_all(
        "images => images.map((image) => image.style.transform)"
    )
    return set(found)


def scale(strip: Locator) -> float:
    (transform,) = transforms(strip)
    found = re.search(r"scale\((.*)\)", transform)
    return float(found[1]) if found else 1.0


def middle(picture: Locator) -> tuple[float, float]:
    box = picture.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


class TestSummaryTable:
    def test_a_click_sorts_best_first_and_another_reverses(
        self, open_page: OpenPage, path: Path
    ) -> None:
        page = open_page(path)
        assert names(page, "means") == ["ours", "theirs", "third"]
        assert set(sort_of(page, "means")) == {"none"}
        for column, directions, best_first in (
            (MI, ["descending", "ascending"], ["theirs", "ours", "third"]),
            (CE, ["ascending", "descending"], ["third", "ours", "theirs"]),
        ):
            for direction, order in zip(directions, (best_first, best_first[::-1]), strict=True):
                head(page, "means", column).locator("button").click()
                assert names(page, "means") == order
                expected = ["none"] * 18
                expected[column] = direction
                assert sort_of(page, "means") == expected

    def test_with_the_keyboard(self, open_page: OpenPage, path: Path) -> None:
        page = open_page(path)
        head(page, "means", 0).locator("button").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert names(page, "means") == ["theirs", "ours", "third"]

    def test_deviations_and_p_values_on_demand(
        self, open_page: OpenPage, path: Path, values: Any
    ) -> None:
        page = open_page(path)
        counted = values[1, 1:, 0]
        mean, deviation = f"{counted.mean():.3f}", f"{counted.std(ddof=1):.3f}"
        cell = page.locator("#means tbody tr").nth(1).locator("td").nth(1)
        assert cell.inner_text() == mean
        page.get_by_label("show standard deviations").check()
        assert cell.inner_text().split("\n") == [mean, f"± {deviation}", "p < 0.001"]

    def test_a_method_without_scores_stays_last(
        self, open_page: OpenPage, tmp_path: Path, values: Any
    ) -> None:
        values[1] = np.nan
        page = open_page(write(tmp_path / "x.html", evaluation_of(values)))
        for _ in range(2):
            head(page, "means", MI).locator("button").click()
            assert len(names(page, "means")) == 3


class TestCases:
    def test_pages_of_fifty(self, open_page: OpenPage, path: Path) -> None:
        page = open_page(path)
        before, after = page.get_by_label("cases before"), page.get_by_label("cases after")
        assert names(page, "cases")[0].startswith("case 0")
        assert len(names(page, "cases")) == 50
        assert before.is_disabled()
        after.click()
        after.click()
        assert names(page, "cases") == [f"case {i}" for i in range(100, 120)]
        assert page.locator("#found").inner_text() == "101\u2013120 of 120 cases"
        assert after.is_disabled()
        before.click()
        assert names(page, "cases")[0] == "case 50"

    def test_search(self, open_page: OpenPage, path: Path) -> None:
        page = open_page(path)
        wanted = page.get_by_label("find")
        wanted.fill("CASE 11")
        assert names(page, "cases") == ["case 11", *(f"case 11{i}" for i in range(10))]
        wanted.fill("nothing like it")
        assert names(page, "cases") == []
        assert page.locator("#found").inner_text() == "0 cases"
        wanted.fill("")
        assert len(names(page, "cases")) == 50

    def test_sorts_by_a_method(self, open_page: OpenPage, path: Path, values: Any) -> None:
        page = open_page(path)
        for metric, is_higher_better in ((0, True), (1, False)):
            page.locator("#metric").select_option(str(metric))
            head(page, "cases", 1).locator("button").click()
            shown = numbers(page, 1)
            expected = np.sort(values[0, :, metric])
            expected = expected[::-1] if is_higher_better else expected
            np.testing.assert_allclose(shown, expected[:50], atol=6e-4)
            direction = "descending" if is_higher_better else "ascending"
            assert sort_of(page, "cases") == ["none", direction, "none", "none"]
            head(page, "cases", 1).locator("button").click()
            np.testing.assert_allclose(numbers(page, 1), expected[::-1][:50], atol=6e-4)
            head(page, "cases", 0).locator("button").click()

    def test_gaps_stay_last(self, open_page: OpenPage, path: Path) -> None:
        page = open_page(path)
        for _ in range(2):
            head(page, "cases", 3).locator("button").click()
            page.get_by_label("cases after").click()
            page.get_by_label("cases after").click()
            assert names(page, "cases")[-1].split("\n") == ["case 0", "left out of the means"]

    def test_marks(self, open_page: OpenPage, path: Path) -> None:
        page = open_page(path)
        row = page.locator("#cases tbody tr").nth(1)
        assert row.locator("td b").count() == row.locator("td:nth-child(3) b").count() == 1
        assert row.locator("td u").count() == row.locator("td:nth-child(2) u").count() == 1

    def test_a_row_leads_to_its_pictures(self, open_page: OpenPage, path: Path) -> None:
        page = open_page(path)
        name = page.locator("article h3").nth(2).text_content() or ""
        page.get_by_label("find").fill(name)
        page.locator("#cases tbody a").first.click()
        assert re.search(r"#case-\d+$", page.url)
        page.wait_for_function("() => document.querySelector('article:target') !== null")
        assert page.locator("article:target h3").text_content() == name

    def test_an_outlier_leads_to_its_row(
        self, open_page: OpenPage, tmp_path: Path, values: Any
    ) -> None:
        values[1, 7, 2] = 90.0
        page = open_page(write(tmp_path / "x.html", evaluation_of(values)))
        point = page.locator("svg[data-metric='2'] circle[data-case='7']")
        assert point.locator("title").text_content() == "case 7: 90.00 (theirs)"
        point.click()
        assert names(page, "cases") == ["case 7", *(f"case {i}" for i in range(70, 80))]
        assert numbers(page, 2)[0] == 90.0
        assert page.locator("#metric").input_value() == "2"

    def test_thousands_of_cases(self, open_page: OpenPage, tmp_path: Path) -> None:
        path = write(tmp_path / "x.html", evaluation_of(random_values(8, 3000, 15)))
        page = open_page(path)
        head(page, "cases", 5).locator("button").click()
        page.get_by_label("find").fill("case 29")
        assert page.locator("#found").inner_text() == "1\u201350 of 111 cases"
        assert page.evaluate("document.querySelectorAll('*').length") < 20_000


class TestPictures:
    @pytest.fixture
    def page(self, open_page: OpenPage, path: Path) -> Page:
        return open_page(path)

    @pytest.fixture
    def strip(self, page: Page) -> Iterator[Locator]:
        """The first case's pictures; the others must not have moved in the end."""
        strips = page.locator(".strip")
        strips.first.scroll_into_view_if_needed()
        page.wait_for_timeout(400)  # a scroll just before tells the wheel that the page is meant
        assert transforms(strips.first) == {""}
        yield strips.first
        assert transforms(strips.nth(1)) == {""}

    def point_at(self, page: Page, strip: Locator) -> tuple[float, float]:
        x, y = middle(strip.locator(".view").first)
        page.mouse.move(x - 5, y - 5)
        page.mouse.move(x, y)
        return x, y

    def test_the_wheel_zooms_all_pictures_of_a_case(self, page: Page, strip: Locator) -> None:
        self.point_at(page, strip)
        page.mouse.wheel(0, -200)
        page.wait_for_function("() => document.querySelector('.strip img').style.transform")
        assert scale(strip) > 1.3
        assert strip.locator("img").count() == 5
        before = page.evaluate("scrollY")
        page.mouse.wheel(0, 200)
        page.wait_for_function("() => !document.querySelector('.strip img').style.transform")
        assert page.evaluate("scrollY") == before

    def test_the_page_scrolls_over_pictures(self, page: Page, strip: Locator) -> None:
        self.point_at(page, strip)
        page.mouse.wheel(0, 100)  # nothing to zoom out of
        page.wait_for_timeout(200)
        page.mouse.wheel(0, -100)
        page.wait_for_timeout(200)
        assert transforms(strip) == {""}

    def test_the_point_under_the_pointer_stays(self, page: Page, strip: Locator) -> None:
        view = strip.locator(".view").nth(1)
        box = view.bounding_box()
        assert box is not None
        page.mouse.dblclick(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.5)
        assert scale(strip) == 4.0
        picture = view.locator("img").bounding_box()  # a pointer's place is whole pixels, times 3
        assert picture is not None
        assert picture["x"] == pytest.approx(box["x"] - 0.75 * box["width"], abs=4)
        assert picture["y"] == pytest.approx(box["y"] - 1.5 * box["height"], abs=4)
        page.mouse.dblclick(*middle(view))
        assert transforms(strip) == {""}

    def test_dragging_moves_and_stops_at_the_edge(self, page: Page, strip: Locator) -> None:
        x, y = self.point_at(page, strip)
        page.mouse.dblclick(x, y)
        before = transforms(strip)
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 40, y + 10, steps=3)
        moved = transforms(strip)
        assert len(moved) == 1
        assert moved != before
        page.mouse.move(x + 4000, y + 4000, steps=3)
        page.mouse.up()
        assert transforms(strip) == {"translate(0%, 0%) scale(4)"}
        page.mouse.move(x, y)
        assert transforms(strip) == {"translate(0%, 0%) scale(4)"}

    def test_keys(self, page: Page, strip: Locator) -> None:
        strip.focus()
        page.keyboard.press("+")
        page.keyboard.press("+")
        assert scale(strip) == pytest.approx(2.25)
        before = transforms(strip)
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        assert len(transforms(strip)) == 1
        assert transforms(strip) != before
        page.keyboard.press("-")
        assert scale(strip) == pytest.approx(1.5)
        page.keyboard.press("0")
        assert transforms(strip) == {""}
        page.keyboard.press("ArrowDown")  # then the page's
        assert transforms(strip) == {""}

    def test_buttons(self, page: Page, strip: Locator) -> None:
        article = page.locator("article").first
        article.get_by_label("zoom in").click()
        article.get_by_label("zoom in").click()
        article.get_by_label("zoom out").click()
        assert scale(strip) == pytest.approx(1.5)
        article.get_by_label("whole picture").click()
        assert transforms(strip) == {""}

    def test_pixels_are_squares_when_large(self, page: Page, strip: Locator) -> None:
        strip.focus()
        for _ in range(9):
            page.keyboard.press("+")
        shown = "image => getComputedStyle(image).imageRendering"
        assert strip.locator("img").first.evaluate(shown) == "pixelated"
        page.keyboard.press("-")
        for _ in range(12):
            page.keyboard.press("+")
        assert scale(strip) == 64

    def test_pictures_in_a_row(self, page: Page, strip: Locator) -> None:
        before = strip.locator(".view").first.bounding_box()
        page.get_by_label("pictures in a row").fill("1")
        after = strip.locator(".view").first.bounding_box()
        assert before is not None
        assert after is not None
        assert after["width"] > 2 * before["width"]

    def test_two_fingers(self, open_page: OpenPage, path: Path) -> None:
        page = open_page(path, **PHONE)
        strip = page.locator(".strip").first
        strip.locator(".view").first.scroll_into_view_if_needed()
        session = page.context.new_cdp_session(page)
        x, y = middle(strip.locator(".view").first)

        def touch(kind: str, *across: float) -> None:
            points = [{"x": x + d, "y": y, "id": i} for i, d in enumerate(across)]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
            page.wait_for_timeout(30)

        touch("touchStart", -10, 10)
        for distance in (14, 18, 22, 26, 30):
            touch("touchMove", -distance, distance)
        touch("touchEnd")
        assert 2.5 < scale(strip) < 3.5


class TestLooks:
    def test_dark(self, open_page: OpenPage, path: Path) -> None:
        shade = "getComputedStyle(document.body).backgroundColor"
        light, dark = open_page(path), open_page(path, **DARK)
        levels = [
            sum(map(int, re.findall(r"\d+", str(page.evaluate(shade))))) for page in (light, dark)
        ]
        assert levels[0] > 600
        assert levels[1] < 150

    @pytest.mark.parametrize("width", [360, 800, 1440])
    def test_no_width_needs_scrolling_sideways(
        self, open_page: OpenPage, path: Path, width: int
    ) -> None:
        page = open_page(path, viewport={"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    def test_pictures_are_seen(self, open_page: OpenPage, path: Path) -> None:
        page = open_page(path)
        page.locator("article").last.scroll_into_view_if_needed()
        page.wait_for_function(
            "() => [...document.querySelectorAll('article:last-of-type img')]"
            ".every((image) => image.complete && image.naturalWidth === 64)"
        )

    def test_hidden_columns_are_told(self, open_page: OpenPage, path: Path) -> None:
        """Below the table, until it is scrolled to its end."""
        page = open_page(path, viewport={"width": 800, "height": 800})
        box = page.locator(".scroll:has(#means)")
        assert re.fullmatch(
            r"\d+ more columns to the right: scroll", box.get_attribute("data-hidden")
        )
        box.evaluate("(box) => { box.scrollLeft = box.scrollWidth; }")
        page.wait_for_function(
            "() => !document.querySelector('.scroll:has(#means)').dataset.hidden"
        )

    def test_on_paper(self, open_page: OpenPage, path: Path) -> None:
        """White, with all columns and pictures, on a sheet of A4 in landscape."""
        page = open_page(path, viewport={"width": 1032, "height": 700}, **DARK)
        page.emulate_media(media="print")
        assert page.evaluate("document.documentElement.scrollWidth") <= 1032
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        )
        cells = "[...document.querySelectorAll('#means td, #means th')]"
        ends = f"{cells}.map((cell) => cell.getBoundingClientRect().right)"
        assert max(page.evaluate(ends)) <= 1032
        page.wait_for_function(
            "() => [...document.querySelectorAll('article img')]"
            ".every((image) => image.complete && image.naturalWidth === 64)"
        )
        assert (
            page.locator("article").first.evaluate("(a) => getComputedStyle(a).breakInside")
            == "avoid"
        )
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.locator("details:not([open])").count() == 0

    def test_everything_is_reached_with_the_keyboard(self, open_page: OpenPage, path: Path) -> None:
        page = open_page(path)
        seen = set()
        for _ in range(80):
            page.keyboard.press("Tab")
            found: str = page.evaluate(
                "document.activeElement.id || document.activeElement.tagName"
            )
            seen.add(found)
        assert {"spread", "columns", "metric", "wanted", "after", "BUTTON", "SUMMARY", "A"} <= seen


class TestUntrustedText:
    def test_hostile_names(self, open_page: OpenPage, tmp_path: Path, values: Any) -> None:
        evil = f"{HOSTILE}<img src=x onerror=alert(2)>\udcff"
        evaluation = evaluation_of(
            values,
            methods=[f"{i}{evil}" for i in range(3)],
            cases=tuple(f"{i}{evil}" for i in range(120)),
            problems=(Problem(evil, evil, evil),),
            notices=(evil,),
        )
        shown = shown_of(evaluation, 2)
        page = open_page(write(tmp_path / "x.html", evaluation, shown))
        plain = evil.replace("\udcff", "\ufffd")
        assert page.locator("#means tbody th bdi").all_text_contents() == [
            f"{i}{plain}" for i in range(3)
        ]
        assert page.locator("#cases tbody th bdi").first.text_content() == f"0{plain}"
        head(page, "means", MI).locator("button").click()
        head(page, "cases", 1).locator("button").click()
        page.get_by_label("find").fill("<script>alert(1)")
        assert len(names(page, "cases")) == 50
        assert page.locator("img").count() == 10
        assert page.locator("script").count() == 2
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280

    def test_one_method_and_gaps(self, open_page: OpenPage, tmp_path: Path) -> None:
        values = random_values(1, 4, 15)
        values[0, :, 3] = np.nan
        values[0, 2] = np.nan
        page = open_page(write(tmp_path / "x.html", evaluation_of(values)))
        page.locator("#metric").select_option("3")
        head(page, "cases", 1).locator("button").click()
        assert page.locator("#cases tbody td").all_inner_texts() == ["\u2013"] * 4
        assert page.locator("#cases tbody b").count() == 0

    def test_no_case(self, open_page: OpenPage, tmp_path: Path) -> None:
        empty = evaluation_of(np.zeros((2, 0, len(METRICS))))
        page = open_page(write(tmp_path / "x.html", empty))
        assert page.locator("#found").inner_text() == "0 cases"


def test_insets_are_left_out_while_zoomed(open_page: OpenPage, tmp_path: Path, values: Any) -> None:
    evaluation = evaluation_of(values)
    shown = shown_of(evaluation, 1, (48, 64))
    path = tmp_path / "eval.html"
    insets = {shown[0].case: (4, 4, 16, 12)}
    summary = summarise(evaluation)
    write_eval_page(path, evaluation, summary, shown, details={}, insets=insets)
    page = open_page(path)
    view = page.locator(".view").first
    view.scroll_into_view_if_needed()
    frame, inset = (view.locator(name) for name in (".frame", ".inset"))
    outer, inner = view.bounding_box(), inset.bounding_box()
    assert outer is not None
    assert inner is not None
    assert inner["x"] + inner["width"] == pytest.approx(outer["x"] + outer["width"], abs=1)
    assert inner["width"] == pytest.approx(0.45 * outer["width"], rel=0.02)
    view.dblclick(position={"x": 5, "y": 5})
    assert not frame.is_visible()
    assert not inset.is_visible()
    page.emulate_media(media="print")
    assert inset.is_visible()
