"""The only way to open files that a user names: ordinary files only, up to a size limit.

A device may never end, and a pipe may block for ever: neither is opened. A test checks that the
source code opens a user's files in no other way.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fnetcli.errors import FnetError, UsageError
from fnetcli.text import near_miss

# Even if the file is replaced between checking and opening it, opening does not block.
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class RefusedError(Exception):
    """What is wrong with a file, and what to do; its path is added in front."""

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(f"{what}; {todo}")
        self.what = what


@dataclass(frozen=True)
class FileKind:
    """A kind of file that is read as a whole: its name, its size limit, and its errors.

    `limit` is in bytes, far more than any such file needs. `error` is raised if a file is refused,
    `missing` if it does not exist.
    """

    name: str  # with its article: "a recipe"

    limit: int
    todo: str  # such as "give a TOML file"
    error: type[FnetError] = UsageError
    missing: type[FnetError] = UsageError
    missing_todo: str = "check the path"
    names: Collection[str] = ()  # that may stand for files of this kind


class OrdinaryFile(io.BufferedReader):
    """A file that is open for reading, and limits reads to its size.

    Python allocates the requested size before it reads, and readers of foreign formats request what
    a file claims.
    """

    def __init__(self, handle: int) -> None:
        super().__init__(io.FileIO(handle, "rb"))
        self._size = os.fstat(handle).st_size

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes, by default all that are left."""
        if size is None or size < 0 or not self._size:  # generated files (as in /proc) have size 0
            return super().read(size)
        return super().read(min(size, max(0, self._size - self.tell())))


def open_ordinary(path: Path, name: str = "a file") -> OrdinaryFile:
    """Open an ordinary file for reading, without blocking.

    Raise RefusedError for folders, devices, pipes, sockets and impossible names, OSError if the
    system refuses.
    """
    try:
        _require_ordinary(path.stat().st_mode, name)
    except ValueError:  # a zero byte in the name
        raise RefusedError("not a possible file name", "check the path") from None
    handle = os.open(path, FLAGS)
    try:
        _require_ordinary(os.fstat(handle).st_mode, name)
        return OrdinaryFile(handle)
    except BaseException:
        os.close(handle)
        raise


def _require_ordinary(mode: int, name: str) -> None:
    if stat.S_ISDIR(mode):
        raise RefusedError(f"a folder, not {name}", "give a file in it")
    if not stat.S_ISREG(mode):
        raise RefusedError("not an ordinary file", "save it as a file first")


@contextmanager
def open_file(path: Path, kind: FileKind) -> Iterator[BinaryIO]:
    """Open a file of a kind; raise the kind's errors, in one line, if it is refused or missing."""
    try:
        with open_ordinary(path, kind.name) as file:
            _require_size(os.fstat(file.fileno()).st_size, kind)
            yield file
    except (FileNotFoundError, NotADirectoryError):
        todo = near_miss(str(path), kind.names) or kind.missing_todo
        raise kind.missing(f"{path}: no such file; {todo}") from None
    except RefusedError as refused:
        raise kind.error(f"{path}: {refused.what}; {kind.todo}") from None
    except OSError as error:
        raise kind.error(f"{path}: {system_reason(error)}") from None


def read_bytes(path: Path, kind: FileKind) -> bytes:
    """Return the content of a file of a kind; raise the kind's errors, in one line."""
    with open_file(path, kind) as file:
        content = file.read(kind.limit + 1)  # generated files (as in /proc) have size 0
        _require_size(len(content), kind)
        return content


def read_text(path: Path, kind: FileKind, encoding: str = "utf-8", errors: str = "strict") -> str:
    """Return the text of a file of a kind; raise the kind's errors, in one line."""
    try:
        content = io.BytesIO(read_bytes(path, kind))
        return io.TextIOWrapper(content, encoding, errors).read()  # accepts every kind of line end
    except UnicodeDecodeError:
        raise kind.error(f"{path}: not UTF-8 text; {kind.todo}") from None


def _require_size(count: int, kind: FileKind) -> None:
    if count > kind.limit:
        raise RefusedError(f"larger than {kind.name} can be ({_size(kind.limit)})", kind.todo)


def _size(count: int) -> str:
    for factor, unit in ((1 << 30, "GB"), (1 << 20, "MB")):
        if count >= factor:
            return f"{count / factor:g} {unit}"
    return f"{count / 1024:g} kB"


def system_reason(error: OSError) -> str:
    """Return why the system refused a file, and what to do."""
    match error:
        case FileNotFoundError():
            return "no such file; check the path"
        case PermissionError():
            return "no permission to read it; change the file's permissions"
    return f"cannot be read ({error.strerror or type(error).__name__}); check the path and the disk"
