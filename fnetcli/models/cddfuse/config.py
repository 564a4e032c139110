"""The shape of a CDDFuse network as plain values; no torch is needed to read or write it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Skip = Literal["first", "second", "sum", "none"]

SKIPS: tuple[Skip, ...] = get_args(Skip)
LARGEST = 4096  # of any number here: far beyond what trains, and no product overflows


@dataclass(frozen=True)
class CDDFuseConfig:
    """Shape of a CDDFuse network. The defaults are the published ones but for `skip`.

    The published visible-infrared weights were trained with the visible image as `skip`: "second"
    where the first image is infrared.
    """

    dim: int = 64  # channels of all features
    heads: int = 8  # groups of channels that attend to one another
    encoder_blocks: int = 4
    decoder_blocks: int = 4
    expansion: int = 2  # hidden channels of a Restormer block's feed-forward, in units of dim
    base_expansion: int = 1  # likewise for the base blocks
    couplings: int = 3  # coupling blocks of the detail branch
    fuse_couplings: int = 1  # and of the layer that fuses detail features
    skip: Skip = "second"  # what is added to the decoder's output before its sigmoid

    def __post_init__(self) -> None:
        """Raise ValueError where a field cannot make a network."""
        for name, smallest in _SMALLEST.items():
            value = getattr(self, name)
            if type(value) is not int:
                raise ValueError(f"{name} must be a whole number, not {value!r}")
            if not smallest <= value <= LARGEST:
                raise ValueError(f"{name} must lie in [{smallest}, {LARGEST}], not {value}")
        if self.dim % 2 or self.dim % self.heads:
            raise ValueError(f"dim must be even and a multiple of {self.heads} heads: {self.dim}")
        if self.skip not in SKIPS:
            raise ValueError(f"skip must be one of {', '.join(SKIPS)}, not {self.skip!r}")

    @property
    def parameter_count(self) -> int:
        """How many numbers the network learns: 1,188,272 by default."""
        d, half = self.dim, self.dim // 2
        couplings = self.couplings + self.fuse_couplings
        blocks = self.encoder_blocks + self.decoder_blocks
        norms = 4 * d + self.heads  # two norms with bias; the temperatures
        return (
            9 * d  # the embedding
            + blocks * (self._block_products + norms)
            + 2 * (self._base_products + norms)
            + couplings * (self._coupling_products + d)
            + 2 * d * d  # concatenated features to dim channels
            + 9 * half * (d + 1)  # the output
        )

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for each pixel of a pair, as the equations stand: 1,798,368 by default.

        Two encoders, two fusion layers, one decoder. The program folds the two convolutions for q,
        k and v of base blocks into one, see `folded_multiply_adds`.
        """
        d, half = self.dim, self.dim // 2
        attention = 2 * d * d // self.heads  # q k^T and A v
        block = self._block_products + attention
        base = self._base_products + attention
        encoder = (
            9 * d + self.encoder_blocks * block + base + self.couplings * self._coupling_products
        )
        decoder = 2 * d * d + self.decoder_blocks * block + 9 * half * (d + 1)
        return 2 * encoder + base + self.fuse_couplings * self._coupling_products + decoder

    @property
    def folded_multiply_adds(self) -> int:
        """The same with one 3x3 convolution for q, k and v: 1,097,952 by default."""
        d = self.dim
        return self.multiply_adds - 3 * (3 * d * d + 27 * d * 3 * d - 27 * d * d)

    @property
    def reach(self) -> None:
        """Return None: attention sums over the whole image."""

    @property
    def frozen_reach(self) -> int:
        """Distance at which an input pixel changes a fused one, given all attention matrices: 27.

        A 3x3 convolution reaches one pixel; a block has two in a row, a coupling two halves that
        feed each other through one each. The attention matrices themselves see the whole image.
        """
        shallow = 1 + 2 * self.encoder_blocks
        features = max(2 * (1 + 1), 2 * self.couplings + 2 * self.fuse_couplings)
        return shallow + features + 2 * self.decoder_blocks + 2

    @property
    def _block_products(self) -> int:
        """Weights of a Restormer block's convolutions; each is used once a pixel."""
        d, hidden = self.dim, self.expansion * self.dim
        return 3 * d * d + 27 * d + d * d + 2 * d * hidden + 18 * hidden + hidden * d

    @property
    def _base_products(self) -> int:
        d, hidden = self.dim, self.base_expansion * self.dim
        return 3 * d * d + 81 * d * d + d * d + 2 * d * hidden + 36 * hidden + hidden * d

    @property
    def _coupling_products(self) -> int:
        d, half = self.dim, self.dim // 2
        return d * d + 3 * (half * d + 9 * d + d * half)


_SMALLEST = {
    "dim": 2,
    "heads": 1,
    "encoder_blocks": 0,
    "decoder_blocks": 0,
    "expansion": 1,
    "base_expansion": 1,
    "couplings": 0,
    "fuse_couplings": 0,
}
