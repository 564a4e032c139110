"""The page of a pair without a browser: parsed, its numbers unpacked and compared."""

from __future__ import annotations

import base64
import io
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fnetcli.errors import OutputError
from fnetcli.inspection.base import Owner, ShownFeature, ShownMap, Words
from fnetcli.inspection.fnet.words import PAGE_WORDS
from fnetcli.reports import inspect_page
from fnetcli.reports.inspect_page import (
    MAP_SCALE,
    PairPage,
    Plot,
    fitting,
    scaled,
    thumbnails,
    write_inspect_page,
)
from tests.drawn_pictures import smooth_noise

HOSTILE = "a\"'</script><script>alert(1)</script><!-- & &amp; {{ 7*7 }} ö日\u202e\u2028\udcff"
VOID = {"img", "input", "meta", "br"}
PARTS = ("unique_ir", "unique_vis", "common")
MAPS = ("first", "second", *PARTS, "p1", "p2")
OWNERS: tuple[Owner, ...] = ("first", "second", "common")
LABELS = ("unique to {first}", "unique to {second}", "common to both")

Floats = NDArray[np.float32]


def noise(shape: tuple[int, ...], seed: int, spread: float = 0.3) -> Floats:
    return np.random.default_rng(seed).normal(0.1, spread, shape).astype(np.float32)


def png(width: int = 12, height: int = 8) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (width, height), "teal").save(file, "PNG")
    return file.getvalue()


def shown_parts(parts: dict[str, Floats]) -> dict[str, ShownMap]:
    """Return parts as an FNet's inspector shows them."""
    return {
        name: ShownMap(label, "a part", part, owner, is_part=True)
        for (name, part), label, owner in zip(parts.items(), LABELS, OWNERS, strict=True)
    }


def shown_features(
    size: tuple[int, int], atoms: int, *, has_kernels: bool = True, has_energies: bool = True
) -> dict[str, ShownFeature]:
    """Return codes of noise as an FNet's inspector shows them."""
    small = fitting(size, 256 * 256, 256)
    found = {}
    for i, letter in enumerate("uvz"):
        code = noise((atoms, *small), 20 + i) * np.linspace(0.01, 1, atoms)[:, None, None]
        found[letter] = ShownFeature(
            label=LABELS[i],
            thumbnails=code.astype(np.float16),
            shape=(atoms, *size),
            energies=(code**2).sum(axis=(1, 2)) if has_energies else (),
            kernels=noise((atoms, 9, 9), 30 + i) if has_kernels else None,
            owner=OWNERS[i],
            symbol=letter,
        )
    return found


def pair_page(size: tuple[int, int] = (48, 64), atoms: int = 6, **fields: Any) -> PairPage:
    """Return a page of noise as of an FNet, with colour in the second source and the fused one."""
    height, width = size
    parts = fields.pop("parts", {name: noise(size, 10 + i) for i, name in enumerate(PARTS)})
    residuals = {
        "p1": ShownMap("residual of {first}", "p1: what u leaves", noise(size, 6, 0.05), "first"),
        "p2": ShownMap("residual of {second}", "p2: what v leaves", noise(size, 7, 0.05), "second"),
    }
    defaults: dict[str, Any] = {
        "title": "street",
        "modalities": ("ir", "vis"),
        "sources": (smooth_noise(height, width, 1), smooth_noise(height, width, 2, 3)),
        "fused": smooth_noise(height, width, 3, 3),
        "luminances": (
            np.random.default_rng(4).random(size, np.float32),
            np.random.default_rng(5).random(size, np.float32),
        ),
        "fused_luminance": np.sum(list(parts.values()), axis=0),
        "words": PAGE_WORDS,
        "maps": {**shown_parts(parts), **residuals},
        "features": shown_features(size, atoms),
        "numbers": {"clipped": 0.125, "energy share": {"u": 0.5, "v": 0.25, "z": 0.25}},
        "plots": {"histograms": Plot(png(), "before and after the threshold")},
        "notices": ("the pair is 3.1 px apart",),
        "details": {"command": "fnet inspect --vis 'a b.png' --ir c.png -o out"},
        "command": "fnet fuse --vis 'a b.png' --ir c.png -o out",
    }
    return PairPage(**defaults | fields)


def page_without_parts(size: tuple[int, int] = (48, 64), **fields: Any) -> PairPage:
    """Return the page of another model: weights, a signed map, a feature without kernels."""
    weights = np.random.default_rng(8).random(size, np.float32)
    maps = {
        "weight_ir": ShownMap("weight of {first}", "a map", weights, "first", is_signed=False),
        "detail": ShownMap("detail", "a map", noise(size, 9)),
    }
    features = {"activity": ShownFeature("activity", noise((3, *size), 40), (3, *size))}
    others: dict[str, Any] = {
        "maps": maps,
        "features": features,
        "fused_luminance": noise(size, 41),
        "words": Words("What the network made", "what the network made", ("It weighs.",)),
    }
    return pair_page(size, **others | fields)


class Written(HTMLParser):
    """What a page holds; refuses tags that are not closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_bytes().decode("utf-8")
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.links: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.packed: dict[str, str] = {}
        self.text = ""
        self._json = ""
        self._open: list[tuple[str, dict[str, str]]] = []
        self.feed(self.html)
        self.close()
        assert not self._open
        self.data: dict[str, Any] = json.loads(self._json)

    @property
    def pictures(self) -> list[NDArray[np.uint8]]:
        """The two sources and the fused picture."""
        return [
            np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))
            for source in self.sources[:3]
        ]

    def map(self, name: str) -> Floats:
        """Unpack a map as the docstring of `_packed_map` says."""
        height, width = self.data["height"], self.data["width"]
        low, high = self._bytes(name).reshape(2, height, width).astype(np.uint16)
        folded = (low | high << 8).astype(np.int32)
        steps = (folded >> 1) ^ -(folded & 1)
        integers = np.cumsum(steps, axis=1).astype(np.int16)
        values: Floats = (integers / self.data["maps"][name]["scale"]).astype(np.float32)
        return values

    def code(self, letter: str) -> Floats:
        facts = self.data["codes"][letter]
        shape = (facts["atoms"], facts["height"], facts["width"])
        share = self._bytes(f"feature/{letter}").view(np.int8).reshape(shape) / 127
        found: Floats = np.sign(share) * share**2 * np.array(facts["largest"])[:, None, None]
        return found

    def _bytes(self, name: str) -> NDArray[np.uint8]:
        return np.frombuffer(zlib.decompress(base64.b64decode(self.packed[name])), np.uint8)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append((tag, given))
        self.links += [given["href"]] if "href" in given else []
        self.sources += [given["src"]] if "src" in given else []
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        tag, given = self._open[-1] if self._open else ("", {})
        if tag == "script":
            if given.get("id") == "data":
                self._json += data
            if "data-packed" in given:
                self.packed[given["data-packed"]] = data
        elif tag != "style":
            self.text += data
            if tag in {"td", "th"}:
                self.tables[-1][-1][-1] += data


def written(folder: Path, page: PairPage) -> Written:
    write_inspect_page(folder / "report.html", page)
    return Written(folder / "report.html")


class TestMaps:
    def test_all_come_back(self, tmp_path: Path) -> None:
        page = pair_page()
        found = written(tmp_path, page)
        expected = [*page.luminances, *(one.values for one in page.maps.values())]
        assert list(found.data["maps"]) == list(MAPS)
        for name, values in zip(MAPS, expected, strict=True):
            assert found.data["maps"][name]["scale"] == MAP_SCALE
            assert np.abs(found.map(name) - values).max() < 1e-4

    def test_parts_sum_to_the_luminance(self, tmp_path: Path) -> None:
        page = pair_page()
        found = written(tmp_path, page)
        assert found.data["parts"] == list(PARTS)
        total = sum(found.map(name) for name in PARTS)
        assert np.abs(total - sum(page.parts.values())).max() < 2e-4

    @given(st.integers(0, 2**32 - 1), st.floats(1e-3, 100))
    def test_any_range(self, seed: int, spread: float) -> None:
        values = noise((5, 7), seed, spread)
        packed = inspect_page._packed_map(values)
        found = Written.__new__(Written)
        found.data = {"height": 5, "width": 7, "maps": {"x": packed.facts}}
        found.packed = {"x": packed.text}
        scale = packed.facts["scale"]
        assert np.abs(values).max() * scale < 2**15
        np.testing.assert_allclose(found.map("x"), values, atol=0.5001 / scale)

    def test_neighbours_at_both_ends_of_the_range(self) -> None:
        values = np.array([[-3.9, 3.9, -3.9], [3.9, -3.9, 3.9]], np.float32)
        packed = inspect_page._packed_map(values)
        found = Written.__new__(Written)
        found.data = {"height": 2, "width": 3, "maps": {"x": packed.facts}}
        found.packed = {"x": packed.text}
        np.testing.assert_allclose(found.map("x"), values, atol=1e-4)

    @pytest.mark.parametrize(
        ("largest", "drawn"), [(0.4301, 0.44), (0.5, 0.5), (12.3, 13.0), (0.00098, 0.00098), (0, 1)]
    )
    def test_drawn_range(self, largest: float, drawn: float) -> None:
        values = np.array([[0.0, -largest], [largest, largest]], np.float32)
        assert inspect_page._drawn_range(values) == pytest.approx(drawn)


class TestCodes:
    def test_thumbnails_come_back(self, tmp_path: Path) -> None:
        page = pair_page()
        found = written(tmp_path, page)
        for letter, feature in page.features.items():
            values = feature.thumbnails.astype(np.float32)
            largest = np.abs(values).max(axis=(1, 2), keepdims=True)
            share = np.abs(values) / largest
            allowed = largest * (2 * np.sqrt(share) * 0.51 / 127 + (0.51 / 127) ** 2)
            assert (np.abs(found.code(letter) - values) <= allowed).all()

    def test_kernels_and_energies(self, tmp_path: Path) -> None:
        page = pair_page()
        found = written(tmp_path, page)
        for letter in "uvz":
            facts = found.data["codes"][letter]
            shown = page.features[letter]
            assert shown.kernels is not None
            np.testing.assert_allclose(facts["kernels"], shown.kernels, rtol=1e-3)
            np.testing.assert_allclose(facts["energies"], shown.energies, rtol=1e-5)

    def test_thumbnails_of_large_maps(self) -> None:
        code = noise((3, 300, 600), 0).astype(np.float16)
        found = thumbnails(code)
        assert found.shape == (3, 128, 256)
        blocks = code[:, :2, :2]
        assert found[:, 0, 0].tolist() == [
            block.ravel()[np.abs(block).argmax()] for block in blocks
        ]
        assert np.abs(found).max() == np.abs(code).max()
        assert thumbnails(code[:, :20, :30]).shape == (3, 20, 30)

    def test_very_many_atoms(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inspect_page, "MAX_CODE_VALUES", 3000)
        found = written(tmp_path, pair_page(atoms=20))
        assert sum(found.code(letter).size for letter in "uvz") <= 3000

    def test_a_map_of_zeros(self, tmp_path: Path) -> None:
        zeros = ShownFeature(LABELS[0], np.zeros((2, 48, 64), np.float16), (2, 48, 64))
        found = written(tmp_path, pair_page(features={"u": zeros}))
        assert not found.code("u").any()
        assert "unique to thermal infrared" in found.text

    def test_without_codes(self, tmp_path: Path) -> None:
        found = written(tmp_path, pair_page(features={}, plots={}, numbers={}))
        assert found.links == ["#compare", "#separated"]


class TestWithoutParts:
    def test_the_fused_luminance_is_a_map_of_its_own(self, tmp_path: Path) -> None:
        page = page_without_parts()
        found = written(tmp_path, page)
        assert list(found.data["maps"]) == ["first", "second", "fused", "weight_ir", "detail"]
        assert np.abs(found.map("fused") - page.fused_luminance).max() < 1e-4
        signed = {name: facts["signed"] for name, facts in found.data["maps"].items()}
        assert (signed["weight_ir"], signed["detail"]) == (False, True)
        assert found.data["parts"] == []

    def test_what_is_not_there_is_not_shown(self, tmp_path: Path) -> None:
        found = written(tmp_path, page_without_parts())
        for absent in ("Mixing desk", "mixed", "Atoms", "kernel", "residual"):
            assert absent not in found.text
        assert "weight of thermal infrared" in found.text
        assert found.links == ["#compare", "#separated", "#atoms", "#plots", "#numbers"]
        bare = written(tmp_path, page_without_parts(maps={}, features={}, plots={}, numbers={}))
        assert bare.links == ["#compare", "#separated"]
        assert list(bare.data["maps"]) == ["first", "second", "fused"]


class TestScaling:
    def test_whole_factors_are_plain_means(self) -> None:
        values = noise((12, 20), 0)
        expected = values.reshape(4, 3, 5, 4).mean(axis=(1, 3))
        np.testing.assert_allclose(scaled(values, (4, 5)), expected, atol=1e-6)

    def test_fractions(self) -> None:
        values = np.array([[1.0, 2.0, 4.0]], np.float32)
        np.testing.assert_allclose(scaled(values, (1, 2)), [[4 / 3, 10 / 3]], rtol=1e-6)

    @given(st.integers(1, 40), st.integers(1, 40), st.data())
    def test_mean_and_constants_stay(self, height: int, width: int, data: st.DataObject) -> None:
        size = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
        values = noise((height, width), height)
        assert scaled(values, size).mean() == pytest.approx(values.mean(), abs=1e-5)
        white = np.full((height, width, 3), 255, np.uint8)
        assert (scaled(white, size) == 255).all()

    def test_colour(self) -> None:
        picture = smooth_noise(30, 40, 0, 3)
        found = scaled(picture, (10, 10))
        assert found.dtype == np.uint8
        expected = picture.reshape(10, 3, 10, 4, 3).mean(axis=(1, 3))
        assert np.abs(found - expected).max() <= 0.5001

    @pytest.mark.parametrize(
        "size", [(480, 640), (1500, 2000), (4000, 3000), (20, 200_000), (9000, 1)]
    )
    def test_fitting(self, size: tuple[int, int]) -> None:
        height, width = fitting(size, 2_000_000)
        assert height * width <= 2_000_000
        assert max(height, width) <= 8192
        if size[0] * size[1] <= 2_000_000 and max(size) <= 8192:
            assert (height, width) == size
        elif min(height, width) > 10:
            assert height / width == pytest.approx(size[0] / size[1], rel=0.02)

    def test_large_pairs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert inspect_page.MAX_PIXELS == 2_000_000
        monkeypatch.setattr(inspect_page, "MAX_PIXELS", 45_000)
        page = pair_page((225, 300))
        found = written(tmp_path, page)
        shape = found.data["height"], found.data["width"]
        assert 44_500 < shape[0] * shape[1] <= 45_000
        assert found.data["full"] == [225, 300]
        assert [picture.shape[:2] for picture in found.pictures] == [shape] * 3
        total = scaled(np.sum(list(page.parts.values()), axis=0), shape)
        assert np.abs(sum(found.map(name) for name in PARTS) - total).max() < 3e-4
        assert "are shown scaled to 81 %" in found.text
        assert "300\u00d7225 pixels" in found.text

    def test_nothing_is_said_of_smaller_ones(self, tmp_path: Path) -> None:
        assert "shown scaled" not in written(tmp_path, pair_page()).text


class TestSize:
    def test_of_a_usual_pair(self, tmp_path: Path) -> None:
        found = written(tmp_path, pair_page((480, 640), atoms=64))
        assert found.code("u").shape == (64, 192, 256)
        assert (found.data["height"], found.data["width"]) == (480, 640)
        assert len(found.html) < 60_000_000

    def test_what_is_too_large_is_shrunk_further(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(inspect_page, "MAX_BYTES", 2_500_000)
        found = written(tmp_path, pair_page((480, 640)))
        assert 1_500_000 < len(found.html.encode()) < 2_500_000
        assert found.data["height"] < 480

    def test_plots_alone_may_be_too_large(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(inspect_page, "MAX_BYTES", 1000)
        found = written(tmp_path, pair_page((480, 640)))
        assert 49_000 < found.data["height"] * found.data["width"] <= 50_000


class TestPictures:
    def test_without_loss(self, tmp_path: Path) -> None:
        page = pair_page()
        found = written(tmp_path, page).pictures
        for picture, expected in zip(found, (*page.sources, page.fused), strict=True):
            grey = expected.ndim == 2
            assert (picture[..., 0] if grey else picture).tolist() == expected.tolist()

    def test_which_source_gives_its_colour(self, tmp_path: Path) -> None:
        grey, color = smooth_noise(48, 64, 1), smooth_noise(48, 64, 2, 3)
        for sources, fused, expected in (
            ((grey, color), color, "second"),
            ((color, color), color, "second"),
            ((color, grey), color, "first"),
            ((grey, color), grey, None),
        ):
            found = written(tmp_path, pair_page(sources=sources, fused=fused))
            assert found.data["color"] == expected

    def test_plots(self, tmp_path: Path) -> None:
        found = written(tmp_path, pair_page())
        assert base64.b64decode(found.sources[3].partition(",")[2]) == png()
        assert 'width="12" height="8"' in found.html
        assert "before and after the threshold" in found.text


class TestNumbers:
    def test_tables(self, tmp_path: Path) -> None:
        numbers = {
            "clipped": 0.001234567,
            "thresholds fall": True,
            "energy share": {"u": 0.5, "v": None},
            "nearly zero": {"u": {"before": 0.1, "after": 0.9}, "v": {"before": 0, "after": 1}},
            "deep": {"first": {"a": 1, "b": 2}, "second": {"c": [1, 2.5]}},
            "empty": {},
        }
        found = written(tmp_path, pair_page(numbers=numbers)).tables[1:]
        assert found == [
            [["clipped", "0.0012"], ["thresholds fall", "yes"]],
            [["u", "0.5"], ["v", "\u2013"]],
            [["", "before", "after"], ["u", "0.1", "0.9"], ["v", "0", "1"]],
            [["a", "1"], ["b", "2"]],
            [["c", "1, 2.5"]],
        ]

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (0.0, "0"),
            (-0.25, "\u22120.25"),
            (123456.0, "123,500"),
            (1234567, "1,234,567"),
            (1.5e-7, "1.5e\u221207"),
            (0.00098765, "0.0009877"),
            (float("nan"), "\u2013"),
            (False, "no"),
            ([], "\u2013"),
            (list(range(64)), "64 values"),
            ("a & b", "a & b"),
        ],
    )
    def test_as_text(self, value: Any, text: str) -> None:
        assert inspect_page._text(value) == text


class TestUntrustedText:
    def test_hostile_names(self, tmp_path: Path) -> None:
        base = pair_page()
        page = pair_page(
            title=HOSTILE,
            modalities=(HOSTILE, HOSTILE),
            parts={f"{i}{HOSTILE}": part for i, part in enumerate(base.parts.values())},
            numbers={HOSTILE: {HOSTILE: HOSTILE}},
            plots={HOSTILE: Plot(png(), HOSTILE)},
            notices=[HOSTILE],
            details={HOSTILE: HOSTILE},
            command=HOSTILE,
        )
        found = written(tmp_path, page)
        plain = HOSTILE.replace("\udcff", "\ufffd")
        assert found.text.count(plain) > 20
        assert found.tables[1] == [[plain, plain]]
        assert "<script>alert" not in found.html
        assert found.tags.count("script") == 2 + len(MAPS) + 3
        assert found.data["command"] == plain
        assert found.packed.keys() == {*found.data["maps"], *(f"feature/{one}" for one in "uvz")}

    def test_nothing_from_outside(self, tmp_path: Path) -> None:
        found = written(tmp_path, pair_page())
        assert not re.search(r"(src|href)=\"(?!data:image/|#)", found.html)
        assert not re.search(r"https?:|url\(|@import", found.html)
        assert "default-src 'none'; img-src data:" in found.html

    def test_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(OutputError):
            write_inspect_page(tmp_path / "file" / "report.html", pair_page())
