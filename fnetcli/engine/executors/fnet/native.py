"""FNet's compiled executor on CPUs: the structures that ``native.cpp`` reads, and calls into it."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnetcli.engine.device import count_threads
from fnetcli.engine.executors.base import NOWHERE, Inner, Into, Values, as_features
from fnetcli.engine.executors.fnet.building import NoLibraryError, find_library
from fnetcli.models.base import Fusion, Wanted
from fnetcli.models.fnet.blocks import BLOCKS, Block, Blocks

POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)  # and infinity, as in native.cpp
TAPS, STEP = 3, 4
THRESHOLDS = {"sigmoidal": 0, "soft": 1, "hard": 2}
JOBS_PER_THREAD = 4  # with fewer in a step, threads wait for each other
OUT_OF_MEMORY, CANCELLED = 1, 2
LOOK_EVERY = 0.001  # seconds
SCRATCH = 1 << 18  # approximate bytes per thread

Kernels = NDArray[np.float64]


# --- what native.cpp reads ------------------------------------------------------------------------


class _Stage(ctypes.Structure):
    _fields_ = (
        ("theta", ctypes.c_double),
        ("newest", ctypes.c_double),
        ("older", ctypes.c_double),
        ("sources", ctypes.c_int32),
        ("source_stage", ctypes.c_int32 * 2),
        ("source_map", ctypes.c_int32 * 2),
        ("outputs", ctypes.c_int32),
        ("analysis", ctypes.c_void_p),
        ("synthesis", ctypes.c_void_p),
        ("analysis_direct", ctypes.c_void_p),
        ("synthesis_direct", ctypes.c_void_p),
        ("analysis_norms", ctypes.c_void_p),
        ("synthesis_norms", ctypes.c_void_p),
    )


class _Block(ctypes.Structure):
    _fields_ = (
        ("channels", ctypes.c_int32),
        ("atoms", ctypes.c_int32),
        ("real_atoms", ctypes.c_int32),
        ("kernel_size", ctypes.c_int32),
        ("stages", ctypes.c_int32),
        ("threshold", ctypes.c_int32),
        ("alpha", ctypes.c_double),
        ("gamma", ctypes.c_double),
        ("stage", ctypes.POINTER(_Stage)),
    )


class _Stream(ctypes.Structure):
    _fields_ = (
        ("block", ctypes.POINTER(_Block)),
        ("input", ctypes.c_void_p),
        ("output", ctypes.c_void_p),
        ("codes", ctypes.c_void_p),
    )


# --- kernels at the points ------------------------------------------------------------------------


def _evaluation() -> Kernels:
    """Return the (6, 3) matrix that evaluates a piece of a kernel at the points.

    It includes the denominators of the interpolation, so that native.cpp needs none.
    """
    rows = []
    for point in POINTS:
        others = [point - other for other in POINTS if other != point]
        rows.append([point**tap / float(np.prod(others)) for tap in range(TAPS)])
    return np.array([*rows, [0.0, 0.0, 1.0]])


def _at_points(kernels: Kernels) -> Kernels:
    """Turn (A, B, k, k) kernels into (A, B, pieces, pieces, 36) values at the points."""
    count, channels, size, _ = kernels.shape
    pieces = -(-size // TAPS)
    missing = pieces * TAPS - size
    whole = np.pad(kernels, ((0, 0), (0, 0), (0, missing), (0, missing)))
    cut = whole.reshape(count, channels, pieces, TAPS, pieces, TAPS).swapaxes(3, 4)
    evaluation = _evaluation()
    values: Kernels = cut.reshape(-1, TAPS * TAPS) @ np.kron(evaluation, evaluation).T
    return values.reshape(count, channels, pieces, pieces, -1)


@dataclass(frozen=True)
class _Layout:
    """The packing of kernels for native.cpp."""

    lanes: int
    group: int
    maps: int

    def pack_analysis(self, kernels: Kernels) -> Kernels:
        """Turn (A, maps, k, k) into [36][A / group][inputs][group]."""
        values = _at_points(kernels)
        values = values.reshape(len(values), -1, values.shape[-1])  # (A, inputs, 36)
        return values.reshape(-1, self.group, *values.shape[1:]).transpose(3, 0, 2, 1)

    def pack_synthesis(self, kernels: Kernels) -> Kernels:
        """Turn (outputs, A, k, k) into [36][A / group][n / maps][group][maps]."""
        values = _at_points(kernels[:, :, ::-1, ::-1]).transpose(0, 2, 3, 1, 4)
        values = values.reshape(-1, *values.shape[3:])  # (n, A, 36)
        values = np.pad(values, ((0, -len(values) % self.maps), (0, 0), (0, 0)))
        count, _, points = values.shape
        grouped = values.reshape(count // self.maps, self.maps, -1, self.group, points)
        return grouped.transpose(4, 2, 0, 3, 1)


class _PackedBlock:
    """An LZSC block and the maps of its code, as native.cpp reads them."""

    def __init__(self, block: Block, layout: _Layout, dtype: np.dtype[Any]) -> None:
        config = block.config
        self.channels, self.outputs = block.channels, len(block.readout)
        self.stages = block.last + 1
        self.missing = -config.atoms % layout.group  # zero atoms that fill the last group
        self._layout, self._dtype = layout, dtype
        self._kept: list[Kernels] = []  # native.cpp holds their addresses
        with np.errstate(over="ignore", invalid="ignore"):  # the result is checked
            stages = [self._stage(block, k) for k in range(self.stages)]
        self._stages = (_Stage * self.stages)(*stages)
        self.struct = _Block(
            channels=block.channels,
            atoms=config.atoms + self.missing,
            real_atoms=config.atoms,
            kernel_size=config.kernel_size,
            stages=self.stages,
            threshold=THRESHOLDS[config.threshold],
            alpha=config.alpha,
            gamma=config.gamma,
            stage=self._stages,
        )

    def _stage(self, block: Block, k: int) -> _Stage:
        code_factors, kernel_factors = block.factors(k)
        kernels = [
            factor * _exact(kernel)
            for factor, kernel in zip(kernel_factors, block.analysis(k), strict=True)
        ]
        analysis = np.concatenate([*kernels, _exact(block.iteration(k).encode)], axis=1)
        synthesis = np.concatenate([_exact(one) for one in block.maps_of(k)])
        by_code = [*code_factors, 0.0, 0.0]
        ages = range(len(kernel_factors))
        stage = _Stage(
            theta=block.theta[k],
            newest=by_code[0],
            older=by_code[1],
            sources=len(kernel_factors),
            outputs=len(synthesis),
        )
        for age in ages:
            stage.source_stage[age] = k - 1 - age
            stage.source_map[age] = block.source(k, age).start
        analysis = np.pad(analysis, ((0, self.missing), (0, 0), (0, 0), (0, 0)))
        synthesis = np.pad(synthesis, ((0, 0), (0, self.missing), (0, 0), (0, 0)))
        stage.analysis = self._keep(self._layout.pack_analysis(analysis))
        stage.synthesis = self._keep(self._layout.pack_synthesis(synthesis))
        stage.analysis_direct = self._keep(analysis)
        stage.synthesis_direct = self._keep(synthesis)
        stage.analysis_norms = self._keep(np.linalg.norm(analysis, axis=(2, 3)))
        stage.synthesis_norms = self._keep(
            np.linalg.norm(synthesis.reshape(len(synthesis), -1), axis=1)
        )
        return stage

    def numbers(self, height: int, width: int) -> int:
        """Return how many numbers native.cpp holds for a block while it processes an image."""
        lanes = self._layout.lanes
        span = TAPS * (-(-int(self.struct.kernel_size) // TAPS) - 1) + len(POINTS) + 1
        rows, chunks, lag = -(-height // STEP), -(-width // (STEP * lanes)), (span - 1) // STEP + 1
        columns = -(-(chunks * lanes + span // STEP + 2) // 16) * 16 * STEP
        maps = self.channels + sum(int(stage.outputs) for stage in self._stages)
        code = chunks * lanes * STEP * STEP * int(self.struct.atoms)
        slots = chunks * span * STEP * (lanes + (span - 1) // STEP)
        peaks = self.stages * rows * chunks * lanes
        ring = (2 * lag + 1) * (self.stages - 1) + lag
        return maps * ((rows * STEP + span) * columns + slots) + ring * code + peaks

    def _keep(self, kernels: Kernels) -> int:
        kept = np.ascontiguousarray(kernels, self._dtype)
        self._kept.append(kept)
        return kept.ctypes.data


def _exact(kernels: Values) -> Kernels:
    return kernels.astype(np.float64)


# --- the executor ---------------------------------------------------------------------------------


class Native:
    """Runs an FNet of float32 or float64 numbers on a CPU through the compiled library."""

    name = "compiled"
    smaller = None

    def __init__(self, blocks: Blocks, library: ctypes.CDLL) -> None:
        """Raise NoLibraryError for other types of numbers."""
        dtype = blocks.dtype
        if dtype not in (np.float32, np.float64):
            raise NoLibraryError(f"not for {dtype}")
        self._dtype = dtype
        self._call = library.fnet_double if dtype == np.float64 else library.fnet_float
        numbers = (ctypes.c_int32 * 3)()
        library.fnet_layout(numbers)
        self._layout = _Layout(*numbers)
        self._atoms = blocks.config.atoms
        steps = max(1, -(-(blocks.config.kernel_size // 2) // STEP))  # rounding spreads by tiles
        self.margin = replace(blocks.config, kernel_size=3).reach * steps * STEP
        self.grain = (STEP, STEP * self._layout.lanes)
        self._u, self._v, self._z = (
            _PackedBlock(block, self._layout, dtype) for block in (blocks.u, blocks.v, blocks.z)
        )

    def run(
        self, x: Values, y: Values, inner: Inner, wanted: Wanted, into: Into = NOWHERE
    ) -> Fusion[Values]:
        """See `Executor`."""
        del into
        parts, codes = self._separate(x, y, with_codes=wanted.features)
        rows, columns = inner
        return Fusion(
            None,
            {name: part[:, rows, columns] for name, part in parts.items()},
            features={name: as_features(code[:, :, rows, columns]) for name, code in codes.items()},
        )

    def _separate(
        self, x: Values, y: Values, *, with_codes: bool
    ) -> tuple[dict[str, Values], dict[str, Values]]:
        """Return parts (N, H, W) and codes (N, M, H, W), if requested, in the network's type."""
        x, y = x[:, None], y[:, None]
        (from_u, u), (from_v, v) = self._encode((self._u, self._v), (x, y), with_codes=with_codes)
        residuals = np.concatenate((x - from_u[:, :1], y - from_v[:, :1]), axis=1)
        ((from_z, z),) = self._encode((self._z,), (residuals,), with_codes=with_codes)
        names = ("unique_first", "unique_second", "common")
        made = zip(names, (from_u, from_v, from_z), strict=True)
        codes = zip(BLOCKS, (u, v, z), strict=True)
        return (
            {name: maps[:, -1] for name, maps in made},
            {letter: code for letter, code in codes if code is not None},
        )

    def bytes_needed(self, count: int, height: int, width: int, wanted: Wanted) -> int:
        """Return roughly the peak working memory of `run` in bytes."""
        streams = min(2 * count, self._streams_at_once(width, self._u.stages))
        at_once = max(block.numbers(height, width) for block in (self._u, self._z))
        codes = 3 * self._atoms if wanted.features else 0
        images = count * height * width * (codes + 12) + streams * height * width
        return self._dtype.itemsize * (streams * at_once + images) + count_threads() * SCRATCH

    def _encode(
        self, blocks: tuple[_PackedBlock, ...], inputs: tuple[Values, ...], *, with_codes: bool
    ) -> list[tuple[Values, Values | None]]:
        """Return the maps (N, outputs, H, W) and codes (N, M, H, W) of every block."""
        results = []
        streams = []
        for block, given in zip(blocks, inputs, strict=True):
            images = np.ascontiguousarray(given, self._dtype)
            count, _, height, width = images.shape
            maps = np.empty((count, block.outputs, height, width), self._dtype)
            shape = (count, self._atoms, height, width)
            codes = np.empty(shape, self._dtype) if with_codes else None
            streams += [
                _Stream(
                    ctypes.pointer(block.struct),
                    images[i].ctypes.data,
                    maps[i].ctypes.data,
                    None if codes is None else codes[i].ctypes.data,
                )
                for i in range(count)
            ]
            results.append((images, maps, codes))
        at_once = self._streams_at_once(width, blocks[0].stages)
        for i in range(0, len(streams), at_once):
            self._stream(streams[i : i + at_once], results, height, width)
        return [(maps, codes) for _, maps, codes in results]

    def _streams_at_once(self, width: int, stages: int) -> int:
        """Return how many images to process together: few stay in cache, many use all threads."""
        chunks = -(-width // (self._layout.lanes * STEP))
        return max(1, -(-JOBS_PER_THREAD * count_threads() // (stages * chunks)))

    def _stream(self, streams: list[_Stream], owned: object, height: int, width: int) -> None:
        """Call the library in a thread, so that interrupts are noticed meanwhile.

        If the system cannot start a thread, they are noticed afterwards. This returns only after
        the library does, however often it is interrupted; the thread owns the library's memory.
        """
        cancel = ctypes.c_int32(0)
        array = (_Stream * len(streams))(*streams)
        arguments = (array, len(streams), height, width, count_threads())
        gate = threading.Lock()  # held while the library runs

        def call(_: object) -> int:
            with gate:
                if cancel.value:
                    return CANCELLED
                code: int = self._call(*arguments, ctypes.byref(cancel))
                return code

        thread = ThreadPoolExecutor(1, thread_name_prefix="fnet-engine")
        try:
            try:
                future = thread.submit(call, owned)
            except RuntimeError:
                code = call(owned)
            else:
                code = future.result()
        finally:
            has_ended = False
            while not has_ended:
                with suppress(KeyboardInterrupt):
                    cancel.value = 1  # from now on it does not begin
                    while gate.locked():
                        time.sleep(LOOK_EVERY)
                    has_ended = True
            thread.shutdown()
        if code == OUT_OF_MEMORY:
            raise MemoryError


# --- the library ----------------------------------------------------------------------------------


def load_library(on_build: Callable[[], object] = lambda: None) -> ctypes.CDLL:
    """Return the library with its functions declared; see `find_library`. Raise NoLibraryError."""
    library = find_library(on_build)
    for function in (library.fnet_float, library.fnet_double):
        function.restype = ctypes.c_int
        function.argtypes = [
            ctypes.POINTER(_Stream),
            *[ctypes.c_int32] * 4,
            ctypes.POINTER(ctypes.c_int32),
        ]
    library.fnet_layout.argtypes = [ctypes.POINTER(ctypes.c_int32)]
    library.fnet_layout.restype = None
    return library
