"""One run to a folder; only our own leftovers are swept."""

from __future__ import annotations

import re
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fnetcli.errors import OutputError, UsageError, WriteError
from fnetcli.files.durable import atomic_write
from fnetcli.files.output_folder import OutputFolder, sweep

HOLDER = """
import sys
from pathlib import Path
from fnetcli.files.output_folder import OutputFolder
with OutputFolder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def put(content: bytes, path: Path) -> None:
    atomic_write(path, lambda file: file.write(content))


def fail_without(folder: Path) -> None:
    """Fail to write because the folder is gone."""
    shutil.rmtree(folder)
    raise WriteError("cannot be written")


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
