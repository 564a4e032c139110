"""UAAFusion in numpy and float64, written from its equations: slow, and sure.

It shares no code with the networks that it is compared with, and takes no derivative by the chain
rule of a library: segmentation networks are evaluated at x + ih, pixel by pixel, whose imaginary
part is h times the derivative, without rounding. Where the authors' numbers are at hand, a test
holds it against them. Images are (H, W), maps of several images (N, C, H, W).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnetcli.models.uaafusion.config import UAAFusionConfig

Array = NDArray[Any]  # float64, or complex128
Weights = Mapping[str, Array]
STEP = 1e-30
AT_ONCE = 64  # pixels whose derivative is taken together


def convolve(
    x: Array,
    kernels: Array,
    bias: Array | float = 0.0,
    *,
    stride: int = 1,
    dilation: int = 1,
    mode: str = "constant",
) -> Array:
    """Return (N, outputs, H / stride, W / stride), tap by tap."""
    height, width = x.shape[-2:]
    size = kernels.shape[-1]
    reach = dilation * (size // 2)
    x = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode=mode)  # type: ignore[call-overload]
    found: Any = 0.0
    for i in range(size):
        for j in range(size):
            rows = slice(i * dilation, i * dilation + height, stride)
            columns = slice(j * dilation, j * dilation + width, stride)
            found = found + np.tensordot(kernels[:, :, i, j], x[:, :, rows, columns], axes=(1, 1))
    return np.asarray(np.moveaxis(found, 0, 1) + np.reshape(bias, (-1, 1, 1)))


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + e^-x)."""
    return np.asarray(1 / (1 + np.exp(-x)))


def enlarge(x: Array, height: int, width: int) -> Array:
    """Return maps at another size: bilinear, corners on corners."""

    def matrix(before: int, after: int) -> Array:
        places = np.arange(after) * (before - 1) / max(after - 1, 1)
        return np.maximum(0, 1 - abs(places[:, None] - np.arange(before)))

    down, across = matrix(x.shape[-2], height), matrix(x.shape[-1], width)
    return np.asarray(down @ x @ across.T)


class Segmentation(ABC):
    """S: scores of images, and their derivatives."""

    def __init__(self, weights: Weights, scores: str) -> None:
        self.weights, self.kind = weights, scores

    @abstractmethod
    def logits(self, images: Array) -> Array:
        """Return (N, C, H, W) of images (N, H, W), real or complex."""

    def scores(self, images: Array) -> Array:
        """Return sigmoid or softmax of the logits."""
        logits = self.logits(images)
        if self.kind == "sigmoid":
            return sigmoid(logits)
        shares = np.exp(logits - logits.real.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def pull(self, image: Array, factors: Array) -> Array:
        """Return d sum(factors * scores) / d image, (K, H, W), for factors (K, C, H, W)."""
        found = np.zeros((len(factors), image.size))
        for start in range(0, image.size, AT_ONCE):
            some = np.arange(start, min(start + AT_ONCE, image.size))
            points = np.repeat(image.astype(complex).reshape(1, -1), len(some), axis=0)
            points[np.arange(len(some)), some] += 1j * STEP
            slopes = self.scores(points.reshape(-1, *image.shape)).imag / STEP
            found[:, some] = np.tensordot(factors, slopes, axes=((1, 2, 3), (1, 2, 3)))
        return found.reshape(-1, *image.shape)


class OneConvolution(Segmentation):
    """An S that is one 3x3 convolution, with its derivatives by hand."""

    def logits(self, images: Array) -> Array:
        """Return (N, C, H, W)."""
        return convolve(images[:, None], self.weights["weight"], self.weights["bias"])

    def pull(self, image: Array, factors: Array) -> Array:
        """Return the derivatives: those of the scores, through the flipped kernel."""
        scores = self.scores(image[None])
        if self.kind == "sigmoid":
            factors = factors * scores * (1 - scores)
        else:
            factors = scores * (factors - (factors * scores).sum(axis=1, keepdims=True))
        flipped = np.swapaxes(self.weights["weight"][:, :, ::-1, ::-1], 0, 1)
        return convolve(factors, flipped)[:, 0]


class SmallSegmentation(Segmentation):
    """The small S of this project: three scales down, and up again."""

    def logits(self, images: Array) -> Array:
        """Return (N, C, H, W)."""
        fine = self.layer(self.layer(images[:, None], "fine.0"), "fine.1")
        middle = self.layer(self.layer(fine, "middle.0", stride=2), "middle.1")
        coarse = self.layer(middle, "coarse.0", stride=2)
        for index, dilation in ((1, 2), (2, 4), (3, 1)):
            coarse = self.layer(coarse, f"coarse.{index}", dilation=dilation)
        narrow = enlarge(self.mix(coarse, "narrow.1"), *middle.shape[-2:])
        middle = self.layer(middle + narrow, "join_middle")
        narrow = enlarge(self.mix(middle, "narrow.0"), *fine.shape[-2:])
        return self.mix(self.layer(fine + narrow, "join_fine"), "classify")

    def mix(self, x: Array, name: str) -> Array:
        """Return a 1x1 convolution with bias."""
        return convolve(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def layer(self, x: Array, name: str, stride: int = 1, dilation: int = 1) -> Array:
        """Return convolution, normalisation and SiLU; with its input added where that fits."""
        y = convolve(x, self.weights[f"{name}.filter.weight"], stride=stride, dilation=dilation)
        mean, variance, scale, shift = (
            self.weights[f"{name}.norm.{key}"][:, None, None]
            for key in ("running_mean", "running_var", "weight", "bias")
        )
        y = (y - mean) / np.sqrt(variance + 1e-5) * scale + shift
        y = y * sigmoid(y)
        return y + x if stride == 1 and x.shape[1] == y.shape[1] else y


class UAAFusion:
    """The network of some weights, with its S."""

    def __init__(self, weights: Weights, config: UAAFusionConfig, s: Segmentation) -> None:
        self.weights, self.config, self.s = weights, config, s

    def filter(self, x: Array, name: str) -> Array:
        """Return a 3x3 convolution whose padding mirrors."""
        kernels, bias = (self.weights[f"{name}.{key}"] for key in ("weight", "bias"))
        return convolve(x, kernels, bias, mode="reflect")

    def unit(self, x: Array, name: str) -> Array:
        """Return convolution, PReLU, convolution."""
        x = self.filter(x, f"{name}.first")
        slope = float(self.weights[f"{name}.activation.weight"].item())
        return self.filter(np.where(x > 0, x, slope * x), f"{name}.second")

    def gate(self, m: Array, hidden: Array | None, stage: str, name: str) -> Array:
        """Return one gate of the LSTM before its activation."""
        found = self.filter(m, f"{stage}.lstm.from_input.gates.{name}")
        if hidden is not None:
            found = found + self.filter(hidden, f"{stage}.lstm.from_hidden.gates.{name}")
        return found

    def attribution(self, image: Array, mask: Array) -> Array:
        """Return A_j, how much the pixels of each class's region speak for that class: (C,)."""
        regions = (mask.argmax(axis=0) == np.arange(len(mask))[:, None, None]).astype(np.float64)
        sizes = np.maximum(regions.sum(axis=(1, 2)), 1)
        # Row j asks for the mean score of class j over its region.
        factors = np.eye(len(mask))[:, :, None, None] * (regions / sizes[:, None, None])[:, None]
        steps = self.config.path_steps
        shift = 0.5 if self.config.path_rule == "midpoint" else 0.0
        points = [(step - shift) / steps for step in range(1, steps + 1)]
        mean = sum(self.s.pull(t * image, factors) for t in points) / steps
        effect = (image * mean * regions).sum(axis=(1, 2))
        return np.asarray(np.maximum(effect, 0) / sizes)

    def weigh(self, infrared: Array, visible: Array, mask: Array) -> Array:
        """Return the weight of the infrared image, one number for each class's region."""
        ours, theirs = (self.attribution(image, mask) for image in (infrared, visible))
        weights = (ours + 1e-8) / (ours + theirs + 2e-8)
        return np.asarray(weights[mask.argmax(axis=0)])

    def scaled(self, attention: Array) -> Array:
        """Return the path attribution as it enters the sigmoid."""
        if self.config.smooth_attention:
            taps = np.outer(*[np.array([1, 2, 2, 2, 1]) / 8] * 2)
            padded = np.pad(attention, 2, mode="edge")
            height, width = attention.shape
            attention = np.zeros_like(attention)
            for i in range(5):
                for j in range(5):
                    attention += taps[i, j] * padded[i : i + height, j : j + width]
        size = np.sqrt((attention**2).mean())
        return attention / size if self.config.attention == "rms" and size > 0 else attention

    def stages(
        self, infrared: Array, visible: Array, weight: Array, mask: Array
    ) -> tuple[list[Array], list[Array]]:
        """Return the estimates after each stage, and the path attribution before it."""
        images = [image[None, None] for image in (infrared, visible)]
        starts = [
            self.unit(image, f"start_{name}")
            for image, name in zip(images, ("infrared", "visible"), strict=True)
        ]
        long = short = np.concatenate(starts, axis=1)
        hidden = cell = None
        before = estimate = (infrared + visible) / 2
        attention = np.zeros_like(estimate)
        estimates, attentions = [], []
        for k in range(self.config.stages):
            stage = f"stages.{k}"
            if k:
                (slope,) = self.s.pull(estimate, mask[None] / mask.size)
                attention = ((k - 1) * attention + slope * (estimate - before)) / k
            attentions.append(attention)
            gate = sigmoid(self.scaled(attention))
            r = estimate
            if self.config.data_step:
                target = weight * infrared + (1 - weight) * visible
                r = r - self.weights["alpha"][k] * (r - target)
            e = self.unit(r[None, None], f"{stage}.embed")
            u = self.unit(np.concatenate((e, long, short), axis=1), f"{stage}.join")
            short = u + self.unit(u, f"{stage}.attend") * gate
            before, estimate = estimate, sigmoid(self.unit(short, f"{stage}.estimate"))[0, 0]
            estimates.append(estimate)
            if k == self.config.stages - 1:
                break
            m = self.unit(np.concatenate((e, u, short), axis=1), f"{stage}.gather")
            taken = sigmoid(self.gate(m, hidden, stage, "input"))
            taken = taken * np.tanh(self.gate(m, hidden, stage, "candidate"))
            shown = sigmoid(self.gate(m, hidden, stage, "output"))
            if cell is None:
                cell = taken
                hidden = shown * cell
            else:
                cell = sigmoid(self.gate(m, hidden, stage, "forget")) * cell + taken
                hidden = shown * np.tanh(cell)
            long = self.unit(hidden, f"{stage}.recall")
        return estimates, attentions

    def fuse(self, infrared: Array, visible: Array) -> dict[str, Array]:
        """Return the fused image, the infrared image's weight, and the estimates before."""
        mask = self.s.scores((infrared + visible)[None] / 2)[0]
        weight = self.weigh(infrared, visible, mask)
        estimates, _ = self.stages(infrared, visible, weight, mask)
        named = {f"stage_{k}": one for k, one in enumerate(estimates, 1)}
        return {"fused": estimates[-1], "weight_first": weight, **named}
