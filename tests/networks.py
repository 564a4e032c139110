"""Networks as tests make them: torch modules, which rest before anybody runs them."""

from __future__ import annotations

import torch
from torch import Tensor

from fnetcli.engine import Engine, EngineOptions, Fusion, Maps
from fnetcli.models.base import Network
from fnetcli.models.fnet import FNET
from fnetcli.models.fnet.config import FNetConfig
from fnetcli.models.fnet.network import Codes, FNet, Parts
from fnetcli.models.torch_arrays import at_rest


def resting(network: FNet) -> Network[FNetConfig]:
    """Return the network that a module holds; they share memory."""
    return at_rest(FNET, network.config, network)


def at_work(network: Network[FNetConfig]) -> FNet:
    """Return a network at rest as the module of its equations."""
    module = network.at_work()
    assert isinstance(module, FNet)
    return module


def engine_of(network: FNet, options: EngineOptions | None = None) -> Engine:
    """Return an engine that runs the network of a module on the CPU."""
    return Engine(resting(network), options=options)


def fusion_of(unique_first: Maps, unique_second: Maps, common: Maps) -> Fusion[Maps]:
    """Return what an FNet would have made of a pair, had these been its parts."""
    return Fusion(None, dict(zip(FNET.parts, (unique_first, unique_second, common), strict=True)))


def plainly(network: FNet, x: Tensor, y: Tensor) -> tuple[Parts, Codes]:
    """Return parts and codes of images (N, 1, H, W) as the equations have them."""
    with torch.inference_mode():
        codes = network.separate(x, y)
        return network.combine(codes), codes
