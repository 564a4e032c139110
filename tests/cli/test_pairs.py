"""Which files belong together, said on the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import fnet, tiny_weights
from tests.cli.test_batch import errors, records
from tests.drawn_pictures import smooth_noise, write, write_pairs


@pytest.fixture
def common(tmp_path: Path) -> list[Any]:
    return ["-o", tmp_path / "out", "--weights", tiny_weights(tmp_path), "--maps", "none"]


def names(out: Path) -> list[str]:
    return sorted(
        path.relative_to(out / "fused").as_posix() for path in (out / "fused").rglob("*.*")
    )


class TestList:
    def test_pairs_of_any_names(self, tmp_path: Path, common: list[Any]) -> None:
        write(tmp_path / "day 1" / "Foto ä.png", smooth_noise(20, 30, 1, 3))
        write(tmp_path / "t" / "0001.png", smooth_noise(20, 30, 2))
        (tmp_path / "list.csv").write_text(
            "case,ir,vis,comment\nmorning,t/0001.png,day 1/Foto ä.png,cold\n"
            ",t/0001.png,./day 1/Foto ä.png,\n"
        )
        result = fnet("fuse", "--pairs", tmp_path / "list.csv", *common)
        assert result.exit_code == 0, result.output
        assert names(tmp_path / "out") == ["Foto ä.png", "morning.png"]
        first, second = records(tmp_path / "out")
        assert first["inputs"]["vis"]["path"] == "day 1/Foto ä.png"
        assert [first["case"], second["case"]] == ["morning", "Foto ä"]

    def test_a_missing_file_fails_its_case_alone(self, tmp_path: Path, common: list[Any]) -> None:
        write_pairs(tmp_path, 1)
        (tmp_path / "list.csv").write_text(
            "vis,ir\nvis/none.png,ir/0.png\nvis/0.png,ir/0.png\nvis,ir/0.png\n"
        )
        result = fnet("fuse", "--pairs", tmp_path / "list.csv", *common)
        assert result.exit_code == 1
        assert "1 fused, 0 skipped, 2 failed" in result.stderr
        assert "none.png: no such file" in errors(result.stderr)[0]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("vis,ir\n../a.png,b.png\n", "line 2: ../a.png lies outside the list's folder"),
            ("vis,ir\n/etc/passwd,b.png\n", "lies outside"),
            ("case,vis,ir\n../../x,a.png,b.png\n", "is not a case name"),
            ("case,vis,ir\na/b,a.png,b.png\n", "is not a case name"),
            ("case,vis,ir\nx,a.png,b.png\nx,c.png,d.png\n", "lines 2 and 3: both are called 'x'"),
            ("vis,ir\na.png,\n", "line 2: no path of the ir image"),
            ("vis,thermal\na.png,b.png\n", "names 1 modality"),
            ("vis/ir\na.png/b.png\n", "separated by a comma, semicolon or tab"),
            ("vis,ct\na.png,b.png\n", "give exactly two that belong together"),
            ("", "names 0 modalities"),
        ],
    )
    def test_mistakes_in_a_list(
        self, tmp_path: Path, common: list[Any], text: str, message: str
    ) -> None:
        (tmp_path / "list.csv").write_text(text)
        result = fnet("fuse", "--pairs", tmp_path / "list.csv", *common)
        assert result.exit_code == 2
        (line,) = errors(result.stderr)
        assert message in line
        assert not (tmp_path / "out").exists()

    def test_nothing_in_it(self, tmp_path: Path, common: list[Any]) -> None:
        (tmp_path / "list.csv").write_text("vis,ir\n")
        result = fnet("fuse", "--pairs", tmp_path / "list.csv", *common)
        assert result.exit_code == 1
        assert "nothing to do" in errors(result.stderr)[0]

    def test_wrong_company(self, tmp_path: Path, common: list[Any]) -> None:
        (tmp_path / "list.csv").write_text("vis,ir\n")
        for extra in (["--vis", tmp_path], ["--suffix", "vis=x"]):
            result = fnet("fuse", "--pairs", tmp_path / "list.csv", *extra, *common)
            assert result.exit_code == 2
            assert "leave one out" in errors(result.stderr)[0]
        result = fnet("fuse", "--pairs", tmp_path / "none.csv", *common)
        assert result.exit_code == 2
        assert "no such file" in errors(result.stderr)[0]

    def test_results_may_lie_beside_the_list(self, tmp_path: Path, common: list[Any]) -> None:
        write_pairs(tmp_path, 1)
        (tmp_path / "list.csv").write_text("vis,ir\nvis/0.png,ir/0.png\n")
        assert fnet("fuse", "--pairs", tmp_path / "list.csv", *common).exit_code == 0


class TestFolders:
    def test_recursive_keeps_sub_folders(self, tmp_path: Path, common: list[Any]) -> None:
        for folder in ("vis", "ir"):
            for name in ("a.png", "day/a.png", "day/x/b.png", ".hidden/c.png"):
                write(tmp_path / folder / name, smooth_noise(20, 30, 1))
        images = ["--vis", tmp_path / "vis", "--ir", tmp_path / "ir"]
        assert fnet("fuse", *images, *common).exit_code == 0
        assert names(tmp_path / "out") == ["a.png"]
        result = fnet("fuse", *images, *common, "--recursive")
        assert "2 fused, 1 skipped" in result.stderr
        assert names(tmp_path / "out") == ["a.png", "day/a.png", "day/x/b.png"]
        assert [one["case"] for one in records(tmp_path / "out")] == ["a", "day/a", "day/x/b"]
        assert records(tmp_path / "out")[1]["inputs"]["vis"]["path"] == "day/a.png"

    def test_suffixes_in_one_folder(self, tmp_path: Path, common: list[Any]) -> None:
        for i in range(3):
            write(tmp_path / "both" / f"{i}_RGB.png", smooth_noise(20, 30, i, 3))
            write(tmp_path / "both" / f"{i}_T.png", smooth_noise(20, 30, i))
        write(tmp_path / "both" / "map.png", smooth_noise(20, 30, 1))
        images = ["--vis", tmp_path / "both", "--ir", tmp_path / "both"]
        result = fnet("fuse", *images, *common, "--suffix", "vis=_RGB", "--suffix", "ir=_T")
        assert result.exit_code == 0, result.output
        assert names(tmp_path / "out") == ["0.png", "1.png", "2.png"]
        result = fnet("fuse", *images, *common)
        assert result.exit_code == 2
        assert "its own partner" in errors(result.stderr)[0]

    def test_same_name_after_stripping(self, tmp_path: Path, common: list[Any]) -> None:
        vis, ir = write_pairs(tmp_path, 1)
        write(vis / "0.jpg", smooth_noise(24, 32, 1, 3))
        result = fnet("fuse", "--vis", vis, "--ir", ir, *common)
        assert result.exit_code == 2
        assert "0.jpg" in errors(result.stderr)[0]
        assert not (tmp_path / "out").exists()

    def test_empty_folders_name_the_way_out(self, tmp_path: Path, common: list[Any]) -> None:
        for folder in ("vis", "ir"):
            write(tmp_path / folder / "sub" / "a.png", smooth_noise(20, 30, 1))
        result = fnet("fuse", "--vis", tmp_path / "vis", "--ir", tmp_path / "ir", *common)
        assert result.exit_code == 1
        (line,) = errors(result.stderr)
        assert "--recursive" in line
        assert "--suffix" in line

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_unreadable_folder(self, tmp_path: Path, common: list[Any]) -> None:
        vis, ir = write_pairs(tmp_path, 1)
        vis.chmod(0)
        result = fnet("fuse", "--vis", vis, "--ir", ir, *common)
        vis.chmod(0o755)
        assert result.exit_code == 2
        assert "permission" in errors(result.stderr)[0]
