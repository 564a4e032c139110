"""The record of every case: OUT/manifest.jsonl, one line per case, and OUT/run.json."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fnetcli.errors import UsageError
from fnetcli.files.durable import atomic_write, sync_folder
from fnetcli.files.guarded import FileKind, read_text

MANIFEST_FILE, RUN_FILE = "manifest.jsonl", "run.json"
DONE, FAILED = "done", "failed"
DECIDING = ("weights", "options", "outputs", "pixels_version")  # besides the inputs' content
REST = 20.0  # pause between two saves, as a multiple of the time that saving took
MIN_REST = 1.0  # seconds

Record = dict[str, Any]


class _NoManifestError(UsageError):
    pass


MANIFEST = FileKind(
    "a manifest", 1 << 30, "remove it or choose another -o", missing=_NoManifestError
)


class Manifest:
    """The records of a folder by case name, as lines; readers of the file see whole lines only.

    Saving rewrites the file and is done at intervals, not for every case: after a kill, cases
    whose record was not saved yet are done again.
    """

    def __init__(self, folder: Path) -> None:
        """Read the existing file, if any. Raise UsageError if it cannot be read."""
        self.path = folder / MANIFEST_FILE
        self._lines, self.damaged = self._read()  # damaged: lines that are not records
        self._order: list[str] = []
        self._next_save = 0.0

    def is_stale(self) -> bool:
        """Whether the file has changed since it was read."""
        return self._read()[0] != self._lines

    def get(self, case: str) -> Record | None:
        """Return the record of a case."""
        line = self._lines.get(case)
        return None if line is None else json.loads(line)

    def put(self, record: Record) -> None:
        """Set the record of a case; save if the last save is long enough ago."""
        self._lines[record["case"]] = json.dumps(record)
        if time.monotonic() >= self._next_save:
            self.save()

    def begin(self, cases: Iterable[str], anew: Iterable[str]) -> None:
        """Set the order of lines, remove the cases that will be fused again, and save.

        No file of a case may be overwritten while its old record says that it is done.
        """
        self._order = list(cases)
        forgotten = [self._lines.pop(name, None) for name in anew]
        if any(line is not None for line in forgotten):
            self.save()

    def save(self) -> None:
        """Write the cases of this run in order, then those of earlier ones. Raise OutputError."""
        started = time.monotonic()
        ours = [name for name in self._order if name in self._lines]
        others = self._lines.keys() - {*ours}
        names = [*ours, *(name for name in self._lines if name in others)]
        lines = (f"{self._lines[name]}\n".encode() for name in names)
        atomic_write(self.path, lambda file: file.writelines(lines))
        sync_folder(self.path.parent)  # removed records must not return after a power cut
        now = time.monotonic()
        self._next_save = now + max(MIN_REST, REST * (now - started))

    def _read(self) -> tuple[dict[str, str], int]:
        """Return the lines by case, and the number of damaged lines."""
        lines: dict[str, str] = {}
        damaged = 0
        try:
            text = read_text(self.path, MANIFEST, errors="replace")
        except _NoManifestError:
            return lines, damaged
        for line in text.splitlines():
            name = _case_of(line)
            if name is None:
                damaged += 1
            else:
                lines[name] = line
        return lines, damaged


def _case_of(line: str) -> str | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    name = record.get("case") if isinstance(record, dict) else None
    return name if isinstance(name, str) else None


def deciding(record: Record) -> str:
    """Return what decides a case's files besides its inputs, as text: same text, same files."""
    return json.dumps({key: record.get(key) for key in DECIDING}, sort_keys=True)


def content(record: Record) -> dict[str, str | None]:
    """Return the hashes of a case's inputs by modality; fewer if the record is damaged."""
    inputs = record.get("inputs")
    return {
        modality: known.get("sha256") if isinstance(known, dict) else None
        for modality, known in (inputs.items() if isinstance(inputs, dict) else ())
    }


def write_run(folder: Path, run: Mapping[str, Any]) -> None:
    """Write OUT/run.json, completely or not at all. Raise OutputError."""
    text = json.dumps(run, indent=2).encode() + b"\n"
    atomic_write(folder / RUN_FILE, lambda file: file.write(text))


def relative_path(path: Path, root: Path) -> str:
    """Return a path relative to its root, with forward slashes; unchanged if it is not below it."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
