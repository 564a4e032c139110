"""CDDFuse on images that do not fit as a whole: exact, layer by layer, in bands of rows.

Only the sums over pixels that attention needs see the whole image; everything else sees a few
pixels around. So each block goes over the image twice: once to add the sums of all bands, once to
apply it. Between blocks a map of dim channels is kept and replaced in place; three such maps are
the most (768 bytes a pixel by default), beside what one band takes. The result is the network's,
up to the order of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor

from fnetcli.models.cddfuse.network import Block, CDDFuse, Statistics

BAND_PIXELS = 1 << 16  # of one band without its halo: about 200 MB of work space
BLOCK_HALO = 2  # rows: 3x3 for v, 3x3 in the feed-forward
COUPLING_HALO = 2  # rows: phi, then rho and eta of the changed half
OUTPUT_HALO = 2  # rows: two 3x3 convolutions
MAPS = 3  # of dim channels that are held at once


@dataclass(frozen=True)
class Band:
    """Some rows of a map with the rows around them that the result depends on."""

    rows: slice  # of the image
    window: Tensor  # those rows and their halo, as they were before anything was replaced
    inside: slice  # the rows within the window


def bands(x: Tensor, halo: int, rows: int, dtype: torch.dtype) -> Iterator[Band]:
    """Cut (N, C, H, W) into bands; the rows of a band may be replaced before the next is taken."""
    above, height = x[..., :0, :], x.shape[2]
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        below = x[..., top : min(bottom + halo, height), :]
        window = torch.cat((above, below), dim=2) if above.numel() else below.clone()
        start = above.shape[2]
        inside = slice(start, start + bottom - top)
        above = window[..., max(0, inside.stop - halo) : inside.stop, :]
        window = window.to(dtype).contiguous(memory_format=torch.channels_last)
        yield Band(slice(top, bottom), window, inside)


class Banded:
    """Run a network in bands of rows; call it as the network itself, for inference only.

    `storage` is the type of the maps between blocks: float16 halves their memory, at a cost of
    about 1e-3 of the features' size in each of them.
    """

    def __init__(
        self, network: CDDFuse, rows: int | None = None, storage: torch.dtype = torch.float32
    ) -> None:
        self.network = network
        self.rows = rows
        self.storage = storage

    def bytes_needed(self, height: int, width: int) -> int:
        """Return about how much memory the maps and the work space of a pair take."""
        rows = min(height, self._rows(width) + 2 * BLOCK_HALO)
        work = 12 * self.network.config.dim * 4 * rows * width
        return MAPS * self.network.config.dim * self.storage.itemsize * height * width + work

    @torch.inference_mode()
    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the fused image of two (N, 1, H, W), as ``network(first, second)`` does."""
        network, decoder = self.network, self.network.decoder
        base, detail = self._encode(first)
        other_base, other_detail = self._encode(second, detail)
        del other_detail  # it was added to `detail`
        base += other_base
        del other_base
        self._apply(network.base_fusion, base)
        self._replace(detail, COUPLING_HALO * len(network.detail_fusion), network.detail_fusion)
        for band in self._bands(base, 0):
            both = torch.cat((band.window, detail[..., band.rows, :].to(first.dtype)), dim=1)
            base[..., band.rows, :] = decoder.reduce(both)
        del detail
        for block in decoder.blocks:
            self._apply(block, base)
        return self._finish(base, network.skip(first, second))

    def _encode(self, image: Tensor, details: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return base features, and detail features, added to `details` where given."""
        encoder, halo = self.network.encoder, COUPLING_HALO * self.network.config.couplings
        features = self._new_map(image)
        for band in self._bands(image, 1):
            features[..., band.rows, :] = encoder.embed(band.window)[..., band.inside, :]
        for block in encoder.blocks:
            self._apply(block, features)
        result = self._new_map(image).zero_() if details is None else details
        for band in self._bands(features, halo):
            result[..., band.rows, :] += encoder.detail(band.window)[..., band.inside, :]
        self._apply(encoder.base, features)
        return features, result

    def _apply(self, block: Block | torch.nn.Module, x: Tensor) -> None:
        """Replace x by what a transformer block makes of it."""
        assert isinstance(block, Block)  # noqa: S101  Sequential forgets what it holds
        attention, norm = block.attention, block.attention_norm

        def sums(band: Band) -> Statistics:
            return attention.statistics(attention.qkv(norm(band.window))[..., band.inside, :])

        matrix = attention.matrix(reduce(add, map(sums, self._bands(x, 1))))

        def run(window: Tensor) -> Tensor:
            mixed = attention.mix(attention.qkv(norm(window)), matrix)
            return block.add_feed_forward(window + mixed)

        self._replace(x, BLOCK_HALO, run)

    def _replace(self, x: Tensor, halo: int, run: Callable[[Tensor], Tensor]) -> None:
        for band in self._bands(x, halo):
            x[..., band.rows, :] = run(band.window)[..., band.inside, :]

    def _finish(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Return the picture of the last block's features."""
        fused = torch.empty((len(x), 1, *x.shape[2:]), dtype=self._dtype, device=x.device)
        for band in self._bands(x, OUTPUT_HALO):
            low = band.rows.start - band.inside.start
            rows = slice(low, low + band.window.shape[2])
            part = None if skip is None else skip[..., rows, :]
            picture = self.network.decoder.finish(band.window, part)
            fused[..., band.rows, :] = picture[..., band.inside, :]
        return fused

    @property
    def _dtype(self) -> torch.dtype:
        return self.network.decoder.output.weight.dtype

    def _rows(self, width: int) -> int:
        return self.rows or max(1, BAND_PIXELS // width)

    def _bands(self, x: Tensor, halo: int) -> Iterator[Band]:
        return bands(x, halo, self._rows(x.shape[3]), self._dtype)

    def _new_map(self, image: Tensor) -> Tensor:
        shape = (len(image), self.network.config.dim, *image.shape[2:])
        storage = torch.promote_types(self.storage, self._dtype) if self._wide else self.storage
        return torch.empty(
            shape, dtype=storage, device=image.device, memory_format=torch.channels_last
        )

    @property
    def _wide(self) -> bool:
        """Whether the network works in float64, and its maps with it."""
        return self._dtype == torch.float64
