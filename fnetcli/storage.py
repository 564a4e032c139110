"""Files appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from fnetcli.errors import WriteError


def atomic_write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under a temporary name beside it, then rename it; make missing folders.

    Whatever goes wrong, an older file stays as it was and no temporary one is left. Raise
    WriteError for what the system refuses (no permission, no space, a file in place of a folder).
    """
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
        reason = error.strerror or str(error) or type(error).__name__
        raise WriteError(
            f"{path}: cannot be written ({reason}); check the folder's permissions and free space"
        ) from None
    except BaseException:
        _remove(temporary)
        raise


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # the folder itself is gone or read-only: there is nothing left to tidy
