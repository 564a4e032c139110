"""How the parts of a fused image are weighed."""

from __future__ import annotations

import numpy as np

from fnetcli.models.base import Fusion, Maps

PART_ROLES = ("unique_first", "unique_second", "common")
NO_GAINS = (1.0, 1.0, 1.0)


def mix(fusion: Fusion[Maps], gains: tuple[float, float, float]) -> Maps:
    """Return the fused luminance with every part weighed; gains of 1 change no bit."""
    if gains == NO_GAINS:
        return fusion.fused
    first, *others = (
        np.float32(gain) * part for gain, part in zip(gains, fusion.parts.values(), strict=True)
    )
    mixed: Maps = first
    for part in others:
        mixed = mixed + part
    return mixed
