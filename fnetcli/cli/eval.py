"""`fnet eval`: read fused images of any method, write scores and comparisons."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fnetcli.checkpoints.shipped import DEFAULT
from fnetcli.cli.console import (
    Console,
    Progress,
    exits_properly,
    leaving_at_once,
    tell_pairing,
)
from fnetcli.cli.eval_console import (
    SHOWN_PROBLEMS,
    Results,
    cost_contents,
    score_all,
    tell_costs,
    tell_end,
    tell_errors,
    write_files,
)
from fnetcli.cli.eval_makers import Errors, Makers, kept
from fnetcli.cli.options.cameras import GivenCamera
from fnetcli.cli.options.cluster import GivenCluster
from fnetcli.cli.options.files import GivenPairing, GivenReading
from fnetcli.cli.options.group import takes_groups
from fnetcli.cli.options.images import GivenImages
from fnetcli.cli.options.network import GivenDevice, GivenPrecision, GivenTiles
from fnetcli.cli.options.scaling import GivenScaling, GivenScope, GivenSize
from fnetcli.cli.options.scores import GivenMethods, GivenScoreFiles, GivenScoreRun, GivenScores
from fnetcli.cli.options.talking import GivenQuiet, GivenVerbosity
from fnetcli.cores import usable_cores
from fnetcli.errors import UsageError
from fnetcli.runs.batch import EXIT_DONE, EXIT_FAILED
from fnetcli.runs.protect import Inputs, ResultFiles

if TYPE_CHECKING:
    from fnetcli.engine import EngineOptions
    from fnetcli.evaluation.fused_files import FoundMethods
    from fnetcli.evaluation.run import EvalJob, EvaluationRun
    from fnetcli.inputs.pairing import Pairing
    from fnetcli.runs.crew.options import CrewOptions

MAX_WORKERS = 8  # by default


@exits_properly
@takes_groups
def evaluate(
    images: GivenImages,
    camera: GivenCamera,
    methods: GivenMethods,
    scores: GivenScores,
    results: GivenScoreFiles,
    pairing: GivenPairing,
    reading: GivenReading,
    scaling: GivenScaling,
    scope: GivenScope,
    size: GivenSize,
    running: GivenScoreRun,
    device: GivenDevice,
    cluster: GivenCluster,
    precision: GivenPrecision,
    tiles: GivenTiles,
    verbosity: GivenVerbosity,
    quiet: GivenQuiet,
) -> int:
    """Score fused images against their sources, for one or several methods.

    One method: fnet eval --vis DIR --ir DIR --fused DIR. Several: --fused CDDFuse=DIR --fused
    ours=DIR --baselines. To fuse in memory and score: --weights FILE. The table goes to stdout,
    with the best in bold and the second best underlined (* and + in files and pipes), unless a
    result below is written there (-). docs/metrics.md explains the scores. Scores are cached, so a
    second run computes only new ones.
    """
    with leaving_at_once():
        from fnetcli.evaluation.fused_files import fused_methods, require_names, split_suffixes
        from fnetcli.evaluation.metric_names import choose_metrics
        from fnetcli.evaluation.run import EvalJob
        from fnetcli.pictures.prepare import PrepareOptions
        from fnetcli.pictures.survey import survey

    files = ResultFiles(results.named())
    console = Console(
        is_quiet=quiet.quiet, is_verbose=verbosity.verbose, has_results=not files.has_stdout
    )
    chosen = choose_metrics(scores.metrics, scores.convention.value)
    crew, makers = _workers(console, methods, cluster, device, tiles.options(precision.precision))
    is_without = not images.given and pairing.pairs is None and camera.flir is None
    if scores.cost_size is not None and is_without:
        return _only_cost(console, makers, scores.cost_size, files, has_files=bool(methods.fused))
    of_methods, of_sources = split_suffixes(pairing.suffix or [])
    modalities, found = _find(camera, images, replace(pairing, suffix=of_sources), reading)
    of_files = reading.options(modalities)
    prepare = PrepareOptions(
        modalities,
        scaling.options(modalities),
        camera.applied_to(of_files, modalities),
        size.resize,
        aligns_by_camera=camera.has_both,
    )
    tell_pairing(console, found)
    found.require_cases()
    has_frames = any(case.page is not None for case in found.cases)  # results in sub-folders
    is_deep = pairing.recursive or bool(pairing.match) or has_frames
    fused = fused_methods(found, methods.fused or [], of_methods, is_recursive=is_deep)
    _tell_strays(console, fused)
    made = makers.entrants(modalities)
    entrants = (*fused.entrants, *made)
    require_names([entrant.method.name for entrant in entrants], modalities)
    sources = [path for case in found.cases for path in (case.first, case.second)]
    scored = [path for entrant in fused.entrants for path in entrant.files.values()]
    lists = [pairing.pairs] if pairing.pairs else []
    files.check(Inputs([*sources, *scored, *makers.paths, *lists]))
    workers = running.workers or min(MAX_WORKERS, usable_cores())
    with Progress(None, "headers and ranges", console) as progress:
        surveyed = survey(
            found.cases,
            prepare,
            scope=scope.of_pictures,
            workers=workers,
            on_step=progress.step,
        )
    for notice in surveyed.notices:
        console.notice(notice)
    for warning in surveyed.warnings:
        console.warning(warning)
    job = EvalJob(
        pairing=found,
        options=surveyed.options,
        entrants=entrants,
        metrics=chosen,
        convention=scores.convention.value,
        reading=replace(of_files[1], bands=()),  # those are of the sources
    )
    run = _run(console, job, workers, crew, has_cache=not running.no_cache, is_debug=quiet.debug)
    scored_all = Results(score_all(console, run), all_cases=scores.all_cases)
    errors: Errors = []
    with kept(errors):
        scored_all.tell(console)
    costs = makers.costs(scores.cost_size, errors) if scores.cost_size else []
    with kept(errors):
        tell_costs(console, costs)
    write_files(
        files, scored_all.contents(costs, run, results.report_cases, console), errors, console
    )
    tell_end(console, run, scored_all.evaluation)
    tell_errors(console, errors)
    has_gaps = bool(scored_all.evaluation.problems or found.unpaired)
    is_failure = run.failed or errors or (pairing.strict and has_gaps)
    return EXIT_FAILED if is_failure else EXIT_DONE


def _find(
    camera: GivenCamera, images: GivenImages, pairing: GivenPairing, reading: GivenReading
) -> tuple[tuple[str, str], Pairing]:
    """Return the modalities and the cases; volumes are not scored. Raise UsageError."""
    if camera.flir is None:
        return pairing.find(images.given, reading)
    found = camera.find(images.given, pairing, reading)
    return found.modalities, found.pairing


def _tell_strays(console: Console, fused: FoundMethods) -> None:
    """Print which images belong to no case."""
    for name, strays in fused.strays.items():
        console.notice(f"{name}: {len(strays)} images belong to no case")
        for stray in strays[:SHOWN_PROBLEMS]:
            console.detail(f"{name}: belongs to no case: {stray}")


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
