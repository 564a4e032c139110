"""CDDFuse: correlation-driven decomposition into base and detail features, and their fusion.

Source: Zhao, Bai, Zhang, Zhang, Xu, Lin, Timofte, Van Gool, "CDDFuse: Correlation-Driven
Dual-Branch Feature Decomposition for Multi-Modality Image Fusion", CVPR 2023, arXiv 2211.14461, in
the form of its published program. Restormer blocks are those of Zamir et al., "Restormer: Efficient
Transformer for High-Resolution Image Restoration", CVPR 2022; coupling blocks those of Dinh et al.,
"Density estimation using Real NVP", ICLR 2017.

One encoder turns each image into *base* features (low frequencies, seen by the whole image; both
sensors should agree) and *detail* features (high frequencies, local; each sensor has its own). Each
kind is fused by a layer of its own, one decoder makes the picture::

    S_i = Shallow(I_i)     B_i = Base(S_i)     D_i = Detail(S_i)              i = 1, 2
    B   = BaseFuse(B_1 + B_2)                  D   = DetailFuse(D_1 + D_2)
    F   = Decoder(skip, B, D)                  Î_i = Decoder(I_i, B_i, D_i)   (training stage I)

Images are (N, 1, H, W), luminance in [0, 1], of any size; features are (N, dim, H, W) at the full
resolution, stored channels-last. Nothing is downsampled. Convolutions have stride 1, zero padding
and no bias unless said otherwise. Read from top to bottom: each class uses only what stands above
it.

Two things have another form than in the paper, for speed; they compute the same. A base block's two
convolutions for q, k and v are one, and attention multiplies its small matrices with the projection
that follows before it goes over the pixels, where q and k are not normalised but their products.

Under autocast only convolutions and the last product of attention run in the lower precision. The
features between blocks, norms, sums over pixels and exponentials stay float32.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fnetcli.models.base import Fusion, Wanted
from fnetcli.models.cddfuse.config import CDDFuseConfig

# --- small parts ----------------------------------------------------------------------------------


def _full(x: Tensor) -> Tensor:
    """Return x in float32 at least: what autocast made shorter gets its range back."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _without_autocast(x: Tensor) -> torch.autocast:
    return torch.autocast(x.device.type, enabled=False)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _convolution(
    channels_in: int, channels_out: int, size: int, groups: int = 1, *, has_bias: bool = False
) -> nn.Conv2d:
    """Return a "same" convolution with zero padding and torch's initial weights."""
    return nn.Conv2d(
        channels_in, channels_out, size, padding=size // 2, groups=groups, bias=has_bias
    )


def pad_by_reflection(x: Tensor) -> Tensor:
    """Pad height and width by one pixel, mirrored about the border pixel's centre.

    A side of one pixel has nothing to mirror and is repeated.
    """
    down, across = ("reflect" if side > 1 else "replicate" for side in x.shape[-2:])
    if down == across:
        return F.pad(x, (1, 1, 1, 1), mode=down)
    return F.pad(F.pad(x, (1, 1, 0, 0), mode=across), (0, 0, 1, 1), mode=down)


class LayerNorm(nn.Module):
    """Normalise the channels of each pixel; biased variance, epsilon 1e-5, with scale and bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        rows = _full(x).permute(0, 2, 3, 1)
        return F.layer_norm(rows, self.weight.shape, self.weight, self.bias).permute(0, 3, 1, 2)


# --- attention between channels -------------------------------------------------------------------

EVERYTHING = slice(None)
PIECE = 1 << 14  # pixels that are summed at a time


class Statistics(NamedTuple):
    """Sums over pixels that attention needs; those of parts of an image add up.

    products: q k^T, (N, C, C); q_squares and k_squares: squared norms of the channels, (N, C).
    """

    products: Tensor
    q_squares: Tensor
    k_squares: Tensor

    def __add__(self, other: object) -> Statistics:
        """Return the sums over the pixels of both."""
        if not isinstance(other, Statistics):
            return NotImplemented
        return Statistics(*(a + b for a, b in zip(self, other, strict=True)))


class ChannelAttention(nn.Module):
    """Attention whose tokens are channels, each a vector over all pixels (Restormer, eq. 1).

    ::

        A_h = softmax(t_h  q_h k_h^T),  rows of q and k of norm one;   out = P * concat_h(A_h v_h)

    P * concat_h(A_h ...) is one C x C matrix for each image, so a pixel costs one small product.
    """

    def __init__(self, config: CDDFuseConfig) -> None:
        super().__init__()
        self.channels, self.heads = config.dim, config.heads
        self.temperature = nn.Parameter(torch.ones(config.heads))  # t
        self.project = _convolution(config.dim, config.dim, 1)  # P
        self.frozen: Tensor | None = None  # used instead of this image's own, see frozen.py

    def qkv(self, x: Tensor, some: slice = EVERYTHING) -> Tensor:
        """Return q, k and v, one after the other, (N, 3 C, H, W), or some of their channels."""
        raise NotImplementedError

    def qk(self, x: Tensor) -> Tensor:
        """Return q and k, (N, 2 C, H, W): what `statistics` needs."""
        return self.qkv(x, slice(2 * self.channels))

    def v(self, x: Tensor) -> Tensor:
        """Return v, (N, C, H, W): what `mix` needs."""
        return self.qkv(x, slice(2 * self.channels, None))

    def statistics(self, qk: Tensor) -> Statistics:
        """Sum over pixels, in float32, and in pieces: long sums lose digits on some processors."""
        with _without_autocast(qk):
            q, k = _full(qk).permute(0, 2, 3, 1).flatten(1, 2).chunk(2, dim=2)
            pieces = zip(q.split(PIECE, dim=1), k.split(PIECE, dim=1), strict=True)
            products = torch.stack([some.mT @ other for some, other in pieces]).sum(dim=0)
            return Statistics(products, q.square().sum(dim=1), k.square().sum(dim=1))

    def matrix(self, statistics: Statistics) -> Tensor:
        """Return P * concat_h(A_h ...) as one matrix for each image, (N, C, C)."""
        products, *squares = statistics
        n, channels, heads = len(products), products.shape[1], self.heads
        width = channels // heads
        with _without_autocast(products):
            # A norm is at least 1e-12; where that bites, as on black images, it has no gradient.
            q_scale, k_scale = (square.clamp_min(1e-24).rsqrt() for square in squares)
            cosines = q_scale[:, :, None] * products * k_scale[:, None]
            blocks = cosines.view(n, heads, width, heads, width).diagonal(dim1=1, dim2=3)
            attention = (self.temperature * blocks).softmax(dim=2)  # (N, width, width, heads)
            projection = self.project.weight.view(channels, heads, width)
            matrix = torch.einsum("chi,nijh->nchj", projection, attention)
            return matrix.reshape(n, channels, channels)

    def mix(self, v: Tensor, matrix: Tensor) -> Tensor:
        """Multiply v of each pixel by the matrix of its image: (N, C, H, W)."""
        rows = v.permute(0, 2, 3, 1)
        mixed = rows.flatten(1, 2) @ matrix.mT.to(v.dtype)
        return mixed.view(rows.shape).permute(0, 3, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        if self.frozen is not None:
            return self.mix(self.v(x), self.frozen)
        qk, v = self.qkv(x).split((2 * self.channels, self.channels), dim=1)
        return self.mix(v, self.matrix(self.statistics(qk)))


class LocalAttention(ChannelAttention):
    """Attention of a Restormer block: q, k and v from a 1x1, then a depthwise 3x3 convolution."""

    def __init__(self, config: CDDFuseConfig) -> None:
        super().__init__(config)
        channels = 3 * config.dim
        self.pointwise = _convolution(config.dim, channels, 1)
        self.depthwise = _convolution(channels, channels, 3, groups=channels)

    def qkv(self, x: Tensor, some: slice = EVERYTHING) -> Tensor:
        """Return q, k and v, (N, 3 C, H, W), or some of their channels."""
        hidden = F.conv2d(x, self.pointwise.weight[some])
        kernels = self.depthwise.weight[some]
        return F.conv2d(hidden, kernels, padding=1, groups=len(kernels))


class DenseAttention(ChannelAttention):
    """Attention of a base block: q, k and v from a 1x1, then a dense 3x3 convolution.

    Nothing stands between the two, so they are run as one 3x3 convolution from C to 3 C channels:
    neither has a bias, and zero padding commutes with the 1x1.
    """

    def __init__(self, config: CDDFuseConfig) -> None:
        super().__init__(config)
        channels = 3 * config.dim
        self.pointwise = _convolution(config.dim, channels, 1)
        self.dense = _convolution(channels, channels, 3)

    def qkv(self, x: Tensor, some: slice = EVERYTHING) -> Tensor:
        """Return q, k and v, (N, 3 C, H, W), or some of their channels."""
        with _without_autocast(x):
            dense = self.dense.weight[some].permute(0, 2, 3, 1)
            kernels = dense @ self.pointwise.weight[:, :, 0, 0]
        return F.conv2d(x, kernels.permute(0, 3, 1, 2), padding=1)


# --- transformer blocks ---------------------------------------------------------------------------


class FeedForward(nn.Module):
    """Gated feed-forward network (Restormer, eq. 2): R * (GELU(a) . b), (a, b) = G * E * x.

    G is a 3x3 convolution in groups of `group_size` channels: 1 in Restormer blocks, 2 in base
    blocks.
    """

    def __init__(self, channels: int, hidden: int, group_size: int) -> None:
        super().__init__()
        self.expand = _convolution(channels, 2 * hidden, 1)
        self.grouped = _convolution(2 * hidden, 2 * hidden, 3, groups=2 * hidden // group_size)
        self.reduce = _convolution(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        reduced: Tensor = self.reduce(gate(self.grouped(self.expand(x))))
        return reduced


def gate(x: Tensor) -> Tensor:
    """Return GELU(a) . b of the two halves of the channels, with the exact GELU."""
    a, b = x.chunk(2, dim=1)
    return F.gelu(a) * b


class Block(nn.Module):
    """Transformer block: x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, attention: ChannelAttention, feed_forward: FeedForward, dim: int) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(dim)
        self.attention = attention
        self.feed_forward_norm = LayerNorm(dim)
        self.feed_forward = feed_forward

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        x = x + self.attention(self.attention_norm(x))
        return self.add_feed_forward(x)

    def add_feed_forward(self, x: Tensor) -> Tensor:
        """Apply the second half of the block, which sees 3x3 pixels."""
        result: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return result


def restormer_block(config: CDDFuseConfig) -> Block:
    """Make a block of the shallow encoder or the decoder; 45,256 parameters by default."""
    feed_forward = FeedForward(config.dim, config.expansion * config.dim, group_size=1)
    return Block(LocalAttention(config), feed_forward, config.dim)


def base_block(config: CDDFuseConfig) -> Block:
    """Make Base or BaseFuse; 363,016 parameters by default.

    The paper draws a Lite Transformer here; the published program has this block.
    """
    feed_forward = FeedForward(config.dim, config.base_expansion * config.dim, group_size=2)
    return Block(DenseAttention(config), feed_forward, config.dim)


# --- invertible detail features -------------------------------------------------------------------


class Bottleneck(nn.Module):
    """One of the maps phi, rho, eta between halves: 1x1, ReLU6, depthwise 3x3, ReLU6, 1x1.

    The 3x3 pads by reflection.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.expand = _convolution(channels, hidden, 1)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, groups=hidden, bias=False)
        self.reduce = _convolution(hidden, channels, 1)

    def forward(self, z: Tensor) -> Tensor:
        """Map (N, C / 2, H, W) to the same shape, in float32 at least."""
        hidden = pad_by_reflection(F.relu6(self.expand(z)))
        return _full(self.reduce(F.relu6(self.depthwise(hidden))))


class Coupling(nn.Module):
    """Affine coupling of two halves of the channels, invertible where W is (section 3.2).

    ::

        (z1, z2) = split(W * z + c)      z2 = z2 + phi(z1)      z1 = z1 . exp(rho(z2)) + eta(z2)
    """

    def __init__(self, config: CDDFuseConfig) -> None:
        super().__init__()
        half = config.dim // 2
        self.shuffle = _convolution(config.dim, config.dim, 1, has_bias=True)  # W, c
        self.phi = Bottleneck(half, config.dim)
        self.rho = Bottleneck(half, config.dim)
        self.eta = Bottleneck(half, config.dim)

    def forward(self, z: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        z1, z2 = _full(self.shuffle(z)).chunk(2, dim=1)
        z2 = z2 + self.phi(z1)
        z1 = z1 * self.rho(z2).exp() + self.eta(z2)
        return torch.cat((z1, z2), dim=1)

    def invert(self, z: Tensor) -> Tensor:
        """Return what `forward` maps to z; nothing but tests uses it."""
        z1, z2 = z.chunk(2, dim=1)
        z1 = (z1 - self.eta(z2)) * (-self.rho(z2)).exp()
        z2 = z2 - self.phi(z1)
        shuffle, bias = self.shuffle.weight[:, :, 0, 0], cast("Tensor", self.shuffle.bias)
        shifted = torch.cat((z1, z2), dim=1) - bias[:, None, None]
        return torch.einsum("oc,nchw->nohw", torch.linalg.inv(shuffle), shifted)


# --- encoder and decoder --------------------------------------------------------------------------


class Features(NamedTuple):
    """What the encoder sees in one image, each (N, dim, H, W)."""

    shallow: Tensor
    base: Tensor
    detail: Tensor


class Encoder(nn.Module):
    """Shallow features, then base and detail features of one image (section 3.2).

    Base sees the whole image through its attention, Detail a few pixels.
    """

    def __init__(self, config: CDDFuseConfig) -> None:
        super().__init__()
        self.embed = _convolution(1, config.dim, 3)
        self.blocks = nn.Sequential(
            *(restormer_block(config) for _ in range(config.encoder_blocks))
        )
        self.base = base_block(config)
        self.detail = nn.Sequential(*(Coupling(config) for _ in range(config.couplings)))

    def forward(self, image: Tensor) -> Features:
        """Encode (N, 1, H, W)."""
        shallow = self.blocks(_channels_last(_full(self.embed(image))))
        return Features(shallow, self.base(shallow), self.detail(shallow))


class Decoder(nn.Module):
    """Make a picture of base and detail features (section 3.4): sigmoid(o + skip).

    The skip is added to the sigmoid's argument as an image in [0, 1], not as a logit: o = 0 gives
    0.5 to 0.73, not the image. That is the published program's; the paper does not draw it.
    """

    def __init__(self, config: CDDFuseConfig) -> None:
        super().__init__()
        half = config.dim // 2
        self.reduce = _convolution(2 * config.dim, config.dim, 1)
        self.blocks = nn.Sequential(
            *(restormer_block(config) for _ in range(config.decoder_blocks))
        )
        self.hidden = _convolution(config.dim, half, 3)
        self.output = _convolution(half, 1, 3)

    def forward(self, base: Tensor, detail: Tensor, skip: Tensor | None) -> Tensor:
        """Return (N, 1, H, W), inside (0, 1)."""
        x = self.blocks(_full(self.reduce(torch.cat((base, detail), dim=1))))
        return self.finish(x, skip)

    def finish(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Turn the features of the last block into the picture.

        Where a logit is infinite it is NaN: the sigmoid would hide that.
        """
        logit = _full(self.output(F.leaky_relu(self.hidden(x), 0.01)))
        picture = torch.sigmoid(logit if skip is None else logit + skip)
        return picture + 0 * logit


# --- the fusion network ---------------------------------------------------------------------------


FUSED_ONLY = Wanted()


class FusedFeatures(NamedTuple):
    """Fused base and detail features, each (N, dim, H, W)."""

    base: Tensor
    detail: Tensor


class CDDFuse(nn.Module):
    """Fuse two images by adding what they share and what each has of its own, kind by kind.

    Swapping the images changes no bit of the result where `config.skip` is "sum" or "none".
    """

    def __init__(self, config: CDDFuseConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CDDFuseConfig()
        self.encoder = Encoder(config)
        self.base_fusion = base_block(config)  # BaseFuse
        self.detail_fusion = nn.Sequential(
            *(Coupling(config) for _ in range(config.fuse_couplings))
        )
        self.decoder = Decoder(config)

    def encode(self, image: Tensor) -> Features:
        """Return the features of one image, (N, 1, H, W)."""
        features: Features = self.encoder(image)
        return features

    def encode_pair(self, first: Tensor, second: Tensor) -> tuple[Features, Features]:
        """Encode both images as one batch: the same features, fewer and larger steps."""
        both = self.encode(torch.cat((first, second)))
        halves = [feature.tensor_split(2) for feature in both]
        return Features(*(half[0] for half in halves)), Features(*(half[1] for half in halves))

    def fuse(self, first: Features, second: Features) -> FusedFeatures:
        """Add base to base and detail to detail, and pass each sum through its layer."""
        return FusedFeatures(
            self.base_fusion(first.base + second.base),
            self.detail_fusion(first.detail + second.detail),
        )

    def reconstruct(self, base: Tensor, detail: Tensor, skip: Tensor | None) -> Tensor:
        """Decode features of one image with that image as skip, or fused ones with `skip`."""
        image: Tensor = self.decoder(base, detail, skip)
        return image

    def skip(self, first: Tensor, second: Tensor) -> Tensor | None:
        """Return what `config.skip` adds to the decoder's output; a sum reaches 2."""
        match self.config.skip:
            case "first":
                return first
            case "second":
                return second
            case "sum":
                return first + second
            case "none":
                return None

    def forward(self, first: Tensor, second: Tensor, wanted: Wanted = FUSED_ONLY) -> Fusion[Tensor]:
        """Return the fused image, (N, 1, H, W), inside (0, 1), and base and detail features.

        No stretch follows it here.
        """
        of_first, of_second = self.encode_pair(first, second)
        fused = self.fuse(of_first, of_second)
        image = self.reconstruct(fused.base, fused.detail, self.skip(first, second))
        features = {
            "base_first": of_first.base,
            "base_second": of_second.base,
            "detail_first": of_first.detail,
            "detail_second": of_second.detail,
        }
        return Fusion(image, features=features if wanted.features else {})
