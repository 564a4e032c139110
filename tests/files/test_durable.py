"""Files and folders appear whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fnetcli.errors import FnetError, OutputError, WriteError
from fnetcli.files.durable import TEMPORARY, atomic_folder, atomic_write


def put(content: bytes, path: Path) -> None:
    atomic_write(path, lambda file: file.write(content))


def fail_with(error: BaseException, path: Path) -> None:
    """Write half a file, then fail."""

    def write(file: BinaryIO) -> None:
        file.write(b"half a picture")
        raise error

    atomic_write(path, write)


class TestAtomicWrite:
    @settings(max_examples=20)
    @given(st.binary(max_size=5000), st.binary(max_size=5000))
    def test_what_is_written_is_read(
        self, tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes
    ) -> None:
        folder = tmp_path_factory.mktemp("law")
        path = folder / "new" / "deep" / "ä b.bin"
        for content in (old, new):
            put(content, path)
            assert path.read_bytes() == content
        assert list(path.parent.iterdir()) == [path]

    def test_a_reader_of_the_old_file_keeps_it(self, tmp_path: Path) -> None:
        path = tmp_path / "a"
        put(b"old", path)
        with path.open("rb") as file:
            put(b"new", path)
            assert file.read() == b"old"
        assert path.read_bytes() == b"new"

    def test_nothing_is_at_the_path_before_the_end(self, tmp_path: Path) -> None:
        path = tmp_path / "a"

        def write(file: BinaryIO) -> None:
            file.write(b"x" * 100_000)
            file.flush()
            assert not path.exists()
            (temporary,) = tmp_path.iterdir()
            assert TEMPORARY.fullmatch(temporary.name)

        atomic_write(path, write)
        assert path.stat().st_size == 100_000

    def test_a_link_is_replaced_and_what_it_leads_to_is_not(self, tmp_path: Path) -> None:
        put(b"source", tmp_path / "source")
        (tmp_path / "link").symlink_to(tmp_path / "source")
        put(b"new", tmp_path / "link")
        assert (tmp_path / "source").read_bytes() == b"source"
        assert not (tmp_path / "link").is_symlink()

    @pytest.mark.parametrize(
        "error",
        [
            ValueError("?"),
            KeyboardInterrupt(),
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
            OSError(errno.EIO, os.strerror(errno.EIO)),
            WriteError("too large"),
            MemoryError(),
        ],
    )
    @pytest.mark.parametrize("is_there", [False, True])
    def test_whatever_goes_wrong_the_old_file_stays(
        self, error: BaseException, is_there: bool, tmp_path: Path
    ) -> None:
        path = tmp_path / "a.png"
        if is_there:
            path.write_bytes(b"old")
        expected = FnetError if isinstance(error, OSError) else type(error)
        with pytest.raises(expected):
            fail_with(error, path)
        assert list(tmp_path.iterdir()) == [path] * is_there
        assert not is_there or path.read_bytes() == b"old"

    @pytest.mark.parametrize(
        "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM]
    )
    def test_what_the_next_file_would_meet_too_ends_the_run(
        self, number: int, tmp_path: Path
    ) -> None:
        path, reason = tmp_path / "a.png", os.strerror(number)
        with pytest.raises(OutputError) as caught:
            fail_with(OSError(number, reason), path)
        assert str(caught.value) == (
            f"{path}: cannot be written ({reason}); check the folder's permissions and free space"
        )

    @pytest.mark.parametrize("number", [errno.EIO, errno.ENAMETOOLONG, errno.EFBIG, errno.EINVAL])
    def test_what_concerns_one_file_fails_one_file(self, number: int, tmp_path: Path) -> None:
        with pytest.raises(WriteError, match=re.escape(os.strerror(number))):
            fail_with(OSError(number, os.strerror(number)), tmp_path / "a.png")

    @pytest.mark.parametrize(
        ("error", "message"),
        [(OSError("encoder error -2"), "encoder error -2"), (OSError(), "OSError")],
    )
    def test_errors_of_encoders_have_no_number(
        self, error: OSError, message: str, tmp_path: Path
    ) -> None:
        with pytest.raises(WriteError, match=rf"cannot be written \({message}\); "):
            fail_with(error, tmp_path / "a.png")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
    def test_a_full_disk(self, tmp_path: Path) -> None:
        def fill_the_disk(_: BinaryIO) -> None:
            with Path("/dev/full").open("wb") as full:
                full.write(b"x" * 100_000)

        with pytest.raises(OutputError, match="No space left on device"):
            atomic_write(tmp_path / "a.png", fill_the_disk)
        assert not list(tmp_path.iterdir())

    def test_a_file_where_a_folder_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "out").write_bytes(b"x")
        for path in (tmp_path / "out" / "a.png", tmp_path / "out" / "deep" / "a.png"):
            with pytest.raises(OutputError, match="a file is where a folder is needed"):
                put(b"new", path)
        assert (tmp_path / "out").read_bytes() == b"x"

    def test_a_folder_where_the_file_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").mkdir()
        with pytest.raises(WriteError, match="cannot be written"):
            put(b"new", tmp_path / "a.png")
        assert [one.name for one in tmp_path.iterdir()] == ["a.png"]

    def test_a_name_too_long(self, tmp_path: Path) -> None:
        for path in (tmp_path / ("a" * 300), tmp_path / ("a" * 300) / "b"):
            with pytest.raises(WriteError, match="File name too long"):
                put(b"new", path)
        assert not list(tmp_path.iterdir())

    @pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
    def test_a_read_only_folder(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(OutputError, match="Permission denied"):
                put(b"new", tmp_path / "a.png")
        finally:
            tmp_path.chmod(0o700)
        assert not list(tmp_path.iterdir())

    def test_the_folder_vanishes_meanwhile(self, tmp_path: Path) -> None:
        folder = tmp_path / "out"

        def write(file: BinaryIO) -> None:
            file.write(b"x")
            shutil.rmtree(folder)

        with pytest.raises(WriteError, match="No such file"):
            atomic_write(folder / "a.png", write)
        assert not folder.exists()

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
    def test_a_named_pipe_is_written_to(self, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            put(b"new", pipe)
            assert os.read(reader, 10) == b"new"
        finally:
            os.close(reader)
        assert pipe.is_fifo()
        assert list(tmp_path.iterdir()) == [pipe]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
    def test_a_device_is_written_to(self, tmp_path: Path) -> None:
        device = tmp_path / "full"  # should this fail, no device of the machine is lost
        device.symlink_to("/dev/full")
        with pytest.raises(OutputError, match=r"full: cannot be written \(No space left on device"):
            put(b"new", device)
        assert device.is_char_device()

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc here")
    def test_an_open_file_by_its_number(self, tmp_path: Path) -> None:
        """As /dev/stdout is."""
        with (tmp_path / "out").open("wb") as file:
            put(b"new", Path(f"/proc/self/fd/{file.fileno()}"))
        assert (tmp_path / "out").read_bytes() == b"new"
        assert [one.name for one in tmp_path.iterdir()] == ["out"]


class TestAtomicFolder:
    def test_it_takes_the_place_of_an_older_one(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            with atomic_folder(tmp_path / "case") as folder:
                put(b"x", folder / name)
        assert [one.name for one in tmp_path.rglob("*")] == ["case", "b"]

    def test_an_older_one_stays_whatever_goes_wrong(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with atomic_folder(tmp_path / "case") as folder:
            put(b"x", folder / "a")
        with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "case") as folder:
            fail_with(ZeroDivisionError(), folder / "b")
        assert [one.name for one in tmp_path.rglob("*")] == ["case", "a"]

        rename = Path.replace

        def refuse(self: Path, target: Path) -> Path:
            if target == tmp_path / "case" and (self / "b").exists():
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return rename(self, target)

        monkeypatch.setattr(Path, "replace", refuse)
        with pytest.raises(WriteError), atomic_folder(tmp_path / "case") as folder:
            put(b"x", folder / "b")
        assert [one.name for one in tmp_path.rglob("*")] == ["case", "a"]
