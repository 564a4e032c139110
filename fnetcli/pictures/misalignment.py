"""Estimate the displacement between two images of different modality, or report it as unknown.

Edge-based phase correlation. A road that is bright in one image may be dark in the other, but its
edges run in the same direction. So each image becomes a field of edge directions: complex numbers
with twice the angle, in which an edge and its negative are the same, and magnitudes count by
their rank rather than their size. The fields' cross-power spectrum is averaged over overlapping
windowed blocks (Welch), each frequency weighted by the two fields' power there (the smoothed
coherence transform of Knapp and Carter, 1976) and limited to a band, beyond which edges of two
sensors no longer agree. The highest peak of its inverse transform is at the displacement.

The confidence is found by resampling: scenes with depth, moving objects or different edges have
blocks that contradict each other, so that the peak of other blocks would be elsewhere. It is the
share of resamples whose peak is at the same position, and 0 if the peak is no higher than chance
peaks.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from fnetcli.pictures.registration.fields import Field, Luminance, edge_directions

SMALLEST = 32  # pixels of the shorter side: below that there is too little to compare
MAX_PIXELS = 1 << 20  # larger images are first reduced by a whole number
BLOCK = 160  # pixels, side of a block; smaller in small images, so that several can be resampled
EDGE_WIDTH = 1.0  # pixels, of the Gaussian whose derivatives find edges
BAND = 0.12  # cycles per pixel, width of the Gaussian that limits the spectrum
FARTHEST = 16  # pixels, at the size in use
COARSE = 4  # by which images are reduced to search farther
CHANCE = 6.0  # standard deviations of the correlation's noise; a peak must be higher
RESAMPLES = 80
TOGETHER = 16  # of them, computed at once
SAME_PLACE = 1.0  # pixels
KNOWN = 0.25  # confidence below which the displacement is unknown
CERTAIN = 0.8  # least confidence for a warning
TOLERATED = 2.0  # pixels


@dataclass(frozen=True)
class Misalignment:
    """The displacement of the second image: second(p) shows what first(p - shift) shows.

    `rows` and `columns` are in pixels, positive down and to the right; both are None if the
    displacement is unknown. `confidence`, in [0, 1], is the share of resamples that agree with it
    within a pixel, `confidence_large` the share that are also larger than two pixels. `peak` is the
    height of the correlation's peak in standard deviations of its noise; noise alone has peaks of
    up to five.
    """

    rows: float | None
    columns: float | None
    confidence: float
    confidence_large: float
    peak: float

    @property
    def is_known(self) -> bool:
        """Whether the displacement is known."""
        return self.rows is not None

    @property
    def distance(self) -> float | None:
        """The length of the displacement in pixels."""
        if self.rows is None or self.columns is None:
            return None
        return math.hypot(self.rows, self.columns)

    @property
    def is_large(self) -> bool:
        """Whether it deserves a warning: more than two pixels with high confidence."""
        distance = self.distance
        return distance is not None and self.confidence_large >= CERTAIN

    def describe(self, first: str, second: str) -> str:
        """Describe it in words; `first` and `second` are the names of the two images."""
        if self.rows is None or self.columns is None:
            return (
                f"cannot tell how far {second} is displaced from {first}: their edges have too "
                "little in common"
            )
        vertical = f"{abs(self.rows):.1f} px {'lower' if self.rows >= 0 else 'higher'}"
        horizontal = (
            f"{abs(self.columns):.1f} px further {'right' if self.columns >= 0 else 'left'}"
        )
        return (
            f"{second} lies {vertical} and {horizontal} than {first} "
            f"(confidence {self.confidence:.2f})"
        )

    def record(self) -> dict[str, Any]:
        """Return the fields, `distance`, `is_known` and `is_large`, ready for JSON."""
        derived = {name: getattr(self, name) for name in ("distance", "is_known", "is_large")}
        return {**asdict(self), **derived}


UNKNOWN = Misalignment(None, None, 0.0, 0.0, 0.0)


def estimate_misalignment(first: Luminance, second: Luminance) -> Misalignment:
    """Estimate the translation between two luminances (H, W) of the same size. Raise ValueError.

    Deterministic. Displacements of up to 16 pixels are found (of the reduced image, if it has more
    than a megapixel), or up to 64 if they are clear; at most a sixth of a small image.
    """
    if first.shape != second.shape:
        raise ValueError(f"images must have the same size, not {first.shape} and {second.shape}")
    factor = math.ceil(math.sqrt(first.size / MAX_PIXELS))
    x, y = _shrink(first, factor), _shrink(second, factor)
    tolerated = TOLERATED / factor
    found = _estimate(x, y, tolerated)
    if not found.is_known:
        found = _from_afar(x, y, tolerated) or found
    if found.rows is None or found.columns is None:
        return found
    return replace(found, rows=factor * found.rows, columns=factor * found.columns)


def _from_afar(x: Luminance, y: Luminance, tolerated: float) -> Misalignment | None:
    """Search for a larger displacement in reduced images; remove it, and estimate the rest."""
    coarse = _estimate(_shrink(x, COARSE), _shrink(y, COARSE), tolerated)
    if coarse.rows is None or coarse.columns is None or coarse.confidence < CERTAIN:
        return None
    rows, columns = round(COARSE * coarse.rows), round(COARSE * coarse.columns)
    met = _overlap(x, -rows, -columns), _overlap(y, rows, columns)
    fine = _estimate(*met, tolerated, (rows, columns))
    return fine if fine.is_known else None


def _overlap(image: Luminance, rows: int, columns: int) -> Luminance:
    """Crop `rows` at the top (negative: bottom) and `columns` at the left (negative: right)."""
    return image[_cut(rows), _cut(columns)]


def _cut(count: int) -> slice:
    return slice(count, None) if count >= 0 else slice(None, count)


def _shrink(image: Luminance, factor: int) -> Luminance:
    """Return the means of squares of factor x factor pixels; crop the rest at the ends."""
    if factor == 1:
        return image
    height, width = (side // factor for side in image.shape)
    cut = image[: height * factor, : width * factor]
    squares = cut.reshape(height, factor, width, factor)
    means: Luminance = squares.mean(axis=(1, 3), dtype=np.float32)
    return means


# --- one size -------------------------------------------------------------------------------------


def _estimate(
    x: Luminance, y: Luminance, tolerated: float, before: tuple[int, int] = (0, 0)
) -> Misalignment:
    """Estimate the translation at the given size, to be added to that of `before`."""
    shorter = min(x.shape)
    if shorter < SMALLEST:
        return UNKNOWN
    fields = edge_directions(x, EDGE_WIDTH), edge_directions(y, EDGE_WIDTH)
    if not all(field.any() for field in fields):
        return UNKNOWN
    size = min(BLOCK, max(SMALLEST * 3 // 4, 2 * shorter // 3))
    blocks = _Blocks.of(*fields, size)
    farthest = min(FARTHEST, size // 4)
    surface = blocks.correlations(np.ones((1, blocks.count), np.float32))[0]
    highest = _highest(surface, farthest)
    peak = _height(surface, highest)
    if peak < CHANCE or not _is_peak(surface, highest):
        return replace(UNKNOWN, peak=peak)
    place = _refine(surface, highest)
    others = _resample(blocks, farthest)
    is_same = np.hypot(*(others - place).T) <= SAME_PLACE
    is_large = np.hypot(*(others + before).T) > tolerated
    confidence, large = float(is_same.mean()), float((is_same & is_large).mean())
    if confidence < KNOWN:
        return replace(UNKNOWN, confidence=confidence, peak=peak)
    rows, columns = (shift + known for shift, known in zip(place, before, strict=True))
    return Misalignment(rows, columns, confidence, large, peak)


@dataclass(frozen=True)
class _Blocks:
    """The cross-power and both powers of every block: (blocks, half a spectrum of size x size)."""

    size: int
    cross: Field
    first: Luminance
    second: Luminance

    @classmethod
    def of(cls, x: Field, y: Field, size: int) -> _Blocks:
        """Cut two fields (H, W) into windowed blocks; both components of a field count equally."""
        window = _window(size)
        share = window / window.sum()
        height, width = x.shape
        places = [(top, left) for top in _starts(height, size) for left in _starts(width, size)]

        def transform(field: Field, top: int, left: int) -> Field:
            block = field[top : top + size, left : left + size]
            block = (block - (block * share).sum()) * window
            spectra: Field = fft.rfft2(np.stack([block.real, block.imag]))
            return spectra.reshape(2, -1)

        half = size * (size // 2 + 1)
        blocks = cls(
            size,
            np.empty((len(places), half), np.complex64),
            *(np.empty((len(places), half), np.float32) for _ in range(2)),
        )
        for i, place in enumerate(places):
            first, second = transform(x, *place), transform(y, *place)
            blocks.cross[i] = (second * first.conj()).sum(0)
            blocks.first[i] = (np.abs(first) ** 2).sum(0)
            blocks.second[i] = (np.abs(second) ** 2).sum(0)
        return blocks

    @property
    def count(self) -> int:
        """The number of blocks."""
        return len(self.cross)

    def correlations(self, drawn: Luminance) -> Luminance:
        """Return n correlations (n, size, size).

        `drawn`, (n, blocks), holds how often each block counts.
        """
        cross: Field = (drawn @ self.cross.view(np.float32)).view(np.complex64)
        power = np.sqrt((drawn @ self.first) * (drawn @ self.second))
        power += 1e-6 * power.max() + np.finfo(np.float32).tiny
        cross /= power
        spectra = cross.reshape(-1, self.size, self.size // 2 + 1)
        frequencies = fft.fftfreq(self.size), fft.rfftfreq(self.size)
        down, right = (np.exp(-0.5 * (one / BAND) ** 2) for one in frequencies)
        spectra *= np.outer(down, right).astype(np.float32)
        surfaces: Luminance = fft.irfft2(spectra, s=(self.size, self.size))
        return surfaces


def _window(size: int) -> Luminance:
    hann = np.hanning(size + 2)[1:-1]
    return np.outer(hann, hann).astype(np.float32)


def _starts(length: int, size: int) -> list[int]:
    """Return the starts of blocks: evenly spaced, at most half a block apart."""
    count = math.ceil((length - size) / (size / 2)) + 1
    return [round(i * (length - size) / max(1, count - 1)) for i in range(count)]


def _highest(surface: Luminance, farthest: int) -> tuple[int, int]:
    """Return the position of the highest value, at most `farthest` rows and columns from 0."""
    reach = np.arange(-farthest, farthest + 1)
    near = surface[np.ix_(reach, reach)]
    row, column = np.unravel_index(np.argmax(near), near.shape)
    return int(row) - farthest, int(column) - farthest


def _is_peak(surface: Luminance, place: tuple[int, int]) -> bool:
    """Whether no neighbour is higher; otherwise it is on the slope of a peak farther out."""
    row, column = place
    around = np.ix_(np.arange(row - 1, row + 2), np.arange(column - 1, column + 2))
    return bool(surface[place] >= surface[around].max())


def _height(surface: Luminance, place: tuple[int, int]) -> float:
    """Return the height at a position, in standard deviations of the surface away from it.

    The noise has the window's shape: the farther out, the fewer pixels overlap.
    """
    size = len(surface)
    meeting = fft.irfft2(np.abs(fft.rfft2(_window(size) ** 2)) ** 2, s=surface.shape)
    even = surface / np.sqrt(meeting / meeting[0, 0])
    width = round(1 / BAND)
    around = np.arange(-width, width + 1)
    is_away = np.ones(surface.shape, bool)
    is_away[np.ix_((place[0] + around) % size, (place[1] + around) % size)] = False
    noise = float(np.sqrt(np.mean(even[is_away] ** 2)))
    return float(even[place]) / noise if noise > 0 else 0.0


def _resample(blocks: _Blocks, farthest: int) -> NDArray[np.float64]:
    """Return the displacements (n, 2) of resampled sets of blocks, drawn with replacement."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(0, RESAMPLES, TOGETHER):
        chosen = random.integers(0, blocks.count, (TOGETHER, blocks.count))
        drawn = np.stack([np.bincount(row, minlength=blocks.count) for row in chosen])
        surfaces = blocks.correlations(drawn.astype(np.float32))
        found += [_between_pixels(surface, _highest(surface, farthest)) for surface in surfaces]
    return np.array(found)


def _between_pixels(surface: Luminance, place: tuple[int, int]) -> tuple[float, float]:
    """Return the peak's position, by parabolas through the highest pixel and its neighbours."""
    row, column = place
    size = len(surface)
    down = surface[[(row - 1) % size, row, (row + 1) % size], column]
    right = surface[row, [(column - 1) % size, column, (column + 1) % size]]
    return row + _vertex(down), column + _vertex(right)


def _refine(surface: Luminance, place: tuple[int, int]) -> tuple[float, float]:
    """Return the peak's exact position: between pixels, the correlation is a sum of waves.

    It is evaluated every tenth of a pixel around the highest pixel; parabolas do the rest.
    """
    steps = np.arange(-10, 11) / 10
    down, right = (
        np.exp(2j * np.pi * np.outer(steps + start, fft.fftfreq(len(surface)))) for start in place
    )
    values = (down @ fft.fft2(surface) @ right.T).real
    row, column = (int(i) for i in np.unravel_index(np.argmax(values), values.shape))
    row, column = (min(max(i, 1), len(steps) - 2) for i in (row, column))
    return (
        float(place[0] + steps[row] + _vertex(values[row - 1 : row + 2, column]) / 10),
        float(place[1] + steps[column] + _vertex(values[row, column - 1 : column + 2]) / 10),
    )


def _vertex(values: NDArray[Any]) -> float:
    """Return the offset from the middle at which a parabola through three values is highest."""
    before, here, after = (float(value) for value in values)
    bend = before - 2 * here + after
    return min(max(0.5 * (before - after) / bend, -1.0), 1.0) if bend < 0 else 0.0
