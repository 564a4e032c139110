"""The page of an evaluation without a browser: parsed, its pictures decoded, its numbers read."""

from __future__ import annotations

import base64
import io
import json
import re
import time
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fnetcli.errors import ImageError
from fnetcli.evaluation.results import Evaluation, Method, Problem, Table
from fnetcli.evaluation.statistics import chosen_cases, summarise
from fnetcli.metrics import METRICS
from fnetcli.reports.eval_page import MAX_OUTLIERS, ShownCase, _ticks, write_eval_page
from tests.drawn_pictures import smooth_noise

VOID = {"img", "input", "meta", "br"}
HOSTILE = "a\"'</script><script>alert(1)</script><!-- & &amp; {{ 7*7 }} ö日\u202e\u2028"
DETAILS = {"command": "fnet eval --vis 'my pictures' -o out", "date": "2025-11-21 14:40 UTC"}
FEW = METRICS[:3]  # MI higher, CE lower, VIF higher is better
NAN = float("nan")


def evaluation_of(values: Any, *, methods: Iterable[str] = (), **fields: Any) -> Evaluation:
    """Return an evaluation with these values, (methods, cases, metrics)."""
    table: Table = np.asarray(values, dtype=np.float64)
    names = list(methods) or ["ours", "theirs", "third", *map(str, range(20))][: len(table)]
    defaults: dict[str, Any] = {
        "modalities": ("ir", "vis"),
        "convention": "paper",
        "metrics": METRICS[: table.shape[2]],
        "methods": tuple(Method(name, "files", f"results/{name}") for name in names),
        "cases": tuple(f"case {i}" for i in range(table.shape[1])),
        "values": table,
    }
    return Evaluation(**defaults | fields)


def random_values(methods: int, cases: int, metrics: int) -> Table:
    return np.random.default_rng(0).normal(3.0, 1.0, (methods, cases, metrics))


def shown_of(evaluation: Evaluation, count: int, size: tuple[int, int] = (24, 32)) -> list[Any]:
    """Return the chosen cases with a picture of every source and method."""
    return [
        ShownCase(
            evaluation.cases[case],
            place,
            {
                "ir": smooth_noise(*size, case),
                "vis": smooth_noise(*size, case + 1, 3),
                **{m.name: smooth_noise(*size, case + i) for i, m in enumerate(evaluation.methods)},
            },
        )
        for case, place in chosen_cases(evaluation, count)
    ]


class Page(HTMLParser):
    """What a page holds; refuses tags that are not closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_bytes().decode("utf-8")
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.links: list[str] = []
        self.alts: list[str] = []
        self.titles: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.sections: list[str] = []
        self.text = ""
        self.script = ""
        self._open: list[tuple[str, str]] = []
        self.feed(self.html)
        self.close()
        assert not self._open
        self.data: dict[str, Any] = json.loads(self.script.partition("\n")[0])

    @property
    def means(self) -> list[list[str]]:
        """The rows of the summary table; * stands after the best, + after the second."""
        return self.tables["means"][1:]

    @property
    def pictures(self) -> list[PIL.Image.Image]:
        prefix = "data:image/webp;base64,"
        assert all(source.startswith(prefix) for source in self.sources)
        contents = (base64.b64decode(source.removeprefix(prefix)) for source in self.sources)
        return [PIL.Image.open(io.BytesIO(content)) for content in contents]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append((tag, given.get("id", "")))
        self.links += [given["href"]] if "href" in given else []
        self.sources += [given["src"]] if "src" in given else []
        self.alts += [given["alt"]] if "alt" in given else []
        self.titles += [given["title"]] if "title" in given else []
        if tag == "table":
            self.tables[given.get("id", "other")] = []
        elif tag == "tr":
            self._table.append([])
        elif tag in {"td", "th"}:
            self._table[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "href" not in dict(attrs)
        self.tags.append(tag)  # of SVG, where such a tag is closed

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag
        if tag in {"b", "u"} and self._is_in("td"):
            self._table[-1][-1] += "*" if tag == "b" else "+"

    def handle_data(self, data: str) -> None:
        if self._is_in("style"):
            return
        if self._is_in("script"):
            self.script += data
            return
        self.text += data
        if self._is_in("td") or self._is_in("th"):
            self._table[-1][-1] += data
        if self._is_in("title") and self._is_in("svg"):
            self.titles.append(data)

    @property
    def _table(self) -> list[list[str]]:
        return self.tables[next(reversed(self.tables))]

    def _is_in(self, tag: str) -> bool:
        return any(tag == one for one, _ in self._open)


def page_of(
    folder: Path,
    evaluation: Evaluation,
    shown: Iterable[ShownCase] = (),
    *,
    all_cases: bool = False,
) -> Page:
    path = folder / "new" / "eval.html"
    summary = summarise(evaluation, all_cases=all_cases)
    write_eval_page(path, evaluation, summary, shown, details=DETAILS)
    return Page(path)


class TestSummary:
    def test_means_n_and_marks(self, tmp_path: Path) -> None:
        ours = [[1.0, 5.0, 0.5], [3.0, 5.0, 0.5]]
        theirs = [[3.0, 1.0, 0.5], [3.0, 3.0, 0.5]]
        third = [[2.0, 4.0, 0.25], [2.0, 4.0, 0.25]]
        page = page_of(tmp_path, evaluation_of([ours, theirs, third]))
        assert page.tables["means"][0] == [
            "method",
            "n",
            "MI\xa0↑nats",
            "CE\xa0↓bits",
            "VIF\xa0↑",
            "mean rank\xa0↓",
        ]
        assert [[*row[:2], *(cell.split("±")[0] for cell in row[2:])] for row in page.means] == [
            ["ours", "2", "2.000+", "5.000", "0.500*", "2.25+"],
            ["theirs", "2", "3.000*", "2.000*", "0.500*", "1.25*"],
            ["third", "2", "2.000+", "4.000+", "0.250+", "2.50"],
        ]

    def test_deviation_and_p_value_stand_in_the_cell_and_its_title(self, tmp_path: Path) -> None:
        values = random_values(2, 12, 3)
        values[1, :, 0] = values[0, :, 0] + 1  # always better: p = 2 / 2**12
        page = page_of(tmp_path, evaluation_of(values))
        deviation = f"{values[1, :, 0].std(ddof=1):.3f}"
        assert page.means[1][2].endswith(f"± {deviation}p < 0.001")
        (title,) = (text for text in page.titles if text.startswith(f"MI {page.means[1][2][:5]}"))
        assert title.endswith(
            f", best, standard deviation {deviation}, n = 12, p < 0.001 against ours"
        )
        assert "p" not in page.means[0][2]

    def test_states_conventions(self, tmp_path: Path) -> None:
        page = page_of(tmp_path, evaluation_of(random_values(2, 3, 15)))
        assert "Visible + thermal infrared" in page.text.replace("visible", "Visible")
        assert "“paper”: as in the code behind most published tables" in page.text
        assert "colour is compared as luminance" in page.text
        assert DETAILS["command"] in page.text
        assert DETAILS["date"] in page.text
        assert all(metric.source in page.text for metric in METRICS)
        standard = evaluation_of(random_values(2, 3, 15), convention="standard")
        assert (
            "“standard”: CE, Qabf and SSIM as they were defined" in page_of(tmp_path, standard).text
        )

    def test_common_cases(self, tmp_path: Path) -> None:
        values = random_values(3, 6, 3)
        values[1, :2] = NAN
        values[2, 2:3] = NAN
        values[2, 3, 2] = NAN
        page = page_of(tmp_path, evaluation_of(values))
        text = " ".join(page.text.split())
        assert "Over the 3 cases that every method has. 3 of 6 are left out" in text
        assert "Without scores: theirs on 2 cases, third on 1 case." in text
        assert [row[1] for row in page.means] == ["3", "3", "3"]
        assert all("n = 2" in row[4] for row in page.means)
        assert "this metric of the case counts for none" in text
        assert page.data["out"] == [0, 1, 2]

    def test_all_cases(self, tmp_path: Path) -> None:
        values = random_values(3, 6, 3)
        values[1, :2] = NAN
        page = page_of(tmp_path, evaluation_of(values), all_cases=True)
        text = " ".join(page.text.split())
        assert "Each mean is over all cases that the method has, so that n differs" in text
        assert "Ranks and p-values are over the 4 cases that every method has." in text
        assert [row[1] for row in page.means] == ["6", "4", "6"]
        assert page.data["out"] == []

    def test_a_single_method(self, tmp_path: Path) -> None:
        page = page_of(tmp_path, evaluation_of(random_values(1, 4, 3)))
        assert page.tables["means"][0][-1] == "VIF\xa0↑"
        assert not re.search(r"[*+]|p [=<]", "".join(page.means[0]))
        text = " ".join(page.text.split())
        assert "Over all 4 cases." in text
        assert "Wilcoxon" not in text
        assert "Second" not in text

    def test_a_metric_without_any_score(self, tmp_path: Path) -> None:
        values = random_values(2, 4, 3)
        values[:, :, 1] = NAN
        evaluation = evaluation_of(values)
        page = page_of(tmp_path, evaluation, shown_of(evaluation, 1))
        assert [row[3] for row in page.means] == ["\u2013n = 0"] * 2
        assert "No scores." in page.text
        assert not re.search(r"\bnan\b", page.html.partition("<script")[0], re.IGNORECASE)

    @pytest.mark.parametrize("cases", [0, 2])
    def test_no_score_at_all(self, tmp_path: Path, cases: int) -> None:
        page = page_of(tmp_path, evaluation_of(np.full((2, cases, 3), NAN)))
        assert [row[1] for row in page.means] == ["0", "0"]
        assert page.text.count("No scores.") == 3

    def test_infinite_and_large_numbers(self, tmp_path: Path) -> None:
        values = random_values(2, 3, 3) * [1e-5, 1e5, 1.0]
        values[0, 0, 2] = np.inf
        page = page_of(tmp_path, evaluation_of(values))
        assert page.data["values"][2][0][0] is None
        assert re.match(r"0\.0000\d\d", page.means[0][2])
        assert re.match(r"\d{6}\b", page.means[0][3])
        assert "Infinity" not in page.script.partition("\n")[0]

    def test_negative_numbers_have_a_minus_sign(self, tmp_path: Path) -> None:
        page = page_of(tmp_path, evaluation_of([[[-0.5], [-0.25]], [[-1e-9], [-1e-9]]]))
        assert page.means[0][2].startswith("\u22120.375")
        assert page.means[1][2].startswith("0.000")


class TestProblems:
    def test_are_listed(self, tmp_path: Path) -> None:
        problems = (Problem("7", "theirs", "x.png: not an image"), Problem("8", "", "no ir"))
        notices = ("volumes are scored slice by slice",)
        evaluation = evaluation_of(random_values(2, 2, 3), problems=problems, notices=notices)
        page = page_of(tmp_path, evaluation)
        assert "2 problems" in page.text
        assert "7, theirs: x.png: not an image" in page.text
        assert "8, sources: no ir" in page.text
        assert notices[0] in page.text

    def test_thousands_are_counted(self, tmp_path: Path) -> None:
        problems = tuple(Problem(f"c{i}", "theirs", "lost") for i in range(2500))
        page = page_of(tmp_path, evaluation_of(random_values(2, 2, 3), problems=problems))
        assert "2,500 problems" in page.text
        assert "and 2,000 more" in page.text
        assert page.text.count("lost") == 500


class TestPlots:
    def test_boxes_name_their_numbers_and_outliers(self, tmp_path: Path) -> None:
        ours = [[1.0], [2.0], [3.0], [4.0], [5.0], [20.0]]
        page = page_of(tmp_path, evaluation_of([ours, np.full((6, 1), 2.0)]))
        assert (
            "ours: median 3.50, quartiles 2.25 and 4.75, whiskers 1.00 and 5.00, n = 6, outliers: 1"
        ) in page.titles
        assert "case 5: 20.00 (ours)" in page.titles
        assert page.tags.count("circle") == 1

    def test_only_cases_that_count(self, tmp_path: Path) -> None:
        values = np.full((2, 8, 1), 2.0)
        values[0, :, 0] = range(8)
        values[1, 7] = NAN
        page = page_of(tmp_path, evaluation_of(values))
        assert any(title.startswith("ours: median 3.000") for title in page.titles)
        page = page_of(tmp_path, evaluation_of(values), all_cases=True)
        assert any(title.startswith("ours: median 3.500") for title in page.titles)

    def test_outliers_are_limited_to_the_farthest(self, tmp_path: Path) -> None:
        values = np.zeros((1, 1000, 1))
        values[0, :100, 0] = range(1, 101)
        page = page_of(tmp_path, evaluation_of(values))
        assert page.tags.count("circle") == MAX_OUTLIERS
        assert "case 99: 100.0 (ours)" in page.titles
        assert not any(title.startswith("case 79:") for title in page.titles)

    @given(low=st.floats(-1e6, 1e6), size=st.floats(1e-3, 1e6))
    def test_ticks_are_few_and_within(self, low: float, size: float) -> None:
        ticks = _ticks(low, low + size)
        assert 2 <= len(ticks) <= 6
        margin = 1e-6 * (size + abs(low))
        assert all(low - margin <= value <= low + size + margin for value, _ in ticks)
        assert len({text for _, text in ticks}) == len(ticks)


class TestPictures:
    def test_sources_first_then_methods(self, tmp_path: Path) -> None:
        evaluation = evaluation_of(random_values(2, 9, 3))
        shown = shown_of(evaluation, 3)
        page = page_of(tmp_path, evaluation, shown)
        assert page.alts == [
            f"{one.case}, {label}"
            for one in shown
            for label in ("thermal infrared", "visible", "ours", "theirs")
        ]
        assert [picture.size for picture in page.pictures] == [(32, 24)] * 12
        wanted = shown[0].pictures["vis"].astype(float)
        got = np.asarray(page.pictures[1].convert("RGB"), dtype=float)
        assert np.abs(got - wanted).mean() < 12
        assert page.data["shown"] == [evaluation.cases.index(one.case) for one in shown]
        assert "3 cases to look at" in page.text
        for place in ("best", "median range", "worst"):
            assert place in page.text

    def test_scores_of_the_case_with_marks(self, tmp_path: Path) -> None:
        evaluation = evaluation_of([[[1.0, 1.0]], [[2.0, 2.0]]])
        page = page_of(tmp_path, evaluation, shown_of(evaluation, 1))
        lists = re.findall(r'<dl class="scores">(.*?)</dl>', page.html, re.DOTALL)
        assert [re.findall(r"<dd>(.*?)</dd>", one) for one in lists] == [
            ["<u>1.000</u>", "<b>1.000</b>"],
            ["<b>2.000</b>", "<u>2.000</u>"],
        ]

    def test_missing_pictures_leave_gaps(self, tmp_path: Path) -> None:
        evaluation = evaluation_of(random_values(2, 2, 3))
        picture = smooth_noise(8, 8, 1)
        shown = [
            ShownCase("case 1", "best", {"vis": picture, "theirs": picture}),
            ShownCase("unknown", "worst", {}),
        ]
        page = page_of(tmp_path, evaluation, shown)
        assert page.alts == ["case 1, visible", "case 1, theirs"]
        assert page.text.count("no picture") == 6
        assert page.data["shown"] == [1]

    def test_large_ones_are_scaled_down_and_say_so(self, tmp_path: Path) -> None:
        evaluation = evaluation_of(random_values(1, 1, 3))
        pictures: dict[str, NDArray[np.uint8]] = {
            "ir": np.zeros((2000, 4000), np.uint8),
            "vis": np.zeros((1, 40_000, 3), np.uint8),
            "ours": np.zeros((1000, 2000), np.uint8),
        }
        page = page_of(tmp_path, evaluation, [ShownCase("case 0", "best", pictures)])
        assert [picture.size for picture in page.pictures] == [
            (2000, 1000),
            (16383, 1),
            (2000, 1000),
        ]
        assert "4000\u00d72000, shown at 50%" in page.text
        assert page.text.count("shown at") == 2

    def test_one_case_is_made_at_a_time(self, tmp_path: Path) -> None:
        evaluation = evaluation_of(random_values(1, 4, 3))
        alive = [0]

        class Counted(dict[str, NDArray[np.uint8]]):
            def __init__(self) -> None:
                super().__init__(ir=smooth_noise(8, 8, 1))
                alive[0] += 1

            def __del__(self) -> None:
                alive[0] -= 1

        def shown() -> Iterator[ShownCase]:
            for name in evaluation.cases:
                yield ShownCase(name, "best", Counted())
                assert alive[0] <= 1

        assert len(page_of(tmp_path, evaluation, shown()).pictures) == 4

    def test_a_failure_leaves_no_page(self, tmp_path: Path) -> None:
        def shown() -> Iterator[ShownCase]:
            yield ShownCase("case 0", "best", {})
            raise ImageError("x.png: gone; look for it")

        with pytest.raises(ImageError, match="gone"):
            page_of(tmp_path, evaluation_of(random_values(1, 1, 3)), shown())
        assert not list(tmp_path.rglob("*.*"))

    def test_without_pictures(self, tmp_path: Path) -> None:
        page = page_of(tmp_path, evaluation_of(random_values(2, 3, 3)))
        assert "img" not in page.tags
        assert "to look at" not in page.text


class TestUntrustedText:
    def test_nothing_breaks_out(self, tmp_path: Path) -> None:
        evil = f"{HOSTILE}\udcff\x07"
        values = random_values(2, 9, 3)
        values[0, 0, 0] = 1000  # an outlier, whose title names the case
        values[1, 1] = NAN
        evaluation = evaluation_of(
            values,
            methods=[evil, f"{evil}2"],
            cases=tuple(f"{evil}{i}" for i in range(9)),
            problems=(Problem(evil, evil, evil),),
            notices=(evil,),
        )
        path = tmp_path / "eval.html"
        shown = shown_of(evaluation, 2)
        write_eval_page(path, evaluation, summarise(evaluation), shown, details={evil: evil})
        page = Page(path)
        plain = f"{HOSTILE}\ufffd\ufffd"
        assert page.tags.count("script") == 2
        assert page.html.count("</script") == 2
        assert "<!--" not in page.html
        assert page.data["methods"] == [plain, f"{plain}2"]
        assert page.data["cases"] == [f"{plain}{i}" for i in range(9)]
        assert page.means[0][0] == plain
        assert page.alts[-1] == f"{page.data['cases'][page.data['shown'][1]]}, {plain}2"
        assert f"{plain}0: 1000" in "".join(page.titles)
        assert f"{plain}, {plain}: {plain}" in page.text

    def test_needs_nothing_from_elsewhere(self, tmp_path: Path) -> None:
        evaluation = evaluation_of(random_values(3, 9, 15))
        page = page_of(tmp_path, evaluation, shown_of(evaluation, 3))
        assert not page.links
        assert not {"link", "iframe", "object", "base", "form"} & {*page.tags}
        assert not re.search(r"https?:|//[a-z]+\.|url\(|@import", page.html)
        assert "default-src 'none'" in page.html

    def test_equal_evaluations_give_equal_pages(self, tmp_path: Path) -> None:
        evaluation = evaluation_of(random_values(3, 9, 15))
        pages = [page_of(tmp_path, evaluation, shown_of(evaluation, 3)).html for _ in range(2)]
        assert pages[0] == pages[1]


class TestManyCases:
    def test_size_and_time_stay_sane(self, tmp_path: Path) -> None:
        evaluation = evaluation_of(random_values(8, 3000, 15))
        summary = summarise(evaluation)
        path = tmp_path / "eval.html"
        before = time.process_time()
        write_eval_page(path, evaluation, summary, [], details=DETAILS)
        assert time.process_time() - before < 15
        assert path.stat().st_size < 6_000_000
        page = Page(path)
        assert len(page.tags) < 15_000
        values = np.moveaxis(np.array(page.data["values"]), 0, 2)
        np.testing.assert_allclose(values, evaluation.values, rtol=1e-5)
