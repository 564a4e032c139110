"""Volumes paired as pictures are: lists, suffixes, patterns, sub-folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from typer.testing import Result

from tests.cli.command import error_line, fnet, tiny_weights
from tests.drawn_volumes import AXIAL, affine, phantom, write_nifti, write_series

PLACE = affine(AXIAL, (3.0, 2.0, 2.0))
SHAPE = (3, 8, 9)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FNET_NATIVE", "0")
    tiny_weights(tmp_path)


def draw(*places: str) -> None:
    """Write a NIfTI file for a name with a suffix, else a folder of DICOM."""
    for place in places:
        pixels = np.abs(phantom(SHAPE)).astype(np.int16)
        if place.endswith((".nii", ".nii.gz")):
            write_nifti(Path(place), pixels, PLACE)
        else:
            write_series(Path(place), pixels, PLACE, "CT" if "CT" in place else "MR")


def fuse(*given: object) -> Result:
    return fnet("fuse", *given, "-o", "out", "--weights", "tiny.safetensors")


def fused(*given: object) -> dict[str, Any]:
    """Return the inputs of every case."""
    result = fuse(*given, "--maps", "none")
    assert result.exit_code == 0, result.output
    records = map(json.loads, Path("out/manifest.jsonl").read_text().splitlines())
    return {
        record["case"]: tuple(known["path"] for known in record["inputs"].values())
        for record in records
    }


class TestLists:
    def test_files_and_folders(self) -> None:
        draw("P1/CT", "P1/t1.nii.gz", "P2/ct.nii", "P2/MR")
        lines = "ct,mri,case,age\nP1/CT,P1/t1.nii.gz,P1,1\nP2/ct.nii,P2/MR,P2,2\n"
        Path("list.csv").write_text(lines)
        assert fused("--pairs", "list.csv") == {
            "P1": ("P1/t1.nii.gz", "P1/CT"),
            "P2": ("P2/MR", "P2/ct.nii"),
        }
        assert Path("out/fused/P1.nii.gz").is_file()
        again = fuse("--pairs", "list.csv", "--maps", "none")
        assert "0 fused, 2 skipped" in again.stderr

    def test_names_without_a_column(self) -> None:
        draw("a/ct.nii.gz", "a/t1.nii.gz")
        Path("list.csv").write_text("mri,ct\na/t1.nii.gz,a/ct.nii.gz\n")
        assert [*fused("--pairs", "list.csv")] == ["ct"]

    def test_options_of_volumes_go_with_a_list(self) -> None:
        draw("a/ct.nii.gz", "a/t1.nii.gz")
        Path("list.csv").write_text("mri,ct\na/t1.nii.gz,a/ct.nii.gz\n")
        given = ("--pairs", "list.csv", "--window", "ct=auto", "--each-volume", "--to", "nrrd")
        assert fuse(*given).exit_code == 0
        assert Path("out/fused/ct.nrrd").is_file()

    def test_a_file_that_is_missing_fails_its_case(self) -> None:
        draw("a/ct.nii.gz", "a/t1.nii.gz")
        Path("list.csv").write_text(
            "mri,ct,case\nnone.nii,a/ct.nii.gz,A\na/t1.nii.gz,a/ct.nii.gz,B\n"
        )
        result = fuse("--pairs", "list.csv")
        assert result.exit_code == 1
        assert "none.nii: no such file" in error_line(result.stderr)
        assert "1 fused, 0 skipped, 1 failed" in result.stderr

    @pytest.mark.parametrize(
        ("option", "words"),
        [
            (("--layout", "cases"), "--layout: applies only to two of"),
            (("--name", "A"), "--name: applies only to two of"),
            (("--bits", "ct=12"), "--bits: applies only to pictures"),
            (("--suffix", "ct=_ct"), "--suffix and --pairs: the list names the files"),
        ],
    )
    def test_what_does_not_go_with_it(self, option: tuple[str, str], words: str) -> None:
        draw("a/ct.nii.gz", "a/t1.nii.gz")
        Path("list.csv").write_text("mri,ct\na/t1.nii.gz,a/ct.nii.gz\n")
        result = fuse("--pairs", "list.csv", *option)
        assert result.exit_code == 2
        assert words in error_line(result.stderr)


class TestFolders:
    def test_suffixes_in_one_folder(self) -> None:
        draw("in/A_ct.nii.gz", "in/A_T1w.nii.gz", "in/B_ct.nii", "in/B_T1w.nii", "in/C_ct.nii")
        given = ("--ct", "in", "--mri", "in", "--suffix", "ct=_ct", "--suffix", "mri=_T1w")
        assert fused(*given) == {
            "A": ("A_T1w.nii.gz", "A_ct.nii.gz"),
            "B": ("B_T1w.nii", "B_ct.nii"),
        }
        strict = fuse(*given, "--strict", "--maps", "none")
        assert strict.exit_code == 1
        assert "2 skipped, 0 failed, 1 unpaired" in strict.stderr

    def test_sub_folders(self) -> None:
        draw("ct/P1/day1.nii.gz", "ct/P2/day1", "mr/P1/day1.nii", "mr/P2/day1", "mr/P2/day2.nii")
        assert fused("--ct", "ct", "--mri", "mr", "--recursive") == {
            "P1/day1": ("P1/day1.nii", "P1/day1.nii.gz"),
            "P2/day1": ("P2/day1", "P2/day1"),
        }
        assert Path("out/fused/P2/day1.nii.gz").is_file()

    def test_patterns_of_folders_of_dicom(self) -> None:
        draw("study/P1/CT", "study/P1/MR_T1", "study/P2/CT", "study/P2/MR_T1", "study/P2/PT")
        given = ("--ct", "study", "--mri", "study")
        rules = ("--match", "ct={}/CT", "--match", "mri={}/MR_*")
        assert fused(*given, *rules) == {
            "P1": ("P1/MR_T1", "P1/CT"),
            "P2": ("P2/MR_T1", "P2/CT"),
        }

    def test_subjects_and_sessions_of_bids(self) -> None:
        for subject in ("sub-01", "sub-02"):
            for session in ("ses-1", "ses-2"):
                start = f"{subject}_{session}"
                draw(f"bids/{subject}/{session}/ct/{start}_ct.nii.gz")
                draw(f"bids/{subject}/{session}/anat/{start}_run-1_T1w.nii.gz")
        given = ("--ct", "bids", "--mri", "bids")
        rules = ("--match", "ct={}/{ses}/ct/*_ct", "--match", "mri={}/{ses}/anat/*_T1w")
        found = fused(*given, *rules)
        assert [*found] == [f"sub-0{i}/ses-{j}" for i in (1, 2) for j in (1, 2)]
        assert found["sub-02/ses-1"] == (
            "sub-02/ses-1/anat/sub-02_ses-1_run-1_T1w.nii.gz",
            "sub-02/ses-1/ct/sub-02_ses-1_ct.nii.gz",
        )

    def test_what_is_ignored_is_recorded(self) -> None:
        draw("in/A_ct.nii", "in/A_T1w.nii", "in/deep/B_ct.nii")
        Path("in/notes.txt").write_text("no")
        fused("--ct", "in", "--mri", "in", "--suffix", "ct=_ct", "--suffix", "mri=_T1w")
        ignored = json.loads(Path("out/run.json").read_text())["ignored"]
        assert {(one["path"], one["reason"]) for one in ignored} == {
            ("in/deep", "a folder; --recursive looks into it"),
            ("in/notes.txt", "no volume by its suffix"),
        }

    @pytest.mark.parametrize(
        ("given", "code", "words"),
        [
            (("--suffix", "ct=_x", "--suffix", "mri=_y"), 1, "nothing to do, no file of one"),
            (("--recursive",), 2, "both sides are the same folder"),
            (("--match", "ct={}_ct"), 2, "--match: has no pattern of mri"),
            (("--nearest-time", "2s"), 2, "--nearest-time: applies only to pictures"),
            (("--suffix", "ct=_ct", "--layout", "series"), 2, "apply only to two folders"),
        ],
    )
    def test_mistakes(self, given: tuple[str, ...], code: int, words: str) -> None:
        draw("in/A_ct.nii", "in/A_T1w.nii")
        result = fuse("--ct", "in", "--mri", "in", *given)
        assert result.exit_code == code
        assert words in error_line(result.stderr)
        assert "--band" not in result.stderr

    def test_rules_of_two_files(self) -> None:
        draw("A_ct.nii", "A_T1w.nii")
        words = "apply only to two folders of volumes; leave them out"
        result = fuse("--ct", "A_ct.nii", "--mri", "A_T1w.nii", "--suffix", "ct=_ct")
        assert result.exit_code == 2
        assert words in error_line(result.stderr)
        draw("CT", "MR")
        result = fuse("--ct", "CT", "--mri", "MR", "--recursive")
        assert result.exit_code == 2
        assert words in error_line(result.stderr)

    def test_two_files_of_one_name(self) -> None:
        draw("ct/a.nii", "ct/a.nii.gz", "mr/a.nii")
        result = fuse("--ct", "ct", "--mri", "mr", "--recursive")
        assert result.exit_code == 2
        assert "are both named 'a'; rename or remove one of them" in error_line(result.stderr)

    def test_pictures_are_paired_as_ever(self) -> None:
        for name in ("ct/d/a.png", "mr/d/a.png"):
            Path(name).parent.mkdir(parents=True)
            iio.imwrite(name, np.arange(120, dtype=np.uint8).reshape(10, 12))
        assert [*fused("--ct", "ct", "--mri", "mr", "--recursive")] == ["d/a"]
