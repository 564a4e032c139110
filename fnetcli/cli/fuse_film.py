"""`fnet fuse` of films and sequences of frames into a film."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fnetcli.cli.console import Console, Progress, leaving_at_once, tell_pairing, to_stdout
from fnetcli.cli.options.cameras import GivenCamera
from fnetcli.cli.options.cluster import GivenCluster
from fnetcli.cli.options.files import GivenPairing, GivenReading
from fnetcli.cli.options.films import GivenFilm
from fnetcli.cli.options.network import GivenWeights
from fnetcli.cli.options.registration import GivenRegistration, GivenView
from fnetcli.cli.options.results import DepthChoice, ExistingChoice, GivenResults, GivenRun
from fnetcli.cli.options.scaling import GivenScaling, GivenScope, GivenSize, ScopeChoice
from fnetcli.errors import UsageError
from fnetcli.runs.batch import EXIT_DONE, EXIT_FAILED
from fnetcli.runs.protect import STDOUT
from fnetcli.text import number_of, per_second, verb_of

if TYPE_CHECKING:
    from fnetcli.films.run import FilmJob, FilmRun
    from fnetcli.films.sequences import FrameSequence
    from fnetcli.runs.network import LoadedMethod, MethodSource
    from fnetcli.runs.protect import ResultFiles


@dataclass(frozen=True)
class GivenFuse:
    """What `fnet fuse` was given that decides a film."""

    images: dict[str, Path]
    film: GivenFilm
    camera: GivenCamera
    pairing: GivenPairing
    reading: GivenReading
    scaling: GivenScaling
    scope: GivenScope
    size: GivenSize
    registration: GivenRegistration
    view: GivenView
    weights: GivenWeights
    results: GivenResults
    running: GivenRun
    cluster: GivenCluster


def fuse_film(
    console: Console,
    given: GivenFuse,
    source: MethodSource,
    files: ResultFiles,
) -> int:
    """Fuse two sequences into a film; return the exit code."""
    _refuse(given)
    with leaving_at_once():
        from fnetcli.films.run import FilmRun
        from fnetcli.runs.protect import Inputs, require_writable

    timing = given.film.timing()
    modalities, sequences = _sequences(console, given)
    out = _path_of_film(given, sequences[1])
    source = source.of(modalities)
    inputs = Inputs([file for one in sequences for file in one.files] + source.files)
    inputs.require_free(out, f"-o {out}")
    Inputs([one.path for one in sequences]).require_outside(out, f"-o {out}")
    require_writable(f"-o {out}", out)
    files.check(inputs, [out])
    if given.results.existing is ExistingChoice.error and os.path.lexists(out):
        raise UsageError(f"{out}: exists; remove it, or use --existing skip or overwrite")
    has_other_lengths = _tell_sequences(console, modalities, sequences)
    network = source.load(console.notice)
    job = _job(given, modalities, sequences, out, network, timing)
    console.tell_method(network)
    network.require_memory(job.options.wanted())
    job = _surveyed(console, job)
    if not given.running.dry_run:
        given.view.save(job.options.prepare.place, console.notice)
    run = FilmRun(job, network)
    run.look()
    if given.results.existing is ExistingChoice.overwrite:
        run.is_done = False
    if given.running.dry_run:
        count = number_of(job.expected, "frame") if job.expected else "? frames"
        what = "is done" if run.is_done else f"would be fused into {count}"
        console.notice(f"{out}: {what}; nothing was written")
        console.result(str(out))
    elif run.is_done:
        console.notice(f"{out}: already made from these files with these options; skipped")
        console.result(str(out))
    else:
        _work(console, run)
    if given.running.summary is not None:
        _write_summary(given.running.summary, run.summary())
    return EXIT_FAILED if given.pairing.strict and has_other_lengths else EXIT_DONE


def _refuse(given: GivenFuse) -> None:
    """Raise UsageError for options that apply only to pictures."""
    results, running = given.results, given.running
    wants_maps = results.maps_kind not in (None, "none")
    for option, value in {
        "--pairs": given.pairing.pairs,
        "--page": given.reading.page,
        "--format": results.kind,
        "--maps": wants_maps,
        "--features": results.features,
        "--report": results.report,
        "--part": running.part,
        "--merge-parts": running.merge_parts,
        "--workers": running.workers,
        "--cluster": given.cluster.cluster,
        "--depth float": results.depth is DepthChoice.float,
    }.items():
        if value:
            raise UsageError(
                f"{option}: applies only to pictures, but a film is made; leave it out"
            )


def _sequences(
    console: Console, given: GivenFuse
) -> tuple[tuple[str, str], tuple[FrameSequence, FrameSequence]]:
    """Return the modalities in the network's order, and what is fused. Raise UsageError."""
    from fnetcli.films.sequences import sequence_of, sequences_of_pairs
    from fnetcli.modalities import network_order

    camera, pairing, images = given.camera, given.pairing, given.images
    if camera.has_both or all(path.is_dir() for path in images.values()):
        found = camera.find(images, pairing, given.reading)
        tell_pairing(console, found.pairing)
        found.pairing.require_cases()
        modalities = found.modalities
        reading = camera.applied_to(given.reading.options(modalities), modalities)
        paths = tuple(camera.flir or images[name] for name in modalities)
        rate, other = given.film.rates(modalities)
        if rate != other:
            raise UsageError("--frame-rate: pairs of pictures have one rate; give one number")
        pair = sequences_of_pairs(found.pairing, (paths[0], paths[1]), reading, rate)
        return modalities, pair
    modalities = network_order(list(images))
    left, right = (images[name] for name in modalities)
    if left.exists() and right.exists() and left.samefile(right):
        raise UsageError(
            f"{right}: both sides are the same file, which would be fused with itself; give two"
        )
    for option, value in pairing.of_names().items():
        if value:
            raise UsageError(
                f"{option}: applies only to two folders, but frames are paired by time; leave it "
                "out"
            )
    reading = camera.applied_to(given.reading.options(modalities), modalities)
    rates = given.film.rates(modalities)
    first, second = (
        sequence_of(images[name], how, rate)
        for name, how, rate in zip(modalities, reading, rates, strict=True)
    )
    return modalities, (first, second)


def _path_of_film(given: GivenFuse, second: FrameSequence) -> Path:
    """Return the file that -o names, or one in the folder that it names."""
    from fnetcli.formats.film.pyav import is_film

    out = given.results.out
    if is_film(out) and not out.is_dir():
        return out
    if out.exists() and not out.is_dir():
        raise UsageError(f"-o {out}: is a file; give a folder, or a name that ends in .mp4 or .mkv")
    if out.suffix and not out.is_dir():
        raise UsageError(
            f"-o {out}: a film is made; give a name that ends in .mp4, .mkv or .avi, or a folder"
        )
    is_deep = given.results.depth is DepthChoice.sixteen
    codec = None if given.film.codec is None else given.film.codec.value
    suffix = ".mkv" if is_deep or codec in {"ffv1", "mjpeg"} else ".mp4"
    return out / "fused" / f"{second.path.stem or 'film'}{suffix}"


def _tell_sequences(
    console: Console, modalities: tuple[str, str], sequences: tuple[FrameSequence, FrameSequence]
) -> bool:
    """Print what is fused; return whether one sequence is longer than the other."""
    for modality, one in zip(modalities, sequences, strict=True):
        length = "" if one.length is None else f", {float(one.length):.2f} s"
        console.notice(
            f"{modality}: {one.path}: {one.info}, {one.width}x{one.height}, "
            f"{per_second(float(one.rate))}{length}"
        )
        if not one.has_times:
            console.notice(
                f"{modality}: its pictures have no times, so they are taken to be "
                f"{per_second(float(one.rate))} (--frame-rate)"
            )
    lengths = [one.length for one in sequences]
    first, second = lengths
    if first is None or second is None:
        return False
    if abs(first - second) <= max(1 / one.rate for one in sequences):
        return False
    console.warning(
        f"{modalities[0]} lasts {float(first):.2f} s, {modalities[1]} {float(second):.2f} s: only "
        "the time that both show is fused"
    )
    return True


def _job(
    given: GivenFuse,
    modalities: tuple[str, str],
    sequences: tuple[FrameSequence, FrameSequence],
    out: Path,
    network: LoadedMethod,
    timing: Any,
) -> FilmJob:
    """Put all options together. Raise UsageError for what does not go together."""
    from fnetcli.films.run import FilmJob
    from fnetcli.formats.film import choose_coding
    from fnetcli.pictures.fuse import FuseOptions
    from fnetcli.pictures.outputs import OutputOptions
    from fnetcli.pictures.prepare import PrepareOptions
    from fnetcli.runs.network import require_products

    film, results, camera = given.film, given.results, given.camera
    is_deep = results.depth is DepthChoice.sixteen
    coding = choose_coding(
        out,
        None if film.codec is None else film.codec.value,
        None if film.quality is None else film.quality.value,
        is_deep=is_deep,
    )
    if timing.rate is None and not coding.container.has_times:
        timing = replace(timing, rate=sequences[1].rate / timing.every, every=1)
    gains = results.gains(network.products, modalities)
    require_products(network.products, has_gains=bool(gains), of=network.subject)
    prepare = PrepareOptions(
        modalities,
        given.scaling.options(modalities),
        camera.applied_to(given.reading.options(modalities), modalities),
        given.size.resize,
        given.registration.of_film(given.size.resize, given.view, of_camera=camera.has_both),
    )
    output = OutputOptions(depth="16" if is_deep else "8", maps="none")
    options = FuseOptions(prepare, network.products, results.mix(gains), output)
    scope = given.scope.stretch_scope or ScopeChoice.folder
    return FilmJob(sequences, timing, options, scope.value, coding, out)


def _surveyed(console: Console, job: FilmJob) -> FilmJob:
    """Choose what the whole film decides."""
    from fnetcli.films.ranges import survey_film

    with Progress(None, "frames measured", console) as progress:
        prepare, messages = survey_film(
            job.sequences, job.options.prepare, job.timing, job.scope, progress.step
        )
    for notice in messages.notices:
        console.notice(notice)
    for warning in messages.warnings:
        console.warning(warning)
    return replace(job, options=replace(job.options, prepare=prepare))


def _work(console: Console, run: FilmRun) -> None:
    """Make the film, and print how far it is and what was found."""
    expected = run.job.expected
    progress = Progress(None, "frames", console)

    def begin(begun: FilmRun) -> None:
        if begun.is_anew:
            console.notice(
                f"{run.folder}: its pieces were made from other files or options; starting from "
                "the beginning"
            )
        if begun.resumed:
            console.notice(
                f"{number_of(begun.resumed, 'frame')} {verb_of(begun.resumed)} done already; "
                "continuing from there"
            )
        if expected is not None:
            progress.expect(max(1, expected - begun.resumed))

    run.on_frame = progress.step
    try:
        with progress:
            run.work(begin)
    finally:
        for warning in run.warnings():
            console.warning(warning)
    shape, count = run.summary()["size"], run.progress.place.index
    console.notice(f"{number_of(count, 'frame')} of {shape} fused, coded as {run.job.coding.name}")
    console.result(str(run.job.out))


def _write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write a summary to a file or to stdout. Raise WriteError, OutputError."""
    from fnetcli.files.durable import atomic_write

    text = json.dumps(summary, indent=2) + "\n"
    if path == STDOUT:
        to_stdout(text)
    else:
        atomic_write(path, lambda file: file.write(text.encode()))
