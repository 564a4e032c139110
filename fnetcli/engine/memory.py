"""How much memory there is to work in."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

MOST = 1 << 30  # bytes that a tile takes on a CPU unless told otherwise: larger ones gain nothing
SHARE = 0.5  # of the memory that is free on a CPU; the images around the network need some too
SHARE_OF_DEVICE = 0.8  # of what is free on a GPU
CGROUP = Path("/sys/fs/cgroup")  # where a container's limit stands


def budget(device: torch.device) -> int:
    """Return the bytes that the network may take on a device by itself."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * SHARE_OF_DEVICE)
    return min(MOST, int(_available() * SHARE))


def _available() -> int:
    """Return the bytes that are free on this machine, or in this container where it has a limit."""
    free = int(psutil.virtual_memory().available)
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return free
    return min(free, max(0, int(limit) - used)) if limit.isdigit() else free
