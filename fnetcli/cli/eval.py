"""`fnet eval`: read fused images of any method, write scores and comparisons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fnetcli.checkpoints.shipped import DEFAULT
from fnetcli.cli.console import Console, exits_properly, leaving_at_once
from fnetcli.cli.eval_console import (
    Pictures,
    Results,
    ScoredSet,
    cost_contents,
    figure_paths,
    require_figures,
    require_scores,
    score_all,
    tell_costs,
    tell_end,
    tell_errors,
    write_figures,
    write_files,
)
from fnetcli.cli.eval_makers import Errors, Makers, kept
from fnetcli.cli.eval_sets import (
    GivenSet,
    Scoring,
    read_sets,
    require_same_methods,
    require_same_weights,
)
from fnetcli.cli.options.cameras import GivenCamera
from fnetcli.cli.options.cluster import GivenCluster
from fnetcli.cli.options.files import GivenPairing, GivenReading
from fnetcli.cli.options.group import takes_groups
from fnetcli.cli.options.images import GivenImages
from fnetcli.cli.options.network import GivenDevice, GivenPrecision, GivenTiles
from fnetcli.cli.options.registration import GivenRegistration
from fnetcli.cli.options.scaling import GivenScaling, GivenScope, GivenSize
from fnetcli.cli.options.scores import (
    GivenMethods,
    GivenScoreFiles,
    GivenScoreRun,
    GivenScores,
    GivenTables,
)
from fnetcli.cli.options.talking import GivenQuiet, GivenVerbosity
from fnetcli.cores import usable_cores
from fnetcli.errors import UsageError
from fnetcli.runs.batch import EXIT_DONE, EXIT_FAILED
from fnetcli.runs.protect import Inputs, ResultFiles

if TYPE_CHECKING:
    from fnetcli.engine import EngineOptions
    from fnetcli.evaluation.run import EvalJob, EvaluationRun
    from fnetcli.runs.crew.options import CrewOptions

MAX_WORKERS = 8  # by default


@exits_properly
@takes_groups
def evaluate(
    images: GivenImages,
    camera: GivenCamera,
    methods: GivenMethods,
    scores: GivenScores,
    tables: GivenTables,
    results: GivenScoreFiles,
    pairing: GivenPairing,
    reading: GivenReading,
    scaling: GivenScaling,
    scope: GivenScope,
    size: GivenSize,
    registration: GivenRegistration,
    running: GivenScoreRun,
    device: GivenDevice,
    cluster: GivenCluster,
    precision: GivenPrecision,
    tiles: GivenTiles,
    verbosity: GivenVerbosity,
    quiet: GivenQuiet,
    *,
    study: Annotated[
        Path | None,
        typer.Argument(
            metavar="[STUDY]",
            help="A TOML file with options of this command, and data sets; options given here "
            "replace those in it.",
            show_default=False,
        ),
    ] = None,
) -> int:
    r"""Score fused images against their sources, for one or several methods.

    \b
    fnet eval --vis VIS --ir IR --fused FUSED              one method
    fnet eval --vis VIS --ir IR --fused FUSED --baselines  beside simple methods
    fnet eval --vis VIS --ir IR --weights fnet             fuse in memory, and score

    Several methods: repeat --fused NAME=DIR and --weights. Several data sets: --set, or a STUDY.
    The table goes to stdout, with the best in bold and the second best underlined (* and + in files
    and pipes), unless a result below is written there (-). docs/metrics.md explains the scores.
    Scores are cached, so a second run computes only new ones.
    """
    with leaving_at_once():
        from fnetcli.evaluation.fused_files import require_names, split_suffixes
        from fnetcli.evaluation.metric_names import choose_metrics
        from fnetcli.evaluation.results import joined
        from fnetcli.reports.tables import Float, TableOptions

    files = ResultFiles(results.named())
    tables.require_latex(results.latex_file)
    insets = results.insets
    console = Console(
        is_quiet=quiet.quiet, is_verbose=verbosity.verbose, has_results=not files.has_stdout
    )
    chosen = choose_metrics(scores.metrics, scores.convention.value)
    crew, makers = _workers(console, methods, cluster, device, tiles.options(precision.precision))
    is_without = not (images.given or pairing.pairs or camera.flir or methods.sets)
    if scores.cost_size is not None and is_without:
        _refuse_without_scores(results)
        return _only_cost(console, makers, scores.cost_size, files, has_files=bool(methods.fused))
    of_methods, of_sources = split_suffixes(pairing.suffix or [])
    scoring = Scoring(
        console=console,
        makers=makers,
        metrics=chosen,
        convention=scores.convention.value,
        of_methods=of_methods,
        pairing=replace(pairing, suffix=of_sources),
        camera=camera,
        reading=reading,
        scaling=scaling,
        size=size,
        registration=registration,
        stretch_scope=scope.of_pictures,
        workers=running.workers or min(MAX_WORKERS, usable_cores()),
    )
    found = scoring.find(_sets(images, camera, methods, pairing))
    for one in found:
        require_names(one.methods, one.modalities)
    require_same_methods({one.name: one.methods for one in found})
    require_same_weights(found)
    names = [one.case_name(case.name) for one in found for case in one.pairing.cases]
    shown = results.chosen_cases(names)
    inputs = [path for one in found for path in one.inputs]
    named = [
        *makers.paths,
        *(path for path in (pairing.pairs, study, registration.transform) if path),
    ]
    files.check(Inputs([*inputs, *named]), figure_paths(results.figures))
    require_figures(results.figures, Inputs([*inputs, *named]))
    sets = [
        ScoredSet(
            one.name,
            _run(
                console,
                scoring.job(one),
                scoring.workers,
                crew,
                has_cache=not running.no_cache,
                is_debug=quiet.debug,
            ),
        )
        for one in found
    ]
    parts = [(one.name, score_all(console, one.run, one.name)) for one in sets]
    evaluation = joined(parts) if methods.sets else parts[0][1]
    require_scores(evaluation)
    options = TableOptions(tables.decimals, tables.methods_across)
    scored_all = Results(evaluation, options, all_cases=scores.all_cases)
    errors: Errors = []
    with kept(errors):
        scored_all.tell(console)
    costs = makers.costs(scores.cost_size, errors) if scores.cost_size else []
    with kept(errors):
        tell_costs(console, costs)
    pictures = Pictures(sets, evaluation, shown, results.report_cases, console)
    of_float = (
        Float(tables.caption or "", tables.label or "", tables.wide)
        if tables.caption or tables.label or tables.wide
        else None
    )
    write_files(files, scored_all.contents(costs, pictures, insets, of_float), errors, console)
    if results.figures is not None:
        with kept(errors):
            write_figures(results.figures, scored_all, pictures, insets, console)
    tell_end(console, sets, evaluation)
    tell_errors(console, errors)
    failed = any(one.run.failed for one in sets)
    has_gaps = bool(evaluation.problems or any(one.pairing.unpaired for one in found))
    is_failure = failed or errors or (pairing.strict and has_gaps)
    return EXIT_FAILED if is_failure else EXIT_DONE


def _sets(
    images: GivenImages, camera: GivenCamera, methods: GivenMethods, pairing: GivenPairing
) -> list[GivenSet]:
    """Return the data sets: those of --set, or the one that other options name."""
    if not methods.sets:
        return [GivenSet("", images.given, methods.fused or [])]
    others = {
        **{f"--{name}": path for name, path in images.given.items()},
        "--pairs": pairing.pairs,
        "--flir": camera.flir,
        "--fused": methods.fused,
    }
    return read_sets(methods.sets, others)


def _run(
    console: Console,
    job: EvalJob,
    workers: int,
    crew: CrewOptions | None,
    *,
    has_cache: bool,
    is_debug: bool,
) -> EvaluationRun:
    from fnetcli.evaluation.cache import ScoreCache
    from fnetcli.evaluation.run import EvaluationRun
    from fnetcli.files.cache import cache_folder

    folder = cache_folder() if has_cache else None
    cache = ScoreCache(folder and folder / "scores.sqlite", console.notice)
    return EvaluationRun(
        job,
        cache,
        min(workers, len(job.pairing.cases)),
        is_debug=is_debug,
        crew=crew,
        on_notice=console.notice,
    )


def _workers(
    console: Console,
    methods: GivenMethods,
    cluster: GivenCluster,
    device: GivenDevice,
    options: EngineOptions,
) -> tuple[CrewOptions | None, Makers]:
    """Return who fuses and scores, None for this process, and the methods that fuse in memory."""
    crew, here = cluster.crew(device.device), device.device
    if crew is not None:
        if options.precision != "fp32":
            raise UsageError("--precision: several workers score in fp32; leave it out")
        here = "auto"  # for what is left to this process
    return crew, Makers(console, methods.weights or [], options, here, methods.baselines)


def _refuse_without_scores(results: GivenScoreFiles) -> None:
    """Raise UsageError if an option needs images, but only costs are measured."""
    given = {"--figures": results.figures, "--cases": results.cases, "--inset": results.inset}
    for option, value in given.items():
        if value:
            raise UsageError(
                f"{option}: needs scores, but --cost alone has none; give images as well"
            )


def _only_cost(
    console: Console,
    makers: Makers,
    size: tuple[int, int],
    files: ResultFiles,
    *,
    has_files: bool,
) -> int:
    """Measure the cost only, without images."""
    unfit = [option for option in files.paths if option not in cost_contents([])]
    for option in (*(["--fused"] if has_files else []), *unfit):
        raise UsageError(f"{option}: needs scores, but --cost alone has none; give images as well")
    files.check(Inputs(makers.paths))
    if not makers.weights and not makers.has_baselines:
        makers.weights = [DEFAULT]
    errors: Errors = []
    costs = makers.costs(size, errors)
    if not costs:
        tell_errors(console, errors[1:])
        raise errors[0]
    with kept(errors):
        tell_costs(console, costs)
    write_files(files, cost_contents(costs), errors, console)
    tell_errors(console, errors)
    return EXIT_FAILED if errors else EXIT_DONE
