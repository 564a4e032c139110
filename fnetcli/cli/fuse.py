"""`fnet fuse`: pairs in, fused images and maps out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fnetcli.batch import EXIT_FAILED
from fnetcli.cli import options as given_options
from fnetcli.cli.console import Console, Progress, exits_properly

if TYPE_CHECKING:
    from fnetcli.fusion import FuseOptions, Outputs
    from fnetcli.pairing import Case, Pairing

SHOWN_UNPAIRED = 20


class Maps(StrEnum):
    """How the unique and common maps are written."""

    preview = "preview"
    float = "float"
    none = "none"


@exits_properly
def fuse(
    vis: given_options.Vis = None,
    ir: given_options.Ir = None,
    nir: given_options.Nir = None,
    ct: given_options.Ct = None,
    mri: given_options.Mri = None,
    pet: given_options.Pet = None,
    spect: given_options.Spect = None,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="Folder for the results; for one pair also a .png file."),
    ] = Path("fnet-out"),
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            help="Weights: ours (.safetensors) or the published layout (.pth). "
            "Default: the shipped ones.",
            show_default=False,
        ),
    ] = None,
    resize: Annotated[
        str | None,
        typer.Option(
            "--resize",
            metavar="MODALITY",
            help="Where sizes differ, keep this image's size and resize the other.",
            show_default=False,
        ),
    ] = None,
    gray: Annotated[bool, typer.Option("--gray", help="Write luminance only, no colour.")] = False,
    maps: Annotated[
        Maps,
        typer.Option(
            "--maps",
            help="Unique and common maps: 8-bit previews (grey 128 is zero), float32 TIFF "
            "(their sum is the unclipped fused luminance), or none.",
        ),
    ] = Maps.preview,
    features: Annotated[
        bool, typer.Option("--features", help="Also write the codes u, v, z as float16 (large).")
    ] = False,
    device: given_options.Device = "auto",
    quiet: given_options.Quiet = False,
    debug: given_options.Debug = False,
) -> int:
    """Fuse one pair of files, or two folders of files with equal names.

    Two files: fnet fuse --vis a.png --ir b.png. Two folders: fnet fuse --vis DIR --ir DIR -o OUT;
    they are paired by file name without suffix. Results: OUT/fused, OUT/unique_<modality>,
    OUT/common; existing ones are replaced. Paths of the fused images go to stdout.
    """
    from fnetcli.fusion import FuseOptions
    from fnetcli.modality import network_order
    from fnetcli.pairing import pair_paths

    console = Console(is_quiet=quiet)
    images = given_options.given(vis=vis, ir=ir, nir=nir, ct=ct, mri=mri, pet=pet, spect=spect)
    first, second = network_order(list(images))
    options = FuseOptions(
        modalities=(first, second),
        resize_to=resize,
        is_gray=gray,
        maps=maps.value,
        with_features=features,
    )
    pairing = pair_paths(images[first], images[second])
    outputs = _plan(pairing, out, options, is_one_pair=images[first].is_file())
    _tell_unpaired(console, pairing)
    if not pairing.cases:
        console.error(
            f"{images[first]} and {images[second]}: nothing to fuse, no file of one folder has a "
            "partner of the same name in the other; rename files or check the folders"
        )
        return EXIT_FAILED
    return _run(console, pairing, outputs, options, weights, device, is_debug=debug)


def _run(
    console: Console,
    pairing: Pairing,
    outputs: dict[str, Outputs],
    options: FuseOptions,
    weights: Path | None,
    device: str,
    *,
    is_debug: bool,
) -> int:
    from fnetcli.batch import run_cases
    from fnetcli.checkpoint import load_weights
    from fnetcli.engine import Engine, choose_device
    from fnetcli.fusion import fuse_files

    chosen = choose_device(device)
    loaded = load_weights(weights)
    engine = Engine(loaded.network, chosen)
    console.notice(f"{len(pairing.cases)} pairs, weights {loaded.name}, device {chosen}")
    for notice in loaded.notices():
        console.notice(notice)
    if options.with_features:
        _tell_size(console, pairing, loaded.network.config.atoms)
    progress = Progress(len(pairing.cases), "pairs", console)

    def work(case: Case) -> None:
        for notice in fuse_files(case, outputs[case.name], engine, options):
            console.warning(notice)

    def on_done(case: Case) -> None:
        progress.step(case.name)
        console.result(str(outputs[case.name].fused))

    def on_failed(case: Case, text: str) -> None:
        progress.step(case.name)
        console.error(text)

    try:
        report = run_cases(pairing.cases, work, on_done, on_failed, is_debug=is_debug)
    finally:
        progress.close()
    console.notice(
        f"{len(report.done)} fused, {len(report.failed)} failed, {len(pairing.unpaired)} unpaired"
    )
    return report.exit_code


def _plan(
    pairing: Pairing, out: Path, options: FuseOptions, *, is_one_pair: bool
) -> dict[str, Outputs]:
    """Decide every output path; refuse to write over an input or into a file."""
    from fnetcli.errors import UsageError
    from fnetcli.formats import IMAGE_SUFFIXES
    from fnetcli.fusion import outputs_beside_file, outputs_in_folder

    names_file = out.suffix.lower() in IMAGE_SUFFIXES and not out.is_dir()
    if names_file and not is_one_pair:
        raise UsageError(f"-o {out}: names a file, but folders are fused; give a folder")
    if names_file and out.suffix.lower() != ".png":
        raise UsageError(f"-o {out}: results are PNG files; give a name that ends in .png")
    if not names_file and out.exists() and not out.is_dir():
        raise UsageError(f"-o {out}: is a file; give a folder, or a name that ends in .png")
    plan = {
        case.name: outputs_beside_file(out, options)
        if names_file
        else outputs_in_folder(case, out, options)
        for case in pairing.cases
    }
    inputs = {path.resolve() for case in pairing.cases for path in (case.first, case.second)}
    for outputs in plan.values():
        for path in outputs.all():
            if path.resolve() in inputs:
                raise UsageError(f"{path}: would be overwritten, but is an input; change -o")
    return plan


def _tell_unpaired(console: Console, pairing: Pairing) -> None:
    if pairing.unpaired:
        shown = ", ".join(str(path) for path in pairing.unpaired[:SHOWN_UNPAIRED])
        more = len(pairing.unpaired) - SHOWN_UNPAIRED
        console.warning(
            f"{len(pairing.unpaired)} files without a partner: {shown}"
            + (f" and {more} more" if more > 0 else "")
        )


def _tell_size(console: Console, pairing: Pairing, atoms: int) -> None:
    """Say how much the codes will take, from the size of the first pair."""
    from fnetcli.errors import ReadError
    from fnetcli.formats import read_image
    from fnetcli.fusion import features_bytes

    try:
        grid = read_image(pairing.cases[0].second).grid
    except ReadError:
        return  # it is reported when its turn comes
    megabytes = features_bytes(*grid.shape[1:], atoms) / 1e6
    console.notice(
        f"features: about {megabytes:,.0f} MB for a pair of {grid.size}, {len(pairing.cases)} pairs"
    )
