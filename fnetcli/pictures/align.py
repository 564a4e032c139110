"""Put two images on one grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import PIL.Image

from fnetcli.errors import PairError
from fnetcli.imaging.image import Grid, Image, Pixels
from fnetcli.imaging.intensity import Scaled

LARGEST_STRETCH = 1.02  # aspect ratios further apart than this show different scenes


def onto_one_grid(
    first: Scaled, second: Scaled, modalities: tuple[str, str], resize_to: str | None
) -> tuple[Scaled, Scaled]:
    """Return both images with the same size.

    `resize_to` names the modality whose size is kept; without it, raise PairError if sizes differ.
    """
    one, other = first.image.grid, second.image.grid
    if one.shape == other.shape:
        return first, second
    sizes = f"{modalities[0]} is {one.size}, {modalities[1]} is {other.size}"
    if resize_to is None:
        raise PairError(
            f"sizes differ: {sizes}; register them (--register similarity), or, if both show the "
            f"same view, scale one with --resize {modalities[0]} or --resize {modalities[1]}"
        )
    stretch = _aspect(one) / _aspect(other)
    if max(stretch, 1 / stretch) > LARGEST_STRETCH:
        raise PairError(
            f"aspect ratios differ by more than 2 %: {sizes}; the images do not show the same "
            "field of view: crop or register them first"
        )
    if resize_to == modalities[0]:
        return first, _resize_scaled(second, one)
    return _resize_scaled(first, other), second


def _resize_scaled(scaled: Scaled, grid: Grid) -> Scaled:
    whole = scaled.in_full()
    return replace(whole, image=resize(whole.image, grid))


def resize(image: Image, grid: Grid) -> Image:
    """Resample a picture in [0, 1] or any other range, and keep the range.

    A side is enlarged with bicubic interpolation, and reduced to the mean of the covered pixels.
    If the reduction is not by a whole number, the mean is Hamming-windowed: a box would shift and
    weight pixels unevenly.
    """
    pixels = np.stack([_resize_slice(part, grid) for part in image.pixels])
    alpha = image.alpha
    if alpha is not None:
        alpha = np.stack([_resize_slice(part[..., None], grid)[..., 0] for part in alpha])
        alpha = np.clip(alpha, 0, 1)
    valid = image.valid
    if valid is not None:  # a new pixel is valid if most of what it covers is
        shares = [_resize_slice(part[..., None].astype(np.float32), grid) for part in valid]
        valid = np.stack(shares)[..., 0] > 0.5
    low, high = float(image.pixels.min()), float(image.pixels.max())
    pixels = np.clip(pixels, low, high)
    return replace(image, pixels=pixels, grid=grid, alpha=alpha, valid=valid)


def _resize_slice(pixels: Pixels, grid: Grid) -> Pixels:
    """Resize (H, W, C) to the grid's height and width."""
    channels = [_resize_channel(pixels[..., c], grid) for c in range(pixels.shape[-1])]
    return np.stack(channels, axis=-1)


def _resize_channel(channel: Pixels, grid: Grid) -> Pixels:
    _, height, width = grid.shape
    picture = PIL.Image.fromarray(np.ascontiguousarray(channel))
    picture = picture.resize((width, picture.height), _filter(picture.width, width))
    picture = picture.resize((width, height), _filter(picture.height, height))
    return np.asarray(picture, dtype=np.float32)


def _filter(before: int, after: int) -> PIL.Image.Resampling:
    if before % after == 0:
        return PIL.Image.Resampling.BOX
    return PIL.Image.Resampling.HAMMING if after < before else PIL.Image.Resampling.BICUBIC


def _aspect(grid: Grid) -> float:
    return grid.shape[2] / grid.shape[1]
