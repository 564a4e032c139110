"""The record of every case: OUT/manifest.jsonl, one line per case, and OUT/run.json.

A part of a run (`parts.py`) keeps both in OUT/parts/<part>/ until they are merged.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fnetcli.errors import UsageError
from fnetcli.files.durable import atomic_write, sync_folder
from fnetcli.files.guarded import FileKind, read_text

MANIFEST_FILE, RUN_FILE = "manifest.jsonl", "run.json"
PARTS_FOLDER = "parts"
DONE, FAILED = "done", "failed"
BEGUN = "begun"  # of a part's case whose older record, elsewhere, no longer holds
DECIDING = (
    "weights",
    "method",
    "options",
    "outputs",
    "pixels_version",
)  # besides the inputs' content
REST = 20.0  # pause between two saves, as a multiple of the time that saving took
MIN_REST = 1.0  # seconds

Record = dict[str, Any]


class _NoManifestError(UsageError):
    pass


MANIFEST = FileKind(
    "a manifest", 1 << 30, "remove it or choose another -o", missing=_NoManifestError
)
RUN = FileKind("a run file", 1 << 28, "remove it", missing=_NoManifestError)


class Manifest:
    """The records of a folder by case name, as lines; readers of the file see whole lines only.

    Saving rewrites the file and is done at intervals, not for every case: after a kill, cases
    whose record was not saved yet are done again.
    """

    def __init__(self, folder: Path, out: Path | None = None) -> None:
        """Read the existing file, if any. Raise UsageError if it cannot be read.

        `folder` is the output folder, whose parts are read too, or, with the output folder as
        `out`, that of a part: then the records of `out` are known, but saved nowhere.
        """
        self.path = folder / MANIFEST_FILE
        self._out = out
        self.damaged = 0  # lines that are not records
        self._lines, self._elsewhere = self._read()
        self._order: list[str] = []
        self._next_save = 0.0

    def is_stale(self) -> bool:
        """Whether the file has changed since it was read."""
        return self._read()[0] != self._lines

    def cases(self) -> set[str]:
        """Return the names of all cases that have records."""
        return self._lines.keys() | self._elsewhere.keys()

    def get(self, case: str) -> Record | None:
        """Return the record of a case."""
        line = self._lines.get(case) or self._elsewhere.get(case)
        record = None if line is None else json.loads(line)
        return None if record is None or record.get("status") == BEGUN else record

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
        has_changed = False
        for name in anew:
            has_changed |= self._lines.pop(name, None) is not None
            if name in self._elsewhere:
                self._lines[name] = json.dumps({"case": name, "status": BEGUN})
                has_changed = True
        if has_changed:
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

    def _read(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the lines by case: those saved here, and those known from elsewhere."""
        self.damaged = 0
        own = self._read_file(self.path)
        if self._out is None:
            for folder in part_folders(self.path.parent):
                own |= self._read_file(folder / MANIFEST_FILE)
            return own, {}
        elsewhere = self._read_file(self._out / MANIFEST_FILE)
        for folder in part_folders(self._out):
            if folder != self.path.parent:
                elsewhere |= self._read_file(folder / MANIFEST_FILE)
        return own, elsewhere

    def _read_file(self, path: Path) -> dict[str, str]:
        lines: dict[str, str] = {}
        try:
            text = read_text(path, MANIFEST, errors="replace")
        except _NoManifestError:
            return lines
        for line in text.splitlines():
            name = _case_of(line)
            if name is None:
                self.damaged += 1
            else:
                lines[name] = line
        return lines


def part_folders(out: Path) -> list[Path]:
    """Return the folders of the parts that have records, the newest last."""
    times: list[tuple[int, Path]] = []
    with suppress(OSError):
        for folder in (out / PARTS_FOLDER).iterdir():
            with suppress(OSError):
                times.append(((folder / MANIFEST_FILE).stat().st_mtime_ns, folder))
    return [folder for _, folder in sorted(times)]


def read_run(folder: Path) -> Record:
    """Return the content of a run.json; nothing if it is missing or damaged."""
    try:
        content = json.loads(read_text(folder / RUN_FILE, RUN, errors="replace"))
    except (_NoManifestError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


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


def paths(record: Record) -> dict[str, str]:
    """Return the paths of a case's inputs by modality, as recorded; fewer if it is damaged."""
    inputs = record.get("inputs")
    return {
        modality: path
        for modality, known in (inputs.items() if isinstance(inputs, dict) else ())
        if isinstance(known, dict) and isinstance(path := known.get("path"), str)
    }


def write_run(folder: Path, run: Mapping[str, Any]) -> None:
    """Write OUT/run.json, completely or not at all. Raise OutputError."""
    text = json.dumps(run, indent=2).encode() + b"\n"
    atomic_write(folder / RUN_FILE, lambda file: file.write(text))


def relative_path(path: Path, root: Path) -> str:
    """Return a path relative to its root, with forward slashes; unchanged if it is not below it."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
