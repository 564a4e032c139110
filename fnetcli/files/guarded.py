"""The one way to open what a user names: ordinary files only, and never more than they may hold.

A device may give bytes without end, and a pipe may wait for ever: neither is opened at all. A test
of the sources sees to it that no file of a user's is opened in another way.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fnetcli.errors import FnetError, UsageError

# Whatever comes between looking at a file and opening it, opening does not wait.
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class RefusedError(Exception):
    """Words for what is wrong with a file, and what to do; its path goes in front of them."""

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(f"{what}; {todo}")
        self.what = what


@dataclass(frozen=True)
class FileKind:
    """A kind of file that is read whole: what it is called, and how a refusal is told.

    `limit` is in bytes, far more than any such file takes. `error` is raised for a file that is
    refused, `missing` where there is none.
    """

    name: str  # with its article: "a recipe"
    limit: int
    todo: str  # "name a TOML file"
    error: type[FnetError] = UsageError
    missing: type[FnetError] = UsageError
    missing_todo: str = "check the path"


class OrdinaryFile(io.BufferedReader):
    """A file that is open for reading, and gives no more than it holds.

    Python makes room for whatever is asked for before it reads; readers of foreign formats ask for
    what a file claims.
    """

    def __init__(self, handle: int) -> None:
        super().__init__(io.FileIO(handle, "rb"))
        self._size = os.fstat(handle).st_size

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes, all that are left without one."""
        if size is None or size < 0 or not self._size:  # what the system makes up has no size
            return super().read(size)
        return super().read(min(size, max(0, self._size - self.tell())))


def open_ordinary(path: Path, name: str = "a file") -> OrdinaryFile:
    """Open an ordinary file for reading, without waiting.

    Raise RefusedError for folders, devices, pipes, sockets and impossible names, OSError for what
    the system refuses.
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
        raise RefusedError(f"a folder, not {name}", "name a file in it")
    if not stat.S_ISREG(mode):
        raise RefusedError("not an ordinary file", "save it as a file first")


@contextmanager
def open_file(path: Path, kind: FileKind) -> Iterator[BinaryIO]:
    """Open a file of a kind; raise the kind's errors, in one line, for what is none."""
    try:
        with open_ordinary(path, kind.name) as file:
            _require_size(os.fstat(file.fileno()).st_size, kind)
            yield file
    except (FileNotFoundError, NotADirectoryError):
        raise kind.missing(f"{path}: no such file; {kind.missing_todo}") from None
    except RefusedError as refused:
        raise kind.error(f"{path}: {refused.what}; {kind.todo}") from None
    except OSError as error:
        raise kind.error(f"{path}: {system_reason(error)}") from None


def read_bytes(path: Path, kind: FileKind) -> bytes:
    """Return the content of a file of a kind; raise the kind's errors, in one line."""
    with open_file(path, kind) as file:
        content = file.read(kind.limit + 1)  # what the system makes up has no size
        _require_size(len(content), kind)
        return content


def read_text(path: Path, kind: FileKind, encoding: str = "utf-8", errors: str = "strict") -> str:
    """Return the text of a file of a kind; raise the kind's errors, in one line."""
    try:
        content = io.BytesIO(read_bytes(path, kind))
        return io.TextIOWrapper(content, encoding, errors).read()  # with every kind of line end
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
    """Return in words why the system gave no file, and what to do."""
    match error:
        case FileNotFoundError():
            return "no such file; check the path"
        case PermissionError():
            return "no permission to read it; change the file's permissions"
    return f"cannot be read ({error.strerror or type(error).__name__}); check the path and the disk"
