"""The drawn streets: the same for the same seed, labels and boxes true, each sensor needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "examples" / "draw_labelled_streets.py"
PERSON, CAR, SIGN = 5, 6, 7


def draw(folder: Path, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT), str(folder), *arguments], check=True
    )


def read(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path))


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streets")
    draw(folder, "--count", "12", "--size", "64", "--seed", "3")
    return folder


@pytest.fixture(scope="module")
def instances(streets: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((streets / "instances.json").read_text())
    return content


@pytest.mark.slow
def test_a_scene_depends_on_seed_and_number_alone(streets: Path, tmp_path: Path) -> None:
    draw(tmp_path / "same", "--count", "2", "--size", "64", "--seed", "3")
    draw(tmp_path / "other", "--count", "1", "--size", "64", "--seed", "4")
    for part in ("vis", "ir", "label"):
        for name in ("00000.png", "00001.png"):
            wanted = (streets / part / name).read_bytes()
            assert (tmp_path / "same" / part / name).read_bytes() == wanted
        assert (tmp_path / "other" / part / "00000.png").read_bytes() != (
            streets / part / "00000.png"
        ).read_bytes()


@pytest.mark.slow
def test_images_and_labels_fit(streets: Path) -> None:
    names = [sorted(path.name for path in (streets / p).iterdir()) for p in ("vis", "ir", "label")]
    assert names[0] == names[1] == names[2]
    assert len(names[0]) == 12
    seen = set[int]()
    for name in names[0]:
        assert read(streets / "vis" / name).shape == (64, 64, 3)
        assert read(streets / "ir" / name).shape == (64, 64)
        label = read(streets / "label" / name)
        assert label.shape == (64, 64)
        assert label.dtype == np.uint8
        seen |= set(np.unique(label).tolist())
    assert seen == set(range(8))


@pytest.mark.slow
def test_boxes_are_tight(streets: Path, instances: dict[str, Any]) -> None:
    """Every counted pixel lies in a box of its class; every side of a box touches such a pixel."""
    assert [category["id"] for category in instances["categories"]] == list(range(1, 8))
    for picture in instances["images"]:
        label = read(streets / "label" / picture["file_name"])
        covered = np.zeros((8, 64, 64), bool)
        for box in instances["annotations"]:
            if box["image_id"] != picture["id"]:
                continue
            left, top, width, height = box["bbox"]
            kind = box["category_id"]
            inside = label[top : top + height, left : left + width] == kind
            covered[kind, top : top + height, left : left + width] = True
            for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert edge.any()
            assert 0 < box["area"] <= inside.sum()
        for kind in (PERSON, CAR, SIGN):
            assert (covered[kind] | (label != kind)).all()


def contrast(image: NDArray[np.uint8], label: NDArray[np.uint8], kind: int) -> list[float]:
    """Return how far a class stands out from the pixels within 3 of it, one number a scene."""
    mask = label == kind
    around = np.zeros_like(mask)
    for rows in range(-3, 4):
        for columns in range(-3, 4):
            around |= np.roll(mask, (rows, columns), (0, 1))
    around &= (label != kind) & (label != PERSON) & (label != CAR)
    if mask.sum() < 12 or around.sum() < 12:
        return []
    return [abs(float(image[mask].mean()) - float(image[around].mean()))]


@pytest.mark.slow
def test_each_sensor_sees_what_the_other_does_not(streets: Path) -> None:
    """Signs stand out in the visible image alone, people more in the thermal one, and always."""
    found: dict[tuple[str, int], list[float]] = {}
    for path in sorted((streets / "label").iterdir()):
        label = read(path)
        images = {
            "ir": read(streets / "ir" / path.name),
            "vis": read(streets / "vis" / path.name).mean(axis=2).astype(np.uint8),
        }
        for sensor, image in images.items():
            for kind in (PERSON, SIGN):
                found.setdefault((sensor, kind), []).extend(contrast(image, label, kind))
    median = {key: float(np.median(values)) for key, values in found.items()}
    assert median["ir", PERSON] > 1.3 * median["vis", PERSON]
    assert median["vis", SIGN] > 4 * median["ir", SIGN]
    faint = {sensor: np.percentile(found[sensor, PERSON], 25) for sensor in ("ir", "vis")}
    assert faint["ir"] > 1.5 * faint["vis"]  # those in the dark


@pytest.mark.parametrize("arguments", [["--count", "0"], ["--size", "8"], ["--seed", "-1"]])
def test_impossible_wishes(tmp_path: Path, arguments: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "out"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "--count of at least 1" in result.stderr
    assert not (tmp_path / "out").exists()
