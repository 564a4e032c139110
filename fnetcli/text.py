"""Foreign text, of file names and file contents, where people read it."""

from __future__ import annotations

import re

# What a terminal would obey, or what would break a line: controls, line breaks, directions.
OBEYED = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
SURROGATE = re.compile(r"[\ud800-\udfff]")  # bytes of a file name that are no text


def visible(text: str) -> str:
    """Return one line in which controls are escaped: they are seen and not obeyed."""
    return OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def escaped(text: str) -> str:
    """Return what `visible` does, and bytes that are no text as escapes: for a terminal."""
    return SURROGATE.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", visible(text))


def printable(text: str) -> str:
    """Return one line for tables and files: a sign takes the place of what cannot stand there."""
    return SURROGATE.sub("\N{REPLACEMENT CHARACTER}", OBEYED.sub("\N{REPLACEMENT CHARACTER}", text))
