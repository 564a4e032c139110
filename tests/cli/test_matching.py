"""Files paired by patterns, prefixes and times; and what is said where none are."""

from __future__ import annotations

import gzip
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from tests.cli.command import fnet, tiny_weights
from tests.cli.test_batch import errors, records
from tests.cli.test_pairs import names
from tests.drawn_pictures import smooth_noise, write

SEEDS = iter(range(10_000))


def draw(root: Path, *places: str) -> None:
    for place in places:
        write(root / place, smooth_noise(16, 20, next(SEEDS)))


def sides(root: Path) -> list[object]:
    return ["--vis", root / "vis", "--ir", root / "ir"]


def planned(root: Path, *arguments: object) -> list[tuple[str, str, str]]:
    """Return case, thermal and visible file of each pair, relative to a folder."""
    result = fnet("fuse", *arguments, "-o", root / "out", "--dry-run")
    assert result.exit_code == 0, result.stderr
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    return [
        (case, *(Path(path).relative_to(root).as_posix() for path in (ir, vis)))  # type: ignore[misc]
        for _, case, ir, vis, _ in rows
    ]


def refused(*arguments: object) -> str:
    result = fnet("fuse", *arguments, "--dry-run")
    assert result.exit_code in {1, 2}
    (line,) = errors(result.stderr)
    return line


class TestPatterns:
    KAIST = ("--match", "vis=**/visible/{}", "--match", "ir=**/lwir/{}")

    def draw(self, root: Path) -> Path:
        for video in ("V000", "V001"):
            for i in range(2):
                for side in ("visible", "lwir"):
                    draw(root, f"in/set00/{video}/{side}/I0000{i}.png")
        return root / "in"

    def test_sensors_are_folders_further_down(self, tmp_path: Path) -> None:
        """As KAIST has it: one folder for both sides, four pairs by one command."""
        root = self.draw(tmp_path)
        common = ["-o", tmp_path / "out", "--weights", tiny_weights(tmp_path), "--maps", "none"]
        result = fnet("fuse", "--vis", root, "--ir", root, *self.KAIST, *common)
        assert result.exit_code == 0, result.stderr
        cases = [f"set00/{video}/I0000{i}" for video in ("V000", "V001") for i in range(2)]
        assert names(tmp_path / "out") == [f"{case}.png" for case in cases]
        (first, *_) = records(tmp_path / "out")
        assert first["inputs"]["ir"]["path"] == "set00/V000/lwir/I00000.png"
        assert first["inputs"]["vis"]["path"] == "set00/V000/visible/I00000.png"

    @pytest.mark.parametrize(
        ("files", "patterns", "case"),
        [
            (("a/RGB_7_x.png", "b/T-7.png"), ("a/RGB_{}_*", "b/T-{}"), "7"),
            (("d1/7_v.png", "t/7/d1.png"), ("{day}/{n}_v", "t/{n}/{day}"), "d1/7"),
            (("c/1/2_v.png", "c/1/2_t.png"), ("c/{}/{}_v", "c/{}/{}_t"), "1/2"),
            (("v/1-2.png", "t/1+2.png"), ("v/{}-{}", "t/{}+{}"), "1_2"),
            (("v/7.png", "t/7.tif"), ("v/{}.png", "t/{}.tif"), "7"),
            (("v/x/y/7.png", "t/x/y/7.png"), ("v/**/{}", "t/**/{}"), "x/y/7"),
            (("v/7.png", "t/7.png"), ("v/**/{}", "t/**/{}"), "7"),
            (("v/7.png", "t/7.png"), ("v\\{}", ".\\t\\{}"), "7"),
            (("v/[7].png", "t/[7].png"), ("v/[{}]", "t/[{}]"), "7"),
            (("DJI_1_0007_W.png", "DJI_2_0007_T.png"), ("DJI_*_{}_W", "DJI_?_{}_T"), "0007"),
        ],
    )
    def test_placeholders(
        self, files: tuple[str, str], patterns: tuple[str, str], case: str, tmp_path: Path
    ) -> None:
        for place in files:  # a suffix does not tell what an empty picture holds
            (tmp_path / "in" / place).parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.new("L", (8, 8)).save(tmp_path / "in" / place)
        options = ["--match", f"vis={patterns[0]}", "--match", f"ir={patterns[1]}"]
        found = planned(tmp_path, "--vis", tmp_path / "in", "--ir", tmp_path / "in", *options)
        assert found == [(case, f"in/{files[1]}", f"in/{files[0]}")]

    def test_a_stricter_pattern_has_its_files_alone(self, tmp_path: Path) -> None:
        draw(tmp_path, "in/1.png", "in/1_ir.png")
        options = ["--vis", tmp_path / "in", "--ir", tmp_path / "in"]
        options += ["--match", "vis={}", "--match", "ir={}_ir"]
        assert planned(tmp_path, *options) == [("1", "in/1_ir.png", "in/1.png")]

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--match", "vis={}"], "--match: has no pattern of ir; give one for each"),
            (["--match", "vis=a", "--match", "ir={}"], "--match vis=a: has no {}; write it where"),
            (["--match", "vis={", "--match", "ir={}"], "--match vis={: { stands alone; write {}"),
            (["--match", "vis={a}{a}", "--match", "ir={a}"], "{a} stands twice"),
            (["--match", "vis=/{}", "--match", "ir={}"], "is relative to the folder"),
            (["--match", "vis=../{}", "--match", "ir={}"], "leave / and .. out"),
            (["--match", "vis={}/{}", "--match", "ir={}"], "do not hold the same placeholders"),
            (["--match", "vis=**/{}", "--match", "ir={}"], "use * for what differs"),
            (["--match", "mri={}"], "give --match ir=VALUE or --match vis=VALUE"),
            (["--match", "vis={}", "--match", "ir={}", "--suffix", "ir=x"], "leave one out"),
            (["--match", "vis={}", "--match", "ir={}", "--prefix", "ir=x"], "leave one out"),
            (["--match", "vis={}", "--match", "ir={}", "--recursive"], "leave one out"),
            (["--match", "vis={}", "--match", "ir={}", "--nearest-time", "1s"], "leave one out"),
        ],
    )
    def test_mistakes(self, options: list[str], said: str, tmp_path: Path) -> None:
        draw(tmp_path, "vis/1.png", "ir/1.png")
        assert said in refused(*sides(tmp_path), *options)

    def test_two_files_or_a_list_have_no_pattern(self, tmp_path: Path) -> None:
        draw(tmp_path, "1.png", "2.png")
        options = ["--match", "vis={}", "--match", "ir={}"]
        files = ["--vis", tmp_path / "1.png", "--ir", tmp_path / "2.png"]
        assert "--match: applies only to folders, but two files" in refused(*files, *options)
        (tmp_path / "l.csv").write_text("vis,ir\n1.png,2.png\n")
        assert "--match and --pairs" in refused("--pairs", tmp_path / "l.csv", *options)

    def test_two_files_of_one_case(self, tmp_path: Path) -> None:
        draw(tmp_path, "vis/a/1.png", "vis/b/1.png", "ir/1.png")
        said = refused(*sides(tmp_path), "--match", "vis=*/{}", "--match", "ir={}")
        assert "vis/a/1.png" in said
        assert "vis/b/1.png are both '1'" in said

    def test_eval_scores_them(self, tmp_path: Path) -> None:
        root = self.draw(tmp_path)
        options = ["--vis", root, "--ir", root, *self.KAIST, "--metrics", "MI"]
        result = fnet("eval", *options, "--fused", self.fused(tmp_path), "--no-cache")
        assert result.exit_code == 0, result.output
        assert "4 scored" in result.stderr or "4 cases" in result.output

    def fused(self, root: Path) -> Path:
        for video in ("V000", "V001"):
            draw(root, f"f/set00/{video}/I00000.png", f"f/set00/{video}/I00001.png")
        return root / "f"


class TestPrefixes:
    def test_sensors_begin_the_names(self, tmp_path: Path) -> None:
        draw(tmp_path, *(f"{side}/{side.upper()}{i}.png" for side in ("vis", "ir") for i in (1, 2)))
        options = ["--prefix", "vis=VIS", "--prefix", "ir=IR"]
        assert planned(tmp_path, *sides(tmp_path), *options) == [
            ("1", "ir/IR1.png", "vis/VIS1.png"),
            ("2", "ir/IR2.png", "vis/VIS2.png"),
        ]

    def test_with_suffixes_in_one_folder_and_below(self, tmp_path: Path) -> None:
        draw(tmp_path, "in/d/c_1_v.png", "in/d/t_1_v.png", "in/d/t_1.png")
        options = ["--vis", tmp_path / "in", "--ir", tmp_path / "in", "--recursive"]
        options += ["--prefix", "vis=c_", "--prefix", "ir=t_", "--suffix", "vis=_v"]
        assert planned(tmp_path, *options) == [("d/1", "in/d/t_1.png", "in/d/c_1_v.png")]

    def test_a_prefix_and_suffix_do_not_share_letters(self, tmp_path: Path) -> None:
        draw(tmp_path, "vis/aa.png", "vis/aba.png", "ir/b.png", "ir/a.png")
        options = ["--prefix", "vis=a", "--suffix", "vis=a"]
        assert planned(tmp_path, *sides(tmp_path), *options)[0] == (
            ("b", "ir/b.png", "vis/aba.png")
        )

    def test_mistakes(self, tmp_path: Path) -> None:
        draw(tmp_path, "vis/1.png", "ir/1.png")
        assert "give --prefix ir=VALUE" in refused(*sides(tmp_path), "--prefix", "x")
        assert "given twice" in refused(*sides(tmp_path), "--prefix", "ir=a", "--prefix", "ir=b")


def with_exif(path: Path, moment: str, fraction: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = PIL.Image.fromarray(smooth_noise(16, 20, next(SEEDS)))
    exif = PIL.Image.Exif()
    inner: dict[int, str] = {0x9003: moment}
    if fraction is not None:
        inner[0x9291] = fraction
    exif[0x8769] = inner
    picture.save(path, exif=exif)


class TestTimes:
    def test_names_a_second_apart(self, tmp_path: Path) -> None:
        """As DJI cameras write them."""
        places = [("vis", f"DJI_2024013112000{i}_000{i // 3}_W.png") for i in (0, 3, 6)] + [
            ("ir", f"DJI_2024013112000{i + 1}_000{i // 3}_T.png") for i in (0, 3, 6)
        ]
        draw(tmp_path, *(f"{side}/{name}" for side, name in places))
        found = planned(tmp_path, *sides(tmp_path), "--nearest-time", "2s")
        assert [(ir[-10:], vis[-10:]) for _, ir, vis in found] == [
            (f"000{i}_T.png", f"000{i}_W.png") for i in range(3)
        ]
        assert found[0][0] == "DJI_20240131120000_0000_W"

    @pytest.mark.parametrize(
        ("vis", "ir"),
        [
            ("2024-01-31_23-59-59", "20240201T000000"),  # over midnight
            ("1706745599.250", "frame_1706745599500000000"),
            ("a_20240131_120000.900", "b_20240131_120001.100"),
            ("1706745599123", "20240131_235959"),
        ],
    )
    def test_forms(self, vis: str, ir: str, tmp_path: Path) -> None:
        draw(tmp_path, f"vis/{vis}.png", f"ir/{ir}.png")
        assert planned(tmp_path, *sides(tmp_path), "--nearest-time", "1s") == [
            (vis, f"ir/{ir}.png", f"vis/{vis}.png")
        ]
        line = refused(*sides(tmp_path), "--nearest-time", "1ms")
        assert "nothing to do" in line

    def test_exif_where_names_tell_nothing(self, tmp_path: Path) -> None:
        with_exif(tmp_path / "vis" / "a.jpg", "2024:01:31 12:00:00", "5")
        with_exif(tmp_path / "vis" / "b.jpg", "2024:01:31 12:00:10")
        with_exif(tmp_path / "ir" / "1.png", "2024:01:31 12:00:09", "75")
        with_exif(tmp_path / "ir" / "2.jpg", "2024:01:31 12:00:01")
        result = fnet("fuse", *sides(tmp_path), "--nearest-time", "2s", "--dry-run")
        assert "paired by the time in EXIF; no pair is more than 0.5 s apart" in result.stderr
        assert planned(tmp_path, *sides(tmp_path), "--nearest-time", "2s") == [
            ("a", "ir/2.jpg", "vis/a.jpg"),
            ("b", "ir/1.png", "vis/b.jpg"),
        ]

    def test_what_is_as_near_to_two_is_left_out_and_said(self, tmp_path: Path) -> None:
        draw(tmp_path, "vis/20240131_120001.png", "vis/20240131_120101.png")
        draw(tmp_path, "ir/20240131_120000.png", "ir/20240131_120002.png", "ir/20240131_120101.png")
        result = fnet("fuse", *sides(tmp_path), "--nearest-time", "2s", "--dry-run")
        assert result.stdout.count("\n") == 1
        assert "1 file is as near in time to two others, and left out" in result.stderr
        assert "ignored, as near in time to two others (1)" in result.stderr

    def test_files_without_a_time_are_ignored(self, tmp_path: Path) -> None:
        draw(tmp_path, "vis/20240131_120001.png", "vis/map.png", "ir/20240131_120001.png")
        result = fnet("fuse", *sides(tmp_path), "--nearest-time", "2s", "--dry-run")
        assert result.exit_code == 0
        assert f"ignored, no time in its name (1): {tmp_path / 'vis' / 'map.png'}" in result.stderr

    @pytest.mark.parametrize("text", ["2", "0s", "-1s", "2h", "s", "1e9s", "nan s"])
    def test_mistakes(self, text: str, tmp_path: Path) -> None:
        draw(tmp_path, "vis/1.png", "ir/1.png")
        line = refused(*sides(tmp_path), "--nearest-time", text)
        assert "give a time as 2s, 500ms or 1min" in line

    def test_two_files_have_no_times(self, tmp_path: Path) -> None:
        draw(tmp_path, "1.png", "2.png")
        files = ["--vis", tmp_path / "1.png", "--ir", tmp_path / "2.png"]
        assert "applies only to folders" in refused(*files, "--nearest-time", "1s")


class TestForms:
    def test_composed_and_decomposed_names_are_one(self, tmp_path: Path) -> None:
        composed = unicodedata.normalize("NFC", "Läufer é")
        decomposed = unicodedata.normalize("NFD", composed)
        draw(tmp_path, f"vis/{composed}.png", f"ir/{decomposed}.png")
        if len(list((tmp_path / "vis").iterdir()) + list((tmp_path / "ir").iterdir())) == 2:
            ((case, _, _),) = planned(tmp_path, *sides(tmp_path))
            assert case == composed

    def test_letter_case_is_said(self, tmp_path: Path) -> None:
        draw(tmp_path, "vis/IMG_001.png", "ir/img_001.png", "vis/a.png", "ir/a.png")
        result = fnet("fuse", *sides(tmp_path), "--dry-run")
        assert "1 pair of names that differ in letter case only (the first: " in result.stderr
        assert planned(tmp_path, *sides(tmp_path)) == [
            ("IMG_001", "ir/img_001.png", "vis/IMG_001.png"),
            ("a", "ir/a.png", "vis/a.png"),
        ]

    def test_equal_names_come_first_and_what_is_unclear_stays_alone(self, tmp_path: Path) -> None:
        draw(tmp_path, "vis/A.png", "vis/a.png", "ir/a.png", "vis/B.png", "vis/b.png", "ir/Bb.png")
        if not (tmp_path / "vis" / "A.PNG").exists():  # a system that tells them apart
            assert planned(tmp_path, *sides(tmp_path)) == [("a", "ir/a.png", "vis/a.png")]


class TestAdvice:
    @pytest.mark.parametrize(
        ("places", "options", "said"),
        [
            (("vis/VIS1", "vis/VIS2", "ir/IR1", "ir/IR2"), [],
             "--prefix vis=VIS --prefix ir=IR would pair 2"),
            (("vis/7_RGB", "vis/8_RGB", "ir/7_T", "ir/8_T"), [],
             "--suffix vis=RGB --suffix ir=T would pair 2"),
            (("vis/x/1", "ir/x/1"), [], "--recursive would pair 1"),
            (("vis/s/visible/1", "ir/s/lwir/1"), [],
             "--match 'vis=**/visible/{}' --match 'ir=**/lwir/{}' would pair 1"),
            (("vis/c_20240131_120000", "ir/t_20240131_120003"), [],
             "--nearest-time 3s would pair 1"),
            (("vis/tree", "ir/dog"), [], "describe the names of both with --match"),
            (("ir/1",), [], "no image lies in "),
        ],
    )  # fmt: skip
    def test_what_would_pair(
        self, places: tuple[str, ...], options: list[str], said: str, tmp_path: Path
    ) -> None:
        (tmp_path / "vis").mkdir()
        draw(tmp_path, *(f"{place}.png" for place in places))
        line = refused(*sides(tmp_path), *options)
        assert said in line
        assert "--match" in line
        assert "--pairs" in line

    def test_of_volumes(self, tmp_path: Path) -> None:
        for name in ("ct", "mri"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "1.nii.gz").write_bytes(gzip.compress(b"0"))
        options = [f"--{name}={tmp_path / name}" for name in ("ct", "mri")]
        said = f"volumes, not pictures, lie in {tmp_path / 'mri'} and {tmp_path / 'ct'}; "
        for command in (["eval", "--weights", "fnet"], ["train", "fnet", "-o", tmp_path / "run"]):
            assert said in fnet(*command, *options).stderr
        one = fnet("eval", *(f"{option}/1.nii.gz" for option in options), "--weights", "fnet")
        assert "1.nii.gz: a gzip file, which is not read; unpack it; of a volume, " in one.stderr

    def test_of_one_folder(self, tmp_path: Path) -> None:
        draw(tmp_path, *(f"in/V{i}/{side}/1.png" for i in (1, 2) for side in ("rgb", "thermal")))
        line = refused("--vis", tmp_path / "in", "--ir", tmp_path / "in")
        assert "--match 'vis=**/rgb/{}' --match 'ir=**/thermal/{}' would pair 2" in line
        assert "--band vis=1,2,3 --band ir=4" in line

    def test_advice_is_true(self, tmp_path: Path) -> None:
        draw(tmp_path, "vis/day1 c.png", "ir/day1 t.png", "vis/day2 c.png", "ir/day2 t.png")
        line = refused(*sides(tmp_path))
        assert "--suffix vis=c --suffix ir=t would pair 2" in line
        options = ["--suffix", "vis=c", "--suffix", "ir=t"]
        assert len(planned(tmp_path, *sides(tmp_path), *options)) == 2


class TestLists:
    @pytest.mark.parametrize(
        "text",
        [
            "vis,ir\nsub\\v.png,sub\\i.png\n",
            "Vis, IR\nsub/v.png, sub/i.png\n",
            "VIS;IR\nsub/v.png;sub/i.png\n",
            "vis\tir\nsub\\v.png\tsub\\i.png\n",
            '"vis";"ir"\r\n"sub\\v.png";"sub\\i.png"\r\n',
            "\ufeffsep=;\r\nCASE;Vis;Ir\r\n;sub\\v.png;sub\\i.png\r\n;;\r\n",
            "vis,ir,\nsub/v.png,sub/i.png,\n,,\n",
            "vis|ir\n.\\sub\\v.png|sub/i.png\n",
        ],
    )
    def test_however_spreadsheets_write_them(self, text: str, tmp_path: Path) -> None:
        draw(tmp_path, "sub/v.png", "sub/i.png")
        (tmp_path / "l.csv").write_bytes(text.encode())
        assert planned(tmp_path, "--pairs", tmp_path / "l.csv") == [("v", "sub/i.png", "sub/v.png")]

    @pytest.mark.parametrize(
        "value", ["..\\v.png", "sub\\..\\..\\v.png", "C:\\v.png", "c:/v.png", "\\\\host\\v.png"]
    )
    def test_paths_may_not_leave_the_folder(self, value: str, tmp_path: Path) -> None:
        (tmp_path / "l.csv").write_text(f"vis;ir\n{value};i.png\n")
        line = refused("--pairs", tmp_path / "l.csv")
        assert f"line 2: {value} lies outside the list's folder".replace("\\", "\\") in line

    def test_a_name_with_a_backslash_that_is_there(self, tmp_path: Path) -> None:
        draw(tmp_path, "a\\v.png", "i.png")
        (tmp_path / "l.csv").write_text("case,vis,ir\nx,a\\v.png,i.png\n")
        if (tmp_path / "a\\v.png").is_file() and not (tmp_path / "a").exists():
            assert planned(tmp_path, "--pairs", tmp_path / "l.csv") == [("x", "i.png", "a\\v.png")]

    def test_the_same_file_twice(self, tmp_path: Path) -> None:
        (tmp_path / "l.csv").write_text("vis,ir\na.png,./a.png\n")
        line = refused("--pairs", tmp_path / "l.csv")
        assert "line 2: " in line
        assert "would be fused with itself" in line


class TestDryRun:
    def test_what_is_ignored_and_why(self, tmp_path: Path) -> None:
        draw(tmp_path, "vis/1.png", "ir/1.png", "vis/sub/2.png", "vis/.h.png", "ir/3.png")
        (tmp_path / "vis" / "notes.txt").touch()
        result = fnet("fuse", *sides(tmp_path), "--dry-run", "--json", tmp_path / "j.json")
        assert result.exit_code == 0
        vis = tmp_path / "vis"
        assert f"ignored, no image by its suffix (1): {vis / 'notes.txt'}" in result.stderr
        assert f"ignored, hidden (1): {vis / '.h.png'}" in result.stderr
        assert f"ignored, a folder; --recursive looks into it (1): {vis / 'sub'}" in result.stderr
        assert f"1 file without a partner: {tmp_path / 'ir' / '3.png'}" in result.stderr
        assert '"reason": "no image by its suffix"' in (tmp_path / "j.json").read_text()

    def test_files_that_do_not_fit(self, tmp_path: Path) -> None:
        draw(tmp_path, "vis/a1.png", "vis/x.png", "ir/1.png")
        result = fnet("fuse", *sides(tmp_path), "--prefix", "vis=a", "--dry-run")
        assert "ignored, does not begin with --prefix a (1)" in result.stderr
        options = ["--match", "vis=a{}", "--match", "ir={}"]
        result = fnet("fuse", *sides(tmp_path), *options, "--dry-run")
        assert "ignored, does not fit --match a{} (1)" in result.stderr

    def test_nothing_of_it_where_pairs_are_fused(self, tmp_path: Path) -> None:
        draw(tmp_path, "vis/1.png", "ir/1.png")
        (tmp_path / "vis" / "notes.txt").touch()
        common: list[Any] = ["-o", tmp_path / "out", "--weights", tiny_weights(tmp_path)]
        result = fnet("fuse", *sides(tmp_path), *common)
        assert result.exit_code == 0
        assert "ignored" not in result.stderr


def test_pictures_are_as_they_were(tmp_path: Path) -> None:
    """Drawn pictures differ: no test here passes because all are equal."""
    draw(tmp_path, "a.png", "b.png")
    one, other = (np.asarray(PIL.Image.open(tmp_path / name)) for name in ("a.png", "b.png"))
    assert (one != other).any()
