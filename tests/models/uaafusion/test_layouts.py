"""The published layout: every key, what may be missing, what may be extra."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fnetcli.checkpoints.loading import load_weights
from fnetcli.errors import CheckpointError
from fnetcli.models.uaafusion import UAAFUSION, layouts
from fnetcli.models.uaafusion.config import UAAFusionConfig
from fnetcli.models.uaafusion.network import UAAFusion

RULES = layouts.PUBLISHED_RULES
SMALLER = UAAFusionConfig(stages=3, channels=4, classes=6, **RULES)


def published(config: UAAFusionConfig = SMALLER) -> tuple[UAAFusion, dict[str, Tensor]]:
    """Return a network and its tensors under published keys, with unused ones and counters."""
    torch.manual_seed(2)
    network = UAAFusion(config)
    state = network.state_dict()
    tensors = {theirs: state[ours] for ours, theirs in layouts.published_keys(state).items()}
    tensors |= {key: torch.zeros(1) for key in layouts.unused_keys(config)}
    norms = [key for key in tensors if key.endswith("running_mean")]
    tensors |= {key.replace("running_mean", layouts.COUNTER): torch.tensor(7) for key in norms}
    return network, tensors


def write(path: Path, tensors: dict[str, Tensor]) -> Path:
    """Save tensors as the published program does: two state dicts."""
    content = {
        part: {k.removeprefix(f"{part}."): v for k, v in tensors.items() if k.startswith(part)}
        for part in ("model_f", "model_s")
    }
    torch.save(content, path)
    return path


def test_there_and_back(tmp_path: Path) -> None:
    network, tensors = published()
    loaded = load_weights(write(tmp_path / "a.pth", tensors)).network
    assert loaded.spec is UAAFUSION
    assert loaded.config == SMALLER
    for key, tensor in network.state_dict().items():
        torch.testing.assert_close(torch.from_numpy(loaded.arrays[key]), tensor, rtol=0, atol=0)


def test_published_counts() -> None:
    """246 tensors of the fusion network, 329 of S: with the unused ones and the counters."""
    _, tensors = published(UAAFusionConfig(**RULES))
    assert sum(key.startswith("model_f.") for key in tensors) == 246
    assert sum(key.startswith("model_s.") for key in tensors) == 329


@pytest.mark.parametrize(
    "key",
    [
        "model_f.alpha",
        "model_f.blockflow.1.lstm.conv_hf.weight",
        "model_s.cat_conv.1.running_var",
    ],
)
def test_a_missing_tensor_is_named(tmp_path: Path, key: str) -> None:
    _, tensors = published()
    del tensors[key]
    with pytest.raises(CheckpointError, match=f"1 tensor missing, first '{key}'"):
        load_weights(write(tmp_path / "a.pth", tensors))


@pytest.mark.parametrize("key", ["model_f.blockflow.0.conv7.weight", "model_f.num_batches_tracked"])
def test_an_extra_tensor_is_named(tmp_path: Path, key: str) -> None:
    _, tensors = published()
    tensors[key] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=f"1 unexpected tensor, first '{key}'"):
        load_weights(write(tmp_path / "a.pth", tensors))


def test_unused_tensors_may_be_absent(tmp_path: Path) -> None:
    _, tensors = published()
    for key in layouts.unused_keys(SMALLER):
        del tensors[key]
    assert load_weights(write(tmp_path / "a.pth", tensors)).network.config == SMALLER
