"""FNet's torch executor: any device, any type of numbers, no compiler.

The same sums as ``models/fnet/network.py``, in another order, without gradients:

- The convolutions of one iteration into a code are merged into one (``models/fnet/shaped.py`` has
  the equation); its kernels are scaled and concatenated once.
- On a CPU every iteration processes the image in bands of rows. Convolution, momentum, threshold
  and the convolutions back to one or two maps are applied to a band while it is in cache. A code
  needs nothing from the bands above and below; only the maps cross borders, and they are small.
- x_k overwrites x_{k-2}, so a block holds two codes.
- M -> C is computed on a CPU as M -> k C with a 1 x k kernel, one output for each row of the
  kernel, and k additions shifted by rows: one or two outputs alone would leave a vector unit idle.

Other devices have no such cache and no idle vectors: there a band is the whole image, all images
are processed together, and every convolution is the plain one (except for rounded operands, see
`Bands`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from fnetcli.engine.device import Device
from fnetcli.engine.executors.base import NOWHERE, Inner, Into, Values
from fnetcli.engine.executors.plain import to_arrays, to_device
from fnetcli.models.base import Array, Fusion, Wanted
from fnetcli.models.fnet import blocks as at_rest
from fnetcli.models.fnet.config import LZSCConfig
from fnetcli.models.fnet.network import Codes, Parts

BAND_BYTES = 2**22  # of a code; half or twice is as good, far less is mostly overhead
FEWEST_ROWS = 4  # of a band: each costs two dozen calls and k - 1 rows of halo


# --- M -> C ---------------------------------------------------------------------------------------


class Synthesis(Protocol):
    """A convolution of a code with kernels (C, M, k, k), summed in a framed array of maps."""

    outputs: int

    def add(self, code: Tensor, maps: Tensor, row: int) -> None:
        """Add the contribution of a code, (N, M, rows, W), whose first row is `row`, to the maps.

        The maps are (N, C, H + k - 1, W + k - 1): the image in a frame of k // 2 pixels. Rows of
        the frame may be overwritten.
        """


class PlainSynthesis:
    """One convolution, for whole codes."""

    def __init__(self, kernels: Tensor, layout: torch.memory_format) -> None:
        self.outputs, _, self.size, _ = kernels.shape
        self.kernels = kernels.contiguous(memory_format=layout)

    def add(self, code: Tensor, maps: Tensor, row: int) -> None:
        """See `Synthesis`."""
        pad = self.size // 2
        rows, width = code.shape[2:]
        target = maps[:, :, row + pad : row + pad + rows, pad : pad + width]
        target += F.conv2d(code.to(self.kernels.dtype), self.kernels, padding=pad)


class SynthesisByRows:
    """M -> k C with a 1 x k kernel, then k additions; needs no halo around a band."""

    def __init__(self, kernels: Tensor, layout: torch.memory_format) -> None:
        self.outputs, atoms, self.size, _ = kernels.shape
        by_row = kernels.permute(2, 0, 1, 3).reshape(-1, atoms, 1, self.size)
        self.kernels = by_row.contiguous(memory_format=layout)

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
        """Write S(x) to `out`; overwrite x and `spare`. Three separate arrays of the same shape."""
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
    """Iteration k of a block and the maps of its code, ready to run."""

    analysis: Tensor  # (M, maps, k, k): of e, then of the maps of x_{k-1} and x_{k-2}
    sources: tuple[slice, ...]  # which of their maps
    code_scales: tuple[float, ...]  # of x_{k-1}, x_{k-2}
    shrink: Shrink
    synthesis: Synthesis

    def run(self, maps: list[Tensor], codes: list[Tensor], target: Tensor, spare: Tensor) -> Tensor:
        """Write x_k to `target`, (N, M, H, W), which may be one of `codes`; return its maps.

        All maps are framed, (N, C, H + k - 1, W + k - 1), and the frame is zero. `spare` holds one
        band and sets its height.
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
        block: at_rest.Block,
        device: torch.device,
        synthesis: type[PlainSynthesis | SynthesisByRows],
        operands: torch.dtype,
        layout: torch.memory_format,
    ) -> None:
        self.steps = []
        for k in range(block.last + 1):
            code_factors, kernel_factors = block.factors(k)
            kernels = torch.cat([_tensor(one, device) for one in block.maps_of(k)])
            self.steps.append(
                Step(
                    _analysis_kernels(block, k, device, layout).to(operands),
                    tuple(block.source(k, age) for age in range(len(kernel_factors))),
                    tuple(code_factors),
                    Shrink(block.config, block.theta[k], _offset(block, k, device)),
                    synthesis(kernels.to(operands), layout),
                )
            )
        self.slots = max(1, *(len(step.code_scales) for step in self.steps))

    def run(self, e: Tensor, places: Sequence[Tensor], spare: Tensor) -> Tensor:
        """Code e, (N, C, H + k - 1, W + k - 1) in a frame of zeros; return the framed maps.

        `places` are the two arrays (N, M, H, W) that hold codes; the last one will hold x_K.
        `spare` holds one band of rows.
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


def _tensor(kernels: Array, device: torch.device) -> Tensor:
    return torch.from_numpy(kernels).to(device)


def _analysis_kernels(
    block: at_rest.Block, k: int, device: torch.device, layout: torch.memory_format
) -> Tensor:
    """Return A_k and the scaled B_k, B'_k side by side, (M, maps, k, k)."""
    scaled = [
        factor * _tensor(one, device)
        for factor, one in zip(block.factors(k)[1], block.analysis(k), strict=True)
    ]
    kernels = torch.cat([_tensor(block.iteration(k).encode, device), *scaled], dim=1)
    # clone: with one map `contiguous` would keep strides from which torch cannot tell the format
    return kernels.clone(memory_format=layout)


def _offset(block: at_rest.Block, k: int, device: torch.device) -> Tensor:
    dtype = torch.from_numpy(block.readout[0]).dtype
    return torch.tensor(-block.config.gamma * block.theta[k], dtype=dtype, device=device)


# --- the network ----------------------------------------------------------------------------------


def _prefers_bands(device: torch.device) -> bool:
    """Whether a device gains from bands and from synthesis by rows."""
    return device.type == "cpu"


def _has_direct_convolution(dtype: torch.dtype) -> bool:
    """Whether torch convolves on a CPU without writing out neighbourhoods."""
    return dtype == torch.float32 and torch.backends.mkldnn.is_available()


class Bands:
    """An FNet with its kernels prepared for inference by torch."""

    name = "torch"
    grain = (1, 1)  # tiles may start anywhere
    smaller = None

    def __init__(
        self,
        blocks: at_rest.Blocks,
        device: Device,
        *,
        is_rounded: bool = False,
        channels_last: bool = True,
        band_rows: int | None = None,
    ) -> None:
        """Prepare the kernels on a device.

        If `is_rounded`, kernels and arrays are rounded to bfloat16 for the convolutions only:
        sums, thresholds and codes keep the network's type. `channels_last` decides how codes lie in
        memory. `band_rows` is for measurements.
        """
        self.config, self.device = blocks.config, device.in_torch()
        self.dtype = torch.from_numpy(blocks.z.readout[0]).dtype
        self.margin = self.config.reach  # of tiles: what can change a pixel
        self._band_rows = band_rows
        self._in_bands = _prefers_bands(self.device)
        self._operands = torch.bfloat16 if is_rounded else self.dtype
        # torch rounds the result of a convolution to the type of its operands. For the maps this is
        # too coarse (0.25 % of a picture's pixels change by a grey level); by rows, sums are exact.
        synthesis = SynthesisByRows if self._in_bands or is_rounded else PlainSynthesis
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        with torch.inference_mode():
            self._u, self._v, self._z = (
                Block(block, self.device, synthesis, self._operands, self._layout)
                for block in (blocks.u, blocks.v, blocks.z)
            )

    @torch.inference_mode()
    def run(
        self, x: Values, y: Values, inner: Inner, wanted: Wanted, into: Into = NOWHERE
    ) -> Fusion[Values]:
        """See `Executor`."""
        del into
        first, second = (to_device(image, self.device) for image in (x, y))
        parts, codes = self._separate(first, second, with_codes=wanted.features)
        features = codes._asdict() if codes else {}
        return to_arrays(Fusion(None, parts._asdict(), features=features), inner)

    def _separate(self, x: Tensor, y: Tensor, *, with_codes: bool) -> tuple[Parts, Codes | None]:
        """Separate and combine (N, 1, H, W) images on the device, in the network's type."""
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

    def bytes_needed(self, count: int, height: int, width: int, wanted: Wanted) -> int:
        """Return an upper estimate of the peak working memory of `run` in bytes."""
        together, rows = self._plan(count, height, width)
        atoms, size = self.config.atoms, self.config.kernel_size
        held = 3 * count + together if wanted.features else 2 * together
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
        """Return how many images are processed together and how many rows a band has."""
        if not self._in_bands:
            return count, height
        rows = self._band_rows
        if rows is None:
            row_bytes = width * self.config.atoms * self.dtype.itemsize
            rows = max(FEWEST_ROWS, BAND_BYTES // row_bytes)
        bands = -(-height // rows)
        return min(count, max(1, rows // height)), -(-height // bands)

    def _new_codes(self, like: Tensor, count: int, rows: int) -> Tensor:
        """Return an array for `rows` rows of `count` codes, (N, M, rows, W)."""
        shape = (count, self.config.atoms, rows, like.shape[3])
        return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=self._layout)

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
