"""The compiled library: built once, checked before it is loaded, never a reason to fail."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from fnetcli.engine.executors.fnet import building
from fnetcli.engine.executors.fnet.building import NoLibraryError, find_library
from fnetcli.engine.executors.fnet.kernels import SOURCE

STRANGER = 54_321  # an account that is not there
FULL = "final link failed: No space left on device"
SECOND_HAND = "collect2: error: ld returned 1 exit status"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no compiled path on Windows")
SAY = """
import os, sys
from pathlib import Path
from fnetcli.engine.executors.fnet import building
if sys.argv[1:]:  # become somebody else, who may not look into the project: all is imported
    building.SOURCE, number = Path(sys.argv[1]), int(sys.argv[2])
    os.setgroups([])
    os.setresgid(number, number, number)
    os.setresuid(number, number, number)
try:
    print(building.find_library(lambda: print("building"))._name)
except building.NoLibraryError as error:
    print("none:", error)
"""


def _may_become_somebody_else() -> bool:
    """Whether this process is root, and allowed to do what root does."""
    if os.name == "nt" or os.geteuid() != 0:
        return False
    try:
        command = [shutil.which("true") or "true"]
        subprocess.run(command, user=STRANGER, group=STRANGER, extra_groups=[], check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


as_root = pytest.mark.skipif(
    not _may_become_somebody_else(), reason="only root becomes somebody else"
)


@pytest.fixture(scope="module")
def built() -> Path:
    """Return a library for all tests to copy."""
    try:
        return Path(find_library()._name)
    except NoLibraryError as error:
        pytest.skip(f"no compiled path here: {error}")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "fnet"
    folder.mkdir(parents=True, mode=0o700)
    return folder


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, built: Path, tmp_path: Path) -> Path:
    """Put a quick compiler into place, which gives what was compiled before."""
    copy = shutil.copy(built, tmp_path)
    Path(copy).chmod(0o755)
    return _script(tmp_path, monkeypatch, f'for last; do :; done; cp {copy} "$last"')


def _script(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    program = folder / "compiler"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setenv("CXX", str(program))
    return program


def _put(built: Path, folder: Path) -> Path:
    return Path(shutil.copy(built, folder))


class Builds:
    """Counts them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def in_a_process(*arguments: str, **environment: str) -> str:
    """Return what a new process says of the library it finds."""
    names = {name: value for name, value in os.environ.items() if name not in ("HOME", "TMPDIR")}
    command = [sys.executable, "-c", SAY, *arguments]
    done = subprocess.run(
        command, env=names | environment, capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class TestNone:
    def test_without_a_compiler(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.delenv("CXX", raising=False)
        monkeypatch.setattr(building, "ZIG", "a_package_that_is_not_there")
        with pytest.raises(NoLibraryError, match=r"^no C\+\+ compiler found.*fnetcli\[compiler\]"):
            find_library()
        assert not list(cache.iterdir())

    @pytest.mark.parametrize(
        ("message", "told"),
        [
            ("In file x:\nx.cpp:1: error: no such standard", "x.cpp:1: error: no such standard"),
            (f"/usr/bin/ld: {FULL}\n{SECOND_HAND}", f"/usr/bin/ld: {FULL}"),
            (SECOND_HAND, SECOND_HAND),
            ("hm", "hm"),
            ("", "it said nothing"),
        ],
    )
    def test_with_a_compiler_that_fails(
        self, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str, told: str
    ) -> None:
        _script(tmp_path, monkeypatch, f"cat >&2 <<'END'\n{message}\nEND\nexit 1")
        with pytest.raises(NoLibraryError) as caught:
            find_library()
        assert f"compiler could not build it: {told}" in str(caught.value)
        assert str(caught.value).count("could not build it") == 1
        assert not list(cache.iterdir())

    def test_words_in_no_known_letters(
        self, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _script(tmp_path, monkeypatch, "printf 'error: \\377\\376' >&2; exit 1")
        with pytest.raises(NoLibraryError, match="error: "):
            find_library()
        assert cache.is_dir()

    def test_one_that_hangs_takes_what_it_started_with_it(
        self, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        started = tmp_path / "started"
        _script(tmp_path, monkeypatch, f"sleep 600 & echo $! >> '{started}'; wait")
        seconds = 0.5
        while not started.is_file():  # on a busy machine the compiler starts late
            monkeypatch.setattr(building, "BUILD_SECONDS", seconds)
            with pytest.raises(NoLibraryError, match="timed out"):
                find_library()
            seconds *= 2
        assert not list(cache.iterdir())
        for number in started.read_text().split():
            assert _ends(int(number))

    @pytest.mark.long
    def test_with_a_compiler_that_is_a_package(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("ziglang")
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.delenv("CXX", raising=False)
        assert find_library()._name.startswith(str(cache))
        assert [path.suffix for path in cache.iterdir()] == [".so"]

    def test_switched_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FNET_NATIVE", "0")
        with pytest.raises(NoLibraryError, match="FNET_NATIVE=0"):
            find_library()

    def test_no_folder_at_all(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: Path
    ) -> None:
        def no_folder() -> str:
            raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

        assert compiler.is_file()
        (tmp_path / "cache").write_text("a file, no folder")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(tempfile, "gettempdir", no_folder)
        building._own_folder.cache_clear()
        with pytest.raises(NoLibraryError, match=r"Not a directory.*; .*No usable temporary"):
            find_library()


@pytest.mark.usefixtures("compiler")
class TestKept:
    def test_it_is_built_once(self, cache: Path) -> None:
        builds = Builds()
        find_library(builds)
        (found,) = cache.iterdir()
        assert not found.stat().st_mode & 0o077
        first = found.stat().st_mtime_ns
        find_library(builds)
        assert found.stat().st_mtime_ns == first
        assert builds.count == 1

    @pytest.mark.parametrize("size", [0, 1, 40_000])
    def test_a_damaged_one_is_built_again(self, cache: Path, built: Path, size: int) -> None:
        damaged = _put(built, cache)
        os.truncate(damaged, size)
        builds = Builds()
        assert find_library(builds)._name == str(damaged)
        assert builds.count == 1
        assert damaged.read_bytes() == built.read_bytes()

    def test_a_changed_byte_is_noticed(self, cache: Path, built: Path) -> None:
        damaged = _put(built, cache)
        content = bytearray(built.read_bytes())
        content[len(content) // 2] ^= 1
        damaged.write_bytes(content)
        find_library()
        assert damaged.read_bytes() == built.read_bytes()

    def test_one_that_does_not_load_is_built_again(self, cache: Path) -> None:
        other = cache / "other"
        other.write_text("no library")
        other.chmod(0o700)
        wrong = other.rename(cache / building._name(other))
        assert find_library()._name != str(wrong)
        assert not wrong.exists()

    def test_only_ours_is_trusted(self, cache: Path, built: Path) -> None:
        kept = _put(built, cache)
        kept.chmod(0o777)  # anybody could have written it
        builds = Builds()
        find_library(builds)
        assert builds.count == 1
        assert not kept.stat().st_mode & 0o077

    def test_a_cache_for_all_is_not_used(self, cache: Path) -> None:
        cache.chmod(0o777)
        assert not find_library()._name.startswith(str(cache))
        assert not list(cache.iterdir())

    def test_threads_build_one(self, cache: Path) -> None:
        together, builds = threading.Barrier(6), Builds()

        def find(_: int) -> str:
            together.wait()
            return find_library(builds)._name

        with ThreadPoolExecutor(6) as pool:
            (name,) = set(pool.map(find, range(6)))
        assert builds.count == 1
        assert [str(path) for path in cache.iterdir()] == [name]

    def test_processes_build_the_same(self, cache: Path) -> None:
        with ThreadPoolExecutor(2) as pool:
            outputs = list(pool.map(lambda _: in_a_process(), range(2)))
        (found,) = cache.iterdir()
        assert all(text.endswith(str(found)) for text in outputs)


@pytest.mark.usefixtures("compiler")
class TestFolders:
    """Where the cache cannot be used, the library lies in a folder of the process."""

    @pytest.fixture
    def tmp_path(self) -> Iterator[Path]:
        """Return a folder that others may look into; pytest's are for one account."""
        with tempfile.TemporaryDirectory(dir=_folder_for_all()) as name:
            Path(name).chmod(0o755)
            yield Path(name)

    @pytest.fixture
    def somebody_else(self, tmp_path: Path) -> tuple[str, str]:
        """Return what tells a new process to become somebody else: a source, and a number."""
        return str(shutil.copy(str(SOURCE), tmp_path)), str(STRANGER)

    @pytest.fixture(autouse=True)
    def no_own_folder_yet(self) -> None:
        building._own_folder.cache_clear()

    def assert_own(self, output: str) -> None:
        building, name = output.splitlines()
        assert building == "building"
        assert Path(name).parent.name.startswith("fnet-")
        assert not Path(name).exists()  # it went with the process

    def test_a_cache_that_is_a_file(self, cache: Path) -> None:
        cache.rmdir()
        cache.touch()
        assert Path(find_library()._name).parent == building._own_folder()

    @as_root
    def test_without_a_home_or_an_account(self, somebody_else: tuple[str, str]) -> None:
        self.assert_own(in_a_process(*somebody_else, XDG_CACHE_HOME=""))

    @as_root
    @pytest.mark.parametrize("mode", [0o600, 0o755])
    def test_a_cache_that_may_not_be_read_or_written(
        self, cache: Path, built: Path, mode: int, somebody_else: tuple[str, str]
    ) -> None:
        """And its library may not be read."""
        _put(built, cache)
        cache.chmod(mode)
        self.assert_own(in_a_process(*somebody_else))

    @as_root
    def test_a_cache_that_may_only_be_read(
        self, cache: Path, built: Path, somebody_else: tuple[str, str]
    ) -> None:
        kept = _put(built, cache)
        kept.chmod(0o755)
        cache.chmod(0o755)
        assert in_a_process(*somebody_else) == str(kept)

    def test_no_temporary_folder_is_no_obstacle(
        self, cache: Path, built: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_folder() -> str:
            raise FileNotFoundError

        monkeypatch.setattr(tempfile, "gettempdir", no_folder)
        kept = _put(built, cache)
        assert find_library()._name == str(kept)

    def test_a_full_disk(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """It is noticed while the library is written."""
        assert cache.is_dir()
        ends_full = f'for last; do :; done; case "$last" in {cache}/*) echo full >&2; exit 1;; esac'
        text = (tmp_path / "compiler").read_text().removeprefix("#!/bin/sh\n")
        _script(tmp_path, monkeypatch, f"{ends_full}\n{text}")
        assert Path(find_library()._name).parent == building._own_folder()

    def test_a_disk_known_to_be_full(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        usage = shutil.disk_usage(cache)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=building.ROOM - 1))
        with pytest.raises(NoLibraryError, match=f"{cache}: No space left on device; /"):
            find_library()

    def test_a_cache_mounted_noexec(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        status = os.statvfs

        class Mounted:
            f_flag = os.ST_NOEXEC

        monkeypatch.setattr(
            os, "statvfs", lambda path: Mounted() if path == cache else status(path)
        )
        assert Path(find_library()._name).parent == building._own_folder()
        assert not list(cache.iterdir())


def _ends(process: int) -> bool:
    """Wait until a process that was killed is gone; a busy system may take a while for it."""
    for _ in range(600):
        try:
            if psutil.Process(process).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.1)
    return False


def _folder_for_all() -> str | None:
    """Return a folder of temporary files that every user may pass through, if there is one."""
    for name in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108
        folder = Path(name)
        if all(one.is_dir() and one.stat().st_mode & 0o001 for one in (folder, *folder.parents)):
            return name
    return None


class TestSweep:
    def test_what_killed_processes_left_goes(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compiler: Path
    ) -> None:
        """Killed in the middle of a build."""
        content = compiler.read_text()
        _script(tmp_path, monkeypatch, "kill -9 $PPID; sleep 1")
        done = subprocess.run([sys.executable, "-c", SAY], check=False)
        assert done.returncode == -9
        (left,) = cache.iterdir()
        assert left.is_dir()
        compiler.write_text(content)
        find_library()
        (found,) = cache.iterdir()
        assert found.is_file()

    def test_nothing_else_goes(self, tmp_path: Path) -> None:
        nobody = 999_999_999  # no process has this number
        kept = [f"fnet-{os.getpid()}-abcd1234", "fnet-1-abcd1234", f"fnet-{nobody}-other", "fnet"]
        for name in kept:
            (tmp_path / name).mkdir()
        (tmp_path / f"fnet-{nobody}-linked00").symlink_to(tmp_path / "fnet")
        (tmp_path / f"fnet-{nobody}-file0000").touch()
        (tmp_path / f"fnet-{nobody}-abcd1234").mkdir()
        if os.geteuid() == 0:
            others = tmp_path / f"fnet-{nobody}-others00"
            others.mkdir()
            os.chown(others, STRANGER, STRANGER)
            kept.append(others.name)
        building._sweep(tmp_path)
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {*kept, f"fnet-{nobody}-linked00", f"fnet-{nobody}-file0000"}

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        building._sweep(tmp_path / "none")
