"""BIDS data sets: which files of one subject and session belong together.

A file is ``sub-01/[ses-1/]anat/sub-01_[ses-1_][KEY-LABEL_...]SUFFIX.nii.gz`` (Brain Imaging Data
Structure 1.10, "Filesystem structure" and "Filenames").
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fnetcli.errors import UsageError
from fnetcli.inputs.pairing import Case, Pairing
from fnetcli.inputs.scan import LINKED, Ignored, visible
from fnetcli.text import number_of, verb_of

DESCRIPTION = "dataset_description.json"
VOLUMES = (".nii.gz", ".nii")
LABEL = "[0-9A-Za-z+]+"
NAME = re.compile(rf"((?:[A-Za-z]+-{LABEL}_)*)([0-9A-Za-z]+)", re.ASCII)
RULE = re.compile(rf"((?:[A-Za-z]+-(?:{LABEL})?_)*)([0-9A-Za-z]+)", re.ASCII)
FOLDER = re.compile(rf"(?:(?:sub|ses)-)?{LABEL}", re.ASCII)  # the last: of a data type
SUBJECT, SESSION = "sub", "ses"
INDEXES = {"run", "echo", "flip", "inv", "split", "chunk"}  # numbers, with or without zeros
MOST_SHOWN = 3

NO_NAME = "not a BIDS name"
ELSEWHERE = "its name does not begin with the names of its subject and session"
OUTSIDE = "a link that leads out of the data set"
NOT_ASKED = "does not fit --entity"
IN_BOTH = "fits --entity of both sides"
NO_SUBJECT = "not a folder of a subject"
DOUBTFUL = (NO_NAME, ELSEWHERE, OUTSIDE, IN_BOTH)  # said, besides being recorded


# --- names ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BidsName:
    """The name of a file without its extension: entities in order, and a suffix."""

    entities: Mapping[str, str]
    suffix: str

    def __str__(self) -> str:
        """Return it as written."""
        return "_".join([*(f"{key}-{label}" for key, label in self.entities.items()), self.suffix])

    def label(self, key: str) -> str:
        """Return an entity's label, of an index without leading zeros; empty if it is absent."""
        label = self.entities.get(key, "")
        is_number = key in INDEXES and label.isdecimal()
        return label.lstrip("0") or "0" if is_number else label

    def has(self, rule: BidsName) -> bool:
        """Whether it has the suffix and all entities of a rule, and none that must be absent."""
        return self.suffix == rule.suffix and all(
            self.label(key) == rule.label(key) for key in rule.entities
        )

    def differing(self, other: BidsName, apart: frozenset[str]) -> set[str]:
        """Return the entities whose labels differ, or that one name has alone; but `apart`."""
        keys = (self.entities.keys() | other.entities.keys()) - apart
        return {key for key in keys if self.label(key) != other.label(key)}

    def agrees(self, other: BidsName, apart: frozenset[str]) -> bool:
        """Whether entities that both have are equal, those `apart` aside."""
        shared = self.entities.keys() & other.entities.keys()
        return shared.isdisjoint(self.differing(other, apart))


def read_name(text: str) -> BidsName | None:
    """Read ``sub-01_run-1_T1w``; None if it is no name of BIDS."""
    return _parsed(NAME, text)


def read_rule(option: str, text: str) -> BidsName:
    """Read ``_T1w`` or ``acq-a_ce-_T1w``: what files must have. Raise UsageError.

    An entity without label must be absent.
    """
    found = _parsed(RULE, text.removeprefix("_"))
    if found is None:
        raise UsageError(
            f"{option}: not a BIDS suffix; give one, with entities if they are needed, such as "
            "_T1w, acq-mprage_run-1_T1w, or ce-_T1w for names without ce"
        )
    return found


def _parsed(pattern: re.Pattern[str], text: str) -> BidsName | None:
    found = pattern.fullmatch(text)
    if found is None:
        return None
    pairs = [part.split("-") for part in found[1].split("_")[:-1]]
    entities = {pair[0]: pair[1] for pair in pairs}
    return BidsName(entities, found[2]) if len(entities) == len(pairs) else None


# --- files ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BidsFile:
    """A volume of a data set; `place` is its folder of subject and session (sub-01/ses-1)."""

    path: Path
    place: str
    name: BidsName


@dataclass
class _Found:
    """The volumes of a data set with BIDS names, and what is passed over."""

    files: list[BidsFile] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)


def stem_of(path: Path) -> str | None:
    """Return the name of a NIfTI file without its extension; None for any other file."""
    ending = next((one for one in VOLUMES if path.name.endswith(one)), None)
    return None if ending is None else path.name.removesuffix(ending)


def subjects_place(path: Path) -> Path:
    """Return where a volume lies in its data set: sub-01/[ses-1/]anat/NAME.nii.gz."""
    parts = path.parts[-4:]
    begin = 0 if len(parts) == 4 and parts[1].startswith(f"{SESSION}-") else -3
    return Path(*parts[begin:])


def _look(root: Path) -> _Found:
    """Find the volumes of all subjects. Raise UsageError."""
    if not root.is_dir():
        raise UsageError(f"{root}: a file, not the folder of a BIDS data set; give the folder")
    found = _Found()
    subjects = []
    for path in visible(root):
        if not path.is_dir():
            continue
        if not path.name.startswith(f"{SUBJECT}-"):
            found.ignored.append(Ignored(path, NO_SUBJECT))  # derivatives, sourcedata, code, ...
        elif reason := _unusable(path):
            found.ignored.append(Ignored(path, reason))
        else:
            subjects.append(path)
    if not subjects:
        raise UsageError(
            f"{root}: not a BIDS data set: it has no folder of a subject (sub-01); give the "
            "folder that contains them"
        )
    for subject in subjects:
        _look_into(subject, [subject.name], root, found)
    return found


def _look_into(folder: Path, above: list[str], root: Path, found: _Found) -> None:
    """Look into a subject or session: its data types are folders with files."""
    for path in visible(folder):
        if not path.is_dir():
            continue
        if reason := _unusable(path):
            found.ignored.append(Ignored(path, reason))
        elif len(above) == 1 and path.name.startswith(f"{SESSION}-"):
            _look_into(path, [*above, path.name], root, found)
        else:
            for one in _volumes(path, above, root):
                if isinstance(one, Ignored):
                    found.ignored.append(one)
                else:
                    found.files.append(one)


def _volumes(folder: Path, above: list[str], root: Path) -> Iterator[BidsFile | Ignored]:
    """Yield the volumes of a data type. Raise UsageError for two of one name."""
    known = dict[str, Path]()
    for path in visible(folder):
        stem = None if path.is_dir() else stem_of(path)
        if stem is None:
            continue  # sidecars, tables, surfaces
        if stem in known:
            raise UsageError(
                f"{known[stem]} and {path} are both named {stem!r}; rename or remove one of them"
            )
        known[stem] = path
        name = read_name(stem)
        if name is None:
            yield Ignored(path, NO_NAME)
        elif [f"{key}-{name.entities.get(key)}" for key in (SUBJECT, SESSION)[: len(above)]] != (
            above
        ) or (len(above) == 1 and SESSION in name.entities):
            yield Ignored(path, ELSEWHERE)
        elif path.is_symlink() and not _is_below(path, root):
            yield Ignored(path, OUTSIDE)
        else:
            yield BidsFile(path, "/".join(above), name)


def _unusable(folder: Path) -> str | None:
    """Return why a folder is passed over, if it is."""
    if folder.is_symlink():
        return LINKED
    return None if FOLDER.fullmatch(folder.name) else NO_NAME


def _is_below(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a loop of links
        return False


# --- pairs ----------------------------------------------------------------------------------------

FilePair = tuple[BidsFile, BidsFile]


def pair_bids(
    first: Path, second: Path, modalities: tuple[str, str], rules: tuple[BidsName, BidsName]
) -> Pairing:
    """Pair the volumes of one or two data sets within each subject and session.

    `rules` say which files are of the first and of the second modality. If a session has one of
    each, they are a pair. Otherwise two files are one if they agree in all entities that both
    have, apart from those in the rules, and if neither agrees with another file, unless every such
    file has a partner of the same entities; what remains has no partner. A notice tells of pairs
    whose names differ in other entities. Raise UsageError.
    """
    is_one = first.samefile(second)
    if is_one and rules[0] == rules[1]:
        raise UsageError(
            f"--entity: {modalities[0]} and {modalities[1]} are the same files; tell "
            "them apart by suffix or entities"
        )
    founds = [_look(first)] if is_one else [_look(first), _look(second)]
    sides, ignored = _sides(founds, rules)
    for side, found, root, modality, rule in zip(
        sides, (founds[0], founds[-1]), (first, second), modalities, rules, strict=True
    ):
        if not side:
            raise UsageError(
                f"{root}: no file fits --entity {modality}={rule}; {_seen(found.files)}"
            )
    apart = frozenset({SUBJECT, SESSION, *rules[0].entities, *rules[1].entities})
    cases, unpaired, unclear = list[Case](), list[Path](), list[str]()
    found_pairs = list[FilePair]()
    places = [_by_place(side) for side in sides]
    for place in sorted(places[0].keys() | places[1].keys()):
        one, two = (by_place.get(place, []) for by_place in places)
        pairs = _matches(one, two, apart)
        cases += [Case(_case_name(b), a.path, b.path) for a, b in pairs]
        found_pairs += pairs
        taken = {file.path for pair in pairs for file in pair}
        left = [file for file in (*one, *two) if file.path not in taken]
        unpaired += [file.path for file in left]
        for side, others, other in ((one, two, modalities[1]), (two, one, modalities[0])):
            alone = [file for file in side if file in left]
            unclear += _unclear(alone, others, other, apart)
    return Pairing(
        "bids",
        cases,
        unpaired,
        (first, second),
        ignored=ignored,
        notices=(
            *_undescribed(first, second),
            *_doubts(ignored),
            *_differing(found_pairs, apart),
            *_few(unclear),
        ),
        advice=f"{modalities[0]}={rules[0]} and {modalities[1]}={rules[1]}",
    )


def _sides(
    founds: Sequence[_Found], rules: tuple[BidsName, BidsName]
) -> tuple[tuple[list[BidsFile], list[BidsFile]], list[Ignored]]:
    """Return the files of either side; in one data set, the stricter rule has what fits both."""
    sides: tuple[list[BidsFile], list[BidsFile]] = ([], [])
    ignored = [one for found in founds for one in found.ignored]
    for number, found in enumerate(founds):
        own = (0, 1) if len(founds) == 1 else (number,)
        for file in found.files:
            fits = [side for side in own if file.name.has(rules[side])]
            weights = [len(rules[side].entities) for side in fits]
            if len(fits) == 2 and weights[0] != weights[1]:
                fits = [weights.index(max(weights))]
            if len(fits) == 1:
                sides[fits[0]].append(file)
            else:
                ignored.append(Ignored(file.path, IN_BOTH if fits else NOT_ASKED))
    return sides, ignored


def _by_place(files: Sequence[BidsFile]) -> dict[str, list[BidsFile]]:
    found = defaultdict[str, list[BidsFile]](list)
    for file in files:
        found[file.place].append(file)
    return found


def _matches(
    one: Sequence[BidsFile], two: Sequence[BidsFile], apart: frozenset[str]
) -> list[FilePair]:
    """Return the pairs of one session, only those that are clear."""
    if len(one) == len(two) == 1:
        return [(one[0], two[0])]
    fits = [(a, b) for a in one for b in two if a.name.agrees(b.name, apart)]
    alike = _clear([(a, b) for a, b in fits if not a.name.differing(b.name, apart)])
    taken = _paths(alike)
    doubtful = _paths([pair for pair in fits if len(_paths([pair]) & taken) == 1])
    sure = [pair for pair in alike if _paths([pair]).isdisjoint(doubtful)]
    settled = _paths(sure)
    return sure + _clear([pair for pair in fits if _paths([pair]).isdisjoint(settled)])


def _clear(pairs: Sequence[FilePair]) -> list[FilePair]:
    """Return the pairs whose files are in no other."""
    counts = Counter(file.path for pair in pairs for file in pair)
    return [(a, b) for a, b in pairs if counts[a.path] == counts[b.path] == 1]


def _paths(pairs: Sequence[FilePair]) -> set[Path]:
    return {file.path for pair in pairs for file in pair}


def _case_name(file: BidsFile) -> str:
    """Return the name without suffix: no two files of a side that are paired share it."""
    return str(file.name).rpartition("_")[0]


# --- words ----------------------------------------------------------------------------------------


def _seen(files: Sequence[BidsFile]) -> str:
    """Return which suffixes and entities there are."""
    if not files:
        return "it has no NIfTI files with BIDS names"
    suffixes = Counter(file.name.suffix for file in files).most_common()
    keys = sorted({key for file in files for key in file.name.entities} - {SUBJECT, SESSION})
    shown = ", ".join(f"{name} ({count})" for name, count in suffixes)
    of_keys = f"; of entities {', '.join(keys)}" if keys else ""
    return f"there are files of suffix {shown}{of_keys}"


def _doubts(ignored: Sequence[Ignored]) -> Iterator[str]:
    by_reason = defaultdict[str, list[Path]](list)
    for one in ignored:
        by_reason[one.reason].append(one.path)
    for reason in DOUBTFUL:
        if paths := by_reason.get(reason):
            yield f"passed over, {reason}: {number_of(len(paths), 'file')} (the first: {paths[0]})"


def _differing(pairs: Sequence[FilePair], apart: frozenset[str]) -> Iterator[str]:
    """Yield a sentence if pairs differ in entities that the rules do not name."""
    found = [(pair, pair[0].name.differing(pair[1].name, apart)) for pair in pairs]
    differing = [(pair, keys) for pair, keys in found if keys]
    if not differing:
        return
    (one, two), _ = differing[0]
    keys = ", ".join(sorted(set[str]().union(*(keys for _, keys in differing))))
    yield (
        f"the names of {number_of(len(differing), 'pair')} differ in {keys}, which --entity does "
        f"not name (the first: {one.path} with {two.path}); each is the only choice within its "
        "session"
    )


def _unclear(
    left: Sequence[BidsFile], others: Sequence[BidsFile], other: str, apart: frozenset[str]
) -> Iterator[str]:
    """Yield a sentence for each file that agrees with several of the `other` modality."""
    for file in left:
        fits = [one for one in others if one.name.agrees(file.name, apart)]
        if len(fits) > 1:
            shown = ", ".join(one.path.name for one in fits[:MOST_SHOWN])
            more = f" and {len(fits) - MOST_SHOWN} more" if len(fits) > MOST_SHOWN else ""
            yield (
                f"{file.path} fits {len(fits)} files ({shown}{more}); it has no partner, "
                f"{_choice(fits, other)}"
            )


def _choice(fits: Sequence[BidsFile], modality: str) -> str:
    """Return what would choose one of several files."""
    first, *others = (one.name for one in fits)
    differing = set[str]().union(*(first.differing(other, frozenset()) for other in others))
    if not differing:
        return "since two have the same name; rename or remove one of them"
    entities = {key: first.entities.get(key, "") for key in sorted(differing)}
    return f"unless --entity says which, such as {modality}={BidsName(entities, first.suffix)}"


def _few(unclear: Sequence[str]) -> Iterator[str]:
    yield from unclear[:MOST_SHOWN]
    if (more := len(unclear) - MOST_SHOWN) > 0:
        yield f"{number_of(more, 'more file')} {verb_of(more, 'fits', 'fit')} several files"


def _undescribed(*roots: Path) -> Iterator[str]:
    for root in dict.fromkeys(roots):
        if not (root / DESCRIPTION).is_file():
            yield f"{root}: has no {DESCRIPTION}, which BIDS requires"
