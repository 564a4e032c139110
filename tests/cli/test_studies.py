"""`fnet eval` for papers: several data sets, studies, LaTeX floats, figures."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import PIL.Image
import pytest

from tests.cli.command import error_line, fnet, tiny_weights
from tests.cli.test_batch import errors
from tests.drawn_pictures import smooth_noise, write

LATEX = r"""\documentclass[10pt,twocolumn]{article}
\usepackage{booktabs,graphicx}
\begin{document}
\input{table}
\end{document}
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("FNET_NATIVE", "0")


@pytest.fixture
def sets(tmp_path: Path) -> list[Any]:
    """Two data sets with one method each, of other sensors."""
    for name, (second, first), count in (
        ("Roads", ("vis", "ir"), 2),
        ("Brains", ("pet", "mri"), 1),
    ):
        for i in range(count):
            sources = smooth_noise(40, 48, i, 3), smooth_noise(40, 48, i + 9)
            write(tmp_path / name / second / f"{i}.png", sources[0])
            write(tmp_path / name / first / f"{i}.png", sources[1])
            write(tmp_path / name / "other" / f"{i}.png", smooth_noise(40, 48, i + 20))
    roads = ",".join(f"{key}={tmp_path}/Roads/{key}" for key in ("vis", "ir", "other"))
    brains = ",".join(f"{key}={tmp_path}/Brains/{key}" for key in ("pet", "mri", "other"))
    return ["--set", f"Roads:{roads}", "--set", f"Brains:{brains}", "--baselines", "--workers", 1]


STUDY = """
metrics = ["MI", "SSIM"]
baselines = true
workers = 1
markdown = "out/table.md"
{more}
[sets.Roads]
vis = "Roads/vis"
ir = "Roads/ir"
other = "Roads/other"
[sets.Brains]
pet = "Brains/pet"
mri = "Brains/mri"
other = "Brains/other"
"""


def study(tmp_path: Path, more: str = "") -> Path:
    path = tmp_path / "study.toml"
    path.write_text(STUDY.format(more=more))
    return path


class TestSets:
    def test_one_table_with_ranks_over_all(self, sets: list[Any]) -> None:
        result = fnet("eval", *sets, "--metrics", "MI,SSIM", "--json", "-")
        assert result.exit_code == 0, result.output
        record = json.loads(result.stdout)
        assert record["cases"] == ["Roads/0", "Roads/1", "Brains/0"]
        assert [(one["name"], one["modalities"], one["cases"]) for one in record["sets"]] == [
            ("Roads", ["ir", "vis"], 2),
            ("Brains", ["mri", "pet"], 1),
        ]
        for m, method in enumerate(record["methods"]):
            scores = [method["scores"][case]["MI"] for case in record["cases"]]
            assert method["mean"]["MI"] == pytest.approx(np.mean(scores))
            roads, brains = (one["methods"][m] for one in record["sets"])
            assert roads["mean"]["MI"] == pytest.approx(np.mean(scores[:2]))
            assert brains["mean"]["MI"] == pytest.approx(scores[2])
            ranks = [roads["mean_rank"]] * 2 + [brains["mean_rank"]]
            assert method["mean_rank"] == pytest.approx(np.mean(ranks))

    def test_a_folder_that_serves_two_sets(self, tmp_path: Path) -> None:
        """Only what no set pairs has no partner."""
        for name in ("mri/0", "mri/1", "pet/0", "spect/1", "spect/2"):
            write(tmp_path / f"{name}.png", smooth_noise(40, 48, 3))
        sets = [f"{one}:mri={tmp_path}/mri,{one}={tmp_path}/{one}" for one in ("pet", "spect")]
        given = ["--set", sets[0], "--set", sets[1], "--baselines", "--metrics", "MI"]
        result = fnet("eval", *given, "--strict", "--no-cache")
        assert result.exit_code == 1
        (line,) = [one for one in result.stderr.splitlines() if one.startswith("warning: ")]
        assert line == f"warning: 1 file without a partner: {tmp_path}/spect/2.png"
        (tmp_path / "spect/2.png").unlink()
        assert fnet("eval", *given, "--strict", "--no-cache").exit_code == 0

    def test_rows_are_grouped_by_set(self, sets: list[Any]) -> None:
        result = fnet("eval", *sets, "--metrics", "MI", "--decimals", 1)
        heads = [line for line in result.stdout.splitlines() if line in ("Roads", "Brains")]
        assert heads == ["Roads", "Brains"]
        assert "2 data sets, vis + ir, pet + mri" in result.stdout
        assert len(re.findall(r"^other +\d", result.stdout, re.MULTILINE)) == 3
        numbers = re.findall(r"^average +\d+ +(\S+)", result.stdout, re.MULTILINE)
        assert all(re.fullmatch(r"\d+\.\d[*+]?", text) for text in numbers)

    def test_one_set_is_not_repeated(self, sets: list[Any]) -> None:
        given = [*sets[:2], "--baselines", "--workers", 1, "--metrics", "MI"]
        result = fnet("eval", *given)
        assert result.exit_code == 0, result.output
        assert "1 data set, vis + ir" in result.stdout
        assert len(re.findall(r"^other +\d", result.stdout, re.MULTILINE)) == 1
        assert "all sets" not in result.stdout
        record = json.loads(fnet("eval", *given, "--json", "-").stdout)
        assert [one["name"] for one in record["sets"]] == ["Roads"]

    def test_methods_across(self, tmp_path: Path, sets: list[Any]) -> None:
        options = ["--metrics", "MI,CE", "--methods-across", "--latex", tmp_path / "t.tex"]
        result = fnet("eval", *sets, *options, "--markdown", "-")
        lines = result.stdout.splitlines()
        assert lines.count("| metric | other | average | maximum | laplacian |") == 3
        starts = [line.split(" | ")[0] for line in lines if line.startswith("| ")]
        assert starts[:5] == ["| metric", "| n", "| MI ↑", "| CE ↓", "| mean rank"]
        assert "\n{}MI" not in (tmp_path / "t.tex").read_text()
        assert r"MI $\uparrow$ & " in (tmp_path / "t.tex").read_text()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--set", "vis=a,ir=b"], "--set vis=a,ir=b: no name"),
            (["--set", "A:vis={t}/Roads/vis"], "needs two images that belong together"),
            (["--set", "A:vis={t},vis={t}"], "vis is given twice"),
            (["--set", "A:vis={t},ir"], "'vis={t},ir' is not KEY=DIR|no such|needs two images"),
            (["--set", "A:=x,ir=b"], "'=x' is not KEY=DIR"),
            (["--set", "Roads:vis={t}/Roads/vis,ir={t}/Roads/ir"], "two data sets have this name"),
            (["--set", "A:vis={t}/Roads/vis,ir={t}/Roads/ir"], "--set A: has no method 'other'"),
            (["--set", "A:vis={t}/none,ir={t}/Roads/ir"], "none: no such file or folder"),
            (["--vis", "{t}/Roads/vis"], "--vis and --set: a set names its own folders"),
            (["--fused", "{t}/Roads/other"], "--fused and --set"),
            (["--weights", "x=default"], "for Brains, but fnet.safetensors"),
            (["--weights", "default"], "has no method 'fnet"),
            (["--decimals", "10"], "--decimals"),
            (["--caption", "x"], "--caption: applies only to --latex"),
            (["--wide"], "--wide: applies only to --latex"),
            (["--latex", "{t}/x", "--label", "a}b"], "--label a}b: use letters"),
            (["--cases", "Roads/7"], "--cases Roads/7: no case has this name; did you mean"),
            (["--cases", "Roads/0,,Roads/1"], "an empty name"),
            (["--inset", "Roads/0=1,2,3,4"], "--inset: applies only to --figures"),
            (["--figures", "{t}/f", "--inset", "Roads/0=1,2,3"], "give CASE=X,Y,W,H"),
            (["--figures", "{t}/f", "--inset", "Roads/0=1,2,0,4"], "give CASE=X,Y,W,H"),
            (["--figures", "{t}/f", "--inset", "x=1,2,3,4"], "--inset x: no case has this name"),
            (
                ["--figures", "{t}/f", "--inset", "Roads/0=1,2,3,4", "--inset", "Roads/0=0,0,1,1"],
                "Roads/0 has another inset",
            ),
            (
                ["--figures", "{t}/f", "--inset", "Roads/0=1,2,3,4", "--cases", "Roads/1"],
                "--inset Roads/0: is not among --cases",
            ),
            (["--figures", "{t}/Roads/vis/0.png"], "is a file; name a folder"),
        ],
    )
    def test_mistakes(
        self, tmp_path: Path, sets: list[Any], options: list[str], message: str
    ) -> None:
        given = [option.replace("{t}", str(tmp_path)) for option in options]
        result = fnet("eval", *sets, *given)
        assert result.exit_code == 2, result.output
        assert re.search("|".join(map(re.escape, message.split("|"))), result.stderr)
        assert not (tmp_path / "f").exists()

    def test_a_file_among_the_sources_is_no_place_for_figures(
        self, tmp_path: Path, sets: list[Any]
    ) -> None:
        (tmp_path / "Roads" / "pictures.svg").symlink_to(tmp_path / "Roads" / "vis" / "0.png")
        result = fnet("eval", *sets, "--figures", tmp_path / "Roads")
        assert result.exit_code == 2
        assert "is an input" in errors(result.stderr)[0]


class TestStudy:
    def test_makes_everything_again(self, tmp_path: Path, sets: list[Any]) -> None:
        """From any folder, with paths relative to the file; the command line has the last word."""
        by_hand = fnet("eval", *sets, "--metrics", "MI,SSIM", "--markdown", "-")
        path = study(tmp_path)
        result = fnet("eval", path)
        assert result.exit_code == 0, result.output
        table = (tmp_path / "out" / "table.md").read_text()
        assert table == by_hand.stdout
        again = fnet("eval", path, "--metrics", "MI")
        assert "SSIM" not in again.stdout
        assert "SSIM" not in (tmp_path / "out" / "table.md").read_text()

    def test_weights_by_name(self, tmp_path: Path, sets: list[Any]) -> None:
        del sets
        tiny_weights(tmp_path).rename(tmp_path / "a.safetensors")
        more = 'weights = { ours = "a.safetensors" }\ndecimals = 2\nmethods-across = false'
        result = fnet("eval", study(tmp_path, more))
        assert result.exit_code == 0, result.output
        assert re.search(r"^ours +2 ", result.stdout, re.MULTILINE)

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ("metrik = 'MI'", "study.toml: unknown key 'metrik'; did you mean 'metrics'?"),
            ("set = 'x'", "unknown key 'set'"),
            ("decimals = [", "not valid TOML"),
            ("a." * 9999 + "b = 1", "study.toml: not a study (a number too long, or keys"),
            ("wide = 'yes'", "wide = 'yes'; must be true or false"),
            ("decimals = true", "decimals = True; must be a text, a number or a list"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, sets: list[Any], more: str, message: str) -> None:
        del sets
        result = fnet("eval", study(tmp_path, more))
        assert result.exit_code == 2, result.output
        assert message in error_line(result.stderr)

    def test_a_value_that_is_none_of_its_option(self, tmp_path: Path, sets: list[Any]) -> None:
        del sets
        result = fnet("eval", study(tmp_path, "decimals = 'two'"))
        assert result.exit_code == 2
        assert "--decimals" in result.stderr

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("sets = 3", "[sets] must hold a table for each data set"),
            ("[sets.A]\nvis = 3", "sets.A.vis = 3; must be a folder"),
            ("[sets]\nA = 3", "[sets] must hold a table for each data set"),
        ],
    )
    def test_sets_that_are_none(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "s.toml").write_text(text)
        result = fnet("eval", tmp_path / "s.toml")
        assert result.exit_code == 2
        assert message in error_line(result.stderr)

    def test_no_study(self, tmp_path: Path) -> None:
        (tmp_path / "picture.toml").write_bytes(b"\xff\xfe")
        for name in ("none.toml", "picture.toml", "."):
            result = fnet("eval", tmp_path / name)
            assert result.exit_code == 2
            assert str(tmp_path) in error_line(result.stderr)


class TestPaper:
    def test_floats(self, tmp_path: Path, sets: list[Any]) -> None:
        """Of all metrics: three floats, of which none is wider than the text."""
        options = ["--metrics", "all", "--caption", "50 % of what_is", "--label", "tab:x", "--wide"]
        result = fnet("eval", *sets, *options, "--latex", tmp_path / "table.tex")
        assert result.exit_code == 0, result.output
        text = (tmp_path / "table.tex").read_text()
        assert text.count(r"\begin{table*}[t]") == 2
        assert re.findall(r"\\label\{(.*)\}", text) == ["tab:x", "tab:x-p"]
        assert r"\caption{50 \% of what\_is}" in text
        assert r"\multicolumn{18}{l}{\textit{Roads}} \\" in text
        if shutil.which("pdflatex") is None:
            pytest.skip("no pdflatex here")
        (tmp_path / "paper.tex").write_text(LATEX)
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],  # noqa: S607
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        log = (tmp_path / "paper.log").read_text(errors="replace")
        assert done.returncode == 0, log[-2000:]
        assert "Overfull" not in log

    def test_without_a_float_it_is_a_tabular(self, sets: list[Any]) -> None:
        text = fnet("eval", *sets, "--metrics", "MI", "--latex", "-").stdout
        assert r"\begin{table}" not in text
        assert text.count(r"\begin{tabular}") == 2

    def test_figures(self, tmp_path: Path, sets: list[Any]) -> None:
        """Vector files, the same each time; an inset shows the pixels of its rectangle."""
        options = ["--figures", tmp_path / "f", "--inset", "Roads/0=4,6,10,8"]
        assert fnet("eval", *sets, *options).exit_code == 0
        names = ["pictures.pdf", "pictures.svg", "scores.pdf", "scores.svg"]
        files = {path.name: path.read_bytes() for path in sorted((tmp_path / "f").iterdir())}
        assert [*files] == names
        assert files["scores.pdf"].startswith(b"%PDF")
        assert b"/Type3" not in files["scores.pdf"]
        assert files["pictures.svg"].count(b"<image") == 2 * 6
        assert fnet("eval", *sets, *options).exit_code == 0
        assert {path.name: path.read_bytes() for path in (tmp_path / "f").iterdir()} == files

    def test_an_inset_on_the_page(self, tmp_path: Path, sets: list[Any]) -> None:
        """Every picture of the case has the pixels of its rectangle once more."""
        page = tmp_path / "x.html"
        options = ["--inset", "Roads/0=4,6,10,8", "--html", page]
        assert fnet("eval", *sets, *options).exit_code == 0
        text = page.read_text()
        found = re.findall(r'class="inset" src="data:image/webp;base64,(.*?)" style="(.*?)"', text)
        assert len(found) == 2 + 4
        assert {style for _, style in found} == {
            "left:55.000%;top:56.800%;width:45.000%;height:43.200%"
        }
        assert text.count('<i class="frame" style="left:8.333%;top:15.000%;') == len(found)
        cut = np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(found[1][0]))))
        visible = iio.imread(tmp_path / "Roads" / "vis" / "0.png")
        np.testing.assert_array_equal(cut, visible[6:14, 4:14])

    def test_an_inset_outside(self, tmp_path: Path, sets: list[Any]) -> None:
        """Other results are written all the same; no figure is."""
        options = ["--figures", tmp_path / "f", "--inset", "Roads/0=40,6,10,8"]
        result = fnet("eval", *sets, *options, "--csv", tmp_path / "x.csv")
        assert result.exit_code == 1
        (line,) = errors(result.stderr)
        assert "--inset Roads/0=40,6,10,8: leaves the picture, which is 48x40" in line
        assert (tmp_path / "x.csv").is_file()
        assert not [*(tmp_path / "f").glob("*")]
        of_page = fnet("eval", *sets, *options[2:], "--html", tmp_path / "x.html")
        assert of_page.exit_code == 1
        assert errors(of_page.stderr) == [line]
        assert not (tmp_path / "x.html").exists()

    def test_chosen_cases_on_the_page(self, tmp_path: Path, sets: list[Any]) -> None:
        page = tmp_path / "x.html"
        given = ["--cases", "Brains/0,Roads/1", "--html", page]
        assert fnet("eval", *sets, *given).exit_code == 0
        text = page.read_text()
        heads = re.findall(r"<h3><bdi>(.*?)</bdi></h3>", text)
        assert heads == ["Brains/0", "Roads/1"]
        assert "The cases that were asked for." in text
        assert "PET + MRI" in text

    def test_names_that_differ_in_case_only(self, tmp_path: Path, sets: list[Any]) -> None:
        del sets
        tiny_weights(tmp_path).rename(tmp_path / "FNet.safetensors")
        images = ["--vis", tmp_path / "Roads" / "vis", "--ir", tmp_path / "Roads" / "ir"]
        weights = ["--weights", "fnet", "--weights", tmp_path / "FNet.safetensors"]
        result = fnet("eval", *images, *weights)
        assert result.exit_code == 2
        assert "two methods are named 'fnet' and 'FNet'; name one" in errors(result.stderr)[0]

    def test_weights_of_runs_are_named_by_their_folders(
        self, tmp_path: Path, sets: list[Any]
    ) -> None:
        del sets
        for run in ("one", "two"):
            (tmp_path / run).mkdir()
            tiny_weights(tmp_path).rename(tmp_path / run / "best.safetensors")
        images = ["--vis", tmp_path / "Roads" / "vis", "--ir", tmp_path / "Roads" / "ir"]
        weights = [
            w for run in ("one", "two") for w in ("--weights", tmp_path / run / "best.safetensors")
        ]
        record = json.loads(fnet("eval", *images, *weights, "--json", "-").stdout)
        assert [method["name"] for method in record["methods"]] == ["one best", "two best"]


def test_pictures_are_those_of_the_sets(tmp_path: Path, sets: list[Any]) -> None:
    """Of both sets' first cases, which have the same name, each page shows its own."""
    assert not np.array_equal(
        iio.imread(tmp_path / "Roads" / "vis" / "1.png"),
        iio.imread(tmp_path / "Brains" / "pet" / "0.png"),
    )
    cases = ["--cases", "Roads/0,Brains/0"]
    assert fnet("eval", *sets, *cases, "--html", tmp_path / "x.html").exit_code == 0
    labels = re.findall(r'alt="(\S+/0), (.*?)"', (tmp_path / "x.html").read_text())
    assert [one for one in labels if one[1] in {"visible", "PET"}] == [
        ("Roads/0", "visible"),
        ("Brains/0", "PET"),
    ]
