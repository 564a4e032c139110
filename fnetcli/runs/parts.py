"""Parts of a run: the same command in several processes, each with its share of the cases.

Part 3 of 16 processes cases 3, 19, 35, ... and keeps its records in OUT/parts/3-of-16/. Parts may
run at the same time, on machines that share OUT; a whole run, or `merge_parts`, moves all records
to OUT/manifest.jsonl.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fnetcli.errors import UsageError
from fnetcli.files.output_folder import OutputFolder, sweep
from fnetcli.runs.manifest import (
    DONE,
    FAILED,
    PARTS_FOLDER,
    Manifest,
    Record,
    part_folders,
    read_run,
    write_run,
)

MAX_PARTS = 1_000_000
T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """Share `number` (from 1 on) of `count` shares."""

    number: int
    count: int

    def of(self, cases: Sequence[T]) -> Sequence[T]:
        """Return every `count`-th case: the shares are disjoint, and together all cases."""
        return cases[self.number - 1 :: self.count]

    def folder(self, out: Path) -> Path:
        """Return the folder of the part's records in the output folder."""
        return out / PARTS_FOLDER / f"{self.number}-of-{self.count}"


def parse_part(text: str) -> Part:
    """Parse ``3/16``. Raise UsageError."""
    match = re.fullmatch(r"([0-9]{1,7})/([0-9]{1,7})", text)
    if match:
        part = Part(*map(int, match.groups()))
        if 1 <= part.number <= part.count <= MAX_PARTS:
            return part
    raise UsageError(f"--part {text}: give NUMBER/COUNT, such as 3/16, with NUMBER from 1 to COUNT")


@dataclass(frozen=True)
class Merged:
    """The result of a merge: the parts, and the cases by how they ended."""

    parts: list[str]
    done: int
    failed: int
    missing: int


def merge_parts(out: Path, cases: Sequence[str]) -> Merged:
    """Move the records of all parts to OUT/manifest.jsonl and write OUT/run.json.

    Raise UsageError if there are no parts, or one of them is still running.
    """
    folders = part_folders(out)
    if not folders:
        raise UsageError(f"{out / PARTS_FOLDER}: no part has run there; run them with --part first")
    with OutputFolder(out):
        manifest = Manifest(out)
        manifest.begin(cases, anew=())
        records = [manifest.get(name) or {} for name in cases]
        status = [record.get("status") for record in records]
        done, failed = status.count(DONE), status.count(FAILED)
        names = [folder.name for folder in folders]
        merged = Merged(names, done, failed, len(cases) - done - failed)
        runs = [read_run(folder) for folder in folders]
        manifest.save()
        errors = [
            {"case": record["case"], "error": record.get("error")}
            for record in records
            if record.get("status") == FAILED
        ]
        write_run(out, _summary(merged, errors, runs))
        remove_parts(out)
        sweep({out, *(path for path in out.iterdir() if path.is_dir())})
    return merged


def remove_parts(out: Path) -> None:
    """Remove the records of parts, after they were saved in OUT/manifest.jsonl."""
    shutil.rmtree(out / PARTS_FOLDER, ignore_errors=True)


def _summary(merged: Merged, errors: Sequence[Record], runs: Sequence[Record]) -> Record:
    """Return a run.json: what all parts agree on, the totals, and each part's own times."""
    own = ("status", "command", "started", "updated", "seconds", "device", "versions")
    shared = {
        key: value
        for key, value in (runs[-1] if runs else {}).items()
        if key not in (*own, "totals", "failed", "part")
    }
    return {
        "status": "finished" if not merged.missing else "stopped",
        **shared,
        "totals": {
            "cases": merged.done + merged.failed + merged.missing,
            "done": merged.done,
            "failed": merged.failed,
            "left": merged.missing,
        },
        "failed": list(errors),
        "parts": {
            name: {key: run.get(key) for key in own}
            for name, run in zip(merged.parts, runs, strict=True)
        },
    }
