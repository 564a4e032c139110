"""The executors of each model, by its name: its own fast ones, else plain torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fnetcli.engine.device import Device
from fnetcli.engine.executors.base import Executor
from fnetcli.engine.executors.cddfuse import choose_cddfuse
from fnetcli.engine.executors.fnet import choose_fnet
from fnetcli.engine.executors.uaafusion import choose_uaafusion
from fnetcli.engine.options import Precision
from fnetcli.models.base import Network

# Return the fastest executor that runs here, and a few words about it. `on_notice` is told about
# slow steps.
Choose = Callable[[Network[Any], Device, Precision, Callable[[str], None]], tuple[Executor, str]]

EXECUTORS: dict[str, Choose] = {
    "fnet": choose_fnet,
    "cddfuse": choose_cddfuse,
    "uaafusion": choose_uaafusion,
}


ROUNDED = {"fnet", "cddfuse"}  # whose executors multiply in bfloat16 if they are told to


def choose_executor(
    network: Network[Any], device: Device, precision: Precision, on_notice: Callable[[str], None]
) -> tuple[Executor, str]:
    """Return the executor of a network on a device, and a few words about it."""
    return EXECUTORS.get(network.spec.name, _choose_plain)(network, device, precision, on_notice)


def _choose_plain(
    network: Network[Any], device: Device, _: Precision, on_notice: Callable[[str], None]
) -> tuple[Executor, str]:
    del on_notice
    from fnetcli.engine.executors.plain import Plain

    return Plain(network, device), "torch" if device.kind == "cpu" else f"torch on {device.kind}"
