"""Print how well a detector finds objects in each kind of image: AP at IoU 0.5, and mAP.

    python -m bench.detection TRAIN TEST --weights fnet --weights cddfuse

TRAIN and TEST are folders with vis/, ir/ and instances.json, as `examples/draw_labelled_streets.py`
writes them; `--boxes NAME` names another file in them (COCO's JSON) or a folder (Pascal VOC's XML).
For the visible images alone, the infrared ones alone, their average and what each network makes of
them, a small detector is trained from the same start with the same crops, and tested on TEST.
`--save FOLDER` keeps the detectors, `--detector-weights FILE` tests one of them on every kind of
image instead of training. `--draw PNG` draws what was found in every kind of image, for the scenes
of TEST with the most objects. Numbers of drawn scenes say nothing of photographs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bench.segmentation import Grey, kinds_of_images
from fnetcli.checkpoints.loading import WEIGHTS
from fnetcli.checkpoints.safetensors_file import read_safetensors, safetensors_bytes
from fnetcli.errors import CheckpointError
from fnetcli.files.durable import atomic_write
from fnetcli.files.guarded import read_bytes
from fnetcli.formats.boxes import Box, read_boxes
from fnetcli.inputs.pairing import pair_paths
from fnetcli.metrics.detection import average_precision
from fnetcli.training.data import Pairs
from fnetcli.training.labelled import LabelledPair

CLASSES = ("person", "car", "sign")
STRIDE = 4  # pixels of a cell of the detector's output
MOST = 100  # boxes of an image
DRAWN = 3  # scenes in a picture of what was found
DRAWN_ABOVE = 0.3  # score of a box that is drawn
ZOOM, CAPTION, LABELLED = 2, 14, "#ffffff"
COLORS = ("#e69f00", "#56b4e9", "#009e73", "#d55e00", "#0072b2", "#cc79a7", "#f0e442")


@dataclass(frozen=True)
class Scenes:
    """One kind of image of every scene, (H, W) each, with boxes."""

    images: list[Grey]
    boxes: list[list[Box]]


@dataclass(frozen=True)
class Training:
    """How each detector is trained."""

    steps: int
    batch: int = 8
    crop: int = 96
    rate: float = 2e-3
    seed: int = 1


class Detector(nn.Module):
    """Objects as points (Zhou et al. 2019): a heat map of centres per class, and their sizes."""

    def __init__(self, classes: int) -> None:
        super().__init__()

        def layer(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False),
                nn.GroupNorm(8, outputs),
                nn.ReLU(),
            )

        self.body = nn.Sequential(
            *(layer(1, 16), layer(16, 32, stride=2), layer(32, 32), layer(32, 64, stride=2)),
            *(layer(64, 64, dilation=2), layer(64, 64, dilation=4), layer(64, 64)),
        )
        self.heat = nn.Conv2d(64, classes, 1)
        self.size = nn.Conv2d(64, 4, 1)  # distances of a centre's cell to the four sides
        nn.init.constant_(self.heat.bias, -4.0)  # type: ignore[arg-type]  # few cells are centres

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of centres (N, C, H / 4, W / 4), and distances in pixels (N, 4, ...)."""
        features = self.body(images)
        return self.heat(features), F.softplus(self.size(features)) * 2 * STRIDE


def train(scenes: Scenes, classes: Sequence[str], how: Training) -> Detector:
    """Train a detector on one kind of image."""
    torch.manual_seed(how.seed)
    network = Detector(len(classes))
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, how.rate, total_steps=how.steps)
    for step in range(how.steps):
        images, heat, size, is_centre = draw_batch(scenes, classes, how, step)
        logits, distances = network(images)
        loss = _focal(logits, heat) + 0.1 * _size_loss(distances, size, is_centre)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def _focal(logits: Tensor, heat: Tensor) -> Tensor:
    """Return the focal loss with less weight near a centre, per centre."""
    chance = torch.sigmoid(logits)
    is_centre = heat == 1
    here = (1 - chance) ** 2 * F.logsigmoid(logits)
    elsewhere = (1 - heat) ** 4 * chance**2 * F.logsigmoid(-logits)
    return -torch.where(is_centre, here, elsewhere).sum() / is_centre.sum().clamp_min(1)


def _size_loss(distances: Tensor, size: Tensor, is_centre: Tensor) -> Tensor:
    if not is_centre.any():
        return distances.sum() * 0
    places = is_centre[:, None].expand_as(size)
    return F.l1_loss(distances[places], size[places])


def draw_batch(
    scenes: Scenes, classes: Sequence[str], how: Training, step: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return random crops, half of them mirrored, and what the detector should say of them."""
    random, found = np.random.default_rng((how.seed, step)), []
    for _ in range(how.batch):
        index = int(random.integers(len(scenes.images)))
        image = scenes.images[index]
        sides = [max(1, side - how.crop + 1) for side in image.shape]
        top, left = (int(random.integers(side)) for side in sides)
        crop = np.zeros((how.crop, how.crop), np.uint8)
        there = image[top : top + how.crop, left : left + how.crop]
        crop[: there.shape[0], : there.shape[1]] = there
        sides_of = [
            (one.kind, one.left - left, one.top - top, one.right - left, one.bottom - top)
            for one in scenes.boxes[index]
        ]
        if random.integers(2):
            crop = np.ascontiguousarray(crop[:, ::-1])
            sides_of = [
                (kind, how.crop - end, top, how.crop - start, bottom)
                for kind, start, top, end, bottom in sides_of
            ]
        found.append((crop, *targets(sides_of, classes, how.crop // STRIDE)))
    images, heat, size, centres = (
        torch.from_numpy(np.stack(each)) for each in zip(*found, strict=True)
    )
    return images[:, None].float() / 255, heat, size, centres


def targets(
    boxes: Sequence[tuple[str, float, float, float, float]], classes: Sequence[str], side: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Return the heat map (C, side, side), distances to the sides (4, ...) and where centres are.

    A centre outside the crop is left out. Around a centre the heat falls as a Gaussian.
    """
    heat = np.zeros((len(classes), side, side), np.float32)
    size = np.zeros((4, side, side), np.float32)
    is_centre = np.zeros((side, side), bool)
    rows, columns = np.mgrid[:side, :side]
    for kind, left, top, right, bottom in boxes:
        column, row = int((left + right) / 2 // STRIDE), int((top + bottom) / 2 // STRIDE)
        if kind not in classes or not (0 <= row < side and 0 <= column < side):
            continue
        sigma = max(0.7, min(right - left, bottom - top) / STRIDE / 6)
        bump = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * sigma**2))
        of_class = heat[classes.index(kind)]
        np.maximum(of_class, bump.astype(np.float32), out=of_class)
        of_class[row, column] = 1
        x, y = (column + 0.5) * STRIDE, (row + 0.5) * STRIDE
        size[:, row, column] = x - left, y - top, right - x, bottom - y
        is_centre[row, column] = True
    return heat, size, is_centre


@torch.no_grad()
def detect(network: Detector, image: Grey) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return boxes (N, 4) and scores of each class, best first."""
    height, width = image.shape
    padded = np.pad(image, ((0, -height % STRIDE), (0, -width % STRIDE)), mode="edge")
    logits, distances = network(torch.from_numpy(padded.astype(np.float32) / 255)[None, None])
    chance = torch.sigmoid(logits[0])
    peaks = chance * (F.max_pool2d(chance[None], 3, 1, 1)[0] == chance)
    found = []
    for of_class in peaks:
        scores, places = of_class.flatten().topk(min(MOST, of_class.numel()))
        rows, columns = places // of_class.shape[1], places % of_class.shape[1]
        x, y = (columns + 0.5) * STRIDE, (rows + 0.5) * STRIDE
        left, top, right, bottom = distances[0, :, rows, columns]
        boxes = torch.stack((x - left, y - top, x + right, y + bottom), dim=1)
        found.append((boxes.numpy(), scores.numpy()))
    return found


def measure(network: Detector, scenes: Scenes, classes: Sequence[str]) -> list[float]:
    """Return the average precision of each class over all scenes."""
    found = [detect(network, image) for image in scenes.images]
    values = []
    for number, name in enumerate(classes):
        labels = [
            np.array(
                [(b.left, b.top, b.right, b.bottom) for b in boxes if b.kind == name], np.float64
            ).reshape(-1, 4)
            for boxes in scenes.boxes
        ]
        values.append(average_precision([one[number] for one in found], labels))
    return values


def draw_found(
    network: Detector, scenes: Scenes, classes: Sequence[str], which: Sequence[int], title: str
) -> PIL.Image.Image:
    """Draw scenes, one below the other: labels in white, found boxes in their class's colour."""
    column = [_draw_boxes(network, scenes, classes, index) for index in which]
    width, height = (max(one.size[side] for one in column) for side in (0, 1))
    sheet = PIL.Image.new("RGB", (width, CAPTION + height * len(column)), "white")
    PIL.ImageDraw.Draw(sheet).text((2, 1), title, "black", PIL.ImageFont.load_default(11))
    for row, picture in enumerate(column):
        sheet.paste(picture, (0, CAPTION + row * height))
    return sheet


def _draw_boxes(
    network: Detector, scenes: Scenes, classes: Sequence[str], index: int
) -> PIL.Image.Image:
    image = scenes.images[index]
    picture = PIL.Image.fromarray(image.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)).convert("RGB")
    pen = PIL.ImageDraw.Draw(picture)

    def frame(sides: Sequence[float], color: str) -> None:
        left, top, right, bottom = (max(0.0, ZOOM * side) for side in sides)
        pen.rectangle((left, top, max(left, right), max(top, bottom)), outline=color)

    for box in scenes.boxes[index]:
        if box.kind in classes:
            frame((box.left - 1, box.top - 1, box.right + 1, box.bottom + 1), LABELLED)
    for number, (boxes, scores) in enumerate(detect(network, image)):
        for sides in boxes[scores >= DRAWN_ABOVE].tolist():
            frame(sides, COLORS[number % len(COLORS)])
    return picture


def fullest(boxes: Sequence[Sequence[Box]], classes: Sequence[str]) -> list[int]:
    """Return the scenes with the most objects of these classes, at most DRAWN."""
    counts = [sum(box.kind in classes for box in some) for some in boxes]
    return sorted(range(len(counts)), key=lambda index: (-counts[index], index))[:DRAWN]


def save(network: Detector, path: Path) -> None:
    """Write a detector. Raise WriteError."""
    arrays = {name: value.numpy() for name, value in network.state_dict().items()}
    content = safetensors_bytes(arrays, {"format": "fnet-bench-detector"})
    atomic_write(path, lambda file: file.write(content))


def load(path: Path, classes: int) -> Detector:
    """Read a detector. Raise CheckpointError."""
    tensors, _ = read_safetensors(path, read_bytes(path, WEIGHTS))
    network = Detector(classes)
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    if {name: one.shape for name, one in tensors.items()} != wanted:
        raise CheckpointError(
            f"{path}: not a detector of {classes} classes; give a file of --save and its --classes"
        )
    network.load_state_dict(
        {k: torch.from_numpy(one.float32().copy()) for k, one in tensors.items()}
    )
    return network.eval()


def read_scenes(folder: Path, boxes: str) -> tuple[list[LabelledPair], list[list[Box]]]:
    """Return the pairs of a folder and their boxes; a pair without an entry has none."""
    cases = pair_paths(folder / "ir", folder / "vis").cases
    of_scene = read_boxes(folder / boxes)
    pairs = Pairs(cases)
    read = [LabelledPair(*pairs[i], np.zeros((0, 0), np.uint8)) for i in range(len(pairs))]
    return read, [of_scene.get(case.name, []) for case in cases]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and test for each kind of image; print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--weights", action="append", default=[])
    parser.add_argument("--classes", nargs="+", default=CLASSES)
    parser.add_argument("--boxes", default="instances.json")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--detector-weights", type=Path)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--draw", type=Path, metavar="PNG")
    given = parser.parse_args(arguments)
    names, how = list(given.classes), Training(given.steps)
    learn, check = (read_scenes(folder, given.boxes) for folder in (given.train, given.test))
    print(f"{len(learn[0])} scenes to train on, {len(check[0])} to test; {how}")
    print(f"| images | {' | '.join(names)} | mAP@.5 |\n|{'---|' * (len(names) + 2)}")
    columns: list[PIL.Image.Image] = []
    for kind, make in kinds_of_images(given.weights).items():
        if given.detector_weights is not None:
            network = load(given.detector_weights, len(names))
        else:
            network = train(Scenes([make(pair) for pair in learn[0]], learn[1]), names, how)
        if given.save is not None:
            save(network, given.save / f"{kind.replace(' ', '-')}.safetensors")
        scenes = Scenes([make(pair) for pair in check[0]], check[1])
        if given.draw is not None:
            which = fullest(scenes.boxes, names)
            columns.append(draw_found(network, scenes, names, which, kind))
        values = measure(network, scenes, names)
        known = [value for value in values if not np.isnan(value)]
        mean = float(np.mean(known)) if known else float("nan")
        shown = ["n/a" if np.isnan(one) else f"{one:.3f}" for one in (*values, mean)]
        print(f"| {kind} | {' | '.join(shown)} |", flush=True)
    if columns:
        write_sheet(columns, given.draw)


def write_sheet(columns: Sequence[PIL.Image.Image], path: Path) -> None:
    """Write pictures side by side. Raise WriteError."""
    width, height = columns[0].size
    sheet = PIL.Image.new("RGB", (width * len(columns), height), "white")
    for place, column in enumerate(columns):
        sheet.paste(column, (place * width, 0))
    atomic_write(path, lambda file: sheet.save(file, "PNG"))


if __name__ == "__main__":
    main()
