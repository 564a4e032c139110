"""Help texts shown literally: square brackets are text, not rich markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from typer.core import TyperGroup

from fnetcli.cli.options.group import OnceCommand

MARKUP = re.compile(r"(\\*)(\[[a-z#/@][^\[]*?\])")  # what rich takes for markup
PARTS = ("help", "short_help", "epilog", "rich_help_panel")


def literal(text: str) -> str:
    """Escape rich markup in a text, like `rich.markup.escape` but without importing rich."""
    return MARKUP.sub(lambda found: f"{found[1] * 2}\\{found[2]}", text)


@contextmanager
def literal_help(command: Any) -> Iterator[None]:
    """Escape all help texts of a command, its options and its sub-commands meanwhile."""
    with ExitStack() as stack:
        for owner in (command, *command.params, *getattr(command, "commands", {}).values()):
            stack.enter_context(_literal(owner))
        yield


@contextmanager
def _literal(owner: object) -> Iterator[None]:
    texts = {name: getattr(owner, name, None) for name in PARTS}
    written = {name: text for name, text in texts.items() if isinstance(text, str)}
    for name, text in written.items():
        setattr(owner, name, literal(text))
    try:
        yield
    finally:
        for name, text in written.items():
            setattr(owner, name, text)


class LiteralCommand(OnceCommand):
    """A command whose help is shown literally."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help text."""
        with literal_help(self):
            super().format_help(ctx, formatter)


class LiteralGroup(TyperGroup):
    """A group of commands whose help is shown literally."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help text."""
        with literal_help(self):
            super().format_help(ctx, formatter)
