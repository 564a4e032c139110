"""Trace the network: codes before and after their thresholds, residuals, statistics.

The plain network of ``models/fnet/network.py`` could do all of this, in a minute. Here the engine
does the work, since it runs any FNet: to obtain x_k of a block it runs a network whose block stops
after k, and for the values before the threshold one whose last threshold is 0 (`StoppedNetwork`).
The blocks of u and v run side by side; that of z gets the residuals as its two images.

Nothing is held longer than needed: a code is measured as soon as it is computed, and kept as
thumbnails, or completely if requested.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fnetcli.engine import Engine, Fusion, Maps, Wanted
from fnetcli.inspection.features import beyond_notice, limit_values, summarise
from fnetcli.models.fnet.blocks import Block, StoppedNetwork, blocks_of
from fnetcli.models.fnet.config import FNetConfig

Code = NDArray[np.float16]  # (atoms, H, W)
Allocate = Callable[[tuple[int, ...]], Code]

PRECISE = 24  # halvings of an interval: beyond float16
NEARLY_ZERO = 0.01  # of theta
VALUES = np.arange(1 << 16, dtype=np.uint16).view(np.float16)  # all numbers of float16


# --- traces ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TraceOptions:
    """What to keep completely."""

    with_codes: bool = False  # u, v and z
    with_iterations: bool = False  # every x_k, k = 0 ... K, before and after its threshold
    measures_iterations: bool = False  # measure them all, also if they are not kept

    @property
    def has_iterations(self) -> bool:
        """Whether all iterations are computed."""
        return self.with_iterations or self.measures_iterations


@dataclass(frozen=True)
class Measured:
    """The values of a code before or after a threshold.

    `nearly_zero` is the share of |x| < theta / 100; `values` are all distinct values, ascending,
    and `counts` their counts: codes are float16, which has few values. `beyond` is the share of
    values that are too large for it, and clipped to the largest, 65504.
    """

    nearly_zero: float
    values: NDArray[np.float32]
    counts: NDArray[np.int64]
    beyond: float = 0.0


@dataclass(frozen=True)
class Step:
    """Iteration k of a block: its threshold, its momentum (of k = 0: none), its estimate."""

    k: int
    theta: float
    rho: float | None
    before: Measured | None = None  # None: not requested
    after: Measured | None = None
    code_before: Code | None = None
    code_after: Code | None = None


@dataclass(frozen=True)
class BlockTrace:
    """The trace of one block: its iterations, and its last code x_K.

    `energies`, `peaks`, `energy_map` and `thumbnails` are those of its last code (`Summary`).
    """

    steps: tuple[Step, ...]
    energies: NDArray[np.float64]
    peaks: NDArray[np.float64]
    energy_map: NDArray[np.float32]
    thumbnails: Code
    code: Code | None

    @property
    def last(self) -> Step:
        """Iteration K, which is always measured."""
        return self.steps[-1]

    @property
    def order(self) -> NDArray[np.intp]:
        """The atoms in order of energy."""
        return np.argsort(-self.energies, kind="stable")


@dataclass(frozen=True)
class PairTrace:
    """Everything between two images and the fused one."""

    blocks: Mapping[str, BlockTrace]  # "u", "v", "z"
    fusion: Fusion[Maps]  # of one pair, (1, H, W); as `fnet fuse` has it, to the bit
    residuals: tuple[Maps, Maps]  # p1, p2, (H, W): the images minus what u and v explain
    config: FNetConfig

    @property
    def parts(self) -> tuple[Maps, Maps, Maps]:
        """The part of the first image alone, of the second alone, and the common one, (H, W)."""
        first, second, common = self.fusion.parts.values()
        return first[0], second[0], common[0]

    def notices(self) -> list[str]:
        """Return which codes have values beyond float16."""
        shares = {
            letter: max(one.beyond for one in (block.last.before, block.last.after) if one)
            for letter, block in self.blocks.items()
        }
        return [
            beyond_notice(f"code {letter}", share) for letter, share in shares.items() if share > 0
        ]


# --- the pass -------------------------------------------------------------------------------------


def _in_memory(shape: tuple[int, ...]) -> Code:
    return np.empty(shape, np.float16)


def trace_pair(
    engine: Engine,
    first: Maps,
    second: Maps,
    options: TraceOptions | None = None,
    allocate: Allocate = _in_memory,
    on_step: Callable[[], None] = lambda: None,
) -> PairTrace:
    """Fuse luminances (H, W) in [0, 1] and return a trace. Raise PairError.

    Codes are written into the array that `allocate` returns for a shape; large ones should not be
    in memory. `on_step` is called `count_steps` times. This takes about three times as long as
    fusing, with all iterations about ten times.
    """
    options = options or TraceOptions()
    tracer = _Tracer(engine, options, allocate, on_step)
    images = first[None], second[None]
    fusion = engine.run(*images)
    on_step()
    unique, explained = tracer.trace("uv", images)
    residuals = first - explained[0], second - explained[1]
    common, _ = tracer.trace("z", (residuals[0][None], residuals[1][None]))
    return PairTrace({**unique, **common}, fusion, residuals, engine.network.config)


def count_steps(config: FNetConfig, options: TraceOptions) -> int:
    """Return how often `trace_pair` calls `on_step`."""
    return 1 + 2 * 2 * (config.iterations + 1 if options.has_iterations else 1)


class _Tracer:
    """Runs blocks up to an iteration and measures their codes."""

    def __init__(
        self,
        engine: Engine,
        options: TraceOptions,
        allocate: Allocate,
        on_step: Callable[[], None],
    ) -> None:
        self.engine, self.config = engine, engine.network.config
        blocks = blocks_of(engine.network)
        self.blocks = {"u": blocks.u, "v": blocks.v, "z": blocks.z}
        self.options, self.allocate, self.on_step = options, allocate, on_step
        self.last = self.config.iterations

    def trace(
        self, letters: str, images: tuple[Maps, Maps]
    ) -> tuple[dict[str, BlockTrace], tuple[Maps, Maps]]:
        """Trace the blocks of u and v, or of z, side by side.

        Also return what their codes explain of the images, Wu * u and Wv * v (H, W).
        """
        steps = {
            letter: [_step(self.blocks[letter], k) for k in range(self.last + 1)]
            for letter in letters
        }
        codes: dict[str, Code] = {}
        explained = images
        for k in range(0 if self.options.has_iterations else self.last, self.last + 1):
            for is_open in (True, False):
                codes.clear()  # frees the codes of the run before
                explained = self._run(letters, images, k, codes, is_open=is_open)
                for letter in letters:
                    steps[letter][k] = self._noted(steps[letter][k], codes[letter], is_open=is_open)
                self.on_step()
        traces = {letter: self._traced(steps[letter], codes[letter]) for letter in letters}
        return traces, explained

    def _traced(self, steps: list[Step], code: Code) -> BlockTrace:
        found = summarise(code)
        return BlockTrace(
            steps=tuple(steps),
            energies=found.energies,
            peaks=found.peaks,
            energy_map=found.energy_map,
            thumbnails=found.thumbnails,
            code=code if self.options.with_codes else None,
        )

    def _noted(self, step: Step, code: Code, *, is_open: bool) -> Step:
        if is_open and self.config.threshold == "sigmoidal":
            _undo_gate(code, self.config.gamma)
        beyond = limit_values(code, "codes")
        measured = _measure(code, NEARLY_ZERO * step.theta, beyond)
        kept = code if self.options.with_iterations else None
        if is_open:
            return replace(step, before=measured, code_before=kept)
        return replace(step, after=measured, code_after=kept)

    def _run(
        self,
        letters: str,
        images: tuple[Maps, Maps],
        k: int,
        codes: dict[str, Code],
        *,
        is_open: bool,
    ) -> tuple[Maps, Maps]:
        """Write x_k of the blocks to `codes`; return what those of u and v explain, (H, W)."""
        whole = self.engine.network
        network = StoppedNetwork(
            whole.spec, whole.config, whole.arrays, letters=letters, last=k, is_open=is_open
        )
        engine = Engine(network, self.engine.device, self.engine.options, self.engine.on_notice)
        found = engine.run(*images, Wanted(features=True), self.allocate)
        codes.update({letter: found.features[letter][0] for letter in letters})
        first, second, _ = found.parts.values()
        return first[0], second[0]


def _step(block: Block, k: int) -> Step:
    has_momentum = k > 0 and block.config.momentum != "none"
    return Step(k, block.theta[k], block.rho[k] if has_momentum else None)


# --- values before a threshold of 0 ---------------------------------------------------------------


def _undo_gate(code: Code, gamma: float) -> None:
    """Convert y = x / (1 + exp(-gamma |x|)) to x, in place, with a table of every float16."""
    table = _table_without_gate(gamma)
    for atom in code:
        atom[:] = table[atom.view(np.uint16)]


@functools.cache
def _table_without_gate(gamma: float) -> Code:
    is_number = np.isfinite(VALUES)
    size = np.abs(VALUES[is_number].astype(np.float64))
    low, high = size, 2 * size  # the gate is between 1/2 and 1, and y rises with x
    with np.errstate(over="ignore"):  # of gamma x, and of float16: infinity is right
        for _ in range(PRECISE):
            middle = (low + high) / 2
            is_above = middle / (1 + np.exp(-gamma * middle)) > size
            low, high = np.where(is_above, low, middle), np.where(is_above, middle, high)
        table = VALUES.copy()
        table[is_number] = np.copysign(low, VALUES[is_number])
    return table


# --- statistics -----------------------------------------------------------------------------------


def _measure(code: Code, limit: float, beyond: float) -> Measured:
    """Count the values of a code, and the share of values nearer to 0 than a limit."""
    counts = np.zeros(len(VALUES), np.int64)
    for atom in code:
        counts += np.bincount(atom.view(np.uint16).ravel(), minlength=len(VALUES))
    is_there = counts > 0
    values, counts = VALUES[is_there].astype(np.float32), counts[is_there]
    order = np.argsort(values, kind="stable")
    nearly_zero = counts[np.abs(values) < limit].sum() / counts.sum()
    return Measured(float(nearly_zero), values[order], counts[order], beyond)


# --- for a file -----------------------------------------------------------------------------------


def features_arrays(trace: PairTrace) -> dict[str, NDArray[np.float32] | Code]:
    """Return the arrays of a trace, by name.

    M atoms, images of H x W, K iterations after the initial one:

    ======================================  ============  =======  ==============================
    name                                    shape         type     what
    ======================================  ============  =======  ==============================
    unique_first, unique_second, common     (H, W)        float32  the three parts of the fused
                                                                   luminance; they sum to it
    p1, p2                                  (H, W)        float32  the first and second luminance
                                                                   minus what u and v explain
    u, v, z                                 (M, H, W)     float16  the codes x_K, if kept
    u_0_before, u_0_after ... z_K_after     (M, H, W)     float16  x_k before and after its
                                                                   threshold, if kept
    u_energy, v_energy, z_energy            (M,)          float32  sum of squares of each map
    u_energy_map, ...                       (H, W)        float32  squares summed over the atoms
    u_theta, v_theta, z_theta               (K + 1,)      float32  theta_k, k = 0 ... K
    u_rho, v_rho, z_rho                     (K,)          float32  rho_k, k = 1 ... K; missing
                                                                   without momentum
    ======================================  ============  =======  ==============================
    """
    return dict(_arrays(trace))


def _arrays(trace: PairTrace) -> Iterator[tuple[str, NDArray[np.float32] | Code]]:
    yield from zip(("unique_first", "unique_second", "common"), trace.parts, strict=True)
    yield from zip(("p1", "p2"), trace.residuals, strict=True)
    for letter, block in trace.blocks.items():
        if block.code is not None:
            yield letter, block.code
        for step in block.steps:
            for place, code in (("before", step.code_before), ("after", step.code_after)):
                if code is not None:
                    yield f"{letter}_{step.k}_{place}", code
        yield f"{letter}_energy", block.energies.astype(np.float32)
        yield f"{letter}_energy_map", block.energy_map
        yield f"{letter}_theta", np.array([step.theta for step in block.steps], np.float32)
        rho = [step.rho for step in block.steps if step.rho is not None]
        if rho:
            yield f"{letter}_rho", np.array(rho, np.float32)
