"""Volumes: files, series, data sets, and arrays with their affines."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Unpack, get_args

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike

from fnetcli.api.arrays import ARRAY_TYPES, numbers_of
from fnetcli.api.names import (
    Laid,
    Names,
    PairSource,
    gains_by_role,
    paired_volumes,
    require_choices,
    require_known,
)
from fnetcli.api.runs import RunSettings, require_settings, run
from fnetcli.errors import PairError, UsageError
from fnetcli.formats.transforms import read_transform
from fnetcli.formats.volumes import VolumeOptions
from fnetcli.inputs.layout import AskedKind
from fnetcli.pictures.outputs import MapsKind
from fnetcli.runs.network import LoadedMethod
from fnetcli.runs.report import RunReport
from fnetcli.runs.volume_jobs import VolumeRunOptions, named_cases, volume_job
from fnetcli.volumes.mix import Below, VolumeMixOptions
from fnetcli.volumes.outputs import Target
from fnetcli.volumes.prepare import VolumePrepareOptions
from fnetcli.volumes.resample import Axis, Interpolation, Matrix
from fnetcli.volumes.sequence import each_volume as split_volumes

VolumeArray = tuple[ArrayLike, ArrayLike]  # numbers (i, j, k), and the affine to RAS+ millimetres
OneVolume = str | Path | VolumeArray


def fuse_volumes(
    network: LoadedMethod,
    out: str | Path,
    images: Mapping[str, OneVolume] | None = None,
    *,
    pairs: PairSource | None = None,
    layout: AskedKind = "auto",
    name: str | None = None,
    recursive: bool = False,
    suffixes: Mapping[str, str] | None = None,
    prefixes: Mapping[str, str] | None = None,
    match: Mapping[str, str] | None = None,
    entities: Mapping[str, str] | None = None,
    series: Mapping[str, str] | None = None,
    volumes: Mapping[str, int] | None = None,
    each_volume: bool = False,
    windows: Mapping[str, str] | None = None,
    limits: Mapping[str, tuple[float, float]] | None = None,
    denoise: Mapping[str, str] | None = None,
    inverted: Iterable[str] = (),
    pixel_limit: int = VolumeOptions.pixel_limit,
    reference: str | None = None,
    interpolation: Interpolation = "linear",
    axis: Axis = "auto",
    register: bool = False,
    distrust_headers: bool = False,
    strict: bool = False,
    transform: str | Path | Matrix | None = None,
    assume_aligned: bool = False,
    gains: Mapping[str, float] | None = None,
    colormap: str | None = None,
    opacity: float | None = None,
    below: Below = "fused",
    gray: bool = False,
    to: Target = "nifti",
    maps: MapsKind | None = None,
    keep_shear: bool = False,
    multi_frame: bool = False,
    **settings: Unpack[RunSettings],
) -> RunReport:
    """Fuse volumes, DICOM or NIfTI: what `fnet fuse --ct DIR --mri DIR -o OUT` does.

    ``fuse_volumes(network, "out", {"ct": "CT_DIR", "mri": "scan.nii.gz"})``: two of ct, mri, pet
    and spect, or mri and mri2, each a series, a file, or a folder of cases (`layout`); or an array
    with its affine, as nibabel has them: ``{"ct": (array, affine), "mri": "scan.nii.gz"}``, where
    the affine maps (i, j, k) to millimetres (RAS+). `name` names a single case; one of two arrays
    is called like its second modality. `pairs` is a list as for `fuse_folder`, and `recursive`,
    `suffixes`, `prefixes` and `match` pair the files and series of two folders. With
    ``layout="bids"``, `entities` are texts as for --entity: ``{"ct": "_ct", "mri": "_T1w"}``, and
    OUT becomes a BIDS derivative. `volumes` chooses among the volumes of 4-D files and series,
    `each_volume` fuses all as cases. `windows` and `denoise` are texts as for --window and
    --denoise, `limits` stored numbers that become black and white; `transform` is a file (ITK) or a
    4x4 matrix in RAS+ millimetres from points of the reference to points of the other volume; with
    `strict`, a refused registration fails its case. All other options are those of the command;
    `settings` are `RunSettings`. Raise as `fuse_folder` does.
    """
    require_settings(settings)
    if each_volume and layout == "bids":
        raise UsageError("each_volume and layout bids: names of BIDS decide; leave one out")
    require_choices(
        layout=(layout, get_args(AskedKind)),
        interpolation=(interpolation, get_args(Interpolation)),
        axis=(axis, get_args(Axis)),
        below=(below, get_args(Below)),
        to=(to, get_args(Target)),
        maps=(maps or "none", get_args(MapsKind)),
    )
    named = Names(recursive, prefixes or {}, suffixes or {}, match or {})
    laid = Laid(layout, name, entities or {})
    with _volume_files(images or {}) as files:
        modalities, pairing, notices = paired_volumes(files, pairs, named, laid)
        first, second = modalities
        texts, numbers, ranges = windows or {}, volumes or {}, limits or {}
        filters = denoise or {}
        for given in (series or {}, texts, numbers, ranges, filters, dict.fromkeys(inverted)):
            require_known(given, modalities)

        def reading(modality: str) -> VolumeOptions:
            return VolumeOptions((series or {}).get(modality), numbers.get(modality), pixel_limit)

        black = {*inverted}
        prepare = VolumePrepareOptions(
            modalities=modalities,
            reading=(reading(first), reading(second)),
            windows=(texts.get(first), texts.get(second)),
            limits=(ranges.get(first), ranges.get(second)),
            are_inverted=(first in black, second in black),
            denoise=(filters.get(first), filters.get(second)),
            reference=reference,
            interpolation=interpolation,
            axis=axis,
            registers=register,
            distrusts_headers=distrust_headers,
            requires_registration=strict,
            transform=(
                read_transform(Path(transform)) if isinstance(transform, str | Path) else transform
            ),
            assumes_aligned=assume_aligned,
        )
        if each_volume:
            pairing = split_volumes(pairing, prepare.readings, modalities)
        options = VolumeRunOptions(
            mix=VolumeMixOptions(
                gains_by_role(gains, network.products, modalities), colormap, opacity, below, gray
            ),
            target=to,
            maps=maps,
            existing=settings.get("existing", "skip"),
            keeps_shear=keep_shear,
            is_multi_frame=multi_frame,
        )
        pairing = named_cases(pairing, prepare)
        job = volume_job(pairing, prepare, network, Path(out), options)
        return run(job, network, settings, notices)


@contextmanager
def _volume_files(images: Mapping[str, OneVolume]) -> Iterator[dict[str, Path]]:
    """Yield the paths of volumes; arrays are in files of a temporary folder. Raise PairError."""
    with tempfile.TemporaryDirectory(prefix="fnet-") as folder:
        yield {
            name: Path(source)
            if isinstance(source, str | Path)
            else _volume_file(source, name, Path(folder))
            for name, source in images.items()
        }


def _volume_file(source: VolumeArray, name: str, folder: Path) -> Path:
    """Write an array with its affine as a file; equal arrays are equal files."""
    if not isinstance(source, tuple) or len(source) != 2:
        raise PairError(f"{name}: neither a path nor (array, affine); give one of them")
    values, affine = numbers_of(source[0]), np.asarray(source[1])
    if values.dtype.newbyteorder("=") not in ARRAY_TYPES or values.ndim not in (3, 4):
        raise PairError(
            f"{name}: an array of {values.dtype} {values.shape}; give integers of 8 to 32 bits or "
            "floats, (i, j, k) or (i, j, k, volumes), as nibabel has them"
        )
    if affine.shape != (4, 4) or affine.dtype.kind not in "iuf" or not np.isfinite(affine).all():
        raise PairError(
            f"{name}: its affine is not a 4x4 matrix of finite numbers; give the one from "
            "(i, j, k) to millimetres (RAS+)"
        )
    if values.dtype.itemsize == 2 and values.dtype.kind == "f":
        values = values.astype(np.float32)
    path = folder / f"{name}.nii"
    nib.save(nib.Nifti2Image(values, affine.astype(np.float64)), path)
    return path
