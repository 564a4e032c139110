"""Kernels that came with the wheel: ``native.cpp`` compiled for families of processors.

A wheel for a platform holds one library for each family in its folder `kernels`; the first that
this processor can run is used. Elsewhere the folder is missing. The build of the wheel reads this
file on its own, so it imports nothing but the standard library.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("native.cpp")
KERNELS = Path(__file__).with_name("kernels")
FLAGS = ("-std=c++20", "-O3", "-fPIC", "-shared", "-pthread", "-fno-math-errno")
PROCESSORS = Path("/proc/cpuinfo")

# What a processor of each family has, as Linux names it; the best first. The levels of x86-64 are
# those of its System V ABI.
_V2 = frozenset({"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"})
_V3 = _V2 | {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"}
_V4 = _V3 | {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"}
FAMILIES = {
    "x86_64": {"x86-64-v4": _V4, "x86-64-v3": _V3, "x86-64-v2": _V2},
    "aarch64": {"armv8-a": frozenset({"asimd"})},
}


def shipped_kernels() -> list[Path]:
    """Return the kernels of this installation that the processor can run, the best first."""
    families = FAMILIES.get(platform.machine(), {}) if sys.platform == "linux" else {}
    try:
        if not families or not KERNELS.is_dir():
            return []
        able = _abilities()
        paths = [KERNELS / f"{name}.so" for name, needed in families.items() if needed <= able]
        return [path for path in paths if path.is_file()]
    except OSError:  # a folder that this user may not look into
        return []


def _abilities() -> set[str]:
    """Return what all processors of this machine have."""
    try:
        text = PROCESSORS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return set()
    lines = [line.partition(":") for line in text.splitlines()]
    sets = [set(words.split()) for name, _, words in lines if name.strip() in {"flags", "Features"}]
    return set.intersection(*sets) if sets else set()
