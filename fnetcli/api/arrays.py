"""Arrays of NumPy and tensors of torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ARRAY_TYPES = [np.dtype(name) for name in ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")]


def is_tensor(source: object) -> bool:
    """Whether it is a tensor of torch, which is not imported for this."""
    return type(source).__module__.partition(".")[0] == "torch" and hasattr(source, "detach")


def numbers_of(source: Any) -> NDArray[Any]:
    """Return an array's or a tensor's numbers as they are, bfloat16 as float32."""
    if not is_tensor(source):
        return np.asarray(source)
    tensor = source.detach().cpu()
    values: NDArray[Any] = (
        tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor
    ).numpy()
    return values
