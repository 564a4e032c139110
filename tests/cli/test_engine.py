"""The options that say how the network runs, through the door the user takes."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from fnetcli.checkpoint import save_weights
from fnetcli.models.fnet import FNet, FNetConfig
from tests.cli.command import fnet
from tests.pictures import smooth_noise, write


@pytest.fixture
def arguments(tmp_path: Path) -> list[object]:
    """A pair of 150x210, and weights of a network that reaches 48 pixels far."""
    torch.manual_seed(1)
    weights = tmp_path / "small.safetensors"
    save_weights(weights, FNet(FNetConfig(atoms=5, kernel_size=9, iterations=2)), {})
    vis = write(tmp_path / "in" / "a.png", smooth_noise(150, 210, 1, 3))
    ir = write(tmp_path / "in" / "b.png", smooth_noise(150, 210, 2))
    return ["fuse", "--vis", vis, "--ir", ir, "--weights", weights]


def test_tiles_do_not_show(tmp_path: Path, arguments: list[object]) -> None:
    results = {}
    for tile in ("0", "64", "auto"):
        out = tmp_path / tile
        result = fnet(*arguments, "-o", out, "--tile", tile, "--features", "--maps", "float")
        assert result.exit_code == 0, result.output
        results[tile] = out
    for tile in ("64", "auto"):
        for name in ("fused/a.png", "common/a.tif", "unique_ir/a.tif", "unique_vis/a.tif"):
            whole, tiled = (
                iio.imread(results[one] / name).astype(np.float64) for one in ("0", tile)
            )
            np.testing.assert_allclose(tiled, whole, atol=1e-5 if name.endswith("tif") else 1)
        with (
            np.load(results["0"] / "features" / "a.npz") as whole_codes,
            np.load(results[tile] / "features" / "a.npz") as tiled_codes,
        ):
            assert list(tiled_codes) == list(whole_codes) == ["u", "v", "z"]
            for name in tiled_codes:
                difference = np.abs(tiled_codes[name].astype(np.float32) - whole_codes[name])
                assert difference.max() < 1e-2


def test_the_path_without_a_compiler_gives_the_same_picture(
    tmp_path: Path, arguments: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = fnet(*arguments, "-o", tmp_path / "usual", "-v")
    assert result.exit_code == 0, result.output
    assert "network: compiled for this processor, fp32" in result.stderr or "torch" in result.stderr
    monkeypatch.setenv("FNET_NATIVE", "0")
    result = fnet(*arguments, "-o", tmp_path / "torch", "-v")
    assert result.exit_code == 0, result.output
    assert "network: torch (the compiled path, several times faster: FNET_NATIVE=0)" in (
        result.stderr
    )
    usual, other = (iio.imread(tmp_path / name / "fused" / "a.png") for name in ("usual", "torch"))
    assert np.abs(usual.astype(int) - other).max() <= 1


def test_another_tile_is_no_reason_to_fuse_again(tmp_path: Path, arguments: list[object]) -> None:
    assert fnet(*arguments, "-o", tmp_path / "out").exit_code == 0
    result = fnet(*arguments, "-o", tmp_path / "out", "--tile", "64")
    assert "0 fused, 1 skipped" in result.stderr


def test_bf16_that_brings_nothing_is_said(tmp_path: Path, arguments: list[object]) -> None:
    result = fnet(*arguments, "-o", tmp_path / "out", "--precision", "bf16", "--device", "cpu")
    assert result.exit_code == 0
    assert "--precision bf16: no faster than float32 on this cpu device" in result.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--tile", "big"], "--tile big: not a number of pixels; use auto, 0 or a whole number"),
        (["--tile", "-5"], "--tile -5: not a number of pixels"),
        (["--tile", "10"], "--tile 10: too small; use at least 64, 0 or auto"),
        (["--max-memory", "lots"], "--max-memory lots: not a size; write it as 500M or 2G"),
        (["--max-memory", "0"], "--max-memory 0: not a size"),
        (["--max-memory", "1G", "--tile", "0"], "--tile and --max-memory: give one of them"),
    ],
)
def test_what_makes_no_sense(
    tmp_path: Path, arguments: list[object], words: list[str], text: str
) -> None:
    result = fnet(*arguments, "-o", tmp_path / "out", *words)
    assert result.exit_code == 2
    assert text in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", ["50M", "0.1G", "100000k", "1gib", "99999999"])
def test_sizes_as_people_write_them(tmp_path: Path, arguments: list[object], size: str) -> None:
    result = fnet(*arguments, "-o", tmp_path / "out", "--max-memory", size)
    assert result.exit_code == 0, result.output


def test_a_budget_too_small_fails_the_pair(tmp_path: Path, arguments: list[object]) -> None:
    result = fnet(*arguments, "-o", tmp_path / "out", "--max-memory", "1M")
    assert result.exit_code == 1
    assert "210x150: 1 MB is not enough for even the smallest tile" in result.stderr
    assert "give more with --max-memory" in result.stderr
    assert not (tmp_path / "out" / "fused" / "a.png").exists()
