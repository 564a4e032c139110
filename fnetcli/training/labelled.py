"""Training pairs with labels: one 8-bit grey image a pair whose pixels are classes.

0 means unlabelled. Pairs without a label are all 0. Labels are cropped and mirrored with their
images and never interpolated, so classes stay whole numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fnetcli.errors import TrainingError
from fnetcli.formats import content_sha256
from fnetcli.formats.labels import read_labels
from fnetcli.inputs.pairing import Case, images_by_name
from fnetcli.text import number_of
from fnetcli.training.augment import augment
from fnetcli.training.config import AugmentConfig
from fnetcli.training.data import PLAIN, PairSource, cut_middle, to_tensor
from fnetcli.training.team import team

Label = NDArray[np.uint8]


@dataclass(frozen=True)
class LabelledBatch:
    """Crops of labelled pairs; images (N, 1, H, W) in [0, 1], label (N, H, W), whole numbers.

    `weight` is the first image's weight, (N, 1, H, W), if it was asked for. `wanted` are the
    images that losses compare with, if they are others (see `Batch`).
    """

    first: Tensor
    second: Tensor
    label: Tensor
    weight: Tensor | None = None
    wanted: tuple[Tensor, Tensor] | None = None

    def to(self, device: torch.device) -> LabelledBatch:
        """Return the batch on a device."""
        weight = None if self.weight is None else self.weight.to(device)
        wanted = self.wanted and (self.wanted[0].to(device), self.wanted[1].to(device))
        first, second = self.first.to(device), self.second.to(device)
        return LabelledBatch(first, second, self.label.to(device), weight, wanted)

    def part(self, which: slice) -> LabelledBatch:
        """Return some of the crops."""
        weight = None if self.weight is None else self.weight[which]
        wanted = self.wanted and (self.wanted[0][which], self.wanted[1][which])
        first, second = self.first[which], self.second[which]
        return LabelledBatch(first, second, self.label[which], weight, wanted)


@dataclass(frozen=True)
class LabelledPair:
    """A whole pair, (H, W) each: luminance 0..255 and classes."""

    first: NDArray[np.uint8]
    second: NDArray[np.uint8]
    label: Label


Weigh = Callable[[int, LabelledPair], NDArray[np.float16]]


@dataclass
class LabelledPairs:
    """Aligned pairs in memory with their labels, each read and checked when it is first used.

    Further pairs without labels may follow them: they teach what needs none.
    """

    pairs: PairSource
    labels: list[Path | None]  # one a pair; None: all of it is unlabelled
    classes: int  # with class 0
    unlabelled: PairSource | None = None
    _cache: dict[int, Label] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of pairs, labelled ones first."""
        return len(self.pairs) + len(self.unlabelled or ())

    def __getitem__(self, index: int) -> LabelledPair:
        """Return a whole pair. Raise ReadError, TrainingError."""
        if self.unlabelled is not None and index >= len(self.pairs):
            first, second = self.unlabelled[index - len(self.pairs)]
            return LabelledPair(first, second, np.zeros(first.shape, np.uint8))
        first, second = self.pairs[index]
        if index not in self._cache:
            path = self.labels[index]
            if path is None:
                self._cache[index] = np.zeros(first.shape, np.uint8)
            else:
                self._cache[index] = self._read_label(index, path, first.shape)
        return LabelledPair(first, second, self._cache[index])

    def _read_label(self, index: int, path: Path, shape: tuple[int, ...]) -> Label:
        """Read the label of a pair; where that was cropped to a common view, so is the label."""
        window = self.pairs.window(index)
        if window is None:
            return read_label(path, self.classes, shape)
        whole, (left, top, width, height) = window
        label = read_label(path, self.classes, whole)
        return np.ascontiguousarray(label[top : top + height, left : left + width])

    def __iter__(self) -> Iterator[LabelledPair]:
        """Yield the pairs, in order."""
        return (self[index] for index in range(len(self)))

    def check(self) -> None:
        """Read every label once, so that a bad one is known before hours of training.

        Raise ReadError, TrainingError, also where nothing is labelled.
        """
        first = next(filter(None, self.labels), None)
        if first is not None and not self.shares().any():
            raise TrainingError(
                f"{first}: this label and all others hold class 0 alone, unlabelled; "
                "give labels whose pixels are classes"
            )

    def list_sha256(self) -> str:
        """Return a hash over the names and contents of all files, in order."""
        digest = hashlib.sha256(self.pairs.list_sha256().encode())
        for path in self.labels:
            digest.update(f"{content_sha256(path) if path else ''}\n".encode())
        if self.unlabelled is not None:
            digest.update(self.unlabelled.list_sha256().encode())
        return digest.hexdigest()

    def batch(
        self,
        size: int,
        crop: int,
        seed: tuple[int, ...],
        weigh: Weigh | None = None,
        labelled_share: float = 1.0,
        augmentation: AugmentConfig = PLAIN,
        pass_by: Callable[[int], None] = lambda _: None,
    ) -> LabelledBatch:
        """Return random crops, half of them mirrored left to right.

        Pair, place and mirroring depend on `seed` alone. Never turned or put upside down: what is
        sky and what is road shows in where it is. `weigh` gives the weight map of a whole pair, by
        its number. `labelled_share` is the probability of a labelled pair, if there are others. Of
        a batch that several processes share, the share of this one is returned; `pass_by` hears of
        the pairs of the others.
        """
        random = np.random.default_rng(seed)
        crop, sets = self.pairs.side(crop, random)
        crops: list[tuple[NDArray[np.generic], ...]] = []
        thermal, share = [], team().share(size)
        for i in range(size):
            index = self._choose(random, labelled_share, sets)
            thermal.append(self._is_thermal(index))
            pair = self[index]
            images: tuple[NDArray[np.generic], ...] = (pair.first, pair.second, pair.label)
            if weigh and share.start <= i < share.stop:
                images += (weigh(index, pair),)
            elif weigh:
                pass_by(index)
                images += (np.zeros(pair.label.shape, np.float16),)
            top = int(random.integers(pair.first.shape[0] - crop + 1))
            left = int(random.integers(pair.first.shape[1] - crop + 1))
            turn = -1 if random.integers(2) else 1
            crops.append(
                tuple(im[top : top + crop, left : left + crop][:, ::turn] for im in images)
            )
        first, second, label, *weight = (np.stack(each) for each in zip(*crops, strict=True))
        shown = to_tensor(first)[:, None], to_tensor(second)[:, None]
        seen, wanted = augment(shown, thermal, augmentation, seed)
        return LabelledBatch(
            *seen,
            torch.from_numpy(label.astype(np.int64)),
            torch.from_numpy(weight[0].astype(np.float32))[:, None] if weight else None,
            None if wanted is seen else wanted,
        ).part(share)

    def _is_thermal(self, index: int) -> bool:
        if self.unlabelled is not None and index >= len(self.pairs):
            return self.unlabelled.is_thermal(index - len(self.pairs))
        return self.pairs.is_thermal(index)

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """The modalities of the pairs, (first, second), each two once."""
        others = [] if self.unlabelled is None else self.unlabelled.kinds
        return list(dict.fromkeys([*self.pairs.kinds, *others]))

    def _choose(
        self, random: np.random.Generator, labelled_share: float, sets: Sequence[int]
    ) -> int:
        """Return the number of a pair, drawn at random."""
        if self.unlabelled is None or random.random() < labelled_share:
            return self.pairs.choose(random, sets)
        return len(self.pairs) + self.unlabelled.choose(random, (0,))

    def shares(self) -> NDArray[np.float64]:
        """Return each class's share of the labelled pixels, (C,); class 0 has none."""
        counts = np.zeros(self.classes)
        for index in range(len(self.pairs)):
            counts += np.bincount(self[index].label.ravel(), minlength=self.classes)
        counts[0] = 0
        shares: NDArray[np.float64] = counts / max(counts.sum(), 1)
        return shares


def whole_batch(pair: LabelledPair, weight: NDArray[np.float16], side: int = 0) -> LabelledBatch:
    """Return a whole pair as a batch of one, or its middle of at most `side` pixels each way."""
    first, second, label = (cut_middle(im, side) for im in (pair.first, pair.second, pair.label))
    return LabelledBatch(
        to_tensor(first)[None, None],
        to_tensor(second)[None, None],
        torch.from_numpy(label.astype(np.int64))[None],
        torch.from_numpy(cut_middle(weight, side).astype(np.float32))[None, None],
    )


def find_labels(cases: list[Case], folder: Path) -> list[Path | None]:
    """Return each pair's label in a folder, by name. Raise TrainingError if one has none."""
    files = images_by_name(folder)
    missing = [case.name for case in cases if case.name not in files]
    if len(missing) == len(cases):
        raise TrainingError(f"{folder}: no label has the name of a training pair; check the folder")
    if missing:
        raise TrainingError(
            f"{folder}: no label for {missing[0]} ({len(missing)} of "
            f"{number_of(len(cases), 'pair')}); add the label, or move such "
            "pairs to the folders of [unlabelled] in the recipe"
        )
    return [files[case.name] for case in cases]


def read_label(path: Path, classes: int, shape: tuple[int, ...]) -> Label:
    """Read a label image, (H, W), classes 0 ... `classes` - 1. Raise ReadError, TrainingError."""
    image = read_labels(path)
    if image.is_color:
        raise TrainingError(
            f"{path}: a label in colour; give an 8-bit image whose pixels are classes, grey or "
            "with a palette"
        )
    if image.stored_type != np.uint8 or image.pixels.shape[0] != 1:
        raise TrainingError(f"{path}: a label of {image.stored_type} pixels; give an 8-bit image")
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
