"""CDDFuse on images of any size, layer by layer, piece by piece: exact, and fast since in cache.

Only the sums over pixels that attention needs see the whole image; everything else sees a few
pixels around. So each block goes over the image twice: once to add up the sums of all pieces, once
to apply it. Between blocks a map of dim channels is kept and replaced in place. The result is the
network's, up to the order of sums.

`Banded` keeps three such maps (768 bytes a pixel by default). `Lean` keeps one: once the attention
matrices of both images are known, their features are computed again, tile by tile with a margin,
where they are needed. `Sampled` and `Given` are for tiles of what is larger still: the matrices are
those of samples of the scene, so the result is near the network's, without seams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import cast

import torch
from torch import Tensor, nn

from fnetcli.engine.tiles import Tile, Tiling
from fnetcli.models.cddfuse.frozen import frozen
from fnetcli.models.cddfuse.network import Block, CDDFuse, Statistics

PIECE = 64  # pixels, side of a piece for one thread: its arrays stay in cache
TILE = 160  # pixels, side of a tile of `Lean`: larger ones leave the cache, smaller are all margin
BLOCK_HALO = 2  # pixels: 3x3 for v, 3x3 in the feed-forward
COUPLING_HALO = 2  # phi, then rho and eta of the changed half
OUTPUT_HALO = 2  # two 3x3 convolutions
SAMPLE = 32  # pixels, side of a sample without its margin
SAMPLES = 8  # along each side of a scene
WORK = 26  # maps of dim channels that a piece takes while it is worked on, measured

Place = tuple[slice, slice, slice, slice]  # images, channels, rows, columns of a map
ALL = slice(None)
# Hears features of one of the images: their name, where they are, values (1, C, h, w).
Take = Callable[[str, Place, Tensor], object]


# --- pieces of a map ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Strip:
    """Some rows of a map with the rows around them that the result depends on."""

    rows: slice  # of the image
    window: Tensor  # those rows and their halo, as they were before anything was replaced
    inside: slice  # the rows within the window


@dataclass(frozen=True)
class Piece:
    """A rectangle of an image's map, and its values with those around that decide the result."""

    image: slice
    rows: slice
    columns: slice
    window: Tensor
    inside: tuple[slice, slice]  # the rectangle within the window

    def inner(self, x: Tensor) -> Tensor:
        """Return what lies inside of what was made of the window."""
        rows, columns = self.inside
        return x[..., rows, columns]

    @property
    def place(self) -> Place:
        """Where the rectangle is in the map."""
        return self.image, ALL, self.rows, self.columns

    @property
    def outer(self) -> Place:
        """Where the window is in the map."""
        top = self.rows.start - self.inside[0].start
        left = self.columns.start - self.inside[1].start
        height, width = self.window.shape[2:]
        return self.image, ALL, slice(top, top + height), slice(left, left + width)


def strips(x: Tensor, halo: int, rows: int) -> Iterator[Strip]:
    """Cut (1, C, H, W) into strips; the rows of one may be replaced before the next is taken."""
    above, height = x[..., :0, :], x.shape[2]
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        below = x[..., top : min(bottom + halo, height), :]
        window = torch.cat((above, below), dim=2) if above.shape[2] else below.clone()
        start = above.shape[2]
        inside = slice(start, start + bottom - top)
        above = window[..., max(0, inside.stop - halo) : inside.stop, :]
        yield Strip(slice(top, bottom), window, inside)


def pieces(x: Tensor, halo: int, side: int) -> Iterator[Piece]:
    """Cut (N, C, H, W) into pieces; each may be replaced before the next is taken."""
    height, width = x.shape[2:]
    step = _part(width, side)
    for image in _each(x):
        for strip in strips(x[image], halo, _part(height, side)):
            for left in range(0, width, step):
                right = min(left + step, width)
                start = max(0, left - halo)
                window = strip.window[..., start : right + halo]
                inside = (strip.inside, slice(left - start, right - start))
                window = window.contiguous(memory_format=torch.channels_last)
                yield Piece(image, strip.rows, slice(left, right), window, inside)


def _each(x: Tensor) -> Iterator[slice]:
    return (slice(i, i + 1) for i in range(len(x)))


def _part(length: int, side: int) -> int:
    """Return the length of about equal parts that are no longer than `side`."""
    return -(-length // -(-length // side))


# --- three maps -----------------------------------------------------------------------------------


class Banded:
    """Run a network piece by piece; call it as the network itself, for inference only."""

    maps = 3  # of dim channels that are held at once

    def __init__(self, network: CDDFuse, side: int = PIECE) -> None:
        self.network = network
        self.side = side

    def numbers_needed(self, count: int, height: int, width: int) -> int:
        """Return how many numbers the maps of so many pairs and the work on a piece take."""
        side = self.side + 2 * COUPLING_HALO * max(1, self.network.config.couplings)
        rows, columns = min(height, side), min(width, side)
        of_maps = self.maps * count * height * width
        return self.network.config.dim * (of_maps + rows * width + WORK * rows * columns)

    @torch.inference_mode()
    def __call__(self, first: Tensor, second: Tensor, take: Take | None = None) -> Tensor:
        """Return the fused image of two (N, 1, H, W), as ``network(first, second)`` does."""
        network = self.network
        base, detail = self._features(first, "first", take)
        other, _ = self._features(second, "second", take, detail)
        base += other
        del other
        self.apply(network.base_fusion, base)
        self._replace(detail, COUPLING_HALO * len(network.detail_fusion), network.detail_fusion)
        for piece in self._pieces(base):
            both = torch.cat((piece.window, detail[piece.place]), dim=1)
            base[piece.place] = network.decoder.reduce(both)
        del detail
        return self.decode(base, network.skip(first, second))

    def _features(
        self, image: Tensor, name: str, take: Take | None, details: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return base features, and detail features, added to `details` where given."""
        encoder = self.network.encoder
        x = self.embed(image)
        for block in encoder.blocks:
            self.apply(block, x)
        result = torch.zeros_like(x) if details is None else details
        for piece in self._pieces(x, COUPLING_HALO * len(encoder.detail)):
            detail = piece.inner(encoder.detail(piece.window))
            if take:
                take(f"detail_{name}", piece.place, detail)
            result[piece.place] += detail
        self.apply(encoder.base, x)
        self._give(f"base_{name}", x, take)
        return x, result

    def embed(self, image: Tensor) -> Tensor:
        """Return the first map of an image."""
        shape = (len(image), self.network.config.dim, *image.shape[2:])
        x = torch.empty(
            shape, dtype=image.dtype, device=image.device, memory_format=torch.channels_last
        )
        for piece in self._pieces(image, 1):
            x[piece.place] = piece.inner(self.network.encoder.embed(piece.window))
        return x

    def decode(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Return the picture of what the decoder's 1x1 made, which is replaced."""
        for block in self.network.decoder.blocks:
            self.apply(block, x)
        fused = x.new_empty((len(x), 1, *x.shape[2:]))
        for piece in self._pieces(x, OUTPUT_HALO):
            part = None if skip is None else skip[piece.outer]
            fused[piece.place] = piece.inner(self.network.decoder.finish(piece.window, part))
        return fused

    def apply(self, block: nn.Module, x: Tensor) -> None:
        """Replace x by what a transformer block makes of it."""
        self.mix(block, x, self.matrix(block, x))

    def mix(self, block: nn.Module, x: Tensor, matrix: Tensor) -> None:
        """Replace x by what a transformer block makes of it with these attention matrices."""
        block = _known(block)
        attention, norm = block.attention, block.attention_norm
        for piece in self._pieces(x, BLOCK_HALO):
            mixed = attention.mix(attention.v(norm(piece.window)), matrix[piece.image])
            x[piece.place] = piece.inner(block.add_feed_forward(piece.window + mixed))

    def matrix(self, block: nn.Module, x: Tensor) -> Tensor:
        """Return the attention matrix of each image, (N, C, C)."""
        attention = _known(block).attention
        totals = [self.sums(_known(block), x[image]) for image in _each(x)]
        return torch.cat([attention.matrix(total) for total in totals])

    def sums(self, block: Block, x: Tensor) -> Statistics:
        """Return the sums over an image, (1, C, H, W)."""
        attention, norm = block.attention, block.attention_norm
        return _total(
            x.dtype,
            (
                attention.statistics(piece.inner(attention.qk(norm(piece.window))))
                for piece in self._pieces(x, 1)
            ),
        )

    def _replace(self, x: Tensor, halo: int, run: Callable[[Tensor], Tensor]) -> None:
        for piece in self._pieces(x, halo):
            x[piece.place] = piece.inner(run(piece.window))

    def _give(self, name: str, x: Tensor, take: Take | None) -> None:
        if take:
            for piece in self._pieces(x):
                take(name, piece.place, piece.window)

    def _pieces(self, x: Tensor, halo: int = 0) -> Iterator[Piece]:
        return pieces(x, halo, self.side)


def _total(kind: torch.dtype, parts: Iterable[Statistics]) -> Statistics:
    """Add sums, in float64 where the device has it: there may be very many."""

    def longer(part: Statistics) -> Statistics:
        return Statistics(*(one if one.device.type == "mps" else one.double() for one in part))

    total = reduce(add, map(longer, parts))
    return Statistics(*(one.to(kind) for one in total))


def _known(block: nn.Module) -> Block:
    return cast("Block", block)  # Sequential forgets what it holds


# --- one map --------------------------------------------------------------------------------------


class Lean(Banded):
    """Run a network in a third of the memory: what both images' features are is computed again."""

    maps = 1

    def __init__(self, network: CDDFuse, side: int = PIECE, tile: int = TILE) -> None:
        super().__init__(network, side)
        self.tile = tile
        shallow = 1 + BLOCK_HALO * len(network.encoder.blocks)
        couplings = len(network.encoder.detail) + len(network.detail_fusion)
        self.of_base = shallow + BLOCK_HALO
        self.of_detail = shallow + COUPLING_HALO * couplings

    def numbers_needed(self, count: int, height: int, width: int) -> int:
        """See `Banded`."""
        side = self.tile + 2 * max(self.of_base, self.of_detail)
        tile = min(height, side) * min(width, side)
        in_tiles = self.network.config.dim * (count * height * width + WORK * tile)
        return max(in_tiles, super().numbers_needed(count, height, width))

    @torch.inference_mode()
    def __call__(self, first: Tensor, second: Tensor, take: Take | None = None) -> Tensor:
        """See `Banded`."""
        network, encoder = self.network, self.network.encoder
        images = {"first": first, "second": second}
        of_first = self._learn(first)[1]
        x, of_second = self._learn(second)
        known = {"first": of_first, "second": of_second}

        self.mix(encoder.base, x, of_second[-1])
        self._give("base_second", x, take)
        for tile in self._tiles(x, self.of_base):
            with self._frozen(of_first, tile.image):
                base = tile.inner(encoder.base(self._shallow(first[tile.outer])))
            if take:
                take("base_first", tile.place, base)
            x[tile.place] += base
        self.apply(network.base_fusion, x)

        for tile in self._tiles(x, self.of_detail):
            details = []
            for name, image in images.items():
                with self._frozen(known[name], tile.image):
                    details.append(encoder.detail(self._shallow(image[tile.outer])))
                if take:
                    take(f"detail_{name}", tile.place, tile.inner(details[-1]))
            fused = tile.inner(network.detail_fusion(details[0] + details[1]))
            x[tile.place] = network.decoder.reduce(torch.cat((x[tile.place], fused), dim=1))
        return self.decode(x, network.skip(first, second))

    def _learn(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return shallow features, and the attention matrices of all blocks of the encoder."""
        x, matrices = self.embed(image), list[Tensor]()
        for block in self.network.encoder.blocks:
            matrices.append(self.matrix(block, x))
            self.mix(block, x, matrices[-1])
        return x, [*matrices, self.matrix(self.network.encoder.base, x)]

    def _shallow(self, window: Tensor) -> Tensor:
        encoder = self.network.encoder
        found: Tensor = encoder.blocks(
            encoder.embed(window).contiguous(memory_format=torch.channels_last)
        )
        return found

    def _frozen(self, matrices: list[Tensor], image: slice) -> AbstractContextManager[None]:
        encoder = self.network.encoder
        attentions = [_known(block).attention for block in (*encoder.blocks, encoder.base)]
        return frozen(attentions, [matrix[image] for matrix in matrices])

    def _tiles(self, x: Tensor, margin: int) -> Iterator[_Tile]:
        height, width = x.shape[2:]
        sides = (_part(height, self.tile), _part(width, self.tile))
        for image in _each(x):
            for tile in Tiling(height, width, *sides, margin):
                yield _Tile(image, tile)


@dataclass(frozen=True)
class _Tile:
    """A tile of one of the images."""

    image: slice
    tile: Tile

    @property
    def place(self) -> Place:
        """Where it is."""
        return self.image, ALL, self.tile.rows.kept, self.tile.columns.kept

    @property
    def outer(self) -> Place:
        """Where it is with its margin."""
        return self.image, ALL, self.tile.rows.computed, self.tile.columns.computed

    def inner(self, x: Tensor) -> Tensor:
        """Return what lies inside of what was made of it and its margin."""
        return x[..., self.tile.rows.inner, self.tile.columns.inner]


# --- matrices of a scene --------------------------------------------------------------------------


class Sampled(Banded):
    """Run a network on samples of one scene, as a batch, that share their attention matrices.

    Their sums are added, without those of `margins` pixels (above and below, left and right) where
    a sample ends and the scene goes on. `matrices` is what they came to, in order.
    """

    def __init__(self, network: CDDFuse, margins: tuple[int, int], side: int = PIECE) -> None:
        super().__init__(network, side)
        self.margins = margins
        self.matrices: list[Tensor] = []

    def matrix(self, block: nn.Module, x: Tensor) -> Tensor:
        """See `Banded`."""
        attention, norm = _known(block).attention, _known(block).attention_norm
        down, across = (slice(margin, -margin or None) for margin in self.margins)

        total = _total(
            x.dtype,
            (
                attention.statistics(attention.qk(norm(sample))[..., down, across])
                for sample in x.split(1)
            ),
        )
        self.matrices.append(attention.matrix(total))
        return self.matrices[-1].expand(len(x), -1, -1)


class Given(Banded):
    """Run a network with attention matrices that are given, in the order of `Sampled.matrices`."""

    def __init__(
        self, network: CDDFuse, matrices: Sequence[Tensor] = (), side: int = PIECE
    ) -> None:
        super().__init__(network, side)
        self._left = iter(matrices)

    def matrix(self, block: nn.Module, x: Tensor) -> Tensor:
        """See `Banded`."""
        del block, x
        return next(self._left)


@dataclass(frozen=True)
class Samples:
    """Where a scene is sampled: `count` squares, evenly, each with its margin all around it.

    Along a side that is no longer than a square with its margins all of it is taken.
    """

    height: int
    width: int
    margin: int

    @property
    def margins(self) -> tuple[int, int]:
        """The margins of a sample, down and across."""
        return self._margin(self.height), self._margin(self.width)

    @property
    def shape(self) -> tuple[int, int, int]:
        """How many samples there are, of which height and width."""
        rows, columns = self._starts(self.height), self._starts(self.width)
        return (
            len(rows) * len(columns),
            min(self.height, self._side),
            min(self.width, self._side),
        )

    def of(self, image: Tensor) -> Tensor:
        """Return the samples of (1, 1, H, W) as a batch."""
        _, height, width = self.shape
        return torch.cat(
            [
                image[..., top : top + height, left : left + width]
                for top in self._starts(self.height)
                for left in self._starts(self.width)
            ]
        )

    @property
    def most(self) -> tuple[int, int, int]:
        """`shape`, at most, of any scene."""
        return SAMPLES**2, self._side, self._side

    @property
    def _side(self) -> int:
        return SAMPLE + 2 * self.margin

    def _margin(self, length: int) -> int:
        return self.margin if length > self._side else 0

    def _starts(self, length: int) -> list[int]:
        free = length - self._side
        if free <= 0:
            return [0]
        count = min(SAMPLES, -(-length // SAMPLE))
        return [round((i + 0.5) / count * free) for i in range(count)]
