"""Any model as plain torch, on any device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fnetcli.engine.device import Device
from fnetcli.engine.executors.base import LARGEST_FEATURE, NOWHERE, Inner, Into, Values
from fnetcli.models.base import Fusion, Network, Wanted

# Multiple of the widest layer's numbers per pixel that a network holds at a time, if its
# specification does not tell.
ARRAYS_AT_A_TIME = 6


class Plain:
    """Runs a network as its own torch module."""

    name = "torch"
    grain = (1, 1)
    smaller = None

    def __init__(self, network: Network[Any], device: Device) -> None:
        self.margin = network.config.reach
        self._device = device.in_torch()
        self._model = network.at_work().to(self._device)
        self._needs_gradients = network.spec.needs_gradients
        self._dtype = next(iter(network.arrays.values())).dtype
        self._numbers = _numbers_a_pixel(network)

    def run(
        self, x: Values, y: Values, inner: Inner, wanted: Wanted, into: Into = NOWHERE
    ) -> Fusion[Values]:
        """See `Executor`."""
        del into
        first, second = (to_device(image, self._device) for image in (x, y))
        # With gradients: the model uses those of its images; those of weights are never needed.
        with torch.enable_grad() if self._needs_gradients else torch.inference_mode():
            found = self._model(first, second, wanted)
        return to_arrays(found, inner)

    def bytes_needed(self, count: int, height: int, width: int, wanted: Wanted) -> int:
        """See `Executor`."""
        del wanted
        return count * height * width * (self._numbers + 12) * self._dtype.itemsize


def _numbers_a_pixel(network: Network[Any]) -> int:
    """Return the numbers per pixel that a model declares, else estimate from its widest layer."""
    spec, config = network.spec, network.config
    if spec.numbers_a_pixel is not None:
        return spec.numbers_a_pixel(config)
    widest = max((shape[0] for _, shape in spec.shapes(config)), default=1)
    return ARRAYS_AT_A_TIME * widest * (3 if spec.needs_gradients else 1)


def to_device(image: Values, device: torch.device) -> Tensor:
    """Return (N, H, W) as (N, 1, H, W) on the network's device.

    A CUDA device copies it from pinned memory, in the order of its stream, while we go on.
    """
    tensor = torch.from_numpy(image)[:, None]
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def to_arrays(found: Fusion[Tensor], inner: Inner) -> Fusion[Values]:
    """Return the inner part of a tile as arrays.

    A CUDA device copies all images to pinned memory; we wait for it once.
    """

    def image(tensor: Tensor) -> Values:
        values: Values = _to_host(tensor.detach()[:, 0, inner.rows, inner.columns]).numpy()
        return values

    def features(tensor: Tensor) -> Values:
        return as_half(tensor.detach()[:, :, inner.rows, inner.columns])

    arrays = Fusion(
        None if found.whole is None else image(found.whole),
        {name: image(part) for name, part in found.parts.items()},
        {name: image(one) for name, one in found.maps.items()},
        {name: features(one) for name, one in found.features.items()},
    )
    tensors = (found.whole, *found.parts.values(), *found.maps.values())
    for device in {one.device for one in tensors if one is not None and one.is_cuda}:
        torch.cuda.current_stream(device).synchronize()  # before, arrays hold anything
    return arrays


def _to_host(image: Tensor) -> Tensor:
    """Return a tensor on the CPU; from a CUDA device it is there once the stream is done."""
    if image.device.type != "cuda":
        return image.cpu()
    pinned = torch.empty(image.shape, dtype=image.dtype, pin_memory=True)
    return pinned.copy_(image, non_blocking=True)


def as_half(features: Tensor) -> NDArray[np.float16]:
    """Return features as arrays of float16, limited to what it holds."""
    limited = features.clamp(-LARGEST_FEATURE, LARGEST_FEATURE).half()
    values: NDArray[np.float16] = limited.cpu().numpy()
    return values
