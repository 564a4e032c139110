"""Files appear whole or not at all; a folder of results belongs to one run at a time.

And arrays that are too large for memory lie in that folder while they are needed.
"""

from __future__ import annotations

import errno
import math
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fnetcli.errors import OutputError, UsageError, WriteError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TEMPORARY = re.compile(r"\.fnet-\d+-[0-9a-z_]{8}\.tmp")
# Refusals that the next file in the same folder would meet too.
HOPELESS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
MOST_IN_MEMORY = 64 << 20  # bytes of one array; larger ones are mapped from a file
NOT_OFFERED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}  # by this file system
ZEROS = bytes(1 << 20)

# What holds the output folder in place while something is written to it.
InPlace = Callable[[], AbstractContextManager[None]]


def atomic_write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under a temporary name beside it, then rename it; make missing folders.

    Whatever goes wrong, an older file stays as it was and no temporary one is left. Raise
    OutputError where the next file would fare no better (no space, no permission, a file in place
    of a folder), WriteError for what the system refuses of this one (a name too long, a folder in
    its place). What is no ordinary file (/dev/stdout, a named pipe) is written to, not replaced.
    """
    if _is_device(path):
        try:
            with path.open("wb") as file:
                write(file)
        except OSError as error:
            raise _refused(path, error) from None
        return
    temporary = path.with_name(f".fnet-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        _remove(temporary)
        raise _refused(path, error) from None
    except BaseException:
        _remove(temporary)
        raise


def _is_device(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
        parent = path.parent.resolve()
    except OSError:
        return False
    if path.is_symlink() and (parent.is_relative_to("/dev") or parent.is_relative_to("/proc")):
        return True  # /dev/stdout, which may be a file just now
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path` to fill, and put it in place at the end; make parents.

    Whatever goes wrong, an older folder stays as it was and no temporary one is left. Raise what
    `atomic_write` raises.
    """
    temporary = path.with_name(f".fnet-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    older = temporary.with_name(f".fnet-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        sync_folder(temporary)
        if path.is_dir():
            path.replace(older)
        try:
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                older.replace(path)
            raise
        shutil.rmtree(older, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise _refused(path, error) from None
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextmanager
def files_together(folder: Path, last: str = "") -> Iterator[Path]:
    """Give a temporary folder within `folder` to fill; at the end move its files into place.

    Until all are written, older files stay as they were. `last` is the file that speaks of the
    others, a page: the old one goes before anything is moved and the new one comes after it, so
    that it never stands beside files of another run. Raise what `atomic_write` raises.
    """
    temporary = folder / f".fnet-{os.getpid()}-{secrets.token_hex(4)}.tmp"
    place = folder
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if last:
            place = folder / last
            place.unlink(missing_ok=True)
        for path in sorted(temporary.iterdir(), key=lambda path: (path.name == last, path)):
            place = folder / path.name
            path.replace(place)
        sync_folder(folder)
    except OSError as error:
        raise _refused(place, error) from None
    except (OutputError, WriteError) as error:  # of a file in the temporary folder
        raise type(error)(str(error).replace(str(temporary), str(folder))) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _refused(path: Path, error: OSError) -> OutputError | WriteError:
    if error.errno in {errno.EEXIST, errno.ENOTDIR}:
        return OutputError(
            f"{path}: cannot be written (a file stands where a folder is needed); move that file "
            "away or choose another path"
        )
    if error.errno == errno.ENAMETOOLONG:
        return WriteError(f"{path}: cannot be written ({error.strerror}); shorten the name")
    reason = error.strerror or str(error) or type(error).__name__
    is_open_elsewhere = os.name == "nt" and isinstance(error, PermissionError)  # by a viewer, say
    kind = OutputError if error.errno in HOPELESS and not is_open_elsewhere else WriteError
    return kind(
        f"{path}: cannot be written ({reason}); check the folder's permissions and free space"
    )


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # the folder itself is gone or read-only: there is nothing left to tidy


def cache_folder() -> Path | None:
    """Return the folder for what can be computed again, which may not exist yet.

    $XDG_CACHE_HOME/fnet, else ~/.cache/fnet; None where the user has no home.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        cache = Path(base) if Path(base).is_absolute() else Path("~/.cache").expanduser()
    except RuntimeError:
        return None
    return cache / "fnet"


def scratch_array(path: Path, shape: tuple[int, ...], kind: DTypeLike) -> NDArray[Any]:
    """Return an array to fill; a large one lies in a file beside `path`, not in memory.

    The file has no name and goes with the array, however the process ends. All of its space is
    taken at once: a full disk is an error here, not a crash when a page is written. Make missing
    folders; raise what `atomic_write` raises.
    """
    kind = np.dtype(kind)
    size = math.prod(shape) * kind.itemsize
    if size < MOST_IN_MEMORY:
        return np.empty(shape, kind)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".fnet-{os.getpid()}-"  # where a file cannot be without a name from the start
        with tempfile.TemporaryFile(prefix=prefix, suffix=".tmp", dir=path.parent) as file:
            _take_space(file, size)
            return np.memmap(file, kind, "r+", shape=shape)  # keeps a handle of its own
    except OSError as error:
        raise _refused(path, error) from None


def _take_space(file: BinaryIO, size: int) -> None:
    """Make a file of zeros for which the disk has room. Raise OSError where it has not."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in NOT_OFFERED:
                raise
        else:
            return
    file.writelines(ZEROS for _ in range(0, size, len(ZEROS)))
    file.flush()


def sync_folder(path: Path) -> None:
    """Make renamed files in a folder last, where the system can do that."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class OutputFolder:
    """A folder of results, made if it is missing, that no other run may write to meanwhile.

    The lock is the folder's own (flock), so that nothing of it stays behind, however a run ends.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = -1

    def __enter__(self) -> Self:
        """Raise OutputError where the folder cannot be made, UsageError where it is in use."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(str(_refused(self.path, error))) from None
        if fcntl is not None:
            try:
                self._handle = os.open(self.path, os.O_RDONLY)
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._close()
                raise UsageError(
                    f"{self.path}: another fnet is writing there; wait for it or choose another -o"
                ) from None
            except OSError:
                pass  # a file system without locks: then nobody checks
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Require the folder before something is written, and again where that fails."""
        self.require()
        try:
            yield
        except WriteError:
            self.require()
            raise

    def require(self) -> None:
        """Raise OutputError where the folder has been removed or replaced under our feet."""
        if self._handle < 0:
            is_there = self.path.is_dir()
        else:
            try:
                is_there = os.path.samestat(os.fstat(self._handle), self.path.stat())
            except OSError:
                is_there = False
        if not is_there:
            raise OutputError(
                f"{self.path}: was removed while results were written to it; "
                "run the same command again"
            )

    def _close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def sweep(folders: Iterable[Path]) -> None:
    """Remove the temporary files that a killed run left directly in these folders."""
    for folder in folders:
        try:
            left = [entry.path for entry in os.scandir(folder) if TEMPORARY.fullmatch(entry.name)]
        except OSError:
            continue  # not there yet
        for path in map(Path, left):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                _remove(path)
