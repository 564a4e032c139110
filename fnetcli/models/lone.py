"""Pass an image through where only it shows anything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fnetcli.modalities import ORDINALS
from fnetcli.models.base import Fusion, Maps

HasData = tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]  # None: everywhere


def pass_through(fusion: Fusion[Maps], luminances: tuple[Maps, Maps], has_data: HasData) -> None:
    """Where only one image has data, copy it to its unique part, or to the fused image.

    If no part belongs to one image, copy it to the first part, since the parts sum to the whole.
    All else is 0 there.
    """
    parts = own_parts(fusion)
    for own, other in ((0, 1), (1, 0)):
        missing = has_data[other]
        if missing is None:
            continue
        alone = ~missing
        for values in (*fusion.parts.values(), *fusion.maps.values()):
            values[alone] = 0
        present = has_data[own]
        if fusion.whole is not None:
            fusion.whole[alone] = 0
        seen = alone if present is None else alone & present
        parts[own][seen] = luminances[own][seen]


def own_parts(fusion: Fusion[Maps]) -> list[Maps]:
    """Return the arrays for what only the first, and only the second image shows."""
    if fusion.whole is not None:
        return [fusion.whole, fusion.whole]
    first = next(iter(fusion.parts.values()))
    return [
        next((part for role, part in fusion.parts.items() if role.endswith(f"_{name}")), first)
        for name in ORDINALS
    ]
