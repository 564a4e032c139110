"""How much memory is free, on this machine or in this container."""

from __future__ import annotations

from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")  # where a container's limit stands
CGROUP_FILES = (  # limit, use, and what of that gives way (in memory.stat): versions 2 and 1
    ("memory.max", "memory.current", ("inactive_file", "slab_reclaimable")),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", ("total_inactive_file",)),
)


def free_memory() -> int:
    """Return the bytes that are free on this machine, or in this container where it has a limit."""
    free = int(psutil.virtual_memory().available)
    return min([free, *(left for files in CGROUP_FILES if (left := _left(*files)) is not None)])


def _left(limit: str, used: str, reclaimable: tuple[str, ...]) -> int | None:
    """Return what a container may still take, or None where it has no limit.

    What it uses holds copies of files, too, which give way to whoever needs memory.
    """
    try:
        most = int((CGROUP / limit).read_text())  # or the word max
        taken = int((CGROUP / used).read_text())
        counts = dict(line.split() for line in _lines((CGROUP / limit).with_name("memory.stat")))
        return max(0, most - taken + sum(int(counts.get(name, 0)) for name in reclaimable))
    except (OSError, ValueError):
        return None


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []
