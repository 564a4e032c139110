"""The Python API: what `from fnetcli import ...` provides.

Nothing here prints or handles signals; all errors are `fnetcli.errors.FnetError`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fnetcli.baselines import BY_NAME as BASELINES_BY_NAME
from fnetcli.baselines import SHORT_NAMES
from fnetcli.errors import PairError, UsageError
from fnetcli.formats import ReadOptions, read_image, usual_layer
from fnetcli.formats.transforms import read_transform
from fnetcli.formats.volumes import VolumeOptions
from fnetcli.imaging.image import Grid, Image
from fnetcli.imaging.intensity import ScalingOptions
from fnetcli.inputs.bids import read_rule
from fnetcli.inputs.camera_files import CAMERA_LAYERS, CAMERA_MODALITIES, pair_camera_files
from fnetcli.inputs.layout import AskedKind, read_layout
from fnetcli.inputs.lists import pair_list, pair_rows
from fnetcli.inputs.names import name_rules
from fnetcli.inputs.pairing import Pairing, PairingOptions, pair_paths
from fnetcli.modalities import MODALITIES, VOLUMETRIC, network_order
from fnetcli.models.base import Wanted
from fnetcli.pictures.fuse import Fused, FuseOptions
from fnetcli.pictures.fuse import fuse as fuse_images
from fnetcli.pictures.mix import MixOptions
from fnetcli.pictures.outputs import Depth, MapsKind, OutputOptions
from fnetcli.pictures.place import CAMERA_KIND, PlaceOptions
from fnetcli.pictures.prepare import PrepareOptions
from fnetcli.pictures.survey import Scope
from fnetcli.products import Products
from fnetcli.runs.baseline import LoadedBaseline
from fnetcli.runs.crew.base import ClusterOptions
from fnetcli.runs.network import LoadedMethod, LoadedNetwork, NetworkSource, require_products
from fnetcli.runs.parts import Part, parse_part
from fnetcli.runs.picture_jobs import PictureRunOptions, default_workers, picture_job
from fnetcli.runs.plan import Existing
from fnetcli.runs.report import OnProgress, Progress, RunReport, run_job
from fnetcli.runs.volume_jobs import VolumeRunOptions, volume_job
from fnetcli.volumes.mix import Below, VolumeMixOptions
from fnetcli.volumes.outputs import Target
from fnetcli.volumes.prepare import VolumePrepareOptions
from fnetcli.volumes.resample import Axis, Interpolation, Matrix
from fnetcli.volumes.sequence import each_volume as split_volumes

ARRAY_TYPES = [np.dtype(name) for name in ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")]

OneImage = str | Path | Image | ArrayLike
VolumeArray = tuple[ArrayLike, ArrayLike]  # numbers (i, j, k), and the affine to RAS+ millimetres
OneVolume = str | Path | VolumeArray
Pair = tuple[str, str]
Reading = tuple[ReadOptions, ReadOptions]


def load_network(
    weights: str | Path | None = None, device: str = "auto", modalities: Sequence[str] = ()
) -> LoadedNetwork:
    """Load weights onto a device. Raise CheckpointError, UsageError.

    A text is the name of shipped weights, else a file; a `Path` is a file. The default is `fnet`,
    for CT, MRI, PET and SPECT `fnet-medical`: ``load_network(modalities=["mri", "ct"])``.
    """
    return NetworkSource(weights or None, device, modalities=tuple(modalities)).load()


def load_baseline(name: str) -> LoadedBaseline:
    """Return a baseline, to be given in the network's place: average, max or laplacian.

    It has learned nothing, and has no parts; everything else is as with a network, so that both can
    be compared: ``fuse_volumes(load_baseline("average"), "out", images)``. Raise UsageError.
    """
    full = SHORT_NAMES.get(name, name)
    if full not in BASELINES_BY_NAME:
        raise UsageError(f"{name}: no baseline; use average, max or laplacian")
    return LoadedBaseline(full)


# --- one pair -------------------------------------------------------------------------------------


def fuse(
    network: LoadedMethod,
    *,
    resize: str | None = None,
    gray: bool = False,
    features: bool = False,
    scaling: Mapping[str, ScalingOptions] | None = None,
    gains: Mapping[str, float] | None = None,
    **images: OneImage,
) -> Fused:
    """Fuse two images given by modality: ``fuse(network, vis="a.png", ir=array)``.

    An image is a path, an `Image`, or an array of integers or floats: NumPy's are (H, W) or
    (H, W, 3), channels last; tensors of torch are (H, W) or (C, H, W) with one or three channels,
    channels first, on any device. Both are scaled like a file of their type: 8 bits by 255, 16-bit
    visible by 65535, everything else, also floats in [0, 1], stretched by percentiles.
    ``scaling={"ir": ScalingOptions(limits=(LO, HI))}`` overrides this, and
    ``gains={"unique_ir": 1.3}`` scales a part in the fused picture. The result's ``image.pixels``
    are (1, H, W, 1 or 3) in [0, 1]; ``parts`` holds the signed parts, ``features`` the network's
    features if requested. Raise UsageError for a wrong choice of modalities, ReadError or PairError
    for the images.
    """
    modalities = _modalities(images)
    products = network.products
    mix = MixOptions(_gains(gains, products, modalities), gray)
    require_products(products, has_gains=bool(mix.gains), features=features)
    prepare = PrepareOptions(modalities, _of_both(scaling, modalities), resize_to=resize)
    options = FuseOptions(prepare, products, mix, OutputOptions(with_features=features))
    x, y = (_image(images[name], name) for name in modalities)
    return fuse_images(x, y, network.engine, options)


class PairSettings(TypedDict, total=False):
    """Settings of `fuse` that `fuse_many` applies to every pair."""

    resize: str | None
    gray: bool
    features: bool
    scaling: Mapping[str, ScalingOptions] | None
    gains: Mapping[str, float] | None


def fuse_many(
    network: LoadedMethod,
    images: Mapping[str, Sequence[OneImage] | ArrayLike],
    **settings: Unpack[PairSettings],
) -> list[Fused]:
    """Fuse several pairs: ``fuse_many(network, {"vis": ["a.png", ...], "ir": tensor})``.

    Each modality has a list of images as `fuse` takes them, of any sizes, or a batch: an array
    (N, H, W) or (N, H, W, 3), or a tensor (N, C, H, W). Pairs belong together by position, and each
    is scaled by itself. Raise as `fuse` does; an error names the position, counted from 0.
    """
    modalities = first, second = _modalities(images)
    x, y = (_batch(images[name], name) for name in modalities)
    if len(x) != len(y):
        raise PairError(
            f"{len(x)} images of {first} and {len(y)} of {second}; give as many of both"
        )
    fused = []
    for i, pair in enumerate(zip(x, y, strict=True)):
        try:
            fused.append(fuse(network, **dict(zip(modalities, pair, strict=True)), **settings))
        except PairError as error:
            raise PairError(f"pair {i}: {error}") from None
    return fused


def _batch(images: Sequence[OneImage] | ArrayLike, modality: str) -> list[OneImage]:
    """Return the images of a list or of a batch. Raise PairError."""
    if isinstance(images, str | Path | Image):
        raise PairError(f"{modality}: one image; give a list, or use fuse")
    if isinstance(images, Sequence):
        return list(images)
    is_tensor = _is_tensor(images)
    batch = _values(images)
    if batch.ndim not in ((4,) if is_tensor else (3, 4)):
        wanted = "(N, C, H, W)" if is_tensor else "(N, H, W) or (N, H, W, 3)"
        raise PairError(f"{modality}: an array {batch.shape}; a batch is {wanted}")
    if is_tensor:
        batch = np.moveaxis(batch, 1, -1)
    return list(batch)


def _is_tensor(source: object) -> bool:
    """Whether it is a tensor of torch, which is not imported for this."""
    return type(source).__module__.partition(".")[0] == "torch" and hasattr(source, "detach")


def _values(source: Any) -> NDArray[Any]:
    """Return an array's or a tensor's numbers as they are, bfloat16 as float32."""
    if not _is_tensor(source):
        return np.asarray(source)
    tensor = source.detach().cpu()
    values: NDArray[Any] = (
        tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor
    ).numpy()
    return values


def _image(source: OneImage, modality: str) -> Image:
    if isinstance(source, Image):
        return source
    if isinstance(source, str | Path):
        return read_image(Path(source), ReadOptions(layer=usual_layer(modality)))
    pixels = _values(source)
    if _is_tensor(source) and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype not in ARRAY_TYPES or pixels.ndim not in (2, 3) or pixels.size == 0:
        raise PairError(
            f"array of {pixels.dtype} {pixels.shape}: not a picture; give integers of 8 to 32 bits "
            "or floats, (height, width) or (height, width, 3); of torch (channels, height, width)"
        )
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] not in (1, 3):
        raise PairError(f"array {pixels.shape}: {pixels.shape[2]} channels; give 1 or 3")
    height, width, _ = pixels.shape
    return Image(pixels[None], Grid((1, height, width)), pixels.dtype)


# --- folders --------------------------------------------------------------------------------------


class RunSettings(TypedDict, total=False):
    """Settings of a run, for `fuse_folder` and `fuse_volumes`.

    `existing` decides about existing results: "skip" those made from the same files with the same
    options, "overwrite" all, or raise an "error". `workers` threads read and write while the
    network runs. `part` is a share of the cases, such as "3/16": see `fnet fuse --part`. `cluster`
    lets Ray workers do the cases: an address as for `fnet fuse --cluster`, or `ClusterOptions`.
    `on_progress` is called at every step, in the calling thread.
    """

    existing: Existing
    workers: int | None
    stops_at_failure: bool
    part: str | None
    cluster: str | ClusterOptions | None
    on_progress: OnProgress


def fuse_folder(
    network: LoadedMethod,
    out: str | Path,
    images: Mapping[str, str | Path] | None = None,
    *,
    pairs: str | Path | Iterable[Mapping[str, str | Path]] | None = None,
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
    of_pages, of_bands = pages or {}, bands or {}

    def reading_of(modality: str) -> ReadOptions:
        layer = usual_layer(modality) if flir is None else CAMERA_LAYERS[modality]
        of_image = tuple(map(str, of_bands.get(modality, ())))
        return ReadOptions(of_pages.get(modality), pixel_limit, of_image, layer=layer)

    def reading(pair: Pair) -> Reading:
        return reading_of(pair[0]), reading_of(pair[1])

    named = _Names(recursive, prefixes or {}, suffixes or {}, match or {}, nearest_time)
    if flir is None:
        modalities, pairing = _paired(images or {}, pairs, named, reading)
    elif images or pairs is not None or replace(named, is_recursive=False) != _Names() or pages:
        raise UsageError("flir: names files of both images; leave images, pairs, ... out")
    else:
        modalities = CAMERA_MODALITIES
        pairing = pair_camera_files(Path(flir), is_recursive=recursive)
    _require_known(of_bands, modalities)
    if place is None and flir is not None:
        place = PlaceOptions(register=CAMERA_KIND, is_optional=True)
    place = replace(place or PlaceOptions(), camera=flir is not None)
    prepare = PrepareOptions(
        modalities,
        _of_both(scaling, modalities),
        reading(modalities),
        resize,
        place=place,
    )
    on_progress = settings.get("on_progress", _silent)
    workers = settings.get("workers") or default_workers()
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
            mix=MixOptions(_gains(gains, network.products, modalities), gray),
            kind=format,
            depth=depth,
            maps=maps,
            with_features=features,
            scope=stretch_scope,
            existing=settings.get("existing", "skip"),
        ),
        workers=workers,
        on_step=look,
    )
    return run_job(
        replace(surveyed.job, part=_part(settings)),
        network,
        workers=workers,
        stops_at_failure=settings.get("stops_at_failure", False),
        notices=[*surveyed.notices, *surveyed.warnings],
        on_progress=on_progress,
        cluster=_cluster(settings),
        wanted=Wanted(features=features),
    )


def fuse_volumes(
    network: LoadedMethod,
    out: str | Path,
    images: Mapping[str, OneVolume] | None = None,
    *,
    pairs: str | Path | Iterable[Mapping[str, str | Path]] | None = None,
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
    named = _Names(recursive, prefixes or {}, suffixes or {}, match or {})
    laid = _Laid(layout, name, entities or {})
    with _volume_files(images or {}) as files:
        modalities, pairing, notices = _paired_volumes(files, pairs, named, laid)
        first, second = modalities
        texts, numbers, ranges = windows or {}, volumes or {}, limits or {}
        filters = denoise or {}
        for given in (series or {}, texts, numbers, ranges, filters, dict.fromkeys(inverted)):
            _require_known(given, modalities)

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
                _gains(gains, network.products, modalities), colormap, opacity, below, gray
            ),
            target=to,
            maps=maps,
            existing=settings.get("existing", "skip"),
            keeps_shear=keep_shear,
            is_multi_frame=multi_frame,
        )
        return run_job(
            replace(
                volume_job(pairing, prepare, network, Path(out), options), part=_part(settings)
            ),
            network,
            workers=settings.get("workers") or default_workers(),
            stops_at_failure=settings.get("stops_at_failure", False),
            notices=notices,
            on_progress=settings.get("on_progress", _silent),
            cluster=_cluster(settings),
        )


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
    values, affine = _values(source[0]), np.asarray(source[1])
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


def _part(settings: RunSettings) -> Part | None:
    text = settings.get("part")
    return parse_part(text) if text else None


def _cluster(settings: RunSettings) -> ClusterOptions | None:
    given = settings.get("cluster")
    return ClusterOptions(given) if isinstance(given, str) else given


def _silent(_: Progress) -> None:
    """Ignore progress."""


# --- what names mean ------------------------------------------------------------------------------


def _modalities(images: Mapping[str, object]) -> Pair:
    unknown = images.keys() - {*MODALITIES}
    if unknown:
        raise UsageError(f"{min(unknown)}: not a modality; use {', '.join(MODALITIES)}")
    return network_order(list(images))


def _paired(
    images: Mapping[str, str | Path],
    pairs: str | Path | Iterable[Mapping[str, str | Path]] | None,
    named: _Names,
    reading: Callable[[Pair], Reading],
) -> tuple[Pair, Pairing]:
    """Return the modalities in the network's order, and the cases. Raise UsageError."""

    def tells_apart(modalities: Pair) -> bool:
        one, other = reading(modalities)
        return one != other and all(each.page is not None or each.bands for each in (one, other))

    if pairs is not None:
        if images or named != _Names():
            raise UsageError("pairs: names the files; leave out images, and what names them")
        if isinstance(pairs, str | Path):
            return pair_list(Path(pairs), takes_same_file=tells_apart)
        return pair_rows(pairs)
    modalities = first, second = _modalities(images)
    for given in (named.prefixes, named.suffixes, named.match):
        _require_known(given, modalities)
    options = PairingOptions(
        named.is_recursive,
        name_rules(modalities, named.prefixes, named.suffixes, named.match),
        None if named.nearest_time is None else round(named.nearest_time * 1e9),
        modalities,
        tells_apart(modalities),
    )
    return modalities, pair_paths(Path(images[first]), Path(images[second]), options)


def _paired_volumes(
    files: Mapping[str, Path],
    pairs: str | Path | Iterable[Mapping[str, str | Path]] | None,
    named: _Names,
    laid: _Laid,
) -> tuple[Pair, Pairing, list[str]]:
    """Return the modalities in the network's order, the cases, and how they were found."""
    if pairs is not None:
        if laid != _Laid():
            raise UsageError("pairs: names the cases; leave layout, name and entities out")
        modalities, pairing = _paired(files, pairs, named, lambda _: (ReadOptions(), ReadOptions()))
        _require_volumetric(modalities)
        return modalities, pairing, []
    modalities = first, second = _modalities(files)
    _require_volumetric(modalities)
    for given in (named.prefixes, named.suffixes, named.match, laid.entities):
        _require_known(given, modalities)
    options = PairingOptions(
        named.is_recursive,
        name_rules(modalities, named.prefixes, named.suffixes, named.match),
        modalities=modalities,
    )
    rules = None
    if laid.layout == "bids":
        if options.has_rules or laid.name is not None or laid.entities.keys() != {*modalities}:
            raise UsageError(
                f"layout bids: takes entities of {first} and {second}, and no other names"
            )
        rules = (
            read_rule(f"entities of {first}", laid.entities[first]),
            read_rule(f"entities of {second}", laid.entities[second]),
        )
    elif laid.entities:
        raise UsageError("entities: go with layout='bids'; add it")
    found = read_layout(files[first], files[second], laid.layout, laid.name, options, rules)
    if found.kind == "pairs":
        raise UsageError(f"{found.sentence}, not volumes; use fuse_folder")
    return modalities, found.pairing, [found.sentence, *found.pairing.notices]


def _require_volumetric(modalities: Pair) -> None:
    if not {*modalities} <= {*VOLUMETRIC}:
        first, second = modalities
        raise UsageError(f"{first} and {second}: come as pictures only; use fuse_folder")


@dataclass(frozen=True)
class _Laid:
    """What was given of the folders' layout."""

    layout: AskedKind = "auto"
    name: str | None = None
    entities: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Names:
    """What was given of the files' names."""

    is_recursive: bool = False
    prefixes: Mapping[str, str] = field(default_factory=dict)
    suffixes: Mapping[str, str] = field(default_factory=dict)
    match: Mapping[str, str] = field(default_factory=dict)
    nearest_time: float | None = None


def _of_both(
    scaling: Mapping[str, ScalingOptions] | None, modalities: Pair
) -> tuple[ScalingOptions, ScalingOptions]:
    chosen = scaling or {}
    unused = chosen.keys() - {*modalities}
    first, second = modalities
    if unused:
        raise UsageError(
            f"scaling of {min(unused)}: not one of the two images, {first} and {second}"
        )
    return chosen.get(first, ScalingOptions()), chosen.get(second, ScalingOptions())


def _require_known(given: Mapping[str, object], modalities: Pair) -> None:
    for name in given.keys() - {*modalities}:
        raise UsageError(f"{name}: not one of the two images, {' and '.join(modalities)}")


def _gains(
    gains: Mapping[str, float] | None, products: Products, modalities: Pair
) -> dict[str, float]:
    """Return gains by role. Raise UsageError for a part that the network does not have."""
    wanted, roles = dict(gains or {}), products.shown_parts(modalities)
    for name in wanted.keys() - roles.keys() if roles else ():
        raise UsageError(f"gain of {name}: not one of the parts, {', '.join(roles)}")
    return {roles.get(name, name): gain for name, gain in wanted.items()}
