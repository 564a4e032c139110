"""CDDFuse layer by layer: whole images in bounded memory, exact; tiles of larger ones."""

from __future__ import annotations

from collections.abc import Callable

from fnetcli.engine.device import Device
from fnetcli.engine.executors.base import Executor
from fnetcli.engine.options import Precision
from fnetcli.models.base import Network
from fnetcli.models.cddfuse.config import CDDFuseConfig


def choose_cddfuse(
    network: Network[CDDFuseConfig],
    device: Device,
    precision: Precision,
    on_notice: Callable[[str], None],
) -> tuple[Executor, str]:
    """Return the path that is exact and fast; what takes less memory hangs on it."""
    del on_notice
    from fnetcli.engine.executors.cddfuse.bands import Banded, Lean
    from fnetcli.engine.executors.cddfuse.executors import Exact, Setting, Tiles

    setting = Setting(network, device, is_rounded=precision == "bf16")
    lean = Exact(setting, Lean, Tiles(setting))
    words = "torch, layer by layer"
    return Exact(
        setting, Banded, lean
    ), words if device.kind == "cpu" else f"{words} on {device.kind}"
