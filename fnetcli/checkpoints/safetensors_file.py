"""Safetensors files in numpy: tensors and JSON metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import deserialize
from safetensors.numpy import save

from fnetcli.checkpoints.tensors import Tensor, quoted
from fnetcli.errors import CheckpointError
from fnetcli.models.base import Arrays

DEEPEST = 50  # nested brackets in metadata; anything deeper stays text
REAL = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


def read_safetensors(path: Path, content: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and metadata. Raise CheckpointError."""
    try:
        tensors = {name: _tensor(**fields) for name, fields in _parts(content)}
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    except Exception as error:  # noqa: BLE001  safetensors maps damage to several kinds
        raise CheckpointError(
            f"{path}: damaged safetensors file ({quoted(error)}); download it again"
        ) from None
    return tensors, {key: _json_or_text(text) for key, text in header.items() if key != "format"}


def safetensors_bytes(arrays: Arrays, header: Mapping[str, str]) -> bytes:
    """Return the content of a safetensors file."""
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, dict(header))


def _parts(content: bytes) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = deserialize(content)  # type: ignore[no-untyped-call]
    return found


def _tensor(dtype: str, shape: list[int], data: bytes) -> Tensor:
    def float32() -> NDArray[np.float32]:
        if dtype == "BF16":  # the upper half of a float32
            halves = np.frombuffer(data, "<u2").astype(np.uint32)
            return (halves << 16).view(np.float32).reshape(shape)
        return np.frombuffer(data, REAL[dtype]).astype(np.float32).reshape(shape)

    return Tensor(tuple(shape), dtype in (*REAL, "BF16"), float32)


def _json_or_text(text: str) -> Any:
    """Return parsed JSON; other programs' metadata, and deeply nested JSON, stay text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if _is_shallow(value, DEEPEST) else text


def _is_shallow(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(one, levels - 1) for one in inner)
