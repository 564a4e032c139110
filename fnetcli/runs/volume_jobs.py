"""Assemble a run of volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fnetcli.errors import UsageError
from fnetcli.inputs.bids import stem_of
from fnetcli.inputs.pairing import Pairing
from fnetcli.modalities import in_words
from fnetcli.models.base import Fusion, Maps
from fnetcli.pictures.outputs import MapsKind
from fnetcli.runs.manifest import DONE, Manifest, paths, relative_path
from fnetcli.runs.network import LoadedMethod, require_products
from fnetcli.runs.plan import Existing, Job
from fnetcli.runs.protect import require_outside, require_writable
from fnetcli.volumes.bids import dataset_files, named_after, require_apart
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
from fnetcli.volumes.prepare import FINEST, PreparedVolumes, VolumePrepareOptions

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
    require_writable(f"-o {out}", out / "any")
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
    files = dict[str, bytes]()
    if is_bids:
        known = Manifest(out)
        if options.existing == "skip":
            _require_same_inputs(pairing, prepare.modalities, out, known)
        files = _dataset_files(pairing, out, pipeline, record, known)
    return Job(pairing, pipeline, out, record, existing=options.existing, files=files)


def named_cases(pairing: Pairing, prepare: VolumePrepareOptions) -> Pairing:
    """Return cases of BIDS with the names of their references; others as they are.

    So another reference, or another file as such, has a record of its own in the manifest.
    """
    if pairing.source != "bids" or prepare.reference == FINEST:  # FINEST is refused later
        return pairing
    return named_after(pairing, prepare.modalities.index(reference_name(prepare)))


def _require_same_inputs(
    pairing: Pairing, modalities: tuple[str, str], out: Path, known: Manifest
) -> None:
    """Raise UsageError if a reference's results of other files would be replaced.

    In a BIDS data set many files fit one reference, and results have its name.
    """
    for case in pairing.cases:
        old = known.get(case.name) or {}
        if old.get("status") != DONE:
            continue
        new = {
            modality: relative_path(path, root)
            for modality, path, root in zip(
                modalities, (case.first, case.second), pairing.roots, strict=True
            )
        }
        of_old = paths(old)
        for modality, path in of_old.items():
            if new.get(modality) != path:
                raise UsageError(
                    f"-o {out}: holds results of {' and '.join(of_old.values())}, which those of "
                    f"{' and '.join(new.values())} would replace; choose another folder, or "
                    "--existing overwrite"
                )


def _dataset_files(
    pairing: Pairing, out: Path, pipeline: Volumes, record: Mapping[str, Any], known: Manifest
) -> dict[str, bytes]:
    """Return what describes results of BIDS as a data set. Raise UsageError."""
    options = pipeline.options
    modalities, output = options.modalities, options.output
    kept = reference_name(options.prepare)
    side = modalities.index(kept)
    references = {(case.first, case.second)[side]: case for case in pairing.cases}
    require_apart(
        references,
        kept,
        lambda path: pipeline.paths(references[path], out, is_file=False).all().values(),
    )
    fused = f"{in_words(modalities)} fused by {output.maker}, on the grid of the {kept.upper()}"
    results = {"fused": f"{fused}, in [0, 1]"}
    if options.mix.colors(modalities):
        results[COLOR] = f"{fused}, with uptake in colour"
    for name in map_names(modalities, options.products, output):
        results[name] = f"{name} of {fused}"
    suffix = (stem_of(next(iter(references))) or "").rpartition("_")[2]
    sha256 = record.get("weights", {}).get("sha256")
    others = known.cases() - {case.name for case in pairing.cases}
    return dataset_files(
        out,
        pairing,
        modalities,
        output.maker,
        sha256,
        suffix,
        results,
        has_others=bool(others),
    )
