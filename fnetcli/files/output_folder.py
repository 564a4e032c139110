"""Lock the output folder for one run at a time, and sweep what a killed run left in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from fnetcli.errors import OutputError, UsageError, WriteError
from fnetcli.files.durable import TEMPORARY, refused, remove

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# A context that checks the output folder while something is written to it.
InPlace = Callable[[], AbstractContextManager[None]]


class OutputFolder:
    """A folder of results, created if missing, that no other run may write to meanwhile.

    The folder itself is locked (flock), so that no lock file is left, however a run ends. A shared
    lock lets others hold one too, and excludes only those who want the folder for themselves.
    """

    def __init__(self, path: Path, *, is_shared: bool = False) -> None:
        self.path = path
        self.is_shared = is_shared
        self._handle = -1

    def __enter__(self) -> Self:
        """Raise OutputError if the folder cannot be created, UsageError if it is in use."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(str(refused(self.path, error))) from None
        if fcntl is not None:
            try:
                self._handle = os.open(self.path, os.O_RDONLY)
                kind = fcntl.LOCK_SH if self.is_shared else fcntl.LOCK_EX
                fcntl.flock(self._handle, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                self._close()
                raise UsageError(
                    f"{self.path}: another fnet is writing there; wait for it or choose another -o"
                ) from None
            except OSError:
                pass  # a file system without locks: no check
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
        """Require the folder before something is written, and again if writing fails."""
        self.require()
        try:
            yield
        except WriteError:
            self.require()
            raise

    def require(self) -> None:
        """Raise OutputError if the folder has been removed or replaced meanwhile."""
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
            continue  # it does not exist yet
        for path in map(Path, left):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                remove(path)
