"""Messages of `fnet fuse`: about each case, the plan, and how the run ended."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fnetcli.cli.console import (
    SHOWN_ALIKE,
    Console,
    Progress,
    is_news,
    listed,
    on_stdout,
    to_stdout,
)
from fnetcli.cli.markup import literal
from fnetcli.errors import FnetError
from fnetcli.runs.batch import EXIT_DONE, EXIT_FAILED
from fnetcli.runs.protect import STDOUT
from fnetcli.text import number_of, verb_of

if TYPE_CHECKING:
    from fnetcli.inputs.pairing import Case, Pairing
    from fnetcli.pictures.fuse import FuseOptions
    from fnetcli.runs.manifest import Record
    from fnetcli.runs.process import MadeT, PathsT, PreparedT, ResultPaths
    from fnetcli.runs.run import FusionRun

SHOWN_IGNORED = 5  # files of one reason


class Watcher:
    """Prints the outcome of every case."""

    def __init__(self, console: Console, *, before_slices: str) -> None:
        self.console = console
        self.before_slices = before_slices  # "" for pictures, which are counted one by one
        self.progress: Progress | None = None
        self.failures = 0
        self.warned: Counter[str] = Counter()
        self.told: Counter[str] = Counter()

    def begin(self) -> None:
        """Say what is done with volumes before their slices can be counted."""
        if self.progress is not None and self.before_slices:
            self.progress.tell(self.before_slices)

    def done(self, case: Case, paths: ResultPaths, record: Record) -> None:
        """Report that a case is on disk."""
        self._step(case)
        self.console.result(str(paths.fused))
        self.console.detail(_details(record))
        for sentence in record.get("said", []):
            if is_news(sentence, self.told):
                self.console.notice(_named(case, sentence))
        for notice in record["notices"]:
            if is_news(notice, self.warned):
                self.console.warning(_named(case, notice))

    def failed(self, case: Case, text: str) -> None:
        """Report that a case failed."""
        self.failures += 1
        self._step(case)
        self.console.error(text)

    def slices(self, count: int, done: int, of: int) -> None:
        """Report that the network has fused `count` more slices: `done` of `of` in their volume."""
        if self.progress is not None:
            self.progress.step(f"{done} of {of} in this volume", count)
            if done == of:
                self.begin()  # with the next one

    def tell_rest(self) -> None:
        """Print how often each warning was not repeated."""
        for notice, count in self.warned.items():
            if count > SHOWN_ALIKE:
                self.console.warning(f"{number_of(count - SHOWN_ALIKE, 'more case')}: {notice}")

    def _step(self, case: Case) -> None:
        if self.progress is not None and not self.before_slices:
            failures = f", {self.failures} failed" if self.failures else ""
            self.progress.step(f"{case.name}{failures}")


def _named(case: Case, text: str) -> str:
    """Return what is said about a case, after its name, once if its modality has the same name."""
    start = f"{case.name}: "
    return text if text.startswith(start) else start + text


def _details(record: Record) -> str:
    """Return one line about a case: inputs, ranges and times."""
    inputs = ", ".join(
        f"{modality} {known['size']} {known['path']} "
        f"[{record['ranges'][modality]['low']:g}, {record['ranges'][modality]['high']:g}]"
        for modality, known in record["inputs"].items()
    )
    return (
        f"{record['case']}: {inputs}; {record['seconds']:.2f} s, "
        f"of which {record['network_seconds']:.2f} s in the network"
    )


def tell_plan(
    console: Console,
    run: FusionRun[PathsT, PreparedT, MadeT],
    summary: Path | None,
    *,
    is_strict: bool,
) -> int:
    """Print what a run would do: a table of the cases, and what is ignored; return the exit code.

    A pipe gets one case per line, separated by tabs.
    """
    skipped = {case.name for case in run.plan.skipped}
    if summary is not None:
        write_summary(summary, run)
    rows = [
        [
            "skip" if case.name in skipped else "fuse",
            case.name,
            *map(str, (case.first, case.second, run.plan.paths(case).fused)),
        ]
        for case in run.job.cases
    ]
    if summary != STDOUT and console.is_terminal:
        _print_table(rows, run.job.pipeline.modalities)
    elif summary != STDOUT:
        to_stdout("".join("\t".join(row) + "\n" for row in rows))
    reasons: dict[str, list[Path]] = {}
    for one in run.job.pairing.ignored:
        reasons.setdefault(one.reason, []).append(one.path)
    most = sys.maxsize if console.is_verbose else SHOWN_IGNORED
    for reason, paths in sorted(reasons.items()):
        console.notice(f"ignored, {reason} ({len(paths)}): {listed(paths, most)}")
    typer.echo(
        f"{len(run.plan.todo)} to fuse, {len(skipped)} to skip, "
        f"{len(run.job.pairing.unpaired)} unpaired; nothing was written",
        err=True,
    )
    return EXIT_FAILED if is_strict and run.job.pairing.unpaired else EXIT_DONE


def _print_table(rows: list[list[str]], modalities: tuple[str, str]) -> None:
    from rich.table import Table

    table = Table("", "case", *modalities, "result", box=None)
    for row in rows:
        table.add_row(*map(literal, map(on_stdout, row)))
    Console().table(number_of(len(rows), "pair"), table)


def tell_merged(console: Console, out: Path, pairing: Pairing) -> int:
    """Merge the parts of a run and print what they have done; return the exit code."""
    from fnetcli.runs.manifest import MANIFEST_FILE
    from fnetcli.runs.parts import merge_parts

    merged = merge_parts(out, [case.name for case in pairing.cases])
    console.notice(
        f"{number_of(len(merged.parts), 'part')} merged: {merged.done} fused, "
        f"{merged.failed} failed, {merged.missing} missing; manifest: {out / MANIFEST_FILE}"
    )
    if merged.missing:
        console.warning(
            f"{number_of(merged.missing, 'pair')} {verb_of(merged.missing)} missing: a "
            "part did not run or did not finish; run it again, or the whole command without --part"
        )
    return EXIT_FAILED if merged.failed or merged.missing else EXIT_DONE


def tell_end(
    console: Console,
    run: FusionRun[PathsT, PreparedT, MadeT],
    watcher: Watcher,
    summary: Path | None,
    *,
    is_ending: bool = False,
) -> None:
    """Print how the run ended; `is_ending`: an error is being raised and must not be hidden."""
    watcher.tell_rest()
    totals = run.totals()
    left = f", {totals['left']} left" if totals["left"] else ""
    where = f"; manifest: {run.manifest_path}" if run.manifest_path else ""
    console.notice(
        f"{totals['done']} fused, {totals['skipped']} skipped, {totals['failed']} failed, "
        f"{totals['unpaired']} unpaired{left}{where}"
    )
    try:
        if summary is not None:
            write_summary(summary, run)
    except FnetError as error:
        if not is_ending:
            raise
        console.warning(str(error))


def write_summary(path: Path, run: FusionRun[PathsT, PreparedT, MadeT]) -> None:
    """Write the content of run.json to a file or to stdout. Raise WriteError, OutputError."""
    from fnetcli.files.durable import atomic_write

    text = json.dumps(run.summary(), indent=2)
    if path == STDOUT:
        to_stdout(f"{text}\n")
    else:
        atomic_write(path, lambda file: file.write(f"{text}\n".encode()))


def write_report(
    console: Console,
    run: FusionRun[PathsT, PreparedT, MadeT],
    options: FuseOptions,
    workers: int,
) -> None:
    """Write the contact sheet and print its path."""
    from fnetcli.reports.contact_sheet import write_contact_sheet

    with Progress(None, "pictures drawn", console) as progress:
        path = write_contact_sheet(
            run.job.pairing,
            options,
            run.job.out,
            run.records(),
            run.summary(),
            workers=workers,
            on_step=progress.step,
        )
    console.notice(f"contact sheet: {path}")
