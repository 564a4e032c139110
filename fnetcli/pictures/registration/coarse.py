"""Search for scale, rotation and offset from scratch: every offset at once, by FFT.

Both pictures are reduced to about a hundred pixels. For every scale and rotation on a grid, the
moving picture's edge directions are correlated with the reference's at every offset, normalised by
the energy of both fields inside the overlap, times the square root of the overlap: a correlation
over few pixels is high by chance more often.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from fnetcli.imaging.planar import Kind, Matrix, normalised
from fnetcli.interruption import require_wanted
from fnetcli.pictures.registration.fields import Field, Luminance, edge_directions
from fnetcli.pictures.registration.views import View

LONGER_SIDE = 112  # pixels of both pictures at scale 1
SCALES = tuple(1.05**i for i in range(-11, 12))  # 0.58 to 1.71, of equally large pictures
TURNS = tuple(math.radians(3 * i) for i in range(-4, 5))
MIN_OVERLAP = 0.35  # of the smaller picture
EDGE_WIDTH = 1.2
BORDER = 3  # pixels: frames and resampling make edges there
THINNED = 4  # energies and overlaps vary slowly with the offset: computed every 4 pixels


@dataclass(frozen=True)
class Candidate:
    """A transform from the moving picture to the reference, and its score in [-1, 1]."""

    score: float
    matrix: Matrix


def candidates(reference: View, moving: View, kind: Kind) -> list[Candidate]:
    """Return the best offset for every scale and rotation that the kind has, best first."""
    found: list[Candidate] = []
    small, to_reference = reference.shrunk(LONGER_SIDE / reference.longer_side)
    fixed = _Fixed(*_field(small))
    if kind in {"translation", "rigid"}:  # pixels are equally large
        factors: tuple[float, ...] = (LONGER_SIDE / reference.longer_side,)
    else:
        factors = tuple(LONGER_SIDE / moving.longer_side * scale for scale in SCALES)
    turns = (0.0,) if kind == "translation" else TURNS
    for factor in factors:
        require_wanted()
        reduced, to_moving = moving.shrunk(factor)
        if min(reduced.shape) <= 2 * BORDER + 2:
            continue
        field, mask = _field(reduced)
        for turn in turns:
            best = fixed.best_offset(field, mask, turn)
            if best is not None:
                whole = to_reference @ best.matrix @ np.linalg.inv(to_moving)
                found.append(Candidate(best.score, normalised(whole)))
    return sorted(found, key=lambda one: -one.score)


def _field(view: View) -> tuple[Field, Luminance]:
    """Return the edge directions, and 1 where the view is valid, else 0."""
    valid = np.ones(view.shape, bool) if view.valid is None else view.valid
    field = edge_directions(view.luminance, EDGE_WIDTH, view.seen(BORDER))
    return field, valid.astype(np.float32)


class _Fixed:
    """The reference's field, and its spectra for the sizes in use."""

    def __init__(self, field: Field, mask: Luminance) -> None:
        self.field = field
        self.area = float(mask.sum())
        self.thin_energy = _thinned(np.abs(field) ** 2)
        self.thin_mask = _thinned(mask)
        self._spectra: dict[tuple[int, int], Field] = {}

    def best_offset(self, field: Field, mask: Luminance, turn: float) -> Candidate | None:
        """Return the best offset of a field that is first rotated; None without any overlap."""
        moving, mask, matrix = _rotated(field, mask, turn)
        sides = tuple(zip(self.field.shape, moving.shape, strict=True))
        sizes = tuple(  # wrapped offsets overlap too little to be chosen
            THINNED * fft.next_fast_len(math.ceil((a + b - MIN_OVERLAP * min(a, b) / 2) / THINNED))
            for a, b in sides
        )
        size = sizes[0], sizes[1]
        if size not in self._spectra:
            self._spectra = {size: fft.fft2(self.field, size)}
        cross = self._spectra[size] * fft.fft2(moving, size).conj()
        common = fft.ifft2(cross, overwrite_x=True).real
        shares, energies = self._overlaps(moving, mask, size)
        admitted = shares * self.area > MIN_OVERLAP * min(self.area, float(mask.sum()))
        if not admitted.any():
            return None
        scores = np.where(
            admitted, common / np.sqrt(np.maximum(energies, 1e-3)) * np.sqrt(shares), -1
        )
        best = np.unravel_index(np.argmax(scores), scores.shape)
        down, right = (
            int(at) if at < side else int(at) - around
            for at, (side, _), around in zip(best, sides, size, strict=True)
        )
        shift = np.array([[1.0, 0, right], [0, 1, down], [0, 0, 1]])
        return Candidate(float(scores[best]), shift @ matrix)

    def _overlaps(
        self, moving: Field, mask: Luminance, size: tuple[int, int]
    ) -> tuple[Luminance, Luminance]:
        """Return, per offset, the overlap over the reference's area and both energies' product."""
        coarse = tuple(side // THINNED for side in size)
        own = [fft.rfft2(one, coarse) for one in (self.thin_energy, self.thin_mask)]
        other = [fft.rfft2(_thinned(one), coarse).conj() for one in (np.abs(moving) ** 2, mask)]
        fixed, floating, common = (
            fft.irfft2(one, coarse)
            for one in (own[0] * other[1], own[1] * other[0], own[1] * other[1])
        )
        per_square = float(THINNED**2)
        shares = np.clip(common / per_square / max(self.area, 1.0), 0, 1)
        energies = np.clip(fixed, 0, None) * np.clip(floating, 0, None) / per_square**2
        return _spread(shares), _spread(energies)


def _rotated(field: Field, mask: Luminance, turn: float) -> tuple[Field, Luminance, Matrix]:
    """Rotate a field and its mask around the centre; return the matrix to the new pixels too."""
    cos, sin = math.cos(turn), math.sin(turn)
    height, width = field.shape
    tall = math.ceil(height * cos + width * abs(sin))
    wide = math.ceil(width * cos + height * abs(sin))
    before, after = (
        np.array([(width - 1) / 2, (height - 1) / 2]),
        np.array([(wide - 1) / 2, (tall - 1) / 2]),
    )
    linear = np.array([[cos, -sin], [sin, cos]])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = after - linear @ before
    if turn == 0:
        return field, mask, matrix
    back = linear.T[::-1, ::-1]  # rows first
    start = before[::-1] - back @ after[::-1]

    def resample(values: NDArray[np.float32]) -> NDArray[np.float32]:
        resampled: NDArray[np.float32] = ndimage.affine_transform(
            values, back, start, (tall, wide), np.float32, order=1, mode="constant"
        )
        return resampled

    turned = (resample(field.real) + 1j * resample(field.imag)).astype(np.complex64)
    turned *= np.complex64(complex(math.cos(2 * turn), math.sin(2 * turn)))
    return turned, resample(mask), matrix


def _thinned(values: Luminance) -> Luminance:
    """Return sums over squares; incomplete ones at the ends are filled with 0."""
    height, width = (math.ceil(side / THINNED) * THINNED for side in values.shape)
    padded = np.zeros((height, width), np.float32)
    padded[: values.shape[0], : values.shape[1]] = values
    sums: Luminance = padded.reshape(height // THINNED, THINNED, width // THINNED, THINNED).sum(
        axis=(1, 3)
    )
    return sums


def _spread(values: Luminance) -> Luminance:
    return values.repeat(THINNED, 0).repeat(THINNED, 1)
