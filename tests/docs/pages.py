"""What the pages of the documentation tell readers to type, and to expect."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.paths import ROOT

DOCS = ROOT / "docs"
FENCE = re.compile(
    r"^(?P<note><!-- fails -->\n)?```(?P<kind>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
# What a line of a block begins with if it is a command.
PROGRAMS = {".", "fnet", "for", "make", "pip", "pre-commit", "python", "ray", "seq", "torchrun"}
INDENTED = re.compile(r"(?:^    .*\n|^\n)+", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: commands, a program, a file, or lines of an output."""

    kind: str
    text: str
    title: str | None
    fails: bool  # the commands in it are meant to fail

    @property
    def lines(self) -> list[str]:
        """The lines that are not empty; a continued line is one."""
        return [line.strip() for line in joined(self.text).splitlines() if line.strip()]


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page in order."""
    for found in FENCE.finditer(page.read_text(encoding="utf-8")):
        yield Block(found["kind"], found["text"], found["title"], bool(found["note"]))


def shown_commands(page: Path) -> Iterator[str]:
    """Yield every command of a page, in a block of either kind, without its comment."""
    text = page.read_text(encoding="utf-8")
    code = [one.text for one in blocks(page) if one.kind == "sh"] + indented(text)
    yield from commands("\n".join(code))


def indented_commands(page: Path) -> Iterator[str]:
    """Yield the commands of a page that are in indented blocks."""
    yield from commands("\n".join(indented(page.read_text(encoding="utf-8"))))


def indented(text: str) -> list[str]:
    """Return the indented blocks of a page."""
    return INDENTED.findall(FENCE.sub("", text))


def joined(code: str) -> str:
    r"""Return code in which lines that end in \ are one with the next."""
    return re.sub(r"\s*\\\n\s*", " ", code)


def commands(code: str) -> Iterator[str]:
    """Yield the lines that begin with a program, without comments; a continued line is one."""
    for line in joined(code).splitlines():
        words = line.strip().removeprefix("$ ").removeprefix(".venv/bin/")
        if words.split(" ")[0] in PROGRAMS:
            yield re.split(r"\s#\s|\s{2,}", words)[0].strip()
