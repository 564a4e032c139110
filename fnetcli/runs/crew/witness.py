"""Whether a worker sees the files of the run, and how many cases fit into its memory."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fnetcli.errors import ClusterError, FnetError
from fnetcli.files.durable import atomic_write, remove, temporary_path
from fnetcli.files.guarded import FileKind, read_text
from fnetcli.runs.batch import MAX_BYTES
from fnetcli.runs.crew.base import own_node

WITNESS = FileKind("a witness", 64, "run the same command again", ClusterError)


@dataclass(frozen=True)
class Witness:
    """A file with a secret in the output folder, and the sizes of some inputs."""

    sizes: tuple[tuple[Path, int], ...]
    out: Path | None = None  # None: nothing is written
    file: Path | None = None
    secret: str = ""

    @classmethod
    def of_inputs(cls, inputs: Iterable[Path]) -> Witness:
        """Return what tells whether a worker sees the inputs."""
        return cls(tuple((path, size) for path in inputs if (size := _size(path)) is not None))

    def require_seen(self) -> None:
        """Raise ClusterError if this process does not see the same files."""
        if self.file is not None and _content(self.file) != self.secret:
            raise ClusterError(
                f"worker on {own_node()}: does not see the output folder {self.out} (it works in "
                f"{Path.cwd()}); put it on storage that all nodes share, under the same path"
            )
        for path, size in self.sizes:
            if _size(path) != size:
                raise ClusterError(
                    f"worker on {own_node()}: does not see {path} as it is here; put the inputs on "
                    "storage that all nodes share, under the same path"
                )


@contextmanager
def witness(out: Path, inputs: Iterable[Path]) -> Iterator[Witness]:
    """Write the file that workers look for, and remove it. Raise OutputError."""
    file, secret = temporary_path(out), secrets.token_hex(16)
    sizes = Witness.of_inputs(inputs).sizes
    atomic_write(file, lambda content: content.write(secret.encode()))
    try:
        yield Witness(sizes, out, file, secret)
    finally:
        remove(file)


def _content(path: Path) -> str | None:
    try:
        return read_text(path, WITNESS)
    except FnetError:
        return None


def _size(path: Path) -> int | None:
    """Return the size of a file, 0 for a folder; None if it cannot be seen."""
    try:
        return 0 if path.is_dir() else path.stat().st_size
    except OSError:
        return None


class Room:
    """Admits cases to a process as long as they fit into memory beside each other."""

    def __init__(self) -> None:
        self._heaviest: int | None = None  # unknown before the first case is read
        self._count = 0
        self._changed = threading.Condition()

    @contextmanager
    def place(self) -> Iterator[Callable[[int], None]]:
        """Wait for a place and hold it; call what it yields with the bytes that the case needs."""
        with self._changed:
            self._changed.wait_for(self._has_room)
            self._count += 1
        try:
            yield self._weigh
        finally:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()

    def _has_room(self) -> bool:
        if not self._count or self._heaviest is None:
            return not self._count
        return (self._count + 1) * self._heaviest <= MAX_BYTES

    def _weigh(self, count: int) -> None:
        with self._changed:
            self._heaviest = max(self._heaviest or 0, count)
            self._changed.notify_all()
