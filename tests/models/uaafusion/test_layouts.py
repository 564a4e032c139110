"""The published layout: every key, what may be missing, what may be extra."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fnetcli.models.uaafusion import layouts
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


def test_there_and_back() -> None:
    network, tensors = published()
    assert layouts.published_config(tensors) == SMALLER
    found = layouts.convert_published(tensors, network.state_dict())
    for key, tensor in network.state_dict().items():
        assert found[key] is tensors[layouts.published_keys([key])[key]]
        torch.testing.assert_close(found[key], tensor, rtol=0, atol=0)


def test_published_counts() -> None:
    """246 tensors of the fusion network, 329 of S: with the unused ones and the counters."""
    _, tensors = published(UAAFusionConfig(**RULES))
    assert sum(key.startswith("model_f.") for key in tensors) == 246
    assert sum(key.startswith("model_s.") for key in tensors) == 329


def test_recognised_by_content() -> None:
    _, tensors = published()
    content = {
        part: {k.removeprefix(f"{part}."): v for k, v in tensors.items() if k.startswith(part)}
        for part in ("model_f", "model_s")
    }
    assert layouts.is_published(content)
    assert layouts.flatten(content) == tensors
    assert not layouts.is_published({"model_f": {}, "model_s": {}})
    assert not layouts.is_published({"model_f": torch.zeros(1)})


@pytest.mark.parametrize(
    "key",
    [
        "model_f.alpha",
        "model_f.blockflow.1.lstm.conv_hf.weight",
        "model_s.cat_conv.1.running_var",
    ],
)
def test_a_missing_tensor_is_named(key: str) -> None:
    network, tensors = published()
    del tensors[key]
    with pytest.raises(ValueError, match=f"1 tensors missing, first '{key}'"):
        layouts.convert_published(tensors, network.state_dict())


@pytest.mark.parametrize(
    ("key", "tensor"),
    [
        ("model_f.blockflow.0.conv7.weight", torch.zeros(1)),
        ("model_f.num_batches_tracked", torch.tensor(1)),
        ("model_s.cat_conv.1.num_batches_tracked", torch.zeros(3, dtype=torch.int64)),
        ("model_s.cat_conv.1.num_batches_tracked", torch.tensor(1.5)),
    ],
)
def test_an_extra_tensor_is_named(key: str, tensor: Tensor) -> None:
    network, tensors = published()
    tensors[key] = tensor
    with pytest.raises(ValueError, match=f"1 unexpected tensors, first '{key}'"):
        layouts.convert_published(tensors, network.state_dict())


def test_unused_tensors_may_be_absent() -> None:
    network, tensors = published()
    for key in layouts.unused_keys(SMALLER):
        del tensors[key]
    assert layouts.convert_published(tensors, network.state_dict()).keys() == {
        *network.state_dict()
    }
