"""`fnet inspect`: show what the network separated and why, a weights file, or an image as read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from fnetcli.cli.console import Console, exits_properly
from fnetcli.cli.inspect_comparison import inspect_two
from fnetcli.cli.inspect_files import require_places
from fnetcli.cli.inspect_film import inspect_film
from fnetcli.cli.inspect_image import inspect_image
from fnetcli.cli.inspect_pair import GivenPair, inspect_pair
from fnetcli.cli.inspect_shipped import list_weights
from fnetcli.cli.inspect_weights import inspect_weights
from fnetcli.cli.options.cameras import GivenCamera
from fnetcli.cli.options.files import GivenReading
from fnetcli.cli.options.group import takes_groups
from fnetcli.cli.options.images import GivenImages
from fnetcli.cli.options.inspection import GivenInspection
from fnetcli.cli.options.network import GivenDevice, GivenTiles
from fnetcli.cli.options.registration import GivenRegistration, GivenView
from fnetcli.cli.options.scaling import GivenScaling, GivenSize
from fnetcli.cli.options.talking import GivenQuiet, GivenVerbosity
from fnetcli.cli.options.volumes import GivenVolume
from fnetcli.errors import UsageError
from fnetcli.runs.protect import STDOUT, Inputs

WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
PICKLES = {bytes([0x80, protocol]) for protocol in range(2, 6)}  # their first bytes

SubjectKind = Literal["pair", "weights", "image"]
WORDS: dict[SubjectKind, str] = {
    "pair": "a pair",
    "weights": "a weights file",
    "image": "an image",
}


@exits_properly
@takes_groups
def inspect(
    images: GivenImages,
    camera: GivenCamera,
    results: GivenInspection,
    reading: GivenReading,
    scaling: GivenScaling,
    size: GivenSize,
    registration: GivenRegistration,
    view: GivenView,
    volume: GivenVolume,
    device: GivenDevice,
    tiles: GivenTiles,
    verbosity: GivenVerbosity,
    quiet: GivenQuiet,
    *,
    subject: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="A weights file, an image, a film, a volume or a DICOM folder. Default, if no "
            "images are given: the default weights.",
            show_default=False,
        ),
    ] = None,
    list_shipped: Annotated[
        bool,
        typer.Option("--list", help="List the weights that ship with fnet."),
    ] = False,
) -> int:
    r"""Inspect how the network fuses a pair, a weights file, or an image as fnet reads it.

    \b
    fnet inspect --vis photo.jpg --ir thermal.png -o OUT  every step
    fnet inspect FNet.pth -o OUT                          weights
    fnet inspect thermal.tif                              what an image contains

    Of a pair, OUT has codes, parts, residuals, pictures and report.html, a page to explore them.
    """
    console = Console(
        is_quiet=quiet.quiet,
        is_verbose=verbosity.verbose,
        has_results=results.json_file != STDOUT,
    )
    if list_shipped:
        if subject is not None or images.given or results.out is not None:
            raise UsageError("--list: takes no other option but --json; leave out the others")
        return list_weights(console, results.json_file)
    from fnetcli.formats.film.pyav import is_film

    kind = _kind_of(subject, images.given, camera.flir)
    of_volume = volume.given()
    _refuse(kind, {"-o": results.out}, "pair", "weights")
    of_camera = {"--ir-rendered": camera.ir_rendered, "--raw-size": camera.raw_size}
    of_reading = {"--page": reading.page, "--band": reading.band, **of_camera}
    _refuse(kind, of_reading, "pair", "image")
    _refuse(kind, {name: of_volume.pop(name) for name in ("--series", "--volume")}, "pair", "image")
    _refuse(
        kind,
        {
            "--weights": results.weights if subject else None,
            "--inverse": results.inverse,
            "--no-codes": not results.codes,
            "--iterations": results.iterations,
            "--slice": results.slice_number,
            **scaling.of_pictures(),
            "--range": scaling.value_range,
            "--invert": scaling.invert,
            **size.given(),
            **registration.given(),
            **view.given(),
            **of_volume,
        },
        "pair",
    )
    engine_options = tiles.options()
    named = [subject] if subject else results.paths([*images.given])
    inputs = Inputs([*images.given.values(), *named, *([camera.flir] if camera.flir else [])])
    if kind == "pair":
        given = GivenPair(
            images.given, camera, results, reading, scaling, size, registration, view, volume
        )
        if len(results.weights or []) > 1:
            return inspect_two(console, given, inputs, device.device, engine_options)
        return inspect_pair(console, given, inputs, device.device, engine_options)
    require_places(results.out, (), results.json_file, inputs)
    if kind == "image" and subject is not None and is_film(subject):
        of_images = {**of_reading, "--series": volume.series, "--volume": volume.volume}
        limit = reading.pixel_limit
        return inspect_film(console, subject, results.json_file, limit, of_images)
    if kind == "image" and subject is not None:
        return inspect_image(console, subject, results.json_file, reading, camera, volume)
    if len(results.weights or []) > 1:
        raise UsageError("--weights: two networks are compared on a pair; give its two images")
    path = subject or results.network
    return inspect_weights(console, path, inputs, results, device.device)


def _kind_of(subject: Path | None, images: Mapping[str, Path], flir: Path | None) -> SubjectKind:
    """Find out what to inspect. Raise UsageError if a file and a pair are given."""
    if flir is not None and subject is not None:
        raise UsageError(f"{subject} and --flir: a file and a pair; give only one of them")
    if flir is not None:
        return "pair"
    if images:
        if subject is not None:
            raise UsageError(
                f"{subject} and --{min(images)}: a file and a pair; give only one of them"
            )
        return "pair"
    if subject is None or subject.suffix.lower() in WEIGHTS_SUFFIXES or _holds_weights(subject):
        return "weights"
    return "image"


def _holds_weights(path: Path) -> bool:
    """Whether a file starts like safetensors, or like what PyTorch saves: a zip or a pickle."""
    from fnetcli.files.guarded import RefusedError, open_ordinary

    try:
        with open_ordinary(path) as file:
            start, size = file.read(1024), path.stat().st_size
    except (OSError, RefusedError):
        return False  # the reader will tell why
    is_safetensors = start[8:9] == b"{" and int.from_bytes(start[:8], "little") < size
    is_zip = start.startswith(b"PK\3\4") and b"/data.pkl" in start
    return is_safetensors or is_zip or start[:2] in PICKLES


def _refuse(kind: SubjectKind, given: Mapping[str, object], *kinds: SubjectKind) -> None:
    """Raise UsageError if an option was given that does not apply to this kind of subject."""
    for option, value in given.items():
        if value and kind not in kinds:
            fitting = " or ".join(WORDS[one] for one in kinds)
            raise UsageError(
                f"{option}: applies only to {fitting}, but {WORDS[kind]} is inspected; leave it out"
            )
