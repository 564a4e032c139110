"""When a picture was taken, by its name or its EXIF data; and pairs of what was taken together."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from fnetcli.errors import UsageError
from fnetcli.formats.exif import taken_at

Source = Literal["name", "EXIF"]

SECOND = 1_000_000_000  # nanoseconds, in which times are counted
UNITS = {"ms": SECOND // 1000, "s": SECOND, "min": 60 * SECOND}
DURATION = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)\s*(ms|s|min)", re.ASCII)
# 20240131_235959, 2024-01-31T23-59-59.123, 20240131235959
CALENDAR = re.compile(
    r"(?<!\d)((?:19|20)\d\d)[-_.]?(\d\d)[-_.]?(\d\d)[-_.T ]?(\d\d)[-_.h]?(\d\d)[-_.m]?(\d\d)"
    r"(?:[.,]?(\d{1,9}))?(?!\d)",
    re.ASCII,
)
# Seconds since 1970, or milli-, micro- or nanoseconds: 1706745599, 1706745599.123, 1706745599123
EPOCH = re.compile(r"(?<!\d)(1\d{9})(?:\.(\d{1,9})|(\d{9}|\d{6}|\d{3}))?(?!\d)", re.ASCII)


def parse_duration(option: str, text: str) -> int:
    """Read 2s, 500ms or 1min, as nanoseconds. Raise UsageError."""
    found = DURATION.fullmatch(text.strip())
    count = round(float(found[1]) * UNITS[found[2]]) if found else 0
    if count < 1:
        raise UsageError(f"{option} {text}: give a time as 2s, 500ms or 1min")
    return count


def time_in_name(stem: str) -> int | None:
    """Return the time that a name tells, in nanoseconds."""
    for found in CALENDAR.finditer(stem):
        *calendar, fraction = found.groups()
        try:
            moment = datetime(*map(int, calendar), tzinfo=UTC)  # type: ignore[misc, arg-type]
        except ValueError:  # month 13: another number
            continue
        return int(moment.timestamp()) * SECOND + _fraction(fraction)
    epoch = EPOCH.search(stem)
    if epoch is None:
        return None
    return int(epoch[1]) * SECOND + _fraction(epoch[2] or epoch[3])


def _fraction(digits: str | None) -> int:
    return int((digits or "0").ljust(9, "0"))


def find_times(sides: Sequence[Sequence[Path]]) -> tuple[Source, list[dict[Path, int]]]:
    """Return the times of both sides' files, all by their names or all by EXIF.

    Clocks of the two differ: they are not mixed. EXIF is read only where some name tells no time.
    """
    named = [_known(side, lambda path: time_in_name(path.stem)) for side in sides]
    lacking = [len(side) - len(known) for side, known in zip(sides, named, strict=True)]
    if not any(lacking):
        return "name", named
    taken = [_known(side, taken_at) for side in sides]
    if min(map(len, taken)) > min(map(len, named)):
        return "EXIF", taken
    return "name", named


def _known(side: Sequence[Path], find: object) -> dict[Path, int]:
    found = {path: find(path) for path in side}  # type: ignore[operator]
    return {path: time for path, time in found.items() if time is not None}


def nearest(
    first: Mapping[Path, int], second: Mapping[Path, int], most: int
) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """Pair files of which each is the other's nearest, at most `most` apart.

    Return the pairs in order of time, and files that lie as near to two others: of these nobody
    can tell.
    """
    ways, doubtful = [], list[Path]()
    for one, other in ((first, second), (second, first)):
        way, ties = _nearest_of_each(one, other, most)
        ways.append(way)
        doubtful += ties
    doubted = {*doubtful}
    pairs = [
        (path, partner)
        for path, partner in ways[0].items()
        if ways[1].get(partner) == path and not {path, partner} & doubted
    ]
    return sorted(pairs, key=lambda pair: (first[pair[0]], pair[0])), doubtful


def _nearest_of_each(
    one: Mapping[Path, int], other: Mapping[Path, int], most: int
) -> tuple[dict[Path, Path], list[Path]]:
    ordered = sorted(other, key=lambda path: (other[path], path))
    times = [other[path] for path in ordered]
    found, ties = dict[Path, Path](), list[Path]()
    for path, time in one.items():
        place = bisect_left(times, time)
        # The nearest are among two before and two after: more than one may have the same time.
        around = range(max(0, place - 2), min(len(times), place + 2))
        gaps = sorted((abs(times[i] - time), i) for i in around)
        if not gaps or gaps[0][0] > most:
            continue
        if len(gaps) > 1 and gaps[1][0] == gaps[0][0]:
            ties.append(path)
        else:
            found[path] = ordered[gaps[0][1]]
    return found, ties
