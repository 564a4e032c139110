"""CDDFuse written out equation by equation, on a state dict: slow, and with nothing rearranged."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from fnetcli.models.cddfuse.config import CDDFuseConfig

State = Mapping[str, Tensor]


def norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean = x.mean(dim=1, keepdim=True)
    variance = (x - mean).square().mean(dim=1, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt() * weight[:, None, None] + bias[:, None, None]


def attention(x: Tensor, state: State, name: str, heads: int) -> Tensor:
    n, channels, height, width = x.shape
    qkv = F.conv2d(x, state[f"{name}.pointwise.weight"])
    if f"{name}.dense.weight" in state:
        qkv = F.conv2d(qkv, state[f"{name}.dense.weight"], padding=1)
    else:
        qkv = F.conv2d(qkv, state[f"{name}.depthwise.weight"], padding=1, groups=3 * channels)
    q, k, v = (part.reshape(n, heads, channels // heads, -1) for part in qkv.chunk(3, dim=1))
    scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
    weights = (state[f"{name}.temperature"][:, None, None] * scores).softmax(dim=-1)
    mixed = (weights @ v).reshape(n, channels, height, width)
    return F.conv2d(mixed, state[f"{name}.project.weight"])


def feed_forward(x: Tensor, state: State, name: str) -> Tensor:
    grouped = state[f"{name}.grouped.weight"]
    groups = grouped.shape[0] // grouped.shape[1]
    hidden = F.conv2d(x, state[f"{name}.expand.weight"])
    a, b = F.conv2d(hidden, grouped, padding=1, groups=groups).chunk(2, dim=1)
    gelu = a * 0.5 * (1 + torch.erf(a / 2**0.5))
    return F.conv2d(gelu * b, state[f"{name}.reduce.weight"])


def block(x: Tensor, state: State, name: str, heads: int) -> Tensor:
    names = (f"{name}.attention_norm", f"{name}.feed_forward_norm")
    norms = [(state[f"{one}.weight"], state[f"{one}.bias"]) for one in names]
    x = x + attention(norm(x, *norms[0]), state, f"{name}.attention", heads)
    return x + feed_forward(norm(x, *norms[1]), state, f"{name}.feed_forward")


def bottleneck(z: Tensor, state: State, name: str) -> Tensor:
    hidden = F.conv2d(z, state[f"{name}.expand.weight"]).clamp(0, 6)
    padded = F.pad(hidden, (1, 1, 1, 1), mode="reflect")
    kernels = state[f"{name}.depthwise.weight"]
    hidden = F.conv2d(padded, kernels, groups=len(kernels)).clamp(0, 6)
    return F.conv2d(hidden, state[f"{name}.reduce.weight"])


def coupling(z: Tensor, state: State, name: str) -> Tensor:
    z = F.conv2d(z, state[f"{name}.shuffle.weight"], state[f"{name}.shuffle.bias"])
    z1, z2 = z.chunk(2, dim=1)
    z2 = z2 + bottleneck(z1, state, f"{name}.phi")
    z1 = z1 * torch.exp(bottleneck(z2, state, f"{name}.rho"))
    z1 = z1 + bottleneck(z2, state, f"{name}.eta")
    return torch.cat((z1, z2), dim=1)


def encode(image: Tensor, state: State, config: CDDFuseConfig) -> tuple[Tensor, Tensor, Tensor]:
    shallow = F.conv2d(image, state["encoder.embed.weight"], padding=1)
    for i in range(config.encoder_blocks):
        shallow = block(shallow, state, f"encoder.blocks.{i}", config.heads)
    detail = shallow
    for i in range(config.couplings):
        detail = coupling(detail, state, f"encoder.detail.{i}")
    return shallow, block(shallow, state, "encoder.base", config.heads), detail


def decode(
    base: Tensor, detail: Tensor, skip: Tensor | None, state: State, config: CDDFuseConfig
) -> Tensor:
    x = F.conv2d(torch.cat((base, detail), dim=1), state["decoder.reduce.weight"])
    for i in range(config.decoder_blocks):
        x = block(x, state, f"decoder.blocks.{i}", config.heads)
    x = F.conv2d(x, state["decoder.hidden.weight"], padding=1)
    x = torch.where(x > 0, x, 0.01 * x)
    x = F.conv2d(x, state["decoder.output.weight"], padding=1)
    return torch.sigmoid(x if skip is None else x + skip)


def fuse(
    first: Tensor, second: Tensor, skip: Tensor | None, state: State, config: CDDFuseConfig
) -> Tensor:
    _, base1, detail1 = encode(first, state, config)
    _, base2, detail2 = encode(second, state, config)
    base = block(base1 + base2, state, "base_fusion", config.heads)
    detail = detail1 + detail2
    for i in range(config.fuse_couplings):
        detail = coupling(detail, state, f"detail_fusion.{i}")
    return decode(base, detail, skip, state, config)
