"""Assemble a run of volumes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fnetcli.inputs.pairing import Pairing
from fnetcli.models.base import Fusion, Maps
from fnetcli.pictures.outputs import MapsKind
from fnetcli.runs.network import LoadedMethod, require_products
from fnetcli.runs.plan import Existing, Job
from fnetcli.runs.protect import require_outside
from fnetcli.volumes.fuse import VolumeFuseOptions, Volumes
from fnetcli.volumes.mix import VolumeMixOptions
from fnetcli.volumes.outputs import (
    Target,
    VolumeOutputOptions,
    VolumePaths,
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
    output = VolumeOutputOptions(
        *(options.target, with_maps, options.keeps_shear, options.is_multi_frame), method.words
    )
    require_multi_frame(output, options.mix, prepare.modalities)
    require_target(pairing.cases, prepare, output)
    pipeline = Volumes(VolumeFuseOptions(prepare, products, options.mix, output))
    return Job(pairing, pipeline, out, method.record(), existing=options.existing)
