"""Groups of options: a command has a few of them instead of fifty parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from itertools import takewhile
from pathlib import Path
from typing import Any, Self, get_type_hints

from typer.core import TyperCommand

from fnetcli.errors import UsageError


@dataclass(frozen=True)
class OptionGroup:
    """The values given for one panel: every field is an option, annotated for typer."""

    @classmethod
    def parameters(cls) -> list[inspect.Parameter]:
        """Return the options as function parameters."""
        hints = get_type_hints(cls, include_extras=True)
        return [parameter(one.name, hints[one.name], _default(one)) for one in fields(cls)]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return the group with these values, keyed by parameter name."""
        return cls(**values)


def parameter(name: str, annotation: object, default: object) -> inspect.Parameter:
    """Return a keyword-only parameter."""
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _default(field: Field[Any]) -> object:
    return inspect.Parameter.empty if field.default is MISSING else field.default


def takes_groups(command: Callable[..., int]) -> Callable[..., int]:
    """Return a command for typer: each parameter that is a group is replaced by its options."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, tuple[type[OptionGroup], list[inspect.Parameter]]] = {}
    flat: list[inspect.Parameter] = []
    for one in inspect.signature(command).parameters.values():
        hint = hints[one.name]
        if isinstance(hint, type) and issubclass(hint, OptionGroup):
            groups[one.name] = (hint, hint.parameters())
            flat += groups[one.name][1]
        else:
            flat.append(parameter(one.name, hint, one.default))

    def flattened(**values: Any) -> int:
        given = {
            name: group.of({one.name: values.pop(one.name) for one in parameters})
            for name, (group, parameters) in groups.items()
        }
        return command(**given, **values)

    flattened.__doc__ = command.__doc__
    flattened.__name__ = command.__name__
    flattened.__module__ = command.__module__
    flattened.__annotations__ = {one.name: one.annotation for one in flat}
    flattened.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    return flattened


class StrictCommand(TyperCommand):
    """A command that refuses words which its parser would take for something else.

    These are a repeated option of which only the last one would count, an option in place of a
    value, an empty value (an empty path would be the working folder), one with a NUL character,
    -out, which would be -o with the value ut, and --quiet together with --verbose.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. Raise UsageError."""
        if args and not ctx.resilient_parsing:
            self.require_clear(ctx, args)
        return super().parse_args(ctx, args)

    def require_clear(self, ctx: Any, args: list[str]) -> None:
        """Raise UsageError for words that would be taken for something else."""
        from fnetcli.cli.usage import asked

        options = {option for one in self.get_params(ctx) for option in one.opts}
        for word in takewhile(lambda word: word != "--", args):
            long = f"-{word.partition('=')[0]}"
            if word.startswith("-") and long in options:
                raise UsageError(f"{long[1:]}: unknown option; did you mean {long}?")
        values, _, order = self.make_parser(ctx).parse_args(args=list(args))
        given = set[str]()
        for one in order:
            name = one.opts[-1]
            may_repeat = one.multiple or getattr(one, "is_flag", True)
            if one.name in given and not may_repeat:
                raise UsageError(f"{name}: given twice; leave one out")
            given.add(one.name)
            value = values.get(one.name)
            for text in value if isinstance(value, list) else [value]:
                kind = asked(self, one)[0]
                shown = name if name.startswith("-") else str(one.metavar).strip("[]")
                if isinstance(text, str) and "\0" in text:
                    raise UsageError(f"{shown} {text}: holds a NUL character; remove it")
                if text == "" and (kind is str or issubclass(kind, Path)):
                    what = "value" if kind is str else "path"
                    raise UsageError(
                        f"{shown}: an empty {what}, as of a variable that is not set; give a {what}"
                    )
                if text in options and f"{name}={text}" not in args:
                    raise UsageError(
                        f"{name}: no value given, {text} follows; write one after {name}"
                    )
        if {"quiet", "verbose"} <= given:
            raise UsageError("--quiet and --verbose: less and more is printed; leave one out")
