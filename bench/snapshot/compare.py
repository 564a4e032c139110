"""Compare two snapshots, case by case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.snapshot.contents import DIFFERENCE, PAGE, WORDING, Finding, Place, compare_files
from bench.snapshot.make import read_index

HEADS = {
    DIFFERENCE: "differences:",
    WORDING: "wording (told only; --strict-wording counts it):",
    PAGE: "structure of pages (told only):",
}
TELLS = {DIFFERENCE: "differences", WORDING: "of wording", PAGE: "of pages"}


@dataclass(frozen=True)
class Compared:
    """What differs in one case; `files` is how many were compared."""

    name: str
    files: int
    findings: tuple[Finding, ...]

    def of(self, kind: str) -> list[str]:
        """Return the texts of one kind."""
        return [one.text for one in self.findings if one.kind == kind]


def compare(old: Path, new: Path) -> list[Compared]:
    """Return what differs, first in what the snapshots were made of, then in every case.

    Cases that only one of them holds are differences, except where the other was made with --only.
    """
    before, after = read_index(old), read_index(new)
    left, right = before["cases"], after["cases"]
    names = [name for name in left if name in right]
    found = [Compared("inputs", len(before["inputs"]), tuple(_inputs(before, after)))]
    if not before["only"] and not after["only"]:
        lost = [name for name in {**left, **right} if name not in left or name not in right]
        texts = (f"{name}: only in {'old' if name in left else 'new'}" for name in lost)
        found.append(Compared("cases", len(left), tuple(Finding(DIFFERENCE, one) for one in texts)))
    for name in names:
        places = (
            Place(old / "cases" / name, before["root"]),
            Place(new / "cases" / name, after["root"]),
        )
        findings = [*_steps(left[name], right[name]), *_files(*places, left[name], right[name])]
        found.append(Compared(name, len(left[name]["files"]), tuple(findings)))
    return found


def _inputs(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Finding]:
    """Tell what both hold with other content: then the cases prove nothing."""
    left, right = before["inputs"], after["inputs"]
    for name in sorted(left.keys() & right.keys()):
        if left[name] != right[name]:
            yield Finding(DIFFERENCE, f"{name}: other content")


def _steps(left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[Finding]:
    if [one["command"] for one in left["steps"]] != [one["command"] for one in right["steps"]]:
        yield Finding(DIFFERENCE, "other commands")
        return
    for number, (one, other) in enumerate(zip(left["steps"], right["steps"], strict=True), 1):
        if one["exit_code"] != other["exit_code"]:
            change = f"{one['exit_code']} became {other['exit_code']}"
            yield Finding(DIFFERENCE, f"exit code of command {number}: {change}")


def _files(
    old: Place, new: Place, left: Mapping[str, Any], right: Mapping[str, Any]
) -> Iterator[Finding]:
    """Compare the files that lie there now, and miss those that the indices name."""
    before, after = _present(old.folder), _present(new.folder)
    for name in sorted({*left["files"], *right["files"]} | before | after):
        if name not in before or name not in after:
            yield Finding(DIFFERENCE, f"{name}: {'gone' if name not in after else 'new'}")
            continue
        is_help = _is_help(left, name)
        for one in compare_files(name, old, new, is_help=is_help):
            yield Finding(one.kind, f"{name}: {one.text}")


def _present(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _is_help(record: Mapping[str, Any], name: str) -> bool:
    """Whether a file is what a command for people printed, --help or --version."""
    number = name.split(".", 1)[0]
    if not number.isdecimal():
        return False
    return bool({"--help", "--version"} & {*record["steps"][int(number) - 1]["command"]})


def report(found: list[Compared], *, is_strict: bool = False) -> int:
    """Print what was found, and return the exit code: 1 for any difference."""
    for one in found:
        counts = {kind: len(one.of(kind)) for kind in HEADS}
        told = ", ".join(f"{count} {TELLS[kind]}" for kind, count in counts.items() if count)
        words = told if counts[DIFFERENCE] else f"ok{f', {told}' if told else ''}"
        print(f"{one.name:<28} {one.files:>5} files  {words}")
    for kind, head in HEADS.items():
        lines = [f"  {one.name}: {text}" for one in found for text in one.of(kind)]
        if lines:
            print(f"\n{head}", *lines, sep="\n")
    counting = (DIFFERENCE, WORDING) if is_strict else (DIFFERENCE,)
    total = sum(len(one.of(kind)) for one in found for kind in counting)
    others = sum(len(one.findings) for one in found) - total
    rest = f"; {others} of wording and pages" if others else ""
    files = sum(one.files for one in found)
    print(f"\n{'identical' if not total else f'{total} differences'}: {files} files{rest}")
    return int(total > 0)
