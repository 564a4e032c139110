"""Training pairs with labels: one 8-bit grey image a pair whose pixels are classes.

0 means unlabelled. Pairs without a label are all 0. Labels are cropped and mirrored with their
images and never resampled, so classes stay whole numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fnetcli.errors import TrainingError
from fnetcli.formats import read_image
from fnetcli.inputs.pairing import Case, images_by_name
from fnetcli.training.data import Pairs, to_tensor

Label = NDArray[np.uint8]


@dataclass(frozen=True)
class LabelledBatch:
    """Crops of labelled pairs; images (N, 1, H, W) in [0, 1], label (N, H, W), whole numbers.

    `weight` is the first image's weight, (N, 1, H, W), if it was asked for.
    """

    first: Tensor
    second: Tensor
    label: Tensor
    weight: Tensor | None = None


@dataclass(frozen=True)
class LabelledPair:
    """A whole pair, (H, W) each: luminance 0..255 and classes."""

    first: NDArray[np.uint8]
    second: NDArray[np.uint8]
    label: Label


Weigh = Callable[[int, LabelledPair], NDArray[np.float16]]


@dataclass
class LabelledPairs:
    """Aligned pairs in memory with their labels, each read and checked when it is first used."""

    pairs: Pairs
    labels: list[Path | None]  # one a pair; None: all of it is unlabelled
    classes: int  # with class 0
    _cache: dict[int, Label] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> LabelledPair:
        """Return a whole pair. Raise ReadError, TrainingError."""
        first, second = self.pairs[index]
        if index not in self._cache:
            path = self.labels[index]
            if path is None:
                self._cache[index] = np.zeros(first.shape, np.uint8)
            else:
                self._cache[index] = read_label(path, self.classes, first.shape)
        return LabelledPair(first, second, self._cache[index])

    def batch(
        self, size: int, crop: int, seed: tuple[int, ...], weigh: Weigh | None = None
    ) -> LabelledBatch:
        """Return random crops, half of them mirrored left to right.

        Pair, place and mirroring depend on `seed` alone. Never turned or put upside down: what is
        sky and what is road shows in where it is. `weigh` gives the weight map of a whole pair, by
        its number.
        """
        random = np.random.default_rng(seed)
        crops: list[tuple[NDArray[np.generic], ...]] = []
        for _ in range(size):
            index = int(random.integers(len(self)))
            pair = self[index]
            images: tuple[NDArray[np.generic], ...] = (pair.first, pair.second, pair.label)
            if weigh:
                images += (weigh(index, pair),)
            top = int(random.integers(pair.first.shape[0] - crop + 1))
            left = int(random.integers(pair.first.shape[1] - crop + 1))
            turn = -1 if random.integers(2) else 1
            crops.append(
                tuple(im[top : top + crop, left : left + crop][:, ::turn] for im in images)
            )
        first, second, label, *weight = (np.stack(each) for each in zip(*crops, strict=True))
        return LabelledBatch(
            to_tensor(first)[:, None],
            to_tensor(second)[:, None],
            torch.from_numpy(label.astype(np.int64)),
            torch.from_numpy(weight[0].astype(np.float32))[:, None] if weight else None,
        )

    def shares(self) -> NDArray[np.float64]:
        """Return each class's share of the labelled pixels, (C,); class 0 has none."""
        counts = np.zeros(self.classes)
        for index in range(len(self)):
            counts += np.bincount(self[index].label.ravel(), minlength=self.classes)
        counts[0] = 0
        shares: NDArray[np.float64] = counts / max(counts.sum(), 1)
        return shares


def find_labels(cases: list[Case], folder: Path) -> list[Path | None]:
    """Return each pair's label in a folder, by name. Raise TrainingError where none is found."""
    files = images_by_name(folder)
    found: list[Path | None] = [files.get(case.name) for case in cases]
    if not any(found):
        raise TrainingError(f"{folder}: no label has the name of a training pair; check the folder")
    return found


def read_label(path: Path, classes: int, shape: tuple[int, ...]) -> Label:
    """Read a label image, (H, W), classes 0 ... `classes` - 1. Raise ReadError, TrainingError."""
    image = read_image(path)
    if image.is_color:
        raise TrainingError(
            f"{path}: a label in colour; give one grey 8-bit image whose pixels are classes"
        )
    if image.stored_type != np.uint8 or image.pixels.shape[0] != 1:
        raise TrainingError(
            f"{path}: a label of {image.stored_type} pixels; give one grey 8-bit image"
        )
    label = np.asarray(image.pixels[0, ..., 0], np.uint8)
    if label.shape != shape:
        raise TrainingError(
            f"{path}: the label is {label.shape[1]}x{label.shape[0]}, "
            f"its pair {shape[1]}x{shape[0]}; give labels as large as their images"
        )
    if label.max(initial=0) >= classes:
        raise TrainingError(
            f"{path}: holds class {label.max()}, but the recipe names classes 0 to "
            f"{classes - 1}; name all classes or correct the label"
        )
    return label
