"""Improve a transform: correlate blocks around it, and climb the sum of their correlations.

The moving picture is resampled onto the reference's grid by the transform so far. Both fields of
edge directions are cut into windowed, overlapping blocks, and each block's correlation is computed
for displacements of some pixels by FFT, each frequency divided by the two fields' power there
(the smoothed coherence transform, as in `misalignment`) and limited to a band. A step of the
transform moves each block's centre; its value is the sum of the blocks' correlations at their
displacements, interpolated by cubic splines. Damped Newton steps climb it, first on smoothed
correlations, which have wider peaks. Blocks whose edges differ add noise without a direction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from fnetcli.imaging import planar
from fnetcli.imaging.planar import Kind, Matrix
from fnetcli.interruption import require_wanted
from fnetcli.pictures.registration.fields import Field, Luminance, edge_directions
from fnetcli.pictures.registration.steps import distortions, generators, step
from fnetcli.pictures.registration.views import View

Floats = NDArray[np.float64]
Frames = Sequence[tuple[View, View]]  # reference and moving picture, each of one size in all

EDGE_WIDTH = 1.2
BORDER = 3  # pixels around what both show in which resampling may make edges
BAND = 0.14  # cycles per pixel, width of the Gaussian that limits the spectrum
MIN_POWER = 0.02  # of the strongest block; weaker blocks tell nothing
FINEST_SIZE = 1.5  # pixels of the level per pixel of the moving picture, at most
SPREADS = (np.inf, np.inf, np.inf, np.inf, 0.02, 0.02, 0.008, 0.008)  # shears, tilts of two cameras
MAX_STEPS = 30
MAX_STEP = 3.0  # pixels
SMALL_STEP = 0.01


@dataclass(frozen=True)
class Level:
    """A size at which both pictures are compared.

    `alike` is how many blocks err together: they overlap, and neighbours lie at one depth, which
    displaces them by more pixels the finer the level. With `is_levelled`, blocks of weak and
    strong edges count the same, so that no single thing at one depth decides.
    """

    longer_side: int  # of the reference
    block: int
    reach: int  # pixels, of displacements
    smoothing: tuple[float, ...]  # of the correlations, one after the other
    alike: float = 4.0
    is_levelled: bool = False
    repeats: int = 2  # resampling the moving picture each time


LEVELS = (
    Level(160, 48, 12, (3.0, 1.5, 0.0)),
    Level(320, 64, 10, (2.0, 1.0), alike=16.0),
    Level(640, 80, 10, (4.0, 2.0), alike=64.0, is_levelled=True),
    Level(1280, 112, 10, (4.0, 2.0), alike=64.0, is_levelled=True, repeats=1),
)


@dataclass(frozen=True)
class Blocks:
    """Correlations (n, 2 reach + 1, 2 reach + 1) of blocks with centres x, y.

    Blocks without edges in either picture are left out.
    """

    correlations: Luminance
    x: Floats
    y: Floats
    reach: int


def refine(
    frames: Frames, matrix: Matrix, kind: Kind, level: Level, usual: Matrix | None = None
) -> Matrix:
    """Return a better transform from the moving pictures to their references.

    Shears and tilts are expected to be those of `usual`, or none.
    """
    for repeat in range(level.repeats):
        sight = look(frames, matrix, level)
        if not len(sight.blocks.x):
            return matrix
        smoothing = level.smoothing if repeat == 0 else level.smoothing[-1:]
        matrix = sight.moved(_climb(sight, kind, replace(level, smoothing=smoothing), usual))
    return matrix


@dataclass(frozen=True)
class Sight:
    """Both pictures of all frames at one level, under a transform: the correlations of blocks.

    Those of all frames are summed; `votes` are the sums over each frame's blocks.
    """

    blocks: Blocks
    votes: Luminance  # (frames, 2 reach + 1, 2 reach + 1)
    shape: tuple[int, int]  # of the reference at this level
    to_reference: Matrix  # from the level's pixels to those of the reference
    to_moving: Matrix  # from the level's pixels to the moving picture's
    score: float  # the normalised correlation of both fields where both show something
    overlap: float  # share of the reference that the moving picture shows

    @property
    def pixel(self) -> float:
        """Pixels of the reference per pixel of the level."""
        return float(self.to_reference[0, 0])

    def moved(self, step: Matrix) -> Matrix:
        """Return the transform to the reference after a step, which maps pixels of the level."""
        return planar.normalised(self.to_reference @ np.linalg.inv(self.to_moving @ step))


def look(frames: Frames, matrix: Matrix, level: Level) -> Sight:
    """Correlate the pictures of all frames block by block under a transform to the reference."""
    seen = [_look(reference, moving, matrix, level) for reference, moving in frames]
    first = seen[0]
    if len(seen) == 1:
        return first
    totals: dict[tuple[float, float], Luminance] = {}
    for one in seen:
        blocks = one.blocks
        for x, y, surface in zip(blocks.x, blocks.y, blocks.correlations, strict=True):
            totals[x, y] = totals[x, y] + surface if (x, y) in totals else surface
    places = sorted(totals, key=lambda place: place[::-1])
    side = 2 * level.reach + 1
    surfaces = (
        np.stack([totals[place] for place in places]) if places else np.zeros((0, side, side))
    )
    centres = np.array(places, np.float64).reshape(-1, 2)
    return replace(
        first,
        blocks=Blocks(surfaces.astype(np.float32), centres[:, 0], centres[:, 1], level.reach),
        votes=np.concatenate([one.votes for one in seen]),
        score=float(np.mean([one.score for one in seen])),
        overlap=float(np.mean([one.overlap for one in seen])),
    )


def _look(reference: View, moving: View, matrix: Matrix, level: Level) -> Sight:
    require_wanted()
    enlarged = planar.scale_at_centre(matrix, moving.shape)  # reference pixels per moving pixel
    factor = min(1.0, level.longer_side / reference.longer_side, FINEST_SIZE / enlarged)
    fixed, to_reference = reference.shrunk(factor)
    reduction = min(1.0, enlarged * factor)
    small, to_moving = moving.shrunk(reduction if reduction < 0.95 else 1.0)
    to_small = np.linalg.inv(to_moving) @ np.linalg.inv(matrix) @ to_reference
    resampled = small.sampled(to_small, fixed.shape)
    is_inside = resampled.seen(BORDER + 1)
    first = edge_directions(fixed.luminance, EDGE_WIDTH, fixed.seen(BORDER))
    second = edge_directions(resampled.luminance, EDGE_WIDTH, is_inside)
    blocks = _correlate(first, second, level)
    common = first[is_inside]
    energies = _energy(common), _energy(second)
    product = math.sqrt(energies[0] * energies[1])
    score = float((common * second[is_inside].conj()).real.sum()) / product if product else 0.0
    return Sight(
        blocks,
        blocks.correlations.sum(axis=0, keepdims=True),
        fixed.shape,
        to_reference,
        to_moving @ to_small,
        score,
        _overlap(fixed, resampled),
    )


def _energy(field: Field) -> float:
    return float((np.abs(field) ** 2).sum(dtype=np.float64))


def _overlap(fixed: View, resampled: View) -> float:
    """Return the share of the reference's valid pixels that the other shows."""
    seen = np.ones(fixed.shape, bool) if resampled.valid is None else resampled.valid
    if fixed.valid is None:
        return float(seen.mean())
    return float(seen[fixed.valid].mean()) if fixed.valid.any() else 0.0


def _starts(length: int, size: int) -> list[int]:
    """Return the starts of blocks: evenly spaced, at most half a block apart."""
    count = math.ceil((length - size) / (size / 2)) + 1
    return [round(i * (length - size) / max(1, count - 1)) for i in range(count)]


def _correlate(first: Field, second: Field, level: Level) -> Blocks:
    """Correlate windowed blocks of `first` with what `second` shows around them."""
    height, width = first.shape
    size, reach = min(level.block, height, width), level.reach
    around = size + 2 * reach
    side = fft.next_fast_len(around)
    padded = np.pad(second, reach)
    hann = np.hanning(size + 2)[1:-1]
    window = np.outer(hann, hann).astype(np.float32)
    starts = [(top, left) for top in _starts(height, size) for left in _starts(width, size)]
    fixed = np.stack([first[y : y + size, x : x + size] * window for y, x in starts])
    moving = np.stack([padded[y : y + around, x : x + around] for y, x in starts])
    powers = [(np.abs(one) ** 2).sum(axis=(1, 2)) for one in (fixed, moving)]
    tells = np.logical_and(*(power > MIN_POWER * power.max() for power in powers))
    centres = (np.array(starts, np.float64) + (size - 1) / 2)[tells]
    if not tells.any():
        nothing = np.zeros((0, 2 * reach + 1, 2 * reach + 1), np.float32)
        return Blocks(nothing, centres[:, 1], centres[:, 0], reach)
    spectra = [fft.fft2(one[tells], (side, side)) for one in (fixed, moving)]
    mean_power = [
        ndimage.gaussian_filter((np.abs(one) ** 2).mean(axis=0), 1.5, mode="wrap")
        for one in spectra
    ]
    power = np.sqrt(mean_power[0] * mean_power[1])
    band = np.exp(-0.5 * (fft.fftfreq(side) / BAND) ** 2)
    weights = np.outer(band, band) / (power + 1e-3 * power.max())
    cross = spectra[1] * spectra[0].conj() * weights.astype(np.float32)
    surfaces = fft.ifft2(cross, overwrite_x=True).real[:, : 2 * reach + 1, : 2 * reach + 1]
    return Blocks(surfaces, centres[:, 1], centres[:, 0], reach)


# --- climbing -------------------------------------------------------------------------------------


def _climb(sight: Sight, kind: Kind, level: Level, usual: Matrix | None) -> Matrix:
    """Return the step of the level's pixels with the highest sum of correlations nearby."""
    blocks, (height, width) = sight.blocks, sight.shape
    radius = max(sight.shape) / 2
    centring = np.array([[radius, 0, (width - 1) / 2], [0, radius, (height - 1) / 2], [0, 0, 1.0]])
    x, y = (blocks.x - centring[0, 2]) / radius, (blocks.y - centring[1, 2]) / radius
    ways = generators(kind, x, y)
    parameters = np.zeros(len(ways))  # in pixels at the radius
    there = distortions(sight.to_moving @ centring)
    if usual is not None:
        there -= distortions(np.linalg.inv(usual) @ sight.to_reference @ centring)
    expected = Expected(
        -radius * there[: len(ways)], (radius * np.array(SPREADS[: len(ways)])) ** -2.0
    )
    correlations = blocks.correlations
    if level.is_levelled:
        spreads = correlations.std(axis=(1, 2), keepdims=True)
        correlations = correlations / np.maximum(spreads, np.finfo(np.float32).tiny)
    for width_of_peaks in level.smoothing:
        surfaces = correlations
        if width_of_peaks:
            widths = (0, width_of_peaks, width_of_peaks)
            surfaces = ndimage.gaussian_filter(surfaces, widths, mode="constant")
        hill = _Hill(surfaces, blocks.reach)
        parameters = _ascend(hill, ways, parameters, expected, level.alike)
    taken = step(kind, parameters / radius)
    return np.asarray(centring @ taken @ np.linalg.inv(centring))


@dataclass(frozen=True)
class Expected:
    """What a step is expected to be before anything is seen: means, and inverse variances.

    The loss is that of a Cauchy distribution: some cameras have pixels that are far from square.
    """

    means: Floats
    weights: Floats

    def loss(self, parameters: Floats) -> float:
        """Return how unusual parameters are: near the means half the squared distance."""
        return float(np.log1p(self.weights * (parameters - self.means) ** 2 / 2).sum())

    def pull(self, parameters: Floats) -> Floats:
        """Return the loss's slope over the distance from the means."""
        return self.weights / (1 + self.weights * (parameters - self.means) ** 2 / 2)


def _ascend(
    hill: _Hill, ways: Floats, parameters: Floats, expected: Expected, alike: float
) -> Floats:
    """Take damped Newton steps while they lead upwards.

    What is expected counts as much as the noise of the correlations allows: blocks that contradict
    each other say little.
    """
    damping = 1e-2
    here = hill.at(np.tensordot(parameters, ways, 1))
    noise = alike * _noise(here, ways)
    for _ in range(MAX_STEPS):
        slope = np.einsum("kcn,cn->k", ways, here[1:3])
        pull = noise * expected.pull(parameters)
        slope -= pull * (parameters - expected.means)
        bends = _bends(here)
        curvature = np.einsum("kcn,ncd,ldn->kl", ways, bends, ways)
        curvature += np.diag(pull)
        height = here[0].sum() - noise * expected.loss(parameters)
        mean = np.trace(curvature) / len(curvature)
        if not mean > 0:
            break
        for _ in range(6):
            system = curvature + damping * mean * np.eye(len(curvature))
            step = np.linalg.solve(system, slope)
            step *= min(1.0, MAX_STEP / max(1e-9, float(np.abs(step).max())))
            there = hill.at(np.tensordot(parameters + step, ways, 1))
            if there[0].sum() - noise * expected.loss(parameters + step) > height:
                break
            damping *= 4
        else:
            break
        parameters, here, damping = parameters + step, there, max(damping / 4, 1e-3)
        if np.abs(step).max() < SMALL_STEP:
            break
    return parameters


def _noise(here: Floats, ways: Floats) -> float:
    """Return the variance of the blocks' slopes over what their curvature would have it.

    It is 1 if correlations were logarithms of likelihoods.
    """
    slopes = np.einsum("kcn,cn->kn", ways, here[1:3])
    slopes -= slopes.mean(axis=1, keepdims=True)
    curvature = np.einsum("kcn,ncd,ldn->kl", ways, _bends(here), ways)
    if not np.trace(curvature) > 0:
        return 1.0
    spread = np.linalg.pinv(curvature, rcond=1e-3, hermitian=True) @ (slopes @ slopes.T)
    return float(np.trace(spread)) / len(ways)


def _bends(here: Floats) -> Floats:
    """Return the negative second derivatives (n, 2, 2), valleys flattened."""
    _, _, _, right, mixed, down = here
    matrices = -np.stack([right, mixed, mixed, down], axis=1).reshape(-1, 2, 2)
    values, vectors = np.linalg.eigh(matrices)
    kept = vectors * np.maximum(values, 0)[:, None, :]
    return np.asarray(kept @ vectors.transpose(0, 2, 1))


class _Hill:
    """The blocks' correlations between pixels, with derivatives, as cubic B-splines."""

    def __init__(self, surfaces: Luminance, reach: int) -> None:
        self.reach = reach
        self.numbers = np.arange(len(surfaces))[:, None, None]
        for axis in (1, 2):
            surfaces = ndimage.spline_filter1d(surfaces, 3, axis, np.float32, mode="mirror")
        self.weights = surfaces

    def at(self, displacements: Floats) -> Floats:
        """Return value, slopes (right, down) and bends (right, mixed, down): (6, n).

        All are 0 beyond the reach.
        """
        places = displacements + self.reach  # (2, n)
        low, high = 1.0, 2.0 * self.reach - 1
        is_near = ((places >= low) & (places < high)).all(axis=0)
        places = np.clip(places, low, high - 1e-6)
        first = places.astype(int)
        right, down = (_spline(offset) for offset in places - first)
        columns, rows = first[:, :, None] + np.arange(-1, 3)
        near = self.weights[self.numbers, rows[:, :, None], columns[:, None, :]]
        orders = ((0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (2, 0))
        values = [np.einsum("nij,ni,nj->n", near, down[i], right[j]) for i, j in orders]
        return np.stack(values) * is_near


def _spline(t: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the four weights (n, 4) of a cubic B-spline at t in [0, 1), and their derivatives."""
    u = 1 - t
    value = [u**3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (3 * u**3 - 6 * u**2 + 4) / 6, t**3 / 6]
    slope = [-(u**2) / 2, (9 * t**2 - 12 * t) / 6, -(9 * u**2 - 12 * u) / 6, t**2 / 2]
    bend = [u, 3 * t - 2, 3 * u - 2, t]
    return np.stack(value, 1), np.stack(slope, 1), np.stack(bend, 1)
