"""`fnet eval` as a user runs it: folders of pictures in, tables out."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from fnetcli.metrics import METRICS, metrics, score, to_grey8
from tests.cli.command import fnet, tiny_weights
from tests.cli.test_batch import errors
from tests.pictures import Picture, smooth_noise, write

NAMES = ["a", "b", "c", "d"]


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
        assert texts == ["MS-SSIM needs at least 161x161 pixels, the images are 56x48"] * 4

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
        assert "4 of 4 pairs scored, 1 methods, 0 failed" in result.stderr

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
        assert "m: 1 images belong to no case" in result.stderr
        assert "stranger.png" in result.stderr


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

    @pytest.mark.parametrize(
        ("pixels", "message"),
        [
            (np.full((48, 56), 300, np.float32), "values run from 0 to 300"),
            (np.full((48, 56), np.nan, np.float32), "2688 values are NaN or infinite"),
        ],
    )
    def test_floats_that_are_no_fused_image(
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
        assert "a.png: is 28x24, the sources are 56x48" in line

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
            (["--fused", "{t}/vis", "--fused", "{t}/vis"], "two methods are called 'vis'"),
            (["--fused", "x={t}/vis", "--fused", "x={t}/ir"], "two methods are called 'x'"),
            (["--fused", "ir={t}/vis"], "a method is called 'ir' as a source is"),
            (["--fused", "{t}/vis/a.png"], "is a file, but folders are scored"),
            (["--fused", "{t}/empty"], "no fused image there belongs to a case"),
            (["--baselines", "--metrics", "SIM"], "--metrics SIM: unknown; did you mean SSIM?"),
            (["--baselines", "--metrics", ","], "--metrics: names none"),
            (["--baselines", "--cost", "big"], "--cost big: give height and width"),
            (["--weights", "{t}/none.pth"], "none.pth: no such file"),
            (["--baselines", "--suffix", "m=_x"], "--suffix m=_x: neither a modality nor a method"),
            (["--baselines", "--csv", "{t}/vis"], "is a folder; name a file"),
            (["--baselines", "--csv", "{t}/vis/a.png"], "is an input, or another result"),
            (["--baselines", "--csv", "{t}/x", "--html", "{t}/x"], "is an input, or another"),
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

    def test_a_result_that_cannot_be_written(self, tmp_path: Path, sources: list[Any]) -> None:
        (tmp_path / "file").write_text("")
        result = fnet(
            "eval", *sources, "--baselines", "--csv", tmp_path / "file" / "x.csv",
            "--markdown", tmp_path / "x.md",
        )  # fmt: skip
        assert result.exit_code == 1
        assert "a file stands where a folder is needed" in errors(result.stderr)[0]
        assert (tmp_path / "x.md").is_file()

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
        assert "scores cannot be kept there" in result.stderr

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
    def test_an_interrupt_ends_it_and_keeps_what_is_known(self, tmp_path: Path) -> None:
        for i in range(40):
            write(tmp_path / "vis" / f"{i}.png", smooth_noise(600, 800, 2 * i))
            write(tmp_path / "ir" / f"{i}.png", smooth_noise(600, 800, 2 * i + 1))
        command = [
            sys.executable, "-m", "fnetcli", "eval", "--vis", str(tmp_path / "vis"), "--ir",
            str(tmp_path / "ir"), "--baselines", "--workers", "2",
        ]  # fmt: skip
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        database = tmp_path / "cache" / "fnet" / "scores.sqlite"
        deadline = time.monotonic() + 60
        while not database.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(4)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 130, stderr
        assert errors(stderr) == ["error: interrupted; what was finished is on disk"]
        assert stdout == ""


class TestCost:
    def test_alone(self, tmp_path: Path) -> None:
        result = fnet("eval", "--cost", "24x32", "--weights", tiny_weights(tmp_path), "--baselines")
        assert result.exit_code == 0, result.output
        lines = result.stdout.splitlines()
        assert "cost of a pair of 24x32 (height x width)" in "\n".join(lines)
        names = [line.split()[0] for line in lines if " MiB" in line]
        assert names == ["tiny", "average", "maximum", "laplacian"]

    def test_with_scores(self, tmp_path: Path, sources: list[Any]) -> None:
        record = evaluated(*sources, "--weights", tiny_weights(tmp_path), "--cost", "24x32")
        (cost,) = record["costs"]
        assert (cost["height"], cost["width"], cost["method"]) == (24, 32, "tiny")
        assert cost["seconds"] > 0
