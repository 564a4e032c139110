"""The memory budget of a network."""

from __future__ import annotations

from fnetcli.engine.device import Device
from fnetcli.memory import free_memory

MOST = 1 << 30  # bytes of a tile on a CPU by default: larger tiles gain nothing
SHARE = 0.5  # of the free memory on a CPU; the images themselves need some, too
SHARE_OF_DEVICE = 0.8  # of the free memory on a GPU


def budget(device: Device, *, takes_all: bool = False) -> int:
    """Return the bytes that the network may use on a device by default.

    On a CPU at most MOST, since larger tiles gain nothing, unless it `takes_all` free memory.
    """
    if device.kind == "cuda":
        import torch

        place = torch.device(str(device))  # `in_torch` would switch TF32 off within a run
        free, _ = torch.cuda.mem_get_info(place)
        # what torch keeps of earlier images counts as used there, but is at hand
        kept = torch.cuda.memory_reserved(place) - torch.cuda.memory_allocated(place)
        return int((free + kept) * SHARE_OF_DEVICE)
    share = int(free_memory() * SHARE)
    return share if takes_all else min(MOST, share)
