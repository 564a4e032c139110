"""A cache of scores, so that nothing is computed twice.

A row is one fused image of one pair: its key is a hash of everything that decides the scores (the
content of all files, scaling, convention), its value holds the scores known so far. It holds no
names or paths. If the file cannot be used, evaluation continues without it.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Increased whenever a metric or the conversion to 8 bits changes any value: older rows are ignored.
SCORES_VERSION = 2
LOCK_SECONDS = 1.0  # that one access waits while another program has locked the file
MAX_LOCKED = 10  # successive accesses that wait in vain, before the cache is given up


@dataclass
class Known:
    """The known scores of one fused image, and why a metric has none."""

    values: dict[str, float] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def lacks(self, metrics: list[str]) -> list[str]:
        """Return the metrics about which nothing is known."""
        return [name for name in metrics if name not in self.values and name not in self.refusals]

    def add(self, other: Known) -> Known:
        """Return both together."""
        notices = self.notices + [text for text in other.notices if text not in self.notices]
        return Known(self.values | other.values, self.refusals | other.refusals, notices)


def key(parts: Mapping[str, Any]) -> str:
    """Return the key of a row: the hash of everything that decides it."""
    text = json.dumps({"version": SCORES_VERSION, **parts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class ScoreCache:
    """Rows in a SQLite file, each saved at once; for any thread, shared with other processes."""

    def __init__(self, path: Path | None, on_trouble: Callable[[str], None]) -> None:
        """Open or create the file; None: no cache. `on_trouble` is told once why it is unusable."""
        self._path, self._on_trouble = path, on_trouble
        self._lock = threading.Lock()
        self._locked = 0  # successive accesses that waited in vain
        self._connection: sqlite3.Connection | None = None
        if path is not None:
            self._try(lambda: self._open(path))

    def get(self, row: str) -> Known:
        """Return the known scores, or an empty row."""
        found: list[tuple[str]] = []

        def read(connection: sqlite3.Connection) -> None:
            found.extend(connection.execute("SELECT value FROM scores WHERE row = ?", (row,)))

        self._with(read)
        return _parse(found[0][0]) if found else Known()

    def put(self, row: str, known: Known) -> None:
        """Store a row; replace an older one with the same key."""
        text = json.dumps([known.values, known.refusals, known.notices])
        statement = "INSERT OR REPLACE INTO scores VALUES (?, ?)"
        self._with(lambda connection: connection.execute(statement, (row, text)))

    def close(self) -> None:
        """Close the file."""
        self._with(sqlite3.Connection.close)
        self._connection = None

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists() and not path.is_file():  # SQLite would treat a device as a new file
            raise OSError("not an ordinary file")
        # Without an isolation level every row is a transaction, so that others never wait longer.
        connection = sqlite3.connect(
            path, LOCK_SECONDS * MAX_LOCKED, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("CREATE TABLE IF NOT EXISTS scores (row TEXT PRIMARY KEY, value TEXT)")
        connection.execute(f"PRAGMA busy_timeout = {round(LOCK_SECONDS * 1000)}")
        self._connection = connection

    def _with(self, do: Callable[[sqlite3.Connection], object]) -> None:
        with self._lock:
            connection = self._connection
            if connection is not None:
                self._try(lambda: do(connection))

    def _try(self, do: Callable[[], object]) -> None:
        """Run an access; if it fails, give up the cache, unless the file is only locked."""
        try:
            do()
        except (sqlite3.Error, OSError) as error:
            self._locked += 1
            if _is_locked(error) and self._connection and self._locked < MAX_LOCKED:
                return
            self._connection = None
            is_damaged = type(error) is sqlite3.DatabaseError
            advice = "remove that file" if is_damaged else "check the file, its folder and the disk"
            self._on_trouble(
                f"{self._path}: scores cannot be stored there ({error}), so all are computed; "
                f"{advice}"
            )
        else:
            self._locked = 0


def _is_locked(error: Exception) -> bool:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_BUSY  # above that byte it says why


def _parse(text: str) -> Known:
    """Parse a row; return an empty one if it is damaged."""
    try:
        values, refusals, notices = json.loads(text)
        known = Known(
            {str(name): float(value) for name, value in values.items()},
            {str(name): str(value) for name, value in refusals.items()},
            [str(notice) for notice in notices],
        )
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return Known()
    return known if all(map(math.isfinite, known.values.values())) else Known()
