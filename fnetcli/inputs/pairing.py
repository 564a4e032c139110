"""Which file of one side belongs to which file of the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from fnetcli.errors import FnetError, UsageError
from fnetcli.formats import DATA_SUFFIXES, TABLE_SUFFIXES, ReadOptions
from fnetcli.inputs.advice import advise
from fnetcli.inputs.names import Name, NameRule, nfc
from fnetcli.inputs.scan import Ignored, scan
from fnetcli.inputs.times import SECOND, find_times, nearest
from fnetcli.text import number_of, verb_of

BESIDE = "beside a picture of the same name"
ALONE = "no picture by its suffix, and without a partner"


@dataclass(frozen=True)
class Source:
    """One of the two images of a case: a file, or a frame of it, from 1 on."""

    path: Path
    page: int | None = None

    def __str__(self) -> str:
        """Return what people call it."""
        return str(self.path) if self.page is None else f"{self.path}, frame {self.page}"

    def reading(self, options: ReadOptions) -> ReadOptions:
        """Return how it is read."""
        return options if self.page is None else replace(options, page=self.page)


@dataclass(frozen=True, slots=True)
class Case:
    """One pair of files; its name becomes the name of every output ("day/7" lies in a folder).

    `page` is the frame, from 1 on, of a sequence that holds several cases; `volumes` are the
    volumes, from 1 on, of series or files that do, else None.
    """

    name: str
    first: Path
    second: Path
    page: int | None = field(default=None, kw_only=True)
    volumes: tuple[int | None, int | None] = field(default=(None, None), kw_only=True)

    @property
    def files(self) -> str:
        """The paths of both images, for messages; one file may hold both."""
        is_one = self.first == self.second
        return str(self.first) if is_one else f"{self.first} and {self.second}"

    @property
    def sources(self) -> tuple[Source, Source]:
        """Both images."""
        return Source(self.first, self.page), Source(self.second, self.page)

    def reading(self, options: ReadOptions) -> ReadOptions:
        """Return how to read an image of this case."""
        return self.sources[0].reading(options)


@dataclass(frozen=True)
class Pairing:
    """The cases in order, the files without a partner, and the folders that all paths lie below.

    `further` holds what else a list says of its cases: column -> case -> text, as written.
    `list_name` names the list. `ignored` is what else lies in the folders, `notices` say how files
    were paired, and `advice` what would pair them where nothing does.
    """

    source: Literal["files", "folders", "list", "bids"]
    cases: list[Case]
    unpaired: list[Path]
    roots: tuple[Path, Path]
    further: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    list_name: str = ""
    ignored: list[Ignored] = field(default_factory=list)
    notices: tuple[str, ...] = ()
    advice: str = ""

    @property
    def paths(self) -> list[Path]:
        """All files and folders of all cases."""
        return [path for case in self.cases for path in (case.first, case.second)]

    def require_cases(self) -> None:
        """Raise FnetError where there is no case; say what would make some."""
        if self.cases:
            return
        if self.source == "list":
            raise FnetError(
                f"{self.list_name}: no pairs below the first line, nothing to do; add them"
            )
        first, second = self.roots
        if self.source == "bids":
            raise FnetError(
                f"{first}: nothing to do, no subject and session has a pair of {self.advice}; "
                "check --entity, or list the pairs with --pairs"
            )
        advice = f"{self.advice}; " if self.advice else ""
        raise FnetError(
            f"{first} and {second}: nothing to do, no file of one folder has a partner in the "
            f"other; {advice}describe the names of both with --match (or --prefix, --suffix, "
            "--nearest-time), or list the pairs with --pairs"
        )


def together(pairings: Sequence[Pairing]) -> list[Pairing]:
    """Return the pairings of several sets without the unpaired files that another set pairs.

    A file that no set pairs remains in the first set that has it.
    """
    if len(pairings) == 1:
        return [*pairings]
    told = {path for one in pairings for path in one.paths}
    found = []
    for one in pairings:
        alone = [path for path in one.unpaired if path not in told]
        told.update(alone)
        found.append(replace(one, unpaired=alone))
    return found


@dataclass(frozen=True)
class PairingOptions:
    """Which files count, and how they are compared: by name, or by time."""

    is_recursive: bool = False
    rules: tuple[NameRule, NameRule] = (NameRule(), NameRule())  # of the first, the second side
    nearest: int | None = None  # nanoseconds between the times of a pair, at most
    modalities: tuple[str, str] = ("first", "second")  # for messages
    takes_same_file: bool = False  # each side reads other bands or another page of it

    @property
    def has_rules(self) -> bool:
        """Whether anything was said about names."""
        are_plain = self.rules == (NameRule(), NameRule()) and self.nearest is None
        return self.is_recursive or not are_plain

    @property
    def of_names(self) -> str | None:
        """The option that only folders of pictures have, where one was given."""
        if self.nearest is not None:
            return "--nearest-time"
        if any(rule.pattern is not None for rule in self.rules):
            return "--match"
        return None


def with_suffixes(first: str, second: str) -> tuple[NameRule, NameRule]:
    """Return the rules of names that end so."""
    return NameRule(suffix=first), NameRule(suffix=second)


@dataclass(frozen=True)
class Contents:
    """What counts in a folder, and what it is called without suffix."""

    scan: Callable[[Path, bool], Iterator[Path | Ignored]]  # folder, and whether to look deeper
    stem: Callable[[Path], str]
    are_pictures: bool = True


def _scan_pictures(folder: Path, is_recursive: bool) -> Iterator[Path | Ignored]:
    return scan(folder, is_recursive=is_recursive)


PICTURES = Contents(_scan_pictures, lambda path: path.stem)


def pair_paths(
    first: Path,
    second: Path,
    options: PairingOptions | None = None,
    contents: Contents = PICTURES,
) -> Pairing:
    """Pair two files, or two folders by stem; raise UsageError where that makes no sense.

    In folders only images that the rules fit count, and two of one name are an error.
    """
    options = options or PairingOptions()
    for path in (first, second):
        if not _exists(path):
            raise UsageError(f"{path}: no such file or folder; check the path")
    if first.is_dir() != second.is_dir():
        folder, file = (first, second) if first.is_dir() else (second, first)
        raise UsageError(f"{folder} is a folder, {file} is a file; give two files or two folders")
    if not first.is_dir():
        return _pair_files(first, second, options)
    rules = options.rules
    if first.samefile(second) and rules[0] == rules[1] and not options.takes_same_file:
        advice = _advice(first, second, options) if contents.are_pictures else ""
        raise UsageError(
            f"{first}: both sides are the same folder, every file would be its own partner; "
            + f"{advice}; " * bool(advice)
            + "give two folders, tell the files apart with --suffix or --match"
            + f", or the bands of each file with {_bands(options)}" * contents.are_pictures
        )
    return _pair_folders(first, second, options, contents)


def _pair_files(first: Path, second: Path, options: PairingOptions) -> Pairing:
    if options.of_names is not None:
        raise UsageError(
            f"{options.of_names}: applies only to folders, but two files are given; leave it out"
        )
    if not options.takes_same_file and first.samefile(second):
        raise UsageError(
            f"{first}: both sides are the same file, which would be fused with itself; give two "
            f"files, or say which of its bands belong to which with {_bands(options)}"
        )
    name = options.rules[1].stem(second.stem) or second.stem
    return Pairing("files", [Case(name, first, second)], [], (first.parent, second.parent))


def _bands(options: PairingOptions) -> str:
    first, second = options.modalities
    return f"--band {second}=1,2,3 --band {first}=4"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long, a folder that may not be looked into
        return False


# --- folders --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Side:
    """The files of a side that count, by what is compared; what else lies there."""

    files: dict[str, Path]
    names: dict[str, Name]
    ignored: list[Ignored]


Matches = list[tuple[str, str]]  # keys of the first and the second side


def _pair_folders(
    first: Path, second: Path, options: PairingOptions, contents: Contents
) -> Pairing:
    # In one folder, what fits the stricter rule belongs to that side alone.
    others = options.rules[::-1] if first.samefile(second) else (None, None)
    one, two = (
        _side(folder, rule, other, contents, is_recursive=options.is_recursive)
        for folder, rule, other in zip((first, second), options.rules, others, strict=True)
    )
    timeless: list[Ignored] = []
    if options.nearest is None:
        matches, notices = _by_name(one, two)
    else:
        matches, notices, timeless = _by_time(one, two, options.nearest)
    cases = [Case(two.names[b].shown, one.files[a], two.files[b]) for a, b in matches]
    _require_names(cases)
    alone, data = _without_partner((one, two), _columns(matches))
    told = {path.path for path in timeless}
    alone = [path for path in alone if path not in told]
    counted = {*alone, *(path for case in cases for path in (case.first, case.second))}
    ignored = [*one.ignored, *two.ignored, *timeless, *(Ignored(path, ALONE) for path in data)]
    return Pairing(
        "folders",
        sorted(cases, key=lambda case: case.name),
        alone,
        (first, second),
        ignored=list({it.path: it for it in ignored if it.path not in counted}.values()),
        notices=(*notices, *_beside(ignored)),
        advice="" if cases or not contents.are_pictures else _advice(first, second, options),
    )


def _advice(first: Path, second: Path, options: PairingOptions) -> str:
    return advise(
        (first, second), options.modalities, options.rules, is_recursive=options.is_recursive
    )


def _without_partner(
    sides: tuple[_Side, _Side], used: tuple[list[str], list[str]]
) -> tuple[list[Path], list[Path]]:
    """Return files without a partner, and those that may be no pictures: nobody misses them."""
    alone, data = list[Path](), list[Path]()
    for side, keys in zip(sides, used, strict=True):
        left = [side.files[key] for key in sorted(side.files.keys() - {*keys})]
        has_tables = any(_is_table(side.files[key]) for key in keys)
        for path in left:
            (data if _is_table(path) and not has_tables else alone).append(path)
    return list(dict.fromkeys(alone)), data


def _beside(ignored: Sequence[Ignored]) -> tuple[str, ...]:
    beside = [one.path for one in ignored if one.reason == BESIDE and _is_table(one.path)]
    if not beside:
        return ()
    files = number_of(len(beside), "file")
    return (f"{files} {BESIDE} {verb_of(len(beside))} not read (the first: {beside[0]})",)


def is_data(path: Path) -> bool:
    """Whether a file may be other data beside pictures, by its suffix."""
    return path.suffix.lower() in DATA_SUFFIXES


def _is_table(path: Path) -> bool:
    """Whether a file is often no image at all, by its suffix."""
    return path.suffix.lower() in TABLE_SUFFIXES


def _require_names(cases: Sequence[Case]) -> None:
    known: dict[str, Case] = {}
    for case in cases:
        other = known.setdefault(case.name, case)
        if other is not case:
            raise UsageError(
                f"{other.second} and {case.second} would both be case {case.name!r}; put a {{}} of "
                "--match where they differ"
            )


def images_by_name(
    folder: Path, suffix: str = "", *, is_recursive: bool = False
) -> dict[str, Path]:
    """Return the images of a folder by case name: their stem without the suffix.

    A picture comes before data of its name. Raise UsageError for two of one name.
    """
    return _side(folder, NameRule(suffix=suffix), None, PICTURES, is_recursive=is_recursive).files


def _side(
    folder: Path,
    rule: NameRule,
    other: NameRule | None,
    contents: Contents,
    *,
    is_recursive: bool,
) -> _Side:
    side = _Side({}, {}, [])
    for path in contents.scan(folder, is_recursive or rule.looks_deeper):
        if isinstance(path, Ignored):
            side.ignored.append(path)
            continue
        place = path.relative_to(folder)
        stem = contents.stem(path)
        name = rule.name(place, stem)
        if name is None or _is_of_the_other(place, stem, rule, other):
            side.ignored.append(Ignored(path, rule.words))
            continue
        known = side.files.get(name.key)
        if known is not None and is_data(path):
            side.ignored.append(Ignored(path, BESIDE))
            continue
        if known is not None and is_data(known):
            side.ignored.append(Ignored(known, BESIDE))
        elif known is not None:
            what = "have the same stem" if rule.pattern is None else f"are both {name.shown!r}"
            raise UsageError(f"{known} and {path} {what}; rename or remove one of them")
        side.files[name.key], side.names[name.key] = path, name
    return side


def _is_of_the_other(place: Path, stem: str, rule: NameRule, other: NameRule | None) -> bool:
    return other is not None and other.weight > rule.weight and other.name(place, stem) is not None


# --- by name --------------------------------------------------------------------------------------


def _by_name(one: _Side, two: _Side) -> tuple[Matches, list[str]]:
    """Compare names as they are, then in composed form, then in lower case; only what is clear."""
    matches: Matches = []
    left = [list(one.files), list(two.files)]
    differing: Matches = []
    for form in (str, nfc, _folded):
        found = _unique(left[0], left[1], form)
        differing = found if form is _folded else []
        matches += found
        left = [
            [key for key in keys if key not in used]
            for keys, used in zip(left, map(set, _columns(found)), strict=True)
        ]
    if not differing:
        return matches, []
    first = differing[0]
    example = f"{one.files[first[0]]} and {two.files[first[1]]}"
    count = number_of(len(differing), "pair")
    return matches, [f"{count} of names that differ in letter case only (the first: {example})"]


def _folded(key: str) -> str:
    return nfc(nfc(key).casefold())


def _columns(matches: Matches) -> tuple[list[str], list[str]]:
    return [a for a, _ in matches], [b for _, b in matches]


def _unique(one: Iterable[str], two: Iterable[str], form: Callable[[str], str]) -> Matches:
    """Return the keys whose form is found once on either side."""
    forms = []
    for keys in (one, two):
        by_form: dict[str, list[str]] = defaultdict(list)
        for key in keys:
            by_form[form(key)].append(key)
        forms.append({text: some[0] for text, some in by_form.items() if len(some) == 1})
    return [(key, forms[1][text]) for text, key in forms[0].items() if text in forms[1]]


# --- by time --------------------------------------------------------------------------------------


def _by_time(one: _Side, two: _Side, most: int) -> tuple[Matches, list[str], list[Ignored]]:
    sides = [list(side.files.values()) for side in (one, two)]
    source, (first, second) = find_times(sides)
    found, doubtful = nearest(first, second, most)
    keys = [{path: key for key, path in side.files.items()} for side in (one, two)]
    matches = [(keys[0][a], keys[1][b]) for a, b in found]
    where = "EXIF data" if source == "EXIF" else "its name"
    timeless = [
        Ignored(path, f"no time in {where}")
        for side, known in zip(sides, (first, second), strict=True)
        for path in side
        if path not in known
    ]
    unclear = [Ignored(path, "as near in time to two others") for path in doubtful]
    notices = []
    if found:
        widest = max(abs(first[a] - second[b]) for a, b in found) / SECOND
        words = "EXIF" if source == "EXIF" else "names"
        notices.append(f"paired by the time in {words}; no pair is more than {widest:.9g} s apart")
    if doubtful:
        notices.append(
            f"{number_of(len(doubtful), 'file')} {verb_of(len(doubtful))} as near in time to two "
            f"others, and left out (the first: {doubtful[0]})"
        )
    return matches, notices, [*timeless, *unclear]
