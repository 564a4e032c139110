"""The pieces of a film that is being made: a folder beside it, from which a killed run goes on.

`<film>.parts/film.json` says what the pieces are made of; a piece is `00001.nut` and `00001.json`,
which holds the place where the next one begins. Both appear complete or not at all.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from fnetcli.errors import UsageError
from fnetcli.files.durable import atomic_write, remove
from fnetcli.files.guarded import FileKind, read_text
from fnetcli.films.clock import Place

SUFFIX = ".parts"
STATE = FileKind("a film's state", 1 << 24, "remove it")
OURS = re.compile(r"\d{5,}\.(nut|json)|film\.json|\.fnet-\d+-[0-9a-z_]{8}\.tmp")


@dataclass
class Progress:
    """How far a film is, and what the next piece needs to know."""

    place: Place = field(default_factory=Place)
    begin: Fraction | None = None  # time of the film's first moment, on the second's clock
    end: Fraction | None = None  # where its last one ends
    size: tuple[int, int] = (0, 0)  # height, width
    unit: int = 0  # of the last moment's time stamp
    limits: list[tuple[float, float] | None] = field(default_factory=lambda: [None, None])
    widest_gap: Fraction = Fraction(0)
    gap_at: Fraction = Fraction(0)
    notices: dict[str, int] = field(default_factory=dict)  # text -> frames

    def record(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return {
            "index": self.place.index,
            "last": _text(self.place.last),
            "passed": self.place.passed,
            "begin": _text(self.begin),
            "end": _text(self.end),
            "size": self.size,
            "unit": self.unit,
            "limits": self.limits,
            "widest_gap": _text(self.widest_gap),
            "gap_at": _text(self.gap_at),
            "notices": self.notices,
        }


def _text(number: Fraction | None) -> str | None:
    return None if number is None else str(number)


def _number(text: str | None) -> Fraction | None:
    return None if text is None else Fraction(text)


def _progress(record: Any) -> Progress | None:
    """Return what `Progress.record` has written; None for what is missing or damaged."""
    try:
        return Progress(
            Place(record["index"], _number(record["last"]), record["passed"]),
            _number(record["begin"]),
            _number(record["end"]),
            (record["size"][0], record["size"][1]),
            record["unit"],
            [None if one is None else (one[0], one[1]) for one in record["limits"]],
            Fraction(record["widest_gap"]),
            Fraction(record["gap_at"]),
            dict(record["notices"]),
        )
    except (LookupError, TypeError, ValueError, ZeroDivisionError):
        return None


@dataclass
class Pieces:
    """The folder of a film's pieces; the caller has locked it."""

    folder: Path
    made_of: dict[str, Any]
    finished: list[Path] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)

    def begin(self) -> bool:
        """Find the finished pieces; return whether pieces of another film were removed.

        Raise UsageError if the folder holds other files, OutputError.
        """
        names = sorted(path.name for path in self.folder.iterdir())
        strange = [name for name in names if not OURS.fullmatch(name)]
        if strange:
            raise UsageError(
                f"{self.folder}: holds {strange[0]}, but is needed for the pieces of the film; "
                "move it or choose another -o"
            )
        is_same = _read(self.folder / "film.json") == json.loads(json.dumps(self.made_of))
        if not is_same:
            for name in names:
                remove(self.folder / name)
            _write(self.folder / "film.json", self.made_of)
            return any(name.endswith(".nut") for name in names)
        while self.next.is_file():
            found = _progress(_read(self._state(len(self.finished) + 1)))
            if found is None:
                break
            self.progress = found
            self.finished.append(self.next)
        kept = {path.stem for path in self.finished} | {"film"}
        for name in names:
            if Path(name).stem not in kept:
                remove(self.folder / name)
        return False

    @property
    def next(self) -> Path:
        """The path of the next piece."""
        return self.piece(len(self.finished) + 1)

    def piece(self, number: int) -> Path:
        """Return the path of a piece, from 1 on."""
        return self.folder / f"{number:05}.nut"

    def finish(self, progress: Progress) -> None:
        """Record that the next piece is on disk."""
        _write(self._state(len(self.finished) + 1), progress.record())
        self.finished.append(self.next)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _state(self, number: int) -> Path:
        return self.piece(number).with_suffix(".json")


def _read(path: Path) -> Any:
    """Return the content of a file of ours; None if it is missing or damaged."""
    try:
        return json.loads(read_text(path, STATE))
    except (UsageError, ValueError, RecursionError):
        return None


def _write(path: Path, record: dict[str, Any]) -> None:
    atomic_write(path, lambda file: file.write(json.dumps(record, indent=1).encode()))
