"""Convert between networks at rest and torch modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from fnetcli.models.base import Arrays, ConfigT, ModelSpec, Network

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def module_with(make: Callable[[], ModuleT], arrays: Arrays) -> ModuleT:
    """Make a module whose parameters and buffers hold copies of these arrays, by name.

    Tensors that files do not hold (counters of batch normalisation) keep their initial values.
    """
    with torch.device("meta"):  # nothing is drawn at random, nothing allocated twice
        module = make()
    state = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    for name, value in module.state_dict().items():
        if name not in state and not value.is_floating_point():
            state[name] = torch.zeros(value.shape, dtype=value.dtype)
    module.load_state_dict(state, assign=True)
    return module


def module_shapes(make: Callable[[], nn.Module]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of every real tensor of a module, without allocating it."""
    with torch.device("meta"):
        state = make().state_dict()
    return ((name, tuple(one.shape)) for name, one in state.items() if one.is_floating_point())


def at_rest(spec: ModelSpec[ConfigT], config: ConfigT, module: nn.Module) -> Network[ConfigT]:
    """Return the network at rest of a module."""
    arrays = {
        name: value.detach().cpu().contiguous().numpy()
        for name, value in module.state_dict().items()
        if value.is_floating_point()
    }
    return Network(spec, config, arrays)
