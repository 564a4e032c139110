"""Labelled pairs: read, refused, cropped together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fnetcli.errors import TrainingError
from fnetcli.inputs.pairing import Case, pair_paths
from fnetcli.training.data import Pairs
from fnetcli.training.labelled import LabelledPair, LabelledPairs, find_labels, read_label


def write(path: Path, pixels: NDArray[np.generic]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> LabelledPairs:
    """Three pairs whose label can be read off the images: ir = label * 10, vis = label * 20."""
    random = np.random.default_rng(1)
    for name in ("a", "b", "c"):
        label = random.integers(0, 5, (12, 14)).astype(np.uint8)
        write(tmp_path / "ir" / f"{name}.png", label * 10)
        write(tmp_path / "vis" / f"{name}.png", label * 20)
        write(tmp_path / "label" / f"{name}.png", label)
    cases = pair_paths(tmp_path / "ir", tmp_path / "vis").cases
    return LabelledPairs(Pairs(cases), find_labels(cases, tmp_path / "label"), 5)


def test_crops_stay_together(pairs: LabelledPairs) -> None:
    weights: list[int] = []

    def weigh(index: int, pair: LabelledPair) -> NDArray[np.float16]:
        weights.append(index)
        return (pair.label / 8).astype(np.float16)

    batch = pairs.batch(6, 9, (1, 2, 3), weigh)
    assert batch.first.shape == batch.second.shape == (6, 1, 9, 9)
    assert batch.label.shape == (6, 9, 9)
    label = batch.label[:, None].float()
    np.testing.assert_allclose(batch.first * 255, label * 10, atol=1e-4)
    np.testing.assert_allclose(batch.second * 255, label * 20, atol=1e-4)
    assert batch.weight is not None
    np.testing.assert_array_equal(batch.weight, label / 8)
    assert len(weights) == 6


def test_a_batch_depends_on_its_seed_alone(pairs: LabelledPairs) -> None:
    one, same, other = (pairs.batch(4, 8, seed).label for seed in ((1, 0), (1, 0), (1, 1)))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_pair_without_a_label_is_unlabelled(pairs: LabelledPairs) -> None:
    pairs.labels[1] = None
    assert pairs[1].label.shape == pairs[1].first.shape
    assert pairs[1].label.max() == 0
    shares = pairs.shares()
    assert shares[0] == 0
    assert shares.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((4, 4), 5, np.uint8), "holds class 5, but the recipe names classes 0 to 4"),
        (np.zeros((4, 4, 3), np.uint8), "a label in colour"),
        (np.zeros((4, 4), np.uint16), "a label of uint16 pixels"),
        (np.zeros((4, 5), np.uint8), "the label is 5x4, its pair 4x4"),
    ],
)
def test_refused_labels(tmp_path: Path, pixels: NDArray[np.generic], message: str) -> None:
    path = write(tmp_path / "label.png", pixels)
    with pytest.raises(TrainingError, match=message) as caught:
        read_label(path, 5, (4, 4))
    assert str(caught.value).startswith(f"{path}: ")


def test_a_folder_without_their_labels(tmp_path: Path) -> None:
    write(tmp_path / "other.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(TrainingError, match="no label has the name of a training pair"):
        find_labels([Case("a", tmp_path / "a.png", tmp_path / "a.png")], tmp_path)
