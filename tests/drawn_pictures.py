"""Small pictures on disk, made as needed."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def smooth_noise(height: int, width: int, seed: int, channels: int = 1) -> Picture:
    """Return a picture with soft blobs, (H, W) or (H, W, channels)."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    planes = []
    for _ in range(channels):
        a, b, c = random.uniform(1, 4, 3)
        wave = np.sin(rows / max(height, 8) * a * 3 + c) + np.cos(columns / max(width, 8) * b * 3)
        planes.append(np.clip((wave + 2) * 60 + random.normal(0, 4, wave.shape), 0, 255))
    picture = np.stack(planes, axis=-1).astype(np.uint8)
    return picture[..., 0] if channels == 1 else picture


def write(path: Path, picture: Picture) -> Path:
    """Write a picture, making folders, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(path, picture)
    return path


def write_pairs(folder: Path, count: int, height: int = 24, width: int = 32) -> tuple[Path, Path]:
    """Write pairs 0.png, 1.png, ...: colour in vis/, grey in ir/; return both folders."""
    for i in range(count):
        write(folder / "vis" / f"{i}.png", smooth_noise(height, width, 2 * i, 3))
        write(folder / "ir" / f"{i}.png", smooth_noise(height, width, 2 * i + 1))
    return folder / "vis", folder / "ir"
