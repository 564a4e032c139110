"""One pair, or several, of files and arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike

from fnetcli.api.arrays import ARRAY_TYPES, is_tensor, numbers_of
from fnetcli.api.names import gains_by_role, scaling_of_both, two_modalities
from fnetcli.errors import PairError
from fnetcli.formats import ReadOptions, read_image, usual_layer
from fnetcli.imaging.image import Grid, Image
from fnetcli.imaging.intensity import ScalingOptions
from fnetcli.pictures.fuse import Fused, FuseOptions
from fnetcli.pictures.fuse import fuse as fuse_images
from fnetcli.pictures.mix import MixOptions
from fnetcli.pictures.outputs import OutputOptions
from fnetcli.pictures.prepare import PrepareOptions
from fnetcli.runs.network import LoadedMethod, require_products
from fnetcli.text import number_of

OneImage = str | Path | Image | ArrayLike


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
    modalities = two_modalities(images)
    products = network.products
    mix = MixOptions(gains_by_role(gains, products, modalities), gray)
    require_products(products, has_gains=bool(mix.gains), features=features)
    prepare = PrepareOptions(modalities, scaling_of_both(scaling, modalities), resize_to=resize)
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
    modalities = first, second = two_modalities(images)
    x, y = (_batch(images[name], name) for name in modalities)
    if len(x) != len(y):
        raise PairError(
            f"{number_of(len(x), 'image')} of {first} and {len(y)} of {second}; give as many of "
            "both"
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
    is_of_torch = is_tensor(images)
    batch = numbers_of(images)
    if batch.ndim not in ((4,) if is_of_torch else (3, 4)):
        wanted = "(N, C, H, W)" if is_of_torch else "(N, H, W) or (N, H, W, 3)"
        raise PairError(f"{modality}: an array {batch.shape}; a batch is {wanted}")
    if is_of_torch:
        batch = np.moveaxis(batch, 1, -1)
    return list(batch)


def _image(source: OneImage, modality: str) -> Image:
    if isinstance(source, Image):
        return source
    if isinstance(source, str | Path):
        return read_image(Path(source), ReadOptions(layer=usual_layer(modality)))
    pixels = numbers_of(source)
    if is_tensor(source) and pixels.ndim == 3:
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
