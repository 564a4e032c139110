"""What only a CUDA device can show; left out unless asked for (`make test-gpu`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fnetcli.checkpoints.loading import load_weights
from fnetcli.engine import Engine, EngineOptions, choose_device
from tests.cli.command import fnet, tiny_weights
from tests.drawn_pictures import smooth_noise, write_pairs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


@pytest.mark.parametrize("weights", ["fnet", "cddfuse", "uaafusion"])
@pytest.mark.parametrize("tile", [None, 160])
def test_results_are_those_of_the_cpu(weights: str, tile: int | None) -> None:
    network = load_weights(weights).network
    x, y = (
        smooth_noise(200, 264, seed)[None].astype(np.float32) / np.float32(255) for seed in (1, 2)
    )
    options = EngineOptions(tile=tile)
    here = Engine(network, choose_device("cpu"), options).run(x, y)
    there = Engine(network, choose_device("cuda"), options).run(x, y)
    assert np.abs(here.fused - there.fused).max() < 1e-4
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_every_device(tmp_path: Path) -> None:
    write_pairs(tmp_path, 4)
    command = ("fuse", "--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "--weights")
    weights = tiny_weights(tmp_path)
    devices = ("--device", ",".join(2 * ["cuda:0"]))
    for out, options in (("one", ("--device", "cuda")), ("two", devices), ("all", _ALL)):
        assert fnet(*command, weights, "-o", tmp_path / out, *options).exit_code == 0
    for name in range(4):
        made = [(tmp_path / out / f"fused/{name}.png").read_bytes() for out in ("one", "two")]
        assert made[0] == made[1]


_ALL = ("--device", "all")
