"""PyTorch state dicts, bare or wrapped; never unpickled beyond plain tensors."""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fnetcli.checkpoints.tensors import Tensor, quoted
from fnetcli.errors import CheckpointError

if TYPE_CHECKING:
    import torch

WRAPPERS = ("params_ema", "params", "state_dict", "model")  # keys of training programs around it
PARALLEL = "module."  # prefix of every name after data-parallel training


def read_pth(path: Path, content: bytes) -> dict[str, Tensor]:
    """Return the tensors of a file. Raise CheckpointError."""
    import torch

    try:
        with warnings.catch_warnings(action="ignore"):  # of what is refused below
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "global" in str(error).lower():  # a name to import: it could run code
            raise CheckpointError(
                f"{path}: holds more than tensors (it could run code), so it is refused; "
                "export the bare state dict or use safetensors"
            ) from None
        raise CheckpointError(f"{path}: damaged or not a weights file; download it again") from None
    except Exception as error:  # noqa: BLE001  torch maps damage to many kinds of exception
        raise CheckpointError(
            f"{path}: damaged or not a weights file ({type(error).__name__}); download it again"
        ) from None
    return {name: _tensor(value) for name, value in _unwrapped(path, loaded).items()}


def _tensor(value: torch.Tensor) -> Tensor:
    def float32() -> NDArray[np.float32]:
        numbers: NDArray[np.float32] = value.float().contiguous().numpy()
        return numbers

    return Tensor(tuple(value.shape), value.is_floating_point(), float32)


def _unwrapped(path: Path, loaded: object) -> dict[str, Any]:
    """Remove the wrappers that training programs put around state dicts.

    Several state dicts in a file are merged, as "part.name"; other contents (optimisers, epoch
    counts) are ignored.
    """
    for wrapper in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
            break
    if not isinstance(loaded, Mapping) or not all(isinstance(key, str) for key in loaded):
        loaded = {}
    parts = {name: part for name, part in loaded.items() if _is_state_dict(part)}
    if parts:
        return {
            f"{name}.{key}": value
            for name, part in parts.items()
            for key, value in _without_prefix(part).items()
        }
    if not loaded:
        raise CheckpointError(f"{path}: holds no state dict; give a file of named tensors")
    tensors = {key: value for key, value in loaded.items() if _is_plain_tensor(value)}
    if len(tensors) < len(loaded):
        other = next(key for key in loaded if key not in tensors)
        raise CheckpointError(
            f"{path}: '{quoted(other)}' is not a tensor of plain numbers; "
            "give only the network's state dict"
        )
    return _without_prefix(tensors)


def _without_prefix(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the prefix of data-parallel training, as often as all names have it."""
    names = dict(tensors)
    while names and all(name.startswith(PARALLEL) for name in names):
        names = {name.removeprefix(PARALLEL): value for name, value in names.items()}
    return names


def _is_state_dict(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(key, str) and _is_plain_tensor(one) for key, one in value.items())
    )


def _is_plain_tensor(value: object) -> bool:
    """Whether a tensor is dense: neither sparse, nested, quantized nor without data."""
    import torch

    return (
        isinstance(value, torch.Tensor)
        and value.layout is torch.strided
        and not (value.is_nested or value.is_quantized)
        and value.device.type == "cpu"
    )
