"""Weights files: both layouts, every way to be wrong, nothing unpickled."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fnetcli.checkpoints.loading import load_weights, save_weights
from fnetcli.checkpoints.shipped import default_weights_path
from fnetcli.errors import CheckpointError, UsageError
from fnetcli.models.base import Network
from fnetcli.models.fnet.blocks import blocks_of
from fnetcli.models.fnet.config import FNetConfig
from fnetcli.models.fnet.layouts import PUBLISHED
from fnetcli.models.fnet.network import FNet
from tests.networks import at_work, resting

Change = Callable[[dict[str, torch.Tensor]], object]


def make(**config: Any) -> Network[FNetConfig]:
    torch.manual_seed(0)
    return resting(FNet(FNetConfig(**{"atoms": 5, "kernel_size": 3, "iterations": 3} | config)))


def tensors_of(network: Network[FNetConfig]) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(array) for key, array in network.arrays.items()}


def published(network: Network[FNetConfig]) -> dict[str, torch.Tensor]:
    """Return copies of its tensors under the published names."""
    return {
        theirs: torch.from_numpy(network.arrays[ours].copy())
        for ours, theirs in PUBLISHED.keys(network.config).items()
    }


def assert_same(loaded: Network[FNetConfig], network: Network[FNetConfig]) -> None:
    assert loaded.spec is network.spec
    assert loaded.config == network.config
    assert [*loaded.arrays] == [*network.arrays]
    for key, array in loaded.arrays.items():
        assert array.dtype == np.float32
        assert np.array_equal(array, network.arrays[key]), key


class TestOwnLayout:
    @pytest.mark.parametrize(
        "config",
        [
            {},
            {"shared_kernels": True},
            {"momentum": "none", "threshold": "soft"},
            {"momentum": "quasi-hyperbolic", "iterations": 5},
            {"momentum": "polyak", "atoms": 1, "alpha": 0.2},
        ],
    )
    def test_round_trip(self, tmp_path: Path, config: dict[str, object]) -> None:
        network, path = make(**config), tmp_path / "n.safetensors"
        save_weights(path, network, {"scores": {"MI": 2.5}, "note": "ä"})
        weights = load_weights(path)
        assert_same(weights.network, network)
        assert weights.metadata["scores"] == {"MI": 2.5}
        assert weights.metadata["note"] == "ä"
        assert weights.layout == "fnet"
        assert len(weights.sha256) == 64

    def test_newer_format_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "n.safetensors"
        save_file(tensors_of(make()), path, {"format_version": "99", "config": "{}"})
        with pytest.raises(CheckpointError, match="newer"):
            load_weights(path)

    @pytest.mark.parametrize(
        "config",
        [
            *("{}x", "3", '{"atoms": "many"}', '{"speed": 3}', '{"atoms": 0}', '{"atoms": 4.0}'),
            *('{"iterations": 2.5}', '{"atoms": 1000000000}', '{"iterations": 1000000000}'),
            *(f'{{"atoms": 1{400 * "0"}}}', f'{{"alpha": 1{400 * "0"}}}', '{"alpha": null}'),
            *(f'{{"kernel_size": 1{30 * "0"}1}}', f'{{"iterations": 1{4000 * "0"}}}'),
        ],
    )
    def test_broken_config(self, tmp_path: Path, config: str) -> None:
        path = tmp_path / "n.safetensors"
        save_file(tensors_of(make()), path, {"format_version": "1", "config": config})
        with pytest.raises(CheckpointError, match=r"n\.safetensors"):
            load_weights(path)

    @pytest.mark.parametrize("levels", [60, 900, 100_000])
    @pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
    def test_deep_metadata_stay_text(
        self, tmp_path: Path, levels: int, start: str, end: str
    ) -> None:
        path, network = tmp_path / "n.safetensors", make()
        text = f"{start * levels}1{end * levels}"
        config = json.dumps(dataclasses.asdict(network.config))
        save_file(tensors_of(network), path, {"config": config, "recipe": text})
        assert load_weights(path).metadata["recipe"] == text

    def test_numbers_in_config_are_numbers(self, tmp_path: Path) -> None:
        path, network = tmp_path / "n.safetensors", make()
        config = {**dataclasses.asdict(network.config), "gamma": 10**30, "alpha": 0}
        save_file(tensors_of(network), path, {"config": json.dumps(config)})
        loaded = load_weights(path).network.config
        assert (loaded.gamma, loaded.alpha) == (1e30, 0.0)
        assert type(loaded.alpha) is float

    def test_without_config(self, tmp_path: Path) -> None:
        path = tmp_path / "n.safetensors"
        save_file(tensors_of(make()), path)
        with pytest.raises(CheckpointError, match="'config'"):
            load_weights(path)


class TestPublishedLayout:
    @pytest.mark.parametrize("iterations", [1, 2, 3, 4, 5])
    @pytest.mark.parametrize("atoms", [1, 7])
    def test_sizes_come_from_shapes(self, tmp_path: Path, iterations: int, atoms: int) -> None:
        network = make(iterations=iterations, atoms=atoms, kernel_size=5)
        torch.save(published(network), tmp_path / "n.pth")
        weights = load_weights(tmp_path / "n.pth")
        assert_same(weights.network, network)
        assert weights.layout == "published"

    @pytest.mark.parametrize("wrapper", ["params", "params_ema", "state_dict", "model"])
    @pytest.mark.parametrize("prefix", ["", "module."])
    def test_wrappers_and_prefixes(self, tmp_path: Path, wrapper: str, prefix: str) -> None:
        network = make()
        tensors = {prefix + key: tensor for key, tensor in published(network).items()}
        torch.save({wrapper: tensors, "epoch": 3}, tmp_path / "n.pth")
        assert_same(load_weights(tmp_path / "n.pth").network, network)

    def test_half_precision_and_our_keys_in_pth(self, tmp_path: Path) -> None:
        network = make()
        arrays = {key: array.astype(np.float16) for key, array in network.arrays.items()}
        halved = Network(network.spec, network.config, arrays)
        rounded = {key: array.astype(np.float32) for key, array in arrays.items()}
        torch.save(published(halved), tmp_path / "n.pth")
        torch.save(tensors_of(halved), tmp_path / "m.pth")
        loaded = load_weights(tmp_path / "n.pth").network
        assert_same(loaded, Network(network.spec, network.config, rounded))
        with pytest.raises(CheckpointError, match="'config'"):
            load_weights(tmp_path / "m.pth")


def quantized(tensor: torch.Tensor) -> torch.Tensor:
    with warnings.catch_warnings(action="ignore"):
        return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("net_u.w_ro"), "missing, first 'net_u.w_ro'"),
        (lambda t: t.pop("net_u.x0_block.conv_in.weight"), "without 'net_u.x0_block"),
        (lambda t: t.update(extra=torch.ones(1)), "unexpected tensors?, first 'extra'"),
        (lambda t: t.update({"conv_u.weight": torch.ones(1, 5, 3, 5)}), r"\(1, 5, 3, 5\), but"),
        (lambda t: t["conv_v.weight"].fill_(float("nan")), "'conv_v.weight' has values"),
        (lambda t: t.update({"conv_v.weight": t["conv_v.weight"].double() + 1e300}), "has values"),
        (lambda t: t.update({"net_u.x0_block.conv_in.weight": torch.ones(3)}), "impossible"),
        (lambda t: t.update({"conv_u.weight": 3}), "'conv_u.weight' is not a tensor"),
        (lambda t: t.update({"conv_u.weight": t["conv_u.weight"].to_sparse()}), "not a tensor"),
        (lambda t: t.update({"conv_u.weight": t["conv_u.weight"].to("meta")}), "not a tensor"),
        (lambda t: t.update({"conv_u.weight": quantized(t["conv_u.weight"])}), "not a tensor"),
        (lambda t: t.update({"conv_u.weight": t["conv_u.weight"].cfloat()}), "not real numbers"),
        (lambda t: t.update({"conv_u.weight": t["conv_u.weight"].int()}), "not real numbers"),
        (lambda t: t.update({7: torch.ones(1)}), "no state dict"),
        (lambda t: t.update({"\x1b[2J" + 99 * "x": 3}), r"'\\x1b\[2Jx{76}\.\.\.' is not a tensor"),
        (lambda t: t.update({"\x1b[2J": torch.ones(1)}), r"unexpected tensors?, first '\\x1b\[2J'"),
        (lambda t: t["net_v.b_theta"].fill_(3e38).add_(3e38), "'net_v.b_theta' has values"),
        (lambda t: [t[f"net_v.{n}_theta"].fill_(3e38) for n in "wb"], "thresholds of block v are"),
        (lambda t: [t[f"net_u.{n}_ro"].fill_(-300) for n in "wb"], "momenta of block u are not"),
        (lambda t: [t.pop(key) for key in list(t)], "no state dict"),
    ],
)
def test_wrong_tensors_are_named(tmp_path: Path, change: Change, message: str) -> None:
    tensors = published(make())
    change(tensors)
    with warnings.catch_warnings(action="ignore"):  # of quantized tensors
        torch.save(tensors, tmp_path / "n.pth")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_weights(tmp_path / "n.pth")
    assert str(caught.value).startswith(str(tmp_path / "n.pth"))
    assert str(caught.value).isprintable()


def test_a_momentum_that_starts_at_none_is_fine(tmp_path: Path) -> None:
    tensors = published(make())
    tensors["net_u.b_ro"].fill_(-300)
    tensors["net_u.w_ro"].fill_(400)
    torch.save(tensors, tmp_path / "n.pth")
    network = load_weights(tmp_path / "n.pth").network
    assert blocks_of(network).u.rho[1] == 1
    assert at_work(network).encode_u.rho(1) == 1


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.bfloat16, torch.float64])
def test_other_real_numbers(tmp_path: Path, kind: torch.dtype) -> None:
    tensors = {key: tensor.to(kind) for key, tensor in published(make()).items()}
    torch.save(tensors, tmp_path / "n.pth")
    arrays = load_weights(tmp_path / "n.pth").network.arrays
    for ours, theirs in PUBLISHED.keys(make().config).items():
        assert np.array_equal(arrays[ours], tensors[theirs].float().numpy())


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({"\x1b[2J\x07\nx": torch.ones(1)}, {}),
        ({"encode_u.w_theta": torch.ones(1)}, {"format_version": '"\\u001b[2J"'}),
        ({"encode_u.w_theta": torch.ones(1)}, {"format_version": json.dumps("x" * 10**6)}),
        ({"encode_u.w_theta": torch.ones(1)}, {"config": '{"\\u001b[2J": 1}'}),
        ({"encode_u.w_theta": torch.ones(1)}, {"config": json.dumps({"x" * 10**6: 1})}),
    ],
)
def test_nothing_in_a_file_commands_a_terminal(
    tmp_path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]
) -> None:
    save_file(tensors, tmp_path / "n.safetensors", metadata)
    with pytest.raises(CheckpointError) as caught:
        load_weights(tmp_path / "n.safetensors")
    message = str(caught.value).removeprefix(str(tmp_path))
    assert message.isprintable()
    assert len(message) < 300


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_names_that_are_no_text(tmp_path: Path, kind: str) -> None:
    network, path = make(), tmp_path / f"n.{kind}"
    save_weights(path, network, {}) if kind != "pth" else torch.save(published(network), path)
    odd = path.rename(tmp_path / os.fsdecode(b"\xff\xfe." + kind.encode()))
    assert_same(load_weights(odd).network, network)


def test_unknown_layout(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.ones(2, 2)}, tmp_path / "resnet.pth")
    with pytest.raises(CheckpointError, match=r"conv1\.weight.*no known layout"):
        load_weights(tmp_path / "resnet.pth")


def test_absurd_sizes_cost_nothing(tmp_path: Path) -> None:
    tensors = published(make())
    tensors["net_u.IM.30000000.conv_in.weight"] = torch.ones(1)
    torch.save(tensors, tmp_path / "n.pth")
    with pytest.raises(CheckpointError, match="60 tensors, but its configuration needs more"):
        load_weights(tmp_path / "n.pth")


class TestDamage:
    def test_missing_folder_and_empty(self, tmp_path: Path) -> None:
        (tmp_path / "empty.pth").touch()
        with pytest.raises(UsageError, match="no such file"):
            load_weights(tmp_path / "none.pth")
        for name, message in [(".", "folder"), ("empty.pth", "short")]:
            with pytest.raises(CheckpointError, match=message):
                load_weights(tmp_path / name)

    @pytest.mark.parametrize("kind", ["safetensors", "pth"])
    def test_truncated_anywhere(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / f"n.{kind}"
        if kind == "pth":
            torch.save(published(make()), path)
        else:
            save_weights(path, make(), {})
        content = path.read_bytes()
        for share in range(1, 20):
            path.write_bytes(content[: len(content) * share // 20])
            with pytest.raises(CheckpointError, match=r"download it again|short"):
                load_weights(path)

    def test_text_and_noise(self, tmp_path: Path) -> None:
        path = tmp_path / "n.pth"
        for content in (b"not found: 404 page\n" * 9, bytes(range(256)) * 20):
            path.write_bytes(content)
            with pytest.raises(CheckpointError, match="not a weights file"):
                load_weights(path)

    @pytest.mark.parametrize("is_zip", [True, False])
    def test_code_is_never_run(self, tmp_path: Path, is_zip: bool) -> None:
        marker, path = tmp_path / "ran", tmp_path / "evil.pth"

        class Evil:
            def __reduce__(self) -> tuple[object, tuple[object, ...]]:
                return (Path.touch, (marker,))

        if is_zip:
            torch.save({"conv_u.weight": Evil()}, path)
        else:
            path.write_bytes(pickle.dumps({"conv_u.weight": Evil(), "padding": "x" * 99}))
        with pytest.raises(CheckpointError, match=r"could run code|not a weights file"):
            load_weights(path)
        assert not marker.exists()


def test_shipped_weights_load_from_another_folder(tmp_path: Path) -> None:
    assert default_weights_path().is_file()
    program = (
        "from fnetcli.checkpoints.loading import load_weights\n"
        "loaded = load_weights()\nprint(loaded.name, loaded.layout)"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert output.stdout.split() == ["fnet.safetensors", "fnet"]
