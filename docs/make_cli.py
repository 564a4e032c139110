"""Write docs/cli.md, the reference of all commands, from the commands themselves.

Run `python docs/make_cli.py` after an option has changed; a test says when it is due.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args

from fnetcli.cli.app import app
from fnetcli.cli.help import KEPT

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# Command-line reference

Every option of every command, as `fnet COMMAND --help-all` shows them. `docs/make_cli.py` writes
this page: change the commands, not the page.
"""
GENERAL = "Options"
OPTION = re.compile(r"(?<![\w`-])--[a-z](?:[a-z0-9-]*[a-z0-9])?")  # as words of a sentence
PLACEHOLDERS = {Path: "PATH", str: "TEXT", int: "N", float: "NUMBER"}


def page() -> str:
    """Return the whole page."""
    chapters = [_chapter(one.name, one.callback) for one in app.registered_commands]
    codes = str(app.info.epilog).removeprefix("Exit codes: ").split("; ")
    chapters.append("## Exit codes\n\n" + "\n".join(f"- {code}" for code in codes))
    return "\n".join([HEAD, *chapters]).rstrip() + "\n"


def _chapter(name: str | None, command: Callable[..., Any] | None) -> str:
    """Return what a command does, its arguments, and a table for each panel of its options."""
    if command is None:
        raise ValueError("a command without a function")
    name = name or command.__name__
    panels: dict[str, list[str]] = {}
    arguments: list[tuple[str, str]] = []
    for parameter in inspect.signature(command).parameters.values():
        kind, info = get_args(parameter.annotation)[:2]
        if type(info).__name__ == "ArgumentInfo":
            metavar = info.metavar or f"[{parameter.name.upper()}]"
            arguments.append((metavar, _escaped(info.help)))
            continue
        row = " | ".join(_cells(info, kind, parameter.default))
        panels.setdefault(info.rich_help_panel or GENERAL, []).append(f"| {row} |")
    usage = " ".join(["fnet", name, *(metavar for metavar, _ in arguments), "[OPTIONS]"])
    parts = [f"## fnet {name}", f"    {usage}", *_paragraphs(inspect.getdoc(command) or "")]
    parts += [f"`{metavar}`: {words}" for metavar, words in arguments]
    for title, rows in panels.items():
        head = "| option | default | meaning |\n|---|---|---|"
        parts.append("\n".join([f"### {title}\n", head, *rows]))
    return "\n\n".join(parts) + "\n"


def _cells(info: Any, kind: Any, default: Any) -> Iterator[str]:
    """Yield the three cells of an option: its names and value, its default, its meaning."""
    kinds = [one for one in get_args(kind) if one is not type(None)] or [kind]
    declared = [
        name for one in (info.default, *(info.param_decls or ())) for name in one.split("/")
    ]
    names = ", ".join(f"`{name}`" for name in sorted(declared, key=len, reverse=True))
    value = "" if kinds == [bool] else f" `{info.metavar or _placeholder(kinds[0])}`"
    may_repeat = (
        ", may be given again" if list in {kinds[0], getattr(kinds[0], "__origin__", None)} else ""
    )
    yield (names + value).replace("|", "\\|") + may_repeat
    yield _default(default)
    yield _escaped(info.help)


def _placeholder(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(one.value) for one in kind)
    return PLACEHOLDERS.get(kind, "TEXT")


def _default(value: Any) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return "yes"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{value.value if isinstance(value, Enum) else value}`"


def _paragraphs(text: str) -> list[str]:
    """Return a text's paragraphs; one that begins with a backspace keeps its lines."""
    parts = text.split("\n\n")
    return [_block(one) if one.startswith(KEPT) else _escaped(one) for one in parts]


def _block(text: str) -> str:
    lines = text.removeprefix(KEPT).strip("\n").splitlines()
    return "\n".join(f"    {line}" for line in lines)


def _escaped(text: str | None) -> str:
    """Return one line in which Markdown sees no marks of its own, and options are code."""
    plain = " ".join((text or "").replace("\\[", "[").split())
    marked = OPTION.sub(r"`\g<0>`", re.sub(r"([|*_\[\]])", r"\\\1", plain))
    return marked.replace("<", "&lt;").replace(">", "&gt;")  # the site would show "\<" as it is


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
