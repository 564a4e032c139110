"""Count the cores that this process may use, of the machine or its container; limit its threads."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")  # holds a container's quota
OWN_GROUP = Path("/proc/self/cgroup")
THREADS = "OMP_NUM_THREADS"


def usable_cores() -> int:
    """Return how many logical cores there are, within affinity and quota; at least 1."""
    allowed = _allowed() or os.cpu_count() or 1
    return min(allowed, core_quota() or allowed)


def core_quota() -> int | None:
    """Return how many cores' time a container may use, rounded up, or None without a limit."""
    quotas = [quota for folder in _groups() if (quota := _quota(folder)) is not None]
    return max(1, math.ceil(min(quotas))) if quotas else None


def limit_threads(count: int) -> None:
    """Compute with this many threads, here and in processes that this one starts.

    Libraries that are imported later read it; torch is told if it is there already.
    """
    os.environ[THREADS] = str(count)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)


def _allowed() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _groups() -> Iterator[Path]:
    """Yield the folders of the groups that this process is in, in both versions of cgroups."""
    yield CGROUP
    yield CGROUP / "cpu"
    try:
        lines = OWN_GROUP.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers or "cpu" in controllers.split(","):
            group = (CGROUP / controllers.partition(",")[0]) / path.strip("/")
            while group != CGROUP and CGROUP in group.parents:
                yield group
                group = group.parent


def _quota(folder: Path) -> float | None:
    """Return the cores' time that one group may use: version 2, else version 1."""
    try:
        if (folder / "cpu.max").is_file():
            most, period = (folder / "cpu.max").read_text().split()
        else:
            most = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        quota = int(most) / int(period)  # most may be the word max, or -1
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return quota if quota > 0 else None
