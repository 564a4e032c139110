"""`fnet inspect`: what the network separated, and why; a weights file; what the loader sees."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fnetcli.checkpoints.shipped import default_weights_path
from fnetcli.cli import options as given_options
from fnetcli.cli import volume_options as given_volumes
from fnetcli.cli.console import Console, Progress, exits_properly, leaving_at_once
from fnetcli.errors import UsageError
from fnetcli.runs.batch import EXIT_DONE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fnetcli.checkpoints.loading import Weights
    from fnetcli.engine import Engine
    from fnetcli.imaging.intensity import ScalingOptions
    from fnetcli.inputs.pairing import Case
    from fnetcli.inspection.base import Inspector
    from fnetcli.inspection.pair import InspectedPair, PairTask
    from fnetcli.inspection.subject import Subject

STDOUT = Path("-")
DEFAULT_OUT = Path("fnet-inspect")
WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
PICKLES = {bytes([0x80, protocol]) for protocol in range(2, 6)}  # how they begin
MOST_VOLUMES_DIGITS = 6  # of a number on the command line

Kind = Literal["pair", "weights", "image"]

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
    kind = _kind_of(subject, images)
    is_auto = axis is given_volumes.AxisChoice.auto
    _refuse(
        kind,
        {
            "--weights": (weights if subject else None, "pair"),
            "-o": (out, "pair weights"),
            "--no-codes": (not codes, "pair"),
            "--iterations": (iterations, "pair"),
            "--slice": (slice_number, "pair"),
            "--page": (page, "pair image"),
            "--bits": (bits, "pair"),
            "--range": (value_range, "pair"),
            "--stretch": (stretch, "pair"),
            "--invert": (invert, "pair"),
            "--resize": (resize, "pair"),
            "--series": (series, "pair image"),
            "--volume": (volume, "pair image"),
            "--window": (window, "pair"),
            "--reference": (reference, "pair"),
            "--axis": (not is_auto, "pair"),
        },
    )
    inputs = [*images.values(), subject or weights or default_weights_path()]
    if kind != "pair":
        _check_places(out, json_file, inputs)
    if kind == "weights":
        return _inspect_weights(console, inputs[0], out, json_file, device)
    if kind == "image" and subject is not None:
        return _inspect_image(console, subject, json_file, page, max_pixels, series, volume)
    out = out or DEFAULT_OUT
    _check_places(out, json_file, inputs)
    given = _GivenPair(
        images=images,
        weights=weights,
        slice_number=slice_number,
        page=page,
        max_pixels=max_pixels,
        bits=bits,
        value_range=value_range,
        stretch=stretch,
        invert=invert,
        resize=resize,
        volumes=given_volumes.VolumeChoices(
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
        ),
    )
    at_work = given_options.engine_options(tile, max_memory, "fp32")
    with leaving_at_once():
        from fnetcli.checkpoints.loading import load_weights
        from fnetcli.engine import Engine, choose_device
        from fnetcli.inspection.base import InspectOptions, written_names
        from fnetcli.inspection.pair import PairTask, require_fitting
        from fnetcli.inspection.table import inspector_of
        from fnetcli.reports.inspection_files import results_in

    modalities, read = _find_pair(console, given, out, json_file)
    loaded = load_weights(weights)
    inspector = inspector_of(loaded)
    wanted = InspectOptions(with_features=codes, with_iterations=iterations)
    require_fitting(inspector, wanted, loaded.network.spec.name)
    _check_places(out, json_file, inputs, written_names(inspector), inspector.weights_pictures)
    engine = Engine(loaded.network, choose_device(device), at_work, on_notice=console.notice)
    here = shlex.join(["fnet", *sys.argv[1:]])
    task = PairTask(read(), modalities, wanted, given.command(), here)
    with results_in(out):
        pair, files = _inspect_pair(console, inspector, engine, loaded, task, out)
    _tell_pair(console, pair, {str(out / name): scale for name, scale in files.items()}, json_file)
    return EXIT_DONE


# --- what is asked for ----------------------------------------------------------------------------


def _kind_of(subject: Path | None, images: Mapping[str, Path]) -> Kind:
    """Tell what is to be inspected. Raise UsageError for a file and a pair."""
    if images:
        if subject is not None:
            raise UsageError(f"{subject} and --{min(images)}: a file and a pair; give one of them")
        return "pair"
    if subject is None or subject.suffix.lower() in WEIGHTS_SUFFIXES or _holds_weights(subject):
        return "weights"
    return "image"


def _holds_weights(path: Path) -> bool:
    """Whether a file begins as safetensors, or as what PyTorch saves: a zip file or a pickle."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            start, size = file.read(1024), path.stat().st_size
    except OSError:
        return False  # what reads it tells why
    is_safetensors = start[8:9] == b"{" and int.from_bytes(start[:8], "little") < size
    is_zip = start.startswith(b"PK\3\4") and b"/data.pkl" in start
    return is_safetensors or is_zip or start[:2] in PICKLES


def _refuse(kind: Kind, said: Mapping[str, tuple[object, str]]) -> None:
    """Raise UsageError for an option that was given, but means nothing here."""
    what = {"pair": "a pair", "weights": "a weights file", "image": "an image"}
    for option, (value, kinds) in said.items():
        if value and kind not in kinds.split():
            fitting = " or ".join(what[name] for name in what if name in kinds.split())
            raise UsageError(
                f"{option}: is for {fitting}, but {what[kind]} is inspected; leave it out"
            )


def _check_places(
    out: Path | None,
    json_file: Path | None,
    inputs: Sequence[Path],
    names: Iterable[str] = (),
    other_names: Iterable[str] = (),
) -> None:
    """Refuse a folder where results would replace an input, or meet a folder; check `--json`.

    `names` are those of the results, `other_names` those of results of other calls.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"-o {out}: is a file; give a folder")
    results = [] if out is None else [out / name for name in names]
    for path in results:
        if path.is_dir():
            raise UsageError(f"{path}: a folder where a result goes; move it or choose another -o")
        if any(_are_same(path, other) for other in inputs):
            raise UsageError(f"{path}: is an input, and a result goes there; choose another -o")
    others = [] if out is None else [out / name for name in other_names]
    _check_json(json_file, out, inputs, [*results, *others])


def _check_json(
    path: Path | None, out: Path | None, inputs: Iterable[Path], results: Iterable[Path] = ()
) -> None:
    """Refuse a file of numbers that would replace an input or a result, or cannot be made."""
    if path is None or path == STDOUT:
        return
    if path.is_dir() or (out is not None and _is_below(out, path)):
        raise UsageError(f"--json {path}: is a folder; name a file")
    for other in inputs:
        if _are_same(path, other):
            raise UsageError(f"--json {path}: is an input; choose another name")
        if other.is_dir() and _is_below(path, other):
            raise UsageError(f"--json {path}: lies in a folder of inputs; choose another one")
    if any(_are_same(path, result) for result in results):
        raise UsageError(f"--json {path}: is the name of another result; choose another name")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        return  # /dev/stdout or a pipe: it is written into, not replaced
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise UsageError(f"--json {path}: {folder} is a file, not a folder; choose another path")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"--json {path}: {folder} cannot be written to; choose another path")


def _are_same(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)
    return os.path.realpath(one) == os.path.realpath(other)


def _check_out(out: Path, case: Case) -> None:
    """Refuse a folder for results that holds an input, or lies among inputs."""
    for path in (case.first, case.second):
        if path.is_dir() and _is_below(out, path):
            raise UsageError(f"-o {out}: lies in an input folder; choose a folder outside")
        if not path.is_dir() and os.path.realpath(out) == os.path.realpath(path.parent):
            raise UsageError(f"-o {out}: holds an input; choose another folder")


def _is_below(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


# --- a pair ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _GivenPair:
    """What was said of a pair on the command line."""

    images: dict[str, Path]
    weights: Path | None
    slice_number: int | None
    page: list[str] | None
    max_pixels: float
    bits: list[str] | None
    value_range: list[str] | None
    stretch: list[str] | None
    invert: list[str] | None
    resize: str | None
    volumes: given_volumes.VolumeChoices

    def scaling(self, modalities: tuple[str, str]) -> tuple[ScalingOptions, ScalingOptions]:
        """Return how both are scaled. Raise UsageError."""
        return given_options.scaling_options(
            modalities, self.bits, self.value_range, self.stretch, self.invert
        )

    def command(self) -> str:
        """Return the command that fuses this pair to the same pixels."""
        axis = self.volumes.axis.value
        said: dict[str, list[str] | str | None] = {
            **{f"--{name}": str(path) for name, path in self.images.items()},
            "--page": self.page,
            "--bits": self.bits,
            "--range": self.value_range,
            "--stretch": self.stretch,
            "--invert": self.invert,
            "--resize": self.resize,
            "--series": self.volumes.series,
            "--volume": self.volumes.volume,
            "--window": self.volumes.window,
            "--reference": self.volumes.reference,
            "--axis": None if axis == "auto" else axis,
            "--weights": None if self.weights is None else str(self.weights),
        }
        words = ["fnet", "fuse"]
        for option, value in said.items():
            for text in [value] if isinstance(value, str) else value or ():
                words += [option, text]
        return shlex.join(words)


def _find_pair(
    console: Console, given: _GivenPair, out: Path, json_file: Path | None
) -> tuple[tuple[str, str], Callable[[], Subject]]:
    """Return the modalities in the network's order, and what reads the pair. Raise UsageError."""
    modalities, pairing, has_volumes = given_volumes.find_cases(
        console, given.images, None, None, "auto", None, is_recursive=False
    )
    given_options.require_pairs(pairing, None, is_recursive=True)
    if len(pairing.cases) > 1:
        raise UsageError(
            f"{len(pairing.cases)} pairs: one is inspected at a time; name two files"
            + " or volumes" * has_volumes
        )
    (case,) = pairing.cases
    _check_out(out, case)
    _check_json(json_file, out, (case.first, case.second))
    read = (
        _volume_slice(given, modalities, case)
        if has_volumes
        else _pictures(given, modalities, case)
    )
    return modalities, read


def _pictures(given: _GivenPair, modalities: tuple[str, str], case: Case) -> Callable[[], Subject]:
    from fnetcli.inspection.subject import two_pictures
    from fnetcli.pictures.fuse import FuseOptions

    given.volumes.refuse()
    if given.slice_number is not None:
        raise UsageError(
            "--slice: is for volumes (DICOM, NIfTI), but pictures are given; leave it out"
        )
    options = FuseOptions(
        modalities=modalities,
        scaling=given.scaling(modalities),
        reading=given_options.read_options(given.page, given.max_pixels, modalities),
        resize_to=given.resize,
    )
    return lambda: two_pictures(case, options)


def _volume_slice(
    given: _GivenPair, modalities: tuple[str, str], case: Case
) -> Callable[[], Subject]:
    from fnetcli.inspection.subject import one_slice

    said: dict[str, object] = {
        "--page": given.page,
        "--bits": given.bits,
        "--stretch": given.stretch,
        "--resize": given.resize,
    }
    given_volumes.refuse_of_pictures(said, DEFAULT_OUT)
    walk = given_volumes.volume_walk(
        given.volumes,
        modalities,
        [case],
        given.scaling(modalities),
        pixel_limit=given_options.read_options(None, given.max_pixels, modalities)[0].pixel_limit,
        gains=(1.0, 1.0, 1.0),
        with_maps=True,
        on_slices=lambda *_: None,
    )
    return lambda: one_slice(case, walk.options, given.slice_number)


def _inspect_pair(
    console: Console,
    inspector: Inspector,
    engine: Engine,
    loaded: Weights,
    task: PairTask,
    out: Path,
) -> tuple[InspectedPair, dict[str, str]]:
    """Look into a pair and write everything; return it, and what the scale of each file is."""
    from fnetcli.files.durable import scratch_array
    from fnetcli.inspection.base import FEATURES_FILE
    from fnetcli.inspection.pair import count_steps, inspect_pair
    from fnetcli.reports.inspection_files import count_files, write_pair

    subject = task.subject
    height, width = subject.luminances[0].shape
    megabytes = inspector.features_bytes((height, width), task.options) / 1e6
    console.notice(
        f"{subject.name}: {width}x{height}, weights {loaded.name}, device {engine.device}; "
        f"{FEATURES_FILE} takes {megabytes:,.0f} MB"
    )
    for notice in (*subject.said, *loaded.notices(), *engine.notices):
        console.notice(notice)
    console.detail(f"network: {engine.path}")
    steps = count_steps(inspector, task.options) + count_files(inspector)

    def allocate(shape: tuple[int, ...]) -> NDArray[np.float16]:
        return scratch_array(out / FEATURES_FILE, shape, "float16")

    with Progress(steps, "steps", console) as progress:
        pair = inspect_pair(inspector, engine, loaded, task, allocate, progress.step)
        return pair, write_pair(out, pair, progress.step)


def _tell_pair(
    console: Console, pair: InspectedPair, files: Mapping[str, str], json_file: Path | None
) -> None:
    """Print what was found: warnings, tables, files."""
    from fnetcli.reports.inspection_text import terminal_tables

    for notice in pair.notices:
        console.warning(notice)
    words = pair.misalignment.describe(*pair.modalities)
    if pair.misalignment.is_large:
        console.warning(f"the images do not lie on each other: {words}; align them first")
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
    _write_json(json_file, pair.record())


def _write_json(path: Path | None, record: Mapping[str, Any]) -> None:
    from fnetcli.files.durable import atomic_write

    if path is None:
        return
    text = json.dumps(_plain(record), indent=1, default=str)
    if path == STDOUT:
        Console().result(text)
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
    console: Console, path: Path, out: Path | None, json_file: Path | None, device: str
) -> int:
    with leaving_at_once():
        from fnetcli.checkpoints.loading import load_weights
        from fnetcli.engine import Engine, choose_device
        from fnetcli.inspection.base import written_names
        from fnetcli.inspection.table import inspector_of
        from fnetcli.reports.inspection_text import weights_lines

    loaded = load_weights(path)
    inspector = inspector_of(loaded)
    _check_places(out, json_file, [path], inspector.weights_pictures, written_names(inspector))
    if out is not None and not inspector.weights_pictures:
        raise UsageError(
            f"-o {out}: of a model '{loaded.network.spec.name}' no picture is drawn; leave it out"
        )
    engine = Engine(loaded.network, choose_device(device), on_notice=console.notice)
    facts = inspector.facts()
    for line in weights_lines(facts, engine.path):
        console.result(line)
    for notice in facts.notices:
        console.notice(notice)
    if out is not None:
        from fnetcli.reports.inspection_files import write_weights_figures

        for name, scale in write_weights_figures(out, inspector).items():
            console.result(f"{out / name}: {scale}")
    _write_json(json_file, {**facts.record(), "runs_here": engine.path})
    return EXIT_DONE


# --- an image -------------------------------------------------------------------------------------


def _inspect_image(
    console: Console,
    path: Path,
    json_file: Path | None,
    page: list[str] | None,
    max_pixels: float,
    series: list[str] | None,
    volume: list[str] | None,
) -> int:
    """Say what is in an image or volume, and how each modality would scale it."""
    reading = given_options.read_option(_only("--page", page), max_pixels)
    choice, number = _only("--series", series), _only("--volume", volume)
    if number is not None and not (number.isdecimal() and len(number) <= MOST_VOLUMES_DIGITS):
        raise UsageError(f"--volume {number}: not a number; use one from 1 on")
    with leaving_at_once():
        from fnetcli.formats.volumes import VolumeOptions, is_volume
        from fnetcli.inspection.image_facts import image_facts, volume_facts
        from fnetcli.reports.inspection_text import image_lines

    if not path.exists():
        raise UsageError(f"{path}: no such file or folder; check the path")
    if is_volume(path):
        if page:
            raise UsageError("--page: is for pictures, but a volume is inspected; leave it out")
        wanted = VolumeOptions(choice, None if number is None else int(number), reading.pixel_limit)
        facts = volume_facts(path, wanted)
    else:
        for option, value in (("--series", choice), ("--volume", number)):
            if value is not None:
                raise UsageError(f"{option}: is for volumes (DICOM, NIfTI); leave it out")
        facts = image_facts(path, reading.page, reading.pixel_limit)
    for line in image_lines(facts):
        console.result(line)
    for notice in facts.notices:
        console.warning(notice)
    _write_json(json_file, facts.record())
    return EXIT_DONE


def _only(option: str, values: list[str] | None) -> str | None:
    """Return the one value, without the modality that `fnet fuse` wants in front of it."""
    from fnetcli.modalities import MODALITIES

    if values is None or not values:
        return None
    if len(values) > 1:
        raise UsageError(
            f"{option}: said {len(values)} times, but one image is inspected; say it once"
        )
    name, mark, rest = values[0].partition("=")
    return rest if mark and name in MODALITIES else values[0]
