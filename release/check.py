"""Check a release: `python release/check.py dist`; RELEASING.md says what it does."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from build import ROOT, build, show

MACHINES = ("x86_64", "aarch64")
SMOKE = ("fuse", "--vis", "{pair}/vis.png", "--ir", "{pair}/ir.png", "-o", "out", "-v")


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


def install_and_fuse(python: str, package: Path, *, has_compiler: bool) -> str:
    """Install into a fresh environment, fuse the example pair, and return how it was computed."""
    with tempfile.TemporaryDirectory(prefix="fnet-release-") as text:
        folder = Path(text)
        subprocess.run([python, "-m", "venv", str(folder / "venv")], check=True)
        command = folder / "venv" / "bin"
        install = [command / "python", "-m", "pip", "install", "--quiet", "--constraint"]
        subprocess.run([*install, ROOT / "constraints.txt", package], check=True)
        pair = str(ROOT / "examples" / "night-street")
        words = [one.format(pair=pair) for one in SMOKE]
        environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
        if not has_compiler:
            environment["PATH"] = "/nowhere"
        done = subprocess.run(
            [command / "fnet", *words],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        if not (folder / "out" / "fused" / "vis.png").is_file():
            raise FileNotFoundError(f"{package.name}: no fused picture; {done.stderr}")
        found = re.search(r"network: (.+)", done.stderr)
        return found[1] if found else "?"


def main() -> int:
    """Build, inspect, install and run everything; return 1 if something is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pythons", default="python3.11 python3.12 python3.13 python3.14")
    options = parser.parse_args()
    wrong = problems()
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
            how = install_and_fuse(python, package, has_compiler=has_compiler)
            print(f"{Path(python).name}, {package.name}: {how}", flush=True)
            if how.split(",")[0] != "compiled":
                wrong.append(f"{package.name} in {Path(python).name}: no kernel, but {how}")
    print("\n".join(wrong) or "Ready to be released")
    return 1 if wrong or not found else 0


if __name__ == "__main__":
    sys.exit(main())
