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
from fnetcli.cli.inspect_files import require_json, require_places, results_in, write_json
from fnetcli.cli.options.cameras import GivenCamera
from fnetcli.cli.options.files import GivenPairing, GivenReading
from fnetcli.cli.options.inspection import GivenInspection
from fnetcli.cli.options.registration import GivenRegistration, GivenView
from fnetcli.cli.options.results import GivenResults
from fnetcli.cli.options.scaling import GivenScaling, GivenSize
from fnetcli.cli.options.volumes import (
    AxisChoice,
    FoundInputs,
    GivenVolume,
    refuse_for_pictures,
    refuse_for_volumes,
)
from fnetcli.errors import UsageError
from fnetcli.runs.batch import EXIT_DONE
from fnetcli.runs.protect import Inputs, ResultFiles, is_below

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fnetcli.engine import EngineOptions
    from fnetcli.inputs.pairing import Case
    from fnetcli.inspection.base import Inspector
    from fnetcli.inspection.pair import InspectedPair, PairTask
    from fnetcli.inspection.subject import Subject
    from fnetcli.runs.network import LoadedNetwork

DEFAULT_OUT = Path("fnet-inspect")


@dataclass(frozen=True)
class GivenPair:
    """The options given for a pair."""

    images: dict[str, Path]
    camera: GivenCamera
    results: GivenInspection
    reading: GivenReading
    scaling: GivenScaling
    size: GivenSize
    registration: GivenRegistration
    view: GivenView
    volume: GivenVolume

    @property
    def out(self) -> Path:
        """The folder for the results."""
        return self.results.out or DEFAULT_OUT

    def command(self) -> str:
        """Return the command that fuses this pair into the same pixels, and where it puts them."""
        axis, spacing = self.volume.axis, self.volume.spacing
        most, usual = self.reading.max_pixels, GivenReading.max_pixels
        given: dict[str, list[str] | str | None] = {
            **{f"--{name}": str(path) for name, path in self.images.items()},
            "--flir": str(self.camera.flir) if self.camera.flir else None,
            "--raw-size": self.camera.raw_size,
            "--page": self.reading.page,
            "--band": self.reading.band,
            "--max-pixels": None if most == usual else f"{most:g}",
            "--bits": self.scaling.bits,
            "--range": self.scaling.value_range,
            "--stretch": self.scaling.stretch,
            "--invert": self.scaling.invert,
            **self.scaling.of_corrections(),
            "--resize": self.size.resize,
            "--series": self.volume.series,
            "--volume": self.volume.volume,
            "--spacing": None if spacing is None else spacing.value,
            "--window": self.volume.window,
            "--denoise": self.volume.denoise,
            **self.registration.words(),
            "--view": None if self.view.view is None else self.view.view.value,
            "--axis": None if axis is AxisChoice.auto else axis.value,
            "--weights": self.results.network,
            "-o": str(GivenResults.out),
        }
        words = ["fnet", "fuse", *(["--ir-rendered"] if self.camera.ir_rendered else [])]
        for option, value in given.items():
            for text in [value] if isinstance(value, str) else value or ():
                words += [option, text]
        return shlex.join(words)


def inspect_pair(
    console: Console,
    given: GivenPair,
    inputs: Inputs,
    device: str,
    engine_options: EngineOptions,
) -> int:
    """Inspect a pair, write all results and print the findings; return the exit code."""
    with leaving_at_once():
        from fnetcli.inspection.base import InspectOptions, written_names
        from fnetcli.inspection.inverse import INVERSE_FILE, load_inverse
        from fnetcli.inspection.pair import PairTask, require_fitting
        from fnetcli.inspection.table import inspector_of
        from fnetcli.runs.network import NetworkSource

    out, results = given.out, given.results
    require_places(out, (), results.json_file, inputs)
    found = given.camera.find(given.images, GivenPairing(), given.reading)
    if found.info:
        console.notice(found.info)
    read = find_pair(given, found)
    network = NetworkSource(
        results.network, device, engine_options, modalities=found.modalities
    ).load(console.notice)
    inspector = inspector_of(network.weights)
    inverse, doubts = None, list[str]()
    if results.inverse is not None:
        inverse, doubts = load_inverse(results.inverse, network.weights)
    options = InspectOptions(results.codes, results.iterations)
    require_fitting(inspector, options, network.weights.network.spec.name)
    names = (*written_names(inspector), *([INVERSE_FILE] if inverse else []))
    require_places(out, names, results.json_file, inputs, inspector.weights_pictures)
    here = shlex.join(["fnet", *sys.argv[1:]])
    subject = read()
    given.view.save(subject.place, console.notice)
    task = PairTask(
        subject, found.modalities, options, given.command(), here, inverse, tuple(doubts)
    )
    with results_in(out):
        pair, scales = _inspect(console, inspector, network, task, out)
    shown = {str(out / name): scale for name, scale in scales.items()}
    _tell_pair(console, pair, shown, results.json_file)
    return EXIT_DONE


def find_pair(given: GivenPair, found: FoundInputs) -> Callable[[], Subject]:
    """Return a function that reads the pair. Raise UsageError."""
    found.pairing.require_cases()
    if len(found.pairing.cases) > 1:
        raise UsageError(
            f"{len(found.pairing.cases)} pairs: only one can be inspected at a time; give two files"
            + " or volumes" * found.has_volumes
        )
    (case,) = found.pairing.cases
    _require_outside(given.out, case)
    inputs = Inputs([case.first, case.second, *given.registration.paths])
    require_json(given.results.json_file, given.out, inputs)
    results = {"--json": given.results.json_file, "--save-transform": given.view.save_transform}
    ResultFiles(results).check(inputs)
    if found.has_volumes:
        return _volume_slice(given, found.modalities, case)
    return _pictures(given, found.modalities, case)


def _require_outside(out: Path, case: Case) -> None:
    """Refuse a results folder that holds an input or lies in an input folder."""
    for path in (case.first, case.second):
        if path.is_dir() and is_below(out, path):
            raise UsageError(f"-o {out}: lies in an input folder; choose a folder outside")
        if not path.is_dir() and os.path.realpath(out) == os.path.realpath(path.parent):
            raise UsageError(f"-o {out}: contains an input; choose another folder")


def _pictures(given: GivenPair, modalities: tuple[str, str], case: Case) -> Callable[[], Subject]:
    from fnetcli.inspection.subject import two_pictures
    from fnetcli.pictures.prepare import PrepareOptions

    refuse_for_pictures(given.volume.given())
    if given.results.slice_number is not None:
        raise UsageError(
            "--slice: applies only to volumes (DICOM, NIfTI), but pictures are given; leave it out"
        )
    place = given.registration.place(given.size.resize, given.view, of_camera=given.camera.has_both)
    options = PrepareOptions(
        modalities=modalities,
        scaling=given.scaling.options(modalities),
        reading=given.camera.applied_to(given.reading.options(modalities), modalities),
        resize_to=given.size.resize,
        place=given.view.saved(place, 1),
    )
    return lambda: two_pictures(case, options)


def _volume_slice(
    given: GivenPair, modalities: tuple[str, str], case: Case
) -> Callable[[], Subject]:
    from fnetcli.inspection.subject import one_slice

    of_files = {"--page": given.reading.page, "--band": given.reading.band}
    of_reading = {**of_files, **given.camera.given()}
    of_place = {**given.registration.given(), **given.view.given()}
    of_place.pop("--reference")
    refuse_for_volumes(
        {**of_reading, **given.scaling.of_pictures(), **given.size.given(), **of_place}
    )
    options = given.volume.options(
        modalities,
        given.scaling.options(modalities),
        given.reading.pixel_limit,
        given.registration.reference,
    )
    return lambda: one_slice(case, options, given.results.slice_number)


def _inspect(
    console: Console, inspector: Inspector, network: LoadedNetwork, task: PairTask, out: Path
) -> tuple[InspectedPair, dict[str, str]]:
    """Inspect a pair and write all results; return it, and the scale of each file."""
    from fnetcli.files.scratch import scratch_array
    from fnetcli.inspection.base import FEATURES_FILE
    from fnetcli.inspection.pair import count_steps, look_into_pair
    from fnetcli.reports.inspection_files import count_files, write_pair

    engine, loaded, subject = network.engine, network.weights, task.subject
    height, width = subject.luminances[0].shape
    megabytes = inspector.features_bytes((height, width), task.options) / 1e6
    console.notice(
        f"{subject.name}: {width}x{height}, weights {loaded.name}, device {engine.device}; "
        f"{FEATURES_FILE} takes {megabytes:,.0f} MB"
    )
    for notice in subject.info:
        console.notice(notice)
    console.tell_method(network)
    console.detail(f"network: {engine.path}")
    steps = count_steps(inspector, task.options) + count_files(inspector)

    def allocate(shape: tuple[int, ...]) -> NDArray[np.float16]:
        return scratch_array(out / FEATURES_FILE, shape, "float16")

    with Progress(steps, "steps", console) as progress:
        pair = look_into_pair(inspector, engine, loaded, task, allocate, progress.step)
        return pair, write_pair(out, pair, progress.step)


def _tell_pair(
    console: Console, pair: InspectedPair, files: Mapping[str, str], json_file: Path | None
) -> None:
    """Print what was found: warnings, tables, files."""
    from fnetcli.inspection.wording import not_aligned
    from fnetcli.reports.inspection_text import terminal_tables

    for notice in pair.notices:
        console.warning(notice)
    words = pair.misalignment.describe(*pair.modalities)
    if pair.misalignment.is_large:
        console.warning(not_aligned(words))
    else:
        console.notice(words)
    for table in pair.findings.tables:
        console.table(table.title, *terminal_tables(table, console.width))
        console.result("")
    for sentence in pair.findings.sentences:
        console.result(sentence)
    console.result("")
    for name, scale in files.items():
        console.result(f"{name}: {scale}")
    write_json(json_file, pair.record())
