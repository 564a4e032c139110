"""The contact sheet as a browser gets it: parsed, its pictures decoded, its links followed."""

from __future__ import annotations

import base64
import io
import os
import sys
import time
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import imageio.v3 as iio
import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from fnetcli.formats import ReadOptions, read_image
from fnetcli.imaging.image import Image
from fnetcli.imaging.intensity import ScalingOptions
from fnetcli.inputs.pairing import Case, pair_paths
from fnetcli.models.base import Fusion, Maps
from fnetcli.pictures.fuse import FuseOptions
from fnetcli.pictures.outputs import PicturePaths
from fnetcli.pictures.prepare import Prepared, PrepareOptions
from fnetcli.reports import contact_sheet
from fnetcli.reports.contact_sheet import (
    LONGEST_SIDE,
    relative_url,
    sample,
    shrink,
    write_contact_sheet,
)
from fnetcli.runs.manifest import Record
from fnetcli.runs.network import LoadedNetwork, NetworkSource
from fnetcli.runs.picture_jobs import PictureRunOptions, picture_job
from fnetcli.runs.process import ResultPaths
from fnetcli.runs.run import FusionRun
from tests.cli.command import fnet, tiny_weights
from tests.drawn_pictures import smooth_noise, write, write_pairs

PAIR = PrepareOptions(("ir", "vis"))
VOID = {"img", "input", "meta", "br", "link"}
HOSTILE = "a\"'<script>alert(1)<script> & &amp; %41#frag?q=1; {{ 7*7 }} ö日\u202e"


@dataclass
class Figure:
    """One picture of a case, or the gap where it should be."""

    label: str = ""
    alt: str = ""
    picture: PIL.Image.Image | None = None
    size: tuple[int, int] = (0, 0)  # as the page says
    link: str | None = None
    gap: str = ""


@dataclass
class Article:
    """One case of the page."""

    name: str = ""
    text: str = ""
    figures: list[Figure] = field(default_factory=list)


class Page(HTMLParser):
    """What a page holds; refuses tags that are not closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.articles: list[Article] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.lists: list[str] = []
        self.text = ""
        self._open: list[tuple[str, str]] = []
        self.feed(path.read_bytes().decode("utf-8"))
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append((tag, given.get("class", "")))
        self.links += [given["href"]] if "href" in given else []
        self.sources += [given["src"]] if "src" in given else []
        if tag == "article":
            self.articles.append(Article())
        elif tag == "figure":
            self.articles[-1].figures.append(Figure())
        elif tag == "li":
            self.lists.append("")
        elif tag == "a" and self._is_in("figure"):
            self.articles[-1].figures[-1].link = given["href"]
        elif tag == "img":
            self._picture(given)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self._is_in("style") or self._is_in("script"):
            return
        self.text += data
        if self._is_in("li"):
            self.lists[-1] += data
        if not self._is_in("article"):
            return
        article = self.articles[-1]
        article.text += data
        if self._is_in("h2"):
            article.name += data
        elif self._is_in("figcaption"):
            article.figures[-1].label += data
        elif self._is_in("p"):
            article.figures[-1].gap += data

    def _picture(self, given: dict[str, str]) -> None:
        figure = self.articles[-1].figures[-1]
        kind, _, content = given["src"].partition(",")
        assert kind == "data:image/jpeg;base64"
        figure.picture = PIL.Image.open(io.BytesIO(base64.b64decode(content, validate=True)))
        figure.size = (int(given["width"]), int(given["height"]))
        figure.alt = given["alt"]

    def _is_in(self, tag: str) -> bool:
        return any(tag == one for one, _ in self._open)


class Silent:
    """Hears of a run and says nothing."""

    def done(self, case: Case, paths: ResultPaths, record: Record) -> None: ...

    def failed(self, case: Case, text: str) -> None: ...

    def slices(self, count: int, done: int, of: int) -> None: ...


def tiny_network(folder: Path) -> LoadedNetwork:
    path = folder / "tiny.safetensors"
    return NetworkSource(path if path.exists() else tiny_weights(folder), "cpu").load()


@dataclass
class MadeRun:
    """A run that is over, with what is needed to show it."""

    run: FusionRun[PicturePaths, Prepared, Fusion[Maps]]
    options: FuseOptions

    @property
    def cases(self) -> list[Case]:
        return self.run.job.pairing.cases

    @property
    def out(self) -> Path:
        return self.run.job.out

    def paths(self, name: str = "0") -> PicturePaths:
        (case,) = (one for one in self.run.job.cases if one.name == name)
        return self.run.plan.paths(case)

    def records(self) -> list[Record]:
        return self.run.records()

    def summary(self) -> Record:
        return self.run.summary()

    def sheet(
        self, records: list[Record] | None = None, summary: Record | None = None, **options: Any
    ) -> Path:
        """Write the contact sheet; of the run, unless told otherwise."""
        return write_contact_sheet(
            self.run.job.pairing,
            self.options,
            self.out,
            self.records() if records is None else records,
            summary or self.summary(),
            **options,
        )


def run_of(tmp_path: Path, prepare: PrepareOptions = PAIR, **options: Any) -> MadeRun:
    """Fuse the pairs of tmp_path/vis and tmp_path/ir into tmp_path/out."""
    pairing = pair_paths(tmp_path / "ir", tmp_path / "vis")
    network = tiny_network(tmp_path)
    surveyed = picture_job(
        pairing, prepare, network, tmp_path / "out", PictureRunOptions(**options)
    )
    command = ["fnet", "fuse", "--vis", "my pictures", "--report"]
    run = FusionRun(surveyed.job, Silent(), command=command)
    run.look()
    run.work(network.engine)
    return MadeRun(run, surveyed.options)


def page_of(run: MadeRun, **options: Any) -> Page:
    path = run.sheet(**options)
    assert path == run.out / "index.html"
    return Page(path)


def target(run: MadeRun, link: str) -> Path:
    """Follow a relative link from the page, as a browser does."""
    return Path(os.path.normpath(run.out / os.fsdecode(unquote_to_bytes(link))))


def png_bytes(seed: int, channels: int) -> bytes:
    return iio.imwrite("<bytes>", smooth_noise(12, 16, seed, channels), extension=".png")


def levels(figure: Figure) -> np.ndarray:
    assert figure.picture is not None
    return np.asarray(figure.picture, dtype=float)


class TestPage:
    def test_shows_every_case_with_all_its_pictures(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 3)
        steps: list[int] = []
        page = page_of(run_of(tmp_path), on_step=lambda: steps.append(1))
        assert len(steps) == 3
        assert [article.name for article in page.articles] == ["0", "1", "2"]
        for article in page.articles:
            assert [figure.label for figure in article.figures] == [
                "thermal infrared",
                "visible",
                "fused",
                "unique to thermal infrared",
                "unique to visible",
                "common to both",
            ]
            modes = [figure.picture.mode for figure in article.figures if figure.picture]
            assert modes == ["L", "RGB", "RGB", "L", "L", "L"]
            for figure in article.figures:
                assert figure.alt == f"{article.name}, {figure.label}"
                assert figure.picture is not None
                assert figure.picture.size == figure.size == (32, 24)
            assert "32x24" in article.text
            assert "[0, 255]" in article.text

    def test_says_what_was_done(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 2)
        write(tmp_path / "vis" / "alone.png", smooth_noise(8, 8, 1))
        run = run_of(tmp_path)
        page = page_of(run)
        assert page.lists[:4] == ["2 fused", "0 skipped", "0 failed", "1 unpaired"]
        assert str(tmp_path / "vis" / "alone.png") in page.lists
        assert "fnet fuse --vis 'my pictures' --report" in page.text
        sha256 = run.summary()["weights"]["sha256"]
        assert f"tiny.safetensors, sha256 {sha256[:12]}" in page.text
        assert "0123456789abc" not in page.text
        assert f"fnetcli {run.summary()['versions']['fnetcli']}" in page.text

    def test_links_lead_to_the_files(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 2)
        run = run_of(tmp_path)
        page = page_of(run)
        assert all(target(run, link).is_file() for link in page.links)
        expected = {
            path
            for case in run.cases
            for path in (case.first, case.second, *run.paths(case.name).all().values())
        }
        shown = {target(run, figure.link or "") for one in page.articles for figure in one.figures}
        assert shown == expected

    def test_needs_nothing_from_elsewhere(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 1)
        run = run_of(tmp_path)
        page = page_of(run)
        assert all(source.startswith("data:image/jpeg;") for source in page.sources)
        assert not any(":" in link or link.startswith("/") for link in page.links)
        assert not {"link", "iframe", "object", "base"} & {*page.tags}
        html = (run.out / "index.html").read_text(encoding="utf-8")
        assert "http:" not in html
        assert "https:" not in html
        assert "url(" not in html

    def test_equal_runs_give_equal_pages(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 5)
        run = run_of(tmp_path)
        summary = run.summary()
        pages = [run.sheet(summary=summary, workers=n).read_bytes() for n in (1, 4)]
        assert pages[0] == pages[1]
        assert pages[0].count(b"<img ") == 30

    def test_shows_cases_that_were_done_before(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 2)
        before = page_of(run_of(tmp_path))
        again = run_of(tmp_path)
        page = page_of(again)
        assert page.lists[:2] == ["0 fused", "2 skipped"]
        assert [one.figures[2].size for one in page.articles] == [(32, 24)] * 2
        assert [one.text for one in page.articles] == [one.text for one in before.articles]

    def test_without_maps(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 1)
        page = page_of(run_of(tmp_path, maps="none"))
        assert [one.label for one in page.articles[0].figures] == [
            "thermal infrared",
            "visible",
            "fused",
        ]
        assert "grey is zero" not in page.text


class TestUntrustedText:
    @pytest.mark.skipif(sys.platform == "win32", reason="files cannot have such names there")
    def test_hostile_file_names(self, tmp_path: Path) -> None:
        names = [HOSTILE, "#", "%2e%2e", "javascript:alert(1)", "  b  "]
        for i, name in enumerate(names):
            write(tmp_path / "vis" / "x.png", smooth_noise(12, 16, i, 3)).rename(
                tmp_path / "vis" / f"{name}.png"
            )
            write(tmp_path / "ir" / "x.png", smooth_noise(12, 16, i)).rename(
                tmp_path / "ir" / f"{name}.png"
            )
        run = run_of(tmp_path)
        page = page_of(run)
        assert [one.name for one in page.articles] == sorted(names)
        assert page.tags.count("script") == 1
        assert len(page.sources) == 6 * len(names)
        for article in page.articles:
            assert {figure.alt for figure in article.figures} == {
                f"{article.name}, {figure.label}" for figure in article.figures
            }
        assert all(target(run, link).is_file() for link in page.links)
        assert not any(":" in link for link in page.links)

    @pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
    def test_names_that_are_no_text(self, tmp_path: Path) -> None:
        for folder, channels in (("vis", 3), ("ir", 1)):
            (tmp_path / folder).mkdir()
            for name in (b"b\xff.png", b"line\nbell\x07.png"):
                path = tmp_path / folder / os.fsdecode(name)
                path.write_bytes(png_bytes(1, channels))
        run = run_of(tmp_path)
        page = page_of(run)
        assert [one.name for one in page.articles] == ["b\ufffd", "line\nbell\ufffd"]
        assert all(figure.picture for one in page.articles for figure in one.figures)
        assert all(target(run, link).is_file() for link in page.links)

    def test_notices_errors_and_summary(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 2)
        run = run_of(tmp_path)
        good, bad = run.records()
        evil = "</dd></article><script>alert('\udcff')</script>"
        good["notices"] = [evil]
        good["inputs"]["ir"]["size"] = evil
        bad |= {"status": "failed", "error": evil}
        summary = run.summary()
        summary |= {"command": ["fnet", evil], "device": evil, "unpaired": [evil]}
        summary["weights"] = {"name": evil, "sha256": evil}
        page = Page(run.sheet([good, bad], summary))
        shown = evil.replace("\udcff", "\ufffd")
        assert page.tags.count("script") == 1
        assert len(page.articles) == 1
        assert page.articles[0].text.count(shown) == 3  # size twice
        assert page.text.count(shown) >= 7

    def test_address_of_what_no_file_can_be_called(self, tmp_path: Path) -> None:
        assert (
            relative_url(tmp_path / "a b#\"'ö.png", tmp_path / "c") == "../a%20b%23%22%27%C3%B6.png"
        )
        assert relative_url(tmp_path / "\ud800", tmp_path) is None


class TestManyCases:
    def test_sample_on_the_page(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 5, 8, 8)
        run = run_of(tmp_path, maps="none")
        page = page_of(run, max_cases=3)
        assert [one.name for one in page.articles] == ["0", "2", "4"]
        assert "3 of 5 cases, evenly sampled; the manifest lists them all" in page.text
        assert "manifest.jsonl" in page.links
        assert "evenly sampled" not in page_of(run, max_cases=5).text

    @given(count=st.integers(0, 2000), most=st.integers(1, 400))
    def test_sample(self, count: int, most: int) -> None:
        items = list(range(count))
        chosen = sample(items, most)
        assert len(chosen) == min(count, most)
        assert chosen == sorted(set(chosen))
        if chosen and most > 1:
            assert (chosen[0], chosen[-1]) == (0, count - 1)
            steps = np.diff(chosen)
            assert steps.size == 0 or steps.max() - steps.min() <= 1


class TestFailures:
    def test_failed_cases_are_listed(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 3, 8, 8)
        (tmp_path / "ir" / "1.png").write_text("no picture")
        page = page_of(run_of(tmp_path))
        assert [one.name for one in page.articles] == ["0", "2"]
        (line,) = (text for text in page.lists if "not an image" in text)
        assert line.startswith("1")
        assert str(tmp_path / "ir" / "1.png") in line
        assert "1 failed" in page.text

    def test_nothing_but_failures(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 2, 8, 8)
        for i in range(2):
            (tmp_path / "ir" / f"{i}.png").write_text("no picture")
        page = page_of(run_of(tmp_path))
        assert not page.articles
        assert "2 failed" in page.text
        assert "No case was fused." in page.text

    def test_hundreds_are_counted(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 1, 8, 8)
        run = run_of(tmp_path)
        failed = [
            {"case": f"f{i}", "status": "failed", "error": f"f{i}: lost"} for i in range(1305)
        ]
        page = Page(run.sheet([*run.records(), *failed]))
        assert [line for line in page.lists if "lost" in line] == [f"f{i}lost" for i in range(300)]
        assert "1,305 failed" in page.text
        assert "and 1,005 more; manifest.jsonl lists all" in page.text

    def test_files_that_are_gone_leave_gaps(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 2)
        run = run_of(tmp_path)
        (tmp_path / "vis" / "0.png").unlink()
        run.paths().fused.write_bytes(b"")
        run.paths().all()["common"].unlink()
        page = page_of(run)
        gaps = [figure.gap for figure in page.articles[0].figures]
        missing = "no such file; check the path"
        assert gaps == [
            "",
            missing,
            "the file is empty; copy or export the file again",
            "",
            "",
            missing,
        ]
        links = [figure.link for figure in page.articles[0].figures]
        assert [link is None for link in links] == [bool(gap) for gap in gaps]
        assert not any(figure.gap for figure in page.articles[1].figures)

    @pytest.mark.parametrize(
        "ranges",
        [None, {}, {"ir": 3}, {"ir": {"low": "x", "high": 1}}, {"ir": {"low": 0, "high": np.inf}}],
    )
    def test_edited_manifest(self, tmp_path: Path, ranges: object) -> None:
        write_pairs(tmp_path, 1, 8, 8)
        run = run_of(tmp_path)
        (record,) = run.records()
        record |= {"ranges": ranges, "seconds": "many", "notices": None}
        page = Page(run.sheet([record]))
        assert page.articles[0].figures[0].gap == "its range is not recorded"
        assert page.articles[0].figures[2].picture is not None


class TestPictures:
    @pytest.mark.parametrize(
        ("kind", "depth"),
        [
            ("png", "8"),
            ("png", "16"),
            ("tiff", "8"),
            ("tiff", "16"),
            ("tiff", "float"),
            ("jpeg", "8"),
            ("webp", "8"),
        ],
    )
    def test_results_of_every_kind_look_alike(self, tmp_path: Path, kind: str, depth: str) -> None:
        write_pairs(tmp_path, 1, 200, 500)
        run = run_of(
            tmp_path, kind=kind, depth=depth, maps="float" if depth == "float" else "preview"
        )
        (article,) = page_of(run).articles
        assert [figure.size for figure in article.figures] == [(240, 96)] * 6
        fused = iio.imread(run.paths().fused)
        white = 1 if fused.dtype.kind == "f" else np.iinfo(fused.dtype).max
        expected = fused[..., :3].mean(axis=(0, 1)) / white * 255
        np.testing.assert_allclose(levels(article.figures[2]).mean(axis=(0, 1)), expected, atol=2)

    def test_float_maps_look_like_previews(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 1)
        shown = []
        for maps in ("preview", "float"):
            (article,) = page_of(run_of(tmp_path, maps=maps)).articles
            shown.append([levels(figure) for figure in article.figures[3:]])
        np.testing.assert_allclose(shown[0], shown[1], atol=1)

    def test_sources_as_the_network_saw_them(self, tmp_path: Path) -> None:
        counts = np.tile(np.linspace(0, 4000, 64), (48, 1)).astype(np.uint16)
        write(tmp_path / "vis" / "a.png", smooth_noise(48, 64, 1, 3))
        iio.imwrite(write(tmp_path / "ir" / "a.png", smooth_noise(8, 8, 1)), counts)
        warm = ScalingOptions(limits=(1000.0, 3000.0), is_inverted=True)
        (article,) = page_of(
            run_of(tmp_path, replace(PAIR, scaling=(warm, ScalingOptions())))
        ).articles
        expected = 255 * (1 - np.clip((counts - 1000.0) / 2000, 0, 1))
        np.testing.assert_allclose(levels(article.figures[0]), expected, atol=4)
        assert "[1000, 3000] inverted" in article.text

    def test_holes(self, tmp_path: Path) -> None:
        celsius = np.full((40, 60), 20, np.float32)
        celsius[:, 30:] = 30
        celsius[:20, :20] = np.nan
        vis = np.full((40, 60, 3), 128, np.uint8)
        vis[20:] = 90
        nodata = [(42113, 2, 4, "128", True)]
        for name in ("ir", "vis"):
            (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / "ir" / "a.tif", celsius)
        tifffile.imwrite(tmp_path / "vis" / "a.tif", vis, extratags=nodata, photometric="rgb")
        run = run_of(tmp_path, kind="tiff", depth="float", maps="float")
        (article,) = page_of(run).articles
        assert not any(figure.gap for figure in article.figures)
        hole = np.s_[2:14, 2:14]  # away from the blocks of JPEG that hold its border
        assert (levels(article.figures[0])[hole] < 4).all()  # filled with the coldest
        assert (levels(article.figures[2])[hole] < 4).all()  # black
        for figure in article.figures[3:]:
            assert (np.abs(levels(figure)[hole] - 128) <= 2).all()  # zero
        assert "2 notices" in article.text

    def test_thumbnails_are_means_and_never_larger(self) -> None:
        board = (np.indices((960, 480)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None]
        small = shrink(board)
        assert small.size == (120, 240)
        assert np.ptp(np.asarray(small)) == 0
        assert abs(np.asarray(small).mean() - 127.5) <= 1
        assert shrink(np.zeros((3, 9000, 3), np.uint8)).size == (LONGEST_SIDE, 1)
        assert shrink(np.zeros((5, 7, 1), np.uint8)).size == (7, 5)

    def test_large_pictures_are_read_one_at_a_time(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_pairs(tmp_path, 6)
        run = run_of(tmp_path)
        now, most = 0, 0

        def counted(path: Path, reading: ReadOptions) -> Image:
            nonlocal now, most
            now += 1
            most = max(most, now)
            time.sleep(0.005)
            now -= 1
            return read_image(path, reading)

        monkeypatch.setattr(contact_sheet, "read_image", counted)
        monkeypatch.setattr(contact_sheet, "LARGE", 32 * 24 - 1)
        assert len(page_of(run, workers=4).articles) == 6
        assert most == 1


def test_through_the_command_line(tmp_path: Path) -> None:
    vis, ir = write_pairs(tmp_path, 2)
    out = tmp_path / "out"
    arguments = ["--vis", vis, "--ir", ir, "-o", out, "--weights", tiny_weights(tmp_path)]
    result = fnet("fuse", *arguments, "--report")
    assert result.exit_code == 0, result.output
    assert f"contact sheet: {out / 'index.html'}" in result.stderr
    assert len(Page(out / "index.html").articles) == 2
