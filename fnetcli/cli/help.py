"""Help as plain text: everyday options in `--help`, all of them in `--help-all`.

Words are shown as they are written, wrapped at the width of the terminal. Panels with everyday
options come first, images before all others, and what every command has comes last.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup

from fnetcli.cli.options.group import StrictCommand
from fnetcli.cli.usage import parsed, refuse, unknown_command

HELP_ALL = "--help-all"
ARGUMENTS, OPTIONS, GENERAL = "Arguments", "Options", "General"
OF_ALL = ("help", "version", "verbose", "quiet", "debug")  # general options
IMAGES = "Images"  # how the panel of images begins
MIN_WIDTH, MAX_WIDTH = 40, 100
NAMES = 26  # columns for options and their values
KEPT = "\\b"  # a paragraph that begins with it keeps its lines

PLACEHOLDERS = {"path": "PATH", "text": "TEXT", "integer": "N", "float": "NUMBER"}

# What most people need, in this order. Commands that are not here show all options.
EVERYDAY = {
    "fuse": (
        *("vis", "ir", "nir", "ct", "mri", "mri2", "pet", "spect", "flir"),
        *("out", "kind", "maps", "gain", "report"),
        *("weights", "pairs", "recursive", "suffix", "dry_run"),
        *("value_range", "resize"),
        *("register", "to", "device", "verbose", "quiet"),
    ),
    "eval": (
        *("vis", "ir", "nir", "ct", "mri", "mri2", "pet", "spect"),
        *("fused", "weights", "baselines", "metrics", "convention", "all_cases", "cost"),
        *("csv_file", "json_file", "markdown_file", "latex_file", "html_file"),
        *("pairs", "recursive", "suffix", "resize", "verbose", "quiet"),
    ),
}


class LiteralCommand(StrictCommand):
    """A command whose help is plain text."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; `--help-all` prints all options."""
        if HELP_ALL in args:
            typer.echo("\n".join(_page(self, ctx, shows_all=True)), color=ctx.color)
            ctx.exit()
        return parsed(super().parse_args, ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help text."""
        formatter.write("\n".join(_page(self, ctx, shows_all=False)))


class LiteralGroup(TyperGroup):
    """A group of commands whose help is plain text."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what is before the command."""
        return parsed(super().parse_args, ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is named first."""
        if args[0] not in self.commands and not ctx.resilient_parsing:
            refuse(unknown_command(args[0], self.commands))
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help text."""
        lines = [f"Usage: {ctx.command_path} COMMAND [OPTIONS]", "", *_paragraphs(self.help), ""]
        lines += _title("Commands")
        for name, command in self.commands.items():
            lines += _row(name, (command.help or "").split("\n\n")[0])
        lines += ["", *_panels(self, ctx, shows_all=True), *_paragraphs(self.epilog)]
        formatter.write("\n".join(lines))


def _page(command: Any, ctx: Any, *, shows_all: bool) -> Iterator[str]:
    """Yield the lines of a command's help."""
    pieces = " ".join(command.collect_usage_pieces(ctx)).replace("[[", "[").replace("]]", "]")
    yield f"Usage: {ctx.command_path} {pieces}"
    yield ""
    yield from _paragraphs(command.help)
    yield ""
    yield from _panels(command, ctx, shows_all=shows_all)
    if command.name in EVERYDAY and not shows_all:
        yield from _wrapped(
            f"{ctx.command_path} {HELP_ALL} lists all options, as docs/cli.md does. "
            "fnet --install-completion sets up completion with the Tab key."
        )
    yield from _paragraphs(command.epilog)


def _panels(command: Any, ctx: Any, *, shows_all: bool) -> Iterator[str]:
    """Yield the panels of options: everyday ones first, general ones last."""
    everyday = EVERYDAY.get(command.name or "", ())
    ranks = {name: number for number, name in enumerate(everyday)}
    parameters = command.get_params(ctx)
    panels: dict[str, list[str]] = {}
    for parameter in sorted(parameters, key=lambda one: ranks.get(one.name, len(ranks))):
        is_shown = shows_all or not everyday or parameter.name in {*everyday, "help"}
        record = parameter.get_help_record(ctx) if is_shown else None
        if parameter.param_type_name == "argument":
            record = (parameter.metavar or f"[{parameter.name.upper()}]", parameter.help or "")
        if record is not None:
            panels.setdefault(_panel(parameter), []).extend(_row(*record))
    for title in sorted(panels, key=lambda one: (one == GENERAL, not one.startswith(IMAGES))):
        yield from _title(title)
        yield from panels[title]
        yield ""


def _panel(parameter: Any) -> str:
    if parameter.name in OF_ALL:
        return GENERAL
    default = ARGUMENTS if parameter.param_type_name == "argument" else OPTIONS
    return getattr(parameter, "rich_help_panel", None) or default


def _title(text: str) -> Iterator[str]:
    for line in _wrapped(text):
        yield str(typer.style(line, bold=True))


def _row(names: str, words: str) -> Iterator[str]:
    """Yield the lines of an option: its names and value, and beside them what it means."""
    names = names.replace(" <bool>", "").replace("<", "").replace(">", "")
    option, space, value = names.rpartition(" ")
    names = f"{option}{space}{PLACEHOLDERS.get(value, value)}"
    lines = _wrapped(words, NAMES)
    head = f"  {names}"
    if len(head) > NAMES - 2:
        yield head
        head = ""
    for line in lines or [""]:
        yield f"{head:<{NAMES}}{line}".rstrip()
        head = ""


def _paragraphs(text: str | None) -> Iterator[str]:
    """Yield the lines of a text, its paragraphs wrapped anew."""
    for number, paragraph in enumerate((text or "").split("\n\n")):
        if number:
            yield ""
        if paragraph.startswith(KEPT):
            yield from paragraph.removeprefix(KEPT).strip("\n").splitlines()
        else:
            yield from _wrapped(paragraph)


def _wrapped(text: str, used: int = 0) -> list[str]:
    width = min(MAX_WIDTH, max(MIN_WIDTH, shutil.get_terminal_size().columns)) - used
    return textwrap.wrap(
        " ".join(text.split()), width, break_on_hyphens=False, break_long_words=False
    )
