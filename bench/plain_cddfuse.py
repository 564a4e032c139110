"""The baseline of CDDFuse's speed ratio: the network executed as its authors write it.

Every line of the equations is one call on contiguous NCHW float32: both images one after the other,
two convolutions for q, k and v of base blocks, normalised copies of q and k, the projection after
the attention, norms over a transposed copy. It reads the weights by name and shares no code with
the package's own forward pass, so a faster engine does not make it faster, and tests compare the
package's results with it. Do not tune this file.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from fnetcli.models.cddfuse.config import CDDFuseConfig

State = Mapping[str, Tensor]


def _norm(x: Tensor, state: State, name: str) -> Tensor:
    n, channels, height, width = x.shape
    rows = x.reshape(n, channels, height * width).transpose(1, 2)
    mean = rows.mean(dim=-1, keepdim=True)
    variance = rows.var(dim=-1, keepdim=True, unbiased=False)
    rows = (rows - mean) / torch.sqrt(variance + 1e-5)
    rows = rows * state[f"{name}.weight"] + state[f"{name}.bias"]
    return rows.transpose(1, 2).reshape(n, channels, height, width).contiguous()


def _attention(x: Tensor, state: State, name: str, heads: int) -> Tensor:
    n, channels, height, width = x.shape
    qkv = F.conv2d(x, state[f"{name}.pointwise.weight"])
    if f"{name}.dense.weight" in state:
        qkv = F.conv2d(qkv, state[f"{name}.dense.weight"], padding=1)
    else:
        kernels = state[f"{name}.depthwise.weight"]
        qkv = F.conv2d(qkv, kernels, padding=1, groups=3 * channels)
    q, k, v = (
        part.reshape(n, heads, channels // heads, height * width) for part in qkv.chunk(3, dim=1)
    )
    q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
    scores = (q @ k.transpose(-2, -1)) * state[f"{name}.temperature"][:, None, None]
    mixed = scores.softmax(dim=-1) @ v
    return F.conv2d(mixed.reshape(n, channels, height, width), state[f"{name}.project.weight"])


def _feed_forward(x: Tensor, state: State, name: str) -> Tensor:
    kernels = state[f"{name}.grouped.weight"]
    hidden = F.conv2d(x, state[f"{name}.expand.weight"])
    hidden = F.conv2d(hidden, kernels, padding=1, groups=len(kernels) // kernels.shape[1])
    a, b = hidden.chunk(2, dim=1)
    return F.conv2d(F.gelu(a) * b, state[f"{name}.reduce.weight"])


def _block(x: Tensor, state: State, name: str, heads: int) -> Tensor:
    norm = _norm(x, state, f"{name}.attention_norm")
    x = x + _attention(norm, state, f"{name}.attention", heads)
    norm = _norm(x, state, f"{name}.feed_forward_norm")
    return x + _feed_forward(norm, state, f"{name}.feed_forward")


def _bottleneck(x: Tensor, state: State, name: str) -> Tensor:
    hidden = F.relu6(F.conv2d(x, state[f"{name}.expand.weight"]))
    hidden = F.pad(hidden, (1, 1, 1, 1), mode="reflect")
    kernels = state[f"{name}.depthwise.weight"]
    hidden = F.relu6(F.conv2d(hidden, kernels, groups=len(kernels)))
    return F.conv2d(hidden, state[f"{name}.reduce.weight"])


def _coupling(x: Tensor, state: State, name: str) -> Tensor:
    x = F.conv2d(x, state[f"{name}.shuffle.weight"], state[f"{name}.shuffle.bias"])
    one, two = x.chunk(2, dim=1)
    two = two + _bottleneck(one, state, f"{name}.phi")
    one = one * torch.exp(_bottleneck(two, state, f"{name}.rho"))
    one = one + _bottleneck(two, state, f"{name}.eta")
    return torch.cat((one, two), dim=1)


def _encode(image: Tensor, state: State, config: CDDFuseConfig) -> tuple[Tensor, Tensor]:
    x = F.conv2d(image, state["encoder.embed.weight"], padding=1)
    for i in range(config.encoder_blocks):
        x = _block(x, state, f"encoder.blocks.{i}", config.heads)
    detail = x
    for i in range(config.couplings):
        detail = _coupling(detail, state, f"encoder.detail.{i}")
    return _block(x, state, "encoder.base", config.heads), detail


def fuse_cddfuse_plainly(
    first: Tensor, second: Tensor, skip: Tensor | None, state: State, config: CDDFuseConfig
) -> Tensor:
    """Fuse (N, 1, H, W) images with the state dict of a `CDDFuse`; `skip` is what it adds."""
    base, detail = _encode(first, state, config)
    other_base, other_detail = _encode(second, state, config)
    base = _block(base + other_base, state, "base_fusion", config.heads)
    detail = detail + other_detail
    for i in range(config.fuse_couplings):
        detail = _coupling(detail, state, f"detail_fusion.{i}")
    x = F.conv2d(torch.cat((base, detail), dim=1), state["decoder.reduce.weight"])
    for i in range(config.decoder_blocks):
        x = _block(x, state, f"decoder.blocks.{i}", config.heads)
    x = F.leaky_relu(F.conv2d(x, state["decoder.hidden.weight"], padding=1), 0.01)
    x = F.conv2d(x, state["decoder.output.weight"], padding=1)
    return torch.sigmoid(x if skip is None else x + skip)
