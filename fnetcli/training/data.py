"""Training pairs: kept as 8-bit luminance, cropped as a function of (seed, stage, iteration)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fnetcli.errors import TrainingError
from fnetcli.formats import ReadOptions, content_sha256, read_image, usual_layer
from fnetcli.imaging.color import luminance
from fnetcli.imaging.intensity import ScalingOptions
from fnetcli.inputs.pairing import Case
from fnetcli.metrics import quantise, to_grey8
from fnetcli.pictures.sources import scale_source
from fnetcli.training.team import team

Luminance = NDArray[np.uint8]
CACHE_BYTES = 4 << 30
WHOLE = ReadOptions()
MAX_DRAWS = 50  # of a crop that is worth training on; then any will do


@dataclass
class Pairs:
    """Aligned pairs in memory; each is read and checked when it is first used."""

    cases: list[Case]
    smallest: int = 1  # shortest side allowed: the crop
    modalities: tuple[str, str] = ("ir", "vis")
    scaling: tuple[ScalingOptions, ScalingOptions] = (ScalingOptions(), ScalingOptions())
    reading: tuple[ReadOptions, ReadOptions] = (ReadOptions(), ReadOptions())
    warnings: dict[Path, tuple[str, ...]] = field(default_factory=dict)  # of what was read so far
    _cache: dict[int, tuple[Luminance, Luminance]] = field(default_factory=dict)
    _cached_bytes: int = 0

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.cases)

    def __getitem__(self, index: int) -> tuple[Luminance, Luminance]:
        """Return the luminance of the first and second image, (H, W), 0..255."""
        if index in self._cache:
            return self._cache[index]
        case = self.cases[index]
        first, second = (
            self._read(path, modality, scaling, reading)
            for path, modality, scaling, reading in zip(
                (case.first, case.second), self.modalities, self.scaling, self.reading, strict=True
            )
        )
        if first.shape != second.shape:
            raise TrainingError(
                f"{case.first} is {_size(first)}, {case.second} is {_size(second)}; "
                "training pairs must be aligned and of one size: correct or remove this pair"
            )
        if min(first.shape) < self.smallest:
            raise TrainingError(
                f"{case.first}: {_size(first)} is smaller than the crop of {self.smallest}; "
                "remove this pair or choose a smaller crop in the recipe"
            )
        if self._cached_bytes < CACHE_BYTES:
            self._cache[index] = (first, second)
            self._cached_bytes += first.nbytes + second.nbytes
        return first, second

    def _read(
        self, path: Path, modality: str, scaling: ScalingOptions, reading: ReadOptions
    ) -> Luminance:
        levels, notices = _read_levels(path, modality, scaling, reading)
        if notices:
            self.warnings[path] = tuple(f"{modality}: {text}" for text in notices)
        return levels

    def __iter__(self) -> Iterator[tuple[Luminance, Luminance]]:
        """Yield the pairs, in order."""
        return (self[index] for index in range(len(self)))

    def check(self) -> None:
        """Read every pair once, so that a bad one is known before hours of training."""
        for index in range(len(self)):
            self[index]

    def list_sha256(self) -> str:
        """Return a hash over the names and contents of all files, in order."""
        digest = hashlib.sha256()
        for bands in (reading.bands for reading in self.reading if reading.bands):
            digest.update(f"{','.join(bands)}\n".encode())
        for case in self.cases:
            for path in (case.first, case.second):
                content = content_sha256(path)
                digest.update(f"{case.name}\t{content}\n".encode())
        return digest.hexdigest()

    def batch(
        self,
        size: int,
        crop: int,
        seed: tuple[int, ...],
        is_worth_it: Callable[[Luminance, Luminance], bool] = lambda _first, _second: True,
    ) -> tuple[Tensor, Tensor]:
        """Return random crops of both images, each (size, 1, crop, crop) in [0, 1].

        Pair, place and one of the eight flips and rotations depend on `seed` alone. Crops that are
        not worth training on are drawn again. Of a batch that several processes or pieces share,
        all is drawn and what is at work here is returned.
        """
        random = np.random.default_rng(seed)
        crops = np.empty((2, size, 1, crop, crop), dtype=np.uint8)
        for i in range(size):
            for _ in range(MAX_DRAWS):
                pieces = self._draw(crop, random)
                if is_worth_it(*pieces):
                    break
            crops[:, i, 0] = pieces
        here = team().at_work(size)
        return to_tensor(crops[0][here]), to_tensor(crops[1][here])

    def _draw(self, crop: int, random: np.random.Generator) -> tuple[Luminance, Luminance]:
        first, second = self[int(random.integers(len(self)))]
        top = int(random.integers(first.shape[0] - crop + 1))
        left = int(random.integers(first.shape[1] - crop + 1))
        quarter_turns, is_flipped = int(random.integers(4)), bool(random.integers(2))

        def cut(image: Luminance) -> Luminance:
            piece = np.rot90(image[top : top + crop, left : left + crop], quarter_turns)
            return piece[:, ::-1] if is_flipped else piece

        return cut(first), cut(second)


def to_tensor(pixels: Luminance) -> Tensor:
    """Return 8-bit values as float32 in [0, 1]."""
    return torch.from_numpy(pixels.astype(np.float32) / 255)


def read_luminance(
    path: Path,
    modality: str,
    scaling: ScalingOptions | None = None,
    reading: ReadOptions = WHOLE,
) -> Luminance:
    """Read an image as 8-bit luminance, (H, W). Raise ReadError.

    8-bit pictures are taken as they are, all others are scaled as `fnet fuse` does it.
    """
    return _read_levels(path, modality, scaling or ScalingOptions(), reading)[0]


def _read_levels(
    path: Path, modality: str, scaling: ScalingOptions, reading: ReadOptions
) -> tuple[Luminance, tuple[str, ...]]:
    """Return luminance, and what could be wrong with the way to it."""
    image = read_image(path, replace(reading, layer=usual_layer(modality)))
    if image.stored_type == np.uint8:
        pixels = image.pixels[0].astype(np.float32)
        return to_grey8(pixels if image.is_color else pixels[..., 0]), image.notices
    scaled = scale_source(image, modality, scaling)
    unit = scaled.in_full().image.pixels[0]
    levels = quantise(luminance(unit)[..., 0] if image.is_color else unit[..., 0])
    return levels, (*scaled.image.notices, *scaled.notices)


def _size(image: Luminance) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
