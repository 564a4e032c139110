"""The command line: make, compare, resume, list."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import bench.snapshot
from bench.snapshot.cases import CASES
from bench.snapshot.compare import compare, report
from bench.snapshot.inputs import Sources
from bench.snapshot.make import SnapshotError, make, read_index, resume
from fnetcli.text import number_of


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the user asks for; by default in the command line of this process."""
    parser = argparse.ArgumentParser(
        "python -m bench.snapshot",
        description=bench.snapshot.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make", help="run the commands, keep what they write")
    making.add_argument("folder", type=Path, help="new or empty")
    making.add_argument("--data", type=Path, help="pictures and volumes that are not shipped")
    making.add_argument("--authors", type=Path, help="weights in the published layout (.pth)")
    comparing = commands.add_parser("compare", help="print every difference of two snapshots")
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path)
    comparing.add_argument("--strict-wording", action="store_true", help="count wording too")
    resuming = commands.add_parser("resume", help="run fuse again over what old code has made")
    resuming.add_argument("old", type=Path)
    for one in (making, resuming):
        one.add_argument("--only", nargs="+", default=[], metavar="NAME", help="cases, or patterns")
        one.add_argument("--jobs", type=int, default=2, help="cases at a time (default 2)")
    commands.add_parser("list", help="print the cases")
    return parser.parse_args(words)


def run(arguments: argparse.Namespace) -> int:
    """Do it; return the exit code."""
    if arguments.command == "list":
        print(*(one.name for one in CASES), sep="\n")
        return 0
    if arguments.command == "compare":
        for name in ("old", "new"):
            code = read_index(getattr(arguments, name))["code"]
            print(f"{name}: commit {code['commit']}, sources {code['sources_sha256'][:12]}")
        found = compare(arguments.old, arguments.new)
        return report(found, is_strict=arguments.strict_wording)
    if arguments.command == "resume":
        return _resume(arguments)
    sources = Sources(arguments.data, arguments.authors)
    index = make(arguments.folder, sources, arguments.only, arguments.jobs)
    for name, why in index["left_out"].items():
        print(f"left out: {name} ({why})")
    count = number_of(len(index["cases"]), "case")
    print(f"{count}, {index['seconds']} s, code {index['code']['commit']}")
    return 0


def _resume(arguments: argparse.Namespace) -> int:
    found = resume(arguments.old, arguments.only, arguments.jobs)
    for one in found:
        words = "; ".join(one.problems) or f"ok, {one.skipped} skipped"
        print(f"{one.name:<28} {words}")
    bad = sum(bool(one.problems) for one in found)
    print(
        f"\n{number_of(len(found), 'case')}, {bad} not skipped as they should"
        if bad
        else "\nall skipped"
    )
    return int(bad > 0)


if __name__ == "__main__":
    try:
        code = run(parse())
    except SnapshotError as error:
        sys.exit(f"error: {error}")
    sys.exit(code)
