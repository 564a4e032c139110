"""How much memory there is to work in."""

from __future__ import annotations

from fnetcli.engine.device import Device
from fnetcli.memory import free_memory

MOST = 1 << 30  # bytes that a tile takes on a CPU unless told otherwise: larger ones gain nothing
SHARE = 0.5  # of the memory that is free on a CPU; the images around the network need some too
SHARE_OF_DEVICE = 0.8  # of what is free on a GPU


def budget(device: Device) -> int:
    """Return the bytes that the network may take on a device by itself."""
    if device.kind == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info(device.in_torch())
        return int(free * SHARE_OF_DEVICE)
    return min(MOST, int(free_memory() * SHARE))
