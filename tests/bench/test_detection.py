"""The table of objects found in each kind of image, and its detector, on tiny scenes."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from bench.detection import (
    CAPTION,
    STRIDE,
    ZOOM,
    Scenes,
    Training,
    main,
    measure,
    targets,
    train,
)
from fnetcli.errors import CheckpointError
from fnetcli.formats.boxes import Box
from tests.drawn_pictures import write_pairs


def test_targets_are_where_boxes_are() -> None:
    heat, size, is_centre = targets([("b", 8, 4, 24, 28), ("x", 0, 0, 4, 4)], ["a", "b"], 8)
    assert np.argwhere(is_centre).tolist() == [[16 // STRIDE, 16 // STRIDE]]
    assert heat[1, 4, 4] == 1
    assert heat[0].max() == 0
    x = y = 4.5 * STRIDE
    np.testing.assert_allclose(size[:, 4, 4], [x - 8, y - 4, 24 - x, 28 - y])


def test_it_learns_bright_squares() -> None:
    """In a few steps, from the places of boxes alone."""
    random = np.random.default_rng(0)
    images, boxes = [], []
    for _ in range(6):
        image = np.full((48, 48), 40, np.uint8)
        left, top = (int(side) for side in random.integers(4, 30, 2))
        image[top : top + 12, left : left + 12] = 220
        images.append(image)
        boxes.append([Box("square", left, top, left + 12, top + 12)])
    scenes = Scenes(images, boxes)
    network = train(scenes, ["square"], Training(60, batch=4, crop=48, rate=5e-3))
    assert measure(network, scenes, ["square"])[0] > 0.5


def test_a_row_for_each_kind_of_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train", "test"):
        write_pairs(tmp_path / name, 2)
        content = {
            "images": [{"id": i, "file_name": f"{i}.png"} for i in range(2)],
            "categories": [{"id": 1, "name": "car"}],
            "annotations": [{"image_id": 0, "category_id": 1, "bbox": [2, 2, 12, 10]}],
        }
        (tmp_path / name / "instances.json").write_text(json.dumps(content))
    given = [str(tmp_path / "train"), str(tmp_path / "test"), "--steps", "1"]
    classes = ["--classes", "car", "sign"]
    drawn = ["--draw", str(tmp_path / "found.png")]
    main([*given, *classes, *drawn, "--save", str(tmp_path / "kept")])
    _, head, _, *rows = capsys.readouterr().out.splitlines()
    assert head == "| images | car | sign | mAP@.5 |"
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[0] for row in cells] == ["visible alone", "infrared alone", "average"]
    assert all(row[2] == "n/a" and row[1] == row[3] for row in cells)
    sheet = iio.imread(tmp_path / "found.png")
    height, width = iio.imread(tmp_path / "test" / "vis" / "0.png").shape[:2]
    assert sheet.shape == (CAPTION + 2 * ZOOM * height, 3 * ZOOM * width, 3)
    frames = (sheet[CAPTION : CAPTION + ZOOM * height, : ZOOM * width] == 255).all(axis=-1)
    assert frames[2, 2:30].all()
    assert frames[2:26, 2].all()
    kept = tmp_path / "kept" / "average.safetensors"
    main([*given, *classes, "--detector-weights", str(kept)])
    again = capsys.readouterr().out.splitlines()[3:]
    assert again[2] == rows[2]
    with pytest.raises(CheckpointError, match="not a detector of 1 classes"):
        main([*given, "--classes", "car", "--detector-weights", str(kept)])
    assert torch.is_grad_enabled()
