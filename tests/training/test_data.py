"""Several sets of pairs: which crops a batch holds, by shares and sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fnetcli.inputs.pairing import Case
from fnetcli.training.data import Mixture, Pairs
from fnetcli.training.labelled import LabelledPairs
from tests.drawn_pictures import write

LEVELS = (10, 100, 200)  # every set has pictures of one level


def flat_pairs(folder: Path, level: int, count: int, side: int = 24) -> Pairs:
    cases = []
    for i in range(count):
        path = write(folder / f"{level}-{i}.png", np.full((side, side), level, np.uint8))
        cases.append(Case(f"{level}-{i}", path, path))
    return Pairs(cases, modalities=("ir", "vis") if level == 10 else ("nir", "vis"))


@pytest.fixture
def sets(tmp_path: Path) -> list[Pairs]:
    return [flat_pairs(tmp_path, level, i + 1) for i, level in enumerate(LEVELS)]


def levels_of(batch: torch.Tensor) -> list[int]:
    return [round(one.mean().item() * 255) for one in batch]


def test_one_set_alone_draws_as_ever(sets: list[Pairs]) -> None:
    """A mixture's draws begin with the set; those of a single set do not."""
    plain = sets[2].batch(5, 8, (1, 2, 3)).first
    random = np.random.default_rng((1, 2, 3))
    assert int(random.integers(3)) in {0, 1, 2}
    assert plain.shape == (5, 1, 8, 8)


def test_shares_of_the_batch(sets: list[Pairs]) -> None:
    mixture = Mixture(sets, [2.0, 1.0, 1.0], [0, 0, 0])
    drawn = [x for seed in range(100) for x in levels_of(mixture.batch(8, 8, (seed,)).first)]
    found = [drawn.count(level) / len(drawn) for level in LEVELS]
    assert found == pytest.approx([0.5, 0.25, 0.25], abs=0.06)
    assert torch.equal(mixture.batch(8, 8, (3,)).first, mixture.batch(8, 8, (3,)).first)


def test_a_share_of_nothing_is_never_drawn(sets: list[Pairs]) -> None:
    mixture = Mixture(sets, [0.0, 1.0, 0.0], [0, 0, 0])
    assert set(levels_of(mixture.batch(64, 8, (1,)).first)) == {100}


def test_sets_with_crops_of_their_own_fill_batches_of_their_own(sets: list[Pairs]) -> None:
    mixture = Mixture(sets, [1.0, 1.0, 2.0], [0, 0, 12])
    sides, large = [], 0
    for seed in range(100):
        batch = mixture.batch(4, 8, (seed,)).first
        side = batch.shape[2]
        sides.append(side)
        large += side == 12
        assert (set(levels_of(batch)) == {200}) == (side == 12)
    assert set(sides) == {8, 12}
    assert large / 100 == pytest.approx(0.5, abs=0.15)


def test_numbers_and_order(sets: list[Pairs]) -> None:
    mixture = Mixture(sets, [1.0, 1.0, 1.0], [0, 0, 0])
    assert len(mixture) == 6
    assert [int(first[0, 0]) for first, _ in mixture] == [10, 100, 100, 200, 200, 200]
    assert [int(mixture[i][0][0, 0]) for i in (0, 2, 3, 5)] == [10, 100, 200, 200]
    assert mixture.kinds == [("ir", "vis"), ("nir", "vis")]
    other = Mixture(sets[::-1], [1.0, 1.0, 1.0], [0, 0, 0])
    assert mixture.list_sha256() != other.list_sha256()


def test_labelled_crops_of_a_mixture(sets: list[Pairs], tmp_path: Path) -> None:
    label = write(tmp_path / "label.png", np.full((24, 24), 1, np.uint8))
    mixture = Mixture(sets, [0.0, 1.0, 1.0], [0, 0, 0])
    pairs = LabelledPairs(mixture, [None, label, label, None, None, None], 2)
    batch = pairs.batch(40, 8, (1,))
    assert set(levels_of(batch.first)) == {100, 200}
    for level, one in zip(levels_of(batch.first), batch.label, strict=True):
        assert (one == (1 if level == 100 else 0)).all()
