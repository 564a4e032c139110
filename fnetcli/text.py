"""Escape foreign text, from file names and file contents, for display."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

# Characters that control a terminal or break a line: controls, line breaks, text directions.
OBEYED = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
# Numbers that are not part of a word: uint8 and uint16 differ, 2x3 and 4x5 do not.
NUMBER = re.compile(r"(?:(?<![A-Za-z\d])|(?<=\dx))-?\d[\d.]*(?:e[+-]?\d+)?")
MANY = {"is": "are", "are": "are", "holds": "hold", "hold": "hold", "has": "have", "have": "have"}
AFTER_A_NUMBER = re.compile(rf"\bN ([a-z ]+?)s?((?: \([^()]*\))? )({'|'.join(MANY)})\b")
SURROGATE = re.compile(r"[\ud800-\udfff]")  # undecodable bytes of a file name


def visible(text: str) -> str:
    """Return one line in which control characters are escaped: visible, without effect."""
    return OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def escaped(text: str) -> str:
    """Return one line for a terminal: like `visible`, with undecodable bytes escaped, too."""
    return SURROGATE.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", visible(text))


def printable(text: str) -> str:
    """Return one line for tables and files, in which a sign replaces unprintable characters."""
    return SURROGATE.sub("\N{REPLACEMENT CHARACTER}", OBEYED.sub("\N{REPLACEMENT CHARACTER}", text))


def near_miss(text: str, known: Collection[str]) -> str:
    """Return a question that names the closest known word; empty if none is close."""
    close = difflib.get_close_matches(text, known, n=1)
    return f"did you mean {close[0]}?" if close else ""


def number_of(count: int, what: str, plural: str = "", form: str = "") -> str:
    """Return a number with its noun: 1 pair, 3 pairs.

    `plural` is that of other nouns than those with an s, `form` a format ("," for many bytes).
    """
    noun = what if count == 1 else plural or f"{what}s"
    return f"{count:{form}} {noun}"


def verb_of(count: int, one: str = "is", many: str = "are") -> str:
    """Return the verb that goes with a number of things: 1 file is, 3 files are."""
    return one if count == 1 else many


def without_numbers(text: str) -> str:
    """Return a text that is the same for all that differ in their numbers alone.

    "1 pixel (2 %) is dead" and "3 pixels (6 %) are dead" are "N pixels (N %) are dead".
    """
    plain = NUMBER.sub("N", text)
    return AFTER_A_NUMBER.sub(lambda found: f"N {found[1]}s{found[2]}{MANY[found[3]]}", plain)


def per_second(rate: float) -> str:
    """Return a rate of frames: 1 frame per second, 12.5 frames per second."""
    text = f"{rate:.4g}"
    return f"{text} frame{'s' * (text != '1')} per second"
