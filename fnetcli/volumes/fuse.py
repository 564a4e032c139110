"""The pipeline for two volumes: like `pictures/fuse.py`, with slices and a grid in millimetres.

disk -> formats/volumes -> Image -> windows (which numbers become black and white, once per volume)
     -> registration, if requested -> resample (onto the reference's grid) -> slices in [0, 1]
     -> engine, slab by slab -> NIfTI, DICOM or pictures on the reference's grid -> disk

`prepare.py` implements the first two lines, `mix.py` and `outputs.py` the end of the last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fnetcli.errors import UsageError
from fnetcli.files.output_folder import InPlace
from fnetcli.files.scratch import scratch_array
from fnetcli.formats.volumes import volume_state
from fnetcli.imaging.image import Image, Pixels
from fnetcli.inputs.pairing import Case
from fnetcli.models.base import Fusion, Maps, Wanted
from fnetcli.models.lone import HasData, own_parts, pass_through
from fnetcli.products import Gains, Products, gain_list
from fnetcli.volumes.completion import NetworkSlices
from fnetcli.volumes.mix import VolumeMixOptions, notices_of
from fnetcli.volumes.outputs import (
    VolumeOutputOptions,
    VolumePaths,
    bids_paths,
    map_names,
    reference_name,
    require_reference,
    shear_notice,
    volume_paths,
    volume_sha256,
    write_volumes,
)
from fnetcli.volumes.prepare import (
    PreparedVolumes,
    VolumePrepareOptions,
    read_volumes,
    slabs,
)

if TYPE_CHECKING:
    from fnetcli.engine import Fuser

OnSlices = Callable[
    [int, int, int], None
]  # slices just done; slices of this volume done so far, and in total


@dataclass(frozen=True)
class VolumeFuseOptions:
    """What decides the voxels and the files; `products`: the outputs of the network."""

    prepare: VolumePrepareOptions
    products: Products
    mix: VolumeMixOptions = field(default_factory=VolumeMixOptions)
    output: VolumeOutputOptions = field(default_factory=VolumeOutputOptions)

    def __post_init__(self) -> None:
        """Raise UsageError if two choices contradict each other."""
        self.mix.require_fitting(self.prepare.modalities)

    @property
    def modalities(self) -> tuple[str, str]:
        """First and second, in the network's order."""
        return self.prepare.modalities

    def wanted(self) -> Wanted:
        """Return which outputs are needed besides the fused slices."""
        has_maps = self.output.has_maps(self.products)
        return Wanted(parts=has_maps or bool(self.mix.gains), maps=has_maps)

    def record(self) -> dict[str, Any]:
        """Return everything that changes voxels or the set of files, ready for JSON."""
        return {
            **self.prepare.record(),
            "to": self.output.target,
            **self.mix.record(self.modalities),
            "maps": self.output.has_maps(self.products),
            **({"bids": True} if self.output.is_bids else {}),
            "keep_shear": self.output.keeps_shear,
            **({"multi_frame": True} if self.output.is_multi_frame else {}),
            "gains": gain_list(self.mix.gains, self.products.parts),
        }


def fuse_prepared(
    engine: Fuser,
    prepared: PreparedVolumes,
    options: VolumeFuseOptions,
    beside: Path,
    on_slices: OnSlices = lambda *_: None,
) -> Fusion[Maps]:
    """Fuse all slices, slab by slab; large results are kept in files beside a path.

    Everything is on the reference's grid, (slices, height, width) in its own order. The fused
    volume is the sum of the parts scaled by their gains, clipped to [0, 1]. Where only one volume
    has data, the other one is estimated (`completion`): that volume's unique part is the sum of
    all, the others and the maps are 0. If no voxel has data in both, each equals its own unique
    part. Where neither has data, everything is 0. Raise PairError, OutputError.
    """
    shape, products = prepared.grid.shape, options.products

    def volumes(roles: tuple[str, ...]) -> dict[str, Maps]:
        return {role: scratch_array(beside, shape, np.float32) for role in roles}

    fusion = Fusion(
        scratch_array(beside, shape, np.float32), volumes(products.parts), volumes(products.maps)
    )
    ordered: Fusion[Maps] = fusion.apply(prepared.order.apply)
    slices = NetworkSlices.of(prepared)
    count = len(ordered.fused)
    for slab in slabs(ordered.fused.shape):
        (x, has_x), (y, has_y) = slices.slab(slab)
        found = _fuse_slab(
            engine, (x, y), (has_x, has_y), products, are_completed=slices.are_completed
        )
        if not slices.are_completed:
            pass_through(found, (x, y), (has_x, has_y))
        ordered.fused[slab] = np.clip(_mixed(found, options.mix.gains), 0, 1)
        _attribute(found, (has_x, has_y), ordered.fused[slab])
        for kept, made in ((ordered.parts, found.parts), (ordered.maps, found.maps)):
            for role, values in made.items():
                kept[role][slab] = values
        on_slices(slab.stop - slab.start, slab.stop, count)
    return fusion


def _fuse_slab(
    engine: Fuser,
    luminances: tuple[Pixels, Pixels],
    has_data: HasData,
    products: Products,
    *,
    are_completed: bool,
) -> Fusion[Maps]:
    """Fuse some slices; those with nothing to fuse are skipped, and 0."""
    x, y = luminances
    has_first, has_second = (
        np.ones(len(x), bool) if mask is None else mask.any(axis=(1, 2)) for mask in has_data
    )
    shared = has_first | has_second if are_completed else has_first & has_second
    whole = None if products.parts else np.zeros(x.shape, np.float32)
    made = Fusion(
        whole,
        {role: np.zeros(x.shape, np.float32) for role in products.parts},
        {role: np.zeros(x.shape, np.float32) for role in products.maps},
    )
    if shared.any():
        found = engine.run(x[shared], y[shared], Wanted(maps=bool(products.maps)))
        if whole is not None:
            whole[shared] = found.fused
        for kept, new in ((made.parts, found.parts), (made.maps, found.maps)):
            for role, values in new.items():
                kept[role][shared] = values
    return made


def _attribute(fusion: Fusion[Maps], has_data: HasData, fused: Maps) -> None:
    """Attribute nothing to a volume where it has no data; where neither has, all is 0."""
    parts = own_parts(fusion)
    total = fusion.fused if fusion.parts else None
    for own, other in ((0, 1), (1, 0)):
        missing = has_data[other]
        if missing is None:
            continue
        alone = ~missing
        present = has_data[own]
        seen = alone if present is None else alone & present
        values = None if total is None else total[seen]
        for one in (*fusion.parts.values(), *fusion.maps.values()):
            one[alone] = 0
        if values is not None:
            parts[own][seen] = values
        if present is not None:
            fused[alone & ~present] = 0


def _mixed(fusion: Fusion[Maps], gains: Gains) -> Maps:
    """Return the sum of the parts, each scaled by its gain; not clipped."""
    if fusion.whole is not None:
        return fusion.whole
    weighed = {role: np.float32(gains.get(role, 1.0)) * part for role, part in fusion.parts.items()}
    return Fusion(None, weighed).fused


# --- as part of a run -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Volumes:
    """The pipeline for a case of two volumes, step by step (runs.process.Pipeline)."""

    options: VolumeFuseOptions

    @property
    def modalities(self) -> tuple[str, str]:
        """First and second, in the network's order."""
        return self.options.modalities

    def record(self) -> dict[str, Any]:
        """Return every option that changes voxels or the set of files."""
        return self.options.record()

    def paths(self, case: Case, out: Path, *, is_file: bool) -> VolumePaths:
        """Return the paths of a case's results; the output is always a folder."""
        if is_file:
            raise UsageError(f"-o {out}: names a file, but volumes are fused; give a folder")
        options = self.options
        if options.output.is_bids:
            return self._bids_paths(case, out)
        return volume_paths(
            *(case, out, options.modalities, options.products, options.mix, options.output),
            is_registered=options.prepare.registers,
        )

    def _bids_paths(self, case: Case, out: Path) -> VolumePaths:
        options, modalities = self.options, self.modalities
        kept = modalities.index(reference_name(options.prepare))
        moved = (modalities[1 - kept], modalities[kept]) if options.prepare.registers else None
        return bids_paths(
            (case.first, case.second)[kept],
            *(out, moved, map_names(modalities, options.products, options.output)),
            has_color=options.mix.colors(modalities),
        )

    def state(self, path: Path) -> object:
        """Return the sizes and times of a volume's files. Raise ReadError."""
        return volume_state(path)

    def sha256(self, path: Path) -> str:
        """Return the hash of a file, or of all files of a folder. Raise ReadError."""
        return volume_sha256(path)

    def read(self, case: Case) -> PreparedVolumes:
        """Read both volumes and put them on one grid. Raise ImageError."""

        def on_reference(name: str, image: Image) -> None:
            require_reference(name, image, self.options.output)

        return read_volumes(case, self.options.prepare, on_reference)

    def sizes(self, prepared: PreparedVolumes) -> tuple[str, str]:
        """Return columns x rows x slices of both volumes as read."""
        first, second = (f"{image.grid.size}x{image.grid.shape[0]}" for image in prepared.sources)
        return first, second

    def nbytes(self, prepared: PreparedVolumes) -> int:
        """Return how many bytes a case needs from reading to writing; its results are on disk."""
        return prepared.nbytes

    def work(
        self,
        engine: Fuser,
        prepared: PreparedVolumes,
        paths: VolumePaths,
        in_place: InPlace,
        on_slices: OnSlices = lambda *_: None,
    ) -> Fusion[Maps]:
        """Fuse all slices."""
        with in_place():
            return fuse_prepared(engine, prepared, self.options, paths.fused, on_slices)

    def write(
        self,
        prepared: PreparedVolumes,
        fusion: Fusion[Maps],
        paths: VolumePaths,
        in_place: InPlace,
    ) -> dict[str, Any]:
        """Write everything; return ranges, notices and facts about the grid."""
        with in_place():
            write_volumes(prepared, fusion, paths, self.options.mix, self.options.output)
        ranges = {
            modality: {
                "low": window.limits[0],
                "high": window.limits[1],
                **({} if window.name is None else {"window": window.name}),
                "invalid": _holes(image),
            }
            for modality, window, image in zip(
                self.modalities, prepared.windows, prepared.on_grid, strict=True
            )
        }
        sentences = (window.sentence for window in prepared.windows)
        info = [*sentences, *prepared.info, *shear_notice(prepared, self.options.output)]
        notices = notices_of(prepared, self.options.mix)
        return {"ranges": ranges, "said": info, "notices": notices, **prepared.facts}


def _holes(image: Image) -> int:
    """Return the number of voxels without data."""
    return 0 if image.valid is None else image.valid.size - int(np.count_nonzero(image.valid))
