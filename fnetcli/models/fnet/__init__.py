"""FNet: l0-regularised sparse coding (arXiv 2411.04519)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from fnetcli.models.base import Arrays, ModelSpec, Network
from fnetcli.models.fnet.blocks import BLOCKS, Block, blocks_of, shapes
from fnetcli.models.fnet.config import FNetConfig, IFNetConfig
from fnetcli.models.fnet.layouts import PUBLISHED

if TYPE_CHECKING:
    from fnetcli.models.fnet.network import FNet, IFNet


LARGEST = float(np.finfo(np.float32).max)


def _build(config: FNetConfig, arrays: Arrays) -> FNet:
    from fnetcli.models.fnet.network import FNet
    from fnetcli.models.torch_arrays import module_with

    return module_with(lambda: FNet(config), arrays)


def _build_inverse(config: IFNetConfig, arrays: Arrays) -> IFNet:
    from fnetcli.models.fnet.network import IFNet
    from fnetcli.models.torch_arrays import module_with

    return module_with(lambda: IFNet(config), arrays)


def _inverse_shapes(config: IFNetConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    from fnetcli.models.fnet.network import IFNet
    from fnetcli.models.torch_arrays import module_shapes

    return module_shapes(lambda: IFNet(config))


def _check(network: Network[FNetConfig]) -> None:
    """Raise ValueError if thresholds or momenta overflow float32: every code would be NaN."""
    for letter, block in _blocks(network):
        schedules = {"thresholds": block.theta, "momenta": block.rho[1:]}
        for name, values in schedules.items():
            if not all(abs(value) <= LARGEST for value in values):  # NaN is not
                raise ValueError(f"{name} of block {letter} are not finite numbers")


def _notices(network: Network[FNetConfig]) -> list[str]:
    """Return whether thresholds do not fall, or momenta do not rise, with k (eq. 20, 21)."""
    found = []
    for letter, block in _blocks(network):
        if block.theta[-1] >= block.theta[0]:
            found.append(f"thresholds of block {letter} do not fall with k")
        has_several = block.last > 1 and network.config.momentum != "none"
        if has_several and block.rho[-1] <= block.rho[1]:
            found.append(f"momentum of block {letter} does not rise with k")
    return found


def _blocks(network: Network[FNetConfig]) -> list[tuple[str, Block]]:
    blocks = blocks_of(network)
    return list(zip(BLOCKS, (blocks.u, blocks.v, blocks.z), strict=True))


FNET = ModelSpec(
    name="fnet",
    title="FNet: l0-regularised convolutional sparse coding",
    config=FNetConfig,
    shapes=shapes,
    build=_build,
    mark="encode_u.w_theta",
    parts=("unique_first", "unique_second", "common"),
    features=lambda config: dict.fromkeys(BLOCKS, config.atoms),
    layouts=(PUBLISHED,),
    check=_check,
    notices=_notices,
)

IFNET = ModelSpec(
    name="ifnet",
    title="IFNet: inverse fusion, both sources from a fused picture",
    config=IFNetConfig,
    shapes=_inverse_shapes,
    build=_build_inverse,
    mark="reconstruct_first.weight",
    maps=lambda _: ("recovered_first", "recovered_second"),
)
