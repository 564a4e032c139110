"""Files appear whole or not at all; one run to a folder; only our own leftovers are swept."""

from __future__ import annotations

import errno
import os
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fnetcli.errors import FnetError, OutputError, UsageError, WriteError
from fnetcli.files.durable import (
    TEMPORARY,
    OutputFolder,
    atomic_folder,
    atomic_write,
    scratch_array,
    sweep,
)

HOLDER = """
import sys
from pathlib import Path
from fnetcli.files.durable import OutputFolder
with OutputFolder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def put(content: bytes, path: Path) -> None:
    atomic_write(path, lambda file: file.write(content))


def fail_with(error: BaseException, path: Path) -> None:
    """Write half a file, then fail."""

    def write(file: BinaryIO) -> None:
        file.write(b"half a picture")
        raise error

    atomic_write(path, write)


def fail_without(folder: Path) -> None:
    """Fail to write because the folder is gone."""
    shutil.rmtree(folder)
    raise WriteError("cannot be written")


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
        ("error", "said"),
        [(OSError("encoder error -2"), "encoder error -2"), (OSError(), "OSError")],
    )
    def test_errors_of_encoders_have_no_number(
        self, error: OSError, said: str, tmp_path: Path
    ) -> None:
        with pytest.raises(WriteError, match=rf"cannot be written \({said}\); "):
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
            with pytest.raises(OutputError, match="a file stands where a folder is needed"):
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


class TestScratchArray:
    SHAPE = (1, 3, 50, 70)

    @pytest.fixture
    def is_large(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("fnetcli.files.durable.MOST_IN_MEMORY", 1000)

    def test_a_small_one_is_in_memory(self, tmp_path: Path) -> None:
        array = scratch_array(tmp_path / "new" / "a.npz", self.SHAPE, np.float16)
        assert array.shape == self.SHAPE
        assert array.dtype == np.float16
        assert not isinstance(array, np.memmap)
        assert not list(tmp_path.iterdir())

    @pytest.mark.usefixtures("is_large")
    def test_a_large_one_lies_in_a_file_without_a_name(self, tmp_path: Path) -> None:
        values = np.arange(np.prod(self.SHAPE)).reshape(self.SHAPE).astype(np.float16)
        arrays = [scratch_array(tmp_path / "new" / "a.npz", self.SHAPE, np.float16) for _ in "ab"]
        for array in arrays:
            assert isinstance(array, np.memmap)
            array[...] = values + len(arrays)
        np.testing.assert_array_equal(arrays[0], values + 2)
        assert not list((tmp_path / "new").iterdir())

    @pytest.mark.usefixtures("is_large")
    @pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="space is taken otherwise")
    @pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
    def test_where_space_cannot_be_reserved_it_is_filled(
        self, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "posix_fallocate", refuse)
        assert not scratch_array(tmp_path / "a.npz", self.SHAPE, np.float16).any()
        assert not list(tmp_path.iterdir())

    @pytest.mark.usefixtures("is_large")
    @pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="space is taken otherwise")
    def test_a_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "posix_fallocate", refuse)
        said = re.escape(f"{tmp_path / 'a.npz'}: cannot be written (No space left on device)")
        with pytest.raises(OutputError, match=said):
            scratch_array(tmp_path / "a.npz", self.SHAPE, np.float16)
        assert not list(tmp_path.iterdir())

    def test_a_real_refusal_and_a_kill_leave_nothing(self, tmp_path: Path) -> None:
        script = (
            "import os, resource, signal, sys\nfrom pathlib import Path\nimport numpy as np\n"
            "from fnetcli.errors import WriteError\n"
            "from fnetcli.files.durable import scratch_array\n"
            "path, large = Path(sys.argv[1]), 1 << 27\n"
            "array = scratch_array(path, (large,), np.uint8)\n"
            "array[::4096] = 1\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
            "try:\n    scratch_array(path, (large,), np.uint8)\n"
            "except WriteError as error:\n    print(error, flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        path = tmp_path / "a.npz"
        done = subprocess.run(
            [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
        )
        assert done.stdout.startswith(f"{path}: cannot be written (File too large)")
        assert not list(tmp_path.iterdir())


class TestOutputFolder:
    @staticmethod
    def hold(folder: Path) -> subprocess.Popen[str]:
        """Start another process that holds the folder until its input ends."""
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout is not None
        assert select.select([holder.stdout], [], [], 30)[0]
        assert holder.stdout.readline() == "held\n"
        return holder

    def test_it_is_made_and_nothing_stays_behind(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "out"
        with OutputFolder(path) as folder:
            folder.require()
            assert list(path.iterdir()) == []
        assert list(path.iterdir()) == []

    def test_one_run_at_a_time(self, tmp_path: Path) -> None:
        with OutputFolder(tmp_path):
            with (
                pytest.raises(UsageError, match=f"{re.escape(str(tmp_path))}: another fnet is"),
                OutputFolder(tmp_path),
            ):
                pass
            with OutputFolder(tmp_path / "inside"):
                pass
        for _ in range(2):
            with OutputFolder(tmp_path) as folder:
                folder.require()

    def test_it_is_released_when_an_error_ends_the_run(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt), OutputFolder(tmp_path):
            raise KeyboardInterrupt
        with OutputFolder(tmp_path):
            pass

    def test_another_process_holds_it_until_it_is_killed(self, tmp_path: Path) -> None:
        with self.hold(tmp_path) as holder:
            try:
                for _ in range(2):
                    with pytest.raises(UsageError, match="wait for it"), OutputFolder(tmp_path):
                        pass
            finally:
                holder.kill()  # as kill -9 does
                holder.wait()
            with OutputFolder(tmp_path) as folder:
                folder.require()
        assert not list(tmp_path.iterdir())

    def test_another_process_cannot_have_it_meanwhile(self, tmp_path: Path) -> None:
        with OutputFolder(tmp_path):
            command = [sys.executable, "-c", HOLDER, str(tmp_path)]
            refused = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        assert refused.returncode != 0
        assert "UsageError" in refused.stderr

    def test_removal_is_noticed(self, tmp_path: Path) -> None:
        path = tmp_path / "out"
        with OutputFolder(path) as folder:
            folder.require()
            path.rmdir()
            with pytest.raises(OutputError, match="was removed while results were written"):
                folder.require()
            path.mkdir()  # another one of the same name
            with pytest.raises(OutputError, match="was removed while results were written"):
                folder.require()

    def test_moving_it_away_is_noticed_and_back_is_fine(self, tmp_path: Path) -> None:
        path = tmp_path / "out"
        with OutputFolder(path) as folder:
            path.rename(tmp_path / "moved")
            with pytest.raises(OutputError):
                folder.require()
            path.write_bytes(b"a file")
            with pytest.raises(OutputError):
                folder.require()
            path.unlink()
            (tmp_path / "moved").rename(path)
            folder.require()

    def test_what_is_written_in_place(self, tmp_path: Path) -> None:
        path = tmp_path / "out"
        with OutputFolder(path) as folder:
            with folder.in_place():
                put(b"new", path / "a.png")
            with pytest.raises(WriteError, match="too long"), folder.in_place():
                put(b"new", path / ("a" * 300))
            with pytest.raises(ValueError, match="of another kind"), folder.in_place():
                raise ValueError("of another kind")
            with pytest.raises(OutputError, match="was removed"), folder.in_place():
                fail_without(path)
            with pytest.raises(OutputError, match="was removed"), folder.in_place():
                pytest.fail("nothing is written into a folder that is gone")
        assert not path.exists()

    def test_a_file_in_its_place(self, tmp_path: Path) -> None:
        (tmp_path / "out").write_bytes(b"x")
        for path in (tmp_path / "out", tmp_path / "out" / "deep"):
            with pytest.raises(OutputError, match="cannot be written"), OutputFolder(path):
                pass
        assert (tmp_path / "out").read_bytes() == b"x"

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")
    def test_no_handle_stays_open(self, tmp_path: Path) -> None:
        descriptors = Path("/proc/self/fd")
        before = len(list(descriptors.iterdir()))
        for _ in range(5):
            with OutputFolder(tmp_path), pytest.raises(UsageError), OutputFolder(tmp_path):
                pass
        assert len(list(descriptors.iterdir())) == before


class TestSweep:
    OURS = (".fnet-1-00000000.tmp", ".fnet-4194304-89abcdef.tmp")
    OTHERS = (
        ".fnet-1-00000000.tmp.png",
        ".fnet-1-0000000.tmp",
        ".fnet--00000000.tmp",
        ".fnet-1-0000000G.tmp",
        "fnet-1-00000000.tmp",
        "x.fnet-1-00000000.tmp",
        ".fnet-1-00000000.tmp\n",
        ".tmp",
        "a.png",
        "manifest.jsonl",
    )

    def test_only_ours_go_and_only_from_these_folders(self, tmp_path: Path) -> None:
        folders = [tmp_path / name for name in ("a", "b", "a/deep")]
        for folder in folders:
            folder.mkdir()
            for name in (*self.OURS, *self.OTHERS):
                (folder / name).write_bytes(b"x")
        sweep([tmp_path / "a", tmp_path / "b", tmp_path / "missing", tmp_path / "a" / "a.png"])
        a, b, deep = ({one.name for one in folder.iterdir()} for folder in folders)
        assert a == {*self.OTHERS, "deep"}
        assert b == {*self.OTHERS}
        assert deep == {*self.OURS, *self.OTHERS}

    def test_what_a_killed_writer_left_is_ours(self, tmp_path: Path) -> None:
        script = (
            "import os, signal, sys\nfrom pathlib import Path\n"
            "from fnetcli.files.durable import atomic_write\n"
            "atomic_write(Path(sys.argv[1]), lambda _: os.kill(os.getpid(), signal.SIGKILL))\n"
        )
        path = tmp_path / "a.png"
        subprocess.run([sys.executable, "-c", script, str(path)], check=False)
        (left,) = tmp_path.iterdir()
        assert left != path
        sweep([tmp_path])
        assert not list(tmp_path.iterdir())

    def test_links_and_folders_of_such_names(self, tmp_path: Path) -> None:
        ours, kept = tmp_path / self.OURS[0], tmp_path / "kept"
        kept.write_bytes(b"x")
        ours.symlink_to(kept)
        (tmp_path / self.OURS[1]).mkdir()
        sweep([tmp_path])
        assert not ours.is_symlink()
        assert kept.read_bytes() == b"x"
