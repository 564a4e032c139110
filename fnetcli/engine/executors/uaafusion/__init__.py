"""The executor of UAAFusion: what S decides from a reduced image, convolutions in tiles."""

from __future__ import annotations

from collections.abc import Callable

from fnetcli.engine.device import Device
from fnetcli.engine.executors.base import Executor
from fnetcli.engine.options import Precision
from fnetcli.models.base import Network
from fnetcli.models.uaafusion.config import UAAFusionConfig


def choose_uaafusion(
    network: Network[UAAFusionConfig],
    device: Device,
    _: Precision,
    on_notice: Callable[[str], None],
) -> tuple[Executor, str]:
    """Return what runs it here, and a few words about it."""
    from fnetcli.engine.executors.uaafusion.executors import Setting, Whole

    del on_notice
    return Whole(Setting(network, device)), (
        "torch" if device.kind == "cpu" else f"torch on {device.kind}"
    )
