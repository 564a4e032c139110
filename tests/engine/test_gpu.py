"""What only a CUDA device can show; left out unless asked for (`make test-gpu`)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from fnetcli.checkpoints.loading import load_weights
from fnetcli.engine import Engine, EngineOptions, Maps, choose_device
from fnetcli.engine.options import Precision
from tests.cli.command import fnet, tiny_weights
from tests.drawn_pictures import smooth_noise, write_pairs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
LEVEL = 1 / 255


def drawn_pair(height: int, width: int) -> tuple[Maps, Maps]:
    first, second = (
        smooth_noise(height, width, seed)[None].astype(np.float32) / np.float32(255)
        for seed in (1, 2)
    )
    return first, second


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Let this process have a gigabyte, or what it holds already and a little more."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    most = max(1 << 30, torch.cuda.memory_reserved() + (1 << 28))
    torch.cuda.set_per_process_memory_fraction(most / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize("weights", ["fnet", "cddfuse", "uaafusion"])
@pytest.mark.parametrize("tile", [None, 160])
def test_results_are_those_of_the_cpu(weights: str, tile: int | None) -> None:
    network, pair = load_weights(weights).network, drawn_pair(200, 264)
    options = EngineOptions(tile=tile)
    here = Engine(network, choose_device("cpu"), options).run(*pair)
    there = Engine(network, choose_device("cuda"), options).run(*pair)
    assert np.abs(here.fused - there.fused).max() < 1e-4
    for name, part in here.parts.items():
        assert np.abs(part - there.parts[name]).max() < 1e-4
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_rounding_moves_few_pixels(precision: Precision) -> None:
    if not choose_device("cuda").has_tensor_cores():
        pytest.skip("this device does not multiply in it")
    network, pair = load_weights().network, drawn_pair(200, 264)
    exact = Engine(network, choose_device("cuda")).run(*pair).fused
    engine = Engine(network, choose_device("cuda"), EngineOptions(precision))
    assert engine.precision == precision
    differences = np.abs(engine.run(*pair).fused - exact)
    assert differences.max() > 0
    assert (differences > LEVEL).mean() < 1e-3


def test_several_images_in_a_row_are_those_of_each() -> None:
    """What is copied while something else runs does not get mixed up."""
    network = load_weights().network
    engine = Engine(network, choose_device("cuda"))
    pairs = [drawn_pair(120 + 8 * i, 160) for i in range(8)]
    alone = [Engine(network, choose_device("cuda")).run(*pair).fused for pair in pairs]
    for _ in range(3):
        for pair, expected in zip(pairs, alone, strict=True):
            assert np.abs(engine.run(*pair).fused - expected).max() < 1e-5


@pytest.mark.usefixtures("little_memory")
def test_memory_that_runs_out_means_smaller_tiles() -> None:
    network, pair = load_weights().network, drawn_pair(1500, 1500)  # two codes: 1.2 GB
    messages: list[str] = []
    engine = Engine(network, choose_device("cuda"), on_notice=messages.append)
    found = engine.run(*pair).fused
    assert any("memory ran out on cuda; continuing with smaller tiles" in one for one in messages)
    here = Engine(network, choose_device("cpu")).run(*pair).fused
    assert np.abs(found - here).max() < 1e-4


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


def test_the_bench_runs() -> None:
    command = [sys.executable, "-m", "bench.forward", "--device", "cuda"]
    found = subprocess.run(
        [*command, "--sizes", "128x96", "--repeats", "1"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    assert "fp32" in found.stdout
