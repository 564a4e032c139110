"""CDDFuse networks that take no time, with random numbers, and weights files of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fnetcli.checkpoints.loading import save_weights
from fnetcli.models.base import Network
from fnetcli.models.cddfuse import CDDFUSE
from fnetcli.models.cddfuse.config import CDDFuseConfig
from fnetcli.models.cddfuse.network import CDDFuse
from fnetcli.models.torch_arrays import at_rest

SMALL = CDDFuseConfig(
    dim=8, heads=2, encoder_blocks=1, decoder_blocks=1, couplings=1, fuse_couplings=1
)
NAMES = ("base_first", "base_second", "detail_first", "detail_second")


def small_module(config: CDDFuseConfig = SMALL) -> CDDFuse:
    """Return a network whose attention matters: its temperatures are high."""
    torch.manual_seed(0)
    module = CDDFuse(config).eval().requires_grad_(False)
    for name, parameter in module.named_parameters():
        if name.endswith("temperature"):
            parameter.fill_(4)
        elif "norm" not in name:
            parameter.mul_(1.5)
    return module


def small_network(config: CDDFuseConfig = SMALL) -> Network[CDDFuseConfig]:
    """Return the same at rest."""
    return at_rest(CDDFUSE, config, small_module(config))


def save(
    folder: Path,
    change: Callable[[CDDFuse], object] = lambda _: None,
    config: CDDFuseConfig = SMALL,
    **metadata: Any,
) -> Path:
    """Write weights of such a network, changed first, and return their path."""
    module, path = small_module(config), folder / "small.safetensors"
    change(module)
    save_weights(path, at_rest(CDDFUSE, config, module), metadata)
    return path
