"""A step of hatchling's: compile the kernels of a platform wheel.

`FNET_WHEEL=x86_64` or `aarch64` asks for it; without, the wheel is pure. g++ compiles for this
machine's own architecture, and Zig (the package ziglang) for the other.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("fnetcli/engine/executors/fnet")
SWITCH = "FNET_WHEEL"
# The oldest C library that the kernels run with; `auditwheel show` checks it.
PLATFORMS = {"x86_64": "manylinux_2_31_x86_64", "aarch64": "manylinux_2_17_aarch64"}


class KernelsHook(BuildHookInterface[Any]):
    """Adds the kernels to a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and name the platform."""
        machine = os.environ.get(SWITCH)
        if not machine or version == "editable":
            return
        if machine not in PLATFORMS:
            raise ValueError(f"{SWITCH}={machine}: {' or '.join(PLATFORMS)}")
        self._made = tempfile.TemporaryDirectory(prefix="fnet-kernels-")
        kernels = _described(Path(self.root))
        for family in kernels.FAMILIES[machine]:
            library = Path(self._made.name) / f"{family}.so"
            command = [*_compiler(machine), *kernels.FLAGS, *_tuning(machine, family)]
            subprocess.run([*command, str(kernels.SOURCE), "-o", str(library)], check=True)
            build_data["force_include"][str(library)] = str(FOLDER / "kernels" / library.name)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{PLATFORMS[machine]}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled."""
        del version, build_data, artifact_path
        if hasattr(self, "_made"):
            self._made.cleanup()


def _described(root: Path) -> ModuleType:
    """Return the module that describes the kernels, without importing fnetcli."""
    spec = importlib.util.spec_from_file_location("kernels", root / FOLDER / "kernels.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(root / FOLDER / "kernels.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _compiler(machine: str) -> list[str]:
    if machine == platform.machine():
        return [os.environ.get("CXX", "g++"), "-s"]
    target = f"{machine}-linux-gnu.2.17"
    return [sys.executable, "-m", "ziglang", "c++", "-target", target, "-s"]


def _tuning(machine: str, family: str) -> list[str]:
    if machine == platform.machine():
        return [f"-march={family}"]
    names = {"x86-64-v2": "x86_64_v2", "x86-64-v3": "x86_64_v3", "x86-64-v4": "x86_64_v4"}
    return [f"-mcpu={names.get(family, 'generic')}"]
