"""What two paths mean, for every mixture of pictures, DICOM and NIfTI."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from fnetcli.errors import ReadError, UsageError
from fnetcli.formats import write_png
from fnetcli.formats.volumes import read_volume
from fnetcli.inputs.layout import AskedKind, InputLayout, read_layout
from fnetcli.inputs.pairing import PairingOptions, with_suffixes
from tests.drawn_volumes import GRIDS, PATIENT, phantom, write_nifti, write_series

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "volumes"
PLAIN = GRIDS["axial"]


def dicom(path: Path) -> Path:
    return write_series(path, phantom((2, 3, 4)), PLAIN)


def nifti(path: Path) -> Path:
    return write_nifti(path, phantom((2, 3, 4)), PLAIN)


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, np.zeros((4, 4), np.uint8))
    return path


def triples(layout: InputLayout) -> list[tuple[str, Path, Path]]:
    return [(case.name, case.first, case.second) for case in layout.cases]


def refused(first: Path, second: Path, layout: AskedKind = "auto", name: str | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        read_layout(first, second, layout, name)
    line = str(caught.value)
    assert "; " in line
    assert "\n" not in line
    return line


class TestPairs:
    def test_folders_of_pictures(self, tmp_path: Path) -> None:
        for name in ("1", "2"):
            picture(tmp_path / "ct" / f"{name}.png")
            picture(tmp_path / "mri" / f"{name}.png")
        picture(tmp_path / "mri" / "3.png")
        found = read_layout(tmp_path / "ct", tmp_path / "mri")
        assert found.kind == "pairs"
        assert [case.name for case in found.cases] == ["1", "2"]
        assert found.unpaired == [tmp_path / "mri" / "3.png"]
        assert found.sentence == "two folders of pictures: 2 pairs by name"
        assert found.pairing.source == "folders"

    def test_options_of_pairs_count(self, tmp_path: Path) -> None:
        first = picture(tmp_path / "a" / "deep" / "1_ct.png").parents[1]
        second = picture(tmp_path / "b" / "deep" / "1.png").parents[1]
        options = PairingOptions(is_recursive=True, rules=with_suffixes("_ct", ""))
        found = read_layout(first, second, pairing=options)
        assert (found.kind, [case.name for case in found.cases]) == ("pairs", ["deep/1"])

    def test_two_pictures(self, tmp_path: Path) -> None:
        found = read_layout(picture(tmp_path / "a.png"), picture(tmp_path / "b.png"))
        assert (found.kind, [case.name for case in found.cases]) == ("pairs", ["b"])
        found = read_layout(tmp_path / "a.png", tmp_path / "b.png", name="night")
        assert [case.name for case in found.cases] == ["night"]


class TestSeries:
    def test_two_folders_are_named_after_what_both_lie_in(self, tmp_path: Path) -> None:
        first = dicom(tmp_path / "STS_002" / "CT")
        second = dicom(tmp_path / "STS_002" / "MR_T1")
        found = read_layout(first, second)
        assert found.kind == "series"
        assert triples(found) == [("STS_002", first, second)]
        assert found.sentence == "two volumes: one case, STS_002"
        assert found.pairing.roots == (first, second)
        assert triples(read_layout(first, second, name="P1"))[0][0] == "P1"
        assert read_layout(first, second, name="P1").sentence == "two volumes: one case, P1"

    def test_relative_paths_have_parents_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dicom(tmp_path / "P7" / "a" / "CT")
        dicom(tmp_path / "P7" / "b" / "MR")
        monkeypatch.chdir(tmp_path / "P7")
        found = read_layout(Path("a/CT"), Path("b/MR"))
        assert triples(found) == [("P7", Path("a/CT"), Path("b/MR"))]

    def test_dicom_may_lie_deeper(self, tmp_path: Path) -> None:
        first = dicom(tmp_path / "P1" / "ct" / "a" / "b").parents[1]
        second = dicom(tmp_path / "P1" / "mr" / "c").parent
        found = read_layout(first, second)
        assert (found.kind, triples(found)) == ("series", [("P1", first, second)])
        assert read_volume(found.cases[0].first).grid.shape == (2, 3, 4)

    def test_one_folder_for_both(self, tmp_path: Path) -> None:
        folder = dicom(tmp_path / "P1")
        assert triples(read_layout(folder, folder)) == [("P1", folder, folder)]

    def test_files_give_their_names(self, tmp_path: Path) -> None:
        folder, scan = dicom(tmp_path / "P1" / "CT"), nifti(tmp_path / "P1" / "scan.nii.gz")
        assert triples(read_layout(folder, scan)) == [("scan", folder, scan)]
        assert triples(read_layout(scan, folder)) == [("scan", scan, folder)]
        other = nifti(tmp_path / "other.nii")
        assert triples(read_layout(scan, other)) == [("other", scan, other)]
        single = folder / "IM0000"
        assert triples(read_layout(scan, single)) == [("IM0000", scan, single)]

    def test_a_folder_of_one_nifti(self, tmp_path: Path) -> None:
        first, second = nifti(tmp_path / "a" / "ct.nii"), nifti(tmp_path / "b" / "c" / "t1.nii.gz")
        found = read_layout(tmp_path / "a", tmp_path / "b")
        assert (found.kind, triples(found)) == ("series", [("t1", first, second)])

    def test_which_of_several(self, tmp_path: Path) -> None:
        folder = dicom(tmp_path / "ct")
        for name in ("t1", "t2"):
            nifti(tmp_path / "mr" / f"{name}.nii")
        line = refused(folder, tmp_path / "mr")
        assert line == f"{tmp_path / 'mr'}: holds 2 volumes (t1.nii, t2.nii); give one of them"
        dicom(tmp_path / "mr" / "more")
        assert "holds DICOM and other volumes" in refused(folder, tmp_path / "mr")

    def test_nothing_in_it(self, tmp_path: Path) -> None:
        folder = dicom(tmp_path / "ct")
        (tmp_path / "empty").mkdir()
        assert "contains no volume (DICOM, NIfTI, NRRD, MetaImage, MGZ)" in refused(
            folder, tmp_path / "empty"
        )


class TestCases:
    def test_folders_and_files_by_name(self, tmp_path: Path) -> None:
        ct, mr = tmp_path / "ct", tmp_path / "mr"
        for name in ("P1", "P2", "only"):
            dicom(ct / name / "series")
        dicom(mr / "P1")
        nifti(mr / "P2.nii.gz")
        nifti(mr / "left.nii")
        (ct / "notes").mkdir()
        found = read_layout(ct, mr)
        assert found.kind == "cases"
        assert triples(found) == [
            ("P1", ct / "P1", mr / "P1"),
            ("P2", ct / "P2", mr / "P2.nii.gz"),
        ]
        assert found.unpaired == [ct / "notes", ct / "only", mr / "left.nii"]
        assert found.sentence == "two folders of volumes: 2 cases by name"
        assert found.pairing.source == "folders"
        assert found.pairing.roots == (ct, mr)
        for case in found.cases:
            assert read_volume(case.second).grid.shape == (2, 3, 4)

    def test_one_folder_for_both_sides(self, tmp_path: Path) -> None:
        """One study, each of its series in a sub-folder: these are no cases, unless it is said."""
        for name in ("P1", "P2"):
            dicom(tmp_path / "all" / name / "CT")
        (tmp_path / "link").symlink_to(tmp_path / "all")
        for other in (tmp_path / "all", tmp_path / "all" / "P1" / "..", tmp_path / "link"):
            found = read_layout(tmp_path / "all", other)
            assert (found.kind, len(found.cases)) == ("series", 1)
            found = read_layout(tmp_path / "all", other, "cases")
            assert [case.name for case in found.cases] == ["P1", "P2"]

    def test_a_nifti_within_a_case(self, tmp_path: Path) -> None:
        dicom(tmp_path / "ct" / "P1")
        scan = nifti(tmp_path / "mr" / "P1" / "anat" / "t1.nii.gz")
        found = read_layout(tmp_path / "ct", tmp_path / "mr")
        assert triples(found) == [("P1", tmp_path / "ct" / "P1", scan)]

    def test_two_of_one_name(self, tmp_path: Path) -> None:
        dicom(tmp_path / "ct" / "P1")
        dicom(tmp_path / "mr" / "P1")
        nifti(tmp_path / "mr" / "P1.nii")
        assert "are both named 'P1'" in refused(tmp_path / "ct", tmp_path / "mr")

    def test_a_single_case_may_be_named(self, tmp_path: Path) -> None:
        for name in ("P1", "P2"):
            dicom(tmp_path / "ct" / name)
        dicom(tmp_path / "mr" / "P1")
        found = read_layout(tmp_path / "ct", tmp_path / "mr", name="A")
        assert [case.name for case in found.cases] == ["A"]
        dicom(tmp_path / "mr" / "P2")
        assert "there are 2" in refused(tmp_path / "ct", tmp_path / "mr", name="A")

    def test_no_patient_in_names(self, tmp_path: Path) -> None:
        first, second = dicom(tmp_path / "x" / "CT"), dicom(tmp_path / "x" / "MR")
        found = read_layout(first, second)
        shown = f"{found.sentence} {found.cases}".lower()
        assert not any(value.lower() in shown for value in PATIENT.values())


class TestForced:
    def test_series_where_names_match(self, tmp_path: Path) -> None:
        """Two studies whose series folders have the same names."""
        first = dicom(tmp_path / "P1" / "ct" / "S1").parent
        second = dicom(tmp_path / "P1" / "mr" / "S1").parent
        assert read_layout(first, second).kind == "cases"
        found = read_layout(first, second, "series")
        assert (found.kind, triples(found)) == ("series", [("P1", first, second)])

    def test_what_is_not_there(self, tmp_path: Path) -> None:
        first, second = dicom(tmp_path / "ct"), dicom(tmp_path / "mr")
        words = "no sub-folder or volume file has the same name"
        assert words in refused(first.parent / "ct", tmp_path, "cases")
        scan = nifti(tmp_path / "a.nii")
        assert "a file, not a folder of cases" in refused(first, scan, "cases")
        one = picture(tmp_path / "a.png")
        assert "not a volume (DICOM, NIfTI, NRRD, MetaImage, MGZ)" in refused(one, scan, "series")
        pairs = read_layout(first, second, "pairs")
        assert (pairs.kind, pairs.cases) == ("pairs", [])

    def test_pictures_beside_dicom(self, tmp_path: Path) -> None:
        first, second = dicom(tmp_path / "ct"), dicom(tmp_path / "mr")
        picture(first / "preview.png")
        line = refused(first, second)
        assert line == (
            f"{first}: pictures and volumes are directly inside; choose with "
            "--layout pairs|series|cases"
        )
        assert "pictures and volumes" in refused(
            nifti(tmp_path / "nii" / "a.nii").parent, picture(tmp_path / "nii" / "a.png").parent
        )
        assert read_layout(first, second, "series").kind == "series"
        assert read_layout(first, second, "pairs").kind == "pairs"


class TestRefusal:
    def test_a_volume_with_a_picture(self, tmp_path: Path) -> None:
        volumes = [
            dicom(tmp_path / "ct"),
            nifti(tmp_path / "scan.nii"),
            dicom(tmp_path / "deep" / "a").parent,
        ]
        pictures = [picture(tmp_path / "a.png"), picture(tmp_path / "png" / "a.png").parent]
        for volume, flat in itertools.product(volumes, pictures):
            for first, second in ((volume, flat), (flat, volume)):
                line = refused(first, second)
                assert f"{flat} holds pictures, {volume} volumes" in line

    @pytest.mark.parametrize("name", ["notes.txt", "a.png", "scan"])
    def test_a_volume_with_what_is_neither(self, name: str, tmp_path: Path) -> None:
        folder, other = dicom(tmp_path / "ct"), tmp_path / name
        other.write_text("neither pixels nor voxels")
        for first, second in ((folder, other), (other, folder)):
            line = refused(first, second)
            assert line == (
                f"{other}: neither an image nor a volume (DICOM, NIfTI, NRRD, MetaImage, MGZ); "
                "give another file"
            )
        other.write_text("")
        with pytest.raises(ReadError, match="the file is empty"):
            read_layout(folder, other)

    def test_missing(self, tmp_path: Path) -> None:
        folder = dicom(tmp_path / "ct")
        for missing in (tmp_path / "none", tmp_path / "a\0b", tmp_path / ("x" * 300)):
            assert "no such file or folder; check the path" in refused(folder, missing)

    @pytest.mark.parametrize(
        "name", ["", ".", "..", "a/b", "a\\b", "a\0b", "a:b", "a\nb", "\x1b[31m", "\udcff"]
    )
    def test_names_that_are_paths(self, name: str, tmp_path: Path) -> None:
        folder = dicom(tmp_path / "ct")
        assert "not a case name" in refused(folder, folder, name=name)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared/ folder beside the checkout")
def test_real_series() -> None:
    folder = SHARED / "STS_002"
    found = read_layout(folder / "CT", folder / "MR_T1")
    assert triples(found) == [("STS_002", folder / "CT", folder / "MR_T1")]
