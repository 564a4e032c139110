"""Refuse output paths that would replace inputs or lie among them."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fnetcli.errors import UsageError
from fnetcli.files.guarded import RefusedError, open_ordinary

if TYPE_CHECKING:
    from fnetcli.inputs.pairing import Pairing

STDOUT = Path("-")
START = 1 << 16  # bytes of a file from which its kind is told
KINDS = {  # of result files by option: name, suffixes, what they start with
    "--json": ("JSON", (".json",), (b"{", b"[")),
    "--save-transform": ("JSON", (".json",), (b"{", b"[")),
    "--csv": ("CSV", (".csv", ".tsv"), (b"",)),
    "--markdown": ("Markdown", (".md", ".markdown"), (b"",)),
    "--latex": ("LaTeX", (".tex",), (b"",)),
    "--html": ("HTML", (".html", ".htm"), (b"<",)),
}
OTHER_SUFFIXES = (
    *(".safetensors", ".pth", ".pt", ".ckpt", ".npz", ".toml", ".dcm"),
    *(".pdf", ".xlsx", ".docx", ".svg", ".gif"),
)


class Inputs:
    """The files and folders that a command reads."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = list(paths)
        self._real = cache(os.path.realpath)  # Path.resolve fails on loops of links
        self._folders = {self._real(folder) for folder in {*map(_folder, self._paths)}}
        self._links = {
            os.path.split(os.path.realpath(path)) for path in self._paths if path.is_symlink()
        }
        self._folders |= {folder for folder, _ in self._links}

    def require_kept(self, path: Path, label: str = "") -> None:
        """Raise UsageError if a file renamed from a temporary name would replace an input."""
        if self._replaces(path):
            raise UsageError(
                f"{label or path}: would be overwritten, but is an input; choose another name"
            )

    def require_free(self, path: Path, label: str = "") -> None:
        """Raise UsageError if a path is an input, also through a link."""
        if self._replaces(path) or any(_are_same(path, other) for other in self._paths):
            raise UsageError(f"{label or path}: is an input; choose another name")

    def require_outside(self, path: Path, label: str = "") -> None:
        """Raise UsageError if a path is in a folder that is an input."""
        if any(other.is_dir() and is_below(path, other) for other in self._paths):
            raise UsageError(f"{label or path}: is in an input folder; choose another folder")

    def _replaces(self, path: Path) -> bool:
        folder, _, name = str(path).rpartition(os.sep)
        real = self._real(folder or ("/" if str(path).startswith("/") else "."))
        return real in self._folders and (real, name) in self._entries

    @cached_property
    def _entries(self) -> set[tuple[str, str]]:
        """Folder and name of every input: only if results go to a folder of inputs."""
        return {(self._real(_folder(path)), path.name) for path in self._paths} | self._links


class ResultFiles:
    """The result files named on the command line, by option ("--json"); one may be stdout."""

    def __init__(self, named: Mapping[str, Path | None]) -> None:
        """Raise UsageError if two results are written to stdout."""
        self.paths = {option: path for option, path in named.items() if path is not None}
        printed = [option for option, path in self.paths.items() if path == STDOUT]
        self.has_stdout = bool(printed)
        if len(printed) > 1:
            raise UsageError(
                f"{' and '.join(printed)}: only one result can go to stdout; name files"
            )

    def check(self, inputs: Inputs, others: Iterable[Path] = ()) -> None:
        """Raise UsageError if one cannot be written, or would replace an input or another result.

        `others` are results whose names the command chooses.
        """
        taken = {os.path.realpath(path) for path in others}
        for option, path in self.paths.items():
            if path == STDOUT:
                continue
            label = f"{option} {path}"
            if os.path.isdir(path):  # noqa: PTH112  no error where the system refuses the name
                raise UsageError(f"{label}: is a folder; name a file")
            inputs.require_free(path, label)
            inputs.require_outside(path, label)
            real = os.path.realpath(path)
            if real in taken:
                raise UsageError(f"{label}: is the name of another result; choose another name")
            taken.add(real)
            _require_kind(option, path)
            require_writable(label, path)


def _require_kind(option: str, path: Path) -> None:
    """Raise UsageError for the suffix of another kind of file, or if such a file would be replaced.

    Empty files, pipes and devices may be written to, and so may any name that is not known.
    """
    kind, suffixes, starts = KINDS[option]
    if path.name.lower().endswith(tuple(_known_suffixes() - {*suffixes})):
        raise UsageError(
            f"{option} {path}: is the name of another kind of file, but the result is {kind}; "
            f"end it in {suffixes[0]}"
        )
    if not os.path.isfile(path):  # noqa: PTH113  no error where the system refuses the name
        return
    try:
        with open_ordinary(path, "a result file") as file:
            start = file.read(START)
    except RefusedError as error:
        raise UsageError(f"{option} {path}: {error}") from None
    except OSError as error:
        raise UsageError(
            f"{option} {path}: exists and cannot be read ({error.strerror}); choose another name"
        ) from None
    text = start.removeprefix(codecs.BOM_UTF8).lstrip()
    if text and (b"\0" in text or not text.startswith(starts)):
        raise UsageError(f"{option} {path}: exists and is not {kind}; choose another name")


def _known_suffixes() -> set[str]:
    from fnetcli.formats import IMAGE_SUFFIXES  # noqa: PLC0415  slow to import
    from fnetcli.formats.film.pyav import FILM_SUFFIXES  # noqa: PLC0415
    from fnetcli.formats.volumes import VOLUME_SUFFIXES  # noqa: PLC0415

    results = {one for _, suffixes, _ in KINDS.values() for one in suffixes}
    return results.union(IMAGE_SUFFIXES, VOLUME_SUFFIXES, FILM_SUFFIXES, OTHER_SUFFIXES)


def require_writable(label: str, path: Path) -> None:
    """Raise UsageError if it shows that a file cannot be created: by its folder, or by its name."""
    if "\0" in str(path):
        raise UsageError(f"{label}: holds a NUL character; remove it")
    if os.path.islink(path) or (os.path.exists(path) and not os.path.isfile(path)):  # noqa: PTH110, PTH113, PTH114
        return  # /dev/stdout or a pipe: it is written to, not replaced
    whole = path.absolute()
    folder = next(one for one in whole.parents if os.path.exists(one))  # noqa: PTH110
    if not folder.is_dir():
        raise UsageError(f"{label}: {folder} is a file, not a folder; choose another path")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{label}: {folder} cannot be written to; choose another path")
    for name in whole.relative_to(folder).parts:
        try:
            (folder / name).lstat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UsageError(
                f"{label}: cannot be written ({error.strerror}); shorten the name"
            ) from None


def require_outside(out: Path, pairing: Pairing, folders: Iterable[Path] = ()) -> None:
    """Raise UsageError if the results folder, or one of those in it, is or lies in an input folder.

    In a BIDS data set, the folders in derivatives are no inputs. All links are followed.
    """
    roots = [(root, os.path.realpath(root)) for root in dict.fromkeys(pairing.roots)]
    for folder in (out, *folders):
        real = Path(os.path.realpath(folder))
        for root, real_root in roots:
            if not real.is_relative_to(real_root):
                continue
            if pairing.source == "bids" and not _is_derivative(real, real_root):
                known = root / "derivatives"
                is_link = os.path.realpath(known) != os.path.join(real_root, "derivatives")  # noqa: PTH118
                choice = "a folder outside" if is_link else f"a folder in {known}, or one outside"
                raise UsageError(
                    f"-o {out}: {_place(folder, out, real)}in the data set {root}; choose {choice}"
                )
            if pairing.source == "folders":
                raise UsageError(
                    f"-o {out}: {_place(folder, out, real)}in the input folder {root}, where the "
                    "next run would read results as inputs; choose a folder outside"
                )


def _is_derivative(real: Path, real_root: str) -> bool:
    """Whether a folder lies in the folder of derivatives of a data set, and not elsewhere in it."""
    return Path(real_root, "derivatives") in real.parents


def _place(folder: Path, out: Path, real: Path) -> str:
    """Return "is ", or where links lead."""
    if str(real) == os.path.abspath(folder):  # noqa: PTH100  links stay
        return "is " if folder == out else f"{folder} is "
    return f"{'' if folder == out else f'{folder} '}leads to {real}, "


def is_below(path: Path, folder: Path) -> bool:
    """Whether a path is a folder or lies in it, after following all links."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _folder(path: Path) -> str:
    return os.path.dirname(path) or "."  # noqa: PTH120  of a million paths


def _are_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # one does not exist, or no file can have its name
        return os.path.realpath(one) == os.path.realpath(other)
