"""The weights that ship with fnet, by name."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from fnetcli.errors import CheckpointError

DEFAULT = "default"  # as a name: the default weights
DEFAULT_NAME = "fnet"
SUFFIX = ".safetensors"


def shipped_weights() -> dict[str, Path]:
    """Return the shipped weights by name: those of the installed package or a checkout."""
    packaged = Path(str(resources.files("fnetcli"))) / "weights"
    checkout = Path(__file__).parents[2] / "weights"
    for folder in (packaged, checkout):
        found = {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}
        if found:
            return found
    return {}


def default_weights_path() -> Path:
    """Return the path of the default weights. Raise CheckpointError."""
    found = shipped_weights().get(DEFAULT_NAME)
    if found is None:
        packaged = Path(str(resources.files("fnetcli"))) / "weights" / f"{DEFAULT_NAME}{SUFFIX}"
        raise CheckpointError(
            f"{packaged}: the shipped weights are missing; reinstall fnet or give a file with "
            "--weights"
        )
    return found


def is_shipped(text: str) -> bool:
    """Whether a text names shipped weights, and no file."""
    return text == DEFAULT or text in shipped_weights()


def find_weights(text: str | Path | None) -> Path:
    """Return the file of the shipped weights with this name, else the path itself.

    A name takes precedence over a file of that name, which is `./NAME`. Raise CheckpointError.
    """
    if text is None or text == DEFAULT:
        return default_weights_path()
    name = str(text)
    return shipped_weights().get(name, Path(name))
