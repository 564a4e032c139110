"""What a user names is opened in one way: ordinary files only, and no more than they may hold."""

from __future__ import annotations

import ast
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fnetcli.errors import ConfigError, FnetError, UsageError
from fnetcli.files.guarded import FileKind, RefusedError, open_ordinary, read_bytes, read_text
from tests.paths import ROOT

KIND = FileKind("a recipe", 1 << 10, "name a TOML file", ConfigError, UsageError, "name one")

# Calls that open a file, by the last part of their name; of `load` only those of a library that
# also takes a path.
OPENERS = frozenset(
    {
        *("open", "fdopen", "read_bytes", "read_text", "FileIO", "connect"),
        *("fromfile", "memmap", "loadtxt", "genfromtxt", "safe_open", "load_file"),
        *("imread", "dcmread", "TiffFile", "ReadImage", "ReadTransform"),
    }
)
GUARDED = {"read_bytes", "read_text"}  # as functions, not as methods of a path
LOADERS = frozenset({"np", "numpy", "torch", "nib", "tomllib", "json", "pickle", "toml"})
# (module, call): why it does not go through fnetcli/files/guarded.py.
ALLOWED = {
    ("files/guarded.py", "open"): "the guarded way itself",
    ("files/guarded.py", "FileIO"): "the guarded way itself",
    ("files/durable.py", "open"): "writes, and a folder to be synchronised",
    ("files/scratch.py", "memmap"): "a file of our own without a name",
    ("files/output_folder.py", "open"): "a folder, for its lock",
    ("memory.py", "read_text"): "the limits of a container, below /sys",
    ("engine/executors/fnet/building.py", "open"): "the library that was just built",
    ("engine/executors/fnet/building.py", "read_bytes"): "our source, our library, /proc/cpuinfo",
    ("evaluation/cost.py", "read_text"): "/proc/self/status",
    ("runs/crew/base.py", "read_text"): "/proc/cpuinfo",
    ("evaluation/cost.py", "load"): "JSON of our own from a stream",
    ("evaluation/cache.py", "connect"): "SQLite opens by itself; what is no file is refused before",
    ("checkpoints/pth.py", "load"): "bytes in memory",
    ("training/state.py", "load"): "a file that was opened guarded",
    ("training/loop.py", "FileIO"): "appends to what was just written",
    ("reports/inspect_page.py", "open"): "bytes in memory",
    ("formats/dicom/files.py", "dcmread"): "a file that was opened guarded",
    ("formats/tiff/container.py", "TiffFile"): "a file that was opened guarded",
    ("formats/film/pyav.py", "open"): "a file that was opened guarded",
    ("formats/film/writer.py", "open"): "writes pieces of films, and joins them",
    ("formats/archive.py", "open"): "entries of an archive, and files in a temporary folder",
    ("quiet.py", "open"): "the null device, in place of standard error",
    ("formats/exif.py", "open"): "a file that was opened guarded",
    ("cli/console.py", "open"): "the null device, in place of stdout",
    ("engine/executors/fnet/kernels.py", "read_text"): "/proc/cpuinfo",
    ("cores.py", "read_text"): "the limits of a container, below /proc and /sys",
    ("reports/tensorboard.py", "open"): "a file that was opened guarded",
}


def opening_calls(source: str) -> Iterator[str]:
    """Yield the last part of the name of every call that may open a file."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Attribute(attr=name) if name in OPENERS:
                yield name
            case ast.Name(name) if name in OPENERS - GUARDED:
                yield name
            case ast.Attribute(ast.Name(library), "load") if library in LOADERS:
                yield "load"


def test_nothing_opens_files_around_the_guarded_way() -> None:
    package = ROOT / "fnetcli"
    found = {
        (path.relative_to(package).as_posix(), name)
        for path in package.rglob("*.py")
        for name in opening_calls(path.read_text(encoding="utf-8"))
    }
    assert found - ALLOWED.keys() == set(), "open it with fnetcli.files.guarded"
    assert ALLOWED.keys() - found == set(), "no longer needed"


@pytest.mark.parametrize(
    "source",
    [
        "open(path)",
        "path.open('rb')",
        "os.open(path, 0)",
        "gzip.open(path)",
        "path.read_text()",
        "Path(a, b).read_bytes()",
        "np.load(path)",
        "torch.load(path, weights_only=True)",
        "np.memmap(path)",
        "sqlite3.connect(path)",
        "PIL.Image.open(path)",
    ],
)
def test_the_test_of_the_sources_sees(source: str) -> None:
    assert len(list(opening_calls(f"def f(path):\n    return {source}\n"))) == 1


def open_handles() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


class TestOpenOrdinary:
    def test_a_file_and_a_link_to_it(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"content")
        (tmp_path / "link").symlink_to("a")
        for name in ("a", "link"):
            with open_ordinary(tmp_path / name) as file:
                assert file.read() == b"content"

    def test_what_is_no_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)  # a socket's name may not be long
        os.mkfifo("pipe")
        Path("link").symlink_to("pipe")
        with socket.socket(socket.AF_UNIX) as there:
            there.bind("socket")
            for name in ("pipe", "link", "socket", "/dev/zero", "/dev/null", "/dev/tty"):
                if os.path.lexists(name):
                    with pytest.raises(RefusedError, match="not an ordinary file; save it as"):
                        open_ordinary(Path(name))
        with pytest.raises(RefusedError, match="a folder, not an image; give a file in it"):
            open_ordinary(tmp_path, "an image")
        with pytest.raises(RefusedError, match="not a possible file name"):
            open_ordinary(Path("a\0b"))
        with pytest.raises(FileNotFoundError):
            open_ordinary(Path("none"))

    def test_what_becomes_a_pipe_meanwhile(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between looking at it and opening it."""
        (tmp_path / "a").touch()
        os.mkfifo(tmp_path / "pipe")
        status = (tmp_path / "a").stat()
        monkeypatch.setattr(Path, "stat", lambda _: status)
        before = open_handles()
        with pytest.raises(RefusedError, match="not an ordinary file"):
            open_ordinary(tmp_path / "pipe")
        assert open_handles() == before


class TestRead:
    def test_up_to_the_limit(self, tmp_path: Path) -> None:
        path = tmp_path / "a.toml"
        path.write_bytes(b"x" * KIND.limit)
        assert len(read_bytes(path, KIND)) == KIND.limit
        path.write_bytes(b"x" * (KIND.limit + 1))
        with pytest.raises(ConfigError) as caught:
            read_bytes(path, KIND)
        assert str(caught.value) == f"{path}: larger than a recipe can be (1 kB); name a TOML file"

    @pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no file without a size")
    def test_a_file_that_does_not_tell_its_size(self) -> None:
        with pytest.raises(ConfigError, match="larger than a recipe can be"):
            read_bytes(Path("/proc/self/maps"), KIND)

    def test_refusals_are_of_the_kind(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        loop = tmp_path / "loop"
        loop.symlink_to(loop)
        (tmp_path / "letters").write_bytes(b"\xff\xfe")
        refusals: list[tuple[str, type[FnetError], str]] = [
            ("none", UsageError, "no such file; name one"),
            ("file/none", UsageError, "no such file; name one"),
            (".", ConfigError, "a folder, not a recipe; name a TOML file"),
            ("a\0b", ConfigError, "not a possible file name; name a TOML file"),
            ("/dev/zero", ConfigError, "not an ordinary file; name a TOML file"),
            ("loop", ConfigError, "cannot be read (Too many levels of symbolic links); check"),
            ("letters", ConfigError, "not UTF-8 text; name a TOML file"),
        ]
        for name, error, words in refusals:
            with pytest.raises(error) as caught:
                read_text(tmp_path / name, KIND)
            assert str(caught.value).startswith(f"{tmp_path / name}: {words}")

    @pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
    def test_no_permission(self, tmp_path: Path) -> None:
        (tmp_path / "a").touch(mode=0)
        with pytest.raises(ConfigError, match="no permission to read it; change"):
            read_bytes(tmp_path / "a", KIND)

    def test_text(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes("\ufeffä\n".encode())
        assert read_text(tmp_path / "a", KIND, "utf-8-sig") == "ä\n"
        (tmp_path / "b").write_bytes(b"\xff")
        assert read_text(tmp_path / "b", KIND, errors="replace") == "\ufffd"
        (tmp_path / "c").write_bytes(b"1\r2\r\n3\n")
        assert read_text(tmp_path / "c", KIND) == "1\n2\n3\n"
