"""Build the source distribution and all wheels: `python release/build.py dist`."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MACHINES = ("x86_64", "aarch64")


def build(folder: Path, *targets: str, machine: str = "") -> None:
    """Build with hatchling in this environment; `machine` asks for kernels in the wheel."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    for target in targets:
        command += ["-t", target]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "FNET_WHEEL": machine})


def show(wheel: Path) -> str:
    """Return the platform that auditwheel finds a wheel to fit; raise ValueError for another."""
    command = [sys.executable, "-m", "auditwheel", "show", str(wheel)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    claimed = wheel.stem.split("-")[-1]
    if claimed not in told:
        raise ValueError(f"{wheel.name}: auditwheel says otherwise:\n{told}")
    return " ".join(told.split())


def main() -> None:
    """Build all that this machine can build."""
    folder = Path(sys.argv[1]).resolve()
    build(folder, "sdist", "wheel")
    machines = [one for one in MACHINES if platform.system() == "Linux"]
    for machine in machines:
        build(folder, "wheel", machine=machine)
    for wheel in sorted(folder.glob("*linux*.whl")):
        print(f"{wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB: {show(wheel)}")


if __name__ == "__main__":
    main()
