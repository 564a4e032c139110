"""A study: the options of `fnet eval` in a TOML file, to make everything again."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from fnetcli.cli.help import HELP_ALL, LiteralCommand
from fnetcli.cli.usage import parsed
from fnetcli.errors import ConfigError, UsageError
from fnetcli.files.guarded import FileKind
from fnetcli.files.toml import read_toml

STUDY = FileKind(
    name="a study",
    limit=1 << 20,
    todo="give a TOML file",
    error=ConfigError,
    missing=UsageError,
    missing_todo="give a TOML file, see docs/evaluating.md",
)
SETS = "sets"
NAMED_PATHS = ("weights", "fused")  # options whose values are [NAME=]PATH
PATHS = (*("csv", "json", "markdown", "latex", "html", "figures", "pairs", "flir"),)


class StudyCommand(LiteralCommand):
    """A command whose options may also stand in a file that is its argument."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the options of the file before those of the command line, which replace them."""
        return parsed(self._with_study, ctx, args)

    def _with_study(self, ctx: Any, args: list[str]) -> list[str]:
        if args and HELP_ALL not in args:
            self.require_clear(ctx, args)
            values, _, order = self.make_parser(ctx).parse_args(args=list(args))
            study = values.get("study")
            if isinstance(study, str):
                names = {option: one for one in self.params for option in one.opts}
                args = [*_arguments(Path(study), names, {one.name for one in order}), *args]
        return super().parse_args(ctx, args)


def _arguments(path: Path, names: dict[str, Any], given: Collection[str | None]) -> Iterator[str]:
    """Yield the options of a study that the command line does not give. Raise FnetError."""
    table = read_toml(path, STUDY)
    images = {one for one in names if getattr(names[one], "name", "") == one[2:]}
    for key, value in table.items():
        option = "--set" if key == SETS else f"--{key}"
        if option not in names or key == "set":
            known = [SETS, *(name[2:] for name in names if name.startswith("--"))]
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
            hint = f"did you mean {close[0]!r}?" if close else "write options without dashes"
            raise ConfigError(f"{path}: unknown key {key!r}; {hint}")
        if names[option].name in given:
            continue
        if key == SETS:
            yield from _sets(path, value)
        elif getattr(names[option], "is_flag", False):
            yield from _flag(path, key, value, names[option])
        else:
            is_path = key in PATHS or (option in images and _is_image(key))
            may_repeat = bool(names[option].multiple)
            for text in _texts(path, key, value, may_repeat=may_repeat):
                if key in NAMED_PATHS:
                    yield from (option, _named_path(path, text))
                else:
                    yield from (option, _beside(path, text) if is_path else text)


def _is_image(key: str) -> bool:
    from fnetcli.modalities import MODALITIES

    return key in MODALITIES


def _flag(path: Path, key: str, value: Any, option: Any) -> Iterator[str]:
    if not isinstance(value, bool):
        raise ConfigError(f"{path}: {key} = {value!r}; must be true or false")
    if value:
        yield f"--{key}"
    elif option.secondary_opts:
        yield option.secondary_opts[0]


def _texts(path: Path, key: str, value: Any, *, may_repeat: bool) -> list[str]:
    """Return the values of an option; a list of one that may not repeat is joined by commas."""
    if isinstance(value, dict) and may_repeat:
        value = [f"{name}={one}" for name, one in value.items() if _is_plain(one)]
    if isinstance(value, list) and value and all(map(_is_plain, value)):
        texts = list(map(str, value))
        return texts if may_repeat else [",".join(texts)]
    if _is_plain(value):
        return [str(value)]
    raise ConfigError(f"{path}: {key} = {value!r}; must be a text, a number or a list of them")


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _sets(path: Path, value: Any) -> Iterator[str]:
    if not (isinstance(value, dict) and value and all(isinstance(v, dict) for v in value.values())):
        raise ConfigError(f"{path}: [{SETS}] must hold a table for each data set, [{SETS}.NAME]")
    for name, folders in value.items():
        for key, folder in folders.items():
            if not isinstance(folder, str):
                raise ConfigError(f"{path}: {SETS}.{name}.{key} = {folder!r}; must be a folder")
        texts = [f"{key}={_beside(path, folder)}" for key, folder in folders.items()]
        yield from ("--set", f"{name}:{','.join(texts)}")


def _named_path(study: Path, text: str) -> str:
    """Return [NAME=]PATH with a path relative to the study; names of shipped weights stay."""
    name, mark, path = text.rpartition("=")
    beside = study.parent / path
    return f"{name}{mark}{beside if beside.exists() else path}"


def _beside(study: Path, text: str) -> str:
    """Return a path relative to the study; - is stdout."""
    return text if text == "-" else str(study.parent / text)
