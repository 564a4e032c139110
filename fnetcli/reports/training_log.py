"""The log of a training run: its rows, and the same as a table for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from fnetcli.files.durable import atomic_write
from fnetcli.files.guarded import read_text
from fnetcli.training.config import LOG


def log_rows(log: Path) -> Iterator[dict[str, float]]:
    """Read the rows of log.jsonl; skip an incomplete line left by a crash."""
    for line in read_text(log, LOG, errors="replace").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def write_log_table(log: Path, table: Path) -> None:
    """Write the rows as CSV, with one column for every name that occurs. Raise WriteError."""
    rows = list(log_rows(log))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    atomic_write(table, lambda file: file.write(text.getvalue().encode()))
