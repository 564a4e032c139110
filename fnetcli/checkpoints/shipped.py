"""The weights that ship with fnet, by name."""

from __future__ import annotations

from collections.abc import Collection
from importlib import resources
from pathlib import Path

from fnetcli.errors import CheckpointError
from fnetcli.modalities import BY_NAME

DEFAULT = "default"  # as a name: the default weights
DEFAULT_NAME = "fnet"
MEDICAL_NAME = "fnet-medical"  # the default for a scanner's modalities
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


def default_name(modalities: Collection[str] = ()) -> str:
    """Return the name of the default weights for images of these modalities."""
    is_medical = bool(modalities) and all(BY_NAME[name].is_volumetric for name in modalities)
    return MEDICAL_NAME if is_medical else DEFAULT_NAME


def default_weights_path(modalities: Collection[str] = ()) -> Path:
    """Return the path of the default weights for these modalities. Raise CheckpointError."""
    name = default_name(modalities)
    found = shipped_weights().get(name)
    if found is None:
        packaged = Path(str(resources.files("fnetcli"))) / "weights" / f"{name}{SUFFIX}"
        raise CheckpointError(
            f"{packaged}: the shipped weights are missing; reinstall fnet or give a file with "
            "--weights"
        )
    return found


def is_shipped(text: str) -> bool:
    """Whether a text names shipped weights, and no file."""
    return text == DEFAULT or text in shipped_weights()


def find_weights(text: str | Path | None, modalities: Collection[str] = ()) -> Path:
    """Return the file of the shipped weights with this name, else the path itself.

    None and "default" mean those for these modalities. A text takes precedence over a file of that
    name, which is `./NAME`; a `Path` is always a file. Raise CheckpointError.
    """
    if text is None or text == DEFAULT:
        return default_weights_path(modalities)
    return text if isinstance(text, Path) else shipped_weights().get(text, Path(text))
