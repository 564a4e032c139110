"""Print how well a segmentation network learns the classes from each kind of image: IoU and mIoU.

    python -m bench.segmentation TRAIN TEST --weights fnet --weights uaafusion

TRAIN and TEST are folders with vis/, ir/ and label/, as `examples/draw_labelled_streets.py` writes
them. For the visible images alone, the infrared ones alone, their average and what each network
makes of them, a small segmentation network is trained from the same start with the same crops, and
tested on TEST. None of them was trained together with a fusion network, so the rows compare images.
Numbers of drawn scenes say nothing of photographs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from fnetcli.checkpoints.loading import load_weights
from fnetcli.checkpoints.shipped import find_weights
from fnetcli.engine import Engine
from fnetcli.inputs.pairing import pair_paths
from fnetcli.metrics import to_grey8
from fnetcli.metrics.segmentation import confusion, iou, mean_iou
from fnetcli.models.uaafusion.segmentation import build_segmentation
from fnetcli.training.data import Pairs
from fnetcli.training.labelled import LabelledPair, LabelledPairs, find_labels
from fnetcli.training.uaafusion.stages import balance_classes

CLASSES = ("road", "building", "sky", "vegetation", "person", "car", "sign")
Grey = NDArray[np.uint8]
Make = Callable[[LabelledPair], Grey]


@dataclass(frozen=True)
class Labelled:
    """One kind of image of every scene, with labels; (H, W) each."""

    images: list[Grey]
    labels: list[Grey]


@dataclass(frozen=True)
class Training:
    """How each segmentation network is trained."""

    steps: int
    batch: int = 8
    crop: int = 64
    rate: float = 3e-3
    seed: int = 1


def read_scenes(folder: Path, classes: int) -> LabelledPairs:
    """Return the pairs of a folder with their labels."""
    cases = pair_paths(folder / "ir", folder / "vis").cases
    return LabelledPairs(Pairs(cases), find_labels(cases, folder / "label"), classes)


def kinds_of_images(weights: Sequence[str]) -> dict[str, Make]:
    """Return what makes an image of a pair, by name."""

    def fuse_with(name: str) -> Make:
        engine = Engine(load_weights(find_weights(name)).network)

        def fuse(pair: LabelledPair) -> Grey:
            first, second = (
                np.asarray(one[None] / 255, np.float32) for one in (pair.first, pair.second)
            )
            return to_grey8(255 * np.clip(engine.run(first, second).fused[0], 0, 1))

        return fuse

    return {
        "visible alone": lambda pair: pair.second,
        "infrared alone": lambda pair: pair.first,
        "average": lambda pair: to_grey8((pair.first.astype(np.float32) + pair.second) / 2),
        **{Path(name).stem: fuse_with(name) for name in weights},
    }


def train(scenes: Labelled, classes: int, how: Training) -> torch.nn.Module:
    """Train a small segmentation network on one kind of image."""
    torch.manual_seed(how.seed)
    network = build_segmentation("small", classes)
    counts = sum(np.bincount(label.ravel(), minlength=classes) for label in scenes.labels)
    shares = np.asarray(counts, np.float64)
    shares[0] = 0
    importance = balance_classes(shares / shares.sum())
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, how.rate, total_steps=how.steps)
    for step in range(how.steps):
        images, labels = draw_batch(scenes, how, step)
        loss = F.cross_entropy(network(images), labels, importance, ignore_index=0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def draw_batch(scenes: Labelled, how: Training, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random crops, half of them mirrored: the same places for every kind of image."""
    random, found = np.random.default_rng((how.seed, step)), []
    for _ in range(how.batch):
        index = int(random.integers(len(scenes.images)))
        pair = scenes.images[index], scenes.labels[index]
        sides = [max(1, side - how.crop + 1) for side in pair[0].shape]
        top, left = (int(random.integers(side)) for side in sides)
        turn = -1 if random.integers(2) else 1
        place = slice(top, top + how.crop), slice(left, left + how.crop)
        found.append([one[place][:, ::turn] for one in pair])
    images, labels = (np.stack(each) for each in zip(*found, strict=True))
    return (
        torch.from_numpy(images.astype(np.float32) / 255)[:, None],
        torch.from_numpy(labels.astype(np.int64)),
    )


@torch.no_grad()
def measure(network: torch.nn.Module, scenes: Labelled, classes: int) -> NDArray[np.float64]:
    """Return the IoU of each class over all scenes."""
    matrix = np.zeros((classes, classes), np.int64)
    for image, label in zip(scenes.images, scenes.labels, strict=True):
        logits = network(torch.from_numpy(image.astype(np.float32) / 255)[None, None])
        logits[:, 0] = -torch.inf  # nobody has learned what unlabelled looks like
        matrix += confusion(label, logits.argmax(dim=1)[0].numpy(), classes)
    return iou(matrix)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and test for each kind of image; print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--weights", action="append", default=[])
    parser.add_argument("--classes", nargs="+", default=CLASSES)
    parser.add_argument("--steps", type=int, default=300)
    given = parser.parse_args(arguments)
    names, how = given.classes, Training(given.steps)
    pairs = [read_scenes(folder, len(names) + 1) for folder in (given.train, given.test)]
    print(f"drawn scenes: {len(pairs[0])} to train on, {len(pairs[1])} to test; {how}")
    print(f"| images | {' | '.join(names)} | mIoU |\n|{'---|' * (len(names) + 2)}")
    for kind, make in kinds_of_images(given.weights).items():
        learn, check = (
            Labelled([make(pair) for pair in some], [pair.label for pair in some]) for some in pairs
        )
        values = measure(train(learn, len(names) + 1, how), check, len(names) + 1)
        shown = [
            "n/a" if np.isnan(one) else f"{one:.3f}" for one in (*values[1:], mean_iou(values))
        ]
        print(f"| {kind} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
