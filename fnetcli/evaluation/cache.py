"""Scores that were computed before, so that nothing is computed twice.

A row is one fused image of one pair: its key is made of what decides the scores (the content of all
files, how they are scaled, the convention), its value holds the metrics known so far. Nothing in it
tells names or paths. Where the file cannot be used, evaluation goes on without it.
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

# Raised whenever a metric or the way to 8 bits changes any value: older rows are then not found.
SCORES_VERSION = 2
LOCK_SECONDS = 1.0  # that one access waits while another program holds the file
MAX_LOCKED = 10  # accesses in a row that wait in vain, before the file is used no more


@dataclass
class Known:
    """What is known of one fused image: scores, and why a metric has none."""

    values: dict[str, float] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def lacks(self, metrics: list[str]) -> list[str]:
        """Return those of the metrics of which nothing is known."""
        return [name for name in metrics if name not in self.values and name not in self.refusals]

    def add(self, other: Known) -> Known:
        """Return both together."""
        notices = self.notices + [text for text in other.notices if text not in self.notices]
        return Known(self.values | other.values, self.refusals | other.refusals, notices)


def key(parts: Mapping[str, Any]) -> str:
    """Return the name of a row: the hash of everything that decides it."""
    text = json.dumps({"version": SCORES_VERSION, **parts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class ScoreCache:
    """Rows in a SQLite file, each saved at once; used from any thread, beside other processes."""

    def __init__(self, path: Path | None, on_trouble: Callable[[str], None]) -> None:
        """Open or make the file; None keeps nothing. `on_trouble` hears once why it is not used."""
        self._path, self._on_trouble = path, on_trouble
        self._lock = threading.Lock()
        self._locked = 0  # accesses in a row that waited in vain
        self._connection: sqlite3.Connection | None = None
        if path is not None:
            self._try(lambda: self._open(path))

    def get(self, row: str) -> Known:
        """Return what is known, or an empty row."""
        found: list[tuple[str]] = []

        def read(connection: sqlite3.Connection) -> None:
            found.extend(connection.execute("SELECT value FROM scores WHERE row = ?", (row,)))

        self._with(read)
        return _parse(found[0][0]) if found else Known()

    def put(self, row: str, known: Known) -> None:
        """Keep a row; an older one of that name goes."""
        text = json.dumps([known.values, known.refusals, known.notices])
        statement = "INSERT OR REPLACE INTO scores VALUES (?, ?)"
        self._with(lambda connection: connection.execute(statement, (row, text)))

    def close(self) -> None:
        """Leave the file."""
        self._with(sqlite3.Connection.close)
        self._connection = None

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists() and not path.is_file():  # SQLite would take a device for a new file
            raise OSError("not an ordinary file")
        # Without an isolation level every row is a transaction: others wait for no more than that.
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
        """Do it; where the file refuses, use it no more, unless it is only locked for a while."""
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
                f"{self._path}: scores cannot be kept there ({error}), all are computed anew; "
                f"{advice}"
            )
        else:
            self._locked = 0


def _is_locked(error: Exception) -> bool:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_BUSY  # above that byte it says why


def _parse(text: str) -> Known:
    """Read a row; what is not one holds nothing."""
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
