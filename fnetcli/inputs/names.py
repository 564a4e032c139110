"""What the files of a side are called in their pairs: by prefix and suffix, or by a pattern."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath

from fnetcli.errors import UsageError

TOKENS = re.compile(r"\*\*/|\*\*|\*|\?|\{(\w*)\}|[^*?{}]+|[{}]")
FOLDERS = "**"  # the placeholder that stands for any folders
PARTS = "\0"  # between the values of placeholders in a key


def nfc(text: str) -> str:
    """Return text in Unicode's composed form: some systems write ä as one sign, others as two."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


@dataclass(frozen=True)
class Name:
    """What a file is called: `key` is compared with the other side, `shown` names the case."""

    key: str
    shown: str


@dataclass(frozen=True)
class Pattern:
    """A text such as ``**/visible/{}``, relative to the folder of its side.

    ``{}`` and ``{word}`` hold what is equal on both sides, ``**`` any folders, equal, too; ``*``
    and ``?`` are any signs within a name. A suffix of the file may be left out.
    """

    text: str
    expression: re.Pattern[str]
    placeholders: tuple[str, ...]  # "" for {}, FOLDERS for **
    components: tuple[int, ...]  # of each placeholder: in which part of the path it stands

    @property
    def weight(self) -> int:
        """How many signs it fixes."""
        return len(re.sub(r"\{\w*\}|[*?]", "", self.text))

    def name(self, place: PurePath, stem: str) -> Name | None:
        """Return what a file is called, or None where the pattern does not fit."""
        for text in (place.with_name(stem).as_posix(), place.as_posix()):
            found = self.expression.fullmatch(nfc(text))
            if found is not None:
                return self._name(found.groups())
        return None

    def _name(self, values: tuple[str, ...]) -> Name:
        pairs = list(zip(self.placeholders, values, strict=True))
        plain = [value for name, value in pairs if name in {"", FOLDERS}]
        named = [value for name, value in sorted(pairs) if name not in {"", FOLDERS}]
        shown: dict[int, list[str]] = {}
        for component, value in zip(self.components, values, strict=True):
            if value.strip("/"):
                shown.setdefault(component, []).append(value.strip("/"))
        return Name(PARTS.join([*plain, *named]), "/".join(map("_".join, shown.values())))


def parse_pattern(option: str, text: str) -> Pattern:
    """Read a pattern. Raise UsageError."""
    plain = nfc(text.replace("\\", "/").removeprefix("./"))
    if plain.startswith("/") or ".." in plain.split("/"):
        raise UsageError(f"{option}: is relative to the folder that is given; leave / and .. out")
    expression, placeholders, components, component = "", list[str](), list[int](), 0
    for token in TOKENS.finditer(plain):
        word, name = token[0], token[1]
        if word in {"{", "}"}:
            raise UsageError(f"{option}: {word} stands alone; write {{}} or {{word}}")
        if word.startswith("**") or name is not None:
            placeholders.append(FOLDERS if name is None else name)
            components.append(component)
        if name is not None and name and placeholders.count(name) > 1:
            raise UsageError(f"{option}: {word} stands twice; give each placeholder another word")
        expression += _expression(word, is_placeholder=name is not None)
        component += word.count("/")
    if not any(name != FOLDERS for name in placeholders):
        raise UsageError(f"{option}: has no {{}}; write it where the names of both sides are equal")
    return Pattern(text, re.compile(expression), tuple(placeholders), tuple(components))


def _expression(word: str, *, is_placeholder: bool) -> str:
    if is_placeholder:
        return "([^/]+?)"
    known = {"**/": "((?:[^/]+/)*)", "**": "(.*)", "*": "[^/]*", "?": "[^/]"}
    return known.get(word) or re.escape(word)


def require_alike(one: Pattern, other: Pattern) -> None:
    """Raise UsageError where the placeholders of two patterns are not the same."""
    if sorted(one.placeholders) == sorted(other.placeholders):
        return
    shown = [
        " ".join(
            FOLDERS if name == FOLDERS else f"{{{name}}}" for name in sorted(each.placeholders)
        )
        for each in (one, other)
    ]
    raise UsageError(
        f"--match: the patterns do not hold the same placeholders ({shown[0]}, and {shown[1]}); "
        "use * for what differs"
    )


@dataclass(frozen=True)
class NameRule:
    """Which files of a side count, and what they are called."""

    prefix: str = ""
    suffix: str = ""
    pattern: Pattern | None = None

    @property
    def looks_deeper(self) -> bool:
        """Whether files in sub-folders count."""
        return self.pattern is not None

    @cached_property
    def weight(self) -> int:
        """How many signs of a name it fixes: of two rules that fit, the stricter one counts."""
        return len(self.prefix + self.suffix) if self.pattern is None else self.pattern.weight

    @property
    def words(self) -> str:
        """Why a file does not count."""
        if self.pattern is not None:
            return f"does not fit --match {self.pattern.text}"
        given = (("begin", "prefix", self.prefix), ("end", "suffix", self.suffix))
        shown = [f"{verb} with --{option} {text}" for verb, option, text in given if text]
        return f"does not {' and '.join(shown)}"

    def name(self, place: PurePath, stem: str | None = None) -> Name | None:
        """Return what a file, placed below its folder, is called; None where it does not count.

        `stem` is its name without suffix, where that is not all before the last dot.
        """
        bare = place.stem if stem is None else stem
        if self.pattern is not None:
            return self.pattern.name(place, bare)
        found = self.stem(bare)
        if found is None:
            return None
        name = place.with_name(found).as_posix()
        return Name(name, name)

    def stem(self, stem: str) -> str | None:
        """Return a stem without prefix and suffix; one that is nothing else stays."""
        for text, prefix, suffix in (
            (stem, self.prefix, self.suffix),
            (nfc(stem), nfc(self.prefix), nfc(self.suffix)),
        ):
            is_long = len(text) >= len(prefix) + len(suffix)
            if is_long and text.startswith(prefix) and text.endswith(suffix):
                return text[len(prefix) : len(text) - len(suffix)] or text
        return None


def name_rules(
    modalities: tuple[str, str],
    prefixes: Mapping[str, str],
    suffixes: Mapping[str, str],
    patterns: Mapping[str, str],
) -> tuple[NameRule, NameRule]:
    """Return which files of both sides count, by modality. Raise UsageError."""
    if not patterns:
        first, second = (
            NameRule(prefixes.get(name, ""), suffixes.get(name, "")) for name in modalities
        )
        return first, second
    if prefixes or suffixes:
        option = "--prefix" if prefixes else "--suffix"
        raise UsageError(f"{option} and --match: the pattern alone pairs the files; leave one out")
    for name in modalities:
        if name not in patterns:
            raise UsageError(f"--match: has no pattern of {name}; give one for each of the two")
    one, other = (
        parse_pattern(f"--match {name}={patterns[name]}", patterns[name]) for name in modalities
    )
    require_alike(one, other)
    return NameRule(pattern=one), NameRule(pattern=other)
