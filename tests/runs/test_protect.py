"""What a command reads is never written to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fnetcli.errors import UsageError
from fnetcli.inputs.pairing import Pairing
from fnetcli.runs.protect import Inputs, ResultFiles, require_outside


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "in" / name).write_bytes(b"x")
    (tmp_path / "link.png").symlink_to(tmp_path / "in" / "a.png")
    (tmp_path / "folder").symlink_to(tmp_path / "in")
    return tmp_path


class TestInputs:
    def test_the_file_itself_by_any_folder(self, files: Path) -> None:
        inputs = Inputs([files / "in" / "a.png"])
        inside = files / "in" / ".." / "in" / "a.png"
        for path in (files / "in" / "a.png", files / "folder" / "a.png", inside):
            with pytest.raises(UsageError, match="would be overwritten, but is an input"):
                inputs.require_kept(path)
        inputs.require_kept(files / "in" / "b.png")

    def test_what_an_input_links_to(self, files: Path) -> None:
        inputs = Inputs([files / "link.png"])
        for path in (files / "link.png", files / "in" / "a.png"):
            with pytest.raises(UsageError):
                inputs.require_kept(path)

    def test_a_link_that_would_be_replaced_is_no_harm_unless_it_is_named(self, files: Path) -> None:
        inputs = Inputs([files / "in" / "a.png"])
        inputs.require_kept(files / "link.png")
        with pytest.raises(UsageError, match="is an input"):
            inputs.require_free(files / "link.png")

    def test_other_names_of_one_file(self, files: Path) -> None:
        os.link(files / "in" / "a.png", files / "hard.png")
        with pytest.raises(UsageError, match=r"--json .*hard.png: is an input"):
            ResultFiles({"--json": files / "hard.png"}).check(Inputs([files / "in" / "a.png"]))

    def test_inside_a_folder_that_is_read(self, files: Path) -> None:
        with pytest.raises(UsageError, match="is in an input folder"):
            Inputs([files / "in"]).require_outside(files / "folder" / "new.json")


class TestResultFiles:
    def test_one_name_for_two(self, files: Path) -> None:
        named = {"--csv": files / "x", "--json": files / "in" / ".." / "x"}
        with pytest.raises(UsageError, match=r"--json .*is the name of another result"):
            ResultFiles(named).check(Inputs([]))
        with pytest.raises(UsageError, match="is the name of another result"):
            ResultFiles({"--json": files / "x"}).check(Inputs([]), [files / "x"])

    def test_a_folder(self, files: Path) -> None:
        with pytest.raises(UsageError, match="is a folder; name a file"):
            ResultFiles({"--json": files}).check(Inputs([]))

    @pytest.mark.parametrize(
        ("option", "name", "content", "message"),
        [
            ("--json", "a.png", None, "but the result is JSON; end it in .json"),
            ("--csv", "a.json", None, "end it in .csv"),
            ("--html", "a.NII.GZ", None, "end it in .html"),
            ("--latex", "a.mp4", None, "end it in .tex"),
            ("--json", "a", b"\x89PNG\r\n\x1a\n\0", "exists and is not JSON; choose another"),
            ("--save-transform", "a.json", b"words", "exists and is not JSON"),
            ("--html", "a.html", b"# words", "exists and is not HTML"),
            ("--markdown", "a.md", b"\xff\xd8\xff\0", "exists and is not Markdown"),
        ],
    )
    def test_files_of_another_kind(
        self, tmp_path: Path, option: str, name: str, content: bytes | None, message: str
    ) -> None:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UsageError, match=message):
            ResultFiles({option: path}).check(Inputs([]))

    @pytest.mark.parametrize("content", [b"", b" \n", b"\xef\xbb\xbf {}", b'["\xc3\xa9"]'])
    def test_files_of_the_kind_are_replaced(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "a.json"
        path.write_bytes(content)
        ResultFiles({"--json": path}).check(Inputs([]))

    def test_stdout_holds_one(self) -> None:
        with pytest.raises(UsageError, match="--csv and --json: only one result"):
            ResultFiles({"--csv": Path("-"), "--json": Path("-"), "--html": None})
        assert ResultFiles({"--csv": Path("-")}).has_stdout
        assert not ResultFiles({"--csv": None}).has_stdout


def test_results_among_inputs(files: Path) -> None:
    pairing = Pairing("folders", [], [], (files / "in", files / "in"))
    for out in (files / "in", files / "folder" / "out"):
        with pytest.raises(UsageError, match="in the input folder"):
            require_outside(out, pairing)
    require_outside(files, pairing)
