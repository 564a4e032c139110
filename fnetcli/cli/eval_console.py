"""What `fnet eval` prints and writes about its scores."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fnetcli.cli.console import Console, Progress, is_news, to_stdout
from fnetcli.cli.eval_makers import Errors, kept
from fnetcli.cli.options.scores import Inset
from fnetcli.errors import EvaluationError, FnetError, UsageError
from fnetcli.runs.protect import STDOUT, Inputs, ResultFiles, require_writable
from fnetcli.text import number_of, printable

if TYPE_CHECKING:
    from fnetcli.evaluation.cost import Cost
    from fnetcli.evaluation.results import Evaluation
    from fnetcli.evaluation.run import EvaluationRun
    from fnetcli.evaluation.statistics import Place, Summary
    from fnetcli.inputs.pairing import Case
    from fnetcli.reports.eval_page import ShownCase
    from fnetcli.reports.tables import Float, Row, TableOptions

Contents = Mapping[str, Callable[[], Iterable[bytes]]]  # of result files, by option

SHOWN_PROBLEMS = 20


@dataclass(frozen=True)
class ScoredSet:
    """A data set, with a name if there are several, and its run."""

    name: str
    run: EvaluationRun


def score_all(console: Console, run: EvaluationRun, name: str = "") -> Evaluation:
    """Score all cases of a data set, showing progress and failures."""
    what = f"pairs of {name} scored" if name else "pairs scored"
    with Progress(len(run.job.pairing.cases), what, console) as progress:

        def step(name: str, problems: list[str]) -> None:
            for text in problems:
                console.error(text)
            progress.step(name)

        run.on_step = step
        evaluation = run.work()
    missing = [problem for problem in evaluation.problems if problem not in run.failed]
    told = Counter[str]()
    shown = [problem for problem in missing if is_news(problem.text, told)][:SHOWN_PROBLEMS]
    for problem in shown:
        console.warning(f"{problem.case}, {problem.method}: {problem.text}")
    if len(missing) > len(shown):
        console.warning(
            f"{number_of(len(missing) - len(shown), 'more such problem')}; --json and --html list "
            "them all"
        )
    return evaluation


def require_scores(evaluation: Evaluation) -> None:
    """Raise EvaluationError if no case has scores."""
    if not evaluation.is_scored.any():
        raise EvaluationError("no case could be scored; see the lines above")


class Results:
    """The evaluation and its summary."""

    def __init__(self, evaluation: Evaluation, options: TableOptions, *, all_cases: bool) -> None:
        from fnetcli.evaluation.statistics import summarise

        self.evaluation, self.options = evaluation, options
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
        caption = tables.caption(evaluation, summary)
        names, sections = tables.sections(evaluation, summary, self.options)
        if evaluation.sets:
            console.result(caption)
        for section in sections:
            if section.title:
                console.result("")
            _tell_table(console, section.title or caption, names, section.rows)
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
        self,
        costs: list[Cost],
        pictures: Pictures,
        insets: Mapping[str, Inset],
        of_float: Float | None,
    ) -> Contents:
        """Return a function for each result file that generates its content."""
        from fnetcli.reports import tables
        from fnetcli.reports.eval_page import eval_page

        evaluation, summary, details = self.evaluation, self.summary, _details()
        options = self.options

        def page() -> Iterable[bytes]:
            return eval_page(
                evaluation, summary, pictures, details=details, costs=costs, insets=insets
            )

        def latex() -> Iterable[bytes]:
            return _encoded(tables.to_latex(evaluation, summary, costs, options, of_float))

        return {
            "--csv": lambda: _encoded(tables.to_csv(evaluation)),
            "--json": lambda: _encoded(tables.to_json(evaluation, summary, costs, details)),
            "--markdown": lambda: _encoded(tables.to_markdown(evaluation, summary, costs, options)),
            "--latex": latex,
            "--html": page,
        }


def _tell_table(console: Console, title: str, heads: Sequence[str], rows: Iterable[Row]) -> None:
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


def tell_end(console: Console, sets: Sequence[ScoredSet], evaluation: Evaluation) -> None:
    """Print how many pairs were scored."""
    scored, total = int(evaluation.is_scored.any(axis=0).sum()), len(evaluation.cases)
    runs = [one.run for one in sets]
    known = "" if any(run.computed for run in runs) else ", all scores known from earlier runs"
    console.notice(
        f"{scored} of {number_of(total, 'pair')} scored, "
        f"{number_of(len(evaluation.methods), 'method')}, "
        f"{sum(len(run.failed) for run in runs)} failed, "
        f"{sum(len(run.job.pairing.unpaired) for run in runs)} unpaired{known}"
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


@dataclass
class Pictures:
    """The cases to show, drawn one by one as they are iterated over, each time again."""

    sets: Sequence[ScoredSet]
    evaluation: Evaluation
    chosen: Sequence[int]  # cases; empty: the first method's best, median and worst
    count: int  # of these
    console: Console

    def __iter__(self) -> Iterator[ShownCase]:
        """Draw the cases."""
        from fnetcli.evaluation.statistics import chosen_cases
        from fnetcli.reports.eval_page import ShownCase

        places: list[tuple[int, Place]] = [(index, "chosen") for index in self.chosen]
        cases = places or chosen_cases(self.evaluation, self.count)
        with Progress(len(cases), "pictures drawn", self.console) as progress:
            for index, place in cases:
                run, case = self._case(index)
                name = self.evaluation.cases[index]
                with suppress(FnetError):  # its files have gone meanwhile
                    yield ShownCase(name, place, run.pictures(case))
                progress.step(name)

    def _case(self, index: int) -> tuple[EvaluationRun, Case]:
        for one in self.sets:
            cases = one.run.job.pairing.cases
            if index < len(cases):
                return one.run, cases[index]
            index -= len(cases)
        raise IndexError(index)


def figure_paths(folder: Path | None) -> list[Path]:
    """Return the files that `write_figures` writes."""
    from fnetcli.reports.eval_figures import FIGURES, KINDS

    names = [f"{name}.{kind}" for name in FIGURES for kind in KINDS]
    return [] if folder is None else [folder / name for name in names]


def require_figures(folder: Path | None, inputs: Inputs) -> None:
    """Raise UsageError if the figures would replace inputs or cannot be written."""
    if folder is None:
        return
    label = f"--figures {folder}"
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{label}: is a file; name a folder")
    for path in figure_paths(folder):
        inputs.require_free(path, label)
        inputs.require_outside(path, label)
        require_writable(label, path)


def write_figures(
    folder: Path,
    results: Results,
    pictures: Pictures,
    insets: Mapping[str, Inset],
    console: Console,
) -> None:
    """Draw the figures of a paper. Raise EvaluationError, OutputError, WriteError."""
    from fnetcli.reports.eval_figures import draw_figures

    draw_figures(folder, results.evaluation, results.summary, pictures, insets)
    console.notice(f"figures: {folder}")


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
