"""Facts of both layouts, and dictionaries that are what the network convolves with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fnetcli.checkpoints.loading import load_weights, save_weights
from fnetcli.inspection.fnet.weights import checkpoint_facts, dictionaries
from fnetcli.models.fnet.layouts import PUBLISHED as PUBLISHED_LAYOUT
from fnetcli.models.fnet.network import FNet
from tests.inspection.fnet.traces import small_module, small_network
from tests.networks import resting

PUBLISHED = Path(__file__).parents[3].parent / "shared" / "reference" / "fnet_authors_layout.pth"


def test_the_shipped_weights() -> None:
    facts = checkpoint_facts(load_weights())
    assert facts.name == "fnet.safetensors"
    assert facts.layout == "fnet"
    assert len(facts.sha256) == 64
    assert facts.parameter_count == sum(facts.parameters.values()) == 419_916
    assert facts.parameters["encode_u"] == 64 * 81 * 19 + 4
    assert facts.multiply_adds == 419_904
    assert facts.reach == 80
    assert facts.config["atoms"] == 64
    assert facts.recipe is not None
    assert facts.notices == []
    for block in facts.blocks.values():
        assert (len(block.theta), len(block.rho)) == (5, 4)
        assert block.thresholds_fall
        assert block.momentum_rises
    assert_json(facts.record())


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="no shared/ folder beside the checkout")
def test_a_published_file() -> None:
    facts = checkpoint_facts(load_weights(PUBLISHED))
    assert (facts.layout, facts.parameter_count, facts.recipe) == ("published", 419_916, None)
    assert_json(facts.record())


def test_the_published_layout(tmp_path: Path) -> None:
    network, tensors = small_network(), small_module().state_dict()
    keys = PUBLISHED_LAYOUT.keys(network.config)
    path = tmp_path / "published.pth"
    torch.save({theirs: tensors[ours] for ours, theirs in keys.items()}, path)
    save_weights(tmp_path / "ours.safetensors", network, {"scores": {"SSIM": 1}, "note": "hello"})
    published = checkpoint_facts(load_weights(path))
    ours = checkpoint_facts(load_weights(tmp_path / "ours.safetensors"))
    assert (published.layout, ours.layout) == ("published", "fnet")
    assert published.blocks == ours.blocks
    assert published.parameters == ours.parameters
    assert (ours.scores, published.scores) == ({"SSIM": 1}, None)
    assert ours.other_metadata["note"] == "hello"


def test_thresholds_that_rise_are_told(tmp_path: Path) -> None:
    network = small_module()
    network.encode_v.w_theta.fill_(0.5)
    network.encode_z.w_rho.fill_(-0.5)
    save_weights(tmp_path / "odd.safetensors", resting(network), {})
    facts = checkpoint_facts(load_weights(tmp_path / "odd.safetensors"))
    assert not facts.blocks["v"].thresholds_fall
    assert facts.blocks["u"].thresholds_fall
    assert facts.blocks["z"].momentum_rises is False
    assert len(facts.notices) == 2


def test_without_momentum_there_is_none_to_rise(tmp_path: Path) -> None:
    save_weights(tmp_path / "plain.safetensors", small_network(momentum="none"), {})
    block = checkpoint_facts(load_weights(tmp_path / "plain.safetensors")).blocks["u"]
    assert (block.rho, block.momentum_rises) == ([], None)


def test_a_single_momentum_neither_rises_nor_falls(tmp_path: Path) -> None:
    save_weights(tmp_path / "short.safetensors", small_network(iterations=1), {})
    facts = checkpoint_facts(load_weights(tmp_path / "short.safetensors"))
    assert facts.notices == []
    for block in facts.blocks.values():
        assert (len(block.rho), block.momentum_rises, block.thresholds_fall) == (1, None, True)


@pytest.mark.parametrize(
    "config", [{}, {"shared_kernels": True}, {"momentum": "none"}, {"iterations": 1}]
)
def test_dictionaries_hold_every_kernel_once(config: dict[str, Any]) -> None:
    network = small_module(**config)
    found = dictionaries(resting(network))
    names = [(one.block, one.symbol, one.channel) for one in found]
    assert len(set(names)) == len(names)
    assert all(one.kernels.shape == (5, 5, 5) for one in found)
    kernels = sum(weight.numel() for weight in network.parameters() if weight.dim() == 4)
    assert sum(one.kernels.size for one in found) == kernels


def test_dictionaries_are_those_of_the_equations() -> None:
    network = small_module()
    found = {(one.block, one.symbol, one.channel): one for one in dictionaries(resting(network))}
    second = network.encode_z.iteration(2)
    analysis, synthesis = found["z", "B'_2", 1], found["z", "C_2", 1]
    assert (analysis.role, synthesis.role) == ("analysis", "synthesis")
    assert np.array_equal(analysis.kernels, second.residual(1).analysis.weight[:, 1].numpy())
    assert np.array_equal(synthesis.kernels, second.residual(0).synthesis.weight[1].numpy())
    assert np.array_equal(found["v", "G_v", 0].kernels, network.reconstruct_v.weight[0].numpy())
    assert np.array_equal(found["u", "A_0", 0].kernels, kernels_of_a0(network))


def kernels_of_a0(network: FNet) -> Any:
    return network.encode_u.iteration(0).encode.weight[:, 0].numpy()


def test_stamps_are_what_one_atom_leaves() -> None:
    network = small_module()
    synthesis = next(one for one in dictionaries(resting(network)) if one.symbol == "G_u")
    code = torch.zeros(1, 5, 5, 5)
    code[0, 3, 2, 2] = 1
    part = network.reconstruct_u(code)[0, 0].numpy()
    np.testing.assert_allclose(synthesis.stamps[3], part, atol=1e-7)


def assert_json(record: dict[str, Any]) -> None:
    assert json.loads(json.dumps(record, allow_nan=False)) == record
