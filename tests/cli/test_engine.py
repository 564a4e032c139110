"""The options that say how the network runs, through the door the user takes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from fnetcli.checkpoints.loading import save_weights
from fnetcli.engine.executors.fnet.bands import Bands
from fnetcli.models.fnet.config import FNetConfig
from fnetcli.models.fnet.network import FNet
from tests.cli.command import fnet
from tests.drawn_pictures import smooth_noise, write
from tests.networks import resting


@pytest.fixture
def arguments(tmp_path: Path) -> list[object]:
    """A pair of 150x210, and weights of a network that reaches 48 pixels far."""
    torch.manual_seed(1)
    weights = tmp_path / "small.safetensors"
    save_weights(weights, resting(FNet(FNetConfig(atoms=5, kernel_size=9, iterations=2))), {})
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


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_a_precision_that_brings_nothing_is_said(
    tmp_path: Path, arguments: list[object], precision: str
) -> None:
    result = fnet(*arguments, "-o", tmp_path / "out", "--precision", precision, "--device", "cpu")
    assert result.exit_code == 0
    assert f"--precision {precision}: no faster than float32 on this cpu device" in result.stderr
    (record,) = (tmp_path / "out/manifest.jsonl").read_text().splitlines()
    assert "precision" not in json.loads(record)["weights"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--tile", "big"], "--tile big: not a number of pixels; use auto, 0 or a whole number"),
        (["--tile", "1" * 5000], ": not a number of pixels; use auto, 0 or a whole number"),
        (["--tile", "-5"], "--tile -5: not a number of pixels"),
        (["--tile", "10"], "--tile 10: too small; use at least 64, 0 or auto"),
        (["--max-memory", "lots"], "--max-memory lots: not a size; write it like 500M or 2G"),
        (["--max-memory", "9" * 400 + "G"], ": not a size; write it like 500M or 2G"),
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


@pytest.mark.parametrize("features", [[], ["--features"]])
def test_a_budget_too_small_is_refused_once_before_anything_is_read(
    tmp_path: Path, arguments: list[object], features: list[str]
) -> None:
    (tmp_path / "in" / "b.png").write_text("no picture")  # would be said, too, if it were read
    result = fnet(*arguments, *features, "-o", tmp_path / "out", "--max-memory", "1M")
    assert result.exit_code == 2
    (line,) = (text for text in result.stderr.splitlines() if text.startswith("error"))
    found = re.fullmatch(
        r"error: --max-memory: the smallest tile of this network needs (\d+) MB"
        r"( with its features)?; give at least \1M",
        line,
    )
    assert found
    assert bool(found[2]) == bool(features)
    assert not (tmp_path / "out").exists()


def test_little_free_memory_is_no_reason_to_fail(
    tmp_path: Path, arguments: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container whose limit is used up, by a cache of files it may be."""
    (tmp_path / "memory.max").write_text("64000000")
    (tmp_path / "memory.current").write_text("63999000")
    monkeypatch.setattr("fnetcli.memory.CGROUP", tmp_path)
    result = fnet(*arguments, "-o", tmp_path / "out", "--features")
    assert result.exit_code == 0, result.output
    assert "mostly margin" in result.stderr


def test_memory_that_runs_out_is_said_of_the_pair(
    tmp_path: Path, arguments: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setenv("FNET_NATIVE", "0")
    monkeypatch.setattr(Bands, "run", none)
    result = fnet(*arguments, "-o", tmp_path / "network")
    assert result.exit_code == 1
    names = f"{tmp_path / 'in' / 'b.png'} and {tmp_path / 'in' / 'a.png'}"
    assert f"error: {names}: 210x150: not enough memory on cpu" in result.stderr
    for place in ("prepare.place", "fuse.mixed_picture"):  # while it is read, is written
        monkeypatch.undo()
        monkeypatch.setattr(f"fnetcli.pictures.{place}", none)
        result = fnet(*arguments, "-o", tmp_path / place)
        assert result.exit_code == 1
        assert "error: a: not enough memory; end other programs" in result.stderr


def test_weights_that_are_not_finite_are_said_of_the_pair(tmp_path: Path) -> None:
    network = FNet(FNetConfig(atoms=2, kernel_size=3, iterations=1))
    with torch.no_grad():
        network.reconstruct_z.weight.fill_(1e38)
    weights = tmp_path / "large.safetensors"
    save_weights(weights, resting(network), {})
    vis, ir = (write(tmp_path / name, smooth_noise(20, 20, 1)) for name in ("a.png", "b.png"))
    result = fnet("fuse", "--vis", vis, "--ir", ir, "--weights", weights, "-o", tmp_path / "out")
    assert result.exit_code == 1
    words = "weights large.safetensors: the network's result is not finite; check the weights"
    assert f"error: {ir} and {vis}, {words}" in result.stderr


def test_a_dry_run_compiles_nothing(
    tmp_path: Path, arguments: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    result = fnet(*arguments, "-o", tmp_path / "out", "--dry-run", "-v", "--max-memory", "50M")
    assert result.exit_code == 0, result.output
    assert "1 to fuse, 0 to skip, 0 unpaired; nothing was written" in result.stderr
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "out").exists()


class TestRoomForCodes:
    ONE = 3 * 5 * 150 * 210 * 2  # bytes of the pair's codes

    def limit(self, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
        usage = shutil.disk_usage("/")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))

    @pytest.mark.parametrize(("most_in_memory", "copies"), [(1 << 30, 1), (0, 2)])
    def test_too_little_for_one_pair_ends_it_before_the_work(
        self,
        tmp_path: Path,
        arguments: list[object],
        monkeypatch: pytest.MonkeyPatch,
        most_in_memory: int,
        copies: int,
    ) -> None:
        """Large codes lie on the disk before they are a file, and again in the file."""
        monkeypatch.setattr("fnetcli.files.scratch.MAX_IN_MEMORY", most_in_memory)
        self.limit(monkeypatch, copies * self.ONE - 1)
        result = fnet(*arguments, "-o", tmp_path / "out", "--features")
        assert result.exit_code == 1
        text = f"the features of a pair of 210x150 need {copies * self.ONE / 1e6:.0f} MB while they"
        assert text in result.stderr
        assert not (tmp_path / "out").exists()
        self.limit(monkeypatch, copies * self.ONE)
        assert fnet(*arguments, "-o", tmp_path / "out", "--features").exit_code == 0

    def test_too_little_for_all_is_a_warning(
        self, tmp_path: Path, arguments: list[object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("a", "b", "c"):
            write(tmp_path / "v" / f"{name}.png", smooth_noise(150, 210, 1))
            write(tmp_path / "i" / f"{name}.png", smooth_noise(150, 210, 1))
        folders = ("fuse", "--vis", tmp_path / "v", "--ir", tmp_path / "i", *arguments[-2:])
        self.limit(monkeypatch, 2 * self.ONE)
        result = fnet(*folders, "-o", tmp_path / "out", "--features")
        assert result.exit_code == 0, result.output
        assert "warning" in result.stderr
        assert "enough for the features of about 2 of 3 pairs" in result.stderr
