"""`fnet fuse`: pairs in, fused images and maps out."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fnetcli.cli import options as given_options
from fnetcli.cli import volume_options as given_volumes
from fnetcli.cli.console import (
    Console,
    Progress,
    exits_properly,
    leaving_at_once,
    tell_unpaired,
)
from fnetcli.errors import FnetError, UsageError
from fnetcli.runs.batch import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from fnetcli.engine import Engine
    from fnetcli.formats import ReadOptions
    from fnetcli.inputs.pairing import Case, Pairing
    from fnetcli.pictures.fuse import FuseOptions, Pictures
    from fnetcli.runs.manifest import Record
    from fnetcli.runs.run import Job, Outputs, Run, Walk
    from fnetcli.volumes.fuse import Volumes

SHOWN_ALIKE = 3  # warnings that differ in nothing but the case
STDOUT = Path("-")

_RESULTS = "Results"
_RUNNING = "Running"


class Kind(StrEnum):
    """What kind of file the fused pictures are."""

    png = "png"
    tiff = "tiff"
    jpeg = "jpeg"
    webp = "webp"


class Depth(StrEnum):
    """How deep the fused pictures are."""

    auto = "auto"
    eight = "8"
    sixteen = "16"
    float = "float"


class Maps(StrEnum):
    """How the unique and common maps are written."""

    preview = "preview"
    float = "float"
    none = "none"


class Existing(StrEnum):
    """What happens to results that are there already."""

    skip = "skip"
    overwrite = "overwrite"
    error = "error"


@exits_properly
def fuse(
    vis: given_options.Vis = None,
    ir: given_options.Ir = None,
    nir: given_options.Nir = None,
    ct: given_options.Ct = None,
    mri: given_options.Mri = None,
    pet: given_options.Pet = None,
    spect: given_options.Spect = None,
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
            help="Where sizes differ, keep this image's size and resize the other.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            help="Weights: ours (.safetensors) or the published layout (.pth). "
            "Default: the shipped ones.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            help="Folder for the results; for one pair also a .png, .tif, .jpg or .webp file.",
            rich_help_panel=_RESULTS,
        ),
    ] = Path("fnet-out"),
    kind: Annotated[
        Kind | None,
        typer.Option(
            "--format",
            help="Of the fused pictures. Default: png; tiff for floats and GeoTIFF.",
            show_default=False,
            rich_help_panel=_RESULTS,
        ),
    ] = None,
    depth: Annotated[
        Depth,
        typer.Option(
            "--depth",
            help="Bits of the fused pictures; auto: as the visible (CT, PET, SPECT) image has; "
            "float: TIFF.",
            rich_help_panel=_RESULTS,
        ),
    ] = Depth.auto,
    gray: Annotated[
        bool,
        typer.Option("--gray", help="Write luminance only, no colour.", rich_help_panel=_RESULTS),
    ] = False,
    gain: Annotated[
        list[str] | None,
        typer.Option(
            "--gain",
            metavar="PART=NUMBER",
            help="Weigh a part in the fused picture: unique_ir=1.3 for hotter targets, common=0.9. "
            "The maps stay as they are.",
            show_default=False,
            rich_help_panel=_RESULTS,
        ),
    ] = None,
    maps: Annotated[
        Maps,
        typer.Option(
            "--maps",
            help="Unique and common maps: 8-bit previews (grey 128 is zero), float32 TIFF "
            "(their sum is the unclipped fused luminance), or none.",
            rich_help_panel=_RESULTS,
        ),
    ] = Maps.preview,
    features: Annotated[
        bool,
        typer.Option(
            "--features",
            help="Also write the codes u, v, z as float16 (large).",
            rich_help_panel=_RESULTS,
        ),
    ] = False,
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Write OUT/index.html, a contact sheet that opens in any browser.",
            rich_help_panel=_RESULTS,
        ),
    ] = False,
    existing: Annotated[
        Existing,
        typer.Option(
            "--existing",
            help="Results that are there: skip what was made of the same files with the same "
            "options, overwrite all, or end with an error.",
            rich_help_panel=_RESULTS,
        ),
    ] = Existing.skip,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="List the pairs and what would be skipped; write nothing.",
            rich_help_panel=_RUNNING,
        ),
    ] = False,
    fail_fast: Annotated[
        bool,
        typer.Option(
            "--fail-fast", help="End at the first pair that fails.", rich_help_panel=_RUNNING
        ),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            max=64,
            help="Threads that read and write beside the network. Default: one a core, at most 4.",
            show_default=False,
            rich_help_panel=_RUNNING,
        ),
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Write a summary of the run as JSON; - for stdout, in place of the paths.",
            show_default=False,
            rich_help_panel=_RUNNING,
        ),
    ] = None,
    layout: given_volumes.Layout = given_volumes.LayoutChoice.auto,
    name: given_volumes.Name = None,
    series: given_volumes.Series = None,
    volume: given_volumes.Volume = None,
    window: given_volumes.Window = None,
    reference: given_volumes.Reference = None,
    interpolation: given_volumes.Interpolation = given_volumes.InterpolationChoice.linear,
    axis: given_volumes.Axis = given_volumes.AxisChoice.auto,
    register: given_volumes.Register = given_volumes.RegisterChoice.none,
    transform: given_volumes.Transform = None,
    assume_aligned: given_volumes.AssumeAligned = False,
    to: given_volumes.To = given_volumes.Target.nifti,
    colormap: given_volumes.Colormap = None,
    device: given_options.Device = "auto",
    precision: given_options.Precision = given_options.PrecisionChoice.fp32,
    tile: given_options.Tile = "auto",
    max_memory: given_options.MaxMemory = None,
    verbose: given_options.Verbose = False,
    quiet: given_options.Quiet = False,
    debug: given_options.Debug = False,
) -> int:
    """Fuse one pair of files, all pairs of two folders or a list, or volumes.

    Two files: fnet fuse --vis a.png --ir b.png. Two folders: fnet fuse --vis DIR --ir DIR -o OUT;
    they are paired by file name without suffix. Results: OUT/fused, OUT/unique_<modality>,
    OUT/common. OUT/manifest.jsonl says what was made of what: the same command again goes on where
    it was stopped. Paths of the fused images go to stdout. Volumes: fnet fuse --ct CT_DIR --mri
    scan.nii.gz -o OUT writes OUT/fused/<case>.nii.gz on the MRI's grid.
    """
    with leaving_at_once():
        from fnetcli.checkpoints.loading import load_weights
        from fnetcli.engine import Engine, choose_device
        from fnetcli.pictures.fuse import FuseOptions
        from fnetcli.runs.run import Job, Run, refuse_inside_inputs

    console = Console(
        is_quiet=quiet, is_verbose=verbose, has_results=not dry_run and summary != STDOUT
    )
    images = given_options.given(vis=vis, ir=ir, nir=nir, ct=ct, mri=mri, pet=pet, spect=spect)
    modalities, pairing, has_volumes = given_volumes.find_cases(
        console,
        images,
        pairs,
        suffix,
        layout.value,
        name,
        is_recursive=recursive,
    )
    choices = given_volumes.VolumeChoices(
        series=series,
        volume=volume,
        window=window,
        reference=reference,
        interpolation=interpolation,
        axis=axis,
        register=register,
        transform=transform,
        assume_aligned=assume_aligned,
        to=to,
        colormap=colormap,
    )
    scaling = given_options.scaling_options(modalities, bits, value_range, stretch, invert)
    reading = given_options.read_options(page, max_pixels, modalities)
    gains = given_options.read_gains(gain, modalities)
    file_kind = _kind_of_file(out, pairing)
    if file_kind and (report or (kind and kind.value != file_kind)):
        raise UsageError(
            f"-o {out}: names a file; give a folder with --report, and no other --format"
        )
    wanted_kind = file_kind or (kind and kind.value)
    if has_volumes:
        given_volumes.refuse_of_pictures(
            {
                "--suffix": suffix,
                "--recursive": recursive,
                "--page": page,
                "--bits": bits,
                "--stretch": stretch,
                "--stretch-scope": stretch_scope is not given_options.Scope.image,
                "--resize": resize,
                "--format": kind,
                "--depth": depth is not Depth.auto,
                "--gray": gray,
                "--features": features,
                "--report": report,
                f"-o {out}": file_kind,
            },
            out,
        )
    else:
        choices.refuse()
    at_work = given_options.engine_options(tile, max_memory, precision)
    refuse_inside_inputs(out, pairing)
    tell_unpaired(console, pairing.unpaired)
    given_options.require_pairs(pairing, pairs, is_recursive=recursive)
    loaded = load_weights(weights)
    engine = Engine(loaded.network, choose_device(device), at_work, on_notice=console.notice)
    console.notice(f"{len(pairing.cases)} pairs, weights {loaded.name}, device {engine.device}")
    if not dry_run:  # the network's inner loop may be compiled here
        engine.require_memory(with_codes=features)
        console.detail(f"network: {engine.path}, {engine.precision}")
    for notice in (*loaded.notices(), *engine.notices):
        console.notice(notice)
    workers = workers or min(4, os.cpu_count() or 1)
    watcher = _Watcher(console, counts_slices=has_volumes)
    walk: Pictures | Volumes
    if has_volumes:
        walk = given_volumes.volume_walk(
            choices,
            modalities,
            pairing.cases,
            scaling,
            pixel_limit=reading[0].pixel_limit,
            gains=gains,
            with_maps=maps is not Maps.none,
            on_slices=watcher.slices,
        )
    else:
        options = FuseOptions(
            modalities=modalities,
            scaling=scaling,
            reading=reading,
            resize_to=resize,
            is_gray=gray,
            depth=depth.value,
            kind=wanted_kind or ("tiff" if depth is Depth.float else "png"),
            maps=maps.value,
            with_features=features,
            gains=gains,
        )
        walk = _look_at_pictures(
            console, pairing, options, stretch_scope.value, wanted_kind, workers
        )
    job = Job(
        pairing=pairing,
        walk=walk,
        out=out,
        weights={"name": loaded.name, "sha256": loaded.sha256, **_precision(engine)},
        is_file=file_kind is not None,
        existing=existing.value,
    )
    if summary not in (None, STDOUT):
        _check_summary(summary, job, weights, pairs)
    run = Run(job, watcher, command=["fnet", *sys.argv[1:]])
    _look(console, run)
    if dry_run:
        return _tell_plan(run, summary, is_strict=strict)
    if features and run.plan.todo:
        _check_room(console, run, reading[1], loaded.network.config.atoms)
    return _work(
        console,
        run,
        watcher,
        engine,
        workers=workers,
        fail_fast=fail_fast,
        strict=strict,
        report=report,
        summary=summary,
        debug=debug,
    )


# --- before anything runs -------------------------------------------------------------------------


def _look_at_pictures(
    console: Console,
    pairing: Pairing,
    options: FuseOptions,
    scope: Literal["image", "folder"],
    kind: str | None,
    workers: int,
) -> Pictures:
    """Find out what only all files together tell, and say it."""
    from fnetcli.pictures.fuse import Pictures
    from fnetcli.pictures.survey import survey

    with Progress(None, "headers and ranges", console) as progress:
        found = survey(
            pairing.cases,
            options,
            scope=scope,
            kind=kind,
            workers=workers,
            on_step=progress.step,
        )
    for notice in found.notices:
        console.notice(notice)
    return Pictures(found.options)


def _precision(engine: Engine) -> dict[str, str]:
    """Return what is recorded where pixels are not those of float32."""
    return {} if engine.precision == "fp32" else {"precision": engine.precision}


def _kind_of_file(out: Path, pairing: Pairing) -> str | None:
    """Return the format that -o asks for where it names the fused picture; refuse odd names."""
    from fnetcli.formats import IMAGE_SUFFIXES, PICTURE_KINDS

    suffix = out.suffix.lower()
    if suffix not in IMAGE_SUFFIXES or out.is_dir():
        if out.exists() and not out.is_dir():
            raise UsageError(f"-o {out}: is a file; give a folder, or a name that ends in .png")
        return None
    if pairing.source != "files":
        raise UsageError(f"-o {out}: names a file, but {pairing.source} are fused; give a folder")
    for kind in PICTURE_KINDS.values():
        if suffix in kind.suffixes:
            return kind.name
    raise UsageError(
        f"-o {out}: results are PNG, TIFF, JPEG or WebP; "
        "give a name that ends in .png, .tif, .jpg or .webp"
    )


def _look(console: Console, run: Run[Any]) -> None:
    """Plan, with a bar: files that may be done are hashed."""
    with Progress(len(run.job.pairing.cases), "cases compared", console) as progress:
        run.look(progress.step)
    if run.damaged_lines:
        console.warning(
            f"{run.manifest_path}: {run.damaged_lines} lines are damaged; their cases are made anew"
        )


def _check_summary(path: Path, job: Job[Walk], *others: Path | None) -> None:
    """Refuse to replace what a run needs or makes by the summary, before anything runs."""
    from fnetcli.runs.run import refuse_input

    refuse_input(job, path)
    if path.is_dir():
        raise UsageError(f"--json {path}: is a folder; name a file")
    if any(other is not None and path.exists() and path.samefile(other) for other in others):
        raise UsageError(f"--json {path}: is an input; choose another name")


def _tell_plan(run: Run[Any], summary: Path | None, *, is_strict: bool) -> int:
    """Print what a run would do, one case a line, separated by tabs."""
    skipped = {case.name for case in run.plan.skipped}
    if summary is not None:
        _write_summary(summary, run)
    for case in run.job.pairing.cases if summary != STDOUT else ():
        verb = "skip" if case.name in skipped else "fuse"
        fused = run.plan.outputs[case.name].fused
        typer.echo("\t".join(map(str, (verb, case.name, case.first, case.second, fused))))
    typer.echo(
        f"{len(run.plan.todo)} to fuse, {len(skipped)} to skip, "
        f"{len(run.job.pairing.unpaired)} unpaired; nothing was written",
        err=True,
    )
    return EXIT_FAILED if is_strict and run.job.pairing.unpaired else EXIT_DONE


def _check_room(console: Console, run: Run[Any], reading: ReadOptions, atoms: int) -> None:
    """Say how much room the codes will take, from the size of the first pair.

    Raise OutputError where not even those of that pair fit; warn where not all will.
    """
    from fnetcli.errors import OutputError, ReadError
    from fnetcli.formats import probe_image
    from fnetcli.pictures.fuse import features_bytes

    out, count = run.job.out, len(run.plan.todo)
    try:
        header = probe_image(run.plan.todo[0].second, reading)
    except ReadError:
        return  # it is reported when its turn comes
    one = features_bytes(header.height, header.width, atoms)
    beside, free = _unnamed_bytes(one), _free_bytes(out)
    pair = f"a pair of {header.width}x{header.height}"
    needed = f"{(count * one + beside) / 1e6:,.0f} MB"
    console.notice(
        f"features: about {one / 1e6:,.0f} MB for {pair}, {count} pairs"
        + f"; while they are written {needed}" * (count > 1 or beside > 0)
    )
    if free is not None and free < one + beside:
        raise OutputError(
            f"{out}: {free / 1e6:,.0f} MB are free there, and the codes of {pair} take "
            f"{(one + beside) / 1e6:,.0f} MB while they are written; make room, choose another -o "
            "or leave out --features"
        )
    if free is not None and free < count * one + beside:
        console.warning(
            f"{out}: {free / 1e6:,.0f} MB are free there, enough for the codes of about "
            f"{(free - beside) // one} of {count} pairs"
        )


def _unnamed_bytes(codes: int) -> int:
    """Return how much of a pair's codes is on the disk a second time before it has a name."""
    from fnetcli.files import scratch

    return codes if codes // 3 >= scratch.MOST_IN_MEMORY else 0


def _free_bytes(path: Path) -> int | None:
    """Return the room where a path will be; None where the system does not tell."""
    try:
        there = next(folder for folder in (path, *path.parents) if folder.exists())
        return shutil.disk_usage(there).free
    except OSError:
        return None


# --- the run --------------------------------------------------------------------------------------


class _Watcher:
    """Tells what becomes of every case."""

    def __init__(self, console: Console, *, counts_slices: bool) -> None:
        self.console = console
        self.counts_slices = counts_slices
        self.progress: Progress | None = None
        self.failures = 0
        self.warned: Counter[str] = Counter()
        self.said: Counter[str] = Counter()

    def done(self, case: Case, outputs: Outputs, record: Record) -> None:
        self._step(case)
        self.console.result(str(outputs.fused))
        self.console.detail(_details(record))
        for sentence in record.get("said", []):
            if self._is_news(sentence, self.said):
                self.console.notice(f"{case.name}: {sentence}")
        for notice in record["notices"]:
            if self._is_news(notice, self.warned):
                self.console.warning(f"{case.name}: {notice}")

    def failed(self, case: Case, text: str) -> None:
        self.failures += 1
        self._step(case)
        self.console.error(text)

    def slices(self, count: int, done: int, of: int) -> None:
        """Hear that so many slices have gone through the network, and how far their volume is."""
        if self.progress is not None:
            self.progress.step(f"{done} of {of} of this volume", count)

    def tell_rest(self) -> None:
        """Count the warnings that were not repeated for every case."""
        for notice, count in self.warned.items():
            if count > SHOWN_ALIKE:
                self.console.warning(f"{count - SHOWN_ALIKE} more cases: {notice}")

    def _is_news(self, text: str, told: Counter[str]) -> bool:
        """Whether this was not told of SHOWN_ALIKE cases yet, whatever its numbers."""
        alike = re.sub(r"[0-9][0-9.]*", "N", text)
        told[alike] += 1
        return told[alike] <= SHOWN_ALIKE

    def _step(self, case: Case) -> None:
        if self.progress is not None and not self.counts_slices:
            failures = f", {self.failures} failed" if self.failures else ""
            self.progress.step(f"{case.name}{failures}")


def _details(record: Record) -> str:
    """Say in one line what was made of what."""
    inputs = ", ".join(
        f"{modality} {known['size']} {known['path']} "
        f"[{record['ranges'][modality]['low']:g}, {record['ranges'][modality]['high']:g}]"
        for modality, known in record["inputs"].items()
    )
    return (
        f"{record['case']}: {inputs}; {record['seconds']:.2f} s, "
        f"{record['network_seconds']:.2f} s of them in the network"
    )


def _work(
    console: Console,
    run: Run[Any],
    watcher: _Watcher,
    engine: Engine,
    *,
    workers: int,
    fail_fast: bool,
    strict: bool,
    report: bool,
    summary: Path | None,
    debug: bool,
) -> int:
    """Work off the plan, whatever happens say how it ended; return the exit code."""
    for case in run.plan.skipped:
        console.result(str(run.plan.outputs[case.name].fused))
    try:
        count, unit = (None, "slices") if watcher.counts_slices else (len(run.plan.todo), "pairs")
        with Progress(count, unit, console) as watcher.progress:
            run.work(engine, workers=workers, stops_at_failure=fail_fast, is_debug=debug)
    except BaseException:
        _end(console, run, watcher, summary, is_ending=True)
        raise
    _end(console, run, watcher, summary)
    if report:
        _write_report(console, run, workers)
    totals = run.totals()
    is_fine = not totals["failed"] and not totals["left"]
    return EXIT_DONE if is_fine and not (strict and totals["unpaired"]) else EXIT_FAILED


def _end(
    console: Console,
    run: Run[Any],
    watcher: _Watcher,
    summary: Path | None,
    *,
    is_ending: bool = False,
) -> None:
    """Say how it ended; `is_ending`: an error is under way that must not be hidden."""
    watcher.tell_rest()
    _tell_end(console, run)
    try:
        if summary is not None:
            _write_summary(summary, run)
    except FnetError as error:
        if not is_ending:
            raise
        console.warning(str(error))


def _tell_end(console: Console, run: Run[Any]) -> None:
    totals = run.totals()
    left = f", {totals['left']} left" if totals["left"] else ""
    where = f"; list: {run.manifest_path}" if run.manifest_path else ""
    console.notice(
        f"{totals['done']} fused, {totals['skipped']} skipped, {totals['failed']} failed, "
        f"{totals['unpaired']} unpaired{left}{where}"
    )


def _write_summary(path: Path, run: Run[Any]) -> None:
    from fnetcli.files.durable import atomic_write

    text = json.dumps(run.summary(), indent=2)
    if path == STDOUT:
        typer.echo(text)
    else:
        atomic_write(path, lambda file: file.write(f"{text}\n".encode()))


def _write_report(console: Console, run: Run[Any], workers: int) -> None:
    from fnetcli.reports.contact_sheet import write_contact_sheet

    with Progress(None, "pictures drawn", console) as progress:
        path = write_contact_sheet(
            run.job,
            run.records(),
            run.summary(),
            workers=workers,
            on_step=progress.step,
        )
    console.notice(f"contact sheet: {path}")
