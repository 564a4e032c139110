"""The page of a pair in a browser: compared, zoomed, read, mixed, and taken apart into atoms."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from fnetcli.imaging import color
from fnetcli.imaging.intensity import preview
from fnetcli.reports.inspect_page import PairPage, Plot, write_inspect_page
from tests.browser.conftest import OpenPage
from tests.drawn_pictures import smooth_noise
from tests.reports.test_inspect_page import (
    HOSTILE,
    PARTS,
    noise,
    page_without_parts,
    pair_page,
    png,
    shown_features,
)

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

HEIGHT, WIDTH = 48, 64
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 800},
    "has_touch": True,
    "is_mobile": True,
}
PIXELS = """canvas => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height);
    const context = copy.getContext("2d", { willReadFrequently: true });
    context.drawImage(canvas, 0, 0);
    return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
}"""


@pytest.fixture
def pair() -> PairPage:
    return pair_page((HEIGHT, WIDTH))


@pytest.fixture
def path(tmp_path: Path, pair: PairPage) -> Path:
    write_inspect_page(tmp_path / "report.html", pair)
    return tmp_path / "report.html"


@pytest.fixture
def page(open_page: OpenPage, path: Path) -> Page:
    return opened(open_page, path)


def opened(open_page: OpenPage, path: Path, **options: Any) -> Page:
    page = open_page(path, **options)
    page.wait_for_selector("html[data-ready]", state="attached")
    return page


def other(open_page: OpenPage, folder: Path, pair: PairPage) -> Page:
    write_inspect_page(folder / "other.html", pair)
    return opened(open_page, folder / "other.html")


def box_of(element: Locator) -> dict[str, float]:
    box = element.bounding_box()
    assert box is not None
    return {name: box[name] for name in ("x", "y", "width", "height")}


def point(element: Locator, x: float = 0.5, y: float = 0.5) -> tuple[float, float]:
    """Return where on the screen a share of an element lies."""
    box = box_of(element)
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def pixels(canvas: Locator, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Return what is painted on a canvas, (height, width, 3)."""
    found = np.array(canvas.evaluate(PIXELS), np.uint8).reshape(height, width, 4)
    assert (found[..., 3] == 255).all()
    return found[..., :3]


def next_frame(page: Page) -> None:
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


def pane(page: Page, name: str) -> Locator:
    return page.locator(f"[data-pane='{name}'] .view")


def transforms(page: Page) -> set[str]:
    """Return how the pictures lie; one text if all lie alike."""
    found: list[str] = page.eval_on_selector_all(
        ".layer", "layers => layers.map((layer) => layer.style.transform)"
    )
    assert len(found) == 11
    return set(found)


def scale(page: Page) -> float:
    (transform,) = transforms(page)
    found = re.search(r"scale\((.*)\)", transform)
    return float(found[1]) if found else 1.0


def number(text: str) -> float:
    return float(text.replace("\u2212", "-"))


def read_out(page: Page) -> dict[str, float]:
    rows = page.locator("[data-read]:not([hidden])")
    names: list[str] = rows.evaluate_all("rows => rows.map((row) => row.dataset.read)")
    return dict(zip(names, map(number, rows.locator(".value").all_inner_texts()), strict=True))


def expected_at(pair: PairPage, x: int, y: int) -> dict[str, float]:
    first, second = pair.luminances
    shown = {name: one.values for name, one in pair.maps.items()}
    maps = {"first": first, "second": second, **shown}
    total = sum(part[y, x] for part in pair.parts.values()) if pair.parts else None
    if total is None:
        total = pair.fused_luminance[y, x]
    return {**{name: float(values[y, x]) for name, values in maps.items()}, "sum": float(total)}


class TestSlider:
    def now(self, page: Page) -> float:
        return float(page.locator("#divider").get_attribute("aria-valuenow"))

    def test_both_pictures_are_seen(self, open_page: OpenPage, tmp_path: Path) -> None:
        black, white = (np.full((HEIGHT, WIDTH), level, np.uint8) for level in (0, 255))
        page = other(open_page, tmp_path, pair_page(sources=(black, black), fused=white))
        for _ in range(25):
            page.locator("#divider").press("ArrowLeft")
        view = page.locator("#stage .view")
        page.locator("#stage .badge").evaluate_all("badges => badges.map((one) => one.remove())")
        shot = np.asarray(PIL.Image.open(io.BytesIO(view.screenshot())).convert("L"))
        row = shot[len(shot) // 5, 3:-3]
        share = (row < 100).mean()
        assert share == pytest.approx(0.25, abs=0.02)
        assert row[: int(0.22 * len(row))].max() < 30
        assert row[int(0.28 * len(row)) :].min() > 225

    def test_keys(self, page: Page) -> None:
        divider = page.locator("#divider")
        assert self.now(page) == 50
        for key, expected in (
            ("ArrowRight", 51),
            ("ArrowUp", 52),
            ("ArrowLeft", 51),
            ("ArrowDown", 50),
            ("Shift+ArrowLeft", 40),
            ("PageUp", 50),
            ("PageDown", 40),
            ("Home", 0),
            ("ArrowLeft", 0),
            ("End", 100),
            ("ArrowRight", 100),
        ):
            divider.press(key)
            assert self.now(page) == expected
        assert divider.get_attribute("aria-valuetext") == "100 %"
        assert page.evaluate("fnetPage.cursor()") is None

    def test_dragged(self, page: Page) -> None:
        stage = page.locator("#stage .view")
        page.mouse.move(*point(page.locator("#divider")))
        page.mouse.down()
        page.mouse.move(*point(stage, 0.4, 0.3), steps=3)
        page.mouse.move(*point(stage, 0.25, 0.9), steps=3)
        assert self.now(page) == pytest.approx(25, abs=1)
        page.mouse.move(*point(stage, -0.2, 0.9), steps=3)
        page.mouse.up()
        assert self.now(page) == 0
        assert not page.locator("#pin").is_visible()
        page.mouse.move(*point(stage, 0.5, 0.9), steps=3)
        assert self.now(page) == 0

    def test_when_zoomed_the_pictures_are_dragged(self, page: Page) -> None:
        stage = page.locator("#stage .view")
        page.mouse.move(*point(stage, 0.75, 0.75))
        page.mouse.down()
        page.mouse.move(*point(stage, 0.7, 0.75), steps=4)
        page.mouse.up()
        assert self.now(page) == pytest.approx(70, abs=1)
        page.mouse.dblclick(*point(stage, 0.5, 0.5))
        before = transforms(page)
        page.mouse.move(*point(stage, 0.4, 0.4))
        page.mouse.down()
        page.mouse.move(*point(stage, 0.3, 0.35), steps=4)
        page.mouse.up()
        assert self.now(page) == pytest.approx(70, abs=1)
        assert transforms(page) != before

    def test_any_two(self, page: Page, pair: PairPage) -> None:
        under, over = page.locator("#stage canvas").all()
        assert (pixels(over) == pair.sources[1]).all()
        assert (pixels(under) == pair.fused).all()
        page.get_by_label("left picture", exact=True).select_option("first")
        page.get_by_label("right picture", exact=True).select_option("common")
        assert (pixels(over) == pair.sources[0][..., None]).all()
        assert (pixels(under) == pixels(pane(page, "common").locator("canvas"))).all()
        assert page.locator("#stage .badge").all_inner_texts() == [
            "thermal infrared",
            "common to both",
        ]
        page.get_by_label("swap").click()
        assert (pixels(under) == pair.sources[0][..., None]).all()
        assert page.locator("#left option").count() == 9


class TestZoom:
    @pytest.fixture
    def page(self, open_page: OpenPage, path: Path) -> Page:
        page = opened(open_page, path)
        pane(page, "second").scroll_into_view_if_needed()
        page.wait_for_timeout(400)  # a scroll just before tells the wheel that the page is meant
        return page

    def test_the_wheel_zooms_all_pictures(self, page: Page) -> None:
        x, y = point(pane(page, "second"))
        page.mouse.move(x - 5, y - 5)
        page.mouse.move(x, y)
        page.mouse.wheel(0, -200)
        page.wait_for_function("() => document.querySelector('.layer').style.transform")
        assert scale(page) > 1.3
        before = page.evaluate("scrollY")
        page.mouse.wheel(0, 200)
        page.wait_for_function("() => !document.querySelector('.layer').style.transform")
        assert scale(page) == 1
        assert page.evaluate("scrollY") == before
        page.mouse.wheel(0, 100)  # nothing to zoom out of: the page scrolls
        page.wait_for_function(f"() => scrollY > {before}")

    def test_the_point_under_the_pointer_stays(self, page: Page) -> None:
        view = pane(page, "fused")
        page.mouse.dblclick(*point(view, 0.25, 0.5))
        assert scale(page) == 4
        view_box, picture = box_of(view), box_of(view.locator(".layer"))
        assert picture["x"] == pytest.approx(view_box["x"] - 0.75 * view_box["width"], abs=1.5)
        assert picture["y"] == pytest.approx(view_box["y"] - 1.5 * view_box["height"], abs=1.5)
        page.mouse.dblclick(*point(view))
        assert scale(page) == 1

    def test_dragging_moves_and_stops_at_the_edge(self, page: Page) -> None:
        view = pane(page, "second")
        x, y = point(view)
        page.mouse.dblclick(x, y)
        before = transforms(page)
        page.mouse.down()
        page.mouse.move(x + 40, y + 10, steps=3)
        moved = transforms(page)
        assert len(moved) == 1
        assert moved != before
        page.mouse.move(x + 4000, y + 4000, steps=3)
        page.mouse.up()
        assert transforms(page) == {"translate(0%, 0%) scale(4)"}
        assert not page.locator("#pin").is_visible()

    def test_keys_and_buttons(self, page: Page) -> None:
        page.locator("#panes").focus()
        page.keyboard.press("+")
        page.keyboard.press("+")
        assert scale(page) == pytest.approx(2.25)
        page.keyboard.press("-")
        assert scale(page) == pytest.approx(1.5)
        page.keyboard.press("0")
        assert scale(page) == 1
        for buttons in page.get_by_role("group", name="zoom", exact=True).all():
            buttons.get_by_label("zoom in").click()
            buttons.get_by_label("zoom in").click()
            buttons.get_by_label("zoom out").click()
            assert scale(page) == pytest.approx(1.5)
            buttons.get_by_label("whole picture").click()
            assert scale(page) == 1

    def test_the_view_follows_the_keyboard(self, page: Page) -> None:
        page.evaluate("fnetPage.read(32, 24)")
        page.locator("#panes").focus()
        for _ in range(8):
            page.keyboard.press("+")
        before = transforms(page)
        for _ in range(3):
            page.keyboard.press("Shift+ArrowRight")
        assert page.evaluate("fnetPage.cursor()") == [62, 24]
        assert len(transforms(page)) == 1
        assert transforms(page) != before
        next_frame(page)
        left = page.evaluate("parseFloat(document.documentElement.style.getPropertyValue('--x'))")
        assert 50 < left < 100

    def test_pixels_are_squares_when_large(self, page: Page) -> None:
        layer = pane(page, "p1").locator(".layer")
        shown = "layer => getComputedStyle(layer).imageRendering"
        page.locator("#panes").focus()
        page.keyboard.press("0")
        for _ in range(12):
            page.keyboard.press("+")
        assert layer.evaluate(shown) == "pixelated"
        assert scale(page) == 64

    def test_two_fingers(self, open_page: OpenPage, path: Path) -> None:
        page = opened(open_page, path, **PHONE)
        view = pane(page, "second")
        view.scroll_into_view_if_needed()
        session = page.context.new_cdp_session(page)
        x, y = point(view)

        def touch(kind: str, *across: float) -> None:
            points = [{"x": x + d, "y": y, "id": i} for i, d in enumerate(across)]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        touch("touchStart", -10, 10)
        for distance in (14, 18, 22, 26, 30):
            touch("touchMove", -distance, distance)
        touch("touchEnd")
        assert 2.5 < scale(page) < 3.5


class TestReadOut:
    @pytest.mark.parametrize("name", ["first", "fused", "unique_vis", "p2"])
    def test_under_the_pointer(self, page: Page, pair: PairPage, name: str) -> None:
        view = pane(page, name)
        view.scroll_into_view_if_needed()
        for x, y in ((0, 0), (63, 47), (17, 40)):
            page.mouse.move(*point(view, (x + 0.5) / WIDTH, (y + 0.5) / HEIGHT))
            next_frame(page)
            assert page.locator("#place").inner_text() == f"x {x}, y {y}"
            assert read_out(page) == pytest.approx(expected_at(pair, x, y), abs=2.5e-4)

    def test_in_zoomed_pictures(self, page: Page, pair: PairPage) -> None:
        view = pane(page, "common")
        view.scroll_into_view_if_needed()
        page.mouse.dblclick(*point(view, 0.25, 0.5))
        page.mouse.move(*point(view, 0.9, 0.1))
        next_frame(page)
        x, y = page.evaluate("fnetPage.cursor()")
        left, top = 0.25 - 4 * 0.25, 0.5 - 4 * 0.5
        assert x == int((0.9 - left) / 4 * WIDTH)
        assert y == int((0.1 - top) / 4 * HEIGHT)
        assert read_out(page) == pytest.approx(expected_at(pair, x, y), abs=2.5e-4)

    def test_beside_every_picture(self, page: Page, pair: PairPage) -> None:
        page.evaluate("fnetPage.read(5, 7)")
        next_frame(page)
        expected = expected_at(pair, 5, 7)
        expected["fused"] = expected.pop("sum")
        for name, value in expected.items():
            text = page.locator(f"[data-at='{name}']").inner_text()
            assert number(text) == pytest.approx(value, abs=2.5e-4)

    def test_with_the_keyboard(self, page: Page, pair: PairPage) -> None:
        page.locator("#panes").focus()
        for key in ("ArrowRight", "ArrowDown", "ArrowDown", "Shift+ArrowLeft", "ArrowUp"):
            page.keyboard.press(key)
        next_frame(page)
        x, y = 32 + 1 - 10, 24 + 1
        assert page.locator("#place").inner_text() == f"x {x}, y {y}"
        assert read_out(page) == pytest.approx(expected_at(pair, x, y), abs=2.5e-4)
        page.wait_for_function("() => document.getElementById('spoken').textContent")
        spoken = page.locator("#spoken").inner_text()
        assert f"x {x}, y {y}: thermal infrared " in spoken
        for _ in range(8):
            page.keyboard.press("Shift+ArrowUp")
        assert page.evaluate("fnetPage.cursor()") == [x, 0]

    def test_pinned(self, page: Page) -> None:
        view = pane(page, "first")
        view.scroll_into_view_if_needed()
        page.mouse.click(*point(view, 0.25, 0.25))
        assert page.locator("#pin").is_visible()
        page.mouse.move(*point(view, 0.75, 0.75))
        next_frame(page)
        assert page.evaluate("fnetPage.cursor()") == [16, 12]
        page.keyboard.press("Escape")
        page.mouse.move(*point(view, 0.5, 0.5))
        next_frame(page)
        assert page.evaluate("fnetPage.cursor()") == [32, 24]
        assert not page.locator("#pin").is_visible()

    def test_marks_lie_on_the_same_pixel(self, page: Page) -> None:
        page.evaluate("fnetPage.read(16, 12)")
        next_frame(page)
        found = page.eval_on_selector_all(
            ".view", "views => views.map((one) => getComputedStyle(one, '::after').opacity)"
        )
        assert found == ["1"] * 10
        left = page.evaluate("document.documentElement.style.getPropertyValue('--x')")
        assert float(left.rstrip("%")) == pytest.approx(100 * 16.5 / 64)


class TestMaps:
    def test_grey_as_fuse_writes_them(self, page: Page, pair: PairPage) -> None:
        page.get_by_label("colours of signed maps").select_option("grey")
        page.get_by_label("scale of signed maps").select_option("fuse")
        for name, values in {**pair.parts, "p1": pair.maps["p1"].values}.items():
            painted = pixels(pane(page, name).locator("canvas"))
            expected = preview(values)[..., None].astype(int)
            assert np.abs(painted - expected).max() <= 2
            texts = page.locator(f"[data-pane='{name}'] .scale span").all_inner_texts()
            assert texts[:2] == ["\u22120.5", "0.5"]
            least, most = map(number, texts[2].split(" \u2026 "))
            assert least == pytest.approx(values.min(), abs=6e-4)
            assert most == pytest.approx(values.max(), abs=6e-4)

    def test_signs_have_colours(self, page: Page, pair: PairPage) -> None:
        painted = pixels(pane(page, "common").locator("canvas")).astype(int)
        values = pair.parts["common"]
        assert (painted[values > 0.1][:, 0] > painted[values > 0.1][:, 2]).all()
        assert (painted[values < -0.1][:, 0] < painted[values < -0.1][:, 2]).all()
        assert painted[np.abs(values) < 0.003].max() < 30

    def test_scales(self, page: Page, pair: PairPage) -> None:
        def ranges() -> list[float]:
            return [float(text) for text in page.locator("[data-pane] .most").all_inner_texts()]

        own = ranges()
        maps = [one.values for one in pair.maps.values()]
        for shown, values in zip(own, maps, strict=True):
            assert shown == pytest.approx(np.percentile(np.abs(values), 99.9), rel=0.1)
        page.get_by_label("scale of signed maps").select_option("same")
        assert ranges() == [max(own)] * 5


class TestMixingDesk:
    def set(self, page: Page, **gains: float) -> None:
        for name, gain in gains.items():
            slider = page.locator(f"[data-gain='{name}']")
            slider.fill(str(gain))
        next_frame(page)

    def mixed(self, page: Page) -> NDArray[np.uint8]:
        page.get_by_label("right picture", exact=True).select_option("mixed")
        return pixels(page.locator("#stage canvas").first)

    def test_a_mixed_pixel_is_the_weighted_sum(self, page: Page, pair: PairPage) -> None:
        for gains in ((1.3, 0.0, 0.9), (2.0, 2.0, 2.0), (0.05, 1.95, 1.0)):
            self.set(page, **dict(zip(PARTS, gains, strict=True)))
            for x, y in ((0, 0), (63, 47), (31, 8)):
                expected = sum(
                    gain * pair.parts[name][y, x] for name, gain in zip(PARTS, gains, strict=True)
                )
                found = page.evaluate(f"fnetPage.mixed({x}, {y})")
                assert found == pytest.approx(expected, abs=1e-3)
                page.evaluate(f"fnetPage.read({x}, {y})")
                next_frame(page)
                assert read_out(page)["mixed"] == pytest.approx(expected, abs=1e-3)

    def test_in_the_colours_of_the_source(self, page: Page, pair: PairPage) -> None:
        rgb = (pair.sources[1] / np.float32(255)).astype(np.float32)
        for gains in ((1.0, 1.0, 1.0), (1.3, 0.0, 0.9)):
            self.set(page, **dict(zip(PARTS, gains, strict=True)))
            luminance = np.sum(
                [gain * pair.parts[name] for name, gain in zip(PARTS, gains, strict=True)], axis=0
            ).astype(np.float32)
            expected = 255 * color.with_luminance(rgb, luminance[..., None])
            assert np.abs(self.mixed(page) - expected).max() < 0.6

    def test_grey(self, open_page: OpenPage, tmp_path: Path) -> None:
        pair = pair_page((HEIGHT, WIDTH), fused=smooth_noise(HEIGHT, WIDTH, 1))
        page = other(open_page, tmp_path, pair)
        self.set(page, common=0.5)
        luminance = sum(pair.parts.values()) - 0.5 * pair.parts["common"]
        expected = 255 * np.clip(luminance, 0, 1)[..., None]
        assert np.abs(self.mixed(page) - expected).max() < 0.6
        clipped = 100 * ((luminance < 0) | (luminance > 1)).mean()
        message = page.locator("#clipped").inner_text()
        assert float(message.split()[0]) == pytest.approx(clipped, abs=0.2)

    def test_one_number_for_what_is_clipped(
        self, open_page: OpenPage, tmp_path: Path, pair: PairPage
    ) -> None:
        """That of the full size, until parts are mixed."""
        page = other(open_page, tmp_path, replace(pair, clipped=0.1234))
        assert page.locator("#clipped").inner_text() == "12.3 % of the pixels are clipped"
        self.set(page, common=0.0)
        assert not page.locator("#clipped").inner_text().startswith("12.3 %")

    def test_command_line(self, page: Page) -> None:
        command = page.locator("#command")
        base = "fnet fuse --vis 'a b.png' --ir c.png -o out"
        assert command.inner_text() == base
        self.set(page, unique_ir=1.3, common=0.9)
        assert command.inner_text() == f"{base} --gain unique_ir=1.3 --gain common=0.9"
        assert page.locator("output").all_inner_texts() == ["1.30", "1.00", "0.90"]
        page.get_by_role("button", name="reset").click()
        assert command.inner_text() == base
        assert (
            page.locator("[data-gain]").evaluate_all("all => all.map((one) => one.value)")
            == ["1"] * 3
        )

    def test_is_shown_at_once(self, page: Page) -> None:
        assert page.get_by_label("right picture", exact=True).input_value() == "fused"
        before = pixels(page.locator("#stage canvas").first)
        slider = page.get_by_role("slider", name="unique to thermal infrared")
        slider.focus()
        for _ in range(6):
            page.keyboard.press("ArrowRight")
        next_frame(page)
        assert slider.input_value() == "1.3"
        assert page.get_by_label("right picture", exact=True).input_value() == "mixed"
        assert (pixels(page.locator("#stage canvas").first) != before).any()

    def test_solo(self, page: Page, pair: PairPage) -> None:
        page.get_by_role("button", name="only unique to visible").click()
        next_frame(page)
        assert page.evaluate("fnetPage.mixed(9, 11)") == pytest.approx(
            pair.parts["unique_vis"][11, 9], abs=1e-3
        )
        assert page.locator("#command").inner_text().endswith("unique_ir=0 --gain common=0")

    def test_limits(self, page: Page) -> None:
        slider = page.locator("[data-gain]").first
        limits = [slider.get_attribute(name) for name in ("min", "max", "step")]
        assert limits == ["0", "2", "0.05"]


class TestAtoms:
    @pytest.fixture
    def atoms(self, page: Page) -> Locator:
        page.locator("#grid").scroll_into_view_if_needed()
        return page.locator("#grid .atom")

    def order(self, atoms: Locator) -> list[int]:
        return [int(text) for text in atoms.locator("b").all_inner_texts()]

    def test_sorted_by_energy(self, page: Page, atoms: Locator, pair: PairPage) -> None:
        for letter in "uvz":
            page.locator(f"[name=block][value={letter}]").check(force=True)
            next_frame(page)
            expected = np.argsort(-np.asarray(pair.features[letter].energies))
            assert self.order(atoms) == expected.tolist()
            assert page.locator("#atom-name").inner_text() == f"{letter} {expected[0]}"
        page.get_by_label("order of atoms").select_option("number")
        assert self.order(atoms) == list(range(6))

    def test_sorted_by_strength_here(self, page: Page, atoms: Locator, pair: PairPage) -> None:
        page.get_by_label("order of atoms").select_option("here")
        page.evaluate("fnetPage.read(20, 30)")
        page.wait_for_timeout(400)
        values = np.abs(np.asarray(pair.features["u"].thumbnails, np.float32)[:, 30, 20])
        assert values[self.order(atoms)] == pytest.approx(np.sort(values)[::-1], abs=0.02)

    def test_a_chosen_atom(self, page: Page, atoms: Locator, pair: PairPage) -> None:
        atoms.nth(2).click()
        atom = self.order(atoms)[2]
        code = np.asarray(pair.features["u"].thumbnails[atom], np.float32)
        kernels = pair.features["u"].kernels
        assert kernels is not None
        kernel = kernels[atom]
        assert atoms.nth(2).get_attribute("aria-selected") == "true"
        assert page.locator(".atom[aria-selected=true]").count() == 1
        assert page.locator("#atom-name").inner_text() == f"u {atom}"
        assert page.locator("#atom-rank").inner_text() == "number 3 of 6 by energy"
        least, most = map(number, page.locator("#atom-range").inner_text().split(" \u2026 "))
        assert [least, most] == pytest.approx([code.min(), code.max()], rel=0.02)
        facts = dict(
            zip(
                page.locator("#atom-facts dt").all_inner_texts(),
                page.locator("#atom-facts dd").all_inner_texts(),
                strict=True,
            )
        )
        assert float(facts["energy"]) == pytest.approx(pair.features["u"].energies[atom], rel=1e-3)
        assert number(facts["sum"]) == pytest.approx(kernel.sum(), abs=2e-3)
        painted = pixels(page.locator("#kernel"), 9, 9).astype(int)
        strong = np.abs(kernel) > 0.3 * np.abs(kernel).max()
        assert ((painted[..., 0] > painted[..., 2]) == (kernel > 0))[strong].all()
        large = pixels(page.locator("#atom-map canvas")).astype(int)
        strong = np.abs(code) > 0.1 * np.abs(code).max()
        assert ((large[..., 0] > large[..., 2]) == (code > 0))[strong].all()

    def test_value_of_an_atom(self, page: Page, atoms: Locator, pair: PairPage) -> None:
        atom = self.order(atoms)[0]
        view = page.locator("#atom-map .view")
        view.scroll_into_view_if_needed()
        page.mouse.move(*point(view, 10.5 / WIDTH, 40.5 / HEIGHT))
        next_frame(page)
        assert page.evaluate("fnetPage.cursor()") == [10, 40]
        code = np.asarray(pair.features["u"].thumbnails[atom], np.float32)
        shown = number(page.locator("#atom-value").inner_text())
        assert shown == pytest.approx(code[40, 10], abs=0.01 * float(np.abs(code).max()))
        assert read_out(page) == pytest.approx(expected_at(pair, 10, 40), abs=2.5e-4)

    def test_keys(self, page: Page, atoms: Locator) -> None:
        order = self.order(atoms)
        page.locator("#grid").focus()
        for key, place in (
            ("ArrowRight", 1),
            ("ArrowRight", 2),
            ("ArrowLeft", 1),
            ("End", 5),
            ("ArrowRight", 5),
            ("Home", 0),
            ("ArrowUp", 0),
        ):
            page.keyboard.press(key)
            assert page.locator("#atom-name").inner_text() == f"u {order[place]}"
            active = page.locator("#grid").get_attribute("aria-activedescendant")
            assert active == f"atom-{order[place]}"

    def test_one_scale(self, page: Page, atoms: Locator, pair: PairPage) -> None:
        atoms.last.click()
        weak = page.locator("#one .most").inner_text()
        page.get_by_label("one scale for all").check()
        largest = float(np.abs(np.asarray(pair.features["u"].thumbnails, np.float32)).max())
        assert number(page.locator("#one .most").inner_text()) == pytest.approx(largest, rel=0.01)
        assert number(weak) < 0.1 * largest
        assert pixels(page.locator("#atom-map canvas")).max() < 120

    def test_the_choice_is_kept(self, page: Page, atoms: Locator) -> None:
        atoms.nth(3).click()
        chosen = page.locator("#atom-name").inner_text()
        page.locator("[name=block][value=z]").check(force=True)
        page.locator("[name=block][value=u]").check(force=True)
        next_frame(page)
        assert page.locator("#atom-name").inner_text() == chosen

    def test_without(self, open_page: OpenPage, tmp_path: Path) -> None:
        page = other(open_page, tmp_path, pair_page(features={}, plots={}, numbers={}))
        assert page.locator("#atoms").count() == 0
        assert page.locator("nav a").count() == 2

    def test_without_kernels_and_energies(self, open_page: OpenPage, tmp_path: Path) -> None:
        plain = shown_features((HEIGHT, WIDTH), 6, has_kernels=False, has_energies=False)
        page = other(open_page, tmp_path, pair_page(features=plain))
        assert page.locator("#grid .atom").count() == 6
        assert page.locator("#kernel").count() == 0


class TestWithoutParts:
    """The page of a model whose fused image is no sum."""

    @pytest.fixture
    def pair(self) -> PairPage:
        return page_without_parts((HEIGHT, WIDTH))

    def test_sections(self, page: Page) -> None:
        for absent in ("#reset", "[data-gain]", "[data-read=mixed]", "option[value=mixed]"):
            assert page.locator(absent).count() == 0
        assert page.locator("#kernel").count() == 0
        assert page.locator("#atoms").inner_text() == "Features"
        assert page.locator("#grid .atom").count() == 3
        assert page.locator("#command").inner_text().startswith("fnet fuse ")

    def test_read_out(self, page: Page, pair: PairPage) -> None:
        view = pane(page, "detail")
        view.scroll_into_view_if_needed()
        page.mouse.move(*point(view, 17.5 / WIDTH, 40.5 / HEIGHT))
        next_frame(page)
        expected = expected_at(pair, 17, 40)
        assert read_out(page) == pytest.approx(expected, abs=2.5e-4)
        for name in ("detail", "weight_ir"):
            text = page.locator(f"[data-at='{name}']").inner_text()
            assert number(text) == pytest.approx(expected[name], abs=2.5e-4)
        text = page.locator("[data-at=fused]").inner_text()
        assert number(text) == pytest.approx(expected["sum"], abs=2.5e-4)

    def test_what_has_no_sign_is_grey_from_zero_on(self, page: Page, pair: PairPage) -> None:
        page.get_by_label("scale of signed maps").select_option("fuse")
        painted = pixels(pane(page, "weight_ir").locator("canvas")).astype(int)
        wanted = 255 * pair.maps["weight_ir"].values[..., None]
        assert np.abs(painted - wanted).max() <= 3
        texts = page.locator("[data-pane=weight_ir] .scale span").all_inner_texts()
        assert texts[:2] == ["0", "1"]
        signed = pixels(pane(page, "detail").locator("canvas")).astype(int)
        values = pair.maps["detail"].values
        assert (signed[values > 0.1][:, 0] > signed[values > 0.1][:, 2]).all()

    def test_any_two(self, page: Page, pair: PairPage) -> None:
        page.get_by_label("left picture", exact=True).select_option("weight_ir")
        under, over = page.locator("#stage canvas").all()
        assert (pixels(under) == pair.fused).all()
        assert (pixels(over) == pixels(pane(page, "weight_ir").locator("canvas"))).all()

    def test_bare(self, open_page: OpenPage, tmp_path: Path) -> None:
        bare = page_without_parts((HEIGHT, WIDTH), maps={}, features={}, plots={}, numbers={})
        page = other(open_page, tmp_path, bare)
        assert page.locator("nav a").count() == 2
        assert page.locator("[data-pane]").count() == 3

    @pytest.mark.parametrize("width", [360, 1280])
    def test_no_width_needs_scrolling_sideways(
        self, open_page: OpenPage, path: Path, width: int
    ) -> None:
        page = opened(open_page, path, viewport={"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


class TestLooks:
    def test_dark(self, open_page: OpenPage, path: Path) -> None:
        shade = "getComputedStyle(document.body).backgroundColor"
        light, dark = open_page(path), open_page(path, color_scheme="dark")
        levels = [
            sum(map(int, re.findall(r"\d+", str(page.evaluate(shade))))) for page in (light, dark)
        ]
        assert levels[0] > 600
        assert levels[1] < 150

    @pytest.mark.parametrize("width", [360, 800, 1440])
    def test_no_width_needs_scrolling_sideways(
        self, open_page: OpenPage, path: Path, width: int
    ) -> None:
        page = opened(open_page, path, viewport={"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    def test_everything_is_reached_with_the_keyboard(self, page: Page) -> None:
        seen = set()
        for _ in range(50):
            page.keyboard.press("Tab")
            focused, outline = page.evaluate(
                "(({ id, name, tagName }) => [id || name || tagName,"
                " getComputedStyle(document.activeElement).outlineStyle])(document.activeElement)"
            )
            seen.add(focused)
            elsewhere = {"BODY", "divider", "block"}  # theirs is around the knob, and the label
            assert focused in elsewhere or outline == "solid"
        wanted = {"left", "right", "swap", "stage", "divider", "gain-0", "gain-1", "gain-2"}
        wanted |= {"reset", "copy", "tones", "drawn", "panes", "block", "order", "same", "grid"}
        assert wanted | {"atom-map", "A", "SUMMARY", "BUTTON"} <= seen

    def test_plots_can_be_enlarged(self, open_page: OpenPage, tmp_path: Path) -> None:
        plots = {name: Plot(png(900, 500)) for name in ("one", "two", "three")}
        page = other(open_page, tmp_path, pair_page(plots=plots))
        button = page.get_by_role("button", name="enlarge two")
        before = box_of(button)["width"]
        button.press("Enter")
        assert box_of(button)["width"] > 1.8 * before
        assert button.get_attribute("aria-pressed") == "true"
        button.click()
        assert box_of(button)["width"] == before

    def test_wide_tables_stay_in_their_boxes_on_paper(
        self, open_page: OpenPage, tmp_path: Path
    ) -> None:
        wide = {f"gradients explained {i}": 0.123456 for i in range(8)}
        numbers = {
            "wide": {f"unique {name}": wide for name in ("ir", "vis")},
            "narrow": {"unique ir": {"lowest": 0.1}},
        }
        page = other(open_page, tmp_path, pair_page(numbers=numbers))
        page.set_viewport_size({"width": 1030, "height": 700})  # an A4 sheet without its margins
        page.emulate_media(media="print")
        for sheet in page.locator(".sheet").all():
            table = sheet.locator("table")
            assert box_of(table)["width"] <= box_of(sheet)["width"] + 1

    def test_upright_pictures_fit_the_window(self, open_page: OpenPage, tmp_path: Path) -> None:
        page = other(open_page, tmp_path, pair_page((400, 40)))
        for view in page.locator(".view").all():
            assert box_of(view)["height"] < 900
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280

    def test_large_pairs(
        self, open_page: OpenPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fnetcli.reports.inspect_page.MAX_PIXELS", 5000)
        page = other(open_page, tmp_path, pair_page((120, 160)))
        page.evaluate("fnetPage.read(40, 30)")
        next_frame(page)
        assert page.locator("#place-full").inner_text() == "about 80, 60 at full size"


class TestUntrustedText:
    def test_hostile_names(self, open_page: OpenPage, tmp_path: Path) -> None:
        evil = f"{HOSTILE}<img src=x onerror=alert(2)>"
        plain = evil.replace("\udcff", "\ufffd")
        assert plain != evil
        pair = pair_page(
            title=evil,
            modalities=(evil, f"2{evil}"),
            parts={f"{i}{evil}": noise((HEIGHT, WIDTH), i) for i in range(3)},
            numbers={evil: {evil: {evil: evil}}},
            plots={evil: Plot(png(), evil)},
            notices=[evil],
            details={evil: evil},
            command=evil,
        )
        page = other(open_page, tmp_path, pair)
        page.locator("[data-gain]").first.fill("1.5")
        page.evaluate("fnetPage.read(3, 4)")
        next_frame(page)
        assert page.locator("h1 bdi").text_content() == plain
        assert page.locator("#stage .badge").first.text_content() == f"2{plain}"
        command = page.locator("#command").text_content()
        assert command == f"{plain} --gain 0{plain}=1.5"
        assert page.locator("img").count() == 4
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        values = read_out(page)
        assert len(values) == 9
        assert values["mixed"] == pytest.approx(
            sum(
                gain * part[4, 3]
                for gain, part in zip((1.5, 1, 1), pair.parts.values(), strict=True)
            ),
            abs=1e-3,
        )
