"""Crops as other cameras would show them: what `[augment]` in a recipe asks for.

Gain, gamma, inversion and blur change what a camera shows, so the losses see them, too. Noise and
misalignment are faults: the network sees them, and is to fuse as if they were not there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fnetcli.training.config import AugmentConfig

Images = tuple[Tensor, Tensor]  # first, second; (N, 1, H, W) each
STREAM = 1  # of random numbers: other than those that choose the crops


def augment(
    images: Images, is_thermal: Sequence[bool], config: AugmentConfig, seed: tuple[int, ...]
) -> tuple[Images, Images]:
    """Return the images that the network sees, and those that the losses compare with.

    `is_thermal` says of each sample whether its first image is thermal.
    """
    if config == AugmentConfig():
        return images, images
    random = np.random.default_rng((*seed, STREAM))
    first, second = (_as_other_camera(image, config, random) for image in images)
    if config.invert_thermal:
        flips = torch.from_numpy(random.random(len(first)) < config.invert_thermal)
        flips &= torch.tensor(list(is_thermal))
        first = torch.where(flips[:, None, None, None], 1 - first, first)
    wanted = first, second
    if config.misalignment:
        first = _shift(first, _within_circle(len(first), config.misalignment, random))
    seen = _add_noise(first, config.noise, random), _add_noise(second, config.noise, random)
    return seen, wanted


def _as_other_camera(images: Tensor, config: AugmentConfig, random: np.random.Generator) -> Tensor:
    count = len(images)
    if config.gamma:
        limit = np.log1p(config.gamma)
        images = images.clamp_min(1e-4) ** _each(np.exp(random.uniform(-limit, limit, count)))
    if config.gain:
        images = images * _each(1 + random.uniform(-config.gain, config.gain, count))
    if config.blur:
        sigmas = random.uniform(0, config.blur, count)
        images = torch.stack(
            [_blur(one, float(sigma)) for one, sigma in zip(images, sigmas, strict=True)]
        )
    return images.clamp(0, 1)


def _each(values: np.ndarray) -> Tensor:
    """Return one number for each sample, (N, 1, 1, 1)."""
    return torch.from_numpy(values.astype(np.float32))[:, None, None, None]


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Blur an image, (1, H, W), by a Gaussian; the border is repeated."""
    radius = int(np.ceil(3 * sigma))
    if not radius:
        return image
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype)
    window = torch.exp(-0.5 * (offsets / sigma) ** 2)
    window = window / window.sum()
    padded = F.pad(image[None], (radius, radius, radius, radius), mode="replicate")
    blurred = F.conv2d(F.conv2d(padded, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    return blurred[0]


def _within_circle(count: int, radius: float, random: np.random.Generator) -> np.ndarray:
    """Return shifts in pixels, (N, 2), spread evenly over a circle."""
    lengths, angles = radius * np.sqrt(random.random(count)), random.uniform(0, 2 * np.pi, count)
    return np.stack((lengths * np.cos(angles), lengths * np.sin(angles)), axis=1)


def _shift(images: Tensor, shifts: np.ndarray) -> Tensor:
    """Move images by parts of pixels, interpolated; the border is repeated."""
    height, width = images.shape[2:]
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    theta[:, :, 2] = torch.from_numpy((2 * shifts / (width, height)).astype(np.float32))
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _add_noise(images: Tensor, largest: float, random: np.random.Generator) -> Tensor:
    if not largest:
        return images
    deviations = _each(random.uniform(0, largest, len(images)))
    noise = torch.from_numpy(random.standard_normal(images.shape).astype(np.float32))
    return (images + deviations * noise).clamp(0, 1)
