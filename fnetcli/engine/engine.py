"""Run an FNet on a device: arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fnetcli.errors import PairError
from fnetcli.models.fnet import FNet
from fnetcli.models.shaped import separate_and_combine

Maps = NDArray[np.float32]


@dataclass(frozen=True)
class Separated:
    """What the network found in N pairs of H x W.

    The three parts are (N, H, W) float32, signed; their sum is the fused luminance, not clipped.
    The codes are (N, atoms, H, W) float16, or None where nobody asked.
    """

    unique_first: Maps
    unique_second: Maps
    common: Maps
    codes: dict[str, NDArray[np.float16]] | None

    @property
    def fused(self) -> Maps:
        """The fused luminance, (N, H, W), not clipped."""
        return self.unique_first + self.unique_second + self.common


class Engine:
    """A network at its place of work; load once, run for every pair."""

    def __init__(self, network: FNet, device: torch.device) -> None:
        self.device = device
        self.network = network.to(device).eval()

    @torch.inference_mode()
    def run(self, first: Maps, second: Maps, *, with_codes: bool = False) -> Separated:
        """Separate and combine luminances in [0, 1], each (N, H, W) float32. Raise PairError."""
        try:
            return self._run(first, second, with_codes=with_codes)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            size = f"{first.shape[2]}x{first.shape[1]}"
            raise PairError(
                f"{size}: not enough memory on {self.device} for images of this size; "
                "use smaller images or a machine with more memory"
            ) from None

    def _run(self, first: Maps, second: Maps, *, with_codes: bool) -> Separated:
        x, y = (torch.from_numpy(image)[:, None].to(self.device) for image in (first, second))
        codes, parts = separate_and_combine(self.network, x, y)
        if not torch.isfinite(parts.fused).all():
            raise PairError("the network's result is not finite; check the weights")
        kept = None
        if with_codes:
            kept = {name: _to_numpy(code.half()) for name, code in codes._asdict().items()}
        return Separated(
            unique_first=_to_numpy(parts.unique_first[:, 0]),
            unique_second=_to_numpy(parts.unique_second[:, 0]),
            common=_to_numpy(parts.common[:, 0]),
            codes=kept,
        )


def _to_numpy(tensor: Tensor) -> NDArray[Any]:
    return np.ascontiguousarray(tensor.cpu().numpy())


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error)
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError)
        or "allocate memory" in text
        or "out of memory" in text
    )
