"""What the writers of volumes have in common: which arrays they take, and plane by plane out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnetcli.errors import ImageError, WriteError
from fnetcli.imaging.image import Image


def require_writable(
    path: Path, values: NDArray[Any], reference: Image, kind: str
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return values (slices, height, width, 1 or 3) and the affine of their grid.

    Raise WriteError where the reference has no place, ValueError for other arrays than float32
    (slices, H, W[, 1]) and uint8 (slices, H, W, 3).
    """
    planes = values[..., None] if values.ndim == 3 else values
    is_color = planes.ndim == 4 and planes.shape[3] == 3
    fits = planes.ndim == 4 and planes.shape[3] in {1, 3}
    if not fits or planes.dtype != (np.uint8 if is_color else np.float32):
        raise ValueError(
            f"{kind} takes float32 (slices, H, W[, 1]) or uint8 (slices, H, W, 3), "
            f"not {values.dtype} {values.shape}"
        )
    if planes.shape[:3] != reference.grid.shape:
        raise ValueError(f"values are {planes.shape[:3]}, the grid is {reference.grid.shape}")
    if reference.grid.affine is None:
        raise WriteError(
            f"{path}: the reference does not say where it lies, which {kind} needs; "
            "write it with --to png or tiff"
        )
    return planes, reference.grid.affine


def planes_of(planes: NDArray[Any]) -> Iterator[bytes]:
    """Yield slice by slice, columns fastest. Raise ImageError for NaN and infinity."""
    for plane in planes:
        if plane.dtype.kind == "f" and not np.isfinite(plane).all():
            raise ImageError("the result holds NaN or infinity; check the weights and the input")
        yield plane.astype(plane.dtype.newbyteorder("<"), copy=False).tobytes()
