"""Every path of UAAFusion against a slow program in float64 that knows the equations only.

The weights are seeded, so everybody runs these checks; the slow program itself is held against the
authors' numbers where they are at hand.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from fnetcli.checkpoints.loading import load_weights
from fnetcli.engine import Engine
from fnetcli.models.base import Wanted
from fnetcli.models.torch_arrays import at_rest
from fnetcli.models.uaafusion import UAAFUSION
from fnetcli.models.uaafusion.config import UAAFusionConfig
from fnetcli.models.uaafusion.network import UAAFusion
from tests.drawn_pictures import smooth_noise
from tests.models.uaafusion import slow
from tests.models.uaafusion.networks import TINY, fresh, smooth_segmentation
from tests.paths import SHARED

REFERENCE = SHARED / "reference"
RULES = [
    {},
    {"attention": "raw", "path_rule": "right", "scores": "sigmoid", "data_step": False},
    {"smooth_attention": True, "scores": "sigmoid"},
]


def arrays(module: torch.nn.Module, under: str = "") -> dict[str, slow.Array]:
    """Return the tensors of a module in float64, those whose names begin so without that."""
    state = {name: one.numpy().astype(np.float64) for name, one in module.state_dict().items()}
    return {name.removeprefix(under): one for name, one in state.items() if under in name}


def pictures(height: int, width: int) -> tuple[slow.Array, slow.Array]:
    first, second = (smooth_noise(height, width, seed) / 255 for seed in (3, 4))
    return first.astype(np.float64), second.astype(np.float64)


def small_network(**rules: Any) -> UAAFusion:
    """Return a small network whose running statistics are not those of the start."""
    network = fresh(dataclasses.replace(TINY, **rules))
    with torch.no_grad():
        for name, one in network.named_buffers():
            one.add_(0.3 * torch.rand_like(one) if "running" in name else 0)
    return network.eval().requires_grad_(False)


def slowly(network: UAAFusion) -> slow.UAAFusion:
    own = slow.SmallSegmentation(arrays(network, "segmentation."), network.config.scores)
    return slow.UAAFusion(arrays(network), network.config, own)


@pytest.mark.parametrize("rules", RULES)
def test_the_module_in_float64(rules: dict[str, Any]) -> None:
    network = small_network(**rules).double()
    first, second = pictures(10, 9)
    expected = slowly(network).fuse(first, second)
    given = (torch.from_numpy(one)[None, None] for one in (first, second))
    found = network(*given, Wanted(maps=True))
    np.testing.assert_allclose(found.fused[0, 0], expected["fused"], rtol=0, atol=1e-9)
    for name in ("weight_first", "stage_1", "stage_2"):
        np.testing.assert_allclose(found.maps[name][0, 0], expected[name], rtol=0, atol=1e-9)


def test_the_engine_in_float32() -> None:
    module = small_network()
    first, second = pictures(12, 11)
    expected = slowly(module).fuse(first, second)
    network = at_rest(UAAFUSION, module.config, module)
    found = Engine(network).run(first.astype(np.float32)[None], second.astype(np.float32)[None])
    np.testing.assert_allclose(found.fused[0], expected["fused"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_derivatives_by_hand_are_those_of_complex_steps(scores: str) -> None:
    own = slow.OneConvolution(arrays(smooth_segmentation()), scores)
    image, _ = pictures(6, 7)
    factors = np.random.default_rng(1).random((2, 4, 6, 7))
    expected = slow.Segmentation.pull(own, image, factors)
    np.testing.assert_allclose(own.pull(image, factors), expected, rtol=0, atol=1e-13)


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the authors' numbers are not at hand")
@pytest.mark.parametrize("has_step", [False, True])
def test_the_slow_program_gives_the_authors_numbers(has_step: bool) -> None:
    network = load_weights(REFERENCE / "uaafusion_authors_layout.pth").network
    config = network.config
    assert isinstance(config, UAAFusionConfig)
    if has_step:
        config = dataclasses.replace(config, data_step=True, attention="rms")
    with np.load(REFERENCE / "uaafusion_authors_io.npz") as stored:
        numbers = {name: one for name, one in stored.items() if name[:2] in {"a_", "ti"}}
    small = {key: numbers[f"tiny_{name}"] for key, name in (("weight", "kernel"), ("bias", "bias"))}
    own = slow.OneConvolution(
        {name: one.astype(np.float64) for name, one in small.items()}, config.scores
    )
    theirs = {name: np.asarray(one, np.float64) for name, one in network.arrays.items()}
    program = slow.UAAFusion(theirs, config, own)
    ir, vis = (numbers[f"a_{name}"].astype(np.float64) for name in ("ir", "vis"))
    mask = (numbers["a_label"] == np.arange(config.classes)[:, None, None]).astype(np.float64)
    for name, image in (("ir", ir), ("vis", vis)):
        wanted = numbers[f"tiny_attribution_{name}"]
        np.testing.assert_allclose(program.attribution(image, mask), wanted, rtol=1e-4, atol=1e-9)
    weight = program.weigh(ir, vis, mask)
    np.testing.assert_allclose(weight, numbers["tiny_weight_ir"], rtol=0, atol=1e-5)
    estimates, attentions = program.stages(ir, vis, weight, mask)
    if has_step:
        np.testing.assert_allclose(estimates, numbers["tiny_step_rms_stages"], rtol=0, atol=2e-5)
    else:
        np.testing.assert_allclose(estimates[-1], numbers["tiny_fused"], rtol=0, atol=2e-5)
        wanted = numbers["tiny_attention"]
        np.testing.assert_allclose(attentions, wanted, rtol=0, atol=1e-3 * abs(wanted).max())
