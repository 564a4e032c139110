"""The example pair of the repository, as the engine takes it."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from torch import Tensor

EXAMPLE = Path(__file__).parents[2] / "examples" / "night-street"


def example_pair(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return infrared and visible luminance (1, 1, height, width) from the middle of the pair."""
    images = []
    for name in ("ir", "vis"):
        pixels = iio.imread(EXAMPLE / f"{name}.png").astype(np.float32)
        grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32) if pixels.ndim == 3 else pixels
        top, left = (grey.shape[0] - height) // 2, (grey.shape[1] - width) // 2
        crop = grey[top : top + height, left : left + width] / 255
        assert crop.shape == (height, width)
        images.append(torch.from_numpy(crop.copy())[None, None])
    return images[0], images[1]
