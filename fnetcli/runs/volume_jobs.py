"""Assemble a run of volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fnetcli.inputs.bids import stem_of
from fnetcli.inputs.pairing import Pairing
from fnetcli.models.base import Fusion, Maps
from fnetcli.pictures.outputs import MapsKind
from fnetcli.runs.network import LoadedMethod, require_products
from fnetcli.runs.plan import Existing, Job
from fnetcli.runs.protect import require_outside
from fnetcli.volumes.bids import dataset_files
from fnetcli.volumes.fuse import VolumeFuseOptions, Volumes
from fnetcli.volumes.mix import VolumeMixOptions
from fnetcli.volumes.outputs import (
    COLOR,
    Target,
    VolumeOutputOptions,
    VolumePaths,
    map_names,
    reference_name,
    require_bids,
    require_multi_frame,
    require_target,
)
from fnetcli.volumes.prepare import PreparedVolumes, VolumePrepareOptions

VolumeJob = Job[VolumePaths, PreparedVolumes, Fusion[Maps]]


@dataclass(frozen=True)
class VolumeRunOptions:
    """How to fuse pairs of volumes, besides how they are prepared."""

    mix: VolumeMixOptions = field(default_factory=VolumeMixOptions)
    target: Target = "nifti"
    maps: MapsKind | None = None
    existing: Existing = "skip"
    keeps_shear: bool = False
    is_multi_frame: bool = False


def volume_job(
    pairing: Pairing,
    prepare: VolumePrepareOptions,
    method: LoadedMethod,
    out: Path,
    options: VolumeRunOptions,
) -> VolumeJob:
    """Return the job. Raise UsageError, also for outputs that the network does not have."""
    products = method.products
    has_gains = bool(options.mix.gains)
    require_products(products, maps=options.maps, has_gains=has_gains, of=method.subject)
    require_outside(out, pairing)
    pairing.require_cases()
    with_maps = None if options.maps is None else options.maps != "none"
    is_bids = pairing.source == "bids"
    output = VolumeOutputOptions(
        *(options.target, with_maps, options.keeps_shear, options.is_multi_frame),
        method.words,
        is_bids,
    )
    require_bids(prepare, output)
    require_multi_frame(output, options.mix, prepare.modalities)
    require_target(pairing.cases, prepare, output)
    pipeline = Volumes(VolumeFuseOptions(prepare, products, options.mix, output))
    record = method.record()
    files = _dataset_files(pairing, out, pipeline.options, record) if is_bids else {}
    return Job(pairing, pipeline, out, record, existing=options.existing, files=files)


def _dataset_files(
    pairing: Pairing, out: Path, options: VolumeFuseOptions, record: Mapping[str, Any]
) -> dict[str, bytes]:
    """Return what describes results of BIDS as a data set. Raise UsageError."""
    modalities, output = options.modalities, options.output
    kept = reference_name(options.prepare)
    fused = (
        f"{modalities[1]} and {modalities[0]} fused by {output.maker}, on the grid of the {kept}"
    )
    results = {"fused": f"{fused}, in [0, 1]"}
    if options.mix.colors(modalities):
        results[COLOR] = f"{fused}, with uptake in colour"
    for name in map_names(modalities, options.products, output):
        results[name] = f"{name} of {fused}"
    case = pairing.cases[0]
    reference = (case.first, case.second)[modalities.index(kept)]
    suffix = (stem_of(reference) or "").rpartition("_")[2]
    sha256 = record.get("weights", {}).get("sha256")
    return dataset_files(out, pairing, modalities, output.maker, sha256, suffix, results)
