"""Measure the free memory, of this machine or this container."""

from __future__ import annotations

from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")  # holds a container's limit
CGROUP_FILES = (  # limit, use, and the reclaimable part of it (memory.stat): versions 2 and 1
    ("memory.max", "memory.current", ("inactive_file", "slab_reclaimable")),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", ("total_inactive_file",)),
)


def free_memory() -> int:
    """Return the free bytes of this machine, or of this container if it has a limit."""
    free = int(psutil.virtual_memory().available)
    return min([free, *(left for files in CGROUP_FILES if (left := _left(*files)) is not None)])


def _left(limit: str, used: str, reclaimable: tuple[str, ...]) -> int | None:
    """Return the bytes a container may still use, or None if it has no limit.

    Its use includes copies of files, which are dropped when memory is needed.
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
