"""What is said of a command line that cannot be understood: one line, with a near miss."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from typing import Any, NoReturn, get_args

import typer

from fnetcli.cli.console import Console, explain
from fnetcli.errors import FnetError, UsageError
from fnetcli.text import near_miss

# What typer raises, whichever copy of click it comes with: bad values, unknown options and so on.
PARSE_ERRORS: tuple[type[Exception], ...] = (typer.BadParameter.__mro__[2],)
MAX_SHOWN = 3  # of arguments that nothing asked for


def parsed(parse: Callable[[Any, list[str]], list[str]], ctx: Any, args: list[str]) -> list[str]:
    """Parse arguments by `parse`; say in one line what it does not take, and exit with 2."""
    words = list(args)  # parsing empties the list
    try:
        return parse(ctx, args)
    except PARSE_ERRORS as error:
        if not words:
            raise  # it is the help
        refuse(UsageError(_complaint(ctx, error, words)))
    except FnetError as error:
        refuse(error)


def refuse(error: FnetError) -> NoReturn:
    """Print an error, and exit as a command that it ended."""
    raise typer.Exit(explain(error, Console()))


def unknown_command(name: str, commands: Iterable[str]) -> UsageError:
    """Return the error about a command that does not exist."""
    names = list(commands)
    near = near_miss(name, [*names, "--help"])
    return UsageError(f"{name}: unknown command; {near or f'use {either(names)}, see fnet --help'}")


def either(words: Sequence[str]) -> str:
    """Return words as a choice: a, b or c."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _complaint(ctx: Any, error: Any, args: Sequence[str]) -> str:
    """Return the line: what is wrong; what to do."""
    name = getattr(error, "option_name", None)
    parameter = getattr(error, "param", None)
    if name is not None:
        known = {option: one for one in ctx.command.get_params(ctx) for option in one.opts}
        return _bad_usage(ctx, known[name], name) if name in known else _unknown(ctx, name)
    if parameter is not None:
        return _bad_value(ctx, parameter, error, args)
    _, rest, _ = ctx.command.make_parser(ctx).parse_args(args=list(args))
    return _left_over(ctx, rest) if rest else " ".join(error.format_message().split())


def _unknown(ctx: Any, name: str) -> str:
    """Return what is said of an option that the command does not have."""
    own = {option for one in ctx.command.get_params(ctx) for option in one.opts}
    commands = getattr(ctx.command, "commands", {})
    for command in commands:  # fnet --vis a.png: the command is missing
        if any(name in one.opts for one in commands[command].params):
            return f"{name}: an option of a command; write {ctx.command_path} {command} {name} ..."
    if others := _commands_with(ctx, name):
        return f"{name}: an option of {others[0]}, not of {ctx.command_path}; leave it out"
    near = near_miss(name, sorted(own))
    page = f"{ctx.command_path} {'--help' if commands else '--help-all'}"
    return f"{name}: unknown option; {near or f'see {page}'}"


def _commands_with(ctx: Any, name: str) -> list[str]:
    """Return the other commands that have an option of this name."""
    commands = getattr(ctx.parent.command, "commands", {}) if ctx.parent else {}
    return [
        f"{ctx.parent.command_path} {command}"
        for command, one in commands.items()
        if any(name in parameter.opts for parameter in one.params)
    ]


def _bad_usage(ctx: Any, parameter: Any, name: str) -> str:
    """Return what is said of an option without a value, or of a flag with one."""
    if getattr(parameter, "is_flag", False):
        return f"{name}: takes no value; write {name} alone"
    return f"{name}: no value given; {_todo(ctx, parameter, name)}"


def _bad_value(ctx: Any, parameter: Any, error: Any, args: Sequence[str]) -> str:
    """Return what is said of a value that an option does not take, or of one that is missing."""
    values, _, order = ctx.command.make_parser(ctx).parse_args(args=list(args))
    name = next((one for one in parameter.opts if one in args), parameter.opts[-1])
    if parameter not in order:
        return f"{name}: missing; {_todo(ctx, parameter, name)}"
    value = values[parameter.name]
    text = value if isinstance(value, str) else " ".join(value)
    kind, _ = asked(ctx.command, parameter)
    if issubclass(kind, Enum):
        choices = [str(one.value) for one in kind]
        near = near_miss(text.lower(), choices)
        return f"{name} {text}: unknown value; {near or _todo(ctx, parameter, name)}"
    if issubclass(kind, int | float):
        return f"{name} {text}: {_todo(ctx, parameter, name)}"
    return f"{name} {text}: {' '.join(error.message.split())}"


def _left_over(ctx: Any, rest: Sequence[str]) -> str:
    """Return what is said of arguments that nothing asked for."""
    shown = " ".join(rest[:MAX_SHOWN]) + (" ..." if len(rest) > MAX_SHOWN else "")
    for one in ctx.command.get_params(ctx):
        if one.param_type_name == "argument":
            metavar = one.metavar.strip("[]")
            return f"{shown}: one too many; {ctx.command_path} takes one {metavar}, and options"
    return f"{shown}: no option before it; name an image as in --vis {rest[0]}, many by a folder"


def _todo(ctx: Any, parameter: Any, name: str) -> str:
    """Return what to write."""
    kind, (low, high) = asked(ctx.command, parameter)
    if issubclass(kind, Enum):
        return f"use {either([str(one.value) for one in kind])}"
    if not issubclass(kind, int | float):
        metavar = parameter.metavar or ("PATH" if kind is not str else "TEXT")
        return f"write {name} {metavar}"
    number = "a whole number" if issubclass(kind, int) else "a number"
    if low is None and high is None:
        return f"give {number}"
    if high is None:
        return f"give {number} of at least {_plain(low)}"
    return f"give {number} from {_plain(low)} to {_plain(high)}"


def _plain(number: float) -> str:
    return f"{number:f}".rstrip("0").rstrip(".")


def asked(command: Any, parameter: Any) -> tuple[type, tuple[Any, Any]]:
    """Return the type of an option's values, as annotated, and their least and largest."""
    signature = inspect.signature(command.callback).parameters
    if parameter.name not in signature:
        return str, (None, None)
    hint, option = get_args(signature[parameter.name].annotation)
    kind = next(one for one in _plain_types(hint) if one is not type(None))
    return kind, (option.min, option.max)


def _plain_types(hint: Any) -> Iterator[type]:
    """Yield the types in a hint such as list[str] | None."""
    if isinstance(hint, type) and not get_args(hint):
        yield hint
    for one in get_args(hint):
        yield from _plain_types(one)
