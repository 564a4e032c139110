"""`fnet eval` as a user runs it: folders of pictures in, tables out."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import psutil
import pytest
import tifffile
from typer.testing import CliRunner

from fnetcli.cli.app import app
from fnetcli.cli.console import AS_FAR_AS_POSSIBLE
from fnetcli.errors import EvaluationError
from fnetcli.evaluation import cache, cost
from fnetcli.evaluation.cost import Cost
from fnetcli.imaging.color import luminance
from fnetcli.metrics import METRICS, metrics, score, to_grey8
from fnetcli.metrics.separation import measure_separation
from fnetcli.models.cddfuse.config import CDDFuseConfig
from tests import small_cddfuse
from tests.cli.command import fnet, tiny_weights
from tests.cli.test_batch import errors
from tests.drawn_pictures import Picture, smooth_noise, write

NAMES = ["a", "b", "c", "d"]
PATIENCE = 600  # seconds after which something hangs


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("FNET_NATIVE", "0")  # compiling takes longer than these networks


@pytest.fixture
def sources(tmp_path: Path) -> list[Any]:
    """Four pairs: colour in vis/, grey in ir/."""
    for i, name in enumerate(NAMES):
        write(tmp_path / "vis" / f"{name}.png", smooth_noise(48, 56, 2 * i, 3))
        write(tmp_path / "ir" / f"{name}.png", smooth_noise(48, 56, 2 * i + 1))
    return ["--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "--workers", 1]


def grey(folder: Path, name: str) -> Picture:
    return to_grey8(iio.imread(folder / f"{name}.png"))


def plant(folder: Path, method: str, noise: float, names: list[str]) -> Path:
    """Write fused images: the mean of both sources, with noise that makes every score worse."""
    for i, name in enumerate(names):
        both = grey(folder / "vis", name).astype(float) + grey(folder / "ir", name)
        random = np.random.default_rng(i)
        fused = np.clip(both / 2 + noise * random.normal(size=both.shape), 0, 255)
        write(folder / method / f"{name}.png", fused.astype(np.uint8))
    return folder / method


def evaluated(*arguments: object) -> dict[str, Any]:
    result = fnet("eval", *arguments, "--json", "-")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "fnetcli", "eval", *map(str, arguments)]


def named(record: dict[str, Any], name: str) -> dict[str, Any]:
    (method,) = (method for method in record["methods"] if method["name"] == name)
    found: dict[str, Any] = method
    return found


class TestOneMethod:
    def test_scores_are_those_of_the_metrics(self, tmp_path: Path, sources: list[Any]) -> None:
        folder = plant(tmp_path, "fused", 3, NAMES)
        record = evaluated(*sources, "--fused", folder, "--metrics", "all")
        expected = {
            name: score(
                grey(tmp_path / "ir", name),
                grey(tmp_path / "vis", name),
                grey(folder, name),
                [metric for metric in METRICS if metric.name != "MS-SSIM"],
            )
            for name in NAMES
        }
        (method,) = record["methods"]
        for name in NAMES:
            assert method["scores"][name] == expected[name] | {"MS-SSIM": None}
        assert method["mean"]["MI"] == pytest.approx(np.mean([expected[n]["MI"] for n in NAMES]))
        assert method["n"]["MI"] == 4
        assert (method["mean"]["MS-SSIM"], method["n"]["MS-SSIM"]) == (None, 0)
        texts = [problem["text"] for problem in record["problems"]]
        assert texts == ["MS-SSIM needs at least 161x161 pixels, but the images are 56x48"] * 4
        told = fnet("eval", *sources, "--fused", folder, "--metrics", "all").stderr
        assert told.count("MS-SSIM needs") == 3
        assert "warning: 1 more such problem; --json and --html list them all" in told

    def test_the_table_says_what_it_holds(self, tmp_path: Path, sources: list[Any]) -> None:
        folder = plant(tmp_path, "fused", 3, NAMES)
        result = fnet("eval", *sources, "--fused", folder)
        assert result.exit_code == 0, result.output
        title, heads, row = result.stdout.splitlines()
        assert "convention 'paper'" in title
        assert "4 of 4 cases" in title
        assert "colour is compared as luminance" in title
        assert re.split(r"\s\s+", heads) == [
            "method", "n", "MI ↑", "CE ↓", "VIF ↑", "Qabf ↑", "Qcb ↑", "SSIM ↑",
        ]  # fmt: skip
        assert row.split()[:2] == [tmp_path.name, "4"]  # named after the folder that holds fused/
        assert "4 of 4 pairs scored, 1 method, 0 failed" in result.stderr

    def test_standard_convention(self, tmp_path: Path, sources: list[Any]) -> None:
        folder = plant(tmp_path, "fused", 3, NAMES)
        record = evaluated(*sources, "--fused", folder, "--convention", "standard")
        first, second, fused = (grey(tmp_path / side, "a") for side in ("ir", "vis", "fused"))
        expected = score(first, second, fused, metrics("standard")[:6])
        assert record["methods"][0]["scores"]["a"] == expected
        assert record["convention"] == "standard"

    def test_one_pair_of_files(self, tmp_path: Path, sources: list[Any]) -> None:
        assert sources
        folder = plant(tmp_path, "fused", 3, NAMES)
        record = evaluated(
            "--vis", tmp_path / "vis" / "a.png", "--ir", tmp_path / "ir" / "a.png",
            "--fused", folder / "a.png", "--metrics", "EN, mi",
        )  # fmt: skip
        assert list(record["methods"][0]["scores"]["a"]) == ["EN", "MI"]

    def test_what_fuse_wrote_scores_as_the_weights_do(
        self, tmp_path: Path, sources: list[Any]
    ) -> None:
        weights, out = tiny_weights(tmp_path), tmp_path / "out"
        images = sources[:4]
        done = fnet("fuse", *images, "-o", out, "--gray", "--weights", weights, "--maps", "none")
        assert done.exit_code == 0, done.output
        record = evaluated(*sources, "--fused", out, "--weights", f"mine={weights}")
        assert named(record, "out")["scores"] == named(record, "mine")["scores"]
        assert named(record, "mine")["origin"].startswith("tiny.safetensors, sha256 ")

    def test_baselines(self, tmp_path: Path, sources: list[Any]) -> None:
        record = evaluated(*sources, "--baselines")
        assert [method["name"] for method in record["methods"]] == [
            "average", "maximum", "laplacian",
        ]  # fmt: skip
        first, second = grey(tmp_path / "ir", "b"), grey(tmp_path / "vis", "b")
        assert named(record, "maximum")["scores"]["b"] == score(
            first, second, np.maximum(first, second)
        )


class TestSeparation:
    """A column for methods whose fused image is a sum of unique and common parts."""

    def test_a_column_and_its_cache(self, tmp_path: Path, sources: list[Any]) -> None:
        weights, table = tiny_weights(tmp_path), tmp_path / "scores.csv"
        asked = [*sources, "--weights", weights, "--baselines", "--metrics", "MI"]
        page = tmp_path / "page.html"
        result = fnet("eval", *asked, "--csv", table, "--html", page)
        assert result.exit_code == 0, result.output
        assert "separation&nbsp;↑" in page.read_text(encoding="utf-8")
        heads = [line for line in result.stdout.splitlines() if line.startswith("method")]
        assert re.split(r"\s\s+", heads[0]) == ["method", "n", "MI ↑", "separation ↑", "mean rank"]
        (row,) = [row for row in result.stdout.splitlines() if row.startswith("average")][:1]
        assert row.split()[3] == "-"
        record = evaluated(*asked)
        assert "all scores known" in fnet("eval", *asked).stderr
        found = named(record, "tiny")["separation"]
        parts = tmp_path / "parts"
        fused = fnet("fuse", *sources[:4], "-o", parts, "--weights", weights, "--maps", "float")
        assert fused.exit_code == 0, fused.output
        u, v, z = (
            iio.imread(parts / name / "a.tif") for name in ("unique_ir", "unique_vis", "common")
        )
        first = np.asarray(iio.imread(tmp_path / "ir" / "a.png") / 255, np.float32)
        colors = np.asarray(iio.imread(tmp_path / "vis" / "a.png") / 255, np.float32)
        second = luminance(colors)[..., 0]
        expected = measure_separation((u, v, z), first, second).score
        assert found["scores"]["a"] == pytest.approx(expected, abs=1e-4)
        assert found["mean"] == pytest.approx(np.mean(list(found["scores"].values())))
        assert named(record, "average")["separation"]["mean"] is None
        with table.open() as file:
            rows = list(csv.DictReader(file))
        assert float(rows[0]["separation"]) == found["scores"]["a"]
        assert rows[-1]["separation"] == ""

    def test_flat_images_have_none(self, tmp_path: Path) -> None:
        """Images without edges have no separation; the table has no such column."""
        for side in ("vis", "ir"):
            write(tmp_path / side / "a.png", np.full((48, 56), 90, np.uint8))
        record = evaluated(
            *("--vis", tmp_path / "vis", "--ir", tmp_path / "ir"),
            *("--weights", tiny_weights(tmp_path), "--metrics", "MI"),
        )
        assert "separation" not in named(record, "tiny")

    def test_a_whole_image_has_none(self, tmp_path: Path, sources: list[Any]) -> None:
        weights = small_cddfuse.save(tmp_path)
        record = evaluated(*sources, "--weights", weights, "--metrics", "MI")
        assert "separation" not in named(record, "small")


class TestPlantedWinner:
    """Three made methods of known order, two of them without some cases."""

    @pytest.fixture
    def arguments(self, tmp_path: Path, sources: list[Any]) -> list[Any]:
        good = plant(tmp_path, "good", 0, NAMES)
        fair = plant(tmp_path, "fair", 10, NAMES[:3])
        poor = plant(tmp_path, "poor", 60, NAMES[1:])
        return [
            *sources, "--fused", f"fair={fair}", "--fused", f"good={good}", "--fused",
            f"poor={poor}", "--metrics", "VIF,CC,MSE",
        ]  # fmt: skip

    def test_json(self, arguments: list[Any]) -> None:
        record = evaluated(*arguments)
        assert record["common_cases"] == ["b", "c"]
        order = sorted(record["methods"], key=lambda method: float(method["mean_rank"]))
        assert [method["name"] for method in order] == ["good", "fair", "poor"]
        assert [method["mean_rank"] for method in order] == [1, 2, 3]
        for name, mark in (("good", "best"), ("fair", "second"), ("poor", None)):
            method = named(record, name)
            assert set(method["mark"].values()) == {mark}
            assert set(method["n"].values()) == {2}
            both = [method["scores"][case]["MSE"] for case in ("b", "c")]
            assert method["mean"]["MSE"] == pytest.approx(np.mean(both))
        assert named(record, "fair")["wilcoxon_p"]["VIF"] is None
        assert named(record, "poor")["wilcoxon_p"]["VIF"] == 0.5
        assert [(problem["case"], problem["method"]) for problem in record["problems"]] == [
            ("a", "poor"), ("d", "fair"),
        ]  # fmt: skip

    def test_all_cases(self, arguments: list[Any]) -> None:
        record = evaluated(*arguments, "--all-cases")
        counts = {method["name"]: method["n"]["MSE"] for method in record["methods"]}
        assert counts == {"fair": 3, "good": 4, "poor": 3}

    def test_terminal(self, arguments: list[Any]) -> None:
        result = fnet("eval", *arguments)
        assert result.exit_code == 0, result.output
        rows = {line.split()[0]: line.split() for line in result.stdout.splitlines()[2:5]}
        assert rows["good"][1] == "2"
        assert all(cell.endswith("*") for cell in rows["good"][2:5])
        assert all(cell.endswith("+") for cell in rows["fair"][2:5])
        assert not any(cell.endswith(("*", "+")) for cell in rows["poor"][2:5])
        assert "2 of 4 cases, those that all methods have" in result.stdout
        assert "a, poor: no fused image of this case" in result.stderr

    def test_files(self, tmp_path: Path, arguments: list[Any]) -> None:
        files = {kind: tmp_path / "new" / f"r.{kind}" for kind in ("csv", "markdown", "latex")}
        page = tmp_path / "new" / "r.html"
        options = [text for kind, path in files.items() for text in (f"--{kind}", path)]
        result = fnet("eval", *arguments, *options, "--html", page, "--report-cases", 1)
        assert result.exit_code == 0, result.output
        rows = list(csv.DictReader(files["csv"].read_text().splitlines()))
        assert len(rows) == 12
        (missing,) = (r for r in rows if (r["method"], r["case"]) == ("poor", "a"))
        assert (missing["VIF"], missing["CC"]) == ("", "")
        good, _ = re.findall(r"^\| good .*$", files["markdown"].read_text(), re.MULTILINE)
        assert good.count("**") == 6
        (fair,) = re.findall(r"^fair & 2.*$", files["latex"].read_text(), re.MULTILINE)
        assert fair.count(r"\underline{") == 3
        assert "good" in page.read_text()
        assert "data:image/webp" in page.read_text()

    def test_strict(self, arguments: list[Any]) -> None:
        assert fnet("eval", *arguments, "--strict").exit_code == 1

    def test_no_common_case(self, tmp_path: Path, sources: list[Any]) -> None:
        one = plant(tmp_path, "one", 0, ["a"])
        two = plant(tmp_path, "two", 0, ["b"])
        result = fnet("eval", *sources, "--fused", one, "--fused", two)
        assert result.exit_code == 0, result.output
        assert "no case has fused images of all methods" in result.stderr


class TestStandardOutput:
    @pytest.mark.parametrize("kind", ["csv", "markdown", "latex"])
    def test_holds_what_the_file_would(self, tmp_path: Path, sources: list[Any], kind: str) -> None:
        written = fnet("eval", *sources, "--baselines", f"--{kind}", tmp_path / "r")
        printed = fnet("eval", *sources, "--baselines", f"--{kind}", "-")
        assert written.exit_code == printed.exit_code == 0
        assert printed.stdout == (tmp_path / "r").read_text()
        assert not Path("-").exists()

    def test_page(self, sources: list[Any]) -> None:
        result = fnet("eval", *sources, "--baselines", "--html", "-", "--report-cases", 1)
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("<!DOCTYPE html>")
        assert result.stdout.rstrip().endswith("</html>")
        assert "page: " not in result.stderr

    def test_a_page_in_a_file_is_told(self, tmp_path: Path, sources: list[Any]) -> None:
        page = tmp_path / "p.html"
        result = fnet("eval", *sources, "--baselines", "--html", page, "--report-cases", 0)
        assert f"page: {page}" in result.stderr
        assert page.is_file()

    @pytest.mark.parametrize(
        "sources_too", [True, False], ids=["with sources", "with the cost alone"]
    )
    def test_holds_one_result(self, sources: list[Any], sources_too: bool) -> None:
        given = sources if sources_too else ["--cost", "8x8"]
        result = fnet("eval", *given, "--baselines", "--json", "-", "--markdown", "-")
        assert result.exit_code == 2
        (line,) = errors(result.stderr)
        assert "--json and --markdown: only one result can go to stdout; name files" in line
        assert result.stdout == ""

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    @pytest.mark.parametrize("options", [[], ["--json", "-"]])
    def test_takes_nothing(self, tmp_path: Path, sources: list[Any], options: list[str]) -> None:
        files = ["--csv", tmp_path / "r.csv", "--latex", tmp_path / "r.tex"]
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                command(*sources, "--baselines", *options, *files),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == 1
        (line,) = errors(done.stderr)
        assert "standard output: cannot be written (No space left on device)" in line
        assert "4 of 4 pairs scored" in done.stderr
        assert (tmp_path / "r.csv").is_file()
        assert (tmp_path / "r.tex").is_file()

    def test_nobody_reads(self, tmp_path: Path, sources: list[Any]) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            command(*sources, "--baselines", "--csv", tmp_path / "r.csv"),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        os.close(writing)
        assert done.returncode == 1
        (line,) = errors(done.stderr)
        assert "standard output: closed by its reader" in line
        assert (tmp_path / "r.csv").is_file()

    @pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
    def test_of_few_characters(self, tmp_path: Path, sources: list[Any], encoding: str) -> None:
        runner = CliRunner(charset=encoding)
        given = ["eval", *sources, "--baselines", "--csv", tmp_path / "r.csv"]
        done = runner.invoke(app, list(map(str, given)))
        assert done.exit_code == 0, done.stderr
        assert b"MI ?" in done.stdout_bytes
        assert (tmp_path / "r.csv").is_file()

    def test_bytes_of_file_names_come_through(self) -> None:
        assert "\udcff\udc80é ↑".encode("cp1252", AS_FAR_AS_POSSIBLE) == b"\xff\x80\xe9 ?"
        assert "\udcff\udc80é ↑".encode("utf-8", AS_FAR_AS_POSSIBLE) == b"\xff\x80" + "é ↑".encode()


@pytest.mark.skipif(os.name == "nt", reason="terminals of Unix")
class TestTerminal:
    def shown(self, columns: int, *arguments: object, **variables: str) -> str:
        """Return what a terminal of so many columns gets, its codes included."""
        import pty  # noqa: PLC0415
        import termios  # noqa: PLC0415

        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, columns))
        unset = {name: text for name, text in os.environ.items() if name != "COLUMNS"}
        process = subprocess.Popen(
            command(*arguments), stdout=theirs, stderr=theirs, env=unset | variables
        )
        os.close(theirs)
        with open(ours, "rb", buffering=0) as terminal:  # noqa: PTH123
            seen = b""
            try:
                while piece := terminal.read(4096):
                    seen += piece
            except OSError:  # Linux: nobody writes any more
                pass
        assert process.wait() == 0
        return seen.decode()

    @pytest.mark.parametrize("columns", [80, 20])
    def test_numbers_are_never_cut(self, tmp_path: Path, sources: list[Any], columns: int) -> None:
        name = "a method of a very long name"
        arguments = [
            *sources, "--baselines", "--fused", f"{name}={plant(tmp_path, 'm', 5, NAMES)}",
            "--metrics", "all", "-q",
        ]  # fmt: skip
        whole = fnet("eval", *arguments[:-1]).stdout.splitlines()
        expected = [re.sub("[*+]", "", word) for line in whole for word in numbers(line)]
        coded = self.shown(columns, *arguments[:-1])
        assert "\x1b[1m" in coded
        assert "\x1b[4m" in coded
        assert "\x1b[33m" in coded
        lines = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", coded).splitlines()
        tables = [
            line for line in lines if not line.startswith(("warning", "vis + ir", "p against"))
        ]
        found = [word for line in tables for word in numbers(line)]
        assert sorted(found) == sorted(expected)

    def test_no_color(self, tmp_path: Path, sources: list[Any]) -> None:
        arguments = [*sources, "--baselines", "--fused", plant(tmp_path, "m", 5, NAMES[:3])]
        plain = self.shown(80, *arguments, NO_COLOR="1")
        assert "warning: " in plain
        assert {*re.findall(r"\x1b\[([0-9;]*)m", plain)} <= {"0", "1", "4"}
        assert "\x1b[1m" in plain


def numbers(line: str) -> list[str]:
    return re.findall(r"(?<!\S)-?<?\d+\.\d+[*+]?(?!\S)", line)


class TestWhichFiles:
    def test_columns_of_a_list(self, tmp_path: Path, sources: list[Any]) -> None:
        plant(tmp_path, "x", 0, ["a", "b"])
        plant(tmp_path, "y", 20, ["a", "b"])
        (tmp_path / "list.csv").write_text(
            "case,vis,ir,X,Y\n"
            "one,vis/a.png,ir/a.png,x/a.png,y/a.png\n"
            "two,vis/b.png,ir/b.png,x/b.png,\n"
        )
        assert sources
        pairs = ["--pairs", tmp_path / "list.csv"]
        record = evaluated(*pairs)
        assert [method["name"] for method in record["methods"]] == ["X", "Y"]
        assert record["common_cases"] == ["one"]
        assert [method["name"] for method in evaluated(*pairs, "--fused", "Y")["methods"]] == ["Y"]

    def test_a_column_may_not_leave_the_folder(self, tmp_path: Path, sources: list[Any]) -> None:
        assert sources
        (tmp_path / "list.csv").write_text("vis,ir,X\nvis/a.png,ir/a.png,/etc/passwd\n")
        result = fnet("eval", "--pairs", tmp_path / "list.csv")
        assert result.exit_code == 2
        assert "column 'X', case 'a': /etc/passwd lies outside" in errors(result.stderr)[0]

    def test_names_with_an_ending(self, tmp_path: Path, sources: list[Any]) -> None:
        for path in plant(tmp_path, "m", 0, NAMES).iterdir():
            path.rename(path.with_stem(f"{path.stem}_fused"))
        assert fnet("eval", *sources, "--fused", tmp_path / "m").exit_code == 2
        record = evaluated(*sources, "--fused", tmp_path / "m", "--suffix", "m=_fused")
        assert len(record["common_cases"]) == 4

    def test_images_of_no_case_are_counted(self, tmp_path: Path, sources: list[Any]) -> None:
        folder = plant(tmp_path, "m", 0, NAMES)
        write(folder / "stranger.png", smooth_noise(8, 8, 0))
        result = fnet("eval", *sources, "--fused", folder, "-v")
        assert result.exit_code == 0
        assert "m: 1 image belongs to no case" in result.stderr
        assert "stranger.png" in result.stderr

    def test_arrays_and_tables_are_images_too(self, tmp_path: Path, sources: list[Any]) -> None:
        """As in the folders of sources: a picture comes first, and other data is not missed."""
        folder = plant(tmp_path, "mine", 3, NAMES)
        expected = evaluated(*sources, "--fused", folder)["methods"][0]["scores"]
        for name in NAMES[:2]:
            np.save(folder / f"{name}.npy", grey(folder, name))
            (folder / f"{name}.png").unlink()
        np.savetxt(folder / "c.csv", grey(folder, "c"), "%d", ";")  # beside its picture
        (folder / "scores.csv").write_text("case;MI\na;1\n")
        record = evaluated(*sources, "--fused", folder)
        assert record["methods"][0]["scores"] == expected
        assert not record["problems"]
        output = tmp_path / "output"
        output.mkdir()
        folder.rename(output / "fused")
        (output / "scores.csv").write_text("case;MI\na;1\n")
        assert evaluated(*sources, "--fused", output)["methods"][0]["scores"] == expected

    def test_a_file_serves_one_case(self, tmp_path: Path, sources: list[Any]) -> None:
        """It is named as its case, else as a source; a source may be that of two cases."""
        assert sources
        (tmp_path / "list.csv").write_text(
            "case,vis,ir\n"
            "one,vis/a.png,ir/b.png\n"
            "a,vis/b.png,ir/a.png\n"
            "three,vis/c.png,ir/c.png\n"
            "four,vis/c.png,ir/d.png\n"
        )
        folder = plant(tmp_path, "m", 5, ["a", "c"])
        record = evaluated("--pairs", tmp_path / "list.csv", "--fused", folder)
        assert record["common_cases"] == ["a", "three"]
        assert [(one["case"], one["text"]) for one in record["problems"]] == [
            (case, f"no fused image of this case in {folder}") for case in ("one", "four")
        ]

    def test_a_column_twice(self, tmp_path: Path, sources: list[Any]) -> None:
        assert sources
        (tmp_path / "list.csv").write_text("vis,ir,X,X\nvis/a.png,ir/a.png,x.png,y.png\n")
        result = fnet("eval", "--pairs", tmp_path / "list.csv")
        assert result.exit_code == 2
        assert "list.csv: two columns are called 'X'; leave one out" in errors(result.stderr)[0]

    @pytest.mark.skipif(os.name == "nt", reason="names of Unix")
    def test_names_that_a_terminal_would_obey(self, tmp_path: Path, sources: list[Any]) -> None:
        folder = plant(tmp_path, "m", 5, NAMES)
        write(tmp_path / "vis" / "x\n\x1b[31merror: y.png", smooth_noise(8, 8, 0))
        result = fnet("eval", *sources, "--fused", f"o\u2028\u202ene={folder}")
        assert result.exit_code == 0, result.output
        assert r"x\n\x1b[31merror: y.png" in result.stderr
        assert errors(result.stderr) == []
        assert len(result.stdout.splitlines()) == 3


class TestDepths:
    def test_sixteen_bits_are_scaled_as_fuse_scales_and_said(self, tmp_path: Path) -> None:
        visible, thermal = smooth_noise(48, 56, 0), smooth_noise(48, 56, 1)
        write(tmp_path / "vis.png", visible)
        iio.imwrite(tmp_path / "ir.tif", thermal.astype(np.uint16) * 10 + 29000)
        fused = np.maximum(visible, thermal)
        iio.imwrite(tmp_path / "fused.png", fused.astype(np.uint16) * 257)
        result = fnet(
            "eval", "--vis", tmp_path / "vis.png", "--ir", tmp_path / "ir.tif",
            "--range", "ir=29000,31550", "--fused", tmp_path / "fused.png", "--json", "-",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        record = json.loads(result.stdout)
        (method,) = record["methods"]
        assert method["scores"]["vis"] == score(thermal, visible, fused)
        assert record["notices"] == [
            "ir: uint16 numbers 29000 to 31550 become 0 to 255",
            "fused: uint16 numbers 0 to 65535 become 0 to 255",
        ]

    def test_notices_are_told_again_when_scores_are_known(self, tmp_path: Path) -> None:
        write(tmp_path / "vis.png", smooth_noise(48, 56, 0))
        iio.imwrite(tmp_path / "ir.tif", smooth_noise(48, 56, 1).astype(np.uint16))
        arguments = ["--vis", tmp_path / "vis.png", "--ir", tmp_path / "ir.tif", "--baselines"]
        assert evaluated(*arguments)["notices"] == evaluated(*arguments)["notices"] != []

    def test_types_are_counted_each_by_itself(self, tmp_path: Path, sources: list[Any]) -> None:
        for i, (name, kind) in enumerate(zip("abc", ("uint16", "uint16", "uint32"), strict=True)):
            (tmp_path / "ir" / f"{name}.png").unlink()
            thermal = smooth_noise(48, 56, i).astype(kind) + np.array(1000 * i, kind)
            tifffile.imwrite(tmp_path / "ir" / f"{name}.tif", thermal)
        notices = evaluated(*sources, "--baselines")["notices"]
        assert [re.sub(r" \d\S*", " N", text) for text in notices] == [
            "ir: uint16 numbers N to N become N to N (2 such cases)",
            "ir: uint32 numbers N to N become N to N",
        ]

    @pytest.mark.parametrize(
        ("pixels", "message"),
        [
            (np.full((48, 56), 300, np.float32), "values range from 0 to 300"),
            (np.full((48, 56), np.nan, np.float32), "2688 values are NaN or infinite"),
            (np.full((48, 56), 200, np.int16), "holds signed whole numbers, whose white is"),
        ],
    )
    def test_what_is_no_fused_image(
        self, tmp_path: Path, sources: list[Any], pixels: Any, message: str
    ) -> None:
        folder = plant(tmp_path, "m", 0, NAMES[1:])
        tifffile.imwrite(folder / "a.tif", pixels)
        result = fnet("eval", *sources, "--fused", folder)
        assert result.exit_code == 1
        (line,) = errors(result.stderr)
        assert "a.tif: " in line
        assert message in line
        assert "3 of 4 pairs scored" in result.stderr


class TestBadInput:
    def test_fused_of_another_size(self, tmp_path: Path, sources: list[Any]) -> None:
        folder = plant(tmp_path, "m", 0, NAMES[1:])
        write(folder / "a.png", smooth_noise(24, 28, 0))
        result = fnet("eval", *sources, "--fused", folder)
        assert result.exit_code == 1
        (line,) = errors(result.stderr)
        assert "a.png: is 28x24, but the sources are 56x48" in line

    def test_damaged_files(self, tmp_path: Path, sources: list[Any]) -> None:
        folder = plant(tmp_path, "m", 0, NAMES)
        (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:300])
        (tmp_path / "ir" / "b.png").write_bytes(b"")
        result = fnet("eval", *sources, "--fused", folder, "--baselines")
        assert result.exit_code == 1
        first, second = errors(result.stderr)
        assert "m/a.png: " in first
        assert "ir/b.png: the file is empty" in second
        assert "2 of 4 cases" in result.stdout

    def test_nothing_can_be_scored(self, tmp_path: Path, sources: list[Any]) -> None:
        for name in NAMES:
            write(tmp_path / "m" / f"{name}.png", smooth_noise(8, 8, 0))
        result = fnet("eval", *sources, "--fused", tmp_path / "m")
        assert result.exit_code == 1
        assert "no case could be scored" in errors(result.stderr)[-1]
        assert result.stdout == ""

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--fused", "{t}/none"], "none: no such file or folder"),
            ([], "nothing to score; give --fused DIR"),
            (["--fused", "{t}/vis", "--fused", "{t}/vis"], "two methods are named 'vis'"),
            (["--fused", "x={t}/vis", "--fused", "x={t}/ir"], "two methods are named 'x'"),
            (["--fused", "ir={t}/vis"], "a method is named 'ir' like a source"),
            (["--fused", "IR={t}/vis"], "a method is named 'IR' like a source"),
            (["--fused", "X={t}/vis", "--fused", "x={t}/ir"], "two methods are named 'X' and 'x'"),
            (["--fused", "\u00e9={t}/vis", "--fused", "e\u0301={t}/ir"], "two methods are named"),
            (["--fused", "{t}/vis/a.png"], "is a file, but folders are scored"),
            (["--fused", "{t}/empty"], "no fused image there belongs to a case"),
            (["--baselines", "--metrics", "SIM"], "--metrics SIM: unknown; did you mean SSIM?"),
            (["--baselines", "--metrics", ","], "--metrics: names none"),
            (["--baselines", "--cost", "big"], "--cost big: give height and width"),
            (["--weights", "{t}/none.pth"], "none.pth: no such file"),
            (["--baselines", "--suffix", "m=_x"], "--suffix m=_x: neither a modality nor a method"),
            (["--baselines", "--csv", "{t}/vis"], "is a folder; name a file"),
            (["--baselines", "--csv", "{t}/vis/a.png"], "is an input; choose another name"),
            (["--baselines", "--csv", "{t}/x", "--html", "{t}/x"], "is the name of another result"),
        ],
    )
    def test_mistakes(
        self, tmp_path: Path, sources: list[Any], options: list[str], message: str
    ) -> None:
        (tmp_path / "empty").mkdir()
        sources = [source for source in sources if source not in ("--workers", 1)]
        given = [option.replace("{t}", str(tmp_path)) for option in options]
        if given == ["--fused", str(tmp_path / "vis")] * 2:
            given[1] = given[3] = str(plant(tmp_path, "deep/vis", 0, NAMES))
        before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
        result = fnet("eval", *sources, *given)
        assert result.exit_code == 2, result.output
        (line,) = errors(result.stderr)
        assert message in line
        assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before
        assert not (tmp_path / "x").exists()

    def test_a_result_that_cannot_be_written(
        self, tmp_path: Path, sources: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The folder vanishes while scoring: the others are written."""
        csv = tmp_path / "folder" / "x.csv"
        monkeypatch.setattr(
            "fnetcli.cli.eval.require_scores", lambda _: (tmp_path / "folder").write_text("")
        )
        files = ["--csv", csv, "--markdown", tmp_path / "x.md"]
        result = fnet("eval", *sources, "--baselines", *files)
        assert result.exit_code == 1
        (line,) = errors(result.stderr)
        assert f"{csv}: cannot be written (a file is where a folder is needed)" in line
        assert "choose another path" in line
        assert (tmp_path / "x.md").is_file()

    def test_names_that_latex_would_take_for_its_own(
        self, tmp_path: Path, sources: list[Any]
    ) -> None:
        folder = plant(tmp_path, "m", 5, NAMES)
        names = ["[5] F", "*", "a<b>|c"]
        methods = [text for name in names for text in ("--fused", f"{name}={folder}")]
        result = fnet("eval", *sources, *methods, "--latex", "-")
        rows = [line.split(" & ")[0] for line in result.stdout.splitlines() if " & 4 & " in line]
        assert rows == ["{}[5] F", "{}*", r"a\textless{}b\textgreater{}\textbar{}c"]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    def test_a_device_is_written_to_and_not_replaced(
        self, tmp_path: Path, sources: list[Any]
    ) -> None:
        full = tmp_path / "full"
        full.symlink_to("/dev/full")
        result = fnet("eval", *sources, "--baselines", "--csv", full)
        assert result.exit_code == 1
        (line,) = errors(result.stderr)
        assert "full: cannot be written (No space left on device)" in line
        assert full.is_char_device()


def test_16_bits_that_hold_fewer_are_told(tmp_path: Path, sources: list[Any]) -> None:
    folder = plant(tmp_path, "m", 5, NAMES)
    for path in folder.iterdir():
        iio.imwrite(path, iio.imread(path).astype(np.uint16))
    result = fnet("eval", *sources, "--fused", folder, "--metrics", "MI")
    assert result.exit_code == 0
    assert "16-bit images with no number above 4095 are nearly black" in result.stderr
    for path in folder.iterdir():
        iio.imwrite(path, iio.imread(path) * np.uint16(257))
    result = fnet("eval", *sources, "--fused", folder, "--metrics", "MI")
    assert "nearly black" not in result.stderr
    pair = [f"--{name}={tmp_path / name / 'a.png'}" for name in ("vis", "ir")]
    for kind, words in (
        (np.uint64, "32-bit images with no number above 268435455 are nearly black; store them so"),
        (np.int64, "a.npy: holds signed whole numbers"),
    ):
        np.save(tmp_path / "a.npy", smooth_noise(48, 56, 0).astype(kind))
        result = fnet("eval", *pair, "--fused", tmp_path / "a.npy", "--metrics", "MI")
        assert words in result.stderr


class TestCache:
    def test_a_second_run_computes_nothing(self, tmp_path: Path, sources: list[Any]) -> None:
        arguments = [*sources, "--baselines", "--fused", plant(tmp_path, "m", 5, NAMES)]
        arguments += ["--weights", tiny_weights(tmp_path)]
        first = fnet("eval", *arguments)
        second = fnet("eval", *arguments)
        assert second.stdout == first.stdout
        assert "all scores known from earlier runs" not in first.stderr
        assert "all scores known from earlier runs" in second.stderr

    def test_content_decides(self, tmp_path: Path, sources: list[Any]) -> None:
        folder = plant(tmp_path, "m", 5, NAMES)
        before = evaluated(*sources, "--fused", folder)
        plant(tmp_path, "m", 9, ["a"])
        after = evaluated(*sources, "--fused", folder)
        old, new = before["methods"][0]["scores"], after["methods"][0]["scores"]
        assert {name for name in NAMES if old[name] != new[name]} == {"a"}

    def test_options_decide(self, tmp_path: Path, sources: list[Any]) -> None:
        folder = plant(tmp_path, "m", 5, NAMES)
        plain = evaluated(*sources, "--fused", folder)["methods"][0]["mean"]
        for option in (["--invert", "ir"], ["--convention", "standard"], ["--range", "ir=0,99"]):
            assert evaluated(*sources, "--fused", folder, *option)["methods"][0]["mean"] != plain

    def test_further_metrics_are_added(self, tmp_path: Path, sources: list[Any]) -> None:
        arguments = [*sources, "--fused", plant(tmp_path, "m", 5, NAMES)]
        evaluated(*arguments, "--metrics", "MI")
        both = evaluated(*arguments, "--metrics", "MI,EN")["methods"][0]["scores"]
        assert (
            both
            == evaluated(*arguments, "--metrics", "MI,EN", "--no-cache")["methods"][0]["scores"]
        )

    def test_nothing_is_kept_unless_wanted(self, tmp_path: Path, sources: list[Any]) -> None:
        fnet("eval", *sources, "--baselines", "--no-cache")
        assert not (tmp_path / "cache").exists()

    def test_a_damaged_cache_is_no_obstacle(self, tmp_path: Path, sources: list[Any]) -> None:
        (tmp_path / "cache" / "fnet").mkdir(parents=True)
        (tmp_path / "cache" / "fnet" / "scores.sqlite").write_bytes(b"no database" * 1000)
        result = fnet("eval", *sources, "--baselines")
        assert result.exit_code == 0, result.output
        assert "scores.sqlite: scores cannot be stored there (file is not a data" in result.stderr
        assert "remove that file" in result.stderr

    def test_a_lock_of_another_program_is_no_obstacle(
        self, tmp_path: Path, sources: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cache, "LOCK_SECONDS", 0.01)
        one = [*sources, "--fused", plant(tmp_path, "one", 5, NAMES)]
        fnet("eval", *one)
        other = sqlite3.connect(tmp_path / "cache" / "fnet" / "scores.sqlite")
        other.execute("BEGIN IMMEDIATE")
        two = fnet("eval", *one, "--fused", plant(tmp_path, "two", 9, NAMES))
        again = fnet("eval", *one)
        other.close()
        assert two.exit_code == 0, two.output
        assert "cannot be stored" not in two.stderr
        assert "all scores known from earlier runs" in again.stderr

    def test_it_holds_no_names(self, tmp_path: Path, sources: list[Any]) -> None:
        folder = plant(tmp_path, "secretive", 5, NAMES)
        fnet("eval", *sources, "--fused", folder)
        content = (tmp_path / "cache" / "fnet" / "scores.sqlite").read_bytes()
        assert b"secretive" not in content
        assert str(tmp_path).encode() not in content


class TestWorkers:
    def test_processes_score_as_one_does(self, tmp_path: Path, sources: list[Any]) -> None:
        folder = plant(tmp_path, "m", 5, NAMES)
        iio.imwrite(folder / "a.png", smooth_noise(9, 9, 0))
        arguments = [*sources[:4], "--fused", folder, "--baselines", "--no-cache"]
        one = fnet("eval", *arguments, "--workers", 1)
        three = fnet("eval", *arguments, "--workers", 3)
        assert one.exit_code == three.exit_code == 1
        assert one.stdout == three.stdout
        assert errors(one.stderr) == errors(three.stderr)


@pytest.mark.skipif(os.name == "nt", reason="signals")
class TestSignals:
    """A run of many pairs in two processes, in a process group of its own."""

    @pytest.fixture
    def process(self, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
        vis, ir = (smooth_noise(300, 400, seed) for seed in (0, 1))
        first = write(tmp_path / "ir" / "0.bmp", ir)
        for i in range(90):
            write(tmp_path / "vis" / f"{i}.bmp", np.roll(vis, 9 * i, axis=1))
            if i:
                os.link(first, tmp_path / "ir" / f"{i}.bmp")
        given = ["--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "--baselines"]
        process = subprocess.Popen(
            command(*given, "--workers", 2, "--csv", tmp_path / "r.csv"),
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        yield process
        process.kill()
        process.communicate()

    def workers(self, process: subprocess.Popen[str]) -> list[psutil.Process]:
        """Wait until a worker is starting."""
        while process.poll() is None:
            children = psutil.Process(process.pid).children()
            found = [one for one in children if "spawn_main" in " ".join(one.cmdline())]
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(process.communicate())

    def kept(self, folder: Path) -> int:
        database = folder / "cache" / "fnet" / "scores.sqlite"
        try:
            reader = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
            ((count,),) = reader.execute("SELECT count(*) FROM scores")
        except sqlite3.OperationalError:
            return 0
        reader.close()
        return int(count)

    def wait_for_scores(self, process: subprocess.Popen[str], folder: Path) -> None:
        while not self.kept(folder):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)

    def test_an_interrupt_keeps_what_is_known(
        self, tmp_path: Path, process: subprocess.Popen[str]
    ) -> None:
        self.wait_for_scores(process, tmp_path)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130, stderr
        assert errors(stderr) == ["error: interrupted; finished results are on disk"]
        assert stdout == ""
        assert self.kept(tmp_path)

    def test_ctrl_c_while_workers_start(self, process: subprocess.Popen[str]) -> None:
        self.workers(process)
        os.killpg(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130, stderr
        *progress, line = stderr.splitlines()
        assert line == "error: interrupted; finished results are on disk"
        assert all(" pairs scored, " in one for one in progress), stderr  # on a busy machine
        assert stdout == ""

    def test_a_worker_that_is_killed_ends_the_run(
        self, tmp_path: Path, process: subprocess.Popen[str]
    ) -> None:
        self.wait_for_scores(process, tmp_path)
        self.workers(process)[0].kill()
        stdout, stderr = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1, stderr
        (line,) = errors(stderr)
        assert "a worker process was killed" in line
        assert "use fewer with --workers" in line
        assert stdout == ""
        assert not (tmp_path / "r.csv").exists()
        assert self.kept(tmp_path)

    def test_a_run_that_is_killed_keeps_what_is_known(
        self, tmp_path: Path, process: subprocess.Popen[str]
    ) -> None:
        self.wait_for_scores(process, tmp_path)
        process.kill()
        process.communicate(timeout=PATIENCE)
        assert self.kept(tmp_path)


class TestCost:
    def test_alone(self, tmp_path: Path) -> None:
        result = fnet("eval", "--cost", "24x32", "--weights", tiny_weights(tmp_path), "--baselines")
        assert result.exit_code == 0, result.output
        lines = result.stdout.splitlines()
        assert "cost of a pair of 24x32 (height x width)" in "\n".join(lines)
        names = [line.split()[0] for line in lines if " MB" in line]
        assert names == ["tiny", "average", "maximum", "laplacian"]

    def test_with_scores(self, tmp_path: Path, sources: list[Any]) -> None:
        record = evaluated(*sources, "--weights", tiny_weights(tmp_path), "--cost", "24x32")
        (cost,) = record["costs"]
        assert (cost["height"], cost["width"], cost["method"]) == (24, 32, "tiny")
        assert cost["seconds"] > 0

    def test_models_stand_side_by_side(self, tmp_path: Path, sources: list[Any]) -> None:
        published = small_cddfuse.save(tmp_path, config=CDDFuseConfig())
        page = tmp_path / "r.html"
        record = evaluated(*sources, "--weights", "fnet", "--weights", f"cddfuse={published}",
                           "--metrics", "MI", "--cost", "8x9", "--html", page)  # fmt: skip
        counts = {
            one["method"]: (one["parameters"], one["multiply_adds"]) for one in record["costs"]
        }
        assert counts == {
            "fnet": (419_916, 419_904 * 72),
            "cddfuse": (1_188_272, 1_798_368 * 72),
        }
        for one in record["costs"]:
            assert one["seconds"] > 0
            assert one["peak_bytes"] > one["parameters"] * 4
        assert record["costs"][1]["how"].startswith("torch, layer by layer, fp32, ")
        text = page.read_text()
        table = text[text.index('<table id="costs">') :]
        table = table[: table.index("</table>")]
        assert table.index("419,916") < table.index("1,188,272")
        assert "Cost of a pair of 8x9 (height x width)" in text

    def test_no_costs_no_table(self, tmp_path: Path, sources: list[Any]) -> None:
        page = tmp_path / "r.html"
        evaluated(*sources, "--baselines", "--metrics", "MI", "--html", page)
        assert '<table id="costs">' not in page.read_text()

    def test_alone_as_files(self, tmp_path: Path) -> None:
        files = ["--markdown", tmp_path / "r.md", "--latex", tmp_path / "r.tex"]
        result = fnet("eval", "--cost", "16x8", "--baselines", "--json", "-", *files)
        assert result.exit_code == 0, result.output
        record = json.loads(result.stdout)
        assert [one["method"] for one in record["costs"]] == ["average", "maximum", "laplacian"]
        assert record["details"]["version"].startswith("fnet ")
        for path, row in ((tmp_path / "r.md", "| average |"), (tmp_path / "r.tex", "average &")):
            assert "cost of a pair of 16x8" in path.read_text()
            assert row in path.read_text()

    @pytest.mark.parametrize("option", ["--csv", "--html", "--fused"])
    def test_alone_has_no_scores(self, tmp_path: Path, option: str) -> None:
        for path in (tmp_path / "x", "-"):
            result = fnet("eval", "--cost", "16x8", "--baselines", option, path)
            assert result.exit_code == 2
            (line,) = errors(result.stderr)
            assert f"{option}: needs scores, but --cost alone has none" in line
            assert list(tmp_path.iterdir()) == []

    @pytest.fixture
    def one_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        measure = cost.measure_cost

        def fail(method: str, *arguments: Any, **options: Any) -> Cost:
            if method == "average":
                raise EvaluationError("cost of average: memory ran out")
            return measure(method, *arguments, **options)

        monkeypatch.setattr(cost, "measure_cost", fail)

    @pytest.mark.usefixtures("one_fails")
    def test_one_that_fails_takes_nothing_with_it(self, tmp_path: Path, sources: list[Any]) -> None:
        files = ["--csv", tmp_path / "r.csv", "--json", tmp_path / "r.json"]
        result = fnet("eval", *sources, "--baselines", "--cost", "16x8", *files)
        assert result.exit_code == 1
        assert errors(result.stderr) == ["error: cost of average: memory ran out"]
        assert "4 of 4 cases" in result.stdout
        assert [line.split()[0] for line in result.stdout.splitlines() if " MB" in line] == [
            "maximum", "laplacian",
        ]  # fmt: skip
        assert (tmp_path / "r.csv").is_file()
        record = json.loads((tmp_path / "r.json").read_text())
        assert [one["method"] for one in record["costs"]] == ["maximum", "laplacian"]

    @pytest.mark.usefixtures("one_fails")
    def test_one_that_fails_alone(self) -> None:
        result = fnet("eval", "--cost", "16x8", "--baselines")
        assert result.exit_code == 1
        assert errors(result.stderr) == ["error: cost of average: memory ran out"]
        assert "maximum" in result.stdout

    def test_weights_that_are_missing(self, tmp_path: Path) -> None:
        result = fnet("eval", "--cost", "16x8", "--weights", tmp_path / "none.pth")
        assert result.exit_code == 2
        assert "none.pth: no such file" in errors(result.stderr)[0]
