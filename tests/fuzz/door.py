"""A child process: fuse the file of every line of stdin, and answer with a line of JSON."""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

from typer.testing import CliRunner

from fnetcli.cli.app import app

MEMORY = 4 << 30  # bytes of addresses


def main() -> None:
    """Answer until stdin ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(sys.argv[1])
    for line in sys.stdin:
        arguments = json.loads(line)
        done = CliRunner().invoke(app, arguments)
        sys.__stdout__.write(json.dumps(_verdict(done.exit_code, done.stderr)) + "\n")  # type: ignore[union-attr]
        sys.__stdout__.flush()  # type: ignore[union-attr]
        for path in Path("out").glob("*"):
            if path.is_file():
                path.unlink()


def _verdict(code: int, stderr: str) -> dict[str, str]:
    """Return what happened, and the line that says so."""
    errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
    words = errors[-1] if errors else stderr[-200:]
    if "Traceback" in stderr or "unexpected " in words:
        return {"outcome": "foreign", "words": words}
    if code == 0:
        return {"outcome": "fused", "words": ""}
    return {"outcome": "refused" if len(errors) == 1 else "silent", "words": words}


if __name__ == "__main__":
    main()
