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
SCORES_VERSION = 1
UNSAVED = 200  # rows that a killed process may lose


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
    """Rows in a SQLite file; used by one process, from any of its threads."""

    def __init__(self, path: Path | None, on_trouble: Callable[[str], None]) -> None:
        """Open or make the file; None keeps nothing. `on_trouble` hears once why it is not used."""
        self._path, self._on_trouble = path, on_trouble
        self._lock = threading.Lock()
        self._unsaved = 0
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

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO scores VALUES (?, ?)", (row, text))
            self._unsaved += 1
            if self._unsaved >= UNSAVED:
                connection.commit()
                self._unsaved = 0

        self._with(write)

    def close(self) -> None:
        """Save everything."""

        def end(connection: sqlite3.Connection) -> None:
            connection.commit()
            connection.close()

        self._with(end)
        self._connection = None

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        connection = sqlite3.connect(path, timeout=10, check_same_thread=False)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("CREATE TABLE IF NOT EXISTS scores (row TEXT PRIMARY KEY, value TEXT)")
        connection.commit()
        self._connection = connection

    def _with(self, do: Callable[[sqlite3.Connection], None]) -> None:
        with self._lock:
            connection = self._connection
            if connection is not None:
                self._try(lambda: do(connection))

    def _try(self, do: Callable[[], None]) -> None:
        """Do it; where the file refuses, use it no more."""
        try:
            do()
        except (sqlite3.Error, OSError) as error:
            self._connection = None
            self._on_trouble(
                f"{self._path}: scores cannot be kept there ({error}); everything is computed anew"
            )


def _parse(text: str) -> Known:
    """Read a row; what is not one holds nothing."""
    try:
        values, refusals, notices = json.loads(text)
        known = Known(
            {str(name): float(value) for name, value in values.items()},
            {str(name): str(value) for name, value in refusals.items()},
            [str(notice) for notice in notices],
        )
    except (ValueError, TypeError, AttributeError):
        return Known()
    return known if all(map(math.isfinite, known.values.values())) else Known()
