"""Assemble a run of pictures: the options of all cases, and choices that depend on all files.

Volumes are in `volume_jobs.py`, since their imports are slow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from fnetcli.cores import usable_cores
from fnetcli.errors import UsageError
from fnetcli.formats import IMAGE_SUFFIXES
from fnetcli.formats.writers import kind_of_suffix
from fnetcli.inputs.pairing import Pairing
from fnetcli.models.base import Fusion, Maps
from fnetcli.pictures.fuse import FuseOptions, Pictures
from fnetcli.pictures.mix import MixOptions
from fnetcli.pictures.outputs import Depth, MapsKind, OutputOptions, PicturePaths
from fnetcli.pictures.prepare import Prepared, PrepareOptions
from fnetcli.pictures.survey import Scope, fitting_kind, lost_depth, survey
from fnetcli.runs.network import LoadedMethod, require_products
from fnetcli.runs.plan import Existing, Job
from fnetcli.runs.protect import require_outside, require_writable

MAX_WORKERS = 4  # by default: reading and writing need no more while the network runs

PictureJob = Job[PicturePaths, Prepared, Fusion[Maps]]


@dataclass(frozen=True)
class PictureRunOptions:
    """How to fuse pairs of pictures, besides how they are prepared."""

    mix: MixOptions = field(default_factory=MixOptions)
    kind: str | None = None  # file format of the fused pictures; None: PNG, or TIFF if needed
    depth: Depth = "auto"
    maps: MapsKind | None = None
    with_features: bool = False
    scope: Scope = "image"
    existing: Existing = "skip"


@dataclass(frozen=True)
class SurveyedPictures:
    """A job of pictures, its options with all defaults filled in, and notices."""

    job: PictureJob
    options: FuseOptions
    notices: list[str]
    warnings: list[str]


def default_workers() -> int:
    """Return the default number of threads for files: one per core, at most MAX_WORKERS."""
    return min(MAX_WORKERS, usable_cores())


def picture_job(
    pairing: Pairing,
    prepare: PrepareOptions,
    method: LoadedMethod,
    out: Path,
    options: PictureRunOptions,
    *,
    workers: int = 2,
    on_step: Callable[[], None] = lambda: None,
) -> SurveyedPictures:
    """Survey the headers of all pictures, and make the choices that depend on all of them.

    `out` is a folder, or for one pair of files the name of the fused picture. Raise UsageError,
    also for outputs that the network does not have.
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
        method.products,
        maps=options.maps,
        has_gains=has_gains,
        features=options.with_features,
        of=method.subject,
    )
    require_writable(f"-o {out}", out if file_kind else out / "any")
    require_outside(out, pairing)
    pairing.require_cases()
    found = survey(pairing.cases, prepare, scope=options.scope, workers=workers, on_step=on_step)
    notices = list(found.notices)
    if kind is None:
        fitting, reason = fitting_kind(found, output.depth)
        output = replace(output, kind=fitting)
        notices += [reason] if reason else []
    notices += lost_depth(found, output)
    fuse_options = FuseOptions(found.options, method.products, options.mix, output)
    job: PictureJob = Job(
        pairing=pairing,
        pipeline=Pictures(fuse_options),
        out=out,
        method=method.record(),
        is_file=file_kind is not None,
        existing=options.existing,
    )
    return SurveyedPictures(job, fuse_options, notices, found.warnings)


def kind_of_file(out: Path, pairing: Pairing) -> str | None:
    """Return the format of the fused picture that -o names, if it names one; refuse odd names."""
    suffix = out.suffix.lower()
    if suffix not in IMAGE_SUFFIXES or out.is_dir():
        if out.exists() and not out.is_dir():
            raise UsageError(f"-o {out}: is a file; give a folder, or a name that ends in .png")
        return None
    if pairing.source != "files":
        what = {"list": "the pairs of a list"}.get(pairing.source, "folders")
        raise UsageError(f"-o {out}: names a file, but {what} are fused; give a folder")
    kind = kind_of_suffix(out)
    if kind is not None:
        return kind
    raise UsageError(
        f"-o {out}: results are PNG, TIFF, JPEG or WebP; "
        "give a name that ends in .png, .tif, .jpg or .webp"
    )
