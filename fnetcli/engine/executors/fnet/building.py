"""Find the compiled ``native.cpp``: from the wheel, else compile it once per machine and keep it.

A library's name is derived from source, flags, processor and its own content: a damaged library no
longer matches its name, and is removed and built again. It is kept in the user's cache or, if that
cannot be used, in a folder of this process alone. Any failure is only a NoLibraryError: torch can
do the work instead.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from fnetcli.engine.executors.fnet.kernels import FLAGS, SOURCE, shipped_kernels
from fnetcli.files.cache import cache_folder
from fnetcli.files.durable import sync_folder

TUNINGS = (("-march=native",), ("-mcpu=native",), ())  # the first that the compiler accepts
# Usually about five, on a busy machine sixty; a compiler that is a package builds its own C++
# library first, which takes many times as long.
BUILD_SECONDS = 1800
ROOM = 1 << 20  # bytes; the library is a tenth of that
ZIG = "ziglang"  # a package that is a compiler
SWITCH = "FNET_NATIVE"  # 0: do not compile

WORKSHOP = re.compile(r"fnet-(\d{1,9})-[a-z0-9_]{8}")  # a folder of one process, named after it
TELLING = re.compile("error|failed|cannot|can't|no space", re.IGNORECASE)
SECOND_HAND = ("collect2:", "clang: error: linker command")  # only report that the linker failed

_one_at_a_time = threading.Lock()


class NoLibraryError(Exception):
    """The compiled path is not available here; the text says why."""


def find_library(on_build: Callable[[], object] = lambda: None) -> ctypes.CDLL:
    """Return the library; without one in the wheel, build it once. Raise NoLibraryError.

    `on_build` is called before building, which takes some seconds.
    """
    if os.environ.get(SWITCH) == "0":
        raise NoLibraryError(f"{SWITCH}=0")
    if sys.platform == "win32":
        raise NoLibraryError("not supported on Windows")
    say_once = functools.cache(on_build)
    problems: list[str] = []
    with _one_at_a_time:
        for path in shipped_kernels():
            with suppress(OSError):  # of another C library
                return _open(path)
        for choose in (cache_folder, _own_folder):
            try:
                folder = choose()
                if folder is not None:
                    return _library_in(folder, say_once)
            except (NoLibraryError, OSError, RuntimeError, ValueError) as error:
                problems.append(str(error))
    raise NoLibraryError("; ".join(dict.fromkeys(problems)))


def _library_in(folder: Path, on_build: Callable[[], object]) -> ctypes.CDLL:
    """Return the library in a folder, or build it there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_private(folder):
        raise NoLibraryError(f"{folder}: others may write there")
    if os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0):
        raise NoLibraryError(f"{folder}: files cannot be executed there (mounted noexec)")
    return _kept(folder) or _open(_build(folder, on_build))


def _kept(folder: Path) -> ctypes.CDLL | None:
    """Return the library that was built earlier; remove damaged or untrusted files."""
    for path in sorted(folder.glob(f"{_identity()}-*.so")):
        with suppress(OSError):
            if _is_private(path) and path.name == _name(path):
                return _open(path)
        with suppress(OSError):
            path.unlink()
    return None


@functools.cache
def _open(path: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(path))


def _is_private(path: Path) -> bool:
    """Whether nobody else could have written there."""
    status = path.stat()
    return status.st_uid in (os.getuid(), 0) and not status.st_mode & 0o022


# --- names ----------------------------------------------------------------------------------------


def _name(library: Path) -> str:
    """Return the file name of a library."""
    return f"{_identity()}-{hashlib.sha256(library.read_bytes()).hexdigest()[:20]}.so"


def _identity() -> str:
    """Return a name that identifies this source, these flags and this processor."""
    digest = hashlib.sha256(SOURCE.read_bytes())
    digest.update(repr((FLAGS, TUNINGS, platform.machine(), platform.system())).encode())
    digest.update(_processor())
    return f"engine-{digest.hexdigest()[:20]}"


def _processor() -> bytes:
    """Return what distinguishes processors, as far as it matters for compiled code."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return f"{platform.processor()} {platform.version()}".encode()
    told = (b"vendor_id", b"cpu family", b"model", b"flags", b"Features", b"CPU part")
    return b"\n".join(sorted({line for line in lines if line.startswith(told)}))


# --- building -------------------------------------------------------------------------------------


def _build(folder: Path, on_build: Callable[[], object]) -> Path:
    """Compile native.cpp into a folder, completely or not at all, and return its path."""
    compiler = _compiler()
    _sweep(folder)
    if shutil.disk_usage(folder).free < ROOM:
        raise NoLibraryError(f"{folder}: No space left on device")
    with tempfile.TemporaryDirectory(prefix=_prefix(), dir=folder) as workshop:
        made = Path(workshop) / "library"
        on_build()
        _compile(compiler, made)
        made.chmod(0o700)
        with made.open("rb") as file:
            os.fsync(file.fileno())
        kept = made.replace(folder / _name(made))
    sync_folder(folder)
    return kept


def _compiler() -> tuple[str, ...]:
    """Return the command of the C++ compiler named by CXX, else of any."""
    names = (os.environ.get("CXX"), "c++", "g++", "clang++")
    for name in names:
        if name and (found := shutil.which(name)):
            return (found,)
    if importlib.util.find_spec(ZIG) is not None:
        return (sys.executable, "-m", ZIG, "c++", "-s")
    raise NoLibraryError(
        "no C++ compiler found: install g++ or clang++, or pip install 'fnetcli[compiler]'"
    )


def _compile(compiler: tuple[str, ...], target: Path) -> None:
    problem = ""
    for tuning in TUNINGS:
        command = [*compiler, *FLAGS, *tuning, str(SOURCE), "-o", str(target)]
        try:
            code, output = _run(command, target.parent)
        except (OSError, subprocess.SubprocessError) as error:
            problem = str(error)
            break
        if code == 0:
            return
        problem = _most_telling(output)
    raise NoLibraryError(f"{' '.join(compiler)} could not build it: {problem}")


def _run(command: list[str], folder: Path) -> tuple[int, str]:
    """Return a command's exit code and output; nothing it started outlives this call."""
    with subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={
            **os.environ,
            "LC_ALL": "C",
            "ZIG_GLOBAL_CACHE_DIR": str(folder / "zig"),  # its own libraries, built on the way
            "ZIG_LOCAL_CACHE_DIR": str(folder / "zig"),
        },
        start_new_session=True,
    ) as process:
        try:
            _, output = process.communicate(timeout=BUILD_SECONDS)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, output


def _most_telling(output: str) -> str:
    """Return the line of a compiler's output that best tells what is wrong."""
    lines = [line for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if TELLING.search(line)]
    first_hand = [line for line in telling if not line.startswith(SECOND_HAND)]
    return next(iter([*first_hand, *telling, *lines]), "it said nothing")


# --- folders of one process -----------------------------------------------------------------------


@functools.cache
def _own_folder() -> Path:
    """Create a folder for this process alone, removed when it ends."""
    parent = tempfile.gettempdir()
    _sweep(Path(parent))
    folder = tempfile.mkdtemp(prefix=_prefix(), dir=parent)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _prefix() -> str:
    return f"fnet-{os.getpid()}-"


def _sweep(parent: Path) -> None:
    """Remove the folders that processes of this user left when they were killed."""
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            process = WORKSHOP.fullmatch(entry.name)
            if process and not psutil.pid_exists(int(process[1])) and _is_own_folder(entry):
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_own_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, not a link to one, and belongs to this user."""
    is_own = entry.stat(follow_symlinks=False).st_uid == os.getuid()
    return is_own and entry.is_dir(follow_symlinks=False)
