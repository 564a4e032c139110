"""Write files and folders completely or not at all, and make them durable."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fnetcli.errors import OutputError, WriteError

TEMPORARY = re.compile(r"\.fnet-\d+-[0-9a-z_]{8}\.tmp")
# Errors that the next file in the same folder would meet, too.
HOPELESS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


def atomic_write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under a temporary name beside it, then rename it; create missing folders.

    If anything fails, an older file is unchanged and no temporary one is left. Raise OutputError if
    the next file would fail, too (no space, no permission, a file in place of a folder), WriteError
    if only this one fails (a name too long, a folder in its place). A path that is not an ordinary
    file (/dev/stdout, a named pipe) is written to, not replaced.
    """
    if _is_device(path):
        try:
            with path.open("wb") as file:
                write(file)
        except OSError as error:
            raise refused(path, error) from None
        return
    temporary = temporary_path(path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        remove(temporary)
        raise refused(path, error) from None
    except BaseException:
        remove(temporary)
        raise


def temporary_path(folder: Path) -> Path:
    """Return an unused path in a folder; `output_folder.sweep` recognises it by its name."""
    return folder / f".fnet-{os.getpid()}-{secrets.token_hex(4)}.tmp"


def _is_device(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
        parent = path.parent.resolve()
    except OSError:
        return False
    if path.is_symlink() and (parent.is_relative_to("/dev") or parent.is_relative_to("/proc")):
        return True  # /dev/stdout, which may be redirected to a file
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` to fill, and rename it at the end; create parents.

    If anything fails, an older folder is unchanged and no temporary one is left. Raise what
    `atomic_write` raises.
    """
    temporary = temporary_path(path.parent)
    older = temporary_path(path.parent)
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
        sync_folder(path.parent)
        shutil.rmtree(older, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise refused(path, error) from None
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextmanager
def files_together(folder: Path, last: str = "") -> Iterator[Path]:
    """Yield a temporary folder within `folder` to fill; at the end move its files into place.

    Until all are written, older files are unchanged. `last` is the file that refers to the others,
    a page: the old one is removed before any file is moved, and the new one is moved last, so that
    it never refers to files of another run. Raise what `atomic_write` raises.
    """
    temporary = temporary_path(folder)
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
        raise refused(place, error) from None
    except (OutputError, WriteError) as error:  # of a file in the temporary folder
        raise type(error)(str(error).replace(str(temporary), str(folder))) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refused(path: Path, error: OSError) -> OutputError | WriteError:
    """Return our error for the system's refusal to write a path."""
    if error.errno in {errno.EEXIST, errno.ENOTDIR}:
        return OutputError(
            f"{path}: cannot be written (a file is where a folder is needed); move that file away "
            "or choose another path"
        )
    if error.errno == errno.ENAMETOOLONG:
        return WriteError(f"{path}: cannot be written ({error.strerror}); shorten the name")
    reason = error.strerror or str(error) or type(error).__name__
    is_open_elsewhere = os.name == "nt" and isinstance(error, PermissionError)  # such as a viewer
    kind = OutputError if error.errno in HOPELESS and not is_open_elsewhere else WriteError
    return kind(
        f"{path}: cannot be written ({reason}); check the folder's permissions and free space"
    )


def remove(path: Path) -> None:
    """Remove a file, if possible."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # the folder itself is gone or read-only: there is nothing left to tidy


def sync_folder(path: Path) -> None:
    """Make renamed files in a folder durable, if the system can do that."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
