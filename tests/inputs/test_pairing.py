"""Modalities and pairing: which two, in which order, which file with which."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fnetcli.errors import UsageError
from fnetcli.inputs.lists import pair_list
from fnetcli.inputs.pairing import (
    Pairing,
    PairingOptions,
    _by_name,
    _Side,
    pair_paths,
    with_suffixes,
)
from fnetcli.modalities import BY_NAME, MODALITIES, PAIRS, network_order

LETTERS = st.text("abcXYZ012 äß._-", min_size=1, max_size=8)


@pytest.mark.parametrize("given", list(itertools.permutations(MODALITIES, 2)))
def test_order_does_not_depend_on_the_command_line(given: tuple[str, str]) -> None:
    pair = next((pair for pair in PAIRS if set(pair) == set(given)), None)
    if pair is None:
        with pytest.raises(UsageError, match="vis\\+ir"):
            network_order(list(given))
    else:
        assert network_order(list(given)) == pair


def test_the_first_input_is_infrared_or_structural() -> None:
    assert {first for first, _ in PAIRS} == {"ir", "nir", "mri", "ct"}
    assert network_order(["ct", "mri"]) == ("mri", "ct")
    assert network_order(["pet", "ct"]) == ("ct", "pet")


def test_at_most_one_of_a_pair_gives_colour() -> None:
    assert all(sum(BY_NAME[name].carries_color for name in pair) <= 1 for pair in PAIRS)


def make(folder: Path, *names: str) -> Path:
    """Make empty files, and their folders."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names_of(pairing: Pairing) -> list[str]:
    return [case.name for case in pairing.cases]


class TestFiles:
    def test_two_make_one_case_named_after_the_second(self, tmp_path: Path) -> None:
        folder = make(tmp_path / "in", "thermal", "photo.v2.png")
        pairing = pair_paths(folder / "thermal", folder / "photo.v2.png")
        assert names_of(pairing) == ["photo.v2"]
        assert pairing.source == "files"
        assert pairing.roots == (folder, folder)
        assert pairing.unpaired == []

    def test_the_name_has_no_suffix(self, tmp_path: Path) -> None:
        folder = make(tmp_path / "in", "7_T.png", "7_RGB.png", "_RGB.png")
        options = PairingOptions(rules=with_suffixes("_T", "_RGB"))
        assert names_of(pair_paths(folder / "7_T.png", folder / "7_RGB.png", options)) == ["7"]
        only = pair_paths(folder / "7_T.png", folder / "_RGB.png", options)
        assert names_of(only) == ["_RGB"]

    def test_what_is_missing_or_of_two_kinds_is_refused(self, tmp_path: Path) -> None:
        folder = make(tmp_path / "in", "a.png")
        for first, second in itertools.permutations((folder, folder / "a.png")):
            with pytest.raises(UsageError, match=r"in is a folder, .*a\.png is a file; give two"):
                pair_paths(first, second)
        for missing in ("b.png", "b\0.png"):
            with pytest.raises(UsageError, match="no such file or folder; check the path"):
                pair_paths(folder / "a.png", folder / missing)

    def test_a_name_too_long_is_one_line(self, tmp_path: Path) -> None:
        folder = make(tmp_path / "in", "a.png")
        with pytest.raises(UsageError, match="check the path"):
            pair_paths(folder / "a.png", folder / ("b" * 300))


class TestFolders:
    def test_they_pair_by_stem(self, tmp_path: Path) -> None:
        first = make(tmp_path / "ir", "b.png", "a.JPG", "x.tif", "notes.txt", ".c.png", "Ä 1.bmp")
        second = make(tmp_path / "vis", "a.jpeg", "b.webp", "y.png", "Ä 1.TIFF", ".c.png")
        pairing = pair_paths(first, second)
        assert pairing.source == "folders"
        assert pairing.roots == (first, second)
        assert names_of(pairing) == ["a", "b", "Ä 1"]
        assert pairing.cases[0].first == first / "a.JPG"
        assert pairing.cases[0].second == second / "a.jpeg"
        assert pairing.unpaired == [first / "x.tif", second / "y.png"]

    def test_empty_ones_pair_nothing(self, tmp_path: Path) -> None:
        pairing = pair_paths(make(tmp_path / "ir"), make(tmp_path / "vis", "a.png"))
        assert pairing.cases == []
        assert pairing.unpaired == [tmp_path / "vis" / "a.png"]

    def test_folders_are_not_images(self, tmp_path: Path) -> None:
        first, second = make(tmp_path / "ir", "a.png"), make(tmp_path / "vis", "a.png")
        for folder in (first, second):
            (folder / "sub.png").mkdir()
        for is_recursive in (False, True):
            options = PairingOptions(is_recursive)
            assert names_of(pair_paths(first, second, options)) == ["a"]

    def test_one_folder_for_both_sides_is_refused(self, tmp_path: Path) -> None:
        folder = make(tmp_path / "in", "a.png")
        (tmp_path / "link").symlink_to(folder)
        for second in (folder, tmp_path / "link", folder / ".." / "in"):
            for suffixes in (("", ""), ("_T", "_T")):
                with pytest.raises(UsageError, match=r"in: both sides are the same.*--suffix"):
                    pair_paths(folder, second, PairingOptions(rules=with_suffixes(*suffixes)))

    def test_two_files_of_one_stem_are_an_error_that_names_both(self, tmp_path: Path) -> None:
        twice, once = make(tmp_path / "in", "a.png", "a.tif"), make(tmp_path / "vis", "a.png")
        for sides in ((twice, once), (once, twice)):
            with pytest.raises(UsageError, match=r"in/a\.png and .*in/a\.tif have the same stem"):
                pair_paths(*sides)

    @settings(max_examples=20)
    @given(st.sets(LETTERS, max_size=6), st.sets(LETTERS, max_size=6))
    def test_every_file_is_paired_or_said_to_be_alone(
        self, tmp_path_factory: pytest.TempPathFactory, firsts: set[str], seconds: set[str]
    ) -> None:
        root = tmp_path_factory.mktemp("law")
        first = make(root / "ir", *(f"{name}.png" for name in firsts))
        second = make(root / "vis", *(f"{name}.tif" for name in seconds))
        firsts, seconds = (
            {name for name in names if not name.startswith(".")} for names in (firsts, seconds)
        )
        pairing = pair_paths(first, second)
        assert names_of(pairing) == sorted(firsts & seconds)
        assert {path.stem for path in pairing.unpaired} == firsts ^ seconds
        for case in pairing.cases:
            assert case.first == first / f"{case.name}.png"
            assert case.second == second / f"{case.name}.tif"


class Counted(str):
    """A name that counts how often it is looked up."""

    __slots__ = ()
    lookups = 0

    def __hash__(self) -> int:
        Counted.lookups += 1
        return super().__hash__()


def test_time_grows_with_the_number_of_files_not_with_its_square() -> None:
    """A hundred thousand pairs took many minutes to be found."""
    count = 500
    names = [Counted(f"{i}") for i in range(count)]
    files: dict[str, Path] = {name: Path(f"{name}.png") for name in names}
    side = _Side(files, {}, [])
    Counted.lookups = 0
    matches, notices = _by_name(side, side)
    assert len(matches) == count
    assert not notices
    assert Counted.lookups < 50 * count


class TestRecursive:
    FILES = ("a.png", "day/a.png", "day/deep/b.png", ".hidden/c.png", "day/.d.png")

    def test_the_relative_path_is_the_name(self, tmp_path: Path) -> None:
        first, second = (make(tmp_path / name, *self.FILES) for name in ("ir", "vis"))
        assert names_of(pair_paths(first, second)) == ["a"]
        pairing = pair_paths(first, second, PairingOptions(is_recursive=True))
        assert names_of(pairing) == ["a", "day/a", "day/deep/b"]
        assert pairing.cases[1].second == second / "day" / "a.png"
        assert pairing.unpaired == []

    def test_the_same_stem_elsewhere_is_another_case(self, tmp_path: Path) -> None:
        first = make(tmp_path / "ir", "a.png", "day/a.tif")
        second = make(tmp_path / "vis", "night/a.png")
        pairing = pair_paths(first, second, PairingOptions(is_recursive=True))
        assert pairing.cases == []
        assert len(pairing.unpaired) == 3
        make(first, "day/a.png")
        with pytest.raises(UsageError, match=r"day/a\.png and .*day/a\.tif have the same stem"):
            pair_paths(first, second, PairingOptions(is_recursive=True))

    def test_links_to_folders_are_not_followed_those_to_files_are(self, tmp_path: Path) -> None:
        elsewhere = make(tmp_path / "elsewhere", "x.png")
        first, second = (make(tmp_path / name, "a.png") for name in ("ir", "vis"))
        for folder in (first, second):
            (folder / "loop").symlink_to(folder)
            (folder / "away").symlink_to(elsewhere)
            (folder / "linked.png").symlink_to(elsewhere / "x.png")
        pairing = pair_paths(first, second, PairingOptions(is_recursive=True))
        assert names_of(pairing) == ["a", "linked"]

    def test_suffixes_come_off_in_every_folder(self, tmp_path: Path) -> None:
        folder = make(tmp_path / "in", "1_T.tif", "1_V.jpg", "day/1_T.tif", "day/1_V.jpg")
        options = PairingOptions(is_recursive=True, rules=with_suffixes("_T", "_V"))
        assert names_of(pair_paths(folder, folder, options)) == ["1", "day/1"]

    @pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
    def test_a_closed_folder_is_said(self, tmp_path: Path) -> None:
        first, second = (make(tmp_path / name, "day/a.png") for name in ("ir", "vis"))
        (second / "day").chmod(0)
        try:
            with pytest.raises(UsageError, match=r"day: cannot be read .*check permissions"):
                pair_paths(first, second, PairingOptions(is_recursive=True))
        finally:
            (second / "day").chmod(0o700)


class TestSuffixes:
    def test_only_what_ends_so_counts(self, tmp_path: Path) -> None:
        first = make(tmp_path / "ir", "1_T.png", "2_T.png", "3.png", "4_t.png")
        second = make(tmp_path / "vis", "1.png", "2_T.png", "3.png")
        pairing = pair_paths(first, second, PairingOptions(rules=with_suffixes("_T", "")))
        assert names_of(pairing) == ["1"]
        assert pairing.unpaired == [first / "2_T.png", second / "2_T.png", second / "3.png"]

    def test_one_folder_holds_both_sides(self, tmp_path: Path) -> None:
        folder = make(tmp_path / "in", "1_T.tif", "1_RGB.jpg", "2_RGB.jpg", "1_Z.png")
        pairing = pair_paths(folder, folder, PairingOptions(rules=with_suffixes("_T", "_RGB")))
        assert names_of(pairing) == ["1"]
        assert (pairing.cases[0].first, pairing.cases[0].second) == (
            folder / "1_T.tif",
            folder / "1_RGB.jpg",
        )
        assert pairing.unpaired == [folder / "2_RGB.jpg"]

    def test_in_one_folder_one_suffix_is_enough(self, tmp_path: Path) -> None:
        folder = make(tmp_path / "in", "1_T.tif", "1.jpg", "2.jpg", "3_T.tif")
        for suffixes in (("_T", ""), ("", "_T")):
            pairing = pair_paths(folder, folder, PairingOptions(rules=with_suffixes(*suffixes)))
            assert names_of(pairing) == ["1"]
            assert sorted(pairing.unpaired) == [folder / "2.jpg", folder / "3_T.tif"]

    def test_equal_names_after_stripping_are_an_error(self, tmp_path: Path) -> None:
        first = make(tmp_path / "ir", "1_T.png", "1_T.tif")
        second = make(tmp_path / "vis", "1.png")
        with pytest.raises(UsageError, match=r"1_T\.png and .*1_T\.tif have the same stem"):
            pair_paths(first, second, PairingOptions(rules=with_suffixes("_T", "")))

    def test_a_stem_that_is_nothing_else_stays(self, tmp_path: Path) -> None:
        folder = make(tmp_path / "in", "_T.png", "1_T.png")
        other = make(tmp_path / "vis", "_T.png", "1.png")
        pairing = pair_paths(folder, other, PairingOptions(rules=with_suffixes("_T", "")))
        assert names_of(pairing) == ["1", "_T"]


class TestList:
    @staticmethod
    def write(folder: Path, content: str | bytes) -> Path:
        path = folder / "pairs.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def refused(self, folder: Path, content: str | bytes) -> str:
        """Return what is said of a list, without its path."""
        path = self.write(folder, content)
        with pytest.raises(UsageError) as caught:
            pair_list(path)
        text = str(caught.value)
        assert text.startswith(str(path))
        assert "\n" not in text
        return text.removeprefix(str(path))

    def test_paths_are_relative_to_the_list(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, "vis,ir\nv/a.jpg,t/9.tif\nv/b.jpg,t/8.tif\n")
        modalities, pairing = pair_list(path)
        assert modalities == ("ir", "vis")
        assert pairing.source == "list"
        assert pairing.roots == (tmp_path, tmp_path)
        assert pairing.unpaired == []
        assert [(one.name, one.first, one.second) for one in pairing.cases] == [
            ("a", tmp_path / "t" / "9.tif", tmp_path / "v" / "a.jpg"),
            ("b", tmp_path / "t" / "8.tif", tmp_path / "v" / "b.jpg"),
        ]

    @pytest.mark.parametrize("pair", PAIRS)
    def test_columns_may_stand_in_any_order(self, pair: tuple[str, str], tmp_path: Path) -> None:
        for columns in itertools.permutations((*pair, "case", "place")):
            row = ",".join({"case": "c", "place": "x"}.get(name, f"{name}.png") for name in columns)
            modalities, pairing = pair_list(self.write(tmp_path, f"{','.join(columns)}\n{row}\n"))
            assert modalities == pair
            (case,) = pairing.cases
            assert case.name == "c"
            assert (case.first.name, case.second.name) == (f"{pair[0]}.png", f"{pair[1]}.png")

    @pytest.mark.parametrize(
        "content",
        [
            "vis,ir\na.png,b.png\n",
            "vis,ir\na.png,b.png",
            "\ufeffvis,ir\na.png,b.png\n",
            "vis,ir\r\na.png,b.png\r\n",
            "vis,ir\ra.png,b.png\r",
            " vis , ir \n  a.png ,\tb.png  \n",
            'vis,ir\n"a.png","b.png"\n',
            '"vis","ir"\n"a.png","b.png"\n',
            '"vis", "ir"\n"a.png", "b.png"\n',
            "vis,ir\n\na.png,b.png\n\n\n",
            "vis,ir,case\na.png,b.png,\n",
            "vis,ir,case\na.png,b.png\n",
        ],
    )
    def test_however_programs_write_it(self, content: str, tmp_path: Path) -> None:
        _, pairing = pair_list(self.write(tmp_path, content))
        (case,) = pairing.cases
        assert case.name == "a"
        assert (case.first, case.second) == (tmp_path / "b.png", tmp_path / "a.png")

    def test_quoted_names_hold_commas_and_quotes(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, 'vis,ir\n"a, 1.png","b ""2"".png"\n"Ä ö.png",ß.png\n')
        first, second = pair_list(path)[1].cases
        assert (first.name, first.first.name) == ("a, 1", 'b "2".png')
        assert (second.name, second.first.name) == ("Ä ö", "ß.png")

    def test_it_may_lie_anywhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make(tmp_path / "in")
        self.write(tmp_path / "in", "vis,ir\na.png,sub/../b.png\n")
        monkeypatch.chdir(tmp_path)
        (case,) = pair_list(Path("in/pairs.csv"))[1].cases
        assert case.second == Path("in/a.png")
        monkeypatch.chdir(tmp_path / "in")
        (case,) = pair_list(Path("pairs.csv"))[1].cases
        assert case.second == Path("a.png")

    def test_an_absolute_path_inside_is_fine(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, f"vis,ir\n{tmp_path}/a.png,{tmp_path}/x/../b.png\n")
        (case,) = pair_list(path)[1].cases
        assert case.second == tmp_path / "a.png"

    @pytest.mark.parametrize(
        "value",
        ["../a.png", "x/../../a.png", "/etc/passwd", "/", "..", "x/../..", "{folder}x/a.png"],
    )
    def test_paths_that_leave_the_folder_are_refused(self, value: str, tmp_path: Path) -> None:
        value = value.replace("{folder}", str(tmp_path))
        for row in (f"{value},b.png,c", f"b.png,{value},c"):
            text = self.refused(tmp_path, f"vis,ir,case\na.png,z.png,x\n{row}\n")
            assert text.startswith(f", line 3: {value} lies outside the list's folder; ")

    def test_a_zero_byte_is_refused(self, tmp_path: Path) -> None:
        text = self.refused(tmp_path, "vis,ir\na\0.png,b.png\n")
        assert text == ", line 2: a\0.png holds a NUL character; remove it"
        assert ", line 2: " in self.refused(tmp_path, "vis,ir,case\na.png,b.png,c\0\n")

    @pytest.mark.parametrize("name", ["a/b", "a\\b", "..", ".", "../x", "/x", "a..b", "x/", "\\"])
    def test_names_that_are_paths_are_refused(self, name: str, tmp_path: Path) -> None:
        text = self.refused(tmp_path, f"vis,ir,case\na.png,b.png,{name}\n")
        assert text.startswith(f", line 2: {name!r} is not a case name; ")

    @pytest.mark.parametrize("value", [".", "x/..", "a..b.png", "x\\a..b.png"])
    def test_so_are_names_that_come_of_paths(self, value: str, tmp_path: Path) -> None:
        text = self.refused(tmp_path, f"vis,ir\n{value},b.png\n")
        assert "is not a case name" in text

    def test_a_path_may_be_odd_if_the_case_has_a_name(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, "vis,ir,case\na..b.png,a\\b.png,good\n")
        assert names_of(pair_list(path)[1]) == ["good"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("vis,ir\na.png\n", ", line 2: no path of the ir image; fill it in"),
            ("vis,ir\n,b.png\n", ", line 2: no path of the vis image; fill it in"),
            ("vis,ir\na.png,b.png\n  ,b.png\n", ", line 3: no path of the vis image; fill it in"),
            ('vis,ir\na.png,""\n', ", line 2: no path of the ir image; fill it in"),
        ],
    )
    def test_missing_cells(self, content: str, message: str, tmp_path: Path) -> None:
        assert self.refused(tmp_path, content).startswith(message)

    def test_a_comma_too_many_is_said(self, tmp_path: Path) -> None:
        """Most likely a name with a comma that nobody quoted."""
        text = self.refused(tmp_path, "vis,ir\na.png,b, 2.png\n")
        assert text.startswith(", line 2: ")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (
                "vis,ir,case\na.png,b.png,x\nc.png,d.png,y\ne.png,f.png,x\n",
                ", lines 2 and 4: both are called 'x'; ",
            ),
            ("vis,ir\nm/a.png,b.png\nn/a.jpg,c.png\n", ", lines 2 and 3: both are called 'a'; "),
            (
                "vis,ir,case\nm/a.png,b.png,\nx.png,c.png,a\n",
                ", lines 2 and 3: both are called 'a'; ",
            ),
        ],
    )
    def test_two_cases_of_one_name(self, content: str, message: str, tmp_path: Path) -> None:
        assert self.refused(tmp_path, content).startswith(message)

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            ("", ": its first line (empty) names 0 modalities; "),
            ("\n", ": its first line (a.png, b.png) names 0 modalities; "),
            ("a.png,b.png\n", ": its first line (a.png, b.png) names 0 modalities; "),
            ("vis\n", ": its first line (vis) names 1 modality; "),
            ("vis,thermal\n", ": its first line (vis, thermal) names 1 modality; "),
            ("vis/ir\n", ": its first line (vis/ir) names 0 modalities; "),
            ("vis,ir,nir\n", ": its first line (vis, ir, nir) names 3 modalities; "),
            ("vis,ir,vis\n", ": its first line (vis, ir, vis) names 3 modalities; "),
            ("vis,ct\n", ": "),
            ("vis,vis\n", ": "),
        ],
    )
    def test_headers_that_name_no_pair(self, header: str, message: str, tmp_path: Path) -> None:
        text = self.refused(tmp_path, f"{header}a.png,b.png\n" if header else "")
        assert text.startswith(message)
        assert "; " in text

    def test_a_header_alone_is_a_list_of_nothing(self, tmp_path: Path) -> None:
        for content in ("vis,ir", "vis,ir\n", "vis,ir\n\n\n"):
            modalities, pairing = pair_list(self.write(tmp_path, content))
            assert modalities == ("ir", "vis")
            assert pairing.cases == []

    @pytest.mark.parametrize(
        "content",
        ["vis,ir\nä.png,b.png\n".encode("latin-1"), "vis,ir\na,b\n".encode("utf-16"), b"\x89PNG"],
    )
    def test_other_encodings_are_said(self, content: bytes, tmp_path: Path) -> None:
        text = self.refused(tmp_path, content)
        assert text == ": not UTF-8 text; save the list as CSV in UTF-8"

    @pytest.mark.parametrize(
        "content", ['vis,ir\n"a.png,b.png\n', 'vis,ir\n"a"x.png,b.png\n', f"vis,{'x' * 200_000}\n"]
    )
    def test_what_is_no_csv_is_said(self, content: str, tmp_path: Path) -> None:
        assert re.match(r", line \d: not CSV \(.*\); correct it$", self.refused(tmp_path, content))

    def test_what_is_no_file_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"none\.csv: no such file; check the path"):
            pair_list(tmp_path / "none.csv")
        with pytest.raises(UsageError, match="a folder, not a list of pairs; save the list"):
            pair_list(tmp_path)

    @settings(max_examples=30)
    @given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
    def test_any_bytes_are_a_list_or_an_error_of_ours(
        self, tmp_path_factory: pytest.TempPathFactory, content: bytes
    ) -> None:
        folder = tmp_path_factory.getbasetemp()
        for header in (b"", b"vis,ir\n", b"case,vis,ir\n"):
            path = self.write(folder, header + content)
            try:
                _, pairing = pair_list(path)
            except UsageError as error:
                assert str(error).startswith(str(path))  # noqa: PT017  it may also be a list
                continue
            for case in pairing.cases:
                assert case.name not in ("", ".", "..")
                assert not {"/", "\\", "\0"} & {*case.name}
                for path in (case.first, case.second):
                    assert os.path.normpath(path).startswith(f"{folder}{os.sep}")
