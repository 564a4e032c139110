"""The published layout with made-up numbers, and what the published program computes with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fnetcli.models.cddfuse.config import Skip
from fnetcli.models.cddfuse.layouts import from_published
from fnetcli.models.cddfuse.network import CDDFuse

REFERENCE = Path(__file__).parents[3].parent / "shared" / "reference"
WEIGHTS = REFERENCE / "cddfuse_authors_layout.pth"

needs_reference = pytest.mark.skipif(
    not WEIGHTS.is_file(), reason="no shared/ folder beside the checkout"
)


def load_parts() -> dict[str, Any]:
    parts: dict[str, Any] = torch.load(WEIGHTS, weights_only=True)
    return parts


def load_network(dtype: torch.dtype = torch.float32, skip: Skip = "second") -> CDDFuse:
    config, state = from_published(load_parts(), skip)
    network = CDDFuse(config)
    network.load_state_dict(state)
    return network.to(dtype)


def load_numbers(name: str) -> dict[str, NDArray[np.floating]]:
    with np.load(REFERENCE / f"cddfuse_authors_{name}.npz") as numbers:
        return dict(numbers)
