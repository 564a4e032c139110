"""Where the shipped weights lie."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from fnetcli.errors import CheckpointError


def default_weights_path() -> Path:
    """Return the shipped weights: inside the installed package, or weights/ of a checkout."""
    packaged = Path(str(resources.files("fnetcli"))) / "weights" / "fnet.safetensors"
    checkout = Path(__file__).parents[2] / "weights" / "fnet.safetensors"
    for path in (packaged, checkout):
        if path.is_file():
            return path
    raise CheckpointError(
        f"{packaged}: the shipped weights are missing; reinstall fnet or name a file with --weights"
    )
