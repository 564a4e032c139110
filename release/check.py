"""Check a release: `python release/check.py dist`; RELEASING.md says what it does."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

from build import ROOT, build, show

from fnetcli.engine.executors.fnet import COMPILED

MACHINES = ("x86_64", "aarch64")
PAIR = ("--vis", "{pair}/vis.png", "--ir", "{pair}/ir.png")
DEMO = ("fuse", *PAIR, "-o", "out", "-v")
SMOKE = (  # with the compiled kernel, and with torch (FNET_NATIVE=0)
    (True, ("--version",)),
    (True, ("inspect", *PAIR, "-o", "look")),
    (True, ("eval", *PAIR, "--fused", "out/fused/vis.png", "--weights", "fnet", "--baselines")),
    (False, ("fuse", *PAIR, "-o", "torch")),
    (False, ("inspect", "--weights", "fnet", "--json", "-")),
)


def problems() -> list[str]:
    """Return what is missing before a version can be released."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    found = []
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    if not cited or cited[1].strip() != version:
        found.append(f"CITATION.cff: version is not {version}, that of pyproject.toml")
    changes = (ROOT / "CHANGELOG.md").read_text()
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changes, re.MULTILINE):
        found.append(f"CHANGELOG.md: no entry '## [{version}] - YYYY-MM-DD'")
    code = "\n".join(path.read_text() for path in (ROOT / "fnetcli").rglob("*.py"))
    if f'"{version}"' in code:
        found.append(f"fnetcli: holds the version '{version}'; ask importlib.metadata for it")
    return found


def install_and_try(python: str, package: Path, *, has_compiler: bool) -> str:
    """Install into a fresh environment, run demo and smoke test; return how it was computed."""
    with tempfile.TemporaryDirectory(prefix="fnet-release-") as text:
        folder = Path(text)
        subprocess.run([python, "-m", "venv", str(folder / "venv")], check=True)
        command = folder / "venv" / "bin"
        install = [command / "python", "-m", "pip", "install", "--quiet", "--no-compile"]
        constraint = ["--constraint", ROOT / "constraints.txt"]
        subprocess.run([*install, *constraint, package], check=True)
        environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
        if not has_compiler:
            environment["PATH"] = "/nowhere"

        def fnet(words: Sequence[str], **more: str) -> str:
            pair = str(ROOT / "examples" / "night-street")
            done = subprocess.run(
                [command / "fnet", *(one.format(pair=pair) for one in words)],
                check=False,
                cwd=folder,
                env={**environment, **more},
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise RuntimeError(f"{package.name}: fnet {words[0]} failed: {done.stderr}")
            return done.stderr

        found = re.search(r"network: (.+)", fnet(DEMO))
        for is_native, words in SMOKE:
            fnet(words, **({} if is_native else {"FNET_NATIVE": "0"}))
        for name in ("out", "torch"):
            if not (folder / name / "fused" / "vis.png").is_file():
                raise FileNotFoundError(f"{package.name}: no fused picture in {name}")
        return found[1] if found else "?"


def is_compiled(how: str) -> bool:
    """Return whether `fnet fuse -v` names the kernel as what computed."""
    return how.startswith(COMPILED)


def main() -> int:
    """Build, inspect, install and run everything; return 1 if something is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pythons", default="python3.11 python3.12 python3.13 python3.14")
    options = parser.parse_args()
    wrong = problems()
    for one in wrong:
        print(f"{one} (needed for a release; checking the rest)", flush=True)
    folder = options.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    build(folder, "sdist", "wheel")
    for machine in MACHINES:
        build(folder, "wheel", machine=machine)
    for wheel in sorted(folder.glob("*linux*.whl")):
        print(f"{wheel.name}: {show(wheel)}")
    here = [
        *((path, True) for path in sorted(folder.glob("*.tar.gz"))),
        *((path, True) for path in sorted(folder.glob("*-any.whl"))),
        *((path, False) for path in sorted(folder.glob(f"*linux*{os.uname().machine}.whl"))),
    ]
    found = [path for name in options.pythons.split() if (path := shutil.which(name))]
    for name in options.pythons.split():
        if not shutil.which(name):
            print(f"{name}: not found here, not checked")
    for python in found:
        for package, has_compiler in here:
            start = time.monotonic()
            how = install_and_try(python, package, has_compiler=has_compiler)
            spent = time.monotonic() - start
            print(f"{Path(python).name}, {package.name}: {how}; {spent:.0f} s", flush=True)
            if not is_compiled(how):
                wrong.append(f"{package.name} in {Path(python).name}: no kernel, but {how}")
    print("\n".join(wrong) or "Ready to be released")
    return 1 if wrong or not found else 0


if __name__ == "__main__":
    sys.exit(main())
