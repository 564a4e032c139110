"""What `fnet eval` prints and writes about its scores."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fnetcli.cli.console import Console, Progress, to_stdout
from fnetcli.cli.eval_makers import Errors, kept
from fnetcli.errors import EvaluationError, FnetError
from fnetcli.runs.protect import STDOUT, ResultFiles
from fnetcli.text import printable

if TYPE_CHECKING:
    from fnetcli.evaluation.cost import Cost
    from fnetcli.evaluation.results import Evaluation
    from fnetcli.evaluation.run import EvaluationRun
    from fnetcli.evaluation.statistics import Summary
    from fnetcli.reports.eval_page import ShownCase
    from fnetcli.reports.tables import Row

Contents = Mapping[str, Callable[[], Iterable[bytes]]]  # of result files, by option

SHOWN_PROBLEMS = 20


def score_all(console: Console, run: EvaluationRun) -> Evaluation:
    """Score all cases, showing progress and failures. Raise EvaluationError if none has scores."""
    with Progress(len(run.job.pairing.cases), "pairs scored", console) as progress:

        def step(name: str, problems: list[str]) -> None:
            for text in problems:
                console.error(text)
            progress.step(name)

        run.on_step = step
        evaluation = run.work()
    missing = [problem for problem in evaluation.problems if problem not in run.failed]
    for problem in missing[:SHOWN_PROBLEMS]:
        console.warning(f"{problem.case}, {problem.method}: {problem.text}")
    if len(missing) > SHOWN_PROBLEMS:
        console.warning(
            f"{len(missing) - SHOWN_PROBLEMS} more such problems; --json and --html list them all"
        )
    if not evaluation.is_scored.any():
        raise EvaluationError("no case could be scored; see the lines above")
    return evaluation


class Results:
    """The evaluation and its summary."""

    def __init__(self, evaluation: Evaluation, *, all_cases: bool) -> None:
        from fnetcli.evaluation.statistics import summarise

        self.evaluation = evaluation
        self.summary: Summary = summarise(evaluation, all_cases=all_cases)

    def tell(self, console: Console) -> None:
        """Print the tables, after notices on how numbers were made comparable."""
        from fnetcli.reports import tables

        evaluation, summary = self.evaluation, self.summary
        for notice in evaluation.notices:
            console.notice(notice)
        if not summary.common.any() and not summary.all_cases:
            console.warning(
                "no case has fused images of all methods, so nothing can be compared; "
                "--all-cases averages each method over its own cases"
            )
        _tell_table(
            console,
            tables.caption(evaluation, summary),
            tables.heads(evaluation),
            tables.mean_rows(evaluation, summary),
        )
        if len(evaluation.methods) > 1:
            first = printable(evaluation.methods[0].name)
            if not console.is_terminal:
                console.result("* best, + second")
            console.result("")
            _tell_table(
                console,
                f"p against {first}, Wilcoxon signed-rank test over common cases",
                ["method", *(metric.name for metric in evaluation.metrics)],
                tables.p_rows(evaluation, summary),
            )

    def contents(
        self, costs: list[Cost], run: EvaluationRun, report_cases: int, console: Console
    ) -> Contents:
        """Return a function for each result file that generates its content."""
        from fnetcli.reports import tables
        from fnetcli.reports.eval_page import eval_page

        evaluation, summary, details = self.evaluation, self.summary, _details()

        def page() -> Iterable[bytes]:
            shown = _shown(evaluation, run, report_cases, console)
            return eval_page(evaluation, summary, shown, details=details, costs=costs)

        return {
            "--csv": lambda: _encoded(tables.to_csv(evaluation)),
            "--json": lambda: _encoded(tables.to_json(evaluation, summary, costs, details)),
            "--markdown": lambda: _encoded(tables.to_markdown(evaluation, summary, costs)),
            "--latex": lambda: _encoded(tables.to_latex(evaluation, summary, costs)),
            "--html": page,
        }


def _tell_table(console: Console, title: str, heads: Sequence[str], rows: Iterator[Row]) -> None:
    from fnetcli.reports import tables

    parts = tables.terminal_tables(heads, rows, width=console.width, is_styled=console.is_terminal)
    console.table(title, *parts)


def tell_costs(console: Console, costs: list[Cost]) -> None:
    """Print the cost of each method."""
    from fnetcli.evaluation.cost import FORMULA
    from fnetcli.reports import tables

    if costs:
        console.result("")
        _tell_table(console, tables.cost_caption(costs), tables.COST_HEADS, tables.cost_rows(costs))
        console.result(FORMULA)


def tell_end(console: Console, run: EvaluationRun, evaluation: Evaluation) -> None:
    """Print how many pairs were scored."""
    scored, total = int(evaluation.is_scored.any(axis=0).sum()), len(evaluation.cases)
    known = "" if run.computed else ", all scores known from earlier runs"
    console.notice(
        f"{scored} of {total} pairs scored, {len(evaluation.methods)} methods, "
        f"{len(run.failed)} failed, {len(run.job.pairing.unpaired)} unpaired{known}"
    )


# --- result files ---------------------------------------------------------------------------------


def cost_contents(costs: list[Cost]) -> Contents:
    """Return a function for each result file that generates its content, if only costs exist."""
    from fnetcli.reports import tables

    return {
        "--json": lambda: _encoded(tables.costs_to_json(costs, _details())),
        "--markdown": lambda: _encoded(tables.costs_to_markdown(costs)),
        "--latex": lambda: _encoded(tables.costs_to_latex(costs)),
    }


def write_files(files: ResultFiles, contents: Contents, errors: Errors, console: Console) -> None:
    """Write the requested files; a file that cannot be written does not stop the others."""
    for option, path in files.paths.items():
        with kept(errors):
            _write(path, contents[option]())
            if option == "--html" and path != STDOUT:
                console.notice(f"page: {path}")


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    from fnetcli.files.durable import atomic_write

    if path == STDOUT:
        to_stdout(b"".join(pieces))
    else:
        atomic_write(path, lambda file: file.writelines(pieces))


def _encoded(text: str) -> list[bytes]:
    return [text.encode(errors="replace")]


def _shown(
    evaluation: Evaluation, run: EvaluationRun, report_cases: int, console: Console
) -> Iterator[ShownCase]:
    """Draw the cases shown on the page."""
    from fnetcli.evaluation.statistics import chosen_cases
    from fnetcli.reports.eval_page import ShownCase

    chosen = chosen_cases(evaluation, report_cases)
    with Progress(len(chosen), "pictures drawn", console) as progress:
        for index, place in chosen:
            case = run.job.pairing.cases[index]
            with suppress(FnetError):  # its files have gone meanwhile
                yield ShownCase(case.name, place, run.pictures(case))
            progress.step(case.name)


def tell_errors(console: Console, errors: Errors) -> None:
    """Print the errors kept for the end; raise BrokenPipeError if there is one."""
    for text in dict.fromkeys(str(error) for error in errors if isinstance(error, FnetError)):
        console.error(text)
    for error in errors:
        if isinstance(error, BrokenPipeError):
            raise error


def _details() -> dict[str, str]:
    from datetime import UTC, datetime
    from importlib.metadata import version

    return {
        "command": shlex.join(["fnet", *sys.argv[1:]]),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": f"fnet {version('fnetcli')}",
    }
