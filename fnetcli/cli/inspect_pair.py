"""`fnet inspect` of a pair: two pictures, or a slice of two volumes."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fnetcli.cli.console import Console, Progress, leaving_at_once
from fnetcli.cli.inspect_files import require_json, results_in, write_json
from fnetcli.cli.options.files import GivenPairing, GivenReading
from fnetcli.cli.options.inspection import GivenInspection
from fnetcli.cli.options.scaling import GivenScaling, GivenSize
from fnetcli.cli.options.volumes import (
    AxisChoice,
    FoundInputs,
    GivenVolume,
    find_inputs,
    refuse_for_pictures,
    refuse_for_volumes,
)
from fnetcli.errors import PairError, UsageError
from fnetcli.inspection.names import FEATURES_FILE
from fnetcli.runs.batch import EXIT_DONE
from fnetcli.runs.protect import Inputs, is_below

if TYPE_CHECKING:
    from fnetcli.checkpoints.loading import Weights
    from fnetcli.engine import Engine, EngineOptions
    from fnetcli.inputs.pairing import Case
    from fnetcli.inspection.fnet.trace import TraceOptions
    from fnetcli.inspection.subject import Subject
    from fnetcli.reports.inspection_files import InspectedPair

DEFAULT_OUT = Path("fnet-inspect")


@dataclass(frozen=True)
class GivenPair:
    """What was given of a pair."""

    images: dict[str, Path]
    weights: str | None
    results: GivenInspection
    reading: GivenReading
    scaling: GivenScaling
    size: GivenSize
    volume: GivenVolume

    @property
    def out(self) -> Path:
        """The folder for the results."""
        return self.results.out or DEFAULT_OUT

    def command(self) -> str:
        """Return the command that fuses this pair to the same pixels."""
        axis = self.volume.axis
        given: dict[str, list[str] | str | None] = {
            **{f"--{name}": str(path) for name, path in self.images.items()},
            "--page": self.reading.page,
            "--bits": self.scaling.bits,
            "--range": self.scaling.value_range,
            "--stretch": self.scaling.stretch,
            "--invert": self.scaling.invert,
            "--resize": self.size.resize,
            "--series": self.volume.series,
            "--volume": self.volume.volume,
            "--window": self.volume.window,
            "--reference": self.volume.reference,
            "--axis": None if axis is AxisChoice.auto else axis.value,
            "--weights": self.weights,
        }
        words = ["fnet", "fuse"]
        for option, value in given.items():
            for text in [value] if isinstance(value, str) else value or ():
                words += [option, text]
        return shlex.join(words)


def inspect_pair(
    console: Console, given: GivenPair, device: str, engine_options: EngineOptions
) -> int:
    """Look into a pair, write everything and say what was found; return the exit code."""
    with leaving_at_once():
        from fnetcli.inspection.fnet.trace import TraceOptions
        from fnetcli.runs.network import NetworkSource

    out, results = given.out, given.results
    found = find_inputs(given.images, GivenPairing())
    if found.info:
        console.notice(found.info)
    read = _find_pair(given, found)
    network = NetworkSource(given.weights, device, engine_options).load(console.notice)
    subject = read()
    wanted = TraceOptions(with_codes=results.codes, with_iterations=results.iterations)
    with results_in(out):
        pair, files = _inspect(
            console,
            network.engine,
            network.weights,
            found.modalities,
            subject,
            wanted,
            given.command(),
            out,
        )
    shown = {str(out / name): scale for name, scale in files.items()}
    _tell_pair(console, pair, shown, results.json_file)
    return EXIT_DONE


def _find_pair(given: GivenPair, found: FoundInputs) -> Callable[[], Subject]:
    """Return what reads the pair. Raise UsageError."""
    found.pairing.require_cases(may_look_deeper=False)
    if len(found.pairing.cases) > 1:
        raise UsageError(
            f"{len(found.pairing.cases)} pairs: one is inspected at a time; name two files"
            + " or volumes" * found.has_volumes
        )
    (case,) = found.pairing.cases
    _require_outside(given.out, case)
    require_json(given.results.json_file, given.out, Inputs((case.first, case.second)))
    if found.has_volumes:
        return _volume_slice(given, found.modalities, case)
    return _pictures(given, found.modalities, case)


def _require_outside(out: Path, case: Case) -> None:
    """Refuse a folder for results that holds an input, or lies among inputs."""
    for path in (case.first, case.second):
        if path.is_dir() and is_below(out, path):
            raise UsageError(f"-o {out}: lies in an input folder; choose a folder outside")
        if not path.is_dir() and os.path.realpath(out) == os.path.realpath(path.parent):
            raise UsageError(f"-o {out}: holds an input; choose another folder")


def _pictures(given: GivenPair, modalities: tuple[str, str], case: Case) -> Callable[[], Subject]:
    from fnetcli.inspection.subject import two_pictures
    from fnetcli.pictures.prepare import PrepareOptions

    refuse_for_pictures(given.volume.given())
    if given.results.slice_number is not None:
        raise UsageError(
            "--slice: is for volumes (DICOM, NIfTI), but pictures are given; leave it out"
        )
    options = PrepareOptions(
        modalities=modalities,
        scaling=given.scaling.options(modalities),
        reading=given.reading.options(modalities),
        resize_to=given.size.resize,
    )
    return lambda: two_pictures(case, options)


def _volume_slice(
    given: GivenPair, modalities: tuple[str, str], case: Case
) -> Callable[[], Subject]:
    from fnetcli.inspection.subject import one_slice

    of_reading = {"--page": given.reading.page}
    refuse_for_volumes({**of_reading, **given.scaling.of_pictures(), **given.size.given()})
    options = given.volume.options(
        modalities, given.scaling.options(modalities), given.reading.pixel_limit
    )
    return lambda: one_slice(case, options, given.results.slice_number)


def _inspect(
    console: Console,
    engine: Engine,
    loaded: Weights,
    modalities: tuple[str, str],
    subject: Subject,
    wanted: TraceOptions,
    command: str,
    out: Path,
) -> tuple[InspectedPair, dict[str, str]]:
    """Look into a pair and write everything; return it, and what the scale of each file is."""
    from importlib.metadata import version

    from fnetcli.files.durable import scratch_array
    from fnetcli.inspection.fnet.numbers import measure_pair
    from fnetcli.inspection.fnet.trace import count_steps, trace_pair
    from fnetcli.inspection.fnet.weights import checkpoint_facts, dictionaries
    from fnetcli.pictures.misalignment import estimate_misalignment
    from fnetcli.reports.inspection_files import (
        InspectedPair,
        count_files,
        features_bytes,
        write_pair,
    )

    x, y = subject.luminances
    config = engine.network.config
    megabytes = features_bytes(x.shape, config, wanted) / 1e6
    console.notice(
        f"{subject.name}: {x.shape[1]}x{x.shape[0]}, weights {loaded.name}, device "
        f"{engine.device}; {FEATURES_FILE} takes {megabytes:,.0f} MB"
    )
    for notice in (*subject.info, *loaded.notices(), *engine.notices):
        console.notice(notice)
    console.detail(f"network: {engine.path}")
    with Progress(count_steps(config, wanted) + 1 + count_files(), "steps", console) as progress:
        try:
            trace = trace_pair(
                engine,
                x,
                y,
                wanted,
                allocate=lambda shape: scratch_array(out / FEATURES_FILE, shape, "float16"),
                on_step=progress.step,
            )
        except PairError as error:
            raise PairError(f"{subject.name}, weights {loaded.name}: {error}") from None
        misalignment = estimate_misalignment(x, y)
        progress.step()
        finished = subject.finish(trace.fusion)
        pair = InspectedPair(
            name=subject.name,
            modalities=modalities,
            sources=subject.sources,
            fused=finished.picture,
            luminances=subject.luminances,
            trace=trace,
            numbers=measure_pair(x, y, trace),
            misalignment=misalignment,
            network=checkpoint_facts(loaded),
            dictionaries=dictionaries(loaded.network),
            said=subject.info,
            notices=(*finished.notices, *trace.notices()),
            details={
                "command": shlex.join(["fnet", *sys.argv[1:]]),
                "weights": f"{loaded.name}, sha256 {loaded.sha256}",
                "version": f"fnet {version('fnetcli')}",
            },
            command=command,
        )
        return pair, write_pair(out, pair, progress.step)


def _tell_pair(
    console: Console, pair: InspectedPair, files: Mapping[str, str], json_file: Path | None
) -> None:
    """Print what was found: warnings, tables, files."""
    from fnetcli.reports.inspection_files import pair_record
    from fnetcli.reports.inspection_text import pair_sentences, pair_tables

    for notice in pair.notices:
        console.warning(notice)
    words = pair.misalignment.describe(*pair.modalities)
    if pair.misalignment.is_large:
        console.warning(f"the images do not lie on each other: {words}; align them first")
    else:
        console.notice(words)
    record = pair_record(pair)
    for title, tables in pair_tables(record, console.width).items():
        console.table(title, *tables)
        console.result("")
    for sentence in pair_sentences(record):
        console.result(sentence)
    console.result("")
    for name, scale in files.items():
        console.result(f"{name}: {scale}")
    write_json(json_file, record)
