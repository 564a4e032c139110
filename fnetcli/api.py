"""The small Python API: what `from fnetcli import ...` gives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from fnetcli.checkpoints.loading import load_weights
from fnetcli.engine import Engine, choose_device
from fnetcli.errors import PairError, UsageError
from fnetcli.formats import read_image
from fnetcli.imaging.image import Grid, Image
from fnetcli.imaging.intensity import ScalingOptions
from fnetcli.modalities import MODALITIES, network_order
from fnetcli.pictures.fuse import Fused, FuseOptions
from fnetcli.pictures.fuse import fuse as fuse_images

ARRAY_TYPES = [np.dtype(name) for name in ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")]


def load_network(weights: str | Path | None = None, device: str = "auto") -> Engine:
    """Load weights (default: the shipped ones) onto a device; raise CheckpointError, UsageError."""
    return Engine(load_weights(Path(weights) if weights else None).network, choose_device(device))


def fuse(
    network: Engine,
    *,
    resize: str | None = None,
    gray: bool = False,
    features: bool = False,
    scaling: Mapping[str, ScalingOptions] | None = None,
    gains: Mapping[str, float] | None = None,
    **images: str | Path | Image | ArrayLike,
) -> Fused:
    """Fuse two images given by modality: ``fuse(network, vis="a.png", ir=array)``.

    An image is a path, an `Image`, or an array (H, W) or (H, W, 3) of integers or floats, scaled as
    a file of its type would be: 8 bits by 255, 16-bit visible by 65535, everything else stretched
    by percentiles. ``scaling={"ir": ScalingOptions(limits=(LO, HI))}`` says otherwise, and
    ``gains={"unique_ir": 1.3}`` weighs a part in the fused picture. The result's
    ``image.pixels`` are (1, H, W, 1 or 3) in [0, 1]; ``parts`` holds the three signed maps. Raise
    UsageError for a wrong choice of modalities, ReadError or PairError for the images.
    """
    unknown = images.keys() - {*MODALITIES}
    if unknown:
        raise UsageError(f"{min(unknown)}: no modality; use {', '.join(MODALITIES)}")
    first, second = network_order(list(images))
    chosen = scaling or {}
    unused = chosen.keys() - {first, second}
    if unused:
        raise UsageError(
            f"scaling of {min(unused)}: not one of the two images, {first} and {second}"
        )
    wanted = dict(gains or {})
    parts = [f"unique_{first}", f"unique_{second}", "common"]
    for name in wanted.keys() - {*parts}:
        raise UsageError(f"gain of {name}: not one of the parts, {', '.join(parts)}")
    of_first, of_second, of_common = (wanted.get(name, 1.0) for name in parts)
    options = FuseOptions(
        modalities=(first, second),
        scaling=(chosen.get(first, ScalingOptions()), chosen.get(second, ScalingOptions())),
        resize_to=resize,
        is_gray=gray,
        with_features=features,
        gains=(of_first, of_second, of_common),
    )
    return fuse_images(_image(images[first]), _image(images[second]), network, options)


def _image(source: str | Path | Image | ArrayLike) -> Image:
    if isinstance(source, Image):
        return source
    if isinstance(source, str | Path):
        return read_image(Path(source))
    pixels = np.asarray(source)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype not in ARRAY_TYPES or pixels.ndim not in (2, 3) or pixels.size == 0:
        raise PairError(
            f"array of {pixels.dtype} {pixels.shape}: not a picture; give integers of 8 to 32 bits "
            "or floats, (height, width) or (height, width, 3)"
        )
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] not in (1, 3):
        raise PairError(f"array {pixels.shape}: {pixels.shape[2]} channels; give 1 or 3")
    height, width, _ = pixels.shape
    return Image(pixels[None], Grid((1, height, width)), pixels.dtype)
