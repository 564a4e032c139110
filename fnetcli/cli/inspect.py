"""`fnet inspect`: what the network separated, and why; a weights file; what the loader sees."""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fnetcli.batch import EXIT_DONE
from fnetcli.cli import options as given_options
from fnetcli.cli import volume_options as given_volumes
from fnetcli.cli.console import Console, Progress, exits_properly, leaving_at_once
from fnetcli.errors import UsageError

if TYPE_CHECKING:
    from fnetcli.checkpoint import Weights
    from fnetcli.engine import Engine
    from fnetcli.inspection.checkpoint_facts import CheckpointFacts
    from fnetcli.inspection.subject import Subject
    from fnetcli.inspection.trace import TraceOptions
    from fnetcli.pairing import Case
    from fnetcli.reports.inspection_files import InspectedPair

STDOUT = Path("-")
WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")

_RESULTS = "Results"


@exits_properly
def inspect(
    subject: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="A weights file, an image, a volume or a DICOM folder. Without it and without "
            "images: the default weights.",
            show_default=False,
        ),
    ] = None,
    vis: given_options.Vis = None,
    ir: given_options.Ir = None,
    nir: given_options.Nir = None,
    ct: given_options.Ct = None,
    mri: given_options.Mri = None,
    pet: given_options.Pet = None,
    spect: given_options.Spect = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            help="Of a pair: weights, ours (.safetensors) or the published layout (.pth). "
            "Default: the shipped ones.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Folder for the results. Of a pair it is fnet-inspect by default; of weights the "
            "dictionaries are drawn there if it is given.",
            show_default=False,
            rich_help_panel=_RESULTS,
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Write the numbers as JSON; - for stdout, in place of the tables.",
            show_default=False,
            rich_help_panel=_RESULTS,
        ),
    ] = None,
    codes: Annotated[
        bool,
        typer.Option(
            "--codes/--no-codes",
            help="Keep the codes u, v, z in features.npz (float16: 118 MB for 640x480).",
            rich_help_panel=_RESULTS,
        ),
    ] = True,
    iterations: Annotated[
        bool,
        typer.Option(
            "--iterations",
            help="Keep every iteration's codes before and after its threshold (ten times as many).",
            rich_help_panel=_RESULTS,
        ),
    ] = False,
    slice_number: Annotated[
        int | None,
        typer.Option(
            "--slice",
            metavar="N",
            min=1,
            help="Of volumes: which slice, from 1 on. Default: the middle one.",
            show_default=False,
        ),
    ] = None,
    page: given_options.Page = None,
    max_pixels: given_options.MaxPixels = 500.0,
    bits: given_options.Bits = None,
    value_range: given_options.Range = None,
    stretch: given_options.Stretch = None,
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
    series: given_volumes.Series = None,
    volume: given_volumes.Volume = None,
    window: given_volumes.Window = None,
    reference: given_volumes.Reference = None,
    axis: given_volumes.Axis = given_volumes.AxisChoice.auto,
    device: given_options.Device = "auto",
    tile: given_options.Tile = "auto",
    max_memory: given_options.MaxMemory = None,
    verbose: given_options.Verbose = False,
    quiet: given_options.Quiet = False,
    debug: given_options.Debug = False,
) -> int:
    """Look into the network: a pair, a weights file, or an image as fnet sees it.

    A pair: fnet inspect --vis a.png --ir b.png -o OUT writes codes, parts, residuals, pictures and
    report.html, a page to explore them. Weights: fnet inspect FNet.pth. An image: fnet inspect
    thermal.tif says what is in the file and how it would be scaled.
    """
    del debug  # for exits_properly
    console = Console(is_quiet=quiet, is_verbose=verbose, has_results=json_file != STDOUT)
    images = given_options.given(vis=vis, ir=ir, nir=nir, ct=ct, mri=mri, pet=pet, spect=spect)
    if images and subject is not None:
        raise UsageError(f"{subject}: a file, and --{min(images)}: give a file or a pair")
    if json_file not in (None, STDOUT):
        _check_json(json_file, [*images.values(), *([subject] if subject else [])])
    if not images and (subject is None or subject.suffix.lower() in WEIGHTS_SUFFIXES):
        return _inspect_weights(console, subject or weights, out, json_file)
    if not images and subject is not None:
        reading = given_options.read_options(page, max_pixels, ("image", "image"))[0]
        return _inspect_image(console, subject, json_file, reading.page, reading.pixel_limit)
    out = out or Path("fnet-inspect")
    at_work = given_options.engine_options(tile, max_memory, "fp32")
    with leaving_at_once():
        from fnetcli.checkpoint import load_weights
        from fnetcli.engine import Engine, choose_device
        from fnetcli.fusion import FuseOptions
        from fnetcli.inspection.subject import one_slice, two_pictures
        from fnetcli.inspection.trace import TraceOptions

    modalities, pairing, has_volumes = given_volumes.find_cases(
        console, images, None, None, "auto", None, is_recursive=False
    )
    if len(pairing.cases) != 1 or (pairing.source == "folders" and not has_volumes):
        raise UsageError(
            f"{len(pairing.cases)} pairs: one is inspected at a time; name two files or volumes"
        )
    (case,) = pairing.cases
    _check_out(out, case)
    scaling = given_options.scaling_options(modalities, bits, value_range, stretch, invert)
    reading_both = given_options.read_options(page, max_pixels, modalities)
    loaded = load_weights(weights)
    engine = Engine(loaded.network, choose_device(device), at_work, on_notice=console.notice)
    if has_volumes:
        choices = given_volumes.VolumeChoices(
            series=series,
            volume=volume,
            window=window,
            reference=reference,
            interpolation=given_volumes.InterpolationChoice.linear,
            axis=axis,
            register=given_volumes.RegisterChoice.none,
            transform=None,
            assume_aligned=False,
            to=given_volumes.Target.nifti,
            colormap=None,
        )
        walk = given_volumes.volume_walk(
            choices,
            modalities,
            pairing.cases,
            scaling,
            pixel_limit=reading_both[0].pixel_limit,
            gains=(1.0, 1.0, 1.0),
            with_maps=True,
            on_slices=lambda *_: None,
        )
        subject_of_pair = one_slice(case, walk.options, slice_number)
    else:
        if slice_number is not None:
            raise UsageError("--slice: is for volumes (DICOM, NIfTI); leave it out")
        options = FuseOptions(
            modalities=modalities, scaling=scaling, reading=reading_both, resize_to=resize
        )
        subject_of_pair = two_pictures(case, options)
    wanted = TraceOptions(with_codes=codes or iterations, with_iterations=iterations)
    command = _fuse_command(images, weights)
    pair = _inspect_pair(console, engine, loaded, modalities, subject_of_pair, wanted, command, out)
    _tell_pair(console, pair, out, json_file)
    return EXIT_DONE


# --- a pair ---------------------------------------------------------------------------------------


def _check_out(out: Path, case: Case) -> None:
    """Refuse a folder for results that is a file, or that holds an input."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"-o {out}: is a file; give a folder")
    inputs = [path.resolve() for path in (case.first, case.second)]
    if any(out.resolve() in (path, path.parent) for path in inputs):
        raise UsageError(f"-o {out}: holds an input; choose another folder")


def _check_json(path: Path, inputs: Iterable[Path]) -> None:
    if path.is_dir():
        raise UsageError(f"--json {path}: is a folder; name a file")
    if path.exists() and any(other.exists() and path.samefile(other) for other in inputs):
        raise UsageError(f"--json {path}: is an input; choose another name")


def _fuse_command(images: dict[str, Path], weights: Path | None) -> str:
    given = [text for name, path in images.items() for text in (f"--{name}", str(path))]
    chosen = [] if weights is None else ["--weights", str(weights)]
    return shlex.join(["fnet", "fuse", *given, *chosen])


def _inspect_pair(
    console: Console,
    engine: Engine,
    loaded: Weights,
    modalities: tuple[str, str],
    subject: Subject,
    wanted: TraceOptions,
    command: str,
    out: Path,
) -> InspectedPair:
    """Look into a pair and write everything; a folder in place of results is made."""
    from importlib.metadata import version

    from fnetcli.inspection.checkpoint_facts import checkpoint_facts, dictionaries
    from fnetcli.inspection.misalignment import estimate_misalignment
    from fnetcli.inspection.numbers import measure_pair
    from fnetcli.inspection.trace import count_steps, trace_pair
    from fnetcli.reports.inspection_files import (
        FEATURES_FILE,
        InspectedPair,
        count_files,
        write_pair,
    )
    from fnetcli.storage import scratch_array

    x, y = subject.luminances
    console.notice(f"{subject.name}: {x.shape[1]}x{x.shape[0]}, weights {loaded.name}")
    console.detail(f"network: {engine.path}")
    steps = count_steps(engine.network.config, wanted) + 1 + count_files()
    with Progress(steps, "steps", console) as progress:
        trace = trace_pair(
            engine,
            x,
            y,
            wanted,
            allocate=lambda shape: scratch_array(out / FEATURES_FILE, shape, "float16"),
            on_step=progress.step,
        )
        misalignment = estimate_misalignment(x, y)
        progress.step()
        pair = InspectedPair(
            name=subject.name,
            modalities=modalities,
            sources=subject.sources,
            fused=subject.fuse(trace.separated),
            luminances=subject.luminances,
            trace=trace,
            numbers=measure_pair(x, y, trace),
            misalignment=misalignment,
            network=checkpoint_facts(loaded),
            dictionaries=dictionaries(loaded.network),
            notices=subject.notices,
            details={
                "command": shlex.join(["fnet", *sys.argv[1:]]),
                "weights": f"{loaded.name}, sha256 {loaded.sha256}",
                "version": f"fnet {version('fnetcli')}",
            },
            command=command,
        )
        said = write_pair(out, pair, progress.step)
    for name, scale in said.items():
        console.result(f"{out / name}: {scale}")
    return pair


def _tell_pair(console: Console, pair: InspectedPair, out: Path, json_file: Path | None) -> None:
    from fnetcli.reports.inspection_files import pair_record

    for notice in pair.notices:
        console.notice(notice)
    first, second = pair.modalities
    words = pair.misalignment.describe(first, second)
    if pair.misalignment.is_large:
        console.warning(f"the images do not lie on each other: {words}; align them first")
    else:
        console.notice(words)
    record = pair_record(pair)
    _tables(
        console,
        {
            "of the sources (shares of pixels)": record["sources"],
            "of the parts": record["parts"],
            "of the codes": {
                letter: {key: value for key, value in code.items() if not isinstance(value, list)}
                for letter, code in record["codes"].items()
            },
        },
    )
    console.result("")
    console.result(
        f"correlation of the unique codes' energy maps: "
        f"{_text(record['unique_energy_correlation'])}; "
        f"fused pixels clipped: {_text(record['clipped'])}"
    )
    _write_json(json_file, record)
    console.notice(f"page: {out / 'report.html'}")


def _tables(console: Console, tables: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Print tables: a line for each inner mapping."""
    from rich.table import Table

    for title, rows in tables.items():
        table = Table(show_edge=False, box=None, pad_edge=False)
        names = list(next(iter(rows.values())))
        table.add_column("")
        for name in names:
            table.add_column(name.replace("_", " "), justify="right", max_width=16)
        for name, row in rows.items():
            table.add_row(name, *(_text(row[key]) for key in names))
        console.result("")
        console.table(title, table)


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _write_json(path: Path | None, record: Mapping[str, Any]) -> None:
    from fnetcli.storage import atomic_write

    if path is None:
        return
    text = json.dumps(_plain(record), indent=1, default=str)
    if path == STDOUT:
        typer.echo(text)
    else:
        atomic_write(path, lambda file: file.write(f"{text}\n".encode()))


def _plain(value: Any) -> Any:
    """Return what JSON knows: no NaN."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- a weights file -------------------------------------------------------------------------------


def _inspect_weights(
    console: Console, path: Path | None, out: Path | None, json_file: Path | None
) -> int:
    from fnetcli.checkpoint import load_weights
    from fnetcli.inspection.checkpoint_facts import checkpoint_facts

    loaded = load_weights(path)
    facts = checkpoint_facts(loaded)
    config = ", ".join(f"{key} {value}" for key, value in facts.config.items())
    for name, text in {
        "name": facts.name,
        "layout": facts.layout,
        "sha256": facts.sha256,
        "configuration": config,
        "parameters": f"{facts.parameter_count:,} ("
        + ", ".join(f"{name} {count:,}" for name, count in facts.parameters.items())
        + ")",
        "multiply-adds": f"{facts.multiply_adds:,} a pixel",
        "reach": f"{facts.reach} pixels",
    }.items():
        console.result(f"{name:14} {text}")
    for letter, block in facts.blocks.items():
        console.result(f"theta_k of {letter}   {_numbers(block.theta)}")
        console.result(f"rho_k of {letter}     {_numbers(block.rho)}")
    for name, known in (
        ("recipe", facts.recipe),
        ("trained", facts.trained),
        ("scores", facts.scores),
    ):
        if known is not None:
            console.result(f"{name:14} {json.dumps(known, default=str)}")
    for notice in facts.notices:
        console.notice(notice)
    _write_json(json_file, facts.record())
    if out is not None:
        _draw_dictionaries(console, loaded, facts, out)
    return EXIT_DONE


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values) or "none"


def _draw_dictionaries(
    console: Console, loaded: Weights, facts: CheckpointFacts, out: Path
) -> None:
    """Draw one picture for each block and role, and the schedules."""
    from fnetcli.inspection.checkpoint_facts import dictionaries
    from fnetcli.reports.figures import draw_dictionaries, draw_schedules
    from fnetcli.storage import atomic_write

    if out.exists() and not out.is_dir():
        raise UsageError(f"-o {out}: is a file; give a folder")
    figures = {"schedules.png": draw_schedules(facts.blocks)}
    every = dictionaries(loaded.network)
    for letter in facts.blocks:
        for role in ("analysis", "synthesis"):
            some = [one for one in every if (one.block, one.role) == (letter, role)]
            title = f"{role} dictionaries of block {letter}"
            figures[f"{role}_{letter}.png"] = draw_dictionaries(some, title)
    for name, figure in figures.items():
        png = figure.png
        atomic_write(out / name, lambda file, png=png: file.write(png))  # type: ignore[misc]
        console.result(f"{out / name}: {figure.scale}")


# --- an image -------------------------------------------------------------------------------------


def _inspect_image(
    console: Console, path: Path, json_file: Path | None, page: int | None, pixel_limit: int
) -> int:
    """Say what is in an image or volume, and how each modality would scale it."""
    from fnetcli.formats.volumes import is_volume
    from fnetcli.inspection.image_facts import image_facts, volume_facts

    if not path.exists():
        raise UsageError(f"{path}: no such file or folder; check the path")
    facts = (
        volume_facts(path, pixel_limit) if is_volume(path) else image_facts(path, page, pixel_limit)
    )
    for name, text in facts.items():
        if isinstance(text, list):
            for line in text:
                console.result(f"{name:14} {line}")
        else:
            console.result(f"{name:14} {text}")
    _write_json(json_file, facts)
    return EXIT_DONE
