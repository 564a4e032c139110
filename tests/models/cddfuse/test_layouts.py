"""The published layout: recognised, read strictly, and the shape of the network read off it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fnetcli.models.cddfuse.config import CDDFuseConfig
from fnetcli.models.cddfuse.layouts import (
    DETAIL_FUSION,
    ENCODER,
    PARTS,
    from_published,
    is_published,
    published_keys,
)
from fnetcli.models.cddfuse.network import CDDFuse
from tests.models.cddfuse.published import load_parts, needs_reference

SMALL = CDDFuseConfig(
    dim=12, heads=3, encoder_blocks=2, decoder_blocks=1, expansion=3, base_expansion=2,
    couplings=2, fuse_couplings=2, skip="none",
)  # fmt: skip


def publish(network: CDDFuse, prefix: str = "") -> dict[str, dict[str, Any]]:
    """Write a network in the published layout."""
    parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    state = network.state_dict()
    for ours, key in published_keys(network.config).items():
        is_temperature = ours.endswith("temperature")
        array = state[ours].reshape(-1, 1, 1) if is_temperature else state[ours]
        parts[key.part][prefix + key.name] = array
    return parts


@needs_reference
def test_reads_the_published_layout() -> None:
    parts = load_parts()
    assert is_published(parts)
    config, state = from_published(parts)
    assert config == CDDFuseConfig()
    assert len(state) == 158
    CDDFuse(config).load_state_dict(state)


@pytest.mark.parametrize("prefix", ["", "module.", "module.module."])
@pytest.mark.parametrize("as_numpy", [False, True])
def test_what_is_published_comes_back(prefix: str, as_numpy: bool) -> None:
    torch.manual_seed(0)
    network = CDDFuse(SMALL)
    parts: dict[str, Any] = publish(network, prefix)
    if as_numpy:
        parts = {
            part: {name: tensor.numpy() for name, tensor in tensors.items()}
            for part, tensors in parts.items()
        }
    parts["epoch"] = 120  # other entries do not matter
    assert is_published(parts)
    config, state = from_published(parts, "none")
    assert config == SMALL
    assert state.keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        assert torch.equal(torch.as_tensor(state[name]), tensor)


def test_a_flat_state_dict_is_not_published() -> None:
    network = CDDFuse(SMALL)
    assert not is_published(network.state_dict())
    assert not is_published({part: {} for part in PARTS[:3]})
    assert not is_published(dict.fromkeys(PARTS, torch.zeros(1)))


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_tensor_is_named(part: str) -> None:
    parts = publish(CDDFuse(SMALL))
    name = min(name for name in parts[part] if "norm" in name or "bottleneck" in name)
    del parts[part][name]
    with pytest.raises(ValueError, match=part) as error:
        from_published(parts)
    assert name in str(error.value)


@pytest.mark.parametrize("part", PARTS)
def test_a_tensor_too_many_is_named(part: str) -> None:
    parts = publish(CDDFuse(SMALL))
    parts[part]["extra.weight"] = torch.zeros(1)
    with pytest.raises(ValueError, match=f"{part}: 1 unexpected.*extra.weight"):
        from_published(parts)


@pytest.mark.parametrize(
    ("part", "name", "shape"),
    [
        (ENCODER, "patch_embed.proj.weight", ()),
        (ENCODER, "patch_embed.proj.weight", (0, 1, 3, 3)),
        (ENCODER, "patch_embed.proj.weight", (7, 1, 3, 3)),
        (ENCODER, "baseFeature.attn.scale", (5, 1, 1)),
        (ENCODER, "baseFeature.mlp.project_out.weight", (12,)),
        (ENCODER, "encoder_level1.0.ffn.project_out.weight", (12, 37, 1, 1)),
    ],
)
def test_impossible_shapes_are_refused(part: str, name: str, shape: tuple[int, ...]) -> None:
    parts = publish(CDDFuse(SMALL))
    parts[part][name] = torch.zeros(shape)
    with pytest.raises(ValueError, match=r"dim|encoder|Encoder"):
        from_published(parts)


def test_a_number_of_blocks_beyond_reason_is_refused() -> None:
    parts = publish(CDDFuse(SMALL))
    parts[DETAIL_FUSION][f"net.{'9' * 5000}.shffleconv.bias"] = torch.zeros(12)
    with pytest.raises(ValueError, match="fuse_couplings"):
        from_published(parts)
