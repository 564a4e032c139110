"""What a run of pictures takes: options of all cases, and what only all files together tell.

That of volumes stands in `volume_jobs.py`: what it needs is slow to import.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from fnetcli.errors import UsageError
from fnetcli.formats import IMAGE_SUFFIXES, PICTURE_KINDS
from fnetcli.inputs.pairing import Pairing
from fnetcli.models.base import Fusion, Maps
from fnetcli.pictures.fuse import FuseOptions, Pictures
from fnetcli.pictures.mix import MixOptions
from fnetcli.pictures.outputs import Depth, MapsKind, OutputOptions, PicturePaths
from fnetcli.pictures.prepare import Prepared, PrepareOptions
from fnetcli.pictures.survey import Scope, fitting_kind, lost_depth, survey
from fnetcli.runs.network import LoadedNetwork, require_products
from fnetcli.runs.plan import Existing, Job
from fnetcli.runs.protect import require_outside

MAX_WORKERS = 4  # unless told otherwise: reading and writing need no more beside the network

PictureJob = Job[PicturePaths, Prepared, Fusion[Maps]]


@dataclass(frozen=True)
class PictureRunOptions:
    """How pairs of pictures are fused, beside what the network sees of each."""

    mix: MixOptions = field(default_factory=MixOptions)
    kind: str | None = None  # of the fused pictures' files; None: PNG, or TIFF where it is needed
    depth: Depth = "auto"
    maps: MapsKind | None = None
    with_features: bool = False
    scope: Scope = "image"
    existing: Existing = "skip"


@dataclass(frozen=True)
class SurveyedPictures:
    """A job of pictures, the options it was given with all filled in, and what is to be said."""

    job: PictureJob
    options: FuseOptions
    notices: list[str]


def default_workers() -> int:
    """Return how many threads read and write where nobody says: one a core, at most MAX_WORKERS."""
    return min(MAX_WORKERS, os.cpu_count() or 1)


def picture_job(
    pairing: Pairing,
    prepare: PrepareOptions,
    network: LoadedNetwork,
    out: Path,
    options: PictureRunOptions,
    *,
    workers: int = 2,
    on_step: Callable[[], None] = lambda: None,
) -> SurveyedPictures:
    """Look at the headers of all pictures, and decide what only all of them tell.

    `out` is a folder, or for one pair of files the name of the fused picture. Raise UsageError,
    also for what the network does not make.
    """
    file_kind = kind_of_file(out, pairing)
    if file_kind and options.kind not in (None, file_kind):
        raise UsageError(f"-o {out}: names a file; give a folder, or no other --format")
    kind = file_kind or options.kind
    output = OutputOptions(
        kind=kind or ("tiff" if options.depth == "float" else "png"),
        depth=options.depth,
        maps=options.maps,
        with_features=options.with_features,
    )
    has_gains = bool(options.mix.gains)
    require_products(
        network.products, maps=options.maps, has_gains=has_gains, features=options.with_features
    )
    require_outside(out, pairing)
    pairing.require_cases()
    found = survey(pairing.cases, prepare, scope=options.scope, workers=workers, on_step=on_step)
    notices = list(found.notices)
    if kind is None:
        fitting, reason = fitting_kind(found, output.depth)
        output = replace(output, kind=fitting)
        notices += [reason] if reason else []
    notices += lost_depth(found, output)
    fuse_options = FuseOptions(found.options, network.products, options.mix, output)
    job: PictureJob = Job(
        pairing=pairing,
        pipeline=Pictures(fuse_options),
        out=out,
        weights=network.record(),
        is_file=file_kind is not None,
        existing=options.existing,
    )
    return SurveyedPictures(job, fuse_options, notices)


def kind_of_file(out: Path, pairing: Pairing) -> str | None:
    """Return the format that -o asks for where it names the fused picture; refuse odd names."""
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
