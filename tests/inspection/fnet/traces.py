"""Small networks and pairs to look into."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fnetcli.engine import Engine, Maps
from fnetcli.inspection.fnet.trace import PairTrace, TraceOptions, trace_pair
from fnetcli.models.base import Network
from fnetcli.models.fnet.config import FNetConfig
from fnetcli.models.fnet.network import FNet
from tests.engine.pictures import example_pair
from tests.networks import resting


def small_module(**config: Any) -> FNet:
    """Return a network whose codes stay below about 1, as a trained one's do."""
    torch.manual_seed(0)
    network = FNet(FNetConfig(**{"atoms": 5, "kernel_size": 5, "iterations": 3} | config))
    for weight in network.parameters():
        if weight.dim() == 4:
            weight.data *= 0.5
    return network.requires_grad_(False)


def small_network(**config: Any) -> Network[FNetConfig]:
    """Return it at rest."""
    return resting(small_module(**config))


def small_pair(height: int = 40, width: int = 52) -> tuple[Maps, Maps]:
    first, second = example_pair(height, width)
    return np.ascontiguousarray(first[0, 0].numpy()), np.ascontiguousarray(second[0, 0].numpy())


def small_trace(options: TraceOptions | None = None, **config: Any) -> PairTrace:
    return trace_pair(Engine(small_network(**config)), *small_pair(), options)
