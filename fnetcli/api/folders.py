"""All pairs of two folders, of a list, or of camera files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack, get_args

from fnetcli.api.names import (
    Names,
    Pair,
    PairSource,
    Reading,
    gains_by_role,
    paired_pictures,
    require_choices,
    require_known,
    scaling_of_both,
)
from fnetcli.api.runs import RunSettings, progress_of, require_settings, run, workers_of
from fnetcli.errors import UsageError
from fnetcli.formats import PICTURE_KINDS, ReadOptions, usual_layer
from fnetcli.imaging.intensity import ScalingOptions
from fnetcli.inputs.camera_files import CAMERA_LAYERS, CAMERA_MODALITIES, pair_camera_files
from fnetcli.models.base import Wanted
from fnetcli.pictures.mix import MixOptions
from fnetcli.pictures.outputs import Depth, MapsKind, OutputOptions
from fnetcli.pictures.place import CAMERA_KIND, PlaceOptions
from fnetcli.pictures.prepare import PrepareOptions
from fnetcli.pictures.survey import Scope
from fnetcli.runs.network import LoadedMethod
from fnetcli.runs.picture_jobs import PictureRunOptions, picture_job
from fnetcli.runs.report import Progress, RunReport


def fuse_folder(
    network: LoadedMethod,
    out: str | Path,
    images: Mapping[str, str | Path] | None = None,
    *,
    pairs: PairSource | None = None,
    flir: str | Path | None = None,
    recursive: bool = False,
    suffixes: Mapping[str, str] | None = None,
    prefixes: Mapping[str, str] | None = None,
    match: Mapping[str, str] | None = None,
    nearest_time: float | None = None,
    pages: Mapping[str, int] | None = None,
    bands: Mapping[str, Sequence[int | str]] | None = None,
    pixel_limit: int = ReadOptions.pixel_limit,
    scaling: Mapping[str, ScalingOptions] | None = None,
    stretch_scope: Scope = "image",
    resize: str | None = None,
    place: PlaceOptions | None = None,
    gains: Mapping[str, float] | None = None,
    gray: bool = False,
    format: str | None = None,  # noqa: A002  as the option
    depth: Depth = "auto",
    maps: MapsKind | None = None,
    features: bool = False,
    **settings: Unpack[RunSettings],
) -> RunReport:
    """Fuse all pairs of two folders, of a list, or two files: what `fnet fuse -o OUT` does.

    ``fuse_folder(network, "out", {"vis": "VIS_DIR", "ir": "IR_DIR"})`` pairs files by name without
    suffix; ``pairs`` is a CSV file or its rows, ``[{"vis": PATH, "ir": PATH, "case": NAME}]``;
    ``flir`` a FLIR file, or a folder of them, that hold both images. ``match`` takes patterns as
    --match does, ``nearest_time`` seconds, and ``bands`` one or three bands of each file:
    ``{"vis": (1, 2, 3), "ir": (4,)}``. Results and OUT/manifest.jsonl are those of the command, and
    finished cases are skipped. A pair that fails is in the report's ``failed``, and stops no other.
    All other options are those of the command; `settings` are `RunSettings`. Raise UsageError for
    wrong arguments, FnetError if there is no pair, OutputError if no further result can be written.
    """
    require_settings(settings)
    require_choices(
        stretch_scope=(stretch_scope, get_args(Scope)),
        format=(format or OutputOptions.kind, PICTURE_KINDS),
        depth=(depth, get_args(Depth)),
        maps=(maps or "none", get_args(MapsKind)),
    )
    of_pages, of_bands = pages or {}, bands or {}

    def reading_of(modality: str) -> ReadOptions:
        layer = usual_layer(modality) if flir is None else CAMERA_LAYERS[modality]
        of_image = tuple(map(str, of_bands.get(modality, ())))
        return ReadOptions(of_pages.get(modality), pixel_limit, of_image, layer=layer)

    def reading(pair: Pair) -> Reading:
        return reading_of(pair[0]), reading_of(pair[1])

    named = Names(recursive, prefixes or {}, suffixes or {}, match or {}, nearest_time)
    if flir is None:
        modalities, pairing = paired_pictures(images or {}, pairs, named, reading)
    elif images or pairs is not None or replace(named, is_recursive=False) != Names() or pages:
        raise UsageError("flir: names files of both images; leave images, pairs, ... out")
    else:
        modalities = CAMERA_MODALITIES
        pairing = pair_camera_files(Path(flir), is_recursive=recursive)
    require_known(of_bands, modalities)
    if place is None and flir is not None:
        place = PlaceOptions(register=CAMERA_KIND, is_optional=True)
    place = replace(place or PlaceOptions(), camera=flir is not None)
    prepare = PrepareOptions(
        modalities,
        scaling_of_both(scaling, modalities),
        reading(modalities),
        resize,
        place=place,
    )
    on_progress = progress_of(settings)
    count = 0

    def look() -> None:
        nonlocal count
        count += 1
        on_progress(Progress("looking", count, None))

    surveyed = picture_job(
        pairing,
        prepare,
        network,
        Path(out),
        PictureRunOptions(
            mix=MixOptions(gains_by_role(gains, network.products, modalities), gray),
            kind=format,
            depth=depth,
            maps=maps,
            with_features=features,
            scope=stretch_scope,
            existing=settings.get("existing", "skip"),
        ),
        workers=workers_of(settings),
        on_step=look,
    )
    notices = [*surveyed.notices, *surveyed.warnings]
    return run(surveyed.job, network, settings, notices, Wanted(features=features))
