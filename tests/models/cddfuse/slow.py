"""CDDFuse in numpy and float64, written from its equations: slow, and sure.

It shares no code with the networks that it is compared with. Where the authors' numbers are at
hand, a test holds it against them. Images are (H, W), features (C, H, W).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = Mapping[str, NDArray[np.floating]]


def convolve(x: Array, kernels: NDArray[np.floating], mode: str = "constant") -> Array:
    """Return (outputs, H, W), tap by tap; fewer inputs per kernel than there are: in groups."""
    _, height, width = x.shape
    outputs, inputs, size, _ = kernels.shape
    reach = size // 2
    x = np.pad(x, ((0, 0), (reach, reach), (reach, reach)), mode=mode)  # type: ignore[call-overload]
    groups = len(x) // inputs
    each = outputs // groups
    found = np.zeros((outputs, height, width))
    for group in range(groups):
        some, of = slice(group * each, (group + 1) * each), slice(group * inputs, None)
        for i in range(size):
            for j in range(size):
                seen = x[of][:inputs, i : i + height, j : j + width]
                taps = kernels[some, :, i, j].astype(np.float64)
                found[some] += np.tensordot(taps, seen, axes=1)
    return found


def gelu(x: Array) -> Array:
    """Return x Phi(x)."""
    phi: Array = np.vectorize(lambda value: (1 + math.erf(value / math.sqrt(2))) / 2)(x)
    return x * phi


class CDDFuse:
    """The network of some weights."""

    def __init__(self, weights: Weights, heads: int) -> None:
        self.weights, self.heads = weights, heads

    def of(self, name: str) -> NDArray[np.floating]:
        """Return a tensor."""
        return self.weights[name]

    def count(self, name: str) -> int:
        """Return how many blocks a row of them has."""
        return len({key.split(f"{name}.")[1].split(".")[0] for key in self.weights if name in key})

    def norm(self, x: Array, name: str) -> Array:
        """Normalise the channels of each pixel."""
        mean, variance = x.mean(axis=0), x.var(axis=0)
        unit = (x - mean) / np.sqrt(variance + 1e-5)
        scale, bias = (self.of(f"{name}.{key}")[:, None, None] for key in ("weight", "bias"))
        return np.asarray(unit * scale + bias, np.float64)

    def attend(self, x: Array, name: str) -> Array:
        """Let channels attend to each other, head by head; a channel is a vector of pixels."""
        kind = "dense" if f"{name}.dense.weight" in self.weights else "depthwise"
        qkv = convolve(x, self.of(f"{name}.pointwise.weight"))
        qkv = convolve(qkv, self.of(f"{name}.{kind}.weight"))
        q, k, v = (part.reshape(len(x), -1) for part in np.split(qkv, 3))
        q, k = (one / np.maximum(np.linalg.norm(one, axis=1), 1e-12)[:, None] for one in (q, k))
        width = len(x) // self.heads
        rows = []
        for head in range(self.heads):
            some = slice(head * width, (head + 1) * width)
            logits = float(self.of(f"{name}.temperature")[head]) * (q[some] @ k[some].T)
            shares = np.exp(logits - logits.max(axis=1, keepdims=True))
            rows.append(shares / shares.sum(axis=1, keepdims=True) @ v[some])
        return convolve(np.concatenate(rows).reshape(x.shape), self.of(f"{name}.project.weight"))

    def block(self, x: Array, name: str) -> Array:
        """Return x + attention(norm(x)), then that + feed-forward of its norm."""
        x = x + self.attend(self.norm(x, f"{name}.attention_norm"), f"{name}.attention")
        hidden = self.norm(x, f"{name}.feed_forward_norm")
        for layer in ("expand", "grouped"):
            hidden = convolve(hidden, self.of(f"{name}.feed_forward.{layer}.weight"))
        a, b = np.split(hidden, 2)
        return x + convolve(gelu(a) * b, self.of(f"{name}.feed_forward.reduce.weight"))

    def bottleneck(self, z: Array, name: str) -> Array:
        """Return one of the maps phi, rho and eta."""
        hidden = np.clip(convolve(z, self.of(f"{name}.expand.weight")), 0, 6)
        hidden = np.clip(convolve(hidden, self.of(f"{name}.depthwise.weight"), "reflect"), 0, 6)
        return convolve(hidden, self.of(f"{name}.reduce.weight"))

    def couple(self, z: Array, name: str) -> Array:
        """Return an affine coupling of two halves of the channels."""
        z = convolve(z, self.of(f"{name}.shuffle.weight"))
        z1, z2 = np.split(z + self.of(f"{name}.shuffle.bias")[:, None, None], 2)
        z2 = z2 + self.bottleneck(z1, f"{name}.phi")
        z1 = z1 * np.exp(self.bottleneck(z2, f"{name}.rho")) + self.bottleneck(z2, f"{name}.eta")
        return np.concatenate((z1, z2))

    def encode(self, image: Array) -> tuple[Array, Array]:
        """Return base and detail features of an image."""
        x = convolve(image[None], self.of("encoder.embed.weight"))
        for index in range(self.count("encoder.blocks")):
            x = self.block(x, f"encoder.blocks.{index}")
        detail = x
        for index in range(self.count("encoder.detail")):
            detail = self.couple(detail, f"encoder.detail.{index}")
        return self.block(x, "encoder.base"), detail

    def decode(self, base: Array, detail: Array, skip: Array | None) -> Array:
        """Return the picture (H, W) of base and detail features."""
        x = convolve(np.concatenate((base, detail)), self.of("decoder.reduce.weight"))
        for index in range(self.count("decoder.blocks")):
            x = self.block(x, f"decoder.blocks.{index}")
        x = convolve(x, self.of("decoder.hidden.weight"))
        x = convolve(np.where(x > 0, x, 0.01 * x), self.of("decoder.output.weight"))
        return np.asarray(1 / (1 + np.exp(-(x[0] + (0 if skip is None else skip)))), np.float64)

    def fuse(self, first: Array, second: Array, skip: Array | None) -> dict[str, Array]:
        """Return the fused picture, and the features that it is made of."""
        base_first, detail_first = self.encode(first)
        base_second, detail_second = self.encode(second)
        base = self.block(base_first + base_second, "base_fusion")
        detail = detail_first + detail_second
        for index in range(self.count("detail_fusion")):
            detail = self.couple(detail, f"detail_fusion.{index}")
        features = {"base_first": base_first, "base_second": base_second}
        features |= {"detail_first": detail_first, "detail_second": detail_second}
        return {"fused": self.decode(base, detail, skip), **features}
