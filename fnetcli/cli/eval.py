"""`fnet eval`: fused images of any method in, scores and comparisons out."""

from __future__ import annotations

import functools
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fnetcli.cli import options as given_options
from fnetcli.cli.console import (
    Console,
    Progress,
    exits_properly,
    leaving_at_once,
    tell_unpaired,
    to_stdout,
)
from fnetcli.errors import EvaluationError, FnetError, UsageError
from fnetcli.runs.batch import EXIT_DONE, EXIT_FAILED
from fnetcli.text import printable

if TYPE_CHECKING:
    from fnetcli.engine import Engine, EngineOptions
    from fnetcli.evaluation.cost import Cost
    from fnetcli.evaluation.results import Evaluation
    from fnetcli.evaluation.run import EvalJob, FilesEntrant, NetworkEntrant, RuleEntrant, Run
    from fnetcli.evaluation.statistics import Summary
    from fnetcli.inputs.pairing import Pairing
    from fnetcli.reports.eval_page import ShownCase
    from fnetcli.reports.tables import Row

Contents = Mapping[str, Callable[[], Iterable[bytes]]]  # of result files, by option
Errors = list[FnetError | BrokenPipeError]

STDOUT = Path("-")
SHIPPED = "default"  # as a value of --weights
SHOWN_PROBLEMS = 20
MOST_REPORT_CASES = 40

_METHODS = "Methods: whose fused images are scored"
_SCORES = "Scores"
_RESULTS = "Results"
_RUNNING = "Running"


class ConventionChoice(StrEnum):
    """How metrics are defined where definitions differ."""

    paper = "paper"
    standard = "standard"


@exits_properly
def evaluate(
    vis: given_options.Vis = None,
    ir: given_options.Ir = None,
    nir: given_options.Nir = None,
    ct: given_options.Ct = None,
    mri: given_options.Mri = None,
    pet: given_options.Pet = None,
    spect: given_options.Spect = None,
    fused: Annotated[
        list[str] | None,
        typer.Option(
            "--fused",
            metavar="[NAME=]DIR",
            help="Fused images of one method, named as the pairs; again for further methods. For "
            "one pair a file. With --pairs: the column that names them.",
            show_default=False,
            rich_help_panel=_METHODS,
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            metavar="[NAME=]FILE",
            help="Fuse with these weights, in memory; 'default' are the shipped ones. Again for "
            "further ones.",
            show_default=False,
            rich_help_panel=_METHODS,
        ),
    ] = None,
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines",
            help="Add the average, the maximum and a Laplacian pyramid.",
            rich_help_panel=_METHODS,
        ),
    ] = False,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="NAMES",
            help="Such as MI,VIF,EN; or all. Default: the six of the paper.",
            show_default=False,
            rich_help_panel=_SCORES,
        ),
    ] = None,
    convention: Annotated[
        ConventionChoice,
        typer.Option(
            "--convention",
            help="paper: as published tables are computed; standard: as the metrics are defined "
            "(SSIM, Qabf and CE differ).",
            rich_help_panel=_SCORES,
        ),
    ] = ConventionChoice.paper,
    all_cases: Annotated[
        bool,
        typer.Option(
            "--all-cases",
            help="Average every method over all cases it has; default: over those that all have.",
            rich_help_panel=_SCORES,
        ),
    ] = False,
    cost: Annotated[
        str | None,
        typer.Option(
            "--cost",
            metavar="HxW",
            help="Also measure what a pair of this height and width costs: parameters, "
            "multiply-adds, seconds, memory. Works without images too.",
            show_default=False,
            rich_help_panel=_SCORES,
        ),
    ] = None,
    csv_file: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="FILE",
            help="Write every score, a line per method and case; - for stdout.",
            show_default=False,
            rich_help_panel=_RESULTS,
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Write everything as JSON; - for stdout.",
            show_default=False,
            rich_help_panel=_RESULTS,
        ),
    ] = None,
    markdown_file: Annotated[
        Path | None,
        typer.Option(
            "--markdown",
            metavar="FILE",
            help="Write the table as Markdown; - for stdout.",
            show_default=False,
            rich_help_panel=_RESULTS,
        ),
    ] = None,
    latex_file: Annotated[
        Path | None,
        typer.Option(
            "--latex",
            metavar="FILE",
            help="Write the table as LaTeX (booktabs); - for stdout.",
            show_default=False,
            rich_help_panel=_RESULTS,
        ),
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write one page with tables, plots and pictures, for any browser; - for stdout.",
            show_default=False,
            rich_help_panel=_RESULTS,
        ),
    ] = None,
    report_cases: Annotated[
        int,
        typer.Option(
            "--report-cases",
            metavar="N",
            min=0,
            max=MOST_REPORT_CASES,
            help="Cases whose pictures are on the page: where the first method is best, median "
            "and worst.",
            rich_help_panel=_RESULTS,
        ),
    ] = 12,
    pairs: given_options.Pairs = None,
    recursive: given_options.Recursive = False,
    suffix: given_options.Suffix = None,
    strict: given_options.Strict = False,
    page: given_options.Page = None,
    max_pixels: given_options.MaxPixels = 500.0,
    bits: given_options.Bits = None,
    value_range: given_options.Range = None,
    stretch: given_options.Stretch = None,
    stretch_scope: given_options.StretchScope = given_options.Scope.image,
    invert: given_options.Invert = None,
    resize: Annotated[
        str | None,
        typer.Option(
            "--resize",
            metavar="MODALITY",
            help="Where the sources' sizes differ, keep this image's size and resize the other.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            max=256,
            help="Processes that score. Default: one a core, at most 8.",
            show_default=False,
            rich_help_panel=_RUNNING,
        ),
    ] = None,
    no_cache: Annotated[
        bool,
        typer.Option(
            "--no-cache",
            help="Compute everything anew, and keep nothing for the next time.",
            rich_help_panel=_RUNNING,
        ),
    ] = False,
    device: given_options.Device = "auto",
    precision: given_options.Precision = given_options.PrecisionChoice.fp32,
    tile: given_options.Tile = "auto",
    max_memory: given_options.MaxMemory = None,
    verbose: given_options.Verbose = False,
    quiet: given_options.Quiet = False,
    debug: given_options.Debug = False,
) -> int:
    """Score fused images against their sources, for one method or several.

    One method: fnet eval --vis DIR --ir DIR --fused DIR. Several: --fused CDDFuse=DIR --fused
    ours=DIR --baselines. Weights: --weights FILE fuses in memory. The table goes to stdout, best in
    bold, second underlined (* and + where stdout is a file), unless one of the results below is
    written there (-). docs/metrics.md says what the numbers mean. Scores are kept in the user's
    cache: a second run only computes what is new.
    """
    with leaving_at_once():
        from fnetcli.evaluation.methods import choose_metrics
        from fnetcli.evaluation.run import EvalJob
        from fnetcli.pictures.fuse import FuseOptions
        from fnetcli.pictures.survey import survey

    files = _Files(
        {
            "--csv": csv_file,
            "--json": json_file,
            "--markdown": markdown_file,
            "--latex": latex_file,
            "--html": html_file,
        }
    )
    console = Console(is_quiet=quiet, is_verbose=verbose, has_results=not files.has_stdout)
    at_work = given_options.engine_options(tile, max_memory, precision)
    chosen = choose_metrics(metrics, convention.value)
    size = None if cost is None else _size(cost)
    images = given_options.given(vis=vis, ir=ir, nir=nir, ct=ct, mri=mri, pet=pet, spect=spect)
    makers = _Makers(console, weights or [], at_work, device, has_baselines=baselines)
    if size is not None and not images and pairs is None:
        return _only_cost(console, makers, size, fused, files)
    of_methods, of_sources = _suffixes(suffix)
    modalities, pairing = given_options.find_pairs(
        images, pairs, of_sources, is_recursive=recursive
    )
    options = FuseOptions(
        modalities=modalities,
        scaling=given_options.scaling_options(modalities, bits, value_range, stretch, invert),
        reading=given_options.read_options(page, max_pixels, modalities),
        resize_to=resize,
        maps="none",
    )
    tell_unpaired(console, pairing.unpaired)
    given_options.require_pairs(pairing, pairs, is_recursive=recursive)
    entrants = _fused_entrants(
        console, pairing, fused or [], pairs, of_methods, is_recursive=recursive
    )
    made = makers.entrants()
    _check_names([entrant.method.name for entrant in (*entrants, *made)], modalities)
    files.check([*_inputs(pairing, entrants), *makers.paths, *([pairs] if pairs else [])])
    workers = workers or min(8, os.cpu_count() or 1)
    with Progress(None, "headers and ranges", console) as progress:
        found = survey(
            pairing.cases,
            options,
            scope=stretch_scope.value,
            kind="png",
            workers=workers,
            on_step=progress.step,
        )
    for notice in found.notices:
        console.notice(notice)
    job = EvalJob(
        pairing=pairing,
        options=found.options,
        entrants=(*entrants, *made),
        metrics=chosen,
        convention=convention.value,
        reading=found.options.reading[1],
    )
    run = _run(console, job, workers, has_cache=not no_cache, is_debug=debug)
    results = _Results(_work(console, run), all_cases=all_cases)
    errors: Errors = []
    with _kept(errors):
        results.tell(console)
    costs = makers.costs(size, errors) if size else []
    with _kept(errors):
        tell_costs(console, costs)
    files.write(results.contents(costs, run, report_cases, console), errors, console)
    _tell_end(console, run, results.evaluation)
    _tell_errors(console, errors)
    has_gaps = bool(results.evaluation.problems or pairing.unpaired)
    return EXIT_FAILED if run.failed or errors or (strict and has_gaps) else EXIT_DONE


# --- which methods --------------------------------------------------------------------------------


def _named(option: str, text: str) -> tuple[str, Path]:
    """Read ``NAME=PATH`` or ``PATH``."""
    name, mark, path = text.partition("=")
    if not mark or Path(text).exists():
        return "", Path(text)
    if not name.strip() or not path:
        raise UsageError(f"{option} {text}: give it as {option} NAME=PATH or {option} PATH")
    return name.strip(), Path(path)


def _suffixes(values: list[str] | None) -> tuple[dict[str, str], list[str]]:
    """Part the endings of methods' files from those of the modalities'."""
    from fnetcli.modalities import MODALITIES

    of_methods, others = dict[str, str](), list[str]()
    for text in values or []:
        name, mark, value = text.partition("=")
        if mark and value and name not in MODALITIES:
            of_methods[name] = value
        else:
            others.append(text)
    return of_methods, others


def _fused_entrants(
    console: Console,
    pairing: Pairing,
    fused: list[str],
    pairs: Path | None,
    suffixes: dict[str, str],
    *,
    is_recursive: bool,
) -> list[FilesEntrant]:
    from fnetcli.evaluation.methods import find_fused
    from fnetcli.evaluation.results import Method
    from fnetcli.evaluation.run import FilesEntrant
    from fnetcli.inputs.pairing import listed_paths

    def column(name: str) -> FilesEntrant:
        method = Method(name, "files", f"{pairs}, column {name!r}")
        return FilesEntrant(method, listed_paths(pairing, name, pairs or Path()))

    entrants = [] if fused else [column(name) for name in pairing.further]
    for text in fused:
        if text in pairing.further:
            entrants.append(column(text))
            continue
        name, path = _named("--fused", text)
        name = name or _name_of(path)
        found = find_fused(
            pairing, name, path, suffix=suffixes.pop(name, ""), is_recursive=is_recursive
        )
        if found.strays:
            console.notice(f"{name}: {len(found.strays)} images belong to no case")
            for stray in found.strays[:SHOWN_PROBLEMS]:
                console.detail(f"{name}: belongs to no case: {stray}")
        entrants.append(found.entrant)
    for name, value in suffixes.items():
        raise UsageError(f"--suffix {name}={value}: neither a modality nor a method of --fused")
    return entrants


def _name_of(path: Path) -> str:
    """Name a method after its folder; what `fnet fuse` made is named after the output folder."""
    folder = path.resolve() if path.is_dir() else path.resolve().parent
    return folder.parent.name if folder.name == "fused" and folder.parent.name else folder.name


def _check_names(names: list[str], modalities: tuple[str, str]) -> None:
    if not names:
        raise UsageError(
            "nothing to score; give --fused DIR, --weights FILE (or --weights default), "
            "or --baselines"
        )
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"two methods are called {name!r}; name one: --fused NAME=DIR, --weights NAME=FILE"
            )
        if name in modalities:
            raise UsageError(f"a method is called {name!r} as a source is; give it another name")


@dataclass
class _Makers:
    """The methods that fuse in memory: weights, and baselines where wanted."""

    console: Console
    weights: list[str]
    at_work: EngineOptions
    device: str
    has_baselines: bool

    @property
    def paths(self) -> list[Path]:
        """The weights files that were named."""
        return [_named("--weights", text)[1] for text in self.weights if text != SHIPPED]

    def entrants(self) -> list[NetworkEntrant | RuleEntrant]:
        """Load all weights. Raise CheckpointError."""
        from fnetcli.evaluation.run import rule_entrants

        rules = rule_entrants() if self.has_baselines else []
        return [*map(self._network, self.weights), *rules]

    def costs(self, size: tuple[int, int], errors: Errors) -> list[Cost]:
        """Measure every method in a process of its own; keep the errors of those that fail."""
        from fnetcli.baselines import BASELINES, Baseline
        from fnetcli.evaluation.cost import measure_cost

        methods: list[tuple[str, Path | Baseline]] = [*map(self._load_name, self.weights)]
        if self.has_baselines:
            methods += [(one.name, one) for one in BASELINES]
        if not methods:
            self.console.warning("--cost: measures weights and baselines; none was given")
        costs = []
        with Progress(len(methods), "methods measured", self.console) as progress:
            for name, origin in methods:
                with _kept(errors):
                    costs.append(
                        measure_cost(name, origin, size, device=self.device, options=self.at_work)
                    )
                progress.step(name)
        for cost in costs:
            for notice in cost.notices:
                self.console.notice(f"{cost.method}: {notice}")
        return costs

    def _load_name(self, text: str) -> tuple[str, Path]:
        from fnetcli.checkpoints.shipped import default_weights_path

        name, path = _named("--weights", text)
        if text == SHIPPED or (name and str(path) == SHIPPED and not path.exists()):
            path = default_weights_path()
        return name or path.stem, path

    def _network(self, text: str) -> NetworkEntrant:
        """Return weights that are loaded when they are needed first: all scores may be known."""
        from fnetcli.errors import ReadError
        from fnetcli.evaluation.results import Method
        from fnetcli.evaluation.run import NetworkEntrant
        from fnetcli.formats import content_sha256
        from fnetcli.pictures.fuse import PIXELS_VERSION

        name, path = self._load_name(text)
        precision = self.at_work.precision
        engine = functools.cache(lambda: self._load(name, path))
        try:
            sha256 = content_sha256(path)
        except ReadError:
            sha256 = ""
        if not sha256 or precision != "fp32":  # loading says what is wrong, or what it can do
            precision = engine().precision
        origin = f"{path.name}, sha256 {sha256}"
        digest = f"weights {sha256} {precision} {PIXELS_VERSION}"
        return NetworkEntrant(Method(name, "weights", origin), engine, digest)

    def _load(self, name: str, path: Path) -> Engine:
        from fnetcli.checkpoints.loading import load_weights
        from fnetcli.engine import Engine, choose_device

        loaded = load_weights(path)
        engine = Engine(
            loaded.network, choose_device(self.device), self.at_work, on_notice=self.console.notice
        )
        self.console.notice(f"{name}: weights {loaded.name}, device {engine.device}")
        self.console.detail(f"{name}: network {engine.path}, {engine.precision}")
        for notice in (*loaded.notices(), *engine.notices):
            self.console.notice(notice)
        return engine


# --- the run --------------------------------------------------------------------------------------


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text.strip().lower())
    if not found or not int(found[1]) * int(found[2]):
        raise UsageError(f"--cost {text}: give height and width in pixels, as 480x640")
    return int(found[1]), int(found[2])


def _run(console: Console, job: EvalJob, workers: int, *, has_cache: bool, is_debug: bool) -> Run:
    from fnetcli.evaluation.cache import ScoreCache
    from fnetcli.evaluation.run import Run
    from fnetcli.files.cache import cache_folder

    folder = cache_folder() if has_cache else None
    cache = ScoreCache(folder and folder / "scores.sqlite", console.notice)
    return Run(job, cache, min(workers, len(job.pairing.cases)), is_debug=is_debug)


def _work(console: Console, run: Run) -> Evaluation:
    """Score everything with a bar; list what failed. Raise EvaluationError where nothing came."""
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
            f"{len(missing) - SHOWN_PROBLEMS} more such problems; --json and --html list all"
        )
    if not evaluation.is_scored.any():
        raise EvaluationError("no case could be scored; see the lines above")
    return evaluation


class _Results:
    """The evaluation with what it says."""

    def __init__(self, evaluation: Evaluation, *, all_cases: bool) -> None:
        from fnetcli.evaluation.statistics import summarise

        self.evaluation = evaluation
        self.summary: Summary = summarise(evaluation, all_cases=all_cases)

    def tell(self, console: Console) -> None:
        """Print the tables, and before them how numbers became comparable."""
        from fnetcli.reports import tables

        evaluation, summary = self.evaluation, self.summary
        for notice in evaluation.notices:
            console.notice(notice)
        if not summary.common.any() and not summary.all_cases:
            console.warning(
                "no case has fused images of all methods, so nothing can be compared; "
                "--all-cases averages each method over its own"
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
        self, costs: list[Cost], run: Run, report_cases: int, console: Console
    ) -> Contents:
        """Return what makes every result file."""
        from fnetcli.reports import tables
        from fnetcli.reports.eval_page import eval_page

        evaluation, summary, details = self.evaluation, self.summary, _details()

        def page() -> Iterable[bytes]:
            shown = _shown(evaluation, run, report_cases, console)
            return eval_page(evaluation, summary, shown, details=details)

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
    """Print what methods cost."""
    from fnetcli.evaluation.cost import FORMULA
    from fnetcli.reports import tables

    if costs:
        console.result("")
        _tell_table(console, tables.cost_caption(costs), tables.COST_HEADS, tables.cost_rows(costs))
        console.result(FORMULA)


def _tell_end(console: Console, run: Run, evaluation: Evaluation) -> None:
    scored, total = int(evaluation.is_scored.any(axis=0).sum()), len(evaluation.cases)
    known = "" if run.computed else ", all scores known from earlier runs"
    console.notice(
        f"{scored} of {total} pairs scored, {len(evaluation.methods)} methods, "
        f"{len(run.failed)} failed, {len(run.job.pairing.unpaired)} unpaired{known}"
    )


def _only_cost(
    console: Console,
    makers: _Makers,
    size: tuple[int, int],
    fused: list[str] | None,
    files: _Files,
) -> int:
    """Measure without images."""
    from fnetcli.reports import tables

    contents: Contents = {
        "--json": lambda: _encoded(tables.costs_to_json(costs, _details())),
        "--markdown": lambda: _encoded(tables.costs_to_markdown(costs)),
        "--latex": lambda: _encoded(tables.costs_to_latex(costs)),
    }
    unfit = [option for option in files.paths if option not in contents]
    for option in (*(["--fused"] if fused else []), *unfit):
        raise UsageError(f"{option}: is for scores, --cost alone has none; give images as well")
    files.check(makers.paths)
    if not makers.weights and not makers.has_baselines:
        makers.weights = [SHIPPED]
    errors: Errors = []
    costs = makers.costs(size, errors)
    if not costs:
        _tell_errors(console, errors[1:])
        raise errors[0]
    with _kept(errors):
        tell_costs(console, costs)
    files.write(contents, errors, console)
    _tell_errors(console, errors)
    return EXIT_FAILED if errors else EXIT_DONE


# --- result files ---------------------------------------------------------------------------------


def _inputs(pairing: Pairing, entrants: list[FilesEntrant]) -> list[Path]:
    inputs = [path for case in pairing.cases for path in (case.first, case.second)]
    return inputs + [path for entrant in entrants for path in entrant.files.values()]


class _Files:
    """Where results are to be written, by option; one of them may be stdout."""

    def __init__(self, named: Mapping[str, Path | None]) -> None:
        self.paths = {option: path for option, path in named.items() if path is not None}
        printed = [option for option, path in self.paths.items() if path == STDOUT]
        self.has_stdout = bool(printed)
        if len(printed) > 1:
            raise UsageError(f"{' and '.join(printed)}: stdout holds one result; name files")

    def check(self, inputs: list[Path]) -> None:
        """Raise UsageError where a result would replace an input, a folder or another result."""
        taken = {os.path.realpath(path) for path in inputs}
        for option, path in self.paths.items():
            if path == STDOUT:
                continue
            if os.path.isdir(path):  # noqa: PTH112  no error where the system refuses the name
                raise UsageError(f"{option} {path}: is a folder; name a file")
            real = os.path.realpath(path)
            if real in taken:
                raise UsageError(
                    f"{option} {path}: is an input, or another result; choose another name"
                )
            taken.add(real)

    def write(self, contents: Contents, errors: Errors, console: Console) -> None:
        """Write what was asked for; what cannot be written stops none of the others."""
        for option, path in self.paths.items():
            with _kept(errors):
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
    evaluation: Evaluation, run: Run, report_cases: int, console: Console
) -> Iterator[ShownCase]:
    """Draw the cases that are on the page."""
    from fnetcli.evaluation.statistics import chosen_cases
    from fnetcli.reports.eval_page import ShownCase

    chosen = chosen_cases(evaluation, report_cases)
    with Progress(len(chosen), "pictures drawn", console) as progress:
        for index, place in chosen:
            case = run.job.pairing.cases[index]
            with suppress(FnetError):  # gone meanwhile
                yield ShownCase(case.name, place, run.pictures(case))
            progress.step(case.name)


@contextmanager
def _kept(errors: Errors) -> Iterator[None]:
    """Keep an error for the end: what else there is to do is done all the same."""
    try:
        yield
    except (FnetError, BrokenPipeError) as error:
        errors.append(error)


def _tell_errors(console: Console, errors: Errors) -> None:
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
