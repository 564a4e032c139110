"""Every path of CDDFuse against a slow program in float64 that knows the equations only.

The weights are seeded, so everybody runs these checks; the slow program itself is held against the
authors' numbers where they are at hand.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fnetcli.engine import Engine
from fnetcli.models.base import Wanted
from fnetcli.models.cddfuse.config import CDDFuseConfig, Skip
from tests.drawn_pictures import smooth_noise
from tests.models.cddfuse.published import load_network, load_numbers, needs_reference
from tests.models.cddfuse.slow import Array, CDDFuse
from tests.small_cddfuse import NAMES, SMALL, small_module, small_network

UNEVEN = CDDFuseConfig(
    dim=12, heads=3, encoder_blocks=2, decoder_blocks=1, expansion=3, base_expansion=2,
    couplings=2, fuse_couplings=1, skip="none",
)  # fmt: skip


def pictures(height: int, width: int) -> tuple[Array, Array]:
    first, second = (smooth_noise(height, width, seed) / 255 for seed in (3, 4))
    return first.astype(np.float64), second.astype(np.float64)


def chosen(skip: Skip, first: Array, second: Array) -> Array | None:
    return {"first": first, "second": second, "sum": first + second, "none": None}[skip]


@pytest.mark.parametrize("config", [SMALL, UNEVEN])
def test_the_module_in_float64(config: CDDFuseConfig) -> None:
    network = small_module(config).double()
    first, second = pictures(13, 17)
    slow = CDDFuse(small_network(config).arrays, config.heads)
    expected = slow.fuse(first, second, chosen(config.skip, first, second))
    given = (torch.from_numpy(one)[None, None] for one in (first, second))
    found = network(*given, Wanted(features=True))
    np.testing.assert_allclose(found.fused[0, 0], expected["fused"], rtol=0, atol=1e-12)
    for name in NAMES:
        np.testing.assert_allclose(found.features[name][0], expected[name], rtol=0, atol=1e-11)


def test_the_engine_in_float32() -> None:
    first, second = pictures(40, 45)
    network = small_network()
    expected = CDDFuse(network.arrays, SMALL.heads).fuse(first, second, second)
    found = Engine(network).run(first.astype(np.float32)[None], second.astype(np.float32)[None])
    assert found.whole is not None
    np.testing.assert_allclose(found.whole[0], expected["fused"], rtol=0, atol=3e-6)


@needs_reference
def test_the_slow_program_gives_the_authors_numbers() -> None:
    numbers = load_numbers("io")
    network = load_network()
    slow = CDDFuse({name: one.numpy() for name, one in network.state_dict().items()}, 8)
    vis, ir = (numbers[f"b_{name}"][0, 0].astype(np.float64) for name in ("vis", "ir"))
    found = slow.fuse(ir, vis, vis)
    np.testing.assert_allclose(found["fused"], numbers["b_fused_skip_vis"][0, 0], atol=1e-6)
    for kind in ("base", "detail"):
        for side, name in (("ir", "first"), ("vis", "second")):
            theirs = numbers[f"b_{kind}_{side}"][0]
            np.testing.assert_allclose(found[f"{kind}_{name}"], theirs, rtol=0, atol=2e-5)
