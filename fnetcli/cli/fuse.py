"""`fnet fuse`: read pairs, write fused images, parts and maps."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fnetcli.cli.console import (
    Console,
    Progress,
    exits_properly,
    leaving_at_once,
    tell_pairing,
)
from fnetcli.cli.fuse_console import Watcher, tell_end, tell_merged, tell_plan, write_report
from fnetcli.cli.fuse_film import GivenFuse, fuse_film
from fnetcli.cli.options.cameras import GivenCamera
from fnetcli.cli.options.cluster import GivenCluster
from fnetcli.cli.options.files import GivenPairing, GivenReading
from fnetcli.cli.options.films import GivenFilm
from fnetcli.cli.options.group import takes_groups
from fnetcli.cli.options.images import GivenImages
from fnetcli.cli.options.network import (
    GivenDevice,
    GivenMethod,
    GivenPrecision,
    GivenTiles,
    GivenWeights,
)
from fnetcli.cli.options.registration import GivenRegistration, GivenView
from fnetcli.cli.options.results import GivenResults, GivenRun
from fnetcli.cli.options.scaling import GivenScaling, GivenScope, GivenSize
from fnetcli.cli.options.talking import GivenQuiet, GivenVerbosity
from fnetcli.cli.options.volumes import (
    FoundInputs,
    GivenAlignment,
    GivenLayout,
    GivenVolume,
    GivenVolumeResults,
    refuse_for_pictures,
    refuse_for_volumes,
    require_folder,
)
from fnetcli.errors import UsageError
from fnetcli.runs.batch import EXIT_DONE, EXIT_FAILED
from fnetcli.text import number_of, verb_of

if TYPE_CHECKING:
    from fnetcli.engine import Wanted
    from fnetcli.imaging.intensity import ScalingOptions
    from fnetcli.inputs.pairing import Pairing
    from fnetcli.pictures.fuse import FuseOptions
    from fnetcli.runs.crew.options import CrewOptions
    from fnetcli.runs.network import LoadedMethod, MethodSource
    from fnetcli.runs.plan import Job
    from fnetcli.runs.process import MadeT, PathsT, PreparedT
    from fnetcli.runs.protect import ResultFiles
    from fnetcli.volumes.prepare import VolumePrepareOptions


@exits_properly
@takes_groups
def fuse(
    images: GivenImages,
    camera: GivenCamera,
    film: GivenFilm,
    pairing: GivenPairing,
    reading: GivenReading,
    scaling: GivenScaling,
    scope: GivenScope,
    size: GivenSize,
    registration: GivenRegistration,
    view: GivenView,
    weights: GivenWeights,
    method: GivenMethod,
    results: GivenResults,
    running: GivenRun,
    layout: GivenLayout,
    volume: GivenVolume,
    alignment: GivenAlignment,
    volume_results: GivenVolumeResults,
    device: GivenDevice,
    cluster: GivenCluster,
    precision: GivenPrecision,
    tiles: GivenTiles,
    verbosity: GivenVerbosity,
    quiet: GivenQuiet,
) -> int:
    r"""Fuse one pair of files, all pairs of two folders or a list, volumes, or films.

    \b
    fnet fuse --vis a.png --ir b.png                one pair; results in fnet-out
    fnet fuse --vis VIS --ir IR -o OUT              pairs: files of the same name
    fnet fuse --ct CT_DIR --mri scan.nii.gz -o OUT  volumes
    fnet fuse --vis a.mp4 --ir b.mp4 -o fused.mp4   films

    Writes OUT/fused, OUT/unique_<modality> and OUT/common; OUT/manifest.jsonl records how each
    result was made. Run the same command again to resume. Paths of the fused images go to stdout.
    """
    with leaving_at_once():
        from fnetcli.engine import Wanted
        from fnetcli.pictures.prepare import PrepareOptions
        from fnetcli.runs.picture_jobs import (
            PictureRunOptions,
            default_workers,
            kind_of_file,
            picture_job,
        )
        from fnetcli.runs.protect import ResultFiles, require_outside

    files = ResultFiles({"--json": running.summary, "--save-transform": view.save_transform})
    console = Console(
        is_quiet=quiet.quiet,
        is_verbose=verbosity.verbose,
        has_results=not running.dry_run and not files.has_stdout,
    )
    source = method.source(weights, device, precision, tiles)
    of_volumes = (volume.given(), alignment.given(), volume_results.given())
    if film.makes_film(results.out, [*images.given.values(), *camera.paths]):
        refuse_for_pictures(layout.given(), *of_volumes)
        of_frames = (reading, scaling, scope, size, registration, view, weights, results)
        given = GivenFuse(images.given, film, camera, pairing, *of_frames, running, cluster)
        return fuse_film(console, given, source, files)
    found = camera.find(images.given, pairing, reading, layout)
    if found.info:
        console.notice(found.info)
    modalities, out = found.modalities, results.out
    is_file = kind_of_file(out, found.pairing) is not None
    if is_file and results.report:
        raise UsageError(f"-o {out}: names a file; give a folder with --report")
    if found.has_volumes:
        require_folder(out)
        refuse_for_volumes(
            {
                "--page": reading.page,
                "--band": reading.band,
                **scaling.of_pictures(),
                **scope.given(),
                **camera.given(),
                **size.given(),
                **view.given(),
                **results.of_pictures(),
                f"-o {out}": is_file,
            }
        )
    else:
        refuse_for_pictures({"--each-volume": layout.each_volume}, *of_volumes)
    scalings = scaling.options(modalities)
    found, volumes = _of_volumes(
        *(console, found, layout, volume, alignment, registration, scalings, reading),
        is_strict=pairing.strict,
    )
    require_outside(out, found.pairing)
    tell_pairing(console, found.pairing)
    found.pairing.require_cases()
    part = running.chosen_part(is_file=is_file, wants_report=results.report)
    if running.merge_parts:
        return tell_merged(console, out, found.pairing)
    crew = cluster.crew(device.device)
    source = source.of(modalities)
    further = [*source.files, pairing.pairs, registration.transform]
    session = _Session(
        console,
        running,
        files,
        [path for path in further if path],
        running.workers or default_workers(),
        pairing.strict,
        results.report,
        quiet.debug,
        source,
        crew,
        Wanted(features=results.features),
        view,
    )
    if volumes is not None:
        from fnetcli.runs.volume_jobs import VolumeRunOptions, volume_job

        network = session.load(found.pairing)
        options = VolumeRunOptions(
            mix=volume_results.mix(
                results.gains(network.products, modalities), is_grey=results.gray
            ),
            target=volume_results.to.value,
            maps=results.maps_kind,
            existing=results.existing.value,
            keeps_shear=volume_results.keep_shear,
            is_multi_frame=volume_results.multi_frame,
        )
        job = volume_job(found.pairing, volumes, network, out, options)
        before = "registering" if volumes.registers else "resampling"
        return session.run(
            replace(job, part=part), network, before_slices=f"reading and {before} volumes"
        )
    prepare = PrepareOptions(
        modalities,
        scalings,
        camera.applied_to(reading.options(modalities), modalities),
        size.resize,
        view.saved(
            registration.place(size.resize, view, of_camera=camera.has_both),
            len(found.pairing.cases),
        ),
    )
    network = session.load(found.pairing)
    with Progress(None, "headers and ranges", console) as progress:
        surveyed = picture_job(
            found.pairing,
            prepare,
            network,
            out,
            PictureRunOptions(
                mix=results.mix(results.gains(network.products, modalities)),
                kind=results.kind and results.kind.value,
                depth=results.depth.value,
                maps=results.maps_kind,
                with_features=results.features,
                scope=scope.of_pictures,
                existing=results.existing.value,
            ),
            workers=session.workers,
            on_step=progress.step,
        )
    for notice in surveyed.notices:
        console.notice(notice)
    for warning in surveyed.warnings:
        console.warning(warning)
    session.save_transform(surveyed.options)
    return session.run(replace(surveyed.job, part=part), network, surveyed.options)


def _of_volumes(
    console: Console,
    found: FoundInputs,
    layout: GivenLayout,
    volume: GivenVolume,
    alignment: GivenAlignment,
    registration: GivenRegistration,
    scalings: tuple[ScalingOptions, ScalingOptions],
    reading: GivenReading,
    *,
    is_strict: bool,
) -> tuple[FoundInputs, VolumePrepareOptions | None]:
    """Return the cases, all volumes of a sequence among them, and options; None for pictures."""
    if not found.has_volumes:
        return found, None
    from fnetcli.runs.volume_jobs import named_cases

    plain = volume.options(found.modalities, scalings, reading.pixel_limit, registration.reference)
    options = alignment.applied_to(plain, registration, is_strict=is_strict)
    if layout.each_volume:
        with Progress(len(found.pairing.cases), "cases", console) as progress:
            found = found.with_each_volume(options, progress.step)
    return replace(found, pairing=named_cases(found.pairing, options)), options


@dataclass(frozen=True)
class _Session:
    """One call of the command, from loading the network to the exit code."""

    console: Console
    running: GivenRun
    files: ResultFiles
    further_inputs: list[Path]  # weights, a list, a transform
    workers: int
    is_strict: bool
    wants_report: bool
    is_debug: bool
    source: MethodSource
    crew: CrewOptions | None  # who fuses; None: this process
    wanted: Wanted
    view: GivenView

    def load(self, pairing: Pairing) -> LoadedMethod:
        """Check the result files, load the network and print what it is. Raise UsageError."""
        from fnetcli.runs.protect import Inputs

        if self.files.paths:
            self.files.check(Inputs([*pairing.paths, *self.further_inputs]))
        count = number_of(len(pairing.cases), "pair")
        if self.crew is not None:
            network = self.source.load_for_others()
            where = f"cluster {self.crew.cluster.address}" if self.crew.cluster else "devices "
            where += ", ".join(self.crew.devices)
            self.console.notice(f"{count}, {network.title}, {where}")
            return network
        network = self.source.load(self.console.notice)
        self.console.notice(f"{count}, {network.title}, device {network.engine.device}")
        if not self.running.dry_run:  # the network's inner loop may be compiled here
            network.require_memory(self.wanted)
            self.console.detail(network.at_work)
        self.console.tell_method(network)
        return network

    def save_transform(self, options: FuseOptions) -> None:
        """Write the transform of all pairs, if it is asked for."""
        if not self.running.dry_run:
            self.view.save(options.prepare.place, self.console.notice)

    def run(
        self,
        job: Job[PathsT, PreparedT, MadeT],
        network: LoadedMethod,
        options: FuseOptions | None = None,
        *,
        before_slices: str = "",
    ) -> int:
        """Plan and run all cases, and print how the run ended; return the exit code.

        `before_slices`: of volumes, what takes time before their first slice is fused.
        """
        from fnetcli.runs.room import features_room
        from fnetcli.runs.run import FusionRun

        console, running = self.console, self.running
        counts_slices = bool(before_slices) and self.crew is None  # workers tell of whole volumes
        watcher = Watcher(console, before_slices=before_slices if counts_slices else "")
        run = FusionRun(job, watcher, command=["fnet", *sys.argv[1:]])
        with Progress(len(job.cases), "cases compared", console) as progress:
            run.look(progress.step)
        if run.damaged_lines:
            console.warning(
                f"{run.manifest_path}: {number_of(run.damaged_lines, 'line')} "
                f"{verb_of(run.damaged_lines)} damaged; what the manifest lacks is fused again"
            )
        if running.dry_run:
            return tell_plan(console, run, running.summary, is_strict=self.is_strict)
        room = options and features_room(run.plan, job.out, options)
        if room:
            console.notice(room.info)
        if room and room.warning:
            console.warning(room.warning)
        for case in run.plan.skipped:
            console.result(str(run.plan.paths(case).fused))
        count, unit = (None, "slices") if counts_slices else (len(run.plan.todo), "pairs")
        try:
            with Progress(count, unit, console) as watcher.progress:
                watcher.begin()
                if self.crew is not None:
                    run.hand_out(
                        self.crew,
                        self.source.on("auto").with_content(),
                        self.wanted,
                        console.notice,
                        stops_at_failure=running.fail_fast,
                        is_debug=self.is_debug,
                    )
                else:
                    run.work(
                        network.engine,
                        workers=self.workers,
                        stops_at_failure=running.fail_fast,
                        is_debug=self.is_debug,
                    )
        except BaseException:
            tell_end(console, run, watcher, running.summary, is_ending=True)
            raise
        tell_end(console, run, watcher, running.summary)
        if self.wants_report and options is not None:
            write_report(console, run, options, self.workers)
        totals = run.totals()
        is_fine = not totals["failed"] and not totals["left"]
        has_gaps = self.is_strict and totals["unpaired"]
        return EXIT_DONE if is_fine and not has_gaps else EXIT_FAILED
