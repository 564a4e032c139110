"""What would pair two folders of which no names are equal: options, and how many pairs."""

from __future__ import annotations

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from fnetcli.inputs.names import NameRule, nfc
from fnetcli.inputs.scan import scan, visible
from fnetcli.inputs.times import SECOND, nearest, time_in_name

MAX_FILES = 20_000  # of a side that are looked at
MAX_GAP = 10 * SECOND
SAMPLES, NEIGHBOURS, CANDIDATES = 4, 60, 60
TOKENS = re.compile(r"[0-9]+|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|.", re.DOTALL)
VOLUMES = "volumes, not pictures, lie in"
# How folders of a modality are often called.
WORDS = {
    "vis": ("vis", "rgb", "col", "optical", "tv"),
    "ir": ("ir", "therm", "infra", "inf"),
    "nir": ("nir", "near"),
}

Affixes = tuple[tuple[str, str], tuple[str, str]]  # prefix and suffix of both sides


@dataclass(frozen=True)
class Advice:
    """Options, and how many pairs they would make."""

    pairs: int
    options: str


def advise(
    folders: tuple[Path, Path],
    modalities: tuple[str, str],
    rules: tuple[NameRule, NameRule],
    *,
    is_recursive: bool,
) -> str:
    """Return a sentence that names what would pair most files; empty where nothing is found."""
    are_same = folders[0].samefile(folders[1])
    flat = [_places(folder, is_recursive=is_recursive) for folder in folders]
    deep = flat if is_recursive else [_places(folder, is_recursive=True) for folder in folders]
    found: list[Advice] = []
    if not is_recursive and not are_same:
        found += _by_looking_deeper(deep, rules)
    by_time = [] if are_same else list(_by_time(flat))
    found += [*by_time, *_by_affixes(flat, modalities), *_by_folders(deep, modalities)]
    if found:
        best = max(found, key=lambda one: one.pairs)
        return f"{best.options} would pair {best.pairs}"
    empty = [folder for folder, places in zip(folders, flat, strict=True) if not places]
    if not empty:
        return ""
    from fnetcli.formats.volumes import is_volume_file  # noqa: PLC0415 - slow, and seldom needed

    are_volumes = any(is_volume_file(path) for folder in empty for path in visible(folder))
    where = " and ".join(map(str, dict.fromkeys(empty)))
    return f"{VOLUMES} {where}" if are_volumes else f"no image lies in {where}"


def _places(folder: Path, *, is_recursive: bool) -> list[PurePath]:
    """Return the images of a folder, relative to it and without suffix."""
    found = []
    for one in scan(folder, is_recursive=is_recursive):
        if isinstance(one, Path):
            found.append(PurePath(nfc(one.relative_to(folder).with_suffix("").as_posix())))
        if len(found) == MAX_FILES:
            break
    return found


def _is_worth_it(count: int, sides: Sequence[Sequence[PurePath]]) -> bool:
    return count > 0 and 2 * count >= min(map(len, sides))


def _by_looking_deeper(
    deep: Sequence[Sequence[PurePath]], rules: tuple[NameRule, NameRule]
) -> Iterator[Advice]:
    count = len(_keys(deep[0], rules[0]) & _keys(deep[1], rules[1]))
    if _is_worth_it(count, deep):
        yield Advice(count, "--recursive")


def _keys(places: Sequence[PurePath], rule: NameRule) -> set[str]:
    """Return what only one file of a side is called by a rule."""
    names = (rule.name(place) for place in places)
    counts = Counter(name.key for name in names if name is not None)
    return {key for key, count in counts.items() if count == 1}


# --- prefixes and suffixes ------------------------------------------------------------------------


def _by_affixes(
    sides: Sequence[Sequence[PurePath]], modalities: tuple[str, str]
) -> Iterator[Advice]:
    """Look for what both names have in common, cut only between words and numbers."""
    tried: Counter[Affixes] = Counter()
    stems = [sorted({place.name for place in side}) for side in sides]
    steps = max(1, len(stems[0]) // SAMPLES)
    for i in range(0, len(stems[0]), steps):
        at = i * len(stems[1]) // len(stems[0])
        for other in stems[1][max(0, at - NEIGHBOURS // 2) :][:NEIGHBOURS]:
            tried.update(_cuts(stems[0][i], other))
    ranked = sorted(
        (_count(affixes, sides), _guess(affixes, modalities), affixes)
        for affixes, _ in tried.most_common(CANDIDATES)
        if affixes[0] != affixes[1]
    )
    if ranked and _is_worth_it(ranked[-1][0], sides):
        count, _, affixes = ranked[-1]
        yield Advice(count, _shown(affixes, modalities))


def _guess(affixes: Affixes, modalities: tuple[str, str]) -> tuple[int, int]:
    """Return how well affixes fit their modalities, and how short they are."""
    one, other = ("".join(ends) for ends in affixes)
    return _fits((one, other), modalities), -len(one + other)


def _cuts(one: str, other: str) -> set[Affixes]:
    """Return what is around each run of words that two names share, a number among them."""
    first, second = TOKENS.findall(one), TOKENS.findall(other)
    found: set[Affixes] = set()
    for i in range(len(first)):
        for j in range(len(second)):
            if first[i] != second[j] or (i and j and first[i - 1] == second[j - 1]):
                continue
            length = 1
            while (
                i + length < len(first)
                and j + length < len(second)
                and first[i + length] == second[j + length]
            ):
                length += 1
            if any(token[0].isdigit() for token in first[i : i + length]):
                ends = (
                    ("".join(first[:i]), "".join(first[i + length :])),
                    ("".join(second[:j]), "".join(second[j + length :])),
                )
                found.add(ends)
    return found


def _count(affixes: Affixes, sides: Sequence[Sequence[PurePath]]) -> int:
    one, other = (
        _keys(places, NameRule(*ends)) for ends, places in zip(affixes, sides, strict=True)
    )
    return len(one & other)


def _shown(affixes: Affixes, modalities: tuple[str, str]) -> str:
    words = [
        f"{option} {shlex.quote(f'{modality}={text}')}"
        for modality, ends in reversed(list(zip(modalities, affixes, strict=True)))
        for option, text in zip(("--prefix", "--suffix"), ends, strict=True)
        if text
    ]
    return " ".join(words)


# --- folders of other names -----------------------------------------------------------------------


def _by_folders(
    sides: Sequence[Sequence[PurePath]], modalities: tuple[str, str]
) -> Iterator[Advice]:
    """Look for paths that differ in the name of one folder."""
    known: list[dict[tuple[object, ...], set[str]]] = []
    for side in sides:
        by_rest: dict[tuple[object, ...], set[str]] = defaultdict(set)
        for place in side:
            for i, part in enumerate(place.parts[:-1]):
                by_rest[(*place.parts[:i], i, *place.parts[i + 1 :])].add(part)
        known.append(by_rest)
    pairs: Counter[tuple[str, str]] = Counter()
    depths: dict[tuple[str, str], set[tuple[int, int]]] = defaultdict(set)
    for rest, firsts in known[0].items():
        depth = next(i for i, part in enumerate(rest) if isinstance(part, int))
        for one in firsts:
            for other in known[1].get(rest, set()) - {one}:
                pairs[one, other] += 1
                depths[one, other].add((depth, len(rest) - depth - 2))
    if not pairs:
        return
    best = max(pairs, key=lambda names: (pairs[names], _fits(names, modalities), names))
    if _is_worth_it(2 * pairs[best], sides):  # one folder may hold both sides
        before = "**/" * any(place[0] for place in depths[best])
        after = "**/" * any(place[1] for place in depths[best])
        options = [
            f"--match {shlex.quote(f'{modality}={before}{name}/{after}{{}}')}"
            for modality, name in reversed(list(zip(modalities, best, strict=True)))
        ]
        yield Advice(pairs[best], " ".join(options))


def _fits(names: Iterable[str], modalities: tuple[str, str]) -> int:
    """Return how many of two folders are called as their modality often is."""
    return sum(
        any(word in name.lower() for word in WORDS.get(modality, (modality,)))
        for name, modality in zip(names, modalities, strict=True)
    )


# --- times ----------------------------------------------------------------------------------------


def _by_time(sides: Sequence[Sequence[PurePath]]) -> Iterator[Advice]:
    times = []
    for side in sides:
        known = {Path(place): time_in_name(place.name) for place in side}
        times.append({path: time for path, time in known.items() if time is not None})
    pairs, _ = nearest(times[0], times[1], MAX_GAP)
    if _is_worth_it(len(pairs), sides):
        widest = max(abs(times[0][one] - times[1][two]) for one, two in pairs)
        if not widest:
            return  # names that tell the same time have more in common
        yield Advice(len(pairs), f"--nearest-time {-(-widest // SECOND)}s")
