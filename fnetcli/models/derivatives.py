"""Image derivatives that the losses of several networks share; images are (N, 1, H, W)."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F


@lru_cache(maxsize=8)
def _sobel_kernels(device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the Sobel kernels, (2, 1, 3, 3): derivative along the width, along the height."""
    along_width = torch.tensor(
        [[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=device, dtype=dtype
    )
    return torch.stack((along_width, along_width.T))[:, None]


def sobel(image: Tensor) -> Tensor:
    """Return both Sobel derivatives, not divided, zero padding: (N, 2, H, W)."""
    return F.conv2d(image, _sobel_kernels(image.device, image.dtype), padding=1)


def spatial_gradient(image: Tensor) -> Tensor:
    """Return both Sobel derivatives divided by 8, replicate padding: (N, 2, H, W)."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, _sobel_kernels(image.device, image.dtype)) / 8


def gradient_magnitude(image: Tensor) -> Tensor:
    """Return abs(Sobel_x) + abs(Sobel_y), not divided, zero padding: (N, 1, H, W)."""
    return sobel(image).abs().sum(dim=1, keepdim=True)
