"""`fnet inspect` of a film: how long, how large, how it is coded, what numbers it holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fnetcli.cli.console import Console, leaving_at_once
from fnetcli.cli.inspect_files import write_json
from fnetcli.errors import UsageError
from fnetcli.runs.batch import EXIT_DONE


def inspect_film(
    console: Console,
    path: Path,
    json_file: Path | None,
    pixel_limit: int,
    others: Mapping[str, object],
) -> int:
    """Print what a film is. Raise UsageError for options that apply only to pictures."""
    with leaving_at_once():
        from fnetcli.formats import ReadOptions
        from fnetcli.inspection.film_facts import film_facts

    for option, value in others.items():
        if value:
            raise UsageError(
                f"{option}: applies only to pictures, but a film is inspected; leave it out"
            )
    facts = film_facts(path, ReadOptions(pixel_limit=pixel_limit))
    for line in facts.lines():
        console.result(line)
    for notice in facts.notices:
        console.warning(notice)
    write_json(json_file, facts.record())
    return EXIT_DONE
