"""The engine's compiled path on CPUs: what ``native.cpp`` reads, and the calls into it."""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fnetcli.engine.executors.fnet.library import NoLibraryError, find_library
from fnetcli.models.fnet.network import LZSC, Codes, FNet, Parts
from fnetcli.models.fnet.shaped import maps_for_later, scales

POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)  # and infinity, as in native.cpp
TAPS, STEP = 3, 4
THRESHOLDS = {"sigmoidal": 0, "soft": 1, "hard": 2}
JOBS_PER_THREAD = 4  # fewer in a step, and threads wait for each other
OUT_OF_MEMORY = 1
SCRATCH = 1 << 18  # bytes of a thread, about


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


def _evaluation() -> Tensor:
    """Return the (6, 3) matrix that evaluates a piece of a kernel at the points.

    It holds the denominators of the interpolation as well, so that native.cpp has none.
    """
    rows = []
    for point in POINTS:
        others = [point - other for other in POINTS if other != point]
        rows.append([point**tap / float(np.prod(others)) for tap in range(TAPS)])
    return torch.tensor([*rows, [0.0, 0.0, 1.0]], dtype=torch.float64)


def _at_points(kernels: Tensor) -> Tensor:
    """Turn (A, B, k, k) kernels into (A, B, pieces, pieces, 36) values at the points."""
    size = kernels.shape[-1]
    pieces = -(-size // TAPS)
    missing = pieces * TAPS - size
    whole = F.pad(kernels, (0, missing, 0, missing))
    cut = whole.view(*whole.shape[:2], pieces, TAPS, pieces, TAPS).transpose(3, 4)
    evaluation = _evaluation()
    return cut.flatten(4) @ torch.kron(evaluation, evaluation).T


@dataclass(frozen=True)
class _Layout:
    """How native.cpp wants its kernels packed."""

    lanes: int
    group: int
    maps: int

    def pack_analysis(self, kernels: Tensor) -> Tensor:
        """Turn (A, maps, k, k) into [36][A / group][inputs][group]."""
        values = _at_points(kernels).flatten(1, 3)  # (A, inputs, 36)
        return values.view(-1, self.group, *values.shape[1:]).permute(3, 0, 2, 1)

    def pack_synthesis(self, kernels: Tensor) -> Tensor:
        """Turn (outputs, A, k, k) into [36][A / group][n / maps][group][maps]."""
        values = _at_points(kernels.flip(2, 3)).permute(0, 2, 3, 1, 4).flatten(0, 2)  # (n, A, 36)
        values = F.pad(values, (0, 0, 0, 0, 0, -len(values) % self.maps)).contiguous()
        count, _, points = values.shape
        grouped = values.view(count // self.maps, self.maps, -1, self.group, points)
        return grouped.permute(4, 2, 0, 3, 1)


class _PackedBlock:
    """An LZSC block, and what is synthesised from its code, as native.cpp reads them."""

    def __init__(
        self, block: LZSC, results: list[Tensor], layout: _Layout, dtype: torch.dtype
    ) -> None:
        """Pack a block; `results`: kernels (1, M, k, k) of what the network takes from its code."""
        config = block.config
        self.channels, self.outputs = block.channels, len(results)
        self.stages = config.iterations + 1
        self.missing = -config.atoms % layout.group  # atoms of zeros, to fill the last group
        self._layout, self._dtype = layout, dtype
        self._kept: list[Tensor] = []  # native.cpp holds their addresses
        stages = [self._stage(block, k, results) for k in range(self.stages)]
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

    def _stage(self, block: LZSC, k: int, results: list[Tensor]) -> _Stage:
        module = block.iteration(k)
        code_scales, kernel_scales = scales(block, k) if k else ([], [])
        kernels = [
            scale * module.residual(age).analysis.weight for age, scale in enumerate(kernel_scales)
        ]
        analysis = torch.cat([*kernels, module.encode.weight], dim=1)
        later = maps_for_later(block, k) if k < block.config.iterations else results
        synthesis = torch.cat(later)
        by_code = [float(scale) for scale in code_scales] + [0.0, 0.0]
        ages = range(len(kernel_scales))
        counts = [len(maps_for_later(block, k - 1 - age)) for age in ages]
        stage = _Stage(
            theta=float(block.theta(k)),
            newest=by_code[0],
            older=by_code[1],
            sources=len(kernel_scales),
            outputs=len(synthesis),
        )
        for age, count in zip(ages, counts, strict=True):
            stage.source_stage[age] = k - 1 - age
            stage.source_map[age] = min(age, count - 1) * block.channels
        analysis = F.pad(analysis, (0, 0, 0, 0, 0, 0, 0, self.missing))
        synthesis = F.pad(synthesis, (0, 0, 0, 0, 0, self.missing))
        stage.analysis = self._keep(self._layout.pack_analysis(analysis))
        stage.synthesis = self._keep(self._layout.pack_synthesis(synthesis))
        stage.analysis_direct = self._keep(analysis)
        stage.synthesis_direct = self._keep(synthesis)
        stage.analysis_norms = self._keep(torch.linalg.matrix_norm(analysis))
        stage.synthesis_norms = self._keep(synthesis.flatten(1).norm(dim=1))
        return stage

    def numbers(self, height: int, width: int) -> int:
        """Return how many numbers native.cpp keeps for a block while it works on an image."""
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

    def _keep(self, kernels: Tensor) -> int:
        kept = kernels.to(self._dtype).contiguous()
        self._kept.append(kept)
        return kept.data_ptr()


# --- the executor ---------------------------------------------------------------------------------


class Native:
    """Run a network of float32 or float64 parameters on a CPU through the compiled library."""

    name = "compiled"

    def __init__(self, network: FNet, library: ctypes.CDLL) -> None:
        """Raise NoLibraryError for parameters of another type."""
        dtype = network.reconstruct_z.weight.dtype
        if dtype not in (torch.float32, torch.float64):
            raise NoLibraryError(f"not for {str(dtype).removeprefix('torch.')}")
        self.config = network.config
        self._dtype = dtype
        self._call = library.fnet_double if dtype == torch.float64 else library.fnet_float
        numbers = (ctypes.c_int32 * 3)()
        library.fnet_layout(numbers)
        self._layout = _Layout(*numbers)
        steps = max(1, -(-(self.config.kernel_size // 2) // STEP))  # rounding spreads by tiles
        self.margin = replace(self.config, kernel_size=3).reach * steps * STEP
        self.grain = (STEP, STEP * self._layout.lanes)
        with torch.inference_mode():
            exact = copy.deepcopy(network).cpu().double()
            self._u, self._v, self._z = (
                _PackedBlock(block, [one.weight for one in results], self._layout, dtype)
                for block, results in (
                    (exact.encode_u, [exact.explain_u, exact.reconstruct_u]),
                    (exact.encode_v, [exact.explain_v, exact.reconstruct_v]),
                    (exact.encode_z, [exact.reconstruct_z]),
                )
            )

    @torch.inference_mode()
    def run(self, x: Tensor, y: Tensor, *, with_codes: bool) -> tuple[Parts, Codes | None]:
        """Separate and combine (N, 1, H, W) images. Raise MemoryError."""
        (from_u, u), (from_v, v) = self._encode((self._u, self._v), (x, y), with_codes=with_codes)
        residuals = torch.cat((x - from_u[:, :1], y - from_v[:, :1]), dim=1)
        ((part_z, z),) = self._encode((self._z,), (residuals,), with_codes=with_codes)
        parts = Parts(from_u[:, 1:], from_v[:, 1:], part_z)
        if u is None or v is None or z is None:
            return parts, None
        return parts, Codes(u, v, z)

    def bytes_needed(self, count: int, height: int, width: int, *, with_codes: bool) -> int:
        """Return the peak working memory of `run` in bytes, roughly."""
        streams = min(2 * count, self._streams_at_once(width, self._u.stages))
        item = 8 if self._dtype == torch.float64 else 4
        at_once = max(block.numbers(height, width) for block in (self._u, self._z))
        codes = 3 * self.config.atoms if with_codes else 0
        images = count * height * width * (codes + 12) + streams * height * width
        return item * (streams * at_once + images) + torch.get_num_threads() * SCRATCH

    def _encode(
        self, blocks: tuple[_PackedBlock, ...], inputs: tuple[Tensor, ...], *, with_codes: bool
    ) -> list[tuple[Tensor, Tensor | None]]:
        """Return the maps (N, outputs, H, W) and codes (N, M, H, W) of every block."""
        results = []
        streams = []
        for block, given in zip(blocks, inputs, strict=True):
            images = given.to(self._dtype).contiguous()
            count, _, height, width = images.shape
            maps = images.new_empty(count, block.outputs, height, width)
            codes = (
                images.new_empty(count, self.config.atoms, height, width) if with_codes else None
            )
            streams += [
                _Stream(
                    ctypes.pointer(block.struct),
                    images[i].data_ptr(),
                    maps[i].data_ptr(),
                    None if codes is None else codes[i].data_ptr(),
                )
                for i in range(count)
            ]
            results.append((images, maps, codes))
        at_once = self._streams_at_once(width, blocks[0].stages)
        for i in range(0, len(streams), at_once):
            self._stream(streams[i : i + at_once], results, height, width)
        return [(maps, codes) for _, maps, codes in results]

    def _streams_at_once(self, width: int, stages: int) -> int:
        """Return how many images go together: few stay in cache, many keep all threads busy."""
        chunks = -(-width // (self._layout.lanes * STEP))
        return max(1, -(-JOBS_PER_THREAD * torch.get_num_threads() // (stages * chunks)))

    def _stream(self, streams: list[_Stream], owned: object, height: int, width: int) -> None:
        """Call the library in a thread, so that an interrupt is heard meanwhile.

        Where the system gives no thread, it is heard afterwards. Nothing returns before the library
        does, however often it is interrupted; and the thread owns what the library writes to.
        """
        cancel = ctypes.c_int32(0)
        array = (_Stream * len(streams))(*streams)
        arguments = (array, len(streams), height, width, torch.get_num_threads())

        def call(_: object) -> int:
            code: int = self._call(*arguments, ctypes.byref(cancel))
            return code

        future: Future[int] | None = None
        thread = ThreadPoolExecutor(1, thread_name_prefix="fnet-engine")
        try:
            try:
                future = thread.submit(call, owned)
            except RuntimeError:
                code = call(owned)
            else:
                code = future.result()
        except BaseException:
            cancel.value = 1
            while future and not future.done():
                with suppress(KeyboardInterrupt):
                    wait([future])
            raise
        finally:
            thread.shutdown()
        if code == OUT_OF_MEMORY:
            raise MemoryError


# --- the library ----------------------------------------------------------------------------------


def load_library(on_build: Callable[[], object] = lambda: None) -> ctypes.CDLL:
    """Return the library, its functions declared; see `find_library`. Raise NoLibraryError."""
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
