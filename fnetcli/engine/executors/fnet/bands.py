"""The engine's plain-torch path: any device, any type of numbers, no compiler.

The same sums as ``models/fnet.py``, in another order, without gradients:

- The convolutions of one iteration into a code are one (``models/shaped.py`` has the equation); its
  kernels are scaled and put together once.
- On a CPU every iteration goes over the image in bands of rows. Convolution, momentum, threshold
  and the convolutions back to one or two maps happen to a band while it is in cache. A code needs
  nothing from the bands above and below; only the maps cross borders, and they are small.
- x_k is written over x_{k-2}, so a block holds two codes.
- M -> C is done on a CPU as M -> k C with a 1 x k kernel, one output for each row of the kernel,
  and k additions shifted by rows: one or two outputs alone would leave a vector unit idle.

Other devices have no such cache and no idle vectors: there a band is the whole image, all images go
together, and every convolution is the plain one (with rounded operands not quite, see `Bands`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from fnetcli.models.fnet.network import LZSC, Codes, FNet, LZSCConfig, Parts
from fnetcli.models.fnet.shaped import maps_for_later, scales

BAND_BYTES = 2**22  # of a code; half or twice that is as good, far less is all overhead
FEWEST_ROWS = 4  # of a band: each costs two dozen calls and k - 1 rows of halo


# --- M -> C ---------------------------------------------------------------------------------------


class Synthesis(Protocol):
    """A convolution of a code with kernels (C, M, k, k), added up in a framed array of maps."""

    outputs: int

    def add(self, code: Tensor, maps: Tensor, row: int) -> None:
        """Add what rows `row`, `row` + 1, ... of a code, (N, M, rows, W), give to the maps.

        The maps are (N, C, H + k - 1, W + k - 1): the image in a frame of k // 2 pixels. Rows of
        the frame may be written to.
        """


class PlainSynthesis:
    """One convolution, for codes that come as a whole."""

    def __init__(self, kernels: Tensor) -> None:
        self.outputs, _, self.size, _ = kernels.shape
        self.kernels = kernels.contiguous(memory_format=torch.channels_last)

    def add(self, code: Tensor, maps: Tensor, row: int) -> None:
        """See `Synthesis`."""
        pad = self.size // 2
        rows, width = code.shape[2:]
        target = maps[:, :, row + pad : row + pad + rows, pad : pad + width]
        target += F.conv2d(code.to(self.kernels.dtype), self.kernels, padding=pad)


class SynthesisByRows:
    """M -> k C with a 1 x k kernel, then k additions; needs no halo around a band."""

    def __init__(self, kernels: Tensor) -> None:
        self.outputs, atoms, self.size, _ = kernels.shape
        by_row = kernels.permute(2, 0, 1, 3).reshape(-1, atoms, 1, self.size)
        self.kernels = by_row.contiguous(memory_format=torch.channels_last)

    def add(self, code: Tensor, maps: Tensor, row: int) -> None:
        """See `Synthesis`."""
        pad, (rows, width) = self.size // 2, code.shape[2:]
        given = F.conv2d(code.to(self.kernels.dtype), self.kernels, padding=(0, pad))
        by_row = given.to(maps.dtype, memory_format=torch.contiguous_format)
        inner = maps[..., pad : pad + width]
        for i, part in enumerate(by_row.split(self.outputs, dim=1)):
            top = row + 2 * pad - i  # row h of a code reaches row h + pad - i of the image
            inner[:, :, top : top + rows] += part


# --- threshold ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shrink:
    """The threshold S( . ; theta) of one iteration, for arrays that may be overwritten."""

    config: LZSCConfig
    theta: float
    offset: Tensor  # -gamma theta, without dimensions

    def __call__(self, x: Tensor, spare: Tensor, out: Tensor) -> None:
        """Write S(x) to `out`; x and `spare` are lost. Three arrays of one shape, none shared."""
        match self.config.threshold:
            case "soft":
                out.copy_(F.softshrink(x, self.theta))
            case "hard":
                out.copy_(F.hardshrink(x, self.theta))
            case "sigmoidal":
                gate = torch.abs(x, out=spare)
                torch.add(self.offset, gate, alpha=self.config.gamma, out=gate).sigmoid_()
                x.sub_(torch.sign(x, out=out), alpha=self.config.alpha * self.theta)
                torch.mul(x, gate, out=out)


# --- one iteration, one block ---------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """Iteration k of a block and what is taken from its code, ready to be executed."""

    analysis: Tensor  # (M, maps, k, k): of e, then of the maps of x_{k-1} and x_{k-2}
    sources: tuple[slice, ...]  # which of their maps
    code_scales: tuple[float, ...]  # of x_{k-1}, x_{k-2}
    shrink: Shrink
    synthesis: Synthesis

    def run(self, maps: list[Tensor], codes: list[Tensor], target: Tensor, spare: Tensor) -> Tensor:
        """Write x_k to `target`, (N, M, H, W), which may be one of `codes`; return its maps.

        All maps are framed, (N, C, H + k - 1, W + k - 1), and the frame is zero. `spare` is room
        for one band and gives its height.
        """
        frame = self.analysis.shape[-1] - 1
        height, rows = target.shape[2], spare.shape[2]
        given = maps[0].new_zeros(len(target), self.synthesis.outputs, *maps[0].shape[2:])
        for top in range(0, height, rows):
            band = slice(top, min(height, top + rows))
            window = torch.cat([m[:, :, band.start : band.stop + frame] for m in maps], dim=1)
            x = F.conv2d(window.to(self.analysis.dtype), self.analysis).to(target.dtype)
            for scale, code in zip(self.code_scales, codes, strict=True):
                x.add_(code[:, :, band], alpha=scale)
            self.shrink(x, spare[:, :, : x.shape[2]], out=target[:, :, band])
            self.synthesis.add(target[:, :, band], given, top)
        given[:, :, : frame // 2] = 0
        given[:, :, height + frame // 2 :] = 0
        return given


class Block:
    """An LZSC block followed by convolutions of its code to maps that the network wants."""

    def __init__(
        self,
        block: LZSC,
        readout: list[Tensor],
        synthesis: type[PlainSynthesis | SynthesisByRows],
        operands: torch.dtype,
    ) -> None:
        """`readout`: kernels (1, M, k, k), one a map."""
        self.steps = []
        for k in range(block.config.iterations + 1):
            code_scales, kernel_scales = scales(block, k) if k else ([], [])
            later = maps_for_later(block, k) or readout
            self.steps.append(
                Step(
                    _analysis_kernels(block, k, kernel_scales).to(operands),
                    tuple(_source(block, k, age) for age in range(len(kernel_scales))),
                    tuple(float(scale) for scale in code_scales),
                    _shrink(block, k),
                    synthesis(torch.cat(later).to(operands)),
                )
            )
        self.slots = max(1, *(len(step.code_scales) for step in self.steps))

    def run(self, e: Tensor, places: Sequence[Tensor], spare: Tensor) -> Tensor:
        """Code e, (N, C, H + k - 1, W + k - 1) in a frame of zeros; return the maps, framed too.

        `places` are the two arrays (N, M, H, W) that hold codes; the last one will hold x_K.
        `spare` is room for one band of rows.
        """
        places = places[-self.slots :]
        seen: list[Tensor] = []  # the maps of x_{k-1} and x_{k-2}
        for k, step in enumerate(self.steps):
            to_end = k - len(self.steps)  # -1 at the last one
            maps = [e, *(seen[age][:, which] for age, which in enumerate(step.sources))]
            codes = [
                places[(to_end - 1 - age) % self.slots] for age in range(len(step.code_scales))
            ]
            seen = [step.run(maps, codes, places[to_end % self.slots], spare), *seen[:1]]
        return seen[0]


def _analysis_kernels(block: LZSC, k: int, kernel_scales: list[Tensor]) -> Tensor:
    """Return A_k and the scaled B_k, B'_k side by side, (M, maps, k, k), channels-last."""
    module = block.iteration(k)
    scaled = [s * module.residual(age).analysis.weight for age, s in enumerate(kernel_scales)]
    kernels = torch.cat([module.encode.weight, *scaled], dim=1)
    # clone: with one map `contiguous` would keep strides from which torch tells no format
    return kernels.clone(memory_format=torch.channels_last)


def _shrink(block: LZSC, k: int) -> Shrink:
    theta = block.theta(k)
    return Shrink(block.config, float(theta), (-block.config.gamma * theta).squeeze())


def _source(block: LZSC, k: int, age: int) -> slice:
    """Return which of the maps of x_{k-1-age} step k takes; shared kernels give one for all."""
    number = min(age, len(maps_for_later(block, k - 1 - age)) - 1)
    return slice(number * block.channels, (number + 1) * block.channels)


# --- the network ----------------------------------------------------------------------------------


def _prefers_bands(device: torch.device) -> bool:
    """Return whether a device gains from bands and from synthesis by rows."""
    return device.type == "cpu"


def _has_direct_convolution(dtype: torch.dtype) -> bool:
    """Return whether torch convolves on a CPU without writing out neighbourhoods."""
    return dtype == torch.float32 and torch.backends.mkldnn.is_available()


class Bands:
    """An FNet with its kernels prepared for inference through torch; later changes go unseen."""

    name = "torch"
    grain = (1, 1)  # tiles may start anywhere

    def __init__(
        self,
        network: FNet,
        *,
        operands: torch.dtype | None = None,
        band_rows: int | None = None,
    ) -> None:
        """Prepare the kernels on the network's device.

        With `operands`, kernels and arrays are rounded to that type for the convolutions alone:
        sums, thresholds and codes keep the network's. `band_rows` is for measurements.
        """
        weight = network.reconstruct_z.weight
        self.config, self.device, self.dtype = network.config, weight.device, weight.dtype
        self.margin = network.config.reach  # of tiles: what can change a pixel
        self._band_rows = band_rows
        self._in_bands = _prefers_bands(self.device)
        self._operands = operands or self.dtype
        # torch rounds what a convolution returns to the type of its operands. For the maps that is
        # too much (0.25 % of a picture's pixels move by a grey level); by rows it adds in full.
        is_rounded = self._operands != self.dtype
        synthesis = SynthesisByRows if self._in_bands or is_rounded else PlainSynthesis
        with torch.inference_mode():
            self._u, self._v, self._z = (
                Block(block, [one.weight for one in readout], synthesis, self._operands)
                for block, readout in (
                    (network.encode_u, [network.explain_u, network.reconstruct_u]),
                    (network.encode_v, [network.explain_v, network.reconstruct_v]),
                    (network.encode_z, [network.reconstruct_z]),
                )
            )

    @torch.inference_mode()
    def run(self, x: Tensor, y: Tensor, *, with_codes: bool) -> tuple[Parts, Codes | None]:
        """Separate and combine (N, 1, H, W) images on the network's device, in its dtype."""
        count, _, height, width = x.shape
        together, rows = self._plan(count, height, width)
        older, spare = self._new_codes(x, together, height), self._new_codes(x, together, rows)
        if with_codes:
            codes = Codes(*(self._new_codes(x, count, height) for _ in range(3)))
            newest = [code.split(together) for code in codes]
        else:
            codes = None
            newest = [[self._new_codes(x, together, height)] * -(-count // together)] * 3
        parts = [
            self._run_together(*few, older, spare)
            for few in zip(
                x.split(together), y.split(together), zip(*newest, strict=True), strict=True
            )
        ]
        return Parts(*(torch.cat(part) for part in zip(*parts, strict=True))), codes

    def bytes_needed(self, count: int, height: int, width: int, *, with_codes: bool) -> int:
        """Return the peak working memory of `run` in bytes, not too little."""
        together, rows = self._plan(count, height, width)
        atoms, size = self.config.atoms, self.config.kernel_size
        held = 3 * count + together if with_codes else 2 * together
        framed = (height + size - 1) * (width + size - 1)
        scratch = 12 * atoms
        if self._in_bands and not _has_direct_convolution(self._operands):
            # every pixel's neighbourhood is written out; several such arrays stay allocated
            scratch += 6 * max(atoms * size, 6 * size**2)
        numbers = (
            held * atoms * height * width
            + together * 24 * framed
            + together * scratch * min(rows, height) * width
            + 8 * count * height * width
        )
        return numbers * self.dtype.itemsize

    def _plan(self, count: int, height: int, width: int) -> tuple[int, int]:
        """Return how many images go together and how many rows a band has."""
        if not self._in_bands:
            return count, height
        rows = self._band_rows
        if rows is None:
            row_bytes = width * self.config.atoms * self.dtype.itemsize
            rows = max(FEWEST_ROWS, BAND_BYTES // row_bytes)
        bands = -(-height // rows)
        return min(count, max(1, rows // height)), -(-height // bands)

    def _new_codes(self, like: Tensor, count: int, rows: int) -> Tensor:
        """Return room for `rows` rows of `count` codes, (N, M, rows, W) channels-last."""
        return like.new_empty(count, rows, like.shape[3], self.config.atoms).permute(0, 3, 1, 2)

    def _run_together(
        self, x: Tensor, y: Tensor, codes: Sequence[Tensor], older: Tensor, spare: Tensor
    ) -> Parts:
        """Separate (eq. 22) and combine (eq. 23) few images; write u, v and z to `codes`."""
        pad = self.config.kernel_size // 2
        x, y = F.pad(x, (pad,) * 4), F.pad(y, (pad,) * 4)
        older, spare = older[: len(x)], spare[: len(x)]
        u, v, z = (code[: len(x)] for code in codes)
        from_u = self._u.run(x, [older, u], spare)
        from_v = self._v.run(y, [older, v], spare)
        residuals = torch.cat((x - from_u[:, :1], y - from_v[:, :1]), dim=1)
        from_z = self._z.run(residuals, [older, z], spare)
        inner = slice(pad, x.shape[2] - pad), slice(pad, x.shape[3] - pad)
        return Parts(*(part[:, -1:, *inner] for part in (from_u, from_v, from_z)))
