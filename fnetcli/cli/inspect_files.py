"""Checks that `fnet inspect` overwrites nothing it should keep; the folder it writes to."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fnetcli.cli.console import Console
from fnetcli.errors import UsageError
from fnetcli.runs.protect import STDOUT, Inputs, ResultFiles, is_below, require_writable


def require_places(
    out: Path | None,
    names: Iterable[str],
    json_file: Path | None,
    inputs: Inputs,
    other_names: Iterable[str] = (),
) -> None:
    """Refuse results that would replace an input, a folder or each other; check `--json`.

    `other_names` are the results that another call writes to the same folder.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"-o {out}: is a file; give a folder")
    names = tuple(names)
    if out is not None:
        require_writable(f"-o {out}", out / "any")
    for path in [] if out is None else [out / name for name in names]:
        if path.is_dir():
            raise UsageError(
                f"{path}: is a folder, but a result has this name; move it or choose another -o"
            )
        inputs.require_free(path)
    results = () if out is None else [out / name for name in (*names, *other_names)]
    require_json(json_file, out, inputs, results)


def require_json(
    path: Path | None, out: Path | None, inputs: Inputs, results: Iterable[Path] = ()
) -> None:
    """Refuse a JSON file that would replace an input or a result, or cannot be created."""
    if path is None or path == STDOUT:
        return
    if out is not None and is_below(out, path):
        raise UsageError(f"--json {path}: is a folder; name a file")
    ResultFiles({"--json": path}).check(inputs, list(results))


@contextmanager
def results_in(out: Path) -> Iterator[None]:
    """Lock the folder for results; if an error ends the work, remove the folders created for it."""
    from fnetcli.files.output_folder import OutputFolder, sweep

    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        with OutputFolder(out):
            sweep({out})
            yield
    except BaseException:
        for folder in made:
            with suppress(OSError):  # it is not empty after all
                folder.rmdir()
        raise


def write_json(path: Path | None, record: Mapping[str, Any]) -> None:
    """Write a record as JSON to a file or to stdout. Raise WriteError, OutputError."""
    from fnetcli.files.durable import atomic_write

    if path is None:
        return
    text = json.dumps(_plain(record), indent=1, default=str)
    if path == STDOUT:
        Console().lines(text)
    else:
        atomic_write(path, lambda file: file.write(f"{text}\n".encode()))


def _plain(value: Any) -> Any:
    """Return a value that JSON can represent: NaN and infinity become None."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
